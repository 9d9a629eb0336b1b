"""Alembic makes and changes the tables, seedlab fills them, and neither gets into the other's way."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, MetaData, Table, Text, create_engine

from tests.support.recipe import Recipe
from tests.support.seeding import execute, rows_of, seed, write

PRODUCTS = """
SELECT p.sku, p.price, p.stock, c.slug, u.slug FROM products p JOIN categories c ON c.id = p.category_id
LEFT JOIN categories u ON u.id = c.parent_id ORDER BY 1"""


@pytest.fixture
def recipe(tmp_path: Path, database_url: str) -> Recipe:
    url = database_url.replace("postgresql://", "postgresql+psycopg://")  # as Alembic needs it
    return Recipe("Alembic", tmp_path / "shop", url)


def plain(recipe: Recipe) -> str:
    return recipe.url.replace("+psycopg", "")


@pytest.mark.slow
def test_migrated_seeded_migrated_again_and_seeded_again(recipe: Recipe) -> None:
    migrate, fill = recipe.commands
    recipe.run(migrate)
    recipe.run(fill)

    url = plain(recipe)
    assert [(sku, Decimal(str(price)), *rest) for sku, price, *rest in rows_of(url, PRODUCTS)] == [
        ("MER-1", Decimal("12.50"), 0, "wine", "drinks"),
        ("SOA-1", Decimal("9.90"), 0, "wine", "drinks"),
        ("WAT-1", Decimal("1.00"), 0, "drinks", None),
    ]
    links = (
        "SELECT p.sku, t.tag_name FROM product_tags t JOIN products p ON p.id = t.product_id ORDER BY 1, 2"
    )
    assert rows_of(url, links) == [("MER-1", "dry"), ("MER-1", "red"), ("SOA-1", "dry")]
    assert rows_of(url, "SELECT version_num FROM alembic_version") == [("2b6d1f",)]

    shutil.move(recipe.folder / "later.py", recipe.folder / "migrations" / "versions" / "03_later.py")
    recipe.run(migrate)
    assert recipe.seed() == {"unchanged": 10}
    file = recipe.folder / "data" / "products.json"
    file.write_text(
        file.read_text("utf-8").replace('"price": 12.50', '"price": 12.50, "label": "new"'), "utf-8"
    )
    assert recipe.seed() == {"updated": 1, "unchanged": 9}

    assert rows_of(url, "SELECT sku, label FROM products WHERE label IS NOT NULL") == [("MER-1", "new")]
    assert rows_of(url, "SELECT version_num FROM alembic_version") == [("3c7e20",)]
    assert "alembic_version" not in recipe.run("seedlab status data --json")


def test_autogenerate_does_not_see_what_seedlab_keeps(tmp_path: Path, clean_database_url: str) -> None:
    url = clean_database_url.replace("postgresql://", "postgresql+psycopg://")
    told = Recipe("Alembic", tmp_path / "shop", url).python
    execute(clean_database_url, "CREATE TABLE days (name text PRIMARY KEY NOT NULL);")
    seed(write(tmp_path / "days", {"days.csv": "name\nfirst\n"}), clean_database_url)
    metadata = MetaData()
    Table("days", metadata, Column("name", Text, primary_key=True))

    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": told["include_name"]})
        differences = compare_metadata(context, metadata)
    engine.dispose()

    assert differences == []


@pytest.mark.slow
def test_a_downgrade_is_not_held_up_by_what_was_seeded(recipe: Recipe) -> None:
    """seedlab keeps what it remembers in tables of its own, without foreign keys to the user's."""
    migrate, fill = recipe.commands
    recipe.run(f"{migrate} && {fill} && alembic downgrade -1 && rm data/tags.csv")
    file = recipe.folder / "data" / "products.json"
    products = json.loads(file.read_text("utf-8"), parse_float=str)
    file.write_text(json.dumps([{**each, "tags": None} for each in products]).replace(', "tags": null', ""))

    assert recipe.seed() == {"unchanged": 5}
