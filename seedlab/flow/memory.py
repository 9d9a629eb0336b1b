"""What seedlab remembers in the target between runs: the ledger, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seedlab.flow.outcomes import Outcomes

if TYPE_CHECKING:
    import polars as pl

LEDGER_VERSION = 1
# Of a row that no file has any more: it stays in the target, and stays ours.
LEFT = 0xFFFF
# In the place of a table's count of rows: equal to none, so that the next run looks at the rows themselves.
IN_DOUBT = -1
# Of a pack of remembered rows, and of what one statement carries of them: about so many, however many rows.
PACK_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """The transactions that wrote the rows of a table, and how many rows those were.

    What a transaction wrote can only become less once it has ended: every change of a row is a row of
    another one. So while there are as many, none was changed.
    """

    transactions: tuple[int, ...]
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableState:
    """The content of a table's seeded columns: count, xor and sum of the row hashes.

    Equal states of one `server` (what computes the hashes) mean equal rows, whatever their order. Where there
    is a `stamp`, and it is of all rows, they need not be hashed to know that they are the same. Every seeded
    row is one of the stamp's; `unmarked`: their marks are not kept.
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
        """Count, xor and sum: another tuple where any row is another."""
        return self.rows, self.xor, self.sum


@dataclass(frozen=True, slots=True, kw_only=True)
class StageMemory:
    """A stage as it was last seeded: `parts` has a hash for all that its rows depend on, by label.

    `run` is the last run that ran it: by that, stages that depend on it see that they must look again.
    """

    stage: str
    parts: Mapping[str, str]
    tables: tuple[str, ...]
    run: str = ""
    finished: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadMemory:
    """What a seed brought to a table: how many rows, and of what `meaning` (key, columns, references).

    `files` are names in the order by which the remembered rows count them.
    """

    stage: str
    seed: str
    table: str
    meaning: str
    files: tuple[str, ...]
    rows: int
    key: tuple[str, ...] = ()  # as files spell it, for reports
    made: str | None = None  # the column whose value is the handle of every row that we made

    @property
    def name(self) -> tuple[str, str, str]:
        """Stage, seed and table."""
        return self.stage, self.seed, self.table


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The ledger's view of one project; empty where nothing is remembered yet.

    `generation` changes with whatever a run of any project writes. `shared` are tables into which other
    projects seed rows, too. `possible` is False where we may not keep a ledger. `several`: some loads have
    more than one pack; `undivided`: none may have, since we may not make the table for them. `stamped`: the
    ledger has a place for stamps.
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
    """A run that wrote, as the ledger keeps it; `stages` are those that it committed each by itself.

    Times are as the database spells them: ISO 8601 with an offset.
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
    """Rows of a table, named by the values of `columns`: uuid as UInt128, all else text, as in a Batch.

    `frame` has just these columns; None means every row of the table.
    """

    state: TableState
    frame: pl.DataFrame | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What a run that changed few rows of a table leaves of it: the `state` that it made of the one it found.

    `marks` are those of the rows that it wrote; they come behind the marks that are there.
    """

    state: TableState
    marks: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Memo:
    """What a run leaves in the ledger; `contents` are the remembered rows of each load, in packs, which are
    gone through once.

    Those of `continued` loads come behind what is there. `part` is the stage, where each is committed by
    itself.
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
    continued: frozenset[tuple[str, str, str]] = frozenset()
    forgotten: tuple[tuple[str, str, str], ...] = ()
    unfinished: tuple[str, ...] = ()  # stages whose next run must not take them for done
    part: str = ""
    marks: Mapping[str, bytes | None] = field(default_factory=dict)
    shifts: tuple[Shift, ...] = ()
