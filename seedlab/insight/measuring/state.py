"""What a run is doing now: the value that every live face shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Status = Literal["waiting", "running", "done", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageState:
    """How far a stage is: `rows` of `total` were sent to the target; without a total, `rows` were read."""

    id: str
    status: Status
    rows: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneState:
    """What a thread, or a connection that no thread uses at present, does, and since how many seconds.

    `pid` is the server process that the thread spoke to last, `wait` what that did when last looked at:
    `CPU`, or what it waited for (`Lock/transactionid`).
    """

    number: int = 0
    doing: str = ""  # innermost open span: "merge questions"
    seconds: float = 0.0
    pid: int | None = None
    wait: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """What a run is doing now. `end` says how it ended, as far as it has; `eta` are seconds."""

    seconds: float
    stages: tuple[StageState, ...] = ()
    lanes: tuple[LaneState, ...] = ()
    rows_per_second: float | None = None
    rss_bytes: int = 0
    eta: float | None = None
    notes: tuple[str, ...] = ()
    end: str | None = None

    @property
    def rows(self) -> int:
        """Rows that were sent to the target."""
        return sum(stage.rows for stage in self.stages if stage.total is not None)

    @property
    def total(self) -> int:
        """Rows that are to be sent, as far as that is known."""
        return sum(stage.total or 0 for stage in self.stages)

    def ended(self, end: str) -> RunState:
        """Say how it ended: `done`, or in another way; then stages stay where they were."""
        stages = self.stages
        if end == "done":
            stages = tuple(
                each if each.status == "skipped" else replace(each, status="done", rows=each.total or 0)
                for each in stages
            )
        state = replace(self, stages=stages, lanes=(), rows_per_second=None, eta=None, end=end)
        if end != "done" or not state.seconds:
            return state
        return replace(state, rows_per_second=state.rows / state.seconds)
