"""Growing projects: which columns are numbered, how, and that what comes out is whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from seedlab import orchestrator
from seedlab.cli import main
from seedlab.database.models import catalog_of
from seedlab.errors import ConfigurationError, DataFaults
from seedlab.flow import Catalog, Options
from seedlab.frames.generate import repeatable, repetitions
from seedlab.operations.generation import generate
from seedlab.plan.project import load_project
from tests.support.loads import loads_of

Columns = Mapping[str, Sequence[str | None]]
ACADEMY = Path(__file__).parents[1] / "data"


def grow(
    catalog: Catalog,
    tables: Mapping[str, Columns],
    times: int,
    keys: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, pl.DataFrame]:
    """Repeat the rows of some files, a few rows at a time, so that blocks meet."""
    loads = loads_of(catalog, tables, keys=keys)
    frames = [pl.DataFrame(dict(each), schema=dict.fromkeys(each, pl.String)) for each in tables.values()]
    grown = repeatable(catalog, list(zip(loads, frames, strict=True)), times)
    return {each.load.table: pl.concat(list(each.blocks(times, 7))).collect() for each in grown}


def catalog_with(*tables: sa.Table) -> Catalog:
    return catalog_of(tables[0].metadata, "postgresql")


def key_table(name: str, *columns: sa.Column, metadata: sa.MetaData | None = None) -> sa.Table:
    return sa.Table(name, metadata or sa.MetaData(), sa.Column("id", sa.Uuid, primary_key=True), *columns)


def code(kind: object = sa.Text) -> sa.Column:
    return sa.Column("code", kind, nullable=False, unique=True)


# ---- any structure of keys ------------------------------------------------------------------------------

VALUES = {
    "text": st.text("ab~1", max_size=4),
    "integer": st.integers(-9, 9).map(str),
    "uuid": st.integers(0, 9).map(lambda number: str(UUID(int=number))),
    "date": st.dates().filter(lambda day: 1900 < day.year < 2100).map(str),
}
TYPES = {"text": sa.Text, "integer": sa.Integer, "uuid": sa.Uuid, "date": sa.Date}


class Structure:
    """Tables whose keys may hold those of earlier tables, with rows; `leaves` are the columns of each key."""

    def __init__(self) -> None:
        self.metadata = sa.MetaData()
        self.leaves: dict[str, list[str]] = {}
        self.rows: dict[str, list[tuple[str, ...]]] = {}
        self.files: dict[str, dict[str, list[str | None]]] = {}
        self.references: list[tuple[str, str, str]] = []  # table, relation, parent

    def add(self, data: st.DataObject, name: str) -> None:
        kind = data.draw(st.sampled_from(sorted(TYPES)))
        parent = data.draw(st.sampled_from([None, *self.leaves]))
        other = data.draw(
            st.sampled_from([None, name, *self.leaves] if parent is None else [None, *self.leaves])
        )
        columns = [sa.Column("own", TYPES[kind], nullable=False)]
        own = st.tuples(VALUES[kind])
        self.leaves[name] = ["own"]
        if parent is not None:
            columns.append(sa.Column("parent_id", sa.ForeignKey(f"{parent}.id"), nullable=False))
            own = st.tuples(st.sampled_from(self.rows[parent]), VALUES[kind]).map(
                lambda pair: (*pair[0], pair[1])
            )
            self.leaves[name] = [*(f"parent.{leaf}" for leaf in self.leaves[parent]), "own"]
            self.references.append((name, "parent", parent))
        if other is not None:
            columns.append(sa.Column("other_id", sa.ForeignKey(f"{other}.id")))
            self.references.append((name, "other", other))
        unique = sa.UniqueConstraint(*(column.name for column in columns if column.name != "other_id"))
        key_table(name, *columns, unique, metadata=self.metadata)  # type: ignore[arg-type]
        self.rows[name] = data.draw(st.lists(own, min_size=1, max_size=4, unique=True))
        self.files[name] = {
            leaf: [row[n] for row in self.rows[name]] for n, leaf in enumerate(self.leaves[name])
        }
        if other is not None:
            targets = [data.draw(st.sampled_from([None, *self.rows[other]])) for _ in self.rows[name]]
            for n, leaf in enumerate(self.leaves[other]):
                self.files[name][f"other.{leaf}"] = [target and target[n] for target in targets]


@pytest.mark.slow
@settings(max_examples=60)
@given(data=st.data(), times=st.integers(1, 12))
def test_grown_rows_are_unique_and_whole_and_begin_with_the_source(data: st.DataObject, times: int) -> None:
    structure = Structure()
    for n in range(data.draw(st.integers(1, 4))):
        structure.add(data, f"t{n}")

    grown = grow(catalog_of(structure.metadata, "postgresql"), structure.files, times)

    keys = {name: set(frame.select(structure.leaves[name]).rows()) for name, frame in grown.items()}
    for name, columns in structure.files.items():
        source = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
        assert len(keys[name]) == times * len(source)
        assert grown[name].head(len(source)).equals(source)
    for name, relation, parent in structure.references:
        named = grown[name].select(f"{relation}.{leaf}" for leaf in structure.leaves[parent])
        assert set(named.drop_nulls().rows()) <= keys[parent]


# ---- what is numbered -----------------------------------------------------------------------------------


def test_a_code_within_its_parent_and_a_position_stay_as_they_are() -> None:
    metadata = sa.MetaData()
    courses = key_table("courses", code(), metadata=metadata)
    key_table(
        "modules",
        sa.Column("course_id", sa.ForeignKey("courses.id"), nullable=False),
        sa.Column("position", sa.SmallInteger, nullable=False),
        sa.UniqueConstraint("course_id", "position"),
        metadata=metadata,
    )
    tables = {"courses": {"code": ["cs-101"]}, "modules": {"course.code": ["cs-101"], "position": ["1"]}}

    grown = grow(catalog_with(courses), tables, 3)

    assert grown["courses"]["code"].to_list() == ["cs-101", "cs-101~1", "cs-101~2"]
    assert grown["modules"].rows() == [("cs-101", "1"), ("cs-101~1", "1"), ("cs-101~2", "1")]


def test_every_unique_column_is_numbered_and_no_other() -> None:
    table = key_table("people", code(), sa.Column("email", sa.Text, unique=True), sa.Column("name", sa.Text))

    grown = grow(catalog_with(table), {"people": {"code": ["a"], "email": ["a@b"], "name": ["Ada"]}}, 2)

    assert grown["people"].row(1) == ("a~1", "a@b~1", "Ada")


def test_null_in_a_unique_column_stays_null() -> None:
    table = key_table("people", code(), sa.Column("email", sa.Text, unique=True))

    grown = grow(catalog_with(table), {"people": {"code": ["a"], "email": [None]}}, 2)

    assert grown["people"].row(1) == ("a~1", None)


def test_a_reference_to_rows_that_no_seed_fills_stays_as_it_is() -> None:
    metadata = sa.MetaData()
    key_table("countries", code(), metadata=metadata)
    country = sa.Column("country_id", sa.ForeignKey("countries.id"))
    cities = key_table("cities", code(), country, metadata=metadata)

    grown = grow(catalog_with(cities), {"cities": {"code": ["hfa"], "country.code": ["il"]}}, 2)

    assert grown["cities"].row(1) == ("hfa~1", "il")


def test_a_key_of_nothing_but_such_a_reference_is_refused() -> None:
    metadata = sa.MetaData()
    key_table("countries", code(), metadata=metadata)
    country = sa.Column("country_id", sa.ForeignKey("countries.id"), unique=True, nullable=False)
    flags = key_table("flags", country, metadata=metadata)

    with pytest.raises(
        ConfigurationError,
        match=r"rows of flags cannot be repeated.*countries\.code belongs to rows that no seed",
    ):
        grow(catalog_with(flags), {"flags": {"country.code": ["il"]}}, 2)


def test_a_key_of_a_type_without_numbers_is_refused_by_name() -> None:
    table = key_table("switches", code(sa.Boolean))

    with pytest.raises(ConfigurationError, match=r"key \(code\).*switches\.code is BOOLEAN"):
        grow(catalog_with(table), {"switches": {"code": ["true"]}}, 2)


def test_ids_that_nobody_refers_by_are_left_to_the_target() -> None:
    table = key_table("people", code())

    grown = grow(
        catalog_with(table),
        {"people": {"id": [str(UUID(int=1))], "code": ["a"]}},
        2,
        keys={"people": ["code"]},
    )

    assert grown["people"].columns == ["code"]


def test_ids_that_others_refer_by_are_numbered_with_the_references() -> None:
    metadata = sa.MetaData()
    parents = sa.Table("parents", metadata, sa.Column("id", sa.Integer, primary_key=True), code())
    parent = sa.Column("parent_id", sa.ForeignKey("parents.id"))
    sa.Table("children", metadata, sa.Column("id", sa.Integer, primary_key=True), parent)
    tables = {
        "parents": {"id": ["5", "7"], "code": ["a", "b"]},
        "children": {"id": ["1", "2"], "parent_id": ["7", None]},
    }

    grown = grow(catalog_with(parents), tables, 2, keys={"parents": ["code"]})

    assert grown["parents"].rows()[2:] == [("8", "a~1"), ("10", "b~1")]
    assert grown["children"].rows()[2:] == [("3", "10"), ("4", None)]


# ---- room for numbers -----------------------------------------------------------------------------------


def test_a_text_too_long_for_its_number_is_shortened_alike_everywhere() -> None:
    metadata = sa.MetaData()
    parents = key_table("parents", code(sa.String(14)), metadata=metadata)
    key_table("children", code(), sa.Column("parent_id", sa.ForeignKey("parents.id")), metadata=metadata)
    long = ["fourteen-chars", "fourteen-chart"]
    tables = {"parents": {"code": long}, "children": {"code": ["a", "b"], "parent.code": long}}

    grown = grow(catalog_with(parents), tables, 11)

    codes = grown["parents"]["code"]
    assert codes.n_unique() == 22
    assert codes.str.len_chars().max() == 14
    assert codes.to_list()[2].startswith("fou")
    assert codes.to_list() == grown["children"]["parent.code"].to_list()


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (sa.String(6), "length", r"things\.code have no room for numbers of 3 digits in 6 characters"),
        (sa.SmallInteger, "900", r"things\.code \(1 to 900\) pass the largest value 32767"),
        (sa.Numeric(4, 0), "900", r"pass the largest value 9999"),
        (sa.Numeric, "0.5", r"things\.code are not all whole numbers"),
        (sa.Date, "9998-12-31", r"pass the year 9999"),
        (sa.Date, "yesterday", r"things\.code do not fit its type"),
    ],
)
def test_keys_without_room_are_refused_by_name(kind: object, value: str, said: str) -> None:
    table = key_table("things", code(kind))
    first = {"things": {"code": ["1" if value == "900" else value, *(["900"] if value == "900" else [])]}}

    with pytest.raises(ConfigurationError, match=said):
        grow(catalog_with(table), first, 500)


def test_a_source_with_numbers_of_ours_gets_another_mark() -> None:
    grown = grow(catalog_with(key_table("things", code())), {"things": {"code": ["a", "a~1"]}}, 2)

    assert grown["things"]["code"].to_list() == ["a", "a~1", "a~~1", "a~1~~1"]


def test_new_uuids_are_of_version_8() -> None:
    grown = grow(
        catalog_with(key_table("things", code(sa.Uuid))), {"things": {"code": [str(UUID(int=1))]}}, 2
    )

    made = UUID(grown["things"]["code"][1])
    assert (made.version, made.variant) == (8, "specified in RFC 4122")


@pytest.mark.parametrize(
    ("rows", "wanted", "times"), [(10, 100, 10), (10, 94, 9), (10, 95, 10), (10, 3, 1), (0, 5, 1)]
)
def test_the_size_is_as_near_as_whole_repetitions_come(rows: int, wanted: int, times: int) -> None:
    assert repetitions(rows, wanted) == times


# ---- whole projects -------------------------------------------------------------------------------------

CONFIG = """\
[project]
name = "shop"
schema = "models.py:metadata"

