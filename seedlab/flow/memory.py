"""The ledger as values: what seedlab stores in the target between runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seedlab.flow.outcomes import Outcomes

if TYPE_CHECKING:
    import polars as pl

LEDGER_VERSION = 1
# In the place of a file's index: the row is no longer in any file, but still in the target, and seedlab
# created it.
LEFT = 0xFFFF
# In the place of a table's row count: it equals no count, so that the next run compares the rows themselves.
IN_DOUBT = -1
LoadName = tuple[str, str, str]  # stage, seed and table, which identify a load
# The approximate size of a pack of remembered rows, and of the rows that one statement carries.
PACK_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """The transactions that wrote the rows of a table, and the number of rows they wrote.

    PostgreSQL marks each row version with its transaction (`xmin`), and an update makes a new version. So
    once these transactions have ended, their rows can only become fewer; while there are as many, no row has
    changed.
    """

    transactions: tuple[int, ...]
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableState:
    """The content of a table's seeded columns as a hash: count, xor and sum of the row hashes.

    Equal states computed by the same `server` mean equal rows, in whatever order. If a `stamp` covers all
    rows, they need not be hashed to know that they are the same. Every seeded row belongs to the stamp.
    `unmarked`: the marks of the rows are not stored.
    """

    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    server: str
    rows: int = 0
    xor: int = 0
    sum: int = 0
    stamp: Stamp | None = None
    unmarked: bool = False

    @property
    def content(self) -> tuple[int, int, int]:
        """Count, xor and sum, which differ if any row differs."""
        return self.rows, self.xor, self.sum


@dataclass(frozen=True, slots=True, kw_only=True)
class StageMemory:
    """A stage as it was last seeded: `parts` maps a label to the hash of each thing its rows depend on.

    `run` is the last run that ran it. Stages that depend on it compare that id, and run again if it differs.
    """

    stage: str
    parts: Mapping[str, str]
    tables: tuple[str, ...]
    run: str = ""
    finished: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadMemory:
    """What a seed put into a table.

    `meaning` is a hash of the load's key, columns and references. `files` are names in the order in which the
    remembered rows number them.
    """

    stage: str
    seed: str
    table: str
    meaning: str
    files: tuple[str, ...]
    rows: int
    key: tuple[str, ...] = ()  # as the files spell it, for reports
    made: str | None = None  # the uuid column that holds the handle of every row that seedlab created

    @property
    def name(self) -> LoadName:
        """The name that the load has in the ledger."""
        return self.stage, self.seed, self.table


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the ledger says of one project; empty if nothing is stored yet.

    `generation` increases whenever a run of any project writes. `shared` are tables that other projects seed,
    too. `possible` is False if the user may not create a ledger. `several`: some loads have more than one
    pack of rows. `undivided`: no load can have more than one, since the user may not create the table for
    further packs. `stamped`: the ledger has a column for stamps.
    """

    generation: int = 0
    stages: Mapping[str, StageMemory] = field(default_factory=dict)
    loads: tuple[LoadMemory, ...] = ()
    tables: Mapping[str, TableState] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()
    exists: bool = False
    possible: bool = True
    several: bool = False
    undivided: bool = False
    stamped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMemory:
    """A run that wrote, as the ledger stores it; `stages` are those that were committed one by one.

    Times are spelled by the database: ISO 8601 with an offset.
    """

    run_id: str
    environment: str
    level: str
    started: str
    finished: str
    outcomes: Outcomes
    stages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowSet:
    """Rows of a table, identified by the values of the columns in `frame`; None means every row.

    As in a Batch, uuid columns are UInt128 and all others text.
    """

    state: TableState
    frame: pl.DataFrame | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """The update of a table's state after a run that changed few of its rows.

    `state` is computed from the stored state and the changed rows. `marks` are those of the rows that the run
    wrote; they are appended to the stored ones.
    """

    state: TableState
    marks: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Memo:
    """What a run stores in the ledger.

    `contents` are the rows of each load in packs, iterable once; those of `continued` loads are appended to
    the stored packs, all others replace them. `part` is the stage's id if each stage is committed by itself.
    """

    project: str
    run_id: str
    environment: str
    level: str
    started: str
    outcomes: Outcomes
    stages: tuple[StageMemory, ...]
    loads: tuple[LoadMemory, ...]
    contents: tuple[Iterable[bytes], ...]
    continued: frozenset[LoadName] = frozenset()
    forgotten: tuple[LoadName, ...] = ()
    unfinished: tuple[str, ...] = ()  # stages that the next run must not take for done
    part: str = ""
    marks: Mapping[str, bytes | None] = field(default_factory=dict)
    shifts: tuple[Shift, ...] = ()
