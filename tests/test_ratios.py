"""Verdicts on paired times: laws that hold whatever the seconds are, and how often they err on known noise."""

from __future__ import annotations

import math
import random
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from seedlab.insight.judging.ratios import Ratio, is_precise_enough, judge
from tests.benchmarks.noise import REGIMES, recorded
from tests.benchmarks.verdicts import PAIRS, rates, simulations, windows

SECONDS = st.floats(min_value=1e-3, max_value=1e3)
TIMES = st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=12)
MIRRORED = {"slower": "faster", "faster": "slower", "same": "same", "unclear": "unclear"}


def bounds(found: Ratio) -> tuple[float, float, float]:
    return found.low, found.ratio, found.high


# ---- laws -----------------------------------------------------------------------------------------------


@given(TIMES, st.sampled_from([0.0, 0.05, 0.1, 0.5]))
def test_swapped_sides_have_the_inverse_ratio_and_the_opposite_verdict(
    pairs: list[tuple[float, float]], threshold: float
) -> None:
    forth = judge(pairs, threshold)
    back = judge([(after, before) for before, after in pairs], threshold)

    assert back.verdict == MIRRORED[forth.verdict]
    assert back.ratio == pytest.approx(1 / forth.ratio)
    if forth.high < math.inf:
        assert (back.low, back.high) == pytest.approx((1 / forth.high, 1 / forth.low))


@given(TIMES, st.floats(min_value=0.01, max_value=100))
def test_a_machine_that_is_slower_for_both_sides_changes_nothing(
    pairs: list[tuple[float, float]], factor: float
) -> None:
    want = judge(pairs, 0.05)
    assume(
        all(
            abs(math.log(each / limit)) > 1e-9
            for each in bounds(want)
            if each > 0
            for limit in (1.05, 1, 1 / 1.05)
        )
    )

    got = judge([(before * factor, after * factor) for before, after in pairs], 0.05)

    assert got.verdict == want.verdict
    assert bounds(got) == pytest.approx(bounds(want))


@given(st.lists(SECONDS, min_size=6, max_size=20))
def test_two_sides_that_took_the_same_time_are_the_same(seconds: list[float]) -> None:
    assert judge([(each, each) for each in seconds], 0.05) == Ratio(ratio=1, low=1, high=1, verdict="same")


@given(TIMES)
def test_the_interval_holds_the_ratio(pairs: list[tuple[float, float]]) -> None:
    found = judge(pairs, 0.05)

    assert found.low <= found.ratio <= found.high


@given(TIMES, st.randoms())
def test_the_order_of_pairs_does_not_matter(pairs: list[tuple[float, float]], chance: random.Random) -> None:
    shuffled = chance.sample(pairs, len(pairs))

    assert judge(shuffled, 0.05) == judge(pairs, 0.05)


@given(TIMES)
def test_a_larger_threshold_never_makes_a_difference(pairs: list[tuple[float, float]]) -> None:
    strict, lenient = judge(pairs, 0.05), judge(pairs, 0.2)

    assert bounds(strict) == bounds(lenient)
    assert lenient.verdict == strict.verdict or lenient.verdict in ("same", "unclear")


# ---- single cases ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(1, 6))
def test_five_pairs_have_no_interval_and_no_verdict(number: int) -> None:
    found = judge([(1.0, 3.0)] * number, 0.05)

    assert found.ratio == pytest.approx(3)
    assert (found.low, found.high, found.verdict) == (0, math.inf, "unclear")


def test_six_pairs_have_all_to_agree() -> None:
    agree = [(1.0, 1.2 + n / 100) for n in range(6)]

    assert judge(agree, 0.05).verdict == "slower"
    assert judge([*agree[:5], (1.3, 1.2)], 0.05).verdict == "unclear"


def test_the_ratio_is_the_median_of_pairwise_means() -> None:
    pairs = [(1.0, math.exp(each)) for each in (0.0, 0.1, 1.0)]

    # Means: 0, 0.05, 0.1, 0.5, 0.55, 1.
    assert math.log(judge(pairs, 0.05).ratio) == pytest.approx(0.3)


def test_a_certain_difference_below_the_threshold_is_the_same() -> None:
    assert judge([(1.0, 1.02 + n / 1000) for n in range(7)], 0.05).verdict == "same"
    assert judge([(1.0, 1.02 + n / 1000) for n in range(7)], 0.01).verdict == "slower"


def test_three_runs_of_fifteen_that_the_machine_held_up_hide_no_difference() -> None:
    quiet = [(1.0, 1.2 + n / 1000) for n in range(12)]

    assert judge([*quiet, (5.0, 1.2), (6.0, 1.2), (7.0, 1.2)], 0.05).verdict == "slower"


def test_what_did_not_happen_took_a_microsecond() -> None:
    found = judge([(0.0, 0.5)] * 7, 0.05)

    assert (found.ratio, found.verdict) == (pytest.approx(500_000), "slower")


@pytest.mark.parametrize("number", [6, 7, 8, 10])
def test_without_a_difference_the_interval_misses_in_one_of_twenty_at_most(number: int) -> None:
    """Every choice of who came first is as likely as any other: all of them are tried."""
    sizes = [random.Random(number).uniform(0.01, 0.3) for _ in range(number)]
    choices = [
        [sign * size for sign, size in zip(signs, sizes, strict=True)]
        for signs in product((1, -1), repeat=number)
    ]

    missed = [
        found
        for logs in choices
        if not (found := judge([(1.0, math.exp(x)) for x in logs], 0)).low <= 1 <= found.high
    ]

    assert len(missed) / len(choices) <= 0.05
    assert len(missed) > 0


# ---- enough pairs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "width", "enough"),
    [(1.0, 0.09, True), (1.0, 0.11, False), (1.2, 0.17, True), (1.2, 0.19, False), (1 / 1.2, 0.17, True)],
)
def test_pairs_are_enough_when_the_interval_is_narrower_than_what_it_measures(
    ratio: float, width: float, enough: bool
) -> None:
    low, high = (ratio * math.exp(side * width / 2) for side in (-1, 1))

    assert is_precise_enough(Ratio(ratio=ratio, low=low, high=high, verdict="unclear"), 0.05) is enough


def test_pairs_without_an_interval_are_not_enough() -> None:
    assert not is_precise_enough(judge([(1.0, 9.0)] * 5, 0.05), 0.05)


# ---- rates on noise -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["quiet", "noisy"])
@pytest.mark.parametrize("pairs", PAIRS)
def test_verdicts_err_as_rarely_as_performance_md_says(regime: str, pairs: tuple[int, int]) -> None:
    """Seeded, so that it always gives the same; the bounds leave room for another seed."""
    found = rates(simulations(REGIMES[regime], repetitions=400, seed=4), pairs)

    assert found[1.0]["slower"] + found[1.0]["faster"] <= 0.05
    if pairs[1] == 15:
        assert found[1.2]["slower"] >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("regime", recorded())
def test_verdicts_on_recorded_noise_err_as_rarely(regime: str) -> None:
    """The recording never changes, nor do these; its stretches overlap, so there is room for chance."""
    found = rates(list(windows(recorded()[regime])), (7, 7))

    assert found[1.0]["slower"] + found[1.0]["faster"] <= 0.07
    assert found[1.5]["slower"] > found[1.1]["slower"] > found[1.0]["slower"]
