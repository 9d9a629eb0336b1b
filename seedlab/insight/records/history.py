"""Converts runs to records and back; one JSON file per run, in `reports/runs/<utc>-<id>/run.json`.

Schema version 2 added `commit`, `samples`, `bottlenecks`, `recommendations`, a span's `wal_bytes`, a seed's
`files`, and `round_trip_seconds` and `unindexed` of the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from seedlab.errors import Fault
from seedlab.flow import Counters, Outcomes, Run, SeedReport, StageReport, TableReport
from seedlab.insight.measuring.monitor import phase_totals
from seedlab.insight.measuring.spans import FIELDS
from seedlab.insight.records import files
from seedlab.insight.records.runs import SpansBySeed, spans_by_seed

if TYPE_CHECKING:
    from seedlab.flow import Plan, PlannedSeed, PlannedStage, RowChange, Span
    from seedlab.flow.evidence import Sample, UnindexedReference

SCHEMA_VERSION = 2
RECENT = 60  # how many of the newest records are read for predictions and advice
_Made = TypeVar("_Made")
_AS_THEY_ARE = (
    "run_id", "project", "started", "status", "exit_code", "level", "environment", "target", "settings",
    "machine", "versions", "data_fingerprint", "commit", "seconds", "peak_rss_bytes", "error",
)  # fmt: skip
# The names that make up nearly all of a record, but are not shown in lists of runs.
_LONG = frozenset({"spans", "samples", "stages", "errors"})
_FAULT_FIELDS = ("file", "line", "column", "table", "rule", "message", "path")


# ---- value → record -------------------------------------------------------------------------------------


def to_record(run: Run) -> dict[str, Any]:
    """Convert a run to its record: plain values for JSON, without the row values of faults."""
    return {
        "schema_version": SCHEMA_VERSION,
        **{name: getattr(run, name) for name in _AS_THEY_ARE},
        "args": list(run.args),
        "outcomes": asdict(run.outcomes),
        "database": _database_record(run),
        "cache": _cache_record(run.counters),
        "phases": phases_record(run.spans),
        "stages": [_stage_record(stage) for stage in run.stages],
        "errors": [fault_record(fault) for fault in run.faults],
        "notes": list(run.notes),
        # asdict makes deep copies, which would take three times as long, and there are many spans.
        "spans": [{name: getattr(span, name) for name in FIELDS} for span in run.spans],
        "samples": [_sample_record(sample) for sample in run.samples],
        "bottlenecks": [asdict(each) for each in run.bottlenecks],
        "recommendations": [asdict(each) for each in run.recommendations],
    }


def plan_record(run: Run, plan: Plan, *, show_values: bool = False) -> dict[str, Any]:
    """Convert a plan to a record in the shape of a run's, with the outcomes that are expected.

    The status of stages is `planned` or `skipped`.
    """
    planned = replace(run, status="planned", outcomes=plan.outcomes, notes=(*plan.notes, *run.notes))
    stages = [_planned_stage_record(stage) for stage in plan.stages]
    changes = [_change_record(change, show_values=show_values) for change in plan.changes]
    waves = [list(wave) for wave in plan.waves]
    return to_record(planned) | {"stages": stages, "waves": waves, "changes": changes}


def _change_record(change: RowChange, *, show_values: bool) -> dict[str, Any]:
    columns = [
        {"column": name, "old": old, "new": new} if show_values else {"column": name}
        for name, old, new in change.columns
    ]
    return {
        "file": change.file,
        "line": change.line,
        "table": change.table,
        "outcome": change.outcome,
        "columns": columns,
    }


def _sample_record(sample: Sample) -> dict[str, Any]:
    return {
        "at": sample.at,
        "rss_bytes": sample.rss_bytes,
        "wal_bytes": sample.wal_bytes,
        "waits": [[each.pid, each.what, each.holder] for each in sample.waits],
    }


def phases_record(spans: Iterable[Span]) -> list[dict[str, Any]]:
    """Return one entry per phase, with the fields of `PhaseTotal`, in the order of a run."""
    return [asdict(total) for total in phase_totals(spans)]


def fault_record(fault: Fault) -> dict[str, Any]:
    """Convert a fault to plain values, without the row's value and the source line."""
    return {name: getattr(fault, name) for name in _FAULT_FIELDS}


