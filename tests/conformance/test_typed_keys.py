"""Keys of every type that can be one: two spellings of a value are one row, in files and in the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedlab.errors import DataFaults
from tests.seeding import Way, counted, execute, rows_of, seed_in
from tests.type_values import TYPES
from tests.writing import write_rows

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
EACH_TYPE = pytest.mark.parametrize(("spelling", "one", "same", "other"), KEYS, ids=[key[0] for key in KEYS])


def make(url: str, spelling: str) -> None:
    execute(
        url,
        f"""{TYPES}
        CREATE TABLE things (id SERIAL KEY, code {spelling} NOT NULL UNIQUE, name text);
        CREATE TABLE uses (n int PRIMARY KEY, thing_id int NOT NULL REFERENCES things);""",
    )


def write_things(folder: Path, things: list[tuple[str, str]], uses: list[str]) -> None:
    rows = [{"code": code, "name": name} for code, name in things]
    write_rows(folder / "things.csv", {"code": "text", "name": "text"}, rows)
    named = [{"n": str(n), "thing.code": code} for n, code in enumerate(uses)]
    write_rows(folder / "uses.csv", {"n": "int", "thing.code": "text"}, named)


def assert_same_row(
    folder: Path, url: str, way: Way, spelled: tuple[str, str, str, str], **settings: int
) -> None:
    spelling, one, same, other = spelled
    make(url, spelling)
    write_things(folder, [(one, "x"), (other, "y")], [same, other, one])

    first = seed_in(way, folder, url, **settings)
    write_things(folder, [(same, "z"), (other, "y")], [one, other, same])
    second = seed_in(way, folder, url, **settings)

    assert (counted(first), counted(second)) == ((5, 0, 0), (0, 1, 4))
    assert rows_of(url, "SELECT n, name FROM uses JOIN things ON id = thing_id ORDER BY n") == [
        (0, "z"),
        (1, "y"),
        (2, "z"),
    ]


@pytest.mark.slow
@EACH_TYPE
def test_a_key_in_another_spelling_is_the_same_row(
    folder: Path, clean_postgres_url: str, way: Way, spelling: str, one: str, same: str, other: str
) -> None:
    assert_same_row(folder, clean_postgres_url, way, (spelling, one, same, other))


@pytest.mark.slow
@EACH_TYPE
def test_a_key_of_a_file_larger_than_a_batch_is_the_same_row(
    folder: Path, clean_postgres_url: str, spelling: str, one: str, same: str, other: str
) -> None:
    assert_same_row(folder, clean_postgres_url, Way(), (spelling, one, same, other), batch_rows=1)


@EACH_TYPE
def test_a_key_twice_in_two_spellings_is_a_fault_of_both_lines(
    folder: Path, clean_postgres_url: str, spelling: str, one: str, same: str, other: str
) -> None:
    make(clean_postgres_url, spelling)
    write_things(folder, [(one, "x"), (other, "y"), (same, "z")], [other])

    with pytest.raises(DataFaults) as caught:
        seed_in(Way(), folder, clean_postgres_url)

    assert [(f.rule, f.line) for f in caught.value.faults] == [("duplicate-key", 4)]
    assert "first at line 2" in caught.value.faults[0].message


@pytest.mark.parametrize(
    ("spelling", "bad"), [("inet", "10.0.0.999"), ("int4range", "[5,1]"), ("int[]", "{a}")]
)
@pytest.mark.parametrize("server", ["clean_postgres_url", "able_postgres_url"])
def test_a_key_that_its_type_does_not_take_is_a_fault(
    folder: Path, server: str, spelling: str, bad: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    make(url, spelling)
    write_things(folder, [(bad, "x")], [])

    with pytest.raises(DataFaults) as caught:
        seed_in(Way(), folder, url)

    assert [(f.rule, f.file, f.line, f.column) for f in caught.value.faults] == [
        ("type", "things.csv", 2, "code")
    ]


def test_keys_are_respelled_by_an_older_server(folder: Path, able_postgres_url: str) -> None:
    url = able_postgres_url
    make(url, "inet")
    write_things(folder, [("10.0.0.1", "x"), ("::1", "y")], ["10.0.0.1/32", "0:0::1/128"])

    assert counted(seed_in(Way(), folder, url)) == (4, 0, 0)
