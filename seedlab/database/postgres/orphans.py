"""Find the rows that violate a foreign key or an exclusion constraint, which only the server has checked.

The server checks foreign keys after COPY, and merges check sets of rows, so the error has no line. It names
the constraint, and its DETAIL contains, in any language, `(columns)=(values)` of one key, or of the two rows
that exclude each other. All rows to be written with these values are reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl
import psycopg

from seedlab.database.postgres.encode import spell_uuids
from seedlab.errors import DataFaults, Fault
from seedlab.flow import FILE, ROW, Column, TableWrite

_BROKEN = "23503"
_EXCLUDED = "23P01"
_COLUMNS = re.compile(r"\(([^()]*)\)=\(")
_NAME = re.compile(r'"((?:[^"]|"")+)"|([^",\s]+)')
_DETAIL = "detail"
_INTEGERS = frozenset({"int2", "int4", "int8"})
_DASHES = (0, 8), (8, 4), (12, 4), (16, 4), (20, 12)


def located(found: DataFaults, writes: Sequence[TableWrite]) -> DataFaults:
    """Add the places of the rows to the fault of a violated constraint, if they can be found.

    They cannot if the value comes from a default or trigger, or if the server spells it differently than the
    files. Cost: the rows of the table are prepared once more.
    """
    error = found.__cause__
    if not isinstance(error, psycopg.Error) or len(found.faults) != 1:
        return found
    detail = error.diag.message_detail or ""
    faults = [
        each
        for write in writes
        if (write.table.relation, write.table.schema) == (error.diag.table_name, error.diag.schema_name)
        for columns, names in _violated(write, error)
        for each in _rows(write, columns, names, detail, found.faults[0])
    ]
    return DataFaults(faults or found.faults, found.so)


def _violated(write: TableWrite, error: psycopg.Error) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the violated constraint's columns, also as the detail spells them, if they are no expressions.

    The names of an exclusion constraint's columns are quoted where SQL needs it, a foreign key's never.
    """
    if error.sqlstate == _BROKEN:
        keys = (k.columns for k in write.table.foreign_keys if k.name == error.diag.constraint_name)
        yield from ((columns, ", ".join(columns)) for columns in keys)
    named = _COLUMNS.search(error.diag.message_detail or "") if error.sqlstate == _EXCLUDED else None
    if named is not None:
        columns = tuple(quoted.replace('""', '"') or plain for quoted, plain in _NAME.findall(named[1]))
        if {*columns} <= {*write.table.columns}:
            yield columns, named[1]


def _rows(
    write: TableWrite, columns: tuple[str, ...], names: str, detail: str, fault: Fault
) -> Iterator[Fault]:
    for batch in write.batches():
        if not {*columns} <= {*batch.frame.columns}:
            continue
        rows = batch.frame.filter(_is_named(batch.frame, columns, names, write, detail))
        for file, row in zip(rows[FILE].to_list(), rows[ROW].to_list(), strict=True):
            column = ", ".join(columns)
            yield replace(
                fault, table=write.table.name, file=batch.load.files[file].name, row=row, column=column
            )


def _is_named(
    frame: pl.DataFrame, columns: tuple[str, ...], names: str, write: TableWrite, detail: str
) -> pl.Series:
    """Mark the rows whose values the detail contains behind these names; never those with NULL."""
    spelled = [
        _spelled(each, write.table.columns[each.name], frame.schema[each.name])
        for each in spell_uuids(frame.select(list(dict.fromkeys(columns)))).get_columns()
    ]
    text = pl.concat_str(pl.lit(f"({names})=("), pl.concat_str(spelled, separator=", "), pl.lit(")"))
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
