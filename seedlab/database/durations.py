"""Parse durations in PostgreSQL's notation."""

from __future__ import annotations

import re

from seedlab.errors import ConfigurationError

_UNITS = {"": 1, "us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


def milliseconds(timeout: str) -> int:
    """Parse a duration: `10s`, `500ms`, `2min`, or a number of milliseconds. Raises ConfigurationError."""
    match = re.fullmatch(r"\s*(\d+)\s*([a-z]*)\s*", timeout)
    if match is None or match[2] not in _UNITS:
        raise ConfigurationError(
            f"'{timeout}' is not a duration; expected a number and a unit (us, ms, s, min, h, d), like 10s"
        )
    return int(int(match[1]) * _UNITS[match[2]])
