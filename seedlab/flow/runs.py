"""What happened: reports, runs, and how the rooms report."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from seedlab.flow.outcomes import Outcomes
from seedlab.flow.project import Level, Seed

if TYPE_CHECKING:
    from seedlab.errors import Fault
    from seedlab.flow.evidence import Bottleneck, Recommendation, Sample, Span, UnindexedReference
    from seedlab.flow.loads import Load

Phase = Literal["read", "flatten", "resolve", "stage", "merge", "index", "commit"]


class Recorder(Protocol):
    """How the rooms tell what they do; the only way they report."""

    def span(
        self, phase: Phase, *, load: Load | None = None, seed: Seed | None = None, rows: int = 0
    ) -> AbstractContextManager[None]:
        """Measure a block; spans of one thread may nest, the inner one's time is its own."""

    def count(
        self, *, statements: int = 0, round_trips: int = 0, bytes_sent: int = 0, rows: int = 0, pid: int = 0
    ) -> None:
        """Add to the counters of the run and of the innermost span of this thread; `rows` to the span.

        `pid` is the server process that is spoken to.
        """

    def cache(self, *, hits: int = 0, misses: int = 0, queries: int = 0) -> None:
        """Add to the look-up cache's counters."""

    def expect(self, load: Load, rows: int) -> None:
        """Tell how many rows of a load are to be sent to the target; none of them is yet."""

    def progress(self, load: Load, rows: int) -> None:
        """Tell of so many more rows of a load: read, or once `expect` was told of it, sent."""

    def note(self, message: str) -> None:
        """Say something a person should read: a fallback taken, a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What became of the rows that a seed brings to a table; `key` as files spell it."""

    stage: str
    seed: str
    table: str
    key: tuple[str, ...]
    outcomes: Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class TableReport:
    """One table of one seed."""

    table: str
    key: tuple[str, ...]
    outcomes: Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedReport:
    """One seed of a run."""

    name: str
    tables: tuple[TableReport, ...]
    spans: tuple[Span, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """One stage of a run or plan, with the reason of its status."""

    id: str
    status: Literal["run", "skipped", "failed", "planned"]
    reason: str
    seconds: float = 0.0
    outcomes: Outcomes = field(default_factory=Outcomes)
    seeds: tuple[SeedReport, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Exact, repeatable counts of a run."""

    statements: int = 0
    round_trips: int = 0
    bytes_sent: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    cache_queries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution, as its record keeps it (DESIGN: the run record).

    `round_trip_seconds` is the shortest of a few empty questions to the server; None where none was asked.
    """

    run_id: str
    project: str
    started: str  # UTC, ISO 8601
    args: tuple[str, ...]
    status: Literal["succeeded", "failed", "refused", "interrupted", "planned"]
    exit_code: int
    level: Level
    environment: str
    target: str  # masked
    settings: Mapping[str, object]
    machine: Mapping[str, object]
    versions: Mapping[str, str]
    data_fingerprint: str
    seconds: float
    outcomes: Outcomes
    counters: Counters
    wal_bytes: int | None
    peak_rss_bytes: int
    spans: tuple[Span, ...]
    stages: tuple[StageReport, ...]
    faults: tuple[Fault, ...] = ()
    error: str | None = None
    notes: tuple[str, ...] = ()
    commit: str | None = None  # of the project's git repository
    samples: tuple[Sample, ...] = ()
    round_trip_seconds: float | None = None
    unindexed: tuple[UnindexedReference, ...] = ()
    bottlenecks: tuple[Bottleneck, ...] = ()
    recommendations: tuple[Recommendation, ...] = ()
