"""Decides which rows of each load are remembered after a run, and which rows a sync deletes.

A row that left its files stays remembered as ours as long as it is in the target. But a row that moved to
another seed belongs to that seed now, a row that is known by another key now is the same row, and a rejected
row has not left its file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from seedlab.errors import ConfigurationError
from seedlab.flow import DIGEST, FILE, HANDLE, LEFT, Catalog, LoadMemory, LoadName, Removal, memory
from seedlab.frames import contents, key_packs, row_names
from seedlab.steps.agenda import Agenda
from seedlab.steps.recalling.unchanged_rows import Recalled, meaning_of
from seedlab.steps.remembering.written_run import WrittenLoad, WrittenRun, written_loads


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadUpdate:
    """How what is remembered of one load changes.

    `previous` is the load as it was remembered, `load` as it is from now on. `content` are its remembered
    rows. `to_delete` are rows that are deleted from the target and forgotten; they are named by the key of
    `previous`. If the run was reduced to what changed, `content` has only the rows that changed; these take
    the place of `replaced`, beside the `untouched` rows. Of very many rows there is no content, but `packed`.
    """

    load: LoadMemory
    content: pl.DataFrame
    to_delete: pl.DataFrame
    previous: LoadMemory
    replaced: pl.DataFrame = field(default_factory=contents.NOTHING.clone)
    untouched: pl.DataFrame | None = None
    packed: Iterable[bytes] | None = None

    @property
    def existing(self) -> int:
        """The number of rows before any is deleted."""
        return self.load.rows + self.to_delete.height

    def all_rows(self) -> pl.DataFrame:
        """Return all remembered rows."""
        parts = [part for part in (self.untouched, self.content) if part is not None and part.height]
        return pl.concat(parts, how="diagonal") if parts else self.content

    def without_deletion(self) -> LoadUpdate:
        """Forget the rows that were to be deleted, without deleting them."""
        return replace(self, to_delete=contents.NOTHING)

    def is_appended(self, recalled: Recalled) -> bool:
        """Tell whether the changes are appended to the packs in the ledger, instead of packing all rows anew.

        They are as long as both are counted by the same files, and few enough rows have changed.
        """
        if self.load.name in recalled.large_changes:
            return True  # the unchanged rows were not fetched
        return (
            self.untouched is not None
            and self.previous.files == self.load.files
            and self.load.name not in recalled.repack
            and self.content.estimated_size() + self.replaced.estimated_size() < memory.PACK_BYTES
        )

    def packs(self, recalled: Recalled) -> Iterable[bytes]:
        """Pack what the ledger is given: the changes to be appended, or all rows."""
        if self.packed is not None:
            return self.packed
        if self.is_appended(recalled):
            return [contents.pack(self._changes())]
        return contents.packs(self.all_rows())

    def _changes(self) -> pl.DataFrame:
        """Return the rows that changed, and entries that cancel those that are remembered no longer."""
        forgotten = contents.without(self.replaced, self.content)
        return pl.concat([self.content, contents.forget(forgotten)], how="diagonal")


def load_updates(written_run: WrittenRun, agenda: Agenda) -> list[LoadUpdate]:
    """Decide for each load what is remembered of it after the run, and which rows a sync deletes.

    Loads of reduced stages of which no row changed are left out. Raises ConfigurationError where a table's
    key changed and another of its seeds did not run.
    """
    recalled = written_run.recalled
    loads = {
        name: load
        for name, load in written_loads(written_run, agenda).items()
        if not _is_untouched(load, written_run)
    }
    remembered = dict(recalled.rows) | {
        name: _as_named_now(recalled.loads[name], load, written_run)
        for name, load in loads.items()
        if name in recalled.loads
    }
    by_table: dict[str, dict[LoadName, pl.DataFrame]] = {}
    for name, rows in remembered.items():
        by_table.setdefault(_table_of(name), {})[name] = rows
    updates = [
        _update(name, load, by_table.get(load.load.table, {}), written_run) for name, load in loads.items()
    ]
    syncs = {(seed.stage, seed.name) for seed in agenda.seeds if seed.mode == "sync"}
    updates += [
        _abandoned(load, recalled.rows[load.name], sync=(load.stage, load.seed) in syncs)
        for load in abandoned_loads(written_run)
    ]
    updates = [_without_moved_rows(each, updates, written_run) for each in updates]
    return [
        each if can_be_found(each.previous, each.to_delete, written_run.catalog) else each.without_deletion()
        for each in updates
    ]


def abandoned_loads(written_run: WrittenRun) -> list[LoadMemory]:
    """Find the remembered loads that no file has rows for any more.

    Their stage was removed, or all its files were read and the seed, the table or its records are not there.
    """
    recalled = written_run.recalled
    stages = written_run.stages - recalled.reduced | recalled.removed_stages
    read = {each.load.name for each in written_run.read}
    return [load for load in recalled.loads.values() if load.stage in stages and load.name not in read]


def can_be_found(load: LoadMemory, rows: pl.DataFrame, catalog: Catalog) -> bool:
    """Tell whether rows to be deleted can be found: a migration may have dropped their table or its key."""
    if not rows.height:
        return True
    table, names = catalog.tables.get(load.table), row_names.naming_columns(rows, load.made)
    return table is not None and table.holds_rows and {*names} <= {*table.columns}


def removal_of(load: LoadMemory, rows: pl.DataFrame, catalog: Catalog) -> Removal:
    """Name remembered rows so that they can be deleted; those whose keys are not known are left out."""
    frame = row_names.names(rows, load.made)
    return Removal(table=catalog.tables[load.table], columns=tuple(frame.columns), frame=frame)


# ---- loads that were read -------------------------------------------------------------------------------


def _is_untouched(load: WrittenLoad, written_run: WrittenRun) -> bool:
    """Tell of a load of a reduced stage whether all its rows are as they are remembered."""
    reduced = written_run.is_reduced(load.load)
    return reduced and not load.rows and not written_run.recalled.has_removed_rows(load.load)


def _as_named_now(known: LoadMemory, load: WrittenLoad, written_run: WrittenRun) -> pl.DataFrame:
    """Return a load's remembered rows, with the file numbers and the handles that these have now."""
    rows = contents.renumber(written_run.recalled.rows[known.name], known.files, load.files)
    return rows if written_run.is_reduced(load.load) else _renamed(rows, known, load, written_run)


