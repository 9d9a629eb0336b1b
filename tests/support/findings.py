"""Runs as a record has them, made up: what findings must say of them is known beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from seedlab.flow import Counters, Outcomes, Phase, Run, Settings, Span
from seedlab.flow.evidence import Sample, Wait
from seedlab.insight.records.runs import settings_record

POSTGRES, SQLITE = "postgresql://u@db/app", "sqlite:///app.db"


def run_of(spans: Iterable[Span], seconds: float, samples: Iterable[Sample] = (), **others: Any) -> Run:
    """A run that succeeded; round trips outside its spans are those of `round_trips`."""
    spans = tuple(spans)
    settings = Settings(
        level=others.get("level", "incremental"), disabled=others.pop("disabled", frozenset())
    )
    outside = others.pop("round_trips", 0)
    counters = Counters(
        statements=sum(span.statements for span in spans) + outside,
        round_trips=sum(span.round_trips for span in spans) + outside,
    )
    given: dict[str, Any] = {
        "run_id": "0badcafe", "project": "app", "started": "2026-03-01T12:00:00.000+00:00",
        "args": ("seedlab", "seed", "app"), "status": "succeeded", "exit_code": 0, "level": "incremental",
        "environment": "development", "target": POSTGRES, "settings": settings_record(settings),
        "machine": {"cores": 2}, "versions": {}, "data_fingerprint": "ab", "seconds": seconds,
        "outcomes": Outcomes(created=100), "counters": counters, "wal_bytes": None, "peak_rss_bytes": 1,
        "spans": spans, "stages": (), "samples": tuple(samples),
    }  # fmt: skip
    return Run(**{**given, **others})


def span(
    phase: Phase,
    start: float,
    seconds: float,
    *,
    cpu: float = 0.0,
    trips: int = 0,
    lane: int = 0,
    **others: Any,
) -> Span:
    """A piece of work of the program, or with `trips` one of the server's."""
    return Span(
        phase=phase, start=start, seconds=seconds, cpu_seconds=cpu, lane=lane,
        round_trips=trips, statements=others.pop("statements", trips), **others,
    )  # fmt: skip


def looks(begin: float, end: float, *whats: str, every: float = 0.05) -> list[Sample]:
    """Samples at even distances, each of connections that do these things."""
    waits = tuple(Wait(pid=pid, what=what) for pid, what in enumerate(whats, start=1))
    count = round((end - begin) / every)
    return [Sample(at=begin + n * every, rss_bytes=1, waits=waits) for n in range(count)]
