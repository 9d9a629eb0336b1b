"""Read a database for an export, in one snapshot and as batches of text.

PostgreSQL converts its values to text itself (`COPY … TO`). SQLite's values are converted here, and those
that a seed would store differently are counted, as SQLite accepts any value in any column.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import polars as pl
from psycopg.sql import Composable

from seedlab.database import export_statements as sql
from seedlab.database.postgres.failures import write_failed
from seedlab.database.postgres.wire import StatementError, translated
from seedlab.errors import ConfigurationError, ConnectionFailed
from seedlab.flow import Catalog, Column, ForeignKey, Recorder, Settings, Table, Target
from seedlab.flow.exports import TableExport, Tie

TRANSFER = 4 << 20  # bytes of CSV per frame
FETCH = 20_000  # rows per frame of SQLite
_INSERT = re.compile(r"\bINSERT\s+ON\b", re.IGNORECASE)  # in the text of a trigger
_NO_ZONE = re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9:.]+)?$")


class Reader(Protocol):
    """A database that is read in one snapshot."""

    def catalog(self) -> Catalog:
        """Begin the snapshot and read the catalog."""

    def hold(self, tables: Sequence[Table]) -> None:
        """Keep these tables from being altered or dropped until everything is read."""

    def doubtful(self, tables: Sequence[Table]) -> frozenset[ForeignKey]:
        """Return the foreign keys that existing rows may violate."""

    def triggers(self, tables: Sequence[Table]) -> dict[str, tuple[str, ...]]:
        """Map tables to the names of the user's triggers that act when rows are inserted."""

    def count(self, query: Composable) -> tuple[int, ...]:
        """Return the single row of numbers of a query."""

    def rows(self, catalog: Catalog, export: TableExport) -> Iterator[pl.DataFrame]:
        """Read a table in frames: its leaves by name, as text, in the order of its key."""

    def ties(
        self, catalog: Catalog, export: TableExport, ties: Sequence[tuple[Tie, Sequence[str]]]
    ) -> Iterator[pl.DataFrame]:
        """Read the result of `select_ties` in frames with numbered columns."""

    def lossy_values(self) -> dict[str, int]:
        """Count, by `table.column`, the values that a seed would store differently or refuse."""

    def close(self) -> None:
        """Close the connection."""


def open_reader(target: Target, recorder: Recorder, label: str) -> Reader:
    """Connect; raises ConnectionFailed, also for an SQLite file that does not exist."""
    if target.dialect == "sqlite":
        if not Path(target.url).is_file():
            raise ConnectionFailed(
                f"cannot open {target.shown} (from {target.origin}): there is no such file"
            )
        return _SqliteReader(target, recorder)
    return _PostgresReader(target, recorder, label)


