"""The package as people install it: a wheel with its notebooks, its stylesheets and nothing that is not its own."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_a_wheel_brings_every_file_of_the_package_and_the_notebooks(unpacked: Path) -> None:
    found = {each.relative_to(unpacked).as_posix() for each in unpacked.rglob("*") if each.is_file()}

    ours = {
        f"seedlab/{each.relative_to(ROOT / 'seedlab').as_posix()}"
        for each in (ROOT / "seedlab").rglob("*")
        if each.is_file() and "__pycache__" not in each.parts
    }
    notebooks = {f"seedlab/_notebooks/{each.name}" for each in (ROOT / "notebooks").glob("*.ipynb")}
    assert {each for each in found if ".dist-info/" not in each} == ours | notebooks


@pytest.mark.slow
def test_an_installed_package_finds_its_notebooks(unpacked: Path, tmp_path: Path) -> None:
    ask = "from seedlab.insight.notebooks import runner; print(runner.find('seed').path)"

    done = subprocess.run(
        [sys.executable, "-c", ask],
        cwd=tmp_path, env={"PYTHONPATH": str(unpacked)}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    path = Path(done.stdout.strip())
    assert path == unpacked / "seedlab" / "_notebooks" / "01-seed.ipynb"
    assert path.is_file()
