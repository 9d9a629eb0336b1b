"""What only SQLite's ledger does: hashes of our own, that see what SQLite itself calls equal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl
import pytest

from seedlab.database.ledger import split
from seedlab.flow import RowSet
from tests.support.ledgers import LOAD, MEMO, Open, opener


@pytest.fixture
def opened(sqlite_url: str) -> Iterator[Open]:
    with opener(sqlite_url) as open_it:
        yield open_it


VALUES = [
    ("1", "1.0"),
    ("1", "'1'"),
    ("0.0", "-1e-320"),
    ("0.1", "0.10000000000000002"),
    ("9007199254740993", "9007199254740993.0"),
    ("''", "NULL"),
    ("'NULL'", "NULL"),
    ("'a'", "x'61'"),
    ("'a'", "'A'"),
    ("'a'", "'a '"),
    ("x'00'", "x'0000'"),
    ("x'00'", "x''"),
    ("'1,2'", "'1'',''2'"),
    ("'a' || char(0) || 'b'", "'a' || char(0) || 'c'"),
    ("'a'", "'a' || char(0)"),
    ("CAST(x'ff' AS text)", "CAST(x'fe' AS text)"),
    ("9e999", "-9e999"),
]


@pytest.mark.parametrize(("old", "new"), VALUES)
def test_contents_see_values_whatever_their_storage_class(opened: Open, old: str, new: str) -> None:
    target = opened("CREATE TABLE things (id INTEGER PRIMARY KEY, value COLLATE NOCASE);")
    found = []
    for value in (old, new, old):
        target.execute(f"DELETE FROM things; INSERT INTO things VALUES (1, {value})")
        found.append(target.content("things"))

    assert found[0] != found[1]
    assert found[0] == found[2]


def test_contents_tell_which_column_a_value_is_in(opened: Open) -> None:
    target = opened("CREATE TABLE things (id INTEGER PRIMARY KEY, a text, b text);")
    found = []
    for a, b in (("'x'", "NULL"), ("NULL", "'x'"), ("'x,NULL'", "''"), ("'x'',NULL'", "NULL")):
        target.execute(f"DELETE FROM things; INSERT INTO things VALUES (1, {a}, {b})")
        found.append(target.content("things"))

    assert len(set(found)) == 4


def test_a_key_is_found_as_the_column_stores_and_compares_it(opened: Open) -> None:
    target = opened(
        "CREATE TABLE prices (day date, code text COLLATE NOCASE, number int, PRIMARY KEY (day, code, number));"
        "INSERT INTO prices VALUES ('2026-01-02', 'ab', 7)"
    )
    state = target.state("prices")
    keys = pl.DataFrame({"day": ["2026-01-02"], "code": ["AB"], "number": ["7"]})

    some, every = target.ledger.marks([RowSet(state=state, frame=keys), RowSet(state=state, frame=None)])

    assert len(every) == 16
    assert some == every


def test_the_hashes_of_many_rows_differ(opened: Open) -> None:
    target = opened("CREATE TABLE things (id INTEGER PRIMARY KEY, value);")
    target.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
        "INSERT INTO things SELECT i, NULL FROM n"
    )

    (marks,) = target.ledger.marks([RowSet(state=target.state("things"), frame=None)])

    assert len({key for key, _ in split(marks)}) == 5000


def test_tables_of_the_ledger_are_no_targets(opened: Open) -> None:
    target = opened()
    target.remember(MEMO, target.state())

    assert sorted(target.session.catalog().tables) == ["cities"]


def test_a_temporary_table_of_the_same_name_is_not_looked_at(opened: Open) -> None:
    target = opened()
    target.remember(MEMO, target.state())
    before = target.content()
    target.session.create(["CREATE TEMP TABLE cities (id int, code text, name text)"])

    assert target.content() == before
    assert target.ledger.drifted([target.state()]) == frozenset()


def test_the_ledger_is_read_before_the_catalog_so_that_a_seed_in_between_is_noticed(opened: Open) -> None:
    target, other = opened(), opened("")
    target.remember(MEMO)
    looked: list[str] = []
    target.session.connection.raw.set_trace_callback(looked.append)  # type: ignore[attr-defined]

    target.session.catalog("school")
    generation, catalog = (
        next(n for n, statement in enumerate(looked) if word in statement)
        for word in ("generation", "cities")
    )

    assert generation < catalog
    before = target.ledger.generation()
    other.remember(replace(MEMO, run_id="r2"))
    assert target.ledger.read("school").generation == before
    assert target.ledger.generation() > before


def test_only_packs_that_there_are_are_asked_for(opened: Open) -> None:
    target = opened("CREATE TABLE cities (id INTEGER PRIMARY KEY);")
    other = replace(LOAD, table="pupils")
    target.remember(replace(MEMO, loads=(LOAD, other), contents=([b"1", b"2", b"3"], [b"4"])))
    target.read()
    before = target.monitor.counters.statements

    found = target.ledger.recall("school", [LOAD.name, other.name])

    assert found == [[b"1", b"2", b"3"], [b"4"]]
    assert target.monitor.counters.statements - before == 4
