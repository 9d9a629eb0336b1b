"""Large empty tables that refer to tables with rows: keys to these come off as well, and all is as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedlab.database.postgres import direct as postgres_direct
from seedlab.database.postgres import write as postgres_write
from seedlab.errors import DataFaults
from seedlab.flow import Run
from tests.support.asking import asking
from tests.support.seeding import counted, execute, rows_of, seed, stored, write
from tests.test_grow import TRIGGER, files
from tests.test_rebuild import DEFINITIONS, NODES, TABLES, rebuilt

BEFORE, NEW = 60, 300
VISITS = """
CREATE TABLE visits (id uuid PRIMARY KEY, pupil_id uuid NOT NULL REFERENCES pupils, city_id uuid NOT NULL REFERENCES cities,
  day date NOT NULL, rank int, note text, UNIQUE (pupil_id, day));
CREATE INDEX ON visits (city_id);
COMMENT ON CONSTRAINT visits_city_id_fkey ON visits IS 'where ''it'' was'
"""
KEYS = "SELECT conname, oid::int8 FROM pg_constraint WHERE contype = 'f' AND conrelid = 'visits'::regclass"
INDEXES = {"visits_pkey", "visits_pupil_id_day_key", "visits_city_id_idx"}
BOTH = {"visits_pupil_id_fkey", "visits_city_id_fkey"}
SITUATIONS = {  # what becomes of the tables with rows in the run that fills the empty one
    "alone": {},
    "among": {"cities": "last,City,99\n"},
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every load is a large one, but for what grows tables with rows."""
    monkeypatch.setattr(postgres_direct, "REBUILD_ROWS", NEW)
    monkeypatch.setattr(postgres_direct, "REBUILD_TABLE_ROWS", 1)
    monkeypatch.setattr(postgres_write, "ARRAY_ROWS", 100)


@pytest.fixture
def url(clean_postgres_url: str) -> str:
    execute(clean_postgres_url, TABLES + ";" + VISITS)
    return clean_postgres_url


def visits(rows: int = NEW, more: str = "") -> dict[str, str]:
    each = "".join(f"p{n % BEFORE}@x,c{n % 7},2020-01-{1 + n // BEFORE:02},{n}\n" for n in range(rows))
    return {"visits.csv": f"pupil.email,city.code,day,rank\n{each}{more}"}


def school_in(folder: Path, url: str, script: str = "") -> Path:
    """A project that was seeded before the empty table had a file."""
    execute(url, script or "SELECT 1")
    seed(write(folder / "school", files(BEFORE)), url, disabled=["rebuild"])
    return folder / "school"


def fill(
    school: Path, url: str, situation: str = "among", more: str = "", **given: object
) -> tuple[Run, set[object], set[object]]:
    """Seed the empty table; answers the run, and the names of the indexes and foreign keys that were made anew."""
    write(school, {**files(BEFORE, **SITUATIONS[situation]), **visits(more=more)})
    indexes, keys = rows_of(url, NODES), rows_of(url, KEYS)
    run = seed(school, url, **given)  # type: ignore[arg-type]
    return run, rebuilt(url, indexes), renewed(url, keys)


def renewed(url: str, before: list[tuple[object, ...]]) -> set[object]:
    """Names of the foreign keys that were made anew."""
    return {name for name, _ in set(rows_of(url, KEYS)) - set(before)}


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("workers", [0, 2])
def test_keys_and_indexes_come_off_and_are_as_they_were(
    tmp_path: Path, url: str, situation: str, workers: int
) -> None:
    school = school_in(tmp_path, url)
    before = rows_of(url, DEFINITIONS)

    run, indexes, keys = fill(school, url, situation, workers=workers, batch_rows=100)

    assert (indexes, keys) == (INDEXES, BOTH)
    assert rows_of(url, DEFINITIONS) == before
    assert counted(run) == (NEW + len(SITUATIONS[situation]), 0, 2 * BEFORE)
    assert run.notes == ()


