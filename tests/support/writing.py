"""Write rows as files of every format we read, so that all of them say the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import polars as pl

FORMATS = ("csv", "tsv", "json", "jsonl", "yaml", "parquet")
# Kinds whose values JSON and YAML write without quotes.
BARE = ("int", "numeric", "bool", "json")

Row = Mapping[str, str | None]  # values as text, in the database's input form; None is NULL


def write_rows(path: Path, kinds: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Write rows in the format of the suffix. `kinds` says of each column how it may be written."""
    suffix = path.suffix[1:]
    if suffix == "parquet":
        _parquet(kinds, rows).write_parquet(path)
        return
    write = {"csv": _delimited, "tsv": _delimited, "json": _json, "jsonl": _jsonl, "yaml": _yaml}[suffix]
    path.write_bytes(write(kinds, rows, "\t" if suffix == "tsv" else ",").encode())


def _delimited(kinds: Mapping[str, str], rows: Sequence[Row], delimiter: str) -> str:
    lines = [[_quoted(name) for name in kinds]]
    lines += [["" if row[name] is None else _quoted(str(row[name])) for name in kinds] for row in rows]
    return "".join(f"{delimiter.join(line)}\r\n" for line in lines)


def _quoted(text: str) -> str:
    return '"{}"'.format(text.replace('"', '""'))


def _json(kinds: Mapping[str, str], rows: Sequence[Row], _: str) -> str:
    return "[{}]".format(",\n".join(_object(kinds, row) for row in rows))


def _jsonl(kinds: Mapping[str, str], rows: Sequence[Row], _: str) -> str:
    return "".join(f"{_object(kinds, row)}\n" for row in rows)


def _object(kinds: Mapping[str, str], row: Row) -> str:
    return "{{{}}}".format(
        ", ".join(f"{json.dumps(name)}: {_token(kinds[name], row[name])}" for name in kinds)
    )


def _token(kind: str, value: str | None) -> str:
    if value is None:
        return "null"
    return value if kind in BARE else json.dumps(value)


def _yaml(kinds: Mapping[str, str], rows: Sequence[Row], _: str) -> str:
    if not rows:
        return "[]\n"
    lines = []
    for row in rows:
        pairs = [f"{json.dumps(name)}: {_scalar(kinds[name], row[name])}" for name in kinds]
        lines.append("- " + "\n  ".join(pairs))
    return "\n".join(lines) + "\n"


def _scalar(kind: str, value: str | None) -> str:
    if value is None or kind in BARE:
        return "null" if value is None else value
    # JSON's escapes are YAML's too, but for characters beyond 16 bits, which YAML takes as they are.
    return '"{}"'.format("".join(c if ord(c) > 0xFFFF else json.dumps(c)[1:-1] for c in value))


def _parquet(kinds: Mapping[str, str], rows: Sequence[Row]) -> pl.DataFrame:
    return pl.DataFrame([_column(name, kind, [row[name] for row in rows]) for name, kind in kinds.items()])


def _column(name: str, kind: str, texts: Sequence[str | None]) -> pl.Series:
    """Columns that Parquet has a type for get it."""
    match kind:
        case "int":
            return pl.Series(name, [None if t is None else int(t) for t in texts], dtype=pl.Int64)
        case "bool":
            return pl.Series(name, [None if t is None else t == "true" for t in texts], dtype=pl.Boolean)
        case "date":
            days = [None if t is None else date.fromisoformat(t) for t in texts]
            return pl.Series(name, days, dtype=pl.Date)
        case "timestamptz":
            moments = [None if t is None else datetime.fromisoformat(t) for t in texts]
            return pl.Series(name, moments, dtype=pl.Datetime("us", "UTC"))
        case _:
            return pl.Series(name, texts, dtype=pl.String)