def _database_record(run: Run) -> dict[str, Any]:
    counters = run.counters
    return {
        "statements": counters.statements,
        "round_trips": counters.round_trips,
        "bytes_sent": counters.bytes_sent,
        "wal_bytes": run.wal_bytes,
        "round_trip_seconds": run.round_trip_seconds,
        "unindexed": [asdict(each) for each in run.unindexed],
    }


def _cache_record(counters: Counters) -> dict[str, int]:
    return {
        "hits": counters.cache_hits,
        "misses": counters.cache_misses,
        "queries": counters.cache_queries,
    }


def _stage_record(stage: StageReport) -> dict[str, Any]:
    return {
        "id": stage.id,
        "status": stage.status,
        "reason": stage.reason,
        "seconds": stage.seconds,
        "operations_per_second": stage.outcomes.total / stage.seconds if stage.seconds else 0.0,
        "outcomes": asdict(stage.outcomes),
        "seeds": [_seed_record(seed) for seed in stage.seeds],
    }


def _seed_record(seed: SeedReport) -> dict[str, Any]:
    return {
        "name": seed.name,
        "files": list(seed.files),
        "tables": [
            {"table": each.table, "key": list(each.key), "outcomes": asdict(each.outcomes)}
            for each in seed.tables
        ],
        "phases": phases_record(seed.spans),
    }


def _planned_stage_record(stage: PlannedStage) -> dict[str, Any]:
    return {
        "id": stage.id,
        "name": stage.name,
        "status": "skipped" if stage.status == "skipped" else "planned",
        "reason": stage.reason,
        "seconds": 0.0,
        "operations_per_second": 0.0,
        "outcomes": asdict(sum((t.outcomes for s in stage.seeds for t in s.tables), Outcomes())),
        "waits_for": list(stage.waits_for),
        "parallel": stage.parallel,
        "seeds": [_planned_seed_record(seed) for seed in stage.seeds],
    }


def _planned_seed_record(seed: PlannedSeed) -> dict[str, Any]:
    return {
        "name": seed.name,
        "files": list(seed.files),
        "priority": seed.priority,
        "tables": [asdict(table) for table in seed.tables],
        "phases": [],
    }


# ---- record → value -------------------------------------------------------------------------------------
# These functions import `flow.evidence` themselves, since every seed writes a record and need not import it.


def from_record(record: Mapping[str, Any]) -> Run:
    """Convert a record, perhaps of an older version, to the run; KeyError or TypeError if it is not one."""
    from seedlab.flow.evidence import Bottleneck, Recommendation, Span

    record = _upgraded(record)
    spans = tuple(Span(**span) for span in record["spans"])
    by_seed = spans_by_seed(spans)
    return Run(
        **{name: record[name] for name in _AS_THEY_ARE},
        args=tuple(record["args"]),
        outcomes=Outcomes(**record["outcomes"]),
        counters=_counters(record["database"], record["cache"]),
        wal_bytes=record["database"]["wal_bytes"],
        round_trip_seconds=record["database"].get("round_trip_seconds"),
        unindexed=tuple(_unindexed(each) for each in record["database"].get("unindexed", ())),
        spans=spans,
        stages=tuple(_stage(stage, by_seed) for stage in record["stages"]),
        faults=tuple(Fault(**fault) for fault in record["errors"]),
        notes=tuple(record["notes"]),
        samples=tuple(_sample(each) for each in record["samples"]),
        bottlenecks=tuple(Bottleneck(**each) for each in record["bottlenecks"]),
        recommendations=tuple(Recommendation(**each) for each in record["recommendations"]),
    )


