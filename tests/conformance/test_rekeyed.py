"""A table whose rows are known by another key than last time: they are found again, and none is made twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedlab.errors import ConfigurationError, DataFaults
from seedlab.flow import Run
from tests.support.cases import some
from tests.support.school import SEED, STAGE
from tests.support.seeding import counted, execute, rows_of, seed, undo, write

# How the rows get their ids: each is remembered in a way of its own.
IDS = {"a sequence": "id SERIAL KEY", "a uuid": "id uuid PRIMARY KEY", "none": "spare int"}
EACH_ID = some(IDS, "a uuid")
ITEMS = """
CREATE TABLE items ({0}, sku text NOT NULL UNIQUE, code text NOT NULL UNIQUE, name text);
"""
ROWS = "sku,code,name\ns1,c1,Cup\ns2,c2,Pan\ns3,c3,Pot\n"


@pytest.fixture(params=EACH_ID)
def url(request: pytest.FixtureRequest, clean_database_url: str) -> str:
    """A database with an empty table that has two natural keys."""
    execute(clean_database_url, ITEMS.format(IDS[request.param]))
    return clean_database_url


def stage(name: str, key: str, mode: str = "sync", *, waits_for: str = "") -> str:
    """A stage that fills the items from a file of its name, known by a key."""
    after = f'dependencies = ["{waits_for}"]\n' if waits_for else ""
    table = f'[stages.seeds.tables]\nitems = {{ path = "$", key = ["{key}"] }}\n'
    return STAGE.format(name) + after + SEED.format(name, f"{name}.csv") + f'mode = "{mode}"\n' + table


def known_by(folder: Path, key: str, rows: str = ROWS, mode: str = "sync") -> Path:
    return write(folder, {"seedlab.toml": stage("items", key, mode), "items.csv": rows})


def brought(folder: Path, key: str, first: str, second: str) -> Path:
    """Two seeds that fill one table."""
    config = stage("first", key) + stage("second", key)
    return write(folder, {"seedlab.toml": config, "first.csv": first, "second.csv": second})


def held(url: str) -> list[tuple[str, str, str]]:
    return rows_of(url, "SELECT sku, code, name FROM items ORDER BY 1, 2")


def identities(url: str) -> list[tuple[object, ...]]:
    columns = "id, sku" if "id" in names(url) else "sku"
    return rows_of(url, f"SELECT {columns} FROM items ORDER BY sku")


def is_uuid(url: str) -> bool:
    """Tell whether rows are told by an id of ours, whatever their keys."""
    stored = rows_of(url, "SELECT id FROM items") if "id" in names(url) else []
    return any(len(str(row[0])) >= 32 for row in stored)


def names(url: str) -> set[str]:
    if url.startswith("sqlite"):
        return {row[0] for row in rows_of(url, "SELECT name FROM pragma_table_info('items')")}
    return {
        row[0]
        for row in rows_of(
            url, "SELECT column_name FROM information_schema.columns WHERE table_name = 'items'"
        )
    }


def told(run: Run) -> tuple[int, int, int, int]:
    """Created, updated, unchanged, deleted."""
    return *counted(run), run.outcomes.deleted


def assert_settled(folder: Path, url: str, total: int) -> None:
    before = held(url)
    again = seed(folder, url)
    assert {each.status for each in again.stages} == {"skipped"}
    assert told(again) == (0, 0, total, 0)
    forced = seed(folder, url, force=True, max_delete="100%")
    assert told(forced) == (0, 0, total, 0)
    assert held(url) == before


# ---- another key in the configuration -------------------------------------------------------------------


@pytest.mark.parametrize("mode", some(["insert", "upsert", "sync"], "sync"))
def test_rows_known_by_another_key_are_found_again(folder: Path, url: str, mode: str) -> None:
    seed(known_by(folder, "sku", mode=mode), url)
    before, ids = held(url), identities(url)

    run = seed(known_by(folder, "code", mode=mode), url)

    assert told(run) == (0, 0, 3, 0)
    assert (held(url), identities(url)) == (before, ids)
    assert_settled(folder, url, 3)
    assert undo(folder, url).outcomes.deleted == 3


def test_a_key_may_change_to_and_fro(folder: Path, url: str) -> None:
    seed(known_by(folder, "sku"), url)
    ids = identities(url)

    runs = [seed(known_by(folder, key), url) for key in ("code", "sku", "code", "sku")]

    assert [told(run) for run in runs] == [(0, 0, 3, 0)] * 4
    assert identities(url) == ids
    assert_settled(folder, url, 3)
    assert undo(folder, url).outcomes.deleted == 3
    assert held(url) == []


def test_values_of_the_old_key_may_change_with_it(folder: Path, url: str) -> None:
    """By the new key these are the same rows: updated, neither made nor deleted."""
    seed(known_by(folder, "sku"), url)

    run = seed(
        known_by(folder, "code", ROWS.replace("s2", "s9").replace("Pot", "Jar")), url, max_delete="100%"
    )

    assert told(run) == (0, 2, 1, 0)
    assert held(url) == [("s1", "c1", "Cup"), ("s3", "c3", "Jar"), ("s9", "c2", "Pan")]
    assert_settled(folder, url, 3)
    # Without a uuid a row is told by its key, and that of `s9` is another: nobody knows that we made it.
    ours = 3 if is_uuid(url) else 2
    assert undo(folder, url).outcomes.deleted == ours


def test_only_what_left_is_deleted_with_a_change_of_the_key(folder: Path, url: str) -> None:
    execute(url, "INSERT INTO items (sku, code, name) VALUES ('s0', 'c0', 'Theirs')" if "id" not in names(url) else
            "SELECT 1")  # fmt: skip
    theirs = held(url)
    seed(known_by(folder, "sku"), url)

    run = seed(known_by(folder, "code", ROWS.replace("s2,c2,Pan\n", "s4,c4,Lid\n")), url, max_delete="1")

    assert told(run) == (1, 0, 2, 1)
    assert held(url) == [*theirs, ("s1", "c1", "Cup"), ("s3", "c3", "Pot"), ("s4", "c4", "Lid")]
    assert_settled(folder, url, 3)
    assert undo(folder, url).outcomes.deleted == 3
    assert held(url) == theirs


def test_a_row_that_left_before_the_key_changed_is_still_ours_if_a_uuid_tells_it(
    folder: Path, url: str
) -> None:
    """Without one its old key named it, and that names no row any more: it stays, and is nobody's."""
    seed(known_by(folder, "sku", mode="upsert"), url)
    seed(known_by(folder, "sku", ROWS.replace("s2,c2,Pan\n", ""), "upsert"), url)

    run = seed(known_by(folder, "code", ROWS.replace("s2,c2,Pan\n", ""), "upsert"), url)

    assert told(run) == (0, 0, 2, 0)
    ours = 3 if is_uuid(url) else 2
    assert undo(folder, url).outcomes.deleted == ours


