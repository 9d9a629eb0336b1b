"""A table with rows that gets many new ones: keys and indexes off around the merge, and every one as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedlab.database import postgres_grow, postgres_write
from seedlab.flow import Run
from tests.seeding import counted, execute, rows_of, seed, write
from tests.test_rebuild import DEFINITIONS, NODES, TABLES, rebuilt

BEFORE, NEW = 60, 40
LEAF = {"pupils_pkey", "pupils_email_key", "pupils_city_id_idx"}
CITIES = {"cities_code_key"}  # pupils need its primary key


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every merge is a large one, and asks for all of its rows whether they are there."""
    monkeypatch.setattr(postgres_write, "ARRAY_ROWS", 0)
    monkeypatch.setattr(postgres_grow, "NEW_ROWS", 1)


def files(rows: int, *, cities: str = "", pupils: str = "", name: str = "City") -> dict[str, str]:
    towns = "".join(f"c{n},{name} {n},{n}\n" for n in range(rows))
    people = "".join(f"p{n}@x,c{n % rows},p{(n + 7) % rows}@x\n" for n in range(rows))
    return {
        "cities.csv": f"code,name,rank\n{towns}{cities}",
        "pupils.csv": f"email,city.code,friend.email\n{people}{pupils}",
    }


@pytest.fixture
def url(clean_postgres_url: str) -> str:
    execute(clean_postgres_url, TABLES)
    return clean_postgres_url


@pytest.fixture
def school(tmp_path: Path, url: str) -> Path:
    """The project's folder; its rows before are in the tables."""
    folder = write(tmp_path / "school", files(BEFORE))
    seed(folder, url, disabled=["rebuild"])
    return folder


def grown(school: Path, url: str, **given: str) -> tuple[Run, set[object]]:
    write(school, files(BEFORE + NEW, **given))
    before = rows_of(url, NODES)
    run = seed(school, url)
    return run, rebuilt(url, before)


def test_many_new_rows(school: Path, url: str) -> None:
    before = rows_of(url, DEFINITIONS)

    run, new = grown(school, url)

    assert new == LEAF | CITIES
    assert rows_of(url, DEFINITIONS) == before
    assert counted(run)[0] == 2 * NEW
