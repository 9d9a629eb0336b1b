"""What a run leaves in the ledger: the rows that each seed brought, the content of the tables.

Rows are remembered by hashes: of their key and of what the file says (to find rows that changed in a file),
of their key and of what the table holds (to find rows that were changed behind our back).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import polars as pl

from seedlab.database.writer import Session
from seedlab.flow import (
    IN_DOUBT,
    Catalog,
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
from seedlab.steps.recalling.unchanged_rows import Name, name_of
from seedlab.steps.remembering.row_memory import Kept, Wrote, no_more
from seedlab.steps.remembering.table_state import MARKED_ROWS, Touched, settle

# ---- outcomes -------------------------------------------------------------------------------------------


def tallies_of(
    wrote: Wrote, kept: Sequence[Kept] = (), deleted: Mapping[Name, int] | None = None
) -> list[Tally]:
    """Say what became of every row: those that were not written are as they were."""
    rows = {each.load.name: each.load.rows for each in kept}
    keys = {name_of(each.load): each.load.spelled_key for each in wrote.rows}
    keys |= {each.load.name: each.load.key for each in kept if each.load.files or each.doomed.height}
    outcomes_of: defaultdict[Name, Outcomes] = defaultdict(Outcomes)
    for each in wrote.written:
        outcomes_of[name_of(each.load)] += each.outcomes
    tallies = []
    for name, key in keys.items():
        total = outcomes_of[name]
        unchanged = rows[name] - total.created - total.updated if name in rows else total.unchanged
        outcomes = replace(total, unchanged=unchanged, deleted=(deleted or {}).get(name, 0))
        stage, seed, table = name
        tallies.append(Tally(stage=stage, seed=seed, table=table, key=key, outcomes=outcomes))
    return tallies


# ---- tables ---------------------------------------------------------------------------------------------


def states_of(wrote: Wrote, memory: Memory, kept: Sequence[Kept]) -> tuple[TableState, ...]:
    """The tables of a run, with all columns that were ever seeded; what new rows get by default is not."""
    doomed = {each.load.table for each in kept if each.doomed.height}
    states: dict[str, TableState] = {name: memory.tables[name] for name in sorted(doomed)}
    for each in wrote.written:
        name = each.load.table
        known = states.get(name) or memory.tables.get(name)
        there = wrote.catalog.tables[name].columns
        seeded = {*each.load.columns}.difference(each.load.defaults)
        columns = {*seeded, *(known.columns if known else ())} & there.keys()
        states[name] = state_of(name, columns, tuple(dict.fromkeys(each.load.key_columns)), wrote.catalog)
    return tuple(states.values())


def partly_written(
    task: Task, look: Look, prepared: Prepared, slightly: Collection[str] = ()
) -> list[TableState]:
    """The tables of whose seeded rows a run may write or delete some, but not all, as they are remembered."""
    memory, declared = task.memory, {stage.id for stage in task.agenda.declared}
    whole = {stage.id for stage in prepared.stages} - prepared.reduced
    gone = {load.stage for load in memory.loads} - declared
    ran = {name_of(each.load) for each in prepared.read if each.load.stage in whole}
    tables = {each.load.table for each in prepared.rows}
    tables |= {load.table for load in memory.loads if load.stage in whole | gone}
    return [
        memory.tables[name]
        for name in sorted(tables.difference(slightly))
        if is_comparable(name, look) and not _is_whole(name, ran, memory)
    ]


def content_of(
    states: Sequence[TableState], wrote: Wrote, memory: Memory, session: Session, gone: Mapping[str, bytes]
) -> tuple[list[TableState], dict[str, bytes | None]]:
    """The tables as they will be compared next time, and marks of the seeded rows of each; a table that was
    empty has no others, and is left out. `gone` has the marks of rows that were deleted. Tables of which only
    few rows were written are none of these.
    """
    over = _over(wrote)
    # Equal rows of a table without a key are nobody's: once it is another than we left it, all is compared.
    keyless: dict[str, bytes | None] = {e.load.table: None for e in wrote.written if e.load.whole}
    # Marks of very many rows would take longer to fetch than the rows take to be compared.
    keyless |= {each.load.table: None for each in wrote.rows if each.briefs is not None}
    rows = _rows_of(wrote, memory)
    keyless |= dict.fromkeys(many := {name for name, count in rows.items() if count > MARKED_ROWS})
    states = [
        replace(each, rows=IN_DOUBT)
        if each.table in many and not _is_whole(each.table, over, memory)
        else replace(each, rows=rows[each.table])
        for each in states
    ]
    touched = [
        Touched(
            state=state,
            known=memory.tables[state.table] if _is_comparable(state, memory, wrote.catalog) else None,
            frame=_written_keys(state, wrote),
            gone=gone.get(state.table, b""),
            whole=whole,
        )
        for state in states
        if state.table not in keyless.keys() | wrote.slight.keys()
        and (not (whole := _is_whole(state.table, over, memory)) or state.table not in wrote.empty)
    ]
    settled, marks = settle(session.ledger, touched)
    left = (state for state in states if state.table not in marks.keys() | wrote.slight.keys())
    return [*left, *settled], {**marks, **keyless}


def _rows_of(wrote: Wrote, memory: Memory) -> Counter[str]:
    """About how many rows the tables have, by what they had and what was written."""
    rows = Counter({name: state.rows for name, state in memory.tables.items() if state.rows != IN_DOUBT})
    for each in wrote.written:
        rows[each.load.table] += each.outcomes.created
    return rows


def _is_comparable(state: TableState, memory: Memory, catalog: Catalog) -> bool:
    """Tell whether the rows that are remembered of a table can still be looked up."""
    known = memory.tables.get(state.table)
    alike = known is not None and (known.key, known.server) == (state.key, state.server)
    return known is not None and alike and {*known.columns} <= {*catalog.tables[state.table].columns}


def _over(wrote: Wrote) -> set[Name]:
    """The loads all of whose remembered rows this run wrote, or that nothing brings any more."""
    ran = {name_of(each.load) for each in wrote.read if each.load.stage not in wrote.known.reduced}
    return ran | {load.name for load in no_more(wrote)}


def _is_whole(table: str, over: set[Name], memory: Memory) -> bool:
    """Tell whether every row that anybody seeds into the table was written in this run."""
    return table not in memory.shared and all(
        load.name in over or not load.files for load in memory.loads if load.table == table
    )


def _written_keys(state: TableState, wrote: Wrote) -> pl.DataFrame | None:
    frames = [
        batch.frame.select(state.key)
        for write in wrote.writes
        if write.table.name == state.table
        for batch in write.batches()
    ]
    return pl.concat(frames) if len(frames) > 1 else frames[0] if frames else None


# ---- stages ---------------------------------------------------------------------------------------------


def stage_memories(wrote: Wrote, task: Task, memory: Memory) -> tuple[StageMemory, ...]:
    """What the stages of a run depend on, as it is now; a stage's own dependencies come before it.

    Of stages whose files were only saved again the new hashes are kept, and still the run that ran them.
    """
    agenda, assessment = task.agenda, task.assessment
    situation = replace(assessment.situation, catalog=wrote.catalog, files=task.hashes())
    stages = dict(memory.stages)
    by_id = {stage.id: stage for stage in agenda.stages if stage.id in assessment.stale | assessment.intact}
    for name in topological_order({stage.id: stage.dependencies for stage in agenda.stages}):
        if (stage := by_id.get(name)) is not None:
            ran = name in assessment.stale
            tables = _tables_of(stage, wrote, memory) if ran else memory.stages[name].tables
            parts = freshness.parts(stage, situation, replace(memory, stages=stages), tables)
            run = wrote.run_id if ran else memory.stages[name].run
            stages[name] = StageMemory(stage=name, parts=parts, tables=tables, run=run)
    return tuple(stages[name] for name in by_id)


def _tables_of(stage: Stage, wrote: Wrote, memory: Memory) -> tuple[str, ...]:
    """Tables that a stage fills, and those that it refers to."""
    loads = [each.load for each in wrote.read if each.load.stage == stage.id]
    tables = {load.table for load in loads}
    tables |= {reference.parent for load in loads for reference in load.references}
    if stage.id in wrote.known.reduced:
        tables |= set(memory.stages[stage.id].tables)
    return tuple(sorted(tables))