def _renamed(
    remembered: pl.DataFrame, known: LoadMemory, load: WrittenLoad, written_run: WrittenRun
) -> pl.DataFrame:
    """Give remembered rows the handles that they have now, where the key or the kind of ids was changed.

    Such rows seem to have left the files. They are found by the key or id by which they were known, among
    all rows that were written to the table, also by other seeds.
    """
    now = pl.concat([each.handled.frame[HANDLE] for each in load.read])
    if now.equals(remembered[HANDLE]):  # fast path: no row has come or left
        return remembered
    missing = contents.created_and_left(remembered, now)
    columns = row_names.naming_columns(missing, known.made)
    if not missing.height or not columns:
        return remembered
    if not {*columns} <= {*load.load.columns}:
        return remembered.clear()  # nothing finds the rows: their old key is not seeded any more
    frames = [
        batch.frame.select(HANDLE, *columns)
        for write in written_run.plan.writes
        if write.table.name == known.table
        for batch in write.batches()
        if batch.frame.height and {*columns} <= {*batch.load.columns}
    ]
    table = written_run.catalog.tables[known.table]
    return row_names.rename(remembered, pl.concat(frames), known.made, table) if frames else remembered


def _update(
    name: LoadName, load: WrittenLoad, remembered: Mapping[LoadName, pl.DataFrame], written_run: WrittenRun
) -> LoadUpdate:
    """Decide what is remembered of a load; `remembered` has the rows of its table, by load, as they were."""
    recalled = written_run.recalled
    reduced = written_run.is_reduced(load.load)
    if load.read[0].short_handles is not None and not reduced:
        return _packed(load, written_run)
    before = remembered.get(name, contents.NOTHING)
    others = [rows for other, rows in remembered.items() if other != name]
    untouched, unchanged = None, 0
    if reduced:
        before, untouched = _split_touched(load, before, recalled)
        large = recalled.large_changes.get(name)
        unchanged = contents.count_present(untouched) + (large.unchanged if large else 0)
    after = _content(load, before, others, written_run)
    left = after.filter(pl.col(FILE) == LEFT) if before.height else contents.NOTHING
    memory = _load_memory(load, unchanged + after.height - left.height, written_run.catalog)
    to_delete = contents.NOTHING
    if load.seed.mode == "sync" and left.height:
        to_delete = before.filter(pl.col(HANDLE).is_in(left[HANDLE].implode()))
    return LoadUpdate(
        load=memory,
        content=after,
        to_delete=to_delete,
        previous=recalled.loads.get(name) or memory,
        replaced=before,
        untouched=untouched,
    )


def _table_of(name: LoadName) -> str:
    _, _, table = name
    return table


