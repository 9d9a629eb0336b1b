"""Databases for tests: what a clone of the academy and of a million rows costs, and one out of the pool.

Beside each PostgreSQL figure stands an empty CREATE DATABASE of the same rounds. Nothing else should run
meanwhile; with the defaults it takes two minutes, most of them for seeding and copying the million rows.

    python -m tests.benchmarks.clones [--runs 15] [--rows 1000000] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import closing
from pathlib import Path
from statistics import median

from psycopg.sql import SQL, Identifier

from seedlab.database.postgres_snapshots import PostgresSnapshots
from seedlab.database.snapshots import Snapshot, Snapshots
from seedlab.experiment.clones import Asked, open_stock
from seedlab.experiment.pool import Pool
from seedlab.generation import generate
from seedlab.plan.project import load_project
from tests.benchmarks.again import figure
from tests.benchmarks.bench import DATA, bench
from tests.benchmarks.figures import Figure, Result, alone, in_figures


def milliseconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def cloned(snapshots: Snapshots, snapshot: Snapshot, runs: int) -> dict[str, list[float]]:
    """Time rounds of: clone, drop, and on a server an empty database; a first round does not count."""
    samples: dict[str, list[float]] = {"clone": [], "drop": [], "empty": []}
    for number in range(runs + 1):
        made = []
        seen = {"clone": milliseconds(lambda made=made: made.append(snapshots.clone(snapshot)))}
        if isinstance(snapshots, PostgresSnapshots):
            admin, name = snapshots._databases.admin, Identifier(f"seedlab_empty_{number}")
            create = SQL("CREATE DATABASE {} TEMPLATE template0").format(name)
            seen["empty"] = milliseconds(lambda admin=admin, create=create: admin.execute(create))
            admin.execute(SQL("DROP DATABASE {}").format(name))
        seen["drop"] = milliseconds(lambda made=made: snapshots.drop(made[0]))
        for what, value in seen.items() if number else ():
            samples[what].append(value)
    return samples


def handed_out(snapshots: Snapshots, snapshot: Snapshot, runs: int) -> list[float]:
    """Time what a test waits for a clone, when it lasts as long as it takes to make the next."""
    samples = []
    with closing(Pool(snapshots, snapshot)) as pool:
        for number in range(runs + 1):
            taken = []
            waited = milliseconds(lambda taken=taken, left=runs - number: taken.append(pool.take(left)))
            wait(pool._ready)
            pool.drop(taken[0])
            samples.append(waited)
    return samples[1:]


def measure(folder: Path, url: str, what: str, asked: tuple[float, float] | None, runs: int) -> list[Figure]:
    with open_stock(Asked(directory=folder, database_url=url, environment="development")) as stock:
        began = time.perf_counter()
        snapshot, made = stock.snapshot()
        first = [(time.perf_counter() - began) * 1000]
        if not made:  # of an earlier run, which was ended
            stock.snapshots.remove(snapshot.name)
            return measure(folder, url, what, asked, runs)
        found = [milliseconds(stock.snapshot) for _ in range(3)]
        samples = cloned(stock.snapshots, snapshot, runs)
        pool = handed_out(stock.snapshots, snapshot, runs)
        size = f"{snapshot.mark.rows:,} rows, {snapshot.mark.bytes / 1e6:,.0f} MB"
        stock.snapshots.remove(snapshot.name)
    limits = asked or (None, None)
    figures = [
        figure(f"{what} ({size}): seeded once, ms", None, first),
        figure(f"{what}: found again, files hashed, ms", None, found),
        figure(f"{what}: clone, ms", limits[0], samples["clone"]),
        figure(f"{what}: handed out of the pool, ms", limits[1], pool),
        figure(f"{what}: dropped, ms", None, samples["drop"]),
    ]
    if samples["empty"]:
        empty = median(samples["empty"])
        figures.append(figure(f"{what}: an empty CREATE DATABASE beside it, ms", None, samples["empty"]))
        ratios = [each / empty for each in samples["clone"]]
        figures.append(figure(f"{what}: clone, times an empty one", None, ratios))
    return figures


def result(rows: int, runs: int) -> Result:
    figures: list[Figure] = []
    with bench() as place, tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = name
        large = Path(name, "large")
        generate(load_project(DATA), rows=rows, out=large, format="parquet")
        file = f"sqlite:///{Path(name, 'x.db')}"
        for folder, what, asked in ((DATA, "academy", (40.0, 5.0)), (large, "large", (200.0, 5.0))):
            figures += measure(folder, place.url, f"PostgreSQL, {what}", asked, runs)
            figures += measure(folder, file, f"SQLite, {what}", None, runs)
    return in_figures("Clones for tests", figures)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--rows", type=int, default=1_000_000)
    return alone(parser, lambda args: result(args.rows, args.runs))


if __name__ == "__main__":
    sys.exit(main())
