"""Small random schemas and their rows, as hypothesis draws them, and as folders and DDL for both dialects."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.support.seeding import execute
from tests.support.writing import write_rows

IDENTITIES = ("serial", "uuid", "natural")
KINDS = ("text", "int", "numeric", "bool", "date", "timestamptz", "uuid", "json")
KEY_KINDS = ("text", "int", "uuid")
TYPES = {"numeric": "numeric(12,4)", "bool": "boolean", "json": "jsonb"}

TRICKY = (
    "",
    " ",
    "007",
    "NO",
    "null",
    "\\N",
    "\\.",
    '"',
    "'",
    "a,b",
    "a\tb",
    "a\nb",
    "1.10",
    "שלום",
    "é",
    "e\u0301",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of values."""

    name: str
    kind: str
    nullable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A foreign key to the identity of another table, or of the table itself."""

    name: str
    parent: str
    nullable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A table. `key` names columns and at most one relation; a natural identity has one column."""

    name: str
    identity: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    relations: tuple[Relation, ...]

    @property
    def identity_column(self) -> str:
        return "code" if self.identity == "natural" else "id"

    @property
    def identity_type(self) -> str:
        if self.identity == "natural":
            return next(column.kind for column in self.columns if column.name == "code")
        return "int" if self.identity == "serial" else "uuid"


# A row: columns to text or None, relations to the number of the parent's row or None.
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Tables, parents first, and the rows of each."""

    shapes: tuple[Shape, ...]
    rows: dict[str, list[Row]]

    def shape(self, name: str) -> Shape:
        return next(shape for shape in self.shapes if shape.name == name)

    @property
    def size(self) -> int:
        return sum(map(len, self.rows.values()))


# ---- drawing --------------------------------------------------------------------------------------------

TEXT = st.sampled_from(TRICKY) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4
)
_WORDS = st.text('ab אé"\\,', max_size=3)
_JSON = st.recursive(
    st.booleans() | st.integers(-1000, 1000) | _WORDS,
    lambda inner: (
        st.lists(inner | st.none(), max_size=2) | st.dictionaries(_WORDS, inner | st.none(), max_size=2)
    ),
    max_leaves=3,
)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "text": TEXT,
    "int": st.integers(-(2**31), 2**31 - 1).map(str),
    "numeric": st.decimals(-(10**8) + 1, 10**8 - 1, places=4).map(lambda number: format(number, "f")),
    "bool": st.sampled_from(["true", "false"]),
    "date": st.dates().map(str),
    "timestamptz": st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001 UTC is added
        lambda moment: moment.replace(tzinfo=UTC).isoformat()
    ),
    "uuid": st.uuids().map(str),
    "json": _JSON.map(lambda value: json.dumps(value, ensure_ascii=False)),
}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Two to five tables with up to seven rows each."""
    shapes: list[Shape] = []
    for number in range(draw(st.integers(2, 5))):
        shapes.append(draw(_shapes(f"t{number}", tuple(shapes))))
    rows: dict[str, list[Row]] = {}
    for shape in shapes:
        rows[shape.name] = draw(_rows(shape, rows))
    return World(shapes=tuple(shapes), rows=rows)


@st.composite
def _shapes(draw: st.DrawFn, name: str, before: Sequence[Shape]) -> Shape:
    identity = draw(st.sampled_from(IDENTITIES))
    code = Column(name="code", kind=draw(st.sampled_from(KEY_KINDS)))
    columns = [code]
    key = ["code"]
    relations: list[Relation] = []
    if before:
        for number in range(draw(st.integers(0, 2))):
            parent = draw(st.sampled_from(before)).name
            relations.append(Relation(name=f"r{number}", parent=parent, nullable=draw(st.booleans())))
    if identity != "natural":
        more = draw(st.sampled_from(["", "n", "relation"]))
        if more == "n":
            columns.append(Column(name="n", kind="int"))
            key.append("n")
        elif more == "relation" and relations and not relations[0].nullable:
            key.append("r0")
    if draw(st.booleans()):
        relations.append(Relation(name="up", parent=name, nullable=True))
    for number in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(KINDS))
        columns.append(Column(name=f"c{number}", kind=kind, nullable=draw(st.booleans())))
    return Shape(
        name=name, identity=identity, key=tuple(key), columns=tuple(columns), relations=tuple(relations)
    )


