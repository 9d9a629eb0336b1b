"""Handles: rows named by their keys, alike from wherever they are seen."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

import polars as pl
import pytest
import xxhash
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from seedlab.errors import ConfigurationError
from seedlab.flow import HANDLE, Catalog, Load
from seedlab.frames.resolve import (
    UUID5_NAMESPACE,
    Naming,
    add_handles,
    alternative_column,
    name_rows,
    reference_column,
    restate,
)
from seedlab.plan.binder import bind
from tests.support.tables import COURSES, FACULTIES, SCHOOL, UNIVERSITIES, catalog, given, table

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
Columns = Mapping[str, Sequence[str | None]]


def loads_of(catalog: Catalog, **tables: Sequence[str]) -> list[Load]:
    return list(bind(catalog, [given(name, columns) for name, columns in tables.items()]).loads)


def handled(load: Load, naming: Naming, columns: Columns) -> pl.DataFrame:
    frame = pl.DataFrame(dict(columns), schema=dict.fromkeys(columns, pl.String))
    return add_handles(frame, load, naming)


def chain(label: str, *values: str) -> bytes:
    """The text that is hashed, built a second time: every part behind its length in bytes."""
    return b"".join(b"%d:%s" % (len(part.encode()), part.encode()) for part in (label, *values))


def uuid8(label: str, *values: str) -> int:
    bits = xxhash.xxh3_128_intdigest(chain(label, *values))
    return bits & ~(0xF << 76) & ~(0x3 << 62) | 0x8 << 76 | 0x2 << 62


# ---- handles ----


@examples(slug=TEXT, code=TEXT)
@settings(max_examples=50)
def test_a_handle_is_the_hash_of_table_and_key_chain_however_it_is_computed(slug: str, code: str) -> None:
    loads = loads_of(
        SCHOOL,
        universities=["slug"],
        faculties=["university.slug", "code"],
        courses=["code", "faculty.university.slug", "faculty.code"],
    )
    naming = name_rows(SCHOOL, loads, "uuid8")

    university = handled(loads[0], naming, {"slug": [slug]})
    faculty = handled(loads[1], naming, {"university.slug": [slug], "code": [code]})
    course = {"code": ["1"], "faculty.university.slug": [slug], "faculty.code": [code]}
    assert university[HANDLE].item() == uuid8("universities", slug)
    assert faculty[HANDLE].item() == uuid8("faculties", code, slug)
    assert faculty[reference_column(0)].item() == university[HANDLE].item()
    assert handled(loads[2], naming, course)[reference_column(0)].item() == faculty[HANDLE].item()


@examples(slug=TEXT)
@settings(max_examples=50)
def test_a_handle_is_a_uuid8(slug: str) -> None:
    (load,) = loads_of(SCHOOL, universities=["slug"])

    found = uuid.UUID(int=handled(load, name_rows(SCHOOL, [load], "uuid8"), {"slug": [slug]})[HANDLE].item())

    assert (found.version, found.variant) == (8, uuid.RFC_4122)


@examples(slug=TEXT, code=TEXT)
@settings(max_examples=50)
def test_a_uuid5_handle_is_the_standard_librarys(slug: str, code: str) -> None:
    (load,) = loads_of(SCHOOL, faculties=["university.slug", "code"])
    naming = name_rows(SCHOOL, [load], "uuid5")

    frame = handled(load, naming, {"university.slug": [slug], "code": [code]})

    namespace = uuid.UUID(bytes=UUID5_NAMESPACE)
    assert frame[HANDLE].item() == uuid.uuid5(namespace, chain("faculties", code, slug).decode()).int


@pytest.mark.parametrize("name", ["rooms", "{}", "{rooms}", "a{b", "}", "{{}}", "חדר"])
def test_a_table_may_have_any_name(name: str) -> None:
    rooms = table(name, {"number": "int4 not null"}, primary=["number"])
    (load,) = loads_of(catalog(rooms), **{name: ["number"]})

    frame = handled(load, name_rows(catalog(rooms), [load], "uuid8"), {"number": ["7"]})

    assert frame[HANDLE].item() == uuid8(name, "7")


def test_rows_are_named_alike_where_a_chunk_of_them_is_empty() -> None:
    (load,) = loads_of(SCHOOL, universities=["slug"])
    naming = name_rows(SCHOOL, [load], "uuid8")
    slugs = pl.Series("slug", ["huji"]).append(pl.Series(["tau", "bgu"]))
    frame = pl.DataFrame([slugs.filter(pl.Series([False, True, True]))])
    assert [len(chunk) for chunk in frame["slug"].get_chunks()] == [0, 2]

    left = add_handles(frame, load, naming)

    assert left[HANDLE].to_list() == [uuid8("universities", slug) for slug in ("tau", "bgu")]


def test_keys_that_run_together_have_different_handles() -> None:
    (load,) = loads_of(SCHOOL, faculties=["university.slug", "code"])

    frame = handled(
        load, name_rows(SCHOOL, [load], "uuid8"), {"university.slug": ["ab", "a"], "code": ["c", "bc"]}
    )

    assert frame[HANDLE].n_unique() == 2


def test_equal_values_of_a_key_have_one_handle_however_they_are_spelled() -> None:
    rooms = table("rooms", {"number": "int4 not null", "open": "bool not null"}, primary=["number", "open"])
    (load,) = loads_of(catalog(rooms), rooms=["number", "open"])

    frame = handled(
        load, name_rows(catalog(rooms), [load], "uuid8"), {"number": ["7", "+007"], "open": ["t", "TRUE"]}
    )

    assert frame[HANDLE].n_unique() == 1


def test_a_key_part_that_is_null_makes_no_handle() -> None:
    (load,) = loads_of(SCHOOL, faculties=["university.slug", "code"])

    frame = handled(
        load, name_rows(SCHOOL, [load], "uuid8"), {"university.slug": [None, "u"], "code": ["c", "c"]}
    )

    assert frame[HANDLE].is_null().to_list() == [True, False]


def test_a_reference_with_every_part_null_has_no_handle() -> None:
    (load,) = loads_of(SCHOOL, courses=["code", "faculty.university.slug", "faculty.code"])
    naming = name_rows(SCHOOL, [load], "uuid8")

    frame = handled(load, naming, {"code": ["1"], "faculty.university.slug": [None], "faculty.code": [None]})

    assert frame[reference_column(0)].to_list() == [None]
    assert frame[HANDLE].null_count() == 0


def test_a_table_of_another_schema_makes_other_handles() -> None:
    other = table("archive.universities", dict(UNIVERSITIES.columns), unique={"s": ["slug"]}, primary=["id"])
    both = catalog(UNIVERSITIES, other)
    loads = list(bind(both, [given("universities", ["slug"]), given("archive.universities", ["slug"])]).loads)
    naming = name_rows(both, loads, "uuid8")

    handles = [handled(load, naming, {"slug": ["a"]})[HANDLE].item() for load in loads]

    assert handles == [uuid8("universities", "a"), uuid8("archive.universities", "a")]


def test_a_self_reference_outside_the_key_is_a_handle_like_any_other() -> None:
    staff = table(
        "staff",
        {"id": "uuid not null", "login": "text not null", "boss_id": "uuid"},
        primary=["id"],
        unique={"login": ["login"]},
        refers={"boss_id": "staff.id"},
    )
    (load,) = loads_of(catalog(staff), staff=["login", "boss.login"])

    frame = handled(
        load, name_rows(catalog(staff), [load], "uuid8"), {"login": ["a", "b"], "boss.login": [None, "a"]}
    )

    assert frame[reference_column(0)].to_list() == [None, frame[HANDLE][0]]


# ---- naming ----


def test_a_key_through_a_self_reference_is_refused_with_a_scalar_key_to_take_instead() -> None:
    topics = table(
        "topics",
        {
            "id": "uuid not null",
            "slug": "text not null",
            "parent_id": "uuid not null",
            "position": "int4 not null",
        },
        primary=["id"],
        unique={"a_place": ["parent_id", "position"], "b_slug": ["slug"]},
        refers={"parent_id": "topics.id"},
    )
    seed = given("topics", ["parent.slug", "position", "slug"], key=("parent", "position"))
    loads = bind(catalog(topics), [seed]).loads

    with pytest.raises(
        ConfigurationError, match=r"reference back to the table itself \(topics → topics\).*key = \['slug'\]"
    ):
        name_rows(catalog(topics), loads, "uuid8")


def test_keys_that_need_each_other_are_refused() -> None:
    columns = {"id": "uuid not null", "other_id": "uuid not null", "n": "int4 not null"}
    heads = table(
        "heads", columns, primary=["id"], unique={"h": ["other_id", "n"]}, refers={"other_id": "tails.id"}
    )
    tails = table(
        "tails", columns, primary=["id"], unique={"t": ["other_id", "n"]}, refers={"other_id": "heads.id"}
    )
    both = catalog(heads, tails)
    loads = loads_of(both, heads=["other.id", "n"], tails=["other.id", "n"])

    with pytest.raises(ConfigurationError, match="heads → tails → heads"):
        name_rows(both, loads, "uuid8")


def test_a_cycle_of_references_outside_the_keys_is_fine() -> None:
    columns = {"id": "uuid not null", "code": "text not null", "other_id": "uuid"}
    heads = table("heads", columns, primary=["id"], unique={"h": ["code"]}, refers={"other_id": "tails.id"})
    tails = table("tails", columns, primary=["id"], unique={"t": ["code"]}, refers={"other_id": "heads.id"})
    both = catalog(heads, tails)
    loads = loads_of(both, heads=["code", "other.code"], tails=["code", "other.code"])
    naming = name_rows(both, loads, "uuid8")

    one = handled(loads[0], naming, {"code": ["a"], "other.code": ["b"]})
    other = handled(loads[1], naming, {"code": ["b"], "other.code": ["a"]})

    assert one[reference_column(0)].item() == other[HANDLE].item()
    assert other[reference_column(0)].item() == one[HANDLE].item()


def test_seeds_that_give_a_tables_key_in_different_ways_are_refused() -> None:
    seeds = [
        given("faculties", ["university.slug", "code"], seed="one"),
        given("faculties", ["university_id", "code"], seed="two"),
    ]

    with pytest.raises(
        ConfigurationError, match="the seeds of table faculties spell its key by different columns"
    ):
        name_rows(SCHOOL, bind(SCHOOL, seeds).loads, "uuid8")


def test_a_reference_by_another_key_finds_the_row_by_that_key() -> None:
    universities = table(
        "universities",
        {"id": "uuid not null", "slug": "text not null", "name": "text not null"},
        primary=["id"],
        unique={"s": ["slug"], "t": ["name"]},
    )
    both = catalog(universities, FACULTIES)
    seeds = [
        given("universities", ["slug", "name"], key=("slug",)),
        given("faculties", ["university.name", "code"]),
    ]
    parent, child = bind(both, seeds).loads
    naming = name_rows(both, [parent, child], "uuid8")
    label = naming.label("universities", child.references[0].parts)

    rows = handled(parent, naming, {"slug": ["a"], "name": ["A"]})
    refers = handled(child, naming, {"university.name": ["A"], "code": ["c"]})

    assert label == "universities|name"
    assert rows[alternative_column(label)].item() == refers[reference_column(0)].item()
    assert rows[alternative_column(label)].item() != rows[HANDLE].item()


def test_two_ways_of_naming_the_same_parent_of_a_parent_are_two_keys() -> None:
    (by_slug,) = loads_of(SCHOOL, courses=["code", "faculty.university.slug", "faculty.code"])
    (by_id,) = loads_of(SCHOOL, courses=["code", "faculty.university_id", "faculty.code"])
    naming = name_rows(SCHOOL, [by_slug], "uuid8")

    labels = [naming.label("faculties", load.references[0].parts) for load in (by_slug, by_id)]

    assert labels == ["faculties|code,university_id(slug)", "faculties|code,university_id(id)"]


def test_a_parent_named_by_its_own_foreign_key_column_is_the_parent_whose_file_has_that_column() -> None:
    parent, child = loads_of(
        SCHOOL,
        faculties=["university_id", "code"],
        courses=["code", "faculty.university_id", "faculty.code"],
    )
    naming = name_rows(SCHOOL, [parent, child], "uuid8")
    university = str(uuid.UUID(int=1))

    rows = handled(parent, naming, {"university_id": [university], "code": ["c"]})
    columns = {"code": ["1"], "faculty.university_id": [university], "faculty.code": ["c"]}

    assert handled(child, naming, columns)[reference_column(0)].item() == rows[HANDLE].item()


def test_a_key_is_restated_in_the_files_own_columns() -> None:
    parent, child = loads_of(
        catalog(UNIVERSITIES, FACULTIES, COURSES),
        faculties=["university.slug", "code", "name"],
        courses=["code", "faculty.university.slug", "faculty.code"],
    )

    mine = restate(parent, child.references[0].parts)

    assert mine is not None
    assert [part.source or part.reference.sources() for part in mine if part.reference or part.source] == [
        "code",
        ("university.slug",),
    ]


def test_a_key_that_the_files_lack_is_not_restated() -> None:
    parent, child = loads_of(SCHOOL, universities=["slug"], faculties=["university.id", "code"])

    assert restate(parent, child.references[0].parts) is None


def test_the_source_of_a_column_is_known_where_the_file_has_its_value() -> None:
    by_id, by_key = (
        loads_of(SCHOOL, courses=["code", "title", "faculty_id"])[0],
        loads_of(SCHOOL, courses=["code", "faculty.university.slug", "faculty.code"])[0],
    )

    assert by_id.source_of("title") == "title"
    assert by_id.source_of("faculty_id") == "faculty_id"
    assert by_key.source_of("faculty_id") is None
    assert by_key.source_of("title") is None
