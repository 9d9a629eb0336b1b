"""The second run of the academy, which is the usual one: nothing changed, and one row changed.

Every run connects anew, but where it says that the connection is kept. Nothing else should run meanwhile; with
the defaults it takes half a minute, with a million rows one minute more.

    python -m tests.benchmarks.again [--runs 21] [--million] [--json FILE]
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from seedlab import orchestrator
from seedlab.database import connect
from seedlab.database.proxy import DelayProxy
from seedlab.flow import Options, Project, Run, Settings, Target
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.choices import TargetChoice
from seedlab.plan.project import load_project
from tests.benchmarks.bench import DATA, bench
from tests.benchmarks.figures import Figure, Result, alone, in_figures

REPOSITORY = Path(__file__).parents[2]
CHANGED = "06-questions/economics.json"  # 48 kB: 162 questions with their parts and answers


class Academy:
    """A copy of the bundled project whose one answer can be edited, loaded once."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(DATA, folder)
        self.project = load_project(folder)
        self._file = folder / CHANGED
        self._text = self._file.read_text()
        self._edits = 0

    def edit(self) -> None:
        """Change the text of the first answer."""
        self._edits += 1
        head, mark, tail = self._text.partition('"text": "')
        self._file.write_text(f"{head}{mark}{self._edits}{tail}")

    def seed(self, url: str) -> Run:
        return seed(self.project, connect.parse_target(url, "--database-url"))


def seed(project: Project, target: Target) -> Run:
    options = Options(environment=project.environments["development"], settings=Settings())
    return orchestrator.seed(project, target, options, Monitor())


def timed(
    action: Callable[[], object], runs: int, before: Callable[[], object] = lambda: None
) -> list[float]:
    """Milliseconds of each run, after one that does not count."""
    samples = []
    for _ in range(runs + 1):
        before()
        gc.collect()
        began = time.perf_counter()
        action()
        samples.append((time.perf_counter() - began) * 1000)
    return samples[1:]


def figure(what: str, asked: float | None, samples: list[float]) -> Figure:
    return Figure(what=what, reached=median(samples), asked=asked, samples={"seedlab": samples})


def measure(
    academy: Academy, url: str, name: str, asked: tuple[float | None, float | None], runs: int
) -> list[Figure]:
    """Both kinds of second runs on one target; the counts are checked."""
    academy.seed(url)
    same, changed = academy.seed(url), None
    assert same.outcomes.total == same.outcomes.unchanged
    unchanged = timed(lambda: academy.seed(url), runs)
    edited = timed(lambda: academy.seed(url), runs, academy.edit)
    academy.edit()
    changed = academy.seed(url)
    assert (changed.outcomes.updated, changed.outcomes.created) == (1, 0)
    statements = [float(same.counters.statements)]
    return [
        figure(f"{name}: nothing changed, in process, ms", asked[0], unchanged),
        figure(f"{name}: nothing changed, statements", 12 if name == "PostgreSQL" else None, statements),
        figure(f"{name}: one row of one file changed, in process, ms", asked[1], edited),
    ]


def with_connection_kept(academy: Academy, url: str, runs: int) -> Figure:
    with connect.keep_connections(connect.parse_target(url, "--database-url")) as target:
        samples = timed(lambda: seed(academy.project, target), runs)
    return figure("PostgreSQL: nothing changed, in process, connection kept, ms", 3, samples)


def million(folder: Path, runs: int) -> list[Figure]:
    """A million rows of the academy, in a database of its own on the embedded server."""
    command = [sys.executable, "-m", "seedlab", "generate", str(DATA), "--rows", "1000000", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    project = load_project(folder)
    target = orchestrator.open_target(TargetChoice(url=None, origin=orchestrator.EMBEDDED), project)
    seed(project, target)
    run = seed(project, target)
    assert run.outcomes.total == run.outcomes.unchanged
    return [
        figure(f"{run.outcomes.total:,} rows: {what}", asked, samples)
        for what, asked, samples in (
            ("nothing changed, in process, ms", 200, timed(lambda: seed(project, target), runs)),
            ("nothing changed, statements", 12, [float(run.counters.statements)]),
        )
    ]


def whole_process(folder: Path, url: str, runs: int) -> Figure:
    """`python -m seedlab seed` with nothing to do, from the start of the interpreter to its end.

    With bytecode kept, as it usually is, also where the environment says otherwise.
    """
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "seedlab", "seed", str(folder), "--database-url", url, "-q"]
    reports = ["--reports", str(folder / "reports")]
    run = lambda: subprocess.run([*command, *reports], cwd=REPOSITORY, env=environ, check=True)  # noqa: E731
    return figure("PostgreSQL: nothing changed, whole process, ms", 200, timed(run, runs))


def result(runs: int, *, with_million: bool = False) -> Result:
    figures: list[Figure] = []
    with bench() as place, tempfile.TemporaryDirectory() as name:
        place.empty()
        academy = Academy(Path(name, "academy"))
        figures += measure(academy, place.url, "PostgreSQL", (7, 25), runs)
        figures.append(with_connection_kept(academy, place.url, runs))
        figures.append(whole_process(Path(name, "academy"), place.url, runs))
        with DelayProxy(unix_socket=place.unix_socket, round_trip_ms=1) as proxy:
            url = proxy.url_for(place.url)
            figures += measure(academy, url, "PostgreSQL, 1 ms a round trip", (None, None), runs)
        if with_million:
            figures += million(Path(name, "million"), runs)
        file = f"sqlite:///{Path(name, 'academy.db')}"
        figures += measure(academy, file, "SQLite", (None, None), runs)
    for each in figures:
        print(each, file=sys.stderr, flush=True)
    return in_figures("Again", figures)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--million", action="store_true", help="also a million rows")
    return alone(parser, lambda args: result(args.runs, with_million=args.million))


if __name__ == "__main__":
    sys.exit(main())
