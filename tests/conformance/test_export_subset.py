"""`--subset`: the first rows by key, all that they refer to, and nothing that refers to a row that is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedlab.errors import ConfigurationError
from tests.support.asking import asking
from tests.support.exporting import counted, empty_copy, export, texts
from tests.support.seeding import execute, rows_of, seed

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


PERIODS = """
CREATE TABLE rooms (id int4range, valid daterange, name text NOT NULL, PRIMARY KEY (id, valid WITHOUT OVERLAPS));
CREATE TABLE guests (name text PRIMARY KEY);
CREATE TABLE stays (code text PRIMARY KEY, room int4range, during daterange, guest text NOT NULL REFERENCES guests,
  CONSTRAINT in_room FOREIGN KEY (room, PERIOD during) REFERENCES rooms (id, PERIOD valid));
CREATE TABLE bills (code text PRIMARY KEY, stay text NOT NULL REFERENCES stays);
"""
STAYS = """
INSERT INTO guests VALUES ('ann'), ('bob'), ('cid'), ('dan');
INSERT INTO rooms VALUES ('[1,2)', '[2024-01-01,2024-03-01)', 'a'), ('[1,2)', '[2024-03-01,2024-06-01)', 'b'),
  ('[1,2)', '[2024-06-01,)', 'c'), ('[2,3)', '[2024-01-01,)', 'd'), ('[3,4)', '[2024-01-01,)', 'e');
INSERT INTO stays VALUES ('s1', '[1,2)', '[2024-02-01,2024-04-01)', 'bob'), ('s2', '[2,3)', '[2024-02-01,2024-03-01)', 'ann'),
  ('s3', NULL, '[2024-02-01,2024-03-01)', 'cid'), ('s4', '[1,2)', '[2024-05-01,2025-01-01)', 'bob');
INSERT INTO bills VALUES ('b1', 's1'), ('b2', 's2'), ('b3', 's3'), ('b4', 's4');
"""


@pytest.fixture
def temporal_url(clean_postgres_url: str) -> str:
    with asking(clean_postgres_url) as connection:
        if connection.info.server_version < 180000:
            pytest.skip("PostgreSQL has foreign keys with PERIOD from 18 on")
    execute(clean_postgres_url, PERIODS + STAYS)
    return clean_postgres_url


@pytest.mark.parametrize(
    ("limits", "rooms", "guests", "stays", "bills"),
    [
        # All rooms that a kept stay overlaps, which may be several, and no other.
        ({"stays": 1, "rooms": 0}, ["a", "b"], ["ann", "bob", "cid", "dan"], ["s1"], ["b1"]),
        ({"stays": 3, "rooms": 0}, ["a", "b", "d"], ["ann", "bob", "cid", "dan"], ["s1", "s2", "s3"], ["b1", "b2", "b3"]),
        ({"bills": 1, "stays": 0, "rooms": 0, "guests": 0}, ["a", "b"], ["bob"], ["s1"], ["b1"]),
        # A stay of which one room is gone goes, and what refers to it.
        ({"rooms": 2}, ["a", "b"], ["ann", "bob", "cid", "dan"], ["s1", "s3"], ["b1", "b3"]),
        ({"rooms": 3, "guests": 1}, ["a", "b", "c"], ["ann"], [], []),
        ({"rooms": 0}, [], ["ann", "bob", "cid", "dan"], ["s3"], ["b3"]),
    ],
)  # fmt: skip
def test_foreign_keys_with_a_period_are_followed_to_all_rows_that_overlap(
    temporal_url: str,
    tmp_path: Path,
    limits: dict[str, int],
    rooms: list[str],
    guests: list[str],
    stays: list[str],
    bills: list[str],
) -> None:
    made = export(temporal_url, tmp_path / "out", subset=limits)

    copy = empty_copy(temporal_url, PERIODS)
    assert counted(seed(tmp_path / "out", copy)) == (made.rows, 0, 0)
    kept = [
        [value for (value,) in rows_of(copy, f"SELECT {column} FROM {table} ORDER BY 1")]
        for table, column in (("rooms", "name"), ("guests", "name"), ("stays", "code"), ("bills", "code"))
    ]
    assert kept == [rooms, guests, stays, bills]


def test_rows_of_which_a_period_is_not_covered_are_left_out_where_the_key_is_not_checked(
    temporal_url: str, tmp_path: Path
) -> None:
    execute(
        temporal_url,
        """ALTER TABLE stays DROP CONSTRAINT in_room;
        INSERT INTO stays VALUES ('s5', '[1,2)', '[2023-12-31,2024-02-01)', 'dan'), ('s6', '[9,10)', '[2024-01-01,)', 'dan');
        ALTER TABLE stays ADD CONSTRAINT in_room FOREIGN KEY (room, PERIOD during)
          REFERENCES rooms (id, PERIOD valid) NOT VALID;""",
    )

    made = export(temporal_url, tmp_path / "out")

    assert made.notes == ("2 rows of stays left out: the rows that they refer to do not exist",)
    assert first_columns(tmp_path / "out")["stays"] == ["s1", "s2", "s3", "s4"]
    export(temporal_url, tmp_path / "few", subset={"stays": 1, "rooms": 0})
    assert first_columns(tmp_path / "few")["stays"] == ["s1"]
