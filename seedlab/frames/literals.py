"""Lists and objects of JSON, YAML and Parquet for columns that hold them whole.

A json column is given JSON; a column of a PostgreSQL array, composite type or hstore is given the literal
that the database would spell. What has no place in such a literal stays JSON, and the database refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from seedlab.flow import Catalog, Column, Seed
from seedlab.frames.flatten import Documents, dumps

__all__ = ["whole_columns", "writer"]

_JSON = frozenset({"json", "jsonb"})
_WHOLE = frozenset({*_JSON, "array", "composite", "hstore"})
_SEPARATORS = {"box": ";"}  # all other arrays have commas


def whole_columns(seed: Seed, catalog: Catalog) -> Documents:
    """Name the columns, by path, whose value may be a list or an object, and how that is written."""
    found = ((spec, catalog.find(spec.table)) for spec in seed.tables)
    return {
        spec.path: {
            spec.columns.get(column.name, column.name): writer(column)
            for column in table.columns.values()
            if column.kind in _WHOLE
        }
        for spec, table in found
        if table is not None
    }


def writer(column: Column) -> Callable[[Any], str]:
    """Say how a value of the column is written as text."""
    return dumps if column.kind in _JSON else lambda value: _text(value, column)


def _text(value: Any, column: Column) -> str:
    if column.kind in _JSON:
        return dumps(value)
    if isinstance(value, list) and column.kind == "array" and column.element is not None:
        return _array(value, column.element)
    if isinstance(value, dict) and column.kind == "composite":
        return _composite(value, {each.name: each for each in column.fields})
    if isinstance(value, dict) and column.kind == "hstore":
        return ", ".join(f"{_quoted(key)}=>{_nullable(each, column)}" for key, each in value.items())
    return str(value) if isinstance(value, str) else dumps(value)


def _array(items: Iterable[Any], element: Column) -> str:
    """A list within the list is another dimension, but for arrays of json, where it is a document."""
    inner = (
        _array(each, element)
        if isinstance(each, list) and element.kind not in _JSON
        else _nullable(each, element)
        for each in items
    )
    return "{{{}}}".format(_SEPARATORS.get(element.type, ",").join(inner))


def _composite(value: Mapping[str, Any], fields: Mapping[str, Column]) -> str:
    if value.keys() - fields.keys():
        return dumps(value)
    given = ((value.get(name), column) for name, column in fields.items())
    return "({})".format(",".join("" if v is None else _quoted(_text(v, column)) for v, column in given))


def _nullable(value: Any, column: Column) -> str:
    return "NULL" if value is None else _quoted(_text(value, column))


def _quoted(text: str) -> str:
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))
