"""`seedlab export` and `init --from-database`: what they print, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seedlab.cli import main
from tests.support.seeding import execute

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, email text NOT NULL UNIQUE);
CREATE TABLE orders (number text PRIMARY KEY, user_id int REFERENCES users);
CREATE TABLE drafts (code text PRIMARY KEY);
INSERT INTO users VALUES (4, 'b@x'), (5, 'a@x');
INSERT INTO orders VALUES ('1', 4), ('2', 5);
"""
TEXT = """\
sqlite:///shop.db (SQLite VERSION) → out: 4 rows of 2 tables

    users.csv   2 rows  by email   without id
    orders.csv  2 rows  by number

- without rows, so without a file: drafts

The files hold what the database holds, people's data too; only you may read them (mode 0600).
next: seedlab seed out --database-url URL, of an empty copy of the schema
"""
TOML = """\
#:schema ./.seedlab.schema.json
# Exported from the SQLite database shop by seedlab export.

[project]
name = "out"

# Where it is seeded: --database-url, or a name of your own. Variables keep passwords out of this file.
# [targets.staging]
# url = "${STAGING_URL}"
# environment = "test"

[[stages]]
id = "level-1"
name = "Level 1"

  [[stages.seeds]]
  name = "users"
  source = "users.csv"

[[stages]]
id = "level-2"
name = "Level 2"
dependencies = ["level-1"]

  [[stages.seeds]]
  name = "orders"
  source = "orders.csv"
"""


@pytest.fixture(autouse=True)
def shop(plain_environment: None, tmp_path: Path) -> Path:
    execute(f"sqlite:///{tmp_path / 'shop.db'}", SCHEMA)
    return tmp_path


@pytest.mark.parametrize("command", [("export", "out"), ("init", "out", "--from-database")])
def test_it_says_what_was_written(capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    import sqlite3

    assert main([*command, "--database-url", "sqlite:///shop.db"]) == 0

    assert capsys.readouterr().out == TEXT.replace("VERSION", sqlite3.sqlite_version)
    assert Path("out/seedlab.toml").read_text() == TOML
    assert main(["ls", "out", "-q"]) == 0


def test_the_record_has_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--json", "--subset", "users=1", "--exclude-table", "drafts", "--with-ids"]

    assert main(["export", "out", "--database-url", "sqlite:///shop.db", *flags]) == 0

    record = json.loads(capsys.readouterr().out)
    assert record["tables"] == [
        {"table": "users", "file": "users.csv", "rows": 1, "key": ["id"], "left_out_id": None},
        {"table": "orders", "file": "orders.csv", "rows": 1, "key": ["number"], "left_out_id": None},
    ]
    assert (record["directory"], record["rows"], record["dialect"]) == ("out", 2, "sqlite")
    assert (record["empty"], record["left_out"], record["notes"]) == ([], {}, [])


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (["export", "out"], "export which database?"),
        (["init", "out", "--from-database"], "export which database?"),
        (["init", "out", "--database-url", "sqlite:///shop.db"], "type --from-database, too"),
        (["export", "out", "--database-url", "sqlite:///shop.db", "--table", "user"], "did you mean 'users'"),
        (["export", ".", "--database-url", "sqlite:///shop.db"], "not overwritten"),
        (["export", "out", "--database-url", "sqlite:///shop.db", "--subset", "users"], "expected TABLE=N"),
    ],
)
def test_what_cannot_be_done_is_refused(
    capsys: pytest.CaptureFixture[str], line: list[str], complaint: str
) -> None:
    assert main(line) == 2

    assert complaint in capsys.readouterr().err
    assert not Path("out").exists()


def test_the_variable_and_a_project_s_target_name_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDLAB_DATABASE_URL", "sqlite:///shop.db")
    assert main(["export", "first", "-q"]) == 0
    monkeypatch.delenv("SEEDLAB_DATABASE_URL")
    with Path("first/seedlab.toml").open("a") as file:
        file.write('\n[targets.shop]\nurl = "sqlite:///../${SHOP}.db"\n')
    monkeypatch.setenv("SHOP", "shop")
    monkeypatch.chdir("first")

    assert main(["export", "../second", "-q", "-t", "shop"]) == 0
    assert Path("../second/users.csv").read_text() == "email\na@x\nb@x\n"
