"""`PostgresScratchDatabases`: templates as PostgreSQL databases, copied by CREATE DATABASE … TEMPLATE."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from seedlab.database.connect import beside
from seedlab.database.postgres.databases import EMPTY, LEDGER, PostgresDatabases
from seedlab.database.postgres.failures import connection_failed, write_failed
from seedlab.database.postgres.statements import qualified
from seedlab.database.scratch_databases import CURE, PREFIX, tables_of
from seedlab.errors import Refused
from seedlab.flow import Recorder, Table, Target


class PostgresScratchDatabases:
    """`ScratchDatabases` on a server."""

    def __init__(self, target: Target, superuser: str | None) -> None:
        self._target = target
        self._notes: dict[str, None] = {}
        self._databases = PostgresDatabases(
            target,
            PREFIX,
            embedded=superuser is not None,
            advice="or leave the target out to use the embedded server",
        )
        admin = self._databases.admin
        self._checkpointer = psycopg.connect(superuser, autocommit=True) if superuser else admin

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the conditions of the measurements."""
        return tuple(self._notes)

    def create_template(self, statements: Sequence[str]) -> str:
        """Create a database from template0 and run these statements in it."""
        name = self._databases.create(EMPTY)
        with self._databases.inside(name) as connection:
            try:
                for statement in statements:
                    connection.execute(statement.encode())
            except psycopg.Error as error:
                failed = write_failed(error, "the project's MetaData")
                failed.add_note("it was made in a new database, without extensions that the target may have")
                raise failed from error
        return name

    def copy_as_template(self, target: Target, tables: Collection[str], recorder: Recorder) -> str:
        """Copy a database without the ledger; nobody may be connected to it meanwhile."""
        _refuse_rows(target, tables_of(target, tables, recorder))
        name = self._databases.create(target.database)
        with self._databases.inside(name) as connection:
            try:
                connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(LEDGER)))
            except psycopg.Error as error:
                raise write_failed(error, "the ledger") from error
        return name

    @contextmanager
    def fresh_copy(self, template: str) -> Iterator[Target]:
        """Copy a template, and connect to it once, because a first connection builds caches of the server."""
        name = self._databases.create(template)
        try:
            with self._databases.inside(name) as connection:
                connection.execute("SELECT count(*) FROM pg_class")
            self._checkpoint()
            yield beside(self._target, name)
        finally:
            self._databases.drop(name)

    def server_address(self) -> dict[str, Any]:
        """Return the server's address as arguments of DelayProxy."""
        return self._databases.server_address()

    def close(self) -> None:
        """Drop all templates and copies, also after the connection was lost or a statement was cancelled."""
        self._databases.close()
        self._checkpointer.close()

    # ---- inside

    def _checkpoint(self) -> None:
        """Force a checkpoint, so that the copy is not written to disk during the next run."""
        try:
            self._checkpointer.execute("CHECKPOINT")
        except psycopg.errors.InsufficientPrivilege:
            self._notes["no right to CHECKPOINT (pg_checkpoint): the server may write during a run"] = None


def _refuse_rows(target: Target, tables: Sequence[Table]) -> None:
    try:
        with psycopg.connect(target.url, autocommit=True) as connection:
            for table in tables:
                has_rows = SQL("SELECT EXISTS (SELECT FROM {})").format(qualified(table))
                if connection.execute(has_rows).fetchone() == (True,):
                    raise Refused(f"table {table.name} of {target.shown} has rows; {CURE}")
    except psycopg.OperationalError as error:
        raise connection_failed(error, target) from None
    except psycopg.errors.InsufficientPrivilege:
        raise Refused(f"the user may not read table {table.name} of {target.shown}; {CURE}") from None
