"""Locate rows in their files: line, path in the document, column.

This needs a second pass over the file, which is made only when there are faults to report.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from seedlab.flow import SourceFile
from seedlab.frames.files import delimited
from seedlab.frames.files.faults import FaultList, clean, excerpt
from seedlab.frames.files.flatten import ROOT
from seedlab.frames.files.large import blocks
from seedlab.frames.files.sources import read_bytes
from seedlab.frames.files.trees import Mark, Tree, json_tree, yaml_tree

HEADER = -1  # the "row" of a header
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'')


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Record:
    """A record of JSON or YAML and the document's lines, of which the first has the number `first`."""

    value: Any
    tree: Tree
    lines: list[str]
    first: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a row begins: 1-based line (Parquet: row), the text of the line, the path in the document.

    `columns` and `delimiter` are set for CSV and TSV. For a record of JSON or YAML, or a value in it, `start`
    is its offset in the line, and `length` its length.
    """

    line: int
    text: str | None = None
    path: str | None = None
    start: int = 0
    length: int = 0
    columns: tuple[str, ...] = ()
    delimiter: bytes = b""
    record: _Record | None = None

    def at(self, column: str | None) -> Position:
        """Return the position of a column's value, which may be on a later line, or else the row's own."""
        found = _find(self.record.tree, self.record.value, column) if self.record and column else None
        if self.record is None or found is None:
            return self
        (line, start), value = found
        text = self.record.lines[line - self.record.first]
        return replace(
            self, line=line, text=text, start=start, length=_length(text, start, value), record=None
        )

    def point(self, column: str | None = None) -> tuple[str | None, tuple[int, int] | None]:
        """Return the line to show, and the 0-based start and length of the column's field in it, if known."""
        if self.text is None:
            return None, None
        if column not in self.columns:
            shown, caret = excerpt(self.text, (self.start, self.length))
            return shown, caret if self.length else None
        line = self.text.encode()
        found = delimited.spans(line, self.delimiter)
        index = self.columns.index(column)
        if index >= len(found):  # the field is on a later line of the record
            return excerpt(self.text)
        start, end = (len(line[:offset].decode()) for offset in found[index])
        return excerpt(self.text, (start, max(1, end - start)))


def locate(file: SourceFile, path: str, rows: Collection[int]) -> dict[int, Position]:
    """Find where rows of `path` begin, by their ordinals (ROW); HEADER stands for the header of CSV and TSV.

    Rows that cannot be located, such as nested rows of Parquet, are left out. Cost: reads the file up to the
    last of the rows; CSV, TSV and JSONL in blocks.
    """
    if not rows:
        return {}
    if file.format == "parquet":
        return {row: Position(line=row + 1) for row in rows if row >= 0 and path == ROOT}
    wanted = frozenset(rows)
    found: dict[int, Position] = {}
    rows_found = _delimited if file.format in delimited.DELIMITERS else partial(_nested, path=path)
    for row, position in rows_found(file, wanted):
        found[row] = position
        if len(found) == len(wanted):
            break
    return found


def locate_name(file: SourceFile, path: str, column: str) -> Position | None:
    """Find where a column is named: in the header, or in the first record that has it."""
    if file.format in delimited.DELIMITERS:
        return locate(file, path, [HEADER]).get(HEADER)
    if file.format == "parquet":
        return None
    for _, position in _nested(file, None, path):
        value = position.at(column)
        if value is not position:
            key, text = column.rpartition(".")[2], value.text or ""
            start = text.rfind(key, 0, value.start)
            return replace(value, start=start, length=len(key)) if start >= 0 else value
    return None


# ---- CSV and TSV ----------------------------------------------------------------------------------------


