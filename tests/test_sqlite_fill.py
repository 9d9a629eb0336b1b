"""Large tables of SQLite that are empty are filled faster, and what comes of it is the same to the letter."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from seedlab.database.connect import open_session, parse_target
from seedlab.database.sqlite import fill as sqlite_fill
from seedlab.database.sqlite import statements as sql
from seedlab.database.sqlite.connection import CountedConnection
from seedlab.database.sqlite.marks import sums_of_marks
from seedlab.database.sqlite.references import References
from seedlab.errors import DataFaults
from seedlab.flow import RowSet, Settings
from seedlab.insight.measuring.monitor import Monitor
from tests.support.seeding import counted, dump, execute, rows_of, seed, write
from tests.test_sqlite import EXACT

SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE '%seedlab%' ORDER BY 1, 2"
SHOP = """
CREATE TABLE makers (id CHAR(32) PRIMARY KEY, code TEXT NOT NULL, name TEXT COLLATE NOCASE);
CREATE TABLE parts (id CHAR(32) PRIMARY KEY, maker_id CHAR(32) NOT NULL REFERENCES makers (id),
  number INTEGER NOT NULL CHECK (number < 1000000), label TEXT, price NUMERIC(8, 2), UNIQUE (maker_id, number));
CREATE UNIQUE INDEX   "code of makers" on makers(code) ;
CREATE INDEX by_name ON makers (name COLLATE BINARY DESC, code);
CREATE UNIQUE INDEX Labels ON parts ( label ) WHERE label IS NOT NULL -- some have none
;
CREATE INDEX lower ON parts (lower(label), number * 2 DESC);
CREATE INDEX "it's" ON PARTS (price);
"""
PARTS = 3000
X = "0" * 31 + "1"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture
def filling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill tables however small they are."""
    monkeypatch.setattr(sqlite_fill, "LARGE", 1)


def shop(folder: Path, **parts: str) -> Path:
    """Makers and their parts; `parts` has lines of parts.csv that are other than they were, by number."""
    lines = {f"n{n}": f"m{n % 7},{n},part {n},{n / 4}" for n in range(1, PARTS + 1)} | parts
    makers = "".join(f"m{n},Maker {n}\n" for n in range(7))
    return write(
        folder,
        {
            "makers.csv": f"code,name\n{makers}",
            "parts.csv": "maker.code,number,label,price\n" + "\n".join(lines.values()) + "\n",
        },
    )


def was_filled(url: str) -> bool:
    """Rows lie in the order of their keys, as only a filled table has them."""
    found = rows_of(url, "SELECT maker_id, number FROM parts ORDER BY rowid LIMIT 50")
    return len({maker for maker, _ in found}) == 1


def test_a_filled_table_is_what_rows_one_by_one_make_it(tmp_path: Path, url: str, filling: None) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    folder = shop(tmp_path / "shop")
    for each in (url, other):
        execute(each, SHOP)
    before = rows_of(url, SCHEMA)

    runs = [seed(folder, url), seed(folder, other, disabled=["rebuild"])]

    assert [counted(run) for run in runs] == [(PARTS + 7, 0, 0)] * 2
    assert (was_filled(url), was_filled(other)) == (True, False)
    assert dump(url) == dump(other)
    assert rows_of(url, SCHEMA) == before == rows_of(other, SCHEMA)
    assert rows_of(url, "PRAGMA integrity_check") == [("ok",)]
    assert counted(seed(folder, url)) == (0, 0, PARTS + 7)


@pytest.mark.parametrize("index", ["maker_id, number", "number, maker_id"])
def test_rows_lie_as_the_index_of_their_key_has_them(
    tmp_path: Path, url: str, filling: None, index: str
) -> None:
    execute(url, SHOP.replace("UNIQUE (maker_id, number)", f"UNIQUE ({index})"))

    seed(shop(tmp_path / "shop"), url)

    by_text = ", ".join(f"CAST({name} AS TEXT)" for name in index.split(", "))
    lying, ordered = (f"SELECT number FROM parts ORDER BY {order}" for order in ("rowid", by_text))
    assert rows_of(url, lying) == rows_of(url, ordered)


def test_only_large_tables_are_filled(tmp_path: Path, url: str) -> None:
    execute(url, SHOP)

    run = seed(shop(tmp_path / "shop"), url)

    assert sqlite_fill.LARGE == 20_000
    assert not was_filled(url)
    assert run.outcomes.created == PARTS + 7


