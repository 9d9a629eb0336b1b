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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from seedlab.database import server
from seedlab.database.cluster import SUPERUSER
from seedlab.insight.measuring import machine

DATABASE = "seedlab_streaming"
TABLE = "CREATE TABLE narrow (id int8 PRIMARY KEY, n int4 NOT NULL, x float8 NOT NULL, label text NOT NULL)"
MOST_MEGABYTES = {"parquet": 400, "csv": 550}
SMALLER = (100, 10)  # of the rows, for the growth; the second is compared with by rows a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table."""

    what: str
    reached: float
    asked: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.reached >= self.asked if self.at_least else self.reached <= self.asked

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return (
            f"{self.what:<58} {self.reached:>9.2f}  {sign} {self.asked:g} {'met' if self.met else 'MISSED'}"
        )


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


def measure(root: Path, rows: int, form: str, runs: int) -> tuple[list[Figure], dict[str, Any]]:
    """Seed the file, and smaller ones."""
    sizes = [*(rows // part for part in SMALLER), rows]
    records = {}
    for size in sizes:
        folder = write_rows(root / f"{form}-{size}", size, form)
        records[size] = [seed(folder) for _ in range(runs)]
    seconds = {size: median(each["seconds"] for each in mine) for size, mine in records.items()}
    peak = max(each["peak_rss_bytes"] for each in records[rows]) / 1e6
    speed = (rows / seconds[rows]) / (sizes[1] / seconds[sizes[1]])
    growth = math.log(seconds[rows] / seconds[sizes[0]]) / math.log(rows / sizes[0])
    told = f"{form}, {rows:,} rows"
    figures = [
        Figure(what=f"{told}: peak RSS, MB", reached=peak, asked=MOST_MEGABYTES[form]),
        Figure(what=f"{told}: rows/s against {sizes[1]:,} rows", reached=speed, asked=0.8, at_least=True),
        Figure(what=f"{told}: growth of the time, exponent", reached=growth, asked=1.05),
    ]
    phases = {p["name"]: p["seconds"] for p in records[rows][-1]["phases"]}
    return figures, {"seconds": seconds, "phases": phases}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--formats", nargs="+", choices=list(MOST_MEGABYTES), default=list(MOST_MEGABYTES))
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    told: dict[str, Any] = {
        "machine": machine.machine(),
        "versions": machine.versions(),
        "rows": given.rows,
        "figures": [],
    }
    for form in given.formats:
        with tempfile.TemporaryDirectory(prefix="seedlab-streaming-") as root:
            figures, details = measure(Path(root), given.rows, form, given.runs)
        for figure in figures:
            print(figure, flush=True)
        print("  ", {size: round(taken, 2) for size, taken in details["seconds"].items()}, flush=True)
        told["figures"] += [asdict(figure) | {"met": figure.met} for figure in figures]
        told[form] = details
    if given.json:
        given.json.write_text(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
