"""What measuring a default seed costs: runs with and without it take turns, ABBA.

Without: a monitor that keeps no span and no count, and no thread that takes samples. Each run is a cold seed
of a database of its own tables; nothing else should run meanwhile. With the defaults it takes five minutes.

    python -m tests.benchmarks.overhead [--pairs 15] [--rows 400000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from unittest import mock

from seedlab import generation, orchestrator, sampling
from seedlab.database import connect
from seedlab.flow import Level, Options, Project, Run, Settings
from seedlab.insight.machine import machine, versions
from seedlab.insight.monitor import Monitor
from seedlab.plan.project import load_project
from tests.benchmarks.bench import DATA, Bench, bench

ASKED = 3.0  # percent


class Silent(Monitor):
    """Keeps nothing of what a run does over and over."""

    def span(self, *_: object, **__: object) -> nullcontext[None]:  # type: ignore[override]
        return nullcontext()

    def count(self, **_: int) -> None:
        pass

    cache = count

    def progress(self, *_: object) -> None:
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Seconds of runs without and with measuring, pair by pair."""

    what: str
    pairs: list[tuple[float, float]]
    samples: int  # most looks at one run

    @property
    def percent(self) -> float:
        """The median of the pairs' ratios."""
        return (math.exp(median(math.log(after / before) for before, after in self.pairs)) - 1) * 100

    def __str__(self) -> str:
        before = median(pair[0] for pair in self.pairs)
        verdict = "met" if self.percent <= ASKED else "MISSED"
        spread = sorted((after / before - 1) * 100 for before, after in self.pairs)
        return (
            f"{self.what:<44} {before:7.3f} s  {self.percent:+5.1f} %  ≤ {ASKED:g} {verdict}"
            f"  (pairs {spread[0]:+.1f} to {spread[-1]:+.1f}; {self.samples} samples)"
        )


@contextmanager
def measuring(on: bool) -> Iterator[Callable[[], Monitor]]:
    """Give what makes a monitor, with or without all that measures."""
    if on:
        yield Monitor
        return
    with mock.patch.object(sampling, "sampled", return_value=nullcontext()):
        yield Silent


def measure(place: Bench, what: str, project: Project, level: Level, pairs: int) -> Overhead:
    """Run in the order ABBA ABBA …, after one run of each that does not count."""
    target = connect.parse_target(place.url, "--database-url")
    options = Options(environment=project.environments["development"], settings=Settings(level=level))
    runs: list[Run] = []

    def once(*, on: bool) -> float:
        with measuring(on) as monitor:
            return place.time(lambda: runs.append(orchestrator.seed(project, target, options, monitor())))

    def pair(number: int) -> tuple[float, float]:
        first = once(on=bool(number % 2))
        second = once(on=not number % 2)
        return (second, first) if number % 2 else (first, second)

    pair(0)
    found = [pair(number) for number in range(pairs)]
    return Overhead(what=what, pairs=found, samples=max(len(run.samples) for run in runs))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument(
        "--rows", type=int, default=400_000, help="of the run that lasts longer than a second"
    )
    parser.add_argument("--json", type=Path, help="write the figures with their raw samples")
    args = parser.parse_args()
    academy = load_project(DATA)
    figures = []
    with bench() as place, tempfile.TemporaryDirectory() as folder:
        generation.generate(academy, rows=args.rows, out=Path(folder, "grown"))
        grown = load_project(Path(folder, "grown"))
        few = max(1, args.pairs // 2)
        for what, project, level, pairs in (
            ("academy, default level", academy, "incremental", args.pairs),
            (f"academy grown to {args.rows:,} rows, default level", grown, "incremental", few),
            ("academy, row by row: most counts", academy, "legacy", few),
        ):
            figures.append(measure(place, what, project, level, pairs))
            print(figures[-1], flush=True)
    if args.json:
        told = [{**asdict(each), "percent": each.percent} for each in figures]
        record = {"machine": machine(), "versions": versions(), "figures": told}
        args.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0 if all(each.percent <= ASKED for each in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
