"""How often a comparison errs: verdicts on noise in which nothing differs, and on the same with one side slowed.

No database, and no clock: the noise is simulated, or was recorded by `tests.benchmarks.noise`. Half a minute.

    python -m tests.benchmarks.verdicts [--repetitions 5000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from seedlab.insight.ratios import judge
from tests.benchmarks.noise import REGIMES, Regime, recorded, simulated

THRESHOLD = 0.05
PAIRS = (7, 15)
FACTORS = (1.0, 1.05, 1.1, 1.2, 1.5)  # by which one side is slower in truth

Rates = dict[float, Mapping[str, float]]  # factor → verdict → share


def abba(seconds: Sequence[float]) -> list[tuple[float, float]]:
    """Pair runs that were made one after the other, as if the sides had taken turns: ABBA ABBA."""
    turns = zip(seconds[::2], seconds[1::2], strict=True)
    return [pair if number % 2 == 0 else pair[::-1] for number, pair in enumerate(turns)]


def rates(series: Iterable[Sequence[float]], pairs: int) -> Rates:
    """Share of each verdict by true factor, over series of `2 * pairs` runs."""
    verdicts: dict[float, Counter[str]] = {factor: Counter() for factor in FACTORS}
    for seconds in series:
        paired = abba(seconds[: 2 * pairs])
        for factor in FACTORS:
            verdicts[factor][judge([(one, other * factor) for one, other in paired], THRESHOLD).verdict] += 1
    return {factor: _shares(counted) for factor, counted in verdicts.items()}


def _shares(counted: Counter[str]) -> Mapping[str, float]:
    return {name: counted[name] / counted.total() for name in ("slower", "faster", "same", "unclear")}


def simulations(regime: Regime, pairs: int, *, repetitions: int, seed: int) -> Iterator[list[float]]:
    chance = random.Random(seed)
    for _ in range(repetitions):
        yield simulated(regime, 2 * pairs, chance)


def windows(seconds: Sequence[float], pairs: int) -> Iterator[Sequence[float]]:
    """Every stretch of a recording that is long enough; they overlap, so they are worth less than their number."""
    return (seconds[start : start + 2 * pairs] for start in range(len(seconds) - 2 * pairs + 1))


def lines(name: str, pairs: int, found: Rates) -> Iterator[str]:
    false = found[1.0]["slower"] + found[1.0]["faster"]
    shares = [found[1.0]["same"], *(found[factor]["slower"] for factor in FACTORS[1:])]
    yield f"| {name} | {pairs} | {false:.1%} | " + " | ".join(f"{share:.0%}" for share in shares) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=5000)
    parser.add_argument("--json", type=Path, help="write the shares of all verdicts")
    args = parser.parse_args()
    slower = " | ".join(f"+{factor - 1:.0%} found" for factor in FACTORS[1:])
    print(f"| noise | pairs | false verdicts on A/A | `same` on A/A | {slower} |")
    print("|---|--:|" + "--:|" * (len(FACTORS) + 1))
    record = []
    for pairs in PAIRS:
        sources = {
            f"simulated, {name}": simulations(regime, pairs, repetitions=args.repetitions, seed=1)
            for name, regime in REGIMES.items()
        }
        sources |= {f"recorded, {name}": windows(seconds, pairs) for name, seconds in recorded().items()}
        for name, series in sources.items():
            found = rates(series, pairs)
            record.append({"noise": name, "pairs": pairs, "rates": found})
            print("\n".join(lines(name, pairs, found)), flush=True)
    if args.json:
        args.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
