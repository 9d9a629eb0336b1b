"""From handles to ids: the rows as the table will have them, every column settled.

For a row that does not exist yet the handle *is* its uuid. `SeedCache` holds the exceptions: rows that
exist with another id, explicit ids of the files, values of sequences. They are joined in by handle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import polars as pl

from seedlab.flow import FILE, HANDLE, ROW, Load, Part
from seedlab.frames.batcher import selected
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


def settle(handled: Handled, naming: Naming, cache: SeedCache) -> pl.DataFrame:
    """Give every column of the load its value; columns as in `Load.columns`, then FILE and ROW, HANDLE.

    uuid columns made from handles are UInt128, all else is text.
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
    return selected(frame, [*(columns[name].alias(name) for name in load.columns), FILE, ROW, HANDLE])


def _value(
    frame: pl.DataFrame, handle: str, label: str, column: str, cache: SeedCache
) -> tuple[pl.DataFrame, pl.Expr]:
    """A parent's column by its handle: the handle itself, but for the exceptions that the cache holds."""
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
    """Tell the cache the values of columns that the files give outright and other tables refer to."""
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
    """Tell the cache the values of columns that are references themselves and that other tables refer to.

    As in a table whose primary key is the id of another's row. To be called for that one's rows first.
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
    """Tell the cache the ids of the files' rows under the other keys by which references name them.

    To be called when the cache knows the rows by their natural key: explicit ids, sequences, the target's.
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
    """Columns of each table that some reference takes by handle rather than from its own file."""
    wanted: dict[str, dict[str, None]] = {}
    for reference in (each for load in loads for each in load.references):
        for column in reference.foreign_key.parent_columns:
            if reference.source_of(column) is None:
                wanted.setdefault(reference.parent, {})[column] = None
    return {table: tuple(columns) for table, columns in wanted.items()}


def key_frame(
    handled: Handled, parts: Sequence[Part], table: str, handle: str, naming: Naming
) -> pl.DataFrame:
    """HANDLE and the canonical key chain, for asking the target about rows; one row per handle."""
    chain = {
        source: canonical(column, pl.col(source)).alias(source)
        for source, column in leaves(naming.catalog, table, parts)
    }
    frame = handled.frame.select(pl.col(handle).alias(HANDLE), *chain.values())
    return frame.drop_nulls(HANDLE).unique(subset=[HANDLE], keep="first", maintain_order=True)


def take_subset(handled: Sequence[Handled], kept: Mapping[str, pl.Series], naming: Naming) -> list[Handled]:
    """Keep these rows alone, by handle, of the tables named, and drop every row that refers to a dropped one.

    The result does not depend on the order of files or rows. Raises nothing: a table without rows keeps
    none. Cost: one pass per round, as many rounds as the longest chain of references.
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
    """The handles of a table's first N rows by key, of all its loads, each in one frame or several.

    Holds N rows and a frame at a time. Cost: one pass over the frames, each sorted.
    """
    first: pl.DataFrame | None = None
    for each in handled:
        order = [
            sortable(column, canonical(column, pl.col(source))).alias(str(n))
            for n, (source, column) in enumerate(leaves(naming.catalog, each.load.table, each.load.key))
        ]
        mine = each.frame.select(HANDLE, *order)
        table = (mine if first is None else pl.concat([first, mine])).unique(subset=[HANDLE], keep="first")
        # HANDLE decides between keys that sort equally, so that the order of the rows never does.
        first = table.sort([*(name for name in table.columns if name != HANDLE), HANDLE]).head(rows)
    return pl.Series(HANDLE, [], dtype=pl.UInt128) if first is None else first[HANDLE]


def _drop(frame: pl.DataFrame, bad: pl.Expr, table: str, dropped: dict[str, list[pl.Series]]) -> pl.DataFrame:
    """Take bad rows out and remember under every label what they were called."""
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
