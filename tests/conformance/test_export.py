"""What is exported can be seeded into an empty copy of the schema, and makes the same database."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.fix_academy import Academies, content_of
from tests.support.cases import some
from tests.support.exporting import empty_copy, export, round_trip, texts
from tests.support.seeding import counted, execute, seed

LIBRARY = """
CREATE TABLE authors (id SERIAL KEY, slug text NOT NULL UNIQUE, name text, born int);
CREATE TABLE books (
  id uuid PRIMARY KEY, isbn text NOT NULL UNIQUE, title text, author_id int NOT NULL REFERENCES authors
);
CREATE TABLE chapters (
  id SERIAL KEY, book_id uuid NOT NULL REFERENCES books, position int NOT NULL, title text,
  UNIQUE (book_id, position)
);
CREATE TABLE quotes (
  id SERIAL KEY, chapter_id int REFERENCES chapters, code text NOT NULL UNIQUE, said_by int REFERENCES authors
);
"""
BOOKS = """
INSERT INTO authors (id, slug, name, born) VALUES (7, 'shelley', 'Mary Shelley', 1797), (9, 'austen', '', NULL);
INSERT INTO books VALUES
  ('6b3f4b1e-0000-4000-8000-000000000001', '978-1', 'Frankenstein', 7),
  ('6b3f4b1e-0000-4000-8000-000000000002', '978-0', 'Emma', 9);
INSERT INTO chapters (id, book_id, position, title) VALUES
  (3, '6b3f4b1e-0000-4000-8000-000000000001', 1, 'Letter 1'),
  (4, '6b3f4b1e-0000-4000-8000-000000000002', 1, 'Hartfield');
