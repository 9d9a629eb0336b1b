"""What becomes of rows, counted: one contract for every level on both dialects."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedlab.errors import DataFaults
from tests.support.school import CITIES, PUPILS, SEED, STAGE
from tests.support.seeding import Way, counted, dump, execute, rows_of, seed_in, write

IDS = "SELECT c.id, c.code, p.id, p.name FROM cities c LEFT JOIN pupils p ON p.city_id = c.id ORDER BY 2, 4"


def whole(values: list[list[object]]) -> list[list[object]]:
    """As `dump` gives integers: text on PostgreSQL, numbers on SQLite."""
    return [[None if each is None else str(each) for each in row] for row in values]


# ---- created, updated, unchanged ------------------------------------------------------------------------


def test_empty_tables_are_filled(school: Path, url: str, every_way: Way) -> None:
    run = seed_in(every_way, school, url)

    held = dump(url)
    assert counted(run) == (5, 0, 0)
    assert held["cities"] == [["hfa", "Haifa"], ["tlv", "Tel Aviv"]]
    assert whole(held["pupils"]) == [
        ["Ada", "['hfa']", "9"],
        ["Bob", "['tlv']", None],
        ["Cid", "['hfa']", "11"],
    ]


def test_a_second_run_changes_nothing_and_takes_no_id(school: Path, url: str, every_way: Way) -> None:
    seed_in(every_way, school, url)
    before = rows_of(url, IDS)

    run = seed_in(every_way, school, url)

    execute(url, "INSERT INTO cities (code) VALUES ('new')")
    after = rows_of(url, IDS)
    assert counted(run) == (0, 0, 5)
    assert [row for row in after if row[1] != "new"] == before
    assert rows_of(url, "SELECT id FROM cities WHERE code = 'new'") == [(3,)]


def test_of_one_changed_value_one_row_is_updated(school: Path, url: str, every_way: Way) -> None:
    seed_in(every_way, school, url)
    before = rows_of(url, IDS)
    write(school, {"pupils.csv": PUPILS.replace("Ada,hfa,9", "Ada,hfa,10")})

    run = seed_in(every_way, school, url)

    assert counted(run) == (0, 1, 4)
    assert rows_of(url, "SELECT age FROM pupils WHERE name = 'Ada'") == [(10,)]
    assert rows_of(url, IDS) == before


def test_a_value_that_becomes_null_is_updated(school: Path, url: str, way: Way) -> None:
    seed_in(way, school, url)
    write(school, {"pupils.csv": PUPILS.replace("Ada,hfa,9", "Ada,hfa,")})

    run = seed_in(way, school, url)

    assert counted(run) == (0, 1, 4)
    assert rows_of(url, "SELECT age FROM pupils WHERE name = 'Ada'") == [(None,)]


def test_an_added_row_is_created(school: Path, url: str, every_way: Way) -> None:
    seed_in(every_way, school, url)
    write(school, {"pupils.csv": PUPILS + "Dan,tlv,8\n"})

    run = seed_in(every_way, school, url)

    assert counted(run) == (1, 0, 5)
    assert rows_of(url, "SELECT count(*) FROM pupils WHERE name = 'Dan'") == [(1,)]


def test_a_row_that_left_the_file_stays(school: Path, url: str, way: Way) -> None:
    seed_in(way, school, url)
    write(school, {"pupils.csv": PUPILS.replace("Cid,hfa,11\n", "")})

    run = seed_in(way, school, url)

    assert counted(run) == (0, 0, 4)
    assert rows_of(url, "SELECT count(*) FROM pupils") == [(3,)]


def test_a_moved_child_points_to_its_new_parent(school: Path, url: str, way: Way) -> None:
    seed_in(way, school, url)
    write(school, {"pupils.csv": PUPILS.replace("Ada,hfa", "Ada,tlv")})

    run = seed_in(way, school, url)

    assert counted(run) == (0, 1, 4)
    assert ["Ada", "['tlv']", "9"] in whole(dump(url)["pupils"])


def test_rows_of_an_application_keep_their_ids_and_get_children(
    school: Path, url: str, every_way: Way
) -> None:
    execute(url, "INSERT INTO cities (id, code, name) VALUES (77, 'hfa', 'old'), (78, 'app', 'its own')")

    run = seed_in(every_way, school, url)

    assert counted(run) == (4, 1, 0)
    assert rows_of(url, "SELECT id, name FROM cities WHERE code IN ('app', 'hfa') ORDER BY 1") == [
        (77, "Haifa"),
        (78, "its own"),
    ]
    assert rows_of(url, "SELECT name FROM pupils WHERE city_id = 77 ORDER BY 1") == [("Ada",), ("Cid",)]


def test_in_insert_mode_rows_that_exist_are_left_as_they_are(school: Path, url: str, way: Way) -> None:
    execute(url, "INSERT INTO cities (id, code, name) VALUES (77, 'hfa', 'old')")
    config = STAGE.format("all") + "".join(
        SEED.format(name, f"{name}.csv") + 'mode = "insert"\n' for name in ("cities", "pupils")
    )
    write(school, {"seedlab.toml": config})

    run = seed_in(way, school, url)

    assert counted(run) == (4, 0, 1)
    assert rows_of(url, "SELECT name FROM cities WHERE id = 77") == [("old",)]


def test_two_seeds_fill_one_table_and_are_counted_apart(folder: Path, url: str, way: Way) -> None:
    config = STAGE.format("cities") + "".join(
        SEED.format(name, f"{name}.csv") + 'table = "cities"\n' for name in ("north", "south")
    )
    write(folder, {"seedlab.toml": config, "north.csv": CITIES, "south.csv": "name,code\nEilat,eil\n"})
    seed_in(way, folder, url)
    write(folder, {"south.csv": "name,code\nEylat,eil\nArad,ard\n"})

    run = seed_in(way, folder, url)

    (stage,) = run.stages
    told = {each.name: each.tables[0].outcomes for each in stage.seeds}
    assert (told["north"].created, told["north"].updated, told["north"].unchanged) == (0, 0, 2)
    assert (told["south"].created, told["south"].updated, told["south"].unchanged) == (1, 1, 0)
    assert rows_of(url, "SELECT code, name FROM cities ORDER BY 1") == [
        ("ard", "Arad"),
        ("eil", "Eylat"),
        ("hfa", "Haifa"),
        ("tlv", "Tel Aviv"),
    ]


def test_the_same_key_in_two_seeds_is_a_fault(folder: Path, url: str, way: Way) -> None:
    config = STAGE.format("cities") + "".join(
        SEED.format(name, f"{name}.csv") + 'table = "cities"\n' for name in ("north", "south")
    )
    write(folder, {"seedlab.toml": config, "north.csv": CITIES, "south.csv": "code,name\nhfa,Haifa\n"})

    with pytest.raises(DataFaults) as failed:
        seed_in(way, folder, url)

    assert [(each.rule, each.file, each.line) for each in failed.value.faults] == [
        ("duplicate-key", "south.csv", 2)
    ]
    assert dump(url) == {"cities": [], "pupils": []}


@pytest.mark.parametrize(("keep", "name"), [("first", "Haifa"), ("last", "Hefa")])
def test_of_duplicates_the_first_or_last_is_kept(
    folder: Path, url: str, way: Way, keep: str, name: str
) -> None:
    config = STAGE.format("cities") + SEED.format("cities", "cities.csv") + f'duplicates = "{keep}"\n'
    write(folder, {"seedlab.toml": config, "cities.csv": CITIES + "hfa,Hefa\n"})

    runs = [seed_in(way, folder, url) for _ in range(2)]

    assert [counted(run) for run in runs] == [(2, 0, 0), (0, 0, 2)]
    assert rows_of(url, "SELECT name FROM cities WHERE code = 'hfa'") == [(name,)]


# ---- ids ------------------------------------------------------------------------------------------------


def test_the_next_default_insert_works_at_once(school: Path, url: str, way: Way) -> None:
    seed_in(way, school, url)

    execute(
        url, "INSERT INTO cities (code) VALUES ('new'); INSERT INTO pupils (name, city_id) VALUES ('Eve', 1)"
    )

    assert rows_of(url, "SELECT max(id) FROM cities") == [(3,)]
    assert rows_of(url, "SELECT age FROM pupils WHERE name = 'Eve'") == [(6,)]


def test_explicit_ids_are_kept_and_the_sequence_ends_above_them(folder: Path, url: str, way: Way) -> None:
    write(folder, {"cities.csv": "id,code\n50,hfa\n40,tlv\n", "pupils.csv": "id,name,city.code\n7,Ada,hfa\n"})

    runs = [seed_in(way, folder, url) for _ in range(2)]

    execute(url, "INSERT INTO cities (code) VALUES ('new')")
    assert [counted(run) for run in runs] == [(3, 0, 0), (0, 0, 3)]
    assert rows_of(url, "SELECT id, code FROM cities ORDER BY 1") == [(40, "tlv"), (50, "hfa"), (51, "new")]
    assert rows_of(url, "SELECT id, city_id FROM pupils") == [(7, 50)]


def test_an_explicit_id_is_never_given_to_a_row_that_has_another(folder: Path, url: str, way: Way) -> None:
    execute(url, "INSERT INTO cities (id, code, name) VALUES (77, 'hfa', 'old')")
    config = STAGE.format("cities") + SEED.format("cities", "cities.csv")
    config += '[stages.seeds.tables]\ncities = { key = ["code"] }\n'
    write(folder, {"seedlab.toml": config, "cities.csv": "id,code,name\n50,hfa,new\n"})

    with pytest.raises(DataFaults) as failed:
        seed_in(way, folder, url)

    assert [(each.rule, each.file, each.line) for each in failed.value.faults] == [
        ("id-conflict", "cities.csv", 2)
    ]
    assert rows_of(url, "SELECT id, name FROM cities") == [(77, "old")]


# ---- columns that the files do not have -----------------------------------------------------------------


def test_an_absent_column_takes_its_default_and_is_left_alone_later(folder: Path, url: str, way: Way) -> None:
    write(folder, {"cities.csv": CITIES, "pupils.csv": "name,city.code\nAda,hfa\n"})
    seed_in(way, folder, url)
    first = rows_of(url, "SELECT age FROM pupils")
    execute(url, "UPDATE pupils SET age = 12")

    run = seed_in(way, folder, url)

    assert first == [(6,)]
    assert counted(run) == (0, 0, 3)
    assert rows_of(url, "SELECT age FROM pupils") == [(12,)]


def test_a_field_missing_in_some_records_is_null(folder: Path, url: str, way: Way) -> None:
    write(
        folder,
        {
            "cities.csv": CITIES,
            "pupils.jsonl": '{"name": "Ada", "city": {"code": "hfa"}}\n{"name": "Bob", "city.code": "tlv", "age": 7}\n',
        },
    )

    seed_in(way, folder, url)

    assert whole(dump(url)["pupils"]) == [["Ada", "['hfa']", None], ["Bob", "['tlv']", "7"]]


@pytest.mark.parametrize(
    "empty",
    [{"cities.json": "[]"}, {"cities.jsonl": ""}, {"cities.yaml": "[]"}, {"cities.csv": "code,name\n"}],
)
def test_a_file_without_records_brings_none(folder: Path, url: str, way: Way, empty: dict[str, str]) -> None:
    execute(url, "INSERT INTO cities (code) VALUES ('hfa')")
    write(folder, {**empty, "pupils.csv": "name,city.code\nAda,hfa\n"})

    run = seed_in(way, folder, url)

    assert counted(run) == (1, 0, 0)
    assert rows_of(url, "SELECT count(*) FROM cities") == [(1,)]
