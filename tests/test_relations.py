"""What a foreign key may be called, and what a nesting or a list means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from seedlab.errors import ConfigurationError
from seedlab.flow import TableSpec
from seedlab.plan.relations import (
    VALUE,
    find_relation,
    infer_link,
    name_value,
    parent_relation,
    relation_names,
)
from tests.support.tables import COURSES, FACULTIES, PREREQUISITES, SCHOOL, UNIVERSITIES, catalog, table

DEGREES = table(
    "degrees", {"id": "uuid not null", "code": "text not null"}, primary=["id"], unique={"c": ["code"]}
)
DEGREE_COURSES = table(
    "degree_courses",
    {"degree_id": "uuid not null", "course_id": "uuid not null", "semester": "int4"},
    primary=["degree_id", "course_id"],
    refers={"degree_id": "degrees.id", "course_id": "courses.id"},
)
LINKED = catalog(*SCHOOL.tables.values(), DEGREES, DEGREE_COURSES)


def test_the_usual_name_of_a_relation_is_its_column_without_id() -> None:
    assert relation_names(COURSES, COURSES.foreign_keys[0]) == (
        "faculty",
        "faculty_id",
        "faculties",
        "courses_faculty_id_fkey",
    )


def test_a_table_referred_to_twice_names_no_relation() -> None:
    names = [relation_names(PREREQUISITES, each) for each in PREREQUISITES.foreign_keys]

    assert names == [
        ("course", "course_id", "prerequisites_course_id_fkey"),
        ("prerequisite", "prerequisite_id", "prerequisites_prerequisite_id_fkey"),
    ]


def test_a_composite_foreign_key_is_called_by_table_or_constraint() -> None:
    posts = table("posts", {"t": "int4", "u": "int4"}, refers={"t, u": "users.t, u"})

    assert relation_names(posts, posts.foreign_keys[0]) == ("users", "posts_t_u_fkey")


def test_a_column_called_id_keeps_a_name() -> None:
    details = table("details", {"_id": "int4"}, refers={"_id": "courses.id"})

    assert relation_names(details, details.foreign_keys[0]) == ("_id", "courses", "details__id_fkey")


def test_what_names_no_relation_is_nothing() -> None:
    assert find_relation(COURSES, "title") is None


def test_two_foreign_keys_on_one_column_are_told_apart_by_their_constraints() -> None:
    twice = table("twice", {"a_id": "int4"}, refers={"a_id": "courses.id"})
    other = replace(twice.foreign_keys[0], name="other", parent="faculties")
    twice = replace(twice, foreign_keys=(*twice.foreign_keys, other))

    with pytest.raises(
        ConfigurationError, match="'a' of table twice may mean any of the foreign keys other, twice"
    ):
        find_relation(twice, "a")
    assert find_relation(twice, "other") is other


# ---- nesting ----


def test_nested_records_refer_to_the_record_around_them_by_the_only_foreign_key() -> None:
    assert parent_relation(COURSES, "faculties", None) == "faculty"


def test_two_foreign_keys_to_the_record_around_must_be_told_apart() -> None:
    with pytest.raises(ConfigurationError, match="set parent = 'course' or 'prerequisite'"):
        parent_relation(PREREQUISITES, "courses", None)
    assert parent_relation(PREREQUISITES, "courses", "prerequisite") == "prerequisite"


def test_a_declared_parent_that_is_no_relation_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'prerequisite'"):
        parent_relation(PREREQUISITES, "courses", "prerequisit")


def test_records_without_a_foreign_key_to_the_record_around_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="courses has no foreign key to universities"):
        parent_relation(COURSES, "universities", None)


# ---- lists ----


@pytest.mark.parametrize("name", ["degree_courses", "courses", "course", "course_id"])
def test_a_list_fills_the_link_table_that_its_name_leads_to(name: str) -> None:
    assert infer_link(LINKED, DEGREES, name) == TableSpec(table="degree_courses", path=name, parent="degree")


def test_a_list_of_a_table_linked_with_itself_goes_by_the_other_relation() -> None:
    assert infer_link(LINKED, COURSES, "prerequisites") is None  # either end might be meant
    assert infer_link(LINKED, COURSES, "courses.prerequisite_id") == TableSpec(
        table="prerequisites", path="courses.prerequisite_id", parent="course"
    )


def test_a_list_in_the_singular_or_with_es_is_understood() -> None:
    classes = table("classes", {"id": "int4 not null"}, primary=["id"])
    links = table(
        "links",
        {"degree_id": "uuid not null", "class_id": "int4 not null"},
        primary=["degree_id", "class_id"],
        refers={"degree_id": "degrees.id", "class_id": "classes.id"},
    )

    found = [
        infer_link(catalog(DEGREES, classes, links), DEGREES, name) for name in ("class", "classes", "classs")
    ]

    assert [link.table if link else None for link in found] == ["links", "links", "links"]


@pytest.mark.parametrize("name", ["categories", "Categories", "Category", "category", "_CategoryToPost"])
def test_a_list_is_understood_in_lower_case_and_in_the_plural_of_english(name: str) -> None:
    """Prisma calls the columns of a link table A and B."""
    categories = table("Category", {"id": "int4 not null"}, primary=["id"])
    posts = table("Post", {"id": "text not null"}, primary=["id"])
    counties = table("county", {"id": "int4 not null"}, primary=["id"])
    links = table(
        "_CategoryToPost",
        {"A": "int4 not null", "B": "text not null"},
        primary=["A", "B"],
        refers={"A": "Category.id", "B": "Post.id"},
    )

    found = infer_link(catalog(categories, posts, counties, links), posts, name)

    assert found == TableSpec(table="_CategoryToPost", path=name, parent="B")


def test_a_table_with_a_key_beside_its_two_foreign_keys_is_no_link_table() -> None:
    longer = table(
        "degree_courses",
        dict(DEGREE_COURSES.columns),
        primary=["degree_id", "course_id", "semester"],
        refers={"degree_id": "degrees.id", "course_id": "courses.id"},
    )

    assert infer_link(catalog(UNIVERSITIES, FACULTIES, COURSES, DEGREES, longer), DEGREES, "courses") is None


def test_a_list_that_two_link_tables_could_hold_is_left_to_be_declared() -> None:
    second = replace(DEGREE_COURSES, name="electives", relation="electives")

    assert infer_link(catalog(*LINKED.tables.values(), second), DEGREES, "courses") is None


def test_a_list_of_scalars_holds_the_links_other_relation() -> None:
    assert name_value([VALUE], DEGREE_COURSES, "degree") == {VALUE: "course"}


def test_scalars_are_keys_also_where_a_foreign_key_is_called_like_its_column() -> None:
    links = table(
        "links", {"A": "uuid not null", "B": "uuid not null"}, refers={"A": "degrees.id", "B": "courses.id"}
    )

    assert name_value([VALUE], links, "A") == {VALUE: "courses"}


def test_a_list_of_objects_names_its_columns_itself() -> None:
    assert name_value(["course.code", "semester"], DEGREE_COURSES, "degree") == {}


def test_a_list_of_scalars_needs_exactly_one_other_relation() -> None:
    with pytest.raises(ConfigurationError, match="it has 0: write a list of objects"):
        name_value([VALUE], COURSES, "faculty")
