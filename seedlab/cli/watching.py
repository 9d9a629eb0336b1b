"""Watches a project's files, and runs a function whenever some were saved.

The files are polled. The notifications of operating systems differ from each other and miss files that are
saved over a network, and a project has few files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seedlab.errors import ConfigurationError
from seedlab.flow import Project
from seedlab.insight.formatting.text import isolate, printable
from seedlab.insight.records.runs import INTERRUPTED
from seedlab.plan.folder import COMPRESSIONS, FORMATS
from seedlab.plan.project import load_project

TICK = 0.2  # seconds between two polls
_CODE = frozenset({".py", ".toml"})
_ENDINGS = frozenset({*FORMATS, *COMPRESSIONS, *_CODE})
_FOREIGN = frozenset({"__pycache__", "node_modules"})
_NAMES_SHOWN = 3
# Exit codes after which saving a file may help. A first run with another code failed for a reason outside of
# the project's files.
_FIXABLE_BY_SAVING = frozenset({0, 2, 3})

Stamp = tuple[int, int, int]  # time of modification (ns), size, inode: saving a file changes one of them
Stamps = Mapping[str, Stamp]  # by the file's name in the project


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A file that differs from the previous poll, and how."""

    name: str
    what: Literal["changed", "added", "removed"]


# ---- files ----------------------------------------------------------------------------------------------


class Folder:
    """The files of a project; `reports` is the folder of its runs' records, which is not watched."""

    def __init__(self, project: Project, reports: str | Path) -> None:
        self._root = project.root
        self._reports = Path(reports).resolve()
        self._files = _files_of(project)

    def look(self) -> Stamps:
        """Return the stamps of all files that belong to the project, or might after an edit of it."""
        paths = {self._root / name for name in self._files} | set(_walk(self._root))
        own = (path for path in paths if not path.is_relative_to(self._reports))
        return dict(_stamped(self._root, own))

    def concerning(self, saved: Sequence[Saved]) -> tuple[Saved, ...]:
        """Select the saved files that a run depends on: data files, before or now, and Python and TOML."""
        known = self._files
        try:
            self._files = _files_of(load_project(self._root))
        except ConfigurationError:
            return tuple(saved)  # one of them may be the cause, which the run will report
        known |= self._files
        return tuple(each for each in saved if each.name in known or Path(each.name).suffix in _CODE)


def _files_of(project: Project) -> frozenset[str]:
    return frozenset(file.name for seed in project.every_seed for file in seed.files)


def _walk(folder: Path) -> Iterator[Path]:
    """Find files with known endings; hidden folders, virtual environments and the like are skipped."""
    with suppress(OSError):  # the folder may have been deleted meanwhile
        entries = list(os.scandir(folder))
        if any(entry.name == "pyvenv.cfg" for entry in entries):
            return
        for entry in entries:
            if entry.name.startswith((".", "_seedlab")) or entry.name in _FOREIGN:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            elif Path(entry.name).suffix.lower() in _ENDINGS:
                yield Path(entry.path)


def _stamped(root: Path, paths: Iterable[Path]) -> Iterator[tuple[str, Stamp]]:
    for path in paths:
        with suppress(OSError):
            found = path.stat()
            yield path.relative_to(root).as_posix(), (found.st_mtime_ns, found.st_size, found.st_ino)


def changes(before: Stamps, now: Stamps) -> tuple[Saved, ...]:
    """Return the differences between two polls, by name."""
    both = before.keys() & now.keys()
    found = [
        *(Saved(name=name, what="changed") for name in both if before[name] != now[name]),
        *(Saved(name=name, what="added") for name in now.keys() - both),
        *(Saved(name=name, what="removed") for name in before.keys() - both),
    ]
    return tuple(sorted(found, key=lambda each: each.name))


# ---- runs -----------------------------------------------------------------------------------------------


def saves(
    look: Callable[[], Stamps], sleep: Callable[[float], None] = time.sleep
) -> Iterator[tuple[Saved, ...]]:
    """Yield an empty tuple at the beginning, then the saved files whenever there are some.

    Files count as saved once they have not changed for a tick, so that none is read half-written. Files saved
    while the caller is at work are yielded next.
    """
    seen = look()
    yield ()
    while True:
        sleep(TICK)
        found = look()
        if found == seen:
            continue
        while True:
            sleep(TICK)
            later = look()
            if later == found:
                break
            found = later
        saved, seen = changes(seen, found), found
        if saved:
            yield saved


def watch(
    folder: Folder,
    run: Callable[[tuple[Saved, ...]], int],
    begun: Callable[[], None],
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Call `run` now and whenever files were saved, until interrupted; return the last exit code.

    `begun` is called after the first run. If the first run fails for a reason outside of the project's files,
    watching ends.
    """
    code = 0
    with suppress(KeyboardInterrupt):
        for saved in saves(folder.look, sleep):
            concerning = folder.concerning(saved)
            if saved and not concerning:
                continue
            code = run(concerning)
            if code == INTERRUPTED or not (saved or code in _FIXABLE_BY_SAVING):
                break
            if not saved:
                begun()
    return code


# ---- text -----------------------------------------------------------------------------------------------


def heading(saved: Sequence[Saved], clock: Callable[[], time.struct_time] = time.localtime) -> str:
    """Word when which files were saved: `14:03:07  cities.csv changed`; "" if none were."""
    by_kind: dict[str, list[str]] = {}
    for each in saved:
        by_kind.setdefault(each.what, []).append(isolate(printable(each.name)))
    text = ", ".join(f"{_few(names)} {what}" for what, names in by_kind.items())
    return f"{time.strftime('%H:%M:%S', clock())}  {text}" if text else ""


def _few(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:_NAMES_SHOWN])} and {more:,} more"
