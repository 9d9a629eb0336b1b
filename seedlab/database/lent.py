"""A session's own connection, lent to SQLAlchemy Core for a while.

SQLAlchemy is kept from the transaction: it neither begins, commits, rolls back nor closes, and asks the
server nothing about itself.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg, PGExecutionContext_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import make_url
from sqlalchemy.pool import StaticPool

from seedlab.flow import Dialect, Recorder


class _Lent:
    """A dialect that leaves the transaction alone: it is the session's."""

    def do_begin(self, dbapi_connection: object) -> None:
        """Do nothing: the session opens and ends its transaction."""

    def do_commit(self, dbapi_connection: object) -> None:
        """Do nothing: the session opens and ends its transaction."""

    def do_rollback(self, dbapi_connection: object) -> None:
        """Do nothing: the session opens and ends its transaction."""

    def do_close(self, dbapi_connection: object) -> None:
        """Do nothing: the session closes its connection."""


class _NamedParameters(PGExecutionContext_psycopg):
    """SQLAlchemy writes `%(name)s`, whatever kind of cursor the session prefers."""

    def create_default_cursor(self) -> Any:
        raw: Any = self.root_connection.connection.dbapi_connection
        return psycopg.Cursor(raw)


class _LentPostgres(_Lent, PGDialect_psycopg):
    supports_statement_cache = True
    execution_ctx_cls = _NamedParameters


class _LentSqlite(_Lent, SQLiteDialect_pysqlite):
    supports_statement_cache = True


def core_connection(dbapi_connection: Any, dialect: Dialect, recorder: Recorder) -> Connection:
    """Make a Core connection of an open DBAPI connection; its transaction stays as it is.

    Every statement is counted as one statement and one round trip; of PostgreSQL, also its bytes.
    """
    kinds: dict[Dialect, Any] = {"sqlite": _LentSqlite, "postgresql": _LentPostgres}
    lent = kinds[dialect](dbapi=sqlite3 if dialect == "sqlite" else psycopg)
    pool = StaticPool(lambda: dbapi_connection, reset_on_return=None, dialect=lent)
    engine = Engine(pool, lent, make_url(f"{dialect}://"), hide_parameters=True)

    @event.listens_for(engine, "before_cursor_execute")
    def count(*_: object) -> None:
        recorder.count(statements=1, round_trips=1)

    @event.listens_for(engine, "after_cursor_execute")
    def count_bytes(_: object, cursor: Any, *__: object) -> None:
        if dialect == "postgresql":
            sent = cursor._query  # what psycopg made of statement and values; it is told nowhere else
            recorder.count(bytes_sent=len(sent.query) + sum(len(value or b"") for value in sent.params or ()))

    return engine.connect()
