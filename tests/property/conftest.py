"""Databases with the empty tables of a drawn world; and where examples keep what they make."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.fix_clean import clean
from tests.support.seeding import execute
from tests.support.worlds import Emptied, World, tables_of


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What each example makes for itself goes with the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture(params=["postgresql", "sqlite"])
def emptied(request: pytest.FixtureRequest) -> Emptied:
    """Give a database with a world's empty tables; each call makes a new one, or empties the same."""
    url = request.getfixturevalue("used_postgres_url") if request.param == "postgresql" else None

    def empty(world: World) -> str:
        where = url or f"sqlite:///{tempfile.mkdtemp()}/world.db"
        if url:
            clean(url)
        execute(where, tables_of(world))
        return where

    return empty