@st.composite
def _rows(draw: st.DrawFn, shape: Shape, before: dict[str, list[Row]]) -> list[Row]:
    if any(
        not r.nullable and not before.get(r.parent, ()) for r in shape.relations if r.parent != shape.name
    ):
        return []
    found: dict[tuple[Any, ...], Row] = {}
    for _ in range(draw(st.integers(1, 7))):
        row = draw(_row(shape, before))
        found.setdefault(tuple(row[name] for name in shape.key), row)
    rows = list(found.values())
    for row in rows:
        if "up" in row:
            row["up"] = draw(st.none() | st.integers(0, len(rows) - 1))
    return rows


@st.composite
def _row(draw: st.DrawFn, shape: Shape, before: dict[str, list[Row]]) -> Row:
    row: Row = {}
    for column in shape.columns:
        value = VALUES[column.kind]
        row[column.name] = draw(st.none() | value if column.nullable else value)
    for relation in shape.relations:
        parents = len(before.get(relation.parent, ()))
        one = st.integers(0, parents - 1) if parents else st.none()
        row[relation.name] = draw(st.none() | one if relation.nullable else one)
    return row


@st.composite
def changed(draw: st.DrawFn, world: World) -> World:
    """The same rows by key, some of their values changed, some of them gone from the end."""
    rows = {}
    for shape in world.shapes:
        rows[shape.name] = []
        for row in world.rows[shape.name]:
            values = {
                column.name: draw(st.just(row[column.name]) | VALUES[column.kind])
                for column in shape.columns
                if column.name not in shape.key
            }
            rows[shape.name].append({**row, **values})
    return World(shapes=world.shapes, rows=rows)


@st.composite
def repointed(draw: st.DrawFn, world: World) -> World:
    """The same rows by key, some of them with other parents."""
    rows = {}
    for shape in world.shapes:
        free = [each for each in shape.relations if each.name not in shape.key]
        rows[shape.name] = []
        for row in world.rows[shape.name]:
            parents = {}
            for relation in free:
                count = len(world.rows[relation.parent])
                other = st.integers(0, count - 1) if count else st.none()
                kept = st.just(row[relation.name])
                parents[relation.name] = draw(kept | st.none() | other if relation.nullable else kept | other)
            rows[shape.name].append({**row, **parents})
    return World(shapes=world.shapes, rows=rows)


@st.composite
def begun(draw: st.DrawFn, world: World) -> World:
    """Some of the rows with all that they need, as if the others had yet to come."""
    kept: dict[str, set[int]] = {shape.name: set() for shape in world.shapes}
    for shape in reversed(world.shapes):
        parents = [each for each in shape.relations if each.parent != shape.name]
        for number, row in enumerate(world.rows[shape.name]):
            if number in kept[shape.name] or draw(st.booleans()):
                kept[shape.name].add(number)
                for each in parents:
                    kept[each.parent] |= {row[each.name]} - {None}
    places = {name: {old: new for new, old in enumerate(sorted(those))} for name, those in kept.items()}
    rows = {
        shape.name: [
            world.rows[shape.name][number]
            | {r.name: places[r.parent].get(world.rows[shape.name][number][r.name]) for r in shape.relations}
            for number in places[shape.name]
        ]
        for shape in world.shapes
    }
    return World(shapes=world.shapes, rows=rows)


# ---- as DDL ---------------------------------------------------------------------------------------------


def tables_of(world: World) -> str:
    """CREATE TABLE statements, which `execute` sends to either dialect."""
    return "\n".join(_table(world, shape) for shape in world.shapes)


Emptied = Callable[[World], str]  # gives the URL of a database with the world's empty tables


