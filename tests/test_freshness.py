"""A stage has something to do when anything its rows depend on has changed, and says what."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from seedlab.errors import Place
from seedlab.flow import (
    IN_DOUBT,
    Catalog,
    Column,
    Environment,
    LoadMemory,
    Memory,
    Seed,
    Settings,
    SourceFile,
    Stage,
    StageMemory,
    Table,
    TableSpec,
    TableState,
)
from seedlab.plan import freshness
from seedlab.plan.freshness import Inputs, Verdict
from tests.support.tables import COURSES, FACULTIES, PREREQUISITES, SCHOOL, UNIVERSITIES, catalog, column

PLACES = Seed(
    name="places",
    stage="places",
    files=tuple(
        SourceFile(path=Path(name), name=name, format="csv") for name in ("universities.csv", "faculties.csv")
    ),
    tables=(TableSpec(table="universities", key=("slug",)), TableSpec(table="faculties")),
)
LESSONS = Seed(
    name="lessons",
    stage="lessons",
    files=(SourceFile(path=Path("courses.json"), name="courses.json", format="json"),),
    tables=(TableSpec(table="courses"),),
)
STAGES = (
    Stage(id="places", name="Places", seeds=(PLACES,)),
    Stage(id="lessons", name="Lessons", seeds=(LESSONS,), dependencies=("places",)),
)
NOW = Inputs(
    files={"universities.csv": "u1", "faculties.csv": "f1", "courses.json": "c1"},
    python="p1",
    catalog=SCHOOL,
    environment=Environment(name="development"),
    settings=Settings(),
)
FILLED = {"places": ("universities", "faculties"), "lessons": ("courses",)}


def remembered(stages: Collection[Stage] = STAGES, inputs: Inputs = NOW) -> Memory:
    """What a run of all stages leaves; each stage's dependencies come before it."""
    memory = Memory(exists=True, generation=1)
    for stage in stages:
        tables = (*FILLED[stage.id], "faculties")
        parts = freshness.parts(stage, inputs, memory, tables)
        made = StageMemory(stage=stage.id, parts=parts, tables=tables, run="r1")
        memory = replace(memory, stages={**memory.stages, stage.id: made})
    loads = tuple(
        LoadMemory(stage=stage.id, seed=stage.seeds[0].name, table=table, meaning="m", files=("f",), rows=1)
        for stage in stages
        for table in FILLED[stage.id]
    )
    return replace(memory, loads=loads)


def judged(
    stages: Collection[Stage] = STAGES,
    inputs: Inputs = NOW,
    memory: Memory | None = None,
    drifted: Collection[str] = (),
) -> Mapping[str, Verdict]:
    return freshness.judge(tuple(stages), inputs, memory or remembered(), drifted)


def reasons(*args: object, **kwargs: object) -> dict[str, str | None]:
    return {name: each.reason for name, each in judged(*args, **kwargs).items()}  # type: ignore[arg-type]


def with_files(**changed: str | None) -> Inputs:
    files = {**NOW.files, **{name.replace("_", "."): hash_ for name, hash_ in changed.items()}}
    return replace(NOW, files={name: hash_ for name, hash_ in files.items() if hash_ is not None})


def altered(table: Table, name: str, **facts: object) -> Catalog:
    columns = {**table.columns, name: replace(table.columns[name], **facts)}  # type: ignore[arg-type]
    return replace(SCHOOL, tables={**SCHOOL.tables, table.name: replace(table, columns=columns)})


def with_seed(seed: Seed) -> tuple[Stage, Stage]:
    return (replace(STAGES[0], seeds=(seed,)), STAGES[1])


# ---- verdicts -------------------------------------------------------------------------------------------


def test_what_is_as_it_was_need_not_run() -> None:
    assert judged() == {
        "places": Verdict(stage="places", reason=None),
        "lessons": Verdict(stage="lessons", reason=None),
    }


