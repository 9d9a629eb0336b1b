"""Write lists and objects of JSON, YAML and Parquet as the text of a single column.

For a json column that is JSON; for a PostgreSQL array, composite type or hstore it is the literal that the
database would write. Values that have no such literal are written as JSON, which the database then refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from seedlab.flow import Catalog, Column, Seed
from seedlab.frames.files.flatten import Documents, dumps

_JSON = frozenset({"json", "jsonb"})
_WHOLE = frozenset({*_JSON, "array", "composite", "hstore"})
_SEPARATORS = {"box": ";"}  # the separator of arrays, by element type; a comma for all others


def whole_columns(seed: Seed, catalog: Catalog) -> Documents:
    """Return, by path, the columns that take a list or an object as one value, and how to write it."""
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
    """Return the function that writes a value of the column as text."""
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
    """Write an array; lists within it are further dimensions, except in arrays of json documents."""
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
    values = ((value.get(name), column) for name, column in fields.items())
    return "({})".format(",".join("" if v is None else _quoted(_text(v, column)) for v, column in values))


def _nullable(value: Any, column: Column) -> str:
    return "NULL" if value is None else _quoted(_text(value, column))


def _quoted(text: str) -> str:
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))
