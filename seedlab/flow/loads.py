"""How rows find each other: keys, references, and what a seed brings to a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from seedlab.flow.catalog import Catalog, Column, ForeignKey
from seedlab.flow.project import Duplicates, Mode, Priority, SourceFile

if TYPE_CHECKING:
    import polars as pl

# A row's place in its own source, carried by every frame until it is written.
ROW = "_seedlab_row"  # UInt32: ordinal of the row among its table's rows in that file, 0-based
FILE = "_seedlab_file"  # UInt16: index of the file in the seed's `files`
HANDLE = "_seedlab_handle"  # UInt128: the row's name while ids are being settled, and the uuid of a new row
DIGEST = "_seedlab_digest"  # UInt64: hash of all that the file says of the row
PARENT = "_seedlab_parent"  # UInt32: of a nested row, the index of the enclosing row in its own frame
INDEX = "_seedlab_index"  # UInt32: of a nested row, its 1-based place in its list
RESERVED = frozenset({ROW, FILE, HANDLE, DIGEST, PARENT, INDEX})  # no column of a file may be called so
# What a reject file says of its records; no data, so that a mended one can be seeded as it is.
REASON = "_seedlab_reason"
LINE = "_seedlab_line"
NOTES = frozenset({REASON, LINE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a key.

    Either a source column (`source`) that holds the value of the one column in `columns`, or a `reference`
    that gives the values of the foreign-key columns in `columns`.
    """

    columns: tuple[str, ...]
    source: str | None = None
    reference: Reference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A foreign key given by the parent's key: the parts name one row of `foreign_key.parent`.

    The parts follow the order of the parent's unique key `key`. `name` is the relation as the file spells
    it (`faculty`), for messages.
    """

    name: str
    foreign_key: ForeignKey
    key: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def parent(self) -> str:
        """The table referred to."""
        return self.foreign_key.parent

    @property
    def outright(self) -> bool:
        """Tell whether the files give the foreign key's own columns.

        Then NULL in one means no parent, as to the database (MATCH SIMPLE); the others stay as they are.
        """
        return set(self.sources()) == set(self.foreign_key.columns)

    def source_of(self, parent_column: str) -> str | None:
        """Name the source column whose text is the value of a parent's column.

        None where a nested reference is.
        """
        return next(
            (part.source for part in self.parts if part.columns == (parent_column,) and part.source), None
        )

    def sources(self) -> tuple[str, ...]:
        """Every source column below this reference, in key order."""
        return tuple(name for part in self.parts for name in part_sources(part))


def part_sources(part: Part) -> tuple[str, ...]:
    """Source columns of a part, walking through nested references."""
    if part.reference is not None:
        return part.reference.sources()
    assert part.source is not None
    return (part.source,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one seed brings to one table, every name understood.

    `key` is the table's natural key in key order, the same for all loads of a table. `values` are columns
    written as given; `references` are foreign keys resolved by parts. `made` is the primary-key column
    whose value seedlab makes (from the handle, or from a sequence), or None. `defaults` are those of the
    `values` that the project's defaults give and not the files: an update leaves them alone.
    """

    stage: str
    seed: str
    table: str
    key: tuple[Part, ...]
    values: tuple[str, ...]
    references: tuple[Reference, ...]
    made: str | None = None
    defaults: tuple[str, ...] = ()
    mode: Mode = "upsert"
    duplicates: Duplicates = "error"
    priority: Priority = "medium"
    files: tuple[SourceFile, ...] = ()
    link: bool = False  # a row of a many-to-many table
    whole: bool = (
        False  # the table has no key: rows are told by all that the files give, equal ones by number
    )

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of the table that is written, sorted: equal for loads that give the same ones."""
        made = (self.made,) if self.made else ()
        referred = (column for ref in self.references for column in ref.foreign_key.columns)
        return tuple(sorted({*made, *referred, *self.values}))

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Columns of the table that make its natural key."""
        return tuple(column for part in self.key for column in part.columns)

    @property
    def spelled_key(self) -> tuple[str, ...]:
        """The key as the files spell it: `faculty.university.slug`, `faculty.code`, `code`."""
        return tuple(name for part in self.key for name in part_sources(part))

    def inherits(self, column: str) -> tuple[int, str] | None:
        """Name the reference (by number) and the parent's column that a column gets its value from.

        None where the files or the database give the value.
        """
        return None if self.source_of(column) is not None else self._referring(column)

    def source_of(self, column: str) -> str | None:
        """Name the source column that holds a column's value as it is; None when it is resolved or absent."""
        if column in self.values:
            return column
        if (found := self._referring(column)) is None:
            return None
        index, parent = found
        return self.references[index].source_of(parent)

    def _referring(self, column: str) -> tuple[int, str] | None:
        """Find the reference (by number) whose foreign key has a column, and the parent's column.

        None without.
        """
        for index, reference in enumerate(self.references):
            for own, parent in reference.foreign_key.column_pairs:
                if own == column:
                    return index, parent
        return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ask:
    """A question to the target: which of these rows exist, and what their columns `wanted` hold.

    `key` names rows of `table`; `frame` has HANDLE and one text column per source of the key. The answer
    is a frame of HANDLE and the wanted columns (uuid as UInt128, all else as text) for rows that exist.
    """

    table: str
    key: tuple[Part, ...]
    wanted: tuple[str, ...]
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Suspect:
    """Values of a source column that only the server can judge: one frame of `value` (text), FILE and ROW."""

    load: Load
    column: str
    frame: pl.DataFrame

    def filled(self, catalog: Catalog) -> Column:
        """Find the column of the table that the source column fills."""
        columns = catalog.tables[self.load.table].columns
        for reference in self.load.references:
            for own, parent in reference.foreign_key.column_pairs:
                if reference.source_of(parent) == self.column:
                    return columns[own]
        return columns[self.column]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Refusal:
    """Rows of a load (FILE, ROW) that the target would refuse: the rule, the columns to blame, and why."""

    load: Load
    rule: str
    column: str
    message: str
    frame: pl.DataFrame
