"""An open PostgreSQL target: its catalog, its transactions, its answers.

Nothing here outlives its transaction, so a pooler in transaction mode may stand in between: no prepared
statements, no session settings, no start-up options.
"""

from __future__ import annotations

import json
import select
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq
from psycopg.sql import SQL, Composable

from seedlab.database import ledger_statements as ledger
from seedlab.database import statements as sql
from seedlab.database import transaction_statements as transaction
from seedlab.database.catalog import QUERY, read_catalog
from seedlab.database.connect import KeptTarget
from seedlab.database.durations import milliseconds
from seedlab.database.failures import connection_failed, write_failed
from seedlab.database.holder import Holder, held, read_label
from seedlab.database.ledger import memory_of
from seedlab.database.postgres_ledger import NO_RIGHT, NO_TABLE, PostgresLedger
from seedlab.database.wire import Question, StatementError, Wire
from seedlab.errors import CommitUnanswered, ConfigurationError, LockHeld, WriteError
from seedlab.flow import (
    Catalog,
    Column,
    Dialect,
    Memory,
    Recorder,
    Settings,
    Table,
    Target,
)

if TYPE_CHECKING:
    import polars as pl

    from seedlab.flow import Ask, Classified, Refusal, Removal, Reserve, Sourced, Suspect, WritePlan, Written

Row = tuple[bytes | None, ...]
_LEDGER = 3  # place of the first statement that needs the ledger, where the catalog is read


def open_postgres(target: Target, settings: Settings, recorder: Recorder, label: str) -> PostgresSession:
    """Open a session, on a connection that was kept if there is one; raises ConnectionFailed."""
    if not isinstance(target, KeptTarget):
        return PostgresSession(connection_to(target, label), settings, recorder)
    name = (target.url, label)
    connection = target.idle.pop(name, None)
    if connection is None or not _waits(connection):
        connection = connection_to(target, label)

    def give_back(connection: psycopg.Connection[Any]) -> None:
        if name not in target.idle and connection.info.transaction_status == pq.TransactionStatus.IDLE:
            target.idle[name] = connection
        else:
            connection.close()

    return PostgresSession(connection, settings, recorder, give_back)


