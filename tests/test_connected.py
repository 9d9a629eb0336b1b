"""A connection that is kept for one run after the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

import seedlab
from seedlab.database.connect import KeptTarget
from seedlab.errors import SeedError
from seedlab.flow import Project, Target
from tests.support.seeding import execute, rows_of, write

TABLES = "CREATE TABLE words (id integer PRIMARY KEY, text text NOT NULL)"


@pytest.fixture
def school(tmp_path: Path, clean_database_url: str) -> Project:
    execute(clean_database_url, TABLES)
    return seedlab.load_project(write(tmp_path / "school", {"words.csv": "id,text\n1,a\n2,b\n"}))


def pids(target: Target) -> list[int]:
    """The server's processes that wait for a next run."""
    assert isinstance(target, KeptTarget)
    return [each.info.backend_pid for each in target.idle.values()]


def edit(project: Project, text: str) -> None:
    (project.root / "words.csv").write_text(f"id,text\n1,{text}\n2,b\n")


def test_runs_on_a_kept_connection_do_as_others_do(school: Project, clean_database_url: str) -> None:
    with seedlab.connected(school, clean_database_url) as target:
        first, same = seedlab.seed(school, target), seedlab.seed(school, target)
        edit(school, "changed")
        planned, changed = seedlab.plan(school, target), seedlab.seed(school, target)
        execute(clean_database_url, "UPDATE words SET text = 'drifted' WHERE id = 2")
        drifted = seedlab.seed(school, target)

    assert (first.outcomes.created, same.outcomes.unchanged) == (2, 2)
    assert planned.outcomes.updated == changed.outcomes.updated == 1
    assert drifted.outcomes.updated == 1
    assert sorted(rows_of(clean_database_url, "SELECT * FROM words")) == [(1, "changed"), (2, "b")]


@pytest.mark.parametrize("level", ["incremental", "copy", "bulk", "legacy"])
def test_one_connection_serves_all_runs_and_is_closed_at_the_end(
    tmp_path: Path, clean_postgres_url: str, level
) -> None:
    execute(clean_postgres_url, TABLES)
    school = seedlab.load_project(write(tmp_path / "school", {"words.csv": "id,text\n1,a\n2,b\n"}))
    with seedlab.connected(school, clean_postgres_url) as target:
        seedlab.seed(school, target, level=level)
        used = pids(target)
        edit(school, "changed")
        run = seedlab.seed(school, target, level=level)

        assert run.outcomes.updated == 1
        assert pids(target) == used
        assert len(used) == 1
        (connection,) = target.idle.values()
    assert connection.closed


def hang_up(url: str, project: Project, target: Target) -> None:
    """Let the server end the process that waits."""
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", pids(target))


def fail(url: str, project: Project, target: Target) -> None:
    """Leave a run before it is done."""
    (project.root / "words.csv").write_text("id,text\n1,a\n1,b\n")
    with pytest.raises(seedlab.SeedError):
        seedlab.seed(project, target)


@pytest.mark.parametrize("happens", [hang_up, fail])
def test_after_whatever_happened_the_next_run_is_right(
    tmp_path: Path, clean_postgres_url: str, happens: Callable[[str, Project, Target], None]
) -> None:
    execute(clean_postgres_url, TABLES)
    school = seedlab.load_project(write(tmp_path / "school", {"words.csv": "id,text\n1,a\n2,b\n"}))
    with seedlab.connected(school, clean_postgres_url) as target:
        seedlab.seed(school, target)
        happens(clean_postgres_url, school, target)
        edit(school, "changed")

        assert seedlab.seed(school, target).outcomes.updated == 1
        assert len(pids(target)) == 1


def test_a_run_that_fails_ends_its_transaction_and_leaves_the_connection_to_the_next(
    tmp_path: Path, clean_postgres_url: str
) -> None:
    """A transaction that the server had to end by itself would hold the lock for a moment longer."""
    execute(clean_postgres_url, TABLES + "; ALTER TABLE words ADD CHECK (text <> 'no')")
    school = seedlab.load_project(write(tmp_path / "school", {"words.csv": "id,text\n1,a\n2,b\n"}))
    with seedlab.connected(school, clean_postgres_url) as target:
        seedlab.seed(school, target)
        used = pids(target)
        edit(school, "no")
        with pytest.raises(SeedError):
            seedlab.seed(school, target)

        assert pids(target) == used


def test_a_target_that_is_kept_is_guarded_like_any(school: Project, clean_database_url: str) -> None:
    with (
        seedlab.connected(school, clean_database_url, environment="production") as target,
        pytest.raises(seedlab.SeedError),
    ):
        seedlab.seed(school, target)
