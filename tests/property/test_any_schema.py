"""Whatever the schema: types, NULLs, keys and foreign keys with cycles, in every format, both dialects, exactly.

A schema has a few tables. Each is known by a key of one or two columns of any type that can be one, and has
columns of any type. Foreign keys go anywhere, also back; their columns hold the parent's number, or its key.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Literal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fix_clean import clean
from tests.support.asking import asking
from tests.support.seeding import WAYS, Way, counted, execute, rows_of, seed_in
from tests.support.type_values import EVERY, TYPES
from tests.support.type_values_sqlite import LOOSE
from tests.support.writing import FORMATS, write_rows

# The nth value of a type that can be a key.
KEY_VALUES: dict[str, Callable[[int], str]] = {
    "text": lambda n: f"kéy '{n}'",
    "varchar(12)": lambda n: f" {n}\\",
    "char(5)": lambda n: f"c{n}",
    "int": lambda n: str(n * 7 - 3),
    "bigint": lambda n: str(n - 2**63),
    "uuid": lambda n: str(UUID(int=n)),
    "date": lambda n: (date(1, 1, 1) + timedelta(n)).isoformat(),
    "timestamptz": lambda n: f"2024-03-31T0{n % 10}:30:00.{n:03}+05:30",
    "numeric(9,2)": lambda n: f"-{n}.50",
    "bytea": lambda n: f"\\x00{n:02x}",
    "boolean": lambda n: ("true", "false")[n],
    "inet": lambda n: f"10.0.0.{n}/32",
    "int4range": lambda n: f"[{n},{n}]",
    "mood": lambda n: ("sad", "ok", "happy", "very happy", "O'Brien", "שמח")[n],
    "price": lambda n: f"{n}.1",
    "int[]": lambda n: f"{{{n}, NULL}}",
}
MOST = {"boolean": 2, "mood": 6}
ON_SQLITE = ("text", "varchar(12)", "int", "bigint", "date", "uuid", "boolean")
DOCUMENTS = ("json", "jsonb")
FAST, SLOW = 6, 150
GIVEN = {"derandomize": True, "suppress_health_check": list(HealthCheck)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A table: key columns' types, whether it is numbered, whether the key's last column is NULL in the first
    row, or its first one in all rows, columns' places among the types, foreign keys as (place of the parent,
    whether NOT NULL), and for each row the places of its values and of its parents.
    """

    key: tuple[str, ...]
    numbered: bool
    null: Literal["last", "first"] | None
    columns: tuple[tuple[int, bool], ...]
    foreign_keys: tuple[tuple[int, bool], ...]
    rows: tuple[tuple[tuple[int | None, ...], tuple[int | None, ...]], ...]


@st.composite
def schemas(draw: st.DrawFn, keys: Sequence[str], types: int) -> list[Made]:
    """Draw a schema and its rows; the tables that somebody must refer to have a row."""
    count = draw(st.integers(1, 4))
    kinds = [tuple(draw(st.lists(st.sampled_from(keys), min_size=1, max_size=2))) for _ in range(count)]
    heights = [draw(st.integers(1, min(5, *(MOST.get(kind, 5) for kind in kind_)))) for kind_ in kinds]
    made = []
    for key, height in zip(kinds, heights, strict=True):
        columns = draw(st.lists(st.tuples(st.integers(0, types - 1), st.booleans()), max_size=4))
        foreign_keys = draw(st.lists(st.tuples(st.integers(0, count - 1), st.booleans()), max_size=3))

        def places(limits: list[tuple[int, bool]]) -> st.SearchStrategy[tuple[int | None, ...]]:
            each = [
                st.integers(0, most) if never else st.none() | st.integers(0, most) for most, never in limits
            ]
            return st.tuples(*each)

        parents = places([(heights[parent] - 1, never) for parent, never in foreign_keys])
        row = st.tuples(places([(40, never) for _, never in columns]), parents)
        made.append(
            Made(
                key=key,
                numbered=draw(st.booleans()),
                null=draw(st.sampled_from(("last", "first") if len(key) > 1 else ("last",)) | st.none()),
                columns=tuple(columns),
                foreign_keys=tuple(foreign_keys),
                rows=tuple(draw(row) for _ in range(height)),
            )
        )
    # A row of which all is NULL cannot be referred to, nor be written as a line of CSV if that is one column.
    referred = {parent for each in made for parent, _ in each.foreign_keys}
    return [
        each
        if (n not in referred and (each.columns or len(each.key) > 1))
        or (each.numbered and len(each.key) > 1)
        else replace(each, null=None)
        for n, each in enumerate(made)
    ]


def _unsaid(value: str) -> bool:
    """Tell JSON whose blanks or escapes no reader keeps, or that is NULL."""
    return "  " in value or "\\u" in value or value == "null"