INSERT INTO quotes (chapter_id, code, said_by) VALUES (4, 'q1', 9), (NULL, 'q2', NULL);
"""


@pytest.fixture
def url(clean_database_url: str) -> str:
    return clean_database_url


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def made(url: str, schema: str, rows: str) -> str:
    execute(url, schema)
    execute(url, rows)
    return schema


def test_references_are_written_by_natural_keys_and_ids_are_left_out(url: str, out: Path) -> None:
    schema = made(url, LIBRARY, BOOKS)

    export(url, out)

    assert texts(out) == {
        "authors.csv": 'slug,name,born\nausten,"",\nshelley,Mary Shelley,1797\n',
        "books.csv": "isbn,title,author.slug\n978-0,Emma,austen\n978-1,Frankenstein,shelley\n",
        "chapters.csv": "book.isbn,position,title\n978-0,1,Hartfield\n978-1,1,Letter 1\n",
        "quotes.csv": "chapter.book.isbn,chapter.position,code,said_by.slug\n978-0,1,q1,austen\n,,q2,\n",
    }
    # The uuids were not made of keys, so the copy has others; all else is the same.
    copy = empty_copy(url, schema)
    assert counted(seed(out, copy)) == (8, 0, 0)
    export(copy, out.with_name("again"))
    assert texts(out.with_name("again")) == texts(out)


@pytest.mark.slow
@pytest.mark.parametrize("with_ids", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
def test_the_academy_comes_back_as_it_was(
    academies: Academies,
    academy_metadata: sa.MetaData,
    request: pytest.FixtureRequest,
    dialect: str,
    out: Path,
    *,
    with_ids: bool,
) -> None:
    url = academies.seeded(dialect).url
    copy = request.getfixturevalue({"postgresql": "clean_postgres_url", "sqlite": "sqlite_url"}[dialect])
    driver = sa.create_engine(copy.replace("postgresql://", "postgresql+psycopg://"))
    academy_metadata.create_all(driver)
    driver.dispose()

    made = export(url, out, with_ids=with_ids)
    run = seed(out, copy)

    assert (made.rows, counted(run)) == (5321, (5321, 0, 0))
    assert content_of(copy, academy_metadata) == content_of(url, academy_metadata)


def test_with_ids_every_value_is_as_it_was(url: str, out: Path) -> None:
    schema = made(url, LIBRARY, BOOKS)

    round_trip(url, schema, out, with_ids=True)

    assert texts(out)["quotes.csv"].splitlines()[0] == "id,chapter_id,code,said_by"


SHAPES = {
    "composite keys": (
        """
        CREATE TABLE rooms (building text, number int, seats int, PRIMARY KEY (building, number));
        CREATE TABLE lessons (
          code text PRIMARY KEY, building text, number int, FOREIGN KEY (building, number) REFERENCES rooms
        );
        """,
        ("INSERT INTO rooms VALUES ('A', 2, 5), ('A', 10, NULL), ('B', 2, 0);"
        "INSERT INTO lessons VALUES ('x', 'A', 10), ('y', NULL, NULL), ('z', 'A', NULL);"),
    ),
    "self reference": (
        "CREATE TABLE nodes (id SERIAL KEY, code text NOT NULL UNIQUE, parent_id int REFERENCES nodes);",
        "INSERT INTO nodes (id, code, parent_id) VALUES (5, 'root', 5), (6, 'a', 5), (7, 'b', 6), (8, 'c', NULL);",
    ),
    "a key through a self reference": (
        """CREATE TABLE nodes (
          id SERIAL KEY, parent_id int NOT NULL REFERENCES nodes, name text NOT NULL, UNIQUE (parent_id, name)
        );""",
        "INSERT INTO nodes (id, parent_id, name) VALUES (5, 5, 'root'), (6, 5, 'a'), (7, 6, 'a');",
    ),
    "a better key than the first": (
        """CREATE TABLE nodes (
          id SERIAL KEY, up int NOT NULL REFERENCES nodes, code text NOT NULL, kind text NOT NULL,
          CONSTRAINT a UNIQUE (up, code), CONSTRAINT z UNIQUE (code, kind)
        );""",
        "INSERT INTO nodes (id, up, code, kind) VALUES (5, 5, 'x', 'k'), (6, 5, 'y', 'k');",
    ),
    "a shared primary key": (
        """
        CREATE TABLE users (id SERIAL KEY, email text NOT NULL UNIQUE);
        CREATE TABLE profiles (user_id int PRIMARY KEY REFERENCES users, bio text);
        CREATE TABLE photos (name text PRIMARY KEY, profile_id int NOT NULL REFERENCES profiles);
        """,
        ("INSERT INTO users (id, email) VALUES (3, 'b@x'), (4, 'a@x');"
        "INSERT INTO profiles VALUES (3, 'hi'), (4, NULL); INSERT INTO photos VALUES ('p', 3);"),
    ),
    "two references to one table": (
        """
        CREATE TABLE people (id SERIAL KEY, name text NOT NULL UNIQUE);
        CREATE TABLE gifts (
          giver_id int NOT NULL REFERENCES people, taker_id int NOT NULL REFERENCES people, what text,
          PRIMARY KEY (giver_id, taker_id)
        );
        """,
        "INSERT INTO people (id, name) VALUES (8, 'a'), (9, 'b'); INSERT INTO gifts VALUES (8, 9, 'cup'), (9, 8, NULL);",
    ),
    "columns that share a name with a relation": (
        """
        CREATE TABLE people (id SERIAL KEY, name text NOT NULL UNIQUE);
        CREATE TABLE posts (id SERIAL KEY, slug text NOT NULL UNIQUE, author text, author_id int REFERENCES people);
        """,
        ("INSERT INTO people (id, name) VALUES (8, 'a');"
        "INSERT INTO posts (id, slug, author, author_id) VALUES (1, 's', 'someone', 8), (2, 't', NULL, NULL);"),
    ),
    "ids that columns without a foreign key hold": (
        """
        CREATE TABLE users (id SERIAL KEY, email text NOT NULL UNIQUE);
        CREATE TABLE events (id SERIAL KEY, user_id int, what text);
        """,
        ("INSERT INTO users (id, email) VALUES (3, 'b@x'), (4, 'a@x');"
        "INSERT INTO events (id, user_id, what) VALUES (1, 3, 'in'), (2, 4, 'out');"),
    ),
    "ids in references of several columns": (
        """
        CREATE TABLE tenants (id SERIAL KEY, slug text NOT NULL UNIQUE);
        CREATE TABLE users (
          id SERIAL KEY, tenant_id int NOT NULL REFERENCES tenants, email text NOT NULL UNIQUE, UNIQUE (tenant_id, id)
        );
        CREATE TABLE notes (
          code text PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, user_id int,
          FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id)
        );
        """,
        ("INSERT INTO tenants (id, slug) VALUES (5, 't'), (6, 's');"
        "INSERT INTO users (id, tenant_id, email) VALUES (7, 5, 'x'), (8, 6, 'y');"
        "INSERT INTO notes VALUES ('n', 5, 7), ('m', 6, 8);"),
    ),
    "no primary key": (
        """
        CREATE TABLE readings (sensor text NOT NULL, at int NOT NULL, value numeric(8,2));
        CREATE TABLE labels (code text UNIQUE, text text);
        """,
        ("INSERT INTO readings VALUES ('a', 1, 1.50), ('a', 2, NULL), ('b', 1, 0);"
        "INSERT INTO labels VALUES ('x', 'X'), ('y', '');"),
    ),
    "moments as other tools spell them": (
        "CREATE TABLE logs (code text PRIMARY KEY, at timestamp, due time);",
        """INSERT INTO logs VALUES ('a', '2024-01-01 00:00:00', '10:00:00'), ('b', '2024-01-01 00:00:00.500000', NULL),
        ('c', NULL, '10:00:00.000001');""",
    ),
    "keys with NULL": (
        """
        CREATE TABLE users (id SERIAL KEY, name text NOT NULL UNIQUE);
        CREATE TABLE seats (user_id int REFERENCES users, place int, note text, UNIQUE (user_id, place));
        CREATE TABLE rights (user_id int REFERENCES users, folder int, who int, mode int,
            UNIQUE (user_id, who), UNIQUE (folder, who));
        CREATE TABLE words (code text UNIQUE, word text, number int);
        CREATE TABLE codes (code text UNIQUE);
        CREATE TABLE chosen (user_id int REFERENCES users);
        """,
        ("INSERT INTO users (id, name) VALUES (7, 'ada'), (8, 'bob');"
        "INSERT INTO seats VALUES (8, NULL, 'x'), (8, 1, ''), (NULL, 1, NULL), (NULL, NULL, 'y'), (7, NULL, 'x');"
        "INSERT INTO rights VALUES (7, NULL, 1, 1), (8, NULL, 1, 2), (NULL, 1, 1, 3), (NULL, 2, 1, NULL);"
        "INSERT INTO words VALUES ('a', 'x', 1), (NULL, 'x', 1), (NULL, 'x', 2), (NULL, NULL, NULL);"
        "INSERT INTO codes VALUES ('a'), (NULL), (''); INSERT INTO chosen VALUES (NULL), (7), (7), (NULL);"),
    ),
    "no key, and equal rows": (
        """
        CREATE TABLE users (id SERIAL KEY, name text NOT NULL UNIQUE);
        CREATE TABLE notes (at text, word text, user_id int REFERENCES users);
        """,
        ("INSERT INTO users (name) VALUES ('ada'), ('bob'); INSERT INTO notes VALUES "
        "('a', 'x', 2), ('a', 'x', 2), (NULL, '', 1), (NULL, NULL, NULL), (NULL, NULL, NULL);"),
    ),
    "names that files, patterns and SQL know": (
        """
        CREATE TABLE "Order" ("Id" SERIAL KEY, "select" text NOT NULL UNIQUE, "Group Name" text, "a,b" text, "q""q" text);
        CREATE TABLE "group" (code text PRIMARY KEY, "orderId" int REFERENCES "Order");
        CREATE TABLE "01-first" (code text PRIMARY KEY);
        CREATE TABLE "a/b" (code text PRIMARY KEY);
        CREATE TABLE "_seedlab_x" (code text PRIMARY KEY);
        CREATE TABLE "x[1]*?" (code text PRIMARY KEY);
        CREATE TABLE ".hidden" (code text PRIMARY KEY);
        CREATE TABLE "ספרים" ("שם" text PRIMARY KEY, "a.b" text);
        CREATE TABLE "t.csv" (code text PRIMARY KEY);
        """,
        """INSERT INTO "Order" VALUES (4, 'k', 'g', 'x', 'y'); INSERT INTO "group" VALUES ('o', 4);"""
        + "".join(
            f"""INSERT INTO "{name}" VALUES ('1');"""
            for name in ("01-first", "a/b", "_seedlab_x", "x[1]*?", ".hidden", "t.csv")
        )
        + """INSERT INTO "ספרים" VALUES ('ספר', 'dot');""",
    ),
    "text that begins like a file": (
        "CREATE TABLE texts (code text PRIMARY KEY, value text);",
        "INSERT INTO texts VALUES ('\ufeff', 'x'), ('\ufeffa', '\ufeff');",
    ),
    "naughty text": (
        "CREATE TABLE texts (code text PRIMARY KEY, value text);",
        "INSERT INTO texts VALUES "
        + ", ".join(
            f"('{n:02}', {value})"
            for n, value in enumerate(
                ["NULL", "''", "' '", "'null'", "'\\N'", "'\\.'", "'\"'", "''''", "'a,b'", "'a\tb'", "'a\nb'",
                 "'a\r\nb'", "'\r'", "'\n'", "'\\'", "'שלום'", "'e\u0301'", "'😀'", "'007'", "'=1+1'", "'#x'", "'\u2028'"]
            )
        )
        + ";",
    ),
}  # fmt: skip


@pytest.mark.parametrize("with_ids", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "shape",
    some(
        SHAPES,
        "composite keys",
        "a key through a self reference",
        "ids in references of several columns",
        "text that begins like a file",
    ),
)
def test_a_round_trip_makes_the_same_database(shape: str, url: str, out: Path, *, with_ids: bool) -> None:
    schema = made(url, *SHAPES[shape])

    round_trip(url, schema, out, with_ids=with_ids)
