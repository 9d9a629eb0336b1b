"""Every type of PostgreSQL, exactly: what a column takes arrives as it is, what it would bend is a fault.

One table has a column of each type, and as many rows: in its own row a type's value is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from seedlab.database.postgres import write as postgres_write
from seedlab.errors import DataFaults
from tests.support.asking import asking
from tests.support.cases import some
from tests.support.seeding import WAYS, Way, counted, execute, rows_of, seed_in, write
from tests.support.type_values import EVERY, EXTENDED, EXTENSIONS, TYPES, Values
from tests.support.writing import FORMATS, write_rows

DOCUMENTS = ("json", "jsonb")
WITH_JSON = ("json", "jsonl", "yaml")
Cells = list[list[str | None]]  # by column, then by row

# How a file is read and how rows are written do not know of each other: no need to cross them all.
EACH_WAY_AND_FORMAT = pytest.mark.parametrize(
    ("way", "form"),
    [*((Way(), form) for form in FORMATS), *((way, "csv") for way in WAYS if str(way) != "incremental")],
    ids=str,
)
EACH_SERVER = pytest.mark.parametrize(
    "server", some(["clean_postgres_url", "able_postgres_url"], "clean_postgres_url")
)


def named(n: int) -> str:
    return f"c{n:03}"


def make(url: str, every: Sequence[Values] = EVERY) -> None:
    columns = "".join(f", {named(n)} {each.type}" for n, each in enumerate(every))
    execute(
        url, f"{TYPES if every is EVERY else EXTENSIONS} CREATE TABLE things (n int PRIMARY KEY{columns})"
    )


def write_cells(folder: Path, form: str, cells: Cells, every: Sequence[Values] = EVERY) -> None:
    """JSON of a JSON column is written as it is where the format has a place for it."""
    own = {
        named(n): "json" if each.type in DOCUMENTS and form in WITH_JSON else "text"
        for n, each in enumerate(every)
    }
    rows = [
        {"n": str(m), **dict(zip(own, row, strict=True))} for m, row in enumerate(zip(*cells, strict=True))
    ]
    write_rows(folder / f"things.{form}", {"n": "int", **own}, rows)


def cells_of(form: str, moved: int = 0, every: Sequence[Values] = EVERY) -> Cells:
    """Each type's values in turn, once NULL. A column's value in its own row is `moved` on to the next."""
    found: Cells = []
    for n, each in enumerate(every):
        taken = [v for v in each.taken if form not in WITH_JSON or v not in each.unsaid]
        column: list[str | None] = [taken[m % len(taken)] for m in range(len(every))]
        column[n] = taken[(n + moved) % len(taken)]
        column[(n + len(every) // 2) % len(every)] = None
        found.append(column)
    return found


def stored(url: str, every: Sequence[Values] = EVERY) -> Cells:
    columns = ", ".join(f"{named(n)}::text" for n in range(len(every)))
    return [
        list(each) for each in zip(*rows_of(url, f"SELECT {columns} FROM things ORDER BY n"), strict=True)
    ]


def as_the_server_reads(url: str, cells: Cells, every: Sequence[Values] = EVERY) -> Cells:
    """What the server itself makes of each text."""
    with asking(url) as connection:
        return [
            [
                v
                for (v,) in connection.execute(
                    f"SELECT v::{each.type}::text FROM unnest(%s::text[]) WITH ORDINALITY u(v, n) ORDER BY n",
                    [column],
                ).fetchall()
            ]
            for each, column in zip(every, cells, strict=True)
        ]


# ---- exact ----------------------------------------------------------------------------------------------


def assert_exact(folder: Path, url: str, way: Way, form: str, every: Sequence[Values] = EVERY) -> None:
    """All values arrive, and are found again; of each type one that changes is one that is written."""
    make(url, every)
    rows, cells = len(every), cells_of(form, every=every)
    write_cells(folder, form, cells, every)

    runs = [seed_in(way, folder, url) for _ in range(2)]

    assert stored(url, every) == as_the_server_reads(url, cells, every)
    assert [counted(run) for run in runs] == [(rows, 0, 0), (0, 0, rows)]

    cells = cells_of(form, moved=1, every=every)
    write_cells(folder, form, cells, every)

    run = seed_in(way, folder, url)

    assert stored(url, every) == as_the_server_reads(url, cells, every)
    assert counted(run) == (0, rows, 0)


@pytest.mark.slow
@EACH_WAY_AND_FORMAT
def test_every_type_is_exact(folder: Path, clean_postgres_url: str, way: Way, form: str) -> None:
    assert_exact(folder, clean_postgres_url, way, form)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "json"])
def test_every_type_is_exact_on_the_systems_own_server(
    folder: Path, able_postgres_url: str, form: str
) -> None:
    assert_exact(folder, able_postgres_url, Way(), form)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_types_of_extensions_are_exact(folder: Path, able_postgres_url: str, way: Way, form: str) -> None:
    assert_exact(folder, able_postgres_url, way, form, EXTENDED)


@pytest.mark.slow
def test_every_type_is_exact_through_a_staging_table(
    folder: Path, clean_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_write, "ARRAY_ROWS", 0)

    assert_exact(folder, clean_postgres_url, Way(), "csv")


@pytest.mark.slow
def test_of_every_type_a_value_that_drifts_is_seen_and_mended(
    folder: Path, clean_postgres_url: str, way: Way
) -> None:
    url = clean_postgres_url
    make(url)
    cells, others = cells_of("csv"), cells_of("csv", moved=1)
    write_cells(folder, "csv", cells)
    seed_in(way, folder, url)
    with asking(url) as connection:
        for n, column in enumerate(others):
            connection.execute(f"UPDATE things SET {named(n)} = %s WHERE n = %s", [column[n], n])

    run = seed_in(way, folder, url)

    assert counted(run) == (0, len(EVERY), 0)
    assert stored(url) == as_the_server_reads(url, cells)


# ---- refused --------------------------------------------------------------------------------------------


def assert_refused(folder: Path, url: str, every: Sequence[Values]) -> None:
    """Each bad value, among good ones, is told once: its line, its column and its rule."""
    make(url, every)
    rows = 2 * max(len(each.bad) for each in every)
    cells = [
        [text for bad, _ in each.bad for text in (each.taken[0], bad)] + [None] * (rows - 2 * len(each.bad))
        for each in every
    ]
    write_cells(folder, "csv", cells, every)

    with pytest.raises(DataFaults) as caught:
        seed_in(Way(), folder, url)

    types = {named(n): each.type for n, each in enumerate(every)}
    told = sorted((types[f.column or ""], f.line, f.rule) for f in caught.value.faults)
    assert told == sorted(
        (each.type, 2 * m + 3, rule) for each in every for m, (_, rule) in enumerate(each.bad)
    )
    assert rows_of(url, "SELECT count(*) FROM things") == [(0,)]


@pytest.mark.slow
@EACH_SERVER
def test_what_a_column_would_bend_is_a_fault_of_its_line(
    folder: Path, server: str, request: pytest.FixtureRequest
) -> None:
    assert_refused(folder, request.getfixturevalue(server), EVERY)


@pytest.mark.slow
def test_what_types_of_extensions_do_not_take_is_a_fault_of_its_line(
    folder: Path, able_postgres_url: str
) -> None:
    assert_refused(folder, able_postgres_url, EXTENDED)


@EACH_SERVER
def test_a_label_that_an_enum_lacks_is_a_fault_that_names_what_it_has(
    folder: Path, server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    many = ", ".join(f"'colour {n}'" for n in range(40))
    execute(
        url,
        f"CREATE TYPE few AS ENUM ('red', 'green'); CREATE TYPE many AS ENUM ({many}, 'violet');"
        "CREATE TABLE things (n int PRIMARY KEY, a few, b many)",
    )
    write(folder, {"things.csv": "n,a,b\n1,red,violet\n2,gren,violett\n3,x,nothing\n"})

    with pytest.raises(DataFaults) as caught:
        seed_in(Way(), folder, url)

    told = [(f.line, f.column, f.message.rpartition("; ")[2]) for f in caught.value.faults]
    first = ", ".join(f"'colour {n}'" for n in range(5))
    assert told == [
        (3, "a", "its labels are 'green', 'red'"),
        (3, "b", "the nearest labels are 'violet'"),
        (4, "a", "its labels are 'red', 'green'"),
        (4, "b", f"its labels are {first} and 36 more"),
    ]


@EACH_SERVER
def test_a_value_that_a_domain_does_not_take_is_a_fault_that_says_what_it_takes(
    folder: Path, server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    execute(
        url,
        """
        CREATE DOMAIN small AS int CHECK (VALUE < 100);
        CREATE DOMAIN "Odd" AS small CHECK (VALUE % 2 = 1);
        CREATE DOMAIN plain AS inet;
        CREATE TABLE things (n int PRIMARY KEY, a small, b "Odd", c plain);
        """,
    )
    write(folder, {"things.csv": "n,a,b,c\n1,1,1,::1\n2,100,2,x\n3,3,x,::1\n"})

    with pytest.raises(DataFaults) as caught:
        seed_in(Way(), folder, url)

    told = [(f.line, f.column, f.message.partition("; ")[2]) for f in caught.value.faults]
    assert told == [
        (3, "a", "the type is a domain over integer CHECK ((VALUE < 100))"),
        (
            3,
            "b",
            "the type is a domain over integer CHECK ((VALUE < 100)) CHECK ((((VALUE)::integer % 2) = 1))",
        ),
        (3, "c", "the type is a domain over inet"),
        (
            4,
            "b",
            "the type is a domain over integer CHECK ((VALUE < 100)) CHECK ((((VALUE)::integer % 2) = 1))",
        ),
    ]


@EACH_SERVER
def test_a_time_that_lacks_what_its_column_needs_says_so(
    folder: Path, server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    execute(url, "CREATE TABLE things (n int PRIMARY KEY, a timestamptz, b tstzrange)")
    write(folder, {"things.csv": 'n,a,b\n1,2024-01-01,\n2,Jan 8 1999 10:00,"[2024-01-01,)"\n'})

    with pytest.raises(DataFaults) as caught:
        seed_in(Way(), folder, url)

    assert [(f.line, f.column, "UTC offset" in f.message) for f in caught.value.faults] == [
        (2, "a", True),
        (3, "a", True),
        (3, "b", True),
    ]
