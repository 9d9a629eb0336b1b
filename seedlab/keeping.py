"""Which rows are remembered of each load from now on, and which of them a sync must delete.

Whatever left the files stays ours as long as it is in the target: rows that moved to another seed are that
seed's now, rows that are named otherwise now are found again, rejected rows have not left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from seedlab.agenda import Agenda
from seedlab.errors import ConfigurationError
from seedlab.flow import (
    DIGEST,
    FILE,
    HANDLE,
    LEFT,
    Catalog,
    Load,
    LoadMemory,
    Removal,
    Seed,
    TableWrite,
    WritePlan,
    Written,
    memory,
)
from seedlab.frames import brief, contents
from seedlab.recalling import Known, Name, meaning, name_of
from seedlab.resolution import Rows
from seedlab.vouching import Slight

NO_HANDLES = pl.Series(HANDLE, [], dtype=pl.UInt128)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wrote:
    """What a run did: rows as read and as written, the plan they were written by, what became of them.

    `rejected` are the handles of rows that were not written, by table; NULL where a row has no name. `slight`
    are tables of which only few rows were written.
    """

    run_id: str
    stages: frozenset[str]
    read: Sequence[Rows]
    rows: Sequence[Rows]
    plan: WritePlan
    written: Sequence[Written]
    known: Known
    catalog: Catalog
    empty: frozenset[str]
    rejected: Mapping[str, pl.Series] = field(default_factory=dict)
    slight: Mapping[str, Slight] = field(default_factory=dict)
    ids: str = "uuid8"

    @property
    def writes(self) -> Iterator[TableWrite]:
        """What was written, table by table."""
        return (write for group in self.plan.groups for write in group)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kept:
    """The rows of one load as they are remembered from now on; `doomed` are to be deleted and forgotten.

    These are named as they were when they were last brought (`before`). Where a run read only what changed,
    `content` are the rows that are remembered otherwise than they were (`replaced`), beside the `rest`.
    """

    load: LoadMemory
    content: pl.DataFrame
    doomed: pl.DataFrame
    before: LoadMemory
    replaced: pl.DataFrame = field(default_factory=contents.NOTHING.clone)
    rest: pl.DataFrame | None = None
    packed: Iterable[bytes] | None = None  # of very many rows, instead of the content

    @property
    def existing(self) -> int:
        """How many rows there were before any was deleted."""
        return self.load.rows + self.doomed.height

    def whole(self) -> pl.DataFrame:
        """All remembered rows."""
        parts = [part for part in (self.rest, self.content) if part is not None and part.height]
        return pl.concat(parts, how="diagonal") if parts else self.content

    def recent(self) -> pl.DataFrame:
        """What has to come behind the rows that were remembered before."""
        over = contents.without(self.replaced, self.content)
        return pl.concat([self.content, contents.forgotten(over)], how="diagonal")

    def continues(self, known: Known) -> bool:
        """Tell whether to add what is recent will do: files are counted as before, and not too much came."""
        if self.load.name in known.differing:
            return True  # all others are not at hand
        return (
            self.rest is not None
            and self.before.files == self.load.files
            and self.load.name not in known.grown
            and self.content.estimated_size() + self.replaced.estimated_size() < memory.PACK_BYTES
        )

    def packs(self, known: Known) -> Iterable[bytes]:
        """What the ledger is given: what is recent, or all."""
        if self.packed is not None:
            return self.packed
        return [contents.pack(self.recent())] if self.continues(known) else contents.packs(self.whole())


def keep(wrote: Wrote, agenda: Agenda) -> list[Kept]:
    """Settle which rows are remembered of each load, and which a sync must delete."""
    seeds = {(stage.id, seed.name): seed for stage in agenda.declared for seed in stage.seeds}
    brought = _by_load(wrote)
    touched = {name: each for name, each in brought.items() if not _is_untouched(each, wrote.known)}
    before = dict(wrote.known.before) | {
        name: _before(name, each, seeds[name[:2]], wrote)
        for name, each in touched.items()
        if name in wrote.known.loads
    }
    kept = [_kept(name, each, seeds[name[:2]], before, wrote) for name, each in touched.items()]
    syncs = {(seed.stage, seed.name) for seed in agenda.seeds if seed.mode == "sync"}
    kept += [
        _abandoned(load, wrote.known.before[load.name], sync=load.name[:2] in syncs)
        for load in no_more(wrote)
    ]
    return [_without_others(each, kept, wrote) for each in kept]


def _is_untouched(brought: _Brought, known: Known) -> bool:
    """Tell of a load of a reduced stage whether its rows are all as they are remembered."""
    mine = brought.read[0]
    reduced = mine.load.stage in known.reduced
    return reduced and not brought.rows and not known.has_left(mine.load)


def _before(name: Name, brought: _Brought, seed: Seed, wrote: Wrote) -> pl.DataFrame:
    """What is remembered of a load, as its files and its rows are named now."""
    known = wrote.known.loads[name]
    before = contents.renumber(wrote.known.before[name], known.files, [file.name for file in seed.files])
    return before if name[0] in wrote.known.reduced else _renamed(before, known, brought, wrote)


def _kept(
    name: Name, brought: _Brought, seed: Seed, remembered: Mapping[Name, pl.DataFrame], wrote: Wrote
) -> Kept:
    files = tuple(file.name for file in seed.files)
    if brought.read[0].briefs is not None and name[0] not in wrote.known.reduced:
        return _packed(brought, files, wrote)
    before, known = remembered.get(name, contents.NOTHING), wrote.known.loads.get(name)
    others = [frame for other, frame in remembered.items() if other[2] == name[2] and other != name]
    rest, rows = None, 0
    if name[0] in wrote.known.reduced:
        before, rest = _parted(brought, before, wrote.known)
        apart = wrote.known.differing.get(name)
        rows = contents.present(rest) + (apart.beside if apart else 0)
    after = _after(brought, before, files, others, wrote)
    left = after.filter(pl.col(FILE) == LEFT) if before.height else contents.NOTHING
    load = _load_memory(brought.read[0].load, files, rows + after.height - left.height, wrote.catalog)
    gone = left if seed.mode == "sync" else contents.NOTHING
    doomed = before.filter(pl.col(HANDLE).is_in(gone[HANDLE].implode())) if gone.height else gone
    return Kept(load=load, content=after, doomed=doomed, before=known or load, replaced=before, rest=rest)


def _parted(brought: _Brought, before: pl.DataFrame, known: Known) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The remembered rows that were written or have left, and all others."""
    written = [each.handled.frame[HANDLE] for each in brought.rows]
    left = known.compared[name_of(brought.read[0].load)].left[HANDLE]
    mine = before[HANDLE].is_in(pl.concat([left, *written]).implode())
    return before.filter(mine), before.filter(~mine)


