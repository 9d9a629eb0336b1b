"""Dependencies are checked against foreign keys; tables are ordered whatever their number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedlab.errors import ConfigurationError, GraphError, Place
from seedlab.flow import Edge, Seed, Stage, TableSpec
from seedlab.plan.graph import (
    Need,
    ancestors,
    check_dependencies,
    components,
    edges,
    levels,
    longest_path,
    needless,
    waiting,
    waves,
)


def stage(name: str, *dependencies: str, parallel: bool = True, line: int | None = None) -> Stage:
    place = Place(file="seedlab.toml", line=line)
    return Stage(
        id=name, name=name.title(), seeds=(), dependencies=dependencies, parallel=parallel, place=place
    )


def seed(name: str, *tables: str) -> Seed:
    return Seed(
        name=name, stage="", files=(), tables=tuple(TableSpec(table=each) for each in tables or (name,))
    )


def need(stage: str, table: str, parent: str) -> Need:
    return Need(stage=stage, table=table, foreign_key_name=f"{table}_{parent}_fk", parent_table=parent)


graphs = st.integers(1, 12).flatmap(
    lambda size: st.fixed_dictionaries(
        {
            f"t{n:02}": st.sets(st.integers(0, size - 1).map(lambda i: f"t{i:02}"), max_size=4)
            for n in range(size)
        }
    )
)


# ---- declared against found ----


def test_a_missing_dependency_names_the_foreign_key_the_tables_and_what_to_add() -> None:
    stages = [stage("courses"), stage("modules", line=12)]

    with pytest.raises(ConfigurationError) as raised:
        check_dependencies(stages, [need("modules", "modules", "courses")], {"courses": ["courses"]})

    assert str(raised.value) == (
        "seedlab.toml:12:stages.modules.dependencies: foreign key modules_courses_fk of table modules refers to "
        "courses, which is filled by stage 'courses'; add 'courses' to the dependencies of stage 'modules'"
    )


def test_every_missing_dependency_is_told_at_once() -> None:
    stages = [stage("a"), stage("b", line=3), stage("c", line=9)]
    needs = [need("b", "b", "a"), need("c", "c", "a")]

    with pytest.raises(ConfigurationError) as raised:
        check_dependencies(stages, needs, {"a": ["a"]})

    assert [line.split(": ")[0] for line in str(raised.value).split("\n")] == [
        "seedlab.toml:3:stages.b.dependencies",
        "seedlab.toml:9:stages.c.dependencies",
    ]


@pytest.mark.parametrize(
    "providers",
    [
        pytest.param({}, id="nobody fills the parent: it is there"),
        pytest.param({"t": ["a"]}, id="an ancestor fills it"),
        pytest.param({"t": ["c"]}, id="the stage itself fills it"),
        pytest.param({"t": ["z", "a"]}, id="an ancestor is among those who fill it"),
    ],
)
def test_a_foreign_key_is_content_with(providers: dict[str, list[str]]) -> None:
    stages = [stage("a"), stage("b", "a"), stage("c", "b"), stage("z")]

    check_dependencies(stages, [need("c", "child", "t")], providers)

    assert ancestors(stages)["c"] == {"a", "b"}


def test_stages_that_need_each_other_are_told_to_become_one() -> None:
    with pytest.raises(ConfigurationError, match="'b', but that waits for 'a'; put both into one stage"):
        check_dependencies([stage("a"), stage("b", "a")], [need("a", "x", "y")], {"y": ["b"]})


def test_a_circle_is_printed_as_a_path() -> None:
    stages = [stage("x"), stage("a", "b", line=4), stage("b", "c"), stage("c", "a")]

    with pytest.raises(
        GraphError, match=r"seedlab.toml:4:.*circle: (a → b → c → a|b → c → a → b|c → a → b → c)$"
    ):
        check_dependencies(stages, [], {})


def test_a_stage_that_waits_for_itself_is_a_circle() -> None:
    with pytest.raises(GraphError, match="a → a"):
        check_dependencies([stage("a", "a")], [], {})


# ---- components ----


def test_tables_that_refer_to_each_other_are_one_component_and_parents_come_first() -> None:
    graph = {"answers": ["parts"], "parts": ["questions"], "questions": ["answers", "modules"], "modules": []}

    assert components(graph) == (("modules",), ("answers", "parts", "questions"))


def test_a_self_reference_is_no_company() -> None:
    assert components({"a": ["a"], "b": ["a"]}) == (("a",), ("b",))


def test_tables_outside_the_graph_are_passed_over() -> None:
    assert components({"a": ["elsewhere"]}) == (("a",),)


@given(graphs)
def test_components_are_what_reaches_each_other_in_order_of_dependency(graph: dict[str, set[str]]) -> None:
    found = components(graph)

    reach = {node: _reached(graph, node) for node in graph}
    position = {node: index for index, group in enumerate(found) for node in group}
    assert sorted(node for group in found for node in group) == sorted(graph)
    for a, referred in graph.items():
        for b in graph:
            assert (position[a] == position[b]) == (a == b or (a in reach[b] and b in reach[a]))
        assert all(position[other] <= position[a] for other in referred)
    assert found == components({node: sorted(graph[node], reverse=True) for node in reversed(graph)})


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    todo = [start]
    while todo:
        new = graph[todo.pop()] - found
        found |= new
        todo += new
    return found


class Looked(dict[str, list[str]]):
    """A graph that counts how often it is looked into."""

    looks = 0

    def __getitem__(self, node: str) -> list[str]:
        self.looks += 1
        return super().__getitem__(node)


def test_thousands_of_tables_in_a_row_need_no_recursion_and_one_look_at_each() -> None:
    graph = Looked({f"t{n}": [f"t{n + 1}"] for n in range(20_000)})

    found = components(graph)

    assert (len(found), found[0], found[-1]) == (20_000, ("t19999",), ("t0",))
    assert graph.looks == 20_000


# ---- levels and waves ----


def test_a_folder_without_configuration_gets_the_levels_of_its_foreign_keys() -> None:
    seeds = [seed("answers"), seed("questions"), seed("words"), seed("modules")]
    parents = {"answers": ["questions"], "questions": ["modules", "parts"], "parts": ["words"], "words": []}

    found = levels(seeds, parents)

    assert [(each.id, [one.name for one in each.seeds], each.dependencies) for each in found] == [
        ("level-1", ["words", "modules"], ()),
        ("level-2", ["questions"], ("level-1",)),
        ("level-3", ["answers"], ("level-2",)),
    ]
    assert [one.stage for each in found for one in each.seeds] == ["level-1", "level-1", "level-2", "level-3"]


def test_tables_of_a_circle_and_of_one_seed_share_a_level() -> None:
    seeds = [seed("husbands"), seed("wives"), seed("nested", "n1", "n2"), seed("child")]
    parents = {"husbands": ["wives"], "wives": ["husbands"], "n2": ["n1", "wives"], "child": ["n1"]}

    found = levels(seeds, parents)

    assert [[one.name for one in each.seeds] for each in found] == [
        ["husbands", "wives"],
        ["nested"],
        ["child"],
    ]


def test_two_seeds_of_one_table_are_in_one_level() -> None:
    csv, json = seed("t.csv", "t"), seed("t.json", "t")

    (only,) = levels([csv, json], {})

    assert [one.name for one in only.seeds] == ["t.csv", "t.json"]


def test_waves_hold_what_could_run_at_the_same_time() -> None:
    stages = [
        stage("d", "b", "c"),
        stage("a"),
        stage("c", "a"),
        stage("b", "a"),
        stage("e", "a", parallel=False),
    ]

    assert waves(stages) == (("a",), ("c", "b"), ("e",), ("d",))
    assert waves([]) == ()


# ---- text ----

STAGES = (stage("courses"), stage("modules", "courses", parallel=False), stage("links"))
SHOWN = edges(
    STAGES,
    [
        need("modules", "modules", "courses"),
        need("links", "links", "modules"),
        need("links", "links", "elsewhere"),
    ],
    {"courses": ["courses"], "modules": ["modules", "links"]},
)


def test_edges_say_where_they_come_from() -> None:
    assert (
        Edge(before="courses", after="modules", origin="declared"),
        Edge(before="courses", after="modules", origin="modules_courses_fk"),
        Edge(before="modules", after="links", origin="links_modules_fk"),
    ) == SHOWN


def test_a_stage_does_not_wait_for_a_later_one_that_fills_the_same_table() -> None:
    stages = (stage("modules"), stage("questions", "modules"))
    needs = [need("modules", "parts", "questions"), need("questions", "parts", "questions")]

    shown = edges(stages, needs, {"questions": ["modules", "questions"]})

    assert {(edge.before, edge.after) for edge in shown} == {("modules", "questions")}


def test_a_stage_waits_for_all_that_run_before_it_also_past_those_that_do_not() -> None:
    stages = (stage("a"), stage("b", "a"), stage("c", "b"))

    assert waiting(stages, ["a", "c"], ()) == {"a": frozenset(), "c": {"a"}}


def test_a_link_is_added_unless_it_makes_a_circle() -> None:
    stages = (stage("a"), stage("b", "a"), stage("c"), stage("d", "c"))

    found = waiting(stages, "abcd", [("b", "a"), ("b", "c"), ("d", "a"), ("d", "d")])

    assert found == {"a": frozenset(), "b": {"a"}, "c": {"a", "b"}, "d": {"a", "b", "c"}}


@given(st.data(), st.integers(1, 7))
def test_whatever_the_links_no_stage_waits_for_itself_and_none_is_lost_without_need(
    data: st.DataObject, size: int
) -> None:
    names = [str(n) for n in range(size)]
    stages = [
        stage(name, *data.draw(st.sets(st.sampled_from(names[:n] or ["0"]))) - {name})
        for n, name in enumerate(names)
    ]
    links = data.draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=12))

    found = waiting(stages, names, links)

    assert all(name not in before for name, before in found.items())
    assert all(found[other] <= before for before in found.values() for other in before)
    assert all(a == b or a in found[b] or b in found[a] for a, b in links)


# ---- what could be otherwise ----------------------------------------------------------------------------


def test_a_dependency_that_no_foreign_key_needs_is_told() -> None:
    stages = (stage("courses"), stage("modules", "courses"), stage("links", "courses", "modules"))
    needs = [need("modules", "modules", "courses"), need("links", "links", "modules")]

    shown = edges(stages, needs, {"courses": ["courses"], "modules": ["modules"]})

    assert needless(shown) == (("links", "courses"),)


def test_the_longest_path_is_the_one_that_takes_longest_not_the_one_with_most_stages() -> None:
    waits_for = {"a": (), "b": ("a",), "c": ("b",), "d": ("a",)}

    assert longest_path(waits_for, {"a": 1, "b": 1, "c": 1, "d": 5}) == ("a", "d")
    assert longest_path(waits_for, {"a": 1, "b": 1, "c": 6, "d": 5}) == ("a", "b", "c")
    assert longest_path({}, {}) == ()
