"""A million rows again: nothing changed, and one row of a thousand changed, every drift seen.

python -m tests.benchmarks --only reseed [--rows 1000000]
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import polars as pl

from seedlab import generation
from seedlab.flow import Run
from seedlab.plan.project import load_project
from tests.benchmarks.bench import DATA, bench, seed
from tests.benchmarks.duels import tell
from tests.benchmarks.figures import Figure, Result, in_figures

# Files of a table end with its name; a column of it that is no part of its key.
CHANGED = {"answers": "text", "question_parts": "prompt", "questions": "stem", "translations": "he_text"}
EVERY = 1000


def edit(project: Path, number: int) -> int:
    """Give every thousandth row of four tables another text, and answer how many."""
    changed = 0
    for table, column in CHANGED.items():
        for file in sorted(project.rglob(f"*{table}.parquet")):
            rows = pl.read_parquet(file)
            chosen = pl.int_range(pl.len()) % EVERY == 0
            text = pl.col(column).str.strip_suffix(f" {number - 1}") + f" {number}"
            rows.with_columns(pl.when(chosen).then(text).otherwise(column).alias(column)).write_parquet(file)
            changed += -(-rows.height // EVERY)
    return changed


def timed(action: Callable[[], Run], runs: int, before: Callable[[], object]) -> tuple[list[float], Run]:
    """Seconds of each run, and the last run."""
    seconds = []
    for _ in range(runs):
        before()
        gc.collect()
        began = time.perf_counter()
        run = action()
        seconds.append(time.perf_counter() - began)
    return seconds, run


def figure(what: str, asked: float, samples: list[float], remark: str = "") -> Figure:
    return Figure(
        what=what, reached=median(samples), asked=asked, samples={"seedlab": samples}, remark=remark
    )


def measure(rows: int, runs: int = 5) -> Result:
    with bench() as place, tempfile.TemporaryDirectory() as name:
        grown = Path(name, "grown")
        tell(f"generating {rows:,} rows")
        made = generation.generate(load_project(DATA), rows=rows, out=grown).rows
        place.time(lambda: seed(place.url, folder=grown))
        once = lambda: seed(place.url, folder=grown)  # noqa: E731
        same, run = timed(once, runs, lambda: None)
        assert run.outcomes.unchanged == made
        tell(f"nothing changed: {median(same):.3f} s")
        number, changed = 0, 0

        def change() -> None:
            nonlocal number, changed
            number += 1
            changed = edit(grown, number)

        few, altered = timed(once, runs, change)
        assert (altered.outcomes.updated, altered.outcomes.unchanged) == (changed, made - changed)
        tell(f"{changed:,} rows changed: {median(few):.3f} s")
    written = (altered.wal_bytes or 0) / 1e6
    return in_figures(
        f"Again, {rows:,} rows",
        [
            figure("nothing changed, seconds in process", 0.2, same),
            figure("nothing changed, statements", 12, [float(run.counters.statements)]),
            figure("0.1 % changed, seconds in process", 0.4, few, f"{changed:,} rows of {made:,}"),
            figure("0.1 % changed, MB of WAL", 2, [written]),
        ],
    )