def _packed(brought: _Brought, files: tuple[str, ...], wrote: Wrote) -> Kept:
    """Very many rows, of which none was remembered: they were packed while they were written."""
    rows = brought.read[0]
    assert rows.briefs is not None
    load = _load_memory(rows.load, files, rows.height, wrote.catalog)
    created = None if _all_created(brought) else _ordinals(brought)
    packed = brief.pack_all(rows.briefs.packs, rows.load, wrote.ids, wrote.run_id, created)
    return Kept(load=load, content=contents.NOTHING, doomed=contents.NOTHING, before=load, packed=packed)


def _renamed(before: pl.DataFrame, known: LoadMemory, brought: _Brought, wrote: Wrote) -> pl.DataFrame:
    """Find rows again that seem to have left, but are known by another key or kind of id now: also those
    that another seed brings to the same table.
    """
    now = pl.concat([each.handled.frame[HANDLE] for each in brought.read])
    gone = contents.left_now(before, now)
    columns = contents.named_by(gone, known.made)
    if not gone.height or not columns:
        return before
    if not {*columns} <= {*brought.read[0].load.columns}:
        return before.clear()  # what named them is not known of any row now: they are nobody's
    frames = [
        batch.frame.select(HANDLE, *columns)
        for write in wrote.writes
        if write.table.name == known.table
        for batch in write.batches()
        if batch.frame.height and {*columns} <= {*batch.load.columns}
    ]
    table = wrote.catalog.tables[known.table]
    return contents.renamed(before, pl.concat(frames), known.made, table) if frames else before


def no_more(wrote: Wrote) -> list[LoadMemory]:
    """Find the loads that nothing brings any more.

    They are of a stage that is gone, or that ran whole without a seed, a table or any record of it.
    """
    over = wrote.stages - wrote.known.reduced | wrote.known.gone
    brought = {name_of(each.load) for each in wrote.read}
    return [load for load in wrote.known.loads.values() if load.stage in over and load.name not in brought]


def _abandoned(load: LoadMemory, before: pl.DataFrame, *, sync: bool) -> Kept:
    content = contents.abandoned(before)
    doomed = content if sync else contents.NOTHING
    return Kept(load=replace(load, files=(), rows=0), content=content, doomed=doomed, before=load)


def _without_others(mine: Kept, kept: Sequence[Kept], wrote: Wrote) -> Kept:
    """Leave rows that left to the seed which brings them to the same table now.

    Spared, too, are those that a seed brings which did not run, and those that were rejected; all are where
    a rejected row has no name to be told by.
    """
    if mine.content[FILE].max() != LEFT:  # the largest number a file can have
        return mine
    left = mine.content.filter(pl.col(FILE) == LEFT)
    table, names = mine.load.table, {each.load.name for each in kept}
    theirs = contents.of_other_files(
        [each.whole() for each in kept if each is not mine and each.load.table == table]
    )
    absent = {n: c for n, c in wrote.known.before.items() if n[2] == table and n not in names}
    if mine.doomed.height and mine.before.key != mine.load.key and absent:
        raise ConfigurationError(_rekeyed(mine.load, min(absent)))
    others = contents.of_other_files(list(absent.values()))
    content = contents.without(mine.content, left.filter(pl.col(HANDLE).is_in(theirs.implode())))
    rejected = wrote.rejected.get(table, theirs.clear())
    spared = pl.concat([theirs, others, rejected])
    doomed = mine.doomed.filter(~pl.col(HANDLE).is_in(spared.implode()) & (rejected.null_count() == 0))
    return replace(mine, content=contents.without(content, doomed), doomed=doomed)


