"""Measure a run: the `Recorder` the rooms report to, and the facts of the machine it ran on."""

from __future__ import annotations

import os
import platform
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Protocol, get_args

from seedlab.flow import Counters, Load, Phase, Run, Seed, Span

PACKAGES = ("seedlab", "polars", "psycopg", "sqlalchemy")


class Clock(Protocol):
    """Where the monitor gets its times from; tests give their own."""

    def now(self) -> datetime:
        """Date and time, UTC."""

    def wall(self) -> float:
        """Seconds that only grow."""

    def cpu(self) -> float:
        """CPU seconds of the calling thread."""


class SystemClock:
    """The clocks of this machine."""

    wall = staticmethod(time.perf_counter)
    cpu = staticmethod(time.thread_time)

    @staticmethod
    def now() -> datetime:
        """Date and time, UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a run is doing now, for a face that shows it while it runs."""

    seconds: float
    doing: tuple[str, ...]  # innermost open span of each thread: "merge questions"
    progress: Mapping[str, tuple[int, int]]  # label: rows done, rows in all
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The innermost span that an error left."""

    doing: str
    stage: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTotal:
    """All spans of one phase; seconds of parallel threads add up."""

    name: Phase
    seconds: float
    cpu_seconds: float
    rows: int
    statements: int
    round_trips: int
    bytes_sent: int
    peak_rss_bytes: int


class _Lane:
    """What one thread has counted, and its open spans; only that thread writes to it."""

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
        self.open: list[_OpenSpan] = []
        self.failing = False  # an error is on its way out through our spans
        self.statements = self.round_trips = self.bytes_sent = 0
        self.hits = self.misses = self.queries = 0


class _OpenSpan:
    """A span that has not ended. A class, not a generator: half the cost."""

    __slots__ = (
        "_cpu", "_inner_cpu", "_inner_wall", "_lane", "_monitor", "_wall", "bytes_sent",
        "phase", "round_trips", "rows", "seed", "stage", "statements", "table",
    )  # fmt: skip

    def __init__(self, monitor: Monitor, lane: _Lane, phase: Phase, rows: int) -> None:
        self._monitor, self._lane = monitor, lane
        self.phase, self.rows = phase, rows
        self.stage: str | None = None
        self.seed: str | None = None
        self.table: str | None = None
        self._inner_wall = self._inner_cpu = 0.0
        self.statements = self.round_trips = self.bytes_sent = 0

    def __enter__(self) -> None:
        self._lane.open.append(self)
        self._lane.failing = False
        clock = self._monitor.clock
        self._wall, self._cpu = clock.wall(), clock.cpu()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        clock = self._monitor.clock
        cpu, wall = clock.cpu() - self._cpu, clock.wall() - self._wall
        lane = self._lane
        lane.open.pop()
        if kind is not None and not lane.failing:
            self._monitor.broken = Broken(doing=str(self), stage=self.stage)
        lane.failing = kind is not None
        if lane.open:
            outer = lane.open[-1]
            outer._inner_wall += wall
            outer._inner_cpu += cpu
        self._monitor.close(self, wall - self._inner_wall, cpu - self._inner_cpu)

    def values(self, seconds: float, cpu_seconds: float, began: float) -> tuple[object, ...]:
        """Give what a `Span` is made of, in the order of `_FIELDS`."""
        return (
            self.phase, seconds, cpu_seconds, self._wall - began, self._lane.number, peak_rss_bytes(),
            self.stage, self.seed, self.table, self.rows, self.statements, self.round_trips, self.bytes_sent,
        )  # fmt: skip

    def __str__(self) -> str:
        return " ".join(filter(None, (self.phase, self.table or self.seed)))


_FIELDS = (
    "phase", "seconds", "cpu_seconds", "start", "lane", "peak_rss_bytes",
    "stage", "seed", "table", "rows", "statements", "round_trips", "bytes_sent",
)  # fmt: skip


class Monitor:
    """Keep what a run reports: the `Recorder` of the house.

    `listener` is called with the state after every progress and note, in the reporting thread. A span
    costs about 5 µs; `Span` values are made only when they are asked for.
    """

    def __init__(
        self, *, clock: Clock | None = None, listener: Callable[[State], None] | None = None
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.started = self.clock.now()
        self._began = self.clock.wall()
        self._listener = listener
        self._local = threading.local()
        self._lanes: list[_Lane] = []
        self._enrol = threading.Lock()
        self._closed: list[tuple[object, ...]] = []
        self._progress: dict[str, tuple[int, int]] = {}
        self._notes: dict[str, None] = {}
        self.broken: Broken | None = None
        self.half_done: Run | None = None  # what a run that failed has committed all the same

    # ---- what the rooms call

    def span(
        self, phase: Phase, *, load: Load | None = None, seed: Seed | None = None, rows: int = 0
    ) -> _OpenSpan:
        """Measure a block; without a load or seed it belongs to those of the span around it."""
        lane = self._lane()
        opened = _OpenSpan(self, lane, phase, rows)
        if load is not None:
            opened.stage, opened.seed, opened.table = load.stage, load.seed, load.table
        elif seed is not None:
            opened.stage, opened.seed = seed.stage, seed.name
        elif lane.open:
            outer = lane.open[-1]
            opened.stage, opened.seed, opened.table = outer.stage, outer.seed, outer.table
        return opened

    def count(self, *, statements: int = 0, round_trips: int = 0, bytes_sent: int = 0, rows: int = 0) -> None:
        """Add to the counters of the run and of the innermost span of this thread; `rows` to the span."""
        lane = self._lane()
        lane.statements += statements
        lane.round_trips += round_trips
        lane.bytes_sent += bytes_sent
        if lane.open:
            inner = lane.open[-1]
            inner.statements += statements
            inner.round_trips += round_trips
            inner.bytes_sent += bytes_sent
            inner.rows += rows

    def cache(self, *, hits: int = 0, misses: int = 0, queries: int = 0) -> None:
        """Add to the look-up cache's counters."""
        lane = self._lane()
        lane.hits += hits
        lane.misses += misses
        lane.queries += queries

    def progress(self, done: int, total: int, label: str) -> None:
        """Remember how many rows of a piece of work are done."""
        self._progress[label] = (done, total)
        self._tell()

    def note(self, message: str) -> None:
        """Keep something a person should read; the same words are kept once."""
        self._notes[message] = None
        self._tell()

    # ---- what the faces ask

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return self.clock.wall() - self._began

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should read, in the order it was said."""
        return tuple(self._notes)

    @property
    def spans(self) -> tuple[Span, ...]:
        """Spans that have ended, in order of their ends."""
        return tuple(Span(**dict(zip(_FIELDS, values, strict=True))) for values in tuple(self._closed))  # type: ignore[arg-type]

    @property
    def counters(self) -> Counters:
        """Counts of all threads."""
        return Counters(
            statements=sum(lane.statements for lane in self._lanes),
            round_trips=sum(lane.round_trips for lane in self._lanes),
            bytes_sent=sum(lane.bytes_sent for lane in self._lanes),
            cache_hits=sum(lane.hits for lane in self._lanes),
            cache_misses=sum(lane.misses for lane in self._lanes),
            cache_queries=sum(lane.queries for lane in self._lanes),
        )

    def state(self) -> State:
        """Say what the run is doing now; may be called from any thread."""
        doing = tuple(str(spans[-1]) for lane in tuple(self._lanes) if (spans := tuple(lane.open)))
        return State(
            seconds=self.seconds, doing=doing, progress=dict(self._progress), notes=tuple(self._notes)
        )

    # ---- inside

    def close(self, opened: _OpenSpan, wall: float, cpu: float) -> None:
        """Keep a span that ended."""
        self._closed.append(opened.values(wall, cpu, self._began))

    def _lane(self) -> _Lane:
        try:
            return self._local.lane  # type: ignore[no-any-return]
        except AttributeError:
            with self._enrol:
                lane = self._local.lane = _Lane(len(self._lanes))
                self._lanes.append(lane)
            return lane

    def _tell(self) -> None:
        if self._listener is not None:
            self._listener(self.state())


def phase_totals(spans: Iterable[Span]) -> tuple[PhaseTotal, ...]:
    """Add up spans by phase, in the order of a run."""
    by_phase: dict[Phase, list[Span]] = {}
    for span in spans:
        by_phase.setdefault(span.phase, []).append(span)
    return tuple(_total(phase, by_phase[phase]) for phase in get_args(Phase) if phase in by_phase)


def _total(phase: Phase, spans: list[Span]) -> PhaseTotal:
    return PhaseTotal(
        name=phase,
        seconds=sum(span.seconds for span in spans),
        cpu_seconds=sum(span.cpu_seconds for span in spans),
        rows=sum(span.rows for span in spans),
        statements=sum(span.statements for span in spans),
        round_trips=sum(span.round_trips for span in spans),
        bytes_sent=sum(span.bytes_sent for span in spans),
        peak_rss_bytes=max(span.peak_rss_bytes for span in spans),
    )


# ---- the machine ----------------------------------------------------------------------------------------

# Linux counts in KiB, macOS in bytes.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def peak_rss_bytes() -> int:
    """Most memory this process has held so far; it never falls."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT


@cache
def machine() -> Mapping[str, object]:
    """Facts of this machine that times depend on."""
    system = os.uname()
    return {
        "cpu": _cpu_model() or system.machine,
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "os": f"{system.sysname} {system.release} {system.machine}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def versions(server: str | None = None) -> dict[str, str]:
    """Versions of the packages that are loaded, and of the server; importlib.metadata would take 10 ms."""
    found = {name: getattr(sys.modules.get(name), "__version__", None) for name in PACKAGES}
    return {name: str(version) for name, version in {**found, "server": server}.items() if version}


def _cpu_model() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
            return next(named, "")
    except OSError:
        return ""
