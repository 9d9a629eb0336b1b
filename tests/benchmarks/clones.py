"""Databases for tests: what a clone of the academy and of a million rows costs, and one out of the pool.

On a server whose files lie on disk, and on one whose files lie in memory, if the system has a place for that.
Beside each figure stands an empty CREATE DATABASE of the same rounds. Clones are made with nothing dropped
shortly before, and again while others are dropped: ext4 makes no file in the place of one that was deleted
within the last half minute, and looks for another among thousands. Nothing else should run meanwhile; with
the defaults it takes five minutes, most of them for waiting, and for seeding and copying the million rows.

    python -m tests.benchmarks.clones [--runs 15] [--rows 1000000] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import closing, contextmanager
from pathlib import Path

from psycopg.sql import SQL, Identifier

from seedlab.database.embedded import server
from seedlab.database.postgres.snapshots import PostgresSnapshots
from seedlab.database.snapshots import Snapshot, Snapshots
from seedlab.experiment.clones import SnapshotRequest, open_provider
from seedlab.experiment.pool import Pool
from seedlab.flow import Target
from seedlab.operations.generation import generate
from seedlab.plan.project import load_project
from tests.benchmarks.again import figure
from tests.benchmarks.bench import DATA, bench
from tests.benchmarks.figures import Figure, Result, Samples, alone, in_figures

MEMORY = Path("/dev/shm")
HALF_A_MINUTE = 36.0  # ext4 makes no file in the place of one that was deleted less than 35 s ago


def milliseconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def cloned(snapshots: Snapshots, snapshot: Snapshot, runs: int, *, dropping: bool) -> Samples:
    """Time rounds of a clone, and on a server an empty database; the first does not count.

    `dropping` is to drop what a round has made before the next one begins, else all is dropped at the end.
    """
    samples: Samples = {"clone": [], "drop": [], "empty": []}
    made: list[Target] = []
    admin = snapshots._databases.admin if isinstance(snapshots, PostgresSnapshots) else None
    for number in range(runs + 1):
        samples["clone"].append(milliseconds(lambda: made.append(snapshots.clone(snapshot))))
        if admin is not None:
            create = SQL("CREATE DATABASE {} TEMPLATE template0").format(empty_name(len(made)))
            samples["empty"].append(milliseconds(lambda create=create: admin.execute(create)))
        while made and (dropping or number == runs):
            if admin is not None:
                admin.execute(SQL("DROP DATABASE {}").format(empty_name(len(made))))
            samples["drop"].append(milliseconds(lambda: snapshots.drop(made.pop())))
    return {what: values[1:] for what, values in samples.items()}


def empty_name(number: int) -> Identifier:
    return Identifier(f"seedlab_empty_{number}")


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


def measure(
    folder: Path, url: str, what: str, asked: tuple[float, float] | None, runs: int, rest: float
) -> list[Figure]:
    """Measure one project on one target; `rest` is how many seconds nothing has to be dropped beforehand."""
    with open_provider(
        SnapshotRequest(directory=folder, database_url=url, environment="development")
    ) as stock:
        began = time.perf_counter()
        snapshot, made = stock.snapshot()
        first = [(time.perf_counter() - began) * 1000]
        if not made:  # of an earlier run, which was ended
            stock.snapshots.remove(snapshot.name)
            return measure(folder, url, what, asked, runs, rest)
        found = [milliseconds(stock.snapshot) for _ in range(3)]
        time.sleep(rest)
        samples = cloned(stock.snapshots, snapshot, runs, dropping=False)
        among = cloned(stock.snapshots, snapshot, runs, dropping=True)
        pool = handed_out(stock.snapshots, snapshot, runs)
        size = f"{snapshot.mark.rows:,} rows, {snapshot.mark.bytes / 1e6:,.0f} MB"
        stock.snapshots.remove(snapshot.name)
    limits = asked or (None, None)
    figures = [
        figure(f"{what} ({size}): seeded once, ms", None, first),
        figure(f"{what}: found again, files hashed, ms", None, found),
        figure(f"{what}: clone, ms", limits[0], samples["clone"]),
        figure(f"{what}: clone, others dropped meanwhile, ms", None, among["clone"]),
        figure(f"{what}: handed out of the pool, ms", limits[1], pool),
        figure(f"{what}: dropped, ms", None, among["drop"]),
    ]
    if samples["empty"]:
        figures.append(figure(f"{what}: an empty CREATE DATABASE beside it, ms", None, samples["empty"]))
        figures.append(figure(f"{what}: … others dropped meanwhile, ms", None, among["empty"]))
    return figures


@contextmanager
def server_in(memory: Path) -> Iterator[None]:
    """Let the embedded server lie in a folder of memory meanwhile; it is removed."""
    before = os.environ.get("SEEDLAB_SERVER_DIR")
    with tempfile.TemporaryDirectory(dir=memory, prefix="seedlab-") as home:
        Path(home).chmod(0o711)  # for root: the server's user has to pass
        os.environ["SEEDLAB_SERVER_DIR"] = home
        try:
            yield
        finally:
            server.clean(os.environ)
            del os.environ["SEEDLAB_SERVER_DIR"]
            if before is not None:
                os.environ["SEEDLAB_SERVER_DIR"] = before


def on_servers(folder: Path, what: str, asked: tuple[float, float], runs: int) -> Iterator[Figure]:
    """Measure on a server on disk, and in memory where there is a place for it."""
    with bench() as place:
        yield from measure(folder, place.url, f"PostgreSQL, {what}", asked, runs, HALF_A_MINUTE)
    if MEMORY.is_dir():
        with server_in(MEMORY), bench() as place:
            yield from measure(folder, place.url, f"PostgreSQL in memory, {what}", asked, runs, 0)


def result(rows: int, runs: int) -> Result:
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = name
        large = Path(name, "large")
        generate(load_project(DATA), rows=rows, out=large, format="parquet")
        file = f"sqlite:///{Path(name, 'x.db')}"
        few = max(runs // 3, 3)  # clones of a quarter of a GB lie side by side
        for folder, what, asked, n in (
            (DATA, "academy", (40.0, 5.0), runs),
            (large, "large", (200.0, 5.0), few),
        ):
            figures += on_servers(folder, what, asked, n)
            figures += measure(folder, file, f"SQLite, {what}", None, n, 0)
    return in_figures("Clones for tests", figures)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--rows", type=int, default=1_000_000)
    return alone(parser, lambda args: result(args.rows, args.runs))


if __name__ == "__main__":
    sys.exit(main())
