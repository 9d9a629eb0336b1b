"""What a run takes from the ledger: which rows of a file that changed are remembered just as they are.

Rows are remembered by hashes of their key and of all that the file says of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl
from xxhash import xxh3_128_hexdigest

from seedlab.agenda import Task
from seedlab.database.writer import Session
from seedlab.flow import FILE, HANDLE, Catalog, Load, LoadMemory, Memory, Stage, StageMemory
from seedlab.frames import contents
from seedlab.plan.freshness import Verdict
from seedlab.resolution import Rows

Name = tuple[str, str, str]  # stage, seed, table


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """What was remembered of the loads of this run, and of others that fill their tables.

    `gone` are stages that the project has no more.
    """

    loads: Mapping[Name, LoadMemory]
    before: Mapping[Name, pl.DataFrame]
    reduced: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()

    def unknown(self, rows: Sequence[Rows]) -> list[Rows]:
        """Leave of the reduced stages the rows that are not remembered just so."""
        return [
            each.with_frame(contents.unknown(each.handled.frame, self.before[name_of(each.load)]))
            if each.load.stage in self.reduced
            else each
            for each in rows
        ]

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
        seeds = {name[:2] for name in names}
        if any(load.name not in names for load in memory.loads if load.name[:2] in seeds):
            return False
        return all(
            self._covers(each, memory.stages[each.load.stage], catalog, changed=changed)
            for each, changed in mine
        )

    def _covers(self, rows: Rows, stage: StageMemory, catalog: Catalog, *, changed: bool) -> bool:
        load, name = rows.load, name_of(rows.load)
        known = self.loads.get(name)
        if known is None or known.meaning != meaning(load):
            return False
        if changed and _has_other_names(load, stage.tables, catalog):
            return False
        read = [n for n, file in enumerate(known.files) if file in {f.name for f in load.files}]
        mine = contents.of_other_files([self.before[name]], read)
        others = contents.of_other_files(
            [
                frame
                for other, frame in self.before.items()
                if other[2] == name[2] and other != name and other[0] not in self.gone
            ]
        )
        return not rows.handled.frame[HANDLE].is_in(pl.concat([mine, others]).implode()).any()

    def has_left(self, rows: Rows) -> bool:
        """Tell of rows of a reduced stage whether some that are remembered are no more in their files."""
        name = name_of(rows.load)
        files = [n for n, f in enumerate(self.loads[name].files) if f in {x.name for x in rows.load.files}]
        gone = pl.col(FILE).is_in(files) & ~pl.col(HANDLE).is_in(rows.handled.frame[HANDLE].implode())
        return bool(self.before[name].select(gone.any()).item())


def name_of(load: Load) -> Name:
    """Name a load as the ledger does."""
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
    task: Task,
    session: Session,
    stages: Sequence[Stage],
    rows: Sequence[Rows],
    reduced: frozenset[str] = frozenset(),
) -> Known:
    """Fetch what is remembered of these stages, of stages that are gone, and of all that fill a table of a
    reduced one or of a sync.
    """
    memory = task.memory
    gone = frozenset({load.stage for load in memory.loads} - {stage.id for stage in task.agenda.declared})
    names = {stage.id for stage in stages} | gone
    syncs = {(stage.id, seed.name) for stage in stages for seed in stage.seeds if seed.mode == "sync"}
    brought = [name_of(each.load) for each in rows]
    tables = {name[2] for name in brought if name[0] in reduced}
    tables |= {name[2] for name in (*brought, *(load.name for load in memory.loads)) if name[:2] in syncs}
    loads = {load.name: load for load in memory.loads if load.stage in names or load.table in tables}
    packed = session.ledger.recall(task.project.name, list(loads)) if loads else []
    before = dict(zip(loads, map(contents.unpack, packed), strict=True))
    return Known(loads=loads, before=before, reduced=reduced, gone=gone)