def test_a_table_that_was_emptied_is_filled_as_before(tmp_path: Path, url: str) -> None:
    school = school_in(tmp_path, url)
    fill(school, url)
    rows = stored(url)
    execute(url, "TRUNCATE visits")

    for options, expected in (
        ({}, (INDEXES, BOTH)),
        ({"force": True}, (INDEXES, BOTH)),
        ({"disabled": ["rebuild"]}, (set(), set())),
    ):
        run, indexes, keys = fill(school, url, **options)  # type: ignore[arg-type]
        assert (indexes, keys) == expected
        assert counted(run)[:2] == (NEW, 0)
        assert stored(url) == rows
        execute(url, "TRUNCATE visits")


STAYING = {
    "a key to a table that is not ours": (
        "CREATE TABLE owners (id int PRIMARY KEY); ALTER TABLE visits ADD owner_id int REFERENCES owners",
        "",
        (INDEXES, BOTH),
    ),
    "a key that is not valid": (
        (
            "ALTER TABLE visits DROP CONSTRAINT visits_city_id_fkey;"
            "ALTER TABLE visits ADD FOREIGN KEY (city_id) REFERENCES cities NOT VALID"
        ),
        "",
        (INDEXES, {"visits_pupil_id_fkey"}),
    ),
    "a parent that inherits": (
        "CREATE TABLE more () INHERITS (cities)",
        "",
        (INDEXES, {"visits_pupil_id_fkey"}),
    ),
    "a key from a table with rows": (
        "CREATE TABLE shops (visit_id uuid REFERENCES visits); INSERT INTO shops VALUES (NULL)",
        "visits_pkey: a foreign key that stays on needs it",
        (INDEXES - {"visits_pkey"}, BOTH),
    ),
    "a trigger": (
        TRIGGER.format("INSERT").replace("pupils", "visits"),
        "trigger tr may need them",
        (set(), set()),
    ),
    "a published table": (
        "CREATE PUBLICATION p FOR TABLE visits",
        "visits_pkey: it is published",
        (set(), BOTH),
    ),
    "row-level security": ("ALTER TABLE visits ENABLE ROW LEVEL SECURITY", "", (set(), set())),
}


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize(("script", "why", "expected"), STAYING.values(), ids=STAYING)
def test_what_must_stay_on_stays(
    tmp_path: Path, url: str, situation: str, script: str, why: str, expected: tuple[set[str], set[str]]
) -> None:
    school = school_in(tmp_path, url, script)
    before = rows_of(url, DEFINITIONS)

    run, indexes, keys = fill(school, url, situation)

    assert (indexes, keys) == expected
    assert rows_of(url, DEFINITIONS) == before
    assert any(why in note for note in run.notes) or not why
    assert counted(run)[0] == NEW + len(SITUATIONS[situation])


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize(("table", "expected"), [("cities", (INDEXES, set())), ("visits", (set(), set()))])
def test_a_reader_who_holds_a_lock_is_not_waited_for(
    tmp_path: Path, url: str, situation: str, table: str, expected: tuple[set[str], set[str]]
) -> None:
    school = school_in(tmp_path, url)
    indexes, keys = rows_of(url, NODES), rows_of(url, KEYS)
    with asking(url) as other, other.transaction():
        other.execute(f"SELECT FROM {table}")
        write(school, {**files(BEFORE, **SITUATIONS[situation]), **visits()})
        run = seed(school, url)

    assert (rebuilt(url, indexes), renewed(url, keys)) == expected
    assert rows_of(url, "SELECT count(*) FROM visits") == [(NEW,)]
    assert any("stay on during the load" in note and table in note for note in run.notes)


def test_rows_of_a_parent_that_are_still_to_be_checked(tmp_path: Path, url: str) -> None:
    """A table with pending deferred checks cannot be altered, which a key to it would need."""
    school = school_in(tmp_path, url)
    write(school, {**files(BEFORE, pupils="last@x,c1,p1@x\n"), **visits()})
    indexes, keys = rows_of(url, NODES), rows_of(url, KEYS)
    run = seed(school, url)

    assert rebuilt(url, indexes) == INDEXES
    assert rows_of(url, KEYS) == keys
    assert counted(run)[0] == NEW + 1
    assert any("pending trigger events" in note for note in run.notes)


