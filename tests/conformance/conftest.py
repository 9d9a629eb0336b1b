"""What every claim about seeding is made for: both dialects, every level, each optimisation switched off."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cases import some
from tests.support.school import FILES, TABLES
from tests.support.seeding import WAYS, Way, execute, write

# Ways that are written differently: what else is switched off only changes threads and look-ups.
DISTINCT = ("legacy", "bulk", "incremental", "incremental-no-rebuild")
# Of these the two that share least, for who wants an answer at once; all others are for CI.
QUICK = ("legacy", "incremental")
# What becomes of rows, of their values and of what the database refuses is tried in both ways on both dialects. All
# else is tried row by row on SQLite alone, as on PostgreSQL that takes longest.
CROSSED = ("test_outcomes.py", "test_fidelity.py", "test_bad_input.py")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave one of the four corners of dialects and quick ways to CI."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    way = str(params.get("way", params.get("every_way")))
    if (params.get("clean_database_url"), way) == ("postgresql", "legacy") and item.path.name not in CROSSED:
        item.add_marker(pytest.mark.slow)


@pytest.fixture(params=some(WAYS, *QUICK))
def every_way(request: pytest.FixtureRequest) -> Way:
    """Every level, and the fastest without each of its optimisations."""
    return request.param


@pytest.fixture(params=some([way for way in WAYS if str(way) in DISTINCT], *QUICK))
def way(request: pytest.FixtureRequest) -> Way:
    """The levels that write differently: enough for claims about what is written."""
    return request.param


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The project's folder."""
    folder = tmp_path / "school"
    folder.mkdir()
    return folder


@pytest.fixture
def url(clean_database_url: str) -> str:
    """A database with the school's empty tables."""
    execute(clean_database_url, TABLES)
    return clean_database_url


@pytest.fixture
def school(folder: Path) -> Path:
    """A project that fills them, without configuration."""
    return write(folder, FILES)
