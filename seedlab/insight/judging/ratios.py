"""Judges paired times: the ratio of two sides, its confidence interval, and a verdict. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, combinations_with_replacement, pairwise
from statistics import median

from seedlab.flow.evidence import Change, Verdict

_CHANCE = 0.05  # the greatest probability that the interval does not contain the ratio
LEAST_SECONDS = 1e-6  # shorter times count as this, so that ratios are finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The ratio after/before and its 95 % interval, which is (0, infinity) if there are too few pairs."""

    ratio: float
    low: float
    high: float
    verdict: Verdict


def judge(pairs: Sequence[tuple[float, float]], threshold: float) -> Ratio:
    """Judge at least one pair of seconds (before, after).

    The ratio is the Hodges-Lehmann estimator: the median of the means of any two log ratios, each with itself
    included. The verdict is `slower` if the whole interval is above 1 and the ratio at least 1 + threshold,
    `faster` if swapped sides would be slower, `same` if the interval lies within a factor of 1 + threshold
    around 1, and else `unclear`.
    """
    logs = sorted(_log(after) - _log(before) for before, after in pairs)
    middle = median(_means(logs))
    low, high = _interval(logs)
    # With a few dozen pairs the estimate can lie just outside of the interval, which then is extended to it.
    low, high = min(low, middle), max(high, middle)
    return Ratio(
        ratio=math.exp(middle),
        low=math.exp(low),
        high=math.exp(high) if high < math.inf else high,
        verdict=_verdict(middle, low, high, math.log1p(threshold)),
    )


def is_precise_enough(found: Ratio | Change, threshold: float) -> bool:
    """Tell whether more pairs would add little precision.

    This is so if the interval is narrower than the ratio's distance from 1, or than the threshold on both
    sides of 1. It must not depend on the verdict: to add pairs until there is one yields two or three times
    as many false ones (docs/design.md).
    """
    if found.low <= 0:
        return False
    return math.log(found.high / found.low) <= max(2 * math.log1p(threshold), abs(math.log(found.ratio)))


def _log(seconds: float) -> float:
    return math.log(max(seconds, LEAST_SECONDS))


def _verdict(middle: float, low: float, high: float, limit: float) -> Verdict:
    """Compare logarithms, so that swapped sides are judged the same to the last bit."""
    if low > 0 and middle >= limit:
        return "slower"
    if high < 0 and middle <= -limit:
        return "faster"
    return "same" if -limit <= low and high <= limit else "unclear"


# ---- the interval ---------------------------------------------------------------------------------------
#
# The interval inverts a signed-rank test. Which side of a pair runs first is random, so without a difference
# each log ratio is as likely to be x as -x. Then all 2^n choices of signs are equally likely, and the
# probability of any sum of scores can be counted. So the interval misses in at most 5 % of cases, whatever
# the number of pairs and the distribution of noise, if pairs are independent. Scores are the ranks of
# absolute values, as in Wilcoxon's test, but capped at a quarter of the pairs: a pair that the machine
# disturbed counts as one of the worst, not as the very worst ("Winsorized": Hettmansperger, Statistical
# Inference Based on Ranks, 1984). docs/design.md says why not the bootstrap, and why a quarter.


def _interval(logs: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the log ratio: all differences that the test does not reject."""
    limit = _unlikely(len(logs))
    if limit is None:
        return -math.inf, math.inf
    return -_upper([-each for each in logs], limit), _upper(logs, limit)


def _upper(logs: Sequence[float], limit: int) -> float:
    """Return the least difference for which the sum of positive scores is unlikely (at most `limit`).

    The sum changes only at means of two log ratios, so it is evaluated between them.
    """
    steps = sorted(set(_means(logs)))
    between = [(low + high) / 2 for low, high in pairwise(steps)]
    found = bisect_left(between, True, key=lambda difference: _positive(logs, difference) <= limit)
    return steps[found]


def _positive(logs: Sequence[float], difference: float) -> int:
    """Sum the scores (capped ranks by distance) of the log ratios that are above a difference."""
    by_distance = sorted((each - difference for each in logs), key=abs)
    return sum(score for each, score in zip(by_distance, _scores(len(by_distance)), strict=True) if each > 0)


def _means(logs: Sequence[float]) -> list[float]:
    return [(one + other) / 2 for one, other in combinations_with_replacement(logs, 2)]


@cache
def _scores(pairs: int) -> tuple[int, ...]:
    most = max(3, (pairs + 3) // 4)
    return tuple(min(rank, most) for rank in range(1, pairs + 1))


@cache
def _unlikely(pairs: int) -> int | None:
    """Return the largest sum whose probability under random signs is at most 2.5 %; None below 6 pairs."""
    ways = Counter({0: 1})  # sum → the number of choices of signs that give it
    for score in _scores(pairs):
        ways += Counter({total + score: number for total, number in ways.items()})
    sums = accumulate(ways[total] for total in sorted(ways))
    unlikely = sum(1 for number in sums if number <= _CHANCE / 2 * 2**pairs)
    return unlikely - 1 if unlikely else None
