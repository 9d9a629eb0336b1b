"""Workers in other processes, and what is left when one of them, or the coordinator, is killed: nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psycopg
import pytest

from seedlab.steps.parallel.coordinator import PARTS_REPEATED
from tests.conformance.test_spread import CITIES, PART, PUPILS, TABLES, VISITS, left, school
from tests.fix_clean import clean
from tests.support.seeding import counted, dump, execute, rows_of, seed
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.slow

EVERYTHING = (CITIES + PUPILS + VISITS, 0, 0)


def die_once(moment: str, mark: Path, work: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    """Do some work in a worker that dies before or after it; whoever comes next lives."""
    with suppress(FileExistsError):
        mark.touch(exist_ok=False)
        if moment == "after":
            work(*given)
        os.kill(os.getpid(), signal.SIGKILL)
    return work(*given)


class Deadly(ProcessPoolExecutor):
    """Processes of which one dies in the midst of its third part."""

    def __init__(self, mark: Path, moment: str | None) -> None:
        super().__init__(2, mp_context=get_context("spawn"))
        self._mark = mark
        self._moment = moment
        self.parts = 0

    def submit(self, work: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        self.parts += 1
        if self._moment is not None and self.parts == 3:
            return super().submit(die_once, self._moment, self._mark, work, given)
        return super().submit(work, *given, **named)


@pytest.mark.parametrize("moment", [None, "before", "after"])
def test_processes(clean_postgres_url: str, postgres_url: str, tmp_path: Path, moment: str | None) -> None:
    """A pool that breaks has done some parts; the others are done here, and none is there twice."""
    for url in (clean_postgres_url, postgres_url):
        execute(url, TABLES)
    folder = school(tmp_path / "school")
    with Deadly(tmp_path / "mark", moment) as pool:
        run = seed(folder, clean_postgres_url, executor=pool, batch_rows=PART)
    seed(folder, postgres_url, workers=1, batch_rows=PART)
    assert (PARTS_REPEATED in run.notes) == (moment is not None)
    assert counted(run) == EVERYTHING
    assert dump(clean_postgres_url) == dump(postgres_url)
    assert left(clean_postgres_url) == []


# ---- Dask -----------------------------------------------------------------------------------------------


class Cluster:
    """A scheduler of Dask and some workers, each a process of its own."""

    def __init__(self, folder: Path, workers: int) -> None:
        told = folder / "scheduler.json"
        self._processes = [
            self._start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(told))
        ]
        until(told.exists)
        until(lambda: told.read_text().endswith("}"))
        self.address = json.loads(told.read_text())["address"].replace("tcp://", "dask://")
        one = ("worker", "--no-nanny", "--no-dashboard", "--nthreads", "1", "--scheduler-file", str(told))
        self.workers = [self._start(*one, "--local-directory", str(folder)) for _ in range(workers)]
        self._processes += self.workers

    @staticmethod
    def _start(*words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", *words, "--host", "127.0.0.1"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("dask"), 3)
    yield made
    made.close()


def seeding(folder: Path, url: str, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "seedlab", "seed", str(folder), "--database-url", url, "--json"]
    more = ["--batch-rows", str(PART), "--reports", str(folder.parent / "reports"), *words]
    return subprocess.Popen([*command, *more], stdout=subprocess.PIPE)


def parts_done(url: str) -> int:
    """How many parts of a run under way are staged."""
    marks = rows_of(
        url,
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE nspname = 'seedlab' AND relkind = 'r' AND relname ~ '^staging_[0-9a-f]+$'",
    )
    with suppress(psycopg.errors.UndefinedTable):
        return sum(rows_of(url, f"SELECT count(*) FROM {name}")[0][0] for (name,) in marks)
    return 0


@pytest.mark.parametrize("killed", [False, True])
def test_dask(
    clean_postgres_url: str, postgres_url: str, tmp_path: Path, cluster: Cluster, killed: bool
) -> None:
    """Dask gives the parts of a worker that is killed to the others."""
    for url in (clean_postgres_url, postgres_url):
        execute(url, TABLES)
    folder = school(tmp_path / "school")
    seed(folder, postgres_url, workers=1, batch_rows=PART)
    child = seeding(folder, clean_postgres_url, "--executor", cluster.address)
    if killed:
        until(lambda: parts_done(clean_postgres_url) or child.poll() is not None)
        assert child.poll() is None
        cluster.workers[0].kill()
    run = json.loads(child.communicate(timeout=PATIENCE)[0])
    assert run["status"] == "succeeded", run["errors"]
    assert run["outcomes"]["created"] == sum(EVERYTHING)
    assert PARTS_REPEATED not in run["notes"]
    assert dump(clean_postgres_url) == dump(postgres_url)
    assert left(clean_postgres_url) == []


# ---- the coordinator ------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 20])
def test_the_coordinator_is_killed(
    clean_postgres_url: str, tmp_path: Path, cluster: Cluster, parts: int
) -> None:
    """The target stays as it was; the next run is not hindered, and leaves nothing of the dead one."""
    url = clean_postgres_url
    execute(url, TABLES)
    folder = school(tmp_path / "school")
    child = seeding(folder, url, "--executor", cluster.address)
    until(lambda: parts_done(url) >= parts or child.poll() is not None)
    child.kill()
    child.communicate()
    written = len(dump(url)["pupils"])
    assert written in (0, PUPILS)
    run = seed(folder, url, executor=cluster.address, batch_rows=PART, wait="30s")
    assert run.outcomes.created == (0 if written else sum(EVERYTHING))
    assert len(dump(url)["visits"]) == VISITS
    if not written:
        assert left(url) == []
    clean(url)
