"""Compares two ways to seed by interleaved pairs of runs in fresh databases, which must end up equal."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

from seedlab.database.content import Columns, comparable, contents, read_tables
from seedlab.database.scratch_databases import ScratchDatabases
from seedlab.errors import ConfigurationError, Refused
from seedlab.experiment.trials import ProgressCallback, delayed
from seedlab.flow import Catalog, Run, Target
from seedlab.flow.evidence import Comparison
from seedlab.insight.judging import compare as insight
from seedlab.insight.measuring.monitor import Monitor


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a comparison: its name, the template database with its empty tables, how it seeds."""

    name: str
    template: str
    seed: Callable[[Target], Run]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How to compare: the least and greatest number of pairs, and what counts as a difference.

    Ratios that differ from 1 by less than `threshold` count as the same. `anyway` compares even what is not
    comparable, and `round_trip_ms` is a delay to add to each round trip.
    """

    pairs: int = 7
    max_pairs: int = 15
    threshold: float = 0.05
    anyway: bool = False
    round_trip_ms: float = 0.0


def compare_sides(
    scratch: ScratchDatabases, sides: tuple[Side, Side], rules: Rules, on_progress: ProgressCallback
) -> Comparison:
    """Run both sides alternately until more pairs would add little precision, or there are `max_pairs`.

    A first pair is not measured; its databases are compared. Raises Refused if they differ.
    """
    if rules.pairs < 1 or rules.max_pairs < rules.pairs:
        raise ConfigurationError(
            "expected at least one pair, and --max-pairs no smaller than --pairs; "
            f"found {rules.pairs} and {rules.max_pairs}"
        )
    with delayed(scratch, rules.round_trip_ms) as reroute:
        on_progress("a first pair, which does not count")
        difference = _difference(scratch, sides)
        if difference and not rules.anyway:
            raise Refused(f"{difference}; to compare what they cost all the same, type --anyway")
        before: list[Run] = []
        after: list[Run] = []
        names = (sides[0].name, sides[1].name)
        for pair, swapped in enumerate(swaps(random.SystemRandom()), start=1):
            most = rules.pairs if pair <= rules.pairs else f"at most {rules.max_pairs}"
            on_progress(f"pair {pair} of {most}")
            measured = ((sides[0], before), (sides[1], after))
            for side, runs in measured[::-1] if swapped else measured:
                with scratch.fresh_copy(side.template) as database:
                    runs.append(side.seed(reroute(database)))
            if pair < rules.pairs:
                continue
            found = insight.compare(before, after, names=names, threshold=rules.threshold)
            if pair >= rules.max_pairs or insight.enough(found):
                break
    notes = [*found.notes, *scratch.notes, *([difference] if difference else [])]
    return replace(found, notes=tuple(notes))


def swaps(chance: random.Random) -> Iterator[bool]:
    """Yield for each pair whether the second side runs first: once in every two pairs, in random order.

    So both sides are first equally often (ABBA or BAAB), and a disturbance that recurs regularly does not
    always hit the same side (docs/design.md).
    """
    while True:
        swapped = chance.random() < 0.5
        yield swapped
        yield not swapped


# ---- equal databases ------------------------------------------------------------------------------------


def _difference(scratch: ScratchDatabases, sides: tuple[Side, Side]) -> str:
    """Seed both sides once and word how the databases differ; return "" if they are equal.

    If rows differ, the first side is seeded once more. Columns in which its own two databases differ depend
    on the time (`now()`) instead of the data, and are left out of the comparison.
    """
    with ExitStack() as stack:

        def seeded(side: Side) -> tuple[Target, Catalog]:
            database = stack.enter_context(scratch.fresh_copy(side.template))
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
        deterministic = _deterministic(one, seeded(sides[0]), columns)
        differing = _differing(one, other, deterministic)
        return f"{names}: rows of {', '.join(differing)} differ" if differing else ""


def _differing(one: tuple[Target, Catalog], other: tuple[Target, Catalog], columns: Columns) -> list[str]:
    """Name the tables whose rows differ in these columns, with their row counts."""
    tables = list(columns.items())
    pairs = zip(tables, contents(*one, tables), contents(*other, tables), strict=True)
    return [
        f"{table} ({before.rows:,} and {after.rows:,})"
        for (table, _), before, after in pairs
        if before != after
    ]


def _deterministic(one: tuple[Target, Catalog], again: tuple[Target, Catalog], columns: Columns) -> Columns:
    """Keep the columns that two runs of the same side fill with the same values, so without `now()`."""
    single = [(table, (name,)) for table, names in columns.items() for name in names]
    pairs = zip(single, contents(*one, single), contents(*again, single), strict=True)
    changing = {(table, name) for (table, (name,)), first, second in pairs if first != second}
    return {
        table: tuple(name for name in names if (table, name) not in changing)
        for table, names in columns.items()
    }
