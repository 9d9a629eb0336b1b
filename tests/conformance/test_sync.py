"""Sync: rows that left the files leave the target, if seedlab made them, and nothing else does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from seedlab.cli import main
from seedlab.errors import ConfigurationError, Refused
from seedlab.flow import Run
from tests.support.cases import some
from tests.support.school import CITIES, PUPILS, SEED, STAGE
from tests.support.seeding import Way, counted, dump, execute, portable_dump, rows_of, seed, seed_in, write

SYNC = 'mode = "sync"\n'
CITIES_STAGE = STAGE.format("cities") + SEED.format("cities", "cities*.csv")
PUPILS_STAGE = STAGE.format("pupils") + 'dependencies = ["cities"]\n' + SEED.format("pupils", "pupils*.csv")
INTO_PUPILS = "[stages.seeds.tables]\npupils = {}\n"
BOTH = CITIES_STAGE + SYNC + PUPILS_STAGE + SYNC
ONLY_PUPILS = CITIES_STAGE + PUPILS_STAGE + SYNC
WITHOUT_BOB = "name,city.code,age\nAda,hfa,9\nCid,hfa,11\n"
WITHOUT_TLV = "code,name\nhfa,Haifa\n"


def sync(folder: Path, url: str, files: Mapping[str, str | bytes] | None = None, **options: str) -> Run:
    """Write files, and seed with as many deletes as it takes."""
    return seed(write(folder, files or {}), url, **({"max_delete": "100%"} | options))  # type: ignore[arg-type]


def deleted(run: Run) -> dict[str, int]:
    """What went, as the record tells it: by STAGE.SEED.TABLE; the totals say the same."""
    tables = {
        f"{stage.id}.{each.name}.{table.table}": table.outcomes.deleted
        for stage in run.stages
        for each in stage.seeds
        for table in each.tables
        if table.outcomes.deleted
    }
    assert run.outcomes.deleted == sum(stage.outcomes.deleted for stage in run.stages) == sum(tables.values())
    return tables


def names(url: str, table: str = "pupils", column: str = "name") -> list[str]:
    return [row[0] for row in rows_of(url, f"SELECT {column} FROM {table} ORDER BY 1")]


def assert_settled(folder: Path, url: str) -> None:
    """The next run has nothing to do, and knows that without looking at rows."""
    before = dump(url)
    run = seed(folder, url)
    assert {stage.status for stage in run.stages} == {"skipped"}
    assert run.outcomes.total == run.outcomes.unchanged
    assert dump(url) == before


# ---- what goes ------------------------------------------------------------------------------------------


def test_a_row_that_left_the_file_goes_at_every_level(school: Path, url: str, way: Way) -> None:
    write(school, {"seedlab.toml": ONLY_PUPILS})
    seed_in(way, school, url)

    run = seed_in(way, write(school, {"pupils.csv": WITHOUT_BOB}), url, max_delete="1")

    assert deleted(run) == {"pupils.pupils.pupils": 1}
    assert counted(run) == (0, 0, 4)
    assert names(url) == ["Ada", "Cid"]
    again = seed_in(way, school, url)
    assert counted(again) == (0, 0, 4)
    assert deleted(again) == {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Tables, files, what is left of them, and how many rows that takes from each table."""

    name: str
    tables: str
    files: Mapping[str, str]
    fewer: Mapping[str, str]
    gone: Mapping[str, int]

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def stages(*seeds: str) -> str:
    """One stage; of each seed its name is its table, or all of what is said of it."""
    return STAGE.format("all") + "".join(
        (each if "\n" in each else SEED.format(each, f"{each}.csv")) + SYNC for each in seeds
    )


QUIZ = """
[[stages.seeds]]
name = "quiz"
source = "quiz*.json"
mode = "sync"
[stages.seeds.tables]
questions = { path = "$", key = ["code"] }
answers = { path = "answers", key = ["question", "position"], columns = { position = "$index" } }
"""
LINKS = """
CREATE TABLE courses (id uuid PRIMARY KEY, slug text NOT NULL UNIQUE);
CREATE TABLE course_needs (
  course_id uuid REFERENCES courses, needs_id uuid REFERENCES courses, PRIMARY KEY (course_id, needs_id)
);
"""
QUIZ_TABLES = """
CREATE TABLE questions (id uuid PRIMARY KEY, code text NOT NULL UNIQUE);
CREATE TABLE answers (
  id SERIAL KEY, question_id uuid NOT NULL REFERENCES questions, position int NOT NULL, text text,
  UNIQUE (question_id, position)
);
"""


