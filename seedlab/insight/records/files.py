"""Reads and writes records as JSON files: atomically, and with ConfigurationError for anything unreadable.

Knows nothing of a record's content but `schema_version`, which every record has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from seedlab.errors import ConfigurationError, Place

_Made = TypeVar("_Made")
_compact = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def folder_name(moment: datetime, what: str) -> str:
    """Name the folder of a record so that names sort by time (UTC): `20260301T120000Z-5f0c2a9b`."""
    return f"{moment:%Y%m%dT%H%M%SZ}-{what}"


def name_in(folder: str) -> str:
    """Remove the time from a name that `folder_name` made; other names are returned as they are."""
    return folder.rpartition("Z-")[2]


def write(record: Mapping[str, Any], path: Path, what: str) -> Path:
    """Write a record atomically and return its path; `what` names it in errors.

    Raises ConfigurationError if it cannot be written.
    """
    unfinished = path.with_suffix(".json.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A command line may contain bytes that are not text; they become JSON escapes.
        unfinished.write_bytes(to_json(record).encode("utf-8", "backslashreplace"))
        unfinished.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write the {what}: {error.strerror}; name another directory with --reports",
            Place(file=str(path)),
        ) from error
    return path


def read(
    path: Path,
    make: Callable[[Mapping[str, Any]], _Made],
    *,
    what: str,
    version: int,
    mark: str = "schema_version",
    parse: Callable[[bytes], Any] = json.loads,
) -> _Made:
    """Read a record and convert it by `make`; `what` names it in errors.

    Raises ConfigurationError for a file that cannot be read, lacks the name `mark`, has a schema_version
    greater than `version`, or that `make` cannot convert.
    """
    place = Place(file=str(path))
    try:
        record = parse(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot read the {what}: {error}", place) from error
    found = record.get("schema_version") if isinstance(record, dict) else None
    if not isinstance(found, int) or mark not in record:
        raise ConfigurationError(f"not a {what}: it has no {mark}", place)
    if found > version:
        raise ConfigurationError(
            f"the {what} has schema version {found}, this seedlab reads up to {version};"
            " upgrade seedlab to read it",
            place,
        )
    try:
        return make(record)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"not a whole {what}: {error}", place) from error


def read_newest(paths: Iterable[Path], read: Callable[[Path], _Made], limit: int) -> list[_Made]:
    """Read the records in the `limit` newest folders, newest last; skip those that cannot be read."""
    found = []
    for path in sorted(paths, key=lambda path: path.parent.name)[-limit:]:
        with suppress(ConfigurationError):
            found.append(read(path))
    return found


def to_json(record: Mapping[str, Any]) -> str:
    """Return a record as JSON, with one line per name and per item of a list, without NaN and Infinity.

    `indent=2` would put every number on a line of its own and take three times as long.
    """
    lines = ",\n".join(f"  {_compact(name)}: {_spelled(value)}" for name, value in record.items())
    return f"{{\n{lines}\n}}\n"


def to_line(record: Mapping[str, Any]) -> str:
    """Return a record as one line of JSON Lines."""
    return f"{_compact(record)}\n"


def parse_without(names: Collection[str], data: bytes) -> Any:
    """Parse the output of `to_json` without the values of these names; other JSON is parsed as a whole."""
    first, *parts = data.decode("utf-8").split('\n  "')
    if first != "{" or not parts or not parts[-1].endswith("\n}\n"):
        return json.loads(data)
    parts[-1] = parts[-1].removesuffix("\n}\n")
    kept = (each.removesuffix(",") for each in parts if each.partition('"')[0] not in names)
    return json.loads("{" + ",".join(f'"{each}' for each in kept) + "}")


def _spelled(value: object) -> str:
    if isinstance(value, list) and value:
        return "[\n    " + ",\n    ".join(_compact(item) for item in value) + "\n  ]"
    return _compact(value)
