"""What each level, and each switch alone, costs on the academy: cold, and again with nothing to do.

python -m tests.benchmarks.levels [--runs 5]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from seedlab.flow import LEVELS, Run, Settings
from tests.benchmarks.bench import Bench, bench, seed
from tests.benchmarks.figures import Result, alone

Samples = dict[tuple[str, str], list[tuple[Run, Run]]]

VARIANTS = {f"`{level}`": Settings(level=level) for level in LEVELS} | {
    f"`--disable {name}`": Settings(disabled=frozenset({name})) for name in ("cache", "copy", "rebuild")
}


def cold_and_again(url: str, settings: Settings) -> tuple[Run, Run]:
    first, second = seed(url, settings), seed(url, settings)
    assert second.outcomes.unchanged == first.outcomes.created
    return first, second


def on_postgres(place: Bench, settings: Settings) -> tuple[Run, Run]:
    place.empty()
    return cold_and_again(place.url, settings)


def on_sqlite(settings: Settings) -> tuple[Run, Run]:
    """In a new file each time; making the tables counts."""
    with tempfile.TemporaryDirectory() as folder:
        return cold_and_again(f"sqlite:///{Path(folder, 'academy.db')}", settings)


def measure(place: Bench, runs: int) -> Samples:
    samples: Samples = {}
    for _ in range(runs):
        for name, settings in VARIANTS.items():
            samples.setdefault(("PostgreSQL", name), []).append(on_postgres(place, settings))
            samples.setdefault(("SQLite", name), []).append(on_sqlite(settings))
    return samples


def table(samples: Samples) -> str:
    """Render as Markdown; the counts are those of the last run, they do not vary."""
    lines = [
        "| target | level or flag | cold, ms | statements | round trips | again, ms | statements | round trips |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for (dialect, name), pairs in sorted(samples.items(), key=lambda item: item[0][0]):
        cells = []
        for runs in zip(*pairs, strict=True):
            counters = runs[-1].counters
            milliseconds = median(run.seconds for run in runs) * 1000
            cells += [f"{milliseconds:,.0f}", f"{counters.statements:,}", f"{counters.round_trips:,}"]
        lines.append(f"| {dialect} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def result(runs: int) -> Result:
    with bench() as place:
        measure(place, 1)  # what is done once in a process is not part of a warm run
        samples = measure(place, runs)
    record = {
        f"{dialect}, {name}": [[run.seconds for run in pair] for pair in pairs]
        for (dialect, name), pairs in samples.items()
    }
    return Result(title="What each level costs", markdown=table(samples), record=record)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    return alone(parser, lambda args: result(args.runs))


if __name__ == "__main__":
    sys.exit(main())
