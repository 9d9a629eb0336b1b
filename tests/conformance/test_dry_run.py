"""Looking first: a dry run finds all that a seed would and leaves nothing; a plan says what a seed then does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from seedlab import orchestrator
from seedlab.cli import main
from seedlab.database import connect
from seedlab.errors import DataFaults, Refused, SeedError
from seedlab.flow import Level, Options, Outcomes, Plan, Run, Settings
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.choices import ENVIRONMENTS
from seedlab.plan.project import load_project
from tests.conformance.test_bad_input import CHECKED, TRIGGER
from tests.conformance.test_sync import QUIZ_TABLES
from tests.support.previewing import state
from tests.support.school import CITIES, SEED, STAGE, TWO_STAGES, TWO_SYNCS
from tests.support.seeding import Way, counted, dump, execute, rows_of, seed, seed_in, write

pytestmark = pytest.mark.usefixtures("plain_environment")

EDITED = {
    "cities.csv": CITIES.replace("Haifa", "Hefa") + "eil,Eilat\n",
    "pupils.csv": "name,city.code,age\nAda,eil,9\nCid,hfa,11\nDan,tlv,\n",
}


def plan(folder: Path, url: str, *, rows: bool = False, level: Level = "incremental") -> Plan:
    options = Options(environment=ENVIRONMENTS["development"], settings=Settings(level=level))
    target = connect.parse_target(url, "--database-url")
    return orchestrator.plan(load_project(folder), target, options, Monitor(), rows=rows)


def kept(url: str) -> Any:
    """What a transaction that is rolled back leaves as it was: on PostgreSQL all but sequences, which take
    no value back, and the mark of who tried to change a row.
    """
    held = state(url)
    if url.startswith("sqlite") or not isinstance(held, dict):
        return held
    return {name: [(row[0], row[1], row[3]) for row in rows if len(row) == 4] for name, rows in held.items()}


def outcomes_by_table(report: Run | Plan) -> dict[str, Outcomes]:
    """By STAGE.SEED.TABLE, of stages that would run or did."""
    return {
        f"{stage.id}.{each.name}.{table.table}": table.outcomes
        for stage in report.stages
        if stage.status == "run"
        for each in stage.seeds
        for table in each.tables
    }


# ---- dry runs -------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_a_seed_does_and_leaves_all_as_it_was(school: Path, url: str, way: Way) -> None:
    write(school, {"seedlab.toml": TWO_SYNCS})
    fresh = kept(url)

    first = seed_in(way, school, url, dry_run=True)
    untouched = kept(url)
    seed_in(way, school, url)
    write(school, EDITED)
    before = kept(url)
    second = seed_in(way, school, url, max_delete="1", dry_run=True)
    after = kept(url)
    done = seed_in(way, school, url, max_delete="1")

    assert untouched == fresh
    assert after == before
    assert (counted(first), first.exit_code) == ((5, 0, 0), 0)
    assert second.outcomes == done.outcomes == Outcomes(created=2, updated=2, unchanged=2, deleted=1)
    assert outcomes_by_table(second) == outcomes_by_table(done)


def test_a_dry_run_of_missing_tables_makes_none(school: Path, clean_database_url: str) -> None:
    models = (
        "from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text\nmetadata = MetaData()\n"
        'Table("cities", metadata, Column("id", Integer, primary_key=True), Column("code", Text, unique=True,'
        ' nullable=False), Column("name", Text))\n'
        'Table("pupils", metadata, Column("id", Integer, primary_key=True), Column("name", Text, unique=True,'
        ' nullable=False), Column("city_id", ForeignKey("cities.id")), Column("age", Integer))\n'
    )
    config = '[project]\nschema = "models.py:metadata"\n' + TWO_STAGES
    write(school, {"models.py": models, "seedlab.toml": config})

    assert counted(seed(school, clean_database_url, dry_run=True)) == (5, 0, 0)
    assert dump(clean_database_url) == {}


DEFERRED = """
CREATE TABLE cities (
  code text PRIMARY KEY, name text, twin text REFERENCES towns (code) DEFERRABLE INITIALLY DEFERRED
);
"""


@pytest.mark.parametrize("what", ["a trigger", "a check", "a deferred constraint"])
def test_a_dry_run_finds_what_only_writing_finds(folder: Path, clean_database_url: str, what: str) -> None:
    url = clean_database_url
    if what == "a deferred constraint":
        # What a trigger writes is not of the files, so nobody has looked at it before.
        execute(url, "CREATE TABLE towns (code text PRIMARY KEY);" + DEFERRED + TWIN[url.split(":")[0]])
        write(folder, {"cities.csv": "code,name\na,a\n"})
    else:
        execute(url, CHECKED + (TRIGGER[url.split(":")[0]] if what == "a trigger" else ""))
        write(folder, {"cities.csv": f"code,name,size\nb,b,{1 if what == 'a trigger' else -1}\n"})
    before = kept(url)

    with pytest.raises(SeedError) as dry:
        seed(folder, url, dry_run=True)
    assert kept(url) == before
    with pytest.raises(SeedError) as wet:
        seed(folder, url)

    assert (type(dry.value), str(dry.value)) == (type(wet.value), str(wet.value))
    if isinstance(dry.value, DataFaults) and isinstance(wet.value, DataFaults):
        assert [each.message for each in dry.value.faults] == [each.message for each in wet.value.faults]


TWIN = {
    "postgresql": """
        CREATE FUNCTION twin() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN UPDATE cities SET twin = 'nowhere' WHERE code = NEW.code; RETURN NULL; END$$;
        CREATE TRIGGER twins AFTER INSERT ON cities FOR EACH ROW EXECUTE FUNCTION twin();
    """,
    "sqlite": """
        CREATE TRIGGER twins AFTER INSERT ON cities
        BEGIN UPDATE cities SET twin = 'nowhere' WHERE code = NEW.code; END;
    """,
}


def test_a_dry_run_is_refused_where_it_is_protected(school: Path, url: str) -> None:
    with pytest.raises(Refused, match=r"a dry run writes to it before it rolls back.*`seedlab plan`"):
        seed(school, url, environment="production", dry_run=True)
    seed(write(school, {"seedlab.toml": TWO_SYNCS}), url)
    with pytest.raises(Refused, match=r"type --max-delete 1$"):
        seed(write(school, {"pupils.csv": "name,city.code\nAda,hfa\nBob,tlv\n"}), url, dry_run=True)


# ---- plans ----------------------------------------------------------------------------------------------

QUIZ = (
    STAGE.format("quiz")
    + SEED.format("quiz", "quiz.json")
    + 'mode = "sync"\n[stages.seeds.tables]\nquestions = { path = "$", key = ["code"] }\n'
    'answers = { path = "answers", key = ["question", "position"], columns = { position = "$index" } }\n'
)


def same(folder: Path, url: str, expected: tuple[int, int, int]) -> Plan:
    """A plan touches nothing and says what a seed then does: created, updated, deleted, by table."""
    before = state(url)
    planned = plan(folder, url)
    assert state(url) == before
    done = seed(folder, url, max_delete="100%")
    assert outcomes_by_table(planned) == outcomes_by_table(done)
    assert (planned.outcomes.created, planned.outcomes.updated, planned.outcomes.deleted) == expected
    after = plan(folder, url)
    assert {stage.status for stage in after.stages} == {"skipped"}
    assert after.outcomes.total == 0
    return planned


def test_a_plan_says_why_each_stage_would_run(school: Path, url: str) -> None:
    def why() -> list[str]:
        return [each.reason for each in plan(school, url).stages]

    write(school, {"seedlab.toml": TWO_SYNCS})
    first = why()
    seed(school, url)
    write(school, {"pupils.csv": "name,city.code\nAda,tlv\n"})
    edited = why()
    execute(url, "UPDATE cities SET name = 'Hefa' WHERE code = 'hfa'")

    assert first == ["", ""]  # all that it brings is new
    assert edited == ["unchanged", "pupils.csv changed"]
    assert why() == ["table cities was changed since the last seed", "pupils.csv changed"]


@pytest.mark.slow
def test_a_plan_says_what_a_seed_then_does(school: Path, url: str) -> None:
    execute(url, QUIZ_TABLES)
    quiz = '[{"code": "a", "answers": [{"text": "x"}, {"text": "y"}]}, {"code": "b"}]'
    write(school, {"seedlab.toml": TWO_SYNCS + QUIZ, "quiz.json": quiz})

    same(school, url, (9, 0, 0))
    same(write(school, EDITED), url, (2, 2, 1))
    same(write(school, {"quiz.json": '[{"code": "a", "answers": [{"text": "y"}]}]'}), url, (0, 1, 2))
    same(write(school, {"quiz.json": "[]"}), url, (0, 0, 2))
    execute(url, "UPDATE pupils SET age = 99 WHERE name = 'Cid'")
    same(school, url, (0, 1, 0))
    execute(url, "DELETE FROM pupils WHERE name IN ('Cid', 'Ada')")
    same(write(school, {"pupils.csv": "name,city.code,age\nCid,hfa,11\n"}), url, (1, 0, 1))


def test_a_plan_tells_rows_with_their_lines_and_columns(school: Path, url: str) -> None:
    seed(write(school, {"seedlab.toml": TWO_SYNCS}), url)
    write(school, EDITED)

    changes = plan(school, url, rows=True).changes

    told = [(f"{c.file}:{c.line}", c.table, c.outcome, [name for name, _, _ in c.columns]) for c in changes]
    assert told == [
        ("cities.csv:2", "cities", "updated", ["name"]),
        ("cities.csv:4", "cities", "created", []),
        ("pupils.csv:2", "pupils", "updated", ["city_id"]),
        ("pupils.csv:4", "pupils", "created", []),
    ]
    assert changes[0].columns == (("name", "Haifa", "Hefa"),)


# ---- from the command line ------------------------------------------------------------------------------


def run_of(line: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, Mapping[str, Any]]:
    """Exit code and text of a command, and with --json added its record."""
    code = main(line)
    text = capsys.readouterr().out
    assert main([*line, "--json"]) == code
    return code, text, json.loads(capsys.readouterr().out)


def test_the_command_shows_rows_and_values_only_when_asked_and_ends_as_asked(
    school: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["plan", str(school), "--database-url", url]
    seed(write(school, {"seedlab.toml": TWO_SYNCS}), url)
    quiet = run_of([*line, "--exit-on-change", "9"], capsys)
    write(school, {"pupils.csv": "name,city.code,age\nAda,tlv,9\nBob,tlv,\nCid,hfa,11\n"})

    plain = run_of(line, capsys)
    rows = run_of([*line, "--rows", "--exit-on-change", "9"], capsys)
    values = run_of([*line, "--rows", "--show-values"], capsys)

    assert (quiet[0], quiet[2]["outcomes"]["updated"]) == (0, 0)
    assert "nothing to do" in quiet[1]
    assert [each[0] for each in (plain, rows, values)] == [0, 9, 0]
    assert plain[2]["outcomes"] == asdict(Outcomes(updated=1, unchanged=4)) | {"unchanged": 2}
    assert plain[2]["changes"] == []
    assert "pupils.csv:2" not in plain[1]
    assert "pupils.csv:2: pupils updated: city_id\n" in rows[1]
    assert "pupils.csv:2: pupils updated: city_id '" in values[1]
    change = {"file": "pupils.csv", "line": 2, "table": "pupils", "outcome": "updated"}
    assert rows[2]["changes"] == [change | {"columns": [{"column": "city_id"}]}]
    assert values[2]["changes"][0]["columns"][0].keys() == {"column", "old", "new"}


def test_a_delete_alone_is_a_change(school: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    seed(write(school, {"seedlab.toml": TWO_SYNCS}), url)
    write(school, {"pupils.csv": "name,city.code,age\nAda,hfa,9\nCid,hfa,11\n"})

    code, text, record = run_of(["plan", str(school), "--database-url", url, "--exit-on-change", "9"], capsys)

    assert code == 9
    assert "1 deleted" in text
    assert record["outcomes"]["deleted"] == record["stages"][1]["outcomes"]["deleted"] == 1
    assert len(rows_of(url, "SELECT 1 FROM pupils")) == 3


def test_the_command_says_that_a_dry_run_was_one(
    school: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dump(url)

    code, text, record = run_of(["seed", str(school), "--database-url", url, "--dry-run"], capsys)

    assert code == 0
    assert "5 created" in text
    assert "dry run" in text
    assert record["outcomes"]["created"] == 5
    assert "--dry-run" in record["args"]
    assert dump(url) == before


# ---- how rows are written -------------------------------------------------------------------------------

NODES = """
    CREATE TABLE nodes (id SERIAL KEY, code text NOT NULL UNIQUE, next_id int REFERENCES nodes);
    CREATE TABLE notes (id SERIAL KEY, code text NOT NULL UNIQUE);
"""
NO_CYCLE, CYCLE = "code,next.code\na,b\nb,\n", "code,next.code\na,b\nb,a\n"


@pytest.mark.parametrize(("nodes", "how"), [(NO_CYCLE, "row by row"), (CYCLE, "multi-row statements")])
def test_a_plan_of_legacy_says_how_a_seed_writes_the_rows(
    folder: Path, clean_database_url: str, nodes: str, how: str
) -> None:
    url = clean_database_url
    execute(url, NODES)
    write(folder, {"nodes.csv": nodes, "notes.csv": "code\nx\n"})

    planned = plan(folder, url, level="legacy")
    run = seed(folder, url, "legacy")

    tables = [each for stage in planned.stages for one in stage.seeds for each in one.tables]
    assert [each.table for each in tables if each.strategy.startswith(how)] == ["nodes", "notes"]
    assert planned.notes == run.notes
    assert any("written as sets, not row by row" in note for note in run.notes) == (nodes == CYCLE)
