"""Flatten nested records (JSON, JSONL, YAML) into frames of text, one per path.

The path `$` has the records themselves, `questions.parts` the items of lists within lists. Every frame has
ROW, the row's ordinal among the rows of its file and path. Frames of lists also have PARENT, the index of the
enclosing row in its own frame, and INDEX, the item's 1-based position in its list. All other columns are
text. An object within a record becomes dotted columns (`faculty.code`).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from json.encoder import encode_basestring
from operator import itemgetter
from typing import Any

import polars as pl

from seedlab.flow import INDEX, PARENT, RESERVED, ROW
from seedlab.frames.files.documents import Number, Records, collector_paused
from seedlab.frames.files.faults import FaultList
from seedlab.frames.files.trees import Plain

ROOT = "$"
VALUE = "$value"  # the one column of a list of scalars
POSITION = "$index"  # in a project's `columns`: the item's position in its list

Write = Callable[[Any], str]
# path → column → how to write its value as text: columns that take a list or an object as one value. JSON
# columns are written by `dumps`.
Documents = Mapping[str, Mapping[str, Write]]
_NONE: Mapping[str, Write] = {}

OBJECTS, SCALARS = "objects", "scalars"  # what a list may hold
_NESTED = frozenset({dict, list})
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_quoted = encode_basestring


@dataclass(slots=True, eq=False)
class Shape:
    """What is known about the records of one path; it grows as records are read.

    `above` is the enclosing path, `columns` has all names in order of first appearance, `objects` and `lists`
    those that hold objects or lists.
    """

    above: str | None = None
    columns: dict[str, None] = field(default_factory=dict)
    objects: set[str] = field(default_factory=set)
    lists: set[str] = field(default_factory=set)
    holds: str = ""  # OBJECTS or SCALARS, once an item was seen
    reported: set[str] = field(default_factory=set)  # names with a fault that was added already

    def own(self, names: Iterable[str]) -> tuple[str, ...]:
        """Leave out names that become dotted columns, or rows of another path."""
        return tuple(name for name in names if name not in self.objects and name not in self.lists)

    def accepts(self, items: Sequence[Any]) -> bool:
        """Tell whether items are only objects or only scalars, as all before them were, and note which."""
        kinds = set(map(type, items))
        holds = OBJECTS if kinds == {dict} else SCALARS if kinds.isdisjoint(_NESTED) else ""
        if kinds and holds and not self.holds:
            self.holds = holds
        return not kinds or (holds != "" and holds == self.holds)


Shapes = dict[str, Shape]


def flatten(
    records: Records,
    documents: Documents,
    offsets: Mapping[str, int] | None = None,
    shapes: Shapes | None = None,
) -> dict[str, pl.DataFrame]:
    """Make one frame of text per path; raises DataFaults for records whose shapes contradict each other.

    `documents` says which columns take a list or an object as one value, and how it is written. When a file
    is read in batches, `offsets` has the number of rows per path in earlier batches, and `shapes` collects
    what is known about all of them. Cost: one walk over the records in Python.
    """
    offsets = {ROOT: records.first, **(offsets or {})}
    faults = FaultList(records.file)
    tables = _walk(records, documents, {} if shapes is None else shapes, faults)
    faults.check()
    return {path: table.frame(offsets.get(path, 0)) for path, table in tables.items()}


def survey(records: Records, documents: Documents, shapes: Shapes, faults: FaultList) -> None:
    """Add the shapes of a batch of records to `shapes`, and their faults to `faults`."""
    for path, table in _walk(records, documents, shapes, faults).items():
        shapes[path].columns |= dict.fromkeys(table.columns)


def only_json(documents: Documents) -> dict[str, frozenset[str]]:
    """Return, by path, the columns whose text is JSON written by `dumps`."""
    return {
        path: frozenset(name for name, write in columns.items() if write is dumps)
        for path, columns in documents.items()
    }


def enclosing(path: str, paths: Mapping[str, object]) -> str:
    """Find the path whose records contain the list `path`.

    For `faculty.degrees` that is `$` when `faculty` is an object, which has no rows of its own.
    """
    above = path.rpartition(".")[0]
    while above and above not in paths:
        above = above.rpartition(".")[0]
    return above or ROOT


def depth(path: str) -> tuple[int, str]:
    """Return a sort key by which enclosing paths come before those within them."""
    return 0 if path == ROOT else path.count(".") + 1, path


# ---- the walk over parsed JSON and YAML -----------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Table:
    """The rows of one path: its records or items, and of these the scalars, column by column.

    The items of lists are rows of other tables. `names` are those of scalars, objects and lists.
    """

    path: str
    above: _Table | None
    name: str
    documents: Mapping[str, Write]
    shape: Shape
    found: list[Any] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    columns: dict[str, Sequence[Any]] = field(default_factory=dict)
    parents: list[int] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)

    def add(self, name: str, values: Sequence[Any]) -> None:
        """Add a column, or the values that other records give in another spelling (`_times`)."""
        before = self.columns.get(name)
        if before is not None:
            values = [new if old is None else old for old, new in zip(before, values, strict=True)]
        self.columns[name] = values

    def frame(self, offset: int) -> pl.DataFrame:
        own = [pl.int_range(offset, offset + len(self.found), dtype=pl.UInt32, eager=True).alias(ROW)]
        if self.above is not None:
            own.append(pl.Series(PARENT, self.parents, dtype=pl.UInt32))
            own.append(pl.Series(INDEX, self.indexes, dtype=pl.UInt32))
        names = self.shape.own(self.columns)
        return pl.DataFrame(own + [pl.Series(name, self.columns[name], dtype=pl.String) for name in names])

    def place(self, row: int, records: Records) -> str:
        """Return the row's path in the document, such as `$[3].questions[0]`."""
        if self.above is None:
            return ROOT if records.single else f"$[{records.first + row}]"
        return f"{self.above.place(self.parents[row], records)}.{self.name}[{self.indexes[row] - 1}]"


