"""Loads: the rows that one seed puts into one table, with their keys and references to other rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seedlab.flow.catalog import Catalog, Column, ForeignKey
from seedlab.flow.memory import LoadName
from seedlab.flow.project import Duplicates, Mode, Priority, SourceFile

if TYPE_CHECKING:
    import polars as pl

# Columns that frames carry beside the data until the rows are written. Files cannot use these names.
ROW = "_seedlab_row"  # UInt32: 0-based ordinal of the row among its table's rows in its file
FILE = "_seedlab_file"  # UInt16: index of the file in the seed's `files`
HANDLE = "_seedlab_handle"  # UInt128: hash of table and key; names the row until it has an id, uuid if new
DIGEST = "_seedlab_digest"  # UInt64: hash of the row's content in the file
PARENT = "_seedlab_parent"  # UInt32: of a nested row, the index of the enclosing row in its frame
INDEX = "_seedlab_index"  # UInt32: of a nested row, its 1-based position in its list
RESERVED = frozenset({ROW, FILE, HANDLE, DIGEST, PARENT, INDEX})
# A prefix of columns with texts by which values of another column are named, instead of by their own.
NAME = "_seedlab_name:"
# Columns of a reject file that explain each record. They are ignored as data, so that a corrected reject
# file can be seeded as it is.
REASON = "_seedlab_reason"
LINE = "_seedlab_line"
NOTES = frozenset({REASON, LINE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a key: either a source column or a reference.

    With `source`, that column of the file holds the value of the single column in `columns`. With
    `reference`, the referenced row determines the values of the foreign-key columns in `columns`. With
    `nulls`, the part may be NULL, which is then a value like any other: two NULLs are the same.
    """

    columns: tuple[str, ...]
    source: str | None = None
    reference: Reference | None = None
    nulls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A foreign key whose parent row the file names by one of the parent's unique keys.

    `key` is that unique key of `foreign_key.parent`, `parts` are its parts in the same order. `name` is the
    relation as the file spells it (`faculty`), for messages.
    """

    name: str
    foreign_key: ForeignKey
    key: tuple[str, ...]
    parts: tuple[Part, ...]

    def __hash__(self) -> int:
        """Hash what tells most references apart, as `Load` does."""
        return hash((self.name, self.foreign_key.name, self.key))

    @property
    def parent(self) -> str:
        """The referenced table."""
        return self.foreign_key.parent

    @property
    def outright(self) -> bool:
        """Whether the files give the foreign key's own columns instead of a key of the parent.

        If so, a NULL in one of them means that there is no parent, as in the database (MATCH SIMPLE), and the
        other columns keep their values.
        """
        return set(self.sources()) == set(self.foreign_key.columns)

    def source_of(self, parent_column: str) -> str | None:
        """Return the source column that holds the value of a parent's column.

        None if a nested reference determines that value.
        """
        return next(
            (part.source for part in self.parts if part.columns == (parent_column,) and part.source), None
        )

    def sources(self) -> tuple[str, ...]:
        """Return all source columns of this reference and those nested in it, in key order."""
        return tuple(name for part in self.parts for name in part_sources(part))


def part_sources(part: Part) -> tuple[str, ...]:
    """Return the source columns of a part, those of nested references included."""
    if part.reference is not None:
        return part.reference.sources()
    assert part.source is not None
    return (part.source,)


def null_sources(parts: Sequence[Part]) -> frozenset[str]:
    """Return the source columns in which NULL is a value of the key, those of nested references included."""
    found: set[str] = set()
    for part in parts:
        if part.nulls:
            found.update(part_sources(part))
        elif part.reference is not None:
            found |= null_sources(part.reference.parts)
    return frozenset(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The rows that one seed puts into one table, with the meaning of every source column.

    `key` is the table's natural key in key order, the same for all loads of a table. `values` are columns
    written as given, `references` are foreign keys whose values are resolved. `made` is the primary-key
    column whose value seedlab generates (from the handle, or from a sequence), or None. `defaults` are those
    of `values` that come from the project's defaults instead of the files; updates do not change them.
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
    link: bool = False  # the table is a many-to-many table
    # The table has no key: all source columns together identify a row, and equal rows are counted.
    whole: bool = False

    def __hash__(self) -> int:
        """Hash what tells most loads apart: all that keys are made of would be hashed anew each time."""
        return hash(self.name)

    @property
    def name(self) -> LoadName:
        """The name that the load has in the ledger."""
        return self.stage, self.seed, self.table

    @property
    def columns(self) -> tuple[str, ...]:
        """The written columns of the table, sorted so that loads with the same ones compare equal."""
        made = (self.made,) if self.made else ()
        referred = (column for ref in self.references for column in ref.foreign_key.columns)
        return tuple(sorted({*made, *referred, *self.values}))

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of the table's natural key."""
        return tuple(column for part in self.key for column in part.columns)

    @property
    def null_key_columns(self) -> frozenset[str]:
        """The columns of the natural key in which NULL is a value like any other."""
        return frozenset(column for part in self.key if part.nulls for column in part.columns)

    @property
    def spelled_key(self) -> tuple[str, ...]:
        """The key as the files spell it: `faculty.university.slug`, `faculty.code`, `code`; no name twice."""
        return tuple(dict.fromkeys(name for part in self.key for name in part_sources(part)))

    def inherits(self, column: str) -> tuple[int, str] | None:
        """Return which reference (by index) and which of its parent's columns a column copies its value from.

        None if the value comes from the files or the database.
        """
        return None if self.source_of(column) is not None else self._referring(column)

    def source_of(self, column: str) -> str | None:
        """Return the source column that holds a column's value, or None if it is resolved or absent."""
        if column in self.values:
            return column
        if (found := self._referring(column)) is None:
            return None
        index, parent = found
        return self.references[index].source_of(parent)

    def _referring(self, column: str) -> tuple[int, str] | None:
        """Find the reference (by index) whose foreign key contains a column, and the column it references."""
        for index, reference in enumerate(self.references):
            for own, parent in reference.foreign_key.column_pairs:
                if own == column:
                    return index, parent
        return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ask:
    """A look-up in the target: which of these rows exist, and the values of their `wanted` columns.

    `key` identifies rows of `table`; `frame` has HANDLE and one text column per source of the key. The answer
    is a frame of HANDLE and the wanted columns (uuid as UInt128, all others as text) for rows that exist.
    """

    table: str
    key: tuple[Part, ...]
    wanted: tuple[str, ...]
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Suspect:
    """Values of a source column that only the server can validate; `frame`: `value` (text), FILE, ROW."""

    load: Load
    column: str
    frame: pl.DataFrame

    def filled(self, catalog: Catalog) -> Column:
        """Return the column of the table that the source column fills."""
        columns = catalog.tables[self.load.table].columns
        for reference in self.load.references:
            for own, parent in reference.foreign_key.column_pairs:
                if reference.source_of(parent) == self.column:
                    return columns[own]
        return columns[self.column]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Refusal:
    """Rows of a load (`frame`: FILE, ROW) that the target would refuse, with the rule and its column."""

    load: Load
    rule: str
    column: str
    message: str
    frame: pl.DataFrame
