"""`--on-error reject`: bad rows and their dependents go to files beside the record, all else is written."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

import seedlab
from seedlab.cli import main
from seedlab.errors import DataFaults, SeedError
from seedlab.flow import LINE, REASON, Level, Run
from tests.conformance.test_bad_input import CANARY, CASES, CHECKED, TABLES, TRIGGER
from tests.conformance.test_sync import names
from tests.support.school import SEED, STAGE, TWO_STAGES, TWO_SYNCS
from tests.support.seeding import Way, counted, dump, execute, rows_of, seed, seed_in, undo, write

pytestmark = pytest.mark.usefixtures("plain_environment")

# Of each case of bad input whose rows can be told apart: how many are written and rejected beside a good one.
ROWS = {
    "every missing parent": (5, 3),
    "duplicate key": (2, 2),
    "duplicate key in another file": (1, 2),
    "null in a key": (1, 1),
    "null in a column that must not be": (1, 1),
    "wrong types": (1, 2),
    "wrong types in documents": (1, 2),
    "overflow": (1, 2),
    "too long": (1, 1),
    "rounding": (1, 1),
    "a part of a reference": (3, 1),
}
# The others: a column is wrong for all rows, or it cannot be told where a row ends.
CITIES = "code,name,size\nhfa,Haifa,3\ntlv,Tel Aviv,many\n"
PUPILS = "name,city.code\nAda,hfa\nBob,tlv\nCid,eil\n"


@pytest.fixture
def url(clean_database_url: str) -> str:
    execute(clean_database_url, TABLES)
    return clean_database_url


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    return tmp_path / "reports"


@pytest.fixture
def staged(folder: Path) -> Path:
    """A bad city, a pupil who lives there, and good ones, in two stages."""
    return write(folder, {"seedlab.toml": TWO_STAGES, "cities.csv": CITIES, "pupils.csv": PUPILS})


def rejected(run: Run) -> dict[str, int]:
    """Rejected rows by table; the totals say the same."""
    tables = [table for stage in run.stages for each in stage.seeds for table in each.tables]
    found: dict[str, int] = {}
    for table in tables:
        if table.outcomes.rejected:
            found[table.table] = found.get(table.table, 0) + table.outcomes.rejected
    assert sum(found.values()) == run.outcomes.rejected
    return found


def files_of(run: Run, reports: Path) -> Mapping[str, Path]:
    """The reject files of a run, by the names of their sources."""
    (folder,) = reports.glob(f"runs/*-{run.run_id}/rejects")
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def told(run: Run) -> list[tuple[str | None, int | None, str]]:
    return [(fault.file, fault.line, fault.rule) for fault in run.faults]


# ---- which rows -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_bad_row_that_can_be_told_apart_is_rejected_and_no_other(
    tmp_path: Path, url: str, reports: Path
) -> None:
    for number, case in enumerate(case for case in CASES if case.name in ROWS):
        folder = write(tmp_path / str(number), case.files | {"0/cities.csv": "code,name\nzz,Good\n"})

        run = seed(folder, url, rejects=reports)

        assert (run.outcomes.created, run.outcomes.rejected) == ROWS[case.name], case
        assert (run.exit_code, run.status, run.outcomes.updated) == (3, "succeeded", 0)
        places = {(each.file, each.line, each.rule) for each in case.told}
        assert places <= set(told(run)), case
        assert set(files_of(run, reports)) == {each.file for each in run.faults} >= {f for f, _, _ in places}
        assert (
            len(rows_of(url, "SELECT 1 FROM cities UNION ALL SELECT 1 FROM pupils")) == 1 + ROWS[case.name][0]
        )
        undo(folder, url)


def test_what_is_wrong_with_a_whole_file_stops_the_run(tmp_path: Path, url: str, reports: Path) -> None:
    others = [case for case in CASES if case.name not in ROWS]
    before = dump(url)
    for number, case in enumerate(others):
        folder = write(tmp_path / str(number), case.files | {"0/cities.csv": "code,name\nzz,Good\n"})

        with pytest.raises(DataFaults) as failed:
            seed(folder, url, rejects=reports)

        assert {each.rule for each in failed.value.faults} == {each.rule for each in case.told}
    assert len(others) + len(ROWS) == len(CASES)
    assert dump(url) == before
    assert not reports.exists()


def test_dependents_go_too_at_every_level_and_the_next_run_tries_again(
    staged: Path, url: str, reports: Path, way: Way
) -> None:
    first = seed_in(way, staged, url, rejects=reports)
    second = seed_in(way, staged, url, rejects=reports)
    with pytest.raises(DataFaults):
        seed_in(way, staged, url)
    after = names(url), names(url, "cities", "code")
    third = seed_in(way, write(staged, {"cities.csv": CITIES.replace("many", "4")}), url, rejects=reports)

    assert [counted(run) for run in (first, second, third)] == [(3, 0, 0), (0, 0, 3), (2, 0, 3)]
    assert rejected(first) == rejected(second) == {"cities": 1, "pupils": 1}
    assert told(first) == told(second) == [
        ("cities.csv", 3, "type"), ("pupils.csv", 3, "rejected-parent")
    ]  # fmt: skip
    assert after == (["Ada", "Cid"], ["eil", "hfa"])
    assert (third.exit_code, rejected(third), told(third)) == (0, {}, [])
    assert names(url) == ["Ada", "Bob", "Cid"]
    settled = seed_in(way, staged, url, rejects=reports)
    assert counted(settled) == (0, 0, 5)


def test_only_the_stages_with_rejected_rows_and_those_behind_them_run_again(
    staged: Path, url: str, reports: Path
) -> None:
    execute(url, "CREATE TABLE notes (code text PRIMARY KEY)")
    config = TWO_STAGES + STAGE.format("notes") + SEED.format("notes", "notes.csv")
    write(
        staged, {"seedlab.toml": config, "notes.csv": "code\na\n", "pupils.csv": "name,city.code\nAda,hfa\n"}
    )

    seed(staged, url, rejects=reports)
    again = seed(staged, url, rejects=reports)

    assert [stage.status for stage in again.stages] == ["run", "run", "skipped"]


def test_a_bad_row_that_the_target_has_keeps_what_depends_on_it(
    staged: Path, url: str, reports: Path
) -> None:
    seed(write(staged, {"cities.csv": CITIES.replace("many", "4")}), url)

    run = seed(
        write(staged, {"cities.csv": CITIES, "pupils.csv": PUPILS + "Dan,tlv\n"}), url, rejects=reports
    )

    assert rejected(run) == {"cities": 1}
    assert counted(run) == (1, 0, 4)
    assert rows_of(url, "SELECT size FROM cities WHERE code = 'tlv'") == [(4,)]
    assert undo(staged, url).outcomes.deleted == 6
    assert names(url, "cities", "code") == ["eil"]


# ---- what only the database refuses ---------------------------------------------------------------------


@pytest.mark.parametrize("level", ["legacy", "incremental"])
def test_a_check_is_asked_for_every_row(
    folder: Path, clean_database_url: str, reports: Path, level: str
) -> None:
    url = clean_database_url
    execute(url, CHECKED)
    write(folder, {"cities.csv": f"code,name,size\na,a,1\nb,{CANARY},-1\napp,x,0\nc,c,\n"})

    run = seed(folder, url, level, rejects=reports)  # type: ignore[arg-type]

    assert told(run) == [("cities.csv", 3, "constraint"), ("cities.csv", 4, "constraint")]
    assert all("size_is_sane" in fault.message for fault in run.faults)
    assert names(url, "cities", "code") == ["a", "app", "c"]
    assert names(url, "cities") == ["a", "c", "of the application"]


def test_rows_without_a_partition_are_rejected(folder: Path, clean_postgres_url: str, reports: Path) -> None:
    execute(
        clean_postgres_url,
        "CREATE TABLE cities (code text PRIMARY KEY) PARTITION BY LIST (code);"
        "CREATE TABLE few PARTITION OF cities FOR VALUES IN ('a', 'c')",
    )
    write(folder, {"cities.csv": "code\na\nb\nc\n"})

    run = seed(folder, clean_postgres_url, rejects=reports)

    assert told(run) == [("cities.csv", 3, "constraint")]
    assert "no partition of the table takes the row" in run.faults[0].message
    assert names(clean_postgres_url, "cities", "code") == ["a", "c"]


def test_a_unique_value_of_the_application_is_rejected(
    folder: Path, clean_database_url: str, reports: Path
) -> None:
    url = clean_database_url
    execute(url, CHECKED)
    write(folder, {"cities.csv": "code,name,phone\na,a,444\nb,b,555\nc,c,666\n"})

    run = seed(folder, url, rejects=reports)

    assert (told(run), counted(run)) == ([("cities.csv", 3, "unique")], (2, 0, 0))
    assert names(url, "cities", "code") == ["a", "app", "c"]


@pytest.mark.parametrize("batch_rows", [1, 500_000])
@pytest.mark.parametrize("level", ["incremental", "bulk"])
def test_of_rows_with_one_unique_value_all_go_however_far_apart(
    folder: Path, clean_database_url: str, reports: Path, level: Level, batch_rows: int
) -> None:
    """In a file that is streamed, too, of which only a batch is looked at at a time."""
    url = clean_database_url
    execute(url, "CREATE TABLE pupils (id SERIAL KEY, code text NOT NULL UNIQUE, email text UNIQUE);")
    write(folder, {"pupils.csv": "code,email\na,x\nb,y\nc,x\nd,\ne,\nf,x\n"})

    run = seed(folder, url, level, rejects=reports, batch_rows=batch_rows)

    assert sorted((fault.rule, fault.line) for fault in run.faults) == [("unique", n) for n in (2, 4, 7)]
    assert rows_of(url, "SELECT code FROM pupils ORDER BY 1") == [("b",), ("d",), ("e",)]


def test_a_trigger_that_objects_stops_the_run(folder: Path, clean_database_url: str, reports: Path) -> None:
    url = clean_database_url
    execute(url, CHECKED + TRIGGER[url.split(":")[0]])
    write(folder, {"cities.csv": "code,name,size\na,a,many\nb,b,1\n"})
    before = dump(url)

    with pytest.raises(SeedError):
        seed(folder, url, rejects=reports)

    assert dump(url) == before
    assert not reports.exists()


# ---- with sync ------------------------------------------------------------------------------------------


def test_a_rejected_row_has_not_left_the_files(staged: Path, url: str, reports: Path) -> None:
    good = {"cities.csv": "code,name,size\nhfa,Haifa,3\ntlv,Tel Aviv,4\njer,Jerusalem,5\n"}
    seed(write(staged, good | {"seedlab.toml": TWO_SYNCS}), url)

    bad = {
        "cities.csv": "code,name,size\nhfa,Haifa,3\ntlv,Tel Aviv,many\n",
        "pupils.csv": PUPILS + "Bob,hfa\n",
    }
    run = seed(write(staged, bad), url, rejects=reports, max_delete="9")
    mended = seed(write(staged, good | {"pupils.csv": PUPILS}), url)
    gone = seed(write(staged, {"pupils.csv": "name,city.code\nAda,hfa\n"}), url, max_delete="9")

    assert (rejected(run), run.outcomes.deleted) == ({"cities": 1, "pupils": 2}, 1)
    assert counted(mended) == (1, 0, 5)  # Jerusalem is back
    assert names(url) == ["Ada"]
    assert gone.outcomes.deleted == 2


def test_nothing_leaves_a_table_while_a_rejected_row_has_no_name(
    staged: Path, url: str, reports: Path
) -> None:
    seed(write(staged, {"cities.csv": CITIES.replace("many", "4"), "seedlab.toml": TWO_SYNCS}), url)

    unnamed = seed(write(staged, {"pupils.csv": PUPILS.replace("Bob", "")}), url, rejects=reports)
    mended = seed(write(staged, {"pupils.csv": PUPILS.replace("Bob", "Bert")}), url, max_delete="1")

    assert (rejected(unnamed), unnamed.outcomes.deleted) == ({"pupils": 1}, 0)
    assert (counted(mended), mended.outcomes.deleted) == ((1, 0, 4), 1)
    assert names(url) == ["Ada", "Bert", "Cid"]


# ---- from the command line ------------------------------------------------------------------------------


def test_the_command_ends_with_3_and_tells_where_the_rows_are(
    staged: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(staged, {"cities.csv": CITIES.replace("many", CANARY)})
    line = ["seed", str(staged), "--database-url", url, "--on-error", "reject", "--reports", "evidence"]

    code = main(line)
    text = capsys.readouterr()
    again = main([*line, "--json"])
    out, err = capsys.readouterr()

    record = json.loads(out)
    assert (code, again) == (3, 3)
    assert "2 rejected" in text.out
    assert "cities.csv:3: type" in text.err
    assert "pupils.csv:3: rejected-parent" in text.err
    assert "nothing was written" not in text.err
    assert (record["status"], record["exit_code"], record["outcomes"]["rejected"]) == ("succeeded", 3, 2)
    assert [(e["file"], e["line"], e["rule"], e["table"]) for e in record["errors"]] == [
        ("cities.csv", 3, "type", "cities"),
        ("pupils.csv", 3, "rejected-parent", "pupils"),
    ]
    (folder,) = Path("evidence").glob(f"runs/*-{record['run_id']}")
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.*")) == [
        "rejects/cities.csv", "rejects/pupils.csv", "run.json",
    ]  # fmt: skip
    assert stat.S_IMODE((folder / "rejects" / "cities.csv").stat().st_mode) == 0o600
    assert CANARY not in text.out + text.err + out + err + (folder / "run.json").read_text()


def test_a_mended_reject_file_is_a_project_that_completes_the_target(
    staged: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["seed", str(staged), "--database-url", url, "--on-error", "reject", "--json"]) == 3
    run = json.loads(capsys.readouterr().out)["run_id"]
    (folder,) = Path("reports").glob(f"runs/*-{run}/rejects")
    lines = (folder / "cities.csv").read_text().splitlines()
    assert lines[0] == f"code,name,size,{REASON},{LINE}"
    assert lines[1].startswith('tlv,Tel Aviv,many,"type: ')
    assert lines[1].endswith(",3")
    write(folder, {"cities.csv": "\n".join(lines).replace("many", "4")})

    assert main(["seed", str(folder), "--database-url", url, "-q"]) == 0

    assert names(url) == ["Ada", "Bob", "Cid"]
    assert rows_of(url, "SELECT size FROM cities WHERE code = 'tlv'") == [(4,)]


def test_reject_files_in_the_project_are_no_sources_of_its_patterns(staged: Path, url: str) -> None:
    write(staged, {"seedlab.toml": TWO_STAGES.replace('source = "', 'source = "**/')})

    first, second = (seed(staged, url, rejects=staged / "reports") for _ in range(2))

    assert rejected(first) == rejected(second) == {"cities": 1, "pupils": 1}


def test_a_dry_run_tells_of_rejects_and_writes_no_file(
    staged: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dump(url)

    code = main(["seed", str(staged), "--database-url", url, "--on-error", "reject", "--dry-run", "--json"])

    record = json.loads(capsys.readouterr().out)
    assert (code, record["outcomes"]["rejected"], record["outcomes"]["created"]) == (3, 2, 3)
    assert dump(url) == before
    assert list(Path("reports").rglob("rejects")) == []


# ---- how it is asked for --------------------------------------------------------------------------------


def test_a_misspelled_variable_is_told(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, {"seedlab.toml": TWO_STAGES, "cities.csv": CITIES, "pupils.csv": PUPILS})
    monkeypatch.setenv("SEEDLAB_ON_ERROR", "rejects")

    assert main(["seed", str(folder), "--database-url", url]) == 2
    assert "--on-error: expected stop or reject, found 'rejects'" in capsys.readouterr().err


def test_a_notebook_names_the_folder_as_text(folder: Path, url: str, tmp_path: Path) -> None:
    write(folder, {"seedlab.toml": TWO_STAGES, "cities.csv": CITIES, "pupils.csv": PUPILS})
    project = seedlab.load_project(folder)

    run = seedlab.seed(project, url, rejects=str(tmp_path / "aside"))

    assert run.outcomes.rejected == len(run.faults) == 2
    assert len(list((tmp_path / "aside").rglob("cities.csv"))) == 1
    with pytest.raises(SeedError, match="reject"):
        seedlab.seed(project, url, rejects=str(tmp_path / "aside"), commit="stage")
