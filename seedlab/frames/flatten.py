"""Nested records to flat text frames, one per path: `$` is the record, `questions.parts` a list in a list.

Every frame has ROW, the ordinal of the row in its file and path; frames of lists also have PARENT, the
index of the enclosing row in its own frame, and INDEX, the 1-based place in the list. All other columns are
text. An object within a record spreads into dotted columns (`faculty.code`).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from json.encoder import encode_basestring
from operator import itemgetter
from typing import Any, NamedTuple

import polars as pl

from seedlab.flow import INDEX, PARENT, RESERVED, ROW, SourceFile
from seedlab.frames.documents import Number, Plain, Records, decode
from seedlab.frames.faults import FaultList
from seedlab.frames.parquet import as_text, is_list, is_nested, json_text, texts_within

__all__ = [
    "INDEX",
    "PARENT",
    "ROOT",
    "VALUE",
    "dumps",
    "enclosing",
    "fields",
    "fill",
    "flatten",
    "inherit",
    "only_json",
    "split",
]

ROOT = "$"
VALUE = "$value"  # the one column of a list of scalars
POSITION = "$index"  # in `columns`: the place in the list

Write = Callable[[Any], str]
# By path, the columns that take a list or an object whole, and how its text is written; JSON by `dumps`.
Documents = Mapping[str, Mapping[str, Write]]
_NONE: Mapping[str, Write] = {}

_SCALARS = frozenset({str, Number, Plain, type(None), bool})
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_quoted = encode_basestring


def flatten(
    records: Records, documents: Documents, offsets: Mapping[str, int] | None = None
) -> dict[str, pl.DataFrame]:
    """Walk the records once and make one text frame per path; raises DataFaults for misshapen ones.

    `documents` names the columns whose values are kept whole, and says how as text. `offsets` is
    how many rows of each path earlier batches of the same file had.
    """
    offsets = {ROOT: records.first, **(offsets or {})}
    tables = _walk(records, documents)
    return {path: table.frame(offsets.get(path, 0)) for path, table in tables.items()}


def only_json(documents: Documents) -> dict[str, frozenset[str]]:
    """Name the columns, by path, whose text is JSON that we wrote ourselves."""
    return {
        path: frozenset(name for name, write in columns.items() if write is dumps)
        for path, columns in documents.items()
    }


def fields(records: Records, documents: Documents | None = None) -> dict[str, tuple[str, ...]]:
    """Name the columns of each path, as `flatten` would make them."""
    return {path: table.columns() for path, table in _walk(records, documents or {}).items()}


def enclosing(path: str, paths: Mapping[str, object]) -> str:
    """Find the path whose records hold the list `path`: `faculty.degrees` may well lie in `$`."""
    above = path.rpartition(".")[0]
    while above and above not in paths:
        above = above.rpartition(".")[0]
    return above or ROOT


# ---- the walk over parsed JSON and YAML -----------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Table:
    """The rows of one path: dicts of scalars, without what lies in lists."""

    path: str
    above: _Table | None
    name: str
    documents: Mapping[str, Write]
    found: list[Any] = field(default_factory=list)  # items not yet made rows
    rows: list[dict[str, Any]] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    objects: set[str] = field(default_factory=set)
    lists: set[str] = field(default_factory=set)
    holds: str = ""  # "objects" or "scalars", once an item was seen

    def columns(self) -> tuple[str, ...]:
        """Columns in the order in which they come first, without those that spread into others."""
        named = dict.fromkeys(chain.from_iterable(self.rows))
        return tuple(name for name in named if name not in self.objects and name not in self.lists)

    def frame(self, offset: int) -> pl.DataFrame:
        own = [pl.int_range(offset, offset + len(self.rows), dtype=pl.UInt32, eager=True).alias(ROW)]
        if self.above is not None:
            own.append(pl.Series(PARENT, self.parents, dtype=pl.UInt32))
            own.append(pl.Series(INDEX, self.indexes, dtype=pl.UInt32))
        names = self.columns()
        own += [
            pl.Series(name, _texts(values), dtype=pl.String)
            for name, values in zip(names, self.values(names), strict=True)
        ]
        return pl.DataFrame(own)

    def values(self, names: tuple[str, ...]) -> Iterable[Sequence[Any]]:
        """The rows' values by column; in C where no row lacks a name."""
        if len(names) > 1:
            with suppress(KeyError):
                return list(zip(*map(itemgetter(*names), self.rows), strict=True))
        return [[row.get(name) for row in self.rows] for name in names]

    def place(self, row: int, records: Records) -> str:
        """The row's place in the document: `$[3].questions[0]`."""
        if self.above is None:
            return ROOT if records.single else f"$[{records.first + row}]"
        return f"{self.above.place(self.parents[row], records)}.{self.name}[{self.indexes[row] - 1}]"


def _walk(records: Records, documents: Documents) -> dict[str, _Table]:
    walk = _Walk(records, documents)
    try:
        walk.all()
    except RecursionError:
        walk.faults.add("too-large", "objects and lists are nested too deep")
    for table in walk.tables.values():
        walk.check(table)
    walk.faults.check()
    return walk.tables


