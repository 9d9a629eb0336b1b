"""What the columns of files mean: keys, references and ids, by the catalog alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from seedlab.errors import ConfigurationError
from seedlab.flow import Catalog, Load, Part, part_sources
from seedlab.plan.binder import bind, key_sources
from tests.support.tables import (
    COURSES,
    FACULTIES,
    PREREQUISITES,
    SCHOOL,
    UNIVERSITIES,
    catalog,
    column,
    given,
    table,
)


def bound(catalog: Catalog, name: str, *columns: str, **spec: object) -> Load:
    made = bind(catalog, [given(name, columns, **spec)])
    assert made.faults == ()
    return made.loads[0]


def origin(catalog: Catalog, name: str, *columns: str) -> str:
    return bind(catalog, [given(name, columns)]).key_origins[name]


def sources(parts: tuple[Part, ...]) -> list[str]:
    return [name for part in parts for name in part_sources(part)]


# ---- keys ----


def test_a_declared_key_is_taken_before_any_other() -> None:
    load = bound(SCHOOL, "universities", "id", "slug", "name", key=("name",))

    assert load.key_columns == ("name",)


def test_the_primary_key_is_the_key_where_the_file_has_all_of_it() -> None:
    assert bound(SCHOOL, "universities", "id", "slug").key_columns == ("id",)
    assert origin(SCHOOL, "universities", "id", "slug") == "primary key"


def test_without_the_primary_key_a_covered_unique_constraint_is_the_key_and_is_named() -> None:
    assert bound(SCHOOL, "universities", "slug", "name").key_columns == ("slug",)
    assert origin(SCHOOL, "universities", "slug", "name") == "unique constraint universities_slug_key"


def test_not_null_constraints_come_before_nullable_ones() -> None:
    rooms = table(
        "rooms",
        {"alias": "text", "building": "text not null", "number": "int4 not null"},
        unique={"a_alias": ["alias"], "b_place": ["building", "number"]},
    )

    assert bound(catalog(rooms), "rooms", "alias", "building", "number").key_columns == ("building", "number")


def test_of_not_null_constraints_the_one_with_fewest_columns_is_the_key() -> None:
    rooms = table(
        "rooms",
        {"code": "text not null", "building": "text not null", "number": "int4 not null"},
        unique={"a_place": ["building", "number"], "b_code": ["code"]},
    )

    assert bound(catalog(rooms), "rooms", "code", "building", "number").key_columns == ("code",)


def test_equally_good_constraints_go_by_name() -> None:
    rooms = table(
        "rooms",
        {"code": "text not null", "label": "text not null"},
        unique={"z_code": ["code"], "a_label": ["label"]},
    )

    assert bound(catalog(rooms), "rooms", "code", "label").key_columns == ("label",)


def test_references_count_as_columns_of_a_key() -> None:
    load = bound(SCHOOL, "faculties", "university.slug", "code", "name")

    assert load.key_columns == ("code", "university_id")
    assert sources(load.key) == ["code", "university.slug"]


def test_a_bare_relation_in_a_key_stands_for_its_foreign_key_columns() -> None:
    load = bound(SCHOOL, "faculties", "university.slug", "code", key=("university", "code"))

    assert load.key_columns == ("code", "university_id")


def test_a_dotted_relation_in_a_key_stands_for_its_foreign_key_columns() -> None:
    load = bound(SCHOOL, "faculties", "university.slug", "code", key=("university.slug", "code"))

    assert load.key_columns == ("code", "university_id")


def test_the_order_in_which_a_key_is_declared_does_not_matter() -> None:
    one = bound(SCHOOL, "faculties", "university.slug", "code", key=("university", "code"))
    other = bound(SCHOOL, "faculties", "code", "university.slug", key=("code", "university"))

    assert one.key == other.key


def test_a_declared_key_with_a_misspelt_column_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="no column or relation 'slgu'; did you mean 'slug'"):
        bound(SCHOOL, "universities", "slug", key=("slgu",))


def test_a_declared_key_whose_relation_leads_to_no_column_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"no column or relation 'university\.slgu'"):
        bound(SCHOOL, "faculties", "university.slug", "code", key=("university.slgu", "code"))


def test_a_declared_key_that_the_files_do_not_give_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="has column slug, which the files do not give"):
        bound(SCHOOL, "universities", "id", "name", key=("slug",))


def test_a_table_without_a_covered_key_is_refused_with_its_keys_and_the_file() -> None:
    with pytest.raises(
        ConfigurationError, match=r"universities\.csv covers \(its keys: \(id\) or \(slug\)\)"
    ):
        bound(SCHOOL, "universities", "name")


def test_two_seeds_of_a_table_share_the_key_that_both_cover() -> None:
    seeds = [
        given("universities", ["id", "slug"], seed="one"),
        given("universities", ["slug", "name"], seed="two"),
    ]

    assert [load.key_columns for load in bind(SCHOOL, seeds).loads] == [("slug",), ("slug",)]


def test_two_seeds_of_a_table_must_not_declare_different_keys() -> None:
    seeds = [
        given("universities", ["slug", "name"], seed="one", key=("slug",)),
        given("universities", ["slug", "name"], seed="two", key=("name",)),
    ]

    with pytest.raises(ConfigurationError, match=r"declare different keys: \(name\) or \(slug\)"):
        bind(SCHOOL, seeds)


def test_a_nested_record_inherits_the_sources_of_the_key_around_it() -> None:
    around = given("faculties", ["name", "university.slug", "code"])

    assert key_sources(SCHOOL, around) == ("code", "university.slug")


# ---- references ----


@pytest.mark.parametrize(
    "spelling", ["faculty", "faculty_id", "faculties", "courses_faculty_id_fkey"], ids=lambda each: each
)
def test_a_relation_is_called_by_column_bare_column_table_or_constraint(spelling: str) -> None:
    load = bound(SCHOOL, "courses", "code", f"{spelling}.university.slug", f"{spelling}.code")

    assert load.references[0].foreign_key.columns == ("faculty_id",)


def test_a_camel_case_id_is_a_relation_too() -> None:
    notes = table(
        "notes",
        {"code": "text not null", "courseId": "uuid"},
        primary=["code"],
        refers={"courseId": "courses.id"},
    )

    load = bound(catalog(*SCHOOL.tables.values(), notes), "notes", "code", "course.code")

    assert load.references[0].foreign_key.columns == ("courseId",)


def test_a_table_referred_to_twice_is_no_name_of_a_relation() -> None:
    made = bind(SCHOOL, [given("prerequisites", ["courses.code", "prerequisite.code"])])

    assert [(fault.rule, fault.column) for fault in made.faults] == [("unknown-column", "courses.code")]


def test_an_ambiguous_relation_is_refused_with_the_choices() -> None:
    loans = table(
        "loans",
        {"code": "text not null", "users_id": "int4", "lender_id": "int4"},
        primary=["code"],
        refers={"users_id": "members.id", "lender_id": "users.id"},
    )
    people = [table(name, {"id": "int4 not null"}, primary=["id"]) for name in ("users", "members")]

    with pytest.raises(ConfigurationError, match="loans_lender_id_fkey, loans_users_id_fkey"):
        bound(catalog(loans, *people), "loans", "code", "users.id")


def test_parts_of_one_relation_name_one_parent() -> None:
    load = bound(SCHOOL, "courses", "code", "faculty.code", "faculty.university.slug")

    assert len(load.references) == 1
    assert load.references[0].key == ("code", "university_id")
    assert load.references[0].sources() == ("faculty.code", "faculty.university.slug")


def test_parts_that_do_not_cover_a_unique_key_are_refused_with_the_keys() -> None:
    with pytest.raises(
        ConfigurationError, match=r"faculty\.code do not make a unique key of table faculties"
    ):
        bound(SCHOOL, "courses", "code", "faculty.code")


def test_parts_beyond_a_unique_key_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="do not make a unique key"):
        bound(SCHOOL, "courses", "code", "faculty.code", "faculty.university.slug", "faculty.name")


def test_a_reference_walks_on_through_references() -> None:
    rooms = table(
        "rooms",
        {"id": "uuid not null", "faculty_id": "uuid not null", "number": "int4 not null"},
        primary=["id"],
        unique={"place": ["faculty_id", "number"]},
        refers={"faculty_id": "faculties.id"},
    )
    seats = table(
        "seats",
        {"code": "text not null", "room_id": "uuid"},
        primary=["code"],
        refers={"room_id": "rooms.id"},
    )
    columns = ["code", "room.number", "room.faculty.university.slug", "room.faculty.code"]

    load = bound(catalog(*SCHOOL.tables.values(), rooms, seats), "seats", *columns)

    assert load.references[0].sources() == (
        "room.faculty.code",
        "room.faculty.university.slug",
        "room.number",
    )
    assert [part.columns for part in load.references[0].parts] == [("faculty_id",), ("number",)]


def test_the_columns_of_the_foreign_key_themselves_are_a_reference() -> None:
    load = bound(SCHOOL, "courses", "code", "faculty_id")

    assert load.values == ("code",)
    assert load.references[0].sources() == ("faculty_id",)
    assert load.references[0].key == ("id",)


def test_an_exact_column_name_wins_over_a_dotted_reading() -> None:
    courses = replace(COURSES, columns={**COURSES.columns, "faculty.code": column("faculty.code", "text")})

    load = bound(catalog(UNIVERSITIES, FACULTIES, courses), "courses", "code", "faculty.code")

    assert load.references == ()
    assert load.values == ("code", "faculty.code")


def test_an_exact_column_name_wins_over_a_relation_of_that_name() -> None:
    notes = table(
        "notes",
        {"code": "text not null", "course": "text", "course_id": "uuid"},
        primary=["code"],
        refers={"course_id": "courses.id"},
    )

    load = bound(catalog(*SCHOOL.tables.values(), notes), "notes", "code", "course")

    assert load.references == ()


def test_a_bare_relation_holds_the_parents_scalar_natural_key() -> None:
    made = bind(
        SCHOOL, [given("courses", ["code", "title"]), given("prerequisites", ["course", "prerequisite"])]
    )

    assert [each.key for each in made.loads[1].references] == [("code",), ("code",)]


def test_a_bare_relation_to_a_parent_with_several_scalar_keys_asks_for_the_column() -> None:
    with pytest.raises(ConfigurationError, match=r"write 'university\.COLUMN'"):
        bound(SCHOOL, "faculties", "university", "code")


def test_a_bare_relation_to_a_parent_without_a_scalar_key_asks_for_the_column() -> None:
    faculties = replace(FACULTIES, keys=FACULTIES.keys[1:])

    with pytest.raises(ConfigurationError, match=r"write 'faculty\.COLUMN'"):
        bound(catalog(UNIVERSITIES, faculties, COURSES), "courses", "code", "faculty")


def test_one_foreign_key_under_two_names_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'faculty' and 'faculties' both mean the foreign key"):
        bound(SCHOOL, "courses", "code", "faculty.code", "faculties.university.slug")


def test_a_foreign_key_by_its_column_and_by_parts_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'university_id' and 'university\.slug' both give"):
        bound(SCHOOL, "faculties", "university_id", "university.slug", "code")


def test_a_bare_relation_beside_its_own_parts_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'university' and 'university\.slug' both give"):
        bound(SCHOOL, "faculties", "university", "university.slug", "code")


def test_parts_of_a_composite_foreign_key_resolve_all_its_columns() -> None:
    tenants = table(
        "tenants", {"id": "int4 not null", "name": "text not null"}, primary=["id"], unique={"n": ["name"]}
    )
    users = table(
        "users",
        {"tenant_id": "int4 not null", "login": "text not null"},
        primary=["tenant_id", "login"],
        refers={"tenant_id": "tenants.id"},
    )
    posts = table(
        "posts",
        {"code": "text not null", "tenant_id": "int4", "login": "text"},
        primary=["code"],
        refers={"tenant_id, login": "users.tenant_id, login"},
    )

    load = bound(catalog(tenants, users, posts), "posts", "code", "users.tenant.name", "users.login")

    assert load.columns == ("code", "login", "tenant_id")
    assert load.references[0].sources() == ("users.login", "users.tenant.name")


def test_a_column_that_two_references_of_a_key_share_is_spelled_once() -> None:
    shared = {"tenant_id": "int4 not null", "id": "int4 not null"}
    users, groups = (table(name, shared, primary=["tenant_id", "id"]) for name in ("users", "groups"))
    members = table(
        "members",
        {"tenant_id": "int4 not null", "group_id": "int4 not null", "user_id": "int4 not null"},
        primary=["tenant_id", "group_id", "user_id"],
        refers={"tenant_id, group_id": "groups.tenant_id, id", "tenant_id, user_id": "users.tenant_id, id"},
    )

    load = bound(catalog(users, groups, members), "members", "tenant_id", "group_id", "user_id")

    assert load.spelled_key == ("group_id", "tenant_id", "user_id")


# ---- what is written ----


def test_a_uuid_primary_key_that_the_file_lacks_is_made() -> None:
    assert bound(SCHOOL, "universities", "slug").made == "id"
    assert bound(SCHOOL, "universities", "slug").columns == ("id", "slug")


def test_an_id_that_the_file_gives_is_not_made() -> None:
    load = bound(SCHOOL, "universities", "id", "slug", key=("slug",))

    assert load.made is None
    assert load.values == ("id", "slug")


def test_an_integer_id_is_made_only_where_a_sequence_fills_it() -> None:
    ids = {
        "plain": column("id", "int4 not null default"),
        "serial": column("id", "int4 not null", sequence="s"),
    }
    made = {
        name: bound(
            catalog(
                table("rooms", {"id": id_, "code": "text not null"}, primary=["id"], unique={"c": ["code"]})
            ),
            "rooms",
            "code",
        ).made
        for name, id_ in ids.items()
    }

    assert made == {"plain": None, "serial": "id"}


def test_a_generated_column_is_not_written() -> None:
    rooms = table(
        "rooms",
        {"code": "text not null", "upper": column("upper", "text", generated=True)},
        primary=["code"],
    )

    assert bound(catalog(rooms), "rooms", "code", "upper").columns == ("code",)


def test_a_column_absent_from_the_file_is_not_written() -> None:
    assert "name" not in bound(SCHOOL, "universities", "slug").columns


def test_a_required_column_that_nobody_fills_is_a_fault_of_the_file() -> None:
    rooms = table("rooms", {"code": "text not null", "floor": "int4 not null"}, primary=["code"])

    made = bind(catalog(rooms), [given("rooms", ["code"])])

    assert [(f.rule, f.column, f.table, f.file) for f in made.faults] == [
        ("not-null", "floor", "rooms", "rooms.csv")
    ]


def test_a_required_column_that_the_database_fills_is_no_fault() -> None:
    rooms = table(
        "rooms",
        {
            "code": "text not null",
            "floor": "int4 not null default",
            "number": column("number", "int4 not null", identity="always"),
            "label": column("label", "text not null", generated=True),
            "serial": column("serial", "int4 not null", sequence="public.s"),
        },
        primary=["code"],
    )

    assert bound(catalog(rooms), "rooms", "code").columns == ("code",)


def test_a_required_reference_given_by_parts_is_filled() -> None:
    assert bound(SCHOOL, "faculties", "university.slug", "code").columns == ("code", "id", "university_id")


def test_a_table_whose_key_is_its_two_foreign_keys_holds_links() -> None:
    assert bound(SCHOOL, "prerequisites", "course.code", "prerequisite.code").link
    assert not bound(SCHOOL, "faculties", "university.slug", "code").link


def test_a_link_table_may_have_an_id_of_its_own() -> None:
    members = table(
        "members",
        {"id": "uuid not null", "course_id": "uuid not null", "faculty_id": "uuid not null"},
        primary=["id"],
        unique={"pair": ["course_id", "faculty_id"]},
        refers={"course_id": "courses.id", "faculty_id": "faculties.id"},
    )

    assert bound(catalog(*SCHOOL.tables.values(), members), "members", "course_id", "faculty_id").link


# ---- what does not fit ----


def test_an_unknown_column_is_a_fault_that_names_the_nearest() -> None:
    made = bind(SCHOOL, [given("universities", ["slgu", "name"])])

    assert [(f.rule, f.column, f.file) for f in made.faults] == [
        ("unknown-column", "slgu", "universities.csv")
    ]
    assert "did you mean 'slug'" in made.faults[0].message
    assert made.loads == ()


@pytest.mark.parametrize(
    ("path", "rules"), [("faculties", ["unknown-column"]), ("$", ["unknown-column", "not-null"])]
)
def test_what_records_within_miss_may_be_a_misspelt_column_around_them(path: str, rules: list[str]) -> None:
    around = given("universities", ["slgu", "name"])
    within = replace(given("faculties", ["code", "name"], path=path), seed=around.seed)

    assert [fault.rule for fault in bind(SCHOOL, [around, within]).faults] == rules


@pytest.mark.parametrize(
    ("table", "name", "told"),
    [
        ("faculties", "univrsity.slug", "; did you mean 'university.slug'?"),
        ("faculties", "id.slug", ""),
        (
            "faculties",
            "university.slgu",
            ": universities, to which 'university' refers, has no 'slgu'; did you mean 'university.slug'?",
        ),
        (
            "courses",
            "faculty.univrsity.slug",
            ": faculties, to which 'faculty' refers, has no 'univrsity'; did you mean 'faculty.university.slug'?",
        ),
        (
            "prerequisites",
            "course.faculty.id.x",
            ": faculties, to which 'course.faculty' refers, has no 'id'",
        ),
        ("faculties", "university.id.x", ": universities, to which 'university' refers, has no 'id'"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_as_far_as_it_leads(table: str, name: str, told: str) -> None:
    made = bind(SCHOOL, [given(table, [name])])

    assert made.faults[0].message == f"table {table} has no column or relation '{name}'{told}"


def test_the_column_of_a_natural_key_is_no_relation_without_its_end_and_is_proposed() -> None:
    towns = table("towns", {"id": "int not null", "country_code": "text"}, refers={"country_code": "c.code"})
    countries = table("c", {"code": "text not null"}, primary=["code"])

    made = bind(catalog(towns, countries), [given("towns", ["id", "country.code"])])

    assert made.faults[0].message.endswith("'country.code'; did you mean 'country_code'?")


def test_a_column_that_the_parent_does_not_have_is_unknown() -> None:
    made = bind(SCHOOL, [given("faculties", ["university.slog", "code"])])

    assert [fault.column for fault in made.faults] == ["university.slog"]


def test_unknown_columns_of_all_files_come_together() -> None:
    made = bind(SCHOOL, [given("universities", ["slug", "nam"]), given("courses", ["code", "titel"])])

    assert [fault.column for fault in made.faults] == ["nam", "titel"]


def test_an_unknown_column_is_told_before_the_key_it_would_have_made() -> None:
    seeds = [given("universities", ["slug"], seed="one"), given("universities", ["slgu"], seed="two")]

    made = bind(SCHOOL, seeds)

    assert [fault.column for fault in made.faults] == ["slgu"]


def test_an_unknown_table_names_the_nearest() -> None:
    with pytest.raises(
        ConfigurationError, match="no table 'coursse' in database school; did you mean 'courses'"
    ):
        bound(SCHOOL, "coursse", "code")


def test_a_table_of_the_default_schema_may_be_called_with_it() -> None:
    assert bound(SCHOOL, "public.courses", "code").table == "courses"


def test_a_view_is_no_table_to_seed() -> None:
    seen = replace(PREREQUISITES, kind="view")

    with pytest.raises(ConfigurationError, match="prerequisites is a view"):
        bound(catalog(UNIVERSITIES, FACULTIES, COURSES, seen), "prerequisites", "course_id")
