"""Facts about the machine and the packages, on which the times of a run depend."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

PACKAGES = ("seedlab", "polars", "psycopg", "sqlalchemy")


@cache
def machine() -> Mapping[str, object]:
    """Return the facts of this machine that do not change."""
    system = os.uname()
    return {
        "cpu": _cpu_model() or system.machine,
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "os": f"{system.sysname} {system.release} {system.machine}",
        # Spelled as by `platform`, whose import takes 2 ms.
        "python": f"{'PyPy' if 'PyPy' in sys.version else 'CPython'} {sys.version.split()[0]}",
    }


def versions() -> dict[str, str]:
    """Return the versions of loaded packages, without importlib.metadata, which takes 10 ms."""
    found = {name: getattr(sys.modules.get(name), "__version__", None) for name in PACKAGES}
    return {name: str(version) for name, version in found.items() if version}


def _cpu_model() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
            return next(models, "")
    except OSError:
        return ""


def load_average() -> float | None:
    """Return the average number of running and waiting processes over the last minute."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None