def _split_touched(
    load: WrittenLoad, remembered: pl.DataFrame, recalled: Recalled
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split remembered rows into those that were written or have left the files, and all others."""
    written = [each.handled.frame[HANDLE] for each in load.rows]
    left = recalled.compared[load.load.name].left[HANDLE]
    touched = remembered[HANDLE].is_in(pl.concat([left, *written]).implode())
    return remembered.filter(touched), remembered.filter(~touched)


def _packed(load: WrittenLoad, written_run: WrittenRun) -> LoadUpdate:
    """Remember very many rows, which were packed while they were written; none was remembered before."""
    rows = load.read[0]
    assert rows.short_handles is not None
    memory = _load_memory(load, rows.height, written_run.catalog)
    created = None if load.all_created else load.created_places()
    packed = key_packs.pack_all(
        rows.short_handles.packs, rows.load, written_run.ids, written_run.run_id, created
    )
    return LoadUpdate(
        load=memory, content=contents.NOTHING, to_delete=contents.NOTHING, previous=memory, packed=packed
    )


def _content(
    load: WrittenLoad, before: pl.DataFrame, others: Sequence[pl.DataFrame], written_run: WrittenRun
) -> pl.DataFrame:
    """Make the remembered rows of a load; `others` are those of the table's other loads."""
    names = [file.name for file in load.load.files]
    current = load.rows if written_run.is_reduced(load.load) else load.read
    frames = [
        pl.DataFrame([each.handled.frame.get_column(name) for name in (FILE, HANDLE, DIGEST)])
        for each in current
    ] or [contents.NOTHING.select(FILE, HANDLE, DIGEST)]
    rows = contents.renumber(pl.concat(frames) if len(frames) > 1 else frames[0], names, load.files)
    keys = (pl.concat(load.keys) if len(load.keys) > 1 else load.keys[0]) if load.keys else None
    if keys is not None and load.load.null_key_columns:
        keys = row_names.spell_null_keys(keys, sorted(load.load.null_key_columns & {*keys.columns}))
    read = [load.files.index(name) for name in names]
    moved = contents.created_for_others(rows[HANDLE], others) if others else contents.NOTHING
    return contents.update(before, rows, load.created(), written_run.run_id, keys, read, moved)


def _load_memory(written: WrittenLoad, rows: int, catalog: Catalog) -> LoadMemory:
    load = written.load
    return LoadMemory(
        stage=load.stage,
        seed=load.seed,
        table=load.table,
        meaning=meaning_of(load),
        files=written.files,
        rows=rows,
        key=load.spelled_key,
        made=load.made if key_packs.named_by_id(load, catalog) else None,
    )


# ---- rows that left their load --------------------------------------------------------------------------


def _abandoned(load: LoadMemory, remembered: pl.DataFrame, *, sync: bool) -> LoadUpdate:
    """Keep the rows of a load that no file has rows for any more as ours; a sync deletes and forgets them."""
    content = contents.mark_left(remembered)
    to_delete = content if sync else contents.NOTHING
    return LoadUpdate(
        load=replace(load, files=(), rows=0), content=content, to_delete=to_delete, previous=load
    )


def _without_moved_rows(
    update: LoadUpdate, updates: Sequence[LoadUpdate], written_run: WrittenRun
) -> LoadUpdate:
    """Forget the rows that left a load and that another seed writes to the same table now.

    Neither these are deleted, nor rows of seeds that did not run, nor rejected rows. If a rejected row of the
    table has no handle, nothing is deleted, since that row may be any of them.
    """
    if update.content[FILE].max() != LEFT:  # LEFT is larger than any file number
        return update
    left = update.content.filter(pl.col(FILE) == LEFT)
    table, names = update.load.table, {each.load.name for each in updates}
    others = [each.all_rows() for each in updates if each is not update and each.load.table == table]
    not_run = {
        name: rows
        for name, rows in written_run.recalled.rows.items()
        if _table_of(name) == table and name not in names
    }
    if update.to_delete.height and update.previous.key != update.load.key and not_run:
        raise ConfigurationError(_key_changed(update.load, min(not_run)))
    elsewhere = contents.handles_of_other_files(others)
    content = contents.without(update.content, left.filter(pl.col(HANDLE).is_in(elsewhere.implode())))
    rejected = written_run.rejected.get(table, elsewhere.clear())
    kept = pl.concat([elsewhere, contents.handles_of_other_files(list(not_run.values())), rejected])
    to_delete = update.to_delete.filter(~pl.col(HANDLE).is_in(kept.implode()) & (rejected.null_count() == 0))
    return replace(update, content=contents.without(content, to_delete), to_delete=to_delete)


def _key_changed(load: LoadMemory, other: LoadName) -> str:
    _, seed, _ = other
    return (
        f"seed {load.seed}: the key of table {load.table} changed to {', '.join(load.key)}, but seed {seed}, "
        "which fills the table too, does not run, so it is not known which rows no file has any more; "
        "run both at once, with --force"
    )
