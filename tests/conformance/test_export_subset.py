"""`--subset`: the first rows by key, all that they refer to, and nothing that refers to a row that is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedlab.errors import ConfigurationError
from tests.support.exporting import counted, empty_copy, export, texts
from tests.support.seeding import execute, seed

SCHEMA = """
CREATE TABLE firms (id SERIAL KEY, name text NOT NULL UNIQUE);
CREATE TABLE users (
  id SERIAL KEY, email text NOT NULL UNIQUE, firm_id int NOT NULL REFERENCES firms, boss_id int REFERENCES users
);
CREATE TABLE orders (id SERIAL KEY, code text NOT NULL UNIQUE, user_id int REFERENCES users);
CREATE TABLE lines (
  order_id int NOT NULL REFERENCES orders, position int NOT NULL, PRIMARY KEY (order_id, position)
);
CREATE TABLE colours (code text PRIMARY KEY);
INSERT INTO firms (id, name) VALUES (1, 'zeta'), (2, 'acme'), (3, 'bolt');
INSERT INTO users (id, email, firm_id, boss_id) VALUES
  (9, 'a', 1, 7), (8, 'b', 2, NULL), (7, 'c', 1, 6), (6, 'd', 3, 6), (5, 'e', 2, 8);
INSERT INTO orders (id, code, user_id) VALUES (1, 'o1', 9), (2, 'o2', 5), (3, 'o3', 6), (4, 'o4', NULL);
INSERT INTO lines VALUES (1, 1), (1, 2), (2, 1), (4, 1);
INSERT INTO colours VALUES ('red');
"""


@pytest.fixture
def url(clean_database_url: str) -> str:
    execute(clean_database_url, SCHEMA)
    return clean_database_url


def first_columns(folder: Path) -> dict[str, list[str]]:
    """The first field of every row of every file."""
    return {
        name.removesuffix(".csv"): [line.split(",")[0] for line in text.splitlines()[1:]]
        for name, text in texts(folder).items()
    }


def test_the_first_rows_come_with_their_parents_and_without_children_of_others(
    url: str, tmp_path: Path
) -> None:
    made = export(url, tmp_path / "out", subset={"users": 1})

    # a's boss is c, whose boss is d; firms and colours are not asked for fewer.
    assert first_columns(tmp_path / "out") == {
        "firms": ["acme", "bolt", "zeta"],
        "users": ["a", "c", "d"],
        "orders": ["o1", "o3", "o4"],
        "lines": ["o1", "o1", "o4"],
        "colours": ["red"],
    }
    copy = empty_copy(url, SCHEMA.partition("INSERT")[0])
    assert counted(seed(tmp_path / "out", copy)) == (made.rows, 0, 0)


@pytest.mark.parametrize(
    ("limits", "firms", "users", "orders"),
    [
        ({"users": 2, "firms": 0}, ["acme", "bolt", "zeta"], ["a", "b", "c", "d"], ["o1", "o3", "o4"]),
        ({"firms": 1}, ["acme"], ["b", "e"], ["o2", "o4"]),
        ({"orders": 1}, ["acme", "bolt", "zeta"], ["a", "b", "c", "d", "e"], ["o1"]),
        ({"orders": 2, "users": 0, "firms": 0}, ["acme", "bolt", "zeta"], ["a", "b", "c", "d", "e"], ["o1", "o2"]),
        ({"orders": 0, "users": 0, "firms": 0}, None, None, None),
        ({"users": 99}, ["acme", "bolt", "zeta"], ["a", "b", "c", "d", "e"], ["o1", "o2", "o3", "o4"]),
    ],
)  # fmt: skip
def test_a_table_with_a_limit_keeps_its_first_rows_and_those_that_others_need(
    url: str,
    tmp_path: Path,
    limits: dict[str, int],
    firms: list[str] | None,
    users: list[str] | None,
    orders: list[str] | None,
) -> None:
    export(url, tmp_path / "out", subset=limits)

    found = first_columns(tmp_path / "out")
    assert (found.get("firms"), found.get("users"), found.get("orders")) == (firms, users, orders)


@pytest.mark.parametrize("with_ids", [False, True])
def test_cycles_are_taken_whole_or_not_at_all(
    clean_database_url: str, tmp_path: Path, *, with_ids: bool
) -> None:
    url = clean_database_url
    tables = """
    CREATE TABLE teams (id SERIAL KEY, name text NOT NULL UNIQUE, captain_id int);
    CREATE TABLE players (id SERIAL KEY, name text NOT NULL UNIQUE, team_id int NOT NULL REFERENCES teams);
    """
    if url.startswith("sqlite"):
        schema = tables.replace("captain_id int", "captain_id int NOT NULL REFERENCES players")
    else:
        schema = f"""{tables} ALTER TABLE teams ADD CONSTRAINT captain FOREIGN KEY (captain_id)
          REFERENCES players DEFERRABLE INITIALLY DEFERRED, ALTER captain_id SET NOT NULL;"""
    execute(url, schema)
    execute(
        url,
        """BEGIN; PRAGMA
        INSERT INTO teams (id, name, captain_id) VALUES (1, 'x', 4), (2, 'y', 6), (3, 'z', 7);
        INSERT INTO players (id, name, team_id) VALUES (4, 'a', 1), (5, 'b', 1), (6, 'c', 2), (7, 'd', 2);
        COMMIT;""".replace("PRAGMA", "PRAGMA defer_foreign_keys = ON;" if "sqlite" in url else ""),
    )

    made = export(url, tmp_path / "out", subset={"teams": 1}, with_ids=with_ids)
    export(url, tmp_path / "z", subset={"players": 0, "teams": 0})
    export(url, tmp_path / "players", subset={"players": 4, "teams": 0})

    at = 1 if with_ids else 0
    rows = {name: [line.split(",")[at] for line in text.splitlines()[1:]] for name, text in texts(tmp_path / "out").items()}  # fmt: skip
    assert rows == {"teams.csv": ["x"], "players.csv": ["a", "b"]}
    assert texts(tmp_path / "z") == {}
    assert first_columns(tmp_path / "players") == {"teams": ["x", "y"], "players": ["a", "b", "c", "d"]}
    copy = empty_copy(url, schema)
    assert counted(seed(tmp_path / "out", copy)) == (made.rows, 0, 0)


def test_a_long_chain_is_followed_to_its_end(clean_database_url: str, tmp_path: Path) -> None:
    url = clean_database_url
    execute(url, "CREATE TABLE nodes (code int PRIMARY KEY, up int REFERENCES nodes);")
    rows = ", ".join(f"({n}, {n + 1 if n < 300 else 'NULL'})" for n in range(301))
    execute(url, f"INSERT INTO nodes VALUES {rows};")

    made = export(url, tmp_path / "out", subset={"nodes": 1})
    fewer = export(url, tmp_path / "fewer", subset={"nodes": 0})

    assert (made.rows, fewer.rows) == (301, 0)


def test_rows_whose_parent_is_not_there_are_left_out_with_all_that_depends_on_them(
    clean_database_url: str, tmp_path: Path
) -> None:
    url = clean_database_url
    if url.startswith("sqlite"):
        execute(url, f"{SCHEMA} PRAGMA foreign_keys = OFF; UPDATE users SET boss_id = 77 WHERE email = 'd';")
    else:
        execute(url, f"{SCHEMA} ALTER TABLE users DROP CONSTRAINT users_boss_id_fkey;")
        execute(url, "UPDATE users SET boss_id = 77 WHERE email = 'd'")
        execute(url, "ALTER TABLE users ADD FOREIGN KEY (boss_id) REFERENCES users NOT VALID")

    made = export(url, tmp_path / "out")

    assert first_columns(tmp_path / "out")["users"] == ["b", "e"]
    assert first_columns(tmp_path / "out")["orders"] == ["o2", "o4"]
    assert made.notes == (
        "2 rows of lines left out: the rows that they refer to do not exist",
        "2 rows of orders left out: the rows that they refer to do not exist",
        "3 rows of users left out: the rows that they refer to do not exist",
    )


@pytest.mark.parametrize(("name", "why"), [("user", "did you mean .users."), ("lines", "not exported")])
def test_a_limit_of_a_table_that_is_not_exported_is_refused(
    url: str, tmp_path: Path, name: str, why: str
) -> None:
    with pytest.raises(ConfigurationError, match=why):
        export(url, tmp_path / "out", subset={name: 1}, exclude=("lines",))

    assert not (tmp_path / "out").exists()


SEATS = """
CREATE TABLE seats (who text NOT NULL, place int, serial int UNIQUE, UNIQUE (who, place));
CREATE TABLE marks (code text PRIMARY KEY, serial int REFERENCES seats (serial));
"""


def test_a_parent_is_kept_by_a_key_with_null(clean_database_url: str, tmp_path: Path) -> None:
    url = clean_database_url
    rows = "('a', NULL, 1), ('a', 2, NULL), ('b', NULL, 3), ('c', 5, NULL)"
    marks = "('m', 3), ('n', 1), ('o', NULL)"
    execute(url, f"{SEATS} INSERT INTO seats VALUES {rows}; INSERT INTO marks VALUES {marks};")

    made = export(url, tmp_path / "out", subset={"marks": 1, "seats": 0})

    assert first_columns(tmp_path / "out") == {"marks": ["m"], "seats": ["b"]}
    assert counted(seed(tmp_path / "out", empty_copy(url, SEATS))) == (made.rows, 0, 0)