@collector_paused()
def _walk(records: Records, documents: Documents, shapes: Shapes, faults: FaultList) -> dict[str, _Table]:
    walk = _Walk(records, documents, shapes, faults)
    try:
        walk.all()
    except RecursionError:
        walk.faults.add("too-large", "objects and lists are nested too deep")
    for table in walk.tables.values():
        walk.check(table)
    return walk.tables


class _Walk:
    """Distribute the values of the records to the tables of their paths, outer paths first.

    All records of a table are looked at together, one name after the other: most names hold values of one
    type, so that few steps are taken for each value.
    """

    def __init__(self, records: Records, documents: Documents, shapes: Shapes, faults: FaultList) -> None:
        self.records = records
        self.documents = documents
        self.shapes = shapes
        self.faults = faults
        self.tables: dict[str, _Table] = {}
        self.waiting: deque[_Table] = deque()
        self.root = self.table(ROOT, None, "")
        self.root.found = records.records

    def table(self, path: str, above: _Table | None, name: str) -> _Table:
        """Start the table of a new path."""
        shape = self.shapes.setdefault(path, Shape(above=above.path if above else None))
        found = _Table(path, above, name, self.documents.get(path, _NONE), shape)
        self.tables[path] = found
        self.waiting.append(found)
        return found

    def all(self) -> None:
        """Process tables in order of discovery: a table is complete once its enclosing one is processed."""
        while self.waiting:
            table = self.waiting.popleft()
            if table.shape.holds == SCALARS:
                table.add(VALUE, _texts(table.found))
            else:
                self.spread(table, table.found, "")

    def spread(self, table: _Table, records: Sequence[dict[str, Any]], prefix: str) -> None:
        for key, values in _by_name(records):
            name, kinds = prefix + key, set(map(type, values))
            if name in table.names:
                self.refuse_twice(table, name)
            table.names.add(name)
            if name in table.documents:
                write = table.documents[name]
                table.add(name, [None if value is None else write(value) for value in values])
                continue
            if kinds.isdisjoint(_NESTED):
                table.add(name, _texts(values) if bool in kinds else values)
                continue
            if dict in kinds:
                table.shape.objects.add(name)
                self.spread(table, [each if type(each) is dict else {} for each in values], name + ".")
            if list in kinds:
                table.shape.lists.add(name)
                self.lists_of(table, name, values)
            if not kinds <= {*_NESTED, type(None)}:  # kept for `check`, which reports them
                table.add(name, [None if type(each) in _NESTED else each for each in values])

    def lists_of(self, table: _Table, name: str, values: Sequence[Any]) -> None:
        """Make the items of lists rows of the table of their own path; other values are left out."""
        path = name if table is self.root else f"{table.path}.{name}"
        child = self.tables.get(path) or self.table(path, table, name)
        if child.shape.above != table.path:
            message = f"'{path}' is a list in two different places of the records; rename one of them"
            for row, value in enumerate(values):
                if type(value) is list:
                    self.fault(table, message, name, row)
            return
        lists: list[list[Any]] = [each if type(each) is list else [] for each in values]
        if not child.shape.accepts(list(chain.from_iterable(lists))):
            lists = [self.accepted(table, name, child.shape, row, items) for row, items in enumerate(lists)]
        child.found += chain.from_iterable(lists)
        child.parents += [row for row, items in enumerate(lists) for _ in items]
        child.indexes += [index for items in lists for index in range(1, len(items) + 1)]

    def accepted(self, table: _Table, name: str, shape: Shape, row: int, items: list[Any]) -> list[Any]:
        """Return the items of a list, or none, with a fault, if they are a mix or unlike those before."""
        if shape.accepts(items):
            return items
        message = "expected only objects or only scalars in the list, found a mix or lists"
        self.fault(table, message, name, row)
        return []

    def check(self, table: _Table) -> None:
        """Report reserved names, and scalars where other records have objects or lists."""
        shape, names = table.shape, table.columns.keys()
        for name in sorted((names & RESERVED) - shape.reported):
            place = next(row for row, record in enumerate(table.found) if name in record)
            message = f"'{name}' is a name that seedlab reserves; rename it"
            self.fault(table, message, name, place)
        for name in sorted(names & (shape.objects | shape.lists)):
            expected = "an object" if name in shape.objects else "a list"
            for row, value in enumerate(table.columns[name]):
                if value is not None:
                    self.fault(table, f"expected {expected} as in other records, found a scalar", name, row)
        for name in sorted((shape.objects & shape.lists) - shape.reported):
            self.faults.add("syntax", f"'{name}' is an object in some records and a list in others")
        shape.reported |= names & RESERVED | shape.objects & shape.lists

    def refuse_twice(self, table: _Table, name: str) -> None:
        """Report records that give a value both in an object and with a dot in its name."""
        for row, record in enumerate(table.found):
            if _times(record, name) > 1:
                message = f"'{name}' is given twice: as an object and with a dot in its name"
                self.fault(table, message, name, row)

    def fault(self, table: _Table, message: str, name: str, row: int) -> None:
        self.faults.add("syntax", message, path=f"{table.place(row, self.records)}.{name}")


