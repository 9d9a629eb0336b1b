"""Reports a run: what became of every row, by stage, seed and table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from seedlab.flow import (
    Catalog,
    Outcomes,
    Run,
    Seed,
    SeedReport,
    Stage,
    StageReport,
    TableReport,
    Tally,
)
from seedlab.insight.formatting.text import several
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records import runs
from seedlab.insight.records.runs import Heading, SpansBySeed
from seedlab.steps.agenda import Task


def seed_run(
    task: Task,
    skipped: Mapping[str, str],
    tallies: Sequence[Tally],
    monitor: Monitor,
    heading: Heading,
    failed: Mapping[str, str],
) -> Run:
    """Make the record of a seed; `skipped` says why stages did not run, `failed` why others were undone."""
    by_seed = runs.spans_by_seed(monitor.spans)
    reports = tuple(
        _undone_stage(stage, task, failed[stage.id], by_seed)
        if stage.id in failed
        else _stage_report(stage, task, skipped, tallies, by_seed)
        for stage in task.agenda.declared
    )
    return runs.build_run(monitor, heading, reports)


def undo_run(run_id: str, tallies: Sequence[Tally], monitor: Monitor, heading: Heading) -> Run:
    """Make the record of an undo: what was deleted, by stage."""
    stages = []
    for name in dict.fromkeys(each.stage for each in tallies):
        of_stage = [each for each in tallies if each.stage == name]
        outcomes = sum((each.outcomes for each in of_stage), Outcomes())
        seeds = tuple(
            SeedReport(name=seed, tables=_table_reports(seed, of_stage))
            for seed in dict.fromkeys(each.seed for each in of_stage)
        )
        stages.append(
            StageReport(
                id=name, status="run", reason="rows that seedlab made", outcomes=outcomes, seeds=seeds
            )
        )
    return replace(runs.build_run(monitor, heading, tuple(stages)), run_id=run_id)


def with_unindexed_references(run: Run, catalog: Catalog) -> Run:
    """Add to the run the foreign keys without an index whose parents lost rows.

    Without the index, every delete had to read the whole child table.
    """
    if not run.outcomes.deleted:
        return run
    from seedlab.flow.evidence import UnindexedReference  # a run with nothing to do does not need it

    deleted: Counter[str] = Counter()
    for each in (each for stage in run.stages for seed in stage.seeds for each in seed.tables):
        deleted[each.table] += each.outcomes.deleted
    found = tuple(
        UnindexedReference(
            table=child.name,
            schema=child.schema,
            relation=child.relation,
            columns=key.columns,
            parent=key.parent,
            deleted=deleted[key.parent],
        )
        for child in catalog.tables.values()
        for key in child.foreign_keys
        if deleted[key.parent] and not key.indexed
    )
    return replace(run, unindexed=found)


def _stage_report(
    stage: Stage, task: Task, skipped: Mapping[str, str], tallies: Sequence[Tally], spans: SpansBySeed
) -> StageReport:
    left_out = task.agenda.left_out
    if stage.id in left_out:
        return StageReport(id=stage.id, status="skipped", reason=left_out[stage.id])
    of_stage = [each for each in tallies if each.stage == stage.id]
    outcomes = sum((each.outcomes for each in of_stage), Outcomes())
    seeds = tuple(
        _seed_report(seed, of_stage, spans) for seed in stage.seeds if not is_seed_left_out(seed, left_out)
    )
    status: Literal["run", "skipped"] = "skipped" if stage.id in skipped else "run"
    return StageReport(
        id=stage.id,
        status=status,
        reason=skipped[stage.id] if status == "skipped" else _reason(stage, task, outcomes),
        seconds=_seconds(stage, spans),
        outcomes=outcomes,
        seeds=seeds,
    )


def _undone_stage(stage: Stage, task: Task, reason: str, spans: SpansBySeed) -> StageReport:
    seeds = (seed for seed in stage.seeds if not is_seed_left_out(seed, task.agenda.left_out))
    return StageReport(
        id=stage.id,
        status="failed",
        reason=reason,
        seconds=_seconds(stage, spans),
        seeds=tuple(_seed_report(seed, (), spans) for seed in seeds),
    )


def _seconds(stage: Stage, spans: SpansBySeed) -> float:
    return sum(span.seconds for (name, _), some in spans.items() if name == stage.id for span in some)


def _reason(stage: Stage, task: Task, outcomes: Outcomes) -> str:
    """Say why a stage ran: what changed, or that all its files were seeded."""
    left_out = task.agenda.left_out
    reason = task.assessment.verdicts[stage.id].reason
    changed = outcomes.created + outcomes.updated + outcomes.deleted
    if reason:
        text = f"{reason} ({several(changed, 'row')})"
    else:
        text = f"{several(outcomes.total, 'row')} from {_files(stage, left_out)}"
    return "; ".join(filter(None, (text, left_out_note(stage, left_out))))


def is_seed_left_out(seed: Seed, left_out: Mapping[str, str]) -> bool:
    """Tell whether a seed is left out, though its stage runs."""
    return f"{seed.stage}.{seed.name}" in left_out


def left_out_note(stage: Stage, left_out: Mapping[str, str]) -> str:
    """Name the seeds of a running stage that do not run, and why."""
    skipped = [seed.name for seed in stage.seeds if is_seed_left_out(seed, left_out)]
    return f"without {', '.join(skipped)}: {left_out[f'{stage.id}.{skipped[0]}']}" if skipped else ""


def _files(stage: Stage, left_out: Mapping[str, str]) -> str:
    names = [file.name for seed in stage.seeds if not is_seed_left_out(seed, left_out) for file in seed.files]
    return names[0] if len(names) == 1 else f"{len(names)} files"


def _seed_report(seed: Seed, tallies: Sequence[Tally], spans: SpansBySeed) -> SeedReport:
    tables = _table_reports(seed.name, tallies)
    return SeedReport(
        name=seed.name,
        tables=tables,
        spans=spans[seed.stage, seed.name],
        files=tuple(file.name for file in seed.files),
    )


def _table_reports(seed: str, tallies: Sequence[Tally]) -> tuple[TableReport, ...]:
    return tuple(
        TableReport(table=each.table, key=each.key, outcomes=each.outcomes)
        for each in tallies
        if each.seed == seed
    )
