"""Many narrow rows from one file: memory of the client, rows a second, growth of the time.

One table (int8 primary key, int4, float8, text) is seeded cold in PostgreSQL, each time by a process and into
a database of its own. Nothing else should run meanwhile; with the defaults it takes about five minutes.

    python -m tests.benchmarks.streaming [--rows 10000000] [--formats parquet csv] [--runs 1] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from seedlab.database.embedded import server
from seedlab.database.embedded.cluster import SUPERUSER
from tests.benchmarks.figures import Figure, Result, alone, in_figures

DATABASE = "seedlab_streaming"
TABLE = "CREATE TABLE narrow (id int8 PRIMARY KEY, n int4 NOT NULL, x float8 NOT NULL, label text NOT NULL)"
MOST_MEGABYTES = {"parquet": 400, "csv": 550}
SMALLER = (100, 10)  # of the rows, for the growth; the second is compared with by rows a second


def write_rows(folder: Path, rows: int, form: str) -> Path:
    """One file of so many rows."""
    folder.mkdir()
    number = pl.int_range(rows, dtype=pl.Int64)
    frame = pl.select(
        id=number + 1,
        n=(number * 7919 % 1_000_003).cast(pl.Int32),
        x=number * 0.37 + 0.125,
        label=pl.format("label-{}-of-row", number),
    )
    path = folder / f"narrow.{form}"
    frame.write_parquet(path) if form == "parquet" else frame.write_csv(path)
    return folder


@contextmanager
def database() -> Iterator[str]:
    """An empty table in a database of its own, with nothing left to be written."""
    found = server.start(os.environ)
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(DATABASE))
    with psycopg.connect(found.url("postgres", role=SUPERUSER), autocommit=True) as admin:
        admin.execute(drop)
        url = server.ensure_database(found, DATABASE)
        with psycopg.connect(url) as connection:
            connection.execute(TABLE)
        admin.execute("CHECKPOINT")
        try:
            yield url
        finally:
            admin.execute(drop)


def seed(folder: Path) -> dict[str, Any]:
    """The record of one run in a process of its own."""
    with database() as url:
        command = [sys.executable, "-m", "seedlab", "seed", str(folder), "--database-url", url, "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def measure(root: Path, rows: int, form: str, runs: int) -> list[Figure]:
    """Seed the file, and smaller ones."""
    sizes = [*(rows // part for part in SMALLER), rows]
    records = {}
    for size in sizes:
        folder = write_rows(root / f"{form}-{size}", size, form)
        records[size] = [seed(folder) for _ in range(runs)]
    samples = {f"{size:,} rows": [float(each["seconds"]) for each in mine] for size, mine in records.items()}
    small, middle, large = (median(each) for each in samples.values())
    peaks = [each["peak_rss_bytes"] / 1e6 for each in records[rows]]
    speed = (rows / large) / (sizes[1] / middle)
    growth = math.log(large / small) / math.log(rows / sizes[0])
    took = f"{large:.1f} s; {sizes[1]:,} rows {middle:.2f} s, {sizes[0]:,} rows {small:.2f} s"
    what = f"{form}, {rows:,} rows"
    return [
        Figure(
            what=f"{what}: peak RSS, MB",
            reached=max(peaks),
            asked=MOST_MEGABYTES[form],
            samples={"MB": peaks},
        ),
        Figure(
            what=f"{what}: rows/s against {sizes[1]:,} rows",
            reached=speed,
            asked=0.8,
            at_least=True,
            samples=samples,
            remark=took,
        ),
        Figure(what=f"{what}: growth of the time, exponent", reached=growth, asked=1.05, samples=samples),
    ]


def result(rows: int, formats: Sequence[str], runs: int) -> Result:
    figures: list[Figure] = []
    for form in formats:
        with tempfile.TemporaryDirectory(prefix="seedlab-streaming-") as root:
            figures += measure(Path(root), rows, form, runs)
    return in_figures("Many narrow rows from one file", figures)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--formats", nargs="+", choices=list(MOST_MEGABYTES), default=list(MOST_MEGABYTES))
    parser.add_argument("--runs", type=int, default=1)
    return alone(parser, lambda args: result(args.rows, args.formats, args.runs))


if __name__ == "__main__":
    sys.exit(main())
