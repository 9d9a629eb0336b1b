"""Hundreds of tables: as many statements to look at them as for a few, and every row where it belongs."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL

from seedlab import orchestrator
from seedlab.database import connect
from seedlab.database.embedded import server
from seedlab.database.postgres import direct as postgres_direct
from seedlab.database.postgres.catalog import QUERY
from seedlab.database.postgres.stamp_statements import stamped
from seedlab.flow import Options, Plan, Settings, TableState
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.choices import ENVIRONMENTS
from seedlab.plan.project import load_project
from tests.fix_postgres import RUN_FOLDER, PostgresServer, quiet_environ
from tests.support.asking import asking
from tests.support.seeding import catalog_of, counted, rows_of, seed, write

IDS = (
    ("serial PRIMARY KEY", "int"),
    ("uuid PRIMARY KEY DEFAULT gen_random_uuid()", "uuid"),
    ("bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "bigint"),
)
ROWS = 3


def world(tables: int) -> tuple[str, dict[str, str]]:
    """DDL of tables with two foreign keys each, circles among them, and a file for each table."""
    chance = random.Random(5)
    ddl, keys, files = [], [], {}
    for n in range(tables):
        reach = tables if n % 7 == 0 else max(1, n)  # every seventh may refer to what comes later
        parents = [chance.randrange(reach) for _ in range(2)]
        refers = ", ".join(f"r{i}_id {IDS[parent % 3][1]}" for i, parent in enumerate(parents))
        ddl.append(
            f"CREATE TABLE t{n:03} (id {IDS[n % 3][0]}, code text NOT NULL UNIQUE, v numeric, {refers});"
        )
        keys += [
            f"ALTER TABLE t{n:03} ADD FOREIGN KEY (r{i}_id) REFERENCES t{parent:03};"
            for i, parent in enumerate(parents)
        ]
        lines = [f"k{row},{row},k{chance.randrange(ROWS)},k{chance.randrange(ROWS)}\n" for row in range(ROWS)]
        names = [f"t{n:03}_r{i}_id_fkey.code" for i in range(2)]
        files[f"t{n:03}.csv"] = f"code,v,{','.join(names)}\n{''.join(lines)}"
    return "".join([*ddl, *keys]), files


def planned(folder: Path, url: str) -> tuple[Plan, tuple[int, int]]:
    """The plan, and how many statements and round trips it took."""
    monitor = Monitor()
    options = Options(environment=ENVIRONMENTS["development"], settings=Settings())
    target = connect.parse_target(url, "--database-url")
    plan = orchestrator.plan(load_project(folder), target, options, monitor)
    return plan, (monitor.counters.statements, monitor.counters.round_trips)


@pytest.fixture
def few(tmp_path: Path, clean_postgres_url: str) -> tuple[int, int]:
    """Statements and round trips of the plan of six tables of the same kind, whose database is emptied then."""
    ddl, files = world(6)
    with asking(clean_postgres_url) as connection:
        connection.execute(ddl)
        _, asked = planned(write(tmp_path / "few", files), clean_postgres_url)
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return asked


def test_the_catalog_of_a_schema_that_was_never_analyzed_is_read_row_by_row_nowhere(
    postgres_url: str,
) -> None:
    """Without statistics the server thinks that there is hardly a sequence, and joins as if it were so."""
    ddl, _ = world(140)
    with asking(postgres_url) as connection:
        connection.execute(ddl)
        found = connection.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + QUERY).fetchone()

    assert found is not None
    repeated = [node for node in nodes(found[0][0]["Plan"]) if node["Actual Loops"] > 1]
    assert repeated
    most = max(node["Actual Loops"] * node["Actual Rows"] for node in repeated)
    assert most < 140 * 20  # far from 93 sequences times 93


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node of a query's plan, and all below it."""
    yield node
    for below in node.get("Plans", ()):
        yield from nodes(below)


@pytest.mark.parametrize(("rows", "parallel"), [(3, False), (10_000, True)])
def test_only_tables_with_many_rows_are_counted_by_parallel_workers(
    clean_postgres_url: str, rows: int, parallel: bool
) -> None:
    ddl, _ = world(140)
    with asking(clean_postgres_url) as connection:
        connection.execute(ddl)
    states = [
        (TableState(table=name, columns=("code",), key=("code",), server="", rows=rows), table)
        for name, table in catalog_of(clean_postgres_url).tables.items()
    ]

    with asking(clean_postgres_url) as connection:
        plan = connection.execute(SQL("EXPLAIN {}").format(stamped(states))).fetchall()

    assert any("Gather" in line for (line,) in plan) is parallel


@pytest.mark.slow
def test_hundreds_of_tables_are_looked_at_with_as_many_statements_as_six(
    tmp_path: Path, clean_postgres_url: str, few: tuple[int, int]
) -> None:
    url, (ddl, files) = clean_postgres_url, world(600)
    folder = write(tmp_path / "many", files)
    with asking(url) as connection:
        connection.execute(ddl)

    plan, asked = planned(folder, url)
    first = seed(folder, url)
    second = seed(folder, url)

    assert (
        rows_of(url, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated")[0][0] == 1200
    )
    assert plan.outcomes.created == 600 * ROWS
    assert asked == few == (12, 2)
    assert counted(first) == (600 * ROWS, 0, 0)
    assert counted(second) == (0, 0, 600 * ROWS)
    assert (second.counters.statements, second.counters.round_trips) == (8, 2)
    code = rows_of(
        url, "SELECT p.code FROM t599 c JOIN t" + _parent(ddl) + " p ON p.id = c.r0_id WHERE c.code = 'k2'"
    )
    assert code == [(files["t599.csv"].splitlines()[3].split(",")[2],)]


@pytest.mark.slow
def test_a_server_with_memory_for_few_locks_keeps_the_foreign_keys_on(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropping a foreign key and creating it again locks it and its triggers until the end."""
    if postgres_server.superuser_url is None:
        pytest.skip("needs the embedded server: settings of the one of SEEDLAB_TEST_URL are not ours")
    environ = quiet_environ(Path(os.environ[RUN_FOLDER]))
    settings = server.start(environ).url("postgres", role="postgres")
    with psycopg.connect(settings, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET max_locks_per_transaction = 10")
    server.stop(environ)
    running = server.start(environ)
    ddl, files = world(300)
    folder = write(tmp_path / "many", files)
    try:
        for rows in (postgres_direct.REBUILD_ROWS, 0):
            monkeypatch.setattr(postgres_direct, "REBUILD_ROWS", rows)
            with psycopg.connect(running.url("postgres"), autocommit=True) as connection:
                connection.execute(server.create_database(f"many_{rows}"))
                connection.execute(server.without_user_schema(f"many_{rows}"))
            with psycopg.connect(running.url(f"many_{rows}"), autocommit=True) as connection:
                for statement in ddl.split(";"):  # each by itself, as they need locks, too
                    connection.execute(statement.encode())
            run = seed(folder, running.url(f"many_{rows}"))
            assert counted(run) == (300 * ROWS, 0, 0)
            assert [note for note in run.notes if "foreign keys stay on" in note]
    finally:
        server.clean(environ)


def _parent(ddl: str) -> str:
    """The number of the table to which the first foreign key of the last table refers."""
    return ddl.rpartition("ALTER TABLE t599 ADD FOREIGN KEY (r0_id) REFERENCES t")[2][:3]
