"""Scratch databases are fresh, none is left behind, and the database that was named is not touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from seedlab.database import connect
from seedlab.database.connect import url_of
from seedlab.database.postgres.databases import PostgresDatabases
from seedlab.database.scratch_databases import open_scratch_databases
from seedlab.errors import ConfigurationError, Refused, WriteError
from seedlab.flow import Target
from seedlab.insight.measuring.monitor import Monitor
from tests.fix_postgres import PostgresServer
from tests.support.asking import forget
from tests.support.experiments import left_behind
from tests.support.school import TABLES
from tests.support.seeding import execute, rows_of

CITIES = ("CREATE TABLE cities (code text PRIMARY KEY)",)
NAMED = "SELECT name FROM cities ORDER BY code"


def target_of(url: str) -> Target:
    return connect.parse_target(url, "--database-url")


def prepare(url: str, script: str) -> None:
    """Run statements, and stay connected no longer."""
    execute(url, script)
    forget()


def as_superuser(server: PostgresServer, url: str) -> str:
    assert server.superuser_url is not None
    return urlsplit(server.superuser_url)._replace(path=urlsplit(url).path).geturl()


def test_every_copy_is_fresh_and_none_is_left(scratch_url: str) -> None:
    with open_scratch_databases(target_of(scratch_url)) as scratch:
        template = scratch.create_template(CITIES)
        for _ in range(2):
            with scratch.fresh_copy(template) as copy:
                assert rows_of(url_of(copy), "SELECT * FROM cities") == []
                execute(url_of(copy), "INSERT INTO cities VALUES ('hfa')")
        folder = Path(template).parent

    assert left_behind(scratch_url) == []
    assert not (scratch_url.startswith("sqlite") and folder.exists())


@pytest.mark.slow  # the server waits five seconds for who is connected
def test_who_connects_at_the_last_moment_leaves_nothing(
    lonely_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[psycopg.Connection] = []
    vacate = PostgresDatabases.vacate

    def slowly(databases: PostgresDatabases, name: str) -> None:
        vacate(databases, name)
        if not late:
            late.append(psycopg.connect(connect.beside(databases.target, name).url))

    def interrupted() -> None:
        with (
            open_scratch_databases(target_of(lonely_url)) as scratch,
            scratch.fresh_copy(scratch.create_template(CITIES)),
        ):
            monkeypatch.setattr(PostgresDatabases, "vacate", slowly)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert len(late) == 1
    assert left_behind(lonely_url) == []
    late[0].close()


@pytest.mark.slow
def test_two_copies_at_once_share_nothing(scratch_url: str) -> None:
    with open_scratch_databases(target_of(scratch_url)) as scratch:
        template = scratch.create_template(CITIES)
        with scratch.fresh_copy(template) as one, scratch.fresh_copy(template) as other:
            execute(url_of(one), "INSERT INTO cities VALUES ('hfa')")

            assert rows_of(url_of(other), "SELECT * FROM cities") == []


def test_a_failure_inside_leaves_nothing(scratch_url: str) -> None:
    with pytest.raises(ZeroDivisionError), open_scratch_databases(target_of(scratch_url)) as scratch:
        with scratch.fresh_copy(scratch.create_template(CITIES)):
            raise ZeroDivisionError

    assert left_behind(scratch_url) == []


def test_tables_are_taken_from_a_database_that_is_there(scratch_url: str) -> None:
    prepare(scratch_url, TABLES)
    with open_scratch_databases(target_of(scratch_url)) as scratch:
        with scratch.fresh_copy(
            scratch.copy_as_template(target_of(scratch_url), {"cities", "pupils"}, Monitor())
        ) as copy:
            execute(url_of(copy), "INSERT INTO cities (code, name) VALUES ('hfa', 'Haifa')")

    assert rows_of(scratch_url, NAMED) == []


@pytest.mark.slow
def test_the_ledger_is_not_taken_along(scratch_url: str) -> None:
    ledger = "seedlab_runs" if scratch_url.startswith("sqlite") else "seedlab.runs"
    schema = "" if scratch_url.startswith("sqlite") else "CREATE SCHEMA seedlab;"
    prepare(scratch_url, f"{TABLES}; {schema} CREATE TABLE {ledger} (run_id text)")
    with open_scratch_databases(target_of(scratch_url)) as scratch:
        with scratch.fresh_copy(
            scratch.copy_as_template(target_of(scratch_url), {"cities"}, Monitor())
        ) as copy:
            with pytest.raises(Exception, match=r"no such table|does not exist"):
                rows_of(url_of(copy), f"SELECT * FROM {ledger}")

    assert rows_of(scratch_url, f"SELECT * FROM {ledger}") == []


def test_a_table_is_looked_for_in_the_schema_that_the_catalog_says(lonely_url: str) -> None:
    prepare(
        lonely_url,
        """CREATE TABLE "a.b" (id int PRIMARY KEY); CREATE TABLE "c.d" (id int PRIMARY KEY);
        CREATE SCHEMA c; CREATE TABLE c.d (id int PRIMARY KEY); INSERT INTO "c.d" VALUES (1)""",
    )
    with open_scratch_databases(target_of(lonely_url)) as scratch:
        scratch.copy_as_template(target_of(lonely_url), {"a.b", "public.a.b", "c.d"}, Monitor())
        with pytest.raises(Refused, match=r"table public\.c\.d of .* has rows"):
            scratch.copy_as_template(target_of(lonely_url), {"public.c.d"}, Monitor())


def test_a_table_of_a_file_may_be_named_with_its_schema(sqlite_url: str) -> None:
    prepare(sqlite_url, TABLES)
    with open_scratch_databases(target_of(sqlite_url)) as scratch:
        scratch.copy_as_template(target_of(sqlite_url), {"main.cities"}, Monitor())


def test_a_table_with_rows_is_refused_and_what_to_do_is_said(scratch_url: str) -> None:
    prepare(scratch_url, f"{TABLES}; INSERT INTO cities (code, name) VALUES ('hfa', 'Haifa')")
    with open_scratch_databases(target_of(scratch_url)) as scratch:
        with pytest.raises(Refused, match=r"table cities of .* has rows; .*\[project\] schema ="):
            scratch.copy_as_template(target_of(scratch_url), {"cities", "pupils"}, Monitor())

    assert rows_of(scratch_url, NAMED) == [("Haifa",)]


def test_a_table_that_is_not_there_is_named(scratch_url: str) -> None:
    prepare(scratch_url, "CREATE TABLE pupils (name text)")
    with open_scratch_databases(target_of(scratch_url)) as scratch:
        with pytest.raises(Refused, match="has no table cities; runs begin with empty tables"):
            scratch.copy_as_template(target_of(scratch_url), {"cities", "pupils"}, Monitor())


def test_a_table_that_may_not_be_read_is_named(postgres_server, lonely_url: str) -> None:
    prepare(as_superuser(postgres_server, lonely_url), "CREATE TABLE cities (code text)")
    with open_scratch_databases(target_of(lonely_url)) as scratch:
        with pytest.raises(Refused, match=r"may not read table cities of .*; runs begin with empty tables"):
            scratch.copy_as_template(target_of(lonely_url), {"cities"}, Monitor())


@pytest.mark.slow
def test_a_ledger_of_another_role_is_an_error_with_advice(postgres_server, lonely_url: str) -> None:
    prepare(lonely_url, "CREATE TABLE cities (code text)")
    prepare(as_superuser(postgres_server, lonely_url), "CREATE SCHEMA seedlab")
    with open_scratch_databases(target_of(lonely_url)) as scratch:
        with pytest.raises(WriteError, match="must be owner of schema seedlab"):
            scratch.copy_as_template(target_of(lonely_url), {"cities"}, Monitor())
    assert left_behind(lonely_url) == []


def test_what_only_the_target_has_is_hinted_at(lonely_url: str) -> None:
    with open_scratch_databases(target_of(lonely_url)) as scratch:
        with pytest.raises(WriteError, match=r"MetaData.*no_such_type") as told:
            scratch.create_template(["CREATE TABLE t (x no_such_type)"])
    assert "without extensions that the target may have" in told.value.__notes__[0]
    assert left_behind(lonely_url) == []


def test_a_file_that_is_not_there_is_named(sqlite_url: str) -> None:
    with open_scratch_databases(target_of(sqlite_url)) as scratch:
        with pytest.raises(Refused, match="does not exist"):
            scratch.copy_as_template(target_of(sqlite_url), {"cities"}, Monitor())
    assert not Path(sqlite_url.removeprefix("sqlite:///")).exists()


@pytest.mark.slow  # PostgreSQL waits 5 s for them to go
def test_a_database_that_others_use_cannot_be_taken(lonely_url: str) -> None:
    prepare(lonely_url, TABLES)
    with open_scratch_databases(target_of(lonely_url)) as scratch, psycopg.connect(lonely_url):
        with pytest.raises(Refused, match="other sessions are connected to the database"):
            scratch.copy_as_template(target_of(lonely_url), {"cities"}, Monitor())


def test_who_may_make_no_database_is_told(postgres_server, lonely_url: str) -> None:
    role = connect.parse_target(lonely_url, "").database
    with psycopg.connect(postgres_server.superuser_url, autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER ROLE {} NOCREATEDB").format(sql.Identifier(role)))
    with open_scratch_databases(target_of(lonely_url)) as scratch:
        with pytest.raises(Refused, match=r"may not create a database .* CREATEDB"):
            scratch.create_template(CITIES)


@pytest.mark.slow
def test_settings_of_the_database_go_along(lonely_url: str) -> None:
    name = sql.Identifier(connect.parse_target(lonely_url, "").database)
    with psycopg.connect(lonely_url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} SET search_path = app, public").format(name))
        connection.execute(sql.SQL("ALTER DATABASE {} SET timezone = 'Asia/Jerusalem'").format(name))
    with (
        open_scratch_databases(target_of(lonely_url)) as scratch,
        scratch.fresh_copy(scratch.create_template(())) as copy,
    ):
        with psycopg.connect(copy.url) as connection:
            shown = [connection.execute(f"SHOW {each}").fetchone() for each in ("search_path", "timezone")]

    assert shown == [("app, public",), ("Asia/Jerusalem",)]


@pytest.mark.slow
def test_without_the_right_to_checkpoint_there_is_a_note(lonely_url: str) -> None:
    with open_scratch_databases(target_of(lonely_url)) as scratch:
        for _ in range(2):
            with scratch.fresh_copy(scratch.create_template(CITIES)):
                pass
        assert [note.partition(" (")[0] for note in scratch.notes] == ["no right to CHECKPOINT"]


def test_a_file_has_no_address(sqlite_url: str) -> None:
    with (
        open_scratch_databases(target_of(sqlite_url)) as scratch,
        pytest.raises(ConfigurationError, match="no round trips"),
    ):
        scratch.server_address()


KILLED = """
import os, signal, sys
from seedlab.database import connect
from seedlab.database.scratch_databases import open_scratch_databases
with open_scratch_databases(connect.parse_target(sys.argv[1], "--database-url")) as scratch:
    with scratch.fresh_copy(scratch.create_template(("CREATE TABLE t (i int)",))):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_what_a_killed_process_left_is_dropped_by_the_next_and_only_that(lonely_url: str) -> None:
    with open_scratch_databases(target_of(lonely_url)) as scratch:
        template = scratch.create_template(CITIES)
        killed = subprocess.run([sys.executable, "-c", KILLED, lonely_url], env=os.environ, check=False)
        assert killed.returncode == -signal.SIGKILL
        assert len(left_behind(lonely_url)) == 3

        assert sweep(lonely_url) == [template]
        with scratch.fresh_copy(template):
            pass
    assert left_behind(lonely_url) == []


def sweep(url: str) -> list[str]:
    """Open others, once the server has noticed that the process is gone; answers what is left."""
    for _ in range(50):
        with open_scratch_databases(target_of(url)):
            pass
        if len(left := left_behind(url)) == 1:
            return left
    return left
