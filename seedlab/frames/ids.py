"""Replace handles by ids and other referenced values, which makes rows ready for their table.

The handle of a row that does not exist yet *is* its uuid. `SeedCache` has the exceptions: existing rows with
other ids, explicit ids of the files, and values of sequences. They are joined by handle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import polars as pl

from seedlab.flow import FILE, HANDLE, ROW, Load, Part
from seedlab.frames.batcher import all_selected
from seedlab.frames.cache import SeedCache
from seedlab.frames.kinds import canonical, sortable
from seedlab.frames.resolve import (
    ALTERNATIVE,
    Handled,
    Naming,
    alternative_column,
    leaves,
    reference_column,
)


def assign_ids(handled: Handled, naming: Naming, cache: SeedCache) -> pl.DataFrame:
    """Compute the values of all `Load.columns`; return them with FILE, ROW and HANDLE.

    uuid columns made from handles are UInt128, all others text.
    """
    load, frame = handled.load, handled.frame
    columns: dict[str, pl.Expr] = {}
    if load.made is not None:
        frame, columns[load.made] = _value(frame, HANDLE, load.table, load.made, cache)
    for index, reference in enumerate(load.references):
        label = naming.label(reference.parent, reference.parts)
        pairs = zip(reference.foreign_key.columns, reference.foreign_key.parent_columns, strict=True)
        for own, parent in pairs:
            source = reference.source_of(parent)
            if source is not None:
                columns[own] = pl.col(source)
            else:
                frame, columns[own] = _value(frame, reference_column(index), label, parent, cache)
    columns |= {name: pl.col(name) for name in load.values}
    wanted: list[pl.Expr | str] = [*(columns[name].alias(name) for name in load.columns), FILE, ROW, HANDLE]
    return all_selected([frame], [wanted])[0]


def _value(
    frame: pl.DataFrame, handle: str, label: str, column: str, cache: SeedCache
) -> tuple[pl.DataFrame, pl.Expr]:
    """Look a parent's column up by its handle; it is the handle itself unless the cache has another value."""
    values = cache.values(label, column)
    if values is None:
        return frame, pl.col(handle)
    name = f"{handle}→{column}"
    joined = frame.join(
        values.rename({column: name, HANDLE: f"{name}|"}),
        left_on=handle,
        right_on=f"{name}|",
        how="left",
        maintain_order="left",
    )
    if values.schema[column] == pl.UInt128:
        return joined, pl.coalesce(pl.col(name), pl.col(handle))
    return joined, pl.col(name)


def expose_explicit(handled: Handled, naming: Naming, cache: SeedCache, wanted: Sequence[str]) -> None:
    """Add to the cache the values of referenced columns that the files give explicitly."""
    load = handled.load
    for column in wanted:
        source = load.source_of(column)
        if source is not None:
            kind = naming.catalog.tables[load.table].columns[column]
            value = canonical(kind, pl.col(source))
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
        frame, value = _value(handled.frame, reference_column(index), label, parent, cache)
        cache.expose(handled.load.table, column, frame.select(HANDLE, value.alias(column)).drop_nulls())


def expose_alternatives(handled: Handled, naming: Naming, cache: SeedCache, wanted: Sequence[str]) -> None:
    """Add to the cache the ids of the files' rows under the alternative keys that references use.

    Explicit ids, ids from sequences and existing ids must be in the cache under the natural key before.
    """
    load = handled.load
    columns = naming.catalog.tables[load.table].columns
    for label in naming.alternatives.get(load.table, {}):
        name = alternative_column(label)
        if name not in handled.frame.columns:
            continue
        for column in wanted:
            if columns[column].kind == "uuid" or cache.values(load.table, column) is not None:
                frame, value = _value(handled.frame, HANDLE, load.table, column, cache)
                values = frame.select(pl.col(name).alias(HANDLE), value.alias(column))
                cache.expose(label, column, values.drop_nulls())


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
    """Return HANDLE and the canonical key chain, one row per handle, for look-ups in the target."""
    chain = {
        source: canonical(column, pl.col(source)).alias(source)
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
