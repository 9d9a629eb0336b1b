"""The contract of a ledger, kept by both dialects: what is written is read again, and no change is missed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from seedlab.database.ledger import split
from seedlab.errors import LockHeld, WriteError
from seedlab.flow import Memo, Memory, RowSet, memory
from tests.support.ledgers import LOAD, MEMO, STAGE, TABLES, Open, Target, opener
from tests.support.seeding import rows_of


@pytest.fixture
def opened(clean_database_url: str) -> Iterator[Open]:
    with opener(clean_database_url) as open_it:
        yield open_it


@pytest.fixture
def target(opened: Open) -> Target:
    return opened()


def is_sqlite(target: Target) -> bool:
    return target.url.startswith("sqlite")


def spelled(target: Target, table: str) -> str:
    """A table of the ledger."""
    return f"seedlab_{table}" if is_sqlite(target) else f"seedlab.{table}"


# ---- what is written is read again ----------------------------------------------------------------------


def test_where_there_is_no_ledger_nothing_is_remembered(target: Target) -> None:
    assert target.read() == Memory()


def test_looking_makes_no_ledger(target: Target) -> None:
    target.read()

    assert sorted(target.session.catalog().tables) == ["cities"]
    where = "sqlite_schema" if is_sqlite(target) else "pg_namespace"
    column = "name" if is_sqlite(target) else "nspname"
    assert rows_of(target.url, f"SELECT count(*) FROM {where} WHERE {column} LIKE 'seedlab%'") == [(0,)]


def test_what_is_remembered_is_read_again(target: Target) -> None:
    state = target.state()
    target.remember(MEMO, state)

    memory = target.read()

    assert memory.exists
    assert memory.possible
    assert memory.generation == 2
    assert memory.loads == (LOAD,)
    assert memory.stages["core"].finished
    assert replace(memory.stages["core"], finished="") == STAGE
    assert memory.tables.keys() == {"cities"}
    assert replace(memory.tables["cities"], stamp=None) == target.ledger.contents([state])[0]
    assert memory.tables["cities"].rows == 2


def test_another_run_replaces_what_it_fills_and_leaves_the_rest(target: Target) -> None:
    other = replace(LOAD, seed="towns")
    target.remember(replace(MEMO, loads=(LOAD, other), contents=([b"1"], [b"2"])))
    again = replace(
        MEMO, run_id="r2", stages=(replace(STAGE, run="r2", parts={"file:b.csv": "3"}, tables=()),)
    )

    target.remember(replace(again, loads=(replace(LOAD, rows=9),), contents=([b"3"],)))

    memory = target.read()
    assert memory.generation == 4
    assert memory.stages["core"].parts == {"file:b.csv": "3"}
    assert memory.stages["core"].run == "r2"
    assert memory.loads == (replace(LOAD, rows=9), other)
    assert target.ledger.recall("school", [LOAD.name, other.name]) == [[b"3"], [b"2"]]


def test_projects_do_not_see_each_other_but_count_one_generation(target: Target) -> None:
    target.remember()
    target.remember(replace(MEMO, project="other", run_id="r2", contents=([b"theirs"],)))

    assert target.read("other").generation == target.read().generation == 4
    assert target.ledger.recall("school", [LOAD.name]) == [MEMO.contents[0]]
    assert target.ledger.recall("other", [LOAD.name]) == [[b"theirs"]]
    assert target.read("a third").loads == ()
    assert target.read("a third").exists


def test_a_load_is_forgotten_with_its_rows(target: Target) -> None:
    target.remember()

    target.remember(
        replace(MEMO, run_id="r2", loads=(), contents=(), forgotten=(LOAD.name, ("no", "such", "load")))
    )

    assert target.read().loads == ()
    assert target.ledger.recall("school", [LOAD.name]) == [[]]


def test_rows_are_recalled_in_the_order_asked_and_as_nothing_where_there_are_none(target: Target) -> None:
    other = replace(LOAD, table="pupils")
    empty = replace(LOAD, table="none")
    target.remember(replace(MEMO, loads=(LOAD, empty, other), contents=([b"1"], [], [b"\x00\x01" * 5000])))

    found = target.ledger.recall("school", [other.name, ("core", "cities", "unknown"), empty.name, LOAD.name])

    assert found == [[b"\x00\x01" * 5000], [], [], [b"1"]]
    assert target.ledger.recall("school", []) == []


def test_very_many_rows_are_kept_in_several_packs_and_forgotten_with_them(target: Target) -> None:
    packs = [bytes([n]) * 9 for n in range(5)]
    other = replace(LOAD, table="pupils")
    both = replace(MEMO, loads=(LOAD, other))
    told = []

    def remember(memo: Memo) -> None:
        target.remember(memo)
        target.read()
        told.append(target.ledger.recall("school", [LOAD.name, other.name]))

    remember(replace(both, contents=(iter(packs), [b"1"])))
    remember(replace(both, run_id="r2", contents=([b"2"], iter(packs[1:])), continued=frozenset({LOAD.name})))
    size = target.ledger.size()
    remember(replace(both, run_id="r3", contents=(packs[:2], [b"3"])))
    remember(replace(MEMO, run_id="r4", loads=(), contents=(), forgotten=(LOAD.name,)))

    first, second, *others = told
    assert first == [packs, [b"1"]]
    assert b"".join(second[0]) in (b"".join([*packs, b"2"]), b"".join([packs[0], b"2", *packs[1:]]))
    assert second[1] == packs[1:]
    assert others == [[packs[:2], [b"3"]], [[], [b"3"]]]
    assert size > sum(map(len, packs)) * 2
    assert rows_of(target.url, f"SELECT count(*) FROM {spelled(target, 'packs')}") == [(0,)]


def test_packs_travel_in_statements_of_bounded_size(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PACK_BYTES", 1000)
    loads = [replace(LOAD, seed=f"seed {n}") for n in range(40)]
    target.remember(MEMO)
    target.read()
    before = target.monitor.counters

    target.remember(
        replace(MEMO, run_id="r2", loads=tuple(loads), contents=tuple([b"%3d" % n * 100] for n in range(40)))
    )

    after = target.monitor.counters
    held = target.ledger.recall("school", [load.name for load in loads])
    assert held == [[b"%3d" % n * 100] for n in range(40)]
    if not is_sqlite(target):  # there each load is a statement
        assert after.round_trips - before.round_trips >= 40 * 300 // 1000


def test_rows_of_a_table_of_which_no_marks_are_kept_are_not_gone_through(target: Target) -> None:
    state = target.state()
    sets = [RowSet(state=state, frame=None), RowSet(state=state, frame=pl.DataFrame({"code": ["hfa"]}))]
    target.remember(replace(MEMO, marks={"cities": None}), state)

    (every, unknown), (some, _) = target.ledger.current_and_remembered(sets)

    assert (every, unknown, len(some)) == (b"", None, 16)
    assert target.ledger.drifted([state]) == {"cities"}


def test_names_may_hold_anything(target: Target) -> None:
    odd = 'o\'dd "name" {0} $1 %s \\ שם'
    load = replace(LOAD, stage=odd, seed=odd, table=odd, files=(odd,), key=(odd,))
    stage = replace(STAGE, stage=odd, parts={odd: odd}, tables=(odd,), run=odd)

    target.remember(replace(MEMO, project=odd, run_id=odd, stages=(stage,), loads=(load,)))

    memory = target.read(odd)
    assert memory.loads == (load,)
    assert replace(memory.stages[odd], finished="") == stage
    assert target.ledger.recall(odd, [load.name]) == [MEMO.contents[0]]


def test_what_is_rolled_back_is_not_remembered(target: Target) -> None:
    target.remember()
    target.session.begin()
    target.ledger.remember(replace(MEMO, run_id="r2", project="other"), [])
    target.session.rollback()

    assert target.read().generation == 2
    assert target.read("other").loads == ()


def test_a_ledger_of_another_version_is_not_touched(target: Target) -> None:
    target.remember()
    target.execute(f"UPDATE {spelled(target, 'ledger')} SET version = 99")

    with pytest.raises(WriteError, match="the ledger of the target has version 99, this seedlab supports 1"):
        target.read()


# ---- runs -----------------------------------------------------------------------------------------------


def test_runs_are_told_the_last_first_with_their_stages_together(target: Target) -> None:
    for run, part in (("r1", ""), ("r2", "core"), ("r2", "pupils"), ("r3", "")):
        target.remember(replace(MEMO, run_id=run, part=part, stages=(), loads=(), contents=()))
    target.remember(replace(MEMO, project="other", run_id="theirs"))

    told = target.ledger.runs("school")

    assert [(each.run_id, each.outcomes.created, each.stages) for each in told] == [
        ("r3", 2, ()),
        ("r2", 4, ("core", "pupils")),
        ("r1", 2, ()),
    ]
    assert [each.run_id for each in target.ledger.runs("school", limit=2)] == ["r3", "r2"]
    assert target.ledger.runs("school", limit=0) == []
    assert target.ledger.runs("school", "r2") == told[1:2]
    assert target.ledger.runs("school", "r2/core") == target.ledger.runs("a third") == []


def test_a_run_is_told_as_it_was(target: Target) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    target.remember()

    (run,) = target.ledger.runs("school")

    assert (run.environment, run.level, run.outcomes) == ("test", "incremental", MEMO.outcomes)
    assert datetime.fromisoformat(run.started) == datetime.fromisoformat(MEMO.started)
    assert before < datetime.fromisoformat(run.finished) < before + timedelta(minutes=1)


def test_the_size_grows_with_what_is_remembered(target: Target) -> None:
    target.remember()
    before = target.ledger.size()

    target.remember(replace(MEMO, run_id="r2", contents=([os.urandom(100_000)],)))

    assert 0 < before < 300_000
    assert 90_000 < target.ledger.size() - before < 300_000


# ---- the ledger itself ----------------------------------------------------------------------------------


def test_a_ledger_may_be_made_again_and_again(target: Target) -> None:
    target.remember()

    assert target.ledger.ensure()
    assert target.read().generation == 2


def test_the_lock_tells_the_generation_that_its_last_holder_left(opened: Open) -> None:
    target, other = opened(), opened("")
    target.remember()
    target.session.begin()
    held = target.session.lock()
    target.ledger.remember(replace(MEMO, run_id="r2"), [])
    target.session.commit()

    other.session.begin()
    assert (held, other.session.lock()) == (2, 4)
    assert other.ledger.generation() == 4


def test_the_lock_ends_with_its_transaction(opened: Open) -> None:
    first, second = opened(lock_timeout="50ms"), opened("", lock_timeout="50ms")
    assert first.ledger.ensure()
    first.session.begin()
    first.session.lock()

    with pytest.raises(LockHeld):
        begin_and_lock(second)
    second.session.rollback()
    first.session.rollback()

    assert begin_and_lock(second) == 0


def begin_and_lock(target: Target) -> int:
    target.session.begin()
    return target.session.lock()


# ---- no change is missed --------------------------------------------------------------------------------


def test_contents_are_counted_and_hashed_in_any_order_of_rows(opened: Open) -> None:
    target = opened(
        TABLES + "CREATE TABLE towns (id int PRIMARY KEY, code varchar(9) UNIQUE, name varchar(20));"
    )
    before = target.content("towns")
    target.execute("INSERT INTO towns VALUES (2, 'tlv', NULL), (1, 'hfa', 'Haifa')")

    assert before == (0, 0, 0)
    assert target.content("towns") == target.content("cities")
    assert target.content()[0] == 2
    both = target.ledger.contents([target.state("towns"), target.state()])
    assert [each.table for each in both] == ["towns", "cities"]
    assert target.ledger.contents([]) == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE cities SET name = 'haifa' WHERE id = 1",
        "UPDATE cities SET name = 'Haifa ' WHERE id = 1",
        "UPDATE cities SET name = '' WHERE id = 2",
        "UPDATE cities SET name = 'NULL' WHERE id = 2",
        "UPDATE cities SET code = name, name = code WHERE id = 1",
        "UPDATE cities SET id = 3 WHERE id = 2",
        "DELETE FROM cities WHERE id = 1",
        "INSERT INTO cities VALUES (3, 'x', NULL)",
        "UPDATE cities SET name = CASE id WHEN 1 THEN NULL ELSE 'Haifa' END",
    ],
)
def test_contents_see_every_change_of_a_row(target: Target, change: str) -> None:
    before = target.content()
    target.execute(change)

    assert target.content() != before


def test_contents_see_seeded_columns_only(target: Target) -> None:
    before = target.content("cities", ["code"])
    target.execute("UPDATE cities SET name = 'other'")

    assert target.content("cities", ["code"]) == before


# ---- marks ----------------------------------------------------------------------------------------------


def marked(target: Target, *codes: str) -> set[tuple[bytes, bytes]]:
    """Marks of the rows of some cities; of all without any."""
    frame = pl.DataFrame({"code": list(codes)}) if codes else None
    (marks,) = target.ledger.marks([RowSet(state=target.state(), frame=frame)])
    return set(split(marks))


def test_a_mark_is_of_one_row_and_of_all_that_it_holds(target: Target) -> None:
    haifa, telaviv = marked(target, "hfa"), marked(target, "tlv")
    assert (len(haifa), len(telaviv)) == (1, 1)
    assert marked(target) == haifa | telaviv

    target.execute("UPDATE cities SET name = 'Yafo' WHERE code = 'tlv'")

    assert marked(target, "hfa") == haifa
    assert marked(target, "tlv") != telaviv
    assert {key for key, _ in marked(target, "tlv")} == {key for key, _ in telaviv}


def test_keys_that_are_not_there_have_no_mark(target: Target) -> None:
    assert marked(target, "nowhere", "hfa") == marked(target, "hfa")
    assert marked(target, "nowhere") == set()


def test_marks_are_given_set_by_set(target: Target) -> None:
    sets = [RowSet(state=target.state(), frame=pl.DataFrame({"code": [code]})) for code in ("tlv", "hfa")]

    first, second = target.ledger.marks(sets)

    assert ({*split(first)}, {*split(second)}) == (marked(target, "tlv"), marked(target, "hfa"))
    assert target.ledger.marks([]) == []


def test_many_rows_are_marked_whatever_a_statement_can_take(opened: Open) -> None:
    target = opened("CREATE TABLE pairs (a varchar(9), b varchar(9), PRIMARY KEY (a, b));")
    count = 20_000
    numbers = ", ".join(f"('{n}', 'b{n}')" for n in range(count))
    target.execute(f"INSERT INTO pairs VALUES {numbers}")
    frame = pl.DataFrame({"a": [str(n) for n in range(count)], "b": [f"b{n}" for n in range(count)]})
    state = target.state("pairs")

    some, every = target.ledger.marks([RowSet(state=state, frame=frame), RowSet(state=state, frame=None)])

    assert set(split(some)) == set(split(every))
    assert len(set(split(some))) == count


def test_a_table_that_the_run_filled_alone_is_marked_whole(target: Target) -> None:
    target.remember(MEMO, target.state())

    (marks,) = target.ledger.recall_marks(["cities"]).values()

    assert marks is not None
    assert set(split(marks)) == marked(target)


@pytest.mark.parametrize("marks", [b"", b"0123456789abcdef", None], ids=["none", "one", "unknown"])
def test_marks_are_kept_as_they_were_given(target: Target, marks: bytes | None) -> None:
    target.remember(replace(MEMO, marks={"cities": marks}), target.state())

    assert target.ledger.recall_marks(["cities", "towns"]) == {"cities": marks}
    assert target.ledger.recall_marks([]) == {}


def test_each_table_gets_its_own_marks(opened: Open) -> None:
    target = opened(TABLES + "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY);")
    states = [target.state(name) for name in ("b", "cities", "a")]

    target.remember(replace(MEMO, marks={"a": b"a" * 16, "b": b"b" * 32}), *states)

    kept = target.ledger.recall_marks(["a", "b", "cities"])
    assert (kept["a"], kept["b"]) == (b"a" * 16, b"b" * 32)
    assert set(split(kept["cities"] or b"")) == marked(target)


def test_a_table_without_rows_has_no_row_of_ours_and_is_known_so(opened: Open) -> None:
    target = opened("CREATE TABLE towns (id int PRIMARY KEY);")
    state = target.state("towns")
    target.remember(MEMO, state)
    target.execute("INSERT INTO towns VALUES (1)")

    assert target.ledger.recall_marks(["towns"]) == {"towns": b""}
    assert target.ledger.drifted([state]) == frozenset()


# ---- drift ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "drifted"),
    [
        ("INSERT INTO cities VALUES (3, 'x', NULL)", False),
        ("UPDATE cities SET name = 'Yafo' WHERE id = 2", True),
        ("UPDATE cities SET code = 'yaf' WHERE id = 2", True),
        ("DELETE FROM cities WHERE id = 1", True),
        ("DELETE FROM cities", True),
    ],
)
def test_a_table_has_drifted_when_a_row_of_ours_was_changed(
    target: Target, change: str, drifted: bool
) -> None:
    target.remember(MEMO, target.state())
    target.execute(change)

    assert target.ledger.drifted([target.state()]) == (frozenset({"cities"}) if drifted else frozenset())


def test_rows_that_are_not_ours_may_change(target: Target) -> None:
    (mine,) = target.ledger.marks([RowSet(state=target.state(), frame=pl.DataFrame({"code": ["hfa"]}))])
    target.remember(replace(MEMO, marks={"cities": mine}), target.state())
    target.execute("UPDATE cities SET name = 'other' WHERE code = 'tlv'")

    assert target.ledger.drifted([target.state()]) == frozenset()

    target.execute("UPDATE cities SET name = 'other' WHERE code = 'hfa'")

    assert target.ledger.drifted([target.state()]) == {"cities"}


def test_a_table_of_which_nothing_is_known_may_always_have_drifted(opened: Open) -> None:
    target = opened(TABLES + "CREATE TABLE towns (id int PRIMARY KEY);")
    target.remember(replace(MEMO, marks={"cities": None}), target.state())

    assert target.ledger.drifted([target.state(), target.state("towns")]) == {"cities", "towns"}
    assert target.ledger.drifted([]) == frozenset()


# ---- names ----------------------------------------------------------------------------------------------


def test_tables_and_columns_may_have_any_name(opened: Open) -> None:
    target = opened(
        """CREATE TABLE "od""d ta'b{0}le" ("na""me" varchar(9) PRIMARY KEY, "order" int);
        INSERT INTO "od""d ta'b{0}le" VALUES ('a', 1), ('b', 2)"""
    )
    state = target.state("od\"d ta'b{0}le")
    (mine,) = target.ledger.marks([RowSet(state=state, frame=pl.DataFrame({'na"me': ["b"]}))])
    target.remember(replace(MEMO, marks={state.table: mine}), state)

    target.execute("""UPDATE "od""d ta'b{0}le" SET "order" = 9 WHERE "na""me" = 'a'""")
    others = target.ledger.drifted([state])
    target.execute("""UPDATE "od""d ta'b{0}le" SET "order" = 9 WHERE "na""me" = 'b'""")

    assert others == frozenset()
    assert target.ledger.drifted([state]) == {state.table}
    assert target.read().tables[state.table].rows == 2
