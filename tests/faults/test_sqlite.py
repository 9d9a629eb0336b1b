"""A SQLite file is as it was or as the files say, whatever happens to the process that seeds it."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from seedlab.errors import LockHeld
from tests.support.seeding import counted, dump, execute, seed, write

TABLES = """
CREATE TABLE cities (id SERIAL KEY, code text NOT NULL UNIQUE);
CREATE TABLE pupils (id SERIAL KEY, email text NOT NULL UNIQUE, city_id int NOT NULL REFERENCES cities);
"""
# Seeds, and kills itself when SQLite is about to run so many statements; else tells how many there were.
CHILD = """
import os, signal, sqlite3, sys
from seedlab.cli import main

connect, limit, begun = sqlite3.connect, int(sys.argv[1]), 0

def count(_):
    global begun
    begun += 1
    if begun == limit:
        os.kill(os.getpid(), signal.SIGKILL)

def traced(*args, **kwargs):
    connection = connect(*args, **kwargs)
    connection.set_trace_callback(count)
    return connection

sqlite3.connect = traced
code = main(["seed", *sys.argv[2:], "-q"])
print(begun)
sys.exit(code)
"""


@pytest.fixture
def school(tmp_path: Path) -> Path:
    cities = "".join(f"c{n}\n" for n in range(20))
    pupils = "".join(f"p{n},c{n % 20}\n" for n in range(200))
    return write(
        tmp_path / "school", {"cities.csv": f"code\n{cities}", "pupils.csv": f"email,city.code\n{pupils}"}
    )


def seed_and_kill(school: Path, url: str, level: str, statement: int) -> subprocess.CompletedProcess[str]:
    options = ["--database-url", url, "--level", level, "--reports", str(school.parent / "reports")]
    command = [sys.executable, "-c", CHILD, str(statement), str(school), *options]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "others"),
    [
        ("incremental", ""),
        ("incremental", "INSERT INTO cities VALUES (7, 'c7'), (8, 'app');"),
        ("legacy", ""),
    ],
)
def test_a_process_killed_leaves_all_or_nothing(
    school: Path, sqlite_url: str, tmp_path: Path, level: str, others: str
) -> None:
    elsewhere = f"sqlite:///{tmp_path}/elsewhere.db"
    for url in (sqlite_url, elsewhere):
        execute(url, TABLES + others)
    before = dump(sqlite_url)
    statements = int(seed_and_kill(school, elsewhere, level, 0).stdout)
    after = dump(elsewhere)

    for statement in (statements // 2, statements - 2, statements):
        killed = seed_and_kill(school, sqlite_url, level, statement)
        assert killed.returncode == -signal.SIGKILL
        assert dump(sqlite_url) == before

    seed(school, sqlite_url)
    assert dump(sqlite_url) == after != before


def test_a_file_that_another_process_writes_is_not_waited_for_in_vain(school: Path, sqlite_url: str) -> None:
    execute(sqlite_url, TABLES)
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(LockHeld, match="another connection is writing"):
            seed(school, sqlite_url, lock_timeout="50ms")

    assert dump(sqlite_url) == {"cities": [], "pupils": []}
    assert counted(seed(school, sqlite_url)) == (220, 0, 0)


def test_a_reader_that_does_not_end_is_told_from_a_writer(school: Path, sqlite_url: str) -> None:
    """Without a WAL, a reader keeps the seed from its commit; with one, it keeps it from nothing."""
    execute(sqlite_url, TABLES)
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM cities").fetchall()
        with pytest.raises(LockHeld, match="another connection is reading") as refused:
            seed(school, sqlite_url, lock_timeout="50ms")
        reader.execute("ROLLBACK")
        assert "journal_mode = WAL" in str(refused.value)
        assert dump(sqlite_url) == {"cities": [], "pupils": []}

        reader.execute("PRAGMA journal_mode = WAL")
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM cities").fetchall()
        assert seed(school, sqlite_url, lock_timeout="50ms").outcomes.created


def test_readers_see_all_or_nothing_while_a_seed_is_written(school: Path, sqlite_url: str) -> None:
    execute(sqlite_url, "PRAGMA journal_mode = WAL;" + TABLES)
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN")
        early = other.execute("SELECT count(*) FROM pupils").fetchone()
        seed(school, sqlite_url)
        late = other.execute("SELECT count(*) FROM pupils").fetchone()
        other.execute("COMMIT")
        after = other.execute("SELECT count(*) FROM pupils").fetchone()

    assert (early, late, after) == ((0,), (0,), (200,))
