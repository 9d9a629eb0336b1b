"""The runner of notebooks: a real kernel runs small notebooks, and what is kept of them is looked at."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from seedlab.cli import main
from seedlab.errors import ConfigurationError
from seedlab.insight.notebooks import runner as notebooks
from tests.support.nbmake import outputs_of, write_notebook

FILES = ["report.html", "report.ipynb", "summary.json", "summary.md"]
# An address that a browser would ask for; the names of XML's vocabularies are none.
ADDRESS = re.compile(r"""(?:src|href|url|@import)[\s=("']+(?:https?:)?//""", re.IGNORECASE)


def run(path: Path, out: Path, heard: list[str] | None = None, **given: str) -> notebooks.Report:
    tell = (heard if heard is not None else []).append
    return notebooks.run(notebooks.find(str(path)), given, out, environ=os.environ, on_heading=tell)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ---- a notebook that works ------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_notebook_runs_with_its_parameters_and_leaves_a_report(tmp_path: Path) -> None:
    heard: list[str] = []
    cells = ("# Counting <sheep>", "# ## How many?", "import os\nprint(f'{rows:,} rows', commit, GITHUB)")
    path = write_notebook(
        tmp_path / "count {x}.ipynb",
        "import os\nGITHUB = os.environ.get('GITHUB_STEP_SUMMARY')",
        *cells,
        parameters="rows = 1\ncommit = ''",
    )
    environ = {**os.environ, "GITHUB_STEP_SUMMARY": "summary"}

    made = notebooks.run(
        notebooks.find(str(path)), {"rows": "2000", "commit": "7e12345"}, tmp_path / "out {y}",
        environ=environ, on_heading=heard.append,
    )  # fmt: skip

    assert (made.failure, made.exit_code) == (None, 0)
    assert sorted(each.name for each in made.folder.iterdir()) == FILES
    assert [each["text"] for each in outputs_of(made.folder / "report.ipynb")] == [
        ["2,000 rows 7e12345 None\n"]
    ]
    assert heard == ["Counting <sheep>", "How many?"]
    page = (made.folder / "report.html").read_text("utf-8")
    assert "<title>Counting &lt;sheep&gt;</title>" in page
    assert "2,000 rows 7e12345 None" in page
    assert "Parameters: rows = 2000, commit = 7e12345" in page
    summary = json.loads((made.folder / "summary.json").read_text("utf-8"))
    assert summary == {
        "notebook": "count {x}",
        "parameters": {"rows": 2000, "commit": "7e12345"},
        "status": "succeeded",
        "error": None,
        "result": None,
    }


@pytest.mark.slow
def test_a_page_needs_nothing_but_itself_and_folds_the_code_away(tmp_path: Path) -> None:
    figure = "from IPython.display import HTML\nHTML('<figure><svg xmlns=\"http://www.w3.org/2000/svg\"/></figure>')"
    path = write_notebook(tmp_path / "n.ipynb", "# A title", figure)

    page = (run(path, tmp_path / "out").folder / "report.html").read_text("utf-8")

    assert "<script" not in page
    assert ADDRESS.findall(page) == []
    assert page.count('<details class="code">') == 1
    assert "<svg xmlns" in page
    assert len(page) < 20_000


@pytest.mark.slow
def test_what_is_kept_has_no_place_of_this_machine_and_no_time_of_papermills_paths(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "n.ipynb", "# A title", "1 + 1", parameters="x = 1")

    made = run(path, tmp_path / "out", x="2")

    for file in made.folder.iterdir():
        assert str(tmp_path) not in file.read_text("utf-8"), file.name
    assert (
        "input_path"
        not in json.loads((made.folder / "report.ipynb").read_text("utf-8"))["metadata"]["papermill"]
    )


# ---- a notebook that fails ------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_notebook_that_fails_is_kept_as_far_as_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERE", "postgresql://me:secret@db/x")
    failing = "import os\nprint('before')\nraise ValueError('no <sheep> at ' + os.environ['HERE'])"
    path = write_notebook(tmp_path / "n.ipynb", "# Sheep", failing, "# Later", "print('never')")

    made = run(path, tmp_path / "out")

    failure = "ValueError: no <sheep> at postgresql://me:***@db/x"
    assert (made.failure, made.exit_code) == (failure, 1)
    kept = outputs_of(made.folder / "report.ipynb")
    assert [each["output_type"] for each in kept] == ["stream", "error"]
    page = (made.folder / "report.html").read_text("utf-8")
    assert '<p class="failure">✗ ValueError: no &lt;sheep&gt;' in page
    assert page.index('class="failure"') < page.index("before") < page.index('output_error">')
    assert "never" not in page
    assert "papermill-error" not in page
    told = "ValueError: no &lt;sheep&gt; at postgresql://me:\\*\\*\\*@db/x"
    assert (made.folder / "summary.md").read_text("utf-8").startswith(f"❌ **n failed**: {told}")
    assert json.loads((made.folder / "summary.json").read_text("utf-8"))["error"] == failure
    for file in made.folder.iterdir():
        assert "secret" not in file.read_text("utf-8"), file.name


@pytest.mark.slow
def test_a_kernel_that_dies_leaves_a_report(tmp_path: Path) -> None:
    path = write_notebook(
        tmp_path / "n.ipynb", "print('before')", "import os, signal\nos.kill(os.getpid(), 9)"
    )

    made = run(path, tmp_path / "out")

    assert made.failure is not None
    assert "the kernel died" in made.failure
    assert "before" in (made.folder / "report.html").read_text("utf-8")


# ---- before anything runs -------------------------------------------------------------------------------


def test_what_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "n.ipynb", "1", parameters="rows = 1")

    with pytest.raises(ConfigurationError, match="did you mean 'rows'"):
        run(path, tmp_path / "out", row="2")

    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_files_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.md").write_text("mine")

    with pytest.raises(ConfigurationError, match="no report; name another with --out"):
        run(write_notebook(tmp_path / "n.ipynb", "1"), tmp_path / "out")

    assert (tmp_path / "out" / "summary.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "cannot read the notebook"),
        ('{"nbformat": 3}', "has format 3, expected 4"),
        ('{"nbformat": 4}', "has no cells"),
        ("[]", "cannot read"),
    ],
)
def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "n.ipynb").write_text(content)

    with pytest.raises(ConfigurationError, match=told):
        notebooks.find("n.ipynb")


