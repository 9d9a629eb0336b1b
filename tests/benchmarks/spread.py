"""One, two and four staging connections on a large merge: a table with half of the rows, of which half change.

Each round runs every number of connections once, on the same table restored before each run (outside the
clock). Nothing else should run meanwhile. A round with the defaults takes about a minute.

    python -m tests.benchmarks.spread [--rows 300000] [--runs 3] [--workers 1 2 4] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import polars as pl
import psycopg

from seedlab.database.embedded import server
from seedlab.flow import Run, Settings
from seedlab.insight.measuring.monitor import phase_totals
from tests.benchmarks.bench import DATABASE, timed_seed
from tests.benchmarks.figures import Figure, Result, alone, in_figures

STATIONS = 1000
TABLES = """
CREATE TABLE stations (id uuid PRIMARY KEY, code text NOT NULL UNIQUE);
CREATE TABLE readings (
  id uuid PRIMARY KEY, code text NOT NULL UNIQUE, station_id uuid NOT NULL REFERENCES stations,
  taken timestamptz NOT NULL, value numeric(12,4) NOT NULL, note text
);
"""


def project(folder: Path, rows: int) -> Path:
    """Write the files: what is there before are the first half, with other notes in every second row."""
    folder.mkdir()
    numbers = pl.select(n=pl.int_range(rows, dtype=pl.Int64))
    pl.DataFrame({"code": [f"s{n}" for n in range(STATIONS)]}).write_parquet(folder / "1-stations.parquet")
    readings = numbers.select(
        code="r" + pl.col("n").cast(pl.String),
        **{"station.code": "s" + (pl.col("n") % STATIONS).cast(pl.String)},
        taken=pl.datetime(2026, 1, 1, time_zone="UTC") + pl.duration(seconds=pl.col("n")),
        value=(pl.col("n") / 8).cast(pl.String),
        note="note of " + pl.col("n").cast(pl.String),
    )
    readings.write_parquet(folder / "2-readings.parquet", row_group_size=50_000)
    return folder


def run(folder: Path, url: str, workers: int, batch_rows: int) -> tuple[float, Run]:
    """Seconds of one seed, and its record."""
    return timed_seed(url, Settings(workers=workers, batch_rows=batch_rows), folder)


class Place:
    """A database with the table as it is before each run."""

    def __init__(self, url: str, folder: Path, rows: int) -> None:
        self.url = url
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS readings, stations, kept, kept_stations CASCADE")
            connection.execute("DROP SCHEMA IF EXISTS seedlab CASCADE")
            connection.execute(TABLES)
            run(folder, url, 1, 100_000)
            connection.execute(
                f"CREATE TABLE kept AS SELECT * FROM readings WHERE substr(code, 2)::int < {rows // 2}"
            )
            connection.execute("UPDATE kept SET note = 'before' WHERE substr(code, 2)::int % 2 = 0")

    def restore(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS seedlab CASCADE")
            connection.execute("TRUNCATE readings")
            connection.execute("INSERT INTO readings SELECT * FROM kept")
            connection.execute("VACUUM ANALYZE readings")

    def close(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS readings, stations, kept CASCADE")


def result(rows: int, runs: int, batch_rows: int, connections: Sequence[int]) -> Result:
    seconds: dict[int, list[float]] = defaultdict(list)
    phases: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as name:
        folder = project(Path(name, "readings"), rows)
        url = database()
        place = Place(url, folder, rows)
        for _ in range(runs):
            for workers in connections:
                place.restore()
                took, done = run(folder, url, workers, batch_rows)
                outcomes = (done.outcomes.created, done.outcomes.updated)
                assert outcomes == (rows - rows // 2, rows // 4), outcomes
                seconds[workers].append(took)
                for phase in phase_totals(done.spans):
                    phases[workers][phase.name].append(phase.seconds)
        place.close()
    first = median(seconds[connections[0]])
    figures = [
        Figure(
            what=f"merge of {rows:,} rows, staged by {workers} connections: seconds",
            reached=median(took),
            samples={"seconds": took},
            remark=f"{first / median(took):.2f} of the first; "
            + ", ".join(f"{name} {median(each):.2f}" for name, each in phases[workers].items()),
        )
        for workers, took in seconds.items()
    ]
    return in_figures("Several staging connections", figures)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--batch-rows", type=int, default=40_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    return alone(parser, lambda args: result(args.rows, args.runs, args.batch_rows, args.workers))


def database() -> str:
    """A database of the embedded server, made if it is missing."""
    here = server.start(os.environ)
    url = here.url(f"{DATABASE}_spread")
    server.ensure_database(here, f"{DATABASE}_spread")
    return url


if __name__ == "__main__":
    sys.exit(main())