def quiz(*questions: tuple[str, str]) -> str:
    """Questions, each with an answer a letter."""
    records = [{"code": code, "answers": [{"text": text} for text in texts]} for code, texts in questions]
    return json.dumps(records)


def teams_and_games(name: str, identity: str, reference: str) -> Shape:
    return Shape(
        name=name,
        tables=f"CREATE TABLE teams (id {identity}, slug text NOT NULL UNIQUE);"
        f"CREATE TABLE games (id {identity}, home_id {reference} NOT NULL REFERENCES teams, day date NOT NULL,"
        " score text, UNIQUE (home_id, day))",
        files={
            "seedlab.toml": stages("teams", "games"),
            "teams.csv": "slug\na\nb\nc\n",
            "games.csv": "home.slug,day,score\na,2024-05-01,1:1\na,2024-05-02,2:0\nc,2024-05-01,\n",
        },
        fewer={
            "teams.csv": "slug\nb\na\nd\n",
            "games.csv": "home.slug,day,score\na,2024-05-02,2:1\nd,2024-05-01,\n",
        },
        gone={"teams": 1, "games": 2},
    )


SHAPES = (
    teams_and_games("generated uuids", "uuid PRIMARY KEY", "uuid"),
    teams_and_games("serial ids", "SERIAL KEY", "int"),
    Shape(
        name="a natural key of several columns",
        tables="CREATE TABLE rates (day date, currency varchar(3), price numeric(9,3), live boolean, n int8,"
        " PRIMARY KEY (n, currency, day, live))",
        files={
            "seedlab.toml": stages("rates"),
            "rates.csv": "day,currency,price,live,n\n2024-05-01,EUR,1.100,true,007\n2024-05-01,EUR,2,no,7\n"
            '2024-05-02,"",3.5,1,-1\n',
        },
        fewer={"rates.csv": "currency,day,price,live,n\nEUR,2024-05-01,1.1,t,7\n"},
        gone={"rates": 2},
    ),
    Shape(
        name="links",
        tables=LINKS,
        files={
            "seedlab.toml": stages("courses", "course_needs"),
            "courses.csv": "slug\na\nb\nc\n",
            "course_needs.csv": "course.slug,needs.slug\na,b\na,c\nb,c\n",
        },
        fewer={"courses.csv": "slug\na\nb\n", "course_needs.csv": "course.slug,needs.slug\nb,a\na,b\n"},
        gone={"courses": 1, "course_needs": 2},
    ),
    Shape(
        name="rows that refer to their own table",
        tables="CREATE TABLE people (id SERIAL KEY, email text NOT NULL UNIQUE, boss_id int REFERENCES people)",
        files={"seedlab.toml": stages("people"), "people.csv": "email,boss.email\na,c\nb,a\nc,b\nd,\n"},
        fewer={"people.csv": "email,boss.email\nd,\n"},
        gone={"people": 3},
    ),
    Shape(
        name="nested records",
        tables=QUIZ_TABLES,
        files={"seedlab.toml": STAGE.format("all") + QUIZ, "quiz.json": quiz(("a", "xyz"), ("b", "w"))},
        fewer={"quiz.json": quiz(("a", "x"))},
        gone={"questions": 1, "answers": 3},
    ),
    Shape(
        name="the last nested record",
        tables=QUIZ_TABLES,
        files={"seedlab.toml": STAGE.format("all") + QUIZ, "quiz.json": quiz(("a", "xy"), ("b", "w"))},
        fewer={"quiz.json": quiz(("a", ""), ("b", ""))},
        gone={"answers": 3},
    ),
    Shape(
        name="lists that no record has any more",
        tables=QUIZ_TABLES,
        files={"seedlab.toml": STAGE.format("all") + QUIZ, "quiz.json": quiz(("a", "xy"), ("b", "w"))},
        fewer={"quiz.json": '[{"code": "a"}, {"code": "c"}]'},
        gone={"questions": 1, "answers": 3},
    ),
    Shape(
        name="every record",
        tables=QUIZ_TABLES,
        files={"seedlab.toml": STAGE.format("all") + QUIZ, "quiz.json": quiz(("a", "xy"), ("b", "w"))},
        fewer={"quiz.json": "[]"},
        gone={"questions": 2, "answers": 3},
    ),
    Shape(
        name="every line",
        tables="CREATE TABLE teams (id SERIAL KEY, slug text NOT NULL UNIQUE)",
        files={"seedlab.toml": stages("teams"), "teams.csv": "slug\na\nb\n"},
        fewer={"teams.csv": "slug\n"},
        gone={"teams": 2},
    ),
)


