"""The hook for `seedlab check`, run by pre-commit itself in a git repository."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.recipe import ROOT, Recipe

MODELS = """
from sqlalchemy import Column, Date, MetaData, Table, Text

metadata = MetaData()
days = Table("days", metadata, Column("name", Text, primary_key=True), Column("day", Date, nullable=False))
"""


def published() -> dict[str, Any]:
    """The hook of seedlab's repository, without the environment that pre-commit would make for it."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert hook["language"] == "python"
    local = {"repo": "local", "hooks": [hook | {"language": "system", "args": ["data"]}]}
    return {"repos": [local]}


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A repository with a project whose files are right."""
    recipe = Recipe("pre-commit", tmp_path / "repository", "sqlite:///none.db", app="alembic")
    for name, text in {
        "models.py": MODELS,
        "seedlab.toml": '[project]\nname = "days"\nschema = "models.py:metadata"\n',
        "days.csv": "name,day\nfirst,2025-01-01\n",
    }.items():
        (recipe.folder / "data").mkdir(exist_ok=True)
        (recipe.folder / "data" / name).write_text(text, "utf-8")
    recipe.run("git init -q . && git add -A")
    return recipe


def commit(recipe: Recipe) -> tuple[int, str]:
    """Run the hooks as a commit would: exit code, and what they say."""
    done = subprocess.run(
        ["bash", "-ec", "git add -A && pre-commit run --color never"],
        cwd=recipe.folder,
        env=recipe.environ() | {"PRE_COMMIT_HOME": str(recipe.folder.parent / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("documented", [True, False], ids=["of-the-document", "of-the-repository"])
def test_a_commit_with_a_fault_in_the_data_is_stopped(recipe: Recipe, documented: bool) -> None:
    config = recipe.workflow if documented else published()
    (recipe.folder / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config), "utf-8")

    right = commit(recipe)
    (recipe.folder / "data" / "days.csv").write_text("name,day\nfirst,2025-01-01\nsecond,\n", "utf-8")
    wrong = commit(recipe)

    assert right[0] == 0, right[1]
    assert "seedlab check" in right[1]
    assert "Passed" in right[1]
    assert wrong[0] == 1
    assert "days.csv:3: not-null: column day of table days is NOT NULL, and the value is missing" in wrong[1]


@pytest.mark.slow
def test_a_commit_without_data_does_not_wait_for_the_hook(recipe: Recipe) -> None:
    (recipe.folder / ".pre-commit-config.yaml").write_text(yaml.safe_dump(recipe.workflow), "utf-8")
    recipe.run("git -c user.name=a -c user.email=a@b commit -qm all && echo change > README.md")

    code, told = commit(recipe)

    assert (code, "no files to check" in told) == (0, True), told
