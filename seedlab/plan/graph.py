"""The dependency graph of stages: declared dependencies and foreign keys, checks, order. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from seedlab.errors import ConfigurationError, GraphError, Place
from seedlab.flow import Edge, Seed, Stage
from seedlab.plan.configuration import combine


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A foreign key of a table that a stage fills: the stage needs the parent's rows."""

    stage: str
    table: str
    foreign_key_name: str
    parent_table: str


def topological_order(waits_for: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Order nodes topologically. Raises GraphError that shows a cycle as a path."""
    try:
        return tuple(TopologicalSorter(waits_for).static_order())
    except CycleError as error:
        raise GraphError(_cycle_message(error)) from None


def check_cycles(stages: Sequence[Stage]) -> None:
    """Raise GraphError, with the line of a stage in the cycle, if stages depend on each other."""
    try:
        TopologicalSorter({stage.id: stage.dependencies for stage in stages}).prepare()
    except CycleError as error:
        first = next(stage for stage in stages if stage.id in error.args[1])
        raise GraphError(_cycle_message(error), _place(first, "dependencies")) from None


def ancestors(stages: Sequence[Stage]) -> dict[str, frozenset[str]]:
    """Map each stage to all stages that it depends on, directly or indirectly."""
    waits_for = {stage.id: stage.dependencies for stage in stages}
    before: dict[str, frozenset[str]] = {}
    for node in topological_order(waits_for):
        parents = waits_for.get(node, ())
        before[node] = frozenset(parents).union(*(before[parent] for parent in parents))
    return before


def with_dependents(names: Iterable[str], parents: Mapping[str, Collection[str]]) -> set[str]:
    """Return nodes with all others that refer to them, directly or indirectly."""
    found = set(names)
    while more := {name for name, above in parents.items() if not found.isdisjoint(above)} - found:
        found |= more
    return found


def waiting(
    stages: Sequence[Stage], running: Collection[str], links: Iterable[tuple[str, str]]
) -> dict[str, frozenset[str]]:
    """Map each running stage to the other running stages that must finish before it.

    These are all it depends on, directly or indirectly, and those that `links` (before, after) add. A link
    that would close a cycle with dependencies and earlier links is ignored.
    """
    declared = ancestors(stages)
    before = {stage.id: set(declared[stage.id]) for stage in stages}
    for first, second in links:
        if first != second and second not in before[first]:
            for name, waited_for in before.items():
                if second == name or second in waited_for:
                    waited_for.update(before[first], {first})
    return {
        name: frozenset(waited_for & set(running)) for name, waited_for in before.items() if name in running
    }


def providers(filled: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Map each table to the stages that fill it, in the order of the pairs (table, stage)."""
    found: dict[str, dict[str, None]] = {}
    for table, stage in filled:
        found.setdefault(table, {})[stage] = None
    return {table: list(stages) for table, stages in found.items()}


def check_dependencies(
    stages: Sequence[Stage],
    needs: Iterable[Need],
    providers: Mapping[str, Sequence[str]],
) -> None:
    """Check that the declared dependencies cover the foreign keys.

    `providers` maps a table to the stages that fill it; a table that no stage fills needs no dependency.
    Raises GraphError for a cycle, else one ConfigurationError with all missing dependencies.
    """
    check_cycles(stages)
    before = ancestors(stages)
    by_id = {stage.id: stage for stage in stages}
    errors = []
    for need in needs:
        filled_by = providers.get(need.parent_table, ())
        if filled_by and not (before[need.stage] | {need.stage}) & set(filled_by):
            place = _place(by_id[need.stage], f"stages.{need.stage}.dependencies")
            errors.append(ConfigurationError(_missing(need, filled_by, before), place))
    if errors:
        raise combine(errors)


def edges(
    stages: Sequence[Stage], needs: Iterable[Need], providers: Mapping[str, Sequence[str]]
) -> tuple[Edge, ...]:
    """List the edges of the graph: every declared dependency, and every foreign key between two stages.

    If two stages fill a table, a foreign key to it does not make a stage between them wait for the later one.
    """
    before = ancestors(stages)
    declared = [
        Edge(before=parent, after=stage.id, origin="declared")
        for stage in stages
        for parent in stage.dependencies
    ]
    implied = [
        Edge(before=stage, after=need.stage, origin=need.foreign_key_name)
        for need in needs
        for stage in providers.get(need.parent_table, ())
        if stage != need.stage and need.stage not in before.get(stage, ())
    ]
    return tuple(dict.fromkeys(declared + implied))


def needless(edges: Sequence[Edge]) -> tuple[tuple[str, str], ...]:
    """Return the declared dependencies (stage, stage it waits for) that no foreign key requires."""
    needed = {(each.after, each.before) for each in edges if each.origin != "declared"}
    declared = dict.fromkeys((each.after, each.before) for each in edges if each.origin == "declared")
    return tuple(pair for pair in declared if pair not in needed)


def longest_path(waits_for: Mapping[str, Sequence[str]], seconds: Mapping[str, float]) -> tuple[str, ...]:
    """Find the critical path: the chain of dependent nodes that takes longest, first node first."""
    best: dict[str, tuple[float, tuple[str, ...]]] = {}
    for node in topological_order(waits_for):
        before = max((best[each] for each in waits_for.get(node, ())), default=(0.0, ()))
        best[node] = before[0] + seconds[node], (*before[1], node)
    return max(best.values(), default=(0.0, ()))[1]


def components(graph: Mapping[str, Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    """Return the strongly connected components, each after those that it refers to.

    `graph` maps a node to the nodes it refers to; those that are not themselves keys are ignored. The result
    does not depend on the order of the graph. Tarjan's algorithm (1972) with an explicit stack; the time is
    linear but for the sorting.
    """
    found: list[tuple[str, ...]] = []
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    open_nodes: dict[str, None] = {}  # in the order of their visit
    walk: list[tuple[str, Iterator[str]]] = []

    def enter(node: str) -> None:
        index[node] = low[node] = len(index)
        open_nodes[node] = None
        walk.append((node, iter(sorted(set(graph[node])))))

    def leave(node: str) -> None:
        if low[node] == index[node]:
            group = [open_nodes.popitem()[0]]
            while group[-1] != node:
                group.append(open_nodes.popitem()[0])
            found.append(tuple(sorted(group)))

    for root in sorted(graph):
        if root not in index:
            enter(root)
        while walk:
            node, referred = walk[-1]
            other = next(referred, None)
            if other is None:
                walk.pop()
                leave(node)
                if walk:
                    low[walk[-1][0]] = min(low[walk[-1][0]], low[node])
            elif other in graph and other not in index:
                enter(other)
            elif other in open_nodes:
                low[node] = min(low[node], index[other])
    return tuple(found)


def levels(seeds: Sequence[Seed], parents: Mapping[str, Collection[str]]) -> tuple[Stage, ...]:
    """Make stages for a project that declares none: the levels of the foreign-key graph.

    `parents` maps each table, as spelled in the seeds, to the tables it refers to. The tables of a cycle, and
    those of one seed, share a stage.
    """
    graph = _seeded_graph(seeds, parents)
    level: dict[str, int] = {}
    for group in components(graph):
        below = {parent for table in group for parent in graph[table]} & level.keys()
        level.update(dict.fromkeys(group, 1 + max((level[parent] for parent in below), default=0)))
    numbers = {seed.name: level[seed.tables[0].table] for seed in seeds}
    return tuple(_level(number, seeds, numbers) for number in sorted(set(numbers.values())))


def waves(stages: Sequence[Stage]) -> tuple[tuple[str, ...], ...]:
    """Group stages that could run concurrently; a stage that is not `parallel` has a wave of its own."""
    sorter = TopologicalSorter({stage.id: stage.dependencies for stage in stages})
    sorter.prepare()
    found: list[tuple[str, ...]] = []
    while sorter.is_active():
        ready = set(sorter.get_ready())
        sorter.done(*ready)
        concurrent = tuple(stage.id for stage in stages if stage.id in ready and stage.parallel)
        alone = [(stage.id,) for stage in stages if stage.id in ready and not stage.parallel]
        found += [concurrent, *alone] if concurrent else alone
    return tuple(found)


def _cycle_message(error: CycleError) -> str:
    path = " → ".join(reversed(error.args[1]))
    return f"stages wait for each other in a circle: {path}"


def _place(stage: Stage, key: str) -> Place | None:
    return stage.place and replace(stage.place, key=key)


def _missing(need: Need, filled_by: Sequence[str], before: Mapping[str, frozenset[str]]) -> str:
    parents = " or ".join(f"'{stage}'" for stage in filled_by)
    why = (
        f"foreign key {need.foreign_key_name} of table {need.table} refers to {need.parent_table}, "
        f"which is filled by stage {parents}"
    )
    if all(need.stage in before[stage] for stage in filled_by):
        return f"{why}, but that waits for '{need.stage}'; put both into one stage"
    return f"{why}; add {parents} to the dependencies of stage '{need.stage}'"


def _seeded_graph(seeds: Sequence[Seed], parents: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    """Build the graph of the tables with data; the tables of one seed form a cycle, so they stay together."""
    graph: dict[str, set[str]] = {}
    for seed in seeds:
        names = [spec.table for spec in seed.tables]
        for name, following in zip(names, names[1:] + names[:1], strict=True):
            graph.setdefault(name, set()).update(parents.get(name, ()), {following})
    return graph


def _level(number: int, seeds: Sequence[Seed], numbers: Mapping[str, int]) -> Stage:
    name = f"level-{number}"
    return Stage(
        id=name,
        name=f"Level {number}",
        seeds=tuple(replace(seed, stage=name) for seed in seeds if numbers[seed.name] == number),
        dependencies=(f"level-{number - 1}",) if number > 1 else (),
    )
