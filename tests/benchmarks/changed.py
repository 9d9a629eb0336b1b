"""A million rows again: nothing changed, one row changed, 0.1 % of the rows in four files changed.

Of each: seconds in process, connecting included, statements, and bytes of WAL. The cold load is told beside
it, with what of it the ledger took. Nothing else should run meanwhile; it takes a minute or two.

    python -m tests.benchmarks.changed [--rows 1000000] [--runs 7] [--json FILE]
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import polars as pl

from seedlab import generation, orchestrator
from seedlab.database import connect
from seedlab.flow import Options, Project, Run, Settings
from seedlab.insight.measuring import machine
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.project import load_project
from tests.benchmarks.bench import DATA, bench

# Files of three stages, on the first of which all others depend, and a column of each that nothing refers to.
CHANGED = {
    "00-translations/translations.parquet": "he_text",
    "05-modules/physics-modules.questions.parquet": "stem",
    "06-questions/mathematics-questions.question_parts.parquet": "prompt",
    "06-questions/mathematics-questions.answers.parquet": "text",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Medians of some runs, and their samples of seconds."""

    what: str
    seconds: float
    statements: int
    wal_bytes: int
    samples: list[float]


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


def figure(what: str, runs: int, project: Project, url: str, before: Callable[[], None], rows: int) -> Figure:
    """Seed so often after one that does not count; every run is checked to have written just these rows."""
    told = []
    for _ in range(runs + 1):
        before()
        seconds, run = seed(project, url)
        assert (run.outcomes.created, run.outcomes.updated) == (0, rows), run.outcomes
        told.append((seconds, run))
    told = told[1:]
    return Figure(
        what=what,
        seconds=median(seconds for seconds, _ in told),
        statements=told[0][1].counters.statements,
        wal_bytes=int(median(run.wal_bytes or 0 for _, run in told)),
        samples=[seconds for seconds, _ in told],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures with their raw samples")
    args = parser.parse_args()
    with bench() as place, tempfile.TemporaryDirectory() as name:
        place.empty()
        folder = Path(name, "grown")
        generation.generate(load_project(DATA), rows=args.rows, out=folder)
        project, edits, few = load_project(folder), Edits(folder), args.rows // 1000
        seconds, cold = seed(project, place.url)
        ledger = sum(span.seconds for span in cold.spans if span.phase == "commit")
        print(f"cold: {seconds:.2f} s, of which the ledger {ledger:.2f} s; {cold.outcomes.created:,} rows")
        figures = [
            figure("nothing changed", args.runs, project, place.url, lambda: None, 0),
            figure("one row changed", args.runs, project, place.url, lambda: edits.edit(1, 1), 1),
            figure(
                f"{few:,} rows of four files changed",
                args.runs,
                project,
                place.url,
                lambda: edits.edit(few, 4),
                few,
            ),
        ]
    for each in figures:
        print(
            f"{each.what:<34} {each.seconds:>7.3f} s {each.statements:>4} statements {each.wal_bytes:>11,} B WAL"
        )
    if args.json:
        record = {
            "machine": machine.machine(),
            "versions": machine.versions(),
            "cold": seconds,
            "ledger": ledger,
        }
        args.json.write_text(
            json.dumps({**record, "figures": [asdict(each) for each in figures]}, indent=2) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
