"""The project's MetaData: loaded from its folder alone, understood and made as the database would say."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
from sqlalchemy import MetaData

from seedlab.database.connect import open_session, parse_target
from seedlab.database.models import catalog_of, load_metadata, refine, statements
from seedlab.database.writer import Session
from seedlab.errors import ConfigurationError
from seedlab.flow import Settings, Table
from seedlab.insight.measuring.monitor import Monitor
from tests.support.seeding import counted, rows_of, seed

MODELS = """
    import enum
    from decimal import Decimal
    from sqlalchemy import *

    metadata = MetaData()
    Level = Enum("easy", "hard", name="level")

    university = Table(
        "university", metadata,
        Column("id", Uuid, primary_key=True),
        Column("slug", String(20), nullable=False, unique=True),
        Column("made", DateTime(timezone=True), server_default=func.now()),
        Column("twin_id", ForeignKey("university.id")),
    )
    faculty = Table(
        "faculty", metadata,
        Column("id", Integer, primary_key=True),
        Column("university_id", ForeignKey(university.c.id, name="of_university"), nullable=False),
        Column("code", Text, nullable=False, index=True),
        Column("level", Level),
        Column("budget", Numeric(10, 2)),
        Column("ratio", Float, CheckConstraint("code NOT LIKE '50%'")),
        Column("open", Boolean, nullable=False, server_default=true()),
        Column("facts", JSON),
        Column("twice", Integer, Computed("id * 2")),
        UniqueConstraint("university_id", "code", name="one_code"),
    )
    Index("one_ratio", faculty.c.ratio, unique=True)
    Index("one_lower", func.lower(faculty.c.code), unique=True)
    link = Table(
        "link", metadata,
        Column("faculty_id", ForeignKey(faculty.c.id), primary_key=True),
        Column("course_id", ForeignKey("course.id"), primary_key=True),
        Column("level", Level),
    )
    course = Table("course", metadata, Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True))