def _waits(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether nothing came from the server meanwhile: all that comes unasked is that it hung up."""
    if connection.closed or select.select([connection.fileno()], [], [], 0)[0]:
        connection.close()
        return False
    return True


def connection_to(target: Target, label: str) -> psycopg.Connection[Any]:
    """Connect; every wait has a limit, so a silent peer ends in an error and not in a hang."""
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
    """A `Session` on one psycopg connection in autocommit mode; transactions are our own statements."""

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
        self.ledger = PostgresLedger(self.wire, self._table, _arrays, lambda: self._search_path)

    # ---- looking ----

    def catalog(self, project: str | None = None, bare: Callable[[Memory], None] | None = None) -> Catalog:
        """Read the whole catalog, and with a project the ledger of the same moment.

        The ledger keeps the catalog, too: while nothing was altered, that takes less than half of the time.
        A second message reads it where there is no ledger, or something was.
        """
        questions = [] if project is None else [ledger.read(project)]
        kept: Row = ()
        if questions:
            try:
                kept, *told = self._look([ledger.KEPT_CATALOG, *questions])
            except StatementError as failed:
                self._without_ledger(failed)
                if bare is not None:
                    bare(self.ledger.memory)
                questions = []
        self.ledger.keeps_catalog = bool(kept)
        if kept:
            document, wal = kept
            self.known = _kept_catalog(document or b"", self._schema)
        else:
            try:
                (document,), *told = self._look([sql.trusted(QUERY), *questions])
            except StatementError as failed:
                raise write_failed(failed.error, "the catalog") from failed.error
            answer = json.loads(document or b"{}")
            wal = answer["wal"]
            self.known = read_catalog(answer, self._schema)
        if questions:
            self.ledger.memory = memory_of(json.loads(told[0][0] or b"")) if told[0] else Memory()
        self._wal = int(wal) if wal else None
        return self.known

    def _look(self, questions: Sequence[Composable]) -> list[Row]:
        """Ask at one moment, with the server's own names only in the search path; each answers one row."""
        results = self.wire.script(transaction.look(questions, self.settings.lock_timeout))
        path = [name for name in json.loads(results[1].get_value(0, 0) or b"[]") if name != "seedlab"]
        self._schema = path[0] if path else "public"
        self._search_path = sql.names(path) if path else self._search_path
        return [
            tuple(each.get_value(0, n) for n in range(each.nfields)) if each.ntuples else ()
            for each in results[3:-1]
        ]

    def _without_ledger(self, failed: StatementError) -> None:
        """Go on without a ledger where there is none, or none that we may read."""
        if failed.index < _LEDGER or failed.error.sqlstate not in (NO_TABLE, NO_RIGHT):
            raise write_failed(failed.error, "the catalog") from failed.error
        self.wire.opening = [SQL("ROLLBACK")]  # goes in front of the next message
        self.ledger.memory = Memory(possible=failed.error.sqlstate == NO_TABLE)

    def made(self) -> Catalog:
        """Read the catalog as this transaction sees it."""
        ours = transaction.put_search_path(self._search_path)
        try:
            results = self.wire.script([transaction.SYSTEM_NAMES, sql.trusted(QUERY), ours])
        except StatementError as failed:
            raise write_failed(failed.error, "the catalog") from failed.error
        return read_catalog(json.loads(results[1].get_value(0, 0) or b"{}"), self._catalog().default_schema)

    def adopt(self, catalog: Catalog) -> None:
        """Know the tables that are about to be made, too."""
        self.known = catalog

    def find_empty(self, tables: Collection[str]) -> frozenset[str]:
        """Ask which tables have no row."""
        asked = [self._table(name) for name in tables]
        if not asked:
            return frozenset()
        row = self._ask([(sql.find_empty(asked), ())])[0][0]
        return frozenset(table.name for table, empty in zip(asked, row, strict=True) if empty)

    def lookup(self, asks: Sequence[Ask]) -> list[pl.DataFrame]:
        """Answer all asks in one pipeline."""
        from seedlab.database.postgres_answers import answer, lookup_questions

        catalog = self._catalog()
        version = self.wire.connection.info.server_version
        rows = self._ask(lookup_questions(asks, catalog, version)) if asks else []
        return [answer(ask, found, catalog) for ask, found in zip(asks, rows, strict=True)]

    def invalid(self, suspects: Sequence[Suspect]) -> list[pl.DataFrame]:
        """Let the server judge values."""
        from seedlab.database.postgres_answers import judge

        version = self.wire.connection.info.server_version
        return judge(self._ask, suspects, self._catalog(), version) if suspects else []

    def spellings(self, asked: Sequence[tuple[Column, pl.Series]]) -> list[pl.DataFrame]:
        """Let the server spell values."""
        from seedlab.database.postgres_answers import spell

        return spell(self._ask, asked, self.wire.connection.info.server_version) if asked else []

    def broken_checks(self, plan: WritePlan) -> list[Refusal]:
        """Let the server evaluate its CHECK constraints over the rows."""
        from seedlab.database.postgres_checks import broken_checks

        return broken_checks(self.wire, plan)

    def clashes(self, plan: WritePlan) -> list[Refusal]:
        """Let the server compare the rows with those that it has, by its unique constraints."""
        from seedlab.database.postgres_checks import clashes

        return clashes(self.wire, plan)

    def reserve(self, asks: Sequence[Reserve]) -> list[list[Any]]:
        """Take values from sequences, or of defaults, all in one pipeline."""
        columns = [self._table(each.table).columns[each.column] for each in asks]
        questions = [(sql.reserve(column, a.count), ()) for column, a in zip(columns, asks, strict=True)]
        return [[row[0] for row in rows] for rows in (self._ask(questions) if questions else ())]

    def _ask(self, questions: Sequence[Question]) -> list[list[tuple[Any, ...]]]:
        try:
            return self.wire.ask(questions)
        except StatementError as failed:
            raise write_failed(failed.error) from failed.error

    def _catalog(self) -> Catalog:
        assert self.known is not None
        return self.known

    def _table(self, name: str) -> Table:
        return self._catalog().tables[name]

    # ---- writing ----

    def begin(self, *, read_only: bool = False) -> None:
        """Open the transaction with the first message of it."""
        if self.settings.isolation not in transaction.ISOLATION:
            raise ConfigurationError(
                f"isolation '{self.settings.isolation}' is not one of {', '.join(transaction.ISOLATION)}"
            )
        opening = transaction.opening(self.settings, self._search_path, read_only=read_only)
        self.wire.opening = [*self.wire.opening, *opening]

    def lock(self, wait: str | None = None) -> int:
        """Lock out other seeders, as the transaction's first statement; it takes no snapshot."""
        statements = ledger.lock(milliseconds(wait) if wait else 0, self.settings)
        try:
            results = self.wire.script(statements)
        except StatementError as failed:
            self.rollback()
            if failed.error.sqlstate == "55P03":
                raise LockHeld(held(self._holder(), wait)) from None
            raise write_failed(failed.error, "the ledger") from failed.error
        return int(results[-1].get_value(0, 0) or 0)

    def keep_alive(self) -> None:
        """Switch off the server's limit for idle transactions; takes no snapshot."""
        self._run([SQL("SET LOCAL idle_in_transaction_session_timeout = 0")])

    def _holder(self) -> Holder | None:
        """Look who holds the lock."""
        found = self._ask([(ledger.HOLDER, ())])[0]
        if not found:
            return None
        pid, label, host, since = found[0]
        return read_label(label, server_pid=pid, host=host, since=since)

    def create(self, statements: Sequence[str]) -> None:
        """Run DDL, all in one message."""
        self.ledger.keeps_catalog = False
        self._run([sql.trusted(each) for each in statements])

    def _run(self, statements: Sequence[Composable]) -> None:
        try:
            self.wire.script(statements)
        except StatementError as failed:
            raise write_failed(failed.error) from failed.error

    def write(self, plan: WritePlan, switches: frozenset[str]) -> list[Written]:
        """Write by COPY into empty tables, by merge into others; multi-row VALUES without `copy`."""
        from seedlab.database.postgres_grow import may_grow
        from seedlab.database.postgres_write import write_plan

        grows = any(may_grow(write, plan, switches) for group in plan.groups for write in group)
        self.ledger.keeps_catalog &= not (plan.empty or grows)  # keys and indexes may be made anew
        return write_plan(self.wire, plan, switches)

    def classify(self, plan: WritePlan, *, differences: bool = False) -> list[Classified]:
        """Judge rows as a merge would, from arrays only."""
        from seedlab.database.postgres_classify import classify_plan

        return classify_plan(self.wire, plan, differences=differences)

    def write_rows(self, rows: Sequence[Sourced]) -> list[Written]:
        """Write one row at a time; raises CannotOrderRows where no order of rows will do."""
        # Imported here: SQLAlchemy costs 60 ms that no other level needs.
        from seedlab.database.legacy import write_rows
        from seedlab.database.lent import core_connection
        from seedlab.database.postgres_copy import sequences

        self._run([])
        core = core_connection(self.wire.connection, self.dialect, self.wire.recorder)
        written = write_rows(core, self._catalog(), rows, self.wire.recorder)
        if raises := sequences((each.load, self._table(each.load.table)) for each in rows):
            self._run(raises)
        return written

    def delete(self, removals: Sequence[Removal]) -> list[int]:
        """Delete by join with arrays; refuse first what other rows refer to."""
        from seedlab.database.postgres_delete import delete_rows

        return delete_rows(
            self.wire, self._catalog(), removals, lock=self.settings.isolation == "read committed"
        )

    def savepoint(self) -> None:
        """Remember this moment of the transaction."""
        self._run([SQL("SAVEPOINT seedlab")])

    def rollback_to_savepoint(self) -> None:
        """Undo everything since `savepoint`."""
        self._run([SQL("ROLLBACK TO SAVEPOINT seedlab")])

    def verify(self) -> None:
        """Let the server check what it has deferred."""
        self._run([SQL("SET CONSTRAINTS ALL IMMEDIATE")])

    def commit(self) -> None:
        """Commit, and look where the WAL ends, in one message."""
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
        """Undo what this transaction did; a connection that is lost has done so."""
        self.wire.abandon()

    def wal_position(self) -> int | None:
        """Where the server's WAL ended when the catalog was read, or at the last commit."""
        return self._wal

    def round_trip_seconds(self) -> float | None:
        """Take the time of an empty query."""
        return self.wire.round_trip_seconds()

    def close(self) -> None:
        """Close; what was not committed is gone."""
        self._give_back(self.wire.connection)


@lru_cache(maxsize=4)
def _kept_catalog(document: bytes, schema: str) -> Catalog:
    """Make the catalog of what a ledger kept, which does not know what is empty.

    While nothing is altered it is the same text each time, and takes longer to read than to ask for.
    """
    return replace(read_catalog(json.loads(document), schema), empty=frozenset())


def _arrays(frame: pl.DataFrame) -> Sequence[str]:
    from seedlab.database.encode import frame_literals

    return frame_literals(frame, frame.columns)
