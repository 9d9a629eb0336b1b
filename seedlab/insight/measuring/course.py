"""How a run goes on: the rows that were told of, from which its state is made when somebody looks."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from seedlab.insight.measuring.state import StageState, Status

RECENT = 5.0  # seconds that "rows a second" looks back
_TOO_SOON = 1.0  # seconds of writing that say nothing yet of how long it will take

Name = tuple[str, str, str]  # stage, seed, table


class Course:
    """How far stages and their loads are.

    Threads may tell of different loads at the same time; it costs them under 1 µs.
    """

    def __init__(self) -> None:
        self._stages: dict[str, Literal["waiting", "skipped"]] = {}
        self._rows: dict[Name, int] = {}
        self._totals: dict[Name, int] = {}
        self._marks: deque[tuple[float, int]] = deque()
        self._writing_since: float | None = None

    def plan(self, stages: Mapping[str, Literal["waiting", "skipped"]]) -> None:
        """Set the stages that will run and those that will not; progress told of before is forgotten."""
        self._stages.update(stages)
        for name in [name for name in self._rows if name[0] in stages]:
            del self._rows[name]
            self._totals.pop(name, None)
        if not self._rows:
            self._writing_since = None

    def expect(self, name: Name, rows: int, at: float) -> None:
        """Set how many rows of a load are to be sent; those sent so far count from 0."""
        if self._writing_since is None:
            self._writing_since = at
        self._rows[name], self._totals[name] = 0, rows

    def advance(self, name: Name, rows: int) -> None:
        """Add rows that were read, or where some are expected, sent."""
        self._rows[name] = self._rows.get(name, 0) + rows

    def stages(self, at_work: Collection[str | None]) -> tuple[StageState, ...]:
        """Say how far each stage is; threads are at work on those named."""
        rows: dict[str, list[tuple[int, int | None]]] = {name: [] for name in self._stages}
        for name, done in tuple(self._rows.items()):
            rows.setdefault(name[0], []).append((done, self._totals.get(name)))
        return tuple(self._stage(name, loads, at_work=name in at_work) for name, loads in rows.items())

    def _stage(self, name: str, loads: Sequence[tuple[int, int | None]], *, at_work: bool) -> StageState:
        from seedlab.insight.measuring.state import StageState  # of a short run nobody asks for its state

        if self._stages.get(name) == "skipped":
            return StageState(id=name, status="skipped")
        rows = sum(done for done, _ in loads)
        totals = [total for _, total in loads if total is not None]
        if not loads or len(totals) < len(loads):
            return StageState(id=name, status="running" if at_work else "waiting", rows=rows)
        # Rows may be sent again, since others were refused.
        total = sum(totals)
        rows = min(rows, total)
        status: Status = "running" if at_work or rows else "waiting"
        if rows == total and not at_work:
            status = "done"
        return StageState(id=name, status=status, rows=rows, total=total)

    def rate(self, rows: int, at: float) -> float | None:
        """Rows a second since this was asked `RECENT` seconds ago; None before any are to be sent.

        To be asked by one thread.
        """
        if self._writing_since is None:
            return None
        marks = self._marks
        if not marks or marks[-1][1] > rows:  # it began anew
            marks.clear()
            marks.append((self._writing_since, 0))
        marks.append((at, rows))
        while len(marks) > 2 and marks[1][0] <= at - RECENT:
            marks.popleft()
        since, before = marks[0]
        return (rows - before) / (at - since) if at > since else None

    def remaining(self, rows: int, total: int, at: float) -> float | None:
        """Seconds that the remaining rows will take at the pace so far; None where that is not known yet."""
        since = self._writing_since
        if since is None or at - since < _TOO_SOON or not 0 < rows < total:
            return None
        return (at - since) * (total - rows) / rows
