"""Databases that are emptied instead of dropped: making one takes PostgreSQL longer than most tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from seedlab.database.embedded import server
from tests.fix_postgres import PostgresServer, drop_database
from tests.support.asking import asking


@pytest.fixture(scope="session")
def used_postgres_url(postgres_server: PostgresServer, postgres_admin: psycopg.Connection) -> Iterator[str]:
    """One database for the whole session; take `clean_postgres_url`."""
    yield from _made(postgres_server, postgres_admin)


@pytest.fixture(scope="session")
def another_used_url(postgres_server: PostgresServer, postgres_admin: psycopg.Connection) -> Iterator[str]:
    """Another one; take `another_clean_url`."""
    yield from _made(postgres_server, postgres_admin)


def _made(made_in: PostgresServer, admin: psycopg.Connection) -> Iterator[str]:
    name = f"clean_{uuid.uuid4().hex}"
    admin.execute(server.create_database(name))
    admin.execute(server.without_user_schema(name))
    yield made_in.database(name)
    drop_database(admin, name)


@pytest.fixture
def clean_postgres_url(used_postgres_url: str) -> str:
    """A PostgreSQL database with nothing in it, until the next test asks."""
    clean(used_postgres_url)
    return used_postgres_url


@pytest.fixture
def another_clean_url(another_used_url: str) -> str:
    """The same beside it, to compare with."""
    clean(another_used_url)
    return another_used_url


@pytest.fixture(params=["postgresql", "sqlite"])
def clean_database_url(request: pytest.FixtureRequest) -> str:
    """The same for each dialect in turn."""
    fixture = {"postgresql": "clean_postgres_url", "sqlite": "sqlite_url"}[request.param]
    return request.getfixturevalue(fixture)


def clean(url: str) -> None:
    """Leave nothing but an empty schema `public`."""
    with asking(url) as connection:
        for (name,) in connection.execute("SELECT pubname FROM pg_publication").fetchall():
            connection.execute(sql.SQL("DROP PUBLICATION {}").format(sql.Identifier(name)))
        schemas = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        ).fetchall()
        for (name,) in schemas:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
        connection.execute("CREATE SCHEMA public")
