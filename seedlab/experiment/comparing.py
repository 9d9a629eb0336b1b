"""Compare two ways to seed: in pairs, taking turns, in fresh databases that must end up equal."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

from seedlab.database.arena import Arena
from seedlab.database.content import Columns, comparable, contents, read_tables
from seedlab.errors import ConfigurationError, Refused
from seedlab.experiment.trials import Tell, at_distance
from seedlab.flow import Catalog, Run, Target
from seedlab.flow.evidence import Comparison
from seedlab.insight.judging import compare as insight
from seedlab.insight.measuring.monitor import Monitor


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a comparison.

    Its name, the `ground` (template with empty tables), how it seeds a database.
    """

    name: str
    ground: str
    seed: Callable[[Target], Run]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How to compare: pairs to begin with and at most; the share from which a ratio counts as a difference.

    `anyway` compares also what is not comparable; `round_trip_ms` is a delay to add.
    """

    pairs: int = 7
    max_pairs: int = 15
    threshold: float = 0.05
    anyway: bool = False
    round_trip_ms: float = 0.0


def compare_sides(arena: Arena, sides: tuple[Side, Side], rules: Rules, tell: Tell) -> Comparison:
    """Seed both in turn, ABBA or BAAB, until more pairs would tell little or there are `max_pairs`.

    A first pair does not count; by it the databases are compared. Raises Refused where they differ.
    """
    if rules.pairs < 1 or rules.max_pairs < rules.pairs:
        raise ConfigurationError(
            f"expected at least one pair, and not fewer at most; found {rules.pairs} and {rules.max_pairs}"
        )
    with at_distance(arena, rules.round_trip_ms) as lead:
        tell("a first pair, which does not count")
        difference = _difference(arena, sides)
        if difference and not rules.anyway:
            raise Refused(f"{difference}; to compare what they cost all the same, type --anyway")
        before: list[Run] = []
        after: list[Run] = []
        names = (sides[0].name, sides[1].name)
        for pair, swapped in enumerate(swaps(random.SystemRandom()), start=1):
            most = rules.pairs if pair <= rules.pairs else f"at most {rules.max_pairs}"
            tell(f"pair {pair} of {most}")
            two = ((sides[0], before), (sides[1], after))
            for side, runs in two[::-1] if swapped else two:
                with arena.fresh(side.ground) as database:
                    runs.append(side.seed(lead(database)))
            if pair < rules.pairs:
                continue
            found = insight.compare(before, after, names=names, threshold=rules.threshold)
            if pair >= rules.max_pairs or insight.enough(found):
                break
    notes = [*found.notes, *arena.notes, *([difference] if difference else [])]
    return replace(found, notes=tuple(notes))


def swaps(chance: random.Random) -> Iterator[bool]:
    """Say of each pair whether the second side goes first: in every other one, and a coin says in which.

    So both are first equally often, and neighbours that work by turns do not fall in step with one of them
    (docs/design.md).
    """
    while True:
        swapped = chance.random() < 0.5
        yield swapped
        yield not swapped


# ---- equal databases ------------------------------------------------------------------------------------


def _difference(arena: Arena, sides: tuple[Side, Side]) -> str:
    """Seed both once and say in what the databases differ; nothing if they are equal.

    Where they seem to differ, a third one, of the first side again, shows which columns differ always: those
    tell of the moment (`now()`), and not of the data.
    """
    with ExitStack() as stack:

        def seeded(side: Side) -> tuple[Target, Catalog]:
            database = stack.enter_context(arena.fresh(side.ground))
            side.seed(database)
            return database, read_tables(database, Monitor())

        one, other = seeded(sides[0]), seeded(sides[1])
        columns = comparable(one[1])
        names = f"{sides[0].name} and {sides[1].name} do not end in equal databases"
        if columns.keys() != (others := comparable(other[1])).keys():
            only = sorted(columns.keys() ^ others.keys())
            return f"{names}: only one of them has the table {only[0]}"
        for table, known in columns.items():
            if set(known) != set(others[table]):
                only = sorted(set(known) ^ set(others[table]))
                return f"{names}: only one of them has the column {table}.{only[0]}"
        if not _differing(one, other, columns):
            return ""
        steady = _steady(one, seeded(sides[0]), columns)
        differing = _differing(one, other, steady)
        return f"{names}: rows of {', '.join(differing)} differ" if differing else ""


def _differing(one: tuple[Target, Catalog], other: tuple[Target, Catalog], columns: Columns) -> list[str]:
    """Name the tables whose rows differ in these columns, with their counts of rows."""
    asked = list(columns.items())
    pairs = zip(asked, contents(*one, asked), contents(*other, asked), strict=True)
    return [
        f"{table} ({before.rows:,} and {after.rows:,})"
        for (table, _), before, after in pairs
        if before != after
    ]


def _steady(one: tuple[Target, Catalog], again: tuple[Target, Catalog], columns: Columns) -> Columns:
    """Keep the columns that two runs of the same side fill with the same values: no `now()`."""
    asked = [(table, (name,)) for table, names in columns.items() for name in names]
    pairs = zip(asked, contents(*one, asked), contents(*again, asked), strict=True)
    unsteady = {(table, name) for (table, (name,)), first, second in pairs if first != second}
    return {
        table: tuple(name for name in names if (table, name) not in unsteady)
        for table, names in columns.items()
    }
