"""Create temporary databases on a PostgreSQL server, and drop them, also those of killed processes.

One connection creates and drops the databases of a session, and holds an advisory lock that belongs to the
session. A database whose session's lock is free was left by a killed process, and is dropped by the next one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from seedlab.database.connect import beside
from seedlab.database.embedded.server import create_database
from seedlab.database.postgres.failures import connection_failed, write_failed
from seedlab.errors import ConnectionFailed, Refused
from seedlab.flow import Target

EMPTY = "template0"
LEDGER = "seedlab"  # the ledger's schema
# The backend of a connection that was just closed may still run: DROP and TEMPLATE would poll for its end in
# steps of 0.1 s, so it is terminated.
_END_CONNECTIONS = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = user AND datname = %s"
)
_OWNED = (
    "SELECT datname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba "
    "WHERE datname ~ %s AND rolname = current_user"
)
_SETTINGS = (
    "SELECT unnest(setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase "
    "WHERE d.datname = %s AND s.setrole = 0"
)
_TRY = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"


class PostgresDatabases:
    """Databases on the target's server, with the target's settings, whose names begin with `prefix`."""

    def __init__(self, target: Target, prefix: str, *, embedded: bool, advice: str) -> None:
        """Connect, and drop databases of killed processes; `advice` ends the message if the user may not."""
        self.target = target
        self.prefix = prefix
        self.session = os.urandom(4).hex()
        self.made: list[str] = []
        self._advice = advice
        self._numbers = count(1)
        self.admin = _connect(target)
        self._settings = [row[0] for row in self.admin.execute(_SETTINGS, [target.database])]
        if embedded and not self._settings:
            # The role's name is that of the ledger's schema, which "$user" would put into the search path.
            self._settings = ["search_path=public"]
        self.lock(prefix + self.session)
        self._sweep()

    def create(self, source: str, strategy: str | None = None) -> str:
        """Create a database from a template, and return its name.

        `strategy` is how the server copies the template (since version 15). The name is recorded before the
        database exists, so that it is dropped whenever this is interrupted.
        """
        return self.create_named(f"{self.prefix}{self.session}_{next(self._numbers)}", source, strategy)

    def create_named(self, name: str, source: str, strategy: str | None = None) -> str:
        """Create a database of this name. Raises Refused when the user may not, or others are connected."""
        self.made.append(name)
        try:
            how = strategy if self.admin.info.server_version >= 150_000 else None
            self.admin.execute(create_database(name) if source == EMPTY else _copy(name, source, how))
            for setting in self._settings:
                self.admin.execute(_set(name, *setting.split("=", 1)))
        except psycopg.errors.ObjectInUse as error:
            raise Refused(
                f"other sessions are connected to the database '{source}', which can be copied only without "
                'them; end those connections, or give the project a [project] schema = "models.py:metadata"'
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise Refused(
                f"the user '{self.admin.info.user}' may not create a database like '{source}' on "
                f"{self.target.shown}: {error.diag.message_primary}; have an administrator run "
                f"ALTER ROLE … CREATEDB, {self._advice}"
            ) from error
        except psycopg.Error as error:
            raise write_failed(error) from error
        return name

    @contextmanager
    def inside(self, name: str, *, autocommit: bool = False) -> Iterator[psycopg.Connection[Any]]:
        """Connect to one of the databases, and make sure afterwards that the backend has ended."""
        url = beside(self.target, name).url
        with psycopg.connect(url, autocommit=autocommit, prepare_threshold=None) as connection:
            yield connection
        self.vacate(name)

    def vacate(self, name: str) -> None:
        """Terminate the user's own connections to a database."""
        self.admin.execute(_END_CONNECTIONS, [name])

    def rename(self, name: str, new: str) -> None:
        """Rename a database that nobody else is connected to, and keep it when the session is closed."""
        self.vacate(name)
        self.admin.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(name), Identifier(new)))
        self.made.remove(name)

    def drop(self, name: str) -> None:
        """Drop a database, after terminating the user's own connections to it.

        WITH (FORCE) is not used, because it fails for ordinary roles while autovacuum works in the database.
        The first attempt does not find a connection that a thread was making when the run was interrupted.
        The server waits five seconds for it, and refuses; the second attempt terminates it.
        """
        drop = SQL("DROP DATABASE IF EXISTS {}").format(Identifier(name))
        self.vacate(name)
        try:
            self.admin.execute(drop)
        except psycopg.errors.ObjectInUse:
            self.vacate(name)
            self.admin.execute(drop)
        if name in self.made:
            self.made.remove(name)

    def owned(self, pattern: str) -> list[str]:
        """Return the names of the user's databases that match a pattern."""
        return [name for (name,) in self.admin.execute(_OWNED, [pattern]).fetchall()]

    def lock(self, name: str) -> bool:
        """Try to take an advisory lock, which is held until the connection ends."""
        return self.admin.execute(_TRY, [name]).fetchone() == (True,)

    def server_address(self) -> dict[str, Any]:
        """Return the address of the server as arguments of DelayProxy."""
        info = self.admin.info
        if info.host.startswith("/"):
            return {"unix_socket": Path(info.host, f".s.PGSQL.{info.port}")}
        return {"host": info.hostaddr or info.host, "port": info.port}

    def close(self) -> None:
        """Drop the session's databases, also after the connection was lost or a statement was cancelled."""
        if self.made and (self.admin.closed or self.admin.broken):
            with suppress(ConnectionFailed):
                self.admin = _connect(self.target)
        # Twice, because a late cancel request may make the first attempt fail.
        for _ in range(2):
            for name in reversed(self.made.copy()):
                with suppress(psycopg.Error):
                    self.drop(name)
        self.admin.close()

    def _sweep(self) -> None:
        """Drop databases of sessions whose lock is free: their processes were killed."""
        for name in self.owned(f"^{self.prefix}[0-9a-f]{{8}}_[0-9]+$"):
            if self.lock(name.rpartition("_")[0]):
                with suppress(psycopg.Error):
                    self.admin.execute(SQL("DROP DATABASE IF EXISTS {}").format(Identifier(name)))


def _connect(target: Target) -> psycopg.Connection[Any]:
    """Connect to the database `postgres`, or to the target's if that is not permitted."""
    for each in (beside(target, "postgres"), target):
        try:
            return psycopg.connect(each.url, autocommit=True, prepare_threshold=None, connect_timeout=10)
        except psycopg.Error as error:
            failure = connection_failed(error, target)
    raise failure from None


def _copy(name: str, source: str, strategy: str | None) -> Composed:
    how = SQL(" STRATEGY {}").format(SQL(strategy)) if strategy else SQL("")
    return SQL("CREATE DATABASE {} TEMPLATE {}{}").format(Identifier(name), Identifier(source), how)


def _set(database: str, name: str, value: str) -> Composed:
    """Set a setting of a database to the value that another one has, which may be a list of names."""
    listed = name in ("search_path", "temp_tablespaces", "session_preload_libraries")
    values = re.findall(r'"(?:[^"]|"")*"|[^,\s]+', value) if listed else [value]
    plain = [each.strip('"').replace('""', '"') if listed else each for each in values]
    return SQL("ALTER DATABASE {} SET {} = {}").format(
        Identifier(database), Identifier(name), SQL(", ").join(map(Literal, plain))
    )
