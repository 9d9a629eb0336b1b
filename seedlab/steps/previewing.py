"""Finds out what a run would do with every row, in a transaction that only reads, and makes a plan of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from seedlab.database.ledger import MARK
from seedlab.errors import CannotOrderRows
from seedlab.flow import (
    FILE,
    ROW,
    Classified,
    LoadName,
    Options,
    Outcomes,
    Plan,
    PlannedSeed,
    PlannedStage,
    PlannedTable,
    Recorder,
    RowChange,
    RowSet,
    Stage,
    Tally,
    Target,
    WritePlan,
)
from seedlab.frames.files import positions
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.graph import waves
from seedlab.steps.agenda import Task, state_of, tally_of
from seedlab.steps.looking import Look
from seedlab.steps.parallel import coordinator
from seedlab.steps.pipeline import Prepared, Resolved, prepare, resolve
from seedlab.steps.remembering import other_projects, row_memory
from seedlab.steps.remembering.row_memory import LoadUpdate
from seedlab.steps.reporting import is_seed_left_out, left_out_note
from seedlab.steps.resolving import write_plan
from seedlab.steps.resolving.rows import paths_of
from seedlab.steps.writing.ledger import ExecutedPlan, written_run_of
from seedlab.steps.writing.transaction import LEGACY, announce_rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preview:
    """What a run would do with the rows of the stages that have to run.

    `classified` counts what would become of each load's rows, `changes` lists the rows that would change, if
    asked for. `only_deletes` are the tallies of loads for which no file has rows, so that a sync only
    deletes. `empty` are tables without rows, `key_origins` says of each table where its key comes from.
    `one_by_one`: each row would be written by itself.
    """

    classified: tuple[Classified, ...] = ()
    only_deletes: tuple[Tally, ...] = ()
    changes: tuple[RowChange, ...] = ()
    empty: frozenset[str] = frozenset()
    key_origins: Mapping[str, str] = field(default_factory=dict)
    one_by_one: bool = False


def preview(task: Task, look: Look, monitor: Monitor, *, differences: bool = False) -> Preview:
    """Find out what would become of the rows of stale stages; writes nothing, and advances no sequence.

    With `differences` every row that would change is listed. Raises what `prepare` and `resolve` raise.
    """
    if not task.stale:
        return Preview()
    prepared = prepare(task, look, monitor, task.stale)
    look.session.begin(read_only=True)
    try:
        if note := coordinator.spread_note(look, task.options, prepared):
            monitor.note(note)
        resolved = resolve(look, prepared, task, monitor)
        announce_rows(resolved.rows, monitor)
        plan = _plan_with_placeholders(task, prepared, resolved)
        classified = look.session.classify(plan, differences=differences)
        updates = _load_updates(task, look, prepared, resolved, plan)
        deleted = _count_deletes(look, [each for each in updates if each.to_delete.height])
    finally:
        look.session.rollback()
    with_rows = {each.load.name for each in classified}
    return Preview(
        classified=tuple(_with_deletes(each, deleted) for each in classified),
        only_deletes=tuple(
            tally_of(each.load, Outcomes(deleted=deleted[each.load.name]))
            for each in updates
            if each.load.name in deleted.keys() - with_rows
        ),
        changes=tuple(_changes(prepared, classified)) if differences else (),
        empty=resolved.empty,
        key_origins=prepared.bound.key_origins,
        one_by_one=_is_one_by_one(task, prepared, resolved, monitor),
    )


def _is_one_by_one(task: Task, prepared: Prepared, resolved: Resolved, recorder: Recorder) -> bool:
    """Tell whether each row would be written by itself; notes why not where the level `legacy` could not."""
    rows, naming, settings = resolved.rows, prepared.naming, task.options.settings
    if settings.level != LEGACY:
        return False
    from seedlab.database.legacy import order_rows  # slow to import

    plan = write_plan.plan_writes(rows, naming, resolved.cache, settings, resolved.empty)
    try:
        order_rows(write_plan.sourced_rows(rows, naming, plan))
    except CannotOrderRows as error:
        recorder.note(str(error))
        return False
    return True


def _changes(prepared: Prepared, classified: Sequence[Classified]) -> Iterator[RowChange]:
    """List each row that would be created or updated, with its line in the file."""
    paths = paths_of(prepared.read)
    for each in classified:
        differences = each.differences
        if differences is None or not differences.height:
            continue
        for (number,), of_file in differences.group_by(FILE, maintain_order=True):
            file = each.load.files[int(str(number))]
            places = positions.locate(
                file, paths[each.load.seed, each.load.table], of_file[ROW].unique().to_list()
            )
            for (row, outcome), of_row in of_file.group_by(ROW, "outcome", maintain_order=True):
                place = places.get(int(str(row)))
                columns = zip(*(of_row[name].to_list() for name in ("column", "old", "new")), strict=True)
                yield RowChange(
                    file=file.name,
                    line=place.line if place else None,
                    table=each.load.table,
                    outcome="created" if outcome == "created" else "updated",
                    columns=() if outcome == "created" else tuple(columns),
                )


def _plan_with_placeholders(task: Task, prepared: Prepared, resolved: Resolved) -> WritePlan:
    """Plan the writes as a run does, with placeholders for the ids that it would take from sequences."""
    naming, cache = prepared.naming, resolved.cache
    rows = write_plan.with_sequences(resolved.rows, naming, cache, write_plan.placeholders(prepared.catalog))
    return write_plan.plan_writes(rows, naming, cache, task.options.settings, resolved.empty)


# ---- what a sync deletes --------------------------------------------------------------------------------


def _load_updates(
    task: Task, look: Look, prepared: Prepared, resolved: Resolved, plan: WritePlan
) -> list[LoadUpdate]:
    """Decide what would be remembered of each load, and so which rows a sync would delete."""
    if not task.memory.loads:
        return []  # nothing is remembered that could be deleted
    written_run = written_run_of(task, look.session, prepared, resolved, ExecutedPlan(plan=plan))
    return other_projects.load_updates(written_run, task, look.session.ledger)


def _count_deletes(look: Look, updates: Sequence[LoadUpdate]) -> dict[LoadName, int]:
    """Count the rows of each load that a sync would delete and that still exist."""
    catalog, counts = look.catalog(), {}
    for each in updates:
        removal = row_memory.removal_of(each.previous, each.to_delete, catalog)
        state = state_of(each.load.table, removal.columns, removal.columns, catalog)
        sets = [RowSet(state=state, frame=removal.frame)] if removal.frame.height else []
        counts[each.load.name] = sum(map(len, look.session.ledger.marks(sets))) // MARK
    return counts


def _with_deletes(classified: Classified, deleted: Mapping[LoadName, int]) -> Classified:
    outcomes = replace(classified.outcomes, deleted=deleted.get(classified.load.name, 0))
    return replace(classified, outcomes=outcomes)


def plan_of(task: Task, target: Target, preview_result: Preview) -> Plan:
    """Make the plan: the stages as declared, their tables and outcomes, and the waves in which they run."""
    options, stages = task.options, task.agenda.declared
    left_out = {**task.agenda.left_out, **task.assessment.skipped(task.memory)}
    running = [stage for stage in stages if stage.id not in left_out]
    verdicts = task.assessment.verdicts
    reasons = {name: each.reason for name, each in verdicts.items() if each.reason}
    tables = _planned_tables(preview_result, options)
    return Plan(
        project=task.project.name,
        target=target.shown,
        environment=options.environment.name,
        level=options.settings.level,
        stages=tuple(_planned_stage(stage, left_out, reasons, tables) for stage in stages),
        outcomes=sum((table.outcomes for of_seed in tables.values() for table in of_seed), Outcomes()),
        changes=preview_result.changes,
        waves=waves([replace(stage, dependencies=_among(stage.dependencies, running)) for stage in running]),
    )


def _planned_tables(preview_result: Preview, options: Options) -> dict[tuple[str, str], list[PlannedTable]]:
    """Map each seed (stage, name) to its tables: those that it fills, then those it only deletes from."""
    all_empty = preview_result.empty.issuperset(each.load.table for each in preview_result.classified)
    by_seed: defaultdict[tuple[str, str], list[PlannedTable]] = defaultdict(list)
    for each in preview_result.classified:
        load, outcomes = each.load, each.outcomes
        by_seed[load.stage, load.seed].append(
            PlannedTable(
                table=load.table,
                rows=outcomes.total - outcomes.deleted,
                key=load.spelled_key,
                origin=preview_result.key_origins.get(load.table, ""),
                strategy=_strategy(all_empty, preview_result, options),
                outcomes=outcomes,
            )
        )
    for tally in preview_result.only_deletes:
        by_seed[tally.stage, tally.seed].append(
            PlannedTable(
                table=tally.table, rows=0, key=tally.key, origin="", strategy="", outcomes=tally.outcomes
            )
        )
    return by_seed


def _among(names: Sequence[str], stages: Sequence[Stage]) -> tuple[str, ...]:
    known = {stage.id for stage in stages}
    return tuple(name for name in names if name in known)


def _planned_stage(
    stage: Stage,
    left_out: Mapping[str, str],
    reasons: Mapping[str, str],
    tables: Mapping[tuple[str, str], Sequence[PlannedTable]],
) -> PlannedStage:
    seeds = tuple(
        PlannedSeed(
            name=seed.name,
            files=tuple(file.name for file in seed.files),
            tables=tuple(tables.get((stage.id, seed.name), ())),
            priority=seed.priority,
        )
        for seed in stage.seeds
        if stage.id not in left_out and not is_seed_left_out(seed, left_out)
    )
    return PlannedStage(
        id=stage.id,
        name=stage.name,
        status="skipped" if stage.id in left_out else "run",
        reason=left_out.get(stage.id)
        or "; ".join(filter(None, (reasons.get(stage.id), left_out_note(stage, left_out)))),
        waits_for=stage.dependencies,
        seeds=seeds,
        parallel=stage.parallel,
    )


def _strategy(all_empty: bool, preview_result: Preview, options: Options) -> str:
    if preview_result.one_by_one:
        return "row by row: find, then insert or update"
    if "copy" not in options.settings.switches:
        return "multi-row statements"
    return "copy into the empty table" if all_empty else "merge: insert new, update different"
