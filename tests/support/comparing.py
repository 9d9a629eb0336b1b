"""Runs as a comparison sees them: seconds, spans and counts, without any database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from seedlab.flow import Counters, Outcomes, Run, Span
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records.runs import Heading, build_run

TARGET = "postgresql://postgres@127.0.0.1:54321/academy"


def a_run(seconds: float = 0.25, *, phases: dict[str, float] | None = None, **changes: Any) -> Run:
    """A succeeded run of some phases; `changes` are fields of `Run`."""
    spans = tuple(
        Span(phase=name, seconds=each, cpu_seconds=each)  # type: ignore[arg-type]
        for name, each in (
            phases or {"read": 0.2 * seconds, "stage": 0.75 * seconds, "commit": 0.05 * seconds}
        ).items()
    )
    run = replace(
        build_run(Monitor(), Heading(project="academy", target=TARGET)),
        seconds=seconds,
        spans=spans,
        outcomes=Outcomes(created=5321),
        counters=Counters(statements=83, round_trips=20, bytes_sent=712_345),
        wal_bytes=1_000_000,
        peak_rss_bytes=100_000_000,
        data_fingerprint="0123456789abcdef",
    )
    return replace(run, **changes)


def runs(seconds: Sequence[float], **changes: Any) -> list[Run]:
    return [a_run(each, **changes) for each in seconds]
