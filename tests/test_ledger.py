"""The parts of a ledger that know no database: marks, packed bytes, documents."""

from __future__ import annotations

from dataclasses import replace

import pytest

from seedlab.database import ledger
from seedlab.errors import WriteError
from seedlab.flow import (
    LEDGER_VERSION,
    LoadMemory,
    Memo,
    Memory,
    Outcomes,
    RunMemory,
    StageMemory,
    TableState,
)

A, B, C = b"a" * 8, b"b" * 8, b"c" * 8
OLD, NEW = b"0" * 8, b"1" * 8
LOAD = LoadMemory(
    stage="core",
    seed="cities",
    table="cities",
    meaning="m",
    files=("a.csv", "b.csv"),
    rows=2,
    key=("city.code",),
)
STAGE = StageMemory(stage="core", parts={"file:a.csv": "1", "configuration": "2"}, tables=("cities",))
MEMO = Memo(
    project="school",
    run_id="r1",
    environment="test",
    level="copy",
    started="2026-11-25T12:00:00+00:00",
    outcomes=Outcomes(created=1, updated=2, unchanged=3, deleted=4, rejected=5),
    stages=(STAGE,),
    loads=(LOAD,),
    contents=([],),
)


# ---- marks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recent", "expected"),
    [
        ([], [(A, OLD), (B, OLD)]),
        ([(B, NEW)], [(A, OLD), (B, NEW)]),
        ([(B, NEW), (C, NEW)], [(A, OLD), (B, NEW), (C, NEW)]),
        ([(C, OLD), (A, OLD), (C, NEW)], [(A, OLD), (B, OLD), (C, NEW)]),
    ],
)
def test_recent_marks_take_the_place_of_those_before(
    recent: list[tuple[bytes, bytes]], expected: list[tuple[bytes, bytes]]
) -> None:
    before = b"".join((A, OLD, B, OLD))
    assert [*ledger.split(ledger.merged_marks(before, b"".join(k + v for k, v in recent)))] == expected


def test_marks_are_cut_apart() -> None:
    assert list(ledger.split(A + OLD + B + NEW)) == [(A, OLD), (B, NEW)]
    assert list(ledger.split(b"")) == []


@pytest.mark.parametrize(
    ("remembered", "now", "drifted"),
    [
        (A + OLD + B + OLD, B + OLD + A + OLD, False),
        (A + OLD, A + OLD + C + NEW, False),
        (A + OLD, A + NEW, True),
        (A + OLD, B + OLD, True),
        (A + OLD, b"", True),
        (b"", C + NEW, False),
        (None, A + OLD, True),
        (None, b"", True),
    ],
    ids=["reordered", "joined", "changed", "renamed", "gone", "none of ours", "unknown", "unknown and empty"],
)
def test_a_table_has_drifted_when_a_remembered_row_is_not_there_as_it_was(
    remembered: bytes | None, now: bytes, drifted: bool
) -> None:
    assert ledger.have_drifted(remembered, now) is drifted


def test_marks_are_not_mistaken_for_others_that_begin_in_their_middle() -> None:
    assert ledger.have_drifted(OLD + A, A + OLD + A + OLD)


def test_moved_marks_take_the_place_of_those_that_were_touched() -> None:
    marks = ledger.updated_marks(A + OLD + B + OLD, B + OLD, B + NEW + C + NEW)

    assert set(ledger.split(marks)) == {(A, OLD), (B, NEW)}
    assert ledger.updated_marks(marks, b"", b"") == marks


def test_dropped_marks_go_by_their_key_whatever_the_row_held() -> None:
    assert ledger.without_marks(A + OLD + B + OLD, B + NEW + C + NEW) == A + OLD
    assert ledger.without_marks(A + OLD, b"") == A + OLD
    assert ledger.without_marks(A + OLD, A + OLD) == b""


# ---- packed ---------------------------------------------------------------------------------------------


def test_packed_pieces_are_cut_out_again_as_sql_counts() -> None:
    pieces = [b"one", b"", b"three"]

    whole, places = ledger.packed(pieces)

    assert [whole[start - 1 : start - 1 + length] for start, length in places] == pieces
    assert places == [(1, 3), (4, 0), (4, 5)]
    assert ledger.packed([]) == (b"", [])


# ---- documents ------------------------------------------------------------------------------------------


def test_a_run_is_kept_with_all_its_outcomes() -> None:
    assert ledger.run_document(MEMO) == {
        "run_id": "r1",
        "project": "school",
        "environment": "test",
        "level": "copy",
        "started": "2026-11-25T12:00:00+00:00",
        "outcomes": {"created": 1, "updated": 2, "unchanged": 3, "deleted": 4, "rejected": 5},
    }


def test_the_stages_of_a_run_that_committed_each_by_itself_are_one_run_in_writing_order() -> None:
    times = ("12:02", "12:01")
    rows = [
        {**ledger.run_document(replace(MEMO, part=part)), "finished": finished}
        for part, finished in zip(("pupils", "cities"), times, strict=True)
    ]
    other = {**ledger.run_document(replace(MEMO, run_id="r0")), "finished": "11:00"}

    runs = ledger.runs_of([*rows, other])

    assert runs[0] == RunMemory(
        run_id="r1",
        environment="test",
        level="copy",
        started="2026-11-25T12:00:00+00:00",
        finished="12:02",
        outcomes=MEMO.outcomes + MEMO.outcomes,
        stages=("cities", "pupils"),
    )
    assert [(each.run_id, each.outcomes, each.stages) for each in runs[1:]] == [("r0", MEMO.outcomes, ())]
    assert ledger.runs_of([]) == []


def document(**facts: object) -> dict[str, object]:
    """As `memory.sql` answers."""
    stage, load = ledger.stage_document(replace(STAGE, run="r1")), ledger.load_document(LOAD)
    whole: dict[str, object] = {
        "version": LEDGER_VERSION,
        "generation": 3,
        "stages": [[*stage.values(), "2026-11-25 12:00:01"]],
        "loads": [list(load.values())],
        "shared": [],
        "tables": [["cities", ["code", "id"], ["code"], "postgresql 18", 2, "-5", "18446744073709551616"]],
    }
    return whole | facts


def test_what_documents_keep_is_remembered() -> None:
    memory = ledger.memory_of(document())

    assert memory.exists
    assert memory.generation == 3
    assert memory.loads == (LOAD,)
    kept = StageMemory(
        stage="core", parts=STAGE.parts, tables=("cities",), run="r1", finished="2026-11-25 12:00:01"
    )
    assert memory.stages == {"core": kept}
    assert memory.tables == {
        "cities": TableState(
            table="cities",
            columns=("code", "id"),
            key=("code",),
            server="postgresql 18",
            rows=2,
            xor=-5,
            sum=1 << 64,
        )
    }


def test_a_ledger_without_this_project_is_there_and_empty() -> None:
    memory = ledger.memory_of(document(stages=None, loads=None, tables=None))

    assert memory == Memory(exists=True, generation=3)


def test_a_ledger_of_another_version_is_refused_with_both_versions() -> None:
    with pytest.raises(WriteError, match=rf"version 7, this seedlab supports {LEDGER_VERSION}; use a newer"):
        ledger.memory_of(document(version=7))
