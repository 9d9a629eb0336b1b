"""`seed`, `plan` and `check` from the command line, against real databases."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from seedlab.cli import main
from tests.support.seeding import write

pytestmark = pytest.mark.usefixtures("plain_environment")
CONFIG = """\
[project]
name = "school"

[[stages]]
id = "core"
name = "Core"

  [[stages.seeds]]
  name = "cities"
  source = "cities.csv"
  [stages.seeds.tables]
  cities = { key = ["code"] }

[[stages]]
id = "people"
name = "People"
dependencies = ["core"]

  [[stages.seeds]]
  name = "pupils"
  source = "pupils.csv"
  [stages.seeds.tables]
  pupils = { key = ["name"] }
"""
TABLES = """
CREATE TABLE cities (id integer PRIMARY KEY, code text NOT NULL UNIQUE, name text NOT NULL);
CREATE TABLE pupils (
  id integer PRIMARY KEY, name text NOT NULL UNIQUE, city_id integer NOT NULL REFERENCES cities
);
"""
MODELS = """\
from sqlalchemy import Column, ForeignKey, MetaData, Table, Text, Uuid

metadata = MetaData()
Table(
    "cities", metadata,
    Column("id", Uuid, primary_key=True), Column("code", Text, unique=True, nullable=False), Column("name", Text),
)
Table(
    "pupils", metadata,
    Column("id", Uuid, primary_key=True), Column("name", Text, unique=True, nullable=False),
    Column("city_id", ForeignKey("cities.id"), nullable=False),
)
"""


@pytest.fixture
def school(tmp_path: Path) -> Path:
    folder = tmp_path / "school"
    folder.mkdir()
    (folder / "seedlab.toml").write_text(CONFIG)
    (folder / "cities.csv").write_text("code,name\nhfa,חיפה\ntlv,תל אביב\n")
    (folder / "pupils.csv").write_text("name,city.code\nAda,hfa\n")
    return folder


@pytest.fixture
def database(tmp_path: Path) -> str:
    """A SQLite database with the school's tables."""
    with closing(sqlite3.connect(tmp_path / "school.db")) as connection:
        connection.executescript(TABLES)
    return f"sqlite:///{tmp_path}/school.db"


@pytest.fixture
def models(school: Path) -> None:
    """The school knows its tables without a database."""
    config = CONFIG.replace("[[stages]]", 'schema = "models.py:metadata"\n\n[[stages]]', 1)
    (school / "seedlab.toml").write_text(config)
    (school / "models.py").write_text(MODELS)


def rows_of(tmp_path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(tmp_path / "school.db")) as connection:
        query = "SELECT pupils.name, cities.name FROM pupils JOIN cities ON cities.id = city_id"
        return connection.execute(query).fetchall()


def test_seed_brings_the_data_and_says_where_it_is(
    school: Path, database: str, tmp_path: Path, capsys
) -> None:
    assert main(["seed", str(school), "--database-url", database]) == 0

    out, err = capsys.readouterr()
    assert rows_of(tmp_path) == [("Ada", "חיפה")]
    assert "3 created" in out
    assert out.splitlines()[-1] == database
    assert err.startswith("record: reports/runs/")


def test_a_second_seed_has_nothing_to_do(school: Path, database: str, capsys) -> None:
    assert main(["seed", str(school), "--database-url", database, "-q"]) == 0
    assert capsys.readouterr() == ("", "")

    assert main(["seed", str(school), "--database-url", database]) == 0

    assert "nothing to do, 3 unchanged" in capsys.readouterr()[0]


def test_seed_json_is_the_record_that_was_written(
    school: Path, database: str, tmp_path: Path, capsys
) -> None:
    line = ["seed", str(school), "--database-url", database, "--json", "--reports", "evidence"]
    assert main(line) == 0

    out, _ = capsys.readouterr()
    (written,) = (tmp_path / "evidence").glob("runs/*/run.json")
    assert out == written.read_text(encoding="utf-8")
    record = json.loads(out)
    assert (record["status"], record["project"], record["target"]) == ("succeeded", "school", database)
    assert record["outcomes"]["created"] == 3
    assert record["args"] == ["seedlab", *line]
    assert record["settings"]["origins"]["level"] == "default"


