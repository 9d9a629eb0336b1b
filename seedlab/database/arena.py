"""Arenas: temporary databases for runs that are made only to be measured (profile, compare).

A *ground* is a database with empty tables; each run gets its own copy of it. Grounds and copies are dropped
when the arena is closed; the database that the user named is at most read. The time spent here is not part of
any measurement.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from seedlab.flow import Target

PREFIX = "seedlab_arena_"  # the prefix of the names of all databases that are made here
CURE = (
    "runs begin with empty tables: name a database with the tables and no rows, or give the project a "
    '[project] schema = "models.py:metadata"'
)


class Arena(Protocol):
    """Makes grounds and copies of them, on the target's server or, for SQLite, in a folder."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the conditions of the measurements, without repetitions."""

    def made(self, statements: Sequence[str]) -> str:
        """Make a ground by running these DDL statements; return its name."""

    def taken(self, target: Target, tables: Collection[str]) -> str:
        """Make a ground by copying an existing database, whose `tables` must be empty; return its name.

        Raises Refused when a table has rows, or the database cannot be copied.
        """

    def fresh(self, ground: str) -> AbstractContextManager[Target]:
        """Yield a copy of a ground whose files are written to disk; drop it afterwards."""

    def server_address(self) -> dict[str, Any]:
        """Return the server's address as arguments of DelayProxy; raises ConfigurationError for SQLite."""


@contextmanager
def open_arena(target: Target, superuser: str | None = None) -> Iterator[Arena]:
    """Open an arena beside the target; `superuser` is a URL with the right to force checkpoints.

    Raises ConnectionFailed, or Refused when the user may not create databases.
    """
    if target.dialect == "sqlite":
        from seedlab.database.sqlite_arena import SqliteArena as Kind
    else:
        from seedlab.database.postgres_arena import PostgresArena as Kind  # type: ignore[assignment]
    arena: Any = Kind(target, superuser)
    try:
        yield arena
    finally:
        arena.close()
