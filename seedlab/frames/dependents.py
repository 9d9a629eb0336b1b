"""Find the rows that depend on rejected rows, and must be rejected with them.

Every load is a node, whose rows have handles (what they are known by) and link columns with the handles that
they point to. Starting from rejected rows, links are followed in rounds until no further row is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from seedlab.flow import FILE, PARENT, ROW, Load
from seedlab.frames.rules import BROKEN, REJECTED_PARENT, Broken, Rule

PLACE = "_seedlab_place"  # UInt64: FILE and ROW as one number
AROUND = "_around"  # PLACE of the row that encloses a nested row
NEVER = pl.lit(value=False)
Label = str | tuple[str, str]  # a key (`Naming.label`), or seed and path of the enclosing rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A column of a load whose values point to rows that are known by them under `label`.

    `parent` is the table pointed to, `source` the source column to blame, `relation` as the file spells it.
    """

    label: Label
    column: str
    parent: str
    source: str
    relation: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """The rows of one load: what they are known by (label → column), and their links.

    `nested` computes the enclosing rows of nested rows (FILE, ROW, PARENT); it is called only when needed.
    """

    load: Load
    frame: pl.DataFrame
    names: Mapping[Label, str]
    links: Sequence[Link]
    nested: Callable[[], pl.DataFrame] = field(default=pl.DataFrame, repr=False)

    def column(self, name: str) -> pl.Series:
        """Return a column of the rows; PLACE and AROUND are computed at their first use."""
        if name == PLACE and name not in self.frame.columns:
            self.frame = self.frame.with_columns(_number(FILE, ROW).alias(PLACE))
        if name == AROUND and name not in self.frame.columns:
            self.frame = self.frame.with_columns(self._around())
        return self.frame.get_column(name)

    def _around(self) -> pl.Series:
        around = self.nested().select(_number(FILE, ROW).alias(PLACE), _number(FILE, PARENT).alias(AROUND))
        own = self.column(PLACE).to_frame()
        return own.join(around, on=PLACE, how="left", maintain_order="left").get_column(AROUND)

    def at(self, places: pl.DataFrame | None) -> pl.Series:
        """Mark the rows with these FILE and ROW."""
        own = self.column(PLACE)
        if places is None:
            return pl.repeat(value=False, n=len(own), dtype=pl.Boolean, eager=True)
        return is_in(own, places.select(_number(FILE, ROW)).to_series())

    def pointing(self, link: Link, rejected: Rejected) -> pl.Series:
        """Mark rows whose link leads to a rejected row other than the row itself."""
        column, own = self.column(link.column), self.names.get(link.label)
        bad = is_in(column, rejected.names[link.label])
        return bad if own is None else bad & column.ne_missing(self.column(own))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rejected:
    """The rejected rows: a mask per load, and what they are known by, unless the target has such a row."""

    masks: list[pl.Series]
    names: dict[Label, pl.Series]


def follow(nodes: Sequence[Node], masks: Sequence[pl.Series], found: Callable[[str], pl.Series]) -> Rejected:
    """Extend rejected rows by all rows that depend on them.

    `found` returns, by label, the handles of rows that exist in the target: rows may still refer to those.
    """
    masks = list(masks)
    names: dict[Label, pl.Series] = {}
    new_names = _known_by(nodes, masks, found)
    while new_names:
        names |= {
            label: pl.concat([names[label], new]) if label in names else new
            for label, new in new_names.items()
        }
        added = [_pointing_to(node, new_names) & ~mask for node, mask in zip(nodes, masks, strict=True)]
        masks = [mask | more for mask, more in zip(masks, added, strict=True)]
        new_names = _known_by(nodes, added, found)
    return Rejected(masks=masks, names=names)


def _pointing_to(node: Node, names: Mapping[Label, pl.Series]) -> pl.Series:
    pointing = node.at(None)
    for link in node.links:
        if link.label in names:
            pointing |= is_in(node.column(link.column), names[link.label])
    return pointing


def _known_by(
    nodes: Sequence[Node], masks: Sequence[pl.Series], found: Callable[[str], pl.Series]
) -> dict[Label, pl.Series]:
    """Return what the marked rows are known by, without rows that exist in the target."""
    known: dict[Label, list[pl.Series]] = {}
    for node, mask in zip(nodes, masks, strict=True):
        for label, column in node.names.items() if mask.any() else ():
            handles = node.column(column).filter(mask).drop_nulls().rename("")
            if isinstance(label, str):
                handles = handles.filter(~is_in(handles, found(label)))
            if len(handles):
                known.setdefault(label, []).append(handles)
    return {label: pl.concat(each) for label, each in known.items()}


def dependents(nodes: Sequence[Node], rejected: Rejected) -> Iterator[Broken]:
    """Yield the rows that depend on rejected ones, by link, with the rows they depend on (`before`)."""
    for node in nodes:
        around = [link for link in node.links if link.column == AROUND and link.label in rejected.names]
        for link in node.links:
            if link.label not in rejected.names:
                continue
            bad = node.pointing(link, rejected)
            for other in around:  # a nested row's reference to its enclosing row is reported once
                if other is not link and other.relation == link.relation:
                    bad &= ~node.pointing(other, rejected)
            if bad.any():
                yield _dependent(node, link, bad, list(_parents(nodes, link, rejected)))


def _dependent(node: Node, link: Link, bad: pl.Series, before: Sequence[Broken]) -> Broken:
    column = node.column(link.column)
    value = pl.col(link.source) if link.source in node.frame.columns else pl.lit(None, dtype=pl.String)
    message = f"depends on a rejected row of {link.parent}"
    return Broken(
        load=node.load,
        rule=Rule(name=REJECTED_PARENT, column=link.source, message=message, bad=NEVER),
        frame=as_broken(
            node.frame.with_columns(column.cast(pl.String).alias("same"), value.alias("value")).filter(bad)
        ),
        before=tuple(before),
    )


def _parents(nodes: Sequence[Node], link: Link, rejected: Rejected) -> Iterator[Broken]:
    """Yield the rejected rows that a link may lead to."""
    rule = Rule(name=REJECTED_PARENT, column="", message="", bad=NEVER)
    for node, mask in zip(nodes, rejected.masks, strict=True):
        if link.label in node.names:
            own = node.column(node.names[link.label])
            frame = node.frame.with_columns(own.cast(pl.String).alias("same")).filter(mask)
            yield Broken(load=node.load, rule=rule, frame=as_broken(frame))


def as_broken(frame: pl.DataFrame) -> pl.DataFrame:
    """Select the columns of BROKEN; those that `frame` lacks are NULL."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in BROKEN.items()
    )


def _number(file: str, row: str) -> pl.Expr:
    return pl.col(file).cast(pl.UInt64) * (1 << 32) + pl.col(row)


def is_in(values: pl.Series, others: pl.Series) -> pl.Series:
    """Mark the values that are among `others`; NULL never is."""
    return values.is_in(others.implode()).fill_null(value=False)
