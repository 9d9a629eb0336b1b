"""What measuring a default seed costs: runs without it and with ten times of it take turns, ABBA.

Without: a monitor that keeps no span and no count, and no thread that takes samples. Ten times: every span is
ten spans, every count ten, and ten threads take samples, so that what is looked for stands out of what
neighbours do to the clock; a tenth of the difference is told. Each run is a cold seed of a database of its own
tables; nothing else should run meanwhile. With the defaults it takes five minutes.

Two clocks: that on the wall, and the CPU seconds of this process with all its threads.

    python -m tests.benchmarks.overhead [--pairs 15] [--rows 400000] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from unittest import mock

from seedlab import orchestrator
from seedlab.database import connect
from seedlab.flow import Level, Load, Options, Phase, Project, Settings
from seedlab.insight.measuring import monitor
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.measuring.spans import OpenSpan
from seedlab.operations import generation
from seedlab.plan.project import load_project
from seedlab.steps import sampling
from tests.benchmarks.bench import DATA, Bench, bench
from tests.benchmarks.figures import Result, alone, markdown_table

ASKED = 3.0  # percent
TIMES = 10


class Silent(Monitor):
    """Keeps nothing of what a run does over and over."""

    def span(self, *_: object, **__: object) -> nullcontext[None]:  # type: ignore[override]
        return nullcontext()

    def count(self, **_: int) -> None:
        pass

    cache = count

    def progress(self, *_: object) -> None:
        pass


class Stacked:
    """Several spans as one: all are open while the block runs."""

    def __init__(self, spans: list[OpenSpan]) -> None:
        self._spans = spans

    def __enter__(self) -> None:
        for span in self._spans:
            span.__enter__()

    def __exit__(self, *error: Any) -> None:
        for span in reversed(self._spans):
            span.__exit__(*error)


class Tenfold(Monitor):
    """Does all that it does over and over ten times, and counts once."""

    def span(self, phase: Phase, **what: Any) -> Stacked:  # type: ignore[override]
        return Stacked([super(Tenfold, self).span(phase, **what) for _ in range(TIMES)])

    def count(self, *, pid: int = 0, **counts: int) -> None:
        super().count(pid=pid, **counts)
        nothing = dict.fromkeys(counts, 0)
        for _ in range(TIMES - 1):
            super().count(pid=pid, **nothing)

    def cache(self, **counts: int) -> None:
        super().cache(**counts)
        nothing = dict.fromkeys(counts, 0)
        for _ in range(TIMES - 1):
            super().cache(**nothing)

    def progress(self, load: Load, rows: int) -> None:
        super().progress(load, rows)
        for _ in range(TIMES - 1):
            super().progress(load, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Seconds of runs without measuring and with `TIMES` of it by one clock, pair by pair."""

    what: str
    clock: str
    pairs: list[tuple[float, float]]

    @property
    def each(self) -> list[float]:
        """Percent that measuring once adds, of each pair."""
        return [(after / before - 1) / TIMES * 100 for before, after in self.pairs]

    @property
    def percent(self) -> float:
        """The pairs' median."""
        return median(self.each)

    def row(self) -> tuple[str, ...]:
        """Cells of its line in a table."""
        before = median(pair[0] for pair in self.pairs)
        return self.what, self.clock, f"{before:.2f}", f"{self.percent:+.1f}", f"≤ {ASKED:g}"

    def __str__(self) -> str:
        before = median(pair[0] for pair in self.pairs)
        verdict = "met" if self.percent <= ASKED else "MISSED"
        spread = quantiles(self.each, n=4)
        return (
            f"{self.what:<44} {self.clock:<4} {before:7.3f} s  {self.percent:+5.1f} %  ≤ {ASKED:g} {verdict}"
            f"  (half of the pairs {spread[0]:+.1f} to {spread[-1]:+.1f})"
        )


@contextmanager
def measuring(on: bool) -> Iterator[Callable[[], Monitor]]:
    """Give what makes a monitor: one that does everything ten times, or nothing."""
    once = sampling.sampled

    @contextmanager
    def samplers(*args: Any) -> Iterator[None]:
        with ExitStack() as stack:
            for _ in range(TIMES if on else 0):
                stack.enter_context(once(*args))
            yield

    with (
        mock.patch.object(sampling, "sampled", samplers),
        mock.patch.object(monitor, "SAMPLES_KEPT", monitor.SAMPLES_KEPT * TIMES),
    ):
        yield Tenfold if on else Silent


def measure(place: Bench, what: str, project: Project, level: Level, pairs: int) -> list[Overhead]:
    """Run in the order ABBA ABBA …, after one run of each that does not count; by both clocks."""
    target = connect.parse_target(place.url, "--database-url")
    options = Options(environment=project.environments["development"], settings=Settings(level=level))

    def once(*, on: bool) -> tuple[float, float]:
        with measuring(on) as make:
            began = 0.0

            def run() -> None:
                nonlocal began
                began = time.process_time()
                orchestrator.seed(project, target, options, make())

            wall = place.time(run)
            return wall, time.process_time() - began

    def pair(number: int) -> list[tuple[float, float]]:
        first = once(on=bool(number % 2))
        second = once(on=not number % 2)
        return list(zip(second, first, strict=True) if number % 2 else zip(first, second, strict=True))

    pair(0)
    found = [pair(number) for number in range(pairs)]
    return [
        Overhead(what=what, clock=clock, pairs=[each[number] for each in found])
        for number, clock in enumerate(("wall", "CPU"))
    ]


def result(pairs_asked: int, rows: int) -> Result:
    academy = load_project(DATA)
    figures: list[Overhead] = []
    with bench() as place, tempfile.TemporaryDirectory() as folder:
        generation.generate(academy, rows=rows, out=Path(folder, "grown"))
        grown = load_project(Path(folder, "grown"))
        few = max(2, pairs_asked // 2)
        for what, project, level, pairs in (
            ("academy, default level", academy, "incremental", pairs_asked),
            (f"academy grown to {rows:,} rows, default level", grown, "incremental", few),
            ("academy, row by row: most counts", academy, "legacy", few),
        ):
            found = measure(place, what, project, level, pairs)
            print(*found, sep="\n", file=sys.stderr, flush=True)
            figures += found
    return Result(
        title="What measuring costs",
        markdown=markdown_table(
            ("run", "clock", "--:seconds", "--:percent", "--:asked"), [each.row() for each in figures]
        ),
        record=[{**asdict(each), "percent": each.percent} for each in figures],
        met=all(each.percent <= ASKED for each in figures),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument(
        "--rows", type=int, default=400_000, help="of the run that lasts longer than a second"
    )
    return alone(parser, lambda args: result(args.pairs, args.rows))


if __name__ == "__main__":
    sys.exit(main())