"""

Open = Callable[[], Session]


@pytest.fixture
def metadata(tmp_path: Path) -> MetaData:
    (tmp_path / "models.py").write_text(dedent(MODELS))
    return load_metadata(tmp_path, "models.py:metadata")


@pytest.fixture
def session(clean_database_url: str) -> Iterator[Session]:
    session = open_session(parse_target(clean_database_url, "test"), Settings(), Monitor(), "test")
    session.catalog()
    yield session
    session.close()


def create(session: Session, sql: list[str]) -> None:
    session.begin()
    session.create(sql)
    session.commit()


# ---- loading ----


def test_nothing_of_the_project_stays_imported(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text(
        "from sqlalchemy import MetaData\nclass Base:\n    metadata = MetaData()\n"
    )
    (tmp_path / "models.py").write_text("from neighbour import Base\n")
    path, modules = list(sys.path), set(sys.modules)

    found = load_metadata(tmp_path, "models.py:Base.metadata")

    assert isinstance(found, MetaData)
    assert sys.path == path
    assert {name for name in set(sys.modules) - modules if "neighbour" in name or "models" in name} == set()


def test_declarative_models_are_understood(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(
        dedent("""
        from __future__ import annotations
        from sqlalchemy import ForeignKey
        from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

        class Base(DeclarativeBase): ...
        class Parent(Base):
            __tablename__ = "parent"
            id: Mapped[int] = mapped_column(primary_key=True)
            children: Mapped[list[Child]] = relationship(back_populates="parent")
        class Child(Base):
            __tablename__ = "child"
            id: Mapped[int] = mapped_column(primary_key=True)
            parent_id: Mapped[int | None] = mapped_column(ForeignKey("parent.id"))
            parent: Mapped[Parent] = relationship(back_populates="children")
        """)
    )

    found = load_metadata(tmp_path, "models.py:Base.metadata")

    assert sorted(found.tables) == ["child", "parent"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("models.py", "names no attribute; write 'models.py:metadata'"),
        ("../models.py:metadata", "outside the project folder"),
        ("model.py:metadata", "no such file"),
        ("models.py:metadat", "has no 'metadat'; did you mean 'metadata'"),
        ("models.py:MetaData", "expected sqlalchemy.MetaData"),
        ("broken.py:metadata", "importing it failed: NameError: name 'nobody' is not defined"),
    ],
)
def test_what_cannot_be_loaded_is_said_with_its_file(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "models.py").write_text("from sqlalchemy import MetaData\nmetadata = MetaData()\n")
    (tmp_path / "broken.py").write_text("nobody\n")

    with pytest.raises(ConfigurationError, match=message) as caught:
        load_metadata(tmp_path, name)

    assert caught.value.place is not None
    assert caught.value.place.file == name.partition(":")[0]


# ---- as a catalog ----


def comparable(table: Table) -> object:
    """A table without the spellings in which server and SQLAlchemy may differ."""
    columns = {
        name: replace(
            column, type="", send="", default=column.default and not (column.sequence or column.generated)
        )
        for name, column in table.columns.items()
    }
    keys = {(key.name, key.columns, key.primary) for key in table.keys}
    foreign = {(key.name, key.columns, key.parent, key.parent_columns) for key in table.foreign_keys}
    return table.name, table.schema, columns, keys, foreign


def test_metadata_says_what_the_catalog_says_once_the_tables_are_made(
    session: Session, metadata: MetaData
) -> None:
    before = catalog_of(metadata, session.dialect)

    create(session, statements(metadata, before.tables, session.dialect).in_order)
    after = refine(session.catalog(), metadata)

    assert {name: comparable(table) for name, table in before.tables.items()} == {
        name: comparable(table) for name, table in after.tables.items()
    }
    assert not any(table.exists for table in before.tables.values())
    assert before.default_schema == after.default_schema


def test_sqlite_learns_types_from_the_metadata(metadata: MetaData) -> None:
    tables = catalog_of(metadata, "sqlite").tables

    assert tables["university"].columns["made"].kind == "timestamptz"
    assert tables["university"].columns["id"].storage == "hex"
    assert tables["faculty"].columns["university_id"].kind == "uuid"
    assert tables["faculty"].columns["budget"].kind == "numeric"
    assert tables["faculty"].columns["ratio"].kind == "float8"


def test_a_uuid_that_is_no_key_is_known_from_the_metadata(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(
        "from sqlalchemy import *\nmetadata = MetaData()\n"
        "Table('t', metadata, Column('id', Integer, primary_key=True), Column('token', Uuid))\n"
    )

    column = catalog_of(load_metadata(tmp_path, "models.py:metadata"), "sqlite").tables["t"].columns["token"]

    assert (column.kind, column.storage) == ("uuid", "hex")


# ---- as statements ----


def test_only_missing_tables_are_made(session: Session, metadata: MetaData) -> None:
    first = statements(metadata, ["university", "faculty"], session.dialect)
    second = statements(metadata, ["course", "link"], session.dialect)

    create(session, first.in_order)
    create(session, second.in_order)

    assert set(session.catalog().tables) == {"university", "faculty", "course", "link"}
    assert not any("university" in each for each in second.in_order)


def test_on_postgresql_foreign_keys_and_indexes_come_after_the_rows(metadata: MetaData) -> None:
    ddl = statements(metadata, catalog_of(metadata, "postgresql").tables, "postgresql")

    assert not any("FOREIGN KEY" in each or "CREATE UNIQUE INDEX" in each for each in ddl.tables)
    assert sum("FOREIGN KEY" in each for each in ddl.constraints_and_indexes) == 4
    assert sum("INDEX" in each for each in ddl.constraints_and_indexes) == 3


def test_a_percent_sign_stays_one(metadata: MetaData) -> None:
    for dialect in ("postgresql", "sqlite"):
        ddl = statements(metadata, ["faculty"], dialect)

        assert "LIKE '50%')" in "".join(ddl.tables)


def test_a_schema_is_made_for_its_tables(tmp_path: Path, clean_postgres_url: str) -> None:
    (tmp_path / "models.py").write_text(
        "from sqlalchemy import *\nmetadata = MetaData(schema='odd Name')\n"
        "Table('t', metadata, Column('id', Integer, primary_key=True))\n"
    )
    metadata = load_metadata(tmp_path, "models.py:metadata")
    session = open_session(parse_target(clean_postgres_url, "test"), Settings(), Monitor(), "test")
    session.catalog()

    create(session, statements(metadata, ["odd Name.t"], "postgresql").in_order)
    create(session, statements(metadata, ["odd Name.t"], "postgresql").tables[:1])

    table = session.catalog().tables["odd Name.t"]
    assert comparable(table) == comparable(catalog_of(metadata, "postgresql").tables["odd Name.t"])
    session.close()


def test_a_table_that_is_called_like_one_of_a_schema_is_another(
    tmp_path: Path, clean_postgres_url: str
) -> None:
    (tmp_path / "models.py").write_text(
        dedent("""
        from sqlalchemy import Column, ForeignKey, MetaData, Table, Text
        metadata = MetaData()
        Table("b", metadata, Column("code", Text, primary_key=True), schema="a")
        Table("a.b", metadata, Column("name", Text, ForeignKey("a.b.code"), primary_key=True), schema="public")
        """)
    )
    (tmp_path / "seedlab.toml").write_text('[project]\nschema = "models.py:metadata"\n')
    (tmp_path / "a.b.csv").write_text("code\nx\n")
    (tmp_path / "public.a.b.csv").write_text("name\nx\n")

    runs = [seed(tmp_path, clean_postgres_url, force=True) for _ in range(2)]

    assert list(map(counted, runs)) == [(2, 0, 0), (0, 0, 2)]
    assert rows_of(clean_postgres_url, 'SELECT * FROM public."a.b" JOIN a.b ON code = name') == [("x", "x")]


def test_what_a_dialect_cannot_make_is_an_error_of_configuration(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(
        "from sqlalchemy import *\nfrom sqlalchemy.dialects.postgresql import ARRAY\nmetadata = MetaData()\n"
        "Table('t', metadata, Column('id', ARRAY(Integer)))\n"
    )

    with pytest.raises(ConfigurationError, match="cannot be made on sqlite"):
        statements(load_metadata(tmp_path, "models.py:metadata"), ["t"], "sqlite")
