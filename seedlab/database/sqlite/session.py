"""`SqliteSession`: the implementation of `Session` for SQLite, on the standard library's sqlite3.

Transactions are begun and ended by our own statements. `PRAGMA foreign_keys` is set before the transaction,
because it has no effect within; checks are deferred to the end of the transaction; and `executescript`, which
would commit, is not used. Modules that work on frames are imported where they are used, so that a run with
nothing to do does not import polars.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedlab.database.durations import milliseconds
from seedlab.database.lock_holder import lock_held_message
from seedlab.database.sqlite import statements as sql
from seedlab.database.sqlite.catalog import find_empty, read_catalog
from seedlab.database.sqlite.connection import CountedConnection
from seedlab.database.sqlite.ledger import SqliteLedger
from seedlab.database.sqlite.lock import SideLock
from seedlab.errors import ConnectionFailed, LockHeld, SeedError, TargetChanged, WriteError
from seedlab.flow import Catalog, Column, Dialect, Memory, Recorder, Settings, Table, Target

if TYPE_CHECKING:
    import polars as pl

    from seedlab.flow import Ask, Classified, Refusal, Removal, Reserve, Sourced, Suspect, WritePlan, Written

OLDEST = (3, 35)  # the oldest version that is tested; UPDATE … FROM and sqlite_schema need 3.33
CACHE = "PRAGMA cache_size = -131072"  # at most 128 MiB, so that indexes with random keys stay in memory
_OPENING = ("BEGIN IMMEDIATE", "PRAGMA defer_foreign_keys = ON")


def open_sqlite(target: Target, settings: Settings, recorder: Recorder) -> SqliteSession:
    """Open the file; raises ConnectionFailed.

    A missing file is an empty database, and is created when a writing transaction begins.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConnectionFailed(
            f"cannot open {target.shown}: this Python has SQLite {sqlite3.sqlite_version}, and seedlab needs "
            f"{'.'.join(map(str, OLDEST))} or later; use a Python that was built with a newer one"
        )
    wait = milliseconds(settings.lock_timeout)
    file = Path(target.url)
    return SqliteSession(
        _connect(target, wait, in_memory=file.parent.exists() and not file.exists()), target, recorder, wait
    )


def _connect(target: Target, wait: int, *, in_memory: bool = False) -> sqlite3.Connection:
    """Connect to the file, or to an empty database in memory, with `wait` milliseconds of lock timeout."""
    url = ":memory:" if in_memory else target.url
    try:
        raw = sqlite3.connect(url, timeout=wait / 1000, isolation_level=None, check_same_thread=False)
        try:
            raw.execute("PRAGMA foreign_keys = ON")
            raw.execute(CACHE)
            raw.execute("PRAGMA schema_version")  # the first that reads the file, and fails if it is invalid
        except sqlite3.Error:
            raw.close()
            raise
    except sqlite3.Error as error:
        why = _why_not(Path(target.url)) or error
        raise ConnectionFailed(f"cannot open {target.shown} (from {target.origin}): {why}") from error
    return raw


def _why_not(file: Path) -> str | None:
    """Explain why a path cannot be opened, which SQLite does not."""
    if file.is_dir():
        return "it is a folder; name a file in it"
    return None if file.parent.exists() else f"there is no folder {file.parent}; make it first"


