"""Formats runs, plans, faults and projects as plain text for a terminal. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, groupby
from typing import TYPE_CHECKING

from seedlab.errors import Fault
from seedlab.flow import Outcomes, Project, Run, Seed, StageReport
from seedlab.insight.formatting.text import (
    duration,
    isolate,
    listed,
    paragraphs,
    printable,
    several,
    size,
    table,
)
from seedlab.insight.measuring.monitor import phase_totals

if TYPE_CHECKING:
    from seedlab.flow import Plan, PlannedStage, PlannedTable, RowChange

MARKS = {"run": "✓", "planned": "+", "skipped": "-", "failed": "✗"}
_NAMES = ("created", "updated", "unchanged", "deleted", "rejected")
_CHANGES_SHOWN, _FAULTS_SHOWN = 200, 50
_VALUE_SHOWN = 400  # the most characters of a value, which may be very long


# ---- a run ----------------------------------------------------------------------------------------------


def summary(run: Run, width: int = 120) -> str:
    """Format the summary of a run: stages, totals, costs, phases, bottleneck, notes, target."""
    phases = [f"{total.name} {duration(total.seconds)}" for total in phase_totals(run.spans)]
    blocks = [
        [destination(run.project, run.target), f"{run.environment}, {run.level}"],
        stage_lines(run, width),
        [total_line(run), *listed(costs(run), width), *listed(phases, width), *_finding_lines(run, width)],
        [f"! {printable(note)}" for note in run.notes],
        [run.target],
    ]
    return paragraphs(blocks)


def outcome_line(run: Run, why: str) -> str:
    """Format the reason and the outcome of a repeated run as one line, and its notes, one line each."""
    outcome = f"{why}: {outcomes_text(run.outcomes)} in {duration(run.seconds)}"
    return "\n".join([outcome, *(f"! {printable(note)}" for note in run.notes)]) + "\n"


def destination(project: str, target: str) -> str:
    """Word which project goes to which target."""
    return f"{isolate(printable(project))} → {target}"


def stage_lines(run: Run, cells: int) -> list[str]:
    """Format the stages of a run as a table, with reasons, outcomes and times.

    The times are those of work on one stage alone, so rows per second are given for the run only.
    """
    if not run.stages:
        return []
    shown = [name for name in _NAMES if getattr(run.outcomes, name)]
    head = ["", "stage", "why", *shown, "time"]
    rows = [_stage_row(stage, shown) for stage in run.stages]
    return table([head, *rows], "<<<" + ">" * (len(shown) + 1), cells=cells, flexible=2)


def _stage_row(stage: StageReport, shown: Sequence[str]) -> list[str]:
    timed = stage.status != "skipped" and stage.seconds > 0
    return [
        MARKS[stage.status],
        printable(stage.id),
        printable(stage.reason),
        *(_count(getattr(stage.outcomes, name)) for name in shown),
        duration(stage.seconds) if timed else "",
    ]


def _count(number: int) -> str:
    return f"{number:,}" if number else "·"


def total_line(run: Run) -> str:
    """Word the total outcomes of a run, with its time."""
    outcomes = run.outcomes
    spelled = outcomes_text(outcomes)
    rate = f", {outcomes.total / run.seconds:,.0f} rows/s" if run.seconds and _touched(outcomes) else ""
    return f"{several(outcomes.total, 'row')} in {duration(run.seconds)}: {spelled}{rate}"


def outcomes_text(outcomes: Outcomes) -> str:
    """Word the outcomes that are not zero."""
    counts = _counts(outcomes, _NAMES)
    return ", ".join(counts if _touched(outcomes) else ["nothing to do", *counts])


def _counts(outcomes: Outcomes, names: Iterable[str]) -> list[str]:
    return [f"{count:,} {name}" for name in names if (count := getattr(outcomes, name))]


def _touched(outcomes: Outcomes) -> bool:
    return outcomes.total != outcomes.unchanged


def costs(run: Run) -> list[str]:
    """Word what a run cost the database: statements, round trips, bytes, WAL, look-ups."""
    counters = run.counters
    parts = [several(counters.statements, "statement"), several(counters.round_trips, "round trip")]
    if counters.bytes_sent:
        parts.append(f"{size(counters.bytes_sent)} sent")
    if run.wal_bytes is not None:
        parts.append(f"{size(run.wal_bytes)} of WAL")
    lookups = counters.cache_hits + counters.cache_misses
    if lookups:
        parts.append(f"{counters.cache_hits:,} of {several(lookups, 'look-up')} from the cache")
    return parts


def _finding_lines(run: Run, cells: int) -> list[str]:
    if not run.bottlenecks:
        return []
    from seedlab.insight.judging.findings import headline  # not needed by a run with nothing to do

    return headline(run, cells)


# ---- a plan ---------------------------------------------------------------------------------------------


def plan_text(plan: Plan, width: int = 120) -> str:
    """Format a plan: each stage, and its tables with rows, key, outcomes and strategy."""
    wave_of = {stage: number for number, wave in enumerate(plan.waves, start=1) for stage in wave}
    blocks = [[destination(plan.project, plan.target), f"{plan.environment}, {plan.level}"]]
    for skipped, stages in groupby(plan.stages, key=lambda stage: stage.status == "skipped"):
        lines = [[_planned_stage_line(each, wave_of), *_planned_table_lines(each, width)] for each in stages]
        blocks += [list(chain(*lines))] if skipped else lines
    blocks.append([_plan_total(plan)])
    blocks.append([f"! {printable(note)}" for note in plan.notes])
    return paragraphs(blocks)


def _planned_stage_line(stage: PlannedStage, wave_of: Mapping[str, int]) -> str:
    name = isolate(printable(stage.id))
    reason = f": {printable(stage.reason)}" if stage.reason else ""
    if stage.status == "skipped":
        return f"{MARKS['skipped']} {name} skipped{reason}"
    wave = f"wave {wave_of[stage.id]}" if stage.id in wave_of else ""
    after = f"after {', '.join(map(printable, stage.waits_for))}" if stage.waits_for else ""
    how = ", ".join(filter(None, (wave, after, "" if stage.parallel else "alone")))
    return f"{MARKS['planned']} {name}{reason}" + (f" ({how})" if how else "")


def tables_of(stage: PlannedStage) -> list[PlannedTable]:
    """Return the tables that a stage would write, each once with its sums; none if it is skipped."""
    tables: dict[tuple[str, tuple[str, ...], str], PlannedTable] = {}
    for each in (each for seed in stage.seeds for each in seed.tables):
        nothing = replace(each, rows=0, outcomes=Outcomes())
        known = tables.setdefault((each.table, each.key, each.strategy), nothing)
        tables[each.table, each.key, each.strategy] = replace(
            known, rows=known.rows + each.rows, outcomes=known.outcomes + each.outcomes
        )
    return [] if stage.status == "skipped" else list(tables.values())


def _planned_table_lines(stage: PlannedStage, cells: int) -> list[str]:
    rows = [
        [
            "   ",
            printable(each.table),
            several(each.rows, "row"),
            f"by {printable(', '.join(each.key))}",
            changes_of(each.outcomes),
            printable(each.strategy),
            f"key: {printable(each.origin)}" if each.origin else "",
        ]
        for each in tables_of(stage)
    ]
    return table(rows, "<<><<<<", cells=cells, flexible=6, spare=(6, 5))


def changes_of(outcomes: Outcomes) -> str:
    """Word the outcomes that are changes."""
    return ", ".join(_counts(outcomes, (name for name in _NAMES if name != "unchanged"))) or "unchanged"


def _plan_total(plan: Plan) -> str:
    run = [stage for stage in plan.stages if stage.status == "run"]
    rows = sum(each.rows for stage in run for each in tables_of(stage))
    skipped = len(plan.stages) - len(run)
    if not run:
        return f"nothing to do: {several(skipped, 'stage')} skipped"
    rest = f", {skipped} skipped" if skipped else ""
    return f"{several(rows, 'row')} in {several(len(run), 'stage')}{rest}: {outcomes_text(plan.outcomes)}"


def changes_text(changes: Sequence[RowChange], *, show_values: bool) -> str:
    """Format the rows that would change, one per line; values only with `show_values`."""
    lines = [_change_line(each, show_values=show_values) for each in changes[:_CHANGES_SHOWN]]
    if len(changes) > _CHANGES_SHOWN:
        lines.append(f"… and {len(changes) - _CHANGES_SHOWN:,} more; --json lists all")
    return "\n" + "\n".join(lines) + "\n" if lines else ""


def _change_line(change: RowChange, *, show_values: bool) -> str:
    place = ":".join(str(part) for part in (change.file, change.line) if part is not None)
    names = [
        f"{printable(name)} {_value(old)} → {_value(new)}" if show_values else printable(name)
        for name, old, new in change.columns
    ]
    columns = f": {', '.join(names)}" if names else ""
    return f"{place}: {printable(change.table)} {change.outcome}{columns}"


def _value(text: str | None) -> str:
    return "NULL" if text is None else f"'{_shortened_value(text)}'"


def _shortened_value(value: str) -> str:
    """Cut a long value, and say how long it is."""
    if len(value) <= _VALUE_SHOWN:
        return printable(value)
    return f"{printable(value[:_VALUE_SHOWN])}… ({len(value):,} characters)"


# ---- faults ---------------------------------------------------------------------------------------------


def faults_text(faults: Sequence[Fault], *, show_values: bool = False, width: int = 120) -> str:
    """Format faults with their source lines; row values are shown only with `show_values`.

    Faults beyond the first fifty are only counted by rule.
    """
    shown = [_fault_text(fault, show_values=show_values, cells=width) for fault in faults[:_FAULTS_SHOWN]]
    remaining: Counter[str] = Counter()
    for fault in faults[_FAULTS_SHOWN:]:
        remaining[fault.rule] += fault.count
    if remaining:
        rules = ", ".join(f"{count:,} {rule}" for rule, count in remaining.most_common())
        listed = "more" if remaining.total() > len(faults[_FAULTS_SHOWN:]) else "all"
        shown.append(f"… and {remaining.total():,} more: {rules}; --json lists {listed}")
    return "\n\n".join(shown) + "\n" if shown else ""


def _fault_text(fault: Fault, *, show_values: bool, cells: int) -> str:
    from seedlab.insight.formatting.excerpts import excerpt_lines  # not needed by a run without faults

    place = ":".join(str(part) for part in (fault.file, fault.line) if part is not None)
    head = ": ".join(filter(None, (place, fault.rule, fault.message)))
    named = (("table", fault.table), ("column", fault.column), ("at", fault.path))
    where = ", ".join(f"{noun} {name}" for noun, name in named if name)
    lines = [printable(head), *([f"    {printable(where)}"] if where else [])]
    lines += excerpt_lines(fault, show_values=show_values, cells=cells)
    if show_values and fault.value is not None:
        lines.append(f"    value: {_shortened_value(fault.value)}")
    return "\n".join(lines)


# ---- a project ------------------------------------------------------------------------------------------


def project_text(project: Project, width: int = 120) -> str:
    """Format the seeds of a project, with their stages, tables, tags, environments and files.

    Tags and environments are left out if no seed has any. They and then the tables, which a plan shows, are
    left out if there is no room for them.
    """
    head = ["stage", "seed", "tables", "tags", "environments", "files"]
    rows = [_seed_row(seed) for seed in project.every_seed]
    defaults = {3: "·", 4: "all"}
    shown = [n for n in range(6) if any(row[n] != defaults.get(n) for row in rows)] if rows else range(6)
    cells = [[row[n] for n in shown] for row in (head, *rows)]
    spare = [shown.index(n) for n in (3, 4, 2) if n in shown]
    lines = table(cells, "<" * len(shown), cells=width, flexible=-1, spare=spare)
    total = f"{several(len(rows), 'seed')} in {several(len(project.stages), 'stage')}"
    if not project.stages:
        total = f"{several(len(rows), 'seed')}; the stages follow from the foreign keys of the target"
    return "\n".join([*lines, "", total]) + "\n"


def _seed_row(seed: Seed) -> list[str]:
    return [
        printable(seed.stage or "·"),
        printable(seed.name),
        printable(", ".join(each.table for each in seed.tables)),
        printable(", ".join(seed.tags) or "·"),
        printable(", ".join(seed.environments) or "all"),
        printable(", ".join(file.name for file in seed.files)),
    ]


def project_record(project: Project) -> dict[str, object]:
    """Convert a project to plain values for JSON."""
    return {
        "project": project.name,
        "stages": [
            {"id": stage.id, "name": stage.name, "dependencies": list(stage.dependencies)}
            for stage in project.stages
        ],
        "seeds": [_seed_record(seed) for seed in project.every_seed],
    }


def _seed_record(seed: Seed) -> dict[str, object]:
    return {
        "name": seed.name,
        "stage": seed.stage or None,
        "files": [file.name for file in seed.files],
        "tables": [each.table for each in seed.tables],
        "tags": list(seed.tags),
        "environments": list(seed.environments),
        "priority": seed.priority,
        "mode": seed.mode,
    }