def test_a_new_row_may_take_over_the_old_keys_value(folder: Path, url: str) -> None:
    """The value by which a row was known names another one now; that one is not deleted for it."""
    seed(known_by(folder, "sku"), url)

    run = seed(known_by(folder, "code", ROWS.replace("s2", "s9") + "s2,c4,Lid\n"), url, max_delete="100%")

    assert told(run) == (1, 1, 2, 0)
    assert held(url) == [
        ("s1", "c1", "Cup"),
        ("s2", "c4", "Lid"),
        ("s3", "c3", "Pot"),
        ("s9", "c2", "Pan"),
    ]
    assert_settled(folder, url, 4)


def test_a_row_that_takes_over_the_value_of_one_that_left_is_made(folder: Path, url: str) -> None:
    """`s2` is another row now; by its old key nobody could tell, and none is lost."""
    seed(known_by(folder, "sku"), url)
    execute(url, "UPDATE items SET sku = 's8' WHERE code = 'c2'")

    seed(known_by(folder, "code", ROWS.replace("s2,c2,Pan", "s2,c4,Lid")), url, max_delete="100%")

    assert {("s1", "c1", "Cup"), ("s2", "c4", "Lid"), ("s3", "c3", "Pot")} <= {*held(url)}


def test_a_stage_may_be_renamed_with_the_key(folder: Path, url: str) -> None:
    seed(known_by(folder, "sku"), url)
    ids = identities(url)
    write(folder, {"seedlab.toml": stage("goods", "code"), "goods.csv": ROWS})

    run = seed(folder, url, max_delete="100%")

    assert told(run) == (0, 0, 3, 0)
    assert identities(url) == ids
    assert undo(folder, url).outcomes.deleted == 3


