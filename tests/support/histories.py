"""Runs of the past, made up: values for what is pure, records for what reads files."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

from seedlab.flow import Outcomes, Phase, Run, SeedReport, Settings, Span, StageReport
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records import history
from seedlab.insight.records.past import PastRun
from seedlab.insight.records.runs import Heading, build_run

BEGINNING = datetime(2026, 3, 1, 8, tzinfo=UTC)
MACHINE = {"cpu": "AMD EPYC", "cores": 2, "memory_bytes": 25_276_502_016, "os": "Linux 6.18 x86_64"}
OUTCOMES = {
    "cold": Outcomes(created=5321),
    "again": Outcomes(unchanged=5321),
    "changed": Outcomes(updated=3, unchanged=5318),
    None: Outcomes(),
}
PHASES = get_args(Phase)
HEBREW = "אקדמיה"
EVIL = "<script>console.error('no')</script>"


def started(number: int) -> str:
    """When the run of a number started: one each hour."""
    return (BEGINNING + timedelta(hours=number)).isoformat(timespec="milliseconds")


def past_of(number: int = 0, seconds: float = 1.0, **changes: Any) -> PastRun:
    """A cold run of the academy in PostgreSQL."""
    known: dict[str, Any] = {
        "path": Path(f"{number}.json"),
        "run_id": f"{number:08x}",
        "project": "academy",
        "started": started(number),
        "status": "succeeded",
        "exit_code": 0,
        "error": None,
        "level": "incremental",
        "disabled": (),
        "environment": "development",
        "target": "postgresql://me@localhost/academy",
        "machine": "AMD EPYC, 2 cores, 25 GB, Linux x86_64",
        "commit": None,
        "selection": "",
        "kind": "cold",
        "seconds": seconds,
        "outcomes": OUTCOMES["cold"],
        "statements": 41,
        "round_trips": 12,
        "peak_rss_bytes": 130_000_000,
        "phases": {"read": seconds / 4, "merge": seconds / 2},
    }
    return PastRun(**{**known, **changes})


def failed_of(number: int, **changes: Any) -> PastRun:
    """A run that failed."""
    return past_of(
        number, **{"status": "failed", "exit_code": 1, "kind": None, "error": "no answer", **changes}
    )


def run_of(number: int = 0, seconds: float = 1.0, kind: str | None = "cold", **changes: Any) -> Run:
    """A run of about the size of the academy's: 7 stages, 13 tables, 100 spans."""
    spans = tuple(
        Span(
            phase=phase, seconds=seconds / 100, cpu_seconds=seconds / 200, start=seconds * place / 100,
            stage=f"stage-{place % 7}", seed=f"seed-{place % 13}", table=f"table_{place % 13}",
            rows=409, statements=2, round_trips=1, bytes_sent=5_000, peak_rss_bytes=130_000_000,
        )
        for place, phase in enumerate(PHASES * 14 if kind == "cold" else ())
    )  # fmt: skip
    status = "run" if kind == "cold" else "skipped"
    stages = tuple(
        StageReport(
            id=f"stage-{place}", status=status, reason=f"760 rows from 0{place}-folder/file.csv",
            seconds=seconds / 10, outcomes=Outcomes(created=760), seeds=(SeedReport(name="seed", tables=()),),
        )
        for place in range(7)
    )  # fmt: skip
    heading = Heading(
        project="academy",
        target="postgresql://me@localhost/academy",
        settings=Settings(),
        args=("seedlab", "seed", "data"),
    )
    run = replace(
        build_run(Monitor(), heading, stages),
        run_id=f"{number:08x}",
        started=started(number),
        seconds=seconds,
        machine={**MACHINE, "python": "CPython 3.11.7"},
        outcomes=OUTCOMES[kind],
        spans=spans,
        commit="0badcafe" * 5,
    )
    if kind is None:
        run = replace(run, status="failed", exit_code=1, error="no answer")
    return replace(run, **changes)


def written(folder: Path, *runs: Run) -> Path:
    """Write the records of runs below a folder, and give the folder."""
    for run in runs:
        history.write(run, folder)
    return folder
