"""Plans the writes: assigns every id, orders the tables, and makes the batches when they are asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl

from seedlab.errors import WriteError
from seedlab.flow import (
    DIGEST,
    HANDLE,
    PRIORITIES,
    Batch,
    Catalog,
    Column,
    Load,
    Reserve,
    Settings,
    Sourced,
    TableWrite,
    WritePlan,
)
from seedlab.frames import ids, relationships
from seedlab.frames.batcher import cut, stack, stream
from seedlab.frames.cache import SeedCache
from seedlab.frames.key_packs import pack
from seedlab.frames.kinds import largest_integer
from seedlab.frames.resolve import Handled, Naming
from seedlab.plan.graph import components
from seedlab.plan.scheduler import ReadyQueue, Task
from seedlab.steps.preparing.reading import concurrency
from seedlab.steps.resolving.rows import Rows, full_batch, full_frames

Values = Sequence[Sequence[int] | Sequence[str]]


def tables_with_default_ids(loads: Sequence[Load], naming: Naming) -> frozenset[str]:
    """Find the tables whose ids the database makes while inserting, since no reference needs them before."""
    wanted = ids.referred_columns(loads)
    return frozenset(
        load.table
        for load in loads
        if load.made
        and naming.catalog.tables[load.table].columns[load.made].kind != "uuid"
        and load.made not in wanted.get(load.table, ())
    )


def plan_writes(
    rows: Sequence[Rows],
    naming: Naming,
    cache: SeedCache,
    settings: Settings,
    empty: frozenset[str],
) -> WritePlan:
    """Assign the ids, and order the writes: parents first, links last, the tables of a cycle together.

    `empty` are the tables without rows.
    """
    by_load = {each.load: each for each in rows}
    frames = _assign_ids([each.handled for each in rows if each.is_held], naming, cache)
    tables = {load.table: naming.catalog.tables[load.table] for load in by_load}
    parents = {name: table.parents & tables.keys() for name, table in tables.items()}
    needed = frozenset(parent for child, found in parents.items() for parent in found if parent != child)
    groups = relationships.order(_ordered(parents, rows), relationships.gather(list(by_load)), needed)

    def batches(loads: Sequence[Load]) -> Callable[[], Iterator[Batch]]:
        def make_batches() -> Iterator[Batch]:
            for load in loads:
                staged = by_load[load].staged
                if load in frames:
                    yield Batch(load=load, frame=frames[load])
                elif staged is not None:
                    yield Batch(load=load, frame=staged.names)
                else:
                    yield from _stream_batches(by_load[load], naming, cache, settings)

        return make_batches

    def write(batch: relationships.Relationships) -> TableWrite:
        height = sum(by_load[load].height for load in batch.loads)
        table = tables[batch.table]
        staged = {load: each.staging for load in batch.loads if (each := by_load[load].staged)}
        return TableWrite(
            table=table, loads=batch.loads, rows=height, batches=batches(batch.loads), staged=staged
        )

    return WritePlan(groups=tuple(tuple(map(write, group)) for group in groups), empty=empty)


def _ordered(parents: Mapping[str, Collection[str]], rows: Sequence[Rows]) -> list[tuple[str, ...]]:
    """Order groups of tables as a ready queue hands them out: parents first, then by priority and size."""
    groups = components(parents)
    by_table: defaultdict[str, list[Rows]] = defaultdict(list)
    for each in rows:
        by_table[each.load.table].append(each)
    group_of = {table: str(number) for number, tables in enumerate(groups) for table in tables}
    tasks = []
    for number, tables in enumerate(groups):
        waits_for = {group_of[parent] for table in tables for parent in parents[table]} - {str(number)}
        of_group = [each for table in tables for each in by_table[table]]
        tasks.append(
            Task(
                id=str(number),
                dependencies=tuple(sorted(waits_for)),
                priority=min((each.load.priority for each in of_group), key=PRIORITIES.index),
                estimated_ms=sum(each.height for each in of_group),
            )
        )
    queue = ReadyQueue(tasks)
    ordered = []
    while (task := queue.take()) is not None:
        ordered.append(groups[int(task)])
        queue.done(task)
    return ordered


def _assign_ids(handled: Sequence[Handled], naming: Naming, cache: SeedCache) -> dict[Load, pl.DataFrame]:
    """Map loads to frames of the columns to be written; loads of equal columns are evaluated as one frame."""
    groups: dict[object, list[Handled]] = {}
    for each in handled:
        load = each.load
        shape = (load.table, load.values, load.references, load.made, frozenset(each.frame.columns))
        groups.setdefault(shape, []).append(each)
    wholes = [
        Handled(load=equal_loads[0].load, frame=stack([each.frame for each in equal_loads]))
        for equal_loads in groups.values()
    ]
    frames: dict[Load, pl.DataFrame] = {}
    for equal_loads, whole in zip(groups.values(), ids.assign_all_ids(wholes, naming, cache), strict=True):
        parts = cut(whole, [each.frame.height for each in equal_loads])
        frames |= {each.load: part for each, part in zip(equal_loads, parts, strict=True)}
    return frames


def _stream_batches(rows: Rows, naming: Naming, cache: SeedCache, settings: Settings) -> Iterator[Batch]:
    """Read a streamed load again, batch by batch, and assign its ids.

    What the ledger needs of the rows is collected on the way: packed rows, or keys.
    """
    assert rows.shaped.stream is not None
    load, short_handles = rows.load, rows.short_handles
    names = [HANDLE, *dict.fromkeys(load.key_columns)]
    rows.written_keys.clear()
    if short_handles is not None:
        short_handles.packs = []

    def process(frame: pl.DataFrame) -> tuple[pl.DataFrame, bytes]:
        kept = full_batch(rows, frame, naming)
        written = ids.assign_ids(Handled(load=load, frame=kept), naming, cache)
        if short_handles is None:
            return written, b""
        return written, pack(written, kept.get_column(DIGEST), load, naming.catalog)

    for frame, packed in stream(rows.shaped.stream(), process, settings.batch_rows, concurrency(settings)):
        if short_handles is not None:
            short_handles.packs.append(packed)
        else:
            rows.written_keys.append(frame.select(names))
        yield Batch(load=load, frame=frame)


def sourced_rows(rows: Sequence[Rows], naming: Naming, plan: WritePlan) -> list[Sourced]:
    """Give the rows as the row-by-row writer takes them, with the files' own text, in the plan's order."""
    by_load = {each.load: each for each in rows}
    ordered = [by_load[load] for write in plan.writes for load in write.loads]
    return [
        Sourced(load=each.load, frame=pl.concat(list(full_frames(each, naming)), how="vertical"))
        for each in ordered
    ]


def with_sequences(
    rows: Sequence[Rows],
    naming: Naming,
    cache: SeedCache,
    reserve: Callable[[Sequence[Reserve]], Values],
) -> list[Rows]:
    """Take ids from sequences for new rows that others refer to; the other ids are made by the database.

    Must be called in the writing transaction, after the look-ups. Cost: one statement for each table that
    needs ids, all of them in one round trip.
    """
    loads = [each.load for each in rows]
    by_default = tables_with_default_ids(loads, naming)
    found: list[Rows] = []
    asks: list[Reserve] = []
    new_rows: list[pl.Series] = []
    for each in rows:
        load = each.load
        made = naming.catalog.tables[load.table].columns[load.made] if load.made else None
        if made is not None and load.table in by_default:
            without_id = replace(load, made=None)
            found.append(replace(each, handled=replace(each.handled, load=without_id)))
            continue
        found.append(each)
        if made is not None and made.kind != "uuid":
            handles = each.handled.frame[HANDLE]
            existing = cache.found(load.table)
            new = handles.filter(~handles.is_in(existing.implode())) if len(existing) else handles
            if len(new):
                asks.append(Reserve(table=load.table, column=made.name, count=len(new)))
                new_rows.append(new)
    for ask, new, given in zip(asks, new_rows, reserve(asks), strict=True):
        values = pl.DataFrame({HANDLE: new, ask.column: pl.Series(given).cast(pl.String)})
        cache.expose(ask.table, ask.column, values)
    expose(found, naming, cache)
    return found


def placeholders(catalog: Catalog) -> Callable[[Sequence[Reserve]], list[list[int]]]:
    """Make a stand-in for `reserve` where no sequence may advance; it returns ids that no row should have.

    They are negative numbers from the lower end of the column's range, without the lowest one, which some
    applications use as a marker. They fit the column and, if there are enough of them, the columns that refer
    to it. The function raises WriteError if the column is too small for so many ids.
    """
    taken: dict[str, int] = {}
    referring: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for other in catalog.tables.values():
        for key in other.foreign_keys:
            for own, parent in key.column_pairs:
                referring.setdefault((key.parent, parent), []).append((other.name, own))

    def reserve(wanted: Reserve) -> list[int]:
        table, column, count = wanted.table, wanted.column, wanted.count
        start = taken.get(table, 0) + 1
        taken[table] = end = start + count - 1
        columns = _columns_with_ids_of(catalog, referring, (table, column))
        largest = list(map(largest_integer, columns))
        if end > largest[0]:
            raise WriteError(
                f"column {column} of table {table} is {columns[0].type}, which is too small for the ids of "
                f"{end} new rows",
                table=table,
            )
        # A domain may refuse negative numbers. Then they are taken from the upper end, which a sequence
        # reaches last.
        sign = 1 if any(each.domain for each in columns) else -1
        limit = min(each for each in largest if end <= each) + 1
        return [sign * (limit - number) for number in range(start, end + 1)]

    return lambda asks: [reserve(each) for each in asks]


def _columns_with_ids_of(
    catalog: Catalog,
    referring: Mapping[tuple[str, str], Sequence[tuple[str, str]]],
    column: tuple[str, str],
) -> list[Column]:
    """Find the column, and all columns that refer to it, directly or through others."""
    found: dict[tuple[str, str], Column] = {}
    pending = [column]
    while pending:
        table, name = place = pending.pop()
        if place not in found:
            found[place] = catalog.tables[table].columns[name]
            pending += referring.get(place, ())
    return list(found.values())


def expose(rows: Sequence[Rows], naming: Naming, cache: SeedCache) -> None:
    """Tell the cache which ids do not follow from handles, so that references to the rows get them.

    These are ids that the files give, ids that a table takes over from another (these after their parents),
    and handles of rows by a key other than their own.
    """
    referred = ids.referred_columns([each.load for each in rows])
    parents = [(each, columns) for each in rows if (columns := referred.get(each.load.table, ()))]
    for each, columns in parents:
        if any(each.load.source_of(column) is not None for column in columns):
            _expose_by(ids.expose_explicit, each, naming, cache, columns)
    heirs = {each.load for each, columns in parents if any(map(each.load.inherits, columns))}
    for each, columns in _parents_first(parents) if heirs else parents:
        if each.load in heirs:
            _expose_by(ids.expose_inherited, each, naming, cache, columns)
        if each.load.table in naming.alternatives:
            _expose_by(ids.expose_alternatives, each, naming, cache, columns)


def _parents_first(rows: Sequence[tuple[Rows, tuple[str, ...]]]) -> list[tuple[Rows, tuple[str, ...]]]:
    parents: dict[str, list[str]] = {each.load.table: [] for each, _ in rows}
    for each, _ in rows:
        parents[each.load.table] += [
            reference.parent for reference in each.load.references if reference.parent in parents
        ]
    order = {table: number for number, tables in enumerate(components(parents)) for table in tables}
    return sorted(rows, key=lambda pair: order[pair[0].load.table])


def _expose_by(
    expose_frame: Callable[[Handled, Naming, SeedCache, Sequence[str]], None],
    rows: Rows,
    naming: Naming,
    cache: SeedCache,
    columns: Sequence[str],
) -> None:
    for frame in full_frames(rows, naming):
        expose_frame(Handled(load=rows.load, frame=frame), naming, cache, columns)