class Schema:
    """A drawn schema in a dialect: its tables, its files, and what must be stored."""

    def __init__(self, made: list[Made], *, sqlite: bool) -> None:
        self.made = made
        self.types = [each.type for each in (LOOSE if sqlite else EVERY)]
        # Of JSON only what a file of JSON can say, too.
        self.taken = [
            [v for v in each.taken if each.type.lower() not in DOCUMENTS or not _unsaid(v)]
            for each in (LOOSE if sqlite else EVERY)
        ]
        self.sqlite = sqlite

    def ddl(self) -> str:
        """Tables, then foreign keys: those of SQLite are part of the tables, which may name later ones."""
        tables, later = [], []
        for n, each in enumerate(self.made):
            lines = ["id SERIAL KEY"] if each.numbered else []
            never = "" if each.null else " NOT NULL"
            lines += [f"k{m} {kind}{never}" for m, kind in enumerate(each.key)]
            lines += [
                f"c{m} {self.types[place]}{' NOT NULL' if never else ''}"
                for m, (place, never) in enumerate(each.columns)
            ]
            keys = []
            for m, (parent, never) in enumerate(each.foreign_keys):
                theirs = self.made[parent]
                pairs = (
                    [("id", "int")] if theirs.numbered else [(f"k{i}", t) for i, t in enumerate(theirs.key)]
                )
                lines += [f"f{m}_{name} {kind}{' NOT NULL' if never else ''}" for name, kind in pairs]
                own, other = (
                    ", ".join(names)
                    for names in zip(*((f"f{m}_{name}", name) for name, _ in pairs), strict=True)
                )
                keys.append(f"CONSTRAINT f{m} FOREIGN KEY ({own}) REFERENCES t{parent} ({other})")
            unique = ", ".join(f"k{m}" for m in range(len(each.key)))
            lines.append(f"{'UNIQUE' if each.numbered or each.null else 'PRIMARY KEY'} ({unique})")
            lines += keys if self.sqlite else []
            later += [] if self.sqlite else [f"ALTER TABLE t{n} ADD {key};" for key in keys]
            tables.append(f"CREATE TABLE t{n} ({', '.join(lines)});")
        return ("" if self.sqlite else TYPES) + "".join([*tables, *later])

    def key(self, table: int, row: int) -> list[str | None]:
        """The row's key: of two columns the second alone tells rows apart."""
        (*first, last), null = self.made[table].key, self.made[table].null
        return [
            *(None if null == "first" else KEY_VALUES[kind](0) for kind in first),
            None if null == "last" and row == 0 else KEY_VALUES[last](row),
        ]

    def configuration(self, formats: Sequence[str]) -> str:
        """Say of the tables with NULL in their keys that it is meant."""
        lines = ["[[stages]]", 'id = "all"']
        for n, each in enumerate(self.made):
            lines += ["[[stages.seeds]]", f'name = "t{n}"', f'source = "t{n}.{formats[n]}"']
            if each.null:
                lines += ["[stages.seeds.tables]", f't{n} = {{ nulls = "equal" }}']
        return "\n".join(lines)

    def value(self, place: int, nth: int) -> str:
        return self.taken[place][nth % len(self.taken[place])]

    def rows(self, table: int, form: str) -> tuple[dict[str, str], list[dict[str, str | None]]]:
        """What the file says: the kinds of its columns, and its rows, parents by their keys."""
        each = self.made[table]
        documents = form in ("json", "jsonl", "yaml")
        kinds = dict.fromkeys((f"k{m}" for m in range(len(each.key))), "text")
        for m, (place, _) in enumerate(each.columns):
            own = documents and self.types[place].lower() in DOCUMENTS
            kinds[f"c{m}"] = "json" if own else "text"
        for m, (parent, _) in enumerate(each.foreign_keys):
            kinds |= dict.fromkeys((f"f{m}.k{i}" for i in range(len(self.made[parent].key))), "text")
        rows = []
        for n, (values, parents) in enumerate(each.rows):
            row: dict[str, str | None] = {f"k{m}": text for m, text in enumerate(self.key(table, n))}
            for m, ((place, _), nth) in enumerate(zip(each.columns, values, strict=True)):
                row[f"c{m}"] = None if nth is None else self.value(place, nth)
            for m, ((parent, _), nth) in enumerate(zip(each.foreign_keys, parents, strict=True)):
                names = [f"f{m}.k{i}" for i in range(len(self.made[parent].key))]
                row |= (
                    dict.fromkeys(names)
                    if nth is None
                    else dict(zip(names, self.key(parent, nth), strict=True))
                )
            rows.append(row)
        return kinds, rows

    def stored(self, url: str, table: int) -> list[tuple[object, ...]]:
        """The rows by their keys: their values, and the keys of their parents."""
        each = self.made[table]
        text = "" if self.sqlite else "::text"
        columns = [f"t.k{m}{text}" for m in range(len(each.key))]
        columns += [f"t.c{m}{text}" for m in range(len(each.columns))]
        joins = ""
        for m, (parent, _) in enumerate(each.foreign_keys):
            theirs = self.made[parent]
            names = ["id"] if theirs.numbered else [f"k{i}" for i in range(len(theirs.key))]
            on = " AND ".join(f"p{m}.{name} = t.f{m}_{name}" for name in names)
            joins += f" LEFT JOIN t{parent} p{m} ON {on}"
            columns += [f"p{m}.k{i}{text}" for i in range(len(theirs.key))]
        return sorted(rows_of(url, f"SELECT {', '.join(columns)} FROM t{table} t{joins}"), key=repr)

    def expected(self, url: str, table: int) -> list[tuple[object, ...]]:
        """What the file says, as the database spells it."""
        kinds, rows = self.rows(table, "csv")
        types = self.column_types(table)
        if self.sqlite:
            spell = {kind: _as_sqlite(kind) for kind in types}
            told = [tuple(spell[t](row[c]) for c, t in zip(kinds, types, strict=True)) for row in rows]
        else:
            with asking(url) as connection:
                casts = ", ".join(f"%s::text::{kind}::text" for kind in types)
                told = [
                    tuple(connection.execute(f"SELECT {casts}", [row[c] for c in kinds]).fetchone() or ())
                    for row in rows
                ]
        return sorted(told, key=repr)

    def column_types(self, table: int) -> list[str]:
        each = self.made[table]
        own = [*each.key, *(self.types[place] for place, _ in each.columns)]
        return own + [kind for parent, _ in each.foreign_keys for kind in self.made[parent].key]


