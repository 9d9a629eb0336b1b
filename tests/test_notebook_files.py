"""The notebooks as they lie in git: thin, stripped, their parameters those that the runner checks."""

from __future__ import annotations

import ast
import io
import json
import tokenize
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from seedlab.insight.notebooks import parameters
from seedlab.insight.notebooks import runner as notebooks

FOLDER = Path(__file__).parent.parent / "notebooks"
FILES = sorted(FOLDER.glob("*.ipynb"))
LINES_OF_A_CELL = 3
LOGIC = (
    ast.FunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.For,
    ast.While,
    ast.If,
    ast.Try,
    ast.With,
    ast.comprehension,
)

each_notebook = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def soiled(notebook: dict[str, Any]) -> list[str]:
    """What a run or an editor has left in a notebook."""
    found = [
        f"metadata: {name}" for name in notebook["metadata"] if name not in ("kernelspec", "language_info")
    ]
    found += [f"language_info: {name}" for name in notebook["metadata"]["language_info"] if name != "name"]
    for cell in notebook["cells"]:
        found += [f"{cell['id']}: metadata {name}" for name in cell["metadata"] if name != "tags"]
        found += [f"{cell['id']}: {name}" for name in ("outputs", "execution_count") if cell.get(name)]
    return found


def thick(notebook: dict[str, Any]) -> list[str]:
    """Cells with more lines, or with more in them, than calls of the package."""
    found = []
    for cell in code_cells(notebook):
        if "parameters" not in cell["metadata"].get("tags", ()):
            lines = [line for line in source(cell).splitlines() if line.strip()]
            if len(lines) > LINES_OF_A_CELL:
                found.append(f"{cell['id']}: {len(lines)} lines")
        found += [
            f"{cell['id']}: {type(node).__name__}"
            for node in ast.walk(ast.parse(source(cell)))
            if isinstance(node, LOGIC)
        ]
    return found


@each_notebook
def test_a_notebook_is_stripped(path: Path) -> None:
    assert soiled(read(path)) == []


@each_notebook
def test_a_notebook_is_thin(path: Path) -> None:
    assert thick(read(path)) == []


@each_notebook
def test_every_question_has_a_heading_and_every_cell_a_name(path: Path) -> None:
    cells = read(path)["cells"]

    assert source(cells[0]).startswith("# ")
    assert all(source(cell).startswith("## ") for cell in cells[1:] if cell["cell_type"] == "markdown")
    assert all(cell["id"].replace("-", "").isalpha() for cell in cells), "ids that a diff can be read by"
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert cells[-1]["cell_type"] == "code"


@each_notebook
def test_a_notebook_names_no_place_of_the_network(path: Path) -> None:
    assert "://" not in "".join(map(source, read(path)["cells"]))


@each_notebook
def test_the_parameters_are_those_of_the_runner_with_a_word_on_each(path: Path) -> None:
    (cell,) = (cell for cell in code_cells(read(path)) if cell["metadata"].get("tags") == ["parameters"])

    own, checked = parameters.of_cell(source(cell)), notebooks.find(path.stem).parameters
    assert [(each.name, each.default) for each in fields(own)] == [
        (each.name, each.default) for each in fields(checked)
    ]
    tokens = tokenize.generate_tokens(io.StringIO(source(cell)).readline)
    assert [token.type for token in tokens].count(tokenize.COMMENT) == len(fields(checked))


@each_notebook
def test_the_reference_has_its_parameters(path: Path) -> None:
    text = (FOLDER.parent / "docs" / "reference.md").read_text("utf-8")
    (row,) = (line for line in text.splitlines() if line.startswith(f"| `{path.stem}` |"))

    told = [word.strip(" `|") for word in row.rpartition(" | ")[2].split(",")]
    assert told == [each.name for each in fields(notebooks.find(path.stem).parameters)]


@each_notebook
def test_the_first_cell_after_them_checks_every_one(path: Path) -> None:
    kind = notebooks.find(path.stem).parameters

    assert source(code_cells(read(path))[1]) == (
        f"from seedlab import notebook\n\nasked = notebook.{kind.__name__}.of(globals())"
    )


def test_every_notebook_has_parameters_and_every_kind_a_notebook() -> None:
    assert [path.stem for path in FILES] == list(notebooks.NAMES)


def test_what_a_run_leaves_and_what_is_not_thin_is_seen() -> None:
    cell = {
        "id": "x",
        "cell_type": "code",
        "metadata": {"papermill": {}},
        "source": "def f():\n  pass\n\n1\n2",
    }
    notebook = {
        "cells": [{**cell, "outputs": [{}], "execution_count": 1}],
        "metadata": {"papermill": {}, "language_info": {"name": "python", "version": "3.11"}},
    }

    assert soiled(notebook) == [
        "metadata: papermill",
        "language_info: version",
        "x: metadata papermill",
        "x: outputs",
        "x: execution_count",
    ]
    assert thick(notebook) == ["x: 4 lines", "x: FunctionDef"]
