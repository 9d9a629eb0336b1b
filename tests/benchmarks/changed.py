"""A million rows again: nothing changed, one row changed, 0.1 % of the rows in four files changed.

Of each: seconds in process, connecting included, statements, and bytes of WAL. The cold load is told beside
it, with what of it the ledger took. Nothing else should run meanwhile; it takes a minute or two.

    python -m tests.benchmarks.changed [--rows 1000000] [--runs 7] [--json FILE]
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import polars as pl

from seedlab import orchestrator
from seedlab.database import connect
from seedlab.flow import Options, Project, Run, Settings
from seedlab.insight.measuring.monitor import Monitor
from seedlab.operations import generation
from seedlab.plan.project import load_project
from tests.benchmarks.bench import DATA, bench
from tests.benchmarks.figures import Figure, Result, alone, in_figures

# Files of three stages, on the first of which all others depend, and a column of each that nothing refers to.
CHANGED = {
    "00-translations/translations.parquet": "he_text",
    "05-modules/physics-modules.questions.parquet": "stem",
    "06-questions/mathematics-questions.question_parts.parquet": "prompt",
    "06-questions/mathematics-questions.answers.parquet": "text",
}


def seed(project: Project, url: str) -> tuple[float, Run]:
    options = Options(environment=project.environments["development"], settings=Settings())
    target = connect.parse_target(url, "--database-url")
    gc.collect()
    began = time.perf_counter()
    run = orchestrator.seed(project, target, options, Monitor())
    return time.perf_counter() - began, run


class Edits:
    """Changes values of rows that lie all over the files, others each time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def edit(self, rows: int, files: int) -> None:
        """Change so many rows, as many in each of the first files."""
        self._count += 1
        for name, column in [*CHANGED.items()][-files:]:
            path = self._folder / name
            frame = pl.read_parquet(path)
            apart = frame.height // (rows // files)
            mine = pl.int_range(pl.len()) % apart == self._count % apart
            mine &= pl.int_range(pl.len()) < apart * (rows // files)
            text = pl.format("{} {}", pl.col(column).fill_null(""), pl.lit(self._count))
            frame.with_columns(pl.when(mine).then(text).otherwise(column).alias(column)).write_parquet(path)


def figures_of(
    what: str,
    runs: int,
    project: Project,
    url: str,
    before: Callable[[], None],
    rows: int,
    asked: tuple[float | None, float | None],
) -> list[Figure]:
    """Seed so often after one that does not count; every run is checked to have written just these rows.

    `asked` are seconds and megabytes of WAL.
    """
    told = []
    for _ in range(runs + 1):
        before()
        seconds, run = seed(project, url)
        assert (run.outcomes.created, run.outcomes.updated) == (0, rows), run.outcomes
        told.append((seconds, run))
    seconds = [each for each, _ in told[1:]]
    written = [(run.wal_bytes or 0) / 1e6 for _, run in told[1:]]
    statements = float(told[1][1].counters.statements)
    return [
        Figure(
            what=f"{what}: seconds", reached=median(seconds), asked=asked[0], samples={"seconds": seconds}
        ),
        Figure(what=f"{what}: statements", reached=statements, samples={}),
        Figure(what=f"{what}: WAL, MB", reached=median(written), asked=asked[1], samples={"MB": written}),
    ]


def result(rows: int, runs: int) -> Result:
    with bench() as place, tempfile.TemporaryDirectory() as name:
        place.empty()
        folder = Path(name, "grown")
        generation.generate(load_project(DATA), rows=rows, out=folder)
        project, edits, few = load_project(folder), Edits(folder), rows // 1000
        seconds, cold = seed(project, place.url)
        ledger = sum(span.seconds for span in cold.spans if span.phase == "commit")
        figures = [
            Figure(what="cold: seconds", reached=seconds, samples={}),
            Figure(what="cold: seconds for the ledger and the commit", reached=ledger, samples={}),
            *figures_of("nothing changed", runs, project, place.url, lambda: None, 0, (0.2, None)),
            *figures_of(
                "one row changed", runs, project, place.url, lambda: edits.edit(1, 1), 1, (None, None)
            ),
            *figures_of(
                f"{few:,} rows of four files changed",
                runs,
                project,
                place.url,
                lambda: edits.edit(few, 4),
                few,
                (0.4, 2),
            ),
        ]
    return in_figures(f"{rows:,} rows again", figures)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=7)
    return alone(parser, lambda args: result(args.rows, args.runs))


if __name__ == "__main__":
    sys.exit(main())