def test_a_trace_lies_where_it_was_asked_for(
    school: Path, postgres_url: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            TABLES.replace("integer PRIMARY KEY", "integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY")
        )
    monkeypatch.setenv("SEEDLAB_TRACE", "from-variable.json")

    assert main(["seed", str(school), "--database-url", postgres_url, "--trace", "trace.json"]) == 0
    assert "trace: trace.json\n" in capsys.readouterr()[1]
    assert main(["seed", str(school), "--database-url", postgres_url, "--force", "-q"]) == 0

    assert capsys.readouterr() == ("", "")
    for name in ("trace.json", "from-variable.json"):
        events = json.loads((tmp_path / name).read_text())["traceEvents"]
        assert {"read", "merge", "commit"} <= {event.get("cat") for event in events}
        assert {event["name"] for event in events if event["ph"] == "C"} == {"memory", "WAL"}
        assert [event for event in events if event["pid"] == 2 and event["ph"] == "M"]


def test_a_trace_that_cannot_be_written_does_not_undo_the_success(
    school: Path, database: str, capsys
) -> None:
    assert main(["seed", str(school), "--database-url", database, "--trace", "none/trace.json"]) == 0

    err = capsys.readouterr()[1]
    assert err.startswith("record: ")
    assert "! none/trace.json: cannot write the trace" in err


def test_data_faults_are_shown_with_their_lines_and_recorded(
    school: Path, database: str, tmp_path: Path, capsys
) -> None:
    (school / "pupils.csv").write_text("name,city.code\nAda,hfa\nBob,hunter2\n")

    assert main(["seed", str(school), "--database-url", database]) == 3

    out, err = capsys.readouterr()
    assert out == ""
    assert "pupils.csv:3: missing-parent" in err
    assert "1 data fault, nothing was written" in err
    assert "hunter2" not in err
    assert rows_of(tmp_path) == []
    (written,) = (tmp_path / "reports").glob("runs/*/run.json")
    record = json.loads(written.read_text(encoding="utf-8"))
    assert (record["status"], record["exit_code"]) == ("failed", 3)
    assert (record["errors"][0]["file"], record["errors"][0]["line"]) == ("pupils.csv", 3)


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("nowhere,Name{n}", "… and 1,184 more: 1,184 missing-parent; --json lists more\n"),
        ("nowhere", "… and 1,184 more: 1,184 field-count; --json lists more\n"),
    ],
)
def test_all_faults_are_counted_also_those_that_are_not_listed(
    line: str, counts: str, school: Path, database: str, capsys
) -> None:
    lines = [line.format(n=n) for n in range(1_234)]
    (school / "pupils.csv").write_text("\n".join(["city.code,name", *lines, ""]))

    assert main(["seed", str(school), "--database-url", database, "-q"]) == 3

    err = capsys.readouterr().err
    assert "1,234 data faults, nothing was written" in err
    assert counts in err


def test_show_values_shows_what_is_wrong(school: Path, database: str, capsys) -> None:
    (school / "pupils.csv").write_text("name,city.code\nBob,atlantis\n")

    assert main(["seed", str(school), "--database-url", database, "--show-values"]) == 3
    assert "atlantis" in capsys.readouterr()[1]


def test_a_guard_refuses_with_exit_code_4(school: Path, database: str, tmp_path: Path, capsys) -> None:
    assert main(["seed", str(school), "--database-url", database, "--env", "production"]) == 4

    assert "--yes-seed school" in capsys.readouterr()[1]
    assert rows_of(tmp_path) == []
    assert (
        main(["seed", str(school), "--database-url", database, "--env", "production", "--yes-seed", "school"])
        == 0
    )


def test_a_target_that_does_not_answer_is_exit_code_1(school: Path, monkeypatch, capsys) -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/school"

    assert main(["seed", str(school), "--database-url", url, "--json"]) == 1

    out, err = capsys.readouterr()
    assert json.loads(out)["errors"][0]["rule"] == "connection"
    assert "hunter2" not in out + err


