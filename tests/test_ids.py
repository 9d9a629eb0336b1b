"""From handles to ids: every column gets its value, subsets that are referentially whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import polars as pl
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from seedlab.flow import FILE, HANDLE, ROW, Catalog, Column
from seedlab.frames.cache import SeedCache
from seedlab.frames.ids import (
    assign_ids,
    expose_alternatives,
    expose_explicit,
    first_by_key,
    key_frame,
    referred_columns,
    take_subset,
)
from seedlab.frames.resolve import Handled, Naming, add_handles, name_rows, reference_column
from seedlab.plan.binder import bind
from tests.support.loads import source_frame
from tests.support.tables import SCHOOL, catalog, column, given, table

Columns = Mapping[str, Sequence[str | None]]
U, V = UUID(int=1), UUID(int=2)


def prepared(
    catalog: Catalog, tables: Mapping[str, Columns], keys: Mapping[str, Sequence[str]] | None = None
) -> tuple[dict[str, Handled], Naming]:
    seeds = [given(name, columns, key=(keys or {}).get(name)) for name, columns in tables.items()]
    loads = bind(catalog, seeds).loads
    naming = name_rows(catalog, loads, "uuid8")
    frames = [source_frame(columns) for columns in tables.values()]
    return {
        load.table: Handled(load=load, frame=add_handles(frame, load, naming))
        for load, frame in zip(loads, frames, strict=True)
    }, naming


TWO = {
    "universities": {"slug": ["a", "b"], "name": ["A", None]},
    "faculties": {"university.slug": ["b", "a"], "code": ["x", "y"]},
}


# ---- assign_ids ----


def test_a_new_rows_id_is_its_handle_and_a_reference_the_handle_of_its_parent() -> None:
    handled, naming = prepared(SCHOOL, TWO)

    parents = assign_ids(handled["universities"], naming, SeedCache())
    children = assign_ids(handled["faculties"], naming, SeedCache())

    assert parents["id"].to_list() == parents[HANDLE].to_list()
    assert children["university_id"].to_list() == parents["id"].to_list()[::-1]
    assert parents.columns == ["id", "name", "slug", FILE, ROW, HANDLE]
    assert children.schema["university_id"] == pl.UInt128


def test_an_existing_row_keeps_its_id_and_its_children_point_to_it() -> None:
    handled, naming = prepared(SCHOOL, TWO)
    cache = SeedCache()
    asked = handled["universities"].frame[HANDLE]
    answer = pl.DataFrame({HANDLE: asked.head(1), "id": pl.Series([U.int], dtype=pl.UInt128)})
    cache.remember("universities", asked, answer)

    parents = assign_ids(handled["universities"], naming, cache)
    children = assign_ids(handled["faculties"], naming, cache)

    assert parents["id"].to_list() == [U.int, asked[1]]
    assert children["university_id"].to_list() == [asked[1], U.int]


def test_settling_keeps_the_order_of_the_rows() -> None:
    codes = [str(n) for n in range(500)]
    handled, naming = prepared(SCHOOL, {"universities": {"slug": codes}})
    cache = SeedCache()
    asked = handled["universities"].frame[HANDLE]
    answer = pl.DataFrame({HANDLE: asked.reverse(), "id": pl.Series(range(500), dtype=pl.UInt128)})
    cache.remember("universities", asked, answer)

    assigned = assign_ids(handled["universities"], naming, cache)

    assert assigned["slug"].to_list() == codes
    assert assigned["id"].to_list() == list(range(499, -1, -1))


def test_a_null_reference_stays_null() -> None:
    columns = {"code": ["1"], "faculty.code": [None], "faculty.university.slug": [None]}
    handled, naming = prepared(SCHOOL, {"courses": columns})

    assert assign_ids(handled["courses"], naming, SeedCache())["faculty_id"].to_list() == [None]


def test_an_explicit_id_of_the_files_is_the_id_that_children_get() -> None:
    tables = {
        "universities": {"id": [str(U), str(V).upper()], "slug": ["a", "b"]},
        "faculties": {"university.slug": ["b", "a"], "code": ["x", "y"]},
    }
    handled, naming = prepared(SCHOOL, tables, keys={"universities": ["slug"]})
    cache = SeedCache()

    expose_explicit(handled["universities"], naming, cache, ["id"])

    assert assign_ids(handled["faculties"], naming, cache)["university_id"].to_list() == [V.int, U.int]


def test_explicit_ids_and_those_the_target_told_go_together() -> None:
    tables = {
        "universities": {"id": [str(U), str(V)], "slug": ["a", "b"]},
        "faculties": {"university.slug": ["b", "a"], "code": ["x", "y"]},
    }
    handled, naming = prepared(SCHOOL, tables, keys={"universities": ["slug"]})
    cache = SeedCache()
    asked = handled["universities"].frame[HANDLE]
    told = pl.DataFrame({HANDLE: asked.head(1), "id": pl.Series([U.int], dtype=pl.UInt128)})
    cache.remember("universities", asked, told)

    expose_explicit(handled["universities"], naming, cache, ["id"])

    assert assign_ids(handled["faculties"], naming, cache)["university_id"].to_list() == [V.int, U.int]


def test_a_sequence_id_reaches_the_children_as_text() -> None:
    rooms = table(
        "rooms",
        {"id": column("id", "int4 not null", sequence="s"), "code": "text not null"},
        primary=["id"],
        unique={"c": ["code"]},
    )
    desks = table(
        "desks",
        {"code": "text not null", "room_id": "int4"},
        primary=["code"],
        refers={"room_id": "rooms.id"},
    )
    tables = {"rooms": {"code": ["a", "b"]}, "desks": {"code": ["1", "2"], "room.code": ["b", None]}}
    handled, naming = prepared(catalog(rooms, desks), tables)
    cache = SeedCache()
    numbers = handled["rooms"].frame.select(HANDLE, pl.Series("id", ["7", "8"]))
    cache.expose("rooms", "id", numbers)

    assert assign_ids(handled["rooms"], naming, cache)["id"].to_list() == ["7", "8"]
    assert assign_ids(handled["desks"], naming, cache)["room_id"].to_list() == ["8", None]


def test_a_reference_by_the_column_it_refers_to_is_written_as_given() -> None:
    handled, naming = prepared(SCHOOL, {"courses": {"code": ["1"], "faculty_id": [str(U)]}})

    assert assign_ids(handled["courses"], naming, SeedCache())["faculty_id"].to_list() == [str(U)]


BY_NAME = {
    "universities": {"slug": ["a", "b"], "name": ["A", "B"]},
    "faculties": {"university.name": ["B", "A"], "code": ["x", "y"]},
}


def named_twice(id_: Column) -> Catalog:
    """Universities that are known by slug and may also be named by name."""
    parents = table(
        "universities",
        {"id": id_, "slug": "text not null", "name": "text not null"},
        primary=["id"],
        unique={"a_slug": ["slug"], "b_name": ["name"]},
    )
    own = {"code": "text not null", "university_id": id_.type}
    children = table("faculties", own, primary=["code"], refers={"university_id": "universities.id"})
    return catalog(parents, children)


def test_a_reference_by_another_key_gets_the_id_of_the_row_it_names() -> None:
    handled, naming = prepared(named_twice(column("id", "uuid not null")), BY_NAME)
    cache = SeedCache()

    expose_alternatives(handled["universities"], naming, cache, ["id"])

    parents = assign_ids(handled["universities"], naming, cache)["id"].to_list()
    assert assign_ids(handled["faculties"], naming, cache)["university_id"].to_list() == parents[::-1]


def test_a_reference_by_another_key_gets_the_id_that_the_target_told_or_a_sequence_gave() -> None:
    handled, naming = prepared(named_twice(column("id", "int4 not null", sequence="s")), BY_NAME)
    cache = SeedCache()
    cache.expose(
        "universities", "id", handled["universities"].frame.select(HANDLE, pl.Series("id", ["7", "8"]))
    )

    expose_alternatives(handled["universities"], naming, cache, ["id"])

    assert assign_ids(handled["faculties"], naming, cache)["university_id"].to_list() == ["8", "7"]


# ---- what must be known of parents ----


def test_only_columns_that_a_reference_takes_by_handle_are_wanted() -> None:
    by_key, _ = prepared(SCHOOL, {"faculties": {"university.slug": ["a"], "code": ["x"]}})
    by_id, _ = prepared(SCHOOL, {"faculties": {"university_id": [str(U)], "code": ["x"]}})

    assert referred_columns([by_key["faculties"].load]) == {"universities": ("id",)}
    assert referred_columns([by_id["faculties"].load]) == {}


def test_a_question_holds_each_key_once_and_in_its_canonical_spelling() -> None:
    numbers = table("numbers", {"n": "int4 not null"}, primary=["n"])
    handled, naming = prepared(catalog(numbers), {"numbers": {"n": ["7", "007", None, "8"]}})
    load = handled["numbers"].load

    frame = key_frame(handled["numbers"], load.key, "numbers", HANDLE, naming)

    assert frame.columns == [HANDLE, "n"]
    assert frame["n"].to_list() == ["7", "8"]


def test_a_question_about_parents_walks_their_key_chain() -> None:
    columns = {"code": ["1"], "faculty.code": ["x"], "faculty.university.slug": ["a"]}
    handled, naming = prepared(SCHOOL, {"courses": columns})
    reference = handled["courses"].load.references[0]

    frame = key_frame(handled["courses"], reference.parts, "faculties", reference_column(0), naming)

    assert frame.drop(HANDLE).to_dicts() == [{"faculty.code": "x", "faculty.university.slug": "a"}]


# ---- subsets ----


def take(handled: Sequence[Handled], limits: Mapping[str, int], naming: Naming) -> list[Handled]:
    """Take a subset of tables that are given in pieces of two rows."""
    first = {}
    for name, limit in limits.items():
        mine = [each for each in handled if each.load.table == name]
        pieces = [replace(each, frame=part) for each in mine for part in each.frame.iter_slices(2)]
        first[name] = first_by_key(pieces, limit, naming)
    return take_subset(handled, first, naming)


def subset(tables: Mapping[str, Columns], limits: Mapping[str, int]) -> dict[str, list[tuple[object, ...]]]:
    handled, naming = prepared(SCHOOL, tables)
    kept = take(list(handled.values()), limits, naming)
    return {each.load.table: each.frame.select(list(tables[each.load.table])).rows() for each in kept}


def test_a_subset_takes_the_first_rows_by_key() -> None:
    assert subset({"universities": {"slug": ["c", "a", "b"]}}, {"universities": 2}) == {
        "universities": [("a",), ("b",)]
    }


def test_a_subset_orders_numbers_by_size() -> None:
    numbers = table("numbers", {"n": "int4 not null"}, primary=["n"])
    handled, naming = prepared(catalog(numbers), {"numbers": {"n": ["10", "9", "100"]}})

    (kept,) = take([handled["numbers"]], {"numbers": 2}, naming)

    assert kept.frame["n"].to_list() == ["10", "9"]


def test_keys_too_near_each_other_for_a_float_do_not_go_by_the_order_of_rows() -> None:
    numbers = table("numbers", {"n": "numeric not null"}, primary=["n"])
    near = ["1", "1.00000000000000000001", "1.00000000000000000002"]
    kept = []
    for rows in (near, near[::-1]):
        handled, naming = prepared(catalog(numbers), {"numbers": {"n": rows}})
        kept.append(set(take([handled["numbers"]], {"numbers": 2}, naming)[0].frame["n"]))

    assert kept[0] == kept[1]


def test_a_subset_larger_than_the_table_keeps_all() -> None:
    assert subset(TWO, {"universities": 9})["faculties"] == [("b", "x"), ("a", "y")]


def test_a_subset_of_a_table_that_the_files_do_not_fill_changes_nothing() -> None:
    assert subset({"universities": {"slug": ["a"]}}, {"courses": 1}) == {"universities": [("a",)]}


def test_children_of_dropped_parents_are_dropped_down_to_the_last() -> None:
    tables = {
        "courses": {
            "code": ["1", "2", "3"],
            "faculty.code": ["x", "y", None],
            "faculty.university.slug": ["a", "b", None],
        },
        "faculties": {"university.slug": ["a", "b"], "code": ["x", "y"]},
        "universities": {"slug": ["b", "a"]},
        "prerequisites": {"course.code": ["1", "1", "2"], "prerequisite.code": ["3", "2", "3"]},
    }

    assert subset(tables, {"universities": 1}) == {
        "universities": [("a",)],
        "faculties": [("a", "x")],
        "courses": [("1", "x", "a"), ("3", None, None)],
        "prerequisites": [("1", "3")],
    }


def test_a_child_of_a_row_that_only_the_target_has_is_kept() -> None:
    tables = {"universities": {"slug": ["a", "b"]}, "faculties": {"university.slug": ["z"], "code": ["x"]}}

    assert subset(tables, {"universities": 1})["faculties"] == [("z", "x")]


slugs = st.sampled_from("abcde")


@examples(
    universities=st.lists(slugs, unique=True),
    faculties=st.lists(st.tuples(slugs, st.sampled_from("xyz")), unique=True),
    links=st.lists(st.tuples(slugs, st.sampled_from("xyz"), st.integers(0, 9)), unique_by=lambda row: row[2]),
    limits=st.dictionaries(st.sampled_from(["universities", "faculties", "courses"]), st.integers(0, 4)),
    random=st.randoms(use_true_random=False),
)
@settings(max_examples=30)
def test_a_subset_does_not_depend_on_the_order_of_rows_and_is_referentially_whole(
    universities: list[str],
    faculties: list[tuple[str, str]],
    links: list[tuple[str, str, int]],
    limits: dict[str, int],
    random: object,
) -> None:
    def taken() -> dict[str, set[tuple[object, ...]]]:
        tables = {
            "universities": {"slug": universities},
            "faculties": {"university.slug": [u for u, _ in faculties], "code": [f for _, f in faculties]},
            "courses": {
                "code": [str(n) for *_, n in links],
                "faculty.university.slug": [u for u, *_ in links],
                "faculty.code": [f for _, f, _ in links],
            },
        }
        return {name: set(rows) for name, rows in subset(tables, limits).items()}

    before = taken()
    for rows in (universities, faculties, links):
        random.shuffle(rows)  # type: ignore[attr-defined]
    after = taken()

    brought = set(faculties)
    assert before == after
    assert all(len(before[name]) <= limit for name, limit in limits.items())
    assert all((u,) in before["universities"] for u, _ in before["faculties"] if u in universities)
    assert all((u, f) in before["faculties"] for _, u, f in before["courses"] if (u, f) in brought)
