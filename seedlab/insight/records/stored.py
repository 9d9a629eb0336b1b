"""Finds a stored record by its file, its folder, its id, the beginning of its id, or `last`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from seedlab.errors import ConfigurationError
from seedlab.insight.records import files
from seedlab.insight.records.past import read_past

Kept = Literal["run", "profile"]
_T = TypeVar("_T")


def find(name: str, reports: Path, kind: Kept = "run") -> Path:
    """Find a record. Raises ConfigurationError if the name matches none, or several."""
    path = record_at(name, kind)
    return path or one_of(name, _known(reports, kind), kind, (reports,))


def is_known(name: str, reports: Path) -> bool:
    """Tell whether a name matches at least one run."""
    return record_at(name, "run") is not None or any(_matching(name, _known(reports, "run")))


def record_at(name: str, kind: Kept) -> Path | None:
    """Return the path of the record if `name` is the path of its file or folder; else None."""
    file, inside = Path(name), Path(name, f"{kind}.json")
    if file.suffix == ".json" and file.is_file():
        return file
    return inside if inside.is_file() else None


def one_of(name: str, known: Sequence[tuple[str, _T]], kind: Kept, folders: Iterable[Path]) -> _T:
    """Return the record that a name matches among `known`, which are (id, record), oldest first.

    Raises as `find`.
    """
    found = _matching(name, known)
    if len(found) == 1:
        return found[0][1]
    if found:
        ids = ", ".join(each for each, _ in found[-5:])
        raise ConfigurationError(f"{len(found)} {kind}s begin with '{name}': {ids}; name one of them")
    where = ", ".join(map(str, folders))
    last = f"; the last one there is {known[-1][0]}" if known else ""
    listed = "; see seedlab history" if kind == "run" else ""
    raise ConfigurationError(f"no {kind} '{name}' is on record below {where}{last}{listed}")


def _matching(name: str, known: Sequence[tuple[str, _T]]) -> list[tuple[str, _T]]:
    if name == "last":
        return list(known[-1:])
    beginning = files.name_in(name)  # `name` may be that of the record's folder, which a seed prints
    return [each for each in known if each[0].startswith(beginning)] if beginning else []


def _known(reports: Path, kind: Kept) -> list[tuple[str, Path]]:
    if kind == "run":
        return [(run.run_id, run.path) for run in read_past(reports)[0]]
    return [
        (files.name_in(path.parent.name), path) for path in sorted(reports.glob("profiles/*/profile.json"))
    ]
