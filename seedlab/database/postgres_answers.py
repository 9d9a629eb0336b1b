"""Questions to PostgreSQL that carry frames, and its answers made frames again.

Apart from the session, so that a run with nothing to do never imports polars.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from seedlab.database import statements as sql
from seedlab.database.encode import spell_uuids
from seedlab.database.wire import Question
from seedlab.flow import FILE, HANDLE, ROW, Ask, Catalog, Column, Suspect, part_sources

INVALID = pl.Schema({FILE: pl.UInt16, ROW: pl.UInt32, "rule": pl.String})
Rows = Sequence[tuple[Any, ...]]


def lookup_questions(asks: Sequence[Ask], catalog: Catalog) -> list[Question]:
    """Ask which rows exist: one statement each."""
    return [
        (
            sql.lookup(catalog, ask.table, ask.key, ask.wanted),
            [array(ask.frame[source]) for part in ask.key for source in part_sources(part)],
        )
        for ask in asks
    ]


def suspect_questions(suspects: Sequence[Suspect], catalog: Catalog) -> list[Question]:
    """Ask which values a column takes: one statement each."""
    return [(sql.invalid(_column(each, catalog)), [array(each.frame["value"])]) for each in suspects]


def arrays(frame: pl.DataFrame) -> list[str]:
    """One array literal a column; uuids are spelled."""
    return [array(series) for series in spell_uuids(frame).get_columns()]


def array(values: pl.Series) -> str:
    """One array literal of a text column."""
    text = values.to_frame("v").select(
        pl.concat_str(
            pl.lit('"'),
            pl.col("v").str.replace_all(r'(["\\])', r"\${1}"),
            pl.lit('"'),
        )
        .fill_null("NULL")
        .str.join(",")
    )
    return f"{{{text.item()}}}"


def answer(ask: Ask, rows: Rows, catalog: Catalog) -> pl.DataFrame:
    """Numbers back to handles, uuids back to numbers."""
    columns = catalog.tables[ask.table].columns
    numbers = pl.Series([row[0] - 1 for row in rows], dtype=pl.UInt32)
    values: dict[str, pl.Series] = {HANDLE: ask.frame[HANDLE].gather(numbers)}
    for place, name in enumerate(ask.wanted, start=1):
        text = pl.Series(name, [row[place] for row in rows], dtype=pl.String)
        values[name] = uuid_numbers(text) if columns[name].kind == "uuid" else text
    return pl.DataFrame(values)


def uuid_numbers(text: pl.Series) -> pl.Series:
    """Read uuids as UInt128."""
    return text.str.replace_all("-", "").str.to_integer(base=16, dtype=pl.UInt128)


def _column(suspect: Suspect, catalog: Catalog) -> Column:
    return catalog.tables[suspect.load.table].columns[_target_column(suspect)]


def _target_column(suspect: Suspect) -> str:
    """The table's column that a suspect source column fills."""
    for reference in suspect.load.references:
        pairs = zip(reference.foreign_key.columns, reference.foreign_key.parent_columns, strict=True)
        for own, parent in pairs:
            if any(p.source == suspect.column and p.columns == (parent,) for p in reference.parts):
                return own
    return suspect.column


def no_verdict(suspects: Sequence[Suspect]) -> list[pl.DataFrame]:
    """Say nothing against any value."""
    return [pl.DataFrame(schema=INVALID) for _ in suspects]


def verdict(suspect: Suspect, rows: Rows, catalog: Catalog) -> pl.DataFrame:
    """The rows that the column does not take, each with its rule."""
    column = _column(suspect, catalog)
    numbers = pl.Series([row[0] - 1 for row in rows], dtype=pl.UInt32)
    rules = [_rule(column, state) for _, state in rows]
    return suspect.frame[numbers].select(FILE, ROW).with_columns(pl.Series("rule", rules, dtype=pl.String))


def _rule(column: Column, state: str | None) -> str:
    """Name what is wrong with a value by the server's refusal; None where it would bend the value."""
    if state is None:
        return "too-long" if column.kind == "varchar" else "rounding"
    return {"22001": "too-long", "22003": "overflow"}.get(state, "type")