def _unindexed(record: Mapping[str, Any]) -> UnindexedReference:
    from seedlab.flow.evidence import UnindexedReference

    # Records of older versions have the table's name alone, where a dot nearly always ends a schema.
    schema, _, relation = record["table"].rpartition(".")
    place = {"schema": schema, "relation": relation}
    return UnindexedReference(**{**place, **record, "columns": tuple(record["columns"])})


def _sample(record: Mapping[str, Any]) -> Sample:
    from seedlab.flow.evidence import Sample, Wait

    waits = tuple(
        Wait(pid=pid, what=what, holder=holder[0] if holder else "") for pid, what, *holder in record["waits"]
    )
    return Sample(at=record["at"], rss_bytes=record["rss_bytes"], wal_bytes=record["wal_bytes"], waits=waits)


def _upgraded(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Convert a record of an older version to the present shape; what it lacks is empty."""
    if record["schema_version"] < 2:
        empty: dict[str, list[object]] = {"samples": [], "bottlenecks": [], "recommendations": []}
        return {**record, "schema_version": 2, "commit": None, **empty}
    return record


def _counters(database: Mapping[str, int], cache: Mapping[str, int]) -> Counters:
    return Counters(
        statements=database["statements"],
        round_trips=database["round_trips"],
        bytes_sent=database["bytes_sent"],
        cache_hits=cache["hits"],
        cache_misses=cache["misses"],
        cache_queries=cache["queries"],
    )


def _stage(record: Mapping[str, Any], spans: SpansBySeed) -> StageReport:
    return StageReport(
        id=record["id"],
        status=record["status"],
        reason=record["reason"],
        seconds=record["seconds"],
        outcomes=Outcomes(**record["outcomes"]),
        seeds=tuple(_seed(seed, spans[record["id"], seed["name"]]) for seed in record["seeds"]),
    )


def _seed(record: Mapping[str, Any], spans: tuple[Span, ...]) -> SeedReport:
    tables = tuple(
        TableReport(table=each["table"], key=tuple(each["key"]), outcomes=Outcomes(**each["outcomes"]))
        for each in record["tables"]
    )
    files = tuple(record.get("files", ()))
    return SeedReport(name=record["name"], tables=tables, spans=spans, files=files)


# ---- files ----------------------------------------------------------------------------------------------


def folder_of(reports: Path, started: str, run_id: str) -> Path:
    """Return the path of a run's folder; `started` is UTC, ISO 8601."""
    return reports / "runs" / files.folder_name(datetime.fromisoformat(started), run_id)


def write(run: Run, reports: Path) -> Path:
    """Write the record of a run below `reports` and return its path."""
    return files.write(to_record(run), folder_of(reports, run.started, run.run_id) / "run.json", "run record")


def read(path: Path) -> Run:
    """Read a run record. Raises ConfigurationError for a newer schema, and for a file that is no record."""
    return files.read(path, from_record, what="run record", version=SCHEMA_VERSION)


def read_head(path: Path, make: Callable[[Mapping[str, Any]], _Made]) -> _Made:
    """Read a record without stages, errors, spans and samples, and convert it by `make`; raises as `read`.

    Takes about 0.1 ms, a tenth of the time of the whole record. Damage to what is left out is not noticed.
    """
    return files.read(
        path,
        lambda head: make(_upgraded(head)),
        what="run record",
        version=SCHEMA_VERSION,
        parse=partial(files.parse_without, _LONG),
    )


def newest(reports: Path, limit: int = RECENT) -> list[Run]:
    """Read the newest records below `reports`, newest last; skip those that cannot be read."""
    found = files.read_newest((reports / "runs").glob("*/run.json"), read, limit)
    return sorted(found, key=lambda run: run.started)  # as the names of folders have only seconds
