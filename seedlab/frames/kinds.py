"""Validate and canonicalize the text of values by the kind of their column.

A value is *proven* (the client knows that the column accepts it unchanged), *refused* (every database would
change it silently) or *suspect* (only the database can tell). All functions build expressions over text.
"""

from __future__ import annotations

import re
from dataclasses import replace
from string import ascii_lowercase, ascii_uppercase

import polars as pl

from seedlab.flow import Column

TRUE = ("true", "t", "yes", "y", "on", "1")
FALSE = ("false", "f", "no", "n", "off", "0")

_BOUNDS = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
# Case-insensitive in ASCII only: by Unicode's rules the long s (U+017F) would equal an s.
_BOOL = rf"^(?i-u:{'|'.join((*TRUE, *FALSE))})$"
# [0-9] instead of \d, which matches every Unicode digit in polars.
_DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_ZONE = r"(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)"
_PLAIN_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)$"
_HEX = r"^\\x([0-9a-fA-F]{2})*$"
# The simplest JSON: a scalar, or one list or object of scalars. Deeper JSON is validated by the server.
_TEXT = r'"[^"\\\x00-\x1f]*"'
_SCALAR = rf"(-?(0|[1-9][0-9]{{0,14}})(\.[0-9]{{1,15}})?|true|false|null|{_TEXT})"
_MEMBER = rf"{_TEXT} ?: ?{_SCALAR}"
_LIST = rf"\[({_SCALAR}(, ?{_SCALAR})*)?\]"
_JSON = rf"^({_SCALAR}|{_LIST}|\{{({_MEMBER}(, ?{_MEMBER})*)?\}})$"
# At most one member: jsonb drops members with repeated names, which a regular expression cannot detect.
_JSONB = rf"^({_SCALAR}|{_LIST}|\{{({_MEMBER})?\}})$"


def _few_digits(most: int) -> str:
    """Make a pattern for numbers of at most `most` significant digits, and few leading zeros."""
    below = ""
    for left in range(1, most):  # how many digits may follow one that is before the decimal point
        below = rf"(\.[0-9]{{1,{left}}}|[0-9]{below})?"
    small = rf"0{{1,15}}(\.0{{0,{15 - most}}}[0-9]{{1,{most}}})?"
    return rf"[+-]?({small}|0{{0,14}}[1-9]{below})"


# Days that every year has; years of five digits; years BC, down to the first that PostgreSQL supports.
_DAY = (
    r"((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
)
_LATE = r"[1-9][0-9]{4}"
_EARLY = r"(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-3][0-9]{3}|4[0-6][0-9]{2}|470[0-9]|471[0-3])"


def _beyond_calendar(clock: str) -> str:
    """Match the two infinities, and days outside the ISO calendar with its four-digit years."""
    return rf"^(-?infinity|{_LATE}-{_DAY}{clock}|{_EARLY}-{_DAY}{clock} BC)$"


# Numbers with so few digits that they survive conversion to a float and back; longer ones are converted.
_FEW_DIGITS = {"float4": rf"^{_few_digits(6)}$", "float8": rf"^{_few_digits(15)}([eE][+-]?[0-9]{{1,2}})?$"}
_PATTERNS = {
    "uuid": r"^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$",
    "json": _JSON,
    "jsonb": _JSONB,
    "bytea": _HEX,
}
_CALENDAR = frozenset({"date", "timestamp", "timestamptz"})
# Values outside of calendar, clock and digits, in PostgreSQL's own spelling: they can identify rows, too.
_BEYOND = {
    "numeric": r"^(NaN|-?Infinity)$",
    "time": r"^24:00:00$",
    "date": _beyond_calendar(""),
    "timestamp": _beyond_calendar(rf" {_CLOCK}:[0-5][0-9](\.[0-9]{{0,5}}[1-9])?"),
    "timestamptz": _beyond_calendar(rf" {_CLOCK}:[0-5][0-9](\.[0-9]{{0,5}}[1-9])?\+00"),
}
# Collations of SQLite that take unlike texts for equal.
_FOLDED = frozenset({"NOCASE", "RTRIM"})
_CASES = (list(ascii_uppercase), list(ascii_lowercase))
_OF_LOCALE = r"[^\x00-\x7f]|I"
_BUILT_IN = re.compile(
    r"(inet|cidr|macaddr8?|bit|bit varying|money|pg_lsn|(int4|int8|num|ts|tstz|date)(multi)?range|interval"
    r"|smallint|integer|bigint|numeric|real|double precision|float|boolean|text|varchar|character varying"
    r"|char|jsonb|uuid|date|time|timetz|timestamp|timestamptz)(\([0-9, ]+\))?( with(out)? time zone)?(\[\])*",
    re.IGNORECASE,
)
# Kinds whose canonical text is known here; for all others only the database can tell which texts are equal.
_TEXTS = frozenset({"text", "varchar", "char", "citext", "enum", "json"})
_PLAIN = frozenset({*_BOUNDS, *_CALENDAR, "numeric", "bool", "uuid", "time", "bytea", "float4", "float8"})


