"""What of a project runs, and into which tables: the same at every level on both dialects."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedlab.errors import ConfigurationError, DataFaults
from tests.support.school import CITIES, MODELED, MODELS, PUPILS, SEED, STAGE
from tests.support.seeding import Way, counted, dump, execute, rows_of, seed, seed_in, write

# ---- what runs ------------------------------------------------------------------------------------------

TWO_STAGES = (
    STAGE.format("cities")
    + 'conditions = ["empty:cities"]\n'
    + SEED.format("cities", "cities.csv")
    + STAGE.format("pupils")
    + 'dependencies = ["cities"]\n'
    + SEED.format("pupils", "pupils.csv")
)


def test_a_stage_whose_condition_is_not_met_is_skipped_unless_forced(
    school: Path, url: str, way: Way
) -> None:
    write(school, {"seedlab.toml": TWO_STAGES})
    seed_in(way, school, url)
    write(school, {"cities.csv": CITIES.replace("Haifa", "Hefa")})

    unforced = seed_in(way, school, url)
    forced = seed_in(way, school, url, force=True)

    assert unforced.stages[0].status == "skipped"
    assert "empty" in unforced.stages[0].reason
    assert counted(unforced) == (0, 0, 3)
    assert counted(forced) == (0, 1, 4)


def test_conditions_may_name_the_schema(school: Path, url: str) -> None:
    schema = "main" if url.startswith("sqlite") else "public"
    write(school, {"seedlab.toml": TWO_STAGES.replace("empty:cities", f"empty:{schema}.cities")})

    first, second = (seed(school, url).stages for _ in range(2))

    assert [stage.status for stage in first] == ["run", "run"]
    assert [stage.reason for stage in second] == [f"{schema}.cities is not empty", "unchanged"]


def test_a_condition_about_a_table_that_is_not_there_is_an_error(school: Path, url: str) -> None:
    write(school, {"seedlab.toml": TWO_STAGES.replace("empty:cities", "empty:citys")})

    with pytest.raises(ConfigurationError, match=r"no table 'citys'.*did you mean 'cities'"):
        seed(school, url)


def test_selected_children_find_parents_that_the_target_has(school: Path, url: str, way: Way) -> None:
    write(school, {"seedlab.toml": TWO_STAGES})
    execute(url, "INSERT INTO cities (id, code) VALUES (7, 'hfa'), (9, 'tlv')")

    run = seed_in(way, school, url, select=["pupils"])

    assert counted(run) == (3, 0, 0)
    assert rows_of(url, "SELECT name, city_id FROM pupils ORDER BY 1") == [("Ada", 7), ("Bob", 9), ("Cid", 7)]


def test_selected_children_without_parents_are_faults_that_say_who_brings_them(
    school: Path, url: str, way: Way
) -> None:
    write(school, {"seedlab.toml": TWO_STAGES})
    execute(url, "INSERT INTO cities (id, code) VALUES (9, 'tlv')")

    with pytest.raises(DataFaults) as failed:
        seed_in(way, school, url, select=["pupils"])

    faults = failed.value.faults
    assert [(each.rule, each.file, each.line) for each in faults] == [
        ("missing-parent", "pupils.csv", 2),
        ("missing-parent", "pupils.csv", 4),
    ]
    assert all("seed 'cities' would fill it" in each.message for each in faults)
    assert dump(url)["pupils"] == []


@pytest.mark.parametrize("batch_rows", [1, 100_000])
def test_an_environment_takes_a_subset_that_is_whole(
    school: Path, url: str, way: Way, batch_rows: int
) -> None:
    write(school, {"seedlab.toml": TWO_STAGES + "[environments.test]\nsubset = { cities = 1 }\n"})

    run = seed_in(way, school, url, environment="test", batch_rows=batch_rows)

    assert counted(run) == (3, 0, 0)
    assert [row[0] for row in dump(url)["pupils"]] == ["Ada", "Cid"]


def test_where_a_subset_cannot_tell_which_parents_it_leaves_out_the_faults_say_so(
    school: Path, url: str, way: Way
) -> None:
    write(school, {"seedlab.toml": TWO_STAGES + "[environments.test]\nsubset = { cities = 1 }\n"})
    seed_in(way, school, url, environment="test")
    whole = dump(url)
    write(school, {"pupils.csv": PUPILS.replace("Cid", "Dan")})

    with pytest.raises(DataFaults) as failed:
        seed_in(way, school, url, environment="test", select=["pupils"])

    assert [(each.rule, each.line) for each in failed.value.faults] == [("missing-parent", 3)]
    assert "the subset of environment test cannot leave the row out" in failed.value.faults[0].message
    assert dump(url) == whole
    seed_in(way, school, url, environment="test", force=True)
    assert [row[0] for row in dump(url)["pupils"]] == ["Ada", "Cid", "Dan"]


def test_a_seed_of_another_environment_is_left_out(school: Path, url: str, way: Way) -> None:
    config = TWO_STAGES + 'environments = ["development"]\n'
    write(school, {"seedlab.toml": config})

    run = seed_in(way, school, url, environment="test")

    assert counted(run) == (2, 0, 0)
    assert [each.status for each in run.stages] == ["run", "skipped"]


def test_a_seed_without_rows_beside_a_changed_row_elsewhere_does_not_make_its_stage_run_again(
    school: Path, url: str
) -> None:
    execute(url, "CREATE TABLE tags (code text NOT NULL UNIQUE, nick text NOT NULL UNIQUE)")
    stages = TWO_STAGES.replace('["empty:cities"]', "[]")
    tags = STAGE.format("tags")
    for name in ("tags", "more"):
        tags += SEED.format(name, f"{name}.csv") + '[stages.seeds.tables.tags]\nkey = ["{0}"]\n'
    files = {"tags.csv": "code,nick\nhfa,h\ntlv,t\n", "more.csv": "code,nick\n"}
    write(school, {**files, "seedlab.toml": stages + tags.format("code")})
    seed(school, url)
    write(school, {"cities.csv": CITIES.replace("Haifa", "Hefa")})
    write(school, {"seedlab.toml": stages + tags.format("nick")})

    changed, again = seed(school, url), seed(school, url)

    assert [each.status for each in changed.stages] == ["run", "run", "run"]
    assert [each.reason for each in again.stages] == ["unchanged"] * 3


def test_a_transform_makes_tables_of_records(folder: Path, url: str, way: Way) -> None:
    config = '[project]\ntransforms = "transforms.py"\n' + STAGE.format("all")
    config += SEED.format("people", "people.csv") + 'transform = "split"\n'
    script = """
