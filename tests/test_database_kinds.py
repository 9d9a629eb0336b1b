"""PostgreSQL's spellings of types, as its own format_type gives them."""

from __future__ import annotations

import psycopg
import pytest

from seedlab.database.kinds import TypeFacts, read_postgres_type

SPELLED = {
    "smallint": TypeFacts(kind="int2"),
    "integer": TypeFacts(kind="int4"),
    "bigint": TypeFacts(kind="int8"),
    "numeric": TypeFacts(kind="numeric"),
    "numeric(10,2)": TypeFacts(kind="numeric", precision=10, scale=2),
    "numeric(5,0)": TypeFacts(kind="numeric", precision=5, scale=0),
    "numeric(3,-1)": TypeFacts(kind="numeric", precision=3, scale=-1),
    "real": TypeFacts(kind="float4"),
    "double precision": TypeFacts(kind="float8"),
    "boolean": TypeFacts(kind="bool"),
    "uuid": TypeFacts(kind="uuid"),
    "text": TypeFacts(kind="text"),
    "character varying": TypeFacts(kind="varchar"),
    "character varying(40)": TypeFacts(kind="varchar", length=40),
    "character(3)": TypeFacts(kind="char", length=3),
    "bpchar": TypeFacts(kind="char"),
    '"char"': TypeFacts(kind="other"),
    "date": TypeFacts(kind="date"),
    "time without time zone": TypeFacts(kind="time"),
    "time(2) without time zone": TypeFacts(kind="time", precision=2),
    "time with time zone": TypeFacts(kind="timetz"),
    "timestamp without time zone": TypeFacts(kind="timestamp"),
    "timestamp(3) without time zone": TypeFacts(kind="timestamp", precision=3),
    "timestamp with time zone": TypeFacts(kind="timestamptz"),
    "timestamp(0) with time zone": TypeFacts(kind="timestamptz", precision=0),
    "interval": TypeFacts(kind="interval"),
    "interval(3)": TypeFacts(kind="interval", precision=3),
    "json": TypeFacts(kind="json"),
    "jsonb": TypeFacts(kind="jsonb"),
    "bytea": TypeFacts(kind="bytea"),
    "integer[]": TypeFacts(kind="array"),
    "numeric(10,2)[]": TypeFacts(kind="array"),
    "int4range": TypeFacts(kind="other"),
    "money": TypeFacts(kind="other"),
    "bit(3)": TypeFacts(kind="other"),
}


@pytest.mark.parametrize("spelling", SPELLED)
def test_a_types_spelling_tells_kind_and_limits(spelling: str) -> None:
    assert read_postgres_type(spelling) == SPELLED[spelling]


def test_these_are_the_spellings_of_the_server(postgres_admin: psycopg.Connection) -> None:
    columns = ", ".join(f"c{n} {spelling}" for n, spelling in enumerate(SPELLED))
    with postgres_admin.transaction(force_rollback=True):
        postgres_admin.execute(f"CREATE TEMPORARY TABLE spelled ({columns})")
        asked = postgres_admin.execute(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = 'spelled'::regclass AND attnum > 0 ORDER BY attnum"
        )
        answers = [row[0] for row in asked]

    assert answers == list(SPELLED)


@pytest.mark.parametrize(
    ("spelling", "facts"),
    [
        ("VARCHAR(20)", TypeFacts(kind="varchar", length=20)),
        ("char", TypeFacts(kind="char", length=1)),
        ("TIMESTAMP WITH TIME ZONE", TypeFacts(kind="timestamptz")),
        ("decimal ( 8 , 3 )", TypeFacts(kind="numeric", precision=8, scale=3)),
        ("public.mood", TypeFacts(kind="other")),
        ("", TypeFacts(kind="other")),
        ("numeric(10,2", TypeFacts(kind="other")),
    ],
)
def test_spellings_of_ddl_are_understood_too(spelling: str, facts: TypeFacts) -> None:
    assert read_postgres_type(spelling) == facts