def _delimited(file: SourceFile, wanted: frozenset[int]) -> Iterator[tuple[int, Position]]:
    faults, delimiter = FaultList(file), delimited.DELIMITERS[file.format]
    columns: tuple[str, ...] = ()
    row = HEADER
    for block, first in blocks(file, faults):
        for start, end, line in delimited.records(block, delimiter, line=first):
            if row == HEADER:
                columns, _ = delimited.header(block, delimiter, faults)
            if row in wanted:
                text = block[start:end].partition(b"\n")[0].decode().removesuffix("\r")
                yield row, Position(line=line, text=text, columns=columns, delimiter=delimiter)
            row += 1


# ---- JSON, JSONL and YAML -------------------------------------------------------------------------------


def _nested(file: SourceFile, wanted: frozenset[int] | None, path: str) -> Iterator[tuple[int, Position]]:
    """Yield the positions of the `wanted` rows, or of all rows."""
    row = 0
    for tree, lines, first, ordinal in _trees(file):
        for value, (line, column), place in _rows(tree, path, ordinal):
            if wanted is None or row in wanted:
                record = _Record(value=value, tree=tree, lines=lines, first=first)
                yield (
                    row,
                    Position(line=line, text=lines[line - first], path=place, start=column, record=record),
                )
            row += 1


def _trees(file: SourceFile) -> Iterator[tuple[Tree, list[str], int, int | None]]:
    """Yield the documents of a file: tree, lines, number of the first line, and ordinal of a JSONL record."""
    faults = FaultList(file)
    if file.format != "jsonl":
        text = clean(read_bytes(file), faults).decode()
        tree = json_tree(text) if file.format == "json" else yaml_tree(text, faults)
        yield tree, text.split("\n"), 1, None
        return
    ordinal = 0
    for block, first in blocks(file, faults):
        for line, text in enumerate(block.decode().split("\n"), first):
            if text and not text.isspace():
                yield json_tree(text, line=line), [text], line, ordinal
                ordinal += 1


def _rows(tree: Tree, path: str, ordinal: int | None) -> Iterator[tuple[Any, Mark, str]]:
    for value, mark, place in _records(tree, ordinal):
        if path == ROOT:
            yield value, mark, place
        else:
            yield from _items(tree, value, path, place)


def _records(tree: Tree, ordinal: int | None) -> Iterator[tuple[Any, Mark, str]]:
    if isinstance(tree.value, list):
        marks = tree.marks[id(tree.value)]
        for n, (value, mark) in enumerate(zip(tree.value, marks, strict=True)):
            yield value, mark, f"{ROOT}[{n}]"
    else:
        yield tree.value, tree.start, ROOT if ordinal is None else f"{ROOT}[{ordinal}]"


def _items(tree: Tree, record: dict[str, Any], path: str, place: str) -> Iterator[tuple[Any, Mark, str]]:
    """Yield the items of all lists at the dotted `path` below a record, in file order."""
    for key, value in record.items():
        below = f"{place}.{key}"
        if path == key and isinstance(value, list):
            for n, (item, mark) in enumerate(zip(value, tree.marks[id(value)], strict=True)):
                yield item, mark, f"{below}[{n}]"
        elif path.startswith(f"{key}."):
            rest = path[len(key) + 1 :]
            if isinstance(value, dict):
                yield from _items(tree, value, rest, below)
            elif isinstance(value, list):
                for n, item in enumerate(value):
                    if isinstance(item, dict):
                        yield from _items(tree, item, rest, f"{below}[{n}]")


def _find(tree: Tree, record: Any, column: str) -> tuple[Mark, Any] | None:
    """Find the mark and the value of a column, which may be in nested objects (`a.b`)."""
    if not isinstance(record, dict):
        return None
    for (key, value), mark in zip(record.items(), tree.marks[id(record)], strict=True):
        if key == column:
            return mark, value
        if column.startswith(f"{key}.") and (found := _find(tree, value, column[len(key) + 1 :])):
            return found
    return None


def _length(text: str, start: int, value: Any) -> int:
    """Return the length of a value on its line; 1 for lists, objects and texts of several lines."""
    if quoted := _QUOTED.match(text, start):
        return len(quoted[0])
    return max(len(value), 1) if isinstance(value, str) and text.startswith(value, start) else 1
