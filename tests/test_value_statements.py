"""Values judged by the server: the statements, and that servers with and without pg_input_is_valid agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl
import psycopg
import pytest
from psycopg.sql import SQL

from seedlab.database import connect
from seedlab.database.postgres import value_statements as judging
from seedlab.database.postgres.encode import array_literal
from seedlab.database.postgres.lookups import rule_of
from seedlab.database.postgres.wire import StatementError, Wire
from seedlab.flow import Column, Settings
from seedlab.insight.measuring.monitor import Monitor
from tests.support.seeding import execute
from tests.support.tables import column
from tests.support.type_values import EVERY, TYPES

OLD = judging.TAKES_ERRORS - 1
VERSIONS = (judging.TAKES_ERRORS, OLD)


@pytest.fixture
def wire(clean_postgres_url: str) -> Iterator[Wire]:
    connection = psycopg.connect(clean_postgres_url, autocommit=True, cursor_factory=psycopg.RawCursor)
    yield Wire(connection, Monitor())
    connection.close()


def judged(wire: Wire, of: str | Column, values: Sequence[str | None], version: int) -> list[tuple[int, str]]:
    made = column("v", of) if isinstance(of, str) else of
    questions = judging.questions(made, array_literal(pl.Series(values, dtype=pl.String)), version)
    return sorted(wire.ask([(judging.SETTLED, ()), *questions])[-1])


@pytest.mark.parametrize(
    ("spelling", "lossy"),
    [
        ("int4", "THEN NULL ELSE"),
        ("numeric", "THEN NULL ELSE"),
        ("numeric(4,1)", "WHEN CAST(v AS pg_catalog.numeric) <> CAST(v AS numeric(4,1)) THEN 'rounding'"),
        ("varchar(3)", "WHEN pg_catalog.char_length(v) > 3 THEN 'too-long'"),
        ("timestamp(3)", "WHEN v ~ '[.][0-9]{3}[0-9]*[1-9]' THEN 'rounding'"),
        ("time", "WHEN v ~ '[.][0-9]{6}[0-9]*[1-9]' THEN 'rounding'"),
        ("varchar(2)[]", "unnest(CAST(v AS pg_catalog.text[])) e"),
    ],
)
def test_values_are_judged_by_the_server_and_told_where_a_cast_is_lossy(spelling: str, lossy: str) -> None:
    made = judging.invalid(column("v", spelling)).as_string()

    assert f"pg_input_is_valid(v, '{spelling}')" in made
    assert lossy in made


def test_a_server_that_cannot_say_what_is_valid_judges_alike(wire: Wire, clean_postgres_url: str) -> None:
    columns = ", ".join(f"c{n} {each.type}" for n, each in enumerate(EVERY))
    execute(clean_postgres_url, f"{TYPES} CREATE TABLE t ({columns})")
    session = connect.open_session(
        connect.parse_target(clean_postgres_url, ""), Settings(), Monitor(), "test"
    )
    made = session.catalog().tables["t"].columns.values()
    session.close()

    for column_, each in zip(made, EVERY, strict=True):
        values = [*each.taken, *(bad for bad, _ in each.bad), None]
        new, old = (
            [(place, rule_of(code)) for place, code in judged(wire, column_, values, version)]
            for version in VERSIONS
        )
        assert old == new, each.type


def test_a_bad_value_among_many_is_found_by_halving(wire: Wire) -> None:
    values: list[str | None] = [str(n) for n in range(1000)]
    values[0], values[500], values[501], values[999] = "x", "99999999999", "1.5", ""

    found = judged(wire, "int4", values, OLD)

    assert found == [(1, "22P02"), (501, "22003"), (502, "22P02"), (1000, "22P02")]


@pytest.mark.parametrize("values", [[], [None], ["1", None, "2"]])
def test_nothing_is_said_of_values_that_are_right(wire: Wire, values: list[str | None]) -> None:
    assert judged(wire, "int4", values, OLD) == []


def test_values_are_judged_where_nothing_may_be_written(wire: Wire) -> None:
    wire.script([SQL("BEGIN READ ONLY")])

    assert judged(wire, "numeric(3,1)", ["1.55", "1.5", "x"], OLD) == [(1, "rounding"), (3, "22P02")]

    wire.script([SQL("COMMIT")])


def test_dates_are_read_as_they_will_be_written(wire: Wire) -> None:
    wire.script([SQL("SET datestyle = 'ISO, DMY'")])

    found = [judged(wire, "date", ["2024-02-01", "13/02/2024"], version) for version in VERSIONS]

    assert [[place for place, _ in each] for each in found] == [[2], [2]]
    assert wire.ask([(SQL("SHOW datestyle"), ())]) == [[("ISO, DMY",)]]


def test_an_error_that_is_not_of_a_value_is_not_taken_for_one(wire: Wire) -> None:
    wire.script([SQL("SET statement_timeout = 1")])

    with pytest.raises(StatementError) as caught:
        judged(wire, "jsonb", ['{"a": [1, 2, 3]}'] * 20_000, OLD)

    assert caught.value.error.sqlstate == "57014"
