"""Checks out git revisions into temporary worktrees, and seeds with a revision's own seedlab."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from seedlab.database.connect import url_of
from seedlab.errors import ConfigurationError, SeedError, masked
from seedlab.flow import Run, Target
from seedlab.insight.records import history

_THIS_SEEDLAB = Path(__file__).parents[2]  # the folder from which this package is imported


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A checked-out revision; `seedlab` is the folder of its own seedlab package, None if it has none."""

    revision: str
    root: Path
    project: Path
    seedlab: Path | None


def is_revision(folder: Path, name: str) -> bool:
    """Tell whether the folder's repository, if it is in one, has a revision of this name."""
    if name.startswith("-"):
        return False
    try:
        _git(folder, "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}")
    except ConfigurationError:
        return False
    return True


@contextmanager
def checked_out(project: Path, revisions: Sequence[str]) -> Iterator[list[Tree]]:
    """Check out revisions into a temporary folder, and remove them afterwards.

    Raises ConfigurationError if the project's folder is not in a repository, or not part of a revision.
    """
    top = Path(_git(project, "rev-parse", "--show-toplevel"))
    inside = project.resolve().relative_to(top.resolve())
    with tempfile.TemporaryDirectory(prefix="seedlab-revisions-") as name:
        try:
            yield [
                _check_out(top, revision, Path(name, str(number)), inside)
                for number, revision in enumerate(revisions)
            ]
        finally:
            for each in Path(name).iterdir():
                with suppress(ConfigurationError):  # the folder is deleted in any case, and git notices
                    _git(top, "worktree", "remove", "--force", str(each))


def _check_out(top: Path, revision: str, root: Path, inside: Path) -> Tree:
    _git(top, "worktree", "add", "--quiet", "--detach", str(root), revision)
    if not (root / inside).is_dir():
        raise ConfigurationError(f"the revision '{revision}' has no folder {inside}")
    own = (root / "seedlab" / "__main__.py").is_file()
    return Tree(revision=revision, root=root, project=root / inside, seedlab=root if own else None)


def seed_in_subprocess(tree: Tree, target: Target, environment: str) -> Run:
    """Seed in a process of its own, with the revision's seedlab, or with this one if it has none.

    The process measures itself, imports included. Raises SeedError with the last lines of its error output.
    """
    with tempfile.TemporaryDirectory(prefix="seedlab-run-") as reports:
        command = [
            sys.executable, "-m", "seedlab", "seed", str(tree.project), "--json", "--env", environment,
            "--reports", reports, "--yes-seed", target.database,
        ]  # fmt: skip
        home = tree.seedlab or _THIS_SEEDLAB
        # The URL may contain a password; other users can see command lines, but not the environment.
        environ = {**os.environ, "PYTHONPATH": str(home), "SEEDLAB_DATABASE_URL": url_of(target)}
        done = subprocess.run(  # noqa: S603
            command, cwd=home, env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode:
            output = masked("; ".join(done.stderr.strip().splitlines()[-5:]))
            raise SeedError(
                f"seeding revision '{tree.revision}' ended with exit code {done.returncode}: {output}"
            )
        record = Path(reports, "record.json")
        record.write_text(done.stdout, "utf-8")
        return history.read(record)


def _git(folder: Path, *arguments: str) -> str:
    """Run git and return its output. Raises ConfigurationError with git's message if it fails."""
    # The user's hooks are meant for their own checkouts, not for ours.
    command = ["git", "-C", str(folder), "-c", f"core.hooksPath={os.devnull}", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise ConfigurationError("comparing revisions needs git, which is not installed") from None
    if done.returncode:
        raise ConfigurationError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()
