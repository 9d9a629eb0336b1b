"""The values that go to and come from the writers: batches, write plans, removals, results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seedlab.flow.catalog import Table
from seedlab.flow.loads import Load
from seedlab.flow.outcomes import Outcomes

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sourced:
    """Rows as in the files, for the row-by-row writer of level `legacy`, which looks up ids itself.

    `frame` has the source columns of the load's parts and values as text, HANDLE, FILE and ROW.
    """

    load: Load
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Rows ready to be written: one column per name in the load's `columns`, plus FILE and ROW.

    uuid columns are UInt128, all others text in the database's input syntax; NULL is null.
    """

    load: Load
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """The staging table into which other connections have copied the rows of a load, part by part.

    `firsts` has for each part the number of rows in the parts before it. `as_text`: the values are text that
    still has to be cast.
    """

    relation: str
    firsts: tuple[int, ...] = ()
    as_text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableWrite:
    """All batches of one table with the same columns, in writing order; `rows` is known before writing.

    The rows of `staged` loads are in the target already; their batches have only the columns that identify a
    row.
    """

    table: Table
    loads: tuple[Load, ...]
    rows: int
    batches: Callable[[], Iterator[Batch]]
    staged: Mapping[Load, Staging] = field(default_factory=dict)

    @property
    def mixed(self) -> bool:
        """Whether some of the loads are staged and others are not."""
        return 0 < len(self.staged) < len(self.loads)

    @property
    def columns(self) -> tuple[str, ...]:
        """The written columns, in writing order."""
        return self.loads[0].columns


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Removal:
    """Rows to be deleted from one table, identified by the values of `columns` in `frame`.

    Values are encoded as in a Batch. A NULL is a value like any other, and equals NULL.
    """

    table: Table
    columns: tuple[str, ...]
    frame: pl.DataFrame

    @property
    def nulls(self) -> frozenset[str]:
        """The columns in which some row has NULL."""
        return frozenset(name for name in self.columns if self.frame.get_column(name).null_count())


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePlan:
    """The work of a writer: table writes in groups, parents first.

    The tables of a foreign-key cycle share a group. `create` are the names of tables to be created first,
    `empty` those of tables without rows. `ours` are tables that hold rows, but whose readers may be made to
    wait for a large load, by name.
    """

    groups: tuple[tuple[TableWrite, ...], ...]
    empty: frozenset[str]
    create: tuple[str, ...] = ()
    ours: Mapping[str, Table] = field(default_factory=dict)

    @property
    def writes(self) -> list[TableWrite]:
        """The writes of all groups, in writing order."""
        return [write for group in self.groups for write in group]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """A request for `count` new values of the sequence, or default expression, that fills a column."""

    table: str
    column: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The result of writing one load.

    `created` are the ordinals of the created rows among the load's rows in writing order; None if all or none
    of them were created.
    """

    load: Load
    outcomes: Outcomes
    created: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classified:
    """What a writer would do with the rows of one load.

    `differences`, if requested, has one line per row that would be created and per value that would be
    updated, with the columns FILE, ROW, `outcome`, `column`, `old`, `new`
    (`database.classified.DIFFERENCES`).
    """

    load: Load
    outcomes: Outcomes
    differences: pl.DataFrame | None = None
