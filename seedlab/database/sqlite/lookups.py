"""Look-ups and validation on SQLite whose inputs and results are frames.

This is separate from the session, so that a run with nothing to do does not import polars.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from seedlab.database.sqlite import statements as sql
from seedlab.database.sqlite.connection import CountedConnection
from seedlab.database.sqlite.encode import decode, encode
from seedlab.database.sqlite.encode import judge as unfit_values
from seedlab.flow import FILE, HANDLE, ROW, Ask, Catalog, Column, Suspect, Table

INVALID = pl.Schema({FILE: pl.UInt16, ROW: pl.UInt32, "rule": pl.String, "hint": pl.String})


def answer(connection: CountedConnection, catalog: Catalog, ask: Ask) -> pl.DataFrame:
    """Find the rows that exist, in one statement, or in several if the keys exceed the parameter limit."""
    build, leaves = sql.lookup(catalog, ask.table, ask.key, ask.wanted)
    values = [encode(column, ask.frame[source]).values for source, column in leaves]
    keys = list(zip(range(len(ask.frame)), *values, strict=True))
    found: list[Any] = []
    size = sql.rows_per_statement(1 + len(leaves))
    for start in range(0, len(keys), size):
        chunk = keys[start : start + size]
        found += connection.run(build(len(chunk)), [value for key in chunk for value in key])
    columns = catalog.tables[ask.table].columns
    numbers = pl.Series([row[0] for row in found], dtype=pl.UInt32)
    answered = {HANDLE: ask.frame[HANDLE].gather(numbers)}
    for place, name in enumerate(ask.wanted, start=1):
        answered[name] = decode(columns[name], [row[place] for row in found])
    return pl.DataFrame(answered)


def judge(catalog: Catalog, suspect: Suspect) -> pl.DataFrame:
    """Validate values in Python, as SQLite itself accepts any value."""
    unfit = unfit_values(suspect.filled(catalog), suspect.frame["value"])
    places = suspect.frame[sorted(unfit)].select(FILE, ROW)
    rules = pl.Series("rule", [unfit[n] for n in sorted(unfit)], dtype=pl.String)
    return places.with_columns(rules, pl.lit(None, dtype=pl.String).alias("hint")).cast(INVALID)


def spell(asked: Sequence[tuple[Column, pl.Series]]) -> list[pl.DataFrame]:
    """Return no other spellings, as SQLite stores texts unchanged."""
    return [pl.DataFrame(schema=dict.fromkeys(("value", "spelled", "name"), pl.String)) for _ in asked]


def rows_of_keys(frame: pl.DataFrame, table: Table) -> list[Sequence[object]]:
    """Convert a frame of keys to rows of values as SQLite stores them."""
    return list(
        zip(*(encode(table.columns[name], frame[name]).values for name in frame.columns), strict=True)
    )
