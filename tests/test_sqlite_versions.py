"""SQLite from 3.35 on: what older ones lack or do in another way. CI runs the SQLite tests on 3.35, too."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from seedlab.database.connect import open_session, parse_target
from seedlab.database.sqlite import catalog as sqlite_catalog
from seedlab.database.sqlite import session
from seedlab.errors import ConnectionFailed
from seedlab.flow import Settings
from seedlab.insight.measuring.monitor import Monitor
from tests.support.seeding import counted, seed, write

QUESTIONS = {"before-3.37": sqlite_catalog.TABLES_BEFORE_3_37}
if sqlite3.sqlite_version_info >= (3, 37):
    QUESTIONS["since-3.37"] = sqlite_catalog.TABLES


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_only_tables_and_views_of_the_users_own_are_seen(tmp_path: Path, question: str) -> None:
    with closing(sqlite3.connect(tmp_path / "test.db")) as raw:
        raw.executescript("""
            CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT);
            CREATE VIEW short AS SELECT id FROM notes;
            CREATE TABLE seedlab_runs (id TEXT);
            CREATE TABLE search_log (id TEXT PRIMARY KEY);
            CREATE TABLE "create virtual table data" (id TEXT);
            CREATE VIRTUAL TABLE search USING fts5 (body);
            CREATE VIRTUAL TABLE older USING fts4 (body);
            CREATE VIRTUAL TABLE places USING rtree (id, x1, x2);
        """)

        found = raw.execute(question).fetchall()

    assert [(name, kind) for name, kind, _ in found] == [
        ("create virtual table data", "table"),
        ("notes", "table"),
        ("older", "virtual table"),
        ("places", "virtual table"),
        ("search", "virtual table"),
        ("search_log", "table"),
        ("short", "view"),
    ]


def test_an_integer_alone_in_its_table_is_remembered(tmp_path: Path) -> None:
    """Older SQLite (3.35 does) answers quote() of an integer with an integer."""
    with closing(sqlite3.connect(tmp_path / "test.db")) as raw:
        raw.execute("CREATE TABLE days (n INTEGER PRIMARY KEY)")
    folder = write(tmp_path / "project", {"days.csv": "n\n1\n2\n"})
    url = f"sqlite:///{tmp_path / 'test.db'}"

    assert [counted(seed(folder, url)) for _ in range(2)] == [(2, 0, 0), (0, 0, 2)]


def test_an_sqlite_that_is_too_old_is_refused_with_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "OLDEST", (99, 1))
    target = parse_target(f"sqlite:///{tmp_path / 'test.db'}", "test")

    with pytest.raises(ConnectionFailed) as refused:
        open_session(target, Settings(), Monitor(), "test")

    assert f"SQLite {sqlite3.sqlite_version}, and seedlab needs 99.1 or later" in str(refused.value)
    assert not (tmp_path / "test.db").exists()
