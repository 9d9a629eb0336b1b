"""Convert columns of text to the values that SQLite stores, and back.

SQLite has few types and converts values silently (`'1.10'` becomes 1.1 in a NUMERIC column). So every value
is converted here, by SQLAlchemy's conventions for dates, and refused if reading it back would give another
value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from types import NoneType
from typing import Any
from uuid import UUID

import polars as pl
import polars_hash as plh

from seedlab.database.sqlite.kinds import MOMENTS, Affinity, affinity
from seedlab.flow import Column

TRUE = ("true", "t", "yes", "y", "on", "1")
FALSE = ("false", "f", "no", "n", "off", "0")

_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_LOOKS_LIKE_A_NUMBER = re.compile(_NUMBER).match
_PLAIN = frozenset(
    {("uuid", "TEXT"), ("uuid", "BLOB"), ("text", "TEXT"), ("varchar", "TEXT"), ("char", "TEXT")}
)
_HALF = pl.lit(2**64, dtype=pl.UInt128)
_MANY = 1000  # from this many values on polars converts them faster than Python
_WHOLE = 2**51  # above it SQLite's versions differ in which doubles they store as integers
_SAFE = 15  # digits that every double preserves
_DOUBLE = 17  # digits that identify every double, which programs therefore write
_BOUNDS = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
_MICROSECONDS = re.compile(r"\.\d{6}\d*[1-9]")
_WEEK = re.compile(r"[wW]")  # 2024-W01-1 is valid ISO 8601, but no database accepts it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """A column's values for sqlite3; `unfit` maps positions of invalid values, which are None, to rules."""

    values: Sequence[object]
    unfit: Mapping[int, str] = field(default_factory=dict)


class _UnfitError(ValueError):
    """A value is invalid for its column; the message is the rule's name."""


def encode(column: Column, series: pl.Series) -> Encoded:
    """Convert a column of text, or of UInt128 ids. Cost: one pass; dates and times are parsed in Python."""
    if column.kind == "uuid":
        return _uuids(column, series)
    if series.dtype == pl.UInt128:
        return _each(series, lambda number: str(UUID(int=number)))
    if series.dtype != pl.String:
        series = series.cast(pl.String)
    if column.kind in _BOUNDS:
        return _integers(column, series)
    whole = _COLUMNS.get(column.kind)
    if whole is not None:
        return whole(column, series)
    if column.kind in MOMENTS:
        moment, padded = _MOMENTS[column.kind], column.storage == "padded"
        return _each(series, lambda text: moment(text, padded=padded))
    single = _VALUES.get(column.kind)
    return _each(series, single) if single is not None else _texts(column, series)


def judge(column: Column, series: pl.Series) -> Mapping[int, str]:
    """Return the rules of invalid values by position; unlike `encode`, also checks limits and JSON."""
    unfit = dict(encode(column, series).unfit)
    if column.kind == "json":
        unfit |= _each(series, _checked_json).unfit
    if column.kind == "numeric" and column.precision is not None:
        unfit |= _each(series, lambda text: _within(text, column)).unfit
    return unfit


def decode(column: Column, values: Sequence[object]) -> pl.Series:
    """Convert stored values to text, or uuids to UInt128, for the answer to an Ask."""
    if column.kind == "uuid":
        return pl.Series(column.name, [_uuid_number(each) for each in values], dtype=pl.UInt128)
    spelled = _spell_bool if column.kind == "bool" else spell
    return pl.Series(column.name, [spelled(each) for each in values], dtype=pl.String)


def as_stored(column: Column, values: Sequence[Any]) -> Sequence[object] | None:
    """Return encoded values as SQLite will return them, by the column's affinity; None if uncertain."""
    bends = affinity(column.type)
    if (column.kind, bends) in _PLAIN:
        return values
    kinds = {*map(type, values)} - {NoneType}
    if column.sequence == "rowid" and None in values:
        return None
    if float in kinds:
        return _doubles_as_stored(bends, values) if kinds <= {int, float} else None
    if kinds <= {bytes} or (len(kinds) == 1 and bends == "BLOB"):
        return values
    if kinds == {str}:
        plain = bends == "TEXT" or not any(map(_LOOKS_LIKE_A_NUMBER, {*values} - {None}))
        return values if plain else None
    return values if kinds == {int} and bends in ("INTEGER", "NUMERIC") else None


def _doubles_as_stored(bends: Affinity, values: Sequence[Any]) -> Sequence[object] | None:
    if bends == "NUMERIC":
        kept = {  # one answer for equal values: `encode` gives no integer beside a double that equals it
            value: int(value)
            if type(value) is float and value.is_integer() and abs(value) < _WHOLE
            else value
            for value in {*values}
        }
        return [*map(kept.get, values)]
    if bends == "REAL":  # all are doubles, and -0.0 is 0.0
        return [None if value is None else value + 0.0 for value in values]
    return None


# ---- whole columns --------------------------------------------------------------------------------------


