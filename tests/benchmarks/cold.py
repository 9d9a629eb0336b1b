"""The cold seed of the academy against the figures it has to reach, in paired runs on one server.

Each pair's halves run in turn, on tables emptied before each run (outside the clock); medians are compared.
Nothing else should run meanwhile. With the defaults it takes about two minutes.

    python -m tests.benchmarks.cold [--runs 9] [--orm-runs 3] [--delayed-orm-runs 1] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import psycopg
from psycopg import sql

from seedlab.database.postgres.session import PostgresSession
from seedlab.database.proxy import DelayProxy
from seedlab.flow import Run
from seedlab.steps.resolving import write_plan
from seedlab.steps.writing import ledger
from tests.benchmarks.bench import Bench, bench, seed
from tests.benchmarks.figures import Figure, Result, Samples, alone, in_figures
from tests.benchmarks.orm_baseline import seed_with_orm

REPOSITORY = Path(__file__).parents[2]


# ---- pairs ----------------------------------------------------------------------------------------------


def paired(ours: Callable[[], float], theirs: Callable[[], float], runs: int, their_runs: int) -> Samples:
    """Run both in turn; the slow one less often, spread over the whole time."""
    samples: Samples = {"seedlab": [], "other": []}
    ours()  # what is done once in a process is not part of a warm run
    for number in range(runs):
        samples["seedlab"].append(ours())
        while (number + 1) * their_runs // runs > len(samples["other"]):
            samples["other"].append(theirs())
    return samples


def ratio_figure(what: str, asked: float, samples: Samples) -> Figure:
    seedlab, other = median(samples["seedlab"]), median(samples["other"])
    return Figure(
        what=what,
        reached=other / seedlab,
        asked=asked,
        at_least=True,
        samples=samples,
        remark=f"{seedlab * 1000:.1f} ms against {other * 1000:,.0f} ms",
    )


def against_orm(place: Bench, url: str, runs: int, orm_runs: int) -> Samples:
    return paired(
        lambda: place.time(lambda: seed(url)), lambda: place.time(lambda: seed_with_orm(url)), runs, orm_runs
    )


# ---- the first run of a process -------------------------------------------------------------------------


def first_run(place: Bench) -> dict[str, float]:
    place.empty()
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.first", place.url],
        cwd=REPOSITORY,
        check=True,
        timeout=60,
        capture_output=True,
    )
    return json.loads(done.stdout)


def first_figure(place: Bench, orm: list[float], runs: int) -> Figure:
    measured = [first_run(place) for _ in range(runs)]
    seconds, imports = ([each[name] for each in measured] for name in ("seed", "imports"))
    figure = ratio_figure(
        "cold seed, first run in a process, no delay: times faster than the ORM",
        30,
        {"seedlab": seconds, "other": orm, "imports": imports},
    )
    with_imports = median(orm) / (median(seconds) + median(imports))
    remark = f"{figure.remark}; with imports ({median(imports) * 1000:.0f} ms) {with_imports:.1f}"
    return Figure(
        what=figure.what,
        reached=figure.reached,
        asked=figure.asked,
        at_least=True,
        samples=figure.samples,
        remark=remark,
    )


# ---- against COPY FROM file -----------------------------------------------------------------------------


@dataclass(slots=True)
class Stopwatch:
    """When the frames were resolved; seconds from then to the commit, and those of them for the ledger."""

    resolved: float = 0.0
    seconds: list[float] = field(default_factory=list)
    ledger: list[float] = field(default_factory=list)


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Note the end of `plan_writes`, after which every id is known, and the end of the commit."""
    watch = Stopwatch()
    plan_writes, commit, remember = write_plan.plan_writes, PostgresSession.commit, ledger.remember

    def resolve(*args: Any) -> Any:
        planned = plan_writes(*args)
        watch.resolved = time.perf_counter()
        return planned

    def remembering(*args: Any) -> Any:
        began = time.perf_counter()
        tallies = remember(*args)
        watch.ledger.append(time.perf_counter() - began)
        return tallies

    def end(session: PostgresSession) -> None:
        commit(session)
        watch.seconds.append(time.perf_counter() - watch.resolved)

    with (
        mock.patch.object(write_plan, "plan_writes", resolve),
        mock.patch.object(ledger, "remember", remembering),
        mock.patch.object(PostgresSession, "commit", end),
    ):
        yield watch


