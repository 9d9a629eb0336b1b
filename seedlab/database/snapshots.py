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
        """Read one; None if there is none, or what is there is not ours."""
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
        """What of the fingerprint is in the name."""
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
        """Who makes them, and with what: a snapshot of another server or user is another one."""

    def turn(self) -> AbstractContextManager[None]:
        """Let one process at a time look at the target and copy it: a server copies what nobody uses."""

    def base(self, empties: Relations) -> str:
        """Hash what a copy of the target would have: definitions, and rows but for those of these tables."""

    def ready(self, wanted: Wanted, build: Build) -> tuple[Snapshot, bool]:
        """Give a snapshot, made by `build` if there is none; tells whether it was made now."""

    def clone(self, snapshot: Snapshot) -> Target:
        """Copy a snapshot; the clone goes when these are closed, whatever ends them."""

    def claim(self, name: str, *, replace: bool) -> None:
        """Raise Refused where something else has that name, or a clone that may not be replaced."""

    def hand_over(self, snapshot: Snapshot, name: str, *, replace: bool) -> Target:
        """Copy a snapshot under a name, to stay; raises Refused as `claim` does."""

    def kept_as(self, clone: Target) -> Target:
        """Say what a clone is called once it was kept."""

    def keep(self, clone: Target) -> None:
        """Let a clone stay, under a name that nobody sweeps."""

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
    """Write a mark, of this moment."""
    from datetime import UTC, datetime

    created = datetime.now(UTC).isoformat(timespec="seconds")
    names: Any = {"project": wanted.project, "environment": wanted.environment}
    return Mark(fingerprint=wanted.fingerprint, created=created, rows=rows, bytes=size, **names)
