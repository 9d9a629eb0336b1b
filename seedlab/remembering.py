"""What a run leaves in the ledger: the rows that each seed brought, the content of the tables.

Rows are remembered by hashes: of their key and of what the file says (to find rows that changed in a file),
of their key and of what the table holds (to find rows that were changed behind our back).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from seedlab.agenda import Agenda, Standing, state_of
from seedlab.database.writer import Session
from seedlab.flow import (
    DIGEST,
    FILE,
    HANDLE,
    LEFT,
    Catalog,
    Load,
    LoadMemory,
    Memory,
    Outcomes,
    Removal,
    Seed,
    Stage,
    StageMemory,
    TableState,
    TableWrite,
    Tally,
    WritePlan,
    Written,
)
from seedlab.frames import contents
from seedlab.plan import freshness
from seedlab.plan.graph import topological_order
from seedlab.recalling import Known, Name, meaning, name_of
from seedlab.resolution import Rows
from seedlab.vouching import Touched, settle

NO_HANDLES = pl.Series(HANDLE, [], dtype=pl.UInt128)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wrote:
    """What a run did: rows as read and as written, the plan they were written by, what became of them."""

    run_id: str
    read: Sequence[Rows]
    rows: Sequence[Rows]
    plan: WritePlan
    written: Sequence[Written]
    known: Known
    catalog: Catalog
    empty: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kept:
    """The rows of one load as they are remembered from now on; `doomed` are to be deleted and forgotten."""

    load: LoadMemory
    content: pl.DataFrame
    doomed: pl.DataFrame

    @property
    def existing(self) -> int:
        """How many rows there were before any was deleted."""
        return self.load.rows + self.doomed.height


# ---- rows -----------------------------------------------------------------------------------------------


def keep(wrote: Wrote, agenda: Agenda) -> list[Kept]:
    """Settle which rows are remembered of each load, and which a sync must delete."""
    seeds = {(stage.id, seed.name): seed for stage in agenda.declared for seed in stage.seeds}
    brought = _by_load(wrote)
    kept = [
        _kept(name, each, seeds[name[:2]], wrote)
        for name, each in brought.items()
        if not _is_untouched(each, wrote.known)
    ]
    kept += [_abandoned(load, brought, wrote) for load in _no_more(wrote)]
    return [replace(each, doomed=_without_others(each, kept, wrote.known)) for each in kept]


def _is_untouched(brought: _Brought, known: Known) -> bool:
    """Tell of a load of a reduced stage whether its rows are all as they are remembered."""
    mine = brought.read[0]
    reduced = mine.load.stage in known.reduced
    return reduced and not brought.rows and not any(known.has_left(each) for each in brought.read)


def _kept(name: Name, brought: _Brought, seed: Seed, wrote: Wrote) -> Kept:
    files = tuple(file.name for file in seed.files)
    before = contents.NOTHING
    if name in wrote.known.before:
        before = contents.renumber(wrote.known.before[name], wrote.known.loads[name].files, files)
    for other in _no_more(wrote):  # rows that we made for a seed of another name are still ours
        if other.table == name[2]:
            mine = contents.among(contents.abandoned(wrote.known.before[other.name]), brought.handles)
            before = pl.concat([before, mine], how="diagonal") if mine.height else before
    after = _after(brought, before, files, wrote.run_id)
    left = after.filter(pl.col(FILE) == LEFT) if before.height else contents.NOTHING
    load = _load_memory(brought.read[0].load, files, after.height - left.height, wrote.catalog)
    if seed.mode == "sync":
        return Kept(load=load, content=after.filter(pl.col(FILE) != LEFT), doomed=left)
    return Kept(load=load, content=after, doomed=contents.NOTHING)


def _no_more(wrote: Wrote) -> list[LoadMemory]:
    """Loads that nothing brings any more: of a stage that is gone, or that ran whole without a seed or a
    table that was taken out.
    """
    over = {each.load.stage for each in wrote.read} - wrote.known.reduced | wrote.known.gone
    brought = {name_of(each.load) for each in wrote.read}
    return [load for load in wrote.known.loads.values() if load.stage in over and load.name not in brought]


def _abandoned(load: LoadMemory, brought: Mapping[Name, _Brought], wrote: Wrote) -> Kept:
    content = contents.abandoned(wrote.known.before[load.name])
    for name, each in brought.items():
        if name[2] == load.table:
            content = contents.without(content, contents.among(content, each.handles))
    return Kept(load=replace(load, files=(), rows=0), content=content, doomed=contents.NOTHING)


def _without_others(mine: Kept, kept: Sequence[Kept], known: Known) -> pl.DataFrame:
    """Spare rows that another seed brings to the same table."""
    if not mine.doomed.height:
        return mine.doomed
    now = {each.load.name: each.content for each in kept}
    others = [
        contents.of_other_files(content, ())
        for name, content in {**known.before, **now}.items()
        if name[2] == mine.load.table and name != mine.load.name
    ]
    return mine.doomed.filter(~pl.col(HANDLE).is_in(pl.concat(others).implode())) if others else mine.doomed


@dataclass(slots=True, kw_only=True, eq=False)
class _Brought:
    """What a run knows of one load: its rows, those that were written and how, the keys they were given."""

    read: list[Rows] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    keys: list[pl.DataFrame] = field(default_factory=list)

    @property
    def handles(self) -> pl.Series:
        """The rows that the files have now."""
        return pl.concat([each.handled.frame.get_column(HANDLE) for each in self.read])


def _by_load(wrote: Wrote) -> dict[Name, _Brought]:
    found: dict[Name, _Brought] = {}
    for read in wrote.read if wrote.known.reduced else wrote.rows:
        found.setdefault(name_of(read.load), _Brought()).read.append(read)
    for rows in wrote.rows:
        mine = found[name_of(rows.load)]
        mine.rows.append(rows)
        if rows.load.stage not in wrote.known.reduced:
            mine.read = mine.rows
    for written in wrote.written:
        found[name_of(written.load)].written.append(written)
    for write in _writes(wrote):
        _add_keys(write, found, wrote.catalog)
    return found


def _writes(wrote: Wrote) -> Iterator[TableWrite]:
    return (write for group in wrote.plan.groups for write in group)


def _add_keys(write: TableWrite, found: Mapping[Name, _Brought], catalog: Catalog) -> None:
    """Keep key columns of the rows that were written, where their ids do not name them."""
    if all(_named_by_id(load, catalog) for load in write.loads):
        return
    for batch in write.batches():
        names = [HANDLE, *dict.fromkeys(batch.load.key_columns)]
        columns = [batch.frame.get_column(name) for name in names]
        found[name_of(batch.load)].keys.append(pl.DataFrame(columns))


def _named_by_id(load: Load, catalog: Catalog) -> bool:
    """Tell whether the rows that we create have their handles as ids."""
    return load.made is not None and catalog.tables[load.table].columns[load.made].kind == "uuid"


def _after(brought: _Brought, before: pl.DataFrame, files: Sequence[str], run_id: str) -> pl.DataFrame:
    """The content of one load after the run."""
    names = [file.name for file in brought.read[0].load.files]
    now = [
        pl.DataFrame([each.handled.frame.get_column(name) for name in (FILE, HANDLE, DIGEST)])
        for each in brought.read
    ]
    rows = contents.renumber(pl.concat(now) if len(now) > 1 else now[0], names, files)
    keys = (pl.concat(brought.keys) if len(brought.keys) > 1 else brought.keys[0]) if brought.keys else None
    read = [files.index(name) for name in names]
    return contents.renewed(before, rows, _created(brought), run_id, keys, read)


def _load_memory(load: Load, files: tuple[str, ...], rows: int, catalog: Catalog) -> LoadMemory:
    return LoadMemory(
        stage=load.stage,
        seed=load.seed,
        table=load.table,
        meaning=meaning(load),
        files=files,
        rows=rows,
        key=load.spelled_key,
        made=load.made if _named_by_id(load, catalog) else None,
    )


def _created(brought: _Brought) -> pl.Series:
    """Handles of the rows that this run made; a load may have been answered in several pieces."""
    several = [each.handled.frame.get_column(HANDLE) for each in brought.rows] or [NO_HANDLES]
    handles = pl.concat(several) if len(several) > 1 else several[0]
    if all(each.outcomes.created == each.outcomes.total for each in brought.written):
        return handles
    ordinals: list[int] = []
    start = 0
    for each in brought.written:
        if each.created is not None:
            ordinals += [start + n for n in each.created]
        elif each.outcomes.created == each.outcomes.total:
            ordinals += range(start, start + each.outcomes.total)
        start += each.outcomes.total
    return handles.gather(ordinals)


# ---- outcomes -------------------------------------------------------------------------------------------


def tallies_of(
    wrote: Wrote, kept: Sequence[Kept] = (), deleted: Mapping[Name, int] | None = None
) -> list[Tally]:
    """Say what became of every row: those that were not written are as they were."""
    rows = {each.load.name: each.load.rows for each in kept}
    keys = {name_of(each.load): each.load.spelled_key for each in wrote.rows}
    keys |= {each.load.name: each.load.key for each in kept if each.load.files}
    tallies = []
    for name, key in keys.items():
        total = sum((each.outcomes for each in wrote.written if name_of(each.load) == name), Outcomes())
        unchanged = rows[name] - total.created - total.updated if name in rows else total.unchanged
        outcomes = replace(total, unchanged=unchanged, deleted=(deleted or {}).get(name, 0))
        stage, seed, table = name
        tallies.append(Tally(stage=stage, seed=seed, table=table, key=key, outcomes=outcomes))
    return tallies


# ---- tables ---------------------------------------------------------------------------------------------


def states_of(wrote: Wrote, memory: Memory) -> tuple[TableState, ...]:
    """The tables of a run, with all columns that were ever seeded."""
    states: dict[str, TableState] = {}
    for each in wrote.written:
        name = each.load.table
        known = states.get(name) or memory.tables.get(name)
        there = wrote.catalog.tables[name].columns
        columns = {*each.load.columns, *(known.columns if known else ())} & there.keys()
        states[name] = state_of(name, columns, tuple(dict.fromkeys(each.load.key_columns)), wrote.catalog)
    return tuple(states.values())


def content_of(
    states: Sequence[TableState], wrote: Wrote, memory: Memory, session: Session, gone: Mapping[str, bytes]
) -> tuple[list[TableState], dict[str, bytes | None]]:
    """The tables as they will be compared next time, and marks of the seeded rows of each; a table that was
    empty has no others, and is left out. `gone` has the marks of rows that were deleted.
    """
    touched = [
        Touched(
            state=state,
            known=memory.tables[state.table] if _is_comparable(state, memory, wrote.catalog) else None,
            frame=_written_keys(state, wrote),
            gone=gone.get(state.table, b""),
            whole=whole,
        )
        for state in states
        if not (whole := _is_whole(state.table, wrote, memory)) or state.table not in wrote.empty
    ]
    settled, marks = settle(session.ledger, touched)
    return [*(state for state in states if state.table not in marks), *settled], marks


def _is_comparable(state: TableState, memory: Memory, catalog: Catalog) -> bool:
    """Tell whether the rows that are remembered of a table can still be looked up."""
    known = memory.tables.get(state.table)
    alike = known is not None and (known.key, known.server) == (state.key, state.server)
    return known is not None and alike and {*known.columns} <= {*catalog.tables[state.table].columns}


def _is_whole(table: str, wrote: Wrote, memory: Memory) -> bool:
    """Tell whether every row that anybody seeds into the table was written in this run."""
    if table in memory.shared:
        return False
    ran = {name_of(each.load) for each in wrote.rows if each.load.stage not in wrote.known.reduced}
    over = {load.name for load in _no_more(wrote)}
    return all(
        load.name in ran or load.name in over or not load.files
        for load in memory.loads
        if load.table == table
    )


def _written_keys(state: TableState, wrote: Wrote) -> pl.DataFrame:
    frames = [
        batch.frame.select(state.key)
        for write in _writes(wrote)
        if write.table.name == state.table
        for batch in write.batches()
    ]
    return pl.concat(frames) if len(frames) > 1 else frames[0]


def removal_of(load: LoadMemory, rows: pl.DataFrame, catalog: Catalog) -> Removal:
    """Name remembered rows so that they can be deleted; those whose keys are not known are left out."""
    frame = contents.names(rows, load.made)
    return Removal(table=catalog.tables[load.table], columns=tuple(frame.columns), frame=frame)


# ---- stages ---------------------------------------------------------------------------------------------


def stage_memories(
    wrote: Wrote, agenda: Agenda, standing: Standing, memory: Memory
) -> tuple[StageMemory, ...]:
    """What the stages of a run depend on, as it is now; a stage's own dependencies come before it.

    Of stages whose files were only saved again the new hashes are kept, and still the run that ran them.
    """
    situation = replace(standing.situation, catalog=wrote.catalog)
    stages = dict(memory.stages)
    by_id = {stage.id: stage for stage in agenda.stages if stage.id in standing.stale | standing.intact}
    for name in topological_order({stage.id: stage.dependencies for stage in agenda.stages}):
        if (stage := by_id.get(name)) is not None:
            ran = name in standing.stale
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