# ---- a table shared by two seeds ------------------------------------------------------------------------

ONE, TWO = "sku,code,name\ns1,c1,Cup\ns2,c2,Pan\n", "sku,code,name\ns3,c3,Pot\ns4,c4,Lid\n"


def test_rows_of_two_seeds_are_found_again(folder: Path, url: str) -> None:
    seed(brought(folder, "sku", ONE, TWO), url)
    ids = identities(url)

    run = seed(brought(folder, "code", ONE, TWO), url)

    assert told(run) == (0, 0, 4, 0)
    assert identities(url) == ids
    assert_settled(folder, url, 4)
    assert undo(folder, url, "first").outcomes.deleted == 2
    assert [row[0] for row in held(url)] == ["s3", "s4"]


def test_of_two_seeds_only_what_left_is_deleted(folder: Path, url: str) -> None:
    seed(brought(folder, "sku", ONE, TWO), url)

    run = seed(brought(folder, "code", ONE.replace("s1,c1,Cup\n", ""), TWO.replace("s4,c4,Lid\n", "")), url, max_delete="2")  # fmt: skip

    assert told(run) == (0, 0, 2, 2)
    assert [row[0] for row in held(url)] == ["s2", "s3"]
    assert_settled(folder, url, 2)


def test_a_row_that_moves_to_the_other_seed_with_the_key_stays(folder: Path, url: str) -> None:
    seed(brought(folder, "sku", ONE, TWO), url)
    ids = identities(url)

    run = seed(brought(folder, "code", ONE.replace("s2,c2,Pan\n", ""), TWO + "s2,c2,Pan\n"), url, max_delete="100%")  # fmt: skip

    assert told(run) == (0, 0, 4, 0)
    assert identities(url) == ids
    assert_settled(folder, url, 4)
    assert undo(folder, url).outcomes.deleted == 4


def test_seeds_run_one_after_the_other_with_the_new_key_are_told_to_run_together(
    folder: Path, url: str
) -> None:
    seed(brought(folder, "sku", ONE, TWO), url)
    ids = identities(url)
    brought(folder, "code", ONE.replace("s2,c2,Pan\n", ""), TWO + "s2,c2,Pan\n")

    second = seed(folder, url, select=["second"], max_delete="100%")
    with pytest.raises(ConfigurationError, match="seed second, which fills the table too, does not run"):
        seed(folder, url, select=["first"], max_delete="100%")
    both = seed(folder, url, force=True, max_delete="100%")

    assert (told(second)[0], told(second)[3]) == (0, 0)
    assert (told(both)[0], told(both)[3]) == (0, 0)
    assert identities(url) == ids
    assert_settled(folder, url, 4)


def test_a_row_goes_to_a_seed_that_ran_before_with_the_new_key(folder: Path, url: str) -> None:
    seed(brought(folder, "sku", ONE, TWO), url)
    ids = identities(url)
    brought(folder, "code", ONE.replace("s2,c2,Pan\n", ""), TWO + "s2,c2,Pan\n")

    first = seed(folder, url, select=["second"])
    then = seed(folder, url, max_delete="100%")

    assert (told(first)[0], told(then)[0], told(then)[3]) == (0, 0, 0)
    assert identities(url) == ids
    assert_settled(folder, url, 4)


