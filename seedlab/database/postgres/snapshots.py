"""`PostgresSnapshots`: snapshots as PostgreSQL databases without connections, marked by their comments.

Advisory locks protect a snapshot: exclusive while it is dropped, shared while it is used, and another one
while it is made. The locks of a process that dies are released with its connection.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from seedlab.database.connect import beside
from seedlab.database.postgres.databases import EMPTY, LEDGER, PostgresDatabases
from seedlab.database.postgres.failures import connection_failed, write_failed
from seedlab.database.snapshots import (
    CLONE,
    KEPT,
    SNAPSHOT,
    Build,
    Mark,
    Relations,
    ServerAccess,
    Snapshot,
    Wanted,
    mark_of,
    newest_first,
)
from seedlab.errors import ConfigurationError, Refused
from seedlab.flow import Target

# Copying through the WAL is faster up to this size, copying files (with two checkpoints) above it; measured.
LARGE = 128 << 20
_KEY = "hashtextextended(%s, 0)"
_COMMENT = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
_COMMENTS = (
    "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database "
    "WHERE datdba = current_user::regrole"
)
_TABLES = (
    "SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
    "WHERE relkind = 'r' AND relpersistence <> 't' "
    "AND nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'seedlab') ORDER BY 1, 2"
)
_NAME_LENGTH = 63


class PostgresSnapshots:
    """The `Snapshots` on a PostgreSQL server."""

    def __init__(self, target: Target, *, embedded: bool) -> None:
        self._target = target
        self._databases = PostgresDatabases(
            target, CLONE, embedded=embedded, advice="or take another target for these tests"
        )
        self._admin = self._databases.admin

    @property
    def maker(self) -> str:
        """The server's version and the user."""
        info = self._admin.info
        return f"postgresql {info.parameter_status('server_version')} {info.user}"

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the advisory lock by which processes take turns to read and copy the target."""
        with self._alone(f"seedlab_base_{self._target.database}"):
            yield

    def base(self, empties: Relations) -> str:
        """Hash the definitions, and the text of each row that a copy would keep."""
        digest = files("seedlab.database.postgres").joinpath("base_digest.sql").read_text("utf-8")
        try:
            with psycopg.connect(self._target.url, autocommit=True, prepare_threshold=None) as connection:
                defined = connection.execute(digest.encode()).fetchone()
                tables = connection.execute(_TABLES).fetchall()
                rest = [each for each in tables if each not in empties]
                held = connection.execute(_rows_of(rest)).fetchall() if rest else []
        except psycopg.OperationalError as error:
            raise connection_failed(error, self._target) from None
        except psycopg.Error as error:
            raise Refused(
                f"{self._target.shown} cannot be read to be copied: {error.diag.message_primary}"
            ) from error
        return f"{defined} {held}"

    def ready(self, wanted: Wanted, build: Build) -> tuple[Snapshot, bool]:
        """Find the snapshot's database by its mark, or make it while other processes wait."""
        name = SNAPSHOT + wanted.digits
        self._lock_shared(name)  # waits for a process that drops it
        if found := self._whole(name, wanted.fingerprint):
            return found, False
        self._unlock_shared(name)
        # Making it has its own lock, as a process that waits for it must not wait for others that use it.
        with self._alone(f"{name}_making"):
            self._lock_shared(name)
            if found := self._whole(name, wanted.fingerprint):
                return found, False
            try:
                self._databases.drop(name)  # an abandoned attempt
                return self._make(name, wanted, build), True
            except BaseException:
                with suppress(psycopg.OperationalError):
                    self._unlock_shared(name)
                raise

    def clone(self, snapshot: Snapshot) -> Target:
        """Create a database with the snapshot's as its template."""
        strategy = "file_copy" if snapshot.mark.bytes > LARGE else "wal_log"
        name = self._databases.create(snapshot.name, strategy)
        self._admin.execute(_comment(name, _clone_of(snapshot.name)))
        return beside(self._target, name)

    def claim(self, name: str, *, replace: bool) -> None:
        """Check that no database has this name, or that its comment is that of a clone."""
        if not 0 < len(name.encode()) <= _NAME_LENGTH or name.startswith(SNAPSHOT) or "/" in name:
            raise ConfigurationError(
                f"a clone cannot be called '{name}': expected the name of a database, of 1 to {_NAME_LENGTH}"
                f" bytes, without / and not {SNAPSHOT}…"
            )
        found = self._admin.execute(_COMMENT, [name]).fetchone()
        if found is None:
            return
        if not (found[0] or "").startswith(_clone_of("")):
            raise Refused(
                f"there is a database '{name}', which is not a clone made by seedlab; "
                "take another name, or drop it"
            )
        if not replace:
            raise Refused(f"there is a clone '{name}' already; to replace it, type --replace")

    def hand_over(self, snapshot: Snapshot, name: str, *, replace: bool) -> Target:
        """Make a clone, drop the existing one of this name, and rename the new one.

        Another process that wants the same name waits.
        """
        self.claim(name, replace=replace)
        made = self.clone(snapshot)
        with self._alone(name):
            self.claim(name, replace=replace)
            try:
                if replace:
                    self._databases.drop(name)
                self._databases.rename(made.database, name)
            except psycopg.errors.ObjectInUse as error:
                raise Refused(
                    f"other users are connected to the database '{name}', which can be replaced only without "
                    "them; end those connections, and run again"
                ) from error
        return beside(self._target, name)

    def kept_as(self, clone: Target) -> Target:
        """Return the clone's target with the prefix KEPT instead of CLONE."""
        return beside(self._target, clone.database.replace(CLONE, KEPT))

    def keep(self, clone: Target) -> None:
        """Rename the clone's database to the name that `kept_as` returns, which no clean-up drops."""
        self._databases.rename(clone.database, self.kept_as(clone).database)

    def drop(self, clone: Target) -> None:
        """Drop the clone's database."""
        self._databases.drop(clone.database)

    def server_access(self) -> ServerAccess:
        """Return the address of the server and the password of our own connection."""
        return ServerAccess(
            address=self._databases.server_address(), password=self._admin.info.password or None
        )

    def every(self) -> list[Snapshot]:
        """Find the snapshots by the comments on databases, which have their marks."""
        comments = self._comments()
        marks = {name: Mark.of(text) for name, text in comments.items() if name.startswith(SNAPSHOT)}
        return newest_first(
            [
                Snapshot(name=name, mark=mark, clones=list(comments.values()).count(_clone_of(name)))
                for name, mark in marks.items()
                if mark is not None
            ]
        )

    def leftovers(self) -> list[str]:
        """Find the databases of abandoned attempts, which have no mark, and of kept clones."""
        comments = self._comments()
        dead = [n for n, text in comments.items() if n.startswith(SNAPSHOT) and Mark.of(text) is None]
        return [*dead, *self._databases.owned(f"^{KEPT}")]

    def remove(self, name: str) -> bool:
        """Drop a snapshot or leftover under its exclusive lock; False if it is in use."""
        if not self._databases.lock(name):
            return False
        try:
            self._databases.drop(name)
        finally:
            self._admin.execute(f"SELECT pg_advisory_unlock({_KEY})", [name])
        return True

    def close(self) -> None:
        """Drop the clones of this session, and release all locks."""
        self._databases.close()

    # ---- inside

    def _make(self, name: str, wanted: Wanted, build: Build) -> Snapshot:
        """Create the database, seed and vacuum it, forbid connections, and finally set its mark."""
        databases, label = self._databases, Identifier(name)
        try:
            databases.create_named(name, EMPTY if wanted.empties is None else self._target.database)
            if wanted.empties is not None:
                self._empty(name, wanted.empties)
            rows = build(beside(self._target, name))
            with databases.inside(name, autocommit=True) as connection:
                # Planner statistics, hint bits and the visibility map, so that clones need not compute them.
                connection.execute("VACUUM (FREEZE, ANALYZE)")
            (size,) = self._admin.execute("SELECT pg_database_size(%s)", [name]).fetchone() or (0,)
            mark = mark_of(wanted, rows=rows, size=size)
            self._admin.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(label))
            self._admin.execute(_comment(name, mark.to_json()))
        except BaseException as error:
            self._give_up(name)
            if isinstance(error, psycopg.Error):
                raise write_failed(error) from error
            raise
        databases.made.remove(name)
        return Snapshot(name=name, mark=mark)

    def _give_up(self, name: str) -> None:
        """Drop a failed attempt, unless the lock was lost with the connection: another may have made it."""
        try:
            self._databases.drop(name)
        except psycopg.OperationalError:
            if not self._admin.closed:
                raise
            self._databases.made.remove(name)

    def _empty(self, name: str, tables: Relations) -> None:
        """Remove the ledger from a copy of the target, and the rows of the tables that will be seeded."""
        with self._databases.inside(name) as connection:
            connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(LEDGER)))
            if tables:
                listed = SQL(", ").join(Identifier(*each) for each in tables)
                connection.execute(SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(listed))

    def _comments(self) -> dict[str, str | None]:
        return dict(self._admin.execute(_COMMENTS).fetchall())

    def _whole(self, name: str, fingerprint: str) -> Snapshot | None:
        found = self._admin.execute(_COMMENT, [name]).fetchone()
        mark = Mark.of(found[0]) if found else None
        if mark is None or mark.fingerprint != fingerprint:
            return None
        return Snapshot(name=name, mark=mark)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        self._admin.execute(f"SELECT pg_advisory_lock({_KEY})", [name])
        try:
            yield
        finally:
            with suppress(psycopg.OperationalError):  # losing the connection releases the lock, too
                self._admin.execute(f"SELECT pg_advisory_unlock({_KEY})", [name])

    def _lock_shared(self, name: str) -> None:
        self._admin.execute(f"SELECT pg_advisory_lock_shared({_KEY})", [name])

    def _unlock_shared(self, name: str) -> None:
        self._admin.execute(f"SELECT pg_advisory_unlock_shared({_KEY})", [name])


def _clone_of(snapshot: str) -> str:
    """Return the comment by which a clone's database is recognized."""
    return f"seedlab clone of {snapshot}"


def _comment(name: str, text: str) -> Composed:
    return SQL("COMMENT ON DATABASE {} IS {}").format(Identifier(name), Literal(text))


def _rows_of(tables: Collection[tuple[str, str]]) -> Composed:
    """Make the query that hashes the rows of each table."""
    each = SQL("SELECT {}, count(*), sum(hashtextextended(t::text, 0))::text FROM {} t")
    return SQL(" UNION ALL ").join(each.format(Literal(".".join(t)), Identifier(*t)) for t in tables)
