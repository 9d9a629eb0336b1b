"""The job of the document: its own steps, run one after the other on an empty database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.recipe import Recipe, outcomes


@pytest.mark.slow
def test_the_steps_of_the_job_migrate_seed_and_find_nothing_left_to_do(
    tmp_path: Path, postgres_url: str
) -> None:
    job = Recipe("GitHub Actions", tmp_path / "ci", postgres_url, app="alembic").workflow["jobs"]["test"]
    url = postgres_url.replace("postgresql://", "postgresql+psycopg://")
    shop = Recipe("Alembic", tmp_path / "shop", url)
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert job["env"]["DATABASE_URL"].startswith("postgresql+psycopg://postgres:only-in-ci@localhost:5432/")
    assert job["services"]["postgres"]["env"]["POSTGRES_PASSWORD"] == "only-in-ci"
    assert [each.split()[0] for each in commands] == ["pip", "alembic", "seedlab", "seedlab", "pytest"]

    migrate, seed, plan = commands[1:4]
    shop.run(migrate)
    assert outcomes(shop.run(f"{seed} --json")) == {"created": 10}
    assert outcomes(shop.run(f"{plan} --json")) == {}  # no stage would run
