"""Status: a person reads in it what the ledger remembers, and nothing is written by looking."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from seedlab.cli import main
from seedlab.database import connect
from seedlab.errors import SeedError, WriteError
from seedlab.flow import Level, Options, Settings
from seedlab.flow.status import Status
from seedlab.insight.formatting.status_text import status_text
from seedlab.insight.measuring.monitor import Monitor
from seedlab.operations.status import LAST_RUNS, NEVER, UNDECLARED, UNFINISHED, status
from seedlab.plan.choices import ENVIRONMENTS
from seedlab.plan.project import load_project
from tests.support.school import CITIES, PUPILS, SEED, STAGE
from tests.support.seeding import dump, execute, rows_of, seed, undo, write

pytestmark = pytest.mark.usefixtures("plain_environment")
CITIES_STAGE = STAGE.format("cities") + SEED.format("cities", "cities.csv")
PUPILS_STAGE = STAGE.format("pupils") + 'dependencies = ["cities"]\n' + SEED.format("pupils", "pupils.csv")
UNCHANGED = {"cities": ("unchanged", "unchanged"), "pupils": ("unchanged", "unchanged")}


@pytest.fixture
def staged(school: Path) -> Path:
    """The school in two stages."""
    return write(school, {"seedlab.toml": CITIES_STAGE + PUPILS_STAGE})


def status_of(
    folder: Path, url: str, environment: str = "development", level: Level = "incremental"
) -> Status:
    return _asked(folder, url, environment, level)[0]


def _asked(
    folder: Path, url: str, environment: str = "development", level: Level = "incremental"
) -> tuple[Status, Monitor]:
    project, monitor = load_project(folder), Monitor()
    known = (project.environments or ENVIRONMENTS)[environment]
    options = Options(environment=known, settings=Settings(level=level))
    return status(project, connect.parse_target(url, "test"), options, monitor), monitor


def verdicts(told: Status) -> dict[str, tuple[str, str]]:
    return {stage.id: (stage.verdict, stage.reason) for stage in told.stages}


def loads(told: Status) -> dict[str, tuple[int, int]]:
    """Rows brought and rows that are ours, by seed and table."""
    found = [load for stage in told.stages for load in stage.loads]
    return {f"{load.seed}.{load.table}": (load.rows, load.ours) for load in found}


# ---- what it tells --------------------------------------------------------------------------------------


def test_after_a_seed_every_stage_is_told_with_its_run_and_rows(staged: Path, url: str) -> None:
    execute(url, "INSERT INTO cities (code, name) VALUES ('hfa', 'Haifa')")
    before = datetime.now(UTC) - timedelta(seconds=1)
    run = seed(staged, url)

    told = status_of(staged, url)

    assert (told.project, told.environment, told.ledger) == ("school", "development", "there")
    assert (told.generation, told.bytes > 0) == (2, True)
    assert verdicts(told) == UNCHANGED
    assert loads(told) == {"cities.cities": (2, 1), "pupils.pupils": (3, 3)}
    assert {stage.run for stage in told.stages} == {run.run_id}
    assert not any(stage.unfinished for stage in told.stages)
    (last,) = told.runs
    assert (last.run_id, last.environment, last.level) == (run.run_id, "development", "incremental")
    assert (last.outcomes, last.stages) == (run.outcomes, ())
    for time in (last.started, last.finished, *(stage.finished or "" for stage in told.stages)):
        assert time.endswith("+00:00")
        assert before < datetime.fromisoformat(time) < before + timedelta(minutes=5)


def test_a_changed_file_and_what_waits_for_it_would_run(staged: Path, url: str) -> None:
    first = seed(staged, url)
    write(staged, {"cities.csv": CITIES.replace("Haifa", "Hefa")})

    between = status_of(staged, url)
    second = seed(staged, url)
    after = status_of(staged, url)

    assert verdicts(between) == {
        "cities": ("stale", "cities.csv changed"),
        "pupils": ("stale", "it depends on cities"),
    }
    assert {stage.run for stage in between.stages} == {first.run_id}
    assert verdicts(after) == UNCHANGED
    assert [each.run_id for each in after.runs] == [second.run_id, first.run_id]
    assert [each.outcomes for each in after.runs] == [second.outcomes, first.outcomes]


def test_what_others_changed_is_told(staged: Path, url: str) -> None:
    seed(staged, url)
    execute(url, "INSERT INTO pupils (name, city_id) SELECT 'Zoe', id FROM cities WHERE code = 'hfa'")
    foreign = status_of(staged, url)
    execute(url, "UPDATE pupils SET age = 99 WHERE name = 'Ada'")

    drifted = status_of(staged, url)

    assert verdicts(foreign)["pupils"] == ("unchanged", "table changed, seeded rows intact")
    assert verdicts(drifted)["pupils"] == ("stale", "table pupils was changed since the last seed")
    assert verdicts(drifted)["cities"] == ("unchanged", "unchanged")


def test_after_a_reset_nothing_of_its_stages_is_remembered(staged: Path, url: str) -> None:
    first = seed(staged, url)
    gone = undo(staged, url, "pupils")

    told = status_of(staged, url)

    assert verdicts(told) == {"cities": ("unchanged", "unchanged"), "pupils": ("stale", NEVER)}
    assert loads(told) == {"cities.cities": (2, 2)}
    assert (told.stages[1].run, told.stages[1].finished, told.stages[1].unfinished) == (None, None, False)
    assert [(each.run_id, each.outcomes) for each in told.runs] == [
        (gone.run_id, gone.outcomes),
        (first.run_id, first.outcomes),
    ]


def test_after_a_rollback_a_stage_is_unfinished(staged: Path, url: str) -> None:
    seed(staged, url)
    second = seed(write(staged, {"pupils.csv": PUPILS + "Dan,hfa,7\n"}), url)
    undo(staged, url, run=second.run_id)

    told = status_of(staged, url)

    assert verdicts(told)["pupils"] == ("stale", UNFINISHED)
    assert [stage.unfinished for stage in told.stages] == [False, True]
    assert loads(told)["pupils.pupils"] == (3, 3)


def test_a_stage_with_rejected_rows_is_unfinished(staged: Path, url: str, tmp_path: Path) -> None:
    write(staged, {"pupils.csv": PUPILS + "Dan,nowhere,7\n"})
    seed(staged, url, rejects=tmp_path / "reports")

    told = status_of(staged, url)

    assert verdicts(told)["pupils"] == ("stale", UNFINISHED)
    assert told.runs[0].outcomes.rejected == 1


def test_a_run_that_committed_each_stage_by_itself_is_one_run(staged: Path, url: str) -> None:
    run = seed(staged, url, commit="stage")

    told = status_of(staged, url)

    assert verdicts(told) == UNCHANGED
    assert {stage.run for stage in told.stages} == {run.run_id}
    assert [(each.run_id, each.outcomes, each.stages) for each in told.runs] == [
        (run.run_id, run.outcomes, ("cities", "pupils"))
    ]


REFUSING = {
    "sqlite": "CREATE TRIGGER no BEFORE INSERT ON pupils BEGIN SELECT RAISE(ABORT, 'no'); END",
    "postgresql": "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$;"
    "CREATE TRIGGER no BEFORE INSERT ON pupils FOR EACH ROW EXECUTE FUNCTION no()",
}


def test_of_a_run_that_failed_half_way_the_stages_that_it_committed_are_told(staged: Path, url: str) -> None:
    execute(url, REFUSING[url.partition(":")[0]])
    with pytest.raises(SeedError):
        seed(staged, url, commit="stage")

    told = status_of(staged, url)

    assert verdicts(told) == {"cities": ("unchanged", "unchanged"), "pupils": ("stale", NEVER)}
    assert [each.stages for each in told.runs] == [("cities",)]


def test_what_the_project_gave_up_is_left_in_the_ledger(staged: Path, url: str) -> None:
    more = '[[stages.seeds]]\nname = "more"\nsource = "more.csv"\ntable = "cities"\n'
    write(
        staged, {"seedlab.toml": CITIES_STAGE + more + PUPILS_STAGE, "more.csv": "code,name\nbsv,Beersheba\n"}
    )
    seed(staged, url)
    write(staged, {"seedlab.toml": CITIES_STAGE})

    told = status_of(staged, url)
    seed(staged, url)
    after = status_of(staged, url)

    assert verdicts(told) == {
        "cities": ("stale", "more.csv is gone and 1 more"),
        "pupils": ("undeclared", UNDECLARED),
    }
    declared = {load.seed: load.declared for stage in told.stages for load in stage.loads}
    assert declared == {"cities": True, "more": False, "pupils": False}
    assert loads(after) == {"cities.cities": (2, 2), "more.cities": (0, 1), "pupils.pupils": (0, 3)}
    assert verdicts(after)["cities"] == ("unchanged", "unchanged")
    assert verdicts(after)["pupils"] == ("undeclared", UNDECLARED)


def test_a_stage_that_does_not_take_part_says_why(staged: Path, url: str) -> None:
    seed(staged, url)
    with_condition = CITIES_STAGE.replace(
        "[[stages.seeds]]", 'conditions = ["environment:test"]\n[[stages.seeds]]'
    )
    write(staged, {"seedlab.toml": with_condition + PUPILS_STAGE})

    told = status_of(staged, url)

    assert told.stages[0].verdict == "skipped"
    assert "environment" in told.stages[0].reason
    assert told.stages[0].run == told.runs[0].run_id


def test_without_incremental_every_stage_would_run(staged: Path, url: str) -> None:
    seed(staged, url)

    told = status_of(staged, url, level="copy")

    assert set(verdicts(told).values()) == {("stale", "without incremental every stage runs")}


def test_a_folder_without_configuration_has_a_status_too(school: Path, url: str) -> None:
    seed(school, url)

    told = status_of(school, url)

    assert [stage.verdict for stage in told.stages] == ["unchanged", "unchanged"]
    assert {table.rpartition(".")[2]: rows for table, rows in loads(told).items()} == {
        "cities": (2, 2),
        "pupils": (3, 3),
    }


@pytest.mark.slow
def test_only_the_last_runs_are_told(staged: Path, url: str) -> None:
    runs = [
        seed(write(staged, {"pupils.csv": f"name,city.code\nP{n},hfa\n"}), url) for n in range(LAST_RUNS + 2)
    ]

    told = status_of(staged, url)

    assert [each.run_id for each in told.runs] == [run.run_id for run in reversed(runs)][:LAST_RUNS]


# ---- targets --------------------------------------------------------------------------------------------


def test_where_there_is_no_ledger_none_is_made(staged: Path, url: str) -> None:
    before = dump(url)

    told = status_of(staged, url)

    assert (told.ledger, told.stages, told.runs) == ("missing", (), ())
    where, column = ("sqlite_schema", "name") if url.startswith("sqlite") else ("pg_namespace", "nspname")
    assert rows_of(url, f"SELECT count(*) FROM {where} WHERE {column} LIKE 'seedlab%'") == [(0,)]
    assert dump(url) == before


def test_of_another_projects_ledger_nothing_is_shown(staged: Path, url: str) -> None:
    seed(staged, url)
    other = write(staged.parent / "other", {"seedlab.toml": CITIES_STAGE, "cities.csv": CITIES})

    told = status_of(other, url)

    assert (told.ledger, told.generation, told.runs) == ("there", 2, ())
    assert verdicts(told) == {"cities": ("stale", NEVER)}
    assert loads(told) == {}
    assert "pupils" not in status_text(told)


def test_a_ledger_of_another_version_is_refused(staged: Path, url: str) -> None:
    seed(staged, url)
    table = "seedlab_ledger" if url.startswith("sqlite") else "seedlab.ledger"
    execute(url, f"UPDATE {table} SET version = 99")

    with pytest.raises(WriteError, match="has version 99"):
        status_of(staged, url)


def test_a_ledger_that_may_not_be_read_says_what_to_grant(
    staged: Path, clean_postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = clean_postgres_url
    execute(url, "CREATE TABLE cities (code text PRIMARY KEY, name text);"
            "CREATE TABLE pupils (name text PRIMARY KEY, city_id text REFERENCES cities, age int)")  # fmt: skip
    write(staged, {"pupils.csv": PUPILS.replace("city.code", "city_id")})
    seed(staged, url)
    with psycopg.connect(url) as connection:
        user = connection.info.user
    execute(url, f"REVOKE ALL ON SCHEMA seedlab FROM {user}")
    no_schema = status_of(staged, url)
    execute(url, f"GRANT USAGE ON SCHEMA seedlab TO {user}; REVOKE ALL ON seedlab.runs FROM {user}")

    no_table = status_of(staged, url)
    code = main(["status", str(staged), "--database-url", url])
    execute(url, " ".join(no_table.grants))

    assert (no_schema.ledger, no_table.ledger, code) == ("unreadable", "unreadable", 1)
    assert no_schema.stages == no_schema.runs == ()
    shown = capsys.readouterr().out
    assert f'→ GRANT USAGE ON SCHEMA seedlab TO "{user}";\n' in shown
    assert verdicts(status_of(staged, url)) == UNCHANGED


# ---- looking only ---------------------------------------------------------------------------------------


def test_looking_takes_few_round_trips_and_writes_nothing(staged: Path, url: str) -> None:
    seed(staged, url)
    held = dump(url)

    told, monitor = _asked(staged, url)
    execute(url, "INSERT INTO cities (code) VALUES ('new')")
    _, after = _asked(staged, url)

    counts = [(each.counters.statements, each.counters.round_trips) for each in (monitor, after)]
    # The catalog with the ledger, who wrote the tables, two packed loads, the runs, the size; then also the
    # content of a table that others changed (on SQLite its marks).
    lite = [(17, 17), (21, 21)]
    assert counts == (lite if url.startswith("sqlite") else [(12, 5), (14, 6)])
    assert (dump(url)["pupils"], status_of(staged, url).generation) == (held["pupils"], told.generation)


@pytest.mark.parametrize("tables", [3, 30])
def test_round_trips_do_not_grow_with_the_tables(folder: Path, clean_postgres_url: str, tables: int) -> None:
    execute(clean_postgres_url, "".join(f"CREATE TABLE t{n} (code text PRIMARY KEY);" for n in range(tables)))
    write(folder, {f"t{n}.csv": "code\na\nb\n" for n in range(tables)})
    seed(folder, clean_postgres_url)

    told, monitor = _asked(folder, clean_postgres_url)

    assert len(loads(told)) == tables
    assert (monitor.counters.statements, monitor.counters.round_trips) == (10 + tables, 5)


def test_it_waits_for_no_run_and_needs_no_right_to_write(staged: Path, clean_postgres_url: str) -> None:
    url = clean_postgres_url
    execute(url, "CREATE TABLE cities (code text PRIMARY KEY, name text);"
            "CREATE TABLE pupils (name text PRIMARY KEY, city_id text REFERENCES cities, age int)")  # fmt: skip
    seed(write(staged, {"pupils.csv": PUPILS.replace("city.code", "city_id")}), url)
    odd = quote("-c default_transaction_read_only=on -c TimeZone=Asia/Kolkata -c DateStyle=SQL,DMY")
    plain = status_of(staged, url)

    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE seedlab.lock IN EXCLUSIVE MODE")
        told = status_of(staged, f"{url}{'&' if '?' in url else '?'}options={odd}")

    assert verdicts(told) == UNCHANGED
    assert (told.stages, told.runs) == (plain.stages, plain.runs)


# ---- from the command line ------------------------------------------------------------------------------


def test_the_command_shows_text_or_json(staged: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["status", str(staged), "--database-url", url]
    assert main(line) == 0
    nothing = capsys.readouterr()
    run = seed(staged, url)

    assert main(line) == 0
    text = capsys.readouterr()
    assert main([*line, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)

    assert "there is no ledger in this target" in nothing.out
    assert f"✓ cities: unchanged (run {run.run_id}, " in text.out
    assert "cities  of cities  2 rows  2 created  by code\n" in text.out
    assert f"{run.run_id}  {run.started[:10]} " in text.out
    assert "5 created\n" in text.out
    assert (nothing.err, text.err) == ("", "")
    assert (record["ledger"], record["generation"], record["runs"][0]["run_id"]) == ("there", 2, run.run_id)
    assert [(stage["id"], stage["verdict"]) for stage in record["stages"]] == [
        ("cities", "unchanged"),
        ("pupils", "unchanged"),
    ]
    assert not Path("reports").exists()


def test_names_with_control_characters_are_made_visible(
    staged: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = '[project]\nname = "sch\\u001b[31mool\\u202e"\n'
    write(staged, {"seedlab.toml": name + CITIES_STAGE + PUPILS_STAGE})
    seed(staged, url)
    odd = "pu\x1b[2Jpils"
    rename = "UPDATE {0} SET stage = '{1}' WHERE stage = 'pupils'"
    if url.startswith("sqlite"):
        for table in ("seedlab_stages", "seedlab_rows"):
            changed = 'document = replace(document, \'"stage": "pupils"\', \'"stage": "pu\\u001b[2Jpils"\')'
            execute(url, rename.format(table, odd).replace("SET", f"SET {changed},"))
    else:
        for table in ("seedlab.stages", "seedlab.rows"):
            execute(url, rename.format(table, odd))

    assert main(["status", str(staged), "--database-url", url]) == 0
    text = capsys.readouterr().out
    assert main(["status", str(staged), "--database-url", url, "--json"]) == 0
    shown = capsys.readouterr().out

    assert "\x1b" not in text + shown
    assert "\u202e" not in text
    assert text.startswith("sch␛[31mool\ufffd → ")
    assert f"! pu␛[2Jpils: {UNDECLARED}" in text
    assert json.loads(shown)["stages"][2]["id"] == odd
