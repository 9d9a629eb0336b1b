"""Collects what a run did: the rows that it read and wrote, load by load, for the ledger to remember."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from seedlab.flow import HANDLE, Catalog, Load, LoadName, Seed, TableWrite, WritePlan, Written
from seedlab.frames import key_packs
from seedlab.steps.agenda import Agenda
from seedlab.steps.recalling.unchanged_rows import Recalled
from seedlab.steps.remembering.table_state import IncrementalTables
from seedlab.steps.resolving.rows import Rows

NO_HANDLES = pl.Series(HANDLE, [], dtype=pl.UInt128)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WrittenRun:
    """What a run did in its transaction: rows as read and as written, by which plan, and with what outcome.

    `rejected` has by table the handles of rows that were not written, NULL where a row has no name.
    `incremental` are the tables of which only changed rows were written.
    """

    run_id: str
    stages: frozenset[str]
    read: Sequence[Rows]
    rows: Sequence[Rows]
    plan: WritePlan
    written: Sequence[Written]
    recalled: Recalled
    catalog: Catalog
    empty: frozenset[str]
    rejected: Mapping[str, pl.Series] = field(default_factory=dict)
    incremental: IncrementalTables = field(default_factory=IncrementalTables)
    ids: str = "uuid8"

    def is_reduced(self, load: Load) -> bool:
        """Tell whether only what changed was read of the load's stage."""
        return load.stage in self.recalled.reduced


@dataclass(slots=True, kw_only=True, eq=False)
class WrittenLoad:
    """What a run did with one load.

    `read` are its rows as they were read, `rows` those that were written, and `written` their outcomes.
    `keys` are frames of HANDLE and the key columns, for a load whose rows cannot be named by their ids.
    """

    seed: Seed
    read: list[Rows] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    keys: list[pl.DataFrame] = field(default_factory=list)

    @property
    def load(self) -> Load:
        """The load itself."""
        return self.read[0].load

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files of the seed, in the order by which remembered rows count them."""
        return tuple(file.name for file in self.seed.files)

    @property
    def all_created(self) -> bool:
        """Tell whether every row that was written is new in the target."""
        return all(each.outcomes.created == each.outcomes.total for each in self.written)

    def created_places(self) -> list[int]:
        """Return the places of the created rows among those that were written."""
        places: list[int] = []
        start = 0
        for each in self.written:
            if each.created is not None:
                places += [start + n for n in each.created]
            elif each.outcomes.created == each.outcomes.total:
                places += range(start, start + each.outcomes.total)
            start += each.outcomes.total
        return places

    def created(self) -> pl.Series:
        """Return the handles of the rows that were created."""
        pieces = [each.handled.frame.get_column(HANDLE) for each in self.rows] or [NO_HANDLES]
        handles = pl.concat(pieces) if len(pieces) > 1 else pieces[0]
        return handles if self.all_created else handles.gather(self.created_places())


def written_loads(written_run: WrittenRun, agenda: Agenda) -> dict[LoadName, WrittenLoad]:
    """Collect by load what a run did; a load of a reduced stage may have no rows that were written."""
    seeds = agenda.declared_seeds
    found: dict[LoadName, WrittenLoad] = {}
    for read in written_run.read if written_run.recalled.reduced else written_run.rows:
        seed = seeds[read.load.name[:2]]
        found.setdefault(read.load.name, WrittenLoad(seed=seed)).read.append(read)
    for rows in written_run.rows:
        load = found[rows.load.name]
        load.rows.append(rows)
        if not written_run.is_reduced(rows.load):
            load.read = load.rows
    for written in written_run.written:
        found[written.load.name].written.append(written)
    for write in written_run.plan.writes:
        _add_keys(write, found, written_run.catalog)
    return found


def _add_keys(write: TableWrite, loads: Mapping[LoadName, WrittenLoad], catalog: Catalog) -> None:
    """Collect the key columns of the rows that were written, where these cannot be named by their ids."""
    if all(load.whole or key_packs.named_by_id(load, catalog) for load in write.loads):
        return
    rows_of = {rows.load: rows for load in write.loads for rows in loads[load.name].rows}
    if any(rows.short_handles is not None for rows in rows_of.values()):
        return
    if all(load in rows_of and _has_all_keys(rows_of[load]) for load in write.loads):
        for load in write.loads:
            loads[load.name].keys += rows_of[load].written_keys
        return
    for batch in write.batches():
        names = [HANDLE, *dict.fromkeys(batch.load.key_columns)]
        columns = [batch.frame.get_column(name) for name in names]
        loads[batch.load.name].keys.append(pl.DataFrame(columns))


def _has_all_keys(rows: Rows) -> bool:
    """Tell whether the keys of all rows were kept while they were streamed to the target."""
    return sum(frame.height for frame in rows.written_keys) == rows.height > 0
