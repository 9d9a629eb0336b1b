"""What a run would do with every row: everything but the writing, in a transaction that only reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from seedlab.database.ledger import MARK
from seedlab.flow import (
    FILE,
    ROW,
    Classified,
    Options,
    Outcomes,
    Plan,
    PlannedSeed,
    PlannedStage,
    PlannedTable,
    RowChange,
    RowSet,
    Stage,
    Tally,
    Target,
    WritePlan,
)
from seedlab.frames import positions
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.graph import waves
from seedlab.steps.agenda import Task, state_of, tally_of
from seedlab.steps.looking import Look
from seedlab.steps.parallel import coordinator
from seedlab.steps.pipeline import Prepared, Resolved, prepare, resolve
from seedlab.steps.recalling.unchanged_rows import LoadName, load_name
from seedlab.steps.remembering import row_memory
from seedlab.steps.remembering.row_memory import LoadUpdate
from seedlab.steps.reporting import is_seed_left_out, left_out_note
from seedlab.steps.resolving import write_plan
from seedlab.steps.writing.ledger import ExecutedPlan, written_run_of
from seedlab.steps.writing.transaction import expect


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Previewed:
    """What a run would do with the rows of the stages that have to run.

    `classified` counts what would become of each load's rows; `left` are the tallies of loads of which a sync
    would only delete rows, since no file brings any; `changes` are row by row, where asked for. `empty` are
    tables without rows, `key_origins` says why each table has its key.
    """

    classified: tuple[Classified, ...] = ()
    left: tuple[Tally, ...] = ()
    changes: tuple[RowChange, ...] = ()
    empty: frozenset[str] = frozenset()
    key_origins: Mapping[str, str] = field(default_factory=dict)


def preview(task: Task, look: Look, monitor: Monitor, *, differences: bool = False) -> Previewed:
    """Say what would become of the stages that have to run; no row is touched, no sequence steps."""
    if not task.stale:
        return Previewed()
    prepared = prepare(task, look, monitor, task.stale)
    look.session.begin(read_only=True)
    try:
        if spread := coordinator.announced(look, task.options, prepared):
            monitor.note(spread)
        resolved = resolve(look, prepared, task, monitor)
        expect(resolved.rows, monitor)
        plan = _planned(task, prepared, resolved)
        classified = look.session.classify(plan, differences=differences)
        kept = _kept(task, look, prepared, resolved, plan)
        deleted = _deleted(look, [each for each in kept if each.doomed.height])
    finally:
        look.session.rollback()
    brought = {load_name(each.load) for each in classified}
    return Previewed(
        classified=tuple(_with_deletes(each, deleted) for each in classified),
        left=tuple(
            tally_of(each.load, Outcomes(deleted=deleted[each.load.name]))
            for each in kept
            if each.load.name in deleted.keys() - brought
        ),
        changes=tuple(_changes(prepared, classified)) if differences else (),
        empty=resolved.empty,
        key_origins=prepared.bound.key_origins,
    )


def _changes(prepared: Prepared, classified: Sequence[Classified]) -> Iterator[RowChange]:
    """Give one RowChange for each row that would be created or updated, with its line in the file."""
    paths = {(rows.load.seed, rows.load.table): rows.shaped.spec.path for rows in prepared.read}
    for each in classified:
        lines = each.differences
        if lines is None or not lines.height:
            continue
        for (number,), of_file in lines.group_by(FILE, maintain_order=True):
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


def _planned(task: Task, prepared: Prepared, resolved: Resolved) -> WritePlan:
    """Plan the writes as a seed would, with placeholders for ids that only a sequence could make."""
    naming, cache = prepared.naming, resolved.cache
    rows = write_plan.with_sequences(resolved.rows, naming, cache, write_plan.placeholders(prepared.catalog))
    return write_plan.plan_writes(rows, naming, cache, task.options.settings, resolved.empty)


# ---- what a sync deletes --------------------------------------------------------------------------------


def _kept(
    task: Task, look: Look, prepared: Prepared, resolved: Resolved, plan: WritePlan
) -> list[LoadUpdate]:
    """Settle what would be remembered of each load, as after a write.

    `doomed` are rows that a sync deletes.
    """
    return row_memory.load_updates(
        written_run_of(task, look.session, prepared, resolved, ExecutedPlan(plan=plan)), task.agenda
    )


def _deleted(look: Look, doomed: Sequence[LoadUpdate]) -> dict[LoadName, int]:
    """Count the rows of each load that are still there to be deleted."""
    catalog, counts = look.catalog(), {}
    for each in doomed:
        removal = row_memory.removal_of(each.previous, each.doomed, catalog)
        state = state_of(each.load.table, removal.columns, removal.columns, catalog)
        sets = [RowSet(state=state, frame=removal.frame)] if removal.frame.height else []
        counts[each.load.name] = sum(map(len, look.session.ledger.marks(sets))) // MARK
    return counts


def _with_deletes(classified: Classified, deleted: Mapping[LoadName, int]) -> Classified:
    outcomes = replace(classified.outcomes, deleted=deleted.get(load_name(classified.load), 0))
    return replace(classified, outcomes=outcomes)


def plan_of(task: Task, target: Target, previewed: Previewed) -> Plan:
    """Make the plan: stages in writing order, keys and why, what runs side by side, what is skipped."""
    options, stages = task.options, task.agenda.declared
    left_out = {**task.agenda.left_out, **task.assessment.skipped(task.memory)}
    running = [stage for stage in stages if stage.id not in left_out]
    verdicts = task.assessment.verdicts
    reasons = {name: each.reason for name, each in verdicts.items() if each.reason}
    tables = _planned_tables(previewed, options)
    return Plan(
        project=task.project.name,
        target=target.shown,
        environment=options.environment.name,
        level=options.settings.level,
        stages=tuple(_planned_stage(stage, left_out, reasons, tables) for stage in stages),
        outcomes=sum((table.outcomes for of_seed in tables.values() for table in of_seed), Outcomes()),
        changes=previewed.changes,
        waves=waves([replace(stage, dependencies=_among(stage.dependencies, running)) for stage in running]),
    )


def _planned_tables(previewed: Previewed, options: Options) -> dict[tuple[str, str], list[PlannedTable]]:
    """Map each seed (stage, name) to its tables: those that it fills, then those it only deletes from."""
    all_empty = previewed.empty.issuperset(each.load.table for each in previewed.classified)
    by_seed: defaultdict[tuple[str, str], list[PlannedTable]] = defaultdict(list)
    for each in previewed.classified:
        load, outcomes = each.load, each.outcomes
        by_seed[load.stage, load.seed].append(
            PlannedTable(
                table=load.table,
                rows=outcomes.total - outcomes.deleted,
                key=load.spelled_key,
                origin=previewed.key_origins.get(load.table, ""),
                strategy=_strategy(all_empty, options),
                outcomes=outcomes,
            )
        )
    for left in previewed.left:
        by_seed[left.stage, left.seed].append(
            PlannedTable(
                table=left.table, rows=0, key=left.key, origin="", strategy="", outcomes=left.outcomes
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


def _strategy(all_empty: bool, options: Options) -> str:
    if options.settings.level == "legacy":
        return "row by row: find, then insert or update"
    if "copy" not in options.settings.switches:
        return "multi-row statements"
    return "copy into the empty table" if all_empty else "merge: insert new, update different"
