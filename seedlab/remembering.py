"""What a run takes from the ledger, and what it leaves there.

Rows are remembered by hashes: of their key and of what the file says (to find rows that changed in a file),
of their key and of what the table holds (to find rows that were changed behind our back).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl
from xxhash import xxh3_128_hexdigest

from seedlab.agenda import Agenda, Standing, state_of
from seedlab.database.ledger import renewed
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
    RowSet,
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
from seedlab.plan.freshness import Verdict
from seedlab.plan.graph import topological_order
from seedlab.resolution import Rows

Name = tuple[str, str, str]  # stage, seed, table


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """What was remembered of the loads of this run, and of others that fill their tables."""

    loads: Mapping[Name, LoadMemory]
    before: Mapping[Name, pl.DataFrame]
    reduced: frozenset[str] = frozenset()

    def unknown(self, rows: Sequence[Rows]) -> list[Rows]:
        """Leave of the reduced stages the rows that are not remembered just so."""
        return [
            each.with_frame(contents.unknown(each.handled.frame, self.before[name_of(each.load)]))
            if each.load.stage in self.reduced
            else each
            for each in rows
        ]

    def covers(self, rows: Sequence[Rows], memory: Memory) -> bool:
        """Tell whether what is remembered and these rows of changed files say all there is to say.

        Not so where a load means something else now, where a table of a seed has no rows in the changed
        file any more, and where another file brings the same row.
        """
        mine = [each for each in rows if each.load.stage in self.reduced]
        names = {name_of(each.load) for each in mine}
        seeds = {name[:2] for name in names}
        if any(load.name not in names for load in memory.loads if load.name[:2] in seeds):
            return False
        return all(self._covers(each) for each in mine)

    def _covers(self, rows: Rows) -> bool:
        load, name = rows.load, name_of(rows.load)
        known = self.loads.get(name)
        if known is None or known.meaning != meaning(load):
            return False
        read = [n for n, file in enumerate(known.files) if file in {f.name for f in load.files}]
        others = [contents.of_other_files(self.before[name], read)]
        others += [
            contents.of_other_files(frame, [])
            for other, frame in self.before.items()
            if other[2] == name[2] and other != name
        ]
        return not rows.handled.frame[HANDLE].is_in(pl.concat(others).implode()).any()

    def has_changed(self, read: Sequence[Rows], rows: Sequence[Rows]) -> bool:
        """Tell whether a row differs, or is no more."""
        return any(
            each.load.stage not in self.reduced or len(kept.handled.frame) or self._has_left(each)
            for each, kept in zip(read, rows, strict=True)
        )

    def _has_left(self, rows: Rows) -> bool:
        name = name_of(rows.load)
        files = [n for n, f in enumerate(self.loads[name].files) if f in {x.name for x in rows.load.files}]
        before = self.before[name].filter(pl.col(FILE).is_in(files))
        return not before[HANDLE].is_in(rows.handled.frame[HANDLE].implode()).all()


def name_of(load: Load) -> Name:
    """Name a load as the ledger does."""
    return load.stage, load.seed, load.table


def meaning(load: Load) -> str:
    """Hash what a load's rows mean: remembered rows of another meaning say nothing."""
    told = (load.table, load.key, load.columns, load.values, load.references, load.made, load.mode)
    return xxh3_128_hexdigest(repr(told).encode())


def reduced(stage: Stage, verdict: Verdict, memory: Memory) -> Stage | None:
    """The stage with just the files that changed; None where that cannot be enough."""
    if not verdict.files:
        return None
    known = {load.seed for load in memory.loads if load.stage == stage.id}
    seeds = []
    for seed in stage.seeds:
        files = tuple(file for file in seed.files if file.name in verdict.files)
        plain = seed.mode != "sync" and seed.duplicates == "error" and not seed.transform
        if files and not (plain and seed.name in known):
            return None
        if files:
            seeds.append(replace(seed, files=files))
    return replace(stage, seeds=tuple(seeds))


def recall(
    project: str, session: Session, memory: Memory, rows: Sequence[Rows], reduced: frozenset[str]
) -> Known:
    """Fetch what is remembered of these loads' stages, and of all that fill a table of a reduced one."""
    stages = {each.load.stage for each in rows}
    tables = {each.load.table for each in rows if each.load.stage in reduced}
    loads = {load.name: load for load in memory.loads if load.stage in stages or load.table in tables}
    packed = session.ledger.recall(project, list(loads)) if loads else []
    before = dict(zip(loads, map(contents.unpack, packed), strict=True))
    return Known(loads=loads, before=before, reduced=reduced)


