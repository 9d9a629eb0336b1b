"""What is usual follows from earlier runs of the same kind in the same circumstances, and from nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedlab.insight.judging.trend import ENOUGH, WINDOW, ceiling, in_order, trends, usual
from seedlab.insight.records.past import PastRun
from tests.support.histories import failed_of, past_of

SECONDS = st.floats(min_value=1e-4, max_value=1e4)
TIMES = st.lists(SECONDS, min_size=ENOUGH, max_size=WINDOW)


def judgements(seconds: Sequence[float]) -> list[str]:
    (trend,) = trends(past_of(number, each) for number, each in enumerate(seconds))
    return [point.judgement for point in trend.points]


# ---- the band -------------------------------------------------------------------------------------------


def test_the_band_is_twice_the_distance_of_the_quartiles_as_a_ratio() -> None:
    found = usual([1.0, 1.25, 1.4, 1.5, 9.0])

    assert found is not None
    assert (found.median, found.runs) == (1.4, 5)
    assert (found.low, found.high) == pytest.approx((1.4 / 1.44, 1.4 * 1.44))


def test_runs_that_happen_to_be_alike_leave_a_band_of_a_twentieth() -> None:
    found = usual([2.0] * 6)

    assert found is not None
    assert (found.low, found.high) == pytest.approx((2 / 1.05, 2.1))


@given(seconds=TIMES, random=st.randoms(use_true_random=False))
def test_the_order_of_the_earlier_runs_does_not_matter(seconds: list[float], random: Any) -> None:
    shuffled = list(seconds)
    random.shuffle(shuffled)

    assert usual(shuffled) == usual(seconds)


@given(seconds=TIMES)
def test_the_median_lies_in_the_band_and_the_band_among_possible_times(seconds: list[float]) -> None:
    found = usual(seconds)

    assert found is not None
    assert 0 < found.low < found.median < found.high
    assert min(seconds) <= found.median <= max(seconds)
    assert found.judge(found.median) == "as usual"


@given(seconds=TIMES, factor=st.sampled_from([0.25, 2.0, 1024.0]))
def test_another_unit_gives_the_same_band_in_that_unit(seconds: list[float], factor: float) -> None:
    one, other = usual(seconds), usual([each * factor for each in seconds])

    assert one is not None
    assert other is not None
    mine = (one.low * factor, one.median * factor, one.high * factor)
    assert mine == pytest.approx((other.low, other.median, other.high))


@given(seconds=TIMES, one=SECONDS, other=SECONDS)
def test_who_takes_longer_is_never_judged_faster(seconds: list[float], one: float, other: float) -> None:
    order = ["faster than usual", "as usual", "slower than usual"]
    found = usual(seconds)

    assert found is not None
    quick, slow = sorted([one, other])
    assert order.index(found.judge(quick)) <= order.index(found.judge(slow))


@given(old=st.lists(SECONDS, max_size=9), seconds=st.lists(SECONDS, min_size=WINDOW, max_size=WINDOW))
def test_only_the_last_runs_count(old: list[float], seconds: list[float]) -> None:
    assert usual([*old, *seconds]) == usual(seconds)


# ---- judgements -----------------------------------------------------------------------------------------


def test_nothing_is_unusual_before_there_are_enough_runs() -> None:
    assert judgements([1.0, 9.0, 1.0, 9.0, 1.0, 99.0]) == ["too few runs"] * ENOUGH + ["slower than usual"]


def test_a_slow_a_fast_and_an_ordinary_run_are_told() -> None:
    usually = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0]

    assert judgements([*usually, 1.6])[-1] == "slower than usual"
    assert judgements([*usually, 0.4])[-1] == "faster than usual"
    assert judgements([*usually, 1.08])[-1] == "as usual"


def test_after_a_lasting_change_the_band_follows() -> None:
    seconds = [1.0] * WINDOW + [2.0] * WINDOW

    told = judgements(seconds)

    assert told[WINDOW] == "slower than usual"
    assert told[-1] == "as usual"
    assert told.index("as usual", WINDOW) <= WINDOW + WINDOW // 2 + 1


@given(seconds=st.lists(SECONDS, min_size=1, max_size=30), size=st.integers(1, 30))
def test_later_runs_do_not_change_what_was_said_of_earlier_ones(seconds: list[float], size: int) -> None:
    assert judgements(seconds)[:size] == judgements(seconds[:size])


# ---- series ---------------------------------------------------------------------------------------------

OTHERS: list[dict[str, Any]] = [
    {"project": "shop"}, {"target": "sqlite:///a.db"}, {"level": "copy"}, {"disabled": ("cache",)},
    {"environment": "test"}, {"machine": "another"}, {"selection": "-s courses"}, {"kind": "again"},
]  # fmt: skip


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: next(iter(other)))
def test_runs_that_do_not_compare_are_kept_apart(other: dict[str, Any]) -> None:
    runs = [past_of(number, **(other if number % 2 else {})) for number in range(4)]

    assert [[point.run.run_id[-1] for point in each.points] for each in trends(runs)] == [
        ["0", "2"],
        ["1", "3"],
    ]


def test_databases_of_one_kind_and_data_of_two_commits_compare() -> None:
    runs = [past_of(1), past_of(2, target="postgresql://me@elsewhere/copy", commit="0badcafe")]

    assert len(trends(runs)) == 1


@given(kinds=st.lists(st.sampled_from(["cold", "again", "changed", None]), min_size=1, max_size=25))
def test_every_run_is_in_one_series_in_the_order_of_time(kinds: list[str | None]) -> None:
    runs = [
        past_of(number, kind=kind) if kind else failed_of(number, seconds=number)
        for number, kind in enumerate(kinds)
    ]

    found = trends(runs)

    assert [point.run for point in in_order(found)] == runs
    assert [each.last.run.run_id for each in found] == sorted(each.last.run.run_id for each in found)
    assert len({each.series for each in found}) == len(found)


@given(times=st.lists(st.tuples(SECONDS, st.booleans()), min_size=1, max_size=25))
def test_runs_of_another_machine_change_nothing(times: list[tuple[float, bool]]) -> None:
    runs = [past_of(n, each, machine="there" if far else "here") for n, (each, far) in enumerate(times)]

    def of(machine: str) -> list[PastRun]:
        return [run for run in runs if run.machine == machine]

    apart = {each.series: each for machine in ("here", "there") for each in trends(of(machine))}
    assert {each.series: each for each in trends(runs)} == apart


def test_a_failed_run_stands_with_the_kind_before_it_and_does_not_count() -> None:
    runs = [past_of(0, kind="again"), past_of(1), failed_of(2, seconds=99.0), past_of(3)]

    again, cold = trends(runs)

    assert [point.judgement for point in cold.points] == ["too few runs", "not finished", "too few runs"]
    assert cold.last.usual is not None
    assert (cold.last.usual.median, cold.last.usual.runs) == (1.0, 1)
    assert len(again.points) == 1


def test_a_failed_run_before_all_others_stands_with_the_next_one() -> None:
    (trend,) = trends([failed_of(0), past_of(1)])

    assert trend.series.kind == "cold"
    assert trends([failed_of(0)])[0].series.kind == "failed"


@given(seconds=st.lists(SECONDS, max_size=20))
def test_the_edge_of_a_chart_is_positive_and_no_higher_than_the_most(seconds: list[float]) -> None:
    found = ceiling(seconds, 2.0)

    assert found > 0
    assert math.isfinite(found)
    assert not seconds or found <= max(seconds)
