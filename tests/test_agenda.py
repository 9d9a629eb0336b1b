"""What a run has to do: which stages take part, and which of them the target is behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg
import pytest

from seedlab.database import connect
from seedlab.flow import (
    Catalog,
    Ddl,
    Environment,
    LoadMemory,
    Memory,
    Options,
    Outcomes,
    Project,
    Settings,
)
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.freshness import Verdict
from seedlab.plan.project import load_project
from seedlab.steps import agenda
from seedlab.steps.agenda import Agenda, Assessment
from seedlab.steps.looking import Look, View, open_look
from tests.support.school import CITIES, FILES, ONE_STAGE, SEED, STAGE, TABLES, TWO_STAGES
from tests.support.seeding import counted, execute, seed, write
from tests.support.tables import catalog, table

DEVELOPMENT = Options(environment=Environment(name="development"))
CATALOG = catalog(
    table("cities", {"id": "int4 not null", "code": "text not null"}, primary=["id"]),
    table(
        "pupils",
        {"id": "int4 not null", "name": "text not null", "city_id": "int4"},
        primary=["id"],
        refers={"city_id": "cities.id"},
    ),
)


@pytest.fixture
def school(tmp_path: Path) -> Path:
    return write(tmp_path / "school", FILES)


@pytest.fixture
def url(clean_database_url: str) -> str:
    execute(clean_database_url, TABLES)
    return clean_database_url


def offline_look(project: Project, found: Catalog = CATALOG) -> Look:
    """A look that has a catalog and no database."""
    view: Future[View] = Future()
    view.set_result(View(session=None, catalog=found, ddl=Ddl(tables=[], constraints_and_indexes=[])))
    return Look(view, project)


@contextmanager
def looking(folder: Path, url: str) -> Iterator[tuple[Project, Look, Monitor]]:
    project, monitor = load_project(folder), Monitor()
    with ThreadPoolExecutor(1) as pool:
        look = open_look(pool, project, connect.parse_target(url, "test"), Settings(), monitor, None)
        look.catalog()
        try:
            yield project, look, monitor
        finally:
            look.close()


def assessment(folder: Path, url: str, options: Options = DEVELOPMENT) -> Assessment:
    with looking(folder, url) as (project, look, _):
        chosen = agenda.agenda_of(project, options, look)
        return agenda.assess(project, chosen, agenda.file_hashes(project), look, options)


def reasons(folder: Path, url: str, options: Options = DEVELOPMENT) -> dict[str, str | None]:
    return {name: each.reason for name, each in assessment(folder, url, options).verdicts.items()}


# ---- which stages ---------------------------------------------------------------------------------------


def test_stages_of_a_folder_without_configuration_are_the_levels_of_its_foreign_keys(school: Path) -> None:
    project = load_project(school)

    found = agenda.agenda_of(project, DEVELOPMENT, offline_look(project))

    assert [[each.name for each in stage.seeds] for stage in found.stages] == [["cities"], ["pupils"]]
    assert found.declared == found.stages
    assert [each.name for each in found.seeds] == ["cities", "pupils"]


def test_files_that_name_the_schema_are_levelled_alike(school: Path) -> None:
    for name in FILES:
        (school / name).rename(school / f"public.{name}")
    project = load_project(school)

    found = agenda.agenda_of(project, DEVELOPMENT, offline_look(project))

    assert [len(stage.seeds) for stage in found.stages] == [1, 1]


def test_what_is_not_selected_is_declared_and_left_out_with_its_reason(school: Path) -> None:
    project = load_project(
        write(school, {"seedlab.toml": ONE_STAGE + STAGE.format("x") + SEED.format("x", "cities.csv")})
    )

    found = agenda.agenda_of(project, replace(DEVELOPMENT, select=("all.pupils",)), offline_look(project))

    assert [each.name for each in found.seeds] == ["pupils"]
    assert [stage.id for stage in found.declared] == ["all", "x"]
    assert found.left_out.keys() == {"all.cities", "x", "x.x"}


def test_conditions_are_judged_by_what_the_target_has(school: Path, url: str) -> None:
    config = TWO_STAGES.replace(
        "[[stages.seeds]]", 'conditions = ["empty:cities", "environment:test"]\n[[stages.seeds]]', 1
    )
    write(school, {"seedlab.toml": config})
    test, left_out = Options(environment=Environment(name="test")), []
    for options in (test, DEVELOPMENT, replace(DEVELOPMENT, force=True)):
        with looking(school, url) as (project, look, _):
            left_out.append(dict(agenda.agenda_of(project, options, look).left_out))
    execute(url, "INSERT INTO cities (id, code) VALUES (1, 'x')")
    with looking(school, url) as (project, look, _):
        left_out.append(dict(agenda.agenda_of(project, test, look).left_out))

    assert left_out[0] == left_out[2] == {}
    assert left_out[1].keys() == left_out[3].keys() == {"cities"}
    assert "development" in left_out[1]["cities"]
    assert left_out[3]["cities"] == "cities is not empty"


# ---- hashes of what people edit -------------------------------------------------------------------------


def test_files_are_hashed_by_what_they_hold(school: Path) -> None:
    project = load_project(school)
    before = agenda.file_hashes(project)
    os.utime(school / "cities.csv", (1, 1))

    assert agenda.file_hashes(project) == before
    assert before.keys() == {"cities.csv", "pupils.csv"}

    write(school, {"cities.csv": CITIES + "x,X\n"})
    after = agenda.file_hashes(project)

    assert after["cities.csv"] != before["cities.csv"]
    assert after["pupils.csv"] == before["pupils.csv"]


def test_data_are_fingerprinted_with_the_names_of_their_files(school: Path) -> None:
    seeds = load_project(school).seeds
    hashes = {"cities.csv": "1", "pupils.csv": "2"}

    found = agenda.data_fingerprint(seeds, hashes)

    assert agenda.data_fingerprint(seeds[::-1], {**hashes, "other.csv": "3"}) == found
    assert agenda.data_fingerprint(seeds, {"cities.csv": "2", "pupils.csv": "1"}) != found
    assert agenda.data_fingerprint(seeds[:1], hashes) != found


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"transforms.py": "x = 2\n"}, True),
        ({"lib/deep/more.py": ""}, True),
        ({".venv/lib/site.py": "x = 1\n"}, False),
        ({"notes.txt": "x = 1\n"}, False),
        ({"odd.py/notes.txt": "a folder called so"}, False),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_python_is_hashed_with_all_that_a_transform_may_import(
    tmp_path: Path, change: dict[str, str | bytes], differs: bool
) -> None:
    folder = write(tmp_path / "project", {"transforms.py": "x = 1\n", "lib/helpers.py": "y = 1\n"})
    before = agenda.python_hash(folder)
    write(folder, change)

    assert (agenda.python_hash(folder) != before) is differs


def test_python_that_moved_is_another(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"a.py": "x = 1\n", "b.py": "y = 1\n"})
    other = write(tmp_path / "other", {"a.py": "y = 1\n", "b.py": "x = 1\n"})

    assert agenda.python_hash(one) != agenda.python_hash(other)


# ---- before the catalog -----------------------------------------------------------------------------------


def test_that_nothing_is_remembered_is_known_while_the_catalog_is_on_its_way(
    school: Path, clean_postgres_url: str
) -> None:
    execute(clean_postgres_url, TABLES)
    project = load_project(school)
    with psycopg.connect(clean_postgres_url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("LOCK TABLE cities")  # the catalog waits for whoever may be altering a table
        target = connect.parse_target(clean_postgres_url, "test")
        look = open_look(pool, project, target, Settings(), Monitor(), None)

        chosen = agenda.agenda_of(load_project(write(school, {"seedlab.toml": ONE_STAGE})), DEVELOPMENT, look)
        found = agenda.assess(project, chosen, agenda.file_hashes(project), look, DEVELOPMENT)
        other.rollback()  # so far it has waited
        tables = look.catalog().tables
        look.close()

    assert found.stale == {"all"}
    assert {"cities", "pupils"} <= tables.keys()


# ---- values ---------------------------------------------------------------------------------------------


def test_stages_that_need_not_run_say_whether_others_were_in_their_tables(school: Path) -> None:
    verdicts = {name: Verdict(stage=name, reason=why) for name, why in (("a", None), ("b", None), ("c", ""))}
    found = Assessment(
        verdicts=verdicts,
        inputs=agenda.Inputs(
            files={}, python="", catalog=CATALOG, environment=DEVELOPMENT.environment, settings=Settings()
        ),
        foreign=frozenset({"cities"}),
    )
    load = LoadMemory(stage="b", seed="s", table="cities", meaning="", files=("f",), rows=1)

    assert found.stale == {"c"}
    assert found.skipped(Memory(loads=(load, replace(load, stage="c")))) == {
        "a": "unchanged",
        "b": "table changed, seeded rows intact",
    }


def test_hashes_of_another_major_version_are_not_compared() -> None:
    assert agenda.server_of(CATALOG) == "postgresql 18"
    assert agenda.server_of(replace(CATALOG, dialect="sqlite", version="3.40.1")) == "sqlite 3"


def test_a_state_has_its_columns_once_and_in_order_and_its_key_as_it_is() -> None:
    state = agenda.state_of("t", ["b", "a", "b"], ["b", "a"], CATALOG)

    assert (state.columns, state.key, state.content) == (("a", "b"), ("b", "a"), (0, 0, 0))


def test_rows_that_nobody_wrote_are_reported_as_they_were() -> None:
    tally = agenda.unchanged_tally(
        LoadMemory(stage="a", seed="s", table="t", meaning="", files=("f",), rows=7, key=("x.code",))
    )

    assert (tally.stage, tally.seed, tally.table, tally.key) == ("a", "s", "t", ("x.code",))
    assert tally.outcomes == Outcomes(unchanged=7)


def test_an_agenda_without_stages_has_no_seeds() -> None:
    assert Agenda(declared=(), stages=()).seeds == ()


# ---- how they stand -------------------------------------------------------------------------------------


def test_before_the_first_run_everything_is_to_be_done(school: Path, url: str) -> None:
    assert reasons(write(school, {"seedlab.toml": TWO_STAGES}), url) == {"cities": "", "pupils": ""}


def test_after_a_run_nothing_is_to_be_done_and_two_statements_show_it(school: Path, url: str) -> None:
    write(school, {"seedlab.toml": TWO_STAGES})
    seed(school, url)
    with looking(school, url) as (project, look, monitor):
        chosen = agenda.agenda_of(project, DEVELOPMENT, look)
        before = monitor.counters.statements
        found = agenda.assess(project, chosen, agenda.file_hashes(project), look, DEVELOPMENT)
        asked = monitor.counters.statements - before

    assert found.stale == found.foreign == frozenset()
    assert asked == 2  # a table at a time, or the limit of waiting for locks and then all in one


@pytest.mark.parametrize(
    "options",
    [replace(DEVELOPMENT, force=True), replace(DEVELOPMENT, settings=Settings(level="copy"))],
    ids=["force", "copy"],
)
def test_who_does_not_want_to_skip_skips_nothing(school: Path, url: str, options: Options) -> None:
    write(school, {"seedlab.toml": TWO_STAGES})
    seed(school, url)

    assert reasons(school, url, options) == {"cities": "", "pupils": ""}


def test_rows_that_others_added_change_the_table_and_no_row_of_ours(school: Path, url: str) -> None:
    write(school, {"seedlab.toml": TWO_STAGES})
    seed(school, url)
    execute(url, "INSERT INTO cities (id, code) VALUES (70, 'others')")

    found = assessment(school, url)

    assert (found.stale, found.foreign) == (frozenset(), {"cities"})


def test_a_row_of_ours_that_others_changed_makes_its_stage_run(school: Path, url: str) -> None:
    write(school, {"seedlab.toml": TWO_STAGES})
    seed(school, url)
    execute(url, "UPDATE pupils SET age = 70 WHERE name = 'Ada'")

    assert reasons(school, url) == {"cities": None, "pupils": "table pupils was changed since the last seed"}


def test_a_changed_file_alone_is_read_unless_its_table_was_changed_too(school: Path, url: str) -> None:
    write(school, {"seedlab.toml": TWO_STAGES})
    seed(school, url)
    write(school, {"pupils.csv": FILES["pupils.csv"].replace("9", "8")})
    alone = assessment(school, url).verdicts["pupils"]
    execute(url, "DELETE FROM pupils WHERE name = 'Bob'")

    both = assessment(school, url).verdicts["pupils"]

    assert (alone.reason, alone.files) == ("pupils.csv changed", {"pupils.csv"})
    assert (both.reason, both.files) == ("table pupils was changed since the last seed", None)


@pytest.mark.parametrize("changed", [True, False])
def test_what_changed_is_known_while_a_server_is_still_being_asked(
    school: Path, url: str, *, changed: bool
) -> None:
    write(school, {"seedlab.toml": TWO_STAGES})
    seed(school, url)
    if changed:
        write(school, {"pupils.csv": FILES["pupils.csv"].replace("9", "8")})
        execute(url, "DELETE FROM pupils WHERE name = 'Bob'")
    early: list[Assessment] = []
    with looking(school, url) as (project, look, _):
        chosen, hashes = agenda.agenda_of(project, DEVELOPMENT, look), agenda.file_hashes(project)
        found = agenda.assess(
            project, chosen, hashes, look, DEVELOPMENT, lambda each: partial(early.append, each)
        )

    assert found.drifted == ({"pupils"} if changed else frozenset())
    assert [each.verdicts["pupils"].files for each in early] == (
        [{"pupils.csv"}] if changed and not url.startswith("sqlite") else []
    )


def test_content_hashed_by_another_server_is_no_proof(school: Path, url: str) -> None:
    write(school, {"seedlab.toml": TWO_STAGES})
    seed(school, url)
    if url.startswith("sqlite"):
        old, new = "sqlite 3", "sqlite 2"
        execute(url, f"UPDATE seedlab_tables SET document = replace(document, '{old}', '{new}')")
    else:
        execute(url, "UPDATE seedlab.tables SET server = 'postgresql 9'")

    assert set(reasons(school, url).values()) == {
        "table cities was changed since the last seed",
        "it depends on cities",
    }


@pytest.mark.parametrize("change", ["UPDATE pupils SET age = 70", "DROP TABLE pupils"])
def test_a_table_that_the_project_gave_up_is_others_alone(school: Path, url: str, change: str) -> None:
    write(school, {"seedlab.toml": ONE_STAGE})
    seed(school, url)
    write(school, {"seedlab.toml": STAGE.format("all") + SEED.format("cities", "cities.csv")})
    seed(school, url)
    execute(url, change)

    assert reasons(school, url) == {"all": None}
    assert counted(seed(school, url)) == (0, 0, 2)
