"""From rows that are wrong to faults with file, line, excerpt and caret."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from seedlab.errors import Fault
from seedlab.flow import FILE, ROW, Load, SourceFile
from seedlab.frames.files.faults import MAX_FAULTS
from seedlab.frames.rules import BROKEN, REJECTED_PARENT, Broken, Rule
from seedlab.frames.tracing import complete, trace
from tests.fix_sources import pointed, source

Row = tuple[int, int, str | None, str | None]  # file, row, what clashing rows have the same, value


def broken(
    files: Sequence[SourceFile],
    rows: Sequence[Row],
    *,
    rule: str = "type",
    column: str = "code",
    seed: str = "rooms",
) -> Broken:
    load = Load(
        stage="test", seed=seed, table="rooms", key=(), values=("code",), references=(), files=tuple(files)
    )
    made = Rule(name=rule, column=column, message=f"{column} is wrong", bad=pl.lit(value=True))
    return Broken(load=load, rule=made, frame=pl.DataFrame(list(rows), schema=BROKEN, orient="row"))


@pytest.fixture
def rooms(tmp_path: Path) -> SourceFile:
    return source(tmp_path, "rooms.csv", 'code,floor\n"a\nb",1\nc,2\nd,3\n')


def test_a_wrong_row_is_told_by_its_physical_line_with_a_caret_under_the_value(rooms: SourceFile) -> None:
    (fault,) = trace([broken([rooms], [(0, 1, None, "2")], column="floor")], {})

    assert (fault.file, fault.line, fault.table, fault.column, fault.row) == (
        "rooms.csv",
        4,
        "rooms",
        "floor",
        1,
    )
    assert fault.excerpt == "c,2"
    assert pointed(fault) == "2"


def test_a_rows_value_is_kept_apart_from_the_message(rooms: SourceFile) -> None:
    (fault,) = trace([broken([rooms], [(0, 1, None, "hunter2")])], {})

    assert fault.value == "hunter2"
    assert "hunter2" not in fault.message


def test_faults_come_in_the_order_of_files_and_lines(tmp_path: Path) -> None:
    one, two = (source(tmp_path, f"{name}.csv", "code\na\nb\n") for name in ("one", "two"))

    faults = trace([broken([two, one], [(0, 1, None, None), (1, 1, None, None), (0, 0, None, None)])], {})

    assert [(fault.file, fault.line) for fault in faults] == [("one.csv", 3), ("two.csv", 2), ("two.csv", 3)]


def test_of_rows_that_come_again_all_but_the_first_are_told_with_the_line_of_the_first(
    tmp_path: Path,
) -> None:
    file = source(tmp_path, "rooms.csv", "code\na\nb\na\na\n")

    faults = trace(
        [broken([file], [(0, 3, "1", "a"), (0, 0, "1", "a"), (0, 2, "1", "a")], rule="duplicate-key")], {}
    )

    assert [(fault.line, fault.message) for fault in faults] == [
        (4, "code is wrong; first at line 2"),
        (5, "code is wrong; first at line 2"),
    ]


def test_a_row_that_came_first_in_another_file_is_told_with_that_file(tmp_path: Path) -> None:
    one, two = (source(tmp_path, f"{name}.csv", "code\na\nb\n") for name in ("one", "two"))

    (fault,) = trace([broken([one, two], [(0, 1, "1", "b"), (1, 1, "1", "b")], rule="unique")], {})

    assert (fault.file, fault.message) == ("two.csv", "code is wrong; first at one.csv:3")


def test_a_key_that_another_seed_brings_has_no_first_row_here(rooms: SourceFile) -> None:
    (fault,) = trace([broken([rooms], [(0, 1, "1", "c")], rule="duplicate-key")], {})

    assert (fault.line, fault.message) == (4, "code is wrong")


def test_equal_values_that_are_wrong_by_themselves_are_all_told(rooms: SourceFile) -> None:
    assert len(trace([broken([rooms], [(0, 1, "x", "x"), (0, 2, "x", "x")], rule="type")], {})) == 2


def test_a_nested_record_is_told_by_its_line_and_its_place_in_the_document(tmp_path: Path) -> None:
    file = source(tmp_path, "halls.json", '[\n {"rooms": [{"code": "a"},\n  {"code": "b"}]}\n]\n')

    (fault,) = trace([broken([file], [(0, 1, None, "b")], seed="halls")], {("halls", "rooms"): "rooms"})

    assert fault.line == 3
    assert fault.path is not None
    assert "rooms" in fault.path


def test_more_faults_than_anybody_reads_are_a_number_at_the_end(tmp_path: Path) -> None:
    size = MAX_FAULTS + 7
    file = source(tmp_path, "rooms.csv", "code\n" + "x\n" * size)

    faults = trace([broken([file], [(0, row, None, "x") for row in range(size)])], {})

    assert len(faults) == MAX_FAULTS + 1
    assert (faults[-1].table, faults[-1].message) == ("rooms", "7 more rows: code is wrong")
    assert sum(fault.count for fault in faults) == size


# ---- faults that a writer tells ----


def test_a_fault_with_file_and_row_gets_its_line(rooms: SourceFile) -> None:
    fault = Fault(rule="type", message="wrong", file="rooms.csv", row=2, column="floor", table="rooms")

    (done,) = complete([fault], {"rooms.csv": rooms}, {})

    assert (done.line, done.excerpt) == (5, "d,3")
    assert pointed(done) == "3"


def test_a_fault_of_a_column_points_to_the_header(rooms: SourceFile) -> None:
    fault = Fault(rule="unknown-column", message="unknown", file="rooms.csv", column="floor")

    (done,) = complete([fault], {"rooms.csv": rooms}, {})

    assert (done.line, done.excerpt) == (1, "code,floor")
    assert pointed(done) == "floor"


def test_a_fault_that_knows_its_line_or_no_file_of_ours_stays_as_it_is(rooms: SourceFile) -> None:
    faults = [
        Fault(rule="type", message="wrong", file="rooms.csv", line=9, row=0),
        Fault(rule="unique", message="wrong", table="rooms"),
        Fault(rule="type", message="wrong", file="other.csv", row=0),
    ]

    assert complete(faults, {"rooms.csv": rooms}, {}) == faults


def test_a_row_that_is_not_in_the_file_leaves_the_fault_without_a_line(rooms: SourceFile) -> None:
    (done,) = complete(
        [Fault(rule="type", message="wrong", file="rooms.csv", row=99)], {"rooms.csv": rooms}, {}
    )

    assert done.line is None


def test_broken_frames_hold_places_as_frames_do() -> None:
    assert (BROKEN[FILE], BROKEN[ROW]) == (pl.UInt16, pl.UInt32)


def test_every_row_that_comes_twice_is_told_where_all_are_rejected(rooms: SourceFile) -> None:
    rows = [(0, n, "k", "x") for n in (0, 1, 2)]

    faults = trace([broken([rooms], rows, rule="duplicate-key")], {}, every=True)

    assert [fault.line for fault in faults] == [2, 4, 5]
    assert [fault.message.partition("; ")[2] for fault in faults] == [
        "",
        "first at line 2",
        "first at line 2",
    ]


def test_a_row_is_told_which_rejected_row_it_depends_on(tmp_path: Path, rooms: SourceFile) -> None:
    floors = source(tmp_path, "floors.csv", "code\n1\n2\n")
    parents = broken([floors], [(0, 0, "7", None), (0, 1, "8", None)], seed="floors")
    child = broken([rooms], [(0, 0, "8", None)], rule=REJECTED_PARENT, column="floor")

    (fault,) = trace([replace(child, before=(parents,))], {})

    assert fault.message == "floor is wrong, floors.csv:3"
