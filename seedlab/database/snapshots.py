"""Snapshots: databases that were seeded once and are copied from then on. A copy is called a *clone*.

A snapshot is named by the hash of all that it was made of. It is made under a lock, by one process while the
others wait, and its mark is written last: what has no mark is a dead attempt, and is made again. Who has
asked for a snapshot holds it until the end, so that nobody prunes it meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from seedlab.flow import Target

SNAPSHOT = "seedlab_snapshot_"  # these begin the names of all that we make
CLONE = "seedlab_clone_"
KEPT = "seedlab_kept_"
DIGITS = 16  # of the fingerprint, in a name

Relations = tuple[tuple[str, str], ...]  # schema and name of tables
Build = Callable[[Target], int]  # seeds a database; answers how many rows it then has


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a snapshot says of itself once it is whole; `created` is UTC, `bytes` its size at that time."""

    fingerprint: str
    project: str
    environment: str
    created: str
    rows: int
    bytes: int

    def to_json(self) -> str:
        """Spell it for the server, or for a file."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str | None) -> Mark | None:
        """Read a mark from text; None for no text, or text that is no mark."""
        try:
            return cls(**json.loads(text or ""))
        except (TypeError, ValueError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot that is whole: its name (of a file: its path), and how many clones of it there are."""

    name: str
    mark: Mark
    clones: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A snapshot that is asked for.

    `empties` are the tables that start empty in a copy of the target, or None where nothing of the target is
    copied and the seed makes its tables itself.
    """

    fingerprint: str
    project: str
    environment: str
    empties: Relations | None

    @property
    def digits(self) -> str:
        """The part of the fingerprint that the snapshot's name holds."""
        return self.fingerprint[:DIGITS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where a server listens, in the words of the proxies, and the password that let us in."""

    address: dict[str, Any]
    password: str | None = field(default=None, repr=False)


class Snapshots(Protocol):
    """Where snapshots and clones are: the target's server, or a folder of ours."""

    @property
    def maker(self) -> str:
        """Server version and user: part of a snapshot's fingerprint."""

    def turn(self) -> AbstractContextManager[None]:
        """Let processes take turns to look at the target and copy it.

        PostgreSQL copies only unused databases.
        """

    def base(self, empties: Relations) -> str:
        """Hash what a copy of the target would have: definitions, and all rows but those of `empties`."""

    def ready(self, wanted: Wanted, build: Build) -> tuple[Snapshot, bool]:
        """Give a snapshot, made by `build` if there is none; tells whether it was made now."""

    def clone(self, snapshot: Snapshot) -> Target:
        """Copy a snapshot.

        The clone is dropped when this is closed, or by the next session if it never was.
        """

    def claim(self, name: str, *, replace: bool) -> None:
        """Raise Refused where something else has that name, or a clone that may not be replaced."""

    def hand_over(self, snapshot: Snapshot, name: str, *, replace: bool) -> Target:
        """Copy a snapshot under a name, to stay; raises Refused as `claim` does."""

    def kept_as(self, clone: Target) -> Target:
        """The clone's target under the name that it has once it is kept."""

    def keep(self, clone: Target) -> None:
        """Rename a clone as `kept_as` says, so that it stays when this is closed."""

    def drop(self, clone: Target) -> None:
        """Drop a clone, whoever of ours is still connected."""

    def door(self) -> Door:
        """Say where the server listens; ConfigurationError where none does."""

    def every(self) -> list[Snapshot]:
        """All snapshots of ours, the newest first."""

    def leftovers(self) -> list[str]:
        """What is no use to anybody: attempts that never got a mark, and clones that were kept."""

    def remove(self, name: str) -> bool:
        """Drop a snapshot that nobody uses, or a leftover; tells whether it is gone."""

    def close(self) -> None:
        """Drop the clones that were not handed over or kept."""


def snapshots_at(target: Target, *, embedded: bool = False) -> Snapshots:
    """Find the snapshots where the target is, for a caller who closes them. Raises ConnectionFailed."""
    # Imported here: a target of one dialect has no use for the other's driver.
    if target.dialect == "sqlite":
        from seedlab.database.sqlite_snapshots import SqliteSnapshots

        return SqliteSnapshots(target)
    from seedlab.database.postgres_snapshots import PostgresSnapshots

    return PostgresSnapshots(target, embedded=embedded)


def newest_first(found: list[Snapshot]) -> list[Snapshot]:
    """Sort snapshots by age."""
    return sorted(found, key=lambda each: each.mark.created, reverse=True)


def mark_of(wanted: Wanted, *, rows: int, size: int) -> Mark:
    """Make the mark of a snapshot that is whole at this moment."""
    from datetime import UTC, datetime

    created = datetime.now(UTC).isoformat(timespec="seconds")
    names: Any = {"project": wanted.project, "environment": wanted.environment}
    return Mark(fingerprint=wanted.fingerprint, created=created, rows=rows, bytes=size, **names)