def test_a_notebook_is_found_by_its_name_or_a_part_of_it() -> None:
    for name in ("01-seed", "seed", "01"):
        assert notebooks.find(name).path == notebooks.folder() / "01-seed.ipynb"
    with pytest.raises(ConfigurationError, match="did you mean '01-seed'"):
        notebooks.find("01-sed")


def test_a_copy_that_keeps_its_name_keeps_its_parameters(tmp_path: Path) -> None:
    copy = write_notebook(tmp_path / "01-seed.ipynb", "1", parameters="other = 1")

    assert notebooks.find(str(copy)).parameters is notebooks.find("seed").parameters


# ---- the command ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_tells_where_the_report_is_and_fails_as_the_notebook_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_notebook(tmp_path / "n.ipynb", "# Sheep", "assert ok, 'not ok'", parameters="ok = True")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "steps.md"))

    codes = [main(["report", "n.ipynb", "-p", f"ok={ok}", "--out", "out"]) for ok in ("yes", "no")]

    printed = capsys.readouterr()
    assert codes == [0, 1]
    assert printed.out == "report: out/report.html\n" * 2
    assert printed.err == "n: Sheep\nn: Sheep\n✗ n failed: AssertionError: not ok\n"
    assert (tmp_path / "steps.md").read_text("utf-8") == (
        "✅ **n** ran to its end.\n\n❌ **n failed**: AssertionError: not ok\n\n"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["nope"], "found no notebook nope"), (["seed", "-p", "level"], "expected NAME=VALUE, found 'level'")],
)
def test_the_command_refuses_what_it_does_not_understand(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_report_without_a_name_goes_below_the_reports(tmp_path: Path) -> None:
    notebook = notebooks.find("seed")

    first = notebooks.new_folder(tmp_path, notebook)
    first.mkdir()

    assert re.fullmatch(r"\d{8}T\d{6}Z-01-seed", first.name)
    assert notebooks.new_folder(tmp_path, notebook) != first


def test_a_long_summary_is_cut_at_a_line_for_github(tmp_path: Path) -> None:
    (tmp_path / "summary.md").write_text("é line\n" * 200_000, "utf-8")
    steps = tmp_path / "steps.md"

    notebooks.append_step_summary(notebooks.Report(folder=tmp_path), {"GITHUB_STEP_SUMMARY": str(steps)})

    text = steps.read_text("utf-8")
    assert 499_000 < len(text.encode()) <= 500_000
    assert text.endswith("é line\n\n… cut: the whole is in the report\n\n")
