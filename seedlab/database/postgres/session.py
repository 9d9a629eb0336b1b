"""`PostgresSession`: the implementation of `Session` for PostgreSQL.

It works through a connection pooler in transaction mode, such as PgBouncer, because nothing on the server
outlives its transaction: there are no prepared statements, session settings or start-up options.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq
from psycopg.sql import SQL, Composable

from seedlab.database.connect import KeptTarget
from seedlab.database.durations import milliseconds
from seedlab.database.ledger import memory_of
from seedlab.database.lock_holder import Holder, lock_held_message, read_label
from seedlab.database.polling import readable
from seedlab.database.postgres import kept_catalog
from seedlab.database.postgres import ledger_statements as ledger
from seedlab.database.postgres import statements as sql
from seedlab.database.postgres import transaction_statements as transaction
from seedlab.database.postgres.catalog import QUERY, read_catalog
from seedlab.database.postgres.failures import connection_failed, write_failed
from seedlab.database.postgres.ledger import NO_RIGHT, NO_TABLE, PostgresLedger
from seedlab.database.postgres.wire import Question, StatementError, Wire, translated
from seedlab.errors import CommitUnanswered, ConfigurationError, LockHeld, WriteError
from seedlab.flow import Catalog, Column, Dialect, Memory, Recorder, Settings, Table, Target

if TYPE_CHECKING:
    import polars as pl

    from seedlab.flow import Ask, Classified, Refusal, Removal, Reserve, Sourced, Suspect, WritePlan, Written

INTRANS, INERROR = pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR
Row = tuple[bytes | None, ...]
_LEDGER = 3  # the first statement that needs the ledger, in the message that reads it with the catalog


def open_postgres(target: Target, settings: Settings, recorder: Recorder, label: str) -> PostgresSession:
    """Open a session, reusing an idle connection of a KeptTarget; raises ConnectionFailed."""
    if not isinstance(target, KeptTarget):
        return PostgresSession(connection_to(target, label), settings, recorder)
    name = (target.url, label)
    connection = target.idle.pop(name, None)
    if connection is None or not _is_usable(connection):
        connection = connection_to(target, label)

    def give_back(connection: psycopg.Connection[Any]) -> None:
        if name not in target.idle and connection.info.transaction_status == pq.TransactionStatus.IDLE:
            target.idle[name] = connection
        else:
            connection.close()

    return PostgresSession(connection, settings, recorder, give_back)


def _is_usable(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether an idle connection is still open; close it if not.

    Data waiting on an idle connection means that the server has closed it: nothing else is sent unasked.
    """
    if connection.closed or readable(connection.fileno(), seconds=0):
        connection.close()
        return False
    return True


def connection_to(target: Target, label: str) -> psycopg.Connection[Any]:
    """Connect with a limit on every wait, so that a silent server is an error; raises ConnectionFailed."""
    try:
        return psycopg.connect(
            target.url,
            autocommit=True,
            prepare_threshold=None,
            cursor_factory=psycopg.RawCursor,
            application_name=label,
            client_encoding="UTF8",
            connect_timeout=10,
            keepalives_idle=30,
            tcp_user_timeout=30_000,
        )
    except psycopg.Error as error:
        raise connection_failed(error, target) from None


_NO_ANSWER = (
    "the connection was lost before the server had answered COMMIT, so it is not known whether the rows are "
    "written; run again: what is missing is written then, and nothing twice"
)


