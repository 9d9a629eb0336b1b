"""What `plan` says of the time a seed will take, from real runs, and what that changes in the next run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from seedlab import orchestrator
from seedlab.cli import main
from seedlab.database.connect import parse_target
from seedlab.flow import Options, Project, Run, Settings, StageReport
from seedlab.flow.evidence import Expectation, Forecast
from seedlab.insight.formatting.forecast_text import forecast_text
from seedlab.insight.formatting.text import duration
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records import history
from seedlab.operations import forecasting
from seedlab.plan.choices import ENVIRONMENTS
from seedlab.plan.project import load_project
from tests.support.findings import span
from tests.support.seeding import execute, write

CONFIG = """
[[stages]]
id = "cities"
name = "Cities"
  [[stages.seeds]]
  name = "cities"
  source = "cities.csv"
  estimated_ms = 1500

[[stages]]
id = "colours"
name = "Colours"
dependencies = ["cities"]
parallel = false
  [[stages.seeds]]
  name = "colours"
  source = "colours.csv"
  estimated_ms = 300

[[stages]]
id = "pupils"
name = "Pupils"
dependencies = ["cities", "colours"]
  [[stages.seeds]]
  name = "pupils"
  source = "pupils.csv"
"""
TABLES = (
    "CREATE TABLE cities (code text PRIMARY KEY)",
    "CREATE TABLE colours (code text PRIMARY KEY)",
    "CREATE TABLE pupils (name text PRIMARY KEY, city_code text NOT NULL REFERENCES cities)",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    project = tmp_path / "school"
    project.mkdir()
    files = {
        "seedlab.toml": CONFIG,
        "cities.csv": "code\nhfa\ntlv\n",
        "colours.csv": "code\nred\n",
        "pupils.csv": "name,city_code\nAda,hfa\n",
    }
    write(project, files)
    return project


@pytest.fixture
def url(clean_database_url: str) -> str:
    for statement in TABLES:
        execute(clean_database_url, statement)
    return clean_database_url


def call(command: str, folder: Path, url: str, *more: str) -> int:
    reports = ["--reports", str(folder.parent / "reports")]
    return main([command, str(folder), "--database-url", url, *reports, *more])


def planned(folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    capsys.readouterr()
    call("plan", folder, url, "--force", "--json", "-q")
    return json.loads(capsys.readouterr().out)["forecast"]


def test_before_any_run_the_estimates_of_the_file_are_taken(folder, url, capsys) -> None:
    found = planned(folder, url, capsys)

    assert found["seeds"]["cities.cities"] == {
        "seconds": 1.5, "low": 1.5, "high": 1.5, "confidence": 0.0, "basis": "estimate", "runs": 0,
    }  # fmt: skip
    assert found["total"]["seconds"] == sum(each["seconds"] for each in found["seeds"].values())
    assert found["declared_order"] == found["planned_order"] == ["cities", "colours", "pupils"]
    assert found["critical_path"] == ["cities", "colours", "pupils"]


def test_what_waits_for_nothing_it_needs_is_told(folder, url, capsys) -> None:
    found = planned(folder, url, capsys)

    assert found["needless"] == [
        {"stage": "colours", "waits_for": "cities"},
        {"stage": "pupils", "waits_for": "colours"},
    ]
    assert found["idle"] == {
        "colours": "parallel = false",
        "pupils": "waits for colours, which no foreign key needs",
    }


def test_after_three_runs_of_the_kind_their_times_are_taken(folder, url, capsys) -> None:
    call("seed", folder, url, "-q")  # into empty tables: another kind of run
    for _ in range(3):
        call("seed", folder, url, "--force", "-q")

    found = planned(folder, url, capsys)

    _, *records = history.newest(folder.parent / "reports", 9)
    took = sorted(run.seconds for run in records)
    total = found["total"]
    assert (total["basis"], total["runs"], total["confidence"]) == ("history", 3, 0.5)
    assert [total["low"], total["seconds"], total["high"]] == pytest.approx(took)
    assert found["seeds"]["cities.cities"]["basis"] == "history"
    assert found["planned_seconds"] == total["seconds"]


def test_what_the_order_saves_is_the_time_in_which_files_are_read_side_by_side(folder, sqlite_url) -> None:
    for statement in TABLES:
        execute(sqlite_url, statement)
    (folder / "seedlab.toml").write_text(CONFIG.replace("parallel = false\n", ""))
    project, target = load_project(folder), parse_target(sqlite_url, "test")
    options = Options(
        environment=ENVIRONMENTS["development"], settings=Settings(level="copy", workers=2), force=True
    )
    plan = orchestrator.plan(project, target, options, Monitor())
    call("seed", folder, sqlite_url, "--level", "copy", "--workers", "2", "-q")
    (seeded,) = history.newest(folder.parent / "reports", 9)
    seconds = {"cities": 3.0, "colours": 1.0, "pupils": 2.0}
    stages = tuple(_read_for(stage, seconds[stage.id]) for stage in seeded.stages)
    run = replace(seeded, seconds=10.0, spans=(), stages=stages)

    found = forecasting.forecast(project, plan, run, [run] * 3)

    assert {name.partition(".")[0]: each.seconds for name, each in found.seeds.items()} == seconds
    assert found.planned_seconds == 10.0
    assert found.declared_seconds == 13.0  # two at a time, all are read in 3 seconds


def _read_for(stage: StageReport, seconds: float) -> StageReport:
    """The same, as if it had done nothing but read."""
    seeds = (replace(each, spans=(span("read", 0, seconds),)) for each in stage.seeds)
    return replace(stage, seeds=tuple(seeds))


def test_a_person_reads_it_after_the_plan(folder, url, capsys) -> None:
    call("plan", folder, url)

    shown = capsys.readouterr().out
    assert "expected: about 1.8" in shown
    assert "and the start-up, a guess: no run like this one is on record" in " ".join(shown.split())
    assert "critical path: cities → colours → pupils" in shown
    assert "- colours could run beside others: parallel = false" in shown


def test_a_long_critical_path_is_broken_between_stages() -> None:
    about = Expectation(seconds=1.0, low=1.0, high=1.0, confidence=0.0, basis="estimate", runs=0)
    path = tuple(f"stage-{n}" for n in range(12))
    made = Forecast(
        total=about, seeds={"a.b": about}, declared_order=(), declared_seconds=1.0, planned_order=(),
        planned_seconds=1.0, critical_path=path,
    )  # fmt: skip
    lines = forecast_text(made, 80).splitlines()

    assert max(map(len, lines)) <= 80
    assert " ".join(lines).endswith(" → ".join(path))


def test_seeds_of_which_nothing_is_known_are_not_listed(folder, url, capsys) -> None:
    configuration = folder / "seedlab.toml"
    lines = configuration.read_text().splitlines()
    configuration.write_text("\n".join(line for line in lines if "estimated_ms" not in line))

    call("plan", folder, url)

    shown = capsys.readouterr().out
    assert "a guess: no run" in shown
    assert "cities.cities" not in shown


def test_one_run_is_told_without_an_interval(folder, url, capsys) -> None:
    call("seed", folder, url, "-q")
    call("seed", folder, url, "--force", "-q")
    _, *_, forced = history.newest(folder.parent / "reports", 9)
    capsys.readouterr()

    call("plan", folder, url, "--force")

    assert f"expected: about {duration(forced.seconds)}, by 1 run like this one" in capsys.readouterr().out


def test_where_nothing_is_to_be_done_nothing_is_foretold(folder, url, capsys) -> None:
    call("seed", folder, url, "-q")
    call("plan", folder, url)

    assert "expected" not in capsys.readouterr().out


def test_a_record_that_cannot_be_read_is_passed_over(folder, url, capsys) -> None:
    broken = folder.parent / "reports/runs/20990101T000000Z-00000000/run.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")

    assert planned(folder, url, capsys)["total"]["runs"] == 0


def test_times_that_were_measured_replace_the_estimates(folder, url) -> None:
    for _ in range(4):
        call("seed", folder, url, "--force", "-q")
    records = history.newest(folder.parent / "reports", 9)

    informed, usual = forecasting.experience_of(load_project(folder), records, records[-1])

    estimated = {seed.name: seed.estimated_ms for seed in informed.every_seed}
    assert estimated["cities"] not in (None, 1500)
    assert estimated["pupils"] is not None
    assert usual is not None
    assert usual.seconds == sorted(run.seconds for run in records[1:])[1]  # of the three that found rows
    assert without_estimates(informed) == without_estimates(load_project(folder))


def without_estimates(project: Project) -> list[object]:
    return [(seed.name, seed.files, seed.tables, seed.priority) for seed in project.every_seed]


def test_a_seed_whose_stages_are_committed_by_themselves_takes_measured_times(
    folder, url, monkeypatch
) -> None:
    asked: list[tuple[Project, float | None]] = []

    def seen(project: Project, target: object, options: object, monitor: Monitor) -> Run:
        asked.append((project, monitor.expected))
        return real(project, target, options, monitor)

    real = orchestrator.seed
    monkeypatch.setattr(orchestrator, "seed", seen)
    for _ in range(4):
        call("seed", folder, url, "--force", "-q")
    assert call("seed", folder, url, "--force", "-q", "--commit", "stage") == 0

    *before, (project, expected) = asked
    assert all(each.stages[0].seeds[0].estimated_ms == 1500 for each, _ in before)  # so little is read
    assert project.stages[0].seeds[0].estimated_ms != 1500
    assert expected is not None