def export(place: Bench, folder: Path) -> None:
    """Write the tables' rows to CSV files that the server's user can read."""
    folder.chmod(0o755)
    with psycopg.connect(place.superuser_url) as connection:
        for name in place.tables:
            query = sql.SQL("COPY {} TO STDOUT (FORMAT csv)").format(sql.Identifier(name))
            with connection.cursor().copy(query) as copy, (folder / f"{name}.csv").open("wb") as file:
                file.writelines(copy)
            (folder / f"{name}.csv").chmod(0o644)


def copy_from_files(place: Bench, folder: Path) -> float:
    """Copy every file into its table in one transaction, one message; connecting is not timed."""
    copies = [
        sql.SQL("COPY {} FROM {} (FORMAT csv)").format(
            sql.Identifier(name), sql.Literal(str(folder / f"{name}.csv"))
        )
        for name in place.tables
    ]
    script = sql.SQL("; ").join([sql.SQL("BEGIN"), *copies, sql.SQL("COMMIT")])
    place.empty()
    with psycopg.connect(place.superuser_url, autocommit=True) as connection:
        began = time.perf_counter()
        connection.execute(script)
        return time.perf_counter() - began


def write_figure(place: Bench, runs: int) -> Figure:
    with tempfile.TemporaryDirectory() as name, stopwatch() as watch:
        folder = Path(name)
        place.time(lambda: seed(place.url))
        counts = place.counts()
        export(place, folder)

        def ours() -> float:
            place.time(lambda: seed(place.url))
            return watch.seconds[-1]

        samples = paired(ours, lambda: copy_from_files(place, folder), runs, runs)
        assert place.counts() == counts
    seedlab, other = median(samples["seedlab"]), median(samples["other"])
    return Figure(
        what="resolved frames to commit: times the time of COPY FROM file",
        reached=seedlab / other,
        asked=1.0,
        at_least=False,
        samples=samples,
        remark=f"{seedlab * 1000:.1f} ms against {other * 1000:.1f} ms; "
        f"{median(watch.ledger[-runs:]) * 1000:.1f} ms of it for the ledger",
    )


# ---- counts and the command line ------------------------------------------------------------------------


def round_trips_figure(place: Bench) -> Figure:
    place.empty()
    run: Run = seed(place.url)
    assert run.outcomes.created == sum(place.counts().values())
    return Figure(
        what=f"round trips of a cold seed (3 per table + 15; {len(place.tables)} tables)",
        reached=run.counters.round_trips,
        asked=3 * len(place.tables) + 15,
        at_least=False,
        samples={"statements": [run.counters.statements], "round_trips": [run.counters.round_trips]},
        remark=f"{run.counters.statements} statements, {run.counters.bytes_sent / 1000:,.0f} kB sent",
    )


def help_figure(runs: int) -> Figure:
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "seedlab", "--help"], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL
        )
        seconds.append(time.perf_counter() - began)
    return Figure(
        what="python -m seedlab --help: seconds",
        reached=median(seconds),
        asked=0.2,
        at_least=False,
        samples={"seedlab": seconds},
        remark=f"least {min(seconds):.3f}",
    )


# ---- all together ---------------------------------------------------------------------------------------


def measure(place: Bench, args: argparse.Namespace) -> Iterator[Figure]:
    """Yield the figures as they come."""
    yield help_figure(10)
    yield round_trips_figure(place)
    yield write_figure(place, args.runs)
    if args.orm_runs:
        samples = against_orm(place, place.url, args.runs, args.orm_runs)
        yield ratio_figure("cold seed, no delay: times faster than the ORM", 60, samples)
        yield first_figure(place, samples["other"], args.runs)
    if args.delayed_orm_runs:
        with DelayProxy(unix_socket=place.unix_socket, round_trip_ms=1) as proxy:
            samples = against_orm(place, proxy.url_for(place.url), args.runs, args.delayed_orm_runs)
        yield ratio_figure("cold seed, 1 ms a round trip: times faster than the ORM", 320, samples)


def result(args: argparse.Namespace) -> Result:
    figures = []
    with bench() as place:
        for figure in measure(place, args):
            figures.append(figure)
            print(figure, file=sys.stderr, flush=True)
    return in_figures("The academy, cold", figures)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=9, help="runs of seedlab for each figure")
    parser.add_argument("--orm-runs", type=int, default=3, help="0 leaves their figures out")
    parser.add_argument("--delayed-orm-runs", type=int, default=1, help="about 25 s each; 0 leaves them out")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments(parser)
    return alone(parser, result)


if __name__ == "__main__":
    sys.exit(main())
