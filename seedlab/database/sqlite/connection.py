"""`CountedConnection`: an sqlite3 connection that counts statements and translates errors.

An executemany of many rows counts as one statement, since it is one prepared statement and one call. There is
no network, so every call into the library counts as a round trip.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from seedlab.errors import LockHeld, SeedError, WriteError
from seedlab.flow import Recorder
from seedlab.flow.catalog import quote

MAX_PARAMETERS = 32_766  # SQLite's default limit since 3.32; some builds allow more


def listed(names: Iterable[str], prefix: str = "") -> str:
    """List quoted names, each with a prefix such as an alias: `t."a", t."b"`."""
    return ", ".join(f"{prefix}{quote(name)}" for name in names)


class NotUtf8Error(SeedError):
    """A stored text is not valid UTF-8, and can be read only within `any_text`."""


def _any_text(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


class CountedConnection:
    """Runs statements. IntegrityError is not translated, because the writer knows which row caused it."""

    def __init__(self, raw: sqlite3.Connection, recorder: Recorder, shown: str) -> None:
        self.raw = raw
        self.opening: Sequence[str] = ()  # run before the next statement
        self._recorder = recorder
        self._shown = shown

    def open(self) -> None:
        """Run the `opening` statements; when one fails, they remain to be run."""
        opening, self.opening = self.opening, ()
        try:
            for statement in opening:
                self.run(statement)
        except BaseException:
            self.opening = opening
            raise

    def run(self, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        """Execute one statement and fetch all its rows."""
        if self.opening:
            self.open()
        self._recorder.count(statements=1, round_trips=1)
        try:
            return self.raw.execute(sql, parameters).fetchall()
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def stream(self, sql: str, size: int, parameters: Sequence[object] = ()) -> Iterator[list[Any]]:
        """Execute one statement and yield its rows in batches of `size`."""
        if self.opening:
            self.open()
        self._recorder.count(statements=1, round_trips=1)
        try:
            cursor = self.raw.execute(sql, parameters)
            while rows := cursor.fetchmany(size):
                yield rows
        except sqlite3.Error as error:
            raise self._translated(error) from error

    @contextmanager
    def any_text(self) -> Iterator[None]:
        """Decode invalid UTF-8 with surrogates instead of failing, which is ten times as slow."""
        before, self.raw.text_factory = self.raw.text_factory, _any_text
        try:
            yield
        finally:
            self.raw.text_factory = before

    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Execute one statement for every row."""
        if self.opening:
            self.open()
        self._recorder.count(statements=1, round_trips=1)
        try:
            self.raw.executemany(sql, rows)
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error) -> Exception:
        name = getattr(error, "sqlite_errorname", "")
        if not name and str(error).startswith("Could not decode to UTF-8"):
            return NotUtf8Error(f"{self._shown} has a text that is not UTF-8")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            # Whoever holds the transaction that writes is kept from its commit by readers alone.
            other = "reading (PRAGMA journal_mode = WAL lets it)" if self.raw.in_transaction else "writing"
            return LockHeld(
                f"{self._shown} is locked: another connection is {other}; run again, or raise --lock-timeout"
            )
        return WriteError(f"{self._shown} refused a statement: {error}", sqlstate=name or None)
