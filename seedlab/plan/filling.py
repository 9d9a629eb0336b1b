"""Decides what fills a column that the files do not: the database, seedlab, or the project's defaults.

Pure: takes a table and those of its columns that the files cover.
"""

from __future__ import annotations

from collections.abc import Collection

from seedlab.flow import Table
from seedlab.plan.relations import relation_names


def made_column(table: Table, covered: Collection[str]) -> str | None:
    """Return the primary-key column whose value seedlab generates: a uuid, or the next default value."""
    key = table.primary_key
    if len(key) != 1 or key[0] in covered:
        return None
    column = table.columns[key[0]]
    return key[0] if column.kind == "uuid" or column.sequence or column.expression else None


def unfilled_columns(table: Table, covered: Collection[str], defaults: Collection[str]) -> list[str]:
    """Return the columns that require a value and have none."""
    filled = default_columns(table, covered, defaults)
    return [name for name in _without_value(table, covered) if name not in filled]


def default_columns(table: Table, covered: Collection[str], defaults: Collection[str]) -> tuple[str, ...]:
    """Return the columns that the project's defaults fill.

    These columns require a value, and belong neither to the primary key nor to a foreign key.
    """
    if not defaults:
        return ()
    names = {*table.primary_key, *(name for key in table.foreign_keys for name in key.columns)}
    return tuple(name for name in _without_value(table, covered) if name in defaults and name not in names)


def how_to_fill(table: Table, name: str) -> str:
    """Word the advice for a column that requires a value and has none."""
    if name in table.primary_key:
        return "add the column; seedlab only makes ids that are uuids or come from a sequence"
    for key in table.foreign_keys:
        if name in key.columns:
            relation = relation_names(table, key)[0]
            return f"name the row of {key.parent} that it refers to, as in {relation}.COLUMN"
    return (
        "add the column, or a default in the database, or give new rows a value "
        f'in seedlab.toml, below [defaults]: {name} = "…"'
    )


def _without_value(table: Table, covered: Collection[str]) -> list[str]:
    """Return the NOT NULL columns that neither the files nor the database nor seedlab fill."""
    made = made_column(table, covered)
    return [
        column.name
        for column in table.columns.values()
        if not (column.nullable or column.default or column.generated or column.identity or column.sequence)
        and column.name != made
        and column.name not in covered
    ]
