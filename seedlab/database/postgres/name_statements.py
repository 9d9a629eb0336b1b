"""SQL that spells equal values equally, so that rows can be named by text.

PostgreSQL has values that are equal although it spells them differently: `1 day` and `24:00:00`, `{1.0}` and
`{1.00}`, texts of citext or of a nondeterministic collation.
"""

from __future__ import annotations

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.database.postgres.statements import as_base, trusted
from seedlab.flow import Column

# Zeros at the end of a fraction, outside of the strings of a JSON document.
_ZEROS_IN_JSON = r'("([^"\\]|\\.)*")|(\.[0-9]*[1-9])0+(?![0-9])|\.0+(?![0-9])'
_ZEROS = r"(\.[0-9]*[1-9])0+(?![0-9])|\.0+(?![0-9])"
_RANGES = frozenset({"numrange", "nummultirange"})
# All that an interval is compared by, in seconds: a month has 30 days, a day 24 hours.
_SECONDS = SQL(
    "pg_catalog.trim_scale((((EXTRACT(year FROM {v}) * 12 + EXTRACT(month FROM {v})) * 30 + "
    "EXTRACT(day FROM {v})) * 24 + EXTRACT(hour FROM {v})) * 3600 + EXTRACT(minute FROM {v}) * 60 + "
    "EXTRACT(second FROM {v}))::text"
)


def named(column: Column, value: Composable) -> Composed | None:
    """Build the text that names a value of the column's type; None if the value's own text does.

    The text of a nondeterministic collation has no such spelling; it is named by a hash of 128 bits.
    """
    value = as_base(column, value)
    if column.collation:
        own = SQL("{}::text COLLATE {}").format(value, trusted(column.collation))
        return SQL(
            "pg_catalog.concat(pg_catalog.hashtextextended({v}, 0), ',', pg_catalog.hashtextextended({v}, 1))"
        ).format(v=own)
    match column.kind:
        case "citext":
            return SQL("pg_catalog.lower({}::text)").format(value)
        case "interval":  # an infinite one has no months
            return SQL("COALESCE({}, {}::text)").format(_SECONDS.format(v=value), value)
        case "jsonb":
            return _without_zeros(value, _ZEROS_IN_JSON, r"\1\3")
        case "array":
            return _named_array(column, value)
        case "composite":
            return _named_composite(column, value)
        case "other" if (column.base or column.type).lower() in _RANGES:
            return _without_zeros(value, _ZEROS, r"\1")
    return None


def _without_zeros(value: Composable, zeros: str, kept: str) -> Composed:
    return SQL("pg_catalog.regexp_replace({}::text, {}, {}, 'g')").format(
        value, Literal(zeros), Literal(kept)
    )


def _part(column: Column, value: Composable) -> Composed | None:
    """Name a part of an array or composite value, which may also be of a type that a key names by itself."""
    if column.kind == "numeric":
        return SQL("pg_catalog.trim_scale({})::text").format(value)
    if column.kind in ("float4", "float8"):  # -0 is 0
        return SQL("({} + 0)::text").format(value)
    return SQL("pg_catalog.rtrim({}::text)").format(value) if column.kind == "char" else named(column, value)


def _named_array(column: Column, value: Composable) -> Composed | None:
    element = _part(column.element, SQL("e")) if column.element else None
    if element is None:
        return None
    return SQL(
        "COALESCE(pg_catalog.array_dims({v}) || (SELECT pg_catalog.array_agg({element}) "
        "FROM (SELECT pg_catalog.unnest({v}) AS e) q)::text, {v}::text)"
    ).format(v=value, element=element)


def _named_composite(column: Column, value: Composable) -> Composed | None:
    fields = [SQL("({}).{}").format(value, Identifier(field.name)) for field in column.fields]
    parts = [_part(field, own) for field, own in zip(column.fields, fields, strict=True)]
    if not any(parts):
        return None
    texts = [part or SQL("{}::text").format(own) for part, own in zip(parts, fields, strict=True)]
    return SQL("ROW({})::text").format(SQL(", ").join(texts))
