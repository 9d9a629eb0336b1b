"""Watch a project: what of it was saved since the last look, and a run for each time something was.

Files are looked at again and again rather than asked for by the system's own means: those differ by system,
miss what is saved over a network, and the files of a project are few.
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
from seedlab.insight.faces.text import isolate, printable
from seedlab.insight.records.runs import INTERRUPTED
from seedlab.plan.folder import COMPRESSIONS, FORMATS
from seedlab.plan.project import load_project

TICK = 0.2  # seconds between two looks
_OF_EVERY_PROJECT = frozenset({".py", ".toml"})
_ENDINGS = frozenset({*FORMATS, *COMPRESSIONS, *_OF_EVERY_PROJECT})
_FOREIGN = frozenset({"__pycache__", "node_modules"})
_NAMES_SHOWN = 3
# A first run that ends otherwise has a cause outside the project's files: no saving would mend it.
_MENDED_BY_SAVING = frozenset({0, 2, 3})

Stamp = tuple[int, int, int]  # modified (ns), size, inode: a file saved anew differs in one of them
Stamps = Mapping[str, Stamp]  # by the file's name in the project


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A file, and what became of it since the last look."""

    name: str
    what: Literal["changed", "added", "removed"]


# ---- what was saved -------------------------------------------------------------------------------------


class Folder:
    """The files of a project, looked at whenever asked; `reports` is where its runs are recorded."""

    def __init__(self, project: Project, reports: str | Path) -> None:
        self._root = project.root
        self._reports = Path(reports).resolve()
        self._files = _files_of(project)

    def look(self) -> Stamps:
        """Stamp the files that belong to the project, or would if a configuration named them."""
        paths = {self._root / name for name in self._files} | set(_walk(self._root))
        own = (path for path in paths if not path.is_relative_to(self._reports))
        return dict(_stamped(self._root, own))

    def concerning(self, saved: Sequence[Saved]) -> tuple[Saved, ...]:
        """Pick the saved files that a run depends on: data files, before or now, and all Python and TOML."""
        known = self._files
        try:
            self._files = _files_of(load_project(self._root))
        except ConfigurationError:
            return tuple(saved)  # one of them may be why; the run will tell
        known |= self._files
        return tuple(
            each for each in saved if each.name in known or Path(each.name).suffix in _OF_EVERY_PROJECT
        )


def _files_of(project: Project) -> frozenset[str]:
    return frozenset(file.name for seed in project.every_seed for file in seed.files)


def _walk(folder: Path) -> Iterator[Path]:
    """Find files with the right endings; hidden folders, virtual environments and the like are passed by."""
    with suppress(OSError):  # it may be gone by now
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
    """Say what differs between two looks, by name."""
    both = before.keys() & now.keys()
    found = [
        *(Saved(name=name, what="changed") for name in both if before[name] != now[name]),
        *(Saved(name=name, what="added") for name in now.keys() - both),
        *(Saved(name=name, what="removed") for name in before.keys() - both),
    ]
    return tuple(sorted(found, key=lambda each: each.name))


# ---- when to run ----------------------------------------------------------------------------------------


def saves(
    look: Callable[[], Stamps], sleep: Callable[[float], None] = time.sleep
) -> Iterator[tuple[Saved, ...]]:
    """Give nothing for the beginning, then what was saved, whenever something was.

    Files are taken as saved when they stay the same for a tick, so that none is read while half is there.
    What is saved while the taker is at work is given next.
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
    """Run, and run again whenever something was saved, until interrupted; gives the last run's exit code.

    `begun` is called after the first run. A first run that fails for another reason than the project's files
    ends it.
    """
    code = 0
    with suppress(KeyboardInterrupt):
        for saved in saves(folder.look, sleep):
            concerning = folder.concerning(saved)
            if saved and not concerning:
                continue
            code = run(concerning)
            if code == INTERRUPTED or not (saved or code in _MENDED_BY_SAVING):
                break
            if not saved:
                begun()
    return code


# ---- how it reads ---------------------------------------------------------------------------------------


def heading(saved: Sequence[Saved], clock: Callable[[], time.struct_time] = time.localtime) -> str:
    """Say when what was saved: `14:03:07  cities.csv changed`; "" where nothing was."""
    by_kind: dict[str, list[str]] = {}
    for each in saved:
        by_kind.setdefault(each.what, []).append(isolate(printable(each.name)))
    told = ", ".join(f"{_few(names)} {what}" for what, names in by_kind.items())
    return f"{time.strftime('%H:%M:%S', clock())}  {told}" if told else ""


def _few(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:_NAMES_SHOWN])} and {more:,} more"
