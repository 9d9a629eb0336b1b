"""Fetches what the ledger remembers of loads, and finds the rows of changed files that did not change.

Rows are remembered by hashes of their key (the handle) and of all that the file says of them (the digest).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import polars as pl
from xxhash import xxh3_128_hexdigest

from seedlab.database.writer import Session
from seedlab.flow import FILE, HANDLE, LEFT, Catalog, Load, LoadMemory, LoadName, Memory, Stage
from seedlab.frames import contents, ids
from seedlab.frames.contents import Compared
from seedlab.frames.key_packs import KEY, RUN
from seedlab.frames.kinds import asks_for_names
from seedlab.frames.resolve import leaves
from seedlab.steps.agenda import Task
from seedlab.steps.recalling.changed_files import reduced_stages
from seedlab.steps.recalling.large_files import LargeLoadChanges, large_loads
from seedlab.steps.resolving.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RememberedRows:
    """The remembered rows of a load; `repack` tells whether they are due to be packed anew as a whole."""

    rows: pl.DataFrame
    repack: bool


# None for a load with so many rows that they are not fetched at once, but compared in batches.
FetchedRows = Mapping[LoadName, RememberedRows | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recalled:
    """What the ledger remembers, as far as a run fetched it: the loads it writes, and others of their tables.

    `rows` are the remembered rows of each load, as `frames.contents` has them; of loads with `large_changes`
    only those that differ. `removed_stages` are no longer declared by the project. `repack` names loads that
    are due to be packed anew as a whole.

    `reduced` are the stages of which only changed files were read, and `read_seeds` (stage, name) the seeds
    of these files. For each of their loads, `compared` has the handles that are new in the files, and the
    remembered rows that have left them.
    """

    loads: Mapping[LoadName, LoadMemory]
    rows: Mapping[LoadName, pl.DataFrame]
    reduced: frozenset[str] = frozenset()
    removed_stages: frozenset[str] = frozenset()
    read_seeds: frozenset[tuple[str, str]] = frozenset()
    compared: Mapping[LoadName, Compared] = field(default_factory=dict)
    repack: frozenset[LoadName] = frozenset()
    large_changes: Mapping[LoadName, LargeLoadChanges] = field(default_factory=dict)

    def changed_rows(self, rows: Sequence[Rows]) -> list[Rows]:
        """Leave of the loads of reduced stages only the rows that are new or differ from what is remembered.

        A row that moved to another file of its seed counts as changed.
        """
        return [self._changed(each) if each.load.stage in self.reduced else each for each in rows]

    def _changed(self, rows: Rows) -> Rows:
        name = rows.load.name
        if (found := self.large_changes.get(name)) is not None:
            return replace(rows.with_frame(found.frame), short_handles=None)
        remembered = rows_of_load(rows.load, self.loads[name], self.rows[name])
        return rows.with_frame(contents.changed_rows(rows.handled.frame, remembered))

    def suffices(
        self, rows: Sequence[Rows], changed: Sequence[Rows], memory: Memory, catalog: Catalog
    ) -> bool:
        """Tell whether the run can be reduced to the changed rows, or must read all files of its stages.

        `rows` are those of the files that were read, `changed` are those of them that changed. It cannot
        be reduced where a load's columns have another meaning than before, where a changed file has no
        rows for a table any more, where another file has the same row, and where unchanged rows may refer to
        a changed one by a key other than the one it is known by, and where rows seem to have left that the
        target may only name differently now, as after an upgrade of its collations.
        """
        reduced = [
            (each, bool(changed_rows.handled.frame.height))
            for each, changed_rows in zip(rows, changed, strict=True)
            if each.load.stage in self.reduced
        ]
        names = {each.load.name for each, _ in reduced}
        if any(load.name not in names for load in memory.loads if load.name[:2] in self.read_seeds):
            return False
        tables = {name for stage in self.reduced for name in memory.stages[stage].tables}
        return all(self._suffices(each, tables, catalog, changed=changed) for each, changed in reduced)

    def _suffices(self, rows: Rows, tables: Collection[str], catalog: Catalog, *, changed: bool) -> bool:
        load, name = rows.load, rows.load.name
        known = self.loads.get(name)
        if known is None or known.meaning != meaning_of(load):
            return False
        if changed and _has_other_names(load, tables, catalog):
            return False
        if self.has_removed_rows(load) and _is_named_by_target(load, catalog):
            return False
        new = self.compared[name].new
        if new.is_empty():
            return True
        own = contents.handles_of_other_files([self.rows[name]], _file_numbers(known, rows.load))
        others = contents.handles_of_other_files(
            [
                frame
                for (stage, seed, table), frame in self.rows.items()
                if table == load.table and (stage, seed, table) != name and stage not in self.removed_stages
            ]
        )
        return not pl.concat([own, others]).is_in(new.implode()).any()

    def existing_by_handle(self, task: Task, loads: Sequence[Load]) -> dict[str, pl.Series]:
        """Find, by table, the handles of rows that are certain to exist, with the id made from the handle.

        Those are rows that seedlab created and files still have, in tables of which nobody changed a
        seeded row, as long as `loads` refer to no other column of these tables than that id.
        """
        found: dict[str, list[pl.Series]] = {}
        referred = ids.referred_columns(loads)
        for name in self.compared:
            rows, table, made = self.rows[name], name[2], self.loads[name].made
            if table not in task.assessment.table_states or table in task.assessment.drifted:
                continue
            if {*referred.get(table, ())} <= {made} <= {*task.memory.tables[table].columns} and (
                f"{KEY}{made}" not in rows.columns
            ):
                created = (rows[FILE] != LEFT) & rows[RUN].is_not_null()
                found.setdefault(table, []).append(rows[HANDLE].filter(created))
        return {table: pl.concat(handles) for table, handles in found.items()}

    def has_removed_rows(self, load: Load) -> bool:
        """Tell of a load of a reduced stage whether remembered rows are no longer in its files."""
        return bool(self.compared[load.name].left.height)


def rows_of_load(load: Load, known: LoadMemory, rows: pl.DataFrame) -> pl.DataFrame:
    """Keep of remembered rows those of the files that a load reads, with FILE as the load counts them."""
    return contents.rows_of_files(rows, known.files, [file.name for file in load.files])


def _file_numbers(known: LoadMemory, load: Load) -> list[int]:
    """Return the numbers by which the remembered rows count the files of a load."""
    names = {file.name for file in load.files}
    return [n for n, name in enumerate(known.files) if name in names]


def meaning_of(load: Load) -> str:
    """Hash what a load's columns mean; rows remembered with another meaning cannot be compared.

    Types are left out, since the database may spell the type of a column otherwise than the MetaData that
    created the table.
    """
    references = [(r.foreign_key.columns, r.parent, r.key, r.sources()) for r in load.references]
    meaning = (
        load.table,
        load.spelled_key,
        load.key_columns,
        load.columns,
        sorted(load.values),
        references,
        load.mode,
    )
    return xxh3_128_hexdigest(repr(meaning).encode())


def _has_other_names(load: Load, tables: Collection[str], catalog: Catalog) -> bool:
    """Tell whether rows of these tables may refer to the load's rows by a unique key beside their own.

    The values of such a key may move from one row to another. Those of the primary key never do.
    """
    has_other_key = any(
        {*key.columns} <= {*load.columns} and {*key.columns} != {*load.key_columns}
        for key in catalog.tables[load.table].keys
        if not key.primary
    )
    return has_other_key and any(
        key.parent == load.table
        for name in tables
        if name in catalog.tables
        for key in catalog.tables[name].foreign_keys
    )


def _is_named_by_target(load: Load, catalog: Catalog) -> bool:
    return any(asks_for_names(column) for _, column in leaves(catalog, load.table, load.key))


# ---- fetch ----------------------------------------------------------------------------------------------


def fetch_changed_loads(task: Task, session: Session) -> FetchedRows:
    """Fetch what is remembered of the loads whose files changed, where only changed files are read.

    The rows of large loads are left in the ledger.
    """
    read = {(stage.id, seed.name) for stage in reduced_stages(task).values() for seed in stage.seeds}
    names = [load.name for load in task.memory.loads if load.name[:2] in read]
    large = large_loads(task.memory).intersection(names)
    return {**dict.fromkeys(large), **fetch_loads(session, task, [n for n in names if n not in large])}


def recall(
    task: Task,
    session: Session,
    stages: Sequence[Stage],
    rows: Sequence[Rows],
    reduced: frozenset[str] = frozenset(),
    fetched: FetchedRows = MappingProxyType({}),
    large_changes: Mapping[LoadName, LargeLoadChanges] = MappingProxyType({}),
) -> Recalled:
    """Fetch what is remembered of the loads of a run, and of the loads that may have the same rows.

    Those are all loads of `stages` and of stages that were removed, and all that fill a table of a `sync`
    seed. Of `reduced` stages they are only the loads that were read, and the others of a table in which these
    have new rows. What was `fetched` before, or is known by `large_changes`, is not fetched again.
    """
    memory = task.memory
    removed = task.agenda.removed_stages(memory)
    whole_stages = {stage.id for stage in stages} - reduced | removed
    syncs = {(stage.id, seed.name) for stage in stages for seed in stage.seeds if seed.mode == "sync"}
    read = {each.load.name for each in rows}
    sync_tables = {name[2] for name in (*read, *(load.name for load in memory.loads)) if name[:2] in syncs}
    loads = {
        load.name: load
        for load in memory.loads
        if load.stage in whole_stages or load.table in sync_tables or load.name in read
    }
    found = {name: each for name, each in fetched.items() if each is not None}
    found |= {name: RememberedRows(rows=each.before, repack=False) for name, each in large_changes.items()}
    found |= fetch_loads(session, task, [name for name in loads if name not in found])
    remembered = {name: found[name].rows for name in loads}
    compared = {
        name: contents.compare(handles, rows_of_load(load, loads[name], remembered[name]))
        for name, (handles, load) in _handles_read(rows, loads, reduced, large_changes).items()
    }
    with_new_rows = {name[2] for name, each in compared.items() if len(each.new)}
    others = {
        load.name: load for load in memory.loads if load.table in with_new_rows and load.name not in loads
    }
    remembered |= {name: each.rows for name, each in fetch_loads(session, task, list(others)).items()}
    return Recalled(
        loads=loads | others,
        rows=remembered,
        reduced=reduced,
        removed_stages=removed,
        read_seeds=frozenset((s.id, seed.name) for s in stages if s.id in reduced for seed in s.seeds),
        compared=compared,
        repack=frozenset(name for name in loads if found[name].repack),
        large_changes=large_changes,
    )


def fetch_loads(session: Session, task: Task, names: Sequence[LoadName]) -> dict[LoadName, RememberedRows]:
    """Fetch the remembered rows of these loads; one round trip, or none without names."""
    packed = session.ledger.recall(task.project.name, names) if names else []
    return {
        name: RememberedRows(rows=contents.unpack(each), repack=contents.has_grown(each))
        for name, each in zip(names, packed, strict=True)
    }


def _handles_read(
    rows: Sequence[Rows],
    loads: Mapping[LoadName, LoadMemory],
    reduced: frozenset[str],
    large_changes: Mapping[LoadName, LargeLoadChanges],
) -> dict[LoadName, tuple[pl.Series, Load]]:
    """Map the remembered loads of reduced stages to the handles in the files that were read."""
    found: dict[LoadName, list[Rows]] = {}
    for each in rows:
        if each.load.stage in reduced and each.load.name in loads:
            found.setdefault(each.load.name, []).append(each)
    return {
        name: (
            large_changes[name].frame[HANDLE]
            if name in large_changes
            else pl.concat([each.handled.frame[HANDLE] for each in pieces]),
            pieces[0].load,
        )
        for name, pieces in found.items()
    }