# ---- what a run leaves ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wrote:
    """What a run did: rows as read and as written, the plan they were written by, what became of them."""

    read: Sequence[Rows]
    rows: Sequence[Rows]
    plan: WritePlan
    written: Sequence[Written]
    known: Known
    catalog: Catalog
    empty: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Left:
    """What is to be written into the ledger of the loads and tables of a run."""

    loads: tuple[LoadMemory, ...]
    contents: tuple[bytes, ...]
    states: tuple[TableState, ...]
    marks: Mapping[str, bytes | None]
    tallies: tuple[Tally, ...]
    gone: Mapping[Name, pl.DataFrame] = field(default_factory=dict)


def tallies_of(wrote: Wrote) -> tuple[Tally, ...]:
    """Say what became of every row where nothing is remembered."""
    loads = {name_of(each.load): each.load for each in wrote.written}
    return tuple(
        Tally(
            stage=load.stage,
            seed=load.seed,
            table=load.table,
            key=load.spelled_key,
            outcomes=_outcomes(name, wrote),
        )
        for name, load in loads.items()
    )


def leave(wrote: Wrote, agenda: Agenda, memory: Memory, session: Session) -> Left:
    """Settle what is remembered after a run, inside its transaction."""
    seeds = {(stage.id, seed.name): seed for stage in agenda.declared for seed in stage.seeds}
    loads, packed, gone = [], [], {}
    for name, brought in _by_load(wrote).items():
        files = tuple(file.name for file in seeds[name[:2]].files)
        before = _before(name, wrote.known, files)
        after = _after(brought, before, files)
        loads.append(_load_memory(brought.read[0].load, files, after))
        packed.append(contents.pack(after))
        lost = contents.left(before, after)
        if lost.height:
            gone[name] = lost
    for known in _abandoned(wrote):
        kept = contents.abandoned(wrote.known.before[known.name])
        loads.append(replace(known, files=(), rows=0))
        packed.append(contents.pack(kept))
        gone[known.name] = kept
    states = _states(wrote, memory)
    return Left(
        loads=tuple(loads),
        contents=tuple(packed),
        states=states,
        marks=_marks(states, wrote, memory, session),
        tallies=tuple(_tally(load, wrote) for load in loads if load.files),
        gone=gone,
    )


def _abandoned(wrote: Wrote) -> list[LoadMemory]:
    """Loads of stages that ran whole which nothing brings any more: a seed or a table that was taken out."""
    whole = {each.load.stage for each in wrote.read} - wrote.known.reduced
    brought = {name_of(each.load) for each in wrote.read}
    return [load for load in wrote.known.loads.values() if load.stage in whole and load.name not in brought]


@dataclass(slots=True, kw_only=True, eq=False)
class _Brought:
    """What a run knows of one load: its rows, those that were written and how, the keys they were given."""

    read: list[Rows] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    keys: list[pl.DataFrame] = field(default_factory=list)


def _by_load(wrote: Wrote) -> dict[Name, _Brought]:
    found: dict[Name, _Brought] = {}
    for read in wrote.read if wrote.known.reduced else wrote.rows:
        found.setdefault(name_of(read.load), _Brought()).read.append(read)
    for rows in wrote.rows:
        mine = found[name_of(rows.load)]
        mine.rows.append(rows)
        if name_of(rows.load)[0] not in wrote.known.reduced:
            mine.read = mine.rows
    for written in wrote.written:
        found[name_of(written.load)].written.append(written)
    for group in wrote.plan.groups:
        for write in group:
            _add_keys(write, found, wrote.catalog)
    return found


def _add_keys(write: TableWrite, found: Mapping[Name, _Brought], catalog: Catalog) -> None:
    """Keep key columns of the rows that were written, where their ids do not name them."""
    if all(_named_by_id(load, catalog) for load in write.loads):
        return
    for batch in write.batches():
        names = [HANDLE, *dict.fromkeys(batch.load.key_columns)]
        found[name_of(batch.load)].keys.append(batch.frame.select(names))


def _before(name: Name, known: Known, files: Sequence[str]) -> pl.DataFrame:
    if name not in known.before:
        return contents.NOTHING
    return contents.renumber(known.before[name], known.loads[name].files, files)


def _after(brought: _Brought, before: pl.DataFrame, files: Sequence[str]) -> pl.DataFrame:
    """The content of one load after the run."""
    load = brought.read[0].load
    names = [file.name for file in load.files]
    now = [each.handled.frame.select(FILE, HANDLE, DIGEST) for each in brought.read]
    rows = contents.renumber(pl.concat(now) if len(now) > 1 else now[0], names, files)
    keys = pl.concat(brought.keys) if brought.keys else None
    return contents.renewed(before, rows, _created(brought), keys, [files.index(name) for name in names])


def _load_memory(load: Load, files: tuple[str, ...], content: pl.DataFrame) -> LoadMemory:
    return LoadMemory(
        stage=load.stage,
        seed=load.seed,
        table=load.table,
        meaning=meaning(load),
        files=files,
        rows=content.filter(pl.col(FILE) != LEFT).height,
        key=load.spelled_key,
    )


