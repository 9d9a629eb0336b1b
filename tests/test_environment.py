"""`environment.yml` brings what `pyproject.toml` asks for, in the same versions."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
CONDA_NAMES = {"matplotlib-base": "matplotlib", "python-xxhash": "xxhash"}  # where conda's differ from PyPI's
NOT_IN_PYPROJECT = {"pip"}  # conda has to be told
NOT_FOR_WORK = {"bench"}  # tools that ours is measured beside


def versions(requirements: list[str]) -> dict[str, str]:
    """Version specifiers by canonical name."""
    parsed = map(Requirement, requirements)
    return {canonicalize_name(CONDA_NAMES.get(each.name, each.name)): str(each.specifier) for each in parsed}


def test_conda_gets_what_pyproject_asks_for():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    groups = project["optional-dependencies"]
    extras = [each for name, group in groups.items() if name not in NOT_FOR_WORK for each in group]
    asked = [*pyproject["build-system"]["requires"], *project["dependencies"], *extras]
    asked = [each for each in asked if Requirement(each).name != project["name"]]

    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (by_pip,) = (each["pip"] for each in conda if isinstance(each, dict))
    given = [each for each in (*conda, *by_pip) if isinstance(each, str) and not each.startswith("-e ")]

    expected = versions(asked) | {"python": project["requires-python"]}
    assert {k: v for k, v in versions(given).items() if k not in NOT_IN_PYPROJECT} == expected


def test_conda_installs_this_package_itself():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())

    assert "-e ." in conda["dependencies"][-1]["pip"]
    assert conda["name"] == "seedlab"