import polars as pl

def split(people):
    cities = people.select(code="town").unique(maintain_order=True)
    return {"cities": cities, "pupils": people.select("name", pl.col("town").alias("city.code"))}
"""
    people = "name,town\nAda,hfa\nBob,tlv\nCid,hfa\n"
    write(folder, {"seedlab.toml": config, "transforms.py": script, "people.csv": people})

    runs = [seed_in(way, folder, url) for _ in range(2)]

    assert [counted(run) for run in runs] == [(5, 0, 0), (0, 0, 5)]
    assert [row[:2] for row in dump(url)["pupils"]] == [
        ["Ada", ["hfa"]],
        ["Bob", ["tlv"]],
        ["Cid", ["hfa"]],
    ]


# ---- folders without configuration ----------------------------------------------------------------------


def test_folders_and_numbers_group_and_order_but_name_no_table(folder: Path, url: str, way: Way) -> None:
    schema = "main" if url.startswith("sqlite") else "public"
    write(folder, {f"02-core/{schema}.cities.csv": CITIES, "01-people/10-pupils.csv": PUPILS})

    run = seed_in(way, folder, url)

    assert counted(run) == (5, 0, 0)
    assert [each.status for each in run.stages] == ["run", "run"]


# ---- tables that are missing ----------------------------------------------------------------------------

WITH_MODELS = MODELED + TWO_STAGES


def test_missing_tables_are_made_of_the_metadata(school: Path, clean_database_url: str, way: Way) -> None:
    write(school, {"seedlab.toml": WITH_MODELS, "models.py": MODELS})

    runs = [seed_in(way, school, clean_database_url) for _ in range(2)]

    assert [counted(run) for run in runs] == [(5, 0, 0), (0, 0, 3)]
    assert dump(clean_database_url)["cities"] == [["hfa", "Haifa"], ["tlv", "Tel Aviv"]]


def test_a_run_that_fails_leaves_no_table(school: Path, clean_database_url: str, way: Way) -> None:
    write(
        school,
        {"seedlab.toml": WITH_MODELS, "models.py": MODELS, "pupils.csv": "name,city.code\nAda,nowhere\n"},
    )

    with pytest.raises(DataFaults):
        seed_in(way, school, clean_database_url)

    assert dump(clean_database_url) == {}


def test_without_tables_or_metadata_it_says_to_run_the_migrations(
    school: Path, clean_database_url: str
) -> None:
    with pytest.raises(ConfigurationError, match="run your migrations first") as failed:
        seed(school, clean_database_url)

    assert failed.value.exit_code == 2
    assert dump(clean_database_url) == {}
