r"""Encode batches in COPY's binary format, for tables of simple types.

The server reads it in half of the time of text, and encoding is faster, too. Values are text in the
database's input form (uuids mostly UInt128). Only unambiguous spellings are converted; any other raises
NotBinary, and then the table is sent as text for the server to parse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, reduce
from operator import add

import polars as pl
from polars.exceptions import PolarsError

from seedlab.flow import Column, Table

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_NULL = 0xFFFFFFFF
_HALF = pl.lit(2**64, dtype=pl.UInt128)
_EPOCH = 10_957  # days from polars' epoch (1970) to PostgreSQL's (2000)
_DAY = 86_400_000_000
_DIGITS, _PLACES = 18, 16  # the largest precision and scale of a numeric that fits into 64 bits
_BASE = 10_000  # the base of numeric's binary digits
_NEGATIVE = 0x4000

_INTEGER = r"^[+-]?[0-9]{1,19}$"
_FLOAT = r"^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
_OFFSET = r"([+-])(0[0-9]|1[0-5])(?::?([0-5][0-9]))?"
_UUID = r"^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$"

Bytes = list[pl.Expr]  # one UInt8 expression per byte, most significant first
_TEXTS = frozenset({"text", "varchar", "json", "jsonb", "enum"})


class NotBinary(Exception):
    """A value cannot be encoded with certainty; the table must be sent as text."""


def has_binary_form(table: Table, columns: Sequence[str]) -> bool:
    """Tell whether all these columns have types that can be encoded here."""
    return all(_can_encode(table.columns[name]) for name in columns)


def _can_encode(column: Column) -> bool:
    if column.domain:
        return False
    if column.kind == "numeric":
        precision, scale = column.precision, column.scale or 0
        return precision is not None and 0 <= scale <= min(precision, _PLACES) and precision <= _DIGITS
    return column.kind in _TEXTS or column.kind in _FIXED


def copy_binary(frame: pl.DataFrame, columns: Sequence[str], table: Table) -> bytes:
    """Encode rows, without HEADER and TRAILER. Raises NotBinary.

    A row consists of runs of fixed length, assembled from single bytes, and texts in between. NULL is only a
    length of -1.
    """
    if not frame.height:
        return b""
    if len(columns) >= 1 << 15:
        raise NotBinary
    try:
        return _rows(frame, columns, table)
    except PolarsError as error:
        raise NotBinary from error


def _rows(frame: pl.DataFrame, columns: Sequence[str], table: Table) -> bytes:
    values = frame.select(_value(frame, table.columns[name], n) for n, name in enumerate(columns))
    values = values.with_columns(
        part for name in values.columns if values.schema[name] == pl.UInt128 for part in _halves(name)
    )
    nulls = tuple(each.null_count() > 0 for each in values.get_columns()[: len(columns)])
    row = _row(tuple(table.columns[name] for name in columns), nulls)
    return b"".join(values.select(row.alias("row")).to_series().to_list())


@lru_cache(maxsize=256)
def _row(columns: tuple[Column, ...], nulls: tuple[bool, ...]) -> pl.Expr:
    """Build the expression of a row. Cached: building it takes a quarter of the time of 20,000 rows."""
    pieces: list[pl.Expr] = []
    run = _constant(len(columns), 2)
    for n, (column, missing) in enumerate(zip(columns, nulls, strict=True)):
        length, data, text = _field(column, str(n), nulls=missing)
        run += length
        if text is None and not missing:
            run += data
            continue
        value = text if text is not None else _joined(data)
        if missing:
            value = pl.when(pl.col(str(n)).is_null()).then(pl.lit(b"")).otherwise(value)
        pieces += [_joined(run), value]
        run = []
    return reduce(add, [*pieces, _joined(run)] if run else pieces)


def _joined(run: Bytes) -> pl.Expr:
    """Join single bytes."""
    return pl.concat_arr(run).cast(pl.List(pl.UInt8)).cast(pl.Binary)


def _constant(value: int, size: int) -> Bytes:
    return [pl.lit(byte, dtype=pl.UInt8) for byte in value.to_bytes(size, "big")]


def _split(value: pl.Expr, size: int) -> Bytes:
    """Split an unsigned number into its bytes."""
    return [
        (value // (1 << 8 * k) if k else value).cast(pl.UInt8, wrap_numerical=True)
        for k in range(size - 1, -1, -1)
    ]


def _halves(name: str) -> tuple[pl.Expr, pl.Expr]:
    value = pl.col(name)
    return (
        (value // _HALF).cast(pl.UInt64).alias(f"{name}h"),
        (value % _HALF).cast(pl.UInt64).alias(f"{name}l"),
    )


def _field(column: Column, name: str, *, nulls: bool) -> tuple[Bytes, Bytes, pl.Expr | None]:
    """Return the bytes of a field's length, and its value: as bytes if it has a fixed size, else whole."""
    if column.kind in _TEXTS:
        text = pl.col(name).cast(pl.Binary)
        lead = 1 if column.kind == "jsonb" else 0
        size = pl.col(name).str.len_bytes().cast(pl.UInt32) + lead
        length = _split(size.fill_null(_NULL) if nulls else size, 4)
        return length, [], pl.lit(b"\x01") + text if lead else text
    data = _parts(column, name)
    if not nulls:
        return _constant(len(data), 4), data, None
    size = pl.when(pl.col(name).is_null()).then(pl.lit(_NULL, dtype=pl.UInt32)).otherwise(len(data))
    return _split(size.cast(pl.UInt32), 4), [byte.fill_null(0) for byte in data], None


