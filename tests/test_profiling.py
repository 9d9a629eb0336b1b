"""A profile runs every variant in fresh databases, in turn, and counts the same each time."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

import seedlab
from seedlab.errors import ConfigurationError, DataFaults, Refused
from seedlab.experiment import trials
from seedlab.experiment.profiling import Design, variants_of
from seedlab.flow import LEVELS, SWITCHES, Settings
from seedlab.flow.evidence import Profile
from tests.fix_postgres import RUN_FOLDER, PostgresServer
from tests.support.asking import forget
from tests.support.experiments import CONFIG, left_behind, school
from tests.support.school import TABLES
from tests.support.seeding import execute, rows_of, write

AGAIN = "incremental, again"


def counts(profile: Profile) -> dict[str, set[tuple[int, int]]]:
    found: dict[str, set[tuple[int, int]]] = {}
    for each in profile.attempts:
        counters = each.run.counters
        found.setdefault(each.variant, set()).add((counters.statements, counters.round_trips))
    return found


@pytest.mark.slow
def test_every_level_is_run_in_turn_with_the_same_counts_each_time(tmp_path: Path, scratch_url: str) -> None:
    project = seedlab.load_project(school(tmp_path))

    made = seedlab.profile(project, scratch_url, levels=("legacy", "bulk", "incremental"), pairs=2)

    assert made.variants == ("legacy", "bulk", "incremental", AGAIN)
    assert [(each.pair, each.variant) for each in made.attempts] == [
        *((1, name) for name in ("legacy", "bulk", "incremental", AGAIN)),
        *((2, name) for name in ("incremental", AGAIN, "bulk", "legacy")),
    ]
    found = counts(made)
    assert {name: len(each) for name, each in found.items()} == dict.fromkeys(made.variants, 1)
    assert max(found["legacy"]) > max(found["bulk"]) > max(found[AGAIN])
    assert [each.run.outcomes.created for each in made.attempts if each.variant != AGAIN] == [5] * 6
    assert {each.run.outcomes.unchanged for each in made.attempts if each.variant == AGAIN} == {5}
    assert left_behind(scratch_url) == []


CYCLE = """
    CREATE TABLE staff (id int PRIMARY KEY, store_id int NOT NULL);
    CREATE TABLE store (id int PRIMARY KEY, manager_id int NOT NULL REFERENCES staff);
    ALTER TABLE staff ADD FOREIGN KEY (store_id) REFERENCES store;
