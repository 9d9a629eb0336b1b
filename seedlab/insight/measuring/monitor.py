"""Measures a run: the implementation of `Recorder` that all modules report to.

A span costs about 10 µs, a third of it for its peak memory. Option `closely` measures more than a usual run
should pay for: the server is sampled from the beginning, and the position of its WAL is read at both ends of
each span that writes. The time that this takes is not counted as the run's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from seedlab.flow import Counters, Phase, Run, Seed, Target
from seedlab.insight.measuring.machine import load_average
from seedlab.insight.measuring.memory import PEAKS, Work, rss_bytes
from seedlab.insight.measuring.progress import Progress
from seedlab.insight.measuring.spans import FIELDS, Broken, Lane, OpenSpan

if TYPE_CHECKING:
    from seedlab.flow import Load, Span
    from seedlab.flow.evidence import Sample, Wait
    from seedlab.insight.measuring.state import LaneState, RunState

SAMPLES_KEPT = 1200  # those of a minute, at 20 a second; in longer runs every other one is dropped repeatedly
SAMPLE_SECONDS = 0.05
_OLD = 20  # intervals of sampling after which a sample no longer describes the present


class Clock(Protocol):
    """The source of the monitor's times, which tests replace."""

    def now(self) -> datetime:
        """Return date and time in UTC."""

    def wall(self) -> float:
        """Return seconds of a monotonic clock."""

    def cpu(self) -> float:
        """Return the CPU seconds of the calling thread."""


