"""[defaults]: what new rows get in columns that only the application fills, such as created_at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seedlab.cli import main
from seedlab.errors import ConfigurationError, DataFaults
from tests.support.seeding import Way, counted, execute, rows_of, seed, seed_in, write

TABLES = """
CREATE TABLE authors (id SERIAL KEY, email text NOT NULL UNIQUE, name text, born date,
    created_at text NOT NULL, kind text NOT NULL DEFAULT 'human');
CREATE TABLE posts (id SERIAL KEY, slug text NOT NULL UNIQUE,
    author_id int NOT NULL REFERENCES authors (id), created_at text NOT NULL);
"""
FILES = {
    "authors.csv": "email,name\nada@example.com,Ada\nben@example.com,Ben\n",
    "posts.csv": "slug,author.email\nhello,ada@example.com\n",
}
DEFAULTS = '[defaults]\ncreated_at = "2024-01-01"\nborn = "1900-01-01"\nkind = "robot"\n'
AUTHORS = "SELECT email, name, created_at, kind, born FROM authors ORDER BY email"


@pytest.fixture
def url(clean_database_url: str) -> str:
    execute(clean_database_url, TABLES)
    return clean_database_url


@pytest.fixture
def project(folder: Path) -> Path:
    return write(folder, {**FILES, "seedlab.toml": DEFAULTS})


def test_new_rows_get_them_where_column_and_default_are_missing(url: str, project: Path, way: Way) -> None:
    run = seed_in(way, project, url)

    assert counted(run) == (3, 0, 0)
    assert rows_of(url, AUTHORS) == [
        ("ada@example.com", "Ada", "2024-01-01", "human", None),
        ("ben@example.com", "Ben", "2024-01-01", "human", None),
    ]
    assert rows_of(url, "SELECT slug, created_at FROM posts") == [("hello", "2024-01-01")]


def test_an_update_leaves_them_alone(url: str, project: Path, way: Way) -> None:
    seed_in(way, project, url)
    execute(url, "UPDATE authors SET created_at = 'later'; UPDATE posts SET created_at = 'later';")
    again = seed_in(way, project, url)
    write(project, {"authors.csv": FILES["authors.csv"].replace("Ada", "Ada L.") + "cy@example.com,Cy\n"})
    changed = seed_in(way, project, url, force=True)

    assert (counted(again), counted(changed)) == ((0, 0, 3), (1, 1, 2))
    assert [row[1:3] for row in rows_of(url, AUTHORS)] == [
        ("Ada L.", "later"),
        ("Ben", "later"),
        ("Cy", "2024-01-01"),
    ]


def test_what_others_write_into_them_is_no_drift(url: str, project: Path) -> None:
    seed(project, url)
    execute(url, "UPDATE authors SET created_at = 'later';")

    assert [stage.status for stage in seed(project, url).stages] == ["skipped", "skipped"]


def test_a_file_that_has_the_column_has_its_way_beside_one_that_has_not(
    url: str, project: Path, way: Way
) -> None:
    write(project, {"more/authors.csv": "email,created_at\ncy@example.com,given\n"})
    seed_in(way, project, url)
    execute(url, "UPDATE authors SET created_at = 'later';")
    run = seed_in(way, project, url, force=True)

    assert counted(run) == (0, 1, 3)
    assert [row[2] for row in rows_of(url, AUTHORS)] == ["later", "later", "given"]


def test_another_value_is_for_rows_to_come(url: str, project: Path) -> None:
    seed(project, url)
    write(project, {"seedlab.toml": DEFAULTS.replace("2024", "2025")})
    write(project, {"authors.csv": FILES["authors.csv"] + "cy@example.com,Cy\n"})
    run = seed(project, url)

    assert counted(run) == (1, 0, 3)
    assert [row[2] for row in rows_of(url, AUTHORS)] == ["2024-01-01", "2024-01-01", "2025-01-01"]


def test_streamed_rows_get_them(url: str, project: Path) -> None:
    run = seed(project, url, batch_rows=1)

    assert counted(run) == (3, 0, 0)
    assert [row[2] for row in rows_of(url, AUTHORS)] == ["2024-01-01", "2024-01-01"]


def test_nested_records_get_them(url: str, folder: Path) -> None:
    record = {"email": "ada@example.com", "posts": [{"slug": "hello"}]}
    write(
        folder,
        {
            "people.json": json.dumps([record]),
            "seedlab.toml": DEFAULTS
            + '[[stages]]\nid = "people"\n  [[stages.seeds]]\n  name = "people"\n  source = "people.json"\n'
            '  tables = { authors = { path = "$" }, posts = { path = "posts" } }\n',
        },
    )

    assert counted(seed(folder, url)) == (2, 0, 0)
    assert rows_of(url, "SELECT created_at FROM posts") == [("2024-01-01",)]


def test_a_preview_counts_what_a_seed_does(
    url: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed(project, url)
    execute(url, "UPDATE authors SET created_at = 'later';")
    write(project, {"authors.csv": FILES["authors.csv"].replace("Ada", "Ada L.")})

    assert main(["plan", str(project), "--database-url", url, "--json", "--rows"]) == 0

    told = json.loads(capsys.readouterr().out)["outcomes"]
    assert (told["created"], told["updated"], told["unchanged"]) == (0, 1, 2)


def test_a_missing_column_says_what_to_do(url: str, folder: Path) -> None:
    write(folder, FILES)

    with pytest.raises(DataFaults) as refused:
        seed(folder, url)

    told = {(fault.table, fault.column): fault.message for fault in refused.value.faults}
    assert {column for _, column in told} == {"created_at"}
    for message in told.values():
        assert 'in seedlab.toml, below [defaults]: created_at = "…"' in message


def test_a_value_that_does_not_fit_is_told_to_be_a_default(url: str, project: Path) -> None:
    execute(url, "CREATE TABLE notes (slug text PRIMARY KEY NOT NULL, day date NOT NULL);")
    write(project, {"notes.csv": "slug\na\n", "seedlab.toml": f'{DEFAULTS}day = "soon"\n'})

    with pytest.raises(DataFaults) as refused:
        seed(project, url)

    (fault,) = refused.value.faults
    assert (fault.file, fault.table, fault.column, fault.rule) == ("notes.csv", "notes", "day", "type")
    assert fault.message == (
        "below [defaults] in seedlab.toml: column day of table notes is date, and the value is not"
    )


def test_ids_and_references_are_never_made_up(clean_database_url: str, folder: Path) -> None:
    execute(
        clean_database_url,
        """
        CREATE TABLE authors (id text PRIMARY KEY NOT NULL, email text NOT NULL UNIQUE);
        CREATE TABLE posts (slug text PRIMARY KEY NOT NULL, author_id text NOT NULL REFERENCES authors (id));
        """,
    )
    write(
        folder,
        {
            "authors.csv": "email\nada@example.com\n",
            "posts.csv": "slug\nhello\n",
            "seedlab.toml": '[defaults]\nid = "1"\nauthor_id = "1"\n',
        },
    )

    with pytest.raises(DataFaults) as refused:
        seed(folder, clean_database_url)

    told = {fault.column: fault.message for fault in refused.value.faults}
    assert "seedlab only makes ids that are uuids or come from a sequence" in told["id"]
    assert "name the row of authors that it refers to, as in author.COLUMN" in told["author_id"]


def test_a_default_is_a_text(folder: Path) -> None:
    write(folder, {**FILES, "seedlab.toml": "[defaults]\ncreated_at = 2024-01-01\n"})

    with pytest.raises(ConfigurationError, match=r"seedlab\.toml:2:defaults\.created_at: expected a string"):
        seed(folder, "sqlite:///x.db")
