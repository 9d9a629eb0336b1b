"""Grounds as PostgreSQL databases, and copies of them by CREATE DATABASE … TEMPLATE.

One connection makes and drops them. It holds an advisory lock as long as it lives; databases of our names
whose lock nobody holds were left by a process that was killed, and the next arena drops them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from seedlab.database.arena import CURE, PREFIX
from seedlab.database.connect import beside
from seedlab.database.failures import connection_failed, write_failed
from seedlab.database.server import create_database
from seedlab.errors import ConnectionFailed, Refused
from seedlab.flow import Target

_LEDGER = "seedlab"  # the schema
_NAME = re.compile(rf"{PREFIX}([0-9a-f]{{8}})_[0-9]+")
# A connection that was just closed may still end: DROP and TEMPLATE would wait for it in steps of 0.1 s.
_MINE = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = user AND datname = %s"
_LEFT = (
    "SELECT datname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba "
    "WHERE datname ~ %s AND rolname = current_user"
)
_SETTINGS = (
    "SELECT unnest(setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase "
    "WHERE d.datname = %s AND s.setrole = 0"
)


class PostgresArena:
    """An `Arena` on a server."""

    def __init__(self, target: Target, superuser: str | None) -> None:
        self._target = target
        self._id = os.urandom(4).hex()
        self._numbers = count(1)
        self._made: list[str] = []
        self._notes: dict[str, None] = {}
        self._admin = _connect(target)
        self._checkpointer = psycopg.connect(superuser, autocommit=True) if superuser else self._admin
        self._settings = [row[0] for row in self._admin.execute(_SETTINGS, [target.database])]
        if superuser and not self._settings:
            # The embedded server: the schema of our role's name is the ledger's, and not "$user".
            self._settings = ["search_path=public"]
        self._lock(self._id)
        self._sweep()

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be done as it should."""
        return tuple(self._notes)

    def made(self, statements: Sequence[str]) -> str:
        """Make a database from template0 with these tables."""
        name = self._create("template0")
        with self._inside(name) as connection:
            try:
                for statement in statements:
                    connection.execute(statement.encode())
            except psycopg.Error as error:
                failed = write_failed(error, "the project's MetaData")
                failed.add_note("it was made in a new database, without extensions that the target may have")
                raise failed from error
        return name

    def taken(self, target: Target, tables: Collection[str]) -> str:
        """Copy a database, less our ledger. Nobody may be connected to it meanwhile."""
        self._refuse_rows(target, tables)
        name = self._create(target.database)
        with self._inside(name) as connection:
            connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(_LEDGER)))
        return name

    @contextmanager
    def fresh(self, ground: str) -> Iterator[Target]:
        """Copy a ground; the first connection, which builds the server's caches of it, is behind it."""
        name = self._create(ground)
        try:
            with self._inside(name) as connection:
                connection.execute("SELECT count(*) FROM pg_class")
            self._checkpoint()
            yield beside(self._target, name)
        finally:
            self._drop(name)

    def door(self) -> dict[str, Any]:
        """Say where the connection of ours went."""
        info = self._admin.info
        if info.host.startswith("/"):
            return {"unix_socket": Path(info.host, f".s.PGSQL.{info.port}")}
        return {"host": info.hostaddr or info.host, "port": info.port}

    def close(self) -> None:
        """Drop what is left, also after a connection was lost or a statement was cut off."""
        if self._made and (self._admin.closed or self._admin.broken):
            with suppress(ConnectionFailed):
                self._admin = _connect(self._target)
        for name in reversed(self._made.copy()):
            with suppress(psycopg.Error):
                self._drop(name)
        for connection in (self._admin, self._checkpointer):
            connection.close()

    # ---- inside

    def _create(self, source: str) -> str:
        """Create a database; its name is known before it is there, so that no moment leaves one behind."""
        name = f"{PREFIX}{self._id}_{next(self._numbers)}"
        self._made.append(name)
        try:
            statement = create_database(name) if source == "template0" else _copy(name, source)
            self._admin.execute(statement)
            for setting in self._settings:
                self._admin.execute(_set(name, *setting.split("=", 1)))
        except psycopg.errors.ObjectInUse as error:
            raise Refused(
                f"others are connected to the database '{source}', and it cannot be copied meanwhile; end "
                'those connections, or give the project a [project] schema = "models.py:metadata"'
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise Refused(
                f"the user '{self._admin.info.user}' may not create a database like '{source}' on "
                f"{self._target.shown}: {error.diag.message_primary}; let its owner say "
                "ALTER ROLE … CREATEDB, or leave the target out to use the embedded server"
            ) from error
        except psycopg.Error as error:
            raise write_failed(error) from error
        return name

    @contextmanager
    def _inside(self, name: str) -> Iterator[psycopg.Connection[Any]]:
        """Connect to a database of ours, and see to it that the connection has ended."""
        with psycopg.connect(beside(self._target, name).url, prepare_threshold=None) as connection:
            yield connection
        self._admin.execute(_MINE, [name])

    def _refuse_rows(self, target: Target, tables: Collection[str]) -> None:
        known = sorted(tables)
        try:
            with psycopg.connect(target.url, autocommit=True) as connection:
                for name in known:
                    has_rows = SQL("SELECT EXISTS (SELECT FROM {})").format(Identifier(*name.split(".")))
                    if connection.execute(has_rows).fetchone() == (True,):
                        raise Refused(f"table {name} of {target.shown} has rows; {CURE}")
        except psycopg.OperationalError as error:
            raise connection_failed(error, target) from None
        except psycopg.errors.UndefinedTable:
            raise Refused(f"{target.shown} has no table {name}; {CURE}") from None

    def _checkpoint(self) -> None:
        """Let the server write what it owes, or a run would pay for the copy."""
        try:
            self._checkpointer.execute("CHECKPOINT")
        except psycopg.errors.InsufficientPrivilege:
            self._notes["no right to CHECKPOINT (pg_checkpoint): the server may write during a run"] = None

    def _drop(self, name: str) -> None:
        """Drop a database of ours, whoever of ours is still connected.

        Not WITH (FORCE), which refuses an ordinary role where autovacuum is at work.
        """
        self._admin.execute(_MINE, [name])
        self._admin.execute(SQL("DROP DATABASE IF EXISTS {}").format(Identifier(name)))
        self._made.remove(name)

    def _lock(self, arena: str) -> bool:
        taken = self._admin.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [PREFIX + arena])
        return taken.fetchone() == (True,)

    def _sweep(self) -> None:
        """Drop what killed processes left; who lives holds the lock of its arena."""
        for (name,) in self._admin.execute(_LEFT, [f"^{PREFIX}"]).fetchall():
            found = _NAME.fullmatch(name)
            if found and self._lock(found[1]):
                with suppress(psycopg.Error):
                    self._admin.execute(SQL("DROP DATABASE IF EXISTS {}").format(Identifier(name)))


def _connect(target: Target) -> psycopg.Connection[Any]:
    """Connect to the server's own database, `postgres`, or where that is closed to us to the target's."""
    for each in (beside(target, "postgres"), target):
        try:
            return psycopg.connect(each.url, autocommit=True, prepare_threshold=None, connect_timeout=10)
        except psycopg.Error as error:
            failure = connection_failed(error, target)
    raise failure from None


def _copy(name: str, source: str) -> Composed:
    return SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(source))


def _set(database: str, name: str, value: str) -> Composed:
    """Give a database a setting that another has; a list of names stays one."""
    listed = name in ("search_path", "temp_tablespaces", "session_preload_libraries")
    values = re.findall(r'"(?:[^"]|"")*"|[^,\s]+', value) if listed else [value]
    plain = [each.strip('"').replace('""', '"') if listed else each for each in values]
    return SQL("ALTER DATABASE {} SET {} = {}").format(
        Identifier(database), Identifier(name), SQL(", ").join(map(Literal, plain))
    )
