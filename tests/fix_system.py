"""A second server, for the few tests of what the embedded one was built without: ICU's collations and citext.

It is made from the system's own PostgreSQL and started by the first test that wants it. Where SEEDLAB_TEST_URL
names a server, that one serves these tests, too.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest

from seedlab.database.embedded import server
from seedlab.errors import ServerError
from tests.fix_clean import clean
from tests.fix_postgres import RUN_FOLDER, PostgresServer, drop_database, system_environ, undurable

# Fails on a server that cannot do what it is for.
ABLE = """
CREATE COLLATION able (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE EXTENSION citext;
"""


def system_server() -> PostgresServer:
    """Make the second server of this run, or find it; ServerError says why it cannot be."""
    found = server.start(system_environ(Path(os.environ[RUN_FOLDER])))
    superuser = found.url("postgres", role="postgres")
    undurable(superuser)
    return PostgresServer(url=found.url("postgres"), superuser_url=superuser)


def missing(why: str) -> NoReturn:
    """Skip; in CI, which installs what is needed, fail."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def used_able_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """One database for the whole session; take `able_postgres_url`."""
    try:
        chosen = (
            request.getfixturevalue("postgres_server")
            if os.environ.get("SEEDLAB_TEST_URL")
            else system_server()
        )
    except ServerError as error:
        missing(str(error))
    name = f"able_{uuid.uuid4().hex}"
    with psycopg.connect(chosen.url, autocommit=True) as admin:
        admin.execute(server.create_database(name))
        admin.execute(server.without_user_schema(name))
        try:
            with psycopg.connect(chosen.database(name)) as connection:
                connection.execute(ABLE)
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
            drop_database(admin, name)
            missing(f"needs a PostgreSQL with ICU and citext, but: {error}")
        yield chosen.database(name)
        drop_database(admin, name)


@pytest.fixture
def able_postgres_url(used_able_url: str) -> str:
    """A database with nothing in it, on a server that knows ICU's collations and citext."""
    clean(used_able_url)
    return used_able_url
