"""What is written, and what became of it."""

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
    """Rows as the files have them, for the row-by-row writer, which looks ids up by itself.

    The frame has the source columns of the load's parts and values as text, HANDLE, FILE and ROW.
    """

    load: Load
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Rows ready for the target: one column per name in the load's `columns`, plus FILE and ROW.

    uuid columns are UInt128 (the value itself), all others text in the database's input form, NULL as null.
    """

    load: Load
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """Where other connections have put the rows of a load: a table of theirs, part by part.

    `firsts` says of each part, by number, how many rows the parts before it have. `as_text`: the values are
    still to be cast.
    """

    relation: str
    firsts: tuple[int, ...] = ()
    as_text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableWrite:
    """All batches of one table with the same columns, in writing order; `rows` is known before writing.

    Loads that are `staged` lie in the target already; their batches hold the columns that name a row alone.
    """

    table: Table
    loads: tuple[Load, ...]
    rows: int
    batches: Callable[[], Iterator[Batch]]
    staged: Mapping[Load, Staging] = field(default_factory=dict)

    @property
    def mixed(self) -> bool:
        """Tell whether some of the loads are staged and others are not."""
        return 0 < len(self.staged) < len(self.loads)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns written, in writing order."""
        return self.loads[0].columns


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Removal:
    """Rows to be deleted from one table, named by the values of `columns`, which `frame` holds.

    Values are as in a Batch (uuid columns UInt128, all others text in the database's input form), never NULL.
    """

    table: Table
    columns: tuple[str, ...]
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePlan:
    """What a writer is given: table writes grouped so that parents come first.

    The tables of a foreign-key cycle share a group. `create` lists tables to be made first, `empty` those
    without rows. `ours` are the tables with rows whose readers may have to wait for a large load, by name.
    """

    groups: tuple[tuple[TableWrite, ...], ...]
    empty: frozenset[str]
    create: tuple[str, ...] = ()
    ours: Mapping[str, Table] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """A request for `count` new values of the sequence, or the default, that fills a column."""

    table: str
    column: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a writer answers for one load.

    `created` are the ordinals of the created rows among the load's rows in writing order; None where either
    all or none of them were.
    """

    load: Load
    outcomes: Outcomes
    created: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classified:
    """What a writer would do with the rows of one load.

    `differences`, where asked for, has a line for each row that would be created and for each value that
    would be updated: FILE, ROW, `outcome`, `column`, `old`, `new` (`database.classified.DIFFERENCES`).
    """

    load: Load
    outcomes: Outcomes
    differences: pl.DataFrame | None = None