def test_a_stage_that_was_never_seeded_runs_for_no_reason_of_its_own() -> None:
    assert reasons(memory=Memory()) == {"places": "", "lessons": ""}
    assert reasons(memory=remembered(STAGES[:1])) == {"places": None, "lessons": ""}


def test_all_stale_gives_every_stage_no_reason() -> None:
    verdicts = freshness.all_stale(STAGES)

    assert {name: each.reason for name, each in verdicts.items()} == {"places": "", "lessons": ""}
    assert all(each.files is None for each in verdicts.values())


def test_a_file_that_changed_is_named_and_is_all_that_has_to_be_read() -> None:
    verdict = judged(inputs=with_files(faculties_csv="f2"))["places"]

    assert verdict.reason == "faculties.csv changed"
    assert verdict.files == {"faculties.csv"}


def test_of_several_files_the_first_is_named_and_the_others_are_counted() -> None:
    verdict = judged(inputs=with_files(universities_csv="u2", faculties_csv="f2"))["places"]

    assert verdict.reason == "faculties.csv changed and 1 more"
    assert verdict.files == {"faculties.csv", "universities.csv"}


def test_a_new_file_is_new_and_all_that_has_to_be_read() -> None:
    new = SourceFile(path=Path("more.csv"), name="more.csv", format="csv")
    stages = with_seed(replace(PLACES, files=(*PLACES.files, new)))

    verdict = judged(stages, with_files(more_csv="m1"))["places"]

    assert verdict.reason == "more.csv is new"
    assert verdict.files == {"more.csv"}


def test_a_file_that_is_gone_leaves_nothing_to_read_instead_of_the_whole() -> None:
    stages = with_seed(replace(PLACES, files=PLACES.files[:1]))

    verdict = judged(stages, with_files(faculties_csv=None))["places"]

    assert verdict.reason == "faculties.csv is gone"
    assert verdict.files is None


def test_a_file_of_a_seed_that_is_not_selected_is_not_said_to_be_gone() -> None:
    selected = with_seed(replace(PLACES, files=PLACES.files[:1]))

    assert reasons(selected)["places"] == "faculties.csv is not selected"


def test_a_file_is_named_before_other_reasons_but_is_not_enough_to_read() -> None:
    inputs = replace(with_files(faculties_csv="f2"), catalog=altered(FACULTIES, "name", nullable=False))

    verdict = judged(inputs=inputs)["places"]

    assert verdict.reason == "faculties.csv changed and 1 more"
    assert verdict.files is None


def test_a_stage_runs_when_one_that_it_depends_on_does() -> None:
    verdict = judged(inputs=with_files(faculties_csv="f2"))["lessons"]

    assert verdict.reason == "it depends on places"
    assert verdict.files == frozenset()  # none, as long as of the other, too, only changed files are read


def test_of_a_stage_and_of_one_that_depends_on_it_only_the_changed_files_are_read() -> None:
    both = judged(inputs=with_files(faculties_csv="f2", courses_json="c2"))

    assert {name: each.files for name, each in both.items()} == {
        "places": frozenset({"faculties.csv"}),
        "lessons": frozenset({"courses.json"}),
    }
    assert both["lessons"].reason == "courses.json changed"  # says more than that it depends on places


@pytest.mark.parametrize("table", ["universities", "courses"])
def test_a_stage_behind_one_that_is_read_whole_or_that_others_changed_is_read_whole(table: str) -> None:
    verdict = judged(inputs=with_files(faculties_csv="f2"), drifted={table})["lessons"]

    assert verdict.reason == "it depends on places"
    assert verdict.files is None


def test_a_stage_runs_when_one_that_it_depends_on_has_been_seeded_since() -> None:
    memory = remembered()
    places = replace(memory.stages["places"], run="another")
    since = replace(memory, stages={**memory.stages, "places": places})
    alone = STAGES[1:]  # places is not selected

    assert reasons(alone, memory=memory) == {"lessons": None}
    assert reasons(alone, memory=since) == {"lessons": "it depends on places"}


