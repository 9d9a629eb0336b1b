"""What is around a command that a test calls: variables, the working directory, an embedded server of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedlab.cli import main

NAMING = (
    "DATABASE_URL", "SEEDLAB_DATABASE_URL", "SEEDLAB_TARGET", "SEEDLAB_ENV", "SEEDLAB_JSON", "PGHOST", "PGHOSTADDR",
)  # fmt: skip


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the caller's variables; the working directory is the test's own."""
    for name in NAMING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder for an embedded server that an unprivileged user can enter, as when root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="seedlab-cli-") as folder:
        Path(folder).chmod(0o711)
        monkeypatch.setenv("SEEDLAB_SERVER_DIR", folder)
        yield
        assert main(["server", "clean", "-q"]) == 0