def _rekeyed(load: LoadMemory, other: Name) -> str:
    return (
        f"seed {load.seed}: the key of table {load.table} is {', '.join(load.key)} now, and seed {other[1]}, "
        "which fills it too, does not run: it cannot be told which rows that left are among those; "
        "run both at once, with --force"
    )


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
        if rows.load.stage not in wrote.known.reduced:
            mine.read = mine.rows
    for written in wrote.written:
        found[name_of(written.load)].written.append(written)
    for write in wrote.writes:
        _add_keys(write, found, wrote.catalog)
    return found


def _add_keys(write: TableWrite, found: Mapping[Name, _Brought], catalog: Catalog) -> None:
    """Keep key columns of the rows that were written, where their ids do not name them."""
    if all(load.whole or brief.named_by_id(load, catalog) for load in write.loads):
        return
    streamed = {rows.load: rows for load in write.loads for rows in found[name_of(load)].rows}
    if any(rows.briefs is not None for rows in streamed.values()):
        return
    if all(load in streamed and _are_known(streamed[load]) for load in write.loads):
        for load in write.loads:
            found[name_of(load)].keys += streamed[load].written
        return
    for batch in write.batches():
        names = [HANDLE, *dict.fromkeys(batch.load.key_columns)]
        columns = [batch.frame.get_column(name) for name in names]
        found[name_of(batch.load)].keys.append(pl.DataFrame(columns))


def _are_known(rows: Rows) -> bool:
    """Tell whether the keys of all rows were kept when they were written."""
    return sum(frame.height for frame in rows.written) == rows.height > 0


def _after(
    brought: _Brought,
    before: pl.DataFrame,
    files: Sequence[str],
    others: Sequence[pl.DataFrame],
    wrote: Wrote,
) -> pl.DataFrame:
    """The content of one load after the run; `others` are those of the table's other loads before."""
    load, run = brought.read[0].load, wrote.run_id
    names = [file.name for file in load.files]
    told = brought.rows if load.stage in wrote.known.reduced else brought.read
    now = [
        pl.DataFrame([each.handled.frame.get_column(name) for name in (FILE, HANDLE, DIGEST)])
        for each in told
    ] or [contents.NOTHING.select(FILE, HANDLE, DIGEST)]
    rows = contents.renumber(pl.concat(now) if len(now) > 1 else now[0], names, files)
    keys = (pl.concat(brought.keys) if len(brought.keys) > 1 else brought.keys[0]) if brought.keys else None
    read = [files.index(name) for name in names]
    moved = contents.made_elsewhere(rows[HANDLE], others) if others else contents.NOTHING
    return contents.renewed(before, rows, _created(brought), run, keys, read, moved)


def _load_memory(load: Load, files: tuple[str, ...], rows: int, catalog: Catalog) -> LoadMemory:
    return LoadMemory(
        stage=load.stage,
        seed=load.seed,
        table=load.table,
        meaning=meaning(load),
        files=files,
        rows=rows,
        key=load.spelled_key,
        made=load.made if brief.named_by_id(load, catalog) else None,
    )


def _created(brought: _Brought) -> pl.Series:
    """Handles of the rows that this run made; a load may have been answered in several pieces."""
    several = [each.handled.frame.get_column(HANDLE) for each in brought.rows] or [NO_HANDLES]
    handles = pl.concat(several) if len(several) > 1 else several[0]
    return handles if _all_created(brought) else handles.gather(_ordinals(brought))


def _all_created(brought: _Brought) -> bool:
    return all(each.outcomes.created == each.outcomes.total for each in brought.written)


def _ordinals(brought: _Brought) -> list[int]:
    """The places of the rows that were created among those that were written."""
    ordinals: list[int] = []
    start = 0
    for each in brought.written:
        if each.created is not None:
            ordinals += [start + n for n in each.created]
        elif each.outcomes.created == each.outcomes.total:
            ordinals += range(start, start + each.outcomes.total)
        start += each.outcomes.total
    return ordinals


def removal_of(load: LoadMemory, rows: pl.DataFrame, catalog: Catalog) -> Removal:
    """Name remembered rows so that they can be deleted; those whose keys are not known are left out."""
    frame = contents.names(rows, load.made)
    return Removal(table=catalog.tables[load.table], columns=tuple(frame.columns), frame=frame)
