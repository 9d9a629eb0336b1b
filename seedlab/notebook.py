"""What notebooks call, a function a question: what a command does, with values in its place of text.

Works wherever a notebook stands: below the project, beside it, or run by `seedlab report`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from seedlab import contract
from seedlab.errors import ConfigurationError
from seedlab.flow import Project, Run
from seedlab.insight import history
from seedlab.insight.parameters import SeedParameters
from seedlab.plan.project import find_home

__all__ = ["SeedParameters", "seed"]


def seed(asked: SeedParameters) -> Run:
    """Seed, show it while it lasts, and keep the record."""
    project = _project(asked.project)
    run = contract.seed(
        project,
        _target(asked.target),
        environment=asked.environment or None,
        level=asked.level,
        force=asked.force,
    )
    run = replace(run, args=("notebook", "01-seed"))
    history.write(run, reports())
    return run


def reports() -> Path:
    """Where records are: SEEDLAB_REPORTS, else `reports` beside the configuration that counts here."""
    named = os.environ.get("SEEDLAB_REPORTS")
    return Path(named) if named else _home() / "reports"


def _home() -> Path:
    """Where commands would be typed: Jupyter stands in the notebook's folder, often one below."""
    try:
        return find_home(Path.cwd())
    except ConfigurationError:  # a project without configuration, named by its folder
        return Path.cwd()


def _project(named: str) -> Project:
    """Load the project in a folder named from here, or from where commands would be typed."""
    beside = _home() / named
    return contract.load_project(beside if named and beside.is_dir() else named or None)


def _target(named: str) -> str | None:
    """Give what `$NAME` holds, a name or a URL; nothing: as the project and the environment say."""
    if not named.startswith("$"):
        return named or None
    found = os.environ.get(named[1:])
    if not found:
        raise ConfigurationError(f"parameter target: the environment has no variable {named[1:]}")
    return found
