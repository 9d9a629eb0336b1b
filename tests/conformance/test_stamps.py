"""Tables that are known to be unchanged by the transactions that wrote their rows, on PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import psycopg
import pytest

from seedlab.database.ledger import TRANSACTIONS
from seedlab.database.postgres import ledger_statements, stamp_statements
from seedlab.steps.remembering import stage_memory, table_state
from tests.conformance.test_drift import DRIFTS
from tests.support.again import INTACT, UNCHANGED, by_table, told
from tests.support.cases import some
from tests.support.school import PUPILS, SEED, STAGE
from tests.support.seeding import counted, dump, execute, rows_of, seed, undo, write


@pytest.fixture(autouse=True)
def stamped(monkeypatch: pytest.MonkeyPatch) -> None:
    """No table is so small that its marks are kept."""
    monkeypatch.setattr(stamp_statements, "UNMARKED_ROWS", 1)


@pytest.fixture
def clean_database_url(clean_postgres_url: str) -> str:
    """Only there are stamps."""
    return clean_postgres_url


@pytest.fixture
def unhashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No content is hashed in a look."""

    def refused(*_: object) -> NoReturn:
        raise AssertionError("a content is hashed")

    monkeypatch.setattr(ledger_statements, "contents", refused)


def stamps_of(url: str) -> dict[str, bool]:
    return dict(rows_of(url, 'SELECT "table", stamp IS NOT NULL FROM seedlab.tables ORDER BY 1'))


def marked(url: str) -> dict[str, bool]:
    return dict(rows_of(url, 'SELECT "table", marks IS NOT NULL FROM seedlab.tables ORDER BY 1'))


# ---- nothing changed ------------------------------------------------------------------------------------


def after_a_first_seed(school: Path, url: str) -> None:
    seed(school, url)


def after_rows_that_differ(school: Path, url: str) -> None:
    """A few rows of a file, twice; then the seed compares all of them with the target."""
    seed(school, url)
    for age in ("12", "13"):
        write(school, {"pupils.csv": PUPILS.replace("11", age)})
        seed(school, url)


def after_new_rows(school: Path, url: str) -> None:
    seed(school, url)
    write(school, {"pupils.csv": f"{PUPILS}Dan,tlv,8\n"})
    seed(school, url)


def after_a_merge(school: Path, url: str) -> None:
    """All rows are compared, and some differ."""
    seed(school, url)
    execute(url, "UPDATE pupils SET age = 1 WHERE name = 'Bob'")
    seed(school, url, force=True)


