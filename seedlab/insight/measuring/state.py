"""The state of a running run: the value that all live displays show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Status = Literal["waiting", "running", "done", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageState:
    """The progress of a stage: `rows` of `total` were sent; without a total, `rows` were read."""

    id: str
    status: Status
    rows: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneState:
    """What a thread, or a connection that no thread uses at present, is doing, and for how many seconds.

    `pid` is the server process that the thread used last, `wait` what that process did at the last sample:
    `CPU`, or its wait event (`Lock/transactionid`).
    """

    number: int = 0
    doing: str = ""  # the innermost open span: "merge questions"
    seconds: float = 0.0
    pid: int | None = None
    wait: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """What a run is doing. `end` says how it ended, None if it has not; `eta` is in seconds."""

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
        """The number of rows sent to the target."""
        return sum(stage.rows for stage in self.stages if stage.total is not None)

    @property
    def total(self) -> int:
        """The number of rows to be sent, as far as it is known."""
        return sum(stage.total or 0 for stage in self.stages)

    def ended(self, end: str) -> RunState:
        """Return the final state. If `end` is "done", all stages are; else they keep their progress."""
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
