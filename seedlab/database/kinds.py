"""Map PostgreSQL's types to portable kinds.

The kinds, which `frames` knows, are: int2 int4 int8 numeric float4 float8 bool uuid text varchar char citext
date time timetz timestamp timestamptz interval json jsonb bytea hstore array enum composite other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PARSE = re.compile(
    r"^\s*(?P<name>[^()\[\]]+?)\s*(?:\((?P<args>[^)]*)\))?(?P<tail>[^()\[\]]*?)(?P<array>(\[\d*\])*)\s*$"
)

POSTGRES = {
    "smallint": "int2",
    "int2": "int2",
    "smallserial": "int2",
    "integer": "int4",
    "int": "int4",
    "int4": "int4",
    "serial": "int4",
    "bigint": "int8",
    "int8": "int8",
    "bigserial": "int8",
    "numeric": "numeric",
    "decimal": "numeric",
    "real": "float4",
    "float4": "float4",
    "double precision": "float8",
    "float8": "float8",
    "float": "float8",
    "boolean": "bool",
    "bool": "bool",
    "uuid": "uuid",
    "text": "text",
    "character varying": "varchar",
    "varchar": "varchar",
    "character": "char",
    "char": "char",
    "bpchar": "char",
    "citext": "citext",
    "date": "date",
    "time": "time",
    "time without time zone": "time",
    "time with time zone": "timetz",
    "timetz": "timetz",
    "timestamp": "timestamp",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "timestamptz": "timestamptz",
    "interval": "interval",
    "json": "json",
    "jsonb": "jsonb",
    "bytea": "bytea",
}
_EXTENSIONS = frozenset({"citext", "hstore"})
_TIMES = frozenset({"time", "timetz", "timestamp", "timestamptz", "interval"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeFacts:
    """The kind of a type and its limits: length, or precision and scale."""

    kind: str
    length: int | None = None
    precision: int | None = None
    scale: int | None = None


def read_postgres_type(spelling: str) -> TypeFacts:
    """Parse a type as spelled by PostgreSQL's `format_type` or DDL: `numeric(10,2)`, `timestamp(3) …`."""
    match = _PARSE.match(spelling)
    if match is None:
        return TypeFacts(kind="other")
    if match["array"]:
        return TypeFacts(kind="array")
    name = _name(match)
    # `char` without a length means char(1); format_type spells the type without a limit as `bpchar`.
    one = "1" if name in ("char", "character") else None
    # An interval may name its fields: `interval year to month`.
    kind = "interval" if name.startswith("interval ") else POSTGRES.get(name) or _of_extension(name)
    return limit(kind, match["args"] or one)


def _of_extension(name: str) -> str:
    """Recognize types of extensions, which may be qualified with any schema."""
    bare = name.rpartition(".")[2]
    return bare if bare in _EXTENSIONS else "other"


def bare_name(spelling: str) -> str:
    """Return a type's name without its limits: `bit` for `bit(3)`."""
    match = _PARSE.match(spelling)
    return _name(match) if match else spelling


def element_type(spelling: str) -> str:
    """Return the type of an array's elements as `format_type` spells it."""
    return re.sub(r"(\[\d*\])+$", "", spelling.strip())


def _name(match: re.Match[str]) -> str:
    return f"{match['name']}{match['tail']}".strip().lower()


def limit(kind: str, arguments: str | None) -> TypeFacts:
    """Combine a kind with the arguments in a type's parentheses."""
    numbers = [int(each) for each in re.findall(r"-?\d+", arguments or "")]
    if kind == "numeric" and numbers:
        return TypeFacts(kind=kind, precision=numbers[0], scale=numbers[1] if len(numbers) > 1 else 0)
    if kind in ("varchar", "char"):
        return TypeFacts(kind=kind, length=numbers[0] if numbers else None)
    if kind in _TIMES and numbers:
        return TypeFacts(kind=kind, precision=numbers[0])
    return TypeFacts(kind=kind)
