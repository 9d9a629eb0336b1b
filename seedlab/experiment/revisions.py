"""Two revisions of a git repository, each in a worktree of its own for as long as they are compared."""

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

_OURS = Path(__file__).parents[2]  # where this seedlab is imported from


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A revision as files; `seedlab` is where its own seedlab is imported from, None if it has none."""

    revision: str
    root: Path
    project: Path
    seedlab: Path | None


def is_revision(folder: Path, name: str) -> bool:
    """Tell whether git knows a revision of this name, where the folder is in a repository."""
    if name.startswith("-"):
        return False
    try:
        _git(folder, "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}")
    except ConfigurationError:
        return False
    return True


@contextmanager
def checked_out(project: Path, revisions: Sequence[str]) -> Iterator[list[Tree]]:
    """Check revisions out into a temporary folder, and forget them afterwards.

    Raises ConfigurationError where the project's folder is in no repository, or not in a revision.
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
                with suppress(ConfigurationError):  # the folder goes anyway, and git notices
                    _git(top, "worktree", "remove", "--force", str(each))


def _check_out(top: Path, revision: str, root: Path, inside: Path) -> Tree:
    _git(top, "worktree", "add", "--quiet", "--detach", str(root), revision)
    if not (root / inside).is_dir():
        raise ConfigurationError(f"the revision '{revision}' has no folder {inside}")
    own = (root / "seedlab" / "__main__.py").is_file()
    return Tree(revision=revision, root=root, project=root / inside, seedlab=root if own else None)


def run_apart(tree: Tree, target: Target, environment: str) -> Run:
    """Seed by a process of its own, with the seedlab of the revision, or with ours where it has none.

    Everything is in the clock that the process itself starts, imports too. Raises SeedError with the end of
    what the process said.
    """
    with tempfile.TemporaryDirectory(prefix="seedlab-run-") as reports:
        command = [
            sys.executable, "-m", "seedlab", "seed", str(tree.project), "--json", "--env", environment,
            "--reports", reports, "--yes-seed", target.database,
        ]  # fmt: skip
        home = tree.seedlab or _OURS
        # The URL may hold a password, which a command line would show to everybody.
        environ = {**os.environ, "PYTHONPATH": str(home), "SEEDLAB_DATABASE_URL": url_of(target)}
        done = subprocess.run(  # noqa: S603
            command, cwd=home, env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = masked("; ".join(done.stderr.strip().splitlines()[-5:]))
            raise SeedError(
                f"seeding revision '{tree.revision}' ended with exit code {done.returncode}: {said}"
            )
        record = Path(reports, "record.json")
        record.write_text(done.stdout, "utf-8")
        return history.read(record)


def _git(folder: Path, *arguments: str) -> str:
    """Run git and give what it prints. Raises ConfigurationError with its message."""
    # Hooks belong to the user's own checkouts.
    command = ["git", "-C", str(folder), "-c", f"core.hooksPath={os.devnull}", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise ConfigurationError("comparing revisions needs git, which is not installed") from None
    if done.returncode:
        raise ConfigurationError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()
