"""Tables without any key: of equal rows as many are there as the files have, and nothing is ever deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedlab.errors import ConfigurationError
from tests.support.seeding import Way, counted, execute, rows_of, seed, seed_in, undo, write

TABLES = "CREATE TABLE log (code text, n int, note text NOT NULL DEFAULT 'none');"
ROWS = "n,code\n1,a\n,\n1,a\n2,b\n,\n"  # two rows stand twice, one of them is all NULL
HELD = "SELECT code, n, count(*) FROM log GROUP BY 1, 2 ORDER BY coalesce(n, 0)"
SEEDED = [(None, None, 2), ("a", 1, 2), ("b", 2, 1)]


@pytest.fixture
def url(clean_database_url: str) -> str:
    execute(clean_database_url, TABLES)
    return clean_database_url


@pytest.fixture
def project(folder: Path) -> Path:
    return write(folder, {"log.csv": ROWS})


def test_equal_rows_are_counted(project: Path, url: str, way: Way) -> None:
    execute(url, "INSERT INTO log (code, n) VALUES ('a', 1), ('mine', 7);")

    runs = [counted(seed_in(way, project, url)) for _ in range(2)]

    assert runs == [(4, 0, 1), (0, 0, 5)]
    assert rows_of(url, HELD) == [*SEEDED, ("mine", 7, 1)]


def test_a_row_that_others_deleted_comes_back(project: Path, url: str) -> None:
    seed(project, url)
    some = "ctid = (SELECT min(ctid) FROM log WHERE n = 1)"
    execute(url, f"DELETE FROM log WHERE {some.replace('ctid', 'rowid') if 'sqlite' in url else some};")

    assert counted(seed(project, url)) == (1, 0, 4)
    assert rows_of(url, HELD) == SEEDED


def test_a_row_that_others_added_is_nobodys_business(project: Path, url: str) -> None:
    seed(project, url)
    execute(url, "INSERT INTO log (code, n) VALUES ('a', 1);")

    assert counted(seed(project, url)) == (0, 0, 5)
    assert rows_of(url, HELD)[1] == ("a", 1, 3)


def test_a_row_that_others_deleted_comes_back_after_another_project_has_seeded(
    project: Path, url: str, tmp_path: Path
) -> None:
    another = write(tmp_path / "another", {"log.csv": "n,code\n7,x\n"})
    seed(project, url)
    seed(another, url)
    execute(url, "DELETE FROM log WHERE n = 2")
    write(another, {"log.csv": "n,code\n7,x\n8,y\n"})
    seed(another, url)

    assert counted(seed(project, url)) == (1, 0, 4)
    assert rows_of(url, HELD) == [*SEEDED, ("x", 7, 1), ("y", 8, 1)]


def test_two_projects_that_nobody_disturbs_have_nothing_to_do(
    project: Path, url: str, tmp_path: Path
) -> None:
    another = write(tmp_path / "another", {"log.csv": "n,code\n7,x\n"})
    seed(project, url)
    seed(another, url)
    write(another, {"log.csv": "n,code\n7,x\n8,y\n"})
    seed(project, url)
    seed(another, url)

    for each in (project, another, project):
        assert {stage.status for stage in seed(each, url).stages} == {"skipped"}


def test_a_row_that_changes_in_the_file_is_a_new_one(project: Path, url: str) -> None:
    seed(project, url)
    write(project, {"log.csv": ROWS.replace("2,b", "3,b")})

    assert counted(seed(project, url)) == (1, 0, 4)
    assert counted(seed(project, url)) == (0, 0, 5)
    assert rows_of(url, HELD) == [*SEEDED, ("b", 3, 1)]


def test_large_files_are_counted_as_a_whole(project: Path, url: str) -> None:
    write(project, {"log.csv": "n,code\n" + "1,a\n2,b\n" * 50})
    execute(url, "INSERT INTO log (code, n) VALUES ('a', 1);")

    runs = [counted(seed(project, url, batch_rows=7, force=force)) for force in (False, True)]

    assert runs == [(99, 0, 1), (0, 0, 100)]
    assert rows_of(url, HELD) == [("a", 1, 50), ("b", 2, 50)]


def test_a_reset_leaves_the_rows_and_says_so(project: Path, url: str) -> None:
    seed(project, url)

    run = undo(project, url)

    assert run.outcomes.deleted == 0
    assert any("5 rows of table log stay" in note for note in run.notes)
    assert rows_of(url, HELD) == SEEDED
    assert counted(seed(project, url)) == (0, 0, 5)


def test_a_reset_says_of_one_row_that_it_stays(project: Path, url: str) -> None:
    write(project, {"log.csv": "n,code\n1,a\n"})
    seed(project, url)

    (note,) = undo(project, url).notes

    assert note.startswith("1 row of table log stays: the table has no key")


SEED = """
[[stages.seeds]]
name = "{name}"
source = "{name}.csv"
table = "log"
mode = "{mode}"
"""


@pytest.mark.parametrize(
    ("seeds", "why"),
    [
        ([("log", "sync")], "sync cannot tell which rows left"),
        ([("log", "upsert"), ("more", "upsert")], "the seeds log and more fill it"),
    ],
)
def test_what_cannot_be_told_without_a_key_is_refused(
    project: Path, url: str, seeds: list[tuple[str, str]], why: str
) -> None:
    stages = "".join(SEED.format(name=name, mode=mode) for name, mode in seeds)
    write(project, {"more.csv": "n,code\n", "seedlab.toml": f'[[stages]]\nid = "all"\n{stages}'})

    with pytest.raises(ConfigurationError, match=why):
        seed(project, url)


def test_records_without_a_column_to_write_are_refused(folder: Path, url: str) -> None:
    execute(url, "CREATE TABLE made (n int, twice int GENERATED ALWAYS AS (n * 2) STORED)")
    for records in ('[{"twice": 2}]', "[{}]"):
        write(folder, {"made.json": records})
        with pytest.raises(
            ConfigurationError, match=r"made has no key, and made\.json gives no column of it"
        ):
            seed(folder, url)
    write(folder, {"made.json": "[]"})

    assert counted(seed(folder, url)) == (0, 0, 0)


def test_not_null_is_seen_before_anything_is_written(project: Path, url: str) -> None:
    write(project, {"log.csv": "n,code,note\n1,a,x\n2,b,\n"})

    with pytest.raises(Exception, match="1 data fault") as caught:
        seed(project, url)

    (fault,) = caught.value.faults  # type: ignore[attr-defined]
    assert (fault.rule, fault.line, fault.column) == ("not-null", 3, "note")
