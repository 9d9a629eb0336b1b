"""Who goes with whom, by handles alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
from hypothesis import given as examples
from hypothesis import strategies as st

from seedlab.flow import FILE, HANDLE, PARENT, ROW
from seedlab.frames.dependents import AROUND, PLACE, Link, Node, as_broken, dependents, follow
from seedlab.frames.rules import BROKEN
from tests.support.loads import loads_of
from tests.support.tables import SCHOOL

LOADS = loads_of(
    SCHOOL,
    {"universities": {"slug": []}, "faculties": {"university.slug": [], "code": []}},
)
NOTHING = pl.Series(HANDLE, [], dtype=pl.UInt128)


def node(number: int, label: str, handles: Sequence[int], links: Mapping[str, Sequence[int | None]]) -> Node:
    """Rows known by `handles` under `label`, with columns of handles that point elsewhere."""
    frame = pl.DataFrame({HANDLE: handles, **links}, schema=dict.fromkeys([HANDLE, *links], pl.UInt128))
    places = pl.int_range(pl.len(), dtype=pl.UInt32).alias(ROW)
    return Node(
        load=LOADS[number],
        frame=frame.with_columns(pl.lit(0, dtype=pl.UInt16).alias(FILE), places),
        names={label: HANDLE},
        links=[Link(label=each, column=each, parent=each, source="") for each in links],
    )


def at(*rows: int) -> pl.DataFrame:
    places = {FILE: [0] * len(rows), ROW: rows}
    return pl.DataFrame(places, schema={FILE: pl.UInt16, ROW: pl.UInt32})


def masks(gone) -> list[list[bool]]:
    return [mask.to_list() for mask in gone.masks]


def test_rows_go_with_the_rows_they_point_to() -> None:
    nodes = [node(0, "a", [1, 2], {}), node(1, "b", [1, 2, 3], {"a": [2, 1, None]})]

    gone = follow(nodes, [nodes[0].at(at(1)), nodes[1].at(None)], lambda _: NOTHING)

    assert masks(gone) == [[False, True], [True, False, False]]
    assert gone.names["a"].to_list() == [2]


def test_a_row_stays_when_the_target_has_what_it_points_to() -> None:
    nodes = [node(0, "a", [1, 2], {}), node(1, "b", [1, 2], {"a": [2, 1]})]
    target = {"a": pl.Series([2], dtype=pl.UInt128)}

    gone = follow(nodes, [nodes[0].at(at(0, 1)), nodes[1].at(None)], lambda label: target.get(label, NOTHING))

    assert masks(gone) == [[True, True], [False, True]]


def test_the_reason_names_every_rejected_row_pointed_to_but_the_row_itself() -> None:
    nodes = [node(0, "a", [1, 2], {"a": [1, 1]}), node(1, "b", [1], {"a": [2]})]
    gone = follow(nodes, [nodes[0].at(at(0)), nodes[1].at(None)], lambda _: NOTHING)

    told = list(dependents(nodes, gone))

    assert [(each.load.table, each.frame[ROW].to_list(), each.frame["same"].to_list()) for each in told] == [
        ("universities", [1], ["1"]),
        ("faculties", [0], ["2"]),
    ]
    assert all(each.frame.schema == BROKEN for each in told)
    assert told[1].rule.message == "depends on a rejected row of a"
    before = told[1].before[0].frame
    assert dict(before.select("same", ROW).rows()) == {"1": 0, "2": 1}


@examples(
    parents=st.lists(st.integers(0, 11) | st.none(), min_size=12, max_size=12),
    bad=st.sets(st.integers(0, 11)),
    there=st.sets(st.integers(0, 11)),
)
def test_all_that_hang_on_a_rejected_row_go_and_nobody_else(
    parents: list[int | None], bad: set[int], there: set[int]
) -> None:
    one = node(0, "a", range(12), {"a": parents})

    gone = follow([one], [one.at(at(*sorted(bad)))], lambda _: pl.Series(sorted(there), dtype=pl.UInt128))

    def goes(row: int, seen: frozenset[int]) -> bool:
        parent = parents[row]
        if row in bad:
            return True
        if parent is None or parent in there or parent in seen:
            return False
        return goes(parent, seen | {row})

    assert masks(gone) == [[goes(n, frozenset()) for n in range(12)]]


def test_what_nested_rows_lie_in_is_asked_only_when_a_row_around_goes() -> None:
    asked = []

    def nested() -> pl.DataFrame:
        asked.append(1)
        return at(0, 1, 2).with_columns(pl.Series(PARENT, [0, 0, 1], dtype=pl.UInt32))

    outer = node(0, "a", [1, 2], {})
    outer.names = {"a": HANDLE, ("seed", "$"): PLACE}
    inner = node(1, "b", [1, 2, 3], {"a": [None, None, None]})
    inner.links = [Link(label=("seed", "$"), column=AROUND, parent="a", source="")]
    inner.nested = nested
    others = node(0, "c", [1], {})

    nobody = follow(
        [outer, inner, others], [outer.at(None), inner.at(None), others.at(at(0))], lambda _: NOTHING
    )
    assert (masks(nobody)[1], asked) == ([False] * 3, [])

    gone = follow([outer, inner], [outer.at(at(0)), inner.at(None)], lambda _: NOTHING)
    assert (masks(gone)[1], asked) == ([True, True, False], [1])


def test_columns_that_a_frame_lacks_are_null_in_a_broken_one() -> None:
    assert as_broken(at(3)).rows() == [(0, 3, None, None)]
