"""The commit of a project is what git itself says it is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from seedlab.plan.revision import commit_of

GIT = shutil.which("git")
pytestmark = pytest.mark.skipif(GIT is None, reason="needs git")


def git(folder: Path, *arguments: str) -> str:
    """Run git as nobody in particular, with no configuration of this machine."""
    alone = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        **{f"GIT_{who}_{what}": "x@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        [GIT, *arguments], cwd=folder, env=inherited | alone, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(params=["sha1", "sha256"])
def repository(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path / "repository"
    (folder / "data" / "deep").mkdir(parents=True)
    git(folder, "init", f"--object-format={request.param}", "--initial-branch=main")
    commit(folder)
    return folder


def commit(folder: Path) -> str:
    git(folder, "commit", "--allow-empty", "--message=x")
    return git(folder, "rev-parse", "HEAD")


def test_a_folder_of_a_repository_has_the_commit_of_its_branch(repository: Path) -> None:
    first = commit_of(repository / "data" / "deep")
    assert first == git(repository, "rev-parse", "HEAD")

    second = commit(repository)
    assert commit_of(repository) == second != first


def test_a_branch_among_packed_names(repository: Path) -> None:
    git(repository, "branch", "other/main")
    commit(repository)
    git(repository, "tag", "--annotate", "--message=x", "v1")
    git(repository, "pack-refs", "--all", "--prune")

    assert not (repository / ".git" / "refs" / "heads" / "main").exists()
    assert commit_of(repository) == git(repository, "rev-parse", "HEAD")


def test_a_detached_head(repository: Path) -> None:
    git(repository, "checkout", "--detach")

    head = commit(repository)
    assert commit_of(repository) == head


@pytest.mark.parametrize("branch", [["-b", "side"], ["--detach"]], ids=" ".join)
def test_a_worktree_has_a_commit_of_its_own(repository: Path, tmp_path: Path, branch: list[str]) -> None:
    git(repository, "worktree", "add", *branch, str(tmp_path / "beside"))
    mine = commit(tmp_path / "beside")

    assert commit_of(tmp_path / "beside") == mine != git(repository, "rev-parse", "HEAD")
    git(repository, "pack-refs", "--all")
    assert commit_of(tmp_path / "beside") == mine


def test_a_symbolic_link_leads_to_the_repository(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(repository / "data")

    assert commit_of(tmp_path / "link") == commit_of(repository)


def test_a_branch_without_a_commit_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init")

    assert commit_of(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            ".git/HEAD",
            b"ref: refs/heads/.invalid\n",
        ),  # how a reftable repository says that names are elsewhere
        (".git/HEAD", b"ref: HEAD\n"),
        (".git/HEAD", b"ref: ../secret\n"),
        (".git/HEAD", b"ref: a\x00b\n"),
        (".git/HEAD", b"\xff\xfe"),
        (".git", b"gitdir: nowhere\n"),
        (".git", b"nothing of the kind"),
    ],
)
def test_what_is_no_repository_of_a_kind_we_know_has_none(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / "project" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (tmp_path / "project" / "secret").write_text("not a hash")

    assert commit_of(tmp_path / "project") is None


def test_no_git_process_is_needed(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = git(repository, "rev-parse", "HEAD")
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setenv("PATH", "")

    assert commit_of(repository) == head
