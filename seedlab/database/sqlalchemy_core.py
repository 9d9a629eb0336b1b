"""Use a session's open DBAPI connection through SQLAlchemy Core, within the session's own transaction.

SQLAlchemy must not begin, commit, roll back or close, and must not send statements of its own.
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


class _WithoutTransactions:
    """A mix-in for dialects that leaves the transaction to the session."""

    def do_begin(self, dbapi_connection: object) -> None:
        """Do nothing: the session begins and ends its transaction."""

    def do_commit(self, dbapi_connection: object) -> None:
        """Do nothing: the session begins and ends its transaction."""

    def do_rollback(self, dbapi_connection: object) -> None:
        """Do nothing: the session begins and ends its transaction."""

    def do_close(self, dbapi_connection: object) -> None:
        """Do nothing: the session closes its connection."""


class _NamedParameters(PGExecutionContext_psycopg):
    """Use a cursor that understands `%(name)s`, as SQLAlchemy writes parameters; the session's does not."""

    def create_default_cursor(self) -> Any:
        raw: Any = self.root_connection.connection.dbapi_connection
        return psycopg.Cursor(raw)


class _Postgres(_WithoutTransactions, PGDialect_psycopg):
    supports_statement_cache = True
    execution_ctx_cls = _NamedParameters


class _Sqlite(_WithoutTransactions, SQLiteDialect_pysqlite):
    supports_statement_cache = True


def core_connection(dbapi_connection: Any, dialect: Dialect, recorder: Recorder) -> Connection:
    """Wrap an open DBAPI connection in a Core connection, which leaves its transaction alone.

    Every statement is counted as one statement and one round trip, for PostgreSQL also with its bytes.
    """
    dialects: dict[Dialect, Any] = {"sqlite": _Sqlite, "postgresql": _Postgres}
    own = dialects[dialect](dbapi=sqlite3 if dialect == "sqlite" else psycopg)
    pool = StaticPool(lambda: dbapi_connection, reset_on_return=None, dialect=own)
    engine = Engine(pool, own, make_url(f"{dialect}://"), hide_parameters=True)

    @event.listens_for(engine, "before_cursor_execute")
    def count(*_: object) -> None:
        recorder.count(statements=1, round_trips=1)

    @event.listens_for(engine, "after_cursor_execute")
    def count_bytes(_: object, cursor: Any, *__: object) -> None:
        if dialect == "postgresql":
            sent = cursor._query  # psycopg has no public way to read the statement as it was sent
            recorder.count(bytes_sent=len(sent.query) + sum(len(value or b"") for value in sent.params or ()))

    return engine.connect()
