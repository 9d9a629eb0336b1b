"""The facts of the machine a run is on, which its times depend on."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

PACKAGES = ("seedlab", "polars", "psycopg", "sqlalchemy")


@cache
def machine() -> Mapping[str, object]:
    """Facts of this machine that do not change."""
    system = os.uname()
    return {
        "cpu": _cpu_model() or system.machine,
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "os": f"{system.sysname} {system.release} {system.machine}",
        # As `platform` spells it, whose import takes 2 ms.
        "python": f"{'PyPy' if 'PyPy' in sys.version else 'CPython'} {sys.version.split()[0]}",
    }


def versions() -> dict[str, str]:
    """Versions of the packages that are loaded; importlib.metadata would take 10 ms."""
    found = {name: getattr(sys.modules.get(name), "__version__", None) for name in PACKAGES}
    return {name: str(version) for name, version in found.items() if version}


def _cpu_model() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
            return next(named, "")
    except OSError:
        return ""


def load_average() -> float | None:
    """Processes that ran or waited to, over the last minute: what else the machine had to do."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None