class PostgresSession:
    """A `Session` on a psycopg connection in autocommit mode, which sends BEGIN and COMMIT itself."""

    dialect: Dialect = "postgresql"
    concurrent = True

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        settings: Settings,
        recorder: Recorder,
        give_back: Callable[[psycopg.Connection[Any]], None] = psycopg.Connection.close,
    ) -> None:
        self.wire = Wire(connection, recorder)
        self.settings = settings
        self.known: Catalog | None = None
        self._give_back = give_back
        self._wal: int | None = None
        self._schema = "public"
        self._search_path: Composable = SQL('"$user", public')
        self.ledger = PostgresLedger(
            self.wire, self._table, _arrays, lambda: self._search_path, self.settings.lock_timeout
        )

    # ---- looking ----

    def catalog(
        self, project: str | None = None, on_no_ledger: Callable[[Memory], None] | None = None
    ) -> Catalog:
        """Read the catalog and, with a project, the ledger in the same snapshot.

        The ledger has a copy of the catalog, which is valid until DDL is run; it is read in less than half of
        the time. Without a valid copy a second message queries the catalog itself.
        """
        queries = [] if project is None else [ledger.read(project)]
        kept: Row = ()
        if queries:
            try:
                kept, *memories = self._look([kept_catalog.KEPT, *queries])
            except StatementError as failed:
                self._without_ledger(failed)
                if on_no_ledger is not None:
                    on_no_ledger(self.ledger.memory)
                queries = []
        copy = self.ledger.kept_catalog
        copy.start(valid=bool(kept))
        if kept:
            document, wal = kept
            self.known = _kept_catalog(document or b"", self._schema)
        else:
            with translated("the catalog"):
                (document, meaning), *memories = self._look([kept_catalog.CATALOG, *queries])
            copy.read = (document or b"", (meaning or b"").decode())
            answer = json.loads(document or b"{}")
            wal = answer["wal"]
            self.known = read_catalog(answer, self._schema)
        if queries:
            self.ledger.memory = memory_of(json.loads(memories[0][0] or b"")) if memories[0] else Memory()
        self._wal = int(wal) if wal else None
        return self.known

    def _look(self, queries: Sequence[Composable]) -> list[Row]:
        """Run queries of at most one row each in one snapshot; note the connection's search_path."""
        results = self.wire.script(transaction.look(queries, self.settings.lock_timeout))
        path = [name for name in json.loads(results[1].get_value(0, 0) or b"[]") if name != "seedlab"]
        self._schema = path[0] if path else "public"
        self._search_path = sql.names(path) if path else self._search_path
        return [
            tuple(each.get_value(0, n) for n in range(each.nfields)) if each.ntuples else ()
            for each in results[3:-1]
        ]

    def _without_ledger(self, failed: StatementError) -> None:
        """Continue without a ledger when it does not exist or may not be read; raise other errors."""
        if failed.index < _LEDGER or failed.error.sqlstate not in (NO_TABLE, NO_RIGHT):
            raise write_failed(failed.error, "the catalog") from failed.error
        self.wire.opening = [SQL("ROLLBACK")]  # sent with the next message
        self.ledger.memory = Memory(possible=failed.error.sqlstate == NO_TABLE)

    def catalog_in_transaction(self) -> Catalog:
        """Read the catalog as this transaction sees it."""
        ours = transaction.put_search_path(self._search_path)
        with translated("the catalog"):
            results = self.wire.script([transaction.SYSTEM_NAMES, sql.trusted(QUERY), ours])
        return read_catalog(json.loads(results[1].get_value(0, 0) or b"{}"), self._catalog().default_schema)

    def adopt(self, catalog: Catalog) -> None:
        """Use this catalog from now on."""
        self.known = catalog

    def find_empty(self, tables: Collection[str]) -> frozenset[str]:
        """Return those of the tables that have no rows."""
        candidates = [self._table(name) for name in tables]
        if not candidates:
            return frozenset()
        row = self._ask([(sql.find_empty(candidates), ())])[0][0]
        return frozenset(table.name for table, empty in zip(candidates, row, strict=True) if empty)

    def lookup(self, asks: Sequence[Ask]) -> list[pl.DataFrame]:
        """Answer all asks in one pipeline."""
        from seedlab.database.postgres.lookups import answer, lookup_questions

        catalog = self._catalog()
        version = self.wire.connection.info.server_version
        rows = self._ask(lookup_questions(asks, catalog, version)) if asks else []
        return [answer(ask, found, catalog) for ask, found in zip(asks, rows, strict=True)]

    def invalid(self, suspects: Sequence[Suspect]) -> list[pl.DataFrame]:
        """Let the server validate values."""
        from seedlab.database.postgres.lookups import judge

        version = self.wire.connection.info.server_version
        return judge(self._ask, suspects, self._catalog(), version) if suspects else []

    def spellings(self, columns: Sequence[tuple[Column, pl.Series]]) -> list[pl.DataFrame]:
        """Let the server return values in its own spelling."""
        from seedlab.database.postgres.lookups import spell

        return spell(self._ask, columns, self.wire.connection.info.server_version) if columns else []

    def broken_checks(self, plan: WritePlan) -> list[Refusal]:
        """Let the server evaluate its CHECK constraints over the rows."""
        from seedlab.database.postgres.checks import broken_checks

        return broken_checks(self.wire, plan)

    def clashes(self, plan: WritePlan) -> list[Refusal]:
        """Let the server look for rows that violate its unique constraints."""
        from seedlab.database.postgres.checks import clashes

        return clashes(self.wire, plan)

    def reserve(self, asks: Sequence[Reserve]) -> list[list[Any]]:
        """Take values from sequences or column defaults in one pipeline."""
        questions = [(sql.reserve(self._table(ask.table).columns[ask.column], ask.count), ()) for ask in asks]
        return [[row[0] for row in rows] for rows in (self._ask(questions) if questions else ())]

    def _ask(self, questions: Sequence[Question]) -> list[list[tuple[Any, ...]]]:
        with translated():
            return self.wire.ask(questions)

    def _catalog(self) -> Catalog:
        assert self.known is not None
        return self.known

    def _table(self, name: str) -> Table:
        return self._catalog().tables[name]

    # ---- writing ----

    def begin(self, *, read_only: bool = False) -> None:
        """Open a transaction; BEGIN is sent with the first statement that follows."""
        if self.settings.isolation not in transaction.ISOLATION:
            raise ConfigurationError(
                f"isolation '{self.settings.isolation}' is not one of {', '.join(transaction.ISOLATION)}"
            )
        opening = transaction.opening(self.settings, self._search_path, read_only=read_only)
        self.wire.opening = [*self.wire.opening, *opening]

    def lock(self, wait: str | None = None, tables: Collection[str] = ()) -> int:
        """Lock out other seed runs; takes no snapshot, so that what they commit meanwhile is seen."""
        statements = ledger.lock(milliseconds(wait) if wait else 0, self.settings)
        try:
            results = self.wire.script(statements[:-1] if tables else statements)
        except StatementError as failed:
            self.rollback()
            if failed.error.sqlstate == "55P03":
                raise LockHeld(lock_held_message(self._holder(), wait)) from None
            raise write_failed(failed.error, "the ledger") from failed.error
        if tables:
            self.exclude_writers(tables)
            return self.ledger.generation()
        return int(results[-1].get_value(0, 0) or 0)

    def exclude_writers(self, tables: Collection[str]) -> None:
        """Lock the tables in the order of their names."""
        if tables:
            self._run([sql.lock_for_writing([self._table(name) for name in sorted(tables)])])

    def keep_alive(self) -> None:
        """Switch the server's limit for idle transactions off; takes no snapshot."""
        self._run([SQL("SET LOCAL idle_in_transaction_session_timeout = 0")])

    def _holder(self) -> Holder | None:
        """Find out which connection holds the lock."""
        found = self._ask([(ledger.HOLDER, ())])[0]
        if not found:
            return None
        pid, label, host, since = found[0]
        return read_label(label, server_pid=pid, host=host, since=since)

    def create(self, statements: Sequence[str]) -> None:
        """Run DDL statements in one message."""
        self.ledger.kept_catalog.altered()
        self._run([sql.trusted(each) for each in statements])

    def _run(self, statements: Sequence[Composable]) -> None:
        with translated():
            self.wire.script(statements)

    def write(self, plan: WritePlan, switches: frozenset[str]) -> list[Written]:
        """Write empty tables by COPY and others by a merge; without `copy` by multi-row VALUES."""
        from seedlab.database.postgres.direct import is_large
        from seedlab.database.postgres.grow import may_grow
        from seedlab.database.postgres.write import write_plan

        grows = any(may_grow(write, plan, switches) for write in plan.writes)
        if grows or (plan.empty and is_large(plan.writes)):
            self.ledger.kept_catalog.altered()  # indexes may be created again
        elif plan.empty:
            self.ledger.kept_catalog.valid = False  # foreign keys may be created again
        return write_plan(self.wire, plan, switches)

    def classify(self, plan: WritePlan, *, differences: bool = False) -> list[Classified]:
        """Classify rows as a merge would; they are sent as arrays, since a temporary table is a write."""
        from seedlab.database.postgres.classify import classify_plan

        return classify_plan(self.wire, plan, differences=differences)

    def write_rows(self, rows: Sequence[Sourced]) -> list[Written]:
        """Write one row at a time; raises CannotOrderRows when no order satisfies all references."""
        # Imported here, because importing SQLAlchemy takes 60 ms, which no other level needs.
        from seedlab.database.legacy import write_rows
        from seedlab.database.postgres.copy_rows import raise_sequences
        from seedlab.database.sqlalchemy_core import core_connection

        self._run([])
        core = core_connection(self.wire.connection, self.dialect, self.wire.recorder)
        written = write_rows(core, self._catalog(), rows, self.wire.recorder)
        if raises := raise_sequences((each.load, self._table(each.load.table)) for each in rows):
            self._run(raises)
        return written

    def delete(self, removals: Sequence[Removal]) -> list[int]:
        """Delete by joining with arrays; raises Refused for rows that others refer to."""
        from seedlab.database.postgres.delete import delete_rows

        lock = self.settings.isolation == "read committed"
        return delete_rows(self.wire, self._catalog(), removals, lock=lock)

    def savepoint(self) -> None:
        """Set a savepoint."""
        self._run([SQL("SAVEPOINT seedlab")])

    def rollback_to_savepoint(self) -> None:
        """Undo everything since `savepoint`."""
        self._run([SQL("ROLLBACK TO SAVEPOINT seedlab")])

    def verify(self) -> None:
        """Check deferred constraints now."""
        self._run([SQL("SET CONSTRAINTS ALL IMMEDIATE")])

    def commit(self) -> None:
        """Commit and read the WAL position in one message; raises CommitUnanswered."""
        try:
            results = self.wire.end([SQL("COMMIT"), transaction.WAL_POSITION])
        except StatementError as failed:
            if failed.error.sqlstate is None:
                raise CommitUnanswered(_NO_ANSWER) from failed.error
            raise write_failed(failed.error) from failed.error
        if results and results[0].command_status != b"COMMIT":
            raise WriteError("the transaction had failed, so the server rolled it back")
        if results:
            self._wal = int(results[1].get_value(0, 0) or 0)

    def rollback(self) -> None:
        """Roll back; on a lost connection the server has done so itself."""
        self.wire.abandon()

    def wal_position(self) -> int | None:
        """Return the WAL position of the last commit, or else of when the catalog was read."""
        return self._wal

    def round_trip_seconds(self) -> float | None:
        """Measure the round trip of an empty query."""
        return self.wire.round_trip_seconds()

    def close(self) -> None:
        """Close the connection, or return it to its KeptTarget.

        A statement that still runs is cancelled first, and an open transaction rolled back. Otherwise it
        could hold its locks until the server notices that the connection is closed, and the next seed would
        be refused.
        """
        self.wire.cancel()
        if self.wire.connection.info.transaction_status in (INTRANS, INERROR):
            self.rollback()
        self._give_back(self.wire.connection)


@lru_cache(maxsize=4)
def _kept_catalog(document: bytes, schema: str) -> Catalog:
    """Make a Catalog of the ledger's copy, which does not say which tables are empty.

    Cached: an unchanged schema gives the same text each time, and parsing takes longer than the query.
    """
    return replace(read_catalog(json.loads(document), schema), empty=frozenset())


def _arrays(frame: pl.DataFrame) -> Sequence[str]:
    from seedlab.database.postgres.encode import frame_literals

    return frame_literals(frame, frame.columns)
