"""Each notebook run as users run it: by the command, and by nbval cell by cell; on small data, in real databases."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from seedlab.cli import main
from tests.support.nbmake import outputs_of
from tests.support.workplace import TINY, copied, workplace
from tests.test_notebooks import ADDRESS

PAGE_BYTES = 500_000
COMMENT_LETTERS = 65_536  # GitHub's limit
FIGURES = {
    "01-seed": {"memory", "operations", "pareto", "waits", "waterfall"},
    "02-profile-phases": {"steps"},
    "03-bottlenecks": {"memory", "operations", "pareto", "waits", "waterfall"},
    "04-before-after": {"before_after", "pairs"},
    "05-history": {"trend-1"},
}
EXPERIMENTS = {"02-profile-phases", "04-before-after"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a small project, with one run on record; where commands are typed."""
    monkeypatch.chdir(workplace(tmp_path))
    monkeypatch.setenv("SEEDLAB_DATABASE_URL", "sqlite:///first.db")
    assert main(["seed", "-q"]) == 0
    return tmp_path


def report(name: str, *more: str, **parameters: str) -> int:
    given = [word for pair in parameters.items() for word in ("-p", "=".join(pair))]
    return main(["report", name, *given, "--out", "out", *more])


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_a_notebook_leaves_a_whole_report(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDLAB_DATABASE_URL", "sqlite:///second.db")

    assert report(name, **TINY[name]) == 0

    out = place / "out"
    page = (out / "report.html").read_text("utf-8")
    assert len(page.encode()) < PAGE_BYTES
    assert "<script" not in page
    assert ADDRESS.findall(page) == []
    assert "output_error" not in page.split("</style>", 1)[1]
    assert {path.stem for path in (out / "figures").glob("*.svg")} == FIGURES[name]
    assert all(path.read_text("utf-8").count("<svg") for path in (out / "figures").iterdir())
    summary = (out / "summary.md").read_text("utf-8")
    assert 20 < len(summary) < COMMENT_LETTERS
    told = json.loads((out / "summary.json").read_text("utf-8"))
    assert (told["notebook"], told["status"], told["error"]) == (name, "succeeded", None)
    assert told["result"]
    outputs = outputs_of(out / "report.ipynb")
    assert not any(output.get("name") == "stderr" for output in outputs)
    lines = [output["data"].get("text/plain", "") for output in outputs if "data" in output]
    assert any("".join(line).startswith("done · ") for line in lines) == (name in EXPERIMENTS)


@pytest.mark.slow
def test_a_gate_that_fails_is_the_exit_code_and_the_report_says_why(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place / "steps.md"))
    compared = {**TINY["04-before-after"], "before": "copy", "after": "legacy", "fail_on": "counts"}

    assert report("before-after", **compared) == 6

    told = "the gate on counts failed: statements: "
    assert f"✗ 04-before-after failed: {told}" in capsys.readouterr().err
    assert f'<p class="failure">✗ {told}' in (place / "out" / "report.html").read_text("utf-8")
    steps = (place / "steps.md").read_text("utf-8")
    assert steps.startswith(f"❌ **04-before-after failed**: {told}")
    assert "All phases and counts" in steps


@pytest.mark.slow
def test_a_gate_that_passes_says_so(place: Path) -> None:
    assert report("before-after", **{**TINY["04-before-after"], "fail_on": "none"}) == 0

    page = (place / "out" / "report.html").read_text("utf-8")
    assert "It passes: <code>fail_on</code> is <code>none</code>, and no difference fails it." in page
    assert "IPython" not in page


@pytest.mark.slow
def test_a_password_of_the_target_is_in_nothing_that_is_kept(
    place: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEEDLAB_DATABASE_URL")
    secret = "hush4711"
    monkeypatch.setenv("STAGING", re.sub(r"//(\w+)(?::[^@]*)?@", rf"//\1:{secret}@", postgres_url))
    assert secret in os.environ["STAGING"]

    assert report("seed", target="$STAGING") == 0

    kept = [path for path in (*(place / "out").rglob("*"), *(place / "reports").rglob("*")) if path.is_file()]
    assert len(kept) > 8
    assert [path.name for path in kept if secret in path.read_text("utf-8")] == []
    assert "$STAGING" in (place / "out" / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_what_goes_wrong_below_a_notebook_is_told_as_the_command_tells_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report("seed", target="$NOWHERE") == 1

    told = "parameter target: the environment has no variable NOWHERE"
    assert f"✗ 01-seed failed: ConfigurationError: {told}" in capsys.readouterr().err
    assert told in (place / "out" / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_every_cell_passes_nbval_from_the_folder_of_the_notebooks(place: Path) -> None:
    """In the order of their names, as nbval runs them: the first one makes a run, which later ones look at."""
    paths = copied(place)
    command = [
        sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(place), "-p", "no:cacheprovider", "-q",
        "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=120", "-n", "2", "--dist", "loadscope",
        *map(str, paths),
    ]  # fmt: skip
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environ["SEEDLAB_DATABASE_URL"] = f"sqlite:///{place / 'nbval.db'}"

    done = subprocess.run(
        command, cwd=place, env=environ, capture_output=True, text=True, timeout=300, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    cells = sum(len(json.loads(path.read_text("utf-8"))["cells"]) for path in paths)
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert len(paths) * 3 < int(passed[1]) < cells
    assert len(list((place / "reports").glob("runs/*/run.json"))) == 2, (
        "beside the project, not in notebooks/"
    )
    assert len(list((place / "reports").glob("profiles/*/profile.json"))) == 1
