"""Which rows of an export stay, so that every reference leads to a row that is there too.

Rows are places in the order of the key; a reference is the place of its parent. No rows are looped over: each
round follows all references of the rows that changed in the one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from seedlab.flow.exports import Tie

__all__ = ["Held", "kept", "of_those", "places"]

_PLACE = "_place"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """The references of one table's rows.

    For each tie that is followed the parent's place, and which rows refer to nobody.
    """

    height: int
    parents: Sequence[tuple[str, pl.Series]]  # table, place of each row's parent (NULL: none)
    orphans: pl.Series


def places(
    frames: Mapping[str, pl.DataFrame], ties: Mapping[str, Sequence[Tie]], keys: Mapping[str, int]
) -> dict[str, Held]:
    """Understand what `select_ties` answered: keys of parents become places. `keys` are widths of keys."""
    own = {
        name: frame.select(str(n) for n in range(keys[name])).with_row_index(_PLACE)
        for name, frame in frames.items()
    }
    held = {}
    for name, frame in frames.items():
        at = keys[name]
        parents = []
        for tie in ties[name]:
            parent = tie.foreign_key.parent
            width = keys[parent] if tie.followed else 0
            if tie.followed:
                key = frame.select(pl.col(str(at + n)).alias(str(n)) for n in range(width))
                found = key.join(
                    own[parent], on=[str(n) for n in range(width)], how="left", maintain_order="left"
                )
                parents.append((parent, found.get_column(_PLACE)))
            at += width
        flags = [pl.col(str(at + n)) == "1" for n in range(sum(tie.doubtful for tie in ties[name]))]
        orphans = frame.select(pl.any_horizontal(flags) if flags else pl.repeat(False, pl.len())).to_series()
        held[name] = Held(height=frame.height, parents=parents, orphans=orphans)
    return held


def kept(tables: Mapping[str, Held], limits: Mapping[str, int]) -> dict[str, pl.Series]:
    """Mark the rows that stay.

    Of a table with a limit the first N rows stay, and those that rows that must stay refer to; of every other
    table all. Then rows go that refer to a row that is gone, until none does.
    """
    needed = _needed(tables, limits)
    gone = {
        name: each.orphans | ~needed[name] if name in limits else each.orphans
        for name, each in tables.items()
    }
    fresh = gone
    while any(mask.any() for mask in fresh.values()):
        fresh = {name: _follows(each, fresh) & ~gone[name] for name, each in tables.items()}
        gone = {name: mask | fresh[name] for name, mask in gone.items()}
    return {name: ~mask for name, mask in gone.items()}


def of_those(frames: Iterable[pl.DataFrame], mask: pl.Series) -> Iterator[pl.DataFrame]:
    """Keep the rows marked of frames that follow each other."""
    at = 0
    for frame in frames:
        yield frame.filter(mask.slice(at, frame.height))
        at += frame.height


def _needed(tables: Mapping[str, Held], limits: Mapping[str, int]) -> dict[str, pl.Series]:
    """Mark the first N rows of tables with a limit, and all that they refer to, however far."""
    needed = {
        name: pl.select(pl.int_range(each.height) < limits.get(name, 0)).to_series()
        for name, each in tables.items()
    }
    fresh = needed
    while any(mask.any() for mask in fresh.values()):
        reached: dict[str, pl.Series] = {name: _none(each) for name, each in tables.items()}
        for name, each in tables.items():
            for parent, place in each.parents:
                reached[parent].scatter(place.filter(fresh[name]).drop_nulls().unique(), True)
        fresh = {name: mask & ~needed[name] for name, mask in reached.items()}
        needed = {name: mask | fresh[name] for name, mask in needed.items()}
    return needed


def _none(each: Held) -> pl.Series:
    return pl.repeat(value=False, n=each.height, dtype=pl.Boolean, eager=True)


def _follows(each: Held, gone: Mapping[str, pl.Series]) -> pl.Series:
    """Mark rows whose parent is among those gone."""
    found = _none(each)
    for parent, place in each.parents:
        if gone[parent].any():
            found |= gone[parent].gather(place).fill_null(value=False)
    return found
