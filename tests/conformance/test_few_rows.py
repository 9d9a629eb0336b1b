"""A few rows that changed: what is asked for them, and what the ledger knows without asking."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seedlab.steps.writing import transaction
from tests.support.again import in_sqlite, told
from tests.support.school import SEED, STAGE
from tests.support.seeding import counted, execute, rows_of, seed, write

TABLES = """
CREATE TABLE books (id uuid PRIMARY KEY, slug text NOT NULL UNIQUE, number int UNIQUE, title text);
CREATE TABLE pages (
  id uuid PRIMARY KEY, book_id uuid NOT NULL REFERENCES books, position int NOT NULL, text text,
  UNIQUE (book_id, position)
);
CREATE TABLE notes (code text PRIMARY KEY, book_number int NOT NULL REFERENCES books (number), text text);
"""
PROJECT = (
    '[project]\nname = "library"\n'
    + STAGE.format("library")
    + SEED.format("library", "*.json")
    + '[stages.seeds.tables]\nbooks = { path = "$", key = ["slug"] }\n'
    + 'pages = { path = "pages", key = ["book", "position"], columns = { position = "$index" } }\n'
    + 'notes = { path = "notes", key = ["code"] }\n'
)
OWN = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
PAGES_OF = "SELECT b.slug, p.position, p.text FROM pages p JOIN books b ON b.id = p.book_id ORDER BY b.slug, p.position"


def book(slug: str, number: int, pages: str, notes: str = "") -> dict[str, object]:
    return {
        "slug": slug,
        "number": number,
        "title": slug.upper(),
        "pages": [{"text": text} for text in pages],
        "notes": [{"code": f"{slug}-{text}", "text": text} for text in notes or "n"],
    }


def put(folder: Path, *books: dict[str, object]) -> None:
    write(folder, {"books.json": json.dumps(books)})


@pytest.fixture
def url(clean_database_url: str) -> str:
    execute(clean_database_url, TABLES)
    return clean_database_url


@pytest.fixture
def library(folder: Path) -> Path:
    """Two books with their pages and notes in one file."""
    write(folder, {"seedlab.toml": PROJECT})
    put(folder, book("atlas", 1, "ab"), book("bible", 2, "cd"))
    return folder


def nothing_left(library: Path, url: str) -> bool:
    return told(seed(library, url)) == [("skipped", "unchanged")]


def test_of_rows_as_we_made_them_nothing_is_asked(library: Path, url: str) -> None:
    seed(library, url)
    put(library, book("atlas", 1, "ab"), book("bible", 2, "cx"))

    changed = seed(library, url)

    assert counted(changed) == (0, 1, 7)
    assert changed.counters.cache_queries == 0
    assert rows_of(url, PAGES_OF)[-1] == ("bible", 2, "x")
    if not in_sqlite(url):
        assert (changed.counters.statements, changed.counters.round_trips) == (29, 8)
    assert nothing_left(library, url)


def test_what_is_remembered_stays_small_however_often_rows_change(library: Path, url: str) -> None:
    packs = "length(content) FROM seedlab.rows UNION ALL SELECT length(recent) FROM seedlab.rows"
    if in_sqlite(url):
        packs = "length(content) FROM seedlab_rows"
    sizes = []
    for run in range(16):
        put(library, *(book(f"b{number}", number, f"{run:x}") for number in range(100)))
        assert counted(seed(library, url))[:2] == ((300, 0) if run == 0 else (0, 100))
        sizes.append(sum(size for (size,) in rows_of(url, f"SELECT {packs}")))

    assert sizes[1] - sizes[0] > 1_000, "what changed was packed behind what was remembered"
    assert max(sizes) < sizes[0] + 25_000
    assert nothing_left(library, url)


def test_a_new_row_finds_its_parent_by_what_is_remembered(library: Path, url: str) -> None:
    seed(library, url)
    put(library, book("atlas", 1, "ab"), book("bible", 2, "cde"))

    assert counted(seed(library, url)) == (1, 0, 8)
    assert rows_of(url, PAGES_OF)[-1] == ("bible", 3, "e")
    assert nothing_left(library, url)


def test_a_parent_that_we_did_not_make_is_asked_for_its_id(library: Path, url: str) -> None:
    execute(url, f"INSERT INTO books VALUES ('{OWN}', 'bible', 2, 'own')")
    seed(library, url)
    put(library, book("atlas", 1, "ab"), book("bible", 2, "cde"))

    changed = seed(library, url)

    assert (counted(changed), changed.counters.cache_queries) == ((1, 0, 8), 2)
    assert [str(found) for (found,) in rows_of(url, "SELECT id FROM books WHERE slug = 'bible'")] == [OWN]
    assert rows_of(url, PAGES_OF)[-1] == ("bible", 3, "e")
    assert nothing_left(library, url)


def test_a_parent_is_asked_for_what_is_no_id(library: Path, url: str) -> None:
    seed(library, url)
    put(library, book("atlas", 1, "ab"), book("bible", 2, "cd", "no"))

    assert counted(seed(library, url)) == (1, 0, 8)
    assert rows_of(url, "SELECT code, book_number FROM notes ORDER BY code")[-1] == ("bible-o", 2)
    assert nothing_left(library, url)


def test_a_parent_whose_id_somebody_changed_is_not_trusted(library: Path, url: str) -> None:
    seed(library, url)
    execute(
        url, f"DELETE FROM pages WHERE text IN ('c', 'd'); UPDATE books SET id = '{OWN}' WHERE slug = 'bible'"
    )
    put(library, book("atlas", 1, "ab"), book("bible", 2, "cde"))

    seed(library, url)

    assert rows_of(url, PAGES_OF)[-3:] == [("bible", 1, "c"), ("bible", 2, "d"), ("bible", 3, "e")]
    assert [str(found) for (found,) in rows_of(url, "SELECT id FROM books WHERE slug = 'bible'")] == [OWN]
    assert nothing_left(library, url)


def test_a_parent_that_goes_while_we_prepare_is_made_again(
    library: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once we have looked; what we then write refers to nothing, so all is prepared anew and asked."""
    seed(library, url)
    put(library, book("atlas", 1, "ab"), book("bible", 2, "cde"))
    original = transaction.lock

    def meddling(*arguments: object) -> bool:
        monkeypatch.setattr(transaction, "lock", original)
        execute(url, "DELETE FROM pages; DELETE FROM notes; DELETE FROM books")
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(transaction, "lock", meddling)
    seed(library, url)

    assert len(rows_of(url, PAGES_OF)) == 5
    assert nothing_left(library, url)
