"""The notebooks where people work with them: JupyterLab in a real browser, cell by cell."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Page
from tests.browser.jupyter import OpenNotebook, jupyter_lab
from tests.support.workplace import copied, workplace

pytestmark = pytest.mark.slow
SHOTS = "SEEDLAB_TEST_SHOTS"  # a folder that keeps the pictures, to be looked at


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = workplace(tmp_path_factory.mktemp("place"))
    copied(root)
    return root


@pytest.fixture(scope="module")
def lab(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    environ = {"SEEDLAB_DATABASE_URL": f"sqlite:///{place / 'lab.db'}"}
    with jupyter_lab(place, tmp_path_factory.mktemp("jupyter"), environ) as address:
        yield address


@pytest.fixture
def worked_through(lab: str, open_page: Callable[..., Page], tmp_path: Path) -> Callable[[str], OpenNotebook]:
    """Open a notebook and run its cells; a picture of how it ends is kept."""

    def work_through(name: str) -> OpenNotebook:
        page = open_page(f"{lab}/notebooks/{name}.ipynb?reset", width=1500, height=3000)
        notebook = OpenNotebook(page)
        prompts = notebook.run_all()
        page.screenshot(Path(os.environ.get(SHOTS, tmp_path)) / f"{name}.png")
        assert prompts == [f"[{number}]:" for number in range(1, len(prompts) + 1)]
        # On a busy machine JupyterLab warns of its own plugins that take long.
        assert [each for each in page.messages if not each.startswith("warning: Plugin ")] == []
        return notebook

    return work_through


def test_a_seed_is_run_and_looked_at_in_jupyterlab(
    worked_through: Callable[[str], OpenNotebook], place: Path
) -> None:
    notebook = worked_through("01-seed")

    shown = "\n".join(notebook.outputs())
    assert "Error" not in shown
    assert "library: 8 created in" in shown
    assert notebook.images() == 2
    (record,) = (place / "reports" / "runs").glob("*/run.json")
    assert json.loads(record.read_text("utf-8"))["level"] == "copy"


def test_a_profile_is_made_and_looked_at_in_jupyterlab(
    worked_through: Callable[[str], OpenNotebook], place: Path
) -> None:
    notebook = worked_through("02-profile-phases")

    shown = "\n".join(notebook.outputs())
    assert "Error" not in shown
    assert "bulk to incremental:" in shown
    assert notebook.images() == 4
    assert len(list((place / "reports" / "profiles").glob("*/profile.json"))) == 1
