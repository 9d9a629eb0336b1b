"""The commands that read recorded runs: from seeds of a real database to the list, the run and the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from seedlab.cli import main
from seedlab.insight.records import history as records
from tests.fix_academy import DATA
from tests.support.histories import run_of, written


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for reports, which the commands find by themselves."""
    monkeypatch.setenv("SEEDLAB_REPORTS", str(tmp_path / "reports"))
    return tmp_path / "reports"


def told(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    assert main(list(line)) == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_seeds_of_a_database_are_listed_shown_and_reported(
    reports: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["seed", str(DATA), "--database-url", database_url, "-q"]) == 0
    capsys.readouterr()

    runs = json.loads(told(capsys, "history", "--json"))["runs"]
    assert [run["kind"] for run in runs] == ["cold", "again"]
    assert [run["rows"] for run in runs] == [5321, 5321]
    assert all(run["dialect"] == database_url.partition(":")[0] for run in runs)

    shown = told(capsys, "show", runs[0]["run_id"][:6])
    assert f"run {runs[0]['run_id']} of" in shown
    assert "\nmerge " in shown
    assert "5,321 created" in shown
    assert json.loads(told(capsys, "show", "last", "--json"))["run_id"] == runs[1]["run_id"]

    page = told(capsys, "report", "--history").removeprefix("page: ").strip()
    assert page == str(reports / "history.html")
    assert runs[1]["run_id"] in Path(page).read_text("utf-8")


def test_a_project_named_lists_its_runs_alone(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(reports, run_of(1), run_of(2, project="shop"))

    found = json.loads(told(capsys, "history", str(DATA), "--json"))["runs"]

    assert [run["project"] for run in found] == ["academy"]


def test_the_limit_leaves_the_newest(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(reports, *(run_of(number) for number in range(5)))

    found = json.loads(told(capsys, "history", "--limit", "2", "--json"))["runs"]

    assert [run["run_id"] for run in found] == ["00000003", "00000004"]


def test_a_run_is_shown_by_its_file_and_by_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = records.write(run_of(1), tmp_path)

    assert told(capsys, "show", str(path)) == told(capsys, "show", str(path.parent))


def test_a_run_that_is_not_there_is_a_mistake_of_the_command_line(
    reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "0badcafe"]) == 2

    assert "no run '0badcafe' is on record below" in capsys.readouterr().err


def test_the_page_goes_where_it_is_told(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(reports, run_of(1))
    out = tmp_path / "new" / "page.html"

    record = json.loads(told(capsys, "report", "--history", "--out", str(out), "--json"))

    assert record == {"page": str(out), "runs": 1, "notes": []}
    assert out.read_text("utf-8").startswith("<!doctype html>")


def test_records_that_cannot_be_read_are_told(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = records.write(run_of(1), reports)
    shutil.copytree(path.parent, path.parent.with_name("cut"))
    path.write_text("{", "utf-8")

    assert f"! {path}: cannot read the run record" in told(capsys, "history")
    assert f"! {path}: cannot read the run record" in told(capsys, "report", "--history")


def test_a_page_that_cannot_be_written_names_the_flag(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--history", "--out", str(tmp_path)]) == 2

    assert "name another file with --out" in capsys.readouterr().err
