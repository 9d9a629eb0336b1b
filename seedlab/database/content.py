"""Hash the rows of tables, so that two databases can be compared independently of generated ids.

A row is hashed as the text of its columns. A generated integer id is left out if the table has another key,
and a reference to such an id is replaced by the key of the row referred to.
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

Columns = Mapping[str, tuple[str, ...]]  # table → columns that are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The rows of a table in any order: equal contents mean equal rows."""

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
    """Return the columns of each table to compare: all except generated ids and generated columns."""
    return {
        table.name: tuple(
            name
            for name, column in table.columns.items()
            if name != _numbered(table) and not column.generated
        )
        for table in catalog.tables.values()
        if table.holds_rows
    }


def contents(
    target: Target, catalog: Catalog, wanted: Sequence[tuple[str, tuple[str, ...]]]
) -> list[Content]:
    """Hash these columns of these tables. Cost: one statement and one pass over the table for each."""
    questions = [_question(catalog, catalog.tables[table], columns) for table, columns in wanted]
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
    """An aggregate function that adds up the hashes of texts, as SQLite has no hash function."""

    def __init__(self) -> None:
        self._sum = 0

    def step(self, text: str) -> None:
        """Add the hash of one row's text."""
        from xxhash import xxh3_64_intdigest

        self._sum += xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))

    def finalize(self) -> str:
        """Return the sum of the hashes."""
        return str(self._sum)


# ---- statements -----------------------------------------------------------------------------------------


def _question(catalog: Catalog, table: Table, columns: Sequence[str]) -> Composed:
    """Make the query that counts the rows and adds up their hashes."""
    spelled = [_spelled(catalog, table, name, "t", ()) for name in columns] or [SQL("''")]
    if catalog.dialect == "sqlite":
        row = SQL(" || ',' || ").join(spelled)
        return SQL("SELECT count(*), seedlab_digest({}) FROM {} t").format(row, _named(table))
    return SQL(
        "SELECT pg_catalog.count(*), COALESCE(pg_catalog.sum(pg_catalog.hashtextextended("
        "ROW({})::text, 0)::numeric), 0)::text FROM {} t"
    ).format(SQL(", ").join(spelled), _named(table))


def _spelled(catalog: Catalog, table: Table, name: str, alias: str, above: tuple[str, ...]) -> Composable:
    """Spell a column as text; a reference to a generated id becomes the text of the row's natural key."""
    sqlite = catalog.dialect == "sqlite"
    for key in table.foreign_keys:
        parent = catalog.tables.get(key.parent)
        if key.columns != (name,) or parent is None or _numbered(parent) not in key.parent_columns:
            continue
        if parent.name in above:  # the key refers to itself, so the id is used
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
    """Return the integer primary key of a table that also has another key."""
    key = table.primary_key
    own = len(key) == 1 and table.columns[key[0]].kind in _INTEGERS
    return key[0] if own and len(table.keys) > 1 else None


def _natural_key(table: Table) -> tuple[str, ...]:
    others = [key.columns for key in table.keys if not key.primary]
    return min(others, key=lambda columns: (len(columns), columns))


def _named(table: Table) -> Composable:
    name = Identifier(table.schema, table.relation)
    return SQL("ONLY {}").format(name) if table.inherits else name