def _as_sqlite(kind: str) -> Callable[[str | None], object]:
    """How SQLite stores what a column of this type is given."""
    known = {each.type: each.taken for each in LOOSE}
    keys: dict[str, Callable[[str], object]] = {
        "int": int,
        "bigint": int,
        "boolean": lambda text: int(text == "true"),
    }
    if kind in known and kind not in keys:
        return lambda text: None if text is None else known[kind][text]
    return lambda text: None if text is None else keys.get(kind, str)(text)


MANNERS = st.tuples(st.sampled_from(WAYS), st.lists(st.sampled_from(FORMATS), min_size=4, max_size=4))


def check(schema: Schema, url: str, way: Way, formats: Sequence[str]) -> None:
    execute(url, schema.ddl())
    total = sum(len(each.rows) for each in schema.made)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "any"
        folder.mkdir()
        for table in range(len(schema.made)):
            form = formats[table]
            write_rows(folder / f"t{table}.{form}", *schema.rows(table, form))
        if any(each.null for each in schema.made):
            (folder / "seedlab.toml").write_text(schema.configuration(formats))

        runs = [seed_in(way, folder, url) for _ in range(2)]

    for table in range(len(schema.made)):
        assert schema.stored(url, table) == schema.expected(url, table)
    assert [counted(run) for run in runs] == [(total, 0, 0), (0, 0, total)]


def check_postgres(made: list[Made], manner: tuple[Way, list[str]], url: str) -> None:
    clean(url)
    check(Schema(made, sqlite=False), url, *manner)


def check_sqlite(made: list[Made], manner: tuple[Way, list[str]]) -> None:
    url = f"sqlite:///{tempfile.mkdtemp()}/any.db"
    check(Schema(made, sqlite=True), url, *manner)


POSTGRES = schemas(list(KEY_VALUES), len(EVERY))
SQLITE = schemas(ON_SQLITE, len(LOOSE))


@given(made=POSTGRES, manner=MANNERS)
@settings(max_examples=FAST, **GIVEN)
def test_any_schema_of_postgresql_is_filled_exactly(made, manner, used_postgres_url) -> None:
    check_postgres(made, manner, used_postgres_url)


@given(made=SQLITE, manner=MANNERS)
@settings(max_examples=FAST, **GIVEN)
def test_any_schema_of_sqlite_is_filled_exactly(made, manner) -> None:
    check_sqlite(made, manner)


@pytest.mark.slow
@given(made=POSTGRES, manner=MANNERS)
@settings(max_examples=SLOW, **GIVEN)
def test_many_schemas_of_postgresql_are_filled_exactly(made, manner, used_postgres_url) -> None:
    check_postgres(made, manner, used_postgres_url)


@pytest.mark.slow
@given(made=SQLITE, manner=MANNERS)
@settings(max_examples=SLOW, **GIVEN)
def test_many_schemas_of_sqlite_are_filled_exactly(made, manner) -> None:
    check_sqlite(made, manner)
