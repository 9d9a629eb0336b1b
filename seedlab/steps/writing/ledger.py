"""Ends the transaction of a run: deletes what a sync must, and writes to the ledger what is remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from seedlab.database.writer import Session
from seedlab.flow import Catalog, LoadName, Memo, Outcomes, TableState, Tally, WritePlan, Written
from seedlab.plan import guards
from seedlab.steps.agenda import Task, unchanged_tally
from seedlab.steps.looking import Look
from seedlab.steps.pipeline import Prepared, Resolved
from seedlab.steps.recalling import unchanged_rows
from seedlab.steps.remembering import other_projects, row_memory, stage_memory
from seedlab.steps.remembering.row_memory import LoadUpdate
from seedlab.steps.remembering.table_state import IncrementalTables, marks_of, shifts_of
from seedlab.steps.remembering.written_run import WrittenRun
from seedlab.steps.resolving import rejecting


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExecutedPlan:
    """A write plan and what became of it; of `incremental` tables only changed rows were written."""

    plan: WritePlan
    written: Sequence[Written] = ()
    incremental: IncrementalTables = field(default_factory=IncrementalTables)


def written_run_of(
    task: Task,
    session: Session,
    prepared: Prepared,
    resolved: Resolved,
    executed: ExecutedPlan,
) -> WrittenRun:
    """Put together what a run did, or what it would do if nothing of the plan was written yet."""
    recalled = prepared.recalled
    if recalled is None:
        recalled = unchanged_rows.recall(task, session, prepared.stages, prepared.read)
    return WrittenRun(
        run_id=task.run_id,
        stages=frozenset(stage.id for stage in prepared.stages),
        read=prepared.read,
        rows=resolved.rows,
        plan=executed.plan,
        written=executed.written,
        recalled=recalled,
        catalog=prepared.catalog,
        empty=resolved.empty,
        rejected=rejecting.rejected_handles(prepared.read, resolved.rejected),
        incremental=executed.incremental,
        ids=task.options.settings.ids,
    )


def remember(task: Task, look: Look, written_run: WrittenRun, resolved: Resolved) -> tuple[Tally, ...]:
    """Delete what a sync must, write to the ledger what the next run has to know, and count all rows.

    Raises Refused where more rows would be deleted than allowed.
    """
    session, memory = look.session, task.memory
    deletes = any(seed.mode == "sync" for seed in task.agenda.seeds)
    store_hashes = None
    if not deletes:  # then the server can hash the tables while the client finds out what to remember
        states = stage_memory.states_of(written_run, memory, ())
        stored, marks = stage_memory.states_and_marks(states, written_run, task, session, {})
        store_hashes = session.ledger.begin_to_hash(stored, marks)
    updates = other_projects.load_updates(written_run, task, session.ledger)
    deleted: dict[LoadName, int] = {}
    if deletes:
        states = stage_memory.states_of(written_run, memory, updates)
        to_delete = {each.load.table for each in updates if each.to_delete.height}
        written_run = replace(written_run, incremental=written_run.incremental.without(to_delete))
        deleted, deleted_marks = _delete(
            task, session, updates, {state.table: state for state in states}, written_run.catalog
        )
        stored, marks = stage_memory.states_and_marks(states, written_run, task, session, deleted_marks)
    updated = {each.load.name for each in updates}
    unchanged = [
        load
        for load in memory.loads
        if load.stage in written_run.recalled.reduced and load.name not in updated
    ]
    tallies = (*tallies_of(written_run, resolved, updates, deleted), *map(unchanged_tally, unchanged))
    declared = {stage.id for stage in task.agenda.declared}
    unfinished = tuple(
        sorted({each.load.stage for each in resolved.rejected} | (memory.stages.keys() - declared))
    )
    stages = stage_memory.stage_memories(written_run, task, memory)
    memo = Memo(
        project=task.project.name,
        run_id=task.run_id,
        environment=task.options.environment.name,
        level=task.options.settings.level,
        started=task.started,
        outcomes=sum((tally.outcomes for tally in tallies), Outcomes()),
        stages=tuple(stage for stage in stages if stage.stage not in unfinished),
        loads=tuple(each.load for each in updates),
        contents=tuple(each.packs(written_run.recalled) for each in updates),
        continued=frozenset(each.load.name for each in updates if each.is_appended(written_run.recalled)),
        forgotten=tuple(
            each.load.name for each in updates if not each.load.files and not each.content.height
        ),
        marks=marks,
        shifts=shifts_of(session.ledger, written_run.incremental),
        unfinished=unfinished,
        part=task.only_stage,
    )
    session.ledger.remember(memo, stored, store_hashes)
    return tallies


def _delete(
    task: Task,
    session: Session,
    updates: Sequence[LoadUpdate],
    states: Mapping[str, TableState],
    catalog: Catalog,
) -> tuple[dict[LoadName, int], dict[str, bytes]]:
    """Delete the rows that left the files of a sync; returns the counts by load, and marks by table."""
    to_delete = [each for each in updates if each.to_delete.height]
    if not to_delete:
        return {}, {}
    shares = {
        f"seed {each.load.seed}, table {each.load.table}": (each.to_delete.height, each.existing)
        for each in to_delete
    }
    guards.check_deletes(shares, task.options.max_delete)
    removals = [row_memory.removal_of(each.previous, each.to_delete, catalog) for each in to_delete]
    marks = marks_of(session.ledger, removals, states)
    counts = session.delete(removals)
    return {each.load.name: count for each, count in zip(to_delete, counts, strict=True)}, marks


def tallies_of(
    written_run: WrittenRun,
    resolved: Resolved,
    updates: Sequence[LoadUpdate] = (),
    deleted: Mapping[LoadName, int] | None = None,
) -> tuple[Tally, ...]:
    """Count every row once, including those that were rejected."""
    found = stage_memory.tallies_of(written_run, updates, deleted)
    counts = rejecting.rejected_counts(resolved.rejected)
    return tuple(
        replace(
            each,
            outcomes=replace(each.outcomes, rejected=counts.get((each.stage, each.seed, each.table), 0)),
        )
        for each in found
    )
