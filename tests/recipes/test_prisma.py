"""Names as Prisma makes them. Its engines cannot be had everywhere, so what it made of the schema is applied.

`migration.sql` is what `prisma migrate diff` wrote of `schema.prisma` (Prisma 6.19), `_prisma_migrations` what
`prisma migrate deploy` made.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.recipe import Recipe
from tests.support.seeding import execute, rows_of

LOG = """
CREATE TABLE "_prisma_migrations" (id varchar(36) PRIMARY KEY NOT NULL, checksum varchar(64) NOT NULL,
    finished_at timestamptz, migration_name varchar(255) NOT NULL, logs text, rolled_back_at timestamptz,
    started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count integer NOT NULL DEFAULT 0);
INSERT INTO "_prisma_migrations" (id, checksum, migration_name, applied_steps_count)
VALUES ('fe4ac230-e6d4-4915-88a6-018c8cc5f99c', '1a06a8', '20250101000000_init', 1);
"""


@pytest.fixture
def recipe(tmp_path: Path, clean_postgres_url: str) -> Recipe:
    recipe = Recipe("Prisma", tmp_path / "app", clean_postgres_url)
    assert recipe.commands[0] == "npx prisma migrate deploy"
    (migration,) = recipe.folder.glob("migrations/*/migration.sql")
    execute(clean_postgres_url, migration.read_text("utf-8"))
    execute(clean_postgres_url, LOG)
    recipe.url += "&schema=public"  # as `prisma init` writes it
    return recipe


def plain(recipe: Recipe) -> str:
    return recipe.url.removesuffix("&schema=public")


@pytest.mark.slow
def test_quoted_names_enums_and_the_implicit_relation_are_filled(recipe: Recipe) -> None:
    assert recipe.seed() == {"created": 10}
    assert recipe.seed() == {"unchanged": 10}

    posts = 'SELECT id, "authorId", price, meta, tags, "updatedAt"::text FROM "Post" ORDER BY slug'
    assert rows_of(plain(recipe), posts) == [
        ("post_bye", "user_ben", None, {}, [], "2025-01-01 00:00:00"),
        ("post_hello", "user_ada", None, {"reads": 3}, ["first", "two words"], "2025-01-01 00:00:00"),
    ]
    links = (
        """SELECT c.name, l."B" FROM "_CategoryToPost" l JOIN "Category" c ON c.id = l."A" ORDER BY 1, 2"""
    )
    assert rows_of(plain(recipe), links) == [
        ("News", "post_bye"),
        ("News", "post_hello"),
        ("Releases", "post_hello"),
    ]
    people = (
        'SELECT u.role::text, p.bio FROM "User" u LEFT JOIN "Profile" p ON p."userId" = u.id ORDER BY u.id'
    )
    assert rows_of(plain(recipe), people) == [("ADMIN", "Wrote the first program."), ("USER", None)]
    assert rows_of(plain(recipe), "SELECT count(*) FROM _prisma_migrations") == [(1,)]


@pytest.mark.slow
def test_the_application_goes_on(recipe: Recipe) -> None:
    """As Prisma's client does: a row without an id, and an update that sets `updatedAt`."""
    recipe.seed()
    execute(plain(recipe), """INSERT INTO "Category" (name) VALUES ('New');""")
    execute(plain(recipe), """UPDATE "Post" SET "updatedAt" = now() WHERE slug = 'bye';""")

    assert recipe.seed() == {"unchanged": 10}
    assert rows_of(plain(recipe), """SELECT id FROM "Category" WHERE name = 'New'""") == [(3,)]


@pytest.mark.slow
def test_the_link_table_can_be_a_file_of_its_own(recipe: Recipe) -> None:
    file = recipe.folder / "data" / "Post.json"
    text = file.read_text("utf-8")
    for names in (', "categories": ["News", "Releases"]', ', "categories": ["News"]'):
        text = text.replace(names, "")
    file.write_text(text, "utf-8")
    (file.parent / "_CategoryToPost.csv").write_text("A.name,B.slug\nReleases,bye\n", "utf-8")

    assert recipe.seed() == {"created": 8}
    assert rows_of(plain(recipe), 'SELECT "B" FROM "_CategoryToPost"') == [("post_bye",)]
