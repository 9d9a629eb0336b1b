"""SQLAlchemy expressions by which the row-by-row writer (`legacy.py`) binds and compares values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, bindparam, case, cast, func, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import Function
from sqlalchemy.types import UserDefinedType

from seedlab.database.sqlite.kinds import MOMENTS
from seedlab.flow import Column, Dialect

# Types whose cast would silently cut a text; without a cast the database refuses a text that is too long.
_UNCAST = ("text", "varchar", "char", "citext")


class Spelled(UserDefinedType[Any]):
    """A type in the catalog's spelling."""

    cache_ok = True

    def __init__(self, spelling: str) -> None:
        self.spelling = spelling

    def get_col_spec(self, **_: Any) -> str:
        """Return the spelling, which SQLAlchemy compiles into statements."""
        return self.spelling


class _Call(Function[Any]):
    """A call of a function whose name is given as the server spells it: qualified, and quoted if need be."""

    inherit_cache = True


@compiles(_Call)
def _call(element: _Call, compiler: Any, **options: Any) -> str:
    return f"{element.name}{compiler.function_argspec(element, **options)}"


def bound(name: str, column: Column, dialect: Dialect) -> ColumnElement[Any]:
    """Make a parameter; for PostgreSQL with a cast to the column's type, as the value is text."""
    if dialect == "sqlite" or column.kind in _UNCAST:
        return bindparam(name)
    return cast(bindparam(name), Spelled(column.type))


def as_spelled(values: Sequence[ColumnElement[Any]], dialect: Dialect) -> Sequence[ColumnElement[Any]]:
    """Let the database spell values, so that equal ones of any type can be compared; SQLite's are plain."""
    return values if dialect == "sqlite" else [cast(each, Text) for each in values]


def in_binary(column: Column, value: ColumnElement[Any]) -> Function[Any]:
    """Convert a value to binary form by its type's send function."""
    return _Call(column.send, as_base(column, value))


def as_base(column: Column, value: ColumnElement[Any]) -> ColumnElement[Any]:
    """Cast a domain over an enum, array or the like to its base type, as polymorphic functions need it."""
    return cast(value, Spelled(column.base)) if column.polymorphic else value


def equal(
    column: Column, own: ColumnElement[Any], value: ColumnElement[Any], *, nulls: bool
) -> ColumnElement[bool]:
    """Compare a column with a value as the database does; with `nulls`, NULL equals NULL."""
    same: ColumnElement[bool] = as_base(column, own) == as_base(column, value)
    # No index is used for IS NOT DISTINCT FROM. The cast gives a parameter of unknown type one.
    return or_(same, and_(own.is_(None), cast(value, Text).is_(None))) if nulls else same


def comparable(column: Column, value: ColumnElement[Any]) -> ColumnElement[Any]:
    """Normalize a value of SQLite for comparison, as `sqlite.statements.comparable` does."""
    if column.kind not in MOMENTS or column.storage:
        return value
    shorter = func.rtrim(func.rtrim(value, "0"), ".")
    return case((value.like("%.%"), shorter), else_=value)
