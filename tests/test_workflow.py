"""The ready GitHub Actions workflow: what it calls exists, and what it keeps is kept whatever happens."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from seedlab.cli.arguments import build_parser
from seedlab.insight.notebooks import parameters
from seedlab.insight.notebooks import runner as notebooks

FILE = Path(__file__).parent.parent / "docs" / "ci-github-actions.yml"


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text("utf-8"))["jobs"]["seed"]


def steps(job: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return [step for step in job["steps"] if key in step]


def test_every_seedlab_command_is_one_the_tool_understands(job: dict[str, Any]) -> None:
    commands = [step["run"] for step in steps(job, "run") if step["run"].startswith("seedlab")]

    asked = [build_parser().parse_args(shlex.split(command)[1:]) for command in commands]

    assert [args.notebook for args in asked] == ["01-seed", "04-before-after"]
    for args in asked:
        given = dict(pair.split("=", 1) for pair in args.parameter)
        parameters.from_text(notebooks.find(args.notebook).parameters, given)


def test_reports_are_kept_and_told_of_failed_runs_too(job: dict[str, Any]) -> None:
    (upload,) = (step for step in steps(job, "uses") if "upload-artifact" in step["uses"])
    comment = job["steps"][-1]

    assert upload["if"] == "always()"
    assert comment["if"].startswith("always() && ")
    for out in re.findall(r"--out (\S+)", FILE.read_text("utf-8")):
        assert out.startswith(upload["with"]["path"])


def test_nothing_that_others_may_name_becomes_a_part_of_a_command(job: dict[str, Any]) -> None:
    """A branch may be called `$(rm -rf .)`."""
    assert [step["run"] for step in steps(job, "run") if "${{" in step["run"]] == []
