"""Tracks the progress of a run: the rows read and sent for each load, from which rates and states follow."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from seedlab.insight.measuring.state import StageState, Status

RECENT = 5.0  # seconds over which "rows a second" is averaged
_TOO_SOON = 1.0  # seconds of writing before the remaining time can be estimated

Name = tuple[str, str, str]  # stage, seed, table


class Progress:
    """The progress of stages and their loads.

    Threads may report progress of different loads at the same time; a report costs less than 1 µs.
    """

    def __init__(self) -> None:
        self._stages: dict[str, Literal["waiting", "skipped"]] = {}
        self._rows: dict[Name, int] = {}
        self._totals: dict[Name, int] = {}
        self._marks: deque[tuple[float, int]] = deque()
        self._writing_since: float | None = None

    def plan(self, stages: Mapping[str, Literal["waiting", "skipped"]]) -> None:
        """Set the stages that will run and those that will not; their earlier progress is discarded."""
        self._stages.update(stages)
        for name in [name for name in self._rows if name[0] in stages]:
            del self._rows[name]
            self._totals.pop(name, None)
        if not self._rows:
            self._writing_since = None

    def expect(self, name: Name, rows: int, at: float) -> None:
        """Set how many rows of a load will be sent, and reset its number of rows to 0."""
        if self._writing_since is None:
            self._writing_since = at
        self._rows[name], self._totals[name] = 0, rows

    def advance(self, name: Name, rows: int) -> None:
        """Add rows of a load: as read, or, after `expect` was called for it, as sent."""
        self._rows[name] = self._rows.get(name, 0) + rows

    def stages(self, at_work: Collection[str | None]) -> tuple[StageState, ...]:
        """Return the state of each stage; `at_work` are those that threads work on."""
        rows: dict[str, list[tuple[int, int | None]]] = {name: [] for name in self._stages}
        for name, done in tuple(self._rows.items()):
            rows.setdefault(name[0], []).append((done, self._totals.get(name)))
        return tuple(self._stage(name, loads, at_work=name in at_work) for name, loads in rows.items())

    def _stage(self, name: str, loads: Sequence[tuple[int, int | None]], *, at_work: bool) -> StageState:
        from seedlab.insight.measuring.state import StageState  # not needed in a short run

        if self._stages.get(name) == "skipped":
            return StageState(id=name, status="skipped")
        rows = sum(done for done, _ in loads)
        totals = [total for _, total in loads if total is not None]
        if not loads or len(totals) < len(loads):
            return StageState(id=name, status="running" if at_work else "waiting", rows=rows)
        # Rows can be sent more than once, when others are refused.
        total = sum(totals)
        rows = min(rows, total)
        status: Status = "running" if at_work or rows else "waiting"
        if rows == total and not at_work:
            status = "done"
        return StageState(id=name, status=status, rows=rows, total=total)

    def rate(self, rows: int, at: float) -> float | None:
        """Return the rows per second over the last `RECENT` seconds; None before writing begins.

        Each call stores a mark to measure from, so only one thread may call it.
        """
        if self._writing_since is None:
            return None
        marks = self._marks
        if not marks or marks[-1][1] > rows:  # the run was repeated from the beginning
            marks.clear()
            marks.append((self._writing_since, 0))
        marks.append((at, rows))
        while len(marks) > 2 and marks[1][0] <= at - RECENT:
            marks.popleft()
        since, before = marks[0]
        return (rows - before) / (at - since) if at > since else None

    def remaining(self, rows: int, total: int, at: float) -> float | None:
        """Return the seconds that the remaining rows will take at the rate so far; None if too early."""
        since = self._writing_since
        if since is None or at - since < _TOO_SOON or not 0 < rows < total:
            return None
        return (at - since) * (total - rows) / rows
