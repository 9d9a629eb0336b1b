"""What a run that looks only at what changed leaves is what one that compares every row leaves, step by step."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedlab.database.postgres import stamp_statements
from seedlab.flow import memory
from seedlab.steps.remembering import stage_memory, table_state
from seedlab.steps.resolving import scanning
from tests.property.test_again import (
    DRIFTS,
    FAST,
    Drift,
    Step,
    check_nothing_to_do,
    drift,
    examples,
    write_step,
)
from tests.support.seeding import Way, counted, portable_dump, seed, seed_in
from tests.support.worlds import Emptied, begun, changed, repointed, worlds
from tests.support.writing import FORMATS

EVERY_ROW = Way(disabled=frozenset({"incremental"}))
MORE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many bytes a pack has, and from how many rows on no marks are kept, where a stamp tells of them and
    where none does, and no names of rows held.
    """

    pack_bytes: int = memory.PACK_BYTES
    marked_rows: int = table_state.MARKED_ROWS
    named_rows: int = scanning.NAMED_ROWS
    unmarked_rows: int = 1


LIMITS = st.sampled_from(
    [
        Limits(),
        Limits(unmarked_rows=stamp_statements.UNMARKED_ROWS),
        Limits(pack_bytes=60, marked_rows=3),
        Limits(named_rows=1),
        Limits(pack_bytes=2000, named_rows=2),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What others do to the target, and then the files, which are large or not."""

    drifts: tuple[Drift, ...]
    step: Step
    batch_rows: int


@st.composite
def turns(draw: st.DrawFn) -> list[Turn]:
    """A first load, and two to four more; files keep their form, so that few of them change."""
    world = draw(worlds())
    first = Step(
        world=world,
        way=Way(),
        formats=draw(st.lists(st.sampled_from(FORMATS), min_size=1, max_size=3).map(tuple)),
        order=draw(st.permutations(range(7)).map(tuple)),
        pieces=draw(st.integers(1, 3)),
        whole=draw(st.booleans()),
    )
    found = [Turn(drifts=(), step=first, batch_rows=draw(st.sampled_from([2, 100_000])))]
    for _ in range(draw(st.integers(2, 4))):
        world = draw(st.just(world) | changed(world) | repointed(world))
        brought = draw(st.just(world) | begun(world))
        drifts = draw(st.just(()) | DRIFTS.map(tuple))
        large = draw(st.sampled_from([2, 100_000]))
        found.append(Turn(drifts=drifts, step=replace(first, world=brought), batch_rows=large))
    last = replace(found[-1], drifts=(), step=replace(first, world=world))
    return [*found, last]


def lived(turns: list[Turn], way: Way, url: str, limits: Limits = Limits()) -> list[dict[str, object]]:
    """All rows, and what became of them, after each turn."""
    told: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(memory, "PACK_BYTES", limits.pack_bytes)
        patched.setattr(table_state, "MARKED_ROWS", limits.marked_rows)
        patched.setattr(stage_memory, "MARKED_ROWS", limits.marked_rows)
        patched.setattr(scanning, "NAMED_ROWS", limits.named_rows)
        patched.setattr(stamp_statements, "UNMARKED_ROWS", limits.unmarked_rows)
        folder = Path(name, "world")
        for turn in turns:
            for each in turn.drifts:
                drift(url, turn.step.world, each)
            run = seed_in(way, write_step(folder, turn.step), url, batch_rows=turn.batch_rows)
            told.append({"counted": counted(run), **portable_dump(url)})
        if way == Way():
            if limits.marked_rows < Limits().marked_rows:
                check_settles(folder, url)
            check_nothing_to_do(folder, turns[-1].step.world, url)
    return told


def check_settles(folder: Path, url: str) -> None:
    """Where no marks are kept, a run that wrote only some rows may leave doubt: the next compares all, once."""
    before = portable_dump(url)

    run = seed(folder, url)

    assert (run.outcomes.created, run.outcomes.updated, run.outcomes.deleted) == (0, 0, 0)
    assert portable_dump(url) == before


def check(turns: list[Turn], limits: Limits, emptied: Emptied) -> None:
    first = turns[0].step.world
    few = lived(turns, Way(), emptied(first), limits)
    every = lived(turns, EVERY_ROW, emptied(first))
    for mine, theirs in zip(few, every, strict=True):
        assert mine == theirs


@examples(FAST)
@given(turns=turns(), limits=LIMITS)
def test_few_rows_are_written_as_all_would_be(
    turns: list[Turn],
    limits: Limits,
    emptied: Emptied,
) -> None:
    check(turns, limits, emptied)


@pytest.mark.slow
@examples(MORE)
@given(turns=turns(), limits=LIMITS)
def test_few_rows_are_written_as_all_would_be_in_many_worlds(
    turns: list[Turn],
    limits: Limits,
    emptied: Emptied,
) -> None:
    check(turns, limits, emptied)
