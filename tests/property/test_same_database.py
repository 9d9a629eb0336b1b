"""Whatever the schema, the rows, their order, format, level and workers: one and the same database."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.previewing import preview_in, state
from tests.support.seeding import WAYS, Way, counted, portable, portable_dump, seed, seed_in
from tests.support.worlds import Emptied, World, begun, beside, changed, stages_of, worlds, write_world
from tests.support.writing import FORMATS

FAST = 4  # examples of every claim on every dialect; the slow ones look at more
SLOW = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a world is written and seeded; none of it may matter."""

    way: Way
    formats: tuple[str, ...]
    order: tuple[int, ...]
    workers: int
    batch_rows: int


MANNERS = st.builds(
    Manner,
    way=st.sampled_from(WAYS),
    formats=st.lists(st.sampled_from(FORMATS), min_size=1, max_size=5).map(tuple),
    order=st.permutations(range(7)).map(tuple),
    workers=st.integers(1, 8),
    batch_rows=st.sampled_from([2, 100_000]),
)
# The plainest manner there is.
PLAIN = Manner(
    way=Way(level="legacy"), formats=("csv",), order=tuple(range(7)), workers=1, batch_rows=100_000
)


def seeded(world: World, manner: Manner, url: str) -> tuple[int, int, int]:
    """Seed a world in some manner."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "world"
        write_world(folder, world, manner.formats, manner.order)
        return counted(seed_in(manner.way, folder, url, workers=manner.workers, batch_rows=manner.batch_rows))


def seeded_by_stages(world: World, manner: Manner, url: str) -> tuple[int, int, int]:
    """Seed a world of which every table is a stage, each committed by itself."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "world"
        write_world(folder, world, manner.formats, manner.order)
        (folder / "seedlab.toml").write_text(stages_of(world), "utf-8")
        way = {"level": manner.way.level, "disabled": manner.way.disabled, "workers": manner.workers}
        return counted(seed(folder, url, batch_rows=manner.batch_rows, commit="stage", **way))


def check_values(world: World, url: str) -> None:
    """The database has the model's rows: every column that is not an id."""
    held = portable_dump(url)
    for shape in world.shapes:
        start = 1 if shape.identity == "uuid" else 0
        values = [row[start : start + len(shape.columns)] for row in held[shape.name]]
        modelled = [
            [None if row[c.name] is None else portable(row[c.name], c.kind) for c in shape.columns]
            for row in world.rows[shape.name]
        ]
        assert sorted(values, key=repr) == sorted(modelled, key=repr)


def check_manner(world: World, manner: Manner, emptied: Emptied) -> None:
    url, plain = emptied(world), beside(world)
    seeded(world, PLAIN, plain)

    first = seeded(world, manner, url)
    held = portable_dump(url)
    second = seeded(world, manner, url)

    assert first == (world.size, 0, 0)
    assert second == (0, 0, world.size)
    assert held == portable_dump(plain) == portable_dump(url)
    check_values(world, url)


def check_change(world: World, after: World, manner: Manner, emptied: Emptied) -> None:
    url, plain = emptied(world), beside(world)
    seeded(world, PLAIN, plain)
    seeded(world, PLAIN, url)

    counts = seeded(after, manner, url)

    assert counts == seeded(after, PLAIN, plain)
    assert seeded(after, manner, url) == (0, 0, world.size)
    assert portable_dump(url) == portable_dump(plain)
    check_values(after, url)


def check_preview(world: World, before: World, manner: Manner, emptied: Emptied) -> None:
    """What is begun is there, with other values; then the world is told, seeded, and told again."""
    url = emptied(world)
    seeded(before, PLAIN, url)
    there = state(url)

    told = previewed(world, manner, url)
    held = state(url)
    done = seeded(world, manner, url)

    assert held == there
    assert told == done
    assert sum(told) == world.size
    assert previewed(world, manner, url) == (0, 0, world.size)


def previewed(world: World, manner: Manner, url: str) -> tuple[int, int, int]:
    """Say what seeding a world would do; with and without differences the same."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "world"
        write_world(folder, world, manner.formats, manner.order)
        how = {"workers": manner.workers, "batch_rows": manner.batch_rows}
        plain = preview_in(manner.way, folder, url, **how)
        lined = preview_in(manner.way, folder, url, differences=True, **how)
        assert plain.by_seed == lined.by_seed
        assert plain.counted[:2] == lined.lines_counted
        return plain.counted


def check_stages(world: World, after: World, manner: Manner, emptied: Emptied) -> None:
    url, plain = emptied(world), beside(world)
    seeded(world, PLAIN, plain)

    first = seeded_by_stages(world, manner, url)
    held = portable_dump(url)

    assert first == (world.size, 0, 0)
    assert held == portable_dump(plain)
    assert seeded_by_stages(after, manner, url) == seeded(after, PLAIN, plain)
    assert portable_dump(url) == portable_dump(plain)
    assert seeded_by_stages(after, manner, url) == (0, 0, world.size)


def examples(count: int) -> settings:
    return settings(
        max_examples=count,
        database=None,
        derandomize=count == FAST,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
        ],
    )


BEGUN = worlds().flatmap(lambda world: st.tuples(st.just(world), begun(world).flatmap(changed)))
CHANGES = worlds().flatmap(lambda world: st.tuples(st.just(world), changed(world)))


@examples(FAST)
@given(world=worlds(), manner=MANNERS)
def test_no_manner_of_seeding_changes_the_database(world: World, manner: Manner, emptied: Emptied) -> None:
    check_manner(world, manner, emptied)


@pytest.mark.slow
@examples(SLOW)
@given(change=CHANGES, manner=MANNERS)
def test_stages_committed_one_by_one_make_the_same_database_in_many_worlds(
    change: tuple[World, World], manner: Manner, emptied: Emptied
) -> None:
    check_stages(*change, manner, emptied)


@pytest.mark.slow
@examples(SLOW)
@given(world=worlds(), manner=MANNERS)
def test_no_manner_of_seeding_changes_the_database_in_many_worlds(
    world: World, manner: Manner, emptied: Emptied
) -> None:
    check_manner(world, manner, emptied)


@pytest.mark.slow
@examples(SLOW)
@given(change=CHANGES, manner=MANNERS)
def test_no_manner_of_seeding_changes_what_a_change_does_in_many_worlds(
    change: tuple[World, World], manner: Manner, emptied: Emptied
) -> None:
    check_change(*change, manner, emptied)


@pytest.mark.slow
@examples(SLOW)
@given(change=BEGUN, manner=MANNERS)
def test_a_preview_tells_before_what_seeding_does_in_many_worlds(
    change: tuple[World, World], manner: Manner, emptied: Emptied
) -> None:
    check_preview(*change, manner, emptied)
