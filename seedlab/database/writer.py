"""The contract of a dialect: what the orchestrator asks of an open database.

One implementation per dialect (`postgres.py`, `sqlite.py`); a third one needs these methods and a catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from seedlab.database.ledger import Ledger
from seedlab.flow import Catalog, Column, Dialect, Memory

if TYPE_CHECKING:
    import polars as pl

    from seedlab.flow import Ask, Classified, Refusal, Removal, Reserve, Sourced, Suspect, WritePlan, Written


class Session(Protocol):
    """An open connection to a target. Every statement it sends is counted through the Recorder it holds.

    Nothing is written before `begin`, nothing stays without `commit`; `close` rolls back what is open.
    Errors: ConnectionFailed, WriteError (with SQLSTATE and table where the database tells), DataFaults
    where a refused row can be traced to its file and line.
    """

    dialect: Dialect
    concurrent: bool  # tells whether other sessions may write while this one has a transaction open

    @property
    def ledger(self) -> Ledger:
        """What seedlab remembers in this target."""

    def catalog(self, project: str | None = None, bare: Callable[[Memory], None] | None = None) -> Catalog:
        """Read every table a seed could fill, and which are empty, in as few statements as possible.

        Of a project the ledger may come along, ready for `ledger.read`. `bare` may be told that there is
        none, should that be known before the catalog.
        `Catalog.empty` holds tables known to have no row; a table missing there may be empty all the same.
        """

    def made(self) -> Catalog:
        """Read the catalog again inside the open transaction, with the tables that it has made."""

    def adopt(self, catalog: Catalog) -> None:
        """Take the catalog with the tables that `create` will make; later calls look tables up there."""

    def find_empty(self, tables: Collection[str]) -> frozenset[str]:
        """Tell which of the tables have no row; one statement."""

    def begin(self, *, read_only: bool = False) -> None:
        """Open the transaction with the settings' isolation and timeouts (sent with what follows)."""

    def lock(self, wait: str | None = None) -> int:
        """Lock out other seeders until the transaction ends, as the first thing in it.

        Answers the ledger's generation. Raises LockHeld, naming the holder, at once or after `wait`.
        """

    def keep_alive(self) -> None:
        """Let the transaction stay open however long nothing is asked of it; raises when it is lost."""

    def create(self, statements: Sequence[str]) -> None:
        """Run the DDL of the project's MetaData inside the transaction."""

    def lookup(self, asks: Sequence[Ask]) -> list[pl.DataFrame]:
        """Answer every ask, in order; one round trip where the dialect can."""

    def invalid(self, suspects: Sequence[Suspect]) -> list[pl.DataFrame]:
        """Judge values: per suspect the rows (FILE, ROW, `rule`, `hint`) the column does not take.

        `rule` is `type`, `overflow`, `rounding` or `too-long`; `hint`, if any, what the column would take.
        """

    def spellings(self, asked: Sequence[tuple[Column, pl.Series]]) -> list[pl.DataFrame]:
        """Say how the target spells values that it would spell otherwise.

        For each column a frame of `value` and `spelled`. What the column does not take is left out.
        """

    def broken_checks(self, plan: WritePlan) -> list[Refusal]:
        """Find rows that a CHECK constraint would refuse, where the dialect can tell before they are written.

        Asks about rows, not about what becomes of them: a row that is there already is judged too.
        """

    def clashes(self, plan: WritePlan) -> list[Refusal]:
        """Find rows that have what another row of the target has in a unique constraint, where `write` does
        not tell which row was refused.
        """

    def reserve(self, asks: Sequence[Reserve]) -> list[list[Any]]:
        """Take new values of sequences and defaults: for each ask as many as it wants."""

    def write(self, plan: WritePlan, switches: frozenset[str]) -> list[Written]:
        """Write all groups in order with ids known: COPY and staging, or multi-row statements.

        Only rows that differ are updated, only new ones inserted; existing sequences end above the
        highest id written. One answer per load.
        """

    def classify(self, plan: WritePlan, *, differences: bool = False) -> list[Classified]:
        """Say what `write` would do with each row, and write nothing.

        Takes a read-only transaction and the right to read. One answer per load, in writing order; rows
        that `write` refuses before it writes raise the same.
        """

    def write_rows(self, rows: Sequence[Sourced]) -> list[Written]:
        """Find, then insert or update, one row at a time (the `legacy` level); parents come first."""

    def delete(self, removals: Sequence[Removal]) -> list[int]:
        """Delete exactly these rows, children first; answers how many each removal deleted.

        A row that is gone already, or that an earlier removal named too, is not counted. Raises Refused,
        before anything is deleted, when rows that are not among them refer to any of them.
        """

    def savepoint(self) -> None:
        """Set the savepoint to which `rollback_to_savepoint` goes back."""

    def rollback_to_savepoint(self) -> None:
        """Undo everything since `savepoint`, which stays; may be called again, and after an error."""

    def verify(self) -> None:
        """Check now what would be checked at the commit: deferred constraints."""

    def commit(self) -> None:
        """Commit the transaction."""

    def rollback(self) -> None:
        """Undo everything since `begin`."""

    def wal_position(self) -> int | None:
        """Bytes of WAL written by the server so far, or None where there is none."""

    def round_trip_seconds(self) -> float | None:
        """Take the time of a question of no weight; outside of transactions, and not counted.

        None where there is no way to go, or no connection any more.
        """

    def close(self) -> None:
        """Give the connection back."""
