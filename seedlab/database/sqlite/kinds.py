"""Map SQLite's declared types to portable kinds and to SQLite's affinities.

SQLite accepts any declaration and stores values by affinity. The kinds are stricter, as on other databases: a
column declared DATE accepts dates only.
"""

from __future__ import annotations

import re
from typing import Literal

from seedlab.database.kinds import TypeFacts, limit

Affinity = Literal["INTEGER", "TEXT", "BLOB", "REAL", "NUMERIC"]

_PARSE = re.compile(r"^\s*(?P<name>[^()]*?)\s*(?:\((?P<args>[^)]*)\))?(?P<tail>[^()]*)$")

# INTEGER is missing here: by its affinity it becomes int8, because SQLite's integers have 64 bits.
_KINDS = {
    "tinyint": "int2",
    "smallint": "int2",
    "int2": "int2",
    "real": "float8",
    "boolean": "bool",
    "bool": "bool",
    "numeric": "numeric",
    "decimal": "numeric",
    "dec": "numeric",
    "date": "date",
    "time": "time",
    "datetime": "timestamp",
    "timestamp": "timestamp",
    "timestamp without time zone": "timestamp",
    "timestamptz": "timestamptz",
    "timestamp with time zone": "timestamptz",
    "interval": "interval",
    "json": "json",
    "jsonb": "json",
    "uuid": "uuid",
    "guid": "uuid",
    "uniqueidentifier": "uuid",
    "bytea": "bytea",
    "binary": "bytea",
    "varbinary": "bytea",
    "varchar": "varchar",
    "nvarchar": "varchar",
    "character varying": "varchar",
    "varying character": "varchar",
    "char": "char",
    "nchar": "char",
    "character": "char",
    "native character": "char",
}
_BY_AFFINITY = {"INTEGER": "int8", "TEXT": "text", "REAL": "float8", "NUMERIC": "other"}
MOMENTS = frozenset({"time", "timestamp", "timestamptz"})  # kinds that may have a fraction of a second


def read_sqlite_type(spelling: str) -> TypeFacts:
    """Parse a declared type: by its name if that is known, else by its affinity."""
    match = _PARSE.match(spelling)
    if match is None:
        return TypeFacts(kind=_BY_AFFINITY.get(affinity(spelling), "text"))
    name = f"{match['name']}{match['tail']}".strip().lower()
    if not name:
        return TypeFacts(kind="text")
    fallback = _BY_AFFINITY.get(affinity(spelling), "bytea")
    return limit(_KINDS.get(name, fallback), match["args"])


def affinity(spelling: str) -> Affinity:
    """Return the affinity of a declared type, by the rules of sqlite.org/datatype3.html section 3.1."""
    upper = spelling.upper()
    if "INT" in upper:
        return "INTEGER"
    if any(word in upper for word in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if not upper.strip() or "BLOB" in upper:
        return "BLOB"
    if any(word in upper for word in ("REAL", "FLOA", "DOUB")):
        return "REAL"
    return "NUMERIC"
