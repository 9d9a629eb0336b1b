"""Values as the row-by-row writer binds and compares them, in SQLAlchemy's expressions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, cast, func
from sqlalchemy.sql.functions import Function
from sqlalchemy.types import UserDefinedType

from seedlab.database.kinds_sqlite import MOMENTS
from seedlab.flow import Column, Dialect

# Types that a cast would cut short without a word; uncast, an over-long text is refused.
_UNCAST = ("text", "varchar", "char", "citext")


class Spelled(UserDefinedType[Any]):
    """A type as the catalog spells it."""

    cache_ok = True

    def __init__(self, spelling: str) -> None:
        self.spelling = spelling

    def get_col_spec(self, **_: Any) -> str:
        """Spell the type; SQLAlchemy calls this to compile it."""
        return self.spelling


def bound(name: str, column: Column, dialect: Dialect) -> ColumnElement[Any]:
    """A parameter; PostgreSQL is told the column's own type, as the value is text."""
    if dialect == "sqlite" or column.kind in _UNCAST:
        return bindparam(name)
    return cast(bindparam(name), Spelled(column.type))


def sent(column: Column, value: ColumnElement[Any]) -> Function[Any]:
    """A value through its type's send function."""
    *packages, name = (part.strip('"') for part in column.send.split("."))
    value = as_base(column, value)
    return Function(name, value, packagenames=tuple(packages))


def as_base(column: Column, value: ColumnElement[Any]) -> ColumnElement[Any]:
    """A value of a domain as one of the type below: functions and operators of any enum take no domain."""
    return cast(value, Spelled(column.base)) if column.polymorphic else value


def equal(column: Column, own: ColumnElement[Any], given: ColumnElement[Any]) -> ColumnElement[bool]:
    """Compare a column with a value as the database does."""
    same: ColumnElement[bool] = as_base(column, own) == as_base(column, given)
    return same


def told(column: Column, value: ColumnElement[Any]) -> ColumnElement[Any]:
    """A value of SQLite as it is compared: see `sqlite_statements.told`."""
    if column.kind not in MOMENTS or column.storage:
        return value
    shorter = func.rtrim(func.rtrim(value, "0"), ".")
    return case((value.like("%.%"), shorter), else_=value)
