"""The values of an export: which tables, the columns of their files, their keys, and what was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from seedlab.flow.catalog import Column, Dialect, ForeignKey
from seedlab.flow.project import Nulls, TableSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A column of an exported file.

    Its values are those of `column` in the table at the end of `path`, the foreign keys to follow from the
    exported table. `name` is the column's name in the file: `code`, or `faculty.university.slug`.
    """

    name: str
    column: Column
    path: tuple[ForeignKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableExport:
    """A table to be exported. `key` are the columns of its natural key.

    `order` are those of `leaves` that make up the key; rows are sorted by them. `hidden` is the id column
    that the file leaves out, or None.
    """

    table: str
    key: tuple[str, ...]
    leaves: tuple[Leaf, ...]
    order: tuple[Leaf, ...]
    hidden: str | None = None
    declared: bool = False  # seedlab.toml must declare the key, since another one would be inferred
    nulls: Nulls = "error"  # "equal": some rows have NULL in the key

    @property
    def spelled_key(self) -> tuple[str, ...]:
        """The key, by the names of its columns in the file."""
        return tuple(leaf.name for leaf in self.order)

    @property
    def spec(self) -> TableSpec:
        """What seedlab.toml says of the table."""
        key = self.spelled_key if self.declared else None
        return TableSpec(table=self.table, key=key, nulls=self.nulls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """The plan of an export: tables, parents first; tables left out, each with the reason; notes to show."""

    tables: tuple[TableExport, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """A foreign key that decides which rows are exported: a row is left out if its parent is.

    `doubtful`: rows may exist whose parent does not. `followed`: rows of the parent may be left out, too.
    With a period a row has several parents, and is left out if any of them is.
    """

    foreign_key: ForeignKey
    doubtful: bool = False
    followed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenTable:
    """A table that was exported: its file, number of rows, key as spelled in the file, id left out."""

    table: str
    file: str
    rows: int
    key: tuple[str, ...]
    hidden: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The result of an export. `left_out` maps tables to the reason, `empty` are tables without rows."""

    database: str
    dialect: Dialect
    version: str
    tables: tuple[WrittenTable, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    empty: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """The number of rows written, over all tables."""
        return sum(each.rows for each in self.tables)
