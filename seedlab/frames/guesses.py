"""Decide whether columns of an undeclared uuid type hold uuids, by the values in the files.

SQLite has no uuid type, so its catalog guesses from the declaration; `Column.otherwise` is the column without
the guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace

import polars as pl

from seedlab.flow import Catalog, Column

_DASHED = r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
# How a uuid may be spelled in the files, by how the column stores it; any other value is plain text.
_SPELLED = {"hex": rf"^\s*([0-9a-f]{{32}}|{_DASHED})\s*$", "dashed": rf"^\s*{_DASHED}\s*$"}
_BYTES = "\\x"

Place = tuple[str, str]  # table and column


def guessed_columns(catalog: Catalog) -> dict[Place, Column]:
    """Return the columns whose type is a guess."""
    return {
        (table.name, column.name): column
        for table in catalog.tables.values()
        for column in table.columns.values()
        if column.otherwise is not None
    }


def correct(catalog: Catalog, rows: Iterable[tuple[str, Iterable[pl.DataFrame]]]) -> Catalog:
    """Replace guessed uuid columns by what they are declared as, where the files have other values.

    `rows` has tables with the frames of their rows. Columns connected by foreign keys change together.
    """
    guesses = guessed_columns(catalog)
    if not guesses:
        return catalog
    wrong: set[Place] = set()
    for name, frames in rows:
        table = catalog.find(name)
        columns = {} if table is None else {c: guesses[t, c] for t, c in guesses if t == table.name}
        if table is not None and columns:
            wrong |= {(table.name, column) for column in _refuted(frames, columns)}
    return _without(catalog, _with_relatives(catalog, wrong, guesses.keys()))


def _refuted(frames: Iterable[pl.DataFrame], columns: Mapping[str, Column]) -> set[str]:
    """Find the columns with at least one value that is not a uuid."""
    found: set[str] = set()
    for frame in frames:
        left = [name for name in columns if name in frame.columns and name not in found]
        if not left:
            break
        verdict = frame.select(_no_uuid(columns[name], pl.col(name)).any().alias(name) for name in left)
        found |= {name for name, bad in zip(left, verdict.row(0), strict=True) if bad}
    return found


def _no_uuid(column: Column, value: pl.Expr) -> pl.Expr:
    """Build an expression that is true for no uuid as the column stores them; bytes have a prefix."""
    if column.storage == "blob":
        return value.str.starts_with(_BYTES)
    return ~value.str.contains(_SPELLED[column.storage])


def _with_relatives(catalog: Catalog, places: set[Place], guesses: Set[Place]) -> set[Place]:
    """Add guessed columns that are connected to these by foreign keys, directly or not."""
    pairs = [
        ((table.name, own), (key.parent, parent))
        for table in catalog.tables.values()
        for key in table.foreign_keys
        for own, parent in key.column_pairs
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
