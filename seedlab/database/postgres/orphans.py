"""Find the rows that violate a foreign key which only the server has checked.

The server checks foreign keys after COPY, so the error has no line. It names the constraint, and its DETAIL
contains, in any language, `(columns)=(values)` of one key. All rows to be written with these values are
reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl
import psycopg

from seedlab.database.postgres.encode import spell_uuids
from seedlab.errors import DataFaults, Fault
from seedlab.flow import FILE, ROW, Column, ForeignKey, TableWrite

_BROKEN = "23503"
_DETAIL = "detail"
_INTEGERS = frozenset({"int2", "int4", "int8"})
_DASHES = (0, 8), (8, 4), (12, 4), (16, 4), (20, 12)


def located(found: DataFaults, writes: Sequence[TableWrite]) -> DataFaults:
    """Add the places of the rows to the fault of a violated foreign key, if they can be found.

    They cannot if the value comes from a default or trigger, or if the server spells it differently than the
    files. Cost: the rows of the table are prepared once more.
    """
    error = found.__cause__
    if not isinstance(error, psycopg.Error) or error.sqlstate != _BROKEN or len(found.faults) != 1:
        return found
    diag, detail = error.diag, error.diag.message_detail or ""
    violated = [
        (write, key)
        for write in writes
        for key in write.table.foreign_keys
        if (key.name, write.table.relation, write.table.schema)
        == (diag.constraint_name, diag.table_name, diag.schema_name)
    ]
    faults = [each for write, key in violated for each in _rows(write, key, detail, found.faults[0])]
    return DataFaults(faults or found.faults, found.so)


def _rows(write: TableWrite, key: ForeignKey, detail: str, fault: Fault) -> Iterator[Fault]:
    for batch in write.batches():
        if not {*key.columns} <= {*batch.frame.columns}:
            continue
        rows = batch.frame.filter(_is_named(batch.frame, key, write, detail))
        for file, row in zip(rows[FILE].to_list(), rows[ROW].to_list(), strict=True):
            column = ", ".join(key.columns)
            yield replace(
                fault, table=write.table.name, file=batch.load.files[file].name, row=row, column=column
            )


def _is_named(frame: pl.DataFrame, key: ForeignKey, write: TableWrite, detail: str) -> pl.Series:
    """Mark the rows whose values the detail contains; never those with NULL."""
    spelled = [
        _spelled(each, write.table.columns[each.name], frame.schema[each.name])
        for each in spell_uuids(frame.select(list(dict.fromkeys(key.columns)))).get_columns()
    ]
    names = pl.lit(f"({', '.join(key.columns)})=(")
    text = pl.concat_str(names, pl.concat_str(spelled, separator=", "), pl.lit(")"))
    found = pl.select(text.alias(_DETAIL)).select(pl.lit(detail).str.contains(pl.col(_DETAIL), literal=True))
    return found.to_series().fill_null(value=False)


def _spelled(values: pl.Series, column: Column, dtype: pl.DataType) -> pl.Series:
    """Spell values as the server does."""
    if dtype == pl.UInt128:
        parts = [values.str.slice(start, length) for start, length in _DASHES]
        return pl.select(pl.concat_str(parts, separator="-")).to_series()
    if column.kind in _INTEGERS:
        return values.str.strip_chars().cast(pl.Int64, strict=False).cast(pl.String)
    return values
