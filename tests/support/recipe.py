"""Follow a section of docs/recipes.md as its reader does: the files it shows, the commands it names."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
APPS = ROOT / "tests" / "recipes"
FILE = re.compile(r"^`(?P<name>[^`\n]+)`:\n\n```\w+\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMANDS = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_YAML = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Recipe:
    """A section of the document, and a copy of the application that it is about."""

    def __init__(self, heading: str, folder: Path, url: str, app: str | None = None) -> None:
        text = (ROOT / "docs" / "recipes.md").read_text("utf-8")
        (self.section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
        self.folder, self.url = folder, url
        shutil.copytree(APPS / (app or heading.lower()), folder, dirs_exist_ok=True)
        for file in FILE.finditer(self.section):
            path = folder / file["name"]
            path.parent.mkdir(exist_ok=True)
            path.write_text(file["text"], "utf-8")

    @property
    def commands(self) -> list[str]:
        """What the section says to type."""
        blocks = _COMMANDS.findall(self.section)
        return [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]

    @property
    def workflow(self) -> Any:
        """What its YAML says."""
        (block,) = _YAML.findall(self.section)
        return yaml.safe_load(block)

    @property
    def python(self) -> dict[str, Any]:
        """What its Python defines."""
        names: dict[str, Any] = {}
        (block,) = _PYTHON.findall(self.section)
        exec(compile(block, "recipes.md", "exec"), names)
        return names

    def run(self, command: str, environ: Mapping[str, str] | None = None) -> str:
        """Run a command as a shell does, and give what it printed; it must succeed."""
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=self.folder,
            env=self.environ() | dict(environ or {}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def seed(self) -> dict[str, int]:
        """Seed as the section says, and give the outcomes."""
        command = next(each for each in self.commands if each.startswith("seedlab "))
        return outcomes(self.run(f"{command} --json"))

    def environ(self) -> dict[str, str]:
        """The environment of a shell in which seedlab is installed and DATABASE_URL is set."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("SEEDLAB_")}
        paths = os.pathsep.join([str(Path(sys.executable).parent), ours.get("PATH", "")])
        where = os.pathsep.join(filter(None, [str(ROOT), ours.get("PYTHONPATH")]))
        return ours | {"DATABASE_URL": self.url, "PATH": paths, "PYTHONPATH": where}


def outcomes(printed: str) -> dict[str, int]:
    """The outcomes of a record that `--json` printed, without zeros."""
    return {name: count for name, count in json.loads(printed)["outcomes"].items() if count}