class _Walk:
    """Hands every value of the records to the table of its path, a path at a time from the outside in."""

    def __init__(self, records: Records, documents: Documents) -> None:
        self.records = records
        self.documents = documents
        self.faults = FaultList(records.file)
        self.root = _Table(ROOT, None, "", documents.get(ROOT, _NONE), found=records.records)
        self.tables = {ROOT: self.root}
        self.waiting = deque([self.root])

    def all(self) -> None:
        """Take the tables as they are found; all rows of a table are known when its parent's are done."""
        while self.waiting:
            table = self.waiting.popleft()
            if table.holds == "scalars":
                table.rows = [{VALUE: item} for item in table.found]
            else:
                self.objects(table, table.found)
            table.found = []

    def objects(self, table: _Table, records: list[dict[str, Any]]) -> None:
        # Most records are flat already, and are their own rows.
        kinds = set(map(type, chain.from_iterable(map(dict.values, records))))
        if not table.documents and kinds <= _SCALARS:
            table.rows = records
            return
        for record in records:
            row: dict[str, Any] = {}
            table.rows.append(row)
            self.spread(table, row, record, "")

    def spread(self, table: _Table, row: dict[str, Any], record: dict[str, Any], prefix: str) -> None:
        for key, value in record.items():
            name, kind = prefix + key, type(value)
            if name in row:
                self.fault(table, f"'{name}' is said twice: as an object and with a dot", name)
            elif name in table.documents:
                row[name] = None if value is None else table.documents[name](value)
            elif kind is dict:
                table.objects.add(name)
                self.spread(table, row, value, name + ".")
            elif kind is list:
                table.lists.add(name)
                self.list_of(table, name, value)
            else:
                row[name] = value

    def list_of(self, table: _Table, name: str, items: list[Any]) -> None:
        path = name if table is self.root else f"{table.path}.{name}"
        child = self.tables.get(path)
        if child is None:
            child = _Table(path, table, name, self.documents.get(path, _NONE))
            self.tables[path] = child
            self.waiting.append(child)
        kinds = set(map(type, items))
        holds = "objects" if dict in kinds else "scalars" if kinds else child.holds
        mixed = list in kinds or (holds == "objects" and kinds and len(kinds) > 1)
        if mixed or (child.holds and holds != child.holds):
            self.fault(table, "expected only objects or only scalars in the list, found both or lists", name)
        elif child.above is not table:
            self.fault(table, f"'{path}' is found in two places of the records", name)
        elif items:
            child.holds = holds
            child.found += items
            child.parents += [len(table.rows) - 1] * len(items)
            child.indexes += range(1, len(items) + 1)

    def check(self, table: _Table) -> None:
        """Note names that seedlab keeps for itself, and scalars where other records have more."""
        named = set(chain.from_iterable(table.rows))
        for name in sorted(named & RESERVED):
            place = next(n for n, row in enumerate(table.rows) if name in row)
            message = f"'{name}' is a name that seedlab keeps for itself; rename it"
            self.fault(table, message, name, place)
        for name in sorted(named & (table.objects | table.lists)):
            expected = "an object" if name in table.objects else "a list"
            for n, row in enumerate(table.rows):
                if row.get(name) is not None:
                    self.fault(table, f"expected {expected} as in other records, found a scalar", name, n)
        for name in sorted(table.objects & table.lists):
            self.faults.add("syntax", f"'{name}' is an object in some records and a list in others")

    def fault(self, table: _Table, message: str, name: str, row: int | None = None) -> None:
        place = table.place(len(table.rows) - 1 if row is None else row, self.records)
        self.faults.add("syntax", message, path=f"{place}.{name}")


def _texts(values: Sequence[Any]) -> Sequence[str | None]:
    if bool not in set(map(type, values)):
        return values
    return [("true" if value else "false") if type(value) is bool else value for value in values]


def dumps(value: Any) -> str:
    """Write a value as JSON: numbers as their tokens, plain YAML scalars as what they look like."""
    kind = type(value)
    if kind is Number:
        return value  # type: ignore[no-any-return]
    if kind is str:
        return _quoted(value)
    if kind is dict:
        return "{" + ", ".join([f"{_quoted(key)}: {dumps(each)}" for key, each in value.items()]) + "}"
    if kind is list:
        return "[" + ", ".join([dumps(each) for each in value]) + "]"
    if kind is Plain:
        literal = value in ("true", "false") or _JSON_NUMBER.fullmatch(value)
        return str(value) if literal else _quoted(str(value))
    return "null" if value is None else "true" if value else "false"


# ---- the lists and structs of Parquet -------------------------------------------------------------------


class _Leaf(NamedTuple):
    """A column of the frame to be made, or a list that becomes a frame of its own."""

    name: str
    value: pl.Expr
    dtype: pl.DataType

    def text(self, write: Write | None) -> pl.Expr:
        if not is_nested(self.dtype):
            return as_text(self.value, self.dtype).alias(self.name)
        if write is None or write is dumps:
            return json_text(self.value, self.dtype).alias(self.name)
        # Of lists of fixed size the items come as a list of any.
        dtype = pl.List(self.dtype.inner) if isinstance(self.dtype, pl.Array) else self.dtype
        return json_text(texts_within(self.value, self.dtype), dtype).alias(self.name)