class SystemClock:
    """The clocks of this machine."""

    wall = staticmethod(time.perf_counter)
    cpu = staticmethod(time.thread_time)

    @staticmethod
    def now() -> datetime:
        """Return date and time in UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTotal:
    """The sums over all spans of one phase; seconds of parallel threads add up."""

    name: Phase
    seconds: float
    cpu_seconds: float
    rows: int
    statements: int
    round_trips: int
    bytes_sent: int
    peak_rss_bytes: int
    wal_bytes: int | None


class Monitor(Work):
    """Collects what a run reports. Must be created in the run's main thread.

    `expected` is set to the seconds that the run will take, if they can be predicted. `closely` is for
    profiles and traces. `beside` is the target by which the server is sampled if that must not go through a
    delaying proxy. `Span` values and states are created only when they are requested.
    """

    def __init__(
        self, *, clock: Clock | None = None, closely: bool = False, beside: Target | None = None
    ) -> None:
        super().__init__()
        self.clock: Clock = clock or SystemClock()
        self.closely = closely
        self.beside = beside
        self.load_average = load_average()
        self.started = self.clock.now()
        self._began = self.clock.wall()
        self.expected: float | None = None
        self._local = threading.local()
        self._lanes: list[Lane] = []
        self._enrol = threading.Lock()
        self._closed: list[tuple[object, ...]] = []
        self._progress = Progress()
        self._speakers: dict[int, Lane] = {}  # server process → the thread that used it last
        self._notes: dict[str, None] = {}
        self.broken: Broken | None = None
        self.half_done: Run | None = None  # what a failed run has committed nevertheless
        self.wal_position: Callable[[], int | None] | None = None  # asks the server; never raises
        self.sample_seconds = SAMPLE_SECONDS
        self._samples: list[Sample] = []
        self._aside = 0.0  # seconds that measuring took from the run
        self._lane()  # makes lane 0 that of the main thread
        PEAKS.follow(self)

    # ---- Recorder

    def span(
        self, phase: Phase, *, load: Load | None = None, seed: Seed | None = None, rows: int = 0
    ) -> OpenSpan:
        """Measure a block; without load and seed, it belongs to those of the enclosing span."""
        lane = self._lane()
        opened = OpenSpan(self, lane, phase, rows)
        if load is not None:
            opened.stage, opened.seed, opened.table = load.stage, load.seed, load.table
        elif seed is not None:
            opened.stage, opened.seed = seed.stage, seed.name
        elif lane.open:
            outer = lane.open[-1]
            opened.stage, opened.seed, opened.table = outer.stage, outer.seed, outer.table
        return opened

    def count(
        self, *, statements: int = 0, round_trips: int = 0, bytes_sent: int = 0, rows: int = 0, pid: int = 0
    ) -> None:
        """Add to the counters of the run and of this thread's innermost span; `rows` only to the span.

        `pid` is the server process that executes the statements.
        """
        lane = self._lane()
        if pid:
            self._speakers[pid] = lane
        lane.statements += statements
        lane.round_trips += round_trips
        lane.bytes_sent += bytes_sent
        if lane.open:
            inner = lane.open[-1]
            if self.wal_position is not None and round_trips:
                inner.begin_wal()
            inner.statements += statements
            inner.round_trips += round_trips
            inner.bytes_sent += bytes_sent
            inner.rows += rows

    def cache(self, *, hits: int = 0, misses: int = 0, queries: int = 0) -> None:
        """Add to the counters of the look-up cache."""
        lane = self._lane()
        lane.hits += hits
        lane.misses += misses
        lane.queries += queries

    def expect(self, load: Load, rows: int) -> None:
        """Set how many rows of a load will be sent, before the first is."""
        self._progress.expect(load.name, rows, self.clock.wall())

    def progress(self, load: Load, rows: int) -> None:
        """Add rows of a load: as read, or, after `expect` was called for it, as sent."""
        self._progress.advance(load.name, rows)

    def note(self, message: str) -> None:
        """Keep something that the user should read; the same message is kept only once."""
        self._notes[message] = None

    # ---- called by the orchestrator

    def plan(self, stages: Mapping[str, Literal["waiting", "skipped"]]) -> None:
        """Set the stages that will run and those that will not; their earlier progress is discarded."""
        self._progress.plan(stages)

    # ---- called by the sampler

    def sample(self, rss_bytes: int, wal_bytes: int | None = None, waits: tuple[Wait, ...] = ()) -> None:
        """Keep a sample.

        If there are too many, every other one is dropped, and the interval of sampling is doubled.
        """
        from seedlab.flow.evidence import Sample

        at = self.clock.wall() - self._began
        self._samples.append(Sample(at=at, rss_bytes=rss_bytes, wal_bytes=wal_bytes, waits=waits))
        if len(self._samples) > SAMPLES_KEPT:  # an odd number, so the last one is kept
            del self._samples[1::2]
            self.sample_seconds *= 2

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Exclude the time of the block, a cost of measuring, from the run's and the open span's time."""
        lane, wall, cpu = self._lane(), self.clock.wall(), self.clock.cpu()
        try:
            yield
        finally:
            wall, cpu = self.clock.wall() - wall, self.clock.cpu() - cpu
            if lane.open:
                lane.open[-1].exclude(wall, cpu)
            if lane.number == 0:
                self._aside += wall

    # ---- results

    @property
    def seconds(self) -> float:
        """Seconds since the run began, without those excluded by `aside`."""
        return self.clock.wall() - self._began - self._aside

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The samples of the run so far, evenly spaced in time."""
        return tuple(self._samples)

    @property
    def peak(self) -> int:
        """The peak memory of the process in bytes since the run began."""
        return PEAKS.peak(self)

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes, in the order in which they were first made."""
        return tuple(self._notes)

    @property
    def spans(self) -> tuple[Span, ...]:
        """The spans that have ended, in the order of their ends."""
        if not self._closed:
            return ()
        from seedlab.flow import Span  # not needed in a run with nothing to do

        return tuple(Span(**dict(zip(FIELDS, values, strict=True))) for values in tuple(self._closed))  # type: ignore[arg-type]

    @property
    def counters(self) -> Counters:
        """The counts of all threads."""
        return Counters(
            statements=sum(lane.statements for lane in self._lanes),
            round_trips=sum(lane.round_trips for lane in self._lanes),
            bytes_sent=sum(lane.bytes_sent for lane in self._lanes),
            cache_hits=sum(lane.hits for lane in self._lanes),
            cache_misses=sum(lane.misses for lane in self._lanes),
            cache_queries=sum(lane.queries for lane in self._lanes),
        )

    def state(self) -> RunState:
        """Return what the run is doing now; may be called from any thread, but only from one."""
        from seedlab.insight.measuring.state import RunState  # not needed in a short run

        at = self.clock.wall()
        opened = {lane: spans[-1] for lane in tuple(self._lanes) if (spans := tuple(lane.open))}
        progress = self._progress
        state = RunState(
            seconds=at - self._began,
            stages=progress.stages({span.stage for span in opened.values()}),
            lanes=self._lane_states(opened, at),
            rss_bytes=rss_bytes(),
            notes=self.notes,
        )
        left = (self.expected or 0.0) - state.seconds
        return replace(
            state,
            rows_per_second=progress.rate(state.rows, at),
            eta=left if left > 0 else progress.remaining(state.rows, state.total, at),
        )

    # ---- internals

    def ask_wal(self) -> int | None:
        """Ask the server for its WAL position, without counting the time."""
        assert self.wal_position is not None
        with self.aside():
            return self.wal_position()

    def close(self, opened: OpenSpan, wall: float, cpu: float) -> None:
        """Store the values of a span that ended."""
        self._closed.append(opened.values(wall, cpu, self._began))

    def _lane_states(self, opened: Mapping[Lane, OpenSpan], at: float) -> tuple[LaneState, ...]:
        """Return each thread at work with its server process, then all other server processes."""
        from seedlab.insight.measuring.state import LaneState

        waits = self._waits(at)
        pids = {lane: pid for pid, lane in tuple(self._speakers.items()) if lane in opened}
        lanes = [
            LaneState(
                number=lane.number,
                doing=str(span),
                seconds=at - span.since,
                pid=pids.get(lane),
                wait=waits.pop(pids.get(lane, 0), None),
            )
            for lane, span in opened.items()
        ]
        return (*lanes, *(LaneState(pid=pid, wait=wait) for pid, wait in waits.items()))

    def _waits(self, at: float) -> dict[int, str]:
        """Map each server process to what it did at the last sample; empty if that is too long ago."""
        last = self._samples[-1] if self._samples else None
        if last is None or at - self._began - last.at > _OLD * self.sample_seconds:
            return {}
        return {wait.pid: wait.what for wait in last.waits}

    def _lane(self) -> Lane:
        try:
            return self._local.lane  # type: ignore[no-any-return]
        except AttributeError:
            with self._enrol:
                lane = self._local.lane = Lane(len(self._lanes))
                self._lanes.append(lane)
            return lane


def phase_totals(spans: Iterable[Span]) -> tuple[PhaseTotal, ...]:
    """Sum spans by phase, in the order of a run."""
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
        wal_bytes=sum(wal)
        if (wal := [span.wal_bytes for span in spans if span.wal_bytes is not None])
        else None,
    )
