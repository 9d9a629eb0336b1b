"""Snapshots: databases that are seeded once and then copied. A copy is called a *clone*.

A snapshot is named by a hash of everything that it was made from. One process makes it while others wait, and
writes its mark last: a snapshot without a mark is an abandoned attempt, and is made again. A session that
uses a snapshot locks it until the session is closed, so that it is not pruned.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from seedlab.flow import Target

SNAPSHOT = "seedlab_snapshot_"  # prefixes of the names of all databases that are made here
CLONE = "seedlab_clone_"
KEPT = "seedlab_kept_"
DIGITS = 16  # digits of the fingerprint in a snapshot's name

Relations = tuple[tuple[str, str], ...]  # schema and name of tables
Build = Callable[[Target], int]  # seeds a database, and returns how many rows it then has


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The description of a complete snapshot; `created` is UTC, `bytes` its size at that time."""

    fingerprint: str
    project: str
    environment: str
    created: str
    rows: int
    bytes: int

    def to_json(self) -> str:
        """Serialize the mark."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str | None) -> Mark | None:
        """Parse a mark; None for text that is not a mark."""
        try:
            return cls(**json.loads(text or ""))
        except (TypeError, ValueError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A complete snapshot: its name (for SQLite its path) and its number of clones."""

    name: str
    mark: Mark
    clones: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A request for a snapshot.

    `empties` are the tables to be emptied in a copy of the target; None if the target is not copied, and the
    seed creates its tables itself.
    """

    fingerprint: str
    project: str
    environment: str
    empties: Relations | None

    @property
    def digits(self) -> str:
        """The part of the fingerprint that is in the snapshot's name."""
        return self.fingerprint[:DIGITS]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAccess:
    """The address of a server as arguments of the proxies, and the password of our connection."""

    address: dict[str, Any]
    password: str | None = field(default=None, repr=False)


class Snapshots(Protocol):
    """The snapshots and clones on the target's server, or for SQLite in a folder."""

    @property
    def maker(self) -> str:
        """Server version and user: part of a snapshot's fingerprint."""

    def turn(self) -> AbstractContextManager[None]:
        """Exclude other processes from reading and copying the target.

        PostgreSQL copies a database only while nobody is connected to it.
        """

    def base(self, empties: Relations) -> str:
        """Hash what a copy of the target would contain: definitions, and all rows except of `empties`."""

    def ready(self, wanted: Wanted, build: Build) -> tuple[Snapshot, bool]:
        """Return the snapshot, after making it with `build` if it does not exist; tell whether it is new."""

    def clone(self, snapshot: Snapshot) -> Target:
        """Copy a snapshot.

        The clone is dropped by `close`, or by a later session if this process is killed.
        """

    def claim(self, name: str, *, replace: bool) -> None:
        """Raise Refused if the name belongs to something else, or to a clone that may not be replaced."""

    def hand_over(self, snapshot: Snapshot, name: str, *, replace: bool) -> Target:
        """Make a permanent clone of this name; raises Refused as `claim` does."""

    def kept_as(self, clone: Target) -> Target:
        """Return the clone's target under the name that `keep` gives it."""

    def keep(self, clone: Target) -> None:
        """Rename a clone as `kept_as` says, so that `close` does not drop it."""

    def drop(self, clone: Target) -> None:
        """Drop a clone, ending our own connections to it."""

    def server_access(self) -> ServerAccess:
        """Return the address of the server; raises ConfigurationError for SQLite."""

    def every(self) -> list[Snapshot]:
        """Return all of the user's snapshots, newest first."""

    def leftovers(self) -> list[str]:
        """Return the names of abandoned attempts and of clones that were kept."""

    def remove(self, name: str) -> bool:
        """Drop a snapshot or a leftover unless it is in use; tell whether it was dropped."""

    def close(self) -> None:
        """Drop the clones that were not handed over or kept, and release all locks."""


def snapshots_at(target: Target, *, embedded: bool = False) -> Snapshots:
    """Open the snapshots beside the target; the caller closes them. Raises ConnectionFailed."""
    # Imported here, so that only the driver of the target's dialect is imported.
    if target.dialect == "sqlite":
        from seedlab.database.sqlite.snapshots import SqliteSnapshots

        return SqliteSnapshots(target)
    from seedlab.database.postgres.snapshots import PostgresSnapshots

    return PostgresSnapshots(target, embedded=embedded)


def newest_first(found: list[Snapshot]) -> list[Snapshot]:
    """Sort snapshots by age, newest first."""
    return sorted(found, key=lambda each: each.mark.created, reverse=True)


def mark_of(wanted: Wanted, *, rows: int, size: int) -> Mark:
    """Make the mark of a snapshot that is complete now."""
    from datetime import UTC, datetime

    return Mark(
        fingerprint=wanted.fingerprint,
        project=wanted.project,
        environment=wanted.environment,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=rows,
        bytes=size,
    )
