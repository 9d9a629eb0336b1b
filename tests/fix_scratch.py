"""Databases of a role that nobody else is, so that what is left behind is seen."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.fix_postgres import PostgresServer, drop_database
from tests.support.asking import forget
from tests.support.experiments import databases_of


@pytest.fixture
def lonely_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database of a role that nobody else is, so that what it leaves behind is seen."""
    if postgres_server.superuser_url is None:
        pytest.skip("SEEDLAB_TEST_URL names a server on which no role can be made")
    role = f"lonely_{uuid.uuid4().hex[:8]}"
    name = sql.Identifier(role)
    with psycopg.connect(postgres_server.superuser_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB").format(name))
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(name, name))
        parts = urlsplit(postgres_server.database(role))
        try:
            yield parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()
        finally:
            forget()  # the test's own connection
            for left in databases_of(admin, role):
                drop_database(admin, left)
            admin.execute(sql.SQL("DROP ROLE {}").format(name))


@pytest.fixture(params=["postgresql", "sqlite"])
def scratch_url(request: pytest.FixtureRequest) -> str:
    """A target of each dialect."""
    return request.getfixturevalue({"postgresql": "lonely_url", "sqlite": "sqlite_url"}[request.param])