def test_stages_are_judged_in_their_order_whatever_order_they_are_given_in() -> None:
    verdicts = reasons(STAGES[::-1], inputs=with_files(faculties_csv="f2"))

    assert verdicts == {"places": "faculties.csv changed", "lessons": "it depends on places"}


def test_a_table_that_others_changed_makes_the_stages_run_that_fill_it_and_those_behind() -> None:
    assert reasons(drifted={"faculties"}) == {
        "places": "table faculties was changed since the last seed",
        "lessons": "it depends on places",
    }
    assert reasons(drifted={"courses"}) == {
        "places": None,
        "lessons": "table courses was changed since the last seed",
    }


def test_a_table_that_a_run_left_in_doubt_is_not_told_as_changed_by_others() -> None:
    states = {
        name: TableState(table=name, columns=("slug",), key=("slug",), server="postgresql 18", rows=rows)
        for name, rows in {"faculties": IN_DOUBT, "universities": 2}.items()
    }
    memory = replace(remembered(), tables=states)

    alone = judged(memory=memory, drifted={"faculties"})["places"]
    both = judged(memory=memory, drifted={"faculties", "universities"})["places"]

    assert alone.reason == "table faculties was not fully compared by an earlier run"
    assert both.reason == "table universities was changed since the last seed"


def test_a_drifted_table_is_not_mended_by_changed_files_alone() -> None:
    verdict = judged(inputs=with_files(faculties_csv="f2"), drifted={"universities"})["places"]

    assert verdict.reason == "table universities was changed since the last seed"
    assert verdict.files is None


def test_a_table_that_a_stage_gave_up_is_none_of_its_business() -> None:
    memory = remembered()
    loads = tuple(replace(load, files=()) if load.table == "faculties" else load for load in memory.loads)

    assert reasons(memory=replace(memory, loads=loads), drifted={"faculties"})["places"] is None


# ---- what rows depend on --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seed",
    [
        replace(PLACES, name="spots"),
        replace(PLACES, mode="insert"),
        replace(PLACES, duplicates="first"),
        replace(PLACES, transform="split"),
        replace(PLACES, tables=PLACES.tables[:1]),
        replace(PLACES, tables=(replace(PLACES.tables[0], key=("name",)), PLACES.tables[1])),
        replace(PLACES, tables=(replace(PLACES.tables[0], path="items"), PLACES.tables[1])),
        replace(PLACES, tables=(replace(PLACES.tables[0], parent="x"), PLACES.tables[1])),
        replace(PLACES, tables=(replace(PLACES.tables[0], columns={"name": "title"}), PLACES.tables[1])),
    ],
    ids=lambda seed: seed.name,
)
def test_the_configuration_of_a_seed_is_a_reason(seed: Seed) -> None:
    verdict = judged(with_seed(seed))["places"]

    assert verdict.reason is not None
    assert verdict.reason.startswith("its configuration changed")
    assert verdict.files is None


def test_what_only_orders_the_work_is_no_reason() -> None:
    seed = replace(
        PLACES,
        priority="critical",
        estimated_ms=7,
        tags=("x",),
        environments=("development",),
        tables=tuple(replace(spec, place=Place(file="x", line=9)) for spec in PLACES.tables),
    )
    stages = with_seed(seed)
    stages = (
        replace(
            stages[0], parallel=False, conditions=("environment:development",), place=Place(file="x", line=3)
        ),
        stages[1],
    )

    assert reasons(stages) == {"places": None, "lessons": None}


def test_another_order_of_columns_in_the_configuration_is_no_reason() -> None:
    first, second = (
        replace(PLACES, tables=(replace(PLACES.tables[0], columns=columns), PLACES.tables[1]))
        for columns in ({"name": "a", "slug": "b"}, {"slug": "b", "name": "a"})
    )

    assert reasons(with_seed(second), memory=remembered(with_seed(first)))["places"] is None


