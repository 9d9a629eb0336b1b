"""SQLAlchemy clauses of the row-by-row writer (`legacy.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Insert, Update, insert, table, update
from sqlalchemy import column as sql_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import TableClause

from seedlab.flow import Table


class _Overriding(Insert):
    """An INSERT with explicit values for identity columns, including GENERATED ALWAYS."""

    inherit_cache = False


@compiles(_Overriding)
def _overriding(element: _Overriding, compiler: Any, **options: Any) -> str:
    text: str = compiler.visit_insert(element, **options)
    return text.replace(") VALUES (", ") OVERRIDING SYSTEM VALUE VALUES (", 1)


def clause_of(of: Table) -> TableClause:
    """Make the clause of a table with its columns."""
    return table(of.relation, *(sql_column(name) for name in of.columns), schema=of.schema)


def own_rows(clause: TableClause, of: Table) -> tuple[TableClause, str, str]:
    """Make the hint ONLY for a table that others inherit from."""
    return clause, "ONLY" if of.inherits else "", "postgresql" if of.inherits else "none"


def update_of(clause: TableClause, of: Table) -> Update:
    """Make an UPDATE of the table's own rows, without those of inheriting tables."""
    _, hint, dialect = own_rows(clause, of)
    return update(clause).with_hint(hint, dialect_name=dialect)


def insert_into(clause: TableClause, of: Table, values: Mapping[str, ColumnElement[Any]]) -> Insert:
    """Make an INSERT that accepts explicit values for identity columns."""
    identity = any(of.columns[name].identity for name in values)
    return (_Overriding(clause) if identity else insert(clause)).values(dict(values))


def made_by_us(of: Table, name: str) -> bool:
    """Tell whether seedlab makes an id (from the key) rather than the database."""
    return of.columns[name].kind == "uuid"
