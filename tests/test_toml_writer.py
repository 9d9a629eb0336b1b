"""Projects spelled as TOML, and read back."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from seedlab.flow import Project
from seedlab.plan.project import load_project
from seedlab.plan.toml_writer import to_toml

ACADEMY = Path(__file__).parents[1] / "data"
EVERYTHING = """\
[project]
name = "all \\"of\\" it\\u007f"
schema = "models.py:metadata"
transforms = "code.py"

[targets."my db"]
url = "${URL}"
environment = "ci"

[environments.ci]
subset = { "odd.table" = 2 }
protected = true
select = ["tag:a"]

[environments.production]
protected = false

[settings]
lock_timeout = "5s"
disable = ["copy", "cache"]
workers = 2

[[stages]]
id = "one"
name = "The first"
conditions = ["empty:t"]
parallel = false
  [[stages.seeds]]
  name = "s"
  source = ["a.csv", "b.csv"]
  priority = "critical"
  estimated_ms = 5
  environments = ["ci"]
  tags = ["a", "ב"]
  mode = "insert"
  duplicates = "first"
  transform = "expand"
  [stages.seeds.tables]
  "odd.table" = { key = ["x.y", "z"], columns = { z = "$index" } }
  u = { path = "us", parent = "t" }

[[stages]]
id = "two"
dependencies = ["one"]
  [[stages.seeds]]
  name = "t"
  source = "a.csv"
"""


def without_lines(project: Project) -> Project:
    """The project without where it was said."""
    stages = tuple(
        replace(
            stage,
            place=None,
            seeds=tuple(
                replace(seed, tables=tuple(replace(spec, place=None) for spec in seed.tables))
                for seed in stage.seeds
            ),
        )
        for stage in project.stages
    )
    targets = {name: replace(target, place=None) for name, target in project.targets.items()}
    return replace(project, stages=stages, targets=targets)


def test_everything_that_can_be_said_is_read_back_as_it_was(tmp_path: Path) -> None:
    for name in ("models.py", "code.py", "a.csv", "b.csv"):
        (tmp_path / name).touch()
    (tmp_path / "seedlab.toml").write_text(EVERYTHING, encoding="utf-8")
    project = load_project(tmp_path)

    (tmp_path / "seedlab.toml").write_text(to_toml(project), encoding="utf-8")
    assert without_lines(load_project(tmp_path)) == without_lines(project)


def test_the_academy_is_read_back_as_it_was(tmp_path: Path) -> None:
    shutil.copytree(ACADEMY, tmp_path / "data", ignore=shutil.ignore_patterns("__pycache__"))
    project = load_project(tmp_path / "data")

    (tmp_path / "data" / "seedlab.toml").write_text(to_toml(project), encoding="utf-8")
    assert without_lines(load_project(tmp_path / "data")) == without_lines(project)


def test_what_equals_the_default_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "t.csv").touch()
    said = '[project]\nname = "p"\n\n[[stages]]\nid = "s"\n\n  [[stages.seeds]]\n  name = "t"\n  source = "t.csv"\n'
    (tmp_path / "seedlab.toml").write_text(said)

    assert to_toml(load_project(tmp_path)) == said


def test_a_table_that_the_file_is_not_named_after_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").touch()
    said = '[project]\nname = "p"\n\n[[stages]]\nid = "s"\n\n  [[stages.seeds]]\n  name = "t"\n  source = "t.csv"\n  table = "a/b"\n'
    (tmp_path / "seedlab.toml").write_text(said)

    assert to_toml(load_project(tmp_path)) == said