def test_the_order_of_files_is_a_reason_only_where_it_decides_between_duplicates() -> None:
    turned = replace(PLACES, files=PLACES.files[::-1])
    first, first_turned = (replace(each, duplicates="first") for each in (PLACES, turned))

    assert reasons(with_seed(turned))["places"] is None
    assert (
        reasons(with_seed(first_turned), memory=remembered(with_seed(first)))["places"]
        == "its configuration changed"
    )


def test_another_way_to_make_ids_is_a_reason() -> None:
    assert (
        reasons(inputs=replace(NOW, settings=Settings(ids="uuid5")))["places"] == "its configuration changed"
    )


def test_settings_that_change_no_row_are_no_reason() -> None:
    settings = Settings(level="legacy", workers=3, batch_rows=10, lock_timeout="1s")

    assert reasons(inputs=replace(NOW, settings=settings)) == {"places": None, "lessons": None}


def test_another_subset_is_a_reason_and_another_environment_of_the_same_rows_is_none() -> None:
    test = Environment(name="test")

    assert reasons(inputs=replace(NOW, environment=test))["places"] is None
    assert (
        reasons(inputs=replace(NOW, environment=replace(test, subset={"faculties": 1})))["places"]
        == "another environment was seeded"
    )


def test_python_is_a_reason_for_stages_with_transforms_only() -> None:
    stages = with_seed(replace(PLACES, transform="split"))
    inputs = replace(NOW, python="p2")

    assert reasons(stages, inputs, remembered(stages))["places"] == "the project's Python changed"
    assert reasons(inputs=inputs) == {"places": None, "lessons": None}


@pytest.mark.parametrize(
    "facts",
    [
        {"type": "varchar(9)"},
        {"nullable": False},
        {"default": True},
        {"generated": True},
        {"identity": "always"},
    ],
    ids=str,
)
def test_a_table_that_was_altered_is_named(facts: Mapping[str, object]) -> None:
    assert reasons(inputs=replace(NOW, catalog=altered(COURSES, "title", **facts))) == {
        "places": None,
        "lessons": "table courses was altered",
    }


def test_a_new_column_key_or_foreign_key_alters_a_table() -> None:
    more: dict[str, Column] = {**COURSES.columns, "extra": column("extra", "text")}
    for table in (
        replace(COURSES, columns=more),
        replace(COURSES, keys=COURSES.keys[:1]),
        replace(COURSES, foreign_keys=()),
    ):
        assert freshness.definition(table) != freshness.definition(COURSES)


def test_rights_and_what_a_table_holds_do_not_alter_it() -> None:
    same = replace(COURSES, rebuildable=False, row_security=True)

    assert freshness.definition(same) == freshness.definition(COURSES)


def test_a_table_that_is_only_referred_to_counts_too() -> None:
    assert reasons(inputs=replace(NOW, catalog=altered(FACULTIES, "code", type="citext"))) == {
        "places": "table faculties was altered",
        "lessons": "it depends on places",
    }
    alone = judged(STAGES[1:], replace(NOW, catalog=altered(FACULTIES, "code", type="citext")))
    assert alone["lessons"].reason == "table faculties was altered"


def test_a_table_that_is_gone_was_altered_and_one_that_nobody_needs_is_no_reason() -> None:
    without = catalog(UNIVERSITIES, FACULTIES)
    other = replace(PREREQUISITES, foreign_keys=())

    assert reasons(inputs=replace(NOW, catalog=without))["lessons"] == "table courses was altered"
    assert reasons(inputs=replace(NOW, catalog=catalog(UNIVERSITIES, FACULTIES, COURSES, other))) == {
        "places": None,
        "lessons": None,
    }


# ---- parts ----------------------------------------------------------------------------------------------


def test_parts_name_every_file_table_and_dependency() -> None:
    memory = remembered()

    parts = freshness.parts(STAGES[1], NOW, memory)

    assert set(parts) == {
        "configuration",
        "environment",
        "file:courses.json",
        "table:courses",
        "table:faculties",
        "stage:places",
    }
    assert parts["stage:places"] == memory.stages["places"].run
