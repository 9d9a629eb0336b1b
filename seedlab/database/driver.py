"""psycopg, ready to be imported in less time.

When it is imported it asks the installed metadata for its own version, for which importlib.metadata and the
parser of e-mail are imported: 20 ms. The name of the folder beside it says the same.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_PACKAGES = ("psycopg", "psycopg_binary", "psycopg_c")  # the last two are its faster half, where installed


def know_version() -> None:
    """Say which version psycopg is before it asks; where the folder does not tell, it asks as ever."""
    if "psycopg" in sys.modules:
        return
    for package in _PACKAGES:
        if (version := _installed(package)) is not None:
            module = ModuleType(f"{package}.version")
            module.__dict__["__version__"] = version
            sys.modules[module.__name__] = module


def _installed(package: str) -> str | None:
    """The version by the one folder of metadata beside a package."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    found = [each.name for each in Path(spec.origin).parents[1].glob(f"{package}-*.dist-info")]
    return found[0].removeprefix(f"{package}-").removesuffix(".dist-info") if len(found) == 1 else None
