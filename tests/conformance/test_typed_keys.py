"""Keys of every type that can be one: two spellings of a value are one row, in files and in the database."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from seedlab.errors import DataFaults
from seedlab.flow import Run
from tests.support.again import by_table
from tests.support.cases import some
from tests.support.seeding import Way, counted, execute, rows_of, seed_in
from tests.support.type_values import TYPES
from tests.support.writing import write_rows

# A type, two spellings of one value, and another value.
KEYS = [
    ("int4", "5", "+05", "6"),
    ("date", "2024-01-02", "2024-01-02", "2024-01-03"),
    ("time", "10:00", "10:00:00.000", "10:01"),
    ("timestamptz", "2024-01-01T10:00:00Z", "2024-01-01 12:00+02", "2024-01-01T10:00:01Z"),
    ("timetz", "10:00Z", "10:00:00+00", "10:00+01"),
    ("interval", "1 day", "1 days", "24:00:01"),
    ("numeric", "1.5", "+1.50", "1.51"),
    ("float8", "0.1", "1e-1", "0.2"),
    ("bytea", "\\xab", "\\xAB", "\\xac"),
    ("uuid", "0f8fad5b-d9cb-469f-a165-70867728950e", "0F8FAD5BD9CB469FA16570867728950E",
     "0f8fad5b-d9cb-469f-a165-70867728950f"),
    ("bool", "yes", "TRUE", "f"),
    ("char(3)", "a", "a  ", "b"),
    ("mood", "very happy", "very happy", "sad"),
    ("feeling", "ok", "ok", "happy"),
    ("positive", "5", "+5", "6"),
    ("short", "a", "a", "a "),
    ("instant", "2024-01-01T10:00:00Z", "2024-01-01 12:00+02", "2024-01-01T10:00:01Z"),
    ("inet", "10.0.0.1", "10.0.0.1/32", "10.0.0.1/31"),
    ("cidr", "10.0.0.0/8", "10/8", "10.0.0.0/9"),
    ("macaddr", "08:00:2b:01:02:03", "08002B010203", "08:00:2b:01:02:04"),
    ("int4range", "[1,5]", "[1,6)", "[1,6]"),
    ("tstzrange", "[2024-01-01 00:00Z,)", '["2024-01-01 02:00+02",)', '["2024-01-01 02:00+01",)'),
    ("int4multirange", "{[1,2],[3,4]}", "{[1,5)}", "{}"),
    ("int[]", "{1,2}", "{ 1, 2 }", "{2,1}"),
    ("tags", "{a}", '{"a"}', "{A}"),
    ("bit(3)", "101", "B101", "110"),
    ("point3", "(1,2.5,x)", '(1,2.50,"x")', "(1,2.51,x)"),
    ("jsonb", '{"a": 1, "b": 2}', '{"b":2,"a":1}', '{"a": 1}'),
    ("money", "1.5", "$1.50", "2"),
    ("pg_lsn", "0/A", "0/0000000a", "0/B"),
]  # fmt: skip
NAMES = {key[0]: re.sub(r"\W+", "_", key[0]).strip("_") for key in KEYS}
Things = list[tuple[str, str]]


def make(url: str, *spellings: str) -> None:
    """Two tables for each type: things that it names, and what refers to them."""
    tables = (
        f"""
        CREATE TABLE things_{NAMES[each]} (id SERIAL KEY, code {each} NOT NULL UNIQUE, name text);
        CREATE TABLE uses_{NAMES[each]} (n int PRIMARY KEY, thing_id int NOT NULL REFERENCES things_{NAMES[each]});
        """
        for each in spellings
    )
    execute(url, TYPES + "".join(tables))


def write_things(folder: Path, spelling: str, things: Things, uses: list[str]) -> None:
    rows = [{"code": code, "name": name} for code, name in things]
    write_rows(folder / f"things_{NAMES[spelling]}.csv", {"code": "text", "name": "text"}, rows)
    named = [{"n": str(n), "thing.code": code} for n, code in enumerate(uses)]
    write_rows(folder / f"uses_{NAMES[spelling]}.csv", {"n": "int", "thing.code": "text"}, named)


def told(run: Run, table: str) -> dict[str, tuple[int, int, int]]:
    """What became of the rows of such tables, by type."""
    counts = {place.partition("/")[2]: each for place, each in by_table(run).items()}
    return {spelling: counts[f"{table}_{name}"] for spelling, name in NAMES.items()}


def assert_same_rows(folder: Path, url: str, way: Way, **settings: int) -> None:
    make(url, *NAMES)
    for spelling, one, same, other in KEYS:
        write_things(folder, spelling, [(one, "x"), (other, "y")], [same, other, one])
    first = seed_in(way, folder, url, **settings)
    for spelling, one, same, other in KEYS:
        write_things(folder, spelling, [(same, "z"), (other, "y")], [one, other, same])
    second = seed_in(way, folder, url, **settings)

    assert (told(first, "things"), told(first, "uses")) == (
        dict.fromkeys(NAMES, (2, 0, 0)),
        dict.fromkeys(NAMES, (3, 0, 0)),
    )
    assert (told(second, "things"), told(second, "uses")) == (
        dict.fromkeys(NAMES, (0, 1, 1)),
        dict.fromkeys(NAMES, (0, 0, 3)),
    )
    found = "SELECT n, name FROM uses_{0} JOIN things_{0} ON id = thing_id ORDER BY n"
    held = {spelling: rows_of(url, found.format(name)) for spelling, name in NAMES.items()}
    assert held == {spelling: [(0, "z"), (1, "y"), (2, "z")] for spelling in NAMES}


def test_a_key_in_another_spelling_is_the_same_row(folder: Path, clean_postgres_url: str, way: Way) -> None:
    assert_same_rows(folder, clean_postgres_url, way)


@pytest.mark.slow
def test_a_key_of_a_file_larger_than_a_batch_is_the_same_row(folder: Path, clean_postgres_url: str) -> None:
    assert_same_rows(folder, clean_postgres_url, Way(), batch_rows=1)


def test_a_key_twice_in_two_spellings_is_a_fault_of_both_lines(folder: Path, clean_postgres_url: str) -> None:
    make(clean_postgres_url, *NAMES)
    for spelling, one, same, other in KEYS:
        write_things(folder, spelling, [(one, "x"), (other, "y"), (same, "z")], [other])

    with pytest.raises(DataFaults) as caught:
        seed_in(Way(), folder, clean_postgres_url)

    faults = sorted((f.file, f.rule, f.line, "first at line 2" in f.message) for f in caught.value.faults)
    assert faults == sorted((f"things_{name}.csv", "duplicate-key", 4, True) for name in NAMES.values())


@pytest.mark.parametrize(
    ("spelling", "bad"), [("inet", "10.0.0.999"), ("int4range", "[5,1]"), ("int[]", "{a}")]
)
@pytest.mark.parametrize("server", some(["clean_postgres_url", "able_postgres_url"], "clean_postgres_url"))
def test_a_key_that_its_type_does_not_take_is_a_fault(
    folder: Path, server: str, spelling: str, bad: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    make(url, spelling)
    write_things(folder, spelling, [(bad, "x")], [])

    with pytest.raises(DataFaults) as caught:
        seed_in(Way(), folder, url)

    assert [(f.rule, f.file, f.line, f.column) for f in caught.value.faults] == [
        ("type", f"things_{NAMES[spelling]}.csv", 2, "code")
    ]


@pytest.mark.slow
def test_keys_are_respelled_by_an_older_server(folder: Path, able_postgres_url: str) -> None:
    url = able_postgres_url
    make(url, "inet")
    write_things(folder, "inet", [("10.0.0.1", "x"), ("::1", "y")], ["10.0.0.1/32", "0:0::1/128"])

    assert counted(seed_in(Way(), folder, url)) == (4, 0, 0)


# Two values that are equal, though the server spells them differently, and of which seedlab does not know it.
SPANS = "CREATE TYPE spans AS RANGE (subtype = interval);"
UNLIKE = ("[1 day,2 days)", "[24:00:00,2 days)")


@pytest.mark.parametrize("there", ["no row", "a row of it"])
def test_a_key_twice_in_spellings_that_only_the_server_compares_is_refused(
    folder: Path, clean_postgres_url: str, way: Way, there: str
) -> None:
    url, (one, other) = clean_postgres_url, UNLIKE
    execute(url, f"{SPANS} CREATE TABLE things (id SERIAL KEY, code spans NOT NULL UNIQUE, name text);")
    if there == "a row of it":
        execute(url, f"INSERT INTO things (code, name) VALUES ('{one}', 'was')")
    before = rows_of(url, "SELECT * FROM things")
    rows = [{"code": one, "name": "x"}, {"code": other, "name": "y"}]
    write_rows(folder / "things.csv", {"code": "text", "name": "text"}, rows)

    with pytest.raises(DataFaults) as failed:
        seed_in(way, folder, url)

    told = {(fault.rule, fault.file, fault.line) for fault in failed.value.faults}
    assert ("unique", "things.csv", 3) in told <= {("unique", "things.csv", line) for line in (2, 3)}
    assert rows_of(url, "SELECT * FROM things") == before


@pytest.mark.parametrize("there", ["no row", "a row of it"])
def test_both_rows_of_a_key_in_spellings_that_only_the_server_compares_are_rejected(
    folder: Path, clean_postgres_url: str, way: Way, there: str, tmp_path: Path
) -> None:
    url, (one, other), third = clean_postgres_url, UNLIKE, "[2 days,3 days)"
    execute(url, f"{SPANS} CREATE TABLE things (id SERIAL KEY, code spans NOT NULL UNIQUE, name text);")
    if there == "a row of it":
        execute(url, f"INSERT INTO things (code, name) VALUES ('{one}', 'was')")
    rows = [{"code": code, "name": "x"} for code in (one, other, third)]
    write_rows(folder / "things.csv", {"code": "text", "name": "text"}, rows)

    run = seed_in(way, folder, url, rejects=tmp_path / "reports")

    assert counted(run) == (1, 0, 0)
    assert [(fault.rule, fault.line) for fault in run.faults] == [("unique", 2), ("unique", 3)]
    assert rows_of(url, f"SELECT name FROM things WHERE code = '{third}'") == [("x",)]
