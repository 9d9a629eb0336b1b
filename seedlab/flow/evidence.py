"""Measurements and what follows from them: spans, samples, bottlenecks, profiles, comparisons, forecasts.

A module of its own, so that a run with nothing to do need not import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from seedlab.flow.runs import Phase, Run

Resource = Literal["client CPU", "round trips", "server CPU", "locks", "disk", "client waiting"]
Verdict = Literal["slower", "faster", "same", "unclear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One measured piece of work, without the time and counts of the spans nested in it.

    `start` is in seconds since the run began, `lane` numbers the threads in order of appearance, and
    `peak_rss_bytes` is the peak memory of the process during the span. `wal_bytes` is how much write-ahead
    log the server wrote during the span; it is None unless the run belongs to a profile.
    """

    phase: Phase
    seconds: float
    cpu_seconds: float
    start: float = 0.0
    lane: int = 0
    peak_rss_bytes: int = 0
    stage: str | None = None
    seed: str | None = None
    table: str | None = None
    rows: int = 0
    statements: int = 0
    round_trips: int = 0
    bytes_sent: int = 0
    wal_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What a connection's server process was doing: `CPU`, or its wait event (`Lock/transactionid`).

    `holder` names the processes that hold the awaited lock: `psql (process 4711, idle in transaction)`.
    """

    pid: int
    what: str
    holder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample of a running run, taken `at` seconds after it began; `wal_bytes` counts from its begin."""

    at: float
    rss_bytes: int
    wal_bytes: int | None = None
    waits: tuple[Wait, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnindexedReference:
    """A foreign key without an index whose parent lost rows: each deletion scanned the whole of `table`.

    `schema` and `relation` are the table's own names, of which SQL is made; `table` is what projects call it.
    """

    table: str
    schema: str
    relation: str
    columns: tuple[str, ...]
    parent: str
    deleted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """A resource that took time, where it did, and the evidence; `share` is a share of the run's seconds."""

    resource: Resource
    seconds: float
    share: float
    where: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """An advised change: the reason, the seconds saved and how they are known, the command to try it."""

    what: str
    why: str
    saves: float | None
    basis: Literal["measured", "model"]
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of a profile: `variant` is a level, perhaps less a switch; `pair` numbers rounds from 1."""

    variant: str
    round_trip_ms: float
    pair: int
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Interleaved runs of several variants on fresh databases; `variants` are in the order requested."""

    profile_id: str
    project: str
    started: str  # UTC, ISO 8601
    args: tuple[str, ...]
    variants: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How the seconds of a phase, or in total, differ: medians, ratio after/before and its interval.

    `share` is the phase's share of the total seconds of the side before.
    """

    name: str
    before: float
    after: float
    ratio: float
    low: float
    high: float
    verdict: Verdict
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CountChange:
    """How a count differs; changes up to `tolerance`, a share of the count before, are no difference."""

    name: str
    before: int
    after: int
    tolerance: float
    verdict: Literal["same", "more", "fewer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A comparison of two sides, measured in pairs; `pairs` are the seconds (before, after) of each pair."""

    before: str
    after: str
    threshold: float
    total: Change
    phases: tuple[Change, ...]
    counts: tuple[CountChange, ...]
    pairs: tuple[tuple[float, float], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A predicted duration in seconds, with the interval that contains it with probability `confidence`.

    `basis` is "history" if there were enough `runs` on this machine and target, else "estimate", which is the
    project's own.
    """

    seconds: float
    low: float
    high: float
    confidence: float
    basis: Literal["history", "estimate"]
    runs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The predicted durations of a plan: in total, by seed (`stage.seed`), in declared and in planned order.

    `critical_path` is the chain of dependent stages that takes longest. `idle` maps stages that could run
    beside others, but do not, to the reason. `needless` are declared dependencies (stage, the stage it waits
    for) that no foreign key requires.
    """

    total: Expectation
    seeds: Mapping[str, Expectation]
    declared_order: tuple[str, ...]
    declared_seconds: float
    planned_order: tuple[str, ...]
    planned_seconds: float
    critical_path: tuple[str, ...]
    idle: Mapping[str, str] = field(default_factory=dict)
    needless: tuple[tuple[str, str], ...] = ()