def _by_name(records: Sequence[dict[str, Any]]) -> Iterable[tuple[str, Sequence[Any]]]:
    """Pair each name with its values, None where a record lacks it; faster if all have the same names."""
    first = records[0] if records else {}
    if len(first) > 1 and set(map(len, records)) == {len(first)}:
        with suppress(KeyError):
            return list(zip(first, zip(*map(itemgetter(*first), records), strict=True), strict=True))
    names = dict.fromkeys(chain.from_iterable(records))
    return [(name, [record.get(name) for record in records]) for name in names]


def _times(record: dict[str, Any], name: str) -> int:
    """Count how often a record gives a value: `a.b` may be a name, or name `b` in the object `a`."""
    dots = [place for place, letter in enumerate(name) if letter == "."]
    within = ((record.get(name[:dot]), name[dot + 1 :]) for dot in dots)
    return (name in record) + sum(_times(each, rest) for each, rest in within if type(each) is dict)


def _texts(values: Sequence[Any]) -> Sequence[str | None]:
    """Write booleans as text; all other scalars are text already."""
    if bool not in set(map(type, values)):
        return values
    return [("true" if value else "false") if type(value) is bool else value for value in values]


# ---- JSON -----------------------------------------------------------------------------------------------


def dumps(value: Any) -> str:
    """Write a value as JSON: numbers keep their spelling, plain YAML scalars become what they look like."""
    return _WRITERS[type(value)](value)


def _object(value: dict[str, Any]) -> str:
    return "{" + ", ".join([f"{_quoted(key)}: {_WRITERS[type(v)](v)}" for key, v in value.items()]) + "}"


def _array(value: list[Any]) -> str:
    return "[" + ", ".join([_WRITERS[type(each)](each) for each in value]) + "]"


def _plain(value: Plain) -> str:
    literal = value in ("true", "false") or _JSON_NUMBER.fullmatch(value)
    return str(value) if literal else _quoted(str(value))


# Looked up for each value rather than tried one after the other, since documents are many small values.
_WRITERS: Mapping[type, Write] = {
    str: _quoted,
    Number: str,
    dict: _object,
    list: _array,
    Plain: _plain,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
}


# ---- between frames -------------------------------------------------------------------------------------


def inherit(child: pl.DataFrame, parent: pl.DataFrame, relation: str, sources: Sequence[str]) -> pl.DataFrame:
    """Add the parent's reference to nested rows: a column `relation.source` for each source column.

    `parent` is the frame of the enclosing path of the same file; a source column that it lacks is NULL. Outer
    paths must be done first, so that the parent has its own parent's columns.
    """
    place = child.get_column(PARENT)
    nulls = pl.Series([None], dtype=pl.String).new_from_index(0, parent.height)
    columns = (parent.get_column(name, default=nulls) for name in sources)
    # Indexed with [], because `gather` runs a query, which takes ten times as long on a small frame.
    return child.hstack(
        [each[place].alias(f"{relation}.{name}") for name, each in zip(sources, columns, strict=True)]
    )


def fill(frame: pl.DataFrame, columns: Mapping[str, str]) -> pl.DataFrame:
    """Rename columns as the project configures: column → dotted path, or `$index` for the list position.

    A column whose path no record has is absent.
    """
    if not columns:
        return frame
    found = {
        column: INDEX if path == POSITION else path
        for column, path in columns.items()
        if (INDEX if path == POSITION else path) in frame.columns
    }
    renamed = set(found.values()) - found.keys() - {INDEX}
    filled = {each.name: each for each in frame.get_columns()}
    filled |= {column: frame.get_column(path).cast(pl.String).alias(column) for column, path in found.items()}
    return pl.DataFrame([each for name, each in filled.items() if name not in renamed])
