"""Which rows a foreign key was broken by that only the server saw: it names the key, the rows are ours.

No COPY tells the line, since the server checks a foreign key when the rows are in. It says which constraint,
and in DETAIL, in whatever language, `(columns)=(values)` of one key; all rows that were to be written with it
are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl
import psycopg

from seedlab.database.encode import spell_uuids
from seedlab.errors import DataFaults, Fault
from seedlab.flow import FILE, ROW, Column, ForeignKey, TableWrite

_BROKEN = "23503"
_TOLD = "told"
_WHOLE = frozenset({"int2", "int4", "int8"})
_DASHES = (0, 8), (8, 4), (12, 4), (16, 4), (20, 12)


def located(found: DataFaults, writes: Sequence[TableWrite]) -> DataFaults:
    """Say where the rows of a broken foreign key stand; the same faults where that cannot be told.

    Not where the server gave the value, by a default or a trigger, or spells it otherwise than the files.
    Cost: the rows of the table are made once more.
    """
    error = found.__cause__
    if not isinstance(error, psycopg.Error) or error.sqlstate != _BROKEN or len(found.faults) != 1:
        return found
    diag, detail = error.diag, error.diag.message_detail or ""
    mine = [
        (write, key)
        for write in writes
        for key in write.table.foreign_keys
        if (key.name, write.table.relation, write.table.schema)
        == (diag.constraint_name, diag.table_name, diag.schema_name)
    ]
    faults = [each for write, key in mine for each in _rows(write, key, detail, found.faults[0])]
    return DataFaults(faults or found.faults, found.so)


def _rows(write: TableWrite, key: ForeignKey, detail: str, fault: Fault) -> Iterator[Fault]:
    for batch in write.batches():
        if not {*key.columns} <= {*batch.frame.columns}:
            continue
        told = batch.frame.filter(_is_told(batch.frame, key, write, detail))
        for file, row in zip(told[FILE].to_list(), told[ROW].to_list(), strict=True):
            column = ", ".join(key.columns)
            yield replace(
                fault, table=write.table.name, file=batch.load.files[file].name, row=row, column=column
            )


def _is_told(frame: pl.DataFrame, key: ForeignKey, write: TableWrite, detail: str) -> pl.Series:
    """Tell of each row whether the detail names its values; a NULL is never told."""
    spelled = [
        _spelled(each, write.table.columns[each.name], frame.schema[each.name])
        for each in spell_uuids(frame.select(list(dict.fromkeys(key.columns)))).get_columns()
    ]
    names = pl.lit(f"({', '.join(key.columns)})=(")
    told = pl.concat_str(names, pl.concat_str(spelled, separator=", "), pl.lit(")"))
    found = pl.select(told.alias(_TOLD)).select(pl.lit(detail).str.contains(pl.col(_TOLD), literal=True))
    return found.to_series().fill_null(value=False)


def _spelled(values: pl.Series, column: Column, dtype: pl.DataType) -> pl.Series:
    """Spell values as the server does."""
    if dtype == pl.UInt128:
        parts = [values.str.slice(start, length) for start, length in _DASHES]
        return pl.select(pl.concat_str(parts, separator="-")).to_series()
    if column.kind in _WHOLE:
        return values.str.strip_chars().cast(pl.Int64, strict=False).cast(pl.String)
    return values
