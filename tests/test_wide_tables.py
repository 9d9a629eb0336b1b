"""Wide tables: what the planner guesses of their rows must not make a load compare each row with every other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from seedlab.database.postgres import direct as postgres_direct
from seedlab.database.postgres import wide_tables
from tests.support.seeding import counted, execute, rows_of, seed

ROWS = wide_tables.ANALYZED_ROWS
WIDE = tuple(f"w{n} varchar(255)" for n in range(16))
PADDED = tuple(f"w{n} char(250)" for n in range(9))
TRIGGER = """
    CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN UPDATE items SET upper_name = upper(name) WHERE id = NEW.id; RETURN NULL; END $$;
    CREATE TRIGGER shouts AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION shout();
"""
KNOWN = "SELECT reltuples::int FROM pg_class WHERE oid = 'items'::regclass"


def make(url: str, folder: Path, more: Sequence[str], rows: int = ROWS) -> None:
    execute(
        url,
        f"""
        CREATE TABLE items (id bigint PRIMARY KEY, template_id bigint REFERENCES items, name text, upper_name text,
          {", ".join(more)});
        CREATE INDEX ON items (template_id);
        """,
    )
    lines = (f"{n},{max(1, n // 2)},n{n}\n" for n in range(1, rows + 1))
    (folder / "items.csv").write_text("id,template_id,name\n" + "".join(lines))


@pytest.mark.parametrize("more", [WIDE, PADDED], ids=["varchar", "char"])
@pytest.mark.parametrize("rebuild", [1, postgres_direct.REBUILD_ROWS], ids=["large", "small"])
def test_the_server_knows_how_many_rows_a_wide_table_has_when_its_foreign_keys_are_checked(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: Sequence[str], rebuild: int
) -> None:
    monkeypatch.setattr(postgres_direct, "REBUILD_ROWS", rebuild)
    make(postgres_url, tmp_path, more)
    execute(postgres_url, TRIGGER)  # which keeps the indexes of a large load on

    assert counted(seed(tmp_path, postgres_url)) == (ROWS, 0, 0)

    assert rows_of(postgres_url, KNOWN) == [(ROWS,)]
    assert rows_of(postgres_url, "SELECT count(*) FROM items WHERE upper_name = upper(name)") == [(ROWS,)]


@pytest.mark.parametrize(
    ("more", "rows", "further"),
    [(WIDE, ROWS, 1), (WIDE[:15], ROWS, 0), (WIDE, ROWS - 1, 0)],
    ids=["wide", "not-wide", "few-rows"],
)
def test_only_tables_that_the_planner_guesses_badly_cost_a_statement(
    postgres_url: str, tmp_path: Path, more: Sequence[str], rows: int, further: int
) -> None:
    make(postgres_url, tmp_path, more, rows)
    sent = seed(tmp_path, postgres_url).counters.statements

    execute(postgres_url, "TRUNCATE items; DROP SCHEMA seedlab CASCADE; ALTER TABLE items ALTER w0 TYPE text")
    narrow = seed(tmp_path, postgres_url)
    assert sent == narrow.counters.statements + further
