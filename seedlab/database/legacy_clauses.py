"""The parts of the row-by-row writer's statements that SQLAlchemy has to be told of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Insert, Update, insert, table, update
from sqlalchemy import column as sql_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import TableClause

from seedlab.flow import Table


class _Overriding(Insert):
    """An INSERT that gives values to identity columns, also to those that are GENERATED ALWAYS."""

    inherit_cache = False


@compiles(_Overriding)
def _overriding(element: _Overriding, compiler: Any, **options: Any) -> str:
    text: str = compiler.visit_insert(element, **options)
    return text.replace(") VALUES (", ") OVERRIDING SYSTEM VALUE VALUES (", 1)


def clause_of(of: Table) -> TableClause:
    """Name a table with its columns."""
    return table(of.relation, *(sql_column(name) for name in of.columns), schema=of.schema)


def own_rows(clause: TableClause, of: Table) -> tuple[TableClause, str, str]:
    """Say as a hint that rows of tables which inherit from this one are not meant."""
    return clause, "ONLY" if of.inherits else "", "postgresql" if of.inherits else "none"


def update_of(clause: TableClause, of: Table) -> Update:
    """Begin an UPDATE of the table's own rows."""
    _, hint, dialect = own_rows(clause, of)
    return update(clause).with_hint(hint, dialect_name=dialect)


def insert_into(clause: TableClause, of: Table, values: Mapping[str, ColumnElement[Any]]) -> Insert:
    """Make an INSERT; the database takes ids that the files give."""
    identity = any(of.columns[name].identity for name in values)
    return (_Overriding(clause) if identity else insert(clause)).values(dict(values))


def made_by_us(of: Table, name: str) -> bool:
    """Tell an id that is made from the key from one that the database makes."""
    return of.columns[name].kind == "uuid"
