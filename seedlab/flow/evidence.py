"""What runs prove: spans and samples of a run, what they show, profiles, comparisons, forecasts.

Apart from the other values, since a run with nothing to do needs none of it.
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
    """One measured piece of work, less what was measured inside it.

    `start` is in seconds since the run began, `lane` numbers the threads in order of appearance,
    `peak_rss_bytes` is the most the process held meanwhile. `wal_bytes` is what the server wrote meanwhile;
    None where it was not asked, which only a profile does.
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
    """What one connection's server process was doing: `CPU`, or what it waited for (`Lock/transactionid`).

    `holder` are those who hold the lock that it waits for: `psql (process 4711, idle in transaction)`.
    """

    pid: int
    what: str
    holder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at a run while it lasted, `at` seconds after it began; `wal_bytes` since then."""

    at: float
    rss_bytes: int
    wal_bytes: int | None = None
    waits: tuple[Wait, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnindexedReference:
    """A foreign key without an index whose parent lost rows: for each of them all of `table` was read."""

    table: str
    columns: tuple[str, ...]
    parent: str
    deleted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """A resource that the time went to, where, and by what that was seen; `share` is of the run's seconds."""

    resource: Resource
    seconds: float
    share: float
    where: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What would help and why, the seconds it would save and how that is known, the command that tries it."""

    what: str
    why: str
    saves: float | None
    basis: Literal["measured", "model"]
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of a profile: `variant` is a level or a level without a switch, `pair` counts rounds from 1."""

    variant: str
    round_trip_ms: float
    pair: int
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Runs of several variants on fresh databases, interleaved; variants in the order they were asked for."""

    profile_id: str
    project: str
    started: str  # UTC, ISO 8601
    args: tuple[str, ...]
    variants: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How the seconds of a phase, or of all, differ: medians, and the ratio after/before with its interval.

    `share` is the phase's part of all that was measured before.
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
    """How a count differs; more than `tolerance` (a share) is a difference."""

    name: str
    before: int
    after: int
    tolerance: float
    verdict: Literal["same", "more", "fewer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two sides measured in pairs; `pairs` are the seconds of each, before and after."""

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
    """How long something will take: seconds, and the interval that holds it with `confidence`.

    `basis` is history where `runs` of this machine and target were enough, else the project's estimate.
    """

    seconds: float
    low: float
    high: float
    confidence: float
    basis: Literal["history", "estimate"]
    runs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a plan would take: in all, and by seed (`stage.seed`); in the order declared and as it would run.

    `critical_path` are the stages that nothing shortens. `idle` could run beside others and do not, each with
    why; `needless` are declared dependencies that no foreign key needs.
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
