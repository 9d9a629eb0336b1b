"""Decides what is remembered of tables and stages after a run, and counts what became of each row.

A table is remembered by a hash of its seeded columns and by the marks of its seeded rows, so that the next
run finds rows that somebody else changed. A stage is remembered by the hashes of all that its rows depend on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from seedlab.database.writer import Session
from seedlab.flow import (
    IN_DOUBT,
    Catalog,
    LoadName,
    Memory,
    Outcomes,
    Stage,
    StageMemory,
    TableState,
    Tally,
)
from seedlab.plan import freshness
from seedlab.plan.graph import topological_order
from seedlab.steps.agenda import Task, is_comparable, state_of
from seedlab.steps.looking import Look
from seedlab.steps.pipeline import Prepared
from seedlab.steps.remembering.row_memory import LoadUpdate, abandoned_loads
from seedlab.steps.remembering.table_state import MARKED_ROWS, TouchedTable, settle_states
from seedlab.steps.remembering.written_run import WrittenRun

# ---- outcomes -------------------------------------------------------------------------------------------


def tallies_of(
    written_run: WrittenRun,
    updates: Sequence[LoadUpdate] = (),
    deleted: Mapping[LoadName, int] | None = None,
) -> list[Tally]:
    """Count what became of every row of each load; rows that were not written are unchanged."""
    rows = {each.load.name: each.load.rows for each in updates}
    keys = {each.load.name: each.load.spelled_key for each in written_run.rows}
    keys |= {each.load.name: each.load.key for each in updates if each.load.files or each.to_delete.height}
    outcomes_of: defaultdict[LoadName, Outcomes] = defaultdict(Outcomes)
    for each in written_run.written:
        outcomes_of[each.load.name] += each.outcomes
    tallies = []
    for name, key in keys.items():
        total = outcomes_of[name]
        unchanged = rows[name] - total.created - total.updated if name in rows else total.unchanged
        outcomes = replace(total, unchanged=unchanged, deleted=(deleted or {}).get(name, 0))
        stage, seed, table = name
        tallies.append(Tally(stage=stage, seed=seed, table=table, key=key, outcomes=outcomes))
    return tallies


# ---- tables ---------------------------------------------------------------------------------------------


def states_of(
    written_run: WrittenRun, memory: Memory, updates: Sequence[LoadUpdate]
) -> tuple[TableState, ...]:
    """Make the states of the tables that a run writes to, with all columns that were ever seeded.

    Columns that are filled by the project's defaults do not count as seeded. The content is still unread.
    """
    to_delete = {each.load.table for each in updates if each.to_delete.height}
    states = {name: memory.tables[name] for name in sorted(to_delete)}
    states = {name: each for name, each in states.items() if _has_columns_of(each, written_run.catalog)}
    for each in written_run.written:
        name = each.load.table
        known = states.get(name) or memory.tables.get(name)
        present = written_run.catalog.tables[name].columns
        seeded = {*each.load.columns}.difference(each.load.defaults)
        columns = {*seeded, *(known.columns if known else ())} & present.keys()
        states[name] = state_of(
            name, columns, tuple(dict.fromkeys(each.load.key_columns)), written_run.catalog
        )
    return tuple(states.values())


def partly_written(
    task: Task, look: Look, prepared: Prepared, incremental: Collection[str] = ()
) -> list[TableState]:
    """List the remembered states of tables of whose seeded rows a run writes or deletes some, but not all.

    `incremental` tables are left out, since their marks are fetched in another way.
    """
    memory = task.memory
    whole_stages = {stage.id for stage in prepared.stages} - prepared.reduced
    rewritten = {each.load.name for each in prepared.read if each.load.stage in whole_stages}
    tables = {each.load.table for each in prepared.rows}
    read_or_removed = whole_stages | task.agenda.removed_stages(memory)
    tables |= {load.table for load in memory.loads if load.stage in read_or_removed}
    tables -= {*incremental, *_all_written(tables, rewritten, memory)}
    return [memory.tables[name] for name in sorted(tables) if is_comparable(name, look)]


def read_shared_keyless(task: Task, look: Look, prepared: Prepared) -> Task:
    """Read the states of tables without a key that other projects seed, too, before this run writes to them.

    Afterwards nobody could tell whether the rows of the others are as they were left. Costs one statement if
    there are such tables.
    """
    keyless = {each.load.table for each in prepared.rows if each.load.whole} & task.memory.shared
    states = [task.memory.tables[name] for name in sorted(keyless) if is_comparable(name, look)]
    if not states:
        return task
    found = {each.table: each for each in look.session.ledger.contents_ahead(states)()}
    table_states = {**task.assessment.table_states, **found}
    return replace(task, assessment=replace(task.assessment, table_states=table_states))


def states_and_marks(
    states: Sequence[TableState],
    written_run: WrittenRun,
    task: Task,
    session: Session,
    deleted: Mapping[str, bytes],
) -> tuple[list[TableState], dict[str, bytes | None]]:
    """Complete the states by which tables are compared next time, and find the marks of their seeded rows.

    `deleted` has by table the marks of rows that were deleted. Tables of which only changed rows were written
    are left out. Marks are None where none are kept; tables that were empty have none yet.
    """
    memory = task.memory
    all_written = _all_written((each.table for each in states), _rewritten_loads(written_run), memory)
    # Rows of a table without a key cannot be told apart, so no marks are kept of them.
    unmarked: dict[str, bytes | None] = {e.load.table: None for e in written_run.written if e.load.whole}
    unsure = {name for name in unmarked if not _is_as_remembered(name, task)}
    # Marks of very many rows would take longer to fetch than the rows take to be compared.
    unmarked |= {each.load.table: None for each in written_run.rows if each.short_handles is not None}
    rows = _row_counts(written_run, memory)
    unmarked |= dict.fromkeys(many := {name for name, count in rows.items() if count > MARKED_ROWS})
    in_doubt = (many | unsure) - all_written
    states = [replace(each, rows=IN_DOUBT if each.table in in_doubt else rows[each.table]) for each in states]
    incremental = written_run.incremental.rows.keys()
    not_touched = unmarked.keys() | incremental | (all_written & written_run.empty)
    states_touched = [state for state in states if state.table not in not_touched]
    keys = _written_keys(states_touched, written_run)
    touched = [
        TouchedTable(
            state=state,
            previous=(known := _previous_state(state, memory)),
            frame=keys.get(state.table),
            deleted=deleted.get(state.table, b""),
            all_written=state.table in all_written,
            migrated=known is not None and not _has_columns_of(known, written_run.catalog),
        )
        for state in states_touched
    ]
    settled, marks = settle_states(session.ledger, touched)
    others = (state for state in states if state.table not in marks.keys() | incremental)
    return [*others, *settled], {**marks, **unmarked}


def _is_as_remembered(table: str, task: Task) -> bool:
    """Tell whether a table was found as the last run left it, including the rows of other projects."""
    known, found = task.memory.tables.get(table), task.assessment.table_states.get(table)
    return known is not None and found is not None and known.content == found.content


def _row_counts(written_run: WrittenRun, memory: Memory) -> Counter[str]:
    """Estimate how many rows the tables have, by what is remembered and what was written."""
    rows = Counter({name: state.rows for name, state in memory.tables.items() if state.rows != IN_DOUBT})
    for each in written_run.written:
        rows[each.load.table] += each.outcomes.created
    return rows


def _previous_state(state: TableState, memory: Memory) -> TableState | None:
    """Return a table's remembered state if it has the same key, hashed by the same server."""
    known = memory.tables.get(state.table)
    alike = known is not None and (known.key, known.server) == (state.key, state.server)
    return known if alike else None