def _integers(column: Column, series: pl.Series) -> Encoded:
    bound = _BOUNDS[column.kind]
    numbers = series.str.strip_chars().cast(pl.Int64, strict=False)
    fits = numbers.is_between(-bound, bound - 1)
    unfit = _rest(series, fits, r"^\s*[+-]?\d+\s*$", "overflow")
    return Encoded(values=_without(numbers.to_list(), unfit), unfit=unfit)


def _floats(_: Column, series: pl.Series) -> Encoded:
    numbers = series.str.strip_chars().cast(pl.Float64, strict=False)
    infinite = numbers.is_infinite() & series.str.contains(r"\d")
    fits = ~(numbers.is_nan() | infinite)  # SQLite stores NaN as NULL
    unfit = _rest(series, fits, _NUMBER, "overflow")
    places = ((series.str.len_bytes() > _SAFE) & fits).fill_null(value=False).arg_true()
    long = series.gather(places)  # usually few
    digits = long.str.replace(r"[eE].*$", "").str.replace_all(r"\D", "").str.strip_chars_start("0")
    for place, text, size in zip(places, long, digits.str.len_bytes(), strict=True):
        if size > _SAFE and size != _DOUBLE and not _given_back(text):
            unfit[place] = "rounding"
    return Encoded(values=_without(numbers.to_list(), unfit), unfit=unfit)


def _given_back(text: str) -> bool:
    """Tell whether the shortest spelling of the double is the same number."""
    return Decimal(repr(float(text))) == Decimal(text.strip())


def _numerics(_: Column, series: pl.Series) -> Encoded:
    """Convert numbers; those of more than 15 digits, which a float may change, are checked one by one."""
    short = series.str.contains(r"^[+-]?\d{1,15}(\.\d{0,14})?$") & (series.str.count_matches(r"\d") <= _SAFE)
    if short.all(ignore_nulls=True):
        return Encoded(values=series.cast(pl.Float64).to_list())
    return _each(series, _exact_number)


def _booleans(_: Column, series: pl.Series) -> Encoded:
    lower = series.str.strip_chars().str.to_lowercase()
    true, false = lower.is_in(TRUE), lower.is_in(FALSE)
    unfit = _rest(series, true | false, "", "type")
    return Encoded(values=_without(true.cast(pl.Int64).to_list(), unfit), unfit=unfit)


def _texts(column: Column, series: pl.Series) -> Encoded:
    unfit: dict[int, str] = {}
    if column.kind in ("varchar", "char") and column.length is not None:
        unfit = _positions(series.str.len_chars() > column.length, "too-long")
    if affinity(column.type) in ("INTEGER", "REAL", "NUMERIC"):
        same = _same_number if column.kind == "json" else _same_text
        numbers = series.str.contains(_NUMBER).fill_null(value=False).arg_true().to_list()
        unfit |= {n: "rounding" for n in numbers if not same(series[n])}
    return Encoded(values=_without(series.to_list(), unfit), unfit=unfit)


def _uuids(column: Column, series: pl.Series) -> Encoded:
    if series.dtype == pl.UInt128:
        digits, unfit = _hexadecimal(series), {}
    else:
        digits = series.str.strip_chars().str.to_lowercase().str.replace_all(r"[-{}]", "")
        unfit = _rest(series, digits.str.contains(r"^[0-9a-f]{32}$"), "", "type")
    values = _without(digits.to_list(), unfit)
    if column.storage == "hex":
        return Encoded(values=values, unfit=unfit)
    spell: Callable[[str], object] = bytes.fromhex if column.storage == "blob" else _dashed
    return Encoded(values=[None if each is None else spell(str(each)) for each in values], unfit=unfit)


