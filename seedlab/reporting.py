"""The last part of a run or plan: what became of every row, by stage, seed and table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from seedlab.flow import (
    Load,
    Options,
    Outcomes,
    Plan,
    PlannedSeed,
    PlannedStage,
    PlannedTable,
    Project,
    Run,
    Seed,
    SeedReport,
    Span,
    Stage,
    StageReport,
    TableReport,
    Target,
    Written,
)
from seedlab.insight import runs
from seedlab.insight.monitor import Monitor
from seedlab.insight.runs import Heading
from seedlab.insight.text import several
from seedlab.plan.graph import ancestors, waves


def run_of(
    stages: Sequence[Stage],
    left_out: Mapping[str, str],
    written: Sequence[Written],
    heading: Heading,
    monitor: Monitor,
) -> Run:
    """Make the run of a seed that succeeded; `written` may answer a load in several pieces."""
    spans = monitor.spans
    by_load: dict[tuple[str, str, str], Written] = {}
    for each in written:
        key = (each.load.stage, each.load.seed, each.load.table)
        before = by_load.get(key)
        total = each.outcomes + before.outcomes if before else each.outcomes
        by_load[key] = Written(load=each.load, outcomes=total)
    reports = tuple(_stage_report(stage, left_out, list(by_load.values()), spans) for stage in stages)
    return runs.measured(monitor, heading, reports)


def _stage_report(
    stage: Stage, left_out: Mapping[str, str], written: Sequence[Written], spans: Sequence[Span]
) -> StageReport:
    if stage.id in left_out:
        return StageReport(id=stage.id, status="skipped", reason=left_out[stage.id])
    mine = [each for each in written if each.load.stage == stage.id]
    seeds = tuple(_seed_report(seed, mine, spans) for seed in stage.seeds if not _skipped(seed, left_out))
    outcomes = sum((each.outcomes for each in mine), Outcomes())
    without = _skipped_seeds(stage, left_out)
    reason = (
        f"{several(outcomes.total, 'row')} from {_files(stage, left_out)}{f'; {without}' if without else ''}"
    )
    seconds = sum(span.seconds for span in spans if span.stage == stage.id)
    return StageReport(
        id=stage.id, status="run", reason=reason, seconds=seconds, outcomes=outcomes, seeds=seeds
    )


def _skipped(seed: Seed, left_out: Mapping[str, str]) -> bool:
    return f"{seed.stage}.{seed.name}" in left_out


def _skipped_seeds(stage: Stage, left_out: Mapping[str, str]) -> str:
    """Name the seeds of a running stage that do not run, and why."""
    skipped = [seed.name for seed in stage.seeds if _skipped(seed, left_out)]
    return f"without {', '.join(skipped)}: {left_out[f'{stage.id}.{skipped[0]}']}" if skipped else ""


def _files(stage: Stage, left_out: Mapping[str, str]) -> str:
    names = [file.name for seed in stage.seeds if not _skipped(seed, left_out) for file in seed.files]
    return names[0] if len(names) == 1 else f"{len(names)} files"


def _seed_report(seed: Seed, written: Sequence[Written], spans: Sequence[Span]) -> SeedReport:
    tables = tuple(
        TableReport(table=each.load.table, key=spelled_key(each.load), outcomes=each.outcomes)
        for each in written
        if each.load.seed == seed.name
    )
    return SeedReport(name=seed.name, tables=tables, spans=runs.spans_of(spans, seed.stage, seed.name))


def spelled_key(load: Load) -> tuple[str, ...]:
    """Spell a key as the files do: `faculty.university.slug`, `faculty.code`, `code`."""
    names: list[str] = []
    for part in load.key:
        names += part.reference.sources() if part.reference is not None else (part.source or "",)
    return tuple(names)


def plan_of(
    project: Project,
    target: Target,
    options: Options,
    stages: Sequence[Stage],
    left_out: Mapping[str, str],
    rows: Mapping[Load, int],
    empty: frozenset[str],
    key_origins: Mapping[str, str],
) -> Plan:
    """Make the plan: stages in writing order, keys and why, what runs side by side, what is skipped.

    `rows` counts the rows of every load, `empty` names the tables without rows.
    """
    running = [stage for stage in stages if stage.id not in left_out]
    tables = [
        (
            load,
            PlannedTable(
                table=load.table,
                rows=count,
                key=spelled_key(load),
                origin=key_origins.get(load.table, ""),
                strategy=_strategy(empty.issuperset(each.table for each in rows), options),
            ),
        )
        for load, count in rows.items()
    ]
    before = ancestors(stages)
    planned = tuple(_planned_stage(stage, left_out, tables, before) for stage in stages)
    return Plan(
        project=project.name,
        target=target.shown,
        environment=options.environment.name,
        level=options.settings.level,
        stages=planned,
        waves=waves([replace(s, dependencies=_among(s.dependencies, running)) for s in running]),
    )


def _among(names: Sequence[str], stages: Sequence[Stage]) -> tuple[str, ...]:
    known = {stage.id for stage in stages}
    return tuple(name for name in names if name in known)


def _planned_stage(
    stage: Stage,
    left_out: Mapping[str, str],
    tables: Sequence[tuple[Load, PlannedTable]],
    before: Mapping[str, frozenset[str]],
) -> PlannedStage:
    seeds = tuple(
        PlannedSeed(
            name=seed.name,
            files=tuple(file.name for file in seed.files),
            tables=tuple(table for load, table in tables if (load.stage, load.seed) == (stage.id, seed.name)),
            priority=seed.priority,
        )
        for seed in stage.seeds
        if stage.id not in left_out and not _skipped(seed, left_out)
    )
    return PlannedStage(
        id=stage.id,
        name=stage.name,
        status="skipped" if stage.id in left_out else "run",
        reason=left_out.get(stage.id, _skipped_seeds(stage, left_out)),
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
