"""Encode batches for PostgreSQL: as COPY text, as array literals for unnest, and as parameters of VALUES.

Values are text already, except uuid columns, which are UInt128; they are spelled here, while the server works
on earlier rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import polars as pl

from seedlab.flow import Batch

Part = TypeVar("Part")

SMALL = 5_000  # rows up to which joining in Python is faster than a polars query (docs/performance.md)
# The most bytes of values that are sent as arrays or parameters at a time. With more, COPY is as fast, and
# takes less memory; a message of 1 GB ends the connection (docs/performance.md).
ARRAY_BYTES = 16 << 20
_NULL = "\\N"
_SPECIAL = ["\\", "\t", "\n", "\r"]
_ESCAPED = ["\\\\", "\\t", "\\n", "\\r"]


def spell_uuids(frame: pl.DataFrame, null: str | None = None) -> pl.DataFrame:
    """Convert every UInt128 column to 32 hexadecimal digits, which uuid accepts, and NULL to `null`."""
    return pl.DataFrame(
        [
            pl.Series(each.name, _hexadecimal(each, null), dtype=pl.String)
            if each.dtype == pl.UInt128
            else each
            for each in frame.get_columns()
        ]
    )


def _hexadecimal(series: pl.Series, null: str | None) -> list[Any]:
    """Convert in Python, since polars has no cast of UInt128 to hexadecimal. Cost: 0.25 µs per value."""
    if series.null_count():
        return [null if value is None else f"{value:032x}" for value in series.to_list()]
    return ["%032x" % value for value in series.to_list()]  # noqa: UP031 (a third faster than an f-string)


def copy_text(frame: pl.DataFrame, columns: Sequence[str]) -> bytes:
    r"""Encode as COPY text: tabs between columns, a line per row, NULL as `\N`, special characters escaped.

    A small frame is joined in Python, which has no fixed cost. If the result shows that a value needs
    escaping, and for larger frames, a polars query does it.
    """
    if not frame.height:
        return b""
    text = _joined(frame, columns) if frame.height <= SMALL else None
    return f"{_escaped(frame, columns) if text is None else text}\n".encode()


def _joined(frame: pl.DataFrame, columns: Sequence[str]) -> str | None:
    """Join the values without escaping; None if one of them contains a special character of COPY."""
    series = [frame.get_column(name) for name in columns]
    text = "\n".join(map("\t".join, zip(*map(_spelled, series), strict=True)))
    plain = (
        text.count("\t") == frame.height * (len(columns) - 1)
        and text.count("\n") == frame.height - 1
        and text.count("\\") == sum(each.null_count() for each in series)
        and "\r" not in text
    )
    return text if plain else None


def _spelled(series: pl.Series) -> list[str]:
    r"""Return the values of a column as text, NULL as `\N`."""
    if series.dtype == pl.UInt128:
        return _hexadecimal(series, _NULL)
    values = series.to_list()
    return [_NULL if value is None else value for value in values] if series.null_count() else values


def _escaped(frame: pl.DataFrame, columns: Sequence[str]) -> str:
    escaped = [
        pl.col(name).str.replace_many(_SPECIAL, _ESCAPED).fill_null(_NULL)
        if frame.schema[name] == pl.String
        else pl.col(name)
        for name in columns
    ]
    spelled = spell_uuids(frame.select(escaped), null=_NULL)
    text: str = spelled.select(pl.concat_str(pl.all(), separator="\t").str.join("\n")).item()
    return text


def array_literals(batch: Batch) -> list[str]:
    """Encode the batch as one PostgreSQL array literal per column, for `unnest`."""
    return frame_literals(batch.frame, batch.load.columns)


def frame_literals(frame: pl.DataFrame, columns: Sequence[str]) -> list[str]:
    """Encode columns of a frame as one PostgreSQL array literal each."""
    few = frame.height <= SMALL
    joined = [_joined_literal(frame.get_column(name)) if few else None for name in columns]
    literals = [each for each in joined if each is not None]
    if len(literals) == len(columns):
        return literals
    spelled = spell_uuids(frame.select(*dict.fromkeys(columns)))
    texts = spelled.select(map(_quoted, spelled.columns)).row(0, named=True)
    return [f"{{{texts[name]}}}" for name in columns]


def array_literal(values: pl.Series) -> str:
    """Encode one column of text."""
    return frame_literals(values.to_frame("v"), ["v"])[0]


def _joined_literal(series: pl.Series) -> str | None:
    """Join the values without escaping; None if one of them is NULL or needs escaping."""
    if series.null_count():
        return None
    text = '","'.join(_spelled(series))
    plain = "\\" not in text and text.count('"') == 2 * max(0, len(series) - 1)
    return (f'{{"{text}"}}' if len(series) else "{}") if plain else None


def _quoted(name: str) -> pl.Expr:
    """Quote all values of a column for an array literal, and join them by commas."""
    text = pl.col(name).str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)
    return pl.concat_str(pl.lit('"'), text, pl.lit('"')).fill_null("NULL").str.join(",").alias(name)


def slices(frame: pl.DataFrame, rows: int) -> Iterator[pl.DataFrame]:
    """Slice a frame into parts of at most `rows` rows, and ARRAY_BYTES unless a single row is larger."""
    for part in frame.iter_slices(rows):
        if part.height > 1 and int(part.estimated_size()) > ARRAY_BYTES:
            yield from slices(part, (part.height + 1) // 2)
        else:
            yield part


def pipelines(
    parts: Iterable[Part], frame_of: Callable[[Part], pl.DataFrame], rows: int
) -> Iterator[list[Part]]:
    """Group parts, each with a frame, into pipelines; one is full when it has `rows` rows or ARRAY_BYTES."""
    waiting: list[Part] = []
    height = size = 0
    for part in parts:
        frame = frame_of(part)
        waiting.append(part)
        height, size = height + frame.height, size + int(frame.estimated_size())
        if height >= rows or size >= ARRAY_BYTES:
            yield waiting
            waiting, height, size = [], 0, 0
    if waiting:
        yield waiting


def value_rows(frame: pl.DataFrame, columns: Sequence[str]) -> list[str | None]:
    """Encode as one flat list of parameters, row by row, for a multi-row VALUES."""
    texts = spell_uuids(frame.select(columns)).get_columns()
    return [value for row in zip(*(series.to_list() for series in texts), strict=True) for value in row]