class SqliteSession:
    """A `Session` on one sqlite3 connection."""

    dialect: Dialect = "sqlite"
    concurrent = False

    def __init__(self, raw: sqlite3.Connection, target: Target, recorder: Recorder, wait: int) -> None:
        self.connection = CountedConnection(raw, recorder, target.shown)
        self.recorder = recorder
        self.known: Catalog | None = None
        self._target, self._wait = target, wait
        self._in_memory = not raw.execute("PRAGMA database_list").fetchone()[2]
        self._lock = SideLock(target.url)
        self._reserved: dict[str, int] = {}
        self._made: list[str] = []  # DDL run in this transaction; the next three belong to it, too
        self._touched = self._savepoint = False
        self._foreign_keys = True
        self.ledger = SqliteLedger(self.connection, lambda name: self._known().tables[name], _keys)

    # ---- looking ----

    def catalog(
        self,
        project: str | None = None,
        on_no_ledger: Callable[[Memory], None] | None = None,  # noqa: ARG002 (nobody waits here)
    ) -> Catalog:
        """Read the ledger and then all tables; in this order a seed that commits in between is noticed."""
        if project is not None:
            self.ledger.look(project)
        self.known = read_catalog(self.connection.run, self._target.database)
        return self.known

    def catalog_in_transaction(self) -> Catalog:
        """Read the catalog again."""
        return read_catalog(self.connection.run, self._target.database)

    def adopt(self, catalog: Catalog) -> None:
        """Use this catalog from now on, with tables to be created and kinds from the MetaData."""
        self.known = catalog

    def find_empty(self, tables: Collection[str]) -> frozenset[str]:
        """Return those of the tables that have no rows."""
        return find_empty(self.connection.run, tables) if tables else frozenset()

    def lookup(self, asks: Sequence[Ask]) -> list[pl.DataFrame]:
        """Answer all asks: one statement each, or more if the keys exceed the parameter limit."""
        from seedlab.database.sqlite.lookups import answer

        return [answer(self.connection, self._known(), ask) for ask in asks]

    def invalid(self, suspects: Sequence[Suspect]) -> list[pl.DataFrame]:
        """Validate values in Python, as SQLite itself accepts any value."""
        from seedlab.database.sqlite.lookups import judge

        return [judge(self._known(), each) for each in suspects]

    def spellings(self, asked: Sequence[tuple[Column, pl.Series]]) -> list[pl.DataFrame]:
        """Return no other spellings, as SQLite stores texts unchanged."""
        from seedlab.database.sqlite.lookups import spell

        return spell(asked)

    def broken_checks(self, plan: WritePlan) -> list[Refusal]:  # noqa: ARG002 (the contract's)
        """Return none: SQLite does not list CHECK constraints, and `write` reports every refused row."""
        return []

    def clashes(self, plan: WritePlan) -> list[Refusal]:  # noqa: ARG002 (the contract's)
        """Return none: `write` reports every row that a unique constraint refuses."""
        return []

    def reserve(self, asks: Sequence[Reserve]) -> list[list[Any]]:
        """Take ids above all that exist, ever existed (AUTOINCREMENT) or are reserved; or default values."""
        return [self._reserve(each.table, each.column, each.count) for each in asks]

    def _reserve(self, table: str, column: str, count: int) -> list[Any]:
        if expression := self._known().tables[table].columns[column].expression:
            return [row[0] for row in self.connection.run(sql.defaults(expression), (count,))]
        tops = [self.connection.run(sql.highest(table, column))[0][0], self._reserved.get(table)]
        if self.connection.run(sql.HAS_SEQUENCES):
            tops += [row[0] for row in self.connection.run(sql.HIGHEST_EVER, (table,))]
        start = max((top for top in tops if top is not None), default=0) + 1
        self._reserved[table] = start + count - 1
        return list(range(start, start + count))

    def _known(self) -> Catalog:
        return self.known if self.known is not None else self.catalog()

    # ---- writing ----

    def begin(self, *, read_only: bool = False) -> None:
        """Open a transaction with its first statement; unless `read_only`, it excludes other writers."""
        if self._in_memory and not read_only:
            self.connection.raw.close()
            self.connection.raw = _connect(self._target, self._wait)
            self._in_memory = False
        self.connection.opening = ("BEGIN", _OPENING[1]) if read_only else _OPENING

    def lock(self, wait: str | None = None, tables: Collection[str] = ()) -> int:  # noqa: ARG002 (no other writes meanwhile)
        """Lock out other runs, waiting for them up to `wait`, and for other programs up to lock_timeout."""
        holder = self._lock.take(milliseconds(wait) if wait else 0)
        if holder is not None:
            self.rollback()
            raise LockHeld(lock_held_message(holder, wait))
        try:
            return self.ledger.generation()
        except SeedError:
            self.rollback()
            raise

    def exclude_writers(self, tables: Collection[str]) -> None:
        """Do nothing: nobody else writes to the database during a transaction."""

    def keep_alive(self) -> None:
        """Do nothing: SQLite has no timeout for idle transactions, and no connection to lose."""

    def create(self, statements: Sequence[str]) -> None:
        """Run DDL inside the transaction, which SQLite can roll back."""
        for each in statements:
            self.connection.run(each)
        self._made += statements

    def write(self, plan: WritePlan, switches: frozenset[str]) -> list[Written]:
        """Write empty tables directly, and others through temporary tables."""
        from seedlab.database.sqlite.fill import NotFilledError, fill_plan, fillable
        from seedlab.database.sqlite.write import write_plan

        if {"copy", "rebuild"} <= switches and self._is_untouched() and fillable(self.connection, plan):
            try:
                self._begin_again(foreign_keys=False)
                written, self.ledger.marked = fill_plan(self.connection, self.recorder, plan)
            except (sqlite3.IntegrityError, WriteError, NotFilledError):
                self._begin_again(foreign_keys=True)  # writing row by row finds the faults
            else:
                return written
        self._touched = True
        return write_plan(self.connection, self.recorder, plan, copy="copy" in switches)

    def _is_untouched(self) -> bool:
        """Tell whether this transaction has only created tables, and no seeded row may need to be deleted."""
        return not (self._touched or self.ledger.memory.loads)

    def _begin_again(self, *, foreign_keys: bool) -> None:
        """Restart the transaction, because foreign keys cannot be switched on or off inside one.

        Other runs are locked out meanwhile; raises TargetChanged when another program has written.
        """
        version = "PRAGMA data_version"
        before = self.connection.run(version)
        self.connection.run("ROLLBACK")
        self.connection.run(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        self._foreign_keys, self._touched = foreign_keys, foreign_keys
        self.ledger.marked = {}
        self.connection.opening = _OPENING
        if self.connection.run(version) != before:
            raise TargetChanged("another program wrote to the database during this run")
        for statement in self._made:
            self.connection.run(statement)
        if self._savepoint:
            self.savepoint()

    def classify(self, plan: WritePlan, *, differences: bool = False) -> list[Classified]:
        """Classify rows in temporary tables, which are not in the file."""
        from seedlab.database.sqlite.classify import classify_plan

        return classify_plan(self.connection, self.recorder, plan, differences=differences)

    def write_rows(self, rows: Sequence[Sourced]) -> list[Written]:
        """Write one row at a time; raises CannotOrderRows when no order satisfies all references."""
        # Imported here, because importing SQLAlchemy takes 60 ms, which no other level needs.
        from seedlab.database.legacy import write_rows
        from seedlab.database.sqlalchemy_core import core_connection

        self.connection.open()
        self._touched = True
        core = core_connection(self.connection.raw, self.dialect, self.recorder)
        return write_rows(core, self._known(), rows, self.recorder)

    def delete(self, removals: Sequence[Removal]) -> list[int]:
        """Delete through temporary tables of keys; raises Refused for rows that others refer to."""
        from seedlab.database.sqlite.delete import delete_rows

        self._touched, self.ledger.marked = True, {}
        return delete_rows(self.connection, self.recorder, self._known(), removals)

    def savepoint(self) -> None:
        """Set a savepoint."""
        self.connection.run("SAVEPOINT seedlab")
        self._savepoint = True

    def rollback_to_savepoint(self) -> None:
        """Undo everything since `savepoint`."""
        self.connection.run("ROLLBACK TO SAVEPOINT seedlab")
        self.ledger.marked = {}

    def verify(self) -> None:
        """Do nothing: the foreign keys of written rows are checked after each group."""

    def commit(self) -> None:
        """Commit; fails if SQLite's own count of violated foreign keys is not zero."""
        if self.connection.raw.in_transaction:
            try:
                self.connection.run("COMMIT")
            except sqlite3.IntegrityError as error:
                message = f"committing to {self._target.shown}: {error}"
                raise WriteError(message, sqlstate=error.sqlite_errorname) from error
        self._ended()

    def rollback(self) -> None:
        """Undo everything since `begin`."""
        if self.connection.raw.in_transaction:
            self.connection.run("ROLLBACK")
        self._ended()

    def _ended(self) -> None:
        self.connection.opening = ()
        self._reserved.clear()
        self._made.clear()
        self.ledger.marked = {}
        self._touched = self._savepoint = False
        if not self._foreign_keys:
            self.connection.run("PRAGMA foreign_keys = ON")
            self._foreign_keys = True
        self._lock.release()

    def wal_position(self) -> int | None:
        """Return None: SQLite has no WAL position."""
        return None

    def round_trip_seconds(self) -> float | None:
        """Return None: there is no network."""
        return None

    def close(self) -> None:
        """Close the connection, which rolls back an open transaction."""
        self.connection.raw.close()
        self._lock.release()


def _keys(frame: pl.DataFrame, table: Table) -> list[Sequence[object]]:
    from seedlab.database.sqlite.lookups import rows_of_keys

    return rows_of_keys(frame, table)
