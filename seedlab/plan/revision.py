"""The commit of a project's git repository: the only thing that is read outside the project's folder.

Read from git's own files, for a git process takes longer than a run with nothing to do.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")  # SHA-1 or SHA-256
_LINKS = 5  # names that stand for names; git follows as many


def commit_of(folder: Path) -> str | None:
    """Find the commit that is checked out where the folder lies, in full; None outside of a repository.

    None also where git keeps names in a way that we do not know. What is not committed makes no difference.
    Files are opened without a look whether they are there: that would double the cost, some 50 µs.
    """
    above, here = "", os.path.realpath(folder)
    while here != above:  # the root is above itself
        if _text(f"{here}/.git/HEAD"):
            return _resolved(f"{here}/.git", "HEAD")
        word, _, path = _text(f"{here}/.git").partition(": ")
        if word == "gitdir":  # a worktree or a submodule
            return _resolved(os.path.join(here, path), "HEAD")  # noqa: PTH118 - a Path costs as much as a file
        above, here = here, os.path.dirname(here)  # noqa: PTH120
    return None


def _resolved(git: str, name: str) -> str | None:
    """Follow a name to a commit: in the worktree's own files first, then in those all worktrees share."""
    shared = _text(f"{git}/commondir")
    common = os.path.join(git, shared) if shared else git  # noqa: PTH118
    for _ in range(_LINKS):
        found = _text(f"{git}/{name}") or _text(f"{common}/{name}") or _packed(common, name)
        if not found.startswith("ref: "):
            return found if _HASH.fullmatch(found) else None
        name = found.removeprefix("ref: ")
    return None


def _packed(common: str, name: str) -> str:
    lines = _text(f"{common}/packed-refs").splitlines()
    return next((line.split(" ")[0] for line in lines if line.endswith(f" {name}")), "")


def _text(path: str) -> str:
    """Read a file; one that is not there, or holds no text, is empty."""
    with suppress(OSError, ValueError), open(path, encoding="utf-8") as file:  # noqa: PTH123 - faster
        return file.read().strip()
    return ""
