"""Samples a run while it lasts, some 20 times a second: its memory, and what the server does for it.

All of it happens in a thread of its own, whose failure is at most a note. The server is sampled only after
the run's first second, since in shorter runs the sampling itself would be most of what is measured; a run
that is profiled (`monitor.closely`) samples it from the beginning.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from seedlab.database import connect
from seedlab.database.lock_holder import label_of
from seedlab.errors import ConnectionFailed
from seedlab.flow import Target
from seedlab.insight.measuring.memory import rss_bytes
from seedlab.insight.measuring.monitor import Monitor

if TYPE_CHECKING:
    from seedlab.database.postgres.activity import Activity

UNOBSERVED_SECONDS = 1.0  # at the beginning of a run, in which the server is not sampled
JOIN_SECONDS = 1.0  # that a run waits, at its end, for a sample that has not been answered


@contextmanager
def sampled(
    project: str, target: Target, monitor: Monitor, wal_before: Callable[[], int | None]
) -> Iterator[None]:
    """Sample the run in a thread while the block lasts.

    `wal_before` gives the server's WAL position before the run, in bytes.
    """
    sampler = _Sampler(project, monitor.beside or target, monitor, wal_before)
    if monitor.closely:
        with monitor.aside():
            sampler.open()
        if sampler.activity is not None:
            monitor.wal_position = sampler.wal_position
    thread = threading.Thread(target=sampler.run, name="seedlab-sampler", daemon=True)
    thread.start()
    try:
        yield
    finally:
        monitor.wal_position = None
        sampler.done.set()
        thread.join(JOIN_SECONDS)


class _Sampler:
    """Samples one run. `open` is called at most once; the thread closes the connection."""

    def __init__(
        self, project: str, target: Target, monitor: Monitor, wal_before: Callable[[], int | None]
    ) -> None:
        self._label = label_of(project)
        self._target = target
        self._monitor = monitor
        self._wal_before = wal_before
        self.activity: Activity | None = None
        self._opened = self._given_up = False
        self._giving_up = threading.Lock()
        self.done = threading.Event()

    def open(self) -> None:
        """Open a connection of its own to the server; a database file needs none."""
        self._opened = True
        try:
            self.activity = connect.open_activity(self._target, self._label)
        except ConnectionFailed as error:
            self._give_up(error)

    def wal_position(self) -> int | None:
        """Ask for the server's WAL position in bytes; None where it does not tell it."""
        activity = self.activity
        try:
            return activity.wal_position() if activity is not None else None
        except ConnectionFailed as error:
            self._give_up(error)
            return None

    def run(self) -> None:
        """Sample until `done` is set."""
        monitor = self._monitor
        try:
            while True:
                if not self._opened and monitor.seconds >= UNOBSERVED_SECONDS:
                    self.open()
                self._sample()
                if self.done.wait(monitor.sample_seconds):
                    return
        finally:
            if self.activity is not None:
                self.activity.close()

    def _sample(self) -> None:
        activity = self.activity
        if activity is not None:
            try:
                position, waits = activity.look()
            except ConnectionFailed as error:
                self._give_up(error)
            else:
                before = self._wal_before()
                wal_bytes = position - before if before is not None else None
                self._monitor.sample(rss_bytes(), wal_bytes, waits)
                return
        self._monitor.sample(rss_bytes())

    def _give_up(self, error: ConnectionFailed) -> None:
        """Stop sampling the server and note why, once, although both threads may find that out."""
        with self._giving_up:
            if self._given_up:
                return
            self._given_up = True
        activity, self.activity = self.activity, None
        if activity is not None:
            activity.close()
        self._monitor.note(f"the server's activity was not sampled: {error}")
