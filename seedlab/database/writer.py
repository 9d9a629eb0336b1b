"""`Session`: the interface that every database dialect implements.

There is one implementation per dialect (`postgres/session.py`, `sqlite/session.py`). Support for another
database means these methods, a ledger (`ledger.py`) and a reader of its catalog.
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
    """An open connection to a target database.

    Writes happen only between `begin` and `commit`; `close` rolls back an open transaction. Every statement
    sent is counted by the session's Recorder. All methods may raise ConnectionFailed and WriteError (with
    SQLSTATE and table where the database reports them), and DataFaults where a refused row can be traced to
    its file and line.
    """

    dialect: Dialect
    concurrent: bool  # whether other sessions may write while this one has an open transaction

    @property
    def ledger(self) -> Ledger:
        """The ledger that seedlab keeps in this target."""

    def catalog(
        self, project: str | None = None, on_no_ledger: Callable[[Memory], None] | None = None
    ) -> Catalog:
        """Read all tables that a seed could fill, in as few statements as possible.

        With a `project`, the project's ledger may be fetched in the same round trip; `ledger.read` then
        answers from memory. `on_no_ledger` is called with an empty Memory as soon as the target is known to
        have no ledger, which may be before the catalog has arrived.
        `Catalog.empty` lists tables known to be empty; a table that is not listed may be empty too.
        """

    def catalog_in_transaction(self) -> Catalog:
        """Read the catalog again inside the open transaction, including tables created in it."""

    def adopt(self, catalog: Catalog) -> None:
        """Use this catalog, which includes the tables that `create` will make, for all later calls."""

    def find_empty(self, tables: Collection[str]) -> frozenset[str]:
        """Return those of the tables that have no rows, in one statement."""

    def begin(self, *, read_only: bool = False) -> None:
        """Open a transaction with the isolation level and timeouts of the settings.

        A dialect may send this together with the first statement that follows.
        """

    def lock(self, wait: str | None = None, tables: Collection[str] = ()) -> int:
        """Lock out other seed runs until the transaction ends; return the ledger's generation.

        All other writers are locked out of `tables`. Must be the first call in the transaction. Raises
        LockHeld, which names the holder, immediately or after `wait`.
        """

    def exclude_writers(self, tables: Collection[str]) -> None:
        """Lock all other writers, but no readers, out of tables; takes no snapshot."""

    def keep_alive(self) -> None:
        """Exempt the transaction from the server's idle timeout; raises when the connection is lost."""

    def create(self, statements: Sequence[str]) -> None:
        """Run DDL statements (from the project's MetaData) inside the transaction."""

    def lookup(self, asks: Sequence[Ask]) -> list[pl.DataFrame]:
        """Answer all asks, in order, in one round trip where the dialect can."""

    def invalid(self, suspects: Sequence[Suspect]) -> list[pl.DataFrame]:
        """Let the database validate values; return one frame of invalid rows per suspect.

        Columns are FILE, ROW, `rule` (`type`, `overflow`, `rounding` or `too-long`) and `hint`, which says
        what the column would accept, if the database knows.
        """

    def spellings(self, columns: Sequence[tuple[Column, pl.Series]]) -> list[pl.DataFrame]:
        """Find values whose canonical text in the database differs from the text given.

        Returns a frame of `value`, `spelled` and `name` per column. `name` is a text that equal values have
        in common, NULL if that is what is `spelled`. Values that the column does not accept are left out.
        """

    def broken_checks(self, plan: WritePlan) -> list[Refusal]:
        """Find rows that violate a CHECK constraint, where the dialect can evaluate it before the write.

        All rows of the plan are evaluated, including those that exist unchanged in the target.
        """

    def clashes(self, plan: WritePlan) -> list[Refusal]:
        """Find rows that violate a unique constraint, where an error of `write` does not name the row."""

    def reserve(self, asks: Sequence[Reserve]) -> list[list[Any]]:
        """Take new values from sequences or column defaults; one list of `count` values per request."""

    def write(self, plan: WritePlan, switches: frozenset[str]) -> list[Written]:
        """Insert new rows and update rows that differ, group by group; return one answer per load.

        All ids are known already. Afterwards the sequences of the tables are above the highest id written.
        """

    def classify(self, plan: WritePlan, *, differences: bool = False) -> list[Classified]:
        """Report what `write` would do with each row, without writing; one answer per load.

        Works in a read-only transaction and needs only the right to read. Raises what `write` raises for
        rows that it refuses before it writes.
        """

    def write_rows(self, rows: Sequence[Sourced]) -> list[Written]:
        """Look up, then insert or update, one row at a time (the `legacy` level), parents first."""

    def delete(self, removals: Sequence[Removal]) -> list[int]:
        """Delete exactly these rows, children first; return the number of deleted rows per removal.

        Rows that do not exist any more are not counted, and rows named twice are counted once. Raises
        Refused, before anything is deleted, when other rows refer to any of them.
        """

    def savepoint(self) -> None:
        """Set a savepoint for `rollback_to_savepoint`."""

    def rollback_to_savepoint(self) -> None:
        """Undo everything since `savepoint` and keep the savepoint; works after an error, too."""

    def verify(self) -> None:
        """Check deferred constraints now instead of at the commit."""

    def commit(self) -> None:
        """Commit the transaction."""

    def rollback(self) -> None:
        """Undo everything since `begin`."""

    def wal_position(self) -> int | None:
        """Return the server's WAL position in bytes, or None for databases without WAL positions."""

    def round_trip_seconds(self) -> float | None:
        """Measure the round trip of an empty query, outside of a transaction and without counting it.

        None where there is no network in between, or the connection is lost.
        """

    def close(self) -> None:
        """Close the connection, or return it to those that are kept for reuse."""