def split(file: SourceFile, frame: pl.DataFrame, documents: Documents) -> dict[str, pl.DataFrame]:
    """Split a collected flat file as `flatten` does records; without lists it is the frame as it stands."""
    frames: dict[str, pl.DataFrame] = {}
    faults = FaultList(file)
    _split(frame, ROOT, documents, frames, faults)
    faults.check()
    return frames


def _split(
    frame: pl.DataFrame, path: str, documents: Documents, frames: dict[str, pl.DataFrame], faults: FaultList
) -> None:
    whole = documents.get(path, _NONE)
    own = [name for name in frame.columns if name in RESERVED]
    given = ((name, pl.col(name), dtype) for name, dtype in frame.schema.items() if name not in RESERVED)
    leaves = list(_leaves(given, whole))
    lists = [leaf for leaf in leaves if is_list(leaf.dtype) and leaf.name not in whole]
    texts = frame.select(*own, *(leaf.text(whole.get(leaf.name)) for leaf in leaves if leaf not in lists))
    frames[path] = texts.with_columns(
        _written(texts[leaf.name], whole[leaf.name])
        for leaf in leaves
        if is_nested(leaf.dtype) and whole.get(leaf.name, dumps) is not dumps
    )
    for leaf in lists:
        below = leaf.name if path == ROOT else f"{path}.{leaf.name}"
        child = _exploded(frame, leaf, below, faults)
        if child is not None:
            _split(child, below, documents, frames, faults)


def _written(texts: pl.Series, write: Write) -> pl.Series:
    """Write lists and structs that were made JSON as their columns take them."""
    written = [None if each is None else write(decode(each)) for each in texts.to_list()]
    return pl.Series(texts.name, written, dtype=pl.String)


def _leaves(given: Iterable[tuple[str, pl.Expr, pl.DataType]], whole: Collection[str]) -> Iterator[_Leaf]:
    """Spread structs into dotted columns."""
    for name, value, dtype in given:
        if isinstance(dtype, pl.Struct) and name not in whole:
            parts = pl.Schema(dtype.to_schema()).items()
            yield from _leaves(((f"{name}.{n}", value.struct.field(n), kind) for n, kind in parts), whole)
        else:
            yield _Leaf(name, value, dtype)


def _exploded(frame: pl.DataFrame, leaf: _Leaf, path: str, faults: FaultList) -> pl.DataFrame | None:
    """One row per item of a list column; None, and a fault, where items cannot be rows."""
    items = leaf.value.arr.to_list() if isinstance(leaf.dtype, pl.Array) else leaf.value
    child = frame.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias(PARENT), items.alias(VALUE))
    child = child.explode(VALUE, empty_as_null=False, keep_nulls=False)
    place = pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over(PARENT).alias(INDEX)
    child = child.with_columns(place).with_row_index(ROW).select(ROW, PARENT, INDEX, VALUE)
    dtype = child.schema[VALUE]
    if is_list(dtype):
        faults.add("syntax", "expected objects or scalars in the list, found lists", path=path)
        return None
    if not isinstance(dtype, pl.Struct):
        return child
    if taken := sorted(RESERVED & {each.name for each in dtype.fields}):
        faults.add("syntax", f"'{taken[0]}' is a name that seedlab keeps for itself; rename it", path=path)
        return None
    for row in child.filter(pl.col(VALUE).is_null()).get_column(PARENT).to_list():
        faults.add("syntax", "expected an object in the list, found null", line=row + 1, path=path)
    return child.unnest(VALUE)


# ---- between frames -------------------------------------------------------------------------------------


def inherit(child: pl.DataFrame, parent: pl.DataFrame, relation: str, sources: Sequence[str]) -> pl.DataFrame:
    """Give nested rows their parent's reference: a column `relation.source` for each source column.

    `parent` is the frame of the enclosing path of the same file, in its own order. Go top-down, so that a
    grandparent's columns are in it already.
    """
    place = child.get_column(PARENT)
    # By the index, for `gather` makes a query of it: ten times the time for a small frame.
    return child.hstack([parent.get_column(name)[place].alias(f"{relation}.{name}") for name in sources])


def fill(frame: pl.DataFrame, columns: Mapping[str, str]) -> pl.DataFrame:
    """Name columns as the project says: column → dotted path, or `$index` for the place in the list.

    A path that no record has leaves its column absent.
    """
    if not columns:
        return frame
    found = {
        column: INDEX if path == POSITION else path
        for column, path in columns.items()
        if (INDEX if path == POSITION else path) in frame.columns
    }
    moved = set(found.values()) - found.keys() - {INDEX}
    filled = {each.name: each for each in frame.get_columns()}
    filled |= {column: frame.get_column(path).cast(pl.String).alias(column) for column, path in found.items()}
    return pl.DataFrame([each for name, each in filled.items() if name not in moved])
