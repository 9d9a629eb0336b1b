"""Judge paired times: the ratio of two sides, the interval that holds it, and a verdict. Pure."""

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

_CHANCE = 0.05  # that the interval misses, at most
LEAST_SECONDS = 1e-6  # of what did not happen: ratios stay finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """After/before, and the 95 % interval; 0 and infinity where the pairs are too few for one."""

    ratio: float
    low: float
    high: float
    verdict: Verdict


def judge(pairs: Sequence[tuple[float, float]], threshold: float) -> Ratio:
    """Judge pairs of seconds, before and after, at least one; a difference below `threshold` does not count.

    The ratio is Hodges and Lehmann's: the median of the means of any two log ratios, or of one with itself.
    `slower` if all of the interval is above 1 and the ratio at least 1 + threshold, `faster` if swapped sides
    were slower, `same` if the interval lies within 1 + threshold either way.
    """
    logs = sorted(_log(after) - _log(before) for before, after in pairs)
    middle = median(_means(logs))
    low, high = _interval(logs)
    # A few dozen pairs may lie so that the middle is at one end: the interval holds it all the same.
    low, high = min(low, middle), max(high, middle)
    return Ratio(
        ratio=math.exp(middle),
        low=math.exp(low),
        high=math.exp(high) if high < math.inf else high,
        verdict=_verdict(middle, low, high, math.log1p(threshold)),
    )


def settled(found: Ratio | Change, threshold: float) -> bool:
    """Say whether more pairs would tell little: the interval is narrower than what it measures.

    That is the ratio's distance from 1, or the threshold either way. Not the verdict is asked: whoever adds
    pairs until there is one gets two or three times as many false ones (docs/design.md).
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
# Which side of a pair runs first alternates from a coin's throw, so without a difference each log ratio is
# as likely to be x as -x. Then all 2^n choices of signs are equally likely, and the chance of any sum of
# scores can be counted: the interval misses in 5 % at most, whatever the number of pairs and the shape of
# noise, if pairs do not depend on each other. Scores are ranks of absolute values, as Wilcoxon's, but cut
# off at a quarter of the pairs: one that the machine held up counts as one of the bad ones, not as the
# worst ("Winsorized": Hettmansperger, Statistical Inference Based on Ranks, 1984). Why not the bootstrap,
# and why a quarter: docs/design.md.


def _interval(logs: Sequence[float]) -> tuple[float, float]:
    """The 95 % confidence interval of the log ratio: all differences that the test does not reject."""
    limit = _unlikely(len(logs))
    if limit is None:
        return -math.inf, math.inf
    return -_upper([-each for each in logs], limit), _upper(logs, limit)


def _upper(logs: Sequence[float], limit: int) -> float:
    """Give the least difference above which too few log ratios are left.

    The sum changes at means of two log ratios only: it is asked between them.
    """
    steps = sorted(set(_means(logs)))
    between = [(low + high) / 2 for low, high in pairwise(steps)]
    found = bisect_left(between, True, key=lambda difference: _positive(logs, difference) <= limit)
    return steps[found]


def _positive(logs: Sequence[float], difference: float) -> int:
    """Add up the scores (ranks by distance, capped) of the log ratios that are above a difference."""
    apart = sorted((each - difference for each in logs), key=abs)
    return sum(score for each, score in zip(apart, _scores(len(apart)), strict=True) if each > 0)


def _means(logs: Sequence[float]) -> list[float]:
    return [(one + other) / 2 for one, other in combinations_with_replacement(logs, 2)]


@cache
def _scores(pairs: int) -> tuple[int, ...]:
    most = max(3, (pairs + 3) // 4)
    return tuple(min(rank, most) for rank in range(1, pairs + 1))


@cache
def _unlikely(pairs: int) -> int | None:
    """The largest sum that is as unlikely as 2.5 %, if signs are by chance; None for fewer than 6 pairs."""
    ways = Counter({0: 1})  # in which signs give each sum
    for score in _scores(pairs):
        ways += Counter({total + score: number for total, number in ways.items()})
    sums = accumulate(ways[total] for total in sorted(ways))
    unlikely = sum(1 for number in sums if number <= _CHANCE / 2 * 2**pairs)
    return unlikely - 1 if unlikely else None
