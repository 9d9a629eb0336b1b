"""Undo: reset and rollback delete the rows that seedlab made, children first, and no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seedlab.cli import main
from seedlab.errors import ConfigurationError, Refused
from tests.support.school import CITIES, PUPILS, SEED, STAGE, TWO_STAGES
from tests.support.seeding import (
    Way,
    counted,
    dump,
    execute,
    portable_dump,
    rows_of,
    seed,
    seed_in,
    undo,
    write,
)

pytestmark = pytest.mark.usefixtures("plain_environment")
MORE = """
CREATE TABLE courses (id uuid PRIMARY KEY, slug text NOT NULL UNIQUE, next_id uuid REFERENCES courses);
CREATE TABLE pupil_courses (
  pupil_id int REFERENCES pupils, course_id uuid REFERENCES courses, PRIMARY KEY (pupil_id, course_id)
);
CREATE TABLE marks (
  id SERIAL KEY, pupil_id int NOT NULL REFERENCES pupils, day date, mark numeric(3,1), UNIQUE (pupil_id, day)
);
"""
MORE_FILES = {
    "courses.csv": "slug,next.slug\na,b\nb,\nc,a\n",
    "pupil_courses.csv": "pupil.name,course.slug\nAda,a\nBob,c\n",
    "marks.jsonl": '{"pupil.name": "Ada", "day": "2024-05-01", "mark": 1.50}\n',
}


MIGRATIONS = {
    "dropped": ("DROP TABLE pupils", 0),
    "created again without the key": ("DROP TABLE pupils; CREATE TABLE pupils (mail text PRIMARY KEY)", 0),
    "a view now": ("DROP TABLE pupils; CREATE VIEW pupils AS SELECT name FROM cities", 0),
    "another column dropped": ("ALTER TABLE pupils DROP COLUMN age", 3),
}


@pytest.mark.parametrize("migration", MIGRATIONS)
def test_of_a_table_that_a_migration_took_away_nothing_is_deleted(
    school: Path, url: str, migration: str
) -> None:
    seed(school, url)
    ddl, pupils = MIGRATIONS[migration]
    execute(url, ddl)

    run = undo(school, url)

    assert run.outcomes.deleted == 2 + pupils
    assert rows_of(url, "SELECT count(*) FROM cities") == [(0,)]
    assert ("pupils stay" in " ".join(run.notes)) is (migration.startswith("created"))
    assert undo(school, url).outcomes.deleted == 0


@pytest.fixture
def staged(school: Path) -> Path:
    """The school in two stages."""
    return write(school, {"seedlab.toml": TWO_STAGES})


def refused(folder: Path, url: str, *stages: str, run: str | None = None) -> str:
    """Why an undo is refused; everything is then as it was."""
    before = dump(url)
    with pytest.raises(Refused) as caught:
        undo(folder, url, *stages, run=run)
    assert caught.value.exit_code == 4
    assert dump(url) == before
    return str(caught.value)


def rows_by_table(url: str) -> dict[str, int]:
    return {name: len(rows) for name, rows in dump(url).items()}


# ---- reset ----------------------------------------------------------------------------------------------


def test_a_reset_takes_all_that_any_level_made_and_a_seed_brings_it_back(
    school: Path, url: str, way: Way
) -> None:
    execute(url, MORE)
    execute(url, "INSERT INTO cities (code, name) VALUES ('app', 'its own'), ('tlv', 'old')")
    empty = dump(url)
    seed_in(way, write(school, MORE_FILES), url)
    seed_in(way, write(school, {"courses.csv": "slug,next.slug\na,b\nb,\nc,a\nd,c\n"}), url)
    seeded = portable_dump(url)

    gone = undo(school, url)

    # Tel Aviv was there before: what we changed of it stays, and so does the row.
    assert dump(url) == empty | {"cities": [["app", "its own"], ["tlv", "Tel Aviv"]]}
    assert (gone.outcomes.deleted, gone.outcomes.total) == (11, 11)
    assert undo(school, url).outcomes.total == 0
    again = seed_in(way, school, url)
    assert counted(again) == (11, 0, 1)
    assert portable_dump(url) == seeded
    assert undo(school, url).outcomes.deleted == 11


def test_one_stage_may_be_reset_and_only_that_is_seeded_again(staged: Path, url: str) -> None:
    seed(staged, url)
    before = portable_dump(url)

    gone = undo(staged, url, "pupils")
    between = rows_by_table(url)
    again = seed(staged, url)

    assert [(stage.id, stage.outcomes.deleted) for stage in gone.stages] == [("pupils", 3)]
    assert between == {"cities": 2, "pupils": 0}
    assert [(stage.status, counted(again)) for stage in again.stages] == [
        ("skipped", (3, 0, 2)),
        ("run", (3, 0, 2)),
    ]
    assert portable_dump(url) == before
    assert {stage.status for stage in seed(staged, url).stages} == {"skipped"}


def test_a_reset_is_refused_while_rows_that_stay_refer_to_those_that_would_go(staged: Path, url: str) -> None:
    seed(staged, url)
    ours = refused(staged, url, "cities")
    undo(staged, url, "pupils")
    execute(url, "INSERT INTO pupils (name, city_id) SELECT 'Zoe', id FROM cities WHERE code = 'hfa'")
    theirs = refused(staged, url)
    execute(url, "DELETE FROM pupils")

    assert "3 rows of table pupils refer to rows of table cities" in ours
    assert "1 row of table pupils refers to rows of table cities" in theirs
    assert undo(staged, url).outcomes.deleted == 2


def test_rows_that_left_the_files_or_were_changed_by_others_are_still_ours(staged: Path, url: str) -> None:
    seed(staged, url)
    seed(write(staged, {"pupils.csv": "name,city.code\nAda,hfa\n"}), url)
    execute(url, "UPDATE pupils SET age = 99; UPDATE cities SET name = 'changed'")

    assert undo(staged, url).outcomes.deleted == 5
    assert rows_by_table(url) == {"cities": 0, "pupils": 0}


def test_rows_that_somebody_deleted_or_whose_table_is_no_more_are_not_counted(staged: Path, url: str) -> None:
    seed(staged, url)
    execute(url, "DELETE FROM pupils WHERE name = 'Bob'")
    assert undo(staged, url, "pupils").outcomes.deleted == 2
    seed(staged, url)
    execute(url, "DROP TABLE pupils")

    gone = undo(staged, url)

    assert {stage.id: stage.outcomes.deleted for stage in gone.stages}["cities"] == 2
    assert gone.outcomes.deleted == 2
    assert rows_by_table(url) == {"cities": 0}


def test_a_row_that_another_stage_brings_now_is_not_reset_with_its_old_one(staged: Path, url: str) -> None:
    more = STAGE.format("more") + 'dependencies = ["cities"]\n' + SEED.format("more", "more.csv")
    config = TWO_STAGES + more + "[stages.seeds.tables]\npupils = {}\n"
    seed(write(staged, {"seedlab.toml": config, "more.csv": "name,city.code\nDan,tlv\n"}), url)
    seed(
        write(staged, {"pupils.csv": "name,city.code\nAda,hfa\n", "more.csv": "name,city.code\nBob,tlv\n"}),
        url,
    )

    undo(staged, url, "pupils")
    between = [row[0] for row in rows_of(url, "SELECT name FROM pupils ORDER BY 1")]
    undo(staged, url, "more")

    assert between == ["Bob", "Dan"]
    assert rows_by_table(url) == {"cities": 2, "pupils": 0}


STREETS = """
CREATE TABLE streets (
  id SERIAL KEY, city_id int NOT NULL REFERENCES cities, number int NOT NULL, name text, UNIQUE (city_id, number)
);
"""


def in_the_place_of_ours(tmp_path: Path, url: str, first: str = "") -> tuple[Path, Path]:
    """Two projects; the rows of the first were deleted, and the second's have their keys and parents' ids."""
    execute(url, STREETS)
    folders = tuple(
        write(
            tmp_path / name,
            {
                "cities.csv": f"code,name\nall,All\n{name},{name}\n",
                "streets.csv": f"city.code,number,name\n{name},1,{name}\n",
            },
        )
        for name in ("first", "second")
    )
    if first:
        write(folders[0], {"seedlab.toml": first})
    seed(folders[0], url)
    for table in ("streets", "cities"):
        execute(url, f"DELETE FROM {table}")
    if not url.startswith("sqlite"):  # where ids are not given out again by themselves
        execute(url, "ALTER SEQUENCE cities_id_seq RESTART")
    seed(folders[1], url)
    return folders[0], folders[1]


def test_rows_that_another_project_created_in_the_place_of_ours_are_not_reset(
    tmp_path: Path, url: str
) -> None:
    first, second = in_the_place_of_ours(tmp_path, url)
    seconds = dump(url)

    gone = undo(first, url)

    assert (dump(url), gone.outcomes.deleted) == (seconds, 0)
    assert any("1 row of table cities stays: another project created again" in each for each in gone.notes)
    assert undo(first, url).outcomes.deleted == 0
    assert undo(second, url).outcomes.deleted == 3
    assert not any(dump(url).values())
    assert seed(first, url).outcomes.created == 3


def test_a_sync_does_not_delete_rows_that_another_project_created_in_the_place_of_ours(
    tmp_path: Path, url: str
) -> None:
    sync = (
        STAGE.format("cities")
        + SEED.format("cities", "cities.csv")
        + STAGE.format("streets")
        + 'dependencies = ["cities"]\n'
        + SEED.format("streets", "streets.csv")
        + 'mode = "sync"\n'
    )
    first, _ = in_the_place_of_ours(tmp_path, url, sync)
    write(first, {"streets.csv": "city.code,number,name\nfirst,2,new\n"})

    planned = seed(first, url, dry_run=True, max_delete="100%")
    run = seed(first, url, max_delete="100%")

    assert (planned.outcomes.deleted, run.outcomes.deleted) == (0, 0)
    assert rows_of(url, "SELECT number, name FROM streets ORDER BY 1") == [(1, "second"), (2, "new")]


def test_what_is_not_there_any_more_or_was_never_is_nothing_to_reset(staged: Path, url: str) -> None:
    never = undo(staged, url)
    seed(staged, url)
    first, second = undo(staged, url, "pupils"), undo(staged, url, "pupils")

    assert [each.outcomes.deleted for each in (never, first, second)] == [0, 3, 0]
    assert any("no run of seedlab wrote to it" in note for note in never.notes)
    assert rows_by_table(url) == {"cities": 2, "pupils": 0}


def test_a_stage_or_run_that_nobody_knows_is_refused(staged: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="the ledger has no run '12345678'") as caught:
        undo(staged, url, run="12345678")
    for _ in ("before", "after"):
        with pytest.raises(
            ConfigurationError,
            match="neither the project nor the ledger has a stage 'pupil'; did you mean 'pupils'",
        ):
            undo(staged, url, "pupil")
        seed(staged, url)
    with pytest.raises(ConfigurationError, match="the ledger has no run '12345678'"):
        undo(staged, url, run="12345678")

    assert caught.value.exit_code == 2
    assert rows_by_table(url) == {"cities": 2, "pupils": 3}


# ---- rollback -------------------------------------------------------------------------------------------


def test_a_run_that_only_made_rows_is_rolled_back(staged: Path, url: str) -> None:
    execute(url, "INSERT INTO cities (code, name) VALUES ('hfa', 'Haifa')")
    first = seed(staged, url)
    second = seed(write(staged, {"pupils.csv": PUPILS + "Dan,hfa,7\n"}), url)
    last = dump(url)

    gone = undo(staged, url, run=second.run_id)
    between = dump(url)
    again = seed(staged, url)

    assert (gone.outcomes.deleted, gone.outcomes.total) == (1, 1)
    assert [row[0] for row in between["pupils"]] == ["Ada", "Bob", "Cid"]
    assert counted(again) == (1, 0, 5)
    assert dump(url) == last
    assert undo(staged, url, run=second.run_id).outcomes.total == 0
    assert undo(staged, url, run=again.run_id).outcomes.deleted == 1
    assert undo(staged, url, run=first.run_id).outcomes.deleted == 4
    assert dump(url) == {"cities": [["hfa", "Haifa"]], "pupils": []}


def test_a_run_that_changed_or_deleted_rows_is_not_rolled_back(staged: Path, url: str) -> None:
    first = seed(staged, url)
    config = TWO_STAGES + 'mode = "sync"\n'
    files = {
        "cities.csv": CITIES.replace("Haifa", "Hefa"),
        "pupils.csv": "name,city.code\nAda,hfa\nDan,tlv\n",
    }
    second = seed(write(staged, {"seedlab.toml": config} | files), url, max_delete="2")
    reset = undo(staged, url, "pupils")

    told = [refused(staged, url, run=run.run_id) for run in (second, reset)]

    assert f"run {second.run_id} updated 1 and deleted 2 rows" in told[0]
    assert f"run {reset.run_id} updated 0 and deleted 2 rows" in told[1]
    assert undo(staged, url, run=first.run_id).outcomes.deleted == 2


def test_a_run_whose_rows_later_ones_refer_to_is_rolled_back_after_these(staged: Path, url: str) -> None:
    first = seed(staged, url, select=["cities"])
    second = seed(staged, url, select=["pupils"])

    assert "3 rows of table pupils refer to rows of table cities" in refused(staged, url, run=first.run_id)
    assert undo(staged, url, run=second.run_id).outcomes.deleted == 3
    assert undo(staged, url, run=first.run_id).outcomes.deleted == 2


# ---- from the command line ------------------------------------------------------------------------------


def test_guards_stand_before_an_undo(staged: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["seed", str(staged), "--database-url", url, "-q"]) == 0
    before = dump(url)

    protected = [main([*line, "--database-url", url, "--env", "production"]) for line in undos(staged)]
    told = capsys.readouterr().err
    far = [main([*line, "--database-url", "postgresql://db.example/app"]) for line in undos(staged)]

    assert [*protected, *far] == [4] * 4
    assert "environment production is protected" in told
    assert "the database postgresql://db.example/app is on another machine" in capsys.readouterr().err
    assert dump(url) == before


def undos(folder: Path) -> tuple[list[str], list[str]]:
    return ["reset", str(folder)], ["rollback", "0" * 8, str(folder)]


def test_the_command_tells_by_stage_what_went_and_keeps_a_record(
    staged: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["seed", str(staged), "--database-url", url, "--json"]) == 0
    run = json.loads(capsys.readouterr().out)["run_id"]
    assert main(["reset", str(staged), "--stage", "pupils", "--database-url", url]) == 0
    reset = capsys.readouterr()
    assert main(["rollback", run, str(staged), "--database-url", url, "--json"]) == 0
    rollback = json.loads(capsys.readouterr().out)

    assert "3 rows" in reset.out
    assert "3 deleted" in reset.out
    assert reset.err.startswith("record: reports/runs/")
    (kept,) = Path("reports/runs").glob(f"*-{rollback['run_id']}/run.json")
    assert json.loads(kept.read_text()) == rollback
    assert (rollback["status"], rollback["outcomes"]["deleted"]) == ("succeeded", 2)
    assert main(["rollback", "0" * 8, str(staged), "--database-url", url]) == 2
    assert "the ledger has no run '00000000'" in capsys.readouterr().err
