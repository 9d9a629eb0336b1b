"""Replace handles by ids and other referenced values, which makes rows ready for their table.

The handle of a row that does not exist yet *is* its uuid. `SeedCache` has the exceptions: existing rows with
other ids, explicit ids of the files, and values of sequences. They are joined by handle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from seedlab.flow import FILE, HANDLE, ROW, Load, Part
from seedlab.frames.batcher import SMALL, cut
from seedlab.frames.cache import SeedCache
from seedlab.frames.kinds import canonical, sortable, unfolded
from seedlab.frames.resolve import (
    ALTERNATIVE,
    Handled,
    Naming,
    alternative_column,
    leaves,
    reference_column,
)


class _Lookup(NamedTuple):
    """The values of a parent's `column` for these handles; `label` is its table, or another key of it.

    The values may be handles themselves if `of_ids`.
    """

    handles: pl.Series
    label: str
    column: str
    of_ids: bool


def assign_ids(handled: Handled, naming: Naming, cache: SeedCache) -> pl.DataFrame:
    """Compute the values of all `Load.columns`; return them with FILE, ROW and HANDLE.

    uuid columns made from handles are UInt128, all others text.
    """
    return assign_all_ids([handled], naming, cache)[0]


def assign_all_ids(handled: Sequence[Handled], naming: Naming, cache: SeedCache) -> list[pl.DataFrame]:
    """Compute the values of all columns of several loads, as `assign_ids` does, with common look-ups."""
    columns = [dict(_columns(each, naming)) for each in handled]
    wanted = [value for of_load in columns for value in of_load.values() if isinstance(value, _Lookup)]
    found = iter(_look_up(wanted, cache))
    assigned = []
    for each, of_load in zip(handled, columns, strict=True):
        values = {name: next(found) if isinstance(v, _Lookup) else v for name, v in of_load.items()}
        own = [values[name].alias(name) for name in each.load.columns]
        assigned.append(pl.DataFrame([*own, *map(each.frame.get_column, (FILE, ROW, HANDLE))]))
    return assigned


def _columns(handled: Handled, naming: Naming) -> Iterator[tuple[str, pl.Series | _Lookup]]:
    """Give each column of a load its values in the frame, or the handles there by which to look them up."""
    load, frame = handled.load, handled.frame
    if load.made is not None:
        yield load.made, _Lookup(frame.get_column(HANDLE), load.table, load.made, of_ids=True)
    for index, reference in enumerate(load.references):
        label = naming.label(reference.parent, reference.parts)
        for own, parent in reference.foreign_key.column_pairs:
            source = reference.source_of(parent)
            if source is not None:
                yield own, frame.get_column(source)
            else:
                of_ids = _holds_ids(naming, reference.parent, parent)
                yield own, _Lookup(frame.get_column(reference_column(index)), label, parent, of_ids)
    yield from ((name, frame.get_column(name)) for name in load.values)


def _look_up(wanted: Sequence[_Lookup], cache: SeedCache) -> list[pl.Series]:
    """Look values up by handles; they are the handles themselves unless the cache has other values.

    Where there is no handle, the values have the type of the column all the same: text, if it holds no ids.
    Few handles are looked up among few values together with those of other tables, since for small frames the
    fixed cost of a join is all of it. They cannot be mistaken: the label is part of what a handle hashes.
    """
    results = [
        each.handles
        if each.of_ids or each.handles.null_count() < len(each.handles)
        else pl.repeat(None, len(each.handles), dtype=pl.String, eager=True)
        for each in wanted
    ]
    groups: dict[object, list[tuple[int, str, pl.DataFrame]]] = {}
    for n, (handles, label, column, _) in enumerate(wanted):
        if (values := cache.values(label, column)) is not None:
            few = len(handles) < SMALL and len(values) < SMALL
            groups.setdefault((column, values.schema[column]) if few else n, []).append((n, label, values))
    for group in groups.values():
        places = [n for n, _, _ in group]
        asked = pl.concat([wanted[n].handles.rename(HANDLE) for n in places], rechunk=True).to_frame()
        values = pl.concat({label: of_label for _, label, of_label in group}.values())
        column = values.columns[1]
        found = asked.join(values, on=HANDLE, how="left", maintain_order="left")
        if values.schema[column] == pl.UInt128:
            found = found.select(pl.coalesce(column, HANDLE))
        parts = cut(found.select(column), [len(wanted[n].handles) for n in places])
        for n, part in zip(places, parts, strict=True):
            results[n] = part.to_series()
    return results


def _holds_ids(naming: Naming, table: str, column: str) -> bool:
    return naming.catalog.tables[table].columns[column].kind == "uuid"


def expose_explicit(handled: Handled, naming: Naming, cache: SeedCache, wanted: Sequence[str]) -> None:
    """Add to the cache the values of referenced columns that the files give explicitly."""
    load = handled.load
    for column in wanted:
        source = load.source_of(column)
        if source is not None:
            kind = naming.catalog.tables[load.table].columns[column]
            value = unfolded(kind, pl.col(source))
            if kind.kind == "uuid":
                value = value.str.to_integer(base=16, dtype=pl.UInt128)
            cache.expose(load.table, column, handled.frame.select(HANDLE, value.alias(column)))


def expose_inherited(handled: Handled, naming: Naming, cache: SeedCache, wanted: Sequence[str]) -> None:
    """Add to the cache the values of referenced columns that are references themselves.

    For example a primary key that is also a foreign key. The parent's rows must have been exposed before.
    """
    for column in wanted:
        if (found := handled.load.inherits(column)) is None:
            continue
        index, parent = found
        reference = handled.load.references[index]
        label = naming.label(reference.parent, reference.parts)
        handles = handled.frame.get_column(reference_column(index))
        of_ids = _holds_ids(naming, reference.parent, parent)
        values = _look_up([_Lookup(handles, label, parent, of_ids)], cache)[0]
        exposed = pl.DataFrame([handled.frame.get_column(HANDLE), values.alias(column)])
        cache.expose(handled.load.table, column, exposed.drop_nulls())


def expose_alternatives(handled: Handled, naming: Naming, cache: SeedCache, wanted: Sequence[str]) -> None:
    """Add to the cache the ids of the files' rows under the alternative keys that references use.

    Explicit ids, ids from sequences and existing ids must be in the cache under the natural key before.
    """
    load = handled.load
    for label in naming.alternatives.get(load.table, {}):
        name = alternative_column(label)
        if name not in handled.frame.columns:
            continue
        for column in wanted:
            of_ids = _holds_ids(naming, load.table, column)
            if of_ids or cache.values(load.table, column) is not None:
                own = handled.frame.get_column(HANDLE)
                values = _look_up([_Lookup(own, load.table, column, of_ids)], cache)[0].alias(column)
                exposed = pl.DataFrame([handled.frame.get_column(name).alias(HANDLE), values])
                cache.expose(label, column, exposed.drop_nulls())


def referred_columns(loads: Sequence[Load]) -> Mapping[str, tuple[str, ...]]:
    """Return, by table, the columns whose values references need but do not have in their own files."""
    wanted: dict[str, dict[str, None]] = {}
    for reference in (each for load in loads for each in load.references):
        for column in reference.foreign_key.parent_columns:
            if reference.source_of(column) is None:
                wanted.setdefault(reference.parent, {})[column] = None
    return {table: tuple(columns) for table, columns in wanted.items()}


def key_frame(
    handled: Handled, parts: Sequence[Part], table: str, handle: str, naming: Naming
) -> pl.DataFrame:
    """Return HANDLE and the key chain, one row per handle, for look-ups in the target."""
    chain = {
        source: unfolded(column, pl.col(source)).alias(source)
        for source, column in leaves(naming.catalog, table, parts)
    }
    frame = handled.frame.select(pl.col(handle).alias(HANDLE), *chain.values())
    return frame.drop_nulls(HANDLE).unique(subset=[HANDLE], keep="first", maintain_order=True)


def take_subset(handled: Sequence[Handled], kept: Mapping[str, pl.Series], naming: Naming) -> list[Handled]:
    """Keep only these handles of the tables in `kept`, and drop all rows that refer to dropped ones.

    The result does not depend on the order of files or rows. Cost: one pass over the rows per round, and as
    many rounds as the longest chain of references.
    """
    frames = [each.frame for each in handled]
    dropped: dict[str, list[pl.Series]] = {}
    for n, each in enumerate(handled):
        if (keep := kept.get(each.load.table)) is not None:
            frames[n] = _drop(frames[n], ~pl.col(HANDLE).is_in(keep.implode()), each.load.table, dropped)
    changed = bool(dropped)
    while changed:
        changed = False
        for n, each in enumerate(handled):
            gone = list(_orphans(each.load, naming, dropped))
            if gone:
                before = len(frames[n])
                frames[n] = _drop(
                    frames[n], pl.any_horizontal(gone).fill_null(value=False), each.load.table, dropped
                )
                changed |= len(frames[n]) < before
    return [Handled(load=each.load, frame=frame) for each, frame in zip(handled, frames, strict=True)]


def first_by_key(handled: Iterable[Handled], rows: int, naming: Naming) -> pl.Series:
    """Return the handles of a table's first N rows in key order, over all its loads.

    Memory: N rows and one frame. Cost: one pass over the frames, each of which is sorted.
    """
    first: pl.DataFrame | None = None
    for each in handled:
        order = [
            sortable(column, canonical(column, pl.col(source))).alias(str(n))
            for n, (source, column) in enumerate(leaves(naming.catalog, each.load.table, each.load.key))
        ]
        keys = each.frame.select(HANDLE, *order)
        table = (keys if first is None else pl.concat([first, keys])).unique(subset=[HANDLE], keep="first")
        # HANDLE decides between keys that sort equally, so that the order of the rows in files does not.
        first = table.sort([*(name for name in table.columns if name != HANDLE), HANDLE]).head(rows)
    return pl.Series(HANDLE, [], dtype=pl.UInt128) if first is None else first[HANDLE]


def _drop(frame: pl.DataFrame, bad: pl.Expr, table: str, dropped: dict[str, list[pl.Series]]) -> pl.DataFrame:
    """Remove bad rows, and add their handles under every label to `dropped`."""
    gone = frame.filter(bad)
    if len(gone):
        dropped.setdefault(table, []).append(gone[HANDLE])
        for name in gone.columns:
            if name.startswith(ALTERNATIVE):
                dropped.setdefault(name.removeprefix(ALTERNATIVE), []).append(gone[name])
    return frame.filter(~bad)


def _orphans(load: Load, naming: Naming, dropped: Mapping[str, list[pl.Series]]) -> Iterator[pl.Expr]:
    for index, reference in enumerate(load.references):
        gone = dropped.get(naming.label(reference.parent, reference.parts))
        if gone:
            yield pl.col(reference_column(index)).is_in(pl.concat(gone).implode())
