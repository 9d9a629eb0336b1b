"""A small project to make snapshots of, each time in a world of its own: a role, or a cache folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from seedlab.experiment.clones import SnapshotProvider, SnapshotRequest, open_provider
from tests.support.experiments import databases_of, school
from tests.support.school import CITIES

# Seeding runs this, and nothing else does: a line for each time.
TRANSFORMS = """\
import os, signal

def noted(frame):
    with open(os.environ["SEEDED"], "a") as file:
        file.write("seeded\\n")
    if os.environ.get("DIES"):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"cities": frame}
"""
NOTED = """\
[project]
name = "school"
schema = "models.py:metadata"
transforms = "transforms.py"
[environments.test]
[environments.live]
protected = true
[environments.small]
subset = { pupils = 1 }
[[stages]]
id = "all"
name = "all"
[[stages.seeds]]
name = "cities"
source = "cities.csv"
transform = "noted"
[stages.seeds.tables]
cities = {}
[[stages.seeds]]
name = "pupils"
source = "pupils.csv"
"""


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders that are nobody else's, for files of snapshots and clones; answers where seedings are noted."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("SEEDED", str(tmp_path / "seeded.txt"))
    (tmp_path / "seeded.txt").touch()
    return tmp_path / "seeded.txt"


@pytest.fixture
def clone_url(scratch_url: str, apart: Path) -> str:
    """A target of each dialect whose snapshots are nobody else's."""
    return scratch_url


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """The school, whose seeding leaves a line in a file."""
    return school(tmp_path / "school", transforms_py=TRANSFORMS, seedlab_toml=NOTED, cities_csv=CITIES)


def times_seeded(tmp_path: Path) -> int:
    return len((tmp_path / "seeded.txt").read_text().splitlines())


def stocked(folder: Path, url: str, environment: str | None = None) -> Iterator[SnapshotProvider]:
    """Open the provider of a project beside a target."""
    return open_provider(SnapshotRequest(directory=folder, database_url=url, environment=environment))


def ours_at(url: str, tmp_path: Path) -> list[str]:
    """What there is beside the target: databases, or files of snapshots and folders of clones."""
    if url.startswith("sqlite"):
        found = [*(tmp_path / "cache").rglob("*.db*"), *(tmp_path / "tmp").glob("seedlab_*")]
        return sorted(path.name for path in found)
    with psycopg.connect(url) as connection:
        role = urlsplit(url).username
        return sorted(name for name in databases_of(connection, role) if name != role)


def read(output: str) -> dict:
    return json.loads(output)
