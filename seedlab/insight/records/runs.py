"""Builds the value of a run, successful or failed, from what its monitor measured."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from seedlab.errors import (
    ConfigurationError,
    ConnectionFailed,
    DataFaults,
    Fault,
    LockHeld,
    Refused,
    SeedError,
    ServerError,
    WriteError,
    masked,
)
from seedlab.flow import Outcomes, Run, SeedReport, Settings, StageReport
from seedlab.insight.measuring.machine import machine, versions
from seedlab.insight.measuring.monitor import Monitor

if TYPE_CHECKING:
    from seedlab.flow import Span

SpansBySeed = defaultdict[tuple[str | None, str | None], "tuple[Span, ...]"]

INTERRUPTED = 130
_RULES: tuple[tuple[type[BaseException], str], ...] = (
    (ConfigurationError, "configuration"),
    (Refused, "refused"),
    (LockHeld, "lock"),
    (ConnectionFailed, "connection"),
    (WriteError, "write"),
    (ServerError, "server"),
    (SeedError, "failed"),
    (KeyboardInterrupt, "interrupted"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What is known of a run before it begins; `target` is a URL without the password."""

    project: str = ""
    target: str = ""
    environment: str = "development"
    settings: Settings = field(default_factory=Settings)
    args: tuple[str, ...] = ()
    commit: str | None = None


def new_run_id() -> str:
    """Return a random id of 8 hex digits."""
    return os.urandom(4).hex()


def build_run(monitor: Monitor, heading: Heading, stages: tuple[StageReport, ...] = ()) -> Run:
    """Build the run of a seed that succeeded.

    The caller adds what the monitor cannot know (`data_fingerprint`, `wal_bytes`, the server's version) by
    `dataclasses.replace`.
    """
    return Run(
        run_id=new_run_id(),
        project=heading.project,
        started=monitor.started.isoformat(timespec="milliseconds"),
        args=tuple(masked(each) for each in heading.args),
        status="succeeded",
        exit_code=0,
        level=heading.settings.level,
        environment=heading.environment,
        target=masked(heading.target),
        settings=settings_record(heading.settings),
        machine={**machine(), "load_average": monitor.load_average},
        versions=versions(),
        data_fingerprint="",
        seconds=monitor.seconds,
        outcomes=sum((stage.outcomes for stage in stages), Outcomes()),
        counters=monitor.counters,
        wal_bytes=None,
        peak_rss_bytes=monitor.peak,
        spans=monitor.spans,
        stages=stages,
        notes=monitor.notes,
        commit=heading.commit,
        samples=monitor.samples,
    )


def build_failed_run(monitor: Monitor, heading: Heading, error: BaseException) -> Run:
    """Build the run of a seed that ended in `error`.

    If some of it was committed nevertheless (`monitor.half_done`), the run reports that.
    """
    status, exit_code = verdict(error)
    run = build_run(monitor, heading, _broken_stages(monitor))
    if monitor.half_done is not None:
        run = replace(monitor.half_done, args=run.args, notes=run.notes)
    return replace(run, status=status, exit_code=exit_code, faults=faults_of(error), error=message_of(error))


def with_findings(run: Run) -> Run:
    """Fill in a run's bottlenecks and recommendations; a run that ran no stage is returned as it is."""
    if all(stage.status == "skipped" for stage in run.stages):
        return run
    from seedlab.insight.judging.advice import with_recommendations  # not needed by a run with nothing to do

    return with_recommendations(run)


def verdict(error: BaseException) -> tuple[Literal["failed", "refused", "interrupted"], int]:
    """Return the status and exit code of a run that ended in an error."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if isinstance(error, Refused | LockHeld):
        return "refused", error.exit_code
    return "failed", error.exit_code if isinstance(error, SeedError) else 1


def message_of(error: BaseException) -> str:
    """Return an error's message without passwords; preceded by the class if it is not a SeedError."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    text = masked("; ".join([str(error), *getattr(error, "__notes__", ())]))
    return text if isinstance(error, SeedError) else f"{type(error).__name__}: {text}".removesuffix(": ")


def faults_of(error: BaseException) -> tuple[Fault, ...]:
    """Return the data faults of an error; any other error becomes one fault, whose rule is its kind."""
    if isinstance(error, DataFaults):
        return error.faults
    rule = next((name for kind, name in _RULES if isinstance(error, kind)), "internal")
    place = error.place if isinstance(error, ConfigurationError) else None
    return (
        Fault(
            rule=rule,
            message=masked(error.message) if isinstance(error, ConfigurationError) else message_of(error),
            file=place.file if place else None,
            line=place.line if place else None,
            path=place.key if place else None,
            table=error.table if isinstance(error, WriteError) else None,
        ),
    )


def settings_record(settings: Settings) -> Mapping[str, object]:
    """Convert settings to plain values; sets become sorted lists."""
    return {
        "level": settings.level,
        "disabled": sorted(settings.disabled),
        "isolation": settings.isolation,
        "statement_timeout": settings.statement_timeout,
        "lock_timeout": settings.lock_timeout,
        "batch_rows": settings.batch_rows,
        "workers": settings.workers,
        "ids": settings.ids,
        "origins": dict(settings.origins),
    }


def spans_by_seed(spans: Iterable[Span]) -> SpansBySeed:
    """Group spans by stage and seed, in one pass since there may be hundreds of seeds."""
    found: SpansBySeed = defaultdict(tuple)
    for span in spans:
        found[span.stage, span.seed] += (span,)
    return found


def _broken_stages(monitor: Monitor) -> tuple[StageReport, ...]:
    spans = monitor.spans
    return tuple(
        _broken_stage(monitor, stage, spans)
        for stage in dict.fromkeys(span.stage for span in spans)
        if stage is not None
    )


def _broken_stage(monitor: Monitor, stage: str, spans: tuple[Span, ...]) -> StageReport:
    own = [span for span in spans if span.stage == stage]
    by_seed = spans_by_seed(own)
    broken = monitor.broken
    here = broken is not None and broken.stage == stage
    seeds = dict.fromkeys(span.seed for span in own if span.seed is not None)
    return StageReport(
        id=stage,
        status="failed",
        reason=f"failed: {broken.doing}" if broken and here else "rolled back with the run",
        seconds=sum(span.seconds for span in own),
        seeds=tuple(SeedReport(name=name, tables=(), spans=by_seed[stage, name]) for name in seeds),
    )