def proven(column: Column, value: pl.Expr) -> pl.Expr | None:
    """Build an expression that is true where `value` is proven to fit `column`; None if every text fits."""
    kind = column.kind
    if column.domain:
        return pl.lit(value=False)
    if kind in ("text", "citext"):
        return None
    if kind in ("varchar", "char"):
        return None if column.length is None else value.str.len_chars() <= column.length
    if kind in _BOUNDS:
        number = value.cast(pl.Int64, strict=False)
        return number.is_between(-_BOUNDS[kind], _BOUNDS[kind] - 1).fill_null(value=False)
    if kind == "bool":
        return value.str.contains(_BOOL)
    if kind == "numeric":
        return value.str.contains(_numeric_pattern(column))
    if kind == "time":
        return value.str.contains(rf"^{_hours(column)}$")
    if kind in _CALENDAR:
        return _is_calendar(column, value)
    if kind in _FEW_DIGITS:
        return _is_float(kind, value)
    pattern = _PATTERNS.get(kind)
    return value.str.contains(pattern) if pattern else pl.lit(value=False)


def refused(column: Column, value: pl.Expr) -> pl.Expr | None:
    """Build an expression that is true where the database would change `value`; None if it never does.

    A timestamptz without a zone would be read in the session's time zone; the zone of a timestamp would be
    dropped.
    """
    if column.kind == "timestamptz":
        return value.str.contains(rf"^{_DATE}([ T]{_hours(column)})?$")
    if column.kind == "timestamp":
        return value.str.contains(rf"^{_DATE}[ T].*{_ZONE}$")
    return None


def plain(column: Column, value: pl.Expr) -> pl.Expr | None:
    """Build an expression that is true where `value` may identify a row; None if every text may.

    Keys are compared as text, so a spelling that is valid but unusual (` 5`, `1e3`) is not accepted, nor is
    a value that does not fit the column and would be cut or rounded by a cast.
    """
    if column.kind in _PLAIN or column.kind in ("varchar", "char"):
        fits, beyond = proven(replace(column, domain=False), value), _beyond(column, value)
        return fits if fits is None or beyond is None else fits | beyond
    return None


def asks_for_names(column: Column) -> bool:
    """Tell whether only the database knows which texts are spellings of the same value."""
    own_collation = bool(column.collation) and column.collation not in _FOLDED
    return own_collation or column.kind == "citext" or column.kind not in _PLAIN | _TEXTS


def is_built_in(column: Column) -> bool:
    """Tell whether a type is one that every PostgreSQL has: others may be made together with their tables."""
    return _BUILT_IN.fullmatch(column.type) is not None


def name_known(column: Column, value: pl.Expr) -> pl.Expr | None:
    """Build an expression that is true where `canonical` names a value as the database does; None: nowhere.

    Every locale has the same lower case for ASCII, but for the Turkish I.
    """
    return ~value.str.contains(_OF_LOCALE) if column.kind == "citext" else None


def canonical(column: Column, value: pl.Expr) -> pl.Expr:
    """Spell equal values equally, so that keys can be compared as text; NULL where the value does not fit.

    Integers lose a plus sign and leading zeros, numerics redundant zeros, padded text its padding; uuids
    become 32 lower-case digits, booleans `true` or `false`, times with a zone UTC; case and blanks that a
    collation of SQLite does not tell apart are dropped. Other values stay as they are.
    """
    kind = column.kind
    if column.collation in _FOLDED and kind in ("text", "varchar", "char"):
        return _folded(column.collation, value)
    if kind in _BOUNDS:
        return value.cast(pl.Int64, strict=False).cast(pl.String)
    if kind in ("float4", "float8"):
        number = value.cast(pl.Float32 if kind == "float4" else pl.Float64, strict=False)
        return pl.when(number == 0).then(pl.lit("0")).otherwise(number.cast(pl.String))  # -0 is 0
    if kind == "numeric":
        return _plain_number(value)
    if kind == "uuid":
        return value.str.to_lowercase().str.replace_all(r"[-{}]", "")
    if kind == "bool":
        lower = value.str.to_lowercase()
        return pl.when(lower.is_in(TRUE)).then(pl.lit("true")).when(lower.is_in(FALSE)).then(pl.lit("false"))
    if kind in ("time", *_CALENDAR):
        return _moment(column, value)
    if kind == "bytea":
        return pl.when(value.str.contains(_HEX)).then(value.str.to_lowercase())
    if kind == "citext":
        return value.str.to_lowercase()
    if kind == "char":
        return value.str.strip_chars_end(" ")
    return value


def unfolded(column: Column, value: pl.Expr) -> pl.Expr:
    """Spell as `canonical` does, but leave case and blanks of a text as they are."""
    return value if column.kind == "citext" else canonical(replace(column, collation=""), value)


def _folded(collation: str, value: pl.Expr) -> pl.Expr:
    """Spell texts alike that a collation of SQLite takes for equal: NOCASE folds ASCII only."""
    return value.str.strip_chars_end(" ") if collation == "RTRIM" else value.str.replace_many(*_CASES)


