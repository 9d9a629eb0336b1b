"""Of which stages just the changed files are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from seedlab.flow import (
    Environment,
    LoadMemory,
    Memory,
    Options,
    Project,
    Seed,
    Settings,
    SourceFile,
    Stage,
    TableSpec,
)
from seedlab.plan.freshness import Inputs, Verdict
from seedlab.steps.agenda import Agenda, Assessment, Task
from seedlab.steps.recalling.changed_files import reduced_stages

DEVELOPMENT = Environment(name="development")
PLAIN = Options(environment=DEVELOPMENT)


def source(name: str) -> SourceFile:
    return SourceFile(path=Path(name), name=name, format="csv")


def seed_of(stage: str, *files: str) -> Seed:
    return Seed(name=stage, stage=stage, files=tuple(map(source, files)), tables=(TableSpec(table=stage),))


CITIES = Stage(id="cities", name="cities", seeds=(seed_of("cities", "north.csv", "south.csv"),))
PUPILS = Stage(id="pupils", name="pupils", seeds=(seed_of("pupils", "pupils.csv"),), dependencies=("cities",))


def reduced(
    stages: tuple[Stage, ...],
    changed: Mapping[str, frozenset[str] | None],
    *,
    remembered: tuple[str, ...] = ("cities", "pupils"),
    options: Options = PLAIN,
) -> dict[str, list[str]]:
    """Name the files that are read of each reduced stage; `changed` has the stages that run."""
    verdicts = {name: Verdict(stage=name, reason="", files=files) for name, files in changed.items()}
    inputs = Inputs(files={}, python="", catalog=None, environment=DEVELOPMENT, settings=Settings())
    loads = tuple(
        LoadMemory(stage=name, seed=name, table=name, meaning="", files=(), rows=1) for name in remembered
    )
    task = Task(
        project=Project(name="school", root=Path(), stages=stages, seeds=()),
        options=options,
        agenda=Agenda(declared=stages, stages=stages),
        assessment=Assessment(verdicts=verdicts, inputs=inputs),
        memory=Memory(loads=loads),
        run_id="run",
        started="",
    )
    return {
        name: [file.name for seed in stage.seeds for file in seed.files]
        for name, stage in reduced_stages(task).items()
    }


def test_only_changed_files_are_read_and_none_of_a_stage_that_runs_for_its_dependency() -> None:
    changed = {"cities": frozenset({"south.csv"}), "pupils": frozenset[str]()}

    assert reduced((CITIES, PUPILS), changed) == {"cities": ["south.csv"], "pupils": []}


def test_a_stage_is_read_as_a_whole_with_all_that_depend_on_it_where_more_than_files_changed() -> None:
    assert reduced((CITIES, PUPILS), {"cities": None, "pupils": frozenset({"pupils.csv"})}) == {}


def test_a_stage_whose_dependency_does_not_run_is_reduced() -> None:
    assert reduced((CITIES, PUPILS), {"pupils": frozenset({"pupils.csv"})}) == {"pupils": ["pupils.csv"]}


@pytest.mark.parametrize(
    "change", [{"mode": "sync"}, {"duplicates": "first"}, {"transform": "expand"}], ids=min
)
def test_rows_of_a_file_that_depend_on_other_files_need_all_files(change: dict[str, str]) -> None:
    (seed,) = CITIES.seeds
    stage = replace(CITIES, seeds=(replace(seed, **change),))  # type: ignore[arg-type]

    assert reduced((stage,), {"cities": frozenset({"south.csv"})}) == {}
    assert reduced((stage,), {"cities": frozenset()}) == {"cities": []}


def test_a_seed_of_which_nothing_is_remembered_needs_all_files() -> None:
    assert reduced((CITIES,), {"cities": frozenset({"south.csv"})}, remembered=()) == {}


@pytest.mark.parametrize(
    "options",
    [
        Options(environment=replace(DEVELOPMENT, subset={"cities": 2})),
        Options(environment=DEVELOPMENT, rejects=Path("reports")),
    ],
    ids=["subset", "rejects"],
)
def test_a_run_that_leaves_out_rows_needs_all_files(options: Options) -> None:
    assert reduced((CITIES,), {"cities": frozenset({"south.csv"})}, options=options) == {}
