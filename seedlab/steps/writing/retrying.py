"""Decides whether a run that failed is tried again, because another session wrote meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from seedlab.database.durations import milliseconds
from seedlab.errors import DataFaults, TargetChanged, WriteError

if TYPE_CHECKING:
    from seedlab.insight.measuring.monitor import Monitor
    from seedlab.steps.looking import Look

Done = TypeVar("Done")

MAX_ATTEMPTS = 3
CONFLICTS = frozenset({"40001", "40P01"})  # SQLSTATEs: serialization failure, deadlock


class Attempts:
    """Counts the attempts of a run. `wait` is how long it may wait for other seeds.

    A target that changed is worth MAX_ATTEMPTS attempts, of which the last keeps other writers out
    (`exclusive`) if it was rows that they changed. While the run may wait, an attempt that only another seed
    has overtaken does not count: of several seeds that wait, one at a time gets to write, and all others have
    to look again. A row that is refused because it exists already is worth one more attempt: another session
    may have added it meanwhile, and then it will be found.
    """

    def __init__(self, wait: str | None = None) -> None:
        self._end = time.monotonic() + milliseconds(wait or "0") / 1000
        self._failed = 0
        self._conflicted = False

    @property
    def exclusive(self) -> bool:
        """Whether the next attempt has to keep other writers out."""
        return self._conflicted and self._failed == MAX_ATTEMPTS - 1

    def run(self, action: Callable[[], Done], look: Look, monitor: Monitor) -> Done:
        """Run an action until it succeeds, each time after another look. Raises the error if none may follow.

        None follows either once a part of the run is committed (`monitor.half_done`).
        """
        while True:
            try:
                return action()
            except (TargetChanged, DataFaults) as error:
                if monitor.half_done is not None:
                    raise
                monitor.note(self.fail(error))
            look.session.rollback()
            look.refresh()

    def fail(self, error: TargetChanged | DataFaults) -> str:
        """Count a failed attempt; say in a note why there is another. Raises the error if there is none."""
        if isinstance(error, DataFaults):
            clashed = any(fault.rule == "unique" and fault.line is None for fault in error.faults)
            if self._failed or not clashed:
                raise error
            self._failed += 1
            return "another session inserted a conflicting row during this run; trying again"
        cause = error.__cause__
        if cause is None and time.monotonic() < self._end:
            return f"{error}; trying again"
        self._failed += 1
        self._conflicted = self._conflicted or cause is not None
        if self._failed == MAX_ATTEMPTS:
            raise cause if isinstance(cause, WriteError) else error
        return f"{error}; trying again"
