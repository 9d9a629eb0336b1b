"""Supports the pytest plugin: lends clones to tests, and counts the statements that a test sends."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seedlab.database.connect import url_of
from seedlab.database.counting import Statements
from seedlab.database.snapshots import Snapshot
from seedlab.errors import DataFaults, SeedError
from seedlab.experiment.clones import SnapshotProvider, SnapshotRequest, provider_for
from seedlab.experiment.pool import Pool
from seedlab.flow import Target

MOST = 5  # how many statements are shown of a test that sent too many


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A test's own database. `url` contains the password, if there is one; `shown` does not."""

    url: str = field(repr=False)
    shown: str
    name: str
    dialect: str = field(repr=False)
    path: Path | None = field(default=None, repr=False)  # of SQLite's file

    def connect(self, **options: Any) -> Any:
        """Connect by psycopg or sqlite3, with that library's options; the caller closes the connection."""
        if self.dialect == "sqlite":
            import sqlite3

            return sqlite3.connect(str(self.path), **options)
        import psycopg

        return psycopg.connect(self.url, **options)


class LentClone:
    """A clone that one test uses, with the statements that the test sends to it, if they are counted."""

    def __init__(self, provider: SnapshotProvider, pool: Pool, clone: Target, *, counted: bool) -> None:
        self._provider, self._pool = provider, pool
        self.clone = clone
        self.statements = Statements() if counted else None
        self._counting_proxy: Any = None
        url = url_of(clone)
        if self.statements is not None and clone.dialect == "sqlite":
            from seedlab.database.sqlite import counting as sqlite_counting

            sqlite_counting.watch(Path(clone.url), self.statements)
        elif self.statements is not None:
            from seedlab.database.counting import CountingProxy

            access = provider.snapshots.server_access()
            self._counting_proxy = CountingProxy(self.statements, access.address)
            url = self._counting_proxy.url_for(url, access.password)
        self.database = Database(
            url=url,
            shown=clone.shown,
            name=clone.database,
            dialect=clone.dialect,
            path=Path(clone.url) if clone.dialect == "sqlite" else None,
        )

    @property
    def kept_as(self) -> str:
        """The URL, without password, under which the database can be found once it is kept."""
        return self._provider.snapshots.kept_as(self.clone).shown

    def keep(self) -> None:
        """Keep the database after the test."""
        self._close()
        self._pool.keep(self.clone)

    def give_back(self) -> None:
        """Drop the database, even if the test is still connected."""
        self._close()
        self._pool.drop(self.clone)

    def _close(self) -> None:
        if self._counting_proxy is not None:
            self._counting_proxy.close()
        if self.statements is not None and self.clone.dialect == "sqlite":
            from seedlab.database.sqlite import counting as sqlite_counting

            sqlite_counting.forget(Path(self.clone.url))


class ClonePools:
    """The clones of a test session: a snapshot provider and a pool for each requested project."""

    def __init__(self) -> None:
        self._opened: dict[SnapshotRequest, tuple[SnapshotProvider, Pool]] = {}
        self._failed: dict[SnapshotRequest, str] = {}

    def lend(self, request: SnapshotRequest, *, counted: bool, wanted: int | None = None) -> LentClone:
        """Lend a clone to a test.

        Raises NoDatabase if there is none. A fault of the project is described in full only the first time.
        """
        provider, pool = self._pool(request)
        try:
            clone = pool.take(wanted)
        except SeedError as error:
            raise NoDatabase(text_of(error)) from error
        return LentClone(provider, pool, clone, counted=counted)

    def close(self) -> None:
        """Drop all snapshots' clones and close the providers."""
        for provider, pool in self._opened.values():
            pool.close()
            provider.close()
        self._opened.clear()

    def _pool(self, request: SnapshotRequest) -> tuple[SnapshotProvider, Pool]:
        if request in self._failed:
            raise NoDatabase(f"{self._failed[request]} (described in full by the first test that needed it)")
        if request not in self._opened:
            try:
                self._opened[request] = _open_pool(request)
            except SeedError as error:
                self._failed[request] = f"no seeded database: {str(error).splitlines()[0]}"
                raise NoDatabase(text_of(error)) from error
        return self._opened[request]


class NoDatabase(Exception):
    """A test cannot get a database; the text is shown to the user."""


def _open_pool(request: SnapshotRequest) -> tuple[SnapshotProvider, Pool]:
    provider = provider_for(request)
    try:
        snapshot: Snapshot = provider.snapshot()[0]
    except BaseException:
        provider.close()
        raise
    return provider, Pool(provider.snapshots, snapshot)


def text_of(error: SeedError) -> str:
    """Word an error as the command line does, with the line of each fault, but without row values."""
    from seedlab.insight.formatting.summary import faults_text

    faults = faults_text(error.faults, show_values=False, width=110) if isinstance(error, DataFaults) else ""
    return f"{faults}seedlab: {error}"


def too_many(statements: Statements, most: int) -> str | None:
    """Word that a test sent more than `most` statements, with the most frequent ones; None if it did not."""
    if statements.total <= most:
        return None
    counts = statements.counts
    common = counts.most_common(MOST)
    lines = [f"{count:>7}\N{MULTIPLICATION SIGN} {text[:200]}" for text, count in common]
    rest = f"\n        and {len(counts) - MOST} more" if len(counts) > MOST else ""
    head = f"the test sent {statements.total} statements, at most {most} are allowed:"
    return "\n".join([head, *lines]) + rest
