"""What the pytest plugin needs: clones for a session's tests, and the count of what one sends to its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seedlab.database.connect import url_of
from seedlab.database.counting import Statements
from seedlab.database.snapshots import Snapshot
from seedlab.errors import DataFaults, SeedError
from seedlab.experiment.clones import Asked, Stock, stock_of
from seedlab.experiment.pool import Pool
from seedlab.flow import Target

MOST = 5  # statements shown of one test that sent too many


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A test's own database. `url` holds the password, if there is one; `shown` does not."""

    url: str = field(repr=False)
    shown: str
    name: str
    dialect: str = field(repr=False)
    path: Path | None = field(default=None, repr=False)  # of SQLite's file

    def connect(self, **options: Any) -> Any:
        """Connect with psycopg or sqlite3, with options of theirs; the caller closes the connection."""
        if self.dialect == "sqlite":
            import sqlite3

            return sqlite3.connect(str(self.path), **options)
        import psycopg

        return psycopg.connect(self.url, **options)


class Loan:
    """A clone lent to one test, with the statements that the test sends to it, if they are counted."""

    def __init__(self, stock: Stock, pool: Pool, clone: Target, *, counted: bool) -> None:
        self._stock, self._pool = stock, pool
        self.clone = clone
        self.statements = Statements() if counted else None
        self._door: Any = None
        url = url_of(clone)
        if self.statements is not None and clone.dialect == "sqlite":
            from seedlab.database import sqlite_counting

            sqlite_counting.watch(Path(clone.url), self.statements)
        elif self.statements is not None:
            from seedlab.database.counting import CountingDoor

            where = stock.snapshots.door()
            self._door = CountingDoor(self.statements, where.address)
            url = self._door.url_for(url, where.password)
        self.database = Database(
            url=url,
            shown=clone.shown,
            name=clone.database,
            dialect=clone.dialect,
            path=Path(clone.url) if clone.dialect == "sqlite" else None,
        )

    @property
    def kept_as(self) -> str:
        """The URL, without its password, that the database has once it is kept."""
        return self._stock.snapshots.kept_as(self.clone).shown

    def keep(self) -> None:
        """Let the database stay."""
        self._close()
        self._pool.keep(self.clone)

    def give_back(self) -> None:
        """Drop the database, whoever of ours is still connected."""
        self._close()
        self._pool.drop(self.clone)

    def _close(self) -> None:
        if self._door is not None:
            self._door.close()
        if self.statements is not None and self.clone.dialect == "sqlite":
            from seedlab.database import sqlite_counting

            sqlite_counting.forget(Path(self.clone.url))


class Workshop:
    """All that a session of tests makes: a stock and a pool for each project that is asked for."""

    def __init__(self) -> None:
        self._pools: dict[Asked, tuple[Stock, Pool]] = {}
        self._failed: dict[Asked, str] = {}

    def lend(self, asked: Asked, *, counted: bool, wanted: int | None = None) -> Loan:
        """Lend a clone; raises CannotLend, which tells a fault of the project in full only the first time."""
        stock, pool = self._pool(asked)
        try:
            clone = pool.take(wanted)
        except SeedError as error:
            raise CannotLend(text_of(error)) from error
        return Loan(stock, pool, clone, counted=counted)

    def close(self) -> None:
        """Drop all that is left."""
        for stock, pool in self._pools.values():
            pool.close()
            stock.close()
        self._pools.clear()

    def _pool(self, asked: Asked) -> tuple[Stock, Pool]:
        if asked in self._failed:
            raise CannotLend(f"{self._failed[asked]} (told in full by the first test that needed it)")
        if asked not in self._pools:
            try:
                self._pools[asked] = _opened(asked)
            except SeedError as error:
                self._failed[asked] = f"no seeded database: {str(error).splitlines()[0]}"
                raise CannotLend(text_of(error)) from error
        return self._pools[asked]


class CannotLend(Exception):
    """There is no database for a test; the text is for a person."""


def _opened(asked: Asked) -> tuple[Stock, Pool]:
    stock = stock_of(asked)
    try:
        snapshot: Snapshot = stock.snapshot()[0]
    except BaseException:
        stock.close()
        raise
    return stock, Pool(stock.snapshots, snapshot)


def text_of(error: SeedError) -> str:
    """Say what went wrong as the command line does: each fault with its line, no value of a row."""
    from seedlab.insight.faces.summary import faults_text

    faults = faults_text(error.faults, show_values=False, width=110) if isinstance(error, DataFaults) else ""
    return f"{faults}seedlab: {error}"


def too_many(statements: Statements, most: int) -> str | None:
    """Say that a test sent more statements than it may, and which it repeated; None if it did not."""
    if statements.total <= most:
        return None
    counts = statements.counts
    common = counts.most_common(MOST)
    lines = [f"{count:>7}{chr(0xD7)} {text[:200]}" for text, count in common]
    rest = f"\n        and {len(counts) - MOST} more" if len(counts) > MOST else ""
    head = f"the test sent {statements.total} statements, at most {most} are allowed:"
    return "\n".join([head, *lines]) + rest
