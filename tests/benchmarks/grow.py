"""Many new rows for a table that has rows, or for an empty one among others, with keys and indexes off and with all on.

500,000 rows are there; 5, 10, 20, 50 and 100 % as many are new. The ledger knows those before, so the run
reads them and sends the new ones. Or the table is empty, and those that it refers to have rows: 105,000, and in the same run
one more. Both ways take turns from the same tables, restored outside the clock. The threshold is off,
so that the crossover shows. Nothing else should run meanwhile; it takes some minutes.

    python -m tests.benchmarks.grow [--rows 500000] [--runs 3] [--shares 5 10 20 50 100] [--json FILE]
    python -m tests.benchmarks.grow --empty 25000 50000 200000 [--runs 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from unittest import mock

import polars as pl
import psycopg

from seedlab.database.embedded import server
from seedlab.database.embedded.cluster import SUPERUSER
from seedlab.database.postgres import direct as postgres_direct
from seedlab.database.postgres import grow as postgres_grow
from seedlab.flow import Run, Settings
from seedlab.insight.measuring.monitor import phase_totals
from tests.benchmarks.bench import DATABASE, timed_seed
from tests.benchmarks.figures import Figure, Result, alone, in_figures

SEEDED, COPY = f"{DATABASE}_grow", f"{DATABASE}_grown"
PARENTS, TOPICS = 100_000, 5_000
TABLES = """
CREATE TABLE parents (id uuid PRIMARY KEY, code text NOT NULL UNIQUE);
CREATE TABLE topics (id uuid PRIMARY KEY, code text NOT NULL UNIQUE);
CREATE TABLE parts (
  id uuid PRIMARY KEY, parent_id uuid NOT NULL REFERENCES parents, position int NOT NULL,
  topic_id uuid NOT NULL REFERENCES topics, text text NOT NULL, UNIQUE (parent_id, position)
);
CREATE INDEX ON parts (topic_id)
"""


def project(folder: Path, rows: int, topics: int = TOPICS) -> Path:
    """Write the files of a project whose large table has so many rows."""
    folder.mkdir(exist_ok=True)
    for name, count in (("parents", PARENTS), ("topics", topics)):
        codes = pl.select(code=pl.format("{}{}", pl.lit(name[0]), pl.int_range(count)))
        codes.write_parquet(folder / f"{name}.parquet")
    number = pl.int_range(rows, dtype=pl.Int64)
    parts = pl.select(
        **{
            "parent.code": pl.format("p{}", number % PARENTS),
            "topic.code": pl.format("t{}", number * 7919 % TOPICS),
        },
        position=number // PARENTS,
        text=pl.format("text of part number {}", number),
    )
    parts.write_parquet(folder / "parts.parquet")
    return folder


def run(folder: Path, url: str, *disabled: str) -> tuple[float, Run]:
    """Seconds of one seed, and its record."""
    return timed_seed(url, Settings(disabled=frozenset(disabled)), folder)


class Place:
    """A database as it is before each run: a copy of one that was seeded once."""

    def __init__(self, folder: Path) -> None:
        found = server.start(os.environ)
        self._admin = psycopg.connect(found.url("postgres", role=SUPERUSER), autocommit=True)
        self.close()
        self._seeded = server.ensure_database(found, SEEDED)
        self.url = self._seeded.replace(SEEDED, COPY)
        with psycopg.connect(self._seeded, autocommit=True) as connection:
            connection.execute(TABLES)
            run(folder, self._seeded)
            connection.execute("VACUUM ANALYZE")

    def restore(self) -> None:
        self._admin.execute(f"DROP DATABASE IF EXISTS {COPY} WITH (FORCE)")
        with psycopg.connect(self._seeded) as connection:
            owner = connection.info.user
        self._admin.execute(f'CREATE DATABASE {COPY} TEMPLATE {SEEDED} OWNER "{owner}" STRATEGY FILE_COPY')
        self._admin.execute("CHECKPOINT")

    def close(self) -> None:
        for name in (COPY, SEEDED):
            self._admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def result(rows: int, runs: int, percents: Sequence[int]) -> Result:
    figures = []
    with tempfile.TemporaryDirectory() as name, mock.patch.multiple(postgres_grow, NEW_ROWS=1, SHARE=0.001):
        folder = Path(name, "parts")
        place = Place(project(folder, rows))
        for percent in percents:
            new = rows * percent // 100
            project(folder, rows + new)
            figures.append(turns(place, folder, f"{percent} % new", runs, new))
        place.close()
    return in_figures(f"Many new rows for a table of {rows:,}", figures)


def filled(counts: Sequence[int], runs: int) -> Result:
    """Fill an empty table among others that have rows."""
    figures = []
    with tempfile.TemporaryDirectory() as name, mock.patch.multiple(postgres_direct, REBUILD_ROWS=1):
        folder = Path(name, "parts")
        place = Place(project(folder, 0))
        for rows in counts:
            project(folder, rows, TOPICS + 1)
            figures.append(turns(place, folder, f"{rows:,} rows", runs, rows + 1))
        place.close()
    return in_figures("Rows for an empty table among others", figures)


def turns(place: Place, folder: Path, what: str, runs: int, new: int) -> Figure:
    """Seed in turns with all off and with all on."""
    seconds: dict[str, list[float]] = {"off": [], "on": []}
    merges: dict[str, list[float]] = {"off": [], "on": []}
    for _ in range(runs):
        for which, disabled in (("off", ()), ("on", ("rebuild",))):
            place.restore()
            took, done = run(folder, place.url, *disabled)
            assert (done.outcomes.created, done.outcomes.updated) == (new, 0), done.outcomes
            seconds[which].append(took)
            phases = {phase.name: phase.seconds for phase in phase_totals(done.spans)}
            merges[which].append(phases["merge"] + phases.get("index", 0))
    ratio, merge = (median(each["on"]) / median(each["off"]) for each in (seconds, merges))
    figure = Figure(
        what=f"{what}: times faster, the whole seed",
        reached=ratio,
        samples=seconds,
        remark=f"{median(seconds['off']):.2f} beside {median(seconds['on']):.2f} s; the merge "
        f"{merge:.2f} times, {median(merges['off']):.2f} beside {median(merges['on']):.2f} s",
    )
    print(figure, file=sys.stderr, flush=True)
    return figure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--shares", type=int, nargs="+", default=[5, 10, 20, 50, 100], metavar="PERCENT")
    parser.add_argument("--empty", type=int, nargs="+", metavar="ROWS", help="for an empty table instead")
    return alone(
        parser,
        lambda args: (
            filled(args.empty, args.runs) if args.empty else result(args.rows, args.runs, args.shares)
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
