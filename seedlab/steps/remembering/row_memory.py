"""Which rows are remembered of each load from now on, and which of them a sync must delete.

Whatever left the files stays ours as long as it is in the target: rows that moved to another seed are that
seed's now, rows that are named otherwise now are found again, rejected rows have not left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

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
from seedlab.steps.agenda import Agenda
from seedlab.steps.recalling.unchanged_rows import Known, Name, meaning, name_of
from seedlab.steps.remembering.table_state import Slight
from seedlab.steps.resolving.named_rows import Rows

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


@dataclass(slots=True, kw_only=True, eq=False)
class _Brought:
    """What a run knows of one load.

    `read` are its rows as they were read, `rows` those that were written, `written` what became of these,
    `keys` frames of HANDLE and key columns for rows that their ids do not name.
    """

    seed: Seed
    read: list[Rows] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    keys: list[pl.DataFrame] = field(default_factory=list)

    @property
    def load(self) -> Load:
        """The load that all these rows are of."""
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
        """The places of the rows that were created among those that were written."""
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
        """Handles of the rows that were created; a load may have been answered in several pieces."""
        pieces = [each.handled.frame.get_column(HANDLE) for each in self.rows] or [NO_HANDLES]
        handles = pl.concat(pieces) if len(pieces) > 1 else pieces[0]
        return handles if self.all_created else handles.gather(self.created_places())


def _by_load(wrote: Wrote, agenda: Agenda) -> dict[Name, _Brought]:
    seeds = {(stage.id, seed.name): seed for stage in agenda.declared for seed in stage.seeds}
    found: dict[Name, _Brought] = {}
    for read in wrote.read if wrote.known.reduced else wrote.rows:
        load = read.load
        found.setdefault(name_of(load), _Brought(seed=seeds[load.stage, load.seed])).read.append(read)
    for rows in wrote.rows:
        brought = found[name_of(rows.load)]
        brought.rows.append(rows)
        if rows.load.stage not in wrote.known.reduced:
            brought.read = brought.rows
    for written in wrote.written:
        found[name_of(written.load)].written.append(written)
    for write in wrote.writes:
        _add_keys(write, found, wrote.catalog)
    return found


def keep(wrote: Wrote, agenda: Agenda) -> list[Kept]:
    """Settle which rows are remembered of each load, and which a sync must delete."""
    known = wrote.known
    loads = _by_load(wrote, agenda)
    touched = {name: brought for name, brought in loads.items() if not _is_untouched(brought, known)}
    before = dict(known.before) | {
        name: _before(known.loads[name], brought, wrote)
        for name, brought in touched.items()
        if name in known.loads
    }
    kept = [_kept(name, brought, before, wrote) for name, brought in touched.items()]
    syncs = {(seed.stage, seed.name) for seed in agenda.seeds if seed.mode == "sync"}
    kept += [
        _abandoned(load, known.before[load.name], sync=(load.stage, load.seed) in syncs)
        for load in no_more(wrote)
    ]
    return [_without_others(each, kept, wrote) for each in kept]


def _is_untouched(brought: _Brought, known: Known) -> bool:
    """Tell of a load of a reduced stage whether its rows are all as they are remembered."""
    reduced = brought.load.stage in known.reduced
    return reduced and not brought.rows and not known.has_left(brought.load)


def _before(known: LoadMemory, brought: _Brought, wrote: Wrote) -> pl.DataFrame:
    """The remembered rows of a load, by the file numbers and the handles that these have now."""
    before = contents.renumber(wrote.known.before[known.name], known.files, brought.files)
    return before if known.stage in wrote.known.reduced else _renamed(before, known, brought, wrote)


def _kept(name: Name, brought: _Brought, remembered: Mapping[Name, pl.DataFrame], wrote: Wrote) -> Kept:
    """Settle what is remembered of one load; `remembered` are the rows of all loads as they were before."""
    reduced = brought.load.stage in wrote.known.reduced
    if brought.read[0].briefs is not None and not reduced:
        return _packed(brought, wrote)
    before, known = remembered.get(name, contents.NOTHING), wrote.known.loads.get(name)
    beside = [
        frame
        for other, frame in remembered.items()
        if _table_of(other) == brought.load.table and other != name
    ]
    rest, rows = None, 0
    if reduced:
        before, rest = _parted(brought, before, wrote.known)
        apart = wrote.known.differing.get(name)
        rows = contents.present(rest) + (apart.beside if apart else 0)
    after = _after(brought, before, beside, wrote)
    left = after.filter(pl.col(FILE) == LEFT) if before.height else contents.NOTHING
    load = _load_memory(brought, rows + after.height - left.height, wrote.catalog)
    gone = left if brought.seed.mode == "sync" else contents.NOTHING
    doomed = before.filter(pl.col(HANDLE).is_in(gone[HANDLE].implode())) if gone.height else gone
    return Kept(load=load, content=after, doomed=doomed, before=known or load, replaced=before, rest=rest)


def _table_of(name: Name) -> str:
    _, _, table = name
    return table


def _parted(brought: _Brought, before: pl.DataFrame, known: Known) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split remembered rows into those that were written or have left the files, and all others."""
    written = [each.handled.frame[HANDLE] for each in brought.rows]
    left = known.compared[name_of(brought.load)].left[HANDLE]
    concerned = before[HANDLE].is_in(pl.concat([left, *written]).implode())
    return before.filter(concerned), before.filter(~concerned)


