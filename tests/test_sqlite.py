"""SQLite takes what the files say and gives it back equal, or refuses it by file and row."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from uuid import UUID

import polars as pl
import pytest

from seedlab.database.connect import open_session, parse_target
from seedlab.database.durations import milliseconds
from seedlab.database.sqlite.encode import encode
from seedlab.database.sqlite.session import SqliteSession
from seedlab.errors import ConfigurationError, ConnectionFailed, DataFaults, LockHeld, WriteError
from seedlab.flow import HANDLE, Ask, Column, Outcomes, Reserve, Settings, Suspect, WritePlan
from seedlab.insight.measuring.monitor import Monitor
from tests.support.loads import batch, load_of, loads_of, outcomes, source_frame, table_write, write_plan

COPY, BULK = frozenset({"cache", "copy"}), frozenset({"cache"})
A = UUID("00000000-0000-8000-8000-00000000000a")
B = UUID("00000000-0000-8000-8000-00000000000b")

Open = Callable[..., SqliteSession]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


@pytest.fixture
def opened(database: Path) -> Iterator[Open]:
    sessions: list[SqliteSession] = []

    def open_it(ddl: str = "", **settings: str) -> SqliteSession:
        raw = sqlite3.connect(database)
        raw.executescript(ddl)
        raw.close()
        target = parse_target(f"sqlite:///{database}", "test")
        session = open_session(target, Settings(**settings), Monitor(), "test")
        assert isinstance(session, SqliteSession)
        sessions.append(session)
        return session

    yield open_it
    for session in sessions:
        session.close()


def rows(database: Path, question: str) -> list[tuple[object, ...]]:
    raw = sqlite3.connect(database)
    try:
        return raw.execute(question).fetchall()
    finally:
        raw.close()


def write(
    session: SqliteSession,
    table: str,
    columns: Mapping[str, Sequence[str | UUID | None]],
    switches: frozenset[str] = COPY,
    **load: object,
) -> Outcomes:
    """Write one batch and commit."""
    catalog = session.catalog()
    made = load_of(catalog, table, columns, **load)
    ids = {made.made: [None] * len(next(iter(columns.values())))} if made.made else {}
    ready = batch(made, {**ids, **columns})
    session.begin()
    written = session.write(write_plan(catalog, [ready], catalog.empty), switches)
    session.commit()
    return outcomes(written)[table]


def refused(session: SqliteSession, *args: object, **load: object) -> DataFaults:
    with pytest.raises(DataFaults) as caught:
        write(session, *args, **load)
    session.rollback()
    return caught.value


# ---- catalog ----


def test_the_catalog_knows_tables_keys_and_foreign_keys(opened: Open) -> None:
    session = opened(
        """CREATE TABLE "order" (id INTEGER PRIMARY KEY, code VARCHAR(10) NOT NULL UNIQUE, note TEXT DEFAULT 'x',
             total NUMERIC(10, 2), twice INTEGER AS (id * 2) STORED);
           CREATE TABLE line (a TEXT, b TEXT, "order" REFERENCES "Order", other INTEGER,
             PRIMARY KEY (b, a), CONSTRAINT to_other FOREIGN KEY (other) REFERENCES "order" (id)) WITHOUT ROWID;
           CREATE UNIQUE INDEX part ON line (a) WHERE b > 'x'; CREATE UNIQUE INDEX expr ON line (lower(a));
           CREATE VIEW seen AS SELECT 1 AS one; CREATE TABLE seedlab_runs (id INTEGER);
           INSERT INTO line (a, b) VALUES ('a', 'b');"""
    )

    catalog = session.catalog()
    order, line = catalog.tables["order"], catalog.tables["line"]

    assert list(catalog.tables) == ["line", "order", "seen"]
    assert catalog.empty == {"order"}
    assert catalog.tables["seen"].kind == "view"
    assert order.columns["id"].sequence == "rowid"
    assert order.columns["total"].scale == 2
    assert order.columns["twice"].generated
    assert order.columns["note"].default
    assert not order.columns["code"].nullable
    assert {key.columns: key.primary for key in order.keys} == {("id",): True, ("code",): False}
    assert {key.columns: key.primary for key in line.keys} == {("b", "a"): True}
    assert line.columns["a"].sequence is None
    assert {key.name: (key.parent, key.parent_columns) for key in line.foreign_keys} == {
        "fk_line_order": ("order", ("id",)),
        "to_other": ("order", ("id",)),
    }


def test_the_catalog_costs_few_statements(opened: Open) -> None:
    session = opened(";".join(f"CREATE TABLE t{n} (id CHAR(32) PRIMARY KEY)" for n in range(50)))

    session.catalog()

    assert session.recorder.counters.statements == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("SMALLINT", "int2"),
        ("INTEGER", "int8"),
        ("BIGINT", "int8"),
        ("DECIMAL(5,1)", "numeric"),
        ("DOUBLE PRECISION", "float8"),
        ("BOOLEAN", "bool"),
        ("DATETIME", "timestamp"),
        ("TIMESTAMP WITH TIME ZONE", "timestamptz"),
        ("JSON", "json"),
        ("NVARCHAR(3)", "varchar"),
        ("CLOB", "text"),
        ("", "text"),
        ("BLOB", "bytea"),
        ("UUID", "uuid"),
        ("CHAR(32)", "char"),
        ("STRING", "other"),
    ],
)
def test_a_declared_type_has_a_portable_kind(opened: Open, declared: str, kind: str) -> None:
    session = opened(f"CREATE TABLE t (id INTEGER PRIMARY KEY, c {declared})")

    assert session.catalog().tables["t"].columns["c"].kind == kind


@pytest.mark.parametrize(
    ("declared", "storage", "stored"),
    [
        ("CHAR(32)", "hex", A.hex),
        ("CHAR(36)", "dashed", str(A)),
        ("UUID", "dashed", str(A)),
        ("BLOB", "blob", A.bytes),
    ],
)
def test_a_uuid_is_kept_as_its_column_is_declared(
    opened: Open, database: Path, declared: str, storage: str, stored: object
) -> None:
    session = opened(
        f"""CREATE TABLE p (id {declared} PRIMARY KEY, code TEXT UNIQUE);
            CREATE TABLE c (id {declared} PRIMARY KEY, code TEXT UNIQUE, p_id {declared} REFERENCES p)"""
    )

    write(session, "p", {"id": [A], "code": ["p"]}, key=["code"])
    write(session, "c", {"id": [B], "p_id": [A], "code": ["c"]}, key=["code"])

    assert session.catalog().tables["c"].columns["p_id"].storage == storage
    assert rows(database, "SELECT p_id FROM c") == [(stored,)]


def test_a_stored_row_decides_how_uuids_are_kept(opened: Open) -> None:
    session = opened(
        f"""CREATE TABLE p (id VARCHAR(36) PRIMARY KEY); INSERT INTO p VALUES ('{A.hex}');
            CREATE TABLE q (id VARCHAR(36) PRIMARY KEY); INSERT INTO q VALUES ('not a uuid');
            CREATE TABLE c (id INTEGER PRIMARY KEY, p VARCHAR(36) REFERENCES p, q VARCHAR(36) REFERENCES q)"""
    )

    columns = session.catalog().tables["c"].columns

    assert (columns["p"].kind, columns["p"].storage) == ("uuid", "hex")
    assert (columns["q"].kind, columns["q"].storage, columns["q"].length) == ("varchar", "", 36)


# ---- values ----


EXACT = [
    ("TEXT", "007", "007"),
    ("TEXT", "NO", "NO"),
    ("TEXT", "1.10", "1.10"),
    ("TEXT", "", ""),
    ("TEXT", None, None),
    ("", "007", "007"),
    ("INTEGER", "007", 7),
    ("BIGINT", "-9223372036854775808", -(2**63)),
    ("NUMERIC(10,2)", "1.10", 1.1),
    ("NUMERIC", "12345678901234567", 12345678901234567),
    ("NUMERIC(20,1)", "5.0", 5),
    ("FLOAT", "1e-3", 0.001),
    ("FLOAT", "0.12345678901234568", 0.12345678901234568),
    ("BOOLEAN", "Yes", 1),
    ("BOOLEAN", "f", 0),
    ("DATE", "2024-02-29", "2024-02-29"),
    ("TIME", "10:00", "10:00:00"),
    ("DATETIME", "2024-02-29T10:00:00.5", "2024-02-29 10:00:00.500000"),
    ("TIMESTAMPTZ", "2024-03-01 01:30+02:00", "2024-02-29 23:30:00"),
    ("TIMESTAMPTZ", "2024-03-01T01:30:00Z", "2024-03-01 01:30:00"),
    ("JSON", '{"a": 1.10}', '{"a": 1.10}'),
    ("JSON", "1.10", 1.1),
    ("BLOB", "\\x00ff", b"\x00\xff"),
    ("STRING", "5", 5),
]


@pytest.mark.parametrize("switches", [COPY, BULK], ids=["copy", "bulk"])
@pytest.mark.parametrize("empty", [True, False], ids=["direct", "staged"])
@pytest.mark.parametrize(("declared", "text", "stored"), EXACT)
def test_a_value_is_read_back_exactly(
    opened: Open,
    database: Path,
    declared: str,
    text: str | None,
    stored: object,
    empty: bool,
    switches: frozenset[str],
) -> None:
    session = opened(f"CREATE TABLE t (id INTEGER PRIMARY KEY, c {declared})")
    if not empty:
        write(session, "t", {"id": ["1"], "c": [None]})

    first = write(session, "t", {"id": ["2"], "c": [text]}, switches)
    again = write(session, "t", {"id": ["2"], "c": [text]}, switches)

    found = rows(database, "SELECT c FROM t WHERE id = 2")
    assert found == [(stored,)]
    assert type(found[0][0]) is type(stored) or declared.startswith("NUMERIC")
    assert first == Outcomes(created=1)
    assert again == Outcomes(unchanged=1)


@pytest.mark.parametrize(
    ("declared", "text", "rule"),
    [
        ("NUMERIC", "0.12345678901234567891", "rounding"),
        ("NUMERIC(30,2)", "12345678901234567.89", "rounding"),
        ("NUMERIC", "9223372036854775809", "rounding"),
        ("NUMERIC", "1e400", "overflow"),
        ("NUMERIC", "NaN", "type"),
        ("JSON", "12345678901234567890", "rounding"),
        ("STRING", "007", "rounding"),
        ("INTEGER", "9223372036854775808", "overflow"),
        ("SMALLINT", "40000", "overflow"),
        ("INTEGER", "1.0", "type"),
        ("FLOAT", "nan", "type"),
        ("FLOAT", "1e999", "overflow"),
        ("BOOLEAN", "maybe", "type"),
        ("DATE", "2024-02-30", "type"),
        ("DATE", "2024-W01-1", "type"),
        ("DATETIME", "2024-01-01 00:00:00+02:00", "type"),
        ("DATETIME", "2024-01-01 00:00:00.1234567", "rounding"),
        ("VARCHAR(3)", "four", "too-long"),
        ("UUID", "4711", "type"),
        ("BLOB", "\\xfg", "type"),
    ],
)
def test_a_value_that_sqlite_would_bend_is_refused(
    opened: Open, database: Path, declared: str, text: str, rule: str
) -> None:
    session = opened(f"CREATE TABLE t (id INTEGER PRIMARY KEY, c {declared})")

    faults = refused(session, "t", {"id": ["1", "2"], "c": [None, text]}).faults

    assert [(each.rule, each.file, each.row, each.column) for each in faults] == [(rule, "t.csv", 1, "c")]
    assert text not in faults[0].message
    assert rows(database, "SELECT * FROM t") == []


@pytest.mark.parametrize(
    ("declared", "bad", "rule"),
    [
        ("NUMERIC(4,1)", ["1.25", "1e3", "x"], ["rounding", "overflow", "type"]),
        ("JSON", ["{", "NaN", "{'a': 1}"], ["type", "type", "type"]),
        ("DATE", ["01.02.2024", "2024-13-01"], ["type", "type"]),
        ("VARCHAR(2)", ["abc"], ["too-long"]),
    ],
)
def test_suspects_are_judged_strictly(opened: Open, declared: str, bad: list[str], rule: list[str]) -> None:
    session = opened(f"CREATE TABLE t (id INTEGER PRIMARY KEY, c {declared})")
    good = {"NUMERIC(4,1)": "1.250e2", "JSON": '{"a": [1]}', "DATE": "2024-12-31", "VARCHAR(2)": "ab"}
    load = load_of(session.catalog(), "t", {"id": [], "c": []})
    frame = source_frame({"value": [good[declared], *bad]})

    answer = session.invalid([Suspect(load=load, column="c", frame=frame)])[0]

    assert answer["_seedlab_row"].to_list() == list(range(1, len(bad) + 1))
    assert answer["rule"].to_list() == rule


# ---- merging ----


@pytest.mark.parametrize("switches", [COPY, BULK], ids=["copy", "bulk"])
def test_only_rows_that_differ_are_written(opened: Open, database: Path, switches: frozenset[str]) -> None:
    session = opened(
        """CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE NOT NULL, name TEXT COLLATE NOCASE, n NUMERIC);
           INSERT INTO t VALUES (1, 'a', 'A', 1), (2, 'b', 'B', 2), (3, 'c', 'C', NULL), (9, 'z', 'Z', 9);
           CREATE TABLE log (code TEXT); CREATE TRIGGER u AFTER UPDATE ON t BEGIN INSERT INTO log VALUES (new.code); END"""
    )
    columns = {"code": ["a", "b", "c", "d"], "name": ["A", "b", "C", "D"], "n": ["1.0", "2", None, "4"]}

    found = write(session, "t", columns, switches)

    assert found == Outcomes(created=1, updated=1, unchanged=2)
    assert rows(database, "SELECT code FROM log") == [("b",)]
    assert rows(database, "SELECT * FROM t ORDER BY code") == [
        (1, "a", "A", 1),
        (2, "b", "b", 2),
        (3, "c", "C", None),
        (10, "d", "D", 4),
        (9, "z", "Z", 9),
    ]


def test_insert_mode_leaves_existing_rows_alone(opened: Open, database: Path) -> None:
    session = opened("CREATE TABLE t (code TEXT PRIMARY KEY, name TEXT); INSERT INTO t VALUES ('a', 'old')")

    found = write(session, "t", {"code": ["a", "b"], "name": ["new", "new"]}, mode="insert")

    assert found == Outcomes(created=1, unchanged=1)
    assert rows(database, "SELECT * FROM t") == [("a", "old"), ("b", "new")]


def test_an_existing_row_keeps_its_id(opened: Open, database: Path) -> None:
    session = opened(
        f"CREATE TABLE t (id CHAR(32) PRIMARY KEY, code TEXT UNIQUE); INSERT INTO t VALUES ('{A.hex}', 'a')"
    )
    catalog = session.catalog()
    ready = batch(load_of(catalog, "t", {"code": ["a"]}), {"id": [B], "code": ["a"]})

    session.begin()
    written = session.write(write_plan(catalog, [ready], ()), COPY)
    session.commit()

    assert written[0].outcomes == Outcomes(unchanged=1)
    assert rows(database, "SELECT id FROM t") == [(A.hex,)]


def test_another_explicit_id_for_a_known_key_is_a_fault(opened: Open) -> None:
    session = opened(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE); INSERT INTO t VALUES (1, 'a')"
    )

    found = refused(session, "t", {"id": ["2"], "code": ["a"]}, key=["code"])
    taken = refused(session, "t", {"id": ["1"], "code": ["b"]}, key=["code"])

    assert [each.rule for each in (*found.faults, *taken.faults)] == ["id-conflict", "id-conflict"]


@pytest.mark.parametrize("switches", [COPY, BULK], ids=["copy", "bulk"])
@pytest.mark.parametrize("existing", ["", "INSERT INTO t VALUES ('x', 'taken', 1)"], ids=["direct", "staged"])
def test_every_refused_row_is_told_with_its_place(
    opened: Open, existing: str, switches: frozenset[str]
) -> None:
    session = opened(
        f"CREATE TABLE t (code TEXT PRIMARY KEY, u TEXT UNIQUE, n INT NOT NULL CHECK (n > 0)); {existing}"
    )
    columns = {"code": ["a", "b", "c", "d"], "u": ["1", "1", "2", "3"], "n": ["1", "1", None, "0"]}

    faults = refused(session, "t", columns, switches).faults

    assert [(each.rule, each.row) for each in faults] == [("unique", 1), ("not-null", 2), ("constraint", 3)]


def test_rows_that_shift_a_unique_value_are_written_and_rows_that_swap_it_are_not(
    opened: Open, database: Path
) -> None:
    session = opened(
        "CREATE TABLE t (code TEXT PRIMARY KEY, u INT UNIQUE); INSERT INTO t VALUES ('a', 1), ('b', 2)"
    )

    shifted = write(session, "t", {"code": ["a", "b"], "u": ["2", "3"]})
    swapped = refused(session, "t", {"code": ["a", "b"], "u": ["3", "2"]})

    assert shifted == Outcomes(updated=2)
    assert [each.row for each in swapped.faults] == [0, 1]
    assert "swap" in swapped.faults[0].message
    assert rows(database, "SELECT u FROM t ORDER BY 1") == [(2,), (3,)]


def test_two_seeds_of_one_table_are_counted_apart(opened: Open) -> None:
    session = opened("CREATE TABLE t (code TEXT PRIMARY KEY, n INT); INSERT INTO t VALUES ('a', 1)")
    catalog = session.catalog()
    first, second = (load_of(catalog, "t", {"code": [], "n": []}, mode=mode) for mode in ("insert", "upsert"))
    ready = [batch(first, {"code": ["b"], "n": ["1"]}), batch(second, {"code": ["a"], "n": ["2"]})]

    session.begin()
    plan = WritePlan(groups=((table_write(catalog, *ready),),), empty=frozenset())
    written = session.write(plan, COPY)

    assert [each.outcomes for each in written] == [Outcomes(created=1), Outcomes(updated=1)]


def test_a_strict_table_without_rowid_works(opened: Open, database: Path) -> None:
    strict = "STRICT, " if sqlite3.sqlite_version_info >= (3, 37) else ""
    session = opened(f"CREATE TABLE t (code TEXT PRIMARY KEY, n INT, x ANY, b BLOB) {strict}WITHOUT ROWID")

    first = write(session, "t", {"code": ["a"], "n": ["1"], "b": ["\\x00"]})
    second = write(session, "t", {"code": ["a", "b"], "n": ["2", "3"], "b": ["\\x00", None]})

    assert (first, second) == (Outcomes(created=1), Outcomes(created=1, updated=1))
    assert rows(database, "SELECT code, n, b FROM t") == [("a", 2, b"\x00"), ("b", 3, None)]


def test_more_rows_than_one_statement_holds_are_all_written(opened: Open, database: Path) -> None:
    session = opened("CREATE TABLE t (code TEXT PRIMARY KEY, n INT)")
    numbers = [str(n) for n in range(40_000)]

    found = write(session, "t", {"code": numbers, "n": numbers}, BULK)

    assert found == Outcomes(created=40_000)
    assert rows(database, "SELECT count(*), sum(n) FROM t") == [(40_000, sum(range(40_000)))]
    assert session.recorder.counters.statements < 20  # type: ignore[attr-defined]


def test_odd_names_are_quoted(opened: Open, database: Path) -> None:
    session = opened('CREATE TABLE "a ""b"" (c)" ("or der" TEXT PRIMARY KEY, "x.y" INT, "select" INT)')
    columns = {"or der": ["1"], "x.y": ["1"], "select": ["1"]}

    write(session, 'a "b" (c)', columns)
    found = write(session, 'a "b" (c)', columns | {"select": ["2"]})

    assert found == Outcomes(updated=1)


# ---- foreign keys ----


CYCLE = """CREATE TABLE a (code TEXT PRIMARY KEY, b TEXT NOT NULL REFERENCES b);
           CREATE TABLE b (code TEXT PRIMARY KEY, a TEXT NOT NULL REFERENCES a)"""


@pytest.mark.parametrize("empty", [True, False], ids=["direct", "staged"])
def test_a_cycle_of_tables_is_written(opened: Open, database: Path, empty: bool) -> None:
    session = opened(CYCLE)
    catalog = session.catalog()
    load_a, load_b = loads_of(catalog, {"a": {"code": [], "b": []}, "b": {"code": [], "a": []}})
    group = (
        table_write(catalog, batch(load_a, {"b": ["1"], "code": ["1"]})),
        table_write(catalog, batch(load_b, {"a": ["1"], "code": ["1"]})),
    )

    session.begin()
    session.write(WritePlan(groups=(group,), empty=catalog.empty if empty else frozenset()), COPY)
    session.commit()

    assert rows(database, "SELECT a.code, b.code FROM a JOIN b ON a.b = b.code AND b.a = a.code") == [
        ("1", "1")
    ]


PAIR = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (code TEXT PRIMARY KEY, p INT REFERENCES p);"


def test_a_reference_to_nothing_is_refused(opened: Open, database: Path) -> None:
    session = opened(PAIR)

    with pytest.raises(WriteError, match="refer to rows that p does not have"):
        write(session, "c", {"code": ["a"], "p": ["5"]})
    session.rollback()
    write(session, "c", {"code": ["a"], "p": [None]})
    faults = refused(session, "c", {"code": ["a", "b"], "p": [None, "5"]}).faults

    assert [(each.rule, each.row, each.column) for each in faults] == [("missing-parent", 1, "p")]
    assert rows(database, "SELECT * FROM c") == [("a", None)]


def test_rows_that_were_broken_before_are_not_our_fault(opened: Open, database: Path) -> None:
    session = opened(PAIR + "INSERT INTO c VALUES ('old', 77)")

    found = write(session, "c", {"code": ["new"], "p": [None]})

    assert found == Outcomes(created=1)


# ---- asking ----


def test_a_lookup_follows_the_key_chain(opened: Open) -> None:
    session = opened(
        f"""CREATE TABLE u (id CHAR(32) PRIMARY KEY, slug TEXT UNIQUE COLLATE NOCASE);
            CREATE TABLE f (id INTEGER PRIMARY KEY, u_id CHAR(32) REFERENCES u, n NUMERIC, ok BOOLEAN, UNIQUE (u_id, n));
            INSERT INTO u VALUES ('{A.hex}', 'tau'), ('{B.hex}', 'huji'); INSERT INTO f VALUES (7, '{A.hex}', 1.5, 1)"""
    )
    catalog = session.catalog()
    load = load_of(catalog, "f", {"u.slug": [], "n": []})
    frame = pl.DataFrame(
        {HANDLE: [1, 2, 3, 4], "n": ["1.5", "1.50", "1.5", "x"], "u.slug": ["tau", "TAU", "huji", "tau"]},
        schema_overrides={HANDLE: pl.UInt128},
    )

    answer = session.lookup([Ask(table="f", key=load.key, wanted=("id", "u_id", "ok"), frame=frame)])[0]

    assert answer.to_dicts() == [
        {HANDLE: 1, "id": "7", "u_id": int(A), "ok": "true"},
        {HANDLE: 2, "id": "7", "u_id": int(A), "ok": "true"},
    ]
    assert answer.schema == {HANDLE: pl.UInt128, "id": pl.String, "u_id": pl.UInt128, "ok": pl.String}


def test_a_lookup_reads_only(opened: Open, database: Path) -> None:
    session = opened("CREATE TABLE t (code TEXT PRIMARY KEY)")
    other = opened()
    load = load_of(session.catalog(), "t", {"code": []})
    frame = pl.DataFrame({HANDLE: [1], "code": ["a"]}, schema_overrides={HANDLE: pl.UInt128})

    other.begin()
    other.lock()
    session.begin(read_only=True)
    answer = session.lookup([Ask(table="t", key=load.key, wanted=(), frame=frame)])[0]

    assert answer.is_empty()


def test_reserved_ids_are_above_every_id_there_ever_was(opened: Open) -> None:
    session = opened(
        """CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT); CREATE TABLE s (id INTEGER PRIMARY KEY);
           INSERT INTO t VALUES (50); DELETE FROM t; INSERT INTO t VALUES (3); INSERT INTO s VALUES (3)"""
    )

    session.begin()

    assert session.reserve([Reserve(table="t", column="id", count=2)])[0] == [51, 52]
    assert session.reserve([Reserve(table="t", column="id", count=1)])[0] == [53]
    assert session.reserve([Reserve(table="s", column="id", count=1)])[0] == [4]


# ---- transactions ----


def test_nothing_stays_without_commit(opened: Open, database: Path) -> None:
    session = opened("CREATE TABLE t (code TEXT PRIMARY KEY)")
    catalog = session.catalog()
    ready = batch(load_of(catalog, "t", {"code": []}), {"code": ["a"]})

    session.begin()
    session.create(["CREATE TABLE made (id INTEGER)"])
    session.write(write_plan(catalog, [ready], catalog.empty), COPY)
    session.close()

    assert rows(database, "SELECT name FROM sqlite_schema WHERE type = 'table'") == [("t",)]
    assert rows(database, "SELECT * FROM t") == []


def test_a_second_writer_is_told_who_to_wait_for(opened: Open) -> None:
    first, second = opened(), opened(lock_timeout="1ms")

    first.begin()
    first.create(["CREATE TABLE t (id INTEGER)"])
    second.begin()

    with pytest.raises(LockHeld, match="another connection is writing"):
        second.create(["CREATE TABLE t (id INTEGER)"])
    with pytest.raises(LockHeld, match="another connection is writing"):  # and does not go on without it
        second.create(["CREATE TABLE t (id INTEGER)"])


@pytest.mark.parametrize(
    ("place", "why"), [("none/x.db", "there is no folder .*none; make it first"), (".", "it is a folder")]
)
def test_what_cannot_be_a_file_is_told(tmp_path: Path, place: str, why: str) -> None:
    target = parse_target(f"sqlite:///{tmp_path / place}", "test")

    with pytest.raises(ConnectionFailed, match=why):
        open_session(target, Settings(), Monitor(), "test")


def test_a_file_that_is_no_database_is_said_so(database: Path) -> None:
    database.write_text("this is a letter to my aunt, and no database at all" * 30)

    with pytest.raises(ConnectionFailed, match="not a database"):
        open_session(parse_target(f"sqlite:///{database}", "test"), Settings(), Monitor(), "test")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not list open files")
def test_a_file_that_is_no_database_is_closed_again(database: Path) -> None:
    database.write_text("no database at all" * 100)

    with pytest.raises(ConnectionFailed) as caught:
        open_session(parse_target(f"sqlite:///{database}", "test"), Settings(), Monitor(), "test")

    open_files = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
    assert caught.value
    assert str(database.resolve()) not in open_files


def test_a_duration_is_read_with_its_unit() -> None:
    assert [milliseconds(each) for each in ("10s", "500ms", "2 min", "250", "0")] == [
        10_000,
        500,
        120_000,
        250,
        0,
    ]
    with pytest.raises(ConfigurationError, match="is not a duration"):
        milliseconds("soon")


@pytest.mark.parametrize("rows", [7, 3000])
def test_few_and_many_ids_are_spelled_alike(rows: int) -> None:
    column = Column(name="id", type="CHAR(32)", kind="uuid", storage="hex")
    numbers = [None, 0, 1, 2**64 - 1, 2**64, 2**127, 2**128 - 1, *(n * 3**70 % 2**128 for n in range(rows))]

    encoded = encode(column, pl.Series("id", numbers[:rows], dtype=pl.UInt128))

    assert encoded.values == [None if n is None else f"{n:032x}" for n in numbers[:rows]]
