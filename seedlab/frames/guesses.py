"""Columns of which the database only guesses that they keep uuids: what the files hold decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace

import polars as pl

from seedlab.flow import Catalog, Column

_DASHED = r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
# How a uuid is spelled for a column that keeps it so; anything else is a text, to be kept as it is.
_SPELLED = {"hex": rf"^\s*([0-9a-f]{{32}}|{_DASHED})\s*$", "dashed": rf"^\s*{_DASHED}\s*$"}
_BYTES = "\\x"

Place = tuple[str, str]  # table and column


def guessed(catalog: Catalog) -> dict[Place, Column]:
    """The columns that may be something else than they seem."""
    return {
        (table.name, column.name): column
        for table in catalog.tables.values()
        for column in table.columns.values()
        if column.otherwise is not None
    }


def settle(catalog: Catalog, given: Iterable[tuple[str, Iterable[pl.DataFrame]]]) -> Catalog:
    """Take columns for what they are declared as where the files give values that are no uuids.

    `given` are tables and the frames of their rows. What refers to such a column, or it to, goes with it.
    """
    guesses = guessed(catalog)
    if not guesses:
        return catalog
    wrong: set[Place] = set()
    for name, frames in given:
        table = catalog.find(name)
        mine = {} if table is None else {c: guesses[t, c] for t, c in guesses if t == table.name}
        if table is not None and mine:
            wrong |= {(table.name, column) for column in _refuted(frames, mine)}
    return _without(catalog, _with_relatives(catalog, wrong, guesses.keys()))


def _refuted(frames: Iterable[pl.DataFrame], columns: Mapping[str, Column]) -> set[str]:
    found: set[str] = set()
    for frame in frames:
        left = [name for name in columns if name in frame.columns and name not in found]
        if not left:
            break
        told = frame.select(_no_uuid(columns[name], pl.col(name)).any().alias(name) for name in left)
        found |= {name for name, bad in zip(left, told.row(0), strict=True) if bad}
    return found


def _no_uuid(column: Column, value: pl.Expr) -> pl.Expr:
    """A value that is no uuid in the column's eyes; bytes are told by how they are spelled."""
    if column.storage == "blob":
        return value.str.starts_with(_BYTES)
    return ~value.str.contains(_SPELLED[column.storage])


def _with_relatives(catalog: Catalog, places: set[Place], guesses: Set[Place]) -> set[Place]:
    """Add the guesses that these refer to, or that refer to these, and so on."""
    pairs = [
        ((table.name, own), (key.parent, parent))
        for table in catalog.tables.values()
        for key in table.foreign_keys
        for own, parent in zip(key.columns, key.parent_columns, strict=False)
    ]
    found, new = set(places), set(places)
    while new:
        near = {one for pair in pairs if not new.isdisjoint(pair) for one in pair}
        new = (near & guesses) - found
        found |= new
    return found


def _without(catalog: Catalog, places: set[Place]) -> Catalog:
    if not places:
        return catalog
    tables = dict(catalog.tables)
    for name, column in places:
        columns = {**tables[name].columns}
        columns[column] = columns[column].otherwise or columns[column]
        tables[name] = replace(tables[name], columns=columns)
    return replace(catalog, tables=tables)