@pytest.mark.parametrize(
    "shape",
    some(
        SHAPES,
        "serial-ids",
        "links",
        "lists-that-no-record-has-any-more",
    ),
)
def test_the_target_is_then_as_the_files_alone_make_it(
    folder: Path, tmp_path: Path, clean_database_url: str, shape: Shape
) -> None:
    url, fresh = clean_database_url, f"sqlite:///{tmp_path / 'fresh.db'}"
    for each in (url, fresh):
        execute(each, shape.tables)
    sync(folder, url, shape.files)

    run = sync(folder, url, shape.fewer)

    seed(folder, fresh)
    gone: dict[str, int] = {}
    for place, rows in deleted(run).items():
        table = place.rpartition(".")[2]
        gone[table] = gone.get(table, 0) + rows
    assert gone == shape.gone
    assert portable_dump(url) == portable_dump(fresh)
    assert_settled(folder, url)
    sync(folder, url, shape.files)
    assert deleted(sync(folder, url, shape.fewer)) == deleted(run)


def test_parents_go_with_their_children_of_another_stage(school: Path, url: str) -> None:
    sync(school, url, {"seedlab.toml": BOTH})

    run = sync(school, url, {"cities.csv": WITHOUT_TLV, "pupils.csv": WITHOUT_BOB})

    assert deleted(run) == {"cities.cities.cities": 1, "pupils.pupils.pupils": 1}
    assert (names(url), names(url, "cities")) == (["Ada", "Cid"], ["Haifa"])
    assert_settled(school, url)


def test_a_child_may_move_to_another_parent_while_its_own_goes(school: Path, url: str) -> None:
    sync(school, url, {"seedlab.toml": BOTH})

    run = sync(school, url, {"cities.csv": WITHOUT_TLV, "pupils.csv": PUPILS.replace("tlv", "hfa")})

    assert deleted(run) == {"cities.cities.cities": 1}
    assert counted(run) == (0, 1, 3)


def test_a_row_that_comes_back_is_created_again(school: Path, url: str) -> None:
    sync(school, url, {"seedlab.toml": BOTH})
    sync(school, url, {"pupils.csv": WITHOUT_BOB})

    back = sync(school, url, {"pupils.csv": PUPILS})
    again = sync(school, url, {"pupils.csv": WITHOUT_BOB})

    assert counted(back) == (1, 0, 4)
    assert deleted(again) == {"pupils.pupils.pupils": 1}


def test_a_seed_that_becomes_a_sync_deletes_what_left_before(school: Path, url: str) -> None:
    sync(school, url, {"seedlab.toml": CITIES_STAGE + PUPILS_STAGE})
    upsert = sync(school, url, {"pupils.csv": WITHOUT_BOB})

    run = sync(school, url, {"seedlab.toml": ONLY_PUPILS})

    assert deleted(upsert) == {}
    assert deleted(run) == {"pupils.pupils.pupils": 1}
    assert_settled(school, url)


def test_a_file_that_is_gone_takes_its_rows_with_it(school: Path, url: str) -> None:
    more = {"pupils-2.csv": "name,city.code\nDan,tlv\nEve,tlv\n", "seedlab.toml": ONLY_PUPILS + INTO_PUPILS}
    sync(school, url, more)
    (school / "pupils.csv").unlink()

    run = sync(school, url)

    assert deleted(run) == {"pupils.pupils.pupils": 3}
    assert names(url) == ["Dan", "Eve"]
    assert_settled(school, url)


