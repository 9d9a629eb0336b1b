"""Databases are equal when they hold the same rows, whatever their sequences counted."""

from __future__ import annotations

import pytest

from seedlab.database import connect
from seedlab.database.content import Content, comparable, contents, read_tables
from seedlab.insight.measuring.monitor import Monitor
from tests.fix_clean import clean
from tests.support.asking import forget
from tests.support.school import TABLES
from tests.support.seeding import execute

ROWS = """
INSERT INTO cities (id, code, name) VALUES (1, 'hfa', 'Haifa'), (2, 'tlv', 'Tel Aviv');
INSERT INTO pupils (name, city_id) VALUES ('Ada', 1), ('Bob', 2);
"""


def content_of(url: str) -> dict[str, Content]:
    forget()
    target = connect.parse_target(url, "")
    catalog = read_tables(target, Monitor())
    asked = list(comparable(catalog).items())
    return dict(zip((table for table, _ in asked), contents(target, catalog, asked), strict=True))


@pytest.fixture
def school_url(clean_database_url: str) -> str:
    execute(clean_database_url, TABLES + ROWS)
    return clean_database_url


def differing(url: str, change: str) -> list[str]:
    """Tables whose content a statement changes."""
    before = content_of(url)
    execute(url, change)
    after = content_of(url)
    return [name for name in before if before[name] != after[name]]


def test_rows_are_counted(school_url: str) -> None:
    assert {name: content.rows for name, content in content_of(school_url).items()} == {
        "cities": 2,
        "pupils": 2,
    }


@pytest.mark.parametrize(
    ("change", "tables"),
    [
        ("UPDATE cities SET name = 'haifa' WHERE code = 'hfa'", ["cities"]),
        ("UPDATE cities SET name = NULL WHERE code = 'hfa'", ["cities"]),
        ("UPDATE cities SET name = '' WHERE code = 'hfa'", ["cities"]),
        ("UPDATE pupils SET city_id = 2 WHERE name = 'Ada'", ["pupils"]),
        ("INSERT INTO pupils (name, city_id) VALUES ('Cid', 1)", ["pupils"]),
        ("DELETE FROM pupils", ["pupils"]),
        # The name of a row's parent changes: so does what the row refers to.
        ("UPDATE cities SET code = 'haifa' WHERE code = 'hfa'", ["cities", "pupils"]),
        # Two rows swap places.
        (
            "UPDATE pupils SET city_id = 3 - city_id",
            ["pupils"],
        ),
        ("UPDATE cities SET name = name", []),
    ],
)
def test_a_change_is_seen(school_url: str, change: str, tables: list[str]) -> None:
    assert differing(school_url, change) == tables


def test_numbers_of_a_sequence_do_not_count(school_url: str) -> None:
    before = content_of(school_url)
    execute(school_url, "DELETE FROM pupils; DELETE FROM cities;" + ROWS.replace("1", "11").replace("2", "7"))

    assert content_of(school_url) == before


def test_a_key_that_leads_back_to_its_own_table_ends(clean_database_url: str) -> None:
    execute(
        clean_database_url,
        "CREATE TABLE parts (id SERIAL KEY, name text NOT NULL, part_id int REFERENCES parts, "
        "UNIQUE (name, part_id)); INSERT INTO parts (id, name, part_id) VALUES (1, 'a', NULL), (2, 'b', 1)",
    )

    assert content_of(clean_database_url)["parts"].rows == 2
    assert differing(clean_database_url, "UPDATE parts SET part_id = 2 WHERE name = 'b'") == ["parts"]


def test_types_that_look_alike_differ(clean_postgres_url: str) -> None:
    def of(value: str) -> Content:
        clean(clean_postgres_url)
        execute(clean_postgres_url, f"CREATE TABLE t (v numeric); INSERT INTO t VALUES ({value})")
        return content_of(clean_postgres_url)["t"]

    assert of("1.5") != of("1.50")
