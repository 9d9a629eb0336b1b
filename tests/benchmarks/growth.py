"""How the time of a cold seed grows with its rows.

python -m tests.benchmarks --only growth [--growth 100000,1000000,10000000]
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression, median

from seedlab.operations import generation
from seedlab.plan.project import load_project
from tests.benchmarks.bench import DATA, bench, seed
from tests.benchmarks.figures import Figure, Result, in_figures
from tests.benchmarks.paired_runs import tell

ONCE = 3_000_000  # rows from which a size is seeded once


def measure(sizes: Sequence[int], runs: int = 3) -> Result:
    """The exponent of the power law through the sizes' medians, on logarithms."""
    samples: dict[str, list[float]] = {}
    points = []
    with bench() as place:
        place.time(lambda: seed(place.url))  # imports
        for rows in sizes:
            with tempfile.TemporaryDirectory() as name:
                grown = Path(name, "grown")
                made = generation.generate(load_project(DATA), rows=rows, out=grown).rows
                count = runs if rows < ONCE else 1
                seconds = [place.time(lambda: seed(place.url, folder=grown)) for _ in range(count)]  # noqa: B023
            assert sum(place.counts().values()) == made
            samples[f"{made}"] = seconds
            points.append((math.log(made), math.log(median(seconds))))
            tell(f"{made:,} rows: {median(seconds):.2f} s")
    slope = linear_regression(*zip(*points, strict=True)).slope
    told = ", ".join(f"{int(rows):,} rows {median(seconds):.2f} s" for rows, seconds in samples.items())
    figure = Figure(
        what="cold seed, exponent of its growth with rows",
        reached=slope,
        asked=1.05,
        samples=samples,
        remark=told,
    )
    return in_figures("Growth", [figure])
