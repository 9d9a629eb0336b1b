"""Every text arrives as it was: through COPY, through unnest and through VALUES."""

from __future__ import annotations

from uuid import UUID

import polars as pl
import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedlab.database.postgres.encode import array_literals, copy_text, spell_uuids, value_rows
from seedlab.flow import FILE, ROW, Batch, Load

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
AWKWARD = st.sampled_from(
    ["", "NULL", "null", "\\N", "\\.", '"', '""', "a,b", "a\nb", "a\rb", "\r\n", " ", "{", "}", "\\"]
)
VALUES = st.one_of(st.none(), TEXT, AWKWARD)
ROWS = st.lists(st.tuples(VALUES, VALUES), max_size=12)
many = settings(max_examples=60, suppress_health_check=list(HealthCheck))


def batch(*rows: tuple[str | None, ...]) -> Batch:
    """A batch of text columns a, b, …"""
    names = list("abc")[: len(rows[0])] if rows else ["a", "b"]
    load = Load(stage="test", seed="test", table="t", key=(), values=tuple(names), references=())
    frame = pl.DataFrame(list(rows), schema=dict.fromkeys(names, pl.String), orient="row")
    places = [pl.lit(0, dtype=pl.UInt16).alias(FILE), pl.int_range(pl.len(), dtype=pl.UInt32).alias(ROW)]
    return Batch(load=load, frame=frame.with_columns(places))


def through_copy(connection: psycopg.Connection, made: Batch) -> list[tuple[object, ...]]:
    columns = ", ".join(f"{name} text" for name in made.load.columns)
    with connection.transaction(force_rollback=True):
        connection.execute(f"CREATE TEMPORARY TABLE t (n serial, {columns})")
        names = ", ".join(made.load.columns)
        with connection.cursor().copy(f"COPY t ({names}) FROM STDIN") as copy:
            copy.write(copy_text(made.frame, made.load.columns))
        return connection.execute(f"SELECT {names} FROM t ORDER BY n").fetchall()


@given(rows=ROWS)
@many
def test_any_text_comes_through_copy_as_it_is(
    rows: list[tuple[str | None, ...]], postgres_admin: psycopg.Connection
) -> None:
    assert through_copy(postgres_admin, batch(*rows)) == rows


@given(values=st.lists(VALUES, max_size=12))
@many
def test_any_text_alone_in_its_row_comes_through_copy_as_it_is(
    values: list[str | None], postgres_admin: psycopg.Connection
) -> None:
    rows = [(value,) for value in values]

    assert through_copy(postgres_admin, batch(*rows)) == rows if rows else True


@given(rows=ROWS)
@many
def test_any_text_comes_through_an_array_literal_as_it_is(
    rows: list[tuple[str | None, ...]], postgres_admin: psycopg.Connection
) -> None:
    literals = array_literals(batch(*rows))

    found = postgres_admin.execute(
        "SELECT * FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY ORDER BY 3", literals
    )
    assert [(a, b) for a, b, _ in found] == rows


def test_null_is_told_from_every_text() -> None:
    assert copy_text(batch((None, "", "\\N")).frame, ["a", "b", "c"]) == b"\\N\t\t\\\\N\n"


def test_no_rows_are_no_bytes() -> None:
    assert copy_text(batch().frame, ["a", "b"]) == b""
    assert array_literals(batch()) == ["{}", "{}"]


def test_a_uuid_is_spelled_in_32_digits() -> None:
    numbers = [UUID(int=1).int, None, UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11").int]

    spelled = spell_uuids(pl.DataFrame({"id": pl.Series(numbers, dtype=pl.UInt128), "x": ["a", "b", "c"]}))

    assert spelled["id"].to_list() == [f"{1:032x}", None, "a0eebc999c0b4ef8bb6d6bb9bd380a11"]
    assert spelled["x"].to_list() == ["a", "b", "c"]


def test_values_go_row_after_row() -> None:
    assert value_rows(batch(("1", "2"), (None, "4")).frame, ["b", "a"]) == ["2", "1", "4", None]


def test_a_null_uuid_is_null_to_copy(postgres_admin: psycopg.Connection) -> None:
    made = pl.DataFrame({"id": pl.Series([UUID(int=7).int, None], dtype=pl.UInt128), "x": ["a", None]})

    with postgres_admin.transaction(force_rollback=True):
        postgres_admin.execute("CREATE TEMPORARY TABLE t (x text, id uuid)")
        with postgres_admin.cursor().copy("COPY t (x, id) FROM STDIN") as copy:
            copy.write(copy_text(made, ["x", "id"]))
        found = postgres_admin.execute("SELECT x, id FROM t").fetchall()

    assert found == [("a", UUID(int=7)), (None, None)]


def test_every_row_is_one_line_so_that_the_line_copy_names_is_the_row() -> None:
    text = copy_text(batch(("a\nb", "c\r\n"), ("\\", "\t")).frame, ["a", "b"])

    assert text.count(b"\n") == 2
    assert b"\r" not in text
