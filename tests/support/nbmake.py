"""Small notebooks for tests, as Jupyter would save them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_notebook(path: Path, *cells: str, parameters: str = "") -> Path:
    """Write a notebook: a text that begins with `#` and a blank is Markdown, any other one code."""
    made = [_cell(number, text) for number, text in enumerate(cells)]
    if parameters:
        made.insert(0, {**_cell(len(cells), parameters), "metadata": {"tags": ["parameters"]}})
    kernel = {"name": "of-another-machine", "display_name": "Python", "language": "python"}
    notebook = {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook), "utf-8")
    return path


def _cell(number: int, text: str) -> dict[str, Any]:
    cell = {"id": f"cell-{number}", "metadata": {}, "source": text}
    if text.startswith("# "):
        return {"cell_type": "markdown", **cell}
    return {"cell_type": "code", "execution_count": None, "outputs": [], **cell}


def outputs_of(path: Path) -> list[dict[str, Any]]:
    """All outputs of an executed notebook, in order."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return [output for cell in cells for output in cell.get("outputs", ())]
