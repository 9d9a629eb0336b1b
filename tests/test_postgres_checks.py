"""CHECK constraints asked of the server: exactly the rows that it would refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import polars as pl
import psycopg
import pytest

from seedlab.database import connect
from seedlab.database.writer import Session
from seedlab.errors import DataFaults
from seedlab.flow import ROW, Refusal, Settings, WritePlan
from seedlab.insight.measuring.monitor import Monitor
from tests.support.loads import batch, load_of, table_write, write_plan
from tests.support.seeding import execute, rows_of

Rows = Mapping[str, Sequence[str | None]]


@contextmanager
def opened(url: str, monitor: Monitor | None = None) -> Iterator[Session]:
    target = connect.parse_target(url, "test")
    session = connect.open_session(target, Settings(), monitor or Monitor(), "test")
    try:
        yield session
    finally:
        session.close()


def refusals(url: str, table: str, rows: Rows, *, monitor: Monitor | None = None) -> list[Refusal]:
    with opened(url, monitor) as session:
        catalog = session.catalog()
        plan = write_plan(catalog, [batch(load_of(catalog, table, rows), rows)], [])
        session.begin()
        return session.broken_checks(plan)


def told(found: Sequence[Refusal]) -> dict[str, list[int]]:
    return {each.message.split("(")[1].rstrip(")"): each.frame[ROW].to_list() for each in found}


def refused_by_insert(url: str, table: str, rows: Rows) -> list[int]:
    """What the server says when each row is inserted by itself."""
    bad = []
    with psycopg.connect(url) as connection:
        for n, row in enumerate(zip(*rows.values(), strict=True)):
            try:
                with connection.transaction(force_rollback=True):
                    places = ", ".join(["%s"] * len(row))
                    connection.execute(f"INSERT INTO {table} ({', '.join(rows)}) VALUES ({places})", row)
            except psycopg.errors.CheckViolation:
                bad.append(n)
    return bad


CHECKED = """
CREATE TABLE t (
  code varchar(8) PRIMARY KEY, low int, high numeric(6,2), at timestamptz, tags text[], u uuid, d jsonb,
  "odd ""name" text, other int DEFAULT 1,
  CONSTRAINT ordered CHECK (low < high), CONSTRAINT short CHECK (char_length(code) < 4),
  CONSTRAINT late CHECK (at > '2024-01-01T00:00:00Z'), CONSTRAINT tagged CHECK (cardinality(tags) > 0),
  CONSTRAINT odd CHECK ("odd ""name" <> 'x'), CONSTRAINT known CHECK (d ? 'k'),
  CONSTRAINT mine CHECK (u <> '00000000-0000-0000-0000-000000000001'),
  CONSTRAINT unwritten CHECK (other + 100 > low),
  CONSTRAINT whole CHECK (t IS NOT NULL OR code <> 'abc')
);
"""


def test_rows_are_refused_as_the_server_refuses_them(clean_postgres_url: str) -> None:
    execute(clean_postgres_url, CHECKED)
    rows = {
        "code": ["a", "abcd", "b", "c", "d", "e", "f", "g"],
        "low": ["1", "1", "5", None, "1", None, None, "0"],
        "high": ["1.01", "2", "4.99", "1", None, None, None, "1"],
        "at": [None, "2023-12-31T23:00:00-02:00", "2024-01-01T01:00:00+02:00", *[None] * 5],
        "tags": ["{x}", "{}", None, None, None, '{a,"b c"}', None, None],
        "d": ['{"k": 1}', "{}", '{"j": "a\\\\b"}', *[None] * 5],
        "u": [None, "00000000000000000000000000000001", *[None] * 6],
    }

    found = told(refusals(clean_postgres_url, "t", rows))

    assert found == {"ordered": [2], "short": [1], "late": [2], "tagged": [1], "known": [1, 2], "mine": [1]}
    bad = sorted({row for each in found.values() for row in each})
    assert bad == refused_by_insert(clean_postgres_url, "t", rows)


def test_names_that_need_quotes_are_quoted(clean_postgres_url: str) -> None:
    execute(
        clean_postgres_url,
        'CREATE TABLE "T" (code text PRIMARY KEY, "a""b" text CONSTRAINT "c(" CHECK ("a""b" <> \'x\'))',
    )

    found = refusals(clean_postgres_url, "T", {"code": ["1", "2"], 'a"b': ["x", '"y"']})

    assert [(each.column, each.frame[ROW].to_list(), each.rule) for each in found] == [
        ('a"b', [0], "constraint")
    ]


@pytest.mark.parametrize(
    ("constraint", "why"),
    [
        ("CHECK (other > 5)", "it is of a column that the files do not give"),
        ("CHECK (known(code))", "its function looks at other rows"),
        ("CHECK (1 > 2) NOT VALID", "it is of no column"),
        ("CHECK ((t.*) IS NOT NULL)", "it is of the whole row"),
    ],
)
def test_a_check_that_only_the_server_can_judge_is_left_to_it(
    clean_postgres_url: str, constraint: str, why: str
) -> None:
    execute(
        clean_postgres_url,
        "CREATE FUNCTION known(text) RETURNS bool STABLE LANGUAGE sql AS 'SELECT false'; "
        f"CREATE TABLE t (code text PRIMARY KEY, other int DEFAULT 1, CONSTRAINT c {constraint})",
    )

    assert refusals(clean_postgres_url, "t", {"code": ["a"]}) == [], why


def test_an_immutable_function_of_a_user_is_called(clean_postgres_url: str) -> None:
    execute(
        clean_postgres_url,
        "CREATE FUNCTION short(text) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT length($1) < 2'; "
        "CREATE TABLE t (code text PRIMARY KEY CHECK (short(code)))",
    )

    assert told(refusals(clean_postgres_url, "t", {"code": ["a", "bb"]})) == {"t_code_check": [1]}


def test_an_expression_that_fails_is_left_to_the_server_and_spoils_no_other(clean_postgres_url: str) -> None:
    execute(
        clean_postgres_url,
        "CREATE TABLE a (code text PRIMARY KEY CHECK (code::int > 0));"
        "CREATE TABLE b (code text PRIMARY KEY CHECK (code <> 'x'))",
    )
    monitor = Monitor()
    with opened(clean_postgres_url, monitor) as session:
        catalog = session.catalog()
        batches = [
            batch(load_of(catalog, name, {"code": values}), {"code": values})
            for name, values in (("a", ["1", "secret"]), ("b", ["x", "y"]))
        ]
        session.begin()

        found = session.broken_checks(write_plan(catalog, batches, ["a", "b"]))

        assert session.find_empty(["a", "b"]) == {"a", "b"}  # the transaction goes on
    assert told(found) == {"b_code_check": [0]}
    assert any(
        "CHECK constraints of a raise an error" in note and "secret" not in note for note in monitor.notes
    )


def test_batches_of_several_loads_are_asked_together(clean_postgres_url: str) -> None:
    execute(clean_postgres_url, "CREATE TABLE t (code text PRIMARY KEY, n int CHECK (n % 7 > 0))")
    monitor = Monitor()
    with opened(clean_postgres_url, monitor) as session:
        catalog = session.catalog()
        pieces = []
        for start in (0, 15_000, 30_000):
            numbers = [str(n) for n in range(start, start + 15_000)]
            columns = {"code": numbers, "n": numbers}
            pieces.append(batch(load_of(catalog, "t", columns), columns))
        session.begin()
        plan = write_plan(catalog, pieces, [])
        found = session.broken_checks(plan)

    assert sum(each.frame.height for each in found) == len(range(0, 45_000, 7))
    assert all(each.frame.schema == {"_seedlab_file": pl.UInt16, ROW: pl.UInt32} for each in found)


def test_tables_without_checks_are_not_gone_through(clean_postgres_url: str) -> None:
    execute(clean_postgres_url, "CREATE TABLE t (code text PRIMARY KEY)")
    with opened(clean_postgres_url) as session:
        catalog = session.catalog()
        write = table_write(catalog, batch(load_of(catalog, "t", {"code": ["a"]}), {"code": ["a"]}))

        def refuse() -> Iterator[object]:
            raise AssertionError("the rows were asked for")

        plan = WritePlan(groups=((replace(write, batches=refuse),),), empty=frozenset())
        session.begin()

        assert session.broken_checks(plan) == []
        assert session.broken_checks(WritePlan(groups=(), empty=frozenset())) == []


# ---- savepoints, on both dialects ----


def test_what_was_written_since_a_savepoint_is_undone_also_after_a_fault(clean_database_url: str) -> None:
    execute(clean_database_url, "CREATE TABLE t (code varchar(9) PRIMARY KEY, n int CHECK (n > 0))")
    with opened(clean_database_url) as session:
        catalog = session.catalog()

        def plan(*numbers: str):
            columns = {"code": list(numbers), "n": list(numbers)}
            return write_plan(catalog, [batch(load_of(catalog, "t", columns), columns)], ["t"])

        session.begin()
        session.savepoint()
        session.write(plan("1"), frozenset({"copy"}))
        session.rollback_to_savepoint()
        with pytest.raises(DataFaults):
            session.write(plan("1", "0"), frozenset({"copy"}))
        session.rollback_to_savepoint()
        session.write(plan("2"), frozenset({"copy"}))
        session.commit()

    assert rows_of(clean_database_url, "SELECT code FROM t") == [("2",)]
