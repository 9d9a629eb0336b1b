"""Whether two databases hold the same rows, whatever numbers their sequences have given.

A row is known by the text of its columns. Of a table with a sequence's id and another key the id is left
out, and whoever refers to such an id is known by the key of the row referred to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier

from seedlab.database import connect
from seedlab.flow import Catalog, Recorder, Settings, Table, Target

_INTEGERS = ("int2", "int4", "int8")

Columns = Mapping[str, tuple[str, ...]]  # of each table, those that are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """All rows of a table, in any order; equal contents are equal rows."""

    rows: int
    digest: str


def read_tables(target: Target, recorder: Recorder) -> Catalog:
    """Read the catalog of a database."""
    session = connect.open_session(target, Settings(), recorder, "seedlab content")
    try:
        return session.catalog()
    finally:
        session.close()


def comparable(catalog: Catalog) -> Columns:
    """Name the columns of each table that tell rows apart: all but ids of sequences and generated ones."""
    return {
        table.name: tuple(
            name
            for name, column in table.columns.items()
            if name != _numbered(table) and not column.generated
        )
        for table in catalog.tables.values()
        if table.holds_rows
    }


def contents(target: Target, catalog: Catalog, asked: Sequence[tuple[str, tuple[str, ...]]]) -> list[Content]:
    """Hash these columns of these tables; one statement and one pass over the table each."""
    questions = [_question(catalog, catalog.tables[table], columns) for table, columns in asked]
    if catalog.dialect == "sqlite":
        return list(_from_sqlite(target, questions))
    with psycopg.connect(target.url, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        answers = [connection.execute(each).fetchone() for each in questions]
    return [Content(rows=row[0], digest=row[1]) for row in answers if row is not None]


def _from_sqlite(target: Target, questions: Sequence[Composed]) -> Iterator[Content]:
    with closing(sqlite3.connect(target.url)) as connection:
        connection.create_aggregate("seedlab_digest", 1, _Digest)  # type: ignore[arg-type]
        for each in questions:
            rows, digest = connection.execute(each.as_string()).fetchone()
            yield Content(rows=rows, digest=digest or "0")


class _Digest:
    """Adds up the hashes of texts: SQLite has none of its own."""

    def __init__(self) -> None:
        self._sum = 0

    def step(self, text: str) -> None:
        """Add the hash of one row's text; the name is SQLite's for an aggregate."""
        from xxhash import xxh3_64_intdigest

        self._sum += xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))

    def finalize(self) -> str:
        """Give the sum of the hashes."""
        return str(self._sum)


# ---- statements -----------------------------------------------------------------------------------------


def _question(catalog: Catalog, table: Table, columns: Sequence[str]) -> Composed:
    """Count the rows and add up their hashes."""
    spelled = [_spelled(catalog, table, name, "t", ()) for name in columns] or [SQL("''")]
    if catalog.dialect == "sqlite":
        row = SQL(" || ',' || ").join(spelled)
        return SQL("SELECT count(*), seedlab_digest({}) FROM {} t").format(row, _named(table))
    return SQL(
        "SELECT pg_catalog.count(*), COALESCE(pg_catalog.sum(pg_catalog.hashtextextended("
        "ROW({})::text, 0)::numeric), 0)::text FROM {} t"
    ).format(SQL(", ").join(spelled), _named(table))


def _spelled(catalog: Catalog, table: Table, name: str, alias: str, above: tuple[str, ...]) -> Composable:
    """The text of a column; of a reference to a numbered row, that of the row's key."""
    sqlite = catalog.dialect == "sqlite"
    for key in table.foreign_keys:
        parent = catalog.tables.get(key.parent)
        if key.columns != (name,) or parent is None or _numbered(parent) not in key.parent_columns:
            continue
        if parent.name in above:  # its key leads back to itself: the number has to do
            break
        inner = f"{alias}t"
        parts = [
            _spelled(catalog, parent, each, inner, (*above, parent.name)) for each in _natural_key(parent)
        ]
        row = SQL(" || ',' || ").join(parts) if sqlite else SQL("ROW({})::text").format(SQL(", ").join(parts))
        found = SQL("(SELECT {} FROM {} {} WHERE {} = {})").format(
            row,
            _named(parent),
            Identifier(inner),
            Identifier(inner, key.parent_columns[0]),
            Identifier(alias, name),
        )
        return SQL("COALESCE({}, 'NULL')").format(found) if sqlite else found
    column = Identifier(alias, name)
    # SQLite 3.35 quotes an integer as an integer, not as a text.
    return SQL("quote({}) || ''").format(column) if sqlite else SQL("{}::text").format(column)


def _numbered(table: Table) -> str | None:
    """The integer primary key of a table whose rows have another key, too."""
    key = table.primary_key
    own = len(key) == 1 and table.columns[key[0]].kind in _INTEGERS
    return key[0] if own and len(table.keys) > 1 else None


def _natural_key(table: Table) -> tuple[str, ...]:
    others = [key.columns for key in table.keys if not key.primary]
    return min(others, key=lambda columns: (len(columns), columns))


def _named(table: Table) -> Composable:
    name = Identifier(table.schema, table.relation)
    return SQL("ONLY {}").format(name) if table.inherits else name