def test_a_record_that_cannot_be_written_does_not_undo_the_success(
    school: Path, database: str, tmp_path: Path, capsys
) -> None:
    (tmp_path / "reports").write_text("a file is in the way")

    assert main(["seed", str(school), "--database-url", database]) == 0
    assert "! reports/runs/" in capsys.readouterr()[1]
    assert rows_of(tmp_path) == [("Ada", "חיפה")]


def test_plan_shows_and_writes_nothing(school: Path, database: str, tmp_path: Path, capsys) -> None:
    before = (tmp_path / "school.db").read_bytes()

    assert main(["plan", str(school), "--database-url", database]) == 0
    text = capsys.readouterr()[0]
    assert main(["plan", str(school), "--database-url", database, "--json"]) == 0
    record = json.loads(capsys.readouterr()[0])

    assert "+ core" in text
    assert "3 rows in 2 stages" in text
    assert record["status"] == "planned"
    assert [stage["id"] for stage in record["stages"]] == ["core", "people"]
    assert (tmp_path / "school.db").read_bytes() == before
    assert not (tmp_path / "reports").exists()


def test_check_needs_no_database(school: Path, models: None, capsys) -> None:
    assert main(["check", str(school)]) == 0
    assert "school: no faults found" in capsys.readouterr()[0]

    (school / "cities.csv").write_bytes(b"code,name\nhfa,\xff\n")

    assert main(["check", str(school)]) == 3
    assert "cities.csv:2: encoding" in capsys.readouterr()[1]


def test_check_says_which_values_it_could_not_judge(tmp_path: Path, capsys) -> None:
    columns = 'Column("name", Text, primary_key=True), Column("day", Date), Column("n", Integer)'
    models = f'from sqlalchemy import *\nmetadata = MetaData()\ndays = Table("days", metadata, {columns})\n'
    config = '[project]\nschema = "models.py:metadata"\n'
    rows = "name,day,n\na,2025-01-01,1\nb,2025-02-30,x\n"
    for name, text in {"models.py": models, "seedlab.toml": config, "days.csv": rows}.items():
        (tmp_path / name).write_text(text)

    assert main(["check", str(tmp_path)]) == 0

    told = capsys.readouterr()[0]
    assert "values that only a database can check were not checked (2 in days.day, days.n)" in told


@pytest.mark.slow
def test_seed_without_a_url_starts_a_server_whose_url_works_as_printed(
    school: Path, models: None, own_server: None, capsys
) -> None:
    assert main(["seed", str(school)]) == 0

    url = capsys.readouterr()[0].splitlines()[-1]
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM pupils").fetchone() == (1,)


def test_an_id_that_we_made_is_not_changed_by_one_that_the_file_gives_later(
    school: Path, models: None, capsys
) -> None:
    line = ["seed", str(school), "--database-url", "sqlite:///school.db", "-q"]
    assert main(line) == 0
    (school / "cities.csv").write_text(
        "id,code,name\n00000000-0000-4000-8000-000000000001,hfa,חיפה\n"
        "00000000-0000-4000-8000-000000000002,tlv,תל אביב\n"
    )

    code = main(line)

    assert code == 3
    assert "cities.csv:2: id-conflict" in capsys.readouterr()[1]


@pytest.mark.parametrize(
    "command", ["plan", "seed", "seed --dry-run", "status", "doctor", "reset", "rollback", "export out"]
)
def test_a_database_whose_name_is_misspelled_is_not_made(
    command: str, sqlite_url: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write(tmp_path / "project", {"seedlab.toml": "", "cities.csv": "code\nhfa\n"}))

    exit_code = main([*command.split(), "--database-url", sqlite_url])

    assert not (tmp_path / "test.db").exists()
    if command in ("plan", "seed"):
        assert exit_code == 2
        assert "no table 'cities' in database test, which has no tables; run" in capsys.readouterr().err
