"""The exponent that is fitted is the one that was there, and its interval is honest."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedlab.insight.judging.growth import fit

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000)


@given(exponent=st.floats(0.5, 2.5), fixed=st.floats(0, 0.5), factor=st.floats(1e-7, 1e-4))
def test_growth_without_noise_is_found(exponent: float, fixed: float, factor: float) -> None:
    growth = fit([(n, fixed + factor * n**exponent) for n in SIZES])

    assert growth is not None
    assert growth.low <= growth.exponent <= growth.high
    # Beside a fixed part that outweighs the rest, rows may show little; then the interval says so.
    assert growth.low - 0.011 <= exponent <= growth.high + 0.011
    for n in SIZES:
        assert growth.seconds(n) == pytest.approx(fixed + factor * n**exponent, rel=0.02)


@given(st.lists(st.tuples(st.sampled_from(SIZES), st.floats(0.001, 1000)), min_size=4, max_size=9))
def test_whatever_was_measured_no_part_of_the_time_is_negative(points: list[tuple[float, float]]) -> None:
    growth = fit(points)

    assert growth is None or (growth.fixed >= 0 and growth.factor >= 0)


def test_the_interval_holds_the_exponent_about_as_often_as_it_says() -> None:
    chance, held = random.Random(4), 0
    for _ in range(100):
        growth = fit([(n, (0.3 + 2e-5 * n**1.1) * math.exp(chance.gauss(0, 0.05))) for n in SIZES * 2])
        assert growth is not None
        held += growth.low <= 1.1 <= growth.high

    assert 88 <= held <= 100


@pytest.mark.parametrize(
    "points", [[], [(1, 1.0)] * 9, [(n, 1.0) for n in (1, 2, 3)], [(0, 1.0), (-1, 1.0), (5, 0.0), (6, 1.0)]]
)
def test_too_few_sizes_are_not_fitted(points: list[tuple[float, float]]) -> None:
    assert fit(points) is None
