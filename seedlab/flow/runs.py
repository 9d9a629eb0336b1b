"""The record of a run with its reports, and the Recorder protocol by which modules report what they do."""

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
    """The interface to which all modules report work, counts and progress during a run."""

    def span(
        self, phase: Phase, *, load: Load | None = None, seed: Seed | None = None, rows: int = 0
    ) -> AbstractContextManager[None]:
        """Measure a block. Spans of a thread may nest; a span's time does not include that of inner ones."""

    def count(
        self, *, statements: int = 0, round_trips: int = 0, bytes_sent: int = 0, rows: int = 0, pid: int = 0
    ) -> None:
        """Add to the counters of the run and of this thread's innermost span; `rows` only to the span.

        `pid` is the server process that executes the statements.
        """

    def cache(self, *, hits: int = 0, misses: int = 0, queries: int = 0) -> None:
        """Add to the counters of the look-up cache."""

    def expect(self, load: Load, rows: int) -> None:
        """Report how many rows of a load will be sent to the target, before the first is."""

    def progress(self, load: Load, rows: int) -> None:
        """Report further rows of a load: as read, or, after `expect` was called for it, as sent."""

    def note(self, message: str) -> None:
        """Report something that the user should read: a fallback or a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The outcomes of the rows that a seed puts into a table; `key` is spelled as in the files."""

    stage: str
    seed: str
    table: str
    key: tuple[str, ...]
    outcomes: Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class TableReport:
    """The outcomes of one table of one seed."""

    table: str
    key: tuple[str, ...]
    outcomes: Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedReport:
    """The tables, spans and files of one seed of a run."""

    name: str
    tables: tuple[TableReport, ...]
    spans: tuple[Span, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """One stage of a run or plan, with the reason for its status."""

    id: str
    status: Literal["run", "skipped", "failed", "planned"]
    reason: str
    seconds: float = 0.0
    outcomes: Outcomes = field(default_factory=Outcomes)
    seeds: tuple[SeedReport, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Exact counts of a run, which repeat from run to run, as times do not."""

    statements: int = 0
    round_trips: int = 0
    bytes_sent: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    cache_queries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution, as its record `run.json` stores it.

    `round_trip_seconds` is the shortest of a few measured round trips; None if none was measured.
    """

    run_id: str
    project: str
    started: str  # UTC, ISO 8601
    args: tuple[str, ...]
    status: Literal["succeeded", "failed", "refused", "interrupted", "planned"]
    exit_code: int
    level: Level
    environment: str
    target: str  # without the password
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
    commit: str | None = None  # the commit of the project's git repository
    samples: tuple[Sample, ...] = ()
    round_trip_seconds: float | None = None
    unindexed: tuple[UnindexedReference, ...] = ()
    bottlenecks: tuple[Bottleneck, ...] = ()
    recommendations: tuple[Recommendation, ...] = ()
