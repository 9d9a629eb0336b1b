"""Finds the rows that another project created after us, although the ledger remembers them as ours.

Somebody may delete a row that we created, and another project may create it again: the same key, or a key
made of integer ids that a database gives out once more, as SQLite does, and PostgreSQL after `RESTART`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl

from seedlab.flow import HANDLE, Table
from seedlab.frames import row_names
from seedlab.frames.key_packs import KEY, RUN

# Remembered rows, and the id column that holds their handles, if any.
Content = tuple[pl.DataFrame, str | None]


def created_later(
    ours: Content, others: Sequence[Content], table: Table, finished: Mapping[str, datetime]
) -> pl.DataFrame:
    """Return those of our rows that another project created later; `finished` says when each run was.

    Where that is not certain (both at the same time, or a run that is not known), they are among them.
    """
    rows, made = ours
    columns = row_names.naming_columns(rows, made)
    known = [
        _named(frame.filter(pl.col(RUN).is_not_null()), other_made, columns, table, finished)
        for frame, other_made in others
        if set(row_names.naming_columns(frame, other_made)) == set(columns)
    ]
    if not columns or not known:
        return rows.clear()
    when = pl.col("_when")
    latest = pl.when(when.null_count() == 0).then(when.max())
    theirs = pl.concat(known).group_by(columns).agg(latest.alias("_theirs"))
    both = _named(rows, made, columns, table, finished).join(theirs, on=columns, how="inner")
    later = both.filter((pl.col("_theirs") >= pl.col("_when")).fill_null(value=True))
    return rows.filter(pl.col(HANDLE).is_in(later[HANDLE].implode()))


def _named(
    rows: pl.DataFrame,
    made: str | None,
    columns: Sequence[str],
    table: Table,
    finished: Mapping[str, datetime],
) -> pl.DataFrame:
    """Return HANDLE, the columns that identify each row, and when its run finished, NULL if not known."""
    if made is not None:
        name = f"{KEY}{made}"
        rows = rows.with_columns(row_names.names(rows, made)[made].alias(name))
    return rows.select(
        HANDLE,
        *(row_names.comparable(rows, table.columns[name], KEY).alias(name) for name in columns),
        pl.col(RUN)
        .replace_strict(finished, default=None, return_dtype=pl.Datetime("us", "UTC"))
        .alias("_when"),
    ).drop_nulls(columns)