[environments.test]
subset = { customers = 1 }
select = ["people", "orders.all-orders"]

[[stages]]
id = "people"
conditions = ["environment:test"]
  [[stages.seeds]]
  name = "customers"
  source = "customers.csv"
  tags = ["essential"]

[[stages]]
id = "orders"
dependencies = ["people"]
parallel = false
  [[stages.seeds]]
  name = "all-orders"
  source = "orders.json"
  priority = "high"
  [stages.seeds.tables]
  orders = { key = ["code"] }
  lines  = { path = "lines", key = ["order", "position"], columns = { position = "$index" } }
"""
MODELS = """\
from sqlalchemy import JSON, Column, ForeignKey, Integer, MetaData, Table, Text, UniqueConstraint, Uuid

metadata = MetaData()
Table(
    "customers", metadata, Column("id", Uuid, primary_key=True),
    Column("name", Text, unique=True, nullable=False), Column("note", Text), Column("about", JSON),
)
Table(
    "orders", metadata, Column("id", Uuid, primary_key=True), Column("code", Text, unique=True, nullable=False),
    Column("customer_id", ForeignKey("customers.id"), nullable=False), Column("facts", JSON),
)
Table(
    "lines", metadata, Column("id", Uuid, primary_key=True),
    Column("order_id", ForeignKey("orders.id"), nullable=False), Column("position", Integer, nullable=False),
    Column("text", Text), UniqueConstraint("order_id", "position"),
)
"""
CUSTOMERS = """\
name,note,about
עדה,"two
lines, ""quoted""\\",
Bo,"","{""a"": [1.50,
 null]}"