# ---- a key that the table has only now ------------------------------------------------------------------

OLD = "CREATE TABLE items ({0}, sku text UNIQUE, name text);"
# The files' key becomes `code`: its constraint comes first, by NOT NULL and by name.
MIGRATION = """
ALTER TABLE items ADD code text NOT NULL DEFAULT ''; UPDATE items SET code = 'c' || substr(sku, 2);
CREATE UNIQUE INDEX a_code ON items (code);
"""
PLAIN = STAGE.format("items") + SEED.format("items", "items.csv") + 'mode = "sync"\n'


@pytest.fixture(params=EACH_ID)
def older(request: pytest.FixtureRequest, clean_database_url: str) -> str:
    """A database whose table has one natural key."""
    execute(clean_database_url, OLD.format(IDS[request.param]))
    return clean_database_url


def test_a_new_unique_column_becomes_the_key_and_rows_are_found_by_it(folder: Path, older: str) -> None:
    write(folder, {"seedlab.toml": PLAIN, "items.csv": "sku,name\ns1,Cup\ns2,Pan\ns3,Pot\n"})
    seed(folder, older)
    ids = identities(older)
    execute(older, MIGRATION)

    run = seed(
        write(folder, {"items.csv": ROWS.replace("s3,c3,Pot\n", "s4,c4,Lid\n")}), older, max_delete="1"
    )

    key = {table.key for each in run.stages for part in each.seeds for table in part.tables}
    assert key == {("code",)}
    assert told(run) == (1, 0, 2, 1)
    assert identities(older)[:2] == ids[:2]
    assert [row[0] for row in held(older)] == ["s1", "s2", "s4"]
    assert_settled(folder, older, 3)


def test_a_new_unique_column_that_files_do_not_give_changes_nothing(folder: Path, older: str) -> None:
    write(folder, {"seedlab.toml": PLAIN, "items.csv": "sku,name\ns1,Cup\ns2,Pan\ns3,Pot\n"})
    seed(folder, older)
    execute(older, MIGRATION)

    run = seed(write(folder, {"items.csv": "sku,name\ns1,Cup\ns2,Pan\n"}), older, max_delete="1")

    assert told(run) == (0, 0, 2, 1)
    assert_settled(folder, older, 2)


def test_files_that_give_the_old_key_no_more_delete_only_what_an_id_names(folder: Path, older: str) -> None:
    write(folder, {"seedlab.toml": PLAIN, "items.csv": "sku,name\ns1,Cup\ns2,Pan\ns3,Pot\n"})
    seed(folder, older)
    execute(older, MIGRATION)

    run = seed(write(folder, {"items.csv": "code,name\nc1,Cup\nc2,Pan\n"}), older, max_delete="100%")

    # What left is known by its uuid; without one nothing in the files says which rows are which.
    left = ["s3"] if not is_uuid(older) else []
    assert told(run) == (0, 0, 2, 1 - len(left))
    assert [row[0] for row in held(older)] == ["s1", "s2", *left]


def test_rows_without_the_new_key_are_a_fault_and_not_made_twice(folder: Path, older: str) -> None:
    write(folder, {"seedlab.toml": PLAIN, "items.csv": "sku,name\ns1,Cup\ns2,Pan\ns3,Pot\n"})
    seed(folder, older)
    execute(older, "ALTER TABLE items ADD code text; CREATE UNIQUE INDEX a_code ON items (code)")
    write(folder, {"seedlab.toml": stage("items", "code"), "items.csv": ROWS})
    before = held(older)

    with pytest.raises(DataFaults) as failed:
        seed(folder, older, max_delete="100%")

    assert {fault.rule for fault in failed.value.faults} == {"unique"}
    assert held(older) == before
