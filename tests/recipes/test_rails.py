"""Names as Rails makes them: structure.sql is applied, for Rails itself is not to be had here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.recipe import Recipe
from tests.support.seeding import execute, rows_of


@pytest.fixture
def recipe(tmp_path: Path, clean_database_url: str) -> Recipe:
    recipe = Recipe("Rails", tmp_path / "blog", clean_database_url)
    assert recipe.commands[0] == "bin/rails db:migrate"
    name = "structure.sqlite.sql" if clean_database_url.startswith("sqlite") else "structure.sql"
    execute(clean_database_url, (recipe.folder / "db" / name).read_text("utf-8"))
    return recipe


@pytest.mark.slow
def test_timestamps_join_tables_and_polymorphic_rows_are_filled(recipe: Recipe) -> None:
    assert recipe.seed() == {"created": 10}
    assert recipe.seed() == {"unchanged": 10}

    posts = "SELECT p.slug, u.email, u.type, p.comments_count FROM posts p JOIN users u ON u.id = p.user_id ORDER BY 1"
    assert rows_of(recipe.url, posts) == [
        ("bye", "ben@example.com", None, 0),
        ("hello", "ada@example.com", "Admin", 1),
    ]
    links = """SELECT p.slug, t.name FROM posts_tags l JOIN posts p ON p.id = l.post_id JOIN tags t ON t.id = l.tag_id
        ORDER BY 1, 2"""
    assert rows_of(recipe.url, links) == [("bye", "news"), ("hello", "news"), ("hello", "ruby")]
    comments = """SELECT c.body, p.slug FROM comments c JOIN posts p
        ON c.commentable_type = 'Post' AND c.commentable_id = p.id"""
    assert rows_of(recipe.url, comments) == [("First!", "hello")]
    moments = "SELECT min(created_at), max(updated_at) FROM tags"
    assert {str(each)[:19] for each in rows_of(recipe.url, moments)[0]} == {"2025-01-01 00:00:00"}
    assert rows_of(recipe.url, "SELECT count(*) FROM schema_migrations") == [(2,)]
    assert rows_of(recipe.url, "SELECT value FROM ar_internal_metadata") == [("test",)]


@pytest.mark.slow
def test_the_application_goes_on(recipe: Recipe) -> None:
    """As Active Record does: a row without an id, and `touch`."""
    recipe.seed()
    moment = "'2026-01-01 00:00:00'"
    execute(
        recipe.url,
        f"INSERT INTO posts (user_id, slug, created_at, updated_at) SELECT id, 'new', {moment}, {moment} "
        f"FROM users WHERE type IS NULL; UPDATE posts SET updated_at = {moment};",
    )

    assert recipe.seed() == {"unchanged": 10}
    assert rows_of(recipe.url, "SELECT id FROM posts WHERE slug = 'new'") == [(3,)]
    assert {str(each[0])[:4] for each in rows_of(recipe.url, "SELECT updated_at FROM posts")} == {"2026"}