# ---- values ---------------------------------------------------------------------------------------------


def _value(frame: pl.DataFrame, column: Column, number: int) -> pl.Expr:
    """Convert a column to the numbers (or text) whose bytes are sent, named by index. Raises NotBinary."""
    value, dtype = pl.col(column.name), frame.schema[column.name]
    if dtype == pl.UInt128:
        if column.kind != "uuid":
            raise NotBinary
        return value.alias(str(number))
    if dtype != pl.String:
        raise NotBinary
    if column.kind in _TEXTS:
        return value.alias(str(number))
    pattern, make = _numeric_form(column) if column.kind == "numeric" else _FIXED[column.kind]
    if not frame.select(value.str.contains(pattern).all()).item():
        raise NotBinary
    return make(value).alias(str(number))


def _parts(column: Column, name: str) -> Bytes:
    """Return the bytes of a column that `_value` made."""
    if column.kind == "uuid":
        return _split(pl.col(f"{name}h"), 8) + _split(pl.col(f"{name}l"), 8)
    if column.kind == "numeric":
        return _numeric_bytes(column, pl.col(name))
    return _split(pl.col(name), _SIZES[column.kind])


def _integer(bits: int) -> Callable[[pl.Expr], pl.Expr]:
    signed, unsigned = {16: (pl.Int16, pl.UInt16), 32: (pl.Int32, pl.UInt32), 64: (pl.Int64, pl.UInt64)}[bits]
    return lambda value: value.cast(signed).reinterpret(dtype=unsigned)


def _date(value: pl.Expr) -> pl.Expr:
    days = value.str.to_date("%Y-%m-%d").cast(pl.Int32) - _EPOCH
    return days.cast(pl.Int32).reinterpret(dtype=pl.UInt32)


def _zoned(value: pl.Expr) -> pl.Expr:
    """Convert timestamps with an offset; those without are in UTC, the transaction's time zone."""
    parts = value.str.extract_groups(_OFFSET + "$").struct
    hours, minutes = (parts.field(name).cast(pl.Int64).fill_null(0) for name in ("2", "3"))
    offset = (hours * 60 + minutes) * 60_000_000
    east = pl.when(parts.field("1") == "-").then(-offset).otherwise(offset)
    return (_moment(value).reinterpret(dtype=pl.Int64) - east).reinterpret(dtype=pl.UInt64)


def _moment(value: pl.Expr) -> pl.Expr:
    whole = value.str.slice(0, 19).str.replace("T", " ", literal=True)
    seconds = whole.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us").cast(pl.Int64)
    fraction = value.str.extract(r"\.([0-9]+)").str.pad_end(6, "0").cast(pl.Int64).fill_null(0)
    return (seconds + fraction - _EPOCH * _DAY).reinterpret(dtype=pl.UInt64)


_FIXED: Mapping[str, tuple[str, Callable[[pl.Expr], pl.Expr]]] = {
    "uuid": (
        _UUID,
        lambda value: value.str.replace_all("-", "", literal=True).str.to_integer(base=16, dtype=pl.UInt128),
    ),
    "int2": (_INTEGER, _integer(16)),
    "int4": (_INTEGER, _integer(32)),
    "int8": (_INTEGER, _integer(64)),
    "float8": (_FLOAT, lambda value: value.cast(pl.Float64).reinterpret(dtype=pl.UInt64)),
    "bool": ("^(true|t|false|f)$", lambda value: value.is_in(["true", "t"]).cast(pl.UInt8)),
    "date": (_DATE, _date),
    "timestamp": (_MOMENT + "$", _moment),
    "timestamptz": (f"{_MOMENT}(Z|{_OFFSET})?$", _zoned),
}
_SIZES = {
    "int2": 2,
    "int4": 4,
    "int8": 8,
    "float8": 8,
    "bool": 1,
    "date": 4,
    "timestamp": 8,
    "timestamptz": 8,
}


def _numeric_form(column: Column) -> tuple[str, Callable[[pl.Expr], pl.Expr]]:
    """Return the pattern of numbers that fit without rounding, and their conversion to scaled integers."""
    precision, scale = column.precision or 0, column.scale or 0
    fraction = rf"(\.[0-9]{{1,{scale}}})?" if scale else ""
    pattern = rf"^[+-]?[0-9]{{1,{precision - scale or 1}}}{fraction}$"

    def make(value: pl.Expr) -> pl.Expr:
        return value.cast(pl.Decimal(38, scale)).reinterpret(dtype=pl.Int128).cast(pl.Int64)

    return pattern, make


def _numeric_bytes(column: Column, value: pl.Expr) -> Bytes:
    """Encode a numeric: number of base-10,000 digits, weight of the first, sign, scale, digits.

    The server strips leading and trailing zeros.
    """
    precision, scale = column.precision or 0, column.scale or 0
    above, below = -(-(precision - scale) // 4), -(-scale // 4)
    whole, rest = value.abs() // 10**scale, (value.abs() % 10**scale) * 10 ** (4 * below - scale)
    digits = [(whole // _BASE**k) % _BASE for k in range(above - 1, -1, -1)]
    digits += [(rest // _BASE**k) % _BASE for k in range(below - 1, -1, -1)]
    sign = pl.when(value < 0).then(pl.lit(_NEGATIVE, dtype=pl.UInt16)).otherwise(0).cast(pl.UInt16)
    start = _constant(above + below, 2) + _constant((above - 1) % (1 << 16), 2)
    return (
        start
        + _split(sign, 2)
        + _constant(scale, 2)
        + [byte for digit in digits for byte in _split(digit.cast(pl.UInt16), 2)]
    )
