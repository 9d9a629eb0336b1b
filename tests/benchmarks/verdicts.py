"""How often a comparison errs: verdicts on noise in which nothing differs, and on the same with one side slowed.

No database, and no clock: the noise is simulated, or was recorded by `tests.benchmarks.noise`. A minute.

    python -m tests.benchmarks.verdicts [--repetitions 3000] [--json FILE]
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from seedlab.experiment.comparing import swaps
from seedlab.insight.judging.ratios import is_precise_enough, judge
from tests.benchmarks.figures import Result, alone
from tests.benchmarks.noise import REGIMES, Regime, recorded, simulated

THRESHOLD = 0.05
PAIRS = ((7, 7), (15, 15), (7, 15))  # how many at least and at most; between them as `compare` decides
FACTORS = (1.0, 1.05, 1.1, 1.2, 1.5)  # by which one side is slower in truth
MOST = 2 * max(most for _, most in PAIRS)  # runs

Rates = dict[float, Mapping[str, float]]  # factor → verdict → share


def in_turns(seconds: Sequence[float], chance: random.Random) -> list[tuple[float, float]]:
    """Pair runs that were made one after the other, as if the sides had taken turns as in a comparison."""
    turns = zip(seconds[::2], seconds[1::2], strict=True)
    endless = zip(swaps(chance), turns, strict=False)
    return [(two, one) if swapped else (one, two) for swapped, (one, two) in endless]


def rates(series: Iterable[Sequence[float]], pairs: tuple[int, int]) -> Rates:
    """Share of each verdict by true factor, over series of runs."""
    verdicts: dict[float, Counter[str]] = {factor: Counter() for factor in FACTORS}
    chance = random.Random(2)
    for seconds in series:
        paired = in_turns(seconds[: 2 * pairs[1]], chance)
        for factor in FACTORS:
            slowed = [(one, other * factor) for one, other in paired]
            verdicts[factor][verdict(slowed, pairs[0])] += 1
    return {factor: _shares(counted) for factor, counted in verdicts.items()}


def verdict(pairs: Sequence[tuple[float, float]], least: int) -> str:
    """Judge the first pairs that are enough, or all."""
    for number in range(least, len(pairs)):
        found = judge(pairs[:number], THRESHOLD)
        if is_precise_enough(found, THRESHOLD):
            return found.verdict
    return judge(pairs, THRESHOLD).verdict


def _shares(counted: Counter[str]) -> Mapping[str, float]:
    return {name: counted[name] / counted.total() for name in ("slower", "faster", "same", "unclear")}


def simulations(regime: Regime, *, repetitions: int, seed: int) -> Iterator[list[float]]:
    chance = random.Random(seed)
    for _ in range(repetitions):
        yield simulated(regime, MOST, chance)


def windows(seconds: Sequence[float]) -> Iterator[Sequence[float]]:
    """Every stretch of a recording that is long enough, three times, for other coins; they overlap."""
    return (seconds[start : start + MOST] for start in range(len(seconds) - MOST + 1) for _ in range(3))


def line(name: str, pairs: tuple[int, int], found: Rates) -> str:
    false = found[1.0]["slower"] + found[1.0]["faster"]
    shares = [found[1.0]["same"], *(found[factor]["slower"] for factor in FACTORS[1:])]
    number = " to ".join(map(str, dict.fromkeys(pairs)))
    return f"| {name} | {number} | {false:.1%} | " + " | ".join(f"{share:.0%}" for share in shares) + " |"


def result(repetitions: int) -> Result:
    sources = {
        f"simulated, {name}": list(simulations(regime, repetitions=repetitions, seed=1))
        for name, regime in REGIMES.items()
    }
    sources |= {f"recorded, {name}": list(windows(seconds)) for name, seconds in recorded().items()}
    slower = " | ".join(f"+{factor - 1:.0%} found" for factor in FACTORS[1:])
    lines = [f"| noise | pairs | false verdicts on A/A | `same` on A/A | {slower} |"]
    lines.append("|---|--:|" + "--:|" * (len(FACTORS) + 1))
    record = []
    for name, pairs in product(sources, PAIRS):
        found = rates(sources[name], pairs)
        record.append({"noise": name, "pairs": pairs, "rates": found})
        lines.append(line(name, pairs, found))
    return Result(title="How often a comparison errs", markdown="\n".join(lines), record=record)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=3000)
    return alone(parser, lambda args: result(args.repetitions))


if __name__ == "__main__":
    sys.exit(main())