Cy,,[]
"""
ORDERS = """\
[{"code": "o1", "customer.name": "Bo", "facts": {"n": 1e3, "s": "x"}, "lines": [{"text": "a"}, {"text": null}]},
 {"code": "o2", "customer.name": "עדה", "facts": null, "lines": []}]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, text in {
        "seedlab.toml": CONFIG, "models.py": MODELS, "customers.csv": CUSTOMERS, "orders.json": ORDERS,
    }.items():  # fmt: skip
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def contents(database: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(database)) as connection:
        shown = {
            "customers": "id, name, note, json(about)",  # without the white space that JSON does not mean
            "orders": "id, code, customer_id, json(facts)",
            "lines": "id, order_id, position, text",
        }
        return {
            table: sorted(connection.execute(f"SELECT {columns} FROM {table}").fetchall(), key=repr)
            for table, columns in shown.items()
        }


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl", "json", "yaml"])
def test_every_format_seeds_the_same_rows(shop: Path, tmp_path: Path, form: str, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEEDLAB_ENV", raising=False)
    once, thrice = tmp_path / "once", tmp_path / "thrice"
    assert main(["generate", "--rows", "1", "--format", form, "-q", str(shop), str(once)]) == 0
    assert main(["generate", "--rows", "21", "--format", form, "-q", str(shop), str(thrice)]) == 0

    for folder in (shop, once, thrice):
        line = [
            "seed",
            str(folder),
            "--database-url",
            f"sqlite:///{tmp_path}/{folder.name}.db",
            "-q",
            "--force",
        ]
        assert main(line) == 0
    assert contents(tmp_path / "once.db") == contents(tmp_path / "shop.db")
    assert {name: len(rows) for name, rows in contents(tmp_path / "thrice.db").items()} == {
        "customers": 9, "orders": 6, "lines": 6,
    }  # fmt: skip


def test_the_new_project_keeps_its_stages_without_conditions(shop: Path, tmp_path: Path) -> None:
    made = generate(load_project(shop), rows=70, out=tmp_path / "out")

    project = load_project(tmp_path / "out")
    people, orders = project.stages
    assert (made.rows, made.repetitions, len(made.files)) == (70, 10, 3)
    assert (project.name, project.schema) == ("shop-grown", "models.py:metadata")
    assert (people.conditions, people.seeds[0].tags) == ((), ("essential",))
    assert (orders.dependencies, orders.parallel) == (("people",), False)
    assert [(s.name, s.priority, s.tables[0].key) for s in orders.seeds] == [
        ("all-orders", "high", ("code",)),
        ("all-orders-lines", "high", ("order", "position")),
    ]
    assert project.environments["test"].subset == {"customers": 1}
    assert project.environments["test"].select == ("people", "orders.all-orders", "orders.all-orders-lines")
    assert all(path.is_file() for path in made.files)


@pytest.mark.parametrize(
    ("selected", "expected"),
    [
        ('"orders", "people"', ("people",)),
        ('"+orders"', ("people.customers",)),
        ('"orders"', ("orders",)),  # without any selector, the environment would select everything
    ],
)
def test_selectors_of_a_stage_without_rows_are_left_out(
    shop: Path, tmp_path: Path, selected: str, expected: tuple[str, ...]
) -> None:
    text = (shop / "seedlab.toml").read_text()
    (shop / "seedlab.toml").write_text(text.replace('"people", "orders.all-orders"', selected))
    (shop / "orders.json").write_text("[]")

    generate(load_project(shop), rows=10, out=tmp_path / "out")

    assert load_project(tmp_path / "out").environments["test"].select == expected


def test_equal_input_gives_equal_files(shop: Path, tmp_path: Path) -> None:
    first, second = (generate(load_project(shop), rows=70, out=tmp_path / name) for name in ("a", "b"))

    assert [path.read_bytes() for path in first.files] == [path.read_bytes() for path in second.files]


@pytest.mark.slow
def test_the_academy_grows_and_is_whole(tmp_path: Path) -> None:
    made = generate(load_project(ACADEMY), rows=12_000, out=tmp_path / "out")

    project = load_project(tmp_path / "out")
    orchestrator.check(project, Options(environment=project.environments["development"]))
    assert abs(made.rows - 12_000) <= made.rows / made.repetitions


def test_a_grown_project_grows_again(shop: Path, tmp_path: Path) -> None:
    generate(load_project(shop), rows=14, out=tmp_path / "two")

    made = generate(load_project(tmp_path / "two"), rows=42, out=tmp_path / "six")

    names = pl.read_parquet(made.files[0])["name"]
    assert made.rows == 42
    assert names.n_unique() == len(names) == 18
    assert "Bo~1~~2" in names.to_list()


def test_wrong_rows_are_not_repeated_and_nothing_is_left(shop: Path, tmp_path: Path) -> None:
    (shop / "orders.json").write_text('[{"code": "o1", "customer.name": "Nobody"}]')

    with pytest.raises(DataFaults) as raised:
        generate(load_project(shop), rows=10, out=tmp_path / "out")

    assert [fault.rule for fault in raised.value.faults] == ["missing-parent"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop"]


def test_a_folder_with_files_is_not_written_over(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="shop already exists"):
        generate(load_project(shop), rows=10, out=shop)


def test_a_project_without_metadata_is_told_what_is_needed(shop: Path, tmp_path: Path) -> None:
    project = replace(load_project(shop), schema=None)

    with pytest.raises(ConfigurationError, match=r'schema = "models\.py:metadata"'):
        generate(project, rows=10, out=tmp_path / "out")