def beside(world: World) -> str:
    """Make a new SQLite database with the world's tables, for another way to the same rows."""
    url = f"sqlite:///{tempfile.mkdtemp()}/world.db"
    execute(url, tables_of(world))
    return url


def _table(world: World, shape: Shape) -> str:
    parts = {"serial": ["id SERIAL KEY"], "uuid": ["id uuid PRIMARY KEY"], "natural": []}[shape.identity]
    for column in shape.columns:
        null = "" if column.nullable else " NOT NULL"
        parts.append(f"{column.name} {TYPES.get(column.kind, column.kind)}{null}")
    for relation in shape.relations:
        parent = world.shape(relation.parent)
        null = "" if relation.nullable else " NOT NULL"
        reference = f"REFERENCES {parent.name} ({parent.identity_column})"
        parts.append(f"{relation.name}_id {parent.identity_type}{null} {reference}")
    key = ", ".join("r0_id" if name == "r0" else name for name in shape.key)
    parts.append(f"{'PRIMARY KEY' if shape.identity == 'natural' else 'UNIQUE'} ({key})")
    return f"CREATE TABLE {shape.name} ({', '.join(parts)});"


# ---- as files -------------------------------------------------------------------------------------------


def write_world(
    folder: Path, world: World, formats: Sequence[str], order: Sequence[int], pieces: int = 1
) -> None:
    """Write every table in its format; `order` shuffles rows and numbers the files.

    With several `pieces` a table has as many files, each in a folder of its own.
    """
    for number, shape in enumerate(world.shapes):
        kinds = dict(_file_columns(world, shape))
        rows = [_file_row(world, shape, row) for row in world.rows[shape.name]]
        shuffled = [row for _, row in sorted(enumerate(rows), key=lambda each: order[each[0] % len(order)])]
        place = f"{order[number % len(order)]:02}-{shape.name}.{formats[number % len(formats)]}"
        for piece in range(pieces):
            inside = folder if pieces == 1 else folder / str(piece)
            inside.mkdir(exist_ok=True, parents=True)
            write_rows(inside / place, kinds, shuffled[piece::pieces])


def stages_of(world: World) -> str:
    """A project file that makes every table a stage, which waits for those of its parents."""
    text = '[project]\nname = "world"\n'
    for shape in world.shapes:
        parents = sorted({each.parent for each in shape.relations} - {shape.name})
        text += f"""
[[stages]]
id = "{shape.name}"
name = "{shape.name}"
dependencies = {json.dumps(parents)}
  [[stages.seeds]]
  name = "{shape.name}-rows"
  source = "*-{shape.name}.*"
  table = "{shape.name}"
"""
    return text


def _file_columns(world: World, shape: Shape) -> Iterator[tuple[str, str]]:
    for column in shape.columns:
        yield column.name, column.kind
    for relation in shape.relations:
        for name, kind, _ in _leaves(world, world.shape(relation.parent)):
            yield f"{relation.name}.{name}", kind


def _leaves(world: World, shape: Shape) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Dotted name, kind and path of every column that names a row of a table."""
    for name in shape.key:
        column = next((each for each in shape.columns if each.name == name), None)
        if column is not None:
            yield name, column.kind, (name,)
        else:
            relation = next(each for each in shape.relations if each.name == name)
            for inner, kind, path in _leaves(world, world.shape(relation.parent)):
                yield f"{name}.{inner}", kind, (name, *path)


def _file_row(world: World, shape: Shape, row: Row) -> dict[str, str | None]:
    values = {column.name: row[column.name] for column in shape.columns}
    for relation in shape.relations:
        parent = world.shape(relation.parent)
        for name, _, path in _leaves(world, parent):
            values[f"{relation.name}.{name}"] = _follow(world, parent, row[relation.name], path)
    return values


def _follow(world: World, shape: Shape, number: int | None, path: tuple[str, ...]) -> str | None:
    if number is None:
        return None
    value = world.rows[shape.name][number][path[0]]
    if len(path) == 1:
        return value
    relation = next(each for each in shape.relations if each.name == path[0])
    return _follow(world, world.shape(relation.parent), value, path[1:])