"""


def test_what_its_runs_note_is_told_with_the_variants_that_it_concerns(
    tmp_path: Path, lonely_url: str
) -> None:
    execute(lonely_url, CYCLE)
    forget()  # a database is copied only while nobody is connected to it
    files = {"staff.csv": "id,store_id\n1,1\n", "store.csv": "id,manager_id\n1,1\n"}

    made = seedlab.profile(
        seedlab.load_project(write(tmp_path, files)), lonely_url, levels=("legacy", "bulk"), pairs=1
    )

    [note] = [each for each in made.notes if "row by row" in each]
    assert note.startswith("legacy: table staff refers to store, which is written later")


@pytest.mark.slow
def test_the_target_itself_is_not_touched(tmp_path: Path, scratch_url: str) -> None:
    seedlab.profile(seedlab.load_project(school(tmp_path)), scratch_url, levels=("bulk",), pairs=1)

    if scratch_url.startswith("sqlite"):
        assert not Path(scratch_url.removeprefix("sqlite:///")).exists()
    else:
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        assert rows_of(scratch_url, tables) == [(0,)]


@pytest.mark.slow
def test_a_delay_is_paid_by_every_round_trip(tmp_path: Path, lonely_url: str) -> None:
    project = seedlab.load_project(school(tmp_path))

    made = seedlab.profile(project, lonely_url, levels=("legacy",), pairs=1, round_trip_ms=(0.0, 5.0))

    near, far = (each.run for each in made.attempts)
    assert [each.round_trip_ms for each in made.attempts] == [0.0, 5.0]
    assert near.counters == far.counters
    assert far.seconds > far.counters.round_trips * 0.005
    assert left_behind(lonely_url) == []


def test_sqlite_has_no_round_trips_to_delay(tmp_path: Path, sqlite_url: str) -> None:
    with pytest.raises(ConfigurationError, match="no round trips to delay"):
        seedlab.profile(seedlab.load_project(school(tmp_path)), sqlite_url, pairs=1, round_trip_ms=(0, 1))


def test_an_ablation_switches_off_one_at_a_time() -> None:
    variants = variants_of(Design(levels=("bulk",), ablation=True), Settings())

    assert [each.name for each in variants] == [
        "bulk",
        "incremental",
        *(f"incremental without {switch}" for switch in SWITCHES),
    ]
    assert [each.again for each in variants if each.again] == [
        AGAIN,
        "incremental without incremental, again",
    ]
    whole = LEVELS["incremental"]
    assert [whole - each.settings.switches for each in variants[2:]] == [{switch} for switch in SWITCHES]


def test_what_the_project_disables_stays_disabled_and_is_not_measured() -> None:
    variants = variants_of(Design(levels=("copy",), ablation=True), Settings(disabled=frozenset({"rebuild"})))

    assert all("rebuild" not in each.settings.switches for each in variants)
    assert "incremental without rebuild" not in [each.name for each in variants]


@pytest.mark.parametrize(
    ("design", "said"),
    [
        (Design(levels=("bluk",)), r"unknown level 'bluk'; did you mean 'bulk'\?"),
        (Design(levels=()), "at least one level"),
        (Design(pairs=0), "at least one level and one pair"),
    ],
)
def test_what_cannot_be_profiled_is_said(design: Design, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        variants_of(design, Settings())


def test_a_level_named_twice_is_run_once() -> None:
    assert [each.name for each in variants_of(Design(levels=("bulk", "bulk")), Settings())] == ["bulk"]


@pytest.mark.slow
def test_a_failing_seed_leaves_nothing(tmp_path: Path, scratch_url: str) -> None:
    project = seedlab.load_project(school(tmp_path, pupils_csv="name,city.code,age\nAda,nowhere,9\n"))

    with pytest.raises(DataFaults):
        seedlab.profile(project, scratch_url, pairs=1)

    assert left_behind(scratch_url) == []


@pytest.mark.slow
def test_without_metadata_the_tables_are_those_of_the_target(tmp_path: Path, scratch_url: str) -> None:
    folder = school(tmp_path)
    write(folder, {"seedlab.toml": CONFIG.replace('schema = "models.py:metadata"\n', "")})
    execute(scratch_url, TABLES)
    forget()

    made = seedlab.profile(seedlab.load_project(folder), scratch_url, levels=("copy",), pairs=1)

    assert [each.run.outcomes.created for each in made.attempts] == [5]
    assert rows_of(scratch_url, "SELECT count(*) FROM pupils") == [(0,)]
    assert left_behind(scratch_url) == []


@pytest.mark.slow
def test_a_protected_environment_needs_the_name_as_a_seed_does(tmp_path: Path, lonely_url: str) -> None:
    project = seedlab.load_project(school(tmp_path))
    name = lonely_url.partition("?")[0].rpartition("/")[2]

    with pytest.raises(Refused, match=f"type --yes-seed {name}"):
        seedlab.profile(project, lonely_url, environment="production", levels=("bulk",), pairs=1)

    made = seedlab.profile(
        project, lonely_url, environment="production", levels=("bulk",), pairs=1, yes_seed=name
    )
    assert len(made.attempts) == 1


def test_a_distant_database_that_nobody_typed_needs_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEEDLAB_DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgresql://me@db.example.org/app")

    with pytest.raises(Refused, match="--yes-seed app"):
        seedlab.profile(seedlab.load_project(school(tmp_path)), pairs=1)


@pytest.mark.slow
def test_without_a_target_the_embedded_server_is_used_and_may_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_server: PostgresServer
) -> None:
    if postgres_server.superuser_url is None:
        pytest.skip("SEEDLAB_TEST_URL names another server")
    for name in ("DATABASE_URL", "SEEDLAB_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEEDLAB_SERVER_DIR", os.environ[RUN_FOLDER])

    made = seedlab.profile(seedlab.load_project(school(tmp_path)), levels=("incremental",), pairs=1)

    cold, again = (each.run for each in made.attempts)
    assert cold.outcomes.created == again.outcomes.unchanged == 5
    assert cold.wal_bytes is not None
    assert made.notes == ()


def test_the_clock_of_a_run_starts_after_the_collector_is_done(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[datetime] = []
    monkeypatch.setattr(trials.gc, "collect", lambda: collected.append(datetime.now(UTC)))
    project = seedlab.load_project(school(tmp_path))

    made = seedlab.profile(project, sqlite_url, levels=("bulk",), pairs=1)

    began = datetime.fromisoformat(made.attempts[0].run.started)
    assert began >= collected[-1].replace(microsecond=collected[-1].microsecond // 1000 * 1000)