class _PostgresReader:
    def __init__(self, target: Target, recorder: Recorder, label: str) -> None:
        from seedlab.database.postgres.session import open_postgres

        self._session = open_postgres(target, Settings(), recorder, label)

    def catalog(self) -> Catalog:
        self._session.catalog()  # reads the connection's search path
        self._session.begin(read_only=True)
        self._session.wire.opening = [*self._session.wire.opening, *sql.SPELLINGS]
        return self._session.catalog_in_transaction()

    def hold(self, tables: Sequence[Table]) -> None:
        if not tables:
            return
        try:
            self._session.wire.script([sql.lock_for_reading(tables)])
        except StatementError as failed:
            if failed.error.sqlstate == "42501":  # insufficient privilege
                message = failed.error.diag.message_primary
                raise ConfigurationError(
                    f"{message}; GRANT SELECT on it, or leave it out with --exclude-table"
                ) from failed.error
            raise write_failed(failed.error, "the tables") from failed.error

    def doubtful(self, tables: Sequence[Table]) -> frozenset[ForeignKey]:
        return frozenset(key for table in tables for key in table.foreign_keys if not key.validated)

    def triggers(self, tables: Sequence[Table]) -> dict[str, tuple[str, ...]]:
        with translated():
            found = self._session.wire.ask([(sql.TRIGGERS, ())])[0]
        return _by_table((((schema, relation), name) for schema, relation, name in found), tables)

    def count(self, query: Composable) -> tuple[int, ...]:
        with translated():
            return self._session.wire.ask([(query, ())])[0][0]

    def rows(self, catalog: Catalog, export: TableExport) -> Iterator[pl.DataFrame]:
        return self._frames(sql.select_rows(catalog, export), [leaf.name for leaf in export.leaves])

    def ties(
        self, catalog: Catalog, export: TableExport, ties: Sequence[tuple[Tie, Sequence[str]]]
    ) -> Iterator[pl.DataFrame]:
        width = len(export.key) + sum(len(key) + tie.doubtful for tie, key in ties)
        return self._frames(sql.select_ties(catalog, export, ties), [str(n) for n in range(width)])

    def _frames(self, query: Composable, names: Sequence[str]) -> Iterator[pl.DataFrame]:
        schema = dict.fromkeys(names, pl.String())
        with translated():
            for data in self._session.wire.copy_out(sql.copy_out(query), TRANSFER):
                # polars skips a byte order mark, as which the first value may begin.
                mark = BOM_UTF8 if data.startswith(BOM_UTF8) else b""
                yield pl.read_csv(mark + data, has_header=False, schema=schema, infer_schema=False)

    def lossy_values(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        self._session.rollback()
        self._session.close()


class _SqliteReader:
    def __init__(self, target: Target, recorder: Recorder) -> None:
        from seedlab.database.sqlite.session import open_sqlite

        self._session = open_sqlite(target, Settings(), recorder)
        self._lossy: Counter[str] = Counter()

    def catalog(self) -> Catalog:
        self._session.connection.run("PRAGMA query_only = ON")
        self._session.connection.run("BEGIN")
        return self._session.catalog()

    def hold(self, tables: Sequence[Table]) -> None:
        """Do nothing, as the open transaction is sufficient."""

    def doubtful(self, tables: Sequence[Table]) -> frozenset[ForeignKey]:
        """Look for violations, because SQLite enforces foreign keys only on request of each connection.

        Of a table with an unfit foreign key SQLite checks none, so that all its others are in doubt.
        """
        asked = [table.relation for table in tables if table.foreign_keys and not table.unfit]
        found = self._session.connection.run(sql.sqlite_orphans(len(asked)), asked)
        broken = {(name, parent.lower()) for name, parent in found}
        return frozenset(
            key
            for table in tables
            for key in table.foreign_keys
            if table.unfit or (table.name, key.parent.lower()) in broken
        )

    def triggers(self, tables: Sequence[Table]) -> dict[str, tuple[str, ...]]:
        found = self._session.connection.run(sql.SQLITE_TRIGGERS)
        places = {table.relation.lower(): (table.schema, table.relation) for table in tables}
        acting = ((places.get(of.lower()), name) for of, name, text in found if _INSERT.search(text))
        return _by_table(acting, tables)

    def count(self, query: Composable) -> tuple[int, ...]:
        return tuple(self._session.connection.run(query.as_string())[0])

    def rows(self, catalog: Catalog, export: TableExport) -> Iterator[pl.DataFrame]:
        for values in self._fetched(sql.select_rows(catalog, export)):
            frame = {}
            for leaf, stored in zip(export.leaves, values, strict=True):
                frame[leaf.name] = _spelled(leaf.column, stored)
                if not leaf.path:
                    lossy = _count_lossy(leaf.column, stored, frame[leaf.name])
                    self._lossy[f"{export.table}.{leaf.name}"] += lossy
            yield pl.DataFrame(frame)

    def ties(
        self, catalog: Catalog, export: TableExport, ties: Sequence[tuple[Tie, Sequence[str]]]
    ) -> Iterator[pl.DataFrame]:
        plain = Column(name="", type="", kind="text")
        for values in self._fetched(sql.select_ties(catalog, export, ties)):
            yield pl.DataFrame({str(n): _spelled(plain, stored) for n, stored in enumerate(values)})

    def _fetched(self, query: Composable) -> Iterator[list[tuple[Any, ...]]]:
        """Fetch batches of rows as columns."""
        for rows in self._session.connection.stream(query.as_string(), FETCH):
            yield list(zip(*rows, strict=True))

    def lossy_values(self) -> dict[str, int]:
        return {name: count for name, count in self._lossy.items() if count}

    def close(self) -> None:
        self._session.rollback()
        self._session.close()


def _by_table(
    triggers: Iterable[tuple[tuple[str, str] | None, str]], tables: Sequence[Table]
) -> dict[str, tuple[str, ...]]:
    """Group triggers, each given with schema and name of its table, by those of the tables that have any."""
    names = {(table.schema, table.relation): table.name for table in tables}
    found: dict[str, tuple[str, ...]] = {}
    for place, trigger in triggers:
        if place in names:
            found[names[place]] = (*found.get(names[place], ()), trigger)
    return found


# ---- what SQLite stores ---------------------------------------------------------------------------------


def _spelled(column: Column, stored: Sequence[object]) -> pl.Series:
    return pl.Series([_spell(column, value) for value in stored], dtype=pl.String)


def _spell(column: Column, value: object) -> str | None:
    """Spell a stored value so that a seed stores the same value again, as far as possible."""
    match value:
        case None:
            return None
        case bytes() if column.kind == "uuid" and len(value) == 16:
            return str(UUID(bytes=value))
        case bytes():
            return f"\\x{value.hex()}"
        case 0 | 1 if column.kind == "bool":
            return "true" if value else "false"
        case str() if column.kind == "timestamptz" and _NO_ZONE.match(value):
            return f"{value}+00:00"  # stored in UTC without an offset
        case _:
            return str(value)


def _count_lossy(column: Column, stored: Sequence[object], spelled: pl.Series) -> int:
    """Count the values that a seed would store differently or refuse."""
    from seedlab.database.sqlite.encode import encode, judge

    again = encode(column, spelled).values
    unfit = judge(column, spelled)
    return sum(
        n in unfit or not _same(column, old, new)
        for n, (old, new) in enumerate(zip(stored, again, strict=True))
    )


def _same(column: Column, old: object, new: object) -> bool:
    if isinstance(old, int | float) and isinstance(new, int | float):
        return old == new  # the column's affinity converts one into the other
    if column.kind == "uuid" and isinstance(old, str | bytes) and isinstance(new, str | bytes):
        return True  # only the storage format of uuids differs
    if isinstance(old, str) and "\0" in old:
        return False  # files cannot contain NUL
    return type(old) is type(new) and old == new
