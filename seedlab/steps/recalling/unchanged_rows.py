"""What a run takes from the ledger: which rows of a file that changed are remembered just as they are.

Rows are remembered by hashes of their key and of all that the file says of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import polars as pl
from xxhash import xxh3_128_hexdigest

from seedlab.database.writer import Session
from seedlab.flow import DIGEST, FILE, HANDLE, LEFT, ROW, Catalog, Load, LoadMemory, Memory, Stage
from seedlab.frames import contents, ids
from seedlab.frames.contents import Compared
from seedlab.frames.resolve import digests
from seedlab.plan import graph
from seedlab.plan.freshness import Verdict
from seedlab.steps.agenda import Task
from seedlab.steps.recalling.large_files import Differing, vast
from seedlab.steps.resolving.named_rows import Rows

Name = tuple[str, str, str]  # stage, seed, table


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Remembered:
    """The rows of a load as they were packed last, and whether it is time to pack them anew."""

    rows: pl.DataFrame
    grown: bool


Fetched = Mapping[Name, Remembered | None]  # None: rows are so many that they are compared where they are


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """What was remembered of the loads of this run, and of others that may fill their tables.

    `gone` are stages that the project has no more. Of `reduced` stages just the seeds of `read` were read,
    and of each of their loads `compared` has what is new in its files and what has left them; `grown` are to
    be packed anew. Of `differing` loads `before` has just the rows that differ.
    """

    loads: Mapping[Name, LoadMemory]
    before: Mapping[Name, pl.DataFrame]
    reduced: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    read: frozenset[tuple[str, str]] = frozenset()
    compared: Mapping[Name, Compared] = field(default_factory=dict)
    grown: frozenset[Name] = frozenset()
    differing: Mapping[Name, Differing] = field(default_factory=dict)

    def unknown(self, rows: Sequence[Rows]) -> list[Rows]:
        """Leave of the reduced stages the rows that are not remembered just so, each of its own file."""
        return [self._unknown(each) if each.load.stage in self.reduced else each for each in rows]

    def _unknown(self, rows: Rows) -> Rows:
        if (found := self.differing.get(name_of(rows.load))) is not None:
            return replace(rows.with_frame(found.frame), briefs=None)
        return rows.with_frame(contents.unknown(rows.handled.frame, self._in_files_of(rows.load)))

    def _in_files_of(self, load: Load) -> pl.DataFrame:
        name = name_of(load)
        return _of_files(load, self.loads[name], self.before[name])

    def covers(self, rows: Sequence[Rows], unknown: Sequence[Rows], memory: Memory, catalog: Catalog) -> bool:
        """Tell whether what is remembered and these rows of changed files say all there is to say; `unknown`
        are those that are not remembered just so.

        Not so where a load means something else now, where a table of a seed has no rows in the changed
        file any more, where another file brings the same row, and where rows that stay as they are may name
        one that changed by another key than its own.
        """
        mine = [
            (each, bool(new.handled.frame.height))
            for each, new in zip(rows, unknown, strict=True)
            if each.load.stage in self.reduced
        ]
        names = {name_of(each.load) for each, _ in mine}
        if any(load.name not in names for load in memory.loads if load.name[:2] in self.read):
            return False
        behind = {name for stage in self.reduced for name in memory.stages[stage].tables}
        return all(self._covers(each, behind, catalog, changed=changed) for each, changed in mine)

    def _covers(self, rows: Rows, tables: Collection[str], catalog: Catalog, *, changed: bool) -> bool:
        load, name = rows.load, name_of(rows.load)
        known = self.loads.get(name)
        if known is None or known.meaning != meaning(load):
            return False
        if changed and _has_other_names(load, tables, catalog):
            return False
        new = self.compared[name].new
        if new.is_empty():
            return True
        read = _places(known, rows.load)
        mine = contents.of_other_files([self.before[name]], read)
        others = contents.of_other_files(
            [
                frame
                for other, frame in self.before.items()
                if other[2] == name[2] and other != name and other[0] not in self.gone
            ]
        )
        return not pl.concat([mine, others]).is_in(new.implode()).any()

    def as_made(self, task: Task, loads: Sequence[Load]) -> dict[str, pl.Series]:
        """By table, the handles of rows that files still bring, and that are there with these ids, as we made
        them: nobody has changed a seeded row of their tables. No other column of them is referred to.
        """
        found: dict[str, list[pl.Series]] = {}
        referred = ids.referred_columns(loads)
        for name in self.compared:
            rows, table, made = self.before[name], name[2], self.loads[name].made
            if table not in task.assessment.table_states or table in task.assessment.drifted:
                continue
            if {*referred.get(table, ())} <= {made} <= {*task.memory.tables[table].columns} and (
                f"{contents.KEY}{made}" not in rows.columns
            ):
                ours = (rows[FILE] != LEFT) & rows[contents.RUN].is_not_null()
                found.setdefault(table, []).append(rows[HANDLE].filter(ours))
        return {table: pl.concat(several) for table, several in found.items()}

    def has_left(self, load: Load) -> bool:
        """Tell of a load of a reduced stage whether remembered rows are no more in its files."""
        return bool(self.compared[name_of(load)].left.height)


def _of_files(load: Load, known: LoadMemory, rows: pl.DataFrame) -> pl.DataFrame:
    """Of remembered rows those of the files that a load reads, counted as it does."""
    return contents.of_files(rows, known.files, [file.name for file in load.files])


def _places(known: LoadMemory, load: Load) -> list[int]:
    """The numbers by which the files of a load are remembered."""
    read = {file.name for file in load.files}
    return [n for n, name in enumerate(known.files) if name in read]


def name_of(load: Load) -> Name:
    """The name of a load in the ledger: stage, seed, table."""
    return load.stage, load.seed, load.table


def meaning(load: Load) -> str:
    """Hash what a load's rows mean: remembered rows of another meaning say nothing.

    By names only: a table that we make ourselves is spelled otherwise by the database afterwards.
    """
    references = [(r.foreign_key.columns, r.parent, r.key, r.sources()) for r in load.references]
    told = (
        load.table,
        load.spelled_key,
        load.key_columns,
        load.columns,
        sorted(load.values),
        references,
        load.mode,
    )
    return xxh3_128_hexdigest(repr(told).encode())


def _has_other_names(load: Load, tables: Collection[str], catalog: Catalog) -> bool:
    """Tell whether rows of these tables could name a row by values that move from one to another: those of
    a key beside its own. An id never moves.
    """
    given = any(
        {*key.columns} <= {*load.columns} and {*key.columns} != {*load.key_columns}
        for key in catalog.tables[load.table].keys
        if not key.primary
    )
    return given and any(
        key.parent == load.table
        for name in tables
        if name in catalog.tables
        for key in catalog.tables[name].foreign_keys
    )


def reduced(stage: Stage, verdict: Verdict, memory: Memory) -> Stage | None:
    """The stage with just the files that changed, which may be none; None where that cannot be enough."""
    if verdict.files is None:
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


def smaller(task: Task) -> dict[str, Stage]:
    """The stages of which just the changed files are read: not those behind one that is read whole."""
    if task.options.environment.subset or task.options.rejects:
        return {}
    stale = {stage.id: stage for stage in task.stale}
    found: dict[str, Stage] = {}
    for name in graph.topological_order({stage.id: stage.dependencies for stage in task.agenda.stages}):
        if (stage := stale.get(name)) is None:
            continue
        alone = all(each in found for each in stage.dependencies if each in stale)
        small = reduced(stage, task.assessment.verdicts[name], task.memory) if alone else None
        if small is not None:
            found[name] = small
    return found


def of_changed(task: Task, session: Session) -> Fetched:
    """Fetch what is remembered of the loads whose files changed, where only these are to be read; of those
    with very many rows it is left where it is.
    """
    read = {(stage.id, seed.name) for stage in smaller(task).values() for seed in stage.seeds}
    mine = [load.name for load in task.memory.loads if load.name[:2] in read]
    apart = vast(task.memory).intersection(mine)
    return {**dict.fromkeys(apart), **recall_loads(session, task, [n for n in mine if n not in apart])}


def recall(
    task: Task,
    session: Session,
    stages: Sequence[Stage],
    rows: Sequence[Rows],
    reduced: frozenset[str] = frozenset(),
    fetched: Fetched = MappingProxyType({}),
    differing: Mapping[Name, Differing] = MappingProxyType({}),
) -> Known:
    """Fetch what is remembered of these stages, of stages that are gone, and of all that fill a table of a
    sync; of reduced stages only the loads that were read, and where these bring new rows all of their tables.

    What was `fetched` before is not fetched again, nor what is known of `differing` loads.
    """
    memory = task.memory
    gone = frozenset({load.stage for load in memory.loads} - {stage.id for stage in task.agenda.declared})
    names = {stage.id for stage in stages} - reduced | gone
    syncs = {(stage.id, seed.name) for stage in stages for seed in stage.seeds if seed.mode == "sync"}
    brought = {name_of(each.load) for each in rows}
    tables = {name[2] for name in (*brought, *(load.name for load in memory.loads)) if name[:2] in syncs}
    loads = {
        load.name: load
        for load in memory.loads
        if load.stage in names or load.table in tables or load.name in brought
    }
    found = {name: each for name, each in fetched.items() if each is not None}
    found |= {name: Remembered(rows=each.before, grown=False) for name, each in differing.items()}
    found |= recall_loads(session, task, [name for name in loads if name not in found])
    before = {name: found[name].rows for name in loads}
    grown = frozenset(name for name in loads if found[name].grown)
    compared = {
        name: contents.compare(handles, _of_files(load, loads[name], before[name]))
        for name, (handles, load) in _read(rows, loads, reduced, differing).items()
    }
    tables = {name[2] for name, each in compared.items() if len(each.new)}
    others = {load.name: load for load in memory.loads if load.table in tables and load.name not in loads}
    before |= {name: each.rows for name, each in recall_loads(session, task, list(others)).items()}
    return Known(
        loads=loads | others,
        before=before,
        reduced=reduced,
        gone=gone,
        read=frozenset((s.id, seed.name) for s in stages if s.id in reduced for seed in s.seeds),
        compared=compared,
        grown=grown,
        differing=differing,
    )


def recall_loads(session: Session, task: Task, names: Sequence[Name]) -> dict[Name, Remembered]:
    """Fetch what is remembered of some loads."""
    packed = session.ledger.recall(task.project.name, names) if names else []
    return {
        name: Remembered(rows=contents.unpack(each), grown=contents.has_grown(each))
        for name, each in zip(names, packed, strict=True)
    }


# ---- rows that are as they were -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spared:
    """Rows of which most say what they said at the same place of the same file: these have their handles
    from what is remembered, and only the `others` need be named and judged.
    """

    whole: pl.DataFrame
    then: pl.Series
    same: pl.Series
    others: pl.DataFrame

    def named(self, handles: pl.Series) -> pl.DataFrame:
        """All rows by their handles, without what else the files say; these are those of the others."""
        mine = self.then.clone().rename(HANDLE)
        mine = mine.scatter((~self.same).arg_true(), handles) if len(handles) else mine
        return pl.DataFrame([self.whole[FILE], self.whole[ROW], mine])

    def nothing(self) -> pl.DataFrame:
        """No row, as those are that were named."""
        names = pl.Schema({HANDLE: pl.UInt128, DIGEST: pl.UInt64}).to_frame()
        return self.others[[FILE, ROW]].clear().hstack(names)


def spare(
    task: Task,
    loads: Sequence[Load],
    frames: Sequence[pl.DataFrame | None],
    fetched: Fetched,
) -> dict[int, Spared]:
    """Find, by their places, the loads whose rows may be spared; a frame that is not held is None."""
    known = {load.name: load for load in task.memory.loads}
    found: dict[int, Spared] = {}
    for n, (load, frame) in enumerate(zip(loads, frames, strict=True)):
        name = name_of(load)
        if (mine := fetched.get(name)) is None or frame is None or load.whole:
            continue
        if known[name].meaning != meaning(load):
            continue
        then = _of_files(load, known[name], mine.rows)
        if then.height == frame.height:
            same = (digests(frame) == then[DIGEST]) & (frame[FILE] == then[FILE])
            same = same.fill_null(value=False) if same.null_count() else same
            others = frame.clear() if same.all() else frame.filter(~same)
            found[n] = Spared(whole=frame, then=then[HANDLE], same=same, others=others)
    return found


def _read(
    rows: Sequence[Rows],
    loads: Mapping[Name, LoadMemory],
    reduced: frozenset[str],
    differing: Mapping[Name, Differing],
) -> dict[Name, tuple[pl.Series, Load]]:
    """The handles that each remembered load of a reduced stage has in the files that were read."""
    found: dict[Name, list[Rows]] = {}
    for each in rows:
        if each.load.stage in reduced and name_of(each.load) in loads:
            found.setdefault(name_of(each.load), []).append(each)
    return {
        name: (
            pl.concat([each.handled.frame[HANDLE] for each in mine])
            if name not in differing
            else differing[name].frame[HANDLE],
            mine[0].load,
        )
        for name, mine in found.items()
    }
