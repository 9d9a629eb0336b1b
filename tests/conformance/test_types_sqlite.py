"""SQLite's types, exactly: what arrives is what the file says, whatever affinity would make of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedlab.errors import DataFaults
from tests.support.seeding import Way, counted, execute, rows_of, seed_in, write
from tests.support.type_values_sqlite import LOOSE, STRICT, Kept
from tests.support.writing import FORMATS, write_rows

KINDS = pytest.mark.parametrize(
    ("every", "options"), [(LOOSE, ""), (STRICT, "STRICT")], ids=["loose", "strict"]
)


def make(url: str, every: tuple[Kept, ...], options: str) -> None:
    columns = "".join(f", c{n} {each.type}" for n, each in enumerate(every))
    execute(url, f"CREATE TABLE things (n INTEGER PRIMARY KEY{columns}) {options}")


def write_columns(folder: Path, form: str, columns: list[list[str | None]], every: tuple[Kept, ...]) -> None:
    kinds = {
        f"c{n}": "json" if each.type == "JSON" and form in ("json", "jsonl", "yaml") else "text"
        for n, each in enumerate(every)
    }
    height = max(map(len, columns))
    rows = [
        {"n": str(m)} | {name: (c[m] if m < len(c) else None) for name, c in zip(kinds, columns, strict=True)}
        for m in range(height)
    ]
    write_rows(folder / f"things.{form}", {"n": "int", **kinds}, rows)


def stored(url: str, every: tuple[Kept, ...]) -> list[list[object]]:
    """Values as they are kept: text, integer, float, bytes."""
    columns = ", ".join(f"c{n}" for n in range(len(every)))
    return [
        list(each) for each in zip(*rows_of(url, f"SELECT {columns} FROM things ORDER BY n"), strict=True)
    ]


@KINDS
@pytest.mark.parametrize("form", FORMATS)
def test_every_type_is_exact(
    folder: Path, sqlite_url: str, way: Way, form: str, every: tuple[Kept, ...], options: str
) -> None:
    make(sqlite_url, every, options)
    said = [[t for t in each.taken if form in ("csv", "tsv", "parquet") or "  " not in t] for each in every]
    columns: list[list[str | None]] = [[*each] for each in said]
    write_columns(folder, form, columns, every)
    height = max(map(len, columns))

    runs = [seed_in(way, folder, sqlite_url) for _ in range(2)]

    expected = [
        [*(each.taken[t] for t in mine), *[None] * (height - len(mine))]
        for each, mine in zip(every, said, strict=True)
    ]
    assert repr(stored(sqlite_url, every)) == repr(expected)
    assert [counted(run) for run in runs] == [(height, 0, 0), (0, 0, height)]


@KINDS
def test_a_value_that_changes_or_drifts_is_written(
    folder: Path, sqlite_url: str, way: Way, every: tuple[Kept, ...], options: str
) -> None:
    """In its own row a column has its first value, then its second, then, by another hand, NULL."""
    make(sqlite_url, every, options)
    rows = len(every)
    for nth in (0, 1):
        columns = [
            [list(each.taken)[nth] if m == n else None for m in range(rows)] for n, each in enumerate(every)
        ]
        write_columns(folder, "csv", columns, every)
        run = seed_in(way, folder, sqlite_url)
        assert counted(run) == ((0, rows, 0) if nth else (rows, 0, 0))
    before = stored(sqlite_url, every)
    execute(sqlite_url, "".join(f"UPDATE things SET c{n} = NULL WHERE n = {n};" for n in range(rows)))

    run = seed_in(way, folder, sqlite_url)

    assert counted(run) == (0, rows, 0)
    assert stored(sqlite_url, every) == before


@KINDS
def test_what_a_column_would_bend_is_a_fault(
    folder: Path, sqlite_url: str, every: tuple[Kept, ...], options: str
) -> None:
    make(sqlite_url, every, options)
    write_columns(folder, "csv", [[value for value, _ in each.bad] for each in every], every)

    with pytest.raises(DataFaults) as caught:
        seed_in(Way(), folder, sqlite_url)

    told = sorted((every[int((f.column or "c0")[1:])].type, f.line, f.rule) for f in caught.value.faults)
    assert told == sorted((each.type, m + 2, rule) for each in every for m, (_, rule) in enumerate(each.bad))


@pytest.mark.parametrize("value", ["0.1234567890123456789", "9223372036854775809", "12345678901234567.5"])
@pytest.mark.parametrize("spelling", ["NUMERIC", "DECIMAL(40, 20)"])
def test_a_number_that_affinity_would_bend_is_a_fault(
    folder: Path, sqlite_url: str, way: Way, spelling: str, value: str
) -> None:
    execute(sqlite_url, f"CREATE TABLE things (n INTEGER PRIMARY KEY, v {spelling})")
    rows = [{"n": "1", "v": "1"}, {"n": "2", "v": value}]
    write_rows(folder / "things.csv", {"n": "int", "v": "numeric"}, rows)

    with pytest.raises(DataFaults) as caught:
        seed_in(way, folder, sqlite_url)

    assert [(f.rule, f.line, f.column) for f in caught.value.faults] == [("rounding", 3, "v")]
    assert rows_of(sqlite_url, "SELECT * FROM things") == []


MOMENTS = "CREATE TABLE logs (id INTEGER PRIMARY KEY, at DATETIME, due TIME)"
SAID = "id,at,due\n1,2024-01-01 00:00:00,10:00\n2,2024-01-01T00:00:00.5,10:00:00.000000\n3,2024-01-01 00:00:00.000000,\n"


def test_moments_keep_the_fraction_that_they_are_given(folder: Path, sqlite_url: str, way: Way) -> None:
    execute(sqlite_url, MOMENTS)
    write(folder, {"logs.csv": SAID})

    assert [counted(seed_in(way, folder, sqlite_url)) for _ in range(2)] == [(3, 0, 0), (0, 0, 3)]
    assert rows_of(sqlite_url, "SELECT at, due FROM logs ORDER BY id") == [
        ("2024-01-01 00:00:00", "10:00:00"),
        ("2024-01-01 00:00:00.500000", "10:00:00.000000"),
        ("2024-01-01 00:00:00.000000", None),
    ]


def test_of_a_moment_that_is_stored_with_other_zeros_nothing_is_changed(
    folder: Path, sqlite_url: str, way: Way
) -> None:
    stored = [(1, "2024-01-01 00:00:00.000000"), (2, "2024-01-01 00:00:00.5"), (3, "2024-01-01 00:00:00")]
    values = ", ".join(f"({n}, '{at}')" for n, at in stored)
    execute(sqlite_url, f"{MOMENTS}; INSERT INTO logs (id, at) VALUES {values};")
    write(
        folder,
        {"logs.csv": "id,at\n1,2024-01-01 00:00:00\n2,2024-01-01 00:00:00.500000\n3,2024-01-01T00:00:01\n"},
    )

    assert counted(seed_in(way, folder, sqlite_url)) == (0, 1, 2)
    assert rows_of(sqlite_url, "SELECT id, at FROM logs ORDER BY id") == [
        *stored[:2],
        (3, "2024-01-01 00:00:01"),
    ]


def test_moments_by_which_rows_are_known_have_one_spelling(folder: Path, sqlite_url: str, way: Way) -> None:
    execute(sqlite_url, "CREATE TABLE logs (at DATETIME PRIMARY KEY, n int)")
    execute(sqlite_url, "INSERT INTO logs VALUES ('2024-01-01 00:00:00.000000', 1)")
    write(folder, {"logs.csv": "at,n\n2024-01-01 00:00:00,2\n"})

    assert counted(seed_in(way, folder, sqlite_url)) == (0, 1, 0)