FAULTS = {
    "unique": {"n2999": "m3,2999,part 5,1"},  # an index that is made when all rows are there
    "key": {"n2999": "m1,1,other,1"},
    "check": {"n7": "m0,1000001,seven,1", "n2000": "m5,1000002,more,1"},
    "value": {"n7": "m0,7,seven,0.123456789012345678901"},
    "several": {"n7": "m0,1000001,seven,1", "n2999": "m3,2999,part 5,1"},
}


@pytest.mark.parametrize("parts", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_told_as_it_is_of_single_rows(
    tmp_path: Path, url: str, filling: None, parts: dict[str, str]
) -> None:
    folder = shop(tmp_path / "shop", **parts)
    execute(url, SHOP)
    before = rows_of(url, SCHEMA)
    found = []

    for disabled in ([], ["rebuild"]):
        with pytest.raises(DataFaults) as caught:
            seed(folder, url, disabled=disabled)
        found.append(
            [(each.rule, each.message, each.file, each.line, each.row) for each in caught.value.faults]
        )

    assert found[0] == found[1]
    assert found[0]
    assert rows_of(url, SCHEMA) == before
    assert rows_of(url, "SELECT count(*) FROM parts") == [(0,)]


def test_rows_that_the_target_refuses_are_set_apart_as_ever(tmp_path: Path, url: str, filling: None) -> None:
    folder = shop(tmp_path / "shop", **FAULTS["several"])
    other = f"sqlite:///{tmp_path / 'other.db'}"
    for each in (url, other):
        execute(each, SHOP)

    runs = [
        seed(folder, url, rejects=tmp_path / "a"),
        seed(folder, other, rejects=tmp_path / "b", disabled=["rebuild"]),
    ]

    assert [run.outcomes.rejected for run in runs] == [2, 2]
    assert [run.outcomes.created for run in runs] == [PARTS + 5] * 2
    assert dump(url) == dump(other)


ORPHANS = (
    "CREATE TABLE colours (code TEXT PRIMARY KEY); ALTER TABLE parts ADD colour TEXT REFERENCES {} (code)"
)


@pytest.mark.parametrize("parent", ["colours", "nowhere"])
def test_a_reference_that_leads_nowhere_is_found(
    tmp_path: Path, url: str, filling: None, parent: str
) -> None:
    """Our own look-ups find those of the files; this one is of a default that only SQLite knows."""
    execute(url, SHOP + ORPHANS.format(parent))
    execute(url, "ALTER TABLE parts ADD shade TEXT DEFAULT 'x' REFERENCES colours (code)")
    folder = shop(tmp_path / "shop")

    told = []
    for disabled in ([], ["rebuild"]):
        with pytest.raises(Exception, match=r"refer|constraint|no such table") as caught:
            seed(folder, url, disabled=disabled)
        told.append((type(caught.value), str(caught.value)))

    assert told[0] == told[1]
    assert rows_of(url, "SELECT count(*) FROM makers") == [(0,)]


KEYS = """
CREATE TABLE owners (id CHAR(32) PRIMARY KEY, code TEXT UNIQUE);
CREATE TABLE things (id CHAR(32) PRIMARY KEY, code TEXT UNIQUE, owner_id {column} {references});
"""
KNOWN = {
    "uuid": ("CHAR(32)", "REFERENCES owners (id)", "m", False),
    "implied": ("CHAR(32)", "REFERENCES owners", "m", False),
    "itself": ("CHAR(32)", "REFERENCES things (id)", "t", False),
    "orphan": ("CHAR(32)", "REFERENCES owners (id)", "x", True),
    "text": ("TEXT", "REFERENCES owners (code)", "m", True),
    "bent": ("UUID", "REFERENCES owners (id)", "m", True),  # a number where it looks like one
}


@pytest.mark.parametrize(("column", "references", "leads", "doubtful"), KNOWN.values(), ids=KNOWN)
def test_sqlite_is_asked_only_for_references_that_are_not_known(
    tmp_path: Path, url: str, column: str, references: str, leads: str, doubtful: bool
) -> None:
    execute(url, KEYS.format(column=column, references=references))
    with closing(open_session(parse_target(url, "test"), Settings(), Monitor(), "test")) as session:
        tables = session.catalog().tables
    ids = {"m": 1, "t": 2, "x": 3}
    known = References.of([tables["owners"], tables["things"]])

    for owner in (ids[leads], None):
        frame = {"id": [2 if owner else 4], "owner_id": [owner]}
        known.add(tables["things"], pl.DataFrame(frame, schema=dict.fromkeys(frame, pl.UInt128)))
    known.add(tables["owners"], pl.DataFrame({"id": [1]}, schema={"id": pl.UInt128}))

    alone = References.of([tables["things"]])
    known.judge()
    alone.judge()

    assert known.doubtful == (["things"] if doubtful else [])
    assert alone.doubtful == ([] if leads == "t" else ["things"])


def test_a_reference_is_looked_up_in_sqlite_only_where_it_may(
    tmp_path: Path, url: str, filling: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second parent is text; what is asked is counted."""
    execute(url, SHOP + "CREATE TABLE notes (number INTEGER, label TEXT UNIQUE REFERENCES makers (code));")
    folder = write(shop(tmp_path / "shop"), {"notes.csv": "number,label\n1,m1\n"})
    asked, run = [], CountedConnection.run

    def told(
        connection: CountedConnection, statement: str, parameters: tuple[object, ...] = ()
    ) -> list[object]:
        if statement == sql.ANY_ORPHAN:
            asked.append(parameters)
        return run(connection, statement, parameters)

    monkeypatch.setattr(CountedConnection, "run", told)

    seed(folder, url)

    assert asked == [("notes",)]


MINDFUL = {
    "trigger": "CREATE TABLE log (n); CREATE TRIGGER t AFTER INSERT ON parts BEGIN INSERT INTO log VALUES (new.number); END",
    "conflict": "CREATE TABLE other (a UNIQUE ON CONFLICT REPLACE)",
}


@pytest.mark.parametrize("ddl", MINDFUL.values(), ids=MINDFUL)
def test_where_order_or_verb_matter_rows_come_one_by_one(
    tmp_path: Path, url: str, filling: None, ddl: str
) -> None:
    execute(url, SHOP + ddl)

    seed(shop(tmp_path / "shop"), url)

    assert not was_filled(url)
    if "log" in ddl:
        assert rows_of(url, "SELECT n FROM log LIMIT 3") == [(1,), (2,), (3,)]


def test_what_analyze_left_stays(tmp_path: Path, url: str, filling: None) -> None:
    execute(url, f"{SHOP} INSERT INTO makers VALUES ('a', 'b', 'c'); ANALYZE; DELETE FROM makers;")
    statistics = "SELECT * FROM sqlite_stat1 ORDER BY 1, 2"
    before = rows_of(url, statistics)

    seed(shop(tmp_path / "shop"), url)

    assert rows_of(url, statistics) == before != []


def test_ids_that_sqlite_gives_go_by_the_files_order(tmp_path: Path, url: str, filling: None) -> None:
    execute(url, "CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT UNIQUE)")

    seed(write(tmp_path / "words", {"words.csv": "word\nz\nb\nm\n"}), url)

    assert rows_of(url, "SELECT id, word FROM words") == [(1, "z"), (2, "b"), (3, "m")]


# ---- the ledger -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("declared", "text"), [(each[0], each[1]) for each in EXACT if each[1] is not None])
def test_marks_made_on_the_way_are_those_of_the_stored_rows(
    tmp_path: Path, url: str, filling: None, declared: str, text: str
) -> None:
    execute(url, f"CREATE TABLE things (code TEXT PRIMARY KEY, value {declared})")
    quoted = text.replace('"', '""')

    seed(write(tmp_path / "things", {"things.csv": f'code,value\nb,"{quoted}"\na,\n'}), url)

    check_marks(url, "things")


@pytest.mark.parametrize("declared", ["NUMERIC", "FLOAT"])
def test_marks_know_how_different_numbers_of_a_column_are_kept(
    tmp_path: Path, url: str, filling: None, declared: str
) -> None:
    """Equal numbers are answered once, however they are spelled; the largest are kept as they come."""
    execute(url, f"CREATE TABLE things (code TEXT PRIMARY KEY, value {declared})")
    numbers = ["0.5", "2", "2.0", "0.5", "-2", "", "4503599627370496", "9223372036854775807", "1e19", "2e1"]
    if declared != "NUMERIC":  # a double would not keep its last digit
        numbers.remove("9223372036854775807")
    lines = "".join(f"c{n},{number}\n" for n, number in enumerate(numbers))

    seed(write(tmp_path / "things", {"things.csv": f"code,value\n{lines}"}), url)

    check_marks(url, "things")


@pytest.mark.parametrize("value", ["-0.0", "0", "1e20", "-3", "2251799813685248", "9007199254740993e3"])
@pytest.mark.parametrize("declared", ["REAL", "NUMERIC", "FLOAT", "FLOATING POINT", "DATETIME", "JSON"])
def test_marks_know_how_numbers_are_kept(
    tmp_path: Path, url: str, filling: None, declared: str, value: str
) -> None:
    execute(url, f"CREATE TABLE things (code TEXT PRIMARY KEY, value {declared})")
    folder = write(tmp_path / "things", {"things.csv": f"code,value\nb,{value}\na,\n"})

    try:
        seed(folder, url)
    except DataFaults:
        assert rows_of(url, "SELECT * FROM things") == []
    else:
        check_marks(url, "things")


def check_marks(url: str, table: str) -> None:
    """What the ledger has of a table is what there is in it."""
    session = open_session(parse_target(url, "test"), Settings(), Monitor(), "test")
    with closing(session):
        session.catalog(rows_of(url, "SELECT project FROM seedlab_rows")[0][0])
        state = session.ledger.read("").tables[table]
        ((now, remembered),) = session.ledger.current_and_remembered([RowSet(state=state, frame=None)])
        (content,) = session.ledger.contents([state])
    assert sorted(now[n : n + 16] for n in range(0, len(now), 16)) == sorted(
        (remembered or b"")[n : n + 16] for n in range(0, len(now), 16)
    )
    assert content.content == state.content == sums_of_marks(now)


# ---- the transaction ------------------------------------------------------------------------------------


def test_foreign_keys_are_on_again_when_all_is_written(tmp_path: Path, url: str, filling: None) -> None:
    """Stages of their own transactions: the second one merges, with what foreign keys do on an update."""
    execute(url, SHOP)
    folder = shop(tmp_path / "shop")

    first = seed(folder, url, commit="stage")
    again = seed(folder, url, force=True, commit="stage")

    assert counted(first) == (PARTS + 7, 0, 0)
    assert counted(again) == (0, 0, PARTS + 7)


def test_a_program_that_writes_while_foreign_keys_are_switched_is_seen(
    tmp_path: Path, url: str, filling: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(url, SHOP)
    begin_again, came = sqlite_fill.fillable, []

    def in_between(connection: sqlite_fill.CountedConnection, *args: object) -> bool:
        def trace(statement: str) -> None:
            if "foreign_keys = OFF" in statement and not came:
                came.append(statement)
                execute(url, f"INSERT INTO makers VALUES ('{X}', 'm0', 'Somebody else')")

        connection.raw.set_trace_callback(trace)
        return begin_again(connection, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(sqlite_fill, "fillable", in_between)

    run = seed(shop(tmp_path / "shop"), url)

    assert came
    assert counted(run) == (PARTS + 6, 1, 0)
    assert rows_of(url, f"SELECT name FROM makers WHERE id = '{X}'") == [("Maker 0",)]


KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from seedlab.database.sqlite import session as sqlite, fill as sqlite_fill
from seedlab.database.sqlite import statements as sql
from tests.support.seeding import seed
sqlite_fill.LARGE = 1
sqlite.CACHE = "PRAGMA cache_size = 20"  # pages: so rows come to the file long before the commit
file, limit, connect = Path(sys.argv[3]), int(sys.argv[4]), sqlite3.connect

def look(statement):
    if file.stat().st_size > limit:
        os.kill(os.getpid(), signal.SIGKILL)

def traced(*args, **kwargs):
    connection = connect(*args, **kwargs)
    connection.set_trace_callback(look)
    return connection

sqlite3.connect = traced
seed(Path(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.slow
def test_a_process_killed_while_it_fills_leaves_the_file_as_it_was(tmp_path: Path, url: str) -> None:
    execute(url, SHOP)
    file = tmp_path / "test.db"
    folder = shop(tmp_path / "shop", **{f"x{n}": f"m{n % 7},{n},part {n},1" for n in range(4000, 60_000)})
    before, size = list(dump_sql(file)), file.stat().st_size

    command = [sys.executable, "-c", KILLED, folder, url, file, str(size + 1_000_000)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[1], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert file.stat().st_size > size + 1_000_000
    assert list(dump_sql(file)) == before
    assert rows_of(url, "PRAGMA integrity_check") == [("ok",)]


def dump_sql(file: Path) -> Iterator[str]:
    with closing(sqlite3.connect(file)) as raw:
        yield from raw.iterdump()