def _created(brought: _Brought) -> pl.Series:
    """Handles of the rows that this run made; a load may have been answered in several pieces."""
    handles = pl.concat([each.handled.frame[HANDLE] for each in brought.rows])
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


def _named_by_id(load: Load, catalog: Catalog) -> bool:
    """Tell whether the rows that we create have their handles as ids."""
    return load.made is not None and catalog.tables[load.table].columns[load.made].kind == "uuid"


def _tally(load: LoadMemory, wrote: Wrote) -> Tally:
    """What became of all rows of a load: those that were not written are as they were."""
    total = _outcomes(load.name, wrote)
    changed = total.created + total.updated
    return Tally(
        stage=load.stage,
        seed=load.seed,
        table=load.table,
        key=load.key,
        outcomes=replace(total, unchanged=load.rows - changed),
    )


def _outcomes(name: Name, wrote: Wrote) -> Outcomes:
    return sum((each.outcomes for each in wrote.written if name_of(each.load) == name), Outcomes())


# ---- tables ---------------------------------------------------------------------------------------------


def _states(wrote: Wrote, memory: Memory) -> tuple[TableState, ...]:
    """The tables of a run, with all columns that were ever seeded."""
    states: dict[str, TableState] = {}
    for each in wrote.written:
        name = each.load.table
        known = states.get(name) or memory.tables.get(name)
        there = wrote.catalog.tables[name].columns
        columns = {*each.load.columns, *(known.columns if known else ())} & there.keys()
        states[name] = state_of(name, columns, tuple(dict.fromkeys(each.load.key_columns)), wrote.catalog)
    return tuple(states.values())


def _marks(
    states: Sequence[TableState], wrote: Wrote, memory: Memory, session: Session
) -> dict[str, bytes | None]:
    """Marks of the seeded rows of each table; a table that was empty has no others, and is left out."""
    filled = [state for state in states if state.table not in wrote.empty]
    if not filled:
        return {}
    remembered = session.ledger.recall_marks([state.table for state in filled])
    touched = session.ledger.marks(
        [RowSet(state=state, frame=_written_keys(state, wrote)) for state in filled]
    )
    marks: dict[str, bytes | None] = {}
    for state, mine in zip(filled, touched, strict=True):
        known = memory.tables.get(state.table)
        same = known is not None and (known.columns, known.key, known.server) == (
            state.columns,
            state.key,
            state.server,
        )
        before = remembered.get(state.table) if same else None
        if _is_whole(state.table, wrote, memory):
            marks[state.table] = mine
        else:
            marks[state.table] = renewed(before, mine) if before is not None else None
    return marks


def _is_whole(table: str, wrote: Wrote, memory: Memory) -> bool:
    """Tell whether every row that anybody seeds into the table was written in this run."""
    ran = {name_of(each.load) for each in wrote.rows if each.load.stage not in wrote.known.reduced}
    streamed = any(each.shaped.stream is not None for each in wrote.rows if each.load.table == table)
    return not streamed and all(load.name in ran for load in memory.loads if load.table == table)


def _written_keys(state: TableState, wrote: Wrote) -> pl.DataFrame:
    frames = [
        batch.frame.select(state.key)
        for group in wrote.plan.groups
        for write in group
        if write.table.name == state.table
        for batch in write.batches()
    ]
    return pl.concat(frames) if len(frames) > 1 else frames[0]


def stage_memories(
    wrote: Wrote, agenda: Agenda, standing: Standing, memory: Memory, run_id: str
) -> tuple[StageMemory, ...]:
    """What the stages of a run depend on, as it is now; a stage's own dependencies come before it."""
    situation = replace(standing.situation, catalog=wrote.catalog)
    stages = dict(memory.stages)
    by_id = {stage.id: stage for stage in agenda.stages if stage.id in standing.stale}
    for name in topological_order({stage.id: stage.dependencies for stage in agenda.stages}):
        if (stage := by_id.get(name)) is not None:
            tables = _tables_of(stage, wrote, memory)
            parts = freshness.parts(stage, situation, replace(memory, stages=stages), tables)
            stages[stage.id] = StageMemory(stage=stage.id, parts=parts, tables=tables, run=run_id)
    return tuple(each for each in stages.values() if each.stage in standing.stale)


def _tables_of(stage: Stage, wrote: Wrote, memory: Memory) -> tuple[str, ...]:
    """Tables that a stage fills, and those that it refers to."""
    loads = [each.load for each in wrote.read if each.load.stage == stage.id]
    tables = {load.table for load in loads}
    tables |= {reference.parent for load in loads for reference in load.references}
    if stage.id in wrote.known.reduced:
        tables |= set(memory.stages[stage.id].tables)
    return tuple(sorted(tables))
