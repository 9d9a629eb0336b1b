"""URLs become targets; passwords stay in them."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from seedlab.database.connect import beside, open_session, parse_target
from seedlab.database.postgres.session import PostgresSession
from seedlab.database.sqlite.session import SqliteSession
from seedlab.errors import ConfigurationError, ConnectionFailed
from seedlab.flow import Settings
from seedlab.insight.measuring.monitor import Monitor

pytestmark = pytest.mark.usefixtures("plain_environment")


@pytest.mark.parametrize(
    ("url", "host", "database"),
    [
        ("postgresql://me:secret@db.example.org:5433/school", "db.example.org", "school"),
        ("postgres://localhost/school", "localhost", "school"),
        ("postgresql+psycopg://localhost/school", "localhost", "school"),
        ("PostgreSQL://localhost/school", "localhost", "school"),
        ("postgresql:///school", "", "school"),
        ("postgresql:///school?host=/run/postgresql", "", "school"),
        ("postgresql://%2Frun%2Fpostgresql/school", "", "school"),
        ("postgresql://me@localhost", "localhost", "me"),
        ("postgresql://localhost/?dbname=school", "localhost", "school"),
        ("postgresql://[::1]:5432/school", "::1", "school"),
        ("postgresql://one:1,two:2/school", "one,two", "school"),
        ("postgresql://localhost/a%20b", "localhost", "a b"),
        ("postgresql://localhost/school?hostaddr=10.0.0.5", "10.0.0.5", "school"),
        ("postgresql://localhost/school?host=far.example.org", "far.example.org", "school"),
    ],
)
def test_a_url_tells_where_it_leads(url: str, host: str, database: str) -> None:
    target = parse_target(url, "test")

    assert (target.dialect, target.host, target.database) == ("postgresql", host, database)


@pytest.mark.parametrize(
    ("url", "other"),
    [
        (
            "postgresql://me:se?ret@db.example.org:5433/school",
            "postgresql://me:se?ret@db.example.org:5433/a%20b",
        ),
        ("postgresql://me@localhost", "postgresql://me@localhost/a%20b"),
        ("postgresql:///school?host=/run/postgresql", "postgresql:///a%20b?host=/run/postgresql"),
        (
            "postgresql://localhost/?dbname=school&sslmode=require",
            "postgresql://localhost/a%20b?sslmode=require",
        ),
        ("postgresql+psycopg://[::1]:5432/school?dbname=x", "postgresql://[::1]:5432/a%20b"),
    ],
)
def test_another_database_of_the_same_server_is_reached_in_the_same_way(url: str, other: str) -> None:
    target = parse_target(url, "test", environment="test")

    found = beside(target, "a b")

    assert (found.url, found.database) == (other, "a b")
    assert (found.host, found.origin, found.environment) == (target.host, target.origin, "test")
    assert "se?ret" not in found.shown
    assert found.shown == parse_target(other, "test").shown


def test_what_libpq_would_take_from_its_variables_is_where_the_url_leads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGHOST", "far.example.org")
    assert parse_target("postgresql:///school", "test").host == "far.example.org"
    assert parse_target("postgresql://localhost/school", "test").host == "localhost"

    monkeypatch.setenv("PGHOSTADDR", "10.0.0.5")
    assert parse_target("postgresql://localhost/school", "test").host == "10.0.0.5"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@localhost/school",
        "postgresql://me:hunter2%2F@localhost:5432/school?sslmode=require",
        "postgresql://me:hunter2#x@localhost/school",
        "postgresql://me:hunter2?x@localhost/school",
        "postgresql://localhost/school?user=me&password=hunter2",
        "postgresql://localhost/school?sslpassword=hunter2&application_name=x",
        "postgresql+asyncpg://me:hunter2@one,two:2/school",
    ],
)
def test_the_password_is_in_the_url_and_never_in_what_is_shown(url: str) -> None:
    target = parse_target(url, "test")

    assert "hunter2" in target.url
    assert "hunter2" not in f"{target} {target.shown} {target!r}"
    assert target.url.startswith("postgresql://")


@pytest.mark.parametrize(
    "url", ["postgresql://me:pass%23@localhost/school", "postgresql://me:pass#@localhost/school"]
)
def test_libpq_reads_the_same_url(url: str) -> None:
    target = parse_target(url, "test")

    read = psycopg.conninfo.conninfo_to_dict(target.url)
    assert (read["user"], read["password"], read["host"], read["dbname"]) == (
        "me",
        "pass#",
        "localhost",
        "school",
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("?schema=public", ""),
        ("?schema=public&connection_limit=5&pgbouncer=true&sslmode=require", "?sslmode=require"),
        ("?host=/run/pg&port=5433&schema=public", "?host=/run/pg&port=5433"),
    ],
)
def test_what_only_prisma_knows_is_left_out_of_its_urls(given: str, kept: str) -> None:
    target = parse_target(f"postgresql://me:p?ss@localhost/school{given}", "test")

    assert target.url == f"postgresql://me:p?ss@localhost/school{kept}"
    assert target == parse_target(target.url, "test")
    psycopg.conninfo.conninfo_to_dict(target.url)


def test_another_schema_of_prismas_is_not_passed_over() -> None:
    with pytest.raises(ConfigurationError, match=r"from test has schema=shop.*shop\.TABLE"):
        parse_target("postgresql://me:hunter2@localhost/school?schema=shop", "test")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2/x@localhost/school",
        "postgresql://me:hunter2@x@localhost/school",
        "postgresql://me:hunter2%zz@localhost/school",
        "postgresql://me:hunter2%00@localhost/school",
    ],
)
def test_a_password_that_is_not_encoded_is_refused_and_not_told(url: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"from DATABASE_URL is malformed.*percent-encoded"
    ) as caught:
        parse_target(url, "DATABASE_URL")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:hunter2@localhost/school",
        "me:hunter2@localhost/school",
        "password=hunter2 host=localhost",
        "hunter2",
        "",
        "sqlite:school.db",
    ],
)
def test_an_unknown_scheme_is_refused_with_the_known_ones(url: str) -> None:
    with pytest.raises(
        ConfigurationError, match="expected postgresql://USER@HOST/DATABASE or sqlite:///FILE"
    ) as caught:
        parse_target(url, "--database-url")

    assert "hunter2" not in str(caught.value)


def test_a_broken_ipv6_address_is_an_error_of_the_connection_and_not_of_ours() -> None:
    target = parse_target("postgresql://[::1/school", "test")

    with pytest.raises(ConnectionFailed, match="cannot connect to"):
        open_session(target, Settings(), Monitor(), "test")


def test_a_relative_sqlite_file_is_taken_from_the_root(tmp_path: Path) -> None:
    target = parse_target("sqlite:///data/school.db", "test", root=tmp_path)

    assert target.url == str(tmp_path / "data" / "school.db")
    assert (target.shown, target.database, target.host) == ("sqlite:///data/school.db", "school", "")


def test_an_absolute_sqlite_file_has_four_slashes(tmp_path: Path) -> None:
    assert parse_target(f"sqlite:///{tmp_path}/a%20b.db", "test").url == f"{tmp_path}/a b.db"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://school.db"])
def test_a_sqlite_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="names no file"):
        parse_target(url, "test")


def test_a_session_is_opened_by_dialect(postgres_url: str, sqlite_url: str) -> None:
    for url, kind in ((postgres_url, PostgresSession), (sqlite_url, SqliteSession)):
        session = open_session(parse_target(url, "test"), Settings(), Monitor(), "test")
        assert isinstance(session, kind)
        session.close()


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    target = parse_target("postgresql://me:hunter2@127.0.0.1:1/school", "--database-url")

    with pytest.raises(
        ConnectionFailed, match=r"cannot connect to .*127\.0\.0\.1:1/school \(from --database-url\)"
    ) as caught:
        open_session(target, Settings(), Monitor(), "test")

    assert "hunter2" not in str(caught.value)