def test_a_smaller_environment_deletes_the_rest(school: Path, url: str) -> None:
    config = BOTH + "[environments.development]\n[environments.test]\nsubset = { cities = 1 }\n"
    sync(school, url, {"seedlab.toml": config})

    run = sync(school, url, environment="test")
    whole = sync(school, url)

    assert deleted(run) == {"cities.cities.cities": 1, "pupils.pupils.pupils": 1}
    assert counted(whole) == (2, 0, 3)
    assert names(url) == ["Ada", "Bob", "Cid"]


# ---- what is refused ------------------------------------------------------------------------------------


def refused(folder: Path, url: str, max_delete: str | None) -> str:
    """Why a sync is refused; everything is then as it was, the ledger too."""
    ledger = "seedlab_ledger" if url.startswith("sqlite") else "seedlab.ledger"
    before = dump(url), rows_of(url, f"SELECT generation FROM {ledger}")
    with pytest.raises(Refused) as caught:
        seed(folder, url, max_delete=max_delete)
    assert caught.value.exit_code == 4
    assert (dump(url), rows_of(url, f"SELECT generation FROM {ledger}")) == before
    return str(caught.value)


def test_without_leave_nothing_goes_and_nothing_else_is_written(school: Path, url: str) -> None:
    sync(school, url, {"seedlab.toml": BOTH})
    write(school, {"cities.csv": "code,name\nhfa,Hefa\n", "pupils.csv": "name,city.code\nDan,hfa\n"})

    told = [refused(school, url, limit) for limit in (None, "0", "3")]

    number = [re.findall(r"type --max-delete (\d+)$", each) for each in told]
    assert number == [["4"]] * 3
    assert all("seed pupils, table pupils" in each for each in told)
    assert deleted(sync(school, url, max_delete="4")) == {
        "cities.cities.cities": 1,
        "pupils.pupils.pupils": 3,
    }


def test_a_share_is_one_of_the_rows_that_each_table_has(school: Path, url: str) -> None:
    pupils = "".join(f"p{n},hfa,\n" for n in range(10))
    sync(school, url, {"seedlab.toml": BOTH, "pupils.csv": f"name,city.code,age\n{pupils}"})
    write(school, {"pupils.csv": f"name,city.code,age\n{pupils.replace('p3,hfa,', '').strip()}\n"})

    told = refused(school, url, "9.9%")
    run = sync(school, url, max_delete="10%")
    write(school, {"cities.csv": WITHOUT_TLV})

    assert "1 of 10 rows would be deleted, more than --max-delete 9.9% allows" in told
    assert deleted(run) == {"pupils.pupils.pupils": 1}
    assert "1 of 2 rows" in refused(school, url, "10%")  # a tenth of the 11 rows of both tables would do


def test_a_limit_that_says_nothing_is_told_before_any_work(school: Path, url: str) -> None:
    write(school, {"seedlab.toml": BOTH})

    with pytest.raises(ConfigurationError, match="--max-delete: expected a number"):
        seed(school, url, max_delete="some")

    assert dump(url) == {"cities": [], "pupils": []}


def test_a_child_of_the_application_keeps_its_parent(school: Path, url: str) -> None:
    sync(school, url, {"seedlab.toml": BOTH})
    execute(url, "INSERT INTO pupils (name, city_id) SELECT 'Zoe', id FROM cities WHERE code = 'tlv'")
    write(school, {"cities.csv": WITHOUT_TLV, "pupils.csv": WITHOUT_BOB})

    told = refused(school, url, "100%")

    assert "1 row of table pupils refers to rows of table cities" in told
    execute(url, "DELETE FROM pupils WHERE name = 'Zoe'")
    assert deleted(sync(school, url)) == {"cities.cities.cities": 1, "pupils.pupils.pupils": 1}


def test_a_child_of_a_seed_that_keeps_its_rows_keeps_its_parent(school: Path, url: str) -> None:
    sync(school, url, {"seedlab.toml": CITIES_STAGE + SYNC + PUPILS_STAGE})
    write(school, {"cities.csv": WITHOUT_TLV, "pupils.csv": WITHOUT_BOB})

    assert "1 row of table pupils refers" in refused(school, url, "100%")


