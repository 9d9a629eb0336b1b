"""The academy as it stands in a database: the same rows and ids on both dialects, at every level, always."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import RFC_4122, UUID

import polars as pl
import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from seedlab.flow import LEVELS
from tests.fix_academy import DATA, content_of, expected, summary_of

SNAPSHOT = Path(__file__).parent / "snapshots" / "academy.json"
ESSENTIAL = {"translations", "universities", "faculties", "disciplines", "blocks"}

both_dialects = pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
every_environment = pytest.mark.parametrize("environment", ["development", "test", "production"])


# ---- the snapshot ---------------------------------------------------------------------------------------


@pytest.mark.slow
@both_dialects
@pytest.mark.parametrize("level", LEVELS)
def test_every_level_gives_the_rows_and_ids_of_the_snapshot(academies, academy_metadata, dialect, level):
    seeded = academies.seeded(dialect, level)

    summary = summary_of(content_of(seeded.url, academy_metadata))
    snapshot = expected(SNAPSHOT, summary)

    assert summary == snapshot, f"if this is meant: SEEDLAB_ACCEPT=1 pytest {Path(__file__).name}"
    assert seeded.run.outcomes.created == sum(table["rows"] for table in snapshot.values())


def test_the_snapshot_sees_one_changed_letter(academies, academy_metadata):
    content = content_of(academies.seeded("sqlite").url, academy_metadata)
    before = summary_of(content)

    content["answers"][7][3] += " "

    assert {table for table in before if summary_of(content)[table] != before[table]} == {"answers"}


# ---- again ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("level", ["bulk", "incremental"])
def test_seeding_again_changes_nothing(academies, academy_metadata, database_url, level):
    first = academies.seed(database_url, level)
    before = content_of(database_url, academy_metadata)

    second = academies.seed(database_url, level)

    assert (second.outcomes.created, second.outcomes.updated) == (0, 0)
    assert second.outcomes.unchanged == first.outcomes.created
    assert content_of(database_url, academy_metadata) == before


@pytest.mark.slow
def test_seeding_again_touches_no_row(academies, academy_metadata, postgres_url):
    academies.seed(postgres_url)
    before = row_versions(postgres_url, academy_metadata)

    academies.seed(postgres_url)

    assert row_versions(postgres_url, academy_metadata) == before


def row_versions(url: str, metadata: sa.MetaData) -> dict[str, list[tuple[str, str, str]]]:
    """Where each row lies, which transaction wrote it and which has touched it."""
    query = sql.SQL("SELECT ctid::text, xmin::text, xmax::text FROM {} ORDER BY ctid")
    with psycopg.connect(url) as connection:
        return {
            name: connection.execute(query.format(sql.Identifier(name))).fetchall()
            for name in metadata.tables
        }


# ---- ids ------------------------------------------------------------------------------------------------


@both_dialects
def test_every_id_is_a_uuid_of_version_8(academies, academy_metadata, dialect):
    content = content_of(academies.seeded(dialect).url, academy_metadata)

    ids = [UUID(row[0]) for name, rows in content.items() if has_id(academy_metadata, name) for row in rows]

    assert len(ids) == len(set(ids)) == 5321 - 279 - 355  # link tables have none
    assert {(each.version, each.variant) for each in ids} == {(8, RFC_4122)}


def test_sqlite_keeps_ids_as_sqlalchemy_reads_them(academies, academy_metadata):
    path = academies.seeded("sqlite").url.removeprefix("sqlite:///")
    tables = [name for name in academy_metadata.tables if has_id(academy_metadata, name)]

    with closing(sqlite3.connect(path)) as connection:
        ids = [row[0] for name in tables for row in connection.execute(f'SELECT id FROM "{name}"')]

    assert [
        each for each in ids if not re.fullmatch("[0-9a-f]{12}8[0-9a-f]{3}[89ab][0-9a-f]{15}", each)
    ] == []


def has_id(metadata: sa.MetaData, table: str) -> bool:
    return "id" in metadata.tables[table].columns


# ---- environments ---------------------------------------------------------------------------------------


@both_dialects
@every_environment
def test_no_row_of_any_environment_has_lost_its_parent(academies, academy_metadata, dialect, environment):
    url = academies.seeded(dialect, environment=environment).url

    orphans = {str(key.parent): count_orphans(url, key) for key in foreign_keys(academy_metadata)}

    assert len(orphans) == 23
    assert {key: count for key, count in orphans.items() if count} == {}


def foreign_keys(metadata: sa.MetaData) -> list[sa.ForeignKey]:
    return [key for table in metadata.sorted_tables for key in table.foreign_keys]


def count_orphans(url: str, key: sa.ForeignKey) -> int:
    parent = key.column.table.alias()
    query = (
        sa.select(sa.func.count())
        .select_from(key.parent.table.outerjoin(parent, key.parent == parent.c[key.column.name]))
        .where(key.parent.is_not(None), parent.c[key.column.name].is_(None))
    )
    return int(scalars(url, query)[0])


def scalars(url: str, query: sa.Select[tuple[object]]) -> list[object]:
    return [row[0] for row in rows(url, query)]


def rows(url: str, query: sa.Select[tuple[object, ...]]) -> list[tuple[object, ...]]:
    driver = {"sqlite": "sqlite"}.get(url.partition(":")[0], "postgresql+psycopg")
    engine = sa.create_engine(sa.make_url(url).set(drivername=driver))
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]
    finally:
        engine.dispose()


@every_environment
def test_an_environment_is_the_same_on_both_dialects(academies, academy_metadata, environment):
    contents = [
        content_of(academies.seeded(dialect, environment=environment).url, academy_metadata)
        for dialect in ("postgresql", "sqlite")
    ]

    assert contents[0] == contents[1]


def test_the_test_environment_is_small_and_keeps_rows_in_every_table(academies, academy_metadata):
    content = content_of(academies.seeded("sqlite", environment="test").url, academy_metadata)
    counts = {name: len(rows) for name, rows in content.items()}

    assert counts["universities"] == 2
    assert 0 < counts["questions"] <= 40
    assert min(counts.values()) > 0
    assert counts["courses"] < 261


def test_production_holds_the_essential_tables_whole_and_nothing_else(academies, academy_metadata):
    full = content_of(academies.seeded("sqlite").url, academy_metadata)
    content = content_of(academies.seeded("sqlite", environment="production").url, academy_metadata)

    assert {name for name, rows in content.items() if rows} == ESSENTIAL
    assert {name: content[name] for name in ESSENTIAL} == {name: full[name] for name in ESSENTIAL}


# ---- degrees --------------------------------------------------------------------------------------------


@both_dialects
@pytest.mark.parametrize("subject", ["computer-science", "economics"])
def test_degrees_have_the_courses_that_their_file_lists(academies, academy_metadata, dialect, subject):
    degrees = json.loads((DATA / "04-degrees" / f"{subject}.json").read_text(encoding="utf-8"))
    listed = [
        (degree["code"], link["course"]["code"], link["block"]["code"], link["year"])
        for degree in degrees
        for link in degree["courses"]
    ]

    found = course_lists(academies.seeded(dialect).url, academy_metadata, {d["code"] for d in degrees})

    assert found == sorted(listed)
    assert len(degrees) >= 2


@both_dialects
def test_all_other_degrees_have_the_courses_of_the_parquet_file(academies, academy_metadata, dialect):
    listed = pl.read_parquet(DATA / "04-degrees" / "degree_courses.parquet")
    codes = set(listed["degree.code"])

    found = course_lists(academies.seeded(dialect).url, academy_metadata, codes)

    assert found == sorted(listed.rows())


def course_lists(url: str, metadata: sa.MetaData, degrees: set[str]) -> list[tuple[object, ...]]:
    """Degree, course, block and year of every link of these degrees, sorted."""
    links, degree, course, block = (
        metadata.tables[name] for name in ("degree_courses", "degrees", "courses", "blocks")
    )
    query = (
        sa.select(degree.c.code, course.c.code, block.c.code, links.c.year)
        .select_from(links.join(degree).join(course).join(block, links.c.block_id == block.c.id))
        .where(degree.c.code.in_(degrees))
    )
    return sorted(rows(url, query))
