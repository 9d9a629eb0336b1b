"""Finds the commit of a project's git repository.

It is read from git's own files, because a git process takes longer than a run with nothing to do. Nothing
else is read outside of the project's folder.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")  # SHA-1 or SHA-256
_LINKS = 5  # how many symbolic references are followed, as by git


def commit_of(folder: Path) -> str | None:
    """Return the full hash of the commit that is checked out in a folder, whatever is uncommitted.

    None outside of a repository, and if git stores references in a format that is not known here. Takes some
    50 µs; to check first whether the files exist would double that.
    """
    previous, current = "", os.path.realpath(folder)
    while current != previous:  # the parent of the root is the root
        if _text(f"{current}/.git/HEAD"):
            return _resolved(f"{current}/.git", "HEAD")
        word, _, path = _text(f"{current}/.git").partition(": ")
        if word == "gitdir":  # a worktree or a submodule
            return _resolved(os.path.join(current, path), "HEAD")  # noqa: PTH118 - a Path costs as much as a file
        previous, current = current, os.path.dirname(current)  # noqa: PTH120
    return None


def _resolved(git_dir: str, name: str) -> str | None:
    """Resolve a reference to a commit: first in the worktree's own files, then in the shared ones."""
    shared = _text(f"{git_dir}/commondir")
    common_dir = os.path.join(git_dir, shared) if shared else git_dir  # noqa: PTH118
    for _ in range(_LINKS):
        found = _text(f"{git_dir}/{name}") or _text(f"{common_dir}/{name}") or _packed(common_dir, name)
        if not found.startswith("ref: "):
            return found if _HASH.fullmatch(found) else None
        name = found.removeprefix("ref: ")
    return None


def _packed(common: str, name: str) -> str:
    lines = _text(f"{common}/packed-refs").splitlines()
    return next((line.split(" ")[0] for line in lines if line.endswith(f" {name}")), "")


def _text(path: str) -> str:
    """Read a file; return "" if it does not exist or is not text."""
    with suppress(OSError, ValueError), open(path, encoding="utf-8") as file:  # noqa: PTH123 - faster
        return file.read().strip()
    return ""