def test_a_row_that_keeps_its_parent_is_named_where_values_may_be_shown(
    school: Path, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sync(school, url, {"seedlab.toml": CITIES_STAGE + SYNC + PUPILS_STAGE})
    write(school, {"cities.csv": WITHOUT_TLV, "pupils.csv": WITHOUT_BOB})
    line = ["seed", str(school), "--database-url", url, "--max-delete", "9", "--reports", str(tmp_path / "r")]

    assert main(line) == main([*line, "--show-values"]) == 4

    hidden, shown = capsys.readouterr().err.split("✗")[1:]
    assert "keep the rows in the files; --show-values shows row values\n" in hidden
    assert "keep the rows in the files; for example the row of table pupils with name Bob\n" in shown
    assert not any("Bob" in each.read_text() for each in (tmp_path / "r").rglob("run.json"))


# ---- what stays -----------------------------------------------------------------------------------------


def test_rows_that_others_made_stay(school: Path, url: str) -> None:
    execute(
        url, "INSERT INTO cities (code, name) VALUES ('tlv', 'old'), ('hfa', 'Haifa'), ('app', 'its own')"
    )
    sync(school, url, {"seedlab.toml": BOTH, "cities.csv": CITIES + "eil,Eilat\n"})
    execute(url, "INSERT INTO pupils (name, city_id) SELECT 'Zoe', id FROM cities WHERE code = 'app'")

    run = sync(school, url, {"cities.csv": "code,name\njer,Jerusalem\n", "pupils.csv": "name,city.code\n"})

    assert deleted(run) == {"cities.cities.cities": 1, "pupils.pupils.pupils": 3}
    assert names(url, "cities", "code") == ["app", "hfa", "jer", "tlv"]
    assert names(url) == ["Zoe"]
    assert_settled(school, url)


def test_a_row_that_moves_to_another_file_stays_and_can_go_later(school: Path, url: str) -> None:
    sync(
        school, url, {"seedlab.toml": ONLY_PUPILS + INTO_PUPILS, "pupils-2.csv": "name,city.code\nDan,tlv\n"}
    )

    moved = sync(
        school, url, {"pupils.csv": WITHOUT_BOB, "pupils-2.csv": "name,city.code\nDan,tlv\nBob,tlv\n"}
    )
    gone = sync(school, url, {"pupils-2.csv": "name,city.code\nDan,tlv\n"})

    assert deleted(moved) == {}
    assert deleted(gone) == {"pupils.pupils.pupils": 1}


TWO_SEEDS = CITIES_STAGE + "".join(
    STAGE.format(name) + 'dependencies = ["cities"]\n' + SEED.format(name, f"{name}.csv") + SYNC
    + INTO_PUPILS
    for name in ("north", "south")
)  # fmt: skip


def test_a_row_that_moves_to_another_seed_stays_and_can_go_later(school: Path, url: str) -> None:
    (school / "pupils.csv").unlink()
    north, south = "name,city.code\nAda,hfa\nBob,hfa\n", "name,city.code\nCid,tlv\n"
    sync(school, url, {"seedlab.toml": TWO_SEEDS, "north.csv": north, "south.csv": south})

    moved = sync(school, url, {"north.csv": "name,city.code\nAda,hfa\n", "south.csv": south + "Bob,hfa\n"})
    assert deleted(moved) == {}
    assert counted(moved) == (0, 0, 5)
    assert_settled(school, url)
    gone = sync(school, url, {"south.csv": south})

    assert deleted(gone) == {"south.south.pupils": 1}
    assert names(url) == ["Ada", "Cid"]


def test_a_seed_or_stage_that_is_called_otherwise_now_still_owns_its_rows(school: Path, url: str) -> None:
    sync(school, url, {"seedlab.toml": BOTH})

    renamed = BOTH.replace('name = "pupils"\nsource', 'name = "people"\nsource').replace(
        '"cities"\nsource', '"towns"\nsource'
    )
    renamed = renamed.replace('id = "cities"', 'id = "places"').replace('["cities"]', '["places"]')
    run = sync(school, url, {"seedlab.toml": renamed + INTO_PUPILS})
    gone = sync(school, url, {"pupils.csv": WITHOUT_BOB, "cities.csv": WITHOUT_TLV})

    assert counted(run) == (0, 0, 5)
    assert deleted(run) == {}
    assert deleted(gone) == {"places.towns.cities": 1, "pupils.people.pupils": 1}
    assert_settled(school, url)


def test_the_rows_of_a_seed_that_is_taken_out_stay(school: Path, url: str) -> None:
    more = SEED.format("more", "more.csv") + SYNC + INTO_PUPILS
    sync(school, url, {"seedlab.toml": BOTH + more, "more.csv": "name,city.code\nDan,tlv\n"})

    run = sync(school, url, {"seedlab.toml": BOTH})

    assert deleted(run) == {}
    assert names(url) == ["Ada", "Bob", "Cid", "Dan"]
    assert_settled(school, url)


def test_a_seed_that_was_not_selected_loses_nothing(school: Path, url: str) -> None:
    more = SEED.format("more", "more.csv") + SYNC + INTO_PUPILS
    sync(school, url, {"seedlab.toml": BOTH + more, "more.csv": "name,city.code\nDan,tlv\nEve,tlv\n"})

    part = seed(write(school, {"pupils.csv": WITHOUT_BOB}), url, select=["pupils.pupils"], max_delete="9")
    whole = sync(school, url, {"more.csv": "name,city.code\nDan,tlv\n"})

    assert deleted(part) == {"pupils.pupils.pupils": 1}
    assert deleted(whole) == {"pupils.more.pupils": 1}
    assert names(url) == ["Ada", "Cid", "Dan"]


@pytest.mark.parametrize("identity", ["uuid PRIMARY KEY", "SERIAL KEY"])
def test_rows_that_are_known_by_another_key_now_stay(
    folder: Path, clean_database_url: str, identity: str
) -> None:
    url = clean_database_url
    execute(url, f"CREATE TABLE teams (id {identity}, slug text NOT NULL UNIQUE, name text NOT NULL UNIQUE)")
    config = STAGE.format("all") + SEED.format("teams", "teams.csv") + SYNC + "[stages.seeds.tables]\n"
    teams = "slug,name\na,A\nb,B\nc,C\n"
    sync(folder, url, {"seedlab.toml": config + 'teams = { key = ["slug"] }\n', "teams.csv": teams})

    run = sync(folder, url, {"seedlab.toml": config + 'teams = { key = ["name"] }\n'})
    fewer = sync(folder, url, {"teams.csv": "slug,name\na,A\nb,B\n"})

    assert deleted(run) == {}
    assert deleted(fewer) == {"all.teams.teams": 1}
    assert names(url, "teams") == ["A", "B"]


def test_links_that_are_given_by_ids_now_stay(folder: Path, clean_database_url: str) -> None:
    url = clean_database_url
    a, b = (f"00000000-0000-4000-8000-00000000000{digit}" for digit in "AB")
    execute(url, LINKS)
    config = stages("courses", "course_needs")
    courses = {"courses.csv": f"id,slug\n{a},a\n{b},b\n"}
    slugs = {"course_needs.csv": "course.slug,needs.slug\na,b\nb,a\nb,b\n"}
    sync(folder, url, courses | slugs | {"seedlab.toml": config})

    ids = sync(folder, url, {"course_needs.csv": f"course_id,needs_id\n{a.lower()},{b}\n{b},{b}\n"})
    back = sync(folder, url, {"course_needs.csv": "course.slug,needs.slug\nb,b\n"})

    assert (counted(ids), deleted(ids)) == ((0, 0, 4), {"all.course_needs.course_needs": 1})
    assert (counted(back), deleted(back)) == ((0, 0, 3), {"all.course_needs.course_needs": 1})
    assert dump(url)["course_needs"] == [[b.lower(), b.lower()]]
    assert_settled(folder, url)


def test_keys_of_another_type_take_nothing_away(folder: Path, clean_postgres_url: str) -> None:
    url = clean_postgres_url
    execute(url, "CREATE TABLE teams (number text PRIMARY KEY)")
    sync(folder, url, {"seedlab.toml": stages("teams"), "teams.csv": "number\n007\n8\n9\n"})
    execute(url, "ALTER TABLE public.teams ALTER number TYPE int USING number::int")

    run = sync(folder, url, {"teams.csv": "number\n007\n08\n"})

    assert (counted(run), deleted(run)) == ((0, 0, 2), {"all.teams.teams": 1})
    assert names(url, "public.teams", "number") == [7, 8]


def test_ids_of_another_kind_take_nothing_away(folder: Path, clean_database_url: str) -> None:
    url = clean_database_url
    execute(url, "CREATE TABLE teams (id uuid PRIMARY KEY, slug text NOT NULL UNIQUE)")
    sync(folder, url, {"seedlab.toml": stages("teams"), "teams.csv": "slug\na\nb\nc\n"})

    run = sync(folder, url, ids="uuid5")
    fewer = sync(folder, url, {"teams.csv": "slug\na\nb\n"}, ids="uuid5")

    assert deleted(run) == {}
    assert deleted(fewer) == {"all.teams.teams": 1}
    assert names(url, "teams", "slug") == ["a", "b"]


# ---- what is remembered ---------------------------------------------------------------------------------


RECREATED = "CREATE TABLE pupils (mail text PRIMARY KEY)"
MIGRATIONS = {
    "dropped": "DROP TABLE pupils",
    "created again without the key": f"DROP TABLE pupils; {RECREATED}",
    "a view now": "DROP TABLE pupils; CREATE VIEW pupils AS SELECT name FROM cities",
    "another column dropped": "ALTER TABLE pupils DROP COLUMN age",
}
NESTED = '[stages.seeds.tables]\ncities = { path = "$", key = ["code"] }\n'
PUPILS_NESTED = 'pupils = { path = "pupils", key = ["name"] }\n'


@pytest.mark.parametrize("migration", MIGRATIONS)
def test_a_table_that_a_migration_took_away_is_forgotten(
    tmp_path: Path, clean_database_url: str, migration: str
) -> None:
    """The project stops filling it at the same time: there is nothing, or nothing that we know, to delete."""
    url = clean_database_url
    execute(
        url,
        "CREATE TABLE cities (code text NOT NULL PRIMARY KEY, name text);"
        "CREATE TABLE pupils (name text NOT NULL PRIMARY KEY, age int, city_code text REFERENCES cities);",
    )
    stages = STAGE.format("all") + SEED.format("school", "*.json") + SYNC + NESTED
    city = {"code": "hfa", "name": "Haifa"}
    first = {**city, "pupils": [{"name": "Ada", "age": 9}, {"name": "Bob", "age": 10}]}
    folder = write(tmp_path / "it", {"seedlab.toml": stages + PUPILS_NESTED, "s.json": json.dumps([first])})
    seed(folder, url)

    execute(url, MIGRATIONS[migration])
    run = sync(folder, url, {"seedlab.toml": stages, "s.json": json.dumps([city])})

    kept = migration == "another column dropped"
    assert deleted(run) == ({"all.school.pupils": 2} if kept else {})
    assert names(url, "cities", "name") == ["Haifa"]
    assert [stage.status for stage in seed(folder, url).stages] == ["skipped"]


def test_rows_of_the_application_beside_a_sync_do_not_make_it_run_again(school: Path, url: str) -> None:
    execute(url, "INSERT INTO cities (code, name) VALUES ('app', 'its own')")
    sync(school, url, {"seedlab.toml": BOTH})
    sync(school, url, {"cities.csv": WITHOUT_TLV, "pupils.csv": WITHOUT_BOB})
    execute(url, "INSERT INTO cities (code, name) VALUES ('tlv', 'of the application now')")

    intact = seed(school, url)
    execute(url, "UPDATE cities SET name = 'changed' WHERE code = 'hfa'")
    drifted = seed(school, url)

    assert [stage.reason for stage in intact.stages] == ["table changed, seeded rows intact", "unchanged"]
    assert counted(drifted) == (0, 1, 2)
    assert names(url, "cities", "code") == ["app", "hfa", "tlv"]


def test_a_row_that_somebody_deleted_already_is_not_counted(school: Path, url: str) -> None:
    sync(school, url, {"seedlab.toml": ONLY_PUPILS})
    execute(url, "DELETE FROM pupils WHERE name = 'Bob'")

    run = sync(school, url, {"pupils.csv": "name,city.code,age\nAda,hfa,9\n"})

    assert deleted(run) == {"pupils.pupils.pupils": 1}
    assert_settled(school, url)
