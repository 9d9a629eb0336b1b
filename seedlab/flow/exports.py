"""What an export reads: of each table the columns of its file, and by what its rows are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from seedlab.flow.catalog import Column, Dialect, ForeignKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A column of a file: `column` of the table that `path` leads to from the table itself.

    `name` is how the file spells it: `code`, or `faculty.university.slug`.
    """

    name: str
    column: Column
    path: tuple[ForeignKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableExport:
    """A table that is exported. `key` are the columns of the table by which its rows are known.

    `order` spells the key in the table's own leaves, all of which are among `leaves`: rows are written in its
    order. `hidden` is the id column that is left out, or None.
    """

    table: str
    key: tuple[str, ...]
    leaves: tuple[Leaf, ...]
    order: tuple[Leaf, ...]
    hidden: str | None = None
    declared: bool = False  # seedlab.toml has to say the key: another one would be inferred

    @property
    def spelled_key(self) -> tuple[str, ...]:
        """The key as the file spells it."""
        return tuple(leaf.name for leaf in self.order)


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What is to be exported, parents first; which tables are not, and why; what a person should know."""

    tables: tuple[TableExport, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """A foreign key that decides which rows are exported: a row goes with its parent.

    `doubtful`: rows may be there whose parent is not. `followed`: the parent's rows may go, too.
    """

    foreign_key: ForeignKey
    doubtful: bool = False
    followed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenTable:
    """A table that was exported: its file, its rows, the key as the file spells it, the id left out."""

    table: str
    file: str
    rows: int
    key: tuple[str, ...]
    hidden: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What came of an export. `left_out` says of tables why they are not in it, `empty` had no rows."""

    database: str
    dialect: Dialect
    version: str
    tables: tuple[WrittenTable, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    empty: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """All rows written."""
        return sum(each.rows for each in self.tables)
