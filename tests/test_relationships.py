"""Links are batched by table, and written after what they link."""

from __future__ import annotations

from collections.abc import Sequence

from seedlab.flow import Load, Priority
from seedlab.frames.relationships import Relationships, gather, order


def load(
    table: str,
    *,
    seed: str = "seed",
    values: Sequence[str] = ("a",),
    priority: Priority = "medium",
    link: bool = False,
) -> Load:
    return Load(
        stage="test",
        seed=seed,
        table=table,
        key=(),
        values=tuple(values),
        references=(),
        priority=priority,
        link=link,
    )


def ordered(groups: list[tuple[str, ...]], loads: list[Load], needed: str = "") -> list[list[str]]:
    batches = order(groups, gather(loads), frozenset(needed.split()))
    return [[batch.table for batch in group] for group in batches]


def test_loads_of_one_table_with_the_same_columns_are_one_batch() -> None:
    first, second = load("links", seed="one"), load("links", seed="two")

    (batch,) = gather([first, second])

    assert batch.loads == (first, second)


def test_loads_with_other_columns_are_another_batch() -> None:
    assert [batch.columns for batch in gather([load("t"), load("t", values=("a", "b"))])] == [
        ("a",),
        ("a", "b"),
    ]


def test_a_batch_is_as_urgent_as_its_most_urgent_load() -> None:
    (batch,) = gather([load("t", seed="one", priority="low"), load("t", seed="two", priority="critical")])

    assert batch.priority == "critical"


def test_parents_come_before_children() -> None:
    assert ordered([("parents",), ("children",)], [load("children"), load("parents")]) == [
        ["parents"],
        ["children"],
    ]


def test_links_come_behind_all_entities() -> None:
    groups = [("a",), ("links",), ("b",)]

    assert ordered(groups, [load("a"), load("links", link=True), load("b")]) == [["a"], ["b"], ["links"]]


def test_critical_links_come_before_others() -> None:
    groups = [("one",), ("two",), ("three",)]
    loads = [
        load("one", link=True, priority="low"),
        load("two", link=True, priority="critical"),
        load("three", link=True, priority="high"),
    ]

    assert ordered(groups, loads) == [["two"], ["three"], ["one"]]


def test_a_link_table_that_others_refer_to_keeps_its_place() -> None:
    groups = [("links",), ("notes",)]

    assert ordered(groups, [load("notes"), load("links", link=True)], needed="links") == [
        ["links"],
        ["notes"],
    ]


def test_the_tables_of_a_cycle_stay_together() -> None:
    groups = [("heads", "tails"), ("after",)]

    assert ordered(groups, [load("tails"), load("after"), load("heads")]) == [["heads", "tails"], ["after"]]


def test_two_batches_of_a_table_are_written_one_after_the_other_critical_first() -> None:
    loads = [load("t", priority="low"), load("t", values=("b",), priority="critical")]

    groups = order([("t",)], gather(loads), frozenset())

    assert [[batch.columns for batch in group] for group in groups] == [[("b",)], [("a",)]]


def test_tables_without_rows_are_not_written() -> None:
    assert ordered([("a",), ("b", "c")], [load("a")]) == [["a"]]


def test_a_batch_knows_whether_it_holds_links() -> None:
    found: list[Relationships] = gather([load("a"), load("links", link=True)])

    assert [batch.link for batch in found] == [False, True]
