"""`profile` and `compare` from the command line; Ctrl-C leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seedlab.cli import main
from seedlab.insight.records import profiles
from tests.support.experiments import left_behind, school
from tests.support.school import CITIES

FEW = ["--pairs", "1", "--max-pairs", "1"]


@pytest.fixture(autouse=True)
def at_school(plain_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(school(tmp_path))


@pytest.mark.slow
def test_a_profile_is_shown_and_kept(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["profile", "--database-url", sqlite_url, "--levels", "legacy,incremental", "--pairs", "1"]

    assert main([*line, "--ablation"]) == 0

    shown = capsys.readouterr()
    assert "school: 1 run of each in fresh databases, taking turns, sqlite" in shown.out
    assert "times faster than legacy" in shown.out
    assert "what each switch is worth alone" in shown.out
    assert "a first round, which does not count\nround 1 of 1\nrecord: reports" in shown.err
    (path,) = Path("reports").glob("profiles/*/profile.json")
    kept = profiles.read(path)
    assert kept.args == ("seedlab", *line, "--ablation")
    assert kept.variants[:4] == (
        "legacy", "incremental", "incremental, again", "incremental without cache"
    )  # fmt: skip


@pytest.mark.slow
def test_a_profile_speaks_json(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = [
        "profile",
        "--database-url",
        sqlite_url,
        "--levels",
        "legacy,bulk",
        "--pairs",
        "2",
        "--json",
        "-q",
    ]

    assert main(line) == 0

    shown = capsys.readouterr()
    record = json.loads(shown.out)
    assert [each["variant"] for each in record["variants"]] == ["legacy", "bulk"]
    assert [each["than"] for each in record["variants"]] == [None, "legacy"]
    assert [len(each["samples"]) for each in record["variants"]] == [2, 2]
    assert [each["interval"] for each in record["variants"]] == [None, None]  # two pairs do not do
    assert Path(record["record"]).is_file()
    assert shown.err == ""


@pytest.mark.slow
def test_passwords_are_not_kept(sqlite_url: str) -> None:
    line = ["profile", "--database-url", sqlite_url, "--levels", "bulk", "--pairs", "1", "-q"]

    assert main([*line, "--yes-seed", "postgresql://me:secret@db.example.org/app"]) == 0

    (path,) = Path("reports").glob("profiles/*/profile.json")
    assert "secret" not in path.read_text("utf-8")


@pytest.mark.slow
def test_a_comparison_is_shown(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "legacy", "bulk", "--database-url", sqlite_url, *FEW]) == 0

    shown = capsys.readouterr()
    assert "legacy" in shown.out
    assert "statements" in shown.out
    assert "a first pair, which does not count\npair 1 of 1" in shown.err


@pytest.mark.slow
@pytest.mark.parametrize(("gate", "code"), [("counts", 6), ("any", 6), ("time", 0), ("none", 0)])
def test_more_statements_fail_the_gate_that_counts(
    sqlite_url: str, capsys: pytest.CaptureFixture[str], gate: str, code: int
) -> None:
    # One pair gives no verdict on time, so that gate cannot fail.
    line = ["compare", "bulk", "legacy", "--database-url", sqlite_url, *FEW, "--fail-on", gate, "-q"]

    assert main(line) == code

    assert ("statements: " in capsys.readouterr().err) == (code == 6)


@pytest.mark.slow
def test_a_comparison_speaks_json(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "legacy", "bulk", "--database-url", sqlite_url, *FEW, "--json", "-q"]) == 0

    record = json.loads(capsys.readouterr().out)
    assert {"verdict", "ratio", "interval", "phases", "counts"} <= record.keys()


@pytest.mark.slow
def test_folders_that_differ_are_refused(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    school(tmp_path / "other", cities_csv=CITIES.replace("Haifa", "haifa"))

    assert main(["compare", ".", "other", "--database-url", sqlite_url, *FEW, "-q"]) == 4

    assert (
        "rows of cities (2 and 2) differ; to compare what they cost all the same, type --anyway"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "line",
    [
        ["profile", "--levels", "bluk"],
        ["profile", "--pairs", "0"],
        ["profile", "--round-trip-ms", "0,soon"],
        ["profile", "--round-trip-ms", "-1"],
        ["compare", "bulk"],
        ["compare", "bulk", "bluk"],
        ["compare", "bulk", "copy", "--threshold", "5 apples"],
        ["compare", "bulk", "copy", "--threshold", "0"],
        ["compare", "bulk", "copy", "--fail-on", "noise"],
    ],
    ids=" ".join,
)
def test_what_is_misspelled_is_a_usage_error(line: list[str], sqlite_url: str) -> None:
    assert main([*line, "--database-url", sqlite_url]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("command", ["profile --pairs 50", "compare legacy bulk --pairs 50 --max-pairs 50"])
def test_ctrl_c_leaves_nothing_behind(command: str, lonely_url: str) -> None:
    line = [sys.executable, "-m", "seedlab", *command.split(), "--round-trip-ms", "2"]
    root = Path(__file__).parent.parent
    with subprocess.Popen(
        [*line, "--database-url", lonely_url],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONPATH": str(root)},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        begun = next(line for line in process.stderr if line.startswith(("round 1", "pair 1")))
        assert begun
        assert left_behind(lonely_url) != []
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()

    assert "interrupted" in rest
    assert process.returncode == 130
    assert left_behind(lonely_url) == []
