"""Scratch databases, for runs that are made only to be measured (profile, compare).

A *template* is a database with empty tables; each run gets its own copy of it. All of them are dropped at the
end; the database that the user named is at most read. The time spent here is not part of any measurement.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from seedlab.database.content import read_tables
from seedlab.errors import Refused
from seedlab.flow import Recorder, Table, Target

# The prefix of the names of all databases that are made here. It has an older word, by which databases that
# killed processes of earlier versions left are found.
PREFIX = "seedlab_arena_"
CURE = (
    "runs begin with empty tables: name a database with the tables and no rows, or give the project a "
    '[project] schema = "models.py:metadata"'
)


class ScratchDatabases(Protocol):
    """Makes templates and copies of them, on the target's server or, for SQLite, in a folder."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the conditions of the measurements, without repetitions."""

    def create_template(self, statements: Sequence[str]) -> str:
        """Make a template by running these DDL statements; return its name."""

    def copy_as_template(self, target: Target, tables: Collection[str], recorder: Recorder) -> str:
        """Make a template by copying an existing database, whose `tables` must be empty; return its name.

        Raises Refused when a table is missing or has rows, or the database cannot be copied.
        """

    def fresh_copy(self, template: str) -> AbstractContextManager[Target]:
        """Yield a copy of a template whose files are written to disk; drop it afterwards."""

    def server_address(self) -> dict[str, Any]:
        """Return the server's address as arguments of DelayProxy; raises ConfigurationError for SQLite."""


def tables_of(target: Target, names: Collection[str], recorder: Recorder) -> list[Table]:
    """Look up tables by the names that a project gives them; raises Refused for one that is missing."""
    catalog = read_tables(target, recorder)
    found = {name: catalog.find(name) for name in sorted(names)}
    for name, table in found.items():
        if table is None:
            raise Refused(f"{target.shown} has no table {name}; {CURE}")
    return [table for table in found.values() if table is not None]


@contextmanager
def open_scratch_databases(target: Target, superuser: str | None = None) -> Iterator[ScratchDatabases]:
    """Open scratch databases beside the target; `superuser` is a URL with the right to force checkpoints.

    Raises ConnectionFailed, or Refused when the user may not create databases.
    """
    if target.dialect == "sqlite":
        from seedlab.database.sqlite.scratch import SqliteScratchDatabases

        scratch: Any = SqliteScratchDatabases(target)
    else:
        from seedlab.database.postgres.scratch import PostgresScratchDatabases

        scratch = PostgresScratchDatabases(target, superuser)
    try:
        yield scratch
    finally:
        scratch.close()
