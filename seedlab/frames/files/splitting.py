"""Split Parquet frames with lists and structs into one frame of text per path, as `flatten` does records."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import polars as pl

from seedlab.flow import INDEX, PARENT, RESERVED, ROW, SourceFile
from seedlab.frames.files.documents import decode
from seedlab.frames.files.faults import FaultList
from seedlab.frames.files.flatten import ROOT, VALUE, Documents, Write, dumps
from seedlab.frames.files.parquet import as_text, is_list, is_nested, json_text, texts_within


class _Leaf(NamedTuple):
    """A column of the frame of a path, or a list that becomes the frame of another path."""

    name: str
    value: pl.Expr
    dtype: pl.DataType

    def text(self, write: Write | None) -> pl.Expr:
        if not is_nested(self.dtype):
            return as_text(self.value, self.dtype).alias(self.name)
        if write is None or write is dumps:
            return json_text(self.value, self.dtype).alias(self.name)
        # `texts_within` returns lists of fixed size as lists of variable size.
        dtype = pl.List(self.dtype.inner) if isinstance(self.dtype, pl.Array) else self.dtype
        return json_text(texts_within(self.value, self.dtype), dtype).alias(self.name)


def split(
    file: SourceFile, frame: pl.DataFrame, documents: Documents, offsets: Mapping[str, int] | None = None
) -> dict[str, pl.DataFrame]:
    """Split the rows of a flat file into one frame per path; without lists, `$` has the frame itself.

    When a file is read in batches, `offsets` has the number of rows per nested path in earlier batches.
    Raises DataFaults for lists whose items cannot be rows.
    """
    parts = _Split(documents, offsets or {}, FaultList(file))
    parts.take(frame, ROOT)
    parts.faults.check()
    return parts.frames


class _Split:
    """Make the frame of each path, outer paths first."""

    def __init__(self, documents: Documents, offsets: Mapping[str, int], faults: FaultList) -> None:
        self.documents = documents
        self.offsets = offsets
        self.faults = faults
        self.frames: dict[str, pl.DataFrame] = {}

    def take(self, frame: pl.DataFrame, path: str) -> None:
        if all(isinstance(dtype, pl.String) for name, dtype in frame.schema.items() if name not in RESERVED):
            self.frames[path] = frame
            return
        whole = self.documents.get(path, {})
        own = [name for name in frame.columns if name in RESERVED]
        columns = (
            (name, pl.col(name), dtype) for name, dtype in frame.schema.items() if name not in RESERVED
        )
        leaves = list(_leaves(columns, whole))
        lists = [leaf for leaf in leaves if is_list(leaf.dtype) and leaf.name not in whole]
        texts = frame.select(*own, *(leaf.text(whole.get(leaf.name)) for leaf in leaves if leaf not in lists))
        self.frames[path] = texts.with_columns(
            _written(texts[leaf.name], whole[leaf.name])
            for leaf in leaves
            if is_nested(leaf.dtype) and whole.get(leaf.name, dumps) is not dumps
        )
        for leaf in lists:
            below = leaf.name if path == ROOT else f"{path}.{leaf.name}"
            child = self.exploded(frame, leaf, below)
            if child is not None:
                self.take(child, below)

    def exploded(self, frame: pl.DataFrame, leaf: _Leaf, path: str) -> pl.DataFrame | None:
        """Make one row per item of a list column; report a fault and return None if items cannot be rows."""
        items = leaf.value.arr.to_list() if isinstance(leaf.dtype, pl.Array) else leaf.value
        child = frame.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias(PARENT), items.alias(VALUE))
        child = child.explode(VALUE, empty_as_null=False, keep_nulls=False)
        place = pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over(PARENT).alias(INDEX)
        child = (
            child.with_columns(place)
            .with_row_index(ROW, self.offsets.get(path, 0))
            .select(ROW, PARENT, INDEX, VALUE)
        )
        dtype = child.schema[VALUE]
        if is_list(dtype):
            self.faults.add("syntax", "expected objects or scalars in the list, found lists", path=path)
            return None
        if not isinstance(dtype, pl.Struct):
            return child
        if taken := sorted(RESERVED & {each.name for each in dtype.fields}):
            self.faults.add("syntax", f"'{taken[0]}' is a name that seedlab reserves; rename it", path=path)
            return None
        for row in child.filter(pl.col(VALUE).is_null()).get_column(PARENT).to_list():
            line = frame.get_column(ROW)[row] + 1
            self.faults.add("syntax", "expected an object in the list, found null", line=line, path=path)
        return child.unnest(VALUE)


def _written(texts: pl.Series, write: Write) -> pl.Series:
    """Rewrite lists and structs, so far JSON, as their columns need them."""
    written = [None if each is None else write(decode(each)) for each in texts.to_list()]
    return pl.Series(texts.name, written, dtype=pl.String)


def _leaves(columns: Iterable[tuple[str, pl.Expr, pl.DataType]], whole: Collection[str]) -> Iterator[_Leaf]:
    """Turn the fields of structs into dotted columns."""
    for name, value, dtype in columns:
        if isinstance(dtype, pl.Struct) and name not in whole:
            parts = pl.Schema(dtype.to_schema()).items()
            yield from _leaves(((f"{name}.{n}", value.struct.field(n), kind) for n, kind in parts), whole)
        else:
            yield _Leaf(name, value, dtype)