def after_a_rewrite(school: Path, url: str) -> None:
    seed(school, url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM FULL FREEZE pupils")


WAYS = {
    each.__name__.removeprefix("after_"): each
    for each in (
        after_a_first_seed,
        after_rows_that_differ,
        after_new_rows,
        after_a_merge,
        after_a_rewrite,
    )
}


@pytest.mark.parametrize("way", some(WAYS, "a_first_seed", "rows_that_differ"))
def test_what_nobody_changed_is_not_hashed(
    school: Path, url: str, way: str, request: pytest.FixtureRequest
) -> None:
    WAYS[way](school, url)
    assert stamps_of(url) == {"cities": True, "pupils": True}
    request.getfixturevalue("unhashed")

    again = seed(school, url)

    assert told(again) == UNCHANGED


def test_a_large_table_is_remembered_as_a_small_one(
    school: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is hashed by a statement of its own, which the server may run in parallel."""

    def remembered() -> list[tuple[object, ...]]:
        execute(url, "DROP SCHEMA IF EXISTS seedlab CASCADE; TRUNCATE pupils, cities RESTART IDENTITY")
        seed(school, url)
        columns = "\"table\", rows, xor, sum, (stamp->>'rows')::int8"
        return rows_of(url, f"SELECT {columns} FROM seedlab.tables ORDER BY 1")

    large, bare = remembered(), marked(url)
    monkeypatch.setattr(stamp_statements, "UNMARKED_ROWS", 100)
    small, kept = remembered(), marked(url)

    assert (bare, kept) == ({"cities": False, "pupils": False}, {"cities": True, "pupils": True})
    assert [row[1] for row in large] == [row[4] for row in large] == [2, 3]
    assert large == small


def test_a_table_that_turns_out_to_be_less_large_is_remembered_all_the_same(
    school: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stamp_statements, "UNMARKED_ROWS", 3)
    execute(
        url,
        "CREATE FUNCTION one_less() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN DELETE FROM pupils WHERE name = ''Bob''; RETURN NULL; END';"
        "CREATE TRIGGER one_less AFTER INSERT ON pupils EXECUTE FUNCTION one_less()",
    )

    seed(school, url)

    assert rows_of(url, "SELECT rows FROM seedlab.tables WHERE \"table\" = 'pupils'") == [(2,)]


# ---- what others did ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "drift", some(DRIFTS, "a swap", "a delete with children", "another row for one deleted")
)
def test_what_others_did_to_our_rows_is_seen(school: Path, url: str, drift: str) -> None:
    script, counts = DRIFTS[drift]
    seed(school, url)
    held = dump(url)
    execute(url, script)

    mended = seed(school, url)

    assert counted(mended) == counts
    assert dump(url)["cities"] == held["cities"]
    assert told(seed(school, url)) == UNCHANGED


SCRIPTS = {
    "values as they were": "UPDATE pupils SET age = age",
    "a subtransaction": "BEGIN; SAVEPOINT s; UPDATE pupils SET age = 1; RELEASE s; COMMIT",
    "other rows": "CREATE TABLE kept AS TABLE pupils; TRUNCATE pupils; UPDATE kept SET age = 1; "
    "INSERT INTO pupils SELECT * FROM kept; DROP TABLE kept",
    # No row of these is written.
    "another column": "ALTER TABLE pupils DROP size; ALTER TABLE pupils ADD size size DEFAULT 'small'; "
    "ALTER TABLE pupils ALTER size DROP DEFAULT",
    "columns that change their names": "ALTER TABLE pupils RENAME age TO a; "
    "ALTER TABLE pupils RENAME shoe TO age; ALTER TABLE pupils RENAME a TO shoe",
    "labels that change their names": "ALTER TYPE size RENAME VALUE 'small' TO 'tiny'; "
    "ALTER TYPE size RENAME VALUE 'large' TO 'small'; ALTER TYPE size RENAME VALUE 'tiny' TO 'large'",
}


@pytest.mark.parametrize("what", some(SCRIPTS, "another column", "labels that change their names"))
def test_whatever_is_done_to_a_table_the_next_run_leaves_what_the_files_say(
    school: Path, url: str, what: str
) -> None:
    execute(
        url,
        "CREATE TYPE size AS ENUM ('small', 'large'); "
        "ALTER TABLE pupils ADD shoe int, ADD size size, ALTER age DROP DEFAULT",
    )
    lines = ["Ada,hfa,9,33,small", "Bob,tlv,6,34,large", "Cid,hfa,11,35,small"]
    write(school, {"pupils.csv": "\n".join(["name,city.code,age,shoe,size", *lines, ""])})
    seed(school, url)
    query = "SELECT name, age, shoe, size::text FROM pupils ORDER BY 1"
    held = rows_of(url, query)
    execute(url, SCRIPTS[what])

    seed(school, url)

    assert rows_of(url, query) == held
    assert told(seed(school, url)) == UNCHANGED


def test_rows_of_others_are_told_from_ours_without_a_mark(school: Path, url: str) -> None:
    seed(school, url)
    execute(url, "INSERT INTO cities (code) VALUES ('own')")

    first = seed(school, url)
    execute(url, "UPDATE cities SET name = 'other' WHERE code = 'own'")
    second = seed(school, url)
    execute(url, "DELETE FROM cities WHERE code = 'own'")
    third = seed(school, url)

    assert marked(url) == {"cities": False, "pupils": False}
    assert [[reason for _, reason in told(run)] for run in (first, second, third)] == [
        [INTACT, "unchanged"],
        [INTACT, "unchanged"],
        ["unchanged", "unchanged"],
    ]


def test_a_change_of_a_row_beside_those_of_others_is_seen(school: Path, url: str) -> None:
    seed(school, url)
    execute(url, "INSERT INTO cities (code) VALUES ('own'); UPDATE cities SET name = 'x' WHERE code = 'hfa'")

    mended = seed(school, url)

    assert by_table(mended)["cities/cities"] == (0, 1, 1)
    assert told(seed(school, url)) == UNCHANGED


def test_a_row_that_somebody_changed_while_few_were_written_is_seen(school: Path, url: str) -> None:
    """It is changed when the run has looked, but has not begun to write."""
    seed(school, url)
    write(school, {"pupils.csv": PUPILS.replace("11", "12")})
    original = ledger_statements.marks_and_writers

    def meddling(*arguments: object) -> object:
        execute(url, "UPDATE pupils SET age = 99 WHERE name = 'Ada'")
        return original(*arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ledger_statements, "marks_and_writers", meddling)
        assert by_table(seed(school, url))["pupils/pupils"] == (0, 1, 2)

    mended = seed(school, url)

    assert by_table(mended)["pupils/pupils"] == (0, 1, 2)
    assert rows_of(url, "SELECT age FROM pupils ORDER BY name") == [(9,), (None,), (12,)]


# What two tables are filled with by one run, each with as many rows of the same transaction, and how they then
# change places. Nobody's key has a name that goes with its table.
PLACES = {
    "names of schemas": (
        "; ".join(
            f"CREATE SCHEMA {name} CREATE TABLE things (code text PRIMARY KEY, size int)"
            for name in ("one", "two")
        ),
        ("one.things", "two.things"),
        "ALTER SCHEMA one RENAME TO old; ALTER SCHEMA two RENAME TO one; ALTER SCHEMA old RENAME TO two",
    ),
    "names of tables": (
        "CREATE TABLE blue (code text, size int); CREATE TABLE green (code text, size int)",
        ("blue", "green"),
        "ALTER TABLE blue RENAME TO old; ALTER TABLE green RENAME TO blue; ALTER TABLE old RENAME TO green",
    ),
}


@pytest.mark.parametrize("what", some(PLACES, "names of schemas"))
def test_tables_that_change_places_are_not_taken_for_each_other(folder: Path, url: str, what: str) -> None:
    tables, names, moved = PLACES[what]
    execute(url, tables)
    write(folder, {f"{name}.csv": f"code,size\na,{n}\nb,{n}\n" for n, name in enumerate(names)})
    seed(folder, url)
    held = [rows_of(url, f"SELECT * FROM {name} WHERE size = {n}") for n, name in enumerate(names)]
    execute(url, moved)

    seed(folder, url)

    assert [rows_of(url, f"SELECT * FROM {name} WHERE size = {n}") for n, name in enumerate(names)] == held
    assert {status for status, _ in told(seed(folder, url))} == {"skipped"}


# The type of a column that is made of others → how one of these loses its values, while no row is written.
MADE_OF = {
    "a type": ("CREATE TYPE pair AS (l int, r int)", "pair", "TYPE pair {0} ATTRIBUTE"),
    "an array": ("CREATE TYPE pair AS (l int, r int)", "pair[]", "TYPE pair {0} ATTRIBUTE"),
    "a domain": (
        "CREATE TYPE pair AS (l int, r int); CREATE DOMAIN couple AS pair",
        "couple",
        "TYPE pair {0} ATTRIBUTE",
    ),
    "rows of a table": ("CREATE TABLE pair (l int, r int)", "pair", "TABLE pair {0} COLUMN"),
    "an array of rows": ("CREATE TABLE pair (l int, r int)", "pair[]", "TABLE pair {0} COLUMN"),
}


@pytest.mark.parametrize("what", some(MADE_OF, "a type", "an array of rows"))
def test_values_that_change_with_their_type_are_hashed(folder: Path, url: str, what: str) -> None:
    made, name, alter = MADE_OF[what]
    execute(url, f"{made}; CREATE TABLE things (code text PRIMARY KEY, value {name})")
    value = '"{""(1,2)""}"' if name.endswith("[]") else '"(1,2)"'
    write(folder, {"things.csv": f"code,value\na,{value}\nb,\n"})
    seed(folder, url)
    query = "SELECT code, value::text FROM things ORDER BY 1"
    held = rows_of(url, query)
    execute(url, f"ALTER {alter.format('DROP')} r; ALTER {alter.format('ADD')} r int")
    assert rows_of(url, query) != held

    seed(folder, url)

    assert rows_of(url, query) == held
    assert told(seed(folder, url)) == UNCHANGED[:1]


def test_a_row_that_a_trigger_changed_beside_the_few_that_were_written_is_seen(
    school: Path, url: str
) -> None:
    seed(school, url)
    execute(
        url,
        "CREATE FUNCTION beside() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        "UPDATE pupils SET age = 99 WHERE name = 'Ada' AND NEW.name = 'Cid'; RETURN NULL; END$$; "
        "CREATE TRIGGER beside AFTER UPDATE ON pupils FOR EACH ROW EXECUTE FUNCTION beside()",
    )
    write(school, {"pupils.csv": PUPILS.replace("11", "12")})
    seed(school, url)
    assert rows_of(url, "SELECT age FROM pupils ORDER BY name") == [(99,), (None,), (12,)]

    mended = seed(school, url)

    assert by_table(mended)["pupils/pupils"] == (0, 1, 2)
    assert rows_of(url, "SELECT age FROM pupils ORDER BY name") == [(9,), (None,), (12,)]
    assert told(seed(school, url)) == UNCHANGED


OPEN = {
    "a change": "UPDATE pupils SET age = 99 WHERE name = 'Ada'",
    "a row less": "DELETE FROM pupils WHERE name = 'Ada'",
    "another in its place": "DELETE FROM pupils WHERE name = 'Ada'; "
    "INSERT INTO pupils (name, city_id) SELECT 'Eve', id FROM cities WHERE code = 'hfa'",
}


@pytest.mark.parametrize("what", some(OPEN, "another in its place"))
@pytest.mark.parametrize("last", ["Cid,hfa,12", "Cid,hfa,11\nDan,tlv,8"], ids=["few rows", "new rows"])
def test_a_transaction_that_began_before_a_run_and_ended_after_it_is_seen(
    school: Path, url: str, what: str, last: str
) -> None:
    seed(school, url)
    with psycopg.connect(url) as other:
        other.execute(OPEN[what])
        write(school, {"pupils.csv": PUPILS.replace("Cid,hfa,11", last)})
        seed(school, url)
        held = rows_of(url, "SELECT name, age FROM pupils ORDER BY 1")
        other.commit()
    assert rows_of(url, "SELECT name, age FROM pupils ORDER BY 1") != held

    seed(school, url)

    assert rows_of(url, "SELECT name, age FROM pupils WHERE name <> 'Eve' ORDER BY 1") == held


# ---- no stamp -------------------------------------------------------------------------------------------


def test_where_a_deferred_trigger_may_still_change_rows_there_is_no_stamp(school: Path, url: str) -> None:
    execute(
        url,
        "CREATE FUNCTION older() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        "UPDATE pupils SET age = age + 1 WHERE id = NEW.id AND age < 12; RETURN NULL; END$$; "
        "CREATE CONSTRAINT TRIGGER later AFTER INSERT ON pupils DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION older()",
    )

    seed(school, url)

    assert stamps_of(url) == {"cities": False, "pupils": False}
    assert marked(url) == {"cities": True, "pupils": True}
    assert by_table(seed(school, url))["pupils/pupils"] == (0, 2, 1)


def test_a_table_that_too_many_wrote_has_none(school: Path, url: str) -> None:
    seed(school, url)
    with psycopg.connect(url, autocommit=True) as connection:
        for n in range(TRANSACTIONS):
            connection.execute("INSERT INTO cities (code) VALUES (%s)", (f"own {n}",))

    seed(school, url, force=True)

    assert stamps_of(url) == {"cities": False, "pupils": True}


def test_in_a_dump_that_was_restored_no_stamp_holds(school: Path, url: str) -> None:
    seed(school, url)
    tables = ("cities", "pupils", "seedlab.tables")
    kept = "; ".join(f"CREATE TABLE kept_{n} AS TABLE {name}" for n, name in enumerate(tables))
    emptied = f"TRUNCATE {', '.join(tables)}"
    filled = "; ".join(f"INSERT INTO {name} TABLE kept_{n}" for n, name in enumerate(tables))
    dropped = ", ".join(f"kept_{n}" for n, _ in enumerate(tables))
    execute(url, f"{kept}; UPDATE kept_1 SET age = 1; {emptied}; {filled}; DROP TABLE {dropped}")

    restored = seed(school, url)

    assert by_table(restored)["pupils/pupils"] == (0, 3, 0)
    assert told(seed(school, url)) == UNCHANGED


def test_a_ledger_that_has_no_place_for_stamps_is_kept_as_it_is(school: Path, url: str) -> None:
    seed(school, url)
    execute(url, "ALTER TABLE seedlab.tables DROP stamp")

    assert told(seed(school, url)) == UNCHANGED
    write(school, {"pupils.csv": PUPILS.replace("11", "12")})
    assert by_table(seed(school, url))["pupils/pupils"] == (0, 1, 2)
    assert told(seed(school, url)) == UNCHANGED


# ---- marks that are made when they are needed -----------------------------------------------------------


def test_a_few_rows_need_no_marks(school: Path, url: str) -> None:
    """Neither of their own table, nor of others of the same stage."""
    stage = STAGE.format("all") + SEED.format("cities", "cities.csv") + SEED.format("pupils", "pupils.csv")
    write(school, {"seedlab.toml": stage})
    seed(school, url)
    for age in ("12", "13"):
        write(school, {"pupils.csv": PUPILS.replace("11", age)})
        assert by_table(seed(school, url))["pupils/pupils"] == (0, 1, 2)

    assert marked(url) == {"cities": False, "pupils": False}
    assert told(seed(school, url)) == UNCHANGED[:1]


def test_a_table_into_which_another_project_seeds_is_vouched_for(
    school: Path, url: str, tmp_path: Path
) -> None:
    seed(school, url)
    assert marked(url) == {"cities": False, "pupils": False}
    other = write(tmp_path / "other", {"cities.csv": "code,name\nown,Other\n"})

    seed(other, url)

    assert marked(url) == {"cities": True, "pupils": False}
    assert told(seed(school, url)) == UNCHANGED
    assert told(seed(other, url)) == UNCHANGED[:1]
    execute(url, "UPDATE cities SET name = 'x' WHERE code = 'hfa'")
    assert by_table(seed(school, url))["cities/cities"] == (0, 1, 1)


def test_of_very_many_rows_none_are_made(
    school: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server puts no more than 1 GB into one value."""

    def refused(*_: object) -> NoReturn:
        raise AssertionError("marks are made")

    seed(school, url)
    for module in (table_state, stage_memory):
        monkeypatch.setattr(module, "MARKED_ROWS", 1)
    monkeypatch.setattr(ledger_statements, "store_marks", refused)

    seed(write(tmp_path / "other", {"cities.csv": "code,name\nown,Other\n"}), url)

    assert not marked(url)["cities"]
    execute(url, "UPDATE cities SET name = 'x' WHERE code = 'hfa'")
    assert by_table(seed(school, url))["cities/cities"] == (0, 1, 1)


def test_nothing_is_vouched_for_that_somebody_had_changed(school: Path, url: str, tmp_path: Path) -> None:
    seed(school, url)
    execute(url, "UPDATE cities SET name = 'x' WHERE code = 'hfa'")
    seed(write(tmp_path / "other", {"cities.csv": "code,name\nown,Other\n"}), url)

    assert by_table(seed(school, url))["cities/cities"] == (0, 1, 1)
    assert rows_of(url, "SELECT name FROM cities ORDER BY code") == [("Haifa",), ("Other",), ("Tel Aviv",)]
    assert not marked(url)["cities"]  # so it is compared each time


def test_a_rollback_of_one_run_leaves_the_other_rows_vouched_for(school: Path, url: str) -> None:
    seed(school, url)
    write(school, {"pupils.csv": f"{PUPILS}Dan,tlv,8\n"})
    second = seed(school, url)

    undo(school, url, run=second.run_id)
    write(school, {"pupils.csv": PUPILS})

    assert by_table(seed(school, url))["pupils/pupils"] == (0, 0, 3)
    assert told(seed(school, url)) == UNCHANGED
