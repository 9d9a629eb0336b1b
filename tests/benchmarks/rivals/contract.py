"""What every rival does, so that one loop can time them all.

Each is written as one who knows the tool well would write it: it begins with files of the tables' rows, ids and
all, in the form that suits the tool best, and ends with the last commit. Into the form it is brought beforehand.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tests.benchmarks.material import Blind, Material

# quick: seconds for a million rows; slow: minutes, so once; small: longer, so only with few rows.
Pace = Literal["quick", "slow", "small"]

DISTRIBUTIONS = {"psycopg2": "psycopg2-binary"}  # of packages that are named otherwise


class Rival:
    """One way to fill the tables with a material's rows."""

    name: str
    pace: Pace = "quick"
    remark: str = ""  # what it does not do alike
    schema: str = "public"  # where its tables are
    programs: Sequence[str] = ()
    packages: Sequence[str] = ()
    blind_to: Blind = ""  # what it cannot help changing

    material: Material
    url: str
    folder: Path

    def missing(self) -> str | None:
        """What has to be installed before it can run here, if anything."""
        lacking = [name for name in self.programs if shutil.which(name) is None]
        lacking += [name for name in self.packages if not _importable(name)]
        return f"no {', '.join(lacking)}" if lacking else None

    def versions(self) -> dict[str, str]:
        """Of what it uses."""
        found = {name: metadata.version(DISTRIBUTIONS.get(name, name)) for name in self.packages}
        for name in self.programs:
            told = subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout
            found[name] = " ".join(told.split())[:60]
        return found

    def prepare(self, material: Material, url: str, folder: Path) -> None:
        """Take the rows and the place; make what the tool needs. Outside of the clock, once."""
        self.material, self.url, self.folder = material, url, folder
        for name in self.packages:
            import_module(name)

    def reset(self) -> None:
        """Forget the run before, where emptying the tables is not enough. Outside of the clock, before each."""

    def run(self) -> float | None:
        """Fill the empty tables; answer the seconds if another process measured them."""
        raise NotImplementedError

    def verify(self, superuser_url: str) -> None:
        """Compare every row with what seedlab wrote; AssertionError names the tables that differ."""
        self.material.verify(superuser_url, schema=self.schema, blind_to=self.blind_to)


def _importable(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of a parent package
        return False
