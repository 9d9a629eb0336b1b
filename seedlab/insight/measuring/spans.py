"""Open spans, which measure a piece of work, and the lanes of the threads that they run in."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from seedlab.flow import Phase
from seedlab.insight.measuring.memory import PEAKS, Work

if TYPE_CHECKING:
    from seedlab.insight.measuring.monitor import Monitor

WRITING: frozenset[Phase] = frozenset({"stage", "merge", "index", "commit"})  # phases that may write WAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The innermost span in which an error occurred."""

    doing: str
    stage: str | None


class Lane:
    """The counts and open spans of one thread; only that thread writes to them."""

    __slots__ = (
        "bytes_sent",
        "failing",
        "hits",
        "misses",
        "number",
        "open",
        "queries",
        "round_trips",
        "statements",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.open: list[OpenSpan] = []
        self.failing = False  # an error is propagating through the thread's spans
        self.statements = self.round_trips = self.bytes_sent = 0
        self.hits = self.misses = self.queries = 0


class OpenSpan(Work):
    """A span that has not ended. Being a class, it costs half as much as a generator would."""

    __slots__ = (
        "_cpu", "_inner_cpu", "_inner_wal", "_inner_wall", "_lane", "_monitor", "_wal", "_wall", "bytes_sent",
        "phase", "round_trips", "rows", "seed", "stage", "statements", "table", "wal_began",
    )  # fmt: skip

    def __init__(self, monitor: Monitor, lane: Lane, phase: Phase, rows: int) -> None:
        self._monitor, self._lane = monitor, lane
        self.phase, self.rows = phase, rows
        self.stage: str | None = None
        self.seed: str | None = None
        self.table: str | None = None
        self._inner_wall = self._inner_cpu = 0.0
        self.statements = self.round_trips = self.bytes_sent = self.peak_rss_bytes = 0
        self.wal_began: int | None = None  # the server's WAL position before anything was sent
        self._wal: int | None = None
        self._inner_wal = 0

    def __enter__(self) -> None:
        self._lane.failing = False
        PEAKS.begin(self)
        clock = self._monitor.clock
        self._wall, self._cpu = clock.wall(), clock.cpu()
        self._lane.open.append(self)  # last, as from here on other threads can see it

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        clock = self._monitor.clock
        cpu, wall = clock.cpu() - self._cpu, clock.wall() - self._wall
        PEAKS.end(self)
        lane = self._lane
        lane.open.pop()
        if kind is not None and not lane.failing:
            self._monitor.broken = Broken(doing=str(self), stage=self.stage)
        lane.failing = kind is not None
        outer = lane.open[-1] if lane.open else None
        if outer is not None:
            outer._inner_wall += wall
            outer._inner_cpu += cpu
        if self._monitor.wal_position is not None and self.phase in WRITING:
            self._end_wal(outer)
        self._monitor.close(self, wall - self._inner_wall, cpu - self._inner_cpu)

    @property
    def since(self) -> float:
        """The time when it began, by the monitor's clock."""
        return self._wall

    def begin_wal(self) -> None:
        """Read the WAL position before the first statement that may write is sent."""
        if self.phase in WRITING and not self.round_trips:
            self.wal_began = self._monitor.ask_wal()

    def _end_wal(self, outer: OpenSpan | None) -> None:
        """Set the WAL bytes since the span first sent something, without those of nested spans."""
        if self.round_trips == 0:
            self._wal = 0
            return
        ended = self._monitor.ask_wal()
        if ended is not None and self.wal_began is not None:
            self._wal = ended - self.wal_began - self._inner_wal
            if outer is not None and outer.wal_began is not None:
                outer._inner_wal += ended - self.wal_began

    def exclude(self, wall: float, cpu: float) -> None:
        """Exclude seconds that measuring took from the span's time."""
        self._inner_wall += wall
        self._inner_cpu += cpu

    def values(self, seconds: float, cpu_seconds: float, began: float) -> tuple[object, ...]:
        """Return the values of a `Span`, in the order of `FIELDS`."""
        return (
            self.phase, seconds, cpu_seconds, self._wall - began, self._lane.number, self.peak_rss_bytes,
            self.stage, self.seed, self.table, self.rows, self.statements, self.round_trips, self.bytes_sent,
            self._wal,
        )  # fmt: skip

    def __str__(self) -> str:
        return " ".join(filter(None, (self.phase, self.table or self.seed)))


FIELDS = (
    "phase", "seconds", "cpu_seconds", "start", "lane", "peak_rss_bytes",
    "stage", "seed", "table", "rows", "statements", "round_trips", "bytes_sent", "wal_bytes",
)  # fmt: skip
