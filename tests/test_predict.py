"""How long a seed will take, from how long it took: the interval's promise, and whose times count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedlab.flow import Outcomes, Run, SeedReport, Settings, Span, StageReport, TableReport
from seedlab.insight.judging import predict
from seedlab.insight.judging.predict import Timing
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records.runs import Heading, build_run

seconds = st.floats(0.001, 1000)
ALL_NEW, ALL_SAME = Outcomes(created=100), Outcomes(unchanged=100)


def run_of(
    took: float,
    outcomes: Outcomes = ALL_NEW,
    *,
    status: str = "run",
    target: str = "here",
    shared: float = 0.0,
) -> Run:
    """A run of one seed `core.cities`, and of work that belongs to no seed."""
    span = Span(phase="read", seconds=took / 4, cpu_seconds=0, stage="core", seed="cities")
    spans = (span, replace(span, phase="merge", seconds=took * 3 / 4))
    all_spans = (*spans, Span(phase="merge", seconds=shared, cpu_seconds=0))
    table = TableReport(table="cities", key=("code",), outcomes=outcomes)
    seed = SeedReport(name="cities", tables=(table,), spans=spans)
    stage = StageReport(id="core", status=status, reason="", outcomes=outcomes, seeds=(seed,))  # type: ignore[arg-type]
    heading = Heading(project="school", target=target, settings=Settings())
    run = build_run(Monitor(), heading, (stage,))
    return replace(run, seconds=took + shared, spans=all_spans)


def learned(runs: Sequence[Run]) -> predict.Experience:
    return predict.learn(runs, predict.situation_of(run_of(1)))


# ---- whose times count ----------------------------------------------------------------------------------


def test_seeds_and_runs_are_told_apart_by_what_they_did() -> None:
    found = learned([run_of(1), run_of(2, ALL_SAME), run_of(3, ALL_SAME, status="skipped"), run_of(4)])

    assert {kind: [t.seconds for t in timings] for kind, timings in found.runs.items()} == {
        "cold": [1, 4],
        "compared": [2],
        "idle": [3],
    }
    assert [t.seconds for t in found.seeds["core.cities", "cold"]] == [1, 4]
    assert ("core.cities", "idle") not in found.seeds


def test_only_runs_that_succeeded_in_the_same_situation_count() -> None:
    other = run_of(1)
    strangers = [
        replace(other, status="failed"),
        run_of(1, target="there"),
        replace(other, level="legacy"),
        replace(other, settings={**other.settings, "disabled": ["cache"]}),
        replace(other, machine={**other.machine, "cores": 64}),
        replace(other, project="college"),
        replace(other, environment="test"),
    ]

    assert learned(strangers).runs == {}


def test_what_belongs_to_no_seed_is_shared_by_rows() -> None:
    assert learned([run_of(1, shared=0.5)]).seeds["core.cities", "cold"][0].seconds == pytest.approx(1.5)


def test_the_part_that_reading_takes_is_known() -> None:
    assert predict.reading(learned([run_of(1), run_of(2)]).seeds["core.cities", "cold"]) == pytest.approx(
        0.25
    )


# ---- the interval ---------------------------------------------------------------------------------------


@given(st.lists(seconds, min_size=predict.ENOUGH, max_size=predict.NEWEST), st.integers(0, 10**6))
def test_the_interval_holds_what_was_seen_and_says_how_sure_it_is(took: list[float], rows: int) -> None:
    found = predict.expect(rows, [Timing(rows=rows, seconds=each) for each in took])

    assert found.low == pytest.approx(min(took))
    assert found.high == pytest.approx(max(took))
    assert found.low <= found.seconds <= found.high
    assert found.confidence == (len(took) - 1) / (len(took) + 1)
    assert found.basis == "history"


@given(st.permutations([1.0, 2.0, 3.0, 5.0, 8.0, 13.0]))
def test_of_six_runs_the_next_is_inside_as_often_as_promised(took: list[float]) -> None:
    """Runs in any order are equally likely: the last of six is outside only if it is an extreme one."""
    *earlier, last = took
    found = predict.expect(100, [Timing(rows=100, seconds=each) for each in earlier])

    assert (found.low <= last <= found.high) == (last not in (1.0, 13.0))
    assert found.confidence == pytest.approx(4 / 6)


@given(st.lists(seconds, min_size=3, max_size=9), st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_rows_never_take_less(took: list[float], few: int, more: int) -> None:
    timings = [Timing(rows=1000, seconds=each) for each in took]
    few, more = sorted((few, more))

    assert predict.expect(few, timings).seconds <= predict.expect(more, timings).seconds


def test_only_the_newest_runs_count() -> None:
    old, new = [Timing(rows=1, seconds=100)] * 30, [Timing(rows=1, seconds=1)] * predict.NEWEST

    assert predict.expect(1, [*old, *new]).high == 1


def test_too_few_runs_leave_it_to_the_estimate() -> None:
    found = predict.expect(100, [Timing(rows=100, seconds=9)] * 2, estimated_ms=250)

    assert (found.seconds, found.basis, found.runs, found.confidence) == (0.25, "estimate", 2, 0.0)


def test_few_runs_are_a_better_guess_than_rows() -> None:
    found = predict.expect(100, [Timing(rows=100, seconds=9)])

    assert (found.seconds, found.basis, found.runs, found.confidence) == (9, "estimate", 1, 0.0)


def test_without_an_estimate_rows_are_counted() -> None:
    assert predict.expect(0, ()).seconds < predict.expect(10**6, ()).seconds


def test_the_next_run_is_as_the_last_ones_if_those_were_alike() -> None:
    alike = learned([run_of(9, ALL_SAME), run_of(1), run_of(2), run_of(4)]).usual

    assert alike is not None
    assert alike.seconds == 2
    assert learned([run_of(1), run_of(2), run_of(4, ALL_SAME)]).usual is None
    assert learned([run_of(1), run_of(2)]).usual is None


@pytest.mark.parametrize(
    ("outcomes", "kind"),
    [
        (Outcomes(created=2), "cold"),
        (Outcomes(created=1, unchanged=1), "changed"),
        (Outcomes(created=1, deleted=1), "changed"),
        (Outcomes(updated=2), "changed"),
        (Outcomes(unchanged=2), "compared"),
    ],
)
def test_the_kind_of_work_follows_from_what_became_of_the_rows(outcomes: Outcomes, kind: str) -> None:
    assert predict.kind_of(outcomes) == kind
    assert predict.kind_of(outcomes, ran=False) == "idle"
