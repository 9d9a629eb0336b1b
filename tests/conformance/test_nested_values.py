"""Lists and objects of JSON, YAML and Parquet for columns of arrays, composite types and hstore."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from seedlab.errors import DataFaults
from tests.support.seeding import Way, counted, execute, rows_of, seed_in, write
from tests.support.type_values import TYPES

THINGS = (
    TYPES
    + """
CREATE TYPE parcel AS (code text, sizes numeric[], tags text[][], at point3, meta jsonb);
CREATE TABLE things (
  n int PRIMARY KEY, words text[], numbers numeric(6,2)[], days timestamptz[], notes jsonb[], raw json[],
  boxes box[], bits bytea[], moods mood[], points point3[], place point3, parcel parcel, tags tags, ids uuid[]
);
"""
)
# What JSON and YAML say of a column, and the literal that it means.
SAID: list[tuple[str, str, str | None]] = [
    ("words", "[]", "{}"),
    ("words", '["a", "b,c", "d\\"e", "\\\\", null, "NULL", "", " x ", "{}", "שלום", "a\\nb"]',
     '{a,"b,c","d\\"e","\\\\",NULL,"NULL",""," x ","{}",שלום,"a\nb"}'),
    ("words", '[["a", null], ["c", "d"]]', "{{a,NULL},{c,d}}"),
    ("words", '["007", 7, 1.10, true, null]', "{007,7,1.10,true,NULL}"),
    ("words", '"{x,y}"', "{x,y}"),
    ("words", "null", None),
    ("numbers", "[1.50, -0, 9999.99, null]", "{1.50,0.00,9999.99,NULL}"),
    ("numbers", '["1.5", "NaN"]', "{1.50,NaN}"),
    ("days", '["2024-01-01T00:00:00Z", null]', '{"2024-01-01 00:00:00+00",NULL}'),
    ("notes", '[{"a": 1.10}, [1, 2], "x", null, 5]', '{"{\\"a\\": 1.10}","[1, 2]","\\"x\\"",NULL,5}'),
    ("raw", '[[], [[1]], {"b": null}]', '{[],[[1]],"{\\"b\\": null}"}'),
    ("boxes", '["(2,2),(1,1)", "(4,4),(3,3)"]', "{(2,2),(1,1);(4,4),(3,3)}"),
    ("bits", '["\\\\x00ff", null]', '{"\\\\x00ff",NULL}'),
    ("moods", '["sad", "very happy", "O\'Brien"]', '{sad,"very happy",O\'Brien}'),
    ("points", '[{"x": 1, "y": 2.50, "label": "a \\"b\\", \\\\c"}, null, "(1,,)"]',
     '{"(1,2.50,\\"a \\"\\"b\\"\\", \\\\\\\\c\\")",NULL,"(1,,)"}'),
    ("place", '{"label": "x", "x": 1}', "(1,,x)"),
    ("place", "{}", "(,,)"),
    ("place", '{"label": "", "x": null}', '(,,"")'),
    ("place", '"(1,2.00,y)"', "(1,2.00,y)"),
    ("parcel", '{"code": "p", "sizes": [1.0, null], "tags": [["a", "b"]], "at": {"x": 3}, "meta": {"k": [1]}}',
     '(p,"{1.0,NULL}","{{a,b}}","(3,,)","{""k"": [1]}")'),
    ("tags", '["a", "b"]', "{a,b}"),
    ("ids", '["0f8fad5b-d9cb-469f-a165-70867728950e"]', "{0f8fad5b-d9cb-469f-a165-70867728950e}"),
]  # fmt: skip


def stored(url: str, column: str) -> list[str | None]:
    return [v for (v,) in rows_of(url, f"SELECT {column}::text FROM things ORDER BY n")]


@pytest.mark.parametrize("form", ["json", "jsonl", "yaml"])
def test_lists_and_objects_are_what_the_database_would_spell(
    folder: Path, clean_postgres_url: str, way: Way, form: str
) -> None:
    url = clean_postgres_url
    execute(url, THINGS)
    records = [f'{{"n": {n}, "{column}": {said}}}' for n, (column, said, _) in enumerate(SAID)]
    text = "\n".join(records) if form == "jsonl" else "[{}]".format(",\n".join(records))
    write(folder, {f"things.{form}": text})

    runs = [seed_in(way, folder, url) for _ in range(2)]

    found = [stored(url, column)[n] for n, (column, _, _) in enumerate(SAID)]
    assert found == [literal for _, _, literal in SAID]
    assert [counted(run) for run in runs] == [(len(SAID), 0, 0), (0, 0, len(SAID))]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("words", '{"a": 1}'),
        ("words", '[["a"], ["b", "c"]]'),
        ("numbers", '["x"]'),
        ("place", '{"x": 1, "other": 2}'),
        ("place", "[1, 2, 3]"),
        ("place", '{"x": "one"}'),
        ("moods", '["glad"]'),
    ],
)
def test_what_such_a_column_does_not_take_is_a_fault(
    folder: Path, clean_postgres_url: str, column: str, said: str
) -> None:
    execute(clean_postgres_url, THINGS)
    write(folder, {"things.json": f'[{{"n": 1}},\n{{"n": 2, "{column}": {said}}}]'})

    with pytest.raises(DataFaults) as caught:
        seed_in(Way(), folder, clean_postgres_url)

    assert [(f.line, f.column, f.rule) for f in caught.value.faults] == [(2, column, "type")]


def test_lists_and_structs_of_parquet_are_what_the_database_would_spell(
    folder: Path, clean_postgres_url: str, way: Way
) -> None:
    url = clean_postgres_url
    execute(
        url,
        TYPES
        + """CREATE TABLE things (n int PRIMARY KEY, words text[], floats float8[], exact numeric[], days date[],
        moments timestamptz[], bits bytea[], grid int[], place point3, doc jsonb, fixed int[])""",
    )
    values: dict[str, Any] = {
        "words": ["a,b", None, "", "NULL", '"\\'],
        "floats": [0.1, float("nan"), float("inf"), 1e300],
        "exact": [Decimal("1.50"), None],
        "days": [date(2024, 2, 29)],
        "moments": [datetime(2024, 1, 1, 12, 30, 0, 5, tzinfo=UTC)],
        "bits": [b"\x00\xff", None],
        "grid": [[1, 2], [3, None]],
        "place": {"x": 1, "label": "a,b"},
        "doc": [1, None],
    }
    frame = pl.DataFrame(
        [
            pl.Series("n", [1, 2]),
            *(pl.Series(name, [value, None]) for name, value in values.items()),
            pl.Series("fixed", [[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)),
        ]
    )
    stream = io.BytesIO()
    frame.write_parquet(stream)
    write(folder, {"things.parquet": stream.getvalue()})

    runs = [seed_in(way, folder, url) for _ in range(2)]

    columns = ", ".join(f"{name}::text" for name in [*values, "fixed"])
    assert rows_of(url, f"SELECT {columns} FROM things ORDER BY n") == [
        ('{"a,b",NULL,"","NULL","\\"\\\\"}', "{0.1,NaN,Infinity,1e+300}", "{1.50,NULL}", "{2024-02-29}",
         '{"2024-01-01 12:30:00.000005+00"}', '{"\\\\x00ff",NULL}', "{{1,2},{3,NULL}}", '(1,,"a,b")',
         "[1, null]", "{1,2}"),
        (*[None] * 9, "{3,4}"),
    ]  # fmt: skip
    assert [counted(run) for run in runs] == [(2, 0, 0), (0, 0, 2)]


@pytest.mark.slow
def test_an_object_is_an_hstore(folder: Path, able_postgres_url: str) -> None:
    execute(able_postgres_url, "CREATE EXTENSION hstore; CREATE TABLE things (n int PRIMARY KEY, h hstore)")
    said: list[dict[str, str | None]] = [{}, {'a "b"': "1,=>\\", "c": None, "": "שלום"}]
    write(folder, {"things.json": json.dumps([{"n": n, "h": each} for n, each in enumerate(said)])})

    runs = [seed_in(Way(), folder, able_postgres_url) for _ in range(2)]

    assert [counted(run) for run in runs] == [(2, 0, 0), (0, 0, 2)]
    assert [
        json.loads(h) for (h,) in rows_of(able_postgres_url, "SELECT h::json::text FROM things ORDER BY n")
    ] == said
