"""Stages that run without the stages beside them understand their files as in a whole run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.school import SEED, STAGE
from tests.support.seeding import Way, counted, ddl, dump, execute, rows_of, seed, seed_in, write

TABLES = """
CREATE TABLE groups (id {id}, slug text NOT NULL UNIQUE, name text);
CREATE TABLE goods (id {id}, sku text UNIQUE, ean text UNIQUE, name text, group_id {ref} REFERENCES groups);
CREATE TABLE orders (number text PRIMARY KEY, good_id {ref} NOT NULL REFERENCES goods);
"""
CONFIGURED = "\n".join(
    (
        STAGE.format("groups"),
        SEED.format("groups", "groups.csv"),
        STAGE.format("goods") + 'dependencies = ["groups"]',
        SEED.format("goods", "goods.csv"),
        STAGE.format("orders") + 'dependencies = ["goods"]',
        SEED.format("orders", "orders.csv"),
        STAGE.format("more") + 'dependencies = ["groups"]',
        SEED.format("more", "more.csv") + 'table = "goods"',
    )
)
FILES = {
    "seedlab.toml": CONFIGURED,
    "groups.csv": "slug,name\nred,Red\n",
    "goods.csv": "sku,name,group\nM1,Merlot,red\n",
    "orders.csv": "number,good.sku\n1,M1\n",
    "more.csv": "sku,ean,name,group.slug\nS1,42,Syrah,red\n",
}


@pytest.fixture
def shop(tmp_path: Path, clean_database_url: str) -> Path:
    kind = "uuid" if clean_database_url.startswith("postgresql") else "CHAR(32)"
    script = TABLES.replace("{id}", f"{kind} PRIMARY KEY").replace("{ref}", kind)
    execute(clean_database_url, ddl(clean_database_url, script))
    return write(tmp_path / "shop", FILES)


def test_a_bare_relation_means_the_same_when_its_parents_stage_is_unchanged(
    shop: Path, clean_database_url: str
) -> None:
    seed(shop, clean_database_url)
    (shop / "goods.csv").write_text("sku,name,group\nM1,Merlot 2021,red\n")

    run = seed(shop, clean_database_url)

    assert [stage.status for stage in run.stages] == ["skipped", "run", "run", "skipped"]
    assert rows_of(clean_database_url, "SELECT name FROM goods WHERE sku = 'M1'") == [("Merlot 2021",)]


def test_a_key_that_only_the_project_knows_names_parents_of_an_unchanged_stage(
    shop: Path, clean_database_url: str
) -> None:
    configured = CONFIGURED.replace('"groups.csv"', '"groups.csv"\ntables.groups.key = ["name"]')
    goods = "sku,name,group.name\nM1,{},Red\n"
    more = "sku,ean,name,group.name\nS1,42,Syrah,Red\n"
    write(shop, {"seedlab.toml": configured, "goods.csv": goods.format("Merlot"), "more.csv": more})
    seed(shop, clean_database_url)
    (shop / "goods.csv").write_text(goods.format("Merlot 2021"))

    seed(shop, clean_database_url)

    assert rows_of(clean_database_url, "SELECT name FROM goods WHERE sku = 'M1'") == [("Merlot 2021",)]


def test_a_dependency_is_none_the_less_declared_when_its_stage_is_unchanged(
    shop: Path, clean_database_url: str
) -> None:
    seed(shop, clean_database_url)
    write(
        shop, {"orders.csv": "number,good.sku\n1,S1\n", "more.csv": FILES["more.csv"] + "S2,43,Shiraz,red\n"}
    )

    seed(shop, clean_database_url)

    assert rows_of(clean_database_url, "SELECT sku FROM orders o JOIN goods g ON g.id = o.good_id") == [
        ("S1",)
    ]


def test_rows_of_two_stages_keep_the_key_that_both_can_give(shop: Path, clean_database_url: str) -> None:
    seed(shop, clean_database_url)
    (shop / "more.csv").write_text(FILES["more.csv"] + "S2,43,Shiraz,red\n")
    seed(shop, clean_database_url)
    held = dump(clean_database_url)
    execute(clean_database_url, "DELETE FROM orders; DELETE FROM goods")

    seed(shop, clean_database_url, force=True)

    assert dump(clean_database_url) == held


def test_a_key_declared_for_another_stages_seed_is_the_tables(shop: Path, clean_database_url: str) -> None:
    declared = CONFIGURED.replace('"goods.csv"', '"goods.csv"\ntables.goods.key = ["name"]')
    write(shop, {"seedlab.toml": declared})
    seed(shop, clean_database_url)
    (shop / "more.csv").write_text(FILES["more.csv"].replace("S1", "S9"))

    run = seed(shop, clean_database_url)

    assert (run.outcomes.created, run.outcomes.updated) == (0, 1)
    assert rows_of(clean_database_url, "SELECT sku FROM goods WHERE name = 'Syrah'") == [("S9",)]


DECLARED = """
[[stages]]
id = "tags"
  [[stages.seeds]]
  name = "tags"
  source = "tags.csv"
  [stages.seeds.tables]
  tags = { key = ["code"] }
[[stages]]
id = "notes"
dependencies = ["tags"]
  [[stages.seeds]]
  name = "notes"
  source = "notes.csv"
"""


def test_a_stage_that_is_selected_first_knows_the_keys_that_the_project_declares_of_others(
    folder: Path, clean_database_url: str, way: Way
) -> None:
    url = clean_database_url
    execute(
        url,
        "CREATE TABLE tags (id SERIAL KEY, code varchar(9) NOT NULL);"
        "CREATE TABLE notes (n int PRIMARY KEY, tag_id int NOT NULL REFERENCES tags);"
        "INSERT INTO tags (code) VALUES ('red');",
    )
    write(folder, {"seedlab.toml": DECLARED, "tags.csv": "code\nred\n", "notes.csv": "n,tag.code\n1,red\n"})

    assert counted(seed_in(way, folder, url, select=["notes"])) == (1, 0, 0)
    assert rows_of(url, "SELECT n, code FROM notes JOIN tags ON tags.id = tag_id") == [(1, "red")]
