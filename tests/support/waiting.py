"""Wait until something is so, never for a time: a machine that is busy breaks no test."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.seeding import rows_of

PATIENCE = 60.0  # seconds, after which what is waited for will not come

_HERE = "FROM pg_stat_activity WHERE datname = current_database()"


def until(true: Callable[[], object], told: Callable[[], str] = lambda: "waited in vain") -> None:
    """Wait; `told` says what there was instead."""
    ends = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < ends, told()
        time.sleep(0.01)


def until_left(url: str) -> None:
    """A server process goes on for a moment after its client is gone; what it still does is seen after."""
    gone = f"SELECT count(*) {_HERE} AND application_name ~ '^seedlab'"
    until(lambda: rows_of(url, gone) == [(0,)])


def until_asleep(url: str, process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Until the server sleeps for a process, where a test had it do so."""

    def asleep() -> bool:
        assert process.poll() is None, process.communicate()
        return rows_of(url, f"SELECT count(*) {_HERE} AND wait_event = 'PgSleep'") == [(1,)]

    until(asleep)


@contextmanager
def killed_asleep(url: str, code: str, folder: Path) -> Iterator[None]:
    """Run Python that seeds a folder until the server sleeps in it; it is killed, and its session ended, behind."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", code, str(folder), url], cwd=root)
    try:
        until_asleep(url, process)
        yield
    finally:
        process.kill()
        process.wait()
    until(lambda: rows_of(url, f"SELECT count(*) {_HERE} AND wait_event = 'PgSleep'") == [(0,)])
