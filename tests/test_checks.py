"""Rows that are wrong by themselves or among each other, found before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from seedlab.flow import FILE, HANDLE, ROW, Catalog
from seedlab.frames.cache import SeedCache
from seedlab.frames.checks import drop_duplicates, duplicate_rules, other_seed_rule, parent_rules, rules_of
from seedlab.frames.resolve import Handled, Naming, add_handles, name_rows
from seedlab.frames.rules import BROKEN, Broken, judge, suspects
from seedlab.plan.binder import bind
from tests.support.loads import source_frame
from tests.support.tables import SCHOOL, catalog, given, table

Columns = Mapping[str, Sequence[str | None]]
ROOMS = table(
    "rooms",
    {
        "code": "text not null",
        "floor": "int4",
        "area": "numeric(4,1)",
        "door": "varchar(3)",
        "label": "text not null",
    },
    primary=["code"],
    unique={"one_door": ["floor", "door"]},
)


def prepared(catalog: Catalog, name: str, columns: Columns, **spec: object) -> tuple[Handled, Naming]:
    (load,) = bind(catalog, [given(name, columns, **spec)]).loads
    naming = name_rows(catalog, [load], "uuid8")
    return Handled(load=load, frame=add_handles(source_frame(columns), load, naming)), naming


def broken(
    catalog: Catalog, name: str, columns: Columns, trusted: frozenset[str] = frozenset(), **changes: object
) -> list[Broken]:
    handled, naming = prepared(catalog, name, columns)
    handled = replace(handled, load=replace(handled.load, **changes))
    return judge([handled], [rules_of(handled.load, handled.frame, naming, trusted)])


def told(found: Sequence[Broken]) -> list[tuple[str, str, list[int]]]:
    """Rule, column and rows of each broken rule; what only the target can judge is marked."""
    return [
        (
            f"{each.rule.name}?" if each.rule.suspect else each.rule.name,
            each.rule.column,
            each.frame[ROW].to_list(),
        )
        for each in found
    ]


def rooms(**columns: Sequence[str | None]) -> list[tuple[str, str, list[int]]]:
    size = len(next(iter(columns.values())))
    return told(
        broken(catalog(ROOMS), "rooms", {"code": list("abcdefgh")[:size], "label": ["x"] * size, **columns})
    )


# ---- rows by themselves ----


def test_a_clean_load_breaks_nothing() -> None:
    assert rooms(floor=["1", None], area=["12.5", "999.9"], door=["a", "b"]) == []


def test_null_in_a_key_is_a_fault() -> None:
    assert rooms(code=["a", None]) == [("null-key", "code", [1])]


def test_null_in_a_reference_of_the_key_is_a_fault() -> None:
    columns = {"university.slug": ["u", None], "code": ["c", "c"]}

    assert told(broken(SCHOOL, "faculties", columns)) == [("null-key", "university.slug", [1])]


def test_two_rows_without_a_key_are_not_each_others_duplicates() -> None:
    handled, _ = prepared(catalog(ROOMS), "rooms", {"code": [None, None], "label": ["x", "y"]})

    assert judge([handled], [duplicate_rules(handled.load)]) == []


def test_an_empty_text_is_a_key() -> None:
    assert rooms(code=["", "a"]) == []


def test_null_in_a_required_column_is_a_fault() -> None:
    assert rooms(label=["x", None]) == [("not-null", "label", [1])]


def test_null_in_a_required_reference_is_a_fault() -> None:
    notes = table(
        "notes",
        {"code": "text not null", "course_id": "uuid not null"},
        primary=["code"],
        refers={"course_id": "courses.id"},
    )
    columns = {"code": ["a", "b"], "course.code": [None, "1"]}

    found = broken(catalog(*SCHOOL.tables.values(), notes), "notes", columns)

    assert told(found) == [("not-null", "course.code", [0])]


def test_a_reference_whose_parts_are_all_null_is_a_null_reference() -> None:
    columns = {"code": ["1"], "faculty.code": [None], "faculty.university.slug": [None]}

    assert broken(SCHOOL, "courses", columns) == []


def test_a_reference_given_in_part_is_a_fault() -> None:
    columns = {"code": ["1", "2"], "faculty.code": ["c", None], "faculty.university.slug": [None, "u"]}

    assert told(broken(SCHOOL, "courses", columns)) == [
        ("null-key", "faculty.code, faculty.university.slug", [0, 1])
    ]


def test_what_is_not_proven_to_fit_is_left_to_the_target() -> None:
    found = rooms(floor=["1", "x", "99999999999"], area=["1.25", "1000", "1"], door=["abcd", "a", "b"])

    assert found == [("type?", "area", [0, 1]), ("type?", "door", [0]), ("type?", "floor", [1, 2])]


def test_of_tables_judged_together_only_those_with_a_bad_value_break_the_rule() -> None:
    good = prepared(catalog(ROOMS), "rooms", {"code": ["a", "b"], "floor": ["1", "2"], "label": ["x", "y"]})
    bad = prepared(catalog(ROOMS), "rooms", {"code": ["c", "d"], "floor": ["3", "x"], "label": ["x", "y"]})
    handled = [each for each, _ in (good, bad, good)]
    rules = [rules_of(each.load, each.frame, naming, frozenset()) for each, naming in (good, bad, good)]

    found = judge(handled, rules)

    assert told(found) == [("type?", "floor", [1])]
    assert found[0].load is handled[1].load


def test_suspects_carry_the_value_and_its_place() -> None:
    found = suspects(
        broken(catalog(ROOMS), "rooms", {"code": ["a", "b"], "label": ["x", "y"], "floor": ["1", "x"]})
    )

    assert [each.column for each in found] == ["floor"]
    assert found[0].frame.select("value", FILE, ROW).rows() == [("x", 0, 1)]


def test_json_that_we_wrote_ourselves_is_not_doubted() -> None:
    notes = table("notes", {"code": "text not null", "body": "jsonb"}, primary=["code"])
    columns = {"code": ["a"], "body": ['{"deep": [1]}']}

    assert told(broken(catalog(notes), "notes", columns)) == [("type?", "body", [0])]
    assert broken(catalog(notes), "notes", columns, trusted=frozenset({"body"})) == []


def test_a_time_without_a_zone_is_refused_and_not_asked_about() -> None:
    events = table("events", {"code": "text not null", "at": "timestamptz"}, primary=["code"])
    columns = {"code": list("abc"), "at": ["2024-01-01 10:00", "2024-01-01T10:00Z", "soon"]}

    found = broken(catalog(events), "events", columns)

    assert told(found) == [("type", "at", [0]), ("type?", "at", [2])]
    assert "needs a UTC offset" in found[0].rule.message


def test_a_key_that_cannot_be_compared_as_text_is_refused() -> None:
    numbers = table("numbers", {"n": "int4 not null", "size": "numeric not null"}, primary=["n", "size"])

    found = told(broken(catalog(numbers), "numbers", {"n": ["1", " 1", "x"], "size": ["1", "2", "1e3"]}))

    assert found == [("type", "n", [1, 2]), ("type", "size", [2])]


def test_a_key_out_of_range_is_left_to_the_target() -> None:
    numbers = table("numbers", {"n": "int4 not null"}, primary=["n"])

    assert told(broken(catalog(numbers), "numbers", {"n": ["1", "99999999999"]})) == [("type?", "n", [1])]


def test_a_reference_that_is_no_value_of_the_parents_column_is_a_fault_and_not_a_null() -> None:
    floors = table(
        "floors",
        {"id": "uuid not null", "n": "int2 not null", "name": "varchar(2) not null"},
        primary=["id"],
        unique={"by_n": ["n"], "by_name": ["name"]},
    )
    desks = table(
        "desks",
        {"code": "text not null", "floor_id": "uuid"},
        primary=["code"],
        refers={"floor_id": "floors.id"},
    )
    both = catalog(floors, desks)

    by_number = broken(both, "desks", {"code": list("abcd"), "floor.n": ["1", "one", "99999", None]})
    by_name = broken(both, "desks", {"code": list("ab"), "floor.name": ["EG", "EG1"]})

    assert told(by_number) == [("type", "floor.n", [1, 2])]
    assert told(by_name) == [("type", "floor.name", [1])]


def test_an_id_of_a_parent_that_is_none_may_be_meant_as_another_key() -> None:
    kinds = table("kinds", {"id": "int8 not null", "slug": "text not null"}, primary=["id"])
    things = table(
        "things", {"sku": "text", "kind_id": "int8"}, primary=["sku"], refers={"kind_id": "kinds.id"}
    )

    (only,) = broken(catalog(kinds, things), "things", {"sku": ["a"], "kind_id": ["red"]})

    assert only.rule.message == (
        "kind_id identifies a row by a value of type int8; write it as the database shows it, "
        "or name the row of kinds by another key, as in RELATION.COLUMN"
    )


# ---- rows among each other ----


def test_rows_with_one_key_are_duplicates_of_each_other() -> None:
    handled, _ = prepared(catalog(ROOMS), "rooms", {"code": ["a", "b", "a"], "label": ["x", "y", "z"]})

    found = judge([handled], [duplicate_rules(handled.load)])

    assert told(found) == [("duplicate-key", "code", [0, 2])]
    assert found[0].frame["same"].n_unique() == 1


def test_one_key_in_two_spellings_is_a_duplicate() -> None:
    numbers = table("numbers", {"n": "int4 not null"}, primary=["n"])
    handled, _ = prepared(catalog(numbers), "numbers", {"n": ["7", "007"]})

    assert told(judge([handled], [duplicate_rules(handled.load)])) == [("duplicate-key", "n", [0, 1])]


def test_a_key_that_another_seed_brings_is_a_fault_whatever_duplicates_says() -> None:
    handled, _ = prepared(catalog(ROOMS), "rooms", {"code": ["a", "b"], "label": ["x", "y"]})
    load = replace(handled.load, duplicates="last")

    found = judge([handled], [[other_seed_rule(load, handled.frame[HANDLE].head(1))]])

    assert told(found) == [("duplicate-key", "code", [0])]
    assert "another seed" in found[0].rule.message


@pytest.mark.parametrize(("keep", "labels"), [("first", ["x", "y"]), ("last", ["y", "z"])])
def test_of_rows_with_one_key_the_first_or_last_is_kept(keep: str, labels: list[str]) -> None:
    handled, _ = prepared(catalog(ROOMS), "rooms", {"code": ["a", "b", "a"], "label": ["x", "y", "z"]})
    load = replace(handled.load, duplicates=keep)

    assert judge([handled], [duplicate_rules(load)]) == []
    assert drop_duplicates(handled.frame, load)["label"].to_list() == labels


def test_duplicates_that_are_errors_are_all_kept_to_be_told() -> None:
    handled, _ = prepared(catalog(ROOMS), "rooms", {"code": ["a", "a"], "label": ["x", "y"]})

    assert drop_duplicates(handled.frame, handled.load).height == 2


def test_a_unique_constraint_beside_the_key_is_checked() -> None:
    assert rooms(floor=["1", "01", "2"], door=["a", "a", "a"]) == [("unique", "floor, door", [0, 1])]


@pytest.mark.parametrize("kind", ["bool", "float8"])
def test_a_unique_constraint_over_columns_of_one_type_is_checked(kind: str) -> None:
    columns = {"code": "text not null", "a": kind, "b": kind}
    flags = table("flags", columns, primary=["code"], unique={"once": ["a", "b"]})

    found = broken(
        catalog(flags), "flags", {"code": ["x", "y", "z"], "a": ["0", "0", "1"], "b": ["1", "1", "0"]}
    )

    assert told(found) == [("unique", "a, b", [0, 1])]


def test_nulls_are_not_equal_in_a_unique_constraint() -> None:
    assert rooms(floor=["1", "1"], door=[None, None]) == []


def test_a_unique_constraint_over_a_parent_is_checked_by_what_names_the_parent() -> None:
    seats = table(
        "seats",
        {"code": "text not null", "room_code": "text", "row": "int4"},
        primary=["code"],
        unique={"one_seat": ["room_code", "row"]},
        refers={"room_code": "rooms.code"},
    )
    columns = {
        "code": ["x", "y", "z", "v"],
        "row": ["1", "01", "1", "1"],
        "rooms.code": ["a", "a", "b", None],
    }

    found = broken(catalog(ROOMS, seats), "seats", columns)

    assert told(found) == [("unique", "rooms.code, row", [0, 1])]


def test_rows_of_one_key_do_not_break_other_constraints_where_one_is_dropped() -> None:
    columns = {
        "code": ["a", "a", "b"],
        "label": ["x", "y", "z"],
        "floor": ["1", "1", "2"],
        "door": ["d", "d", "d"],
    }

    assert broken(catalog(ROOMS), "rooms", columns, duplicates="first") == []


# ---- parents ----


def test_a_reference_to_nobody_is_a_fault() -> None:
    columns = {
        "code": ["1", "2", "3"],
        "faculty.code": ["c", "d", None],
        "faculty.university.slug": ["u", "u", None],
    }
    parents, courses = bind(
        SCHOOL, [given("faculties", ["code", "university.slug"]), given("courses", columns)]
    ).loads
    naming = name_rows(SCHOOL, [parents, courses], "uuid8")
    known = source_frame({"code": ["c"], "university.slug": ["u"]})
    cache = SeedCache()
    cache.add_rows("faculties", add_handles(known, parents, naming)[HANDLE])
    handled = Handled(load=courses, frame=add_handles(source_frame(columns), courses, naming))

    found = judge([handled], [parent_rules(courses, naming, cache)])

    assert told(found) == [("missing-parent", "faculty.code", [1])]
    assert (
        "no row of table faculties matches faculty.code and faculty.university.slug" in found[0].rule.message
    )
    assert found[0].frame["value"].to_list() == ["d, u"]


# ---- the frame of broken rows ----


def test_broken_rows_come_in_the_published_schema() -> None:
    for found in broken(
        catalog(ROOMS), "rooms", {"code": [None, "a"], "label": [None, "x"], "floor": ["x", "1"]}
    ):
        assert found.frame.schema == BROKEN


def test_loads_without_rules_or_rows_are_judged_too() -> None:
    empty, naming = prepared(catalog(ROOMS), "rooms", {"code": [], "label": []})

    assert judge([empty, empty], [rules_of(empty.load, empty.frame, naming, frozenset()), []]) == []