@pytest.mark.parametrize(("situation", "expected"), [("alone", INDEXES), ("among", set())])
def test_nobody_who_reads_a_table_with_rows_waits_in_a_protected_environment(
    tmp_path: Path, url: str, situation: str, expected: set[str]
) -> None:
    _, indexes, keys = fill(school_in(tmp_path, url), url, situation, environment="production")
    assert (indexes, keys) == (expected, set())


def test_few_rows_keep_their_keys_on(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_direct, "REBUILD_ROWS", NEW + 1)
    _, indexes, keys = fill(school_in(tmp_path, url), url)
    assert (indexes, keys) == (set(), set())


def test_two_seeds_fill_one_empty_table(tmp_path: Path, url: str) -> None:
    """With other columns each, so that it is written twice."""
    school = school_in(tmp_path, url)
    seeds = "".join(
        f'[[stages.seeds]]\nname = "{name}"\nsource = "{source}.csv"\n'
        for name, source in (("c", "cities"), ("p", "pupils"), ("v", "visits"), ("w", "more/visits"))
    )
    noted = "".join(f"p{n % BEFORE}@x,c1,2021-01-{1 + n // BEFORE:02},hi\n" for n in range(NEW))
    write(school, {"seedlab.toml": f'[[stages]]\nid = "all"\n{seeds}'})
    write(school, {"more/visits.csv": f"pupil.email,city.code,day,note\n{noted}"})

    run, _, _ = fill(school, url)

    assert counted(run)[0] == 2 * NEW + 1
    assert rows_of(url, "SELECT count(rank), count(note) FROM visits") == [(NEW, NEW)]


# ---- faults ---------------------------------------------------------------------------------------------

WRONG = {
    "a rank twice": "p1@x,c1,2021-01-01,7\n",
    "a city that nobody knows": "p1@x,nowhere,2021-01-01,900\n",
    "a visit twice": "p1@x,c1,2020-01-01,900\n",
    "no number": "p1@x,c1,2021-01-01,seven\n",
}


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("more", WRONG.values(), ids=WRONG)
def test_a_wrong_row_is_told_as_without_and_nothing_is_written(
    tmp_path: Path, url: str, situation: str, more: str
) -> None:
    school = school_in(tmp_path, url, "ALTER TABLE visits ADD UNIQUE (rank)")
    before = [*rows_of(url, DEFINITIONS), *rows_of(url, NODES), *rows_of(url, KEYS)]

    with pytest.raises(DataFaults) as plain:
        fill(school, url, situation, more, disabled=["rebuild"])
    with pytest.raises(DataFaults) as caught:
        fill(school, url, situation, more)

    assert caught.value.faults == plain.value.faults
    assert all(fault.file == "visits.csv" and fault.line == NEW + 2 for fault in caught.value.faults[-1:])
    assert [*rows_of(url, DEFINITIONS), *rows_of(url, NODES), *rows_of(url, KEYS)] == before
    assert rows_of(url, "SELECT count(*) FROM visits") == [(0,)]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_parent_that_only_the_server_misses_is_told_with_its_line(
    tmp_path: Path, url: str, situation: str
) -> None:
    """The file names it by its id, so that nothing is looked up."""
    school = school_in(tmp_path, url, "ALTER TABLE visits ALTER pupil_id DROP NOT NULL")
    known = rows_of(url, "SELECT id FROM cities LIMIT 1")[0][0]
    stranger = "00000000-0000-4000-8000-000000000001"
    lines = [f"{n:08x}-0000-4000-8000-000000000000,{known},2020-01-01\n" for n in range(NEW)]
    text = (
        "id,city_id,day\n" + "".join(lines) + f"{NEW:08x}-0000-4000-8000-000000000000,{stranger},2020-01-01\n"
    )
    write(school, {**files(BEFORE, **SITUATIONS[situation]), "visits.csv": text})

    with pytest.raises(DataFaults) as caught:
        seed(school, url)

    (fault,) = caught.value.faults
    assert (fault.file, fault.line) == ("visits.csv", NEW + 2)
