"""Catalogs without a database: tables in a few words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seedlab.database.kinds import read_postgres_type
from seedlab.flow import Catalog, Column, ForeignKey, Seed, SourceFile, Table, TableSpec, UniqueKey
from seedlab.plan.columns import Given


def column(name: str, words: str, **facts: Any) -> Column:
    """`numeric(10,2) not null default`, as DDL would have it."""
    spelling = words.replace(" not null", "").replace(" default", "")
    known = read_postgres_type(spelling)
    made = Column(
        name=name,
        type=spelling,
        kind=known.kind,
        nullable=" not null" not in words,
        default=" default" in words,
        length=known.length,
        precision=known.precision,
        scale=known.scale,
    )
    return replace(made, **facts)


def table(
    name: str,
    columns: Mapping[str, str | Column],
    *,
    primary: Sequence[str] = (),
    unique: Mapping[str, Sequence[str]] | None = None,
    refers: Mapping[str, str] | None = None,
    **facts: Any,
) -> Table:
    """`refers` maps `a_id` or `tenant_id, a_id` to `parents.id` or `parents.tenant_id, id`."""
    schema, _, relation = name.rpartition(".")
    keys = [UniqueKey(name=each, columns=tuple(of)) for each, of in (unique or {}).items()]
    if primary:
        keys.insert(0, UniqueKey(name=f"{relation}_pkey", columns=tuple(primary), primary=True))
    return Table(
        name=name,
        schema=schema or "public",
        relation=relation,
        columns={n: c if isinstance(c, Column) else column(n, c) for n, c in columns.items()},
        keys=tuple(keys),
        foreign_keys=tuple(_foreign_key(relation, *each) for each in (refers or {}).items()),
        **facts,
    )


def _foreign_key(relation: str, own: str, parent: str) -> ForeignKey:
    table_name, _, columns = parent.rpartition(".")
    mine = own.split(", ")
    name = f"{relation}_{'_'.join(mine)}_fkey"
    return ForeignKey(
        name=name, columns=tuple(mine), parent=table_name, parent_columns=tuple(columns.split(", "))
    )


def catalog(*tables: Table) -> Catalog:
    return Catalog(
        dialect="postgresql",
        version="18.0",
        database="school",
        user="me",
        default_schema="public",
        tables={each.name: each for each in tables},
    )


def given(name: str, columns: Iterable[str], *, seed: str | None = None, **spec: Any) -> Given:
    """The columns of one file for a table."""
    seed = seed or name
    file = SourceFile(path=Path(f"{seed}.csv"), name=f"{seed}.csv", format="csv")
    made = TableSpec(table=name, **spec)
    return Given(
        seed=Seed(name=seed, stage="test", files=(file,), tables=(made,)), spec=made, columns=tuple(columns)
    )


UNIVERSITIES = table(
    "universities",
    {"id": "uuid not null", "slug": "text not null", "name": "text"},
    primary=["id"],
    unique={"universities_slug_key": ["slug"]},
)
FACULTIES = table(
    "faculties",
    {"id": "uuid not null", "university_id": "uuid not null", "code": "text not null", "name": "text"},
    primary=["id"],
    unique={"faculties_university_id_code_key": ["university_id", "code"]},
    refers={"university_id": "universities.id"},
)
COURSES = table(
    "courses",
    {"id": "uuid not null", "faculty_id": "uuid", "code": "text not null", "title": "text"},
    primary=["id"],
    unique={"courses_code_key": ["code"]},
    refers={"faculty_id": "faculties.id"},
)
PREREQUISITES = table(
    "prerequisites",
    {"course_id": "uuid not null", "prerequisite_id": "uuid not null"},
    primary=["course_id", "prerequisite_id"],
    refers={"course_id": "courses.id", "prerequisite_id": "courses.id"},
)
SCHOOL = catalog(UNIVERSITIES, FACULTIES, COURSES, PREREQUISITES)
