"""Databases of our own, for runs that are made to learn from: one with empty tables, and copies of it.

What is copied is called a *ground*. Grounds and copies go when the arena is closed, whatever ends it; the
database that the user named is read at most. Nothing of this is timed by those who time runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from seedlab.flow import Target

PREFIX = "seedlab_arena_"  # of the names of all that we make
CURE = (
    "runs begin with empty tables: name a database with the tables and no rows, or give the project a "
    '[project] schema = "models.py:metadata"'
)


class Arena(Protocol):
    """Where grounds and their copies are made, on the target's server or in a folder of ours."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of how measurements were made, each said once."""

    def made(self, statements: Sequence[str]) -> str:
        """Make a ground with the tables of these statements; answers its name."""

    def taken(self, target: Target, tables: Collection[str]) -> str:
        """Make a ground from a database that is there, whose `tables` have no rows; answers its name.

        Raises Refused, with what to do, where a table has rows or the database cannot be copied.
        """

    def fresh(self, ground: str) -> AbstractContextManager[Target]:
        """Give a copy of a ground with nothing left to write, dropped afterwards."""

    def door(self) -> dict[str, Any]:
        """Say where the server listens, in the words of `DelayProxy`; ConfigurationError where none does."""


@contextmanager
def open_arena(target: Target, superuser: str | None = None) -> Iterator[Arena]:
    """Open an arena where the target is; `superuser` is a URL that may do what the target's user may not.

    Raises ConnectionFailed, or Refused where no database can be made.
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
