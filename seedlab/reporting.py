"""The last part of a run or plan: what became of every row, by stage, seed and table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from seedlab.agenda import Task
from seedlab.flow import (
    Catalog,
    Options,
    Outcomes,
    Plan,
    PlannedSeed,
    PlannedStage,
    PlannedTable,
    Run,
    Seed,
    SeedReport,
    Stage,
    StageReport,
    TableReport,
    Tally,
    Target,
)
from seedlab.insight.faces.text import several
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records import runs
from seedlab.insight.records.runs import Heading, SpansBySeed
from seedlab.plan.graph import ancestors, waves

if TYPE_CHECKING:
    from seedlab.flow import Load
    from seedlab.previewing import Previewed


def run_of(
    task: Task,
    skipped: Mapping[str, str],
    tallies: Sequence[Tally],
    monitor: Monitor,
    heading: Heading,
    failed: Mapping[str, str],
) -> Run:
    """Make the run of a seed; `skipped` says why stages were not written, `failed` why others were undone."""
    by_seed = runs.spans_by_seed(monitor.spans)
    reports = tuple(
        _undone_stage(stage, task, failed[stage.id], by_seed)
        if stage.id in failed
        else _stage_report(stage, task, skipped, tallies, by_seed)
        for stage in task.agenda.declared
    )
    return runs.measured(monitor, heading, reports)


def undone(run_id: str, tallies: Sequence[Tally], monitor: Monitor, heading: Heading) -> Run:
    """Make the run of an undo: what was deleted, by stage."""
    stages = []
    for name in dict.fromkeys(each.stage for each in tallies):
        mine = [each for each in tallies if each.stage == name]
        outcomes = sum((each.outcomes for each in mine), Outcomes())
        seeds = tuple(
            SeedReport(name=seed, tables=_table_reports(seed, mine))
            for seed in dict.fromkeys(each.seed for each in mine)
        )
        stages.append(
            StageReport(
                id=name, status="run", reason="rows that seedlab made", outcomes=outcomes, seeds=seeds
            )
        )
    return replace(runs.measured(monitor, heading, tuple(stages)), run_id=run_id)


def unindexed(run: Run, catalog: Catalog) -> Run:
    """Note foreign keys without an index whose parents lost rows: each cost a pass over the child's."""
    if not run.outcomes.deleted:
        return run
    from seedlab.flow.evidence import UnindexedReference  # a run with nothing to do is spared it

    deleted: Counter[str] = Counter()
    for each in (each for stage in run.stages for seed in stage.seeds for each in seed.tables):
        deleted[each.table] += each.outcomes.deleted
    found = tuple(
        UnindexedReference(
            table=child.name, columns=key.columns, parent=key.parent, deleted=deleted[key.parent]
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
    mine = [each for each in tallies if each.stage == stage.id]
    outcomes = sum((each.outcomes for each in mine), Outcomes())
    seeds = tuple(_seed_report(seed, mine, spans) for seed in stage.seeds if not _skipped(seed, left_out))
    status: Literal["run", "skipped"] = "skipped" if stage.id in skipped else "run"
    return StageReport(
        id=stage.id,
        status=status,
        reason=skipped[stage.id] if status == "skipped" else _why(stage, task, outcomes),
        seconds=_seconds(stage, spans),
        outcomes=outcomes,
        seeds=seeds,
    )


def _undone_stage(stage: Stage, task: Task, reason: str, spans: SpansBySeed) -> StageReport:
    seeds = (seed for seed in stage.seeds if not _skipped(seed, task.agenda.left_out))
    return StageReport(
        id=stage.id,
        status="failed",
        reason=reason,
        seconds=_seconds(stage, spans),
        seeds=tuple(_seed_report(seed, (), spans) for seed in seeds),
    )


def _seconds(stage: Stage, spans: SpansBySeed) -> float:
    return sum(span.seconds for (name, _), some in spans.items() if name == stage.id for span in some)


def _why(stage: Stage, task: Task, outcomes: Outcomes) -> str:
    """Say why a stage ran: what changed, or all that it brings."""
    left_out = task.agenda.left_out
    reason = task.standing.verdicts[stage.id].reason
    changed = outcomes.created + outcomes.updated + outcomes.deleted
    if reason:
        why = f"{reason} ({several(changed, 'row')})"
    else:
        why = f"{several(outcomes.total, 'row')} from {_files(stage, left_out)}"
    without = _skipped_seeds(stage, left_out)
    return f"{why}; {without}" if without else why


def _skipped(seed: Seed, left_out: Mapping[str, str]) -> bool:
    return f"{seed.stage}.{seed.name}" in left_out


def _skipped_seeds(stage: Stage, left_out: Mapping[str, str]) -> str:
    """Name the seeds of a running stage that do not run, and why."""
    skipped = [seed.name for seed in stage.seeds if _skipped(seed, left_out)]
    return f"without {', '.join(skipped)}: {left_out[f'{stage.id}.{skipped[0]}']}" if skipped else ""


def _files(stage: Stage, left_out: Mapping[str, str]) -> str:
    names = [file.name for seed in stage.seeds if not _skipped(seed, left_out) for file in seed.files]
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


def plan_of(task: Task, target: Target, previewed: Previewed) -> Plan:
    """Make the plan: stages in writing order, keys and why, what runs side by side, what is skipped."""
    options, stages = task.options, task.agenda.declared
    left_out = {**task.agenda.left_out, **task.standing.skipped(task.memory)}
    running = [stage for stage in stages if stage.id not in left_out]
    all_empty = previewed.empty.issuperset(each.load.table for each in previewed.classified)
    tables: list[tuple[Load | Tally, PlannedTable]] = [
        (
            each.load,
            PlannedTable(
                table=each.load.table,
                rows=each.outcomes.total - each.outcomes.deleted,
                key=each.load.spelled_key,
                origin=previewed.key_origins.get(each.load.table, ""),
                strategy=_strategy(all_empty, options),
                outcomes=each.outcomes,
            ),
        )
        for each in previewed.classified
    ]
    tables += [
        (
            each,
            PlannedTable(
                table=each.table, rows=0, key=each.key, origin="", strategy="", outcomes=each.outcomes
            ),
        )
        for each in previewed.left
    ]
    before = ancestors(stages)
    verdicts = task.standing.verdicts
    reasons = {name: each.reason for name, each in verdicts.items() if each.reason}
    by_seed: defaultdict[tuple[str, str], list[PlannedTable]] = defaultdict(list)
    for load, table in tables:
        by_seed[load.stage, load.seed].append(table)
    planned = tuple(_planned_stage(stage, left_out, reasons, by_seed, before) for stage in stages)
    return Plan(
        project=task.project.name,
        target=target.shown,
        environment=options.environment.name,
        level=options.settings.level,
        stages=planned,
        outcomes=sum((table.outcomes for _, table in tables), Outcomes()),
        changes=previewed.changes,
        waves=waves([replace(s, dependencies=_among(s.dependencies, running)) for s in running]),
    )


def _among(names: Sequence[str], stages: Sequence[Stage]) -> tuple[str, ...]:
    known = {stage.id for stage in stages}
    return tuple(name for name in names if name in known)


def _planned_stage(
    stage: Stage,
    left_out: Mapping[str, str],
    reasons: Mapping[str, str],
    tables: Mapping[tuple[str, str], Sequence[PlannedTable]],
    before: Mapping[str, frozenset[str]],
) -> PlannedStage:
    seeds = tuple(
        PlannedSeed(
            name=seed.name,
            files=tuple(file.name for file in seed.files),
            tables=tuple(tables[stage.id, seed.name]),
            priority=seed.priority,
        )
        for seed in stage.seeds
        if stage.id not in left_out and not _skipped(seed, left_out)
    )
    return PlannedStage(
        id=stage.id,
        name=stage.name,
        status="skipped" if stage.id in left_out else "run",
        reason=left_out.get(stage.id)
        or "; ".join(filter(None, (reasons.get(stage.id), _skipped_seeds(stage, left_out)))),
        waits_for=tuple(each for each in stage.dependencies if each in before),
        seeds=seeds,
        parallel=stage.parallel,
    )


def _strategy(all_empty: bool, options: Options) -> str:
    if options.settings.level == "legacy":
        return "row by row: find, then insert or update"
    if "copy" not in options.settings.switches:
        return "multi-row statements"
    return "copy into the empty table" if all_empty else "merge: insert new, update different"