def has_spelling(column: Column, value: pl.Expr) -> pl.Expr:
    """Build an expression that is true where `canonical` is not NULL, at a lower cost."""
    if column.kind in _BOUNDS:
        return value.cast(pl.Int64, strict=False).is_not_null()
    return value.is_not_null() if column.kind == "uuid" else canonical(column, value).is_not_null()


def sortable(column: Column, value: pl.Expr) -> pl.Expr:
    """Make values sortable: numbers by size, all else by code point."""
    if column.kind in _BOUNDS:
        return value.cast(pl.Int64, strict=False)
    return value.cast(pl.Float64, strict=False) if column.kind == "numeric" else value


def largest_integer(column: Column) -> int:
    """Return the largest whole number of at most 64 bits that a column of numbers takes."""
    if column.kind == "numeric" and column.precision is not None:
        whole_digits = max(column.precision - (column.scale or 0), 0)
        return min(int(10**whole_digits), _BOUNDS["int8"]) - 1
    return _BOUNDS.get(column.kind, _BOUNDS["int8"]) - 1


def _plain_number(value: pl.Expr) -> pl.Expr:
    """Spell a number without plus sign, redundant leading and trailing zeros, or negative zero."""
    trimmed = value.str.replace(r"^\+", "").str.replace(r"^(-?)0+", "${1}")
    trimmed = trimmed.str.replace(r"(\.[0-9]*?)0+$", "${1}").str.replace(r"\.$", "")
    whole = trimmed.str.replace(r"^(-?)\.", "${1}0.").str.replace(r"^-?$", "0")
    plainly = pl.when(value.str.contains(_PLAIN_NUMBER)).then(whole)
    return plainly.when(value.str.contains(_BEYOND["numeric"])).then(value)


def _moment(column: Column, value: pl.Expr) -> pl.Expr:
    """Spell dates and times in ISO 8601 with T and seconds, without trailing zeros; with a zone in UTC."""
    exact = replace(column, precision=None)
    fits = value.str.contains(rf"^{_hours(exact)}$") if column.kind == "time" else _is_calendar(exact, value)
    text = value.str.replace(" ", "T", literal=True)
    if column.kind == "timestamp":
        text = text.str.replace(r"^(.{10})$", "${1}T00:00")
    if column.kind != "date":
        text = text.str.replace(r"^(.*T)?([0-9]{2}:[0-9]{2})($|[Z+-])", "${1}${2}:00${3}")
    if column.kind == "timestamptz":
        zoned = text.str.replace(r"Z$", "+00:00").str.replace(r"([+-][0-9]{2})$", "${1}:00")
        utc = zoned.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
        text = utc.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")
    trimmed = text.str.replace(r"(\.[0-9]*?)0+$", "${1}").str.replace(r"\.$", "")
    return pl.when(fits).then(trimmed).when(value.str.contains(_BEYOND[column.kind])).then(value)


def _beyond(column: Column, value: pl.Expr) -> pl.Expr | None:
    """Build an expression that is true for the special values of the column's type; None if it has none."""
    if column.kind == "numeric" and column.precision is not None:
        return value == "NaN"  # infinity has more digits than any precision
    return value.str.contains(_BEYOND[column.kind]) if column.kind in _BEYOND else None


def _is_float(kind: str, value: pl.Expr) -> pl.Expr:
    """Build an expression that is true for numbers that survive conversion to a float and back.

    These have few digits, or are the shortest spelling of their float.
    """
    number = value.cast(pl.Float64 if kind == "float8" else pl.Float32, strict=False)
    shortest = number.is_finite() & (number.cast(pl.String) == value)  # NaN has many spellings
    return value.str.contains(_FEW_DIGITS[kind]) | shortest.fill_null(value=False)


def _numeric_pattern(column: Column) -> str:
    if column.precision is None:
        return r"^[+-]?[0-9]{1,1000}(\.[0-9]{1,1000})?$"
    scale = column.scale or 0
    whole = column.precision - scale
    if scale < 0 or whole < 1:
        return r"^0$"
    fraction = rf"(\.[0-9]{{1,{scale}}}0*)?" if scale else ""
    return rf"^[+-]?[0-9]{{1,{whole}}}{fraction}$"


def _hours(column: Column) -> str:
    """Make a pattern for a time of day with at most as many decimals as the column keeps."""
    decimals = 6 if column.precision is None else column.precision
    fraction = rf"(\.[0-9]{{1,{decimals}}})?" if decimals else ""
    return rf"{_CLOCK}(:[0-5][0-9]{fraction})?"


def _is_calendar(column: Column, value: pl.Expr) -> pl.Expr:
    """Build an expression that is true for ISO dates (and times) of the calendar: not for 30 February."""
    hours = _hours(column)
    tail = {"date": "", "timestamp": rf"([ T]{hours})?", "timestamptz": rf"[ T]{hours}{_ZONE}"}[column.kind]
    shaped = value.str.contains(rf"^{_DATE}{tail}$") & ~value.str.starts_with("0000")
    return shaped & value.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False).is_not_null()
