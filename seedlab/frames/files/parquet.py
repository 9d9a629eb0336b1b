"""Convert Parquet columns to text without loss, and refuse types and values for which that is impossible."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import polars as pl
from polars.datatypes import DataTypeClass

from seedlab.flow import RESERVED, ROW, SourceFile
from seedlab.frames.batcher import select_all
from seedlab.frames.files.faults import FaultList

_CALENDAR = "%Y-%m-%dT%H:%M:%S%.f"


def is_list(dtype: pl.DataType) -> bool:
    """Tell whether a column holds lists."""
    return isinstance(dtype, pl.List | pl.Array)


def is_nested(dtype: pl.DataType) -> bool:
    """Tell whether a column holds lists or structs."""
    return is_list(dtype) or isinstance(dtype, pl.Struct)


def check_schema(file: SourceFile, schema: pl.Schema) -> None:
    """Raise DataFaults for columns with an unsupported type or a reserved name."""
    faults = FaultList(file)
    for name, dtype in schema.items():
        if found := _unreadable(dtype):
            message = f"column '{name}' is a {found}, which has no common text form; store it as text"
            faults.add("type", message)
        if name in RESERVED:
            faults.add("syntax", f"column '{name}' has a name that seedlab reserves; rename it")
    faults.check()


def refuse_nul(read: Iterable[tuple[SourceFile, pl.DataFrame, Collection[str]]]) -> None:
    """Raise DataFaults for NUL characters in these text columns of frames.

    Only Parquet needs this check; other formats are checked before they are parsed. The columns are searched
    as bytes, which takes half of the time of a text search.
    """
    searches = [
        (file, frame, pl.col(list(texts)).cast(pl.Binary).bin.contains(b"\0"))
        for file, frame, texts in read
        if texts
    ]
    verdicts = select_all([frame for _, frame, _ in searches], [[holds.any()] for _, _, holds in searches])
    for (file, frame, holds), verdict in zip(searches, verdicts, strict=True):
        if any(verdict.row(0)):
            faults = FaultList(file)
            for row in frame.filter(pl.any_horizontal(holds)).get_column(ROW).to_list():
                faults.add("nul", "found a NUL character", line=row + 1)
            faults.check()


def as_text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    r"""Write a scalar column as text; leave lists and structs as they are.

    Floats get their shortest form, decimals stay exact, bytes become `\x` and hex digits, dates and times
    ISO 8601. Times with a zone are converted to UTC, because historical offsets have seconds, which ISO 8601
    cannot express.
    """
    if isinstance(dtype, pl.String) or is_nested(dtype):
        return value
    if isinstance(dtype, pl.Binary):
        return pl.lit("\\x") + value.bin.encode("hex")
    if isinstance(dtype, pl.Time):
        return value.dt.strftime("%H:%M:%S%.f")
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            return value.dt.strftime(_CALENDAR)
        return value.dt.convert_time_zone("UTC").dt.strftime(_CALENDAR + "+00:00")
    return value.cast(pl.String)


def json_text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Write a list or struct column as JSON (decimals, dates and times as JSON text); null stays null."""
    if isinstance(dtype, pl.Struct):
        written = value.struct.json_encode()
    else:
        # Only structs can be encoded: wrap the list as {"v":…} and cut the wrapping off again.
        listed = value.arr.to_list() if isinstance(dtype, pl.Array) else value
        written = pl.struct(listed.alias("v")).struct.json_encode().str.slice(5).str.head(-1)
    return pl.when(value.is_not_null()).then(written)


def texts_within(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Convert the items of lists to text without loss, as JSON has no NaN, bytes or dates."""
    if isinstance(dtype, pl.Array):
        return texts_within(value.arr.to_list(), pl.List(dtype.inner))
    if not isinstance(dtype, pl.List) or isinstance(dtype.inner, pl.Struct):
        return value
    inner = dtype.inner
    write = texts_within if isinstance(inner, pl.List | pl.Array) else as_text
    return value.list.eval(write(pl.element(), inner))  # type: ignore[arg-type]


def _unreadable(dtype: pl.DataType | DataTypeClass) -> str | None:
    """Name the type within `dtype` that has no text form that every database reads, if there is one."""
    if isinstance(dtype, pl.List | pl.Array):
        return _unreadable(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return next((found for each in dtype.fields if (found := _unreadable(each.dtype))), None)
    return str(dtype) if isinstance(dtype, pl.Duration | pl.Object | pl.Unknown) else None
