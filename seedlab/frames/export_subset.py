"""Select the rows of an export so that every reference leads to an exported row.

A row is identified by its position in the order of the key, and a reference by the position of the parent.
There is no loop over rows: each round follows, as whole columns, the references of the rows that changed in
the round before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from seedlab.flow.exports import Tie

_PLACE = "_place"
_ROW, _PARENT = "row", "parent"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowReferences:
    """The references of one table's rows: positions of parents, and which rows have a missing parent.

    `overlaps` are those of foreign keys with a period: the parent table, and the pairs of rows and parents.
    """

    height: int
    parents: Sequence[tuple[str, pl.Series]]  # parent table, position of each row's parent (NULL: none)
    overlaps: Sequence[tuple[str, pl.DataFrame]]
    orphans: pl.Series


def parent_positions(
    frames: Mapping[str, pl.DataFrame],
    overlaps: Mapping[str, Sequence[pl.DataFrame]],
    ties: Mapping[str, Sequence[Tie]],
    keys: Mapping[str, int],
) -> dict[str, RowReferences]:
    """Turn the result of `select_ties`, which has keys of parents, into positions of parents.

    `overlaps` has the results for each tie with a period that is followed, `keys` the number of key columns
    of each table.
    """
    own = {
        name: frame.select(str(n) for n in range(keys[name])).with_row_index(_PLACE)
        for name, frame in frames.items()
    }
    return {
        name: _row_references(name, frame, overlaps[name], ties[name], own) for name, frame in frames.items()
    }


def _row_references(
    table: str,
    frame: pl.DataFrame,
    overlaps: Sequence[pl.DataFrame],
    ties: Sequence[Tie],
    own: Mapping[str, pl.DataFrame],
) -> RowReferences:
    """Find the parents of a table's rows, whose keys follow its own, by the parents' `own` keys."""
    parents, first = [], own[table].width - 1
    for name in (tie.foreign_key.parent for tie in ties if tie.followed and not tie.foreign_key.period):
        parents.append((name, _positions(frame, first, own[name])))
        first += own[name].width - 1
    flags = [pl.col(str(first + n)) == "1" for n in range(sum(tie.doubtful for tie in ties))]
    orphans = frame.select(pl.any_horizontal(flags) if flags else pl.repeat(False, pl.len())).to_series()
    with_period = (tie.foreign_key.parent for tie in ties if tie.followed and tie.foreign_key.period)
    pairs = [
        (name, _pairs(each, own[table], own[name])) for name, each in zip(with_period, overlaps, strict=True)
    ]
    return RowReferences(height=frame.height, parents=parents, overlaps=pairs, orphans=orphans)


def _pairs(frame: pl.DataFrame, own: pl.DataFrame, parents: pl.DataFrame) -> pl.DataFrame:
    """Pair the positions of rows with those of all their parents; the frame has the keys of both."""
    positions = {_ROW: _positions(frame, 0, own), _PARENT: _positions(frame, own.width - 1, parents)}
    return pl.DataFrame(positions).drop_nulls()


def _positions(frame: pl.DataFrame, first: int, own: pl.DataFrame) -> pl.Series:
    """Look up the positions of keys that begin at column `first`; NULL where the whole key is."""
    columns = [column for column in own.columns if column != _PLACE]
    key = frame.select(pl.col(str(first + n)).alias(column) for n, column in enumerate(columns))
    found = key.join(own, on=columns, how="left", maintain_order="left", nulls_equal=True)
    refers = pl.any_horizontal(pl.col(columns).is_not_null())  # NULL may be part of a key
    return found.select(pl.when(refers).then(_PLACE)).to_series()


def rows_to_export(tables: Mapping[str, RowReferences], limits: Mapping[str, int]) -> dict[str, pl.Series]:
    """Return a mask per table of the rows to export.

    A table with a limit starts with its first N rows and all rows that kept rows of limited tables refer to,
    any other table with all its rows. Then rows whose parent is dropped are dropped, until none is left.
    """
    needed = _needed(tables, limits)
    dropped = {
        name: each.orphans | ~needed[name] if name in limits else each.orphans
        for name, each in tables.items()
    }
    new = dropped
    while any(mask.any() for mask in new.values()):
        new = {name: _children_of(each, new) & ~dropped[name] for name, each in tables.items()}
        dropped = {name: mask | new[name] for name, mask in dropped.items()}
    return {name: ~mask for name, mask in dropped.items()}


def filter_all(frames: Iterable[pl.DataFrame], mask: pl.Series) -> Iterator[pl.DataFrame]:
    """Filter consecutive frames by one mask over all their rows."""
    at = 0
    for frame in frames:
        yield frame.filter(mask.slice(at, frame.height))
        at += frame.height


def _needed(tables: Mapping[str, RowReferences], limits: Mapping[str, int]) -> dict[str, pl.Series]:
    """Mark the first N rows of tables with a limit, and all rows that they refer to, directly or not."""
    needed = {
        name: pl.select(pl.int_range(each.height) < limits.get(name, 0)).to_series()
        for name, each in tables.items()
    }
    new = needed
    while any(mask.any() for mask in new.values()):
        reached: dict[str, pl.Series] = {name: _none(each) for name, each in tables.items()}
        for name, each in tables.items():
            for parent, place in each.parents:
                reached[parent].scatter(place.filter(new[name]).drop_nulls().unique(), True)
            for parent, pairs in each.overlaps:
                reached[parent].scatter(pairs[_PARENT].filter(new[name].gather(pairs[_ROW])).unique(), True)
        new = {name: mask & ~needed[name] for name, mask in reached.items()}
        needed = {name: mask | new[name] for name, mask in needed.items()}
    return needed


def _none(each: RowReferences) -> pl.Series:
    return pl.repeat(value=False, n=each.height, dtype=pl.Boolean, eager=True)


def _children_of(each: RowReferences, parents: Mapping[str, pl.Series]) -> pl.Series:
    """Mark rows that have a parent among those marked."""
    found = _none(each)
    for parent, place in each.parents:
        if parents[parent].any():
            found |= parents[parent].gather(place).fill_null(value=False)
    for parent, pairs in each.overlaps:
        found.scatter(pairs[_ROW].filter(parents[parent].gather(pairs[_PARENT])).unique(), True)
    return found
