"""How far stages are: counted from what the rooms tell, whatever the order in which they tell it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.measuring.progress import RECENT, Progress
from seedlab.insight.measuring.state import RunState, StageState
from tests.support.cases import some
from tests.support.school import FILES, SEED, STAGE, TABLES
from tests.support.seeding import WAYS, Way, execute, seed, seed_in, write

NAME = ("modules", "physics", "answers")
TWO_STAGES = {
    **FILES,
    "seedlab.toml": '[project]\nname = "school"\n'
    + STAGE.format("cities")
    + SEED.format("cities", "cities.csv")
    + STAGE.format("pupils")
    + 'dependencies = ["cities"]\n'
    + SEED.format("pupils", "pupils.csv"),
}


def stage(progress: Progress, *at_work: str) -> StageState:
    return progress.stages(at_work)[0]


# ---- a progress -------------------------------------------------------------------------------------------


def test_a_stage_waits_is_read_is_written_and_done() -> None:
    progress = Progress()
    progress.plan({"modules": "waiting"})
    found = [stage(progress)]
    progress.advance(NAME, 7)
    found += [stage(progress, "modules"), stage(progress)]
    progress.expect(NAME, 10, 0.0)
    found += [stage(progress), stage(progress, "modules")]
    progress.advance(NAME, 4)
    found += [stage(progress)]
    progress.advance(NAME, 6)
    found += [stage(progress, "modules"), stage(progress)]

    assert [(each.status, each.rows, each.total) for each in found] == [
        ("waiting", 0, None),
        ("running", 7, None),  # read
        ("waiting", 7, None),
        ("waiting", 0, 10),
        ("running", 0, 10),
        ("running", 4, 10),
        ("running", 10, 10),
        ("done", 10, 10),
    ]


def test_a_stage_that_is_planned_again_begins_anew_and_others_go_on() -> None:
    progress = Progress()
    for name in ("modules", "courses"):
        progress.expect((name, "a", "b"), 10, 0.0)
        progress.advance((name, "a", "b"), 10)
    progress.plan({"modules": "waiting"})

    assert {each.id: each.status for each in progress.stages(())} == {"modules": "waiting", "courses": "done"}


@given(
    totals=st.lists(st.integers(0, 50), min_size=1, max_size=5),
    told=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60)), max_size=20),
)
def test_a_stage_never_has_more_rows_than_it_should_and_is_done_when_it_has_all(
    totals: list[int], told: list[tuple[int, int]]
) -> None:
    progress = Progress()
    for number, total in enumerate(totals):
        progress.expect(("modules", "physics", str(number)), total, 0.0)
    sent = 0
    for number, rows in told:
        if number < len(totals):
            progress.advance(("modules", "physics", str(number)), rows)
            sent += rows
    found = stage(progress)

    assert found.total == sum(totals)
    assert found.rows == min(sent, sum(totals))
    assert (found.status == "done") == (found.rows == found.total)


def test_the_rate_is_that_of_the_last_seconds_and_begins_anew_with_the_rows() -> None:
    progress = Progress()
    assert progress.rate(0, 0.0) is None
    progress.expect(NAME, 1000, 10.0)
    assert progress.rate(100, 11.0) == 100.0
    assert progress.rate(100, 12.0) == 50.0
    for second in range(13, 23):
        rate = progress.rate(100, float(second))
    assert rate == 0.0, f"nothing came within {RECENT} s"
    assert progress.rate(40, 30.0) == 2.0


@pytest.mark.parametrize(
    ("rows", "at", "left"), [(0, 20.0, None), (50, 10.5, None), (50, 20.0, 10.0), (100, 20.0, None)]
)
def test_what_is_left_follows_from_the_rows_once_there_are_some(
    rows: int, at: float, left: float | None
) -> None:
    progress = Progress()
    progress.expect(NAME, 100, 10.0)

    assert progress.remaining(rows, 100, at) == left


def test_the_end_of_a_good_run_leaves_no_stage_open_and_of_a_bad_one_all_as_they_were() -> None:
    state = RunState(
        seconds=2.0,
        stages=(
            StageState(id="a", status="skipped"),
            StageState(id="b", status="running", rows=5, total=10),
            StageState(id="c", status="waiting"),
        ),
        eta=2.0,
    )

    done, failed = state.ended("done"), state.ended("failed")
    assert [each.status for each in done.stages] == ["skipped", "done", "done"]
    assert (done.rows, done.rows_per_second, done.eta) == (10, 5.0, None)
    assert failed == replace(state, eta=None, end="failed")


# ---- what a run tells -----------------------------------------------------------------------------------


@pytest.fixture
def school(tmp_path: Path, clean_database_url: str) -> Path:
    execute(clean_database_url, TABLES)
    return write(tmp_path / "school", TWO_STAGES)


@pytest.mark.parametrize("way", some(WAYS, "legacy", "incremental", "incremental-no-copy"))
def test_every_way_of_writing_tells_of_all_rows(way: Way, school: Path, clean_database_url: str) -> None:
    monitor, again = Monitor(), Monitor()

    seed_in(way, school, clean_database_url, monitor=monitor)
    (school / "pupils.csv").write_text(FILES["pupils.csv"] + "Dan,hfa,7\n")
    seed_in(way, school, clean_database_url, monitor=again)

    assert monitor.state().stages == (
        StageState(id="cities", status="done", rows=2, total=2),
        StageState(id="pupils", status="done", rows=3, total=3),
    )
    whole = way.level != "incremental" or "incremental" in way.disabled
    assert again.state().stages == (
        StageState(id="cities", status="done", rows=2, total=2)
        if whole
        else StageState(id="cities", status="skipped"),
        StageState(id="pupils", status="done", rows=4 if whole else 1, total=4 if whole else 1),
    )


@pytest.mark.parametrize("size", [1, 100])
def test_streamed_files_and_stages_committed_one_by_one_tell_the_same(
    size: int, school: Path, clean_database_url: str
) -> None:
    monitor = Monitor()

    seed(school, clean_database_url, commit="stage", batch_rows=size, monitor=monitor)

    assert [(each.status, each.rows, each.total) for each in monitor.state().stages] == [
        ("done", 2, 2),
        ("done", 3, 3),
    ]


def test_files_saved_again_without_a_changed_row_are_skipped(school: Path, clean_database_url: str) -> None:
    seed(school, clean_database_url)
    (school / "pupils.csv").write_text(FILES["pupils.csv"].replace("\n", "\r\n"))
    monitor = Monitor()

    seed(school, clean_database_url, monitor=monitor)

    assert [each.status for each in monitor.state().stages] == ["skipped", "skipped"]