def _has_columns_of(state: TableState, catalog: Catalog) -> bool:
    """Tell whether a table still has all columns of its remembered state."""
    return {*state.columns, *state.key} <= {*catalog.tables[state.table].columns}


def _rewritten_loads(written_run: WrittenRun) -> set[LoadName]:
    """Name the loads of which this run wrote every remembered row, or for which no file has rows any more."""
    whole = {each.load.name for each in written_run.read if not written_run.is_reduced(each.load)}
    return whole | {load.name for load in abandoned_loads(written_run)}


def _all_written(tables: Iterable[str], loads: set[LoadName], memory: Memory) -> set[str]:
    """Find the tables of which a run that writes all rows of these loads writes every seeded row."""
    others = {load.table for load in memory.loads if load.files and load.name not in loads}
    return {*tables} - others - memory.shared


def _written_keys(states: Iterable[TableState], written_run: WrittenRun) -> dict[str, pl.DataFrame]:
    """Collect the keys of the rows that were written, by table."""
    keys = {state.table: state.key for state in states}
    frames: defaultdict[str, list[pl.DataFrame]] = defaultdict(list)
    for write in written_run.plan.writes:
        if (key := keys.get(write.table.name)) is not None:
            frames[write.table.name] += (batch.frame.select(key) for batch in write.batches())
    return {name: pl.concat(each) if len(each) > 1 else each[0] for name, each in frames.items() if each}


# ---- stages ---------------------------------------------------------------------------------------------


def stage_memories(written_run: WrittenRun, task: Task, memory: Memory) -> tuple[StageMemory, ...]:
    """Make what is remembered of the stages of a run: the hashes of all that their rows depend on.

    Stages whose files changed, but none of their rows, get the new hashes, but keep the run that they had.
    """
    agenda, assessment = task.agenda, task.assessment
    inputs = replace(assessment.inputs, catalog=written_run.catalog, files=task.hashes_to_remember())
    stages = dict(memory.stages)
    by_id = {stage.id: stage for stage in agenda.stages if stage.id in assessment.stale | assessment.intact}
    # A stage's hashes include those of the stages that it depends on, so these are made first.
    for name in topological_order({stage.id: stage.dependencies for stage in agenda.stages}):
        if (stage := by_id.get(name)) is not None:
            ran = name in assessment.stale
            tables = _tables_of(stage, written_run, memory) if ran else memory.stages[name].tables
            parts = freshness.parts(stage, inputs, replace(memory, stages=stages), tables)
            run = written_run.run_id if ran else memory.stages[name].run
            stages[name] = StageMemory(stage=name, parts=parts, tables=tables, run=run)
    return tuple(stages[name] for name in by_id)


def _tables_of(stage: Stage, written_run: WrittenRun, memory: Memory) -> tuple[str, ...]:
    """Name the tables that a stage fills, and those that it refers to."""
    loads = [each.load for each in written_run.read if each.load.stage == stage.id]
    tables = {load.table for load in loads}
    tables |= {reference.parent for load in loads for reference in load.references}
    if stage.id in written_run.recalled.reduced:
        tables |= set(memory.stages[stage.id].tables)
    return tuple(sorted(tables))
