"""What `init` writes is a project that works, and nothing of the user's is written over."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
import sqlalchemy

from seedlab.errors import ConfigurationError
from seedlab.plan import scaffold, scripts
from seedlab.plan.project import load_project


@pytest.fixture
def made(tmp_path: Path) -> Path:
    scaffold.write(tmp_path / "my library", scaffold.files("my library"))
    return tmp_path / "my library"


def test_the_scaffold_is_a_project(made: Path) -> None:
    project = load_project(made)

    assert project.name == "my library"
    assert [(stage.id, stage.dependencies) for stage in project.stages] == [
        ("people", ()),
        ("library", ("people",)),
    ]
    assert [spec.table for stage in project.stages for seed in stage.seeds for spec in seed.tables] == [
        "authors",
        "books",
        "chapters",
    ]
    assert {file.format for stage in project.stages for seed in stage.seeds for file in seed.files} == {
        "csv",
        "yaml",
    }


def test_the_scaffold_brings_the_schema_that_its_first_line_names(made: Path) -> None:
    text = (made / "seedlab.toml").read_text("utf-8")
    named = text.splitlines()[0].removeprefix("#:schema ")

    jsonschema.validate(tomllib.loads(text), json.loads((made / named).read_text("utf-8")))


def test_the_tables_of_the_scaffold_can_be_made_and_have_the_keys_it_uses(made: Path) -> None:
    metadata = scripts.find_name(made, *scripts.split(load_project(made).schema or ""))
    assert isinstance(metadata, sqlalchemy.MetaData)
    engine = sqlalchemy.create_engine("sqlite://")

    metadata.create_all(engine)

    inspector = sqlalchemy.inspect(engine)
    assert set(inspector.get_table_names()) == {"authors", "books", "chapters"}
    assert inspector.get_unique_constraints("chapters")[0]["column_names"] == ["book_id", "position"]
    engine.dispose()


@pytest.mark.parametrize("name", ['a "quoted" one', "back\\slash", "ספרייה", "new\nline"])
def test_any_name_can_be_written(tmp_path: Path, name: str) -> None:
    scaffold.write(tmp_path, scaffold.files(name))

    assert load_project(tmp_path).name == name


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text("mine")

    with pytest.raises(ConfigurationError, match=r"models.py already exists"):
        scaffold.write(tmp_path, scaffold.files("x"))

    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("models.py", "mine")]


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "README.md").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ConfigurationError, match=r"README.md already exists"):
        scaffold.write(tmp_path, scaffold.files("x"))

    assert not (tmp_path / "elsewhere").exists()


def test_a_file_cannot_become_a_project(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match="expected a folder"):
        scaffold.write(tmp_path / "file", scaffold.files("x"))


def test_what_is_there_beside_stays(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    scaffold.write(tmp_path, scaffold.files("x"))

    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert load_project(tmp_path).stages
