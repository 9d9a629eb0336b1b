"""Who gives a column its value, where the files do not: the database, seedlab, or the project's defaults.

Pure: a table, and which of its columns the files cover.
"""

from __future__ import annotations

from collections.abc import Collection

from seedlab.flow import Table
from seedlab.plan.relations import relation_names


def made_column(table: Table, covered: Collection[str]) -> str | None:
    """Name the primary-key column whose value we make: a uuid, or what a default gives."""
    key = table.primary_key
    if len(key) != 1 or key[0] in covered:
        return None
    column = table.columns[key[0]]
    return key[0] if column.kind == "uuid" or column.sequence or column.expression else None


def unfilled(table: Table, covered: Collection[str], defaults: Collection[str]) -> list[str]:
    """Name the columns that must have a value and get none."""
    filled = by_default(table, covered, defaults)
    return [name for name in _bare(table, covered) if name not in filled]


def by_default(table: Table, covered: Collection[str], defaults: Collection[str]) -> tuple[str, ...]:
    """Name the columns that get the project's default: they need a value, and are no key and no reference."""
    if not defaults:
        return ()
    names = {*table.primary_key, *(name for key in table.foreign_keys for name in key.columns)}
    return tuple(name for name in _bare(table, covered) if name in defaults and name not in names)


def how_to_fill(table: Table, name: str) -> str:
    """Say what to do about a column without a value."""
    if name in table.primary_key:
        return "add the column; seedlab makes ids that are uuids or come from a sequence, no others"
    for key in table.foreign_keys:
        if name in key.columns:
            relation = relation_names(table, key)[0]
            return f"name the row of {key.parent} that it refers to, as in {relation}.COLUMN"
    return (
        "add the column, or a default in the database, or say what new rows get "
        f'in seedlab.toml, below [defaults]: {name} = "…"'
    )


def _bare(table: Table, covered: Collection[str]) -> list[str]:
    """Name the columns that are NOT NULL, and neither the files nor the database nor we give a value."""
    made = made_column(table, covered)
    return [
        column.name
        for column in table.columns.values()
        if not (column.nullable or column.default or column.generated or column.identity or column.sequence)
        and column.name != made
        and column.name not in covered
    ]
