"""A place to work at, as a user has it: a small project, the notebooks beside it, runs on record."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from seedlab.plan import scaffold

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
# Little work for each of them; `run` and `before` need runs on record.
TINY: Mapping[str, Mapping[str, str]] = {
    "01-seed": {"level": "copy"},
    "02-profile-phases": {"levels": "bulk,incremental", "pairs": "2"},
    "03-bottlenecks": {"run": "last"},
    "04-before-after": {"before": "bulk", "after": "copy", "pairs": "1", "max_pairs": "1"},
    "05-history": {"project": "library"},
}


def workplace(root: Path) -> Path:
    """Make a root with a `pyproject.toml` that points to the project, `library`: 8 rows."""
    (root / "pyproject.toml").write_text('[tool.seedlab]\nproject = "library"\n')
    scaffold.write(root / "library", scaffold.files("library"))
    return root


def copied(root: Path) -> list[Path]:
    """Copy the notebooks into the root, as they are but for tiny parameters; gives their paths."""
    (root / "notebooks").mkdir()
    made = []
    for name, parameters in TINY.items():
        path = Path(shutil.copy(NOTEBOOKS / f"{name}.ipynb", root / "notebooks"))
        path.write_text(json.dumps(_with(json.loads(path.read_text("utf-8")), parameters)), "utf-8")
        made.append(path)
    return made


def _with(notebook: dict[str, object], parameters: Mapping[str, str]) -> dict[str, object]:
    (cell,) = (each for each in notebook["cells"] if "parameters" in each["metadata"].get("tags", ()))
    text = "".join(cell["source"])
    for name, value in parameters.items():
        spelled = value if value.isdecimal() else repr(value)
        text, found = re.subn(rf"^{name} = [^#\n]*", f"{name} = {spelled}  ", text, flags=re.MULTILINE)
        assert found == 1, name
    cell["source"] = text
    return notebook