def _packed(brought: _Brought, wrote: Wrote) -> Kept:
    """Keep very many rows, of which none was remembered: they were packed while they were written."""
    rows = brought.read[0]
    assert rows.briefs is not None
    load = _load_memory(brought, rows.height, wrote.catalog)
    created = None if brought.all_created else brought.created_places()
    packed = brief.pack_all(rows.briefs.packs, rows.load, wrote.ids, wrote.run_id, created)
    return Kept(load=load, content=contents.NOTHING, doomed=contents.NOTHING, before=load, packed=packed)


def _renamed(before: pl.DataFrame, known: LoadMemory, brought: _Brought, wrote: Wrote) -> pl.DataFrame:
    """Give remembered rows that seem to have left, but are known by another key or kind of id now, that name.

    Also those that another seed brings to the same table.
    """
    now = pl.concat([each.handled.frame[HANDLE] for each in brought.read])
    gone = contents.left_now(before, now)
    columns = contents.named_by(gone, known.made)
    if not gone.height or not columns:
        return before
    if not {*columns} <= {*brought.load.columns}:
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
    """Keep the rows of a load that nothing brings any more as ours; a sync deletes and forgets them."""
    content = contents.abandoned(before)
    doomed = content if sync else contents.NOTHING
    return Kept(load=replace(load, files=(), rows=0), content=content, doomed=doomed, before=load)


def _without_others(kept: Kept, every: Sequence[Kept], wrote: Wrote) -> Kept:
    """Take out of a load the rows that left it and that another seed brings to the same table now.

    Not deleted are, besides, rows that a seed brings which did not run, and rejected ones; none at all is
    where a rejected row has no name to be told by.
    """
    if kept.content[FILE].max() != LEFT:  # the largest number a file can have
        return kept
    left = kept.content.filter(pl.col(FILE) == LEFT)
    table, names = kept.load.table, {each.load.name for each in every}
    beside = [each.whole() for each in every if each is not kept and each.load.table == table]
    absent = {
        name: rows
        for name, rows in wrote.known.before.items()
        if _table_of(name) == table and name not in names
    }
    if kept.doomed.height and kept.before.key != kept.load.key and absent:
        raise ConfigurationError(_rekeyed(kept.load, min(absent)))
    elsewhere = contents.of_other_files(beside)
    content = contents.without(kept.content, left.filter(pl.col(HANDLE).is_in(elsewhere.implode())))
    rejected = wrote.rejected.get(table, elsewhere.clear())
    spared = pl.concat([elsewhere, contents.of_other_files(list(absent.values())), rejected])
    doomed = kept.doomed.filter(~pl.col(HANDLE).is_in(spared.implode()) & (rejected.null_count() == 0))
    return replace(kept, content=contents.without(content, doomed), doomed=doomed)


def _rekeyed(load: LoadMemory, other: Name) -> str:
    _, seed, _ = other
    return (
        f"seed {load.seed}: the key of table {load.table} is {', '.join(load.key)} now, and seed {seed}, "
        "which fills it too, does not run: it cannot be told which rows that left are among those; "
        "run both at once, with --force"
    )


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
    brought: _Brought, before: pl.DataFrame, beside: Sequence[pl.DataFrame], wrote: Wrote
) -> pl.DataFrame:
    """The content of one load after the run; `beside` are the remembered rows of the table's other loads."""
    load, files = brought.load, brought.files
    names = [file.name for file in load.files]
    told = brought.rows if load.stage in wrote.known.reduced else brought.read
    now = [
        pl.DataFrame([each.handled.frame.get_column(name) for name in (FILE, HANDLE, DIGEST)])
        for each in told
    ] or [contents.NOTHING.select(FILE, HANDLE, DIGEST)]
    rows = contents.renumber(pl.concat(now) if len(now) > 1 else now[0], names, files)
    keys = (pl.concat(brought.keys) if len(brought.keys) > 1 else brought.keys[0]) if brought.keys else None
    read = [files.index(name) for name in names]
    moved = contents.made_elsewhere(rows[HANDLE], beside) if beside else contents.NOTHING
    return contents.renewed(before, rows, brought.created(), wrote.run_id, keys, read, moved)


def _load_memory(brought: _Brought, rows: int, catalog: Catalog) -> LoadMemory:
    load = brought.load
    return LoadMemory(
        stage=load.stage,
        seed=load.seed,
        table=load.table,
        meaning=meaning(load),
        files=brought.files,
        rows=rows,
        key=load.spelled_key,
        made=load.made if brief.named_by_id(load, catalog) else None,
    )


def removal_of(load: LoadMemory, rows: pl.DataFrame, catalog: Catalog) -> Removal:
    """Name remembered rows so that they can be deleted; those whose keys are not known are left out."""
    frame = contents.names(rows, load.made)
    return Removal(table=catalog.tables[load.table], columns=tuple(frame.columns), frame=frame)