def _hexadecimal(series: pl.Series) -> pl.Series:
    """Convert numbers to 32 hexadecimal digits. Cost: 0.1 µs per value, without the interpreter lock."""
    if len(series) < _MANY:
        spelled = [None if each is None else f"{each:032x}" for each in series.to_list()]
        return pl.Series(series.name, spelled, dtype=pl.String)
    parts = {"high": pl.col("n") // _HALF, "low": pl.col("n") % _HALF}
    halves = series.to_frame("n").select(half.cast(pl.UInt64).alias(name) for name, half in parts.items())
    high, low = (plh.col(name).bytes.to_be() for name in parts)
    return halves.select((high + low).bin.encode("hex")).to_series()


def _dashed(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _rest(series: pl.Series, fits: pl.Series, shape: str, rule: str) -> dict[int, str]:
    """Return the positions of invalid values: with `rule` if the text has the shape, else with `type`."""
    bad = series.is_not_null() & ~fits.fill_null(value=False)
    if not bad.any():
        return {}
    shaped = series.str.contains(shape)
    return _positions(bad & ~shaped, "type") | _positions(bad & shaped, rule if shape else "type")


def _positions(bad: pl.Series, rule: str) -> dict[int, str]:
    return dict.fromkeys(bad.fill_null(value=False).arg_true().to_list(), rule)


def _without(values: list[object], unfit: Mapping[int, str]) -> list[object]:
    for position in unfit:
        values[position] = None
    return values


# ---- single values --------------------------------------------------------------------------------------


def _each(series: pl.Series, convert: Callable[..., object]) -> Encoded:
    """Convert every distinct value once, because dates, times and documents are often repeated."""
    given = series.to_list()
    converted: dict[object, object] = {}
    refused: dict[object, str] = {}
    for value in dict.fromkeys(given):
        try:
            converted[value] = None if value is None else convert(value)
        except (ValueError, OverflowError) as error:
            refused[value] = str(error) if isinstance(error, _UnfitError) else "type"
    unfit = {n: refused[value] for n, value in enumerate(given) if value in refused} if refused else {}
    return Encoded(values=[*map(converted.get, given)], unfit=unfit)


def _exact_number(text: str) -> object:
    """Return the number that NUMERIC affinity stores; raises an error if it is not exactly the text's."""
    try:
        exact = Decimal(text.strip())
    except InvalidOperation as error:
        raise _UnfitError("type") from error
    if not exact.is_finite():
        raise _UnfitError("type")
    stored = _stored(exact)
    if Decimal(repr(stored)) != exact:
        raise _UnfitError("rounding")
    return stored


def _stored(exact: Decimal) -> int | float:
    """Convert a number as SQLite does: to a 64-bit integer if it is one, else to a double."""
    if exact == exact.to_integral_value() and abs(exact) < 2**63:
        return int(exact)
    number = float(exact)
    if math.isinf(number):
        raise _UnfitError("overflow")
    return number


def _same_number(text: str) -> bool:
    try:
        _exact_number(text)
    except _UnfitError:
        return False
    return True


def _same_text(text: str) -> bool:
    return _same_number(text) and repr(_stored(Decimal(text.strip()))) == text


def _within(text: str, column: Column) -> Decimal:
    try:
        number = Decimal(text.strip())
    except InvalidOperation as error:
        raise _UnfitError("type") from error
    scale, precision = column.scale or 0, column.precision or 0
    if number and number.adjusted() >= precision - scale:
        raise _UnfitError("overflow")
    if number != round(number, scale):
        raise _UnfitError("rounding")
    return number


def _date(text: str) -> str:
    return date.fromisoformat(_calendar(text)).isoformat()


def _time(text: str, *, padded: bool) -> str:
    moment = time.fromisoformat(_calendar(text))
    if moment.tzinfo is not None:
        raise _UnfitError("type")
    return moment.isoformat(timespec=_digits(text, padded))


def _timestamp(text: str, *, padded: bool) -> str:
    """Convert a timestamp; an offset other than UTC is refused, as it would be dropped silently."""
    moment = datetime.fromisoformat(_calendar(text))
    if moment.utcoffset():
        raise _UnfitError("type")
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec=_digits(text, padded))


def _timestamptz(text: str, *, padded: bool) -> str:
    """Convert a timestamp to UTC without an offset, as SQLAlchemy and Django store it."""
    moment = datetime.fromisoformat(_calendar(text))
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone(timedelta(0)))
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec=_digits(text, padded))


def _digits(text: str, padded: bool) -> str:
    """Return the precision for isoformat: microseconds if the text or the column has fractions."""
    return "microseconds" if padded or "." in text or "," in text else "seconds"


def _calendar(text: str) -> str:
    text = text.strip()
    if _WEEK.search(text):
        raise _UnfitError("type")
    if _MICROSECONDS.search(text):
        raise _UnfitError("rounding")
    return text


def _checked_json(text: str) -> str:
    _JSON.decode(text)
    return text


def _refuse_constant(_: str) -> object:
    raise _UnfitError("type")


_JSON = json.JSONDecoder(parse_constant=_refuse_constant)  # creating it takes as long as a short text


def _bytes(text: str) -> bytes:
    if text.startswith("\\x"):
        return bytes.fromhex(text[2:])
    if "\\" in text:
        raise _UnfitError("type")
    return text.encode()


_COLUMNS: Mapping[str, Callable[[Column, pl.Series], Encoded]] = {
    "numeric": _numerics,
    "float4": _floats,
    "float8": _floats,
    "bool": _booleans,
}
_VALUES: Mapping[str, Callable[[str], object]] = {
    "date": _date,
    "bytea": _bytes,
}
_MOMENTS: Mapping[str, Callable[..., str]] = {
    "time": _time,
    "timestamp": _timestamp,
    "timestamptz": _timestamptz,
}


# ---- back -----------------------------------------------------------------------------------------------


def spell(value: object) -> str | None:
    """Spell a stored value as text."""
    if value is None:
        return None
    return f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)


def _spell_bool(value: object) -> str | None:
    return None if value is None else str(bool(value)).lower()


def _uuid_number(value: object) -> int | None:
    if value is None:
        return None
    return int.from_bytes(value, "big") if isinstance(value, bytes) else UUID(str(value)).int
