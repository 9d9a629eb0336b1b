"""Whatever was seeded before, and whoever changed it since: the database is as the files say now."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from seedlab.flow import Run
from tests.support.school import SEED, STAGE
from tests.support.seeding import WAYS, Way, counted, execute, portable_dump, rows_of, seed, seed_in
from tests.support.worlds import Emptied, World, beside, changed, repointed, worlds, write_world
from tests.support.writing import FORMATS

FAST, SLOW = 2, 64  # examples of every claim on every dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A state of the files, and how it is seeded; only the rows may matter."""

    world: World
    way: Way
    formats: tuple[str, ...]
    order: tuple[int, ...]
    pieces: int
    whole: bool  # all in one stage, or in levels


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """One to four edits of a world that is seeded after each; the way of writing changes less often."""
    world = draw(worlds())
    ways = st.just(Way()) | st.sampled_from(WAYS)
    layout = {
        "formats": st.lists(st.sampled_from(FORMATS), min_size=1, max_size=3).map(tuple),
        "order": st.permutations(range(7)).map(tuple),
        "pieces": st.integers(1, 3),
        "whole": st.booleans(),
    }
    chosen = {name: draw(each) for name, each in layout.items()}
    steps = [Step(world=world, way=draw(ways), **chosen)]
    for _ in range(draw(st.integers(1, 4))):
        edited = draw(st.sampled_from(["values", "parents", "nothing"]))
        if edited != "nothing":
            world = draw(changed(world) if edited == "values" else repointed(world))
        chosen = {name: draw(st.just(chosen[name]) | each) for name, each in layout.items()}
        steps.append(Step(world=world, way=draw(ways), **chosen))
    return steps


# What others do: number of the table, of a column, of a row; values are those of another row.
DRIFTS = st.lists(
    st.tuples(
        st.sampled_from(["copy", "null", "delete", "empty"]),
        st.integers(0, 4),
        st.integers(0, 3),
        st.integers(0, 6),
        st.integers(0, 6),
    ),
    min_size=1,
    max_size=4,
)
Drift = tuple[str, int, int, int, int]


def write_step(folder: Path, step: Step) -> Path:
    """Put the files of a step in the place of those before."""
    shutil.rmtree(folder, ignore_errors=True)
    write_world(folder, step.world, step.formats, step.order, step.pieces)
    if step.whole:
        seeds = (
            SEED.format(shape.name, f"{'*/' if step.pieces > 1 else ''}*-{shape.name}.*")
            + f'table = "{shape.name}"\n'
            for shape in step.world.shapes
        )
        (folder / "seedlab.toml").write_text(STAGE.format("all") + "".join(seeds))
    return folder


def seed_step(folder: Path, step: Step, url: str) -> Run:
    return seed_in(step.way, write_step(folder, step), url)


def drift(url: str, world: World, what: Drift) -> None:
    """Change a table as others would; what its constraints refuse is left."""
    kind, table, column, row, other = what
    shape = world.shapes[table % len(world.shapes)]
    columns = [each for each in shape.columns if each.name not in shape.key]
    mine = f"{row % max(1, len(world.rows[shape.name]))}"
    where = f"WHERE code = (SELECT code FROM {shape.name} ORDER BY 1 LIMIT 1 OFFSET {mine})"
    chosen = columns[column % len(columns)]
    taken = f"(SELECT {chosen.name} FROM {shape.name} ORDER BY code LIMIT 1 OFFSET {other})"
    script = {
        "copy": f"UPDATE {shape.name} SET {chosen.name} = COALESCE({taken}, {chosen.name}) {where}",
        "null": f"UPDATE {shape.name} SET {chosen.name} = NULL {where}",
        "delete": f"DELETE FROM {shape.name} {where}",
        "empty": f"DELETE FROM {shape.name}",
    }[kind]
    with suppress(psycopg.errors.IntegrityError, sqlite3.IntegrityError):
        execute(url, script)


# ---- what never changes ---------------------------------------------------------------------------------


def held(url: str) -> tuple[object, ...]:
    """All rows, all sequences, how many runs have written."""
    if url.startswith("sqlite"):
        return portable_dump(url), rows_of(url, "SELECT generation FROM seedlab_ledger")
    sequences = "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"
    return (
        portable_dump(url),
        rows_of(url, sequences),
        rows_of(url, "SELECT generation FROM seedlab.ledger"),
    )


def check_nothing_to_do(folder: Path, world: World, url: str) -> None:
    """A run more does nothing, and says of every row that it is as it was."""
    before = held(url)

    run = seed(folder, url)

    assert {stage.status for stage in run.stages} == {"skipped"}
    assert counted(run) == (0, 0, world.size)
    assert held(url) == before


def check_history(steps: list[Step], emptied: Emptied) -> None:
    first, last = steps[0].world, steps[-1]
    url, plain = emptied(first), beside(first)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "world")
        for step in steps:
            run = seed_step(folder, step, url)
            assert run.outcomes.total == step.world.size
        seed(folder, url)
        check_nothing_to_do(folder, last.world, url)
        seed(folder, plain, "legacy")

    assert portable_dump(url) == portable_dump(plain)


def check_drift(step: Step, drifts: list[Drift], emptied: Emptied) -> None:
    url = emptied(step.world)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "world")
        seed_step(folder, step, url)
        before = portable_dump(url)
        for each in drifts:
            drift(url, step.world, each)
        differs = portable_dump(url) != before

        run = seed(folder, url)

        assert (run.outcomes.created + run.outcomes.updated > 0) == differs
        assert portable_dump(url) == before
        check_nothing_to_do(folder, step.world, url)


def examples(count: int) -> settings:
    """Few, or many; to make a failing one smaller would take a database for each attempt."""
    return settings(
        max_examples=count,
        database=None,
        derandomize=count == FAST,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
        ],
    )


ONCE = histories().map(lambda steps: steps[0])


@pytest.mark.slow
@examples(SLOW)
@given(steps=histories())
def test_many_edits_seeded_one_by_one_give_what_the_last_gives(steps: list[Step], emptied: Emptied) -> None:
    check_history(steps, emptied)


@pytest.mark.slow
@examples(SLOW)
@given(step=ONCE, drifts=DRIFTS)
def test_whatever_others_did_is_mended_in_many_worlds(
    step: Step, drifts: list[Drift], emptied: Emptied
) -> None:
    check_drift(step, drifts, emptied)
