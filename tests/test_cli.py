"""The command line: exit codes, what goes to which stream, and what is not imported."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from seedlab.cli import main
from seedlab.cli.arguments import build_parser, parse
from tests.fix_postgres import drop_database

CONFIG = """\
[project]
name = "school"

[targets.staging]
url = "postgresql://me:${SECRET}@db.example/school"

[[stages]]
id = "core"
name = "Core"

  [[stages.seeds]]
  name = "cities"
  source = "cities.csv"
  tags = ["essential"]
  [stages.seeds.tables]
  cities = { key = ["code"] }

[[stages]]
id = "people"
name = "People"
dependencies = ["core"]

  [[stages.seeds]]
  name = "pupils"
  source = "pupils.csv"
  environments = ["development"]
  [stages.seeds.tables]
  pupils = { key = ["name"] }
"""


@pytest.fixture(autouse=True)
def no_server_of_others(plain_environment: None, monkeypatch, tmp_path: Path) -> None:
    """A server of the test's own should anything start one."""
    monkeypatch.setenv("SEEDLAB_SERVER_DIR", str(tmp_path / "server"))


@pytest.fixture
def school(tmp_path: Path) -> Path:
    folder = tmp_path / "school"
    folder.mkdir()
    (folder / "seedlab.toml").write_text(CONFIG)
    (folder / "cities.csv").write_text("code,name\nhfa,חיפה\ntlv,תל אביב\n")
    (folder / "pupils.csv").write_text("name,city.code\nAda,hfa\n")
    return folder


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


# ---- light ----------------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, seedlab.cli\n"
        "code = seedlab.cli.main(['seed', '--help'])\n"
        "heavy = {'polars', 'sqlalchemy', 'psycopg', 'rich', 'yaml', 'seedlab.flow'} & set(sys.modules)\n"
        "print(code, sorted(heavy), file=sys.stderr)\n"
    )

    done = python("-c", code, cwd=tmp_path)

    assert done.stderr == "0 []\n"
    assert "--database-url" in done.stdout


def test_the_module_runs_as_a_program_and_gives_its_exit_code(school: Path) -> None:
    good = python("-m", "seedlab", "ls", "--json", cwd=school)
    bad = python("-m", "seedlab", "ls", "nowhere", cwd=school)

    assert (good.returncode, good.stderr) == (0, "")
    assert json.loads(good.stdout)["project"] == "school"
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "nowhere" in bad.stderr


def test_a_python_without_our_packages_is_told_and_not_taken_for_a_bug(school: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "seedlab", "check"], cwd=school, capture_output=True, text=True, timeout=60,
        check=False, env={"PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip

    assert f"this Python, {sys.executable}, has no package " in done.stderr
    assert "activate the virtual environment" in done.stderr
    assert "bug" not in done.stderr


def test_output_survives_a_narrow_encoding(school: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "seedlab", "graph"], cwd=school, capture_output=True, timeout=60, check=False,
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(filter(None, sys.path))},
    )  # fmt: skip

    assert done.returncode == 0
    assert b"\\u2190 core" in done.stdout


def test_a_reader_that_goes_away_is_no_traceback(school: Path) -> None:
    code = (
        "import os, subprocess, sys\n"
        "read, write = os.pipe(); os.close(read)\n"
        "done = subprocess.run([sys.executable, '-m', 'seedlab', 'ls'], stdout=write, stderr=subprocess.PIPE)\n"
        "print(done.returncode, done.stderr)\n"
    )

    assert python("-c", code, cwd=school).stdout == "1 b''\n"


# ---- usage ----------------------------------------------------------------------------------------------


def test_no_command_prints_help_and_is_misuse(capsys) -> None:
    assert main([]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert "exit codes" in err


@pytest.mark.parametrize(
    ("line", "what", "usage"),
    [
        (["sed"], "unknown command 'sed'; did you mean 'seed'?", "seedlab [OPTION]… COMMAND"),
        (["frobnicate"], "unknown command 'frobnicate'", "seedlab [OPTION]… COMMAND"),
        (["ls", "--nope"], "unknown option '--nope'", "seedlab ls [OPTION]… [DIR]"),
        (["ls", "a", "b"], "unexpected argument 'b'", "seedlab ls [OPTION]… [DIR]"),
        (
            ["generate", "--rows", "0", "out"],
            "--rows: expected a number of at least 1, found '0'",
            "seedlab generate [OPTION]… [DIR] OUT",
        ),
        (
            ["server", "strat"],
            "action: expected one of start, stop, status, url, clean, found 'strat'; did you mean 'start'?",
            "seedlab server [OPTION]… start|stop|status|url|clean [DIR]",
        ),
        (
            ["seed", "--databas=x"],
            "unknown option '--databas'; did you mean '--database-url'?",
            "seedlab seed [OPTION]… [DIR]",
        ),
        (
            ["seed", "--commit", "stages"],
            "--commit: expected one of run, stage, found 'stages'; did you mean 'stage'?",
            "seedlab seed [OPTION]… [DIR]",
        ),
        (["show"], "the following arguments are required: RUN", "seedlab show [OPTION]… RUN"),
    ],
)
def test_misuse_is_exit_code_2_and_says_what_may_be_meant(
    line: list[str], what: str, usage: str, capsys
) -> None:
    assert main(line) == 2

    out, err = capsys.readouterr()
    see = " ".join(usage.split(" [OPTION]")[:1])
    assert out == ""
    assert err == f"✗ {what}\nusage: {usage}; see {see} --help\n"


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return next(each for each in parser._actions if isinstance(each, argparse._SubParsersAction)).choices


@pytest.mark.parametrize("name", commands_of(build_parser()))
def test_a_command_is_understood_by_a_parser_of_its_own_as_by_that_of_all(name: str) -> None:
    whole, own = commands_of(build_parser()), commands_of(build_parser(name))

    assert own[name].format_help() == whole[name].format_help()
    assert len(own) < len(whole)


def test_version_is_printed(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr()[0].startswith("seedlab 0.")


def test_flags_not_given_come_from_variables() -> None:
    environ = {
        "SEEDLAB_SELECT": "core,tag:x",
        "SEEDLAB_FORCE": "1",
        "SEEDLAB_QUIET": "off",
        "SEEDLAB_YES_SEED": "school",
        "SEEDLAB_REPORTS": "out",
        "SEEDLAB_TARGET": "staging",
        "SEEDLAB_DATABASE_URL": "sqlite:///x.db",
    }

    args = parse(["seed", "--exclude", "people"], environ)

    assert (args.select, args.exclude) == (["core", "tag:x"], ["people"])
    assert (args.force, args.quiet, args.json) == (True, False, False)
    assert (args.yes_seed, args.reports, args.target) == ("school", Path("out"), "staging")
    assert args.database_url is None  # the project reads that one and says where it came from


def test_a_flag_beats_its_variable() -> None:
    environ = {"SEEDLAB_SELECT": "core", "SEEDLAB_TARGET": "staging"}

    args = parse(["plan", "-s", "people", "-t", "other"], environ)

    assert (args.select, args.target) == (["people"], "other")


def test_a_variable_that_is_neither_yes_nor_no_is_misuse(monkeypatch, capsys) -> None:
    monkeypatch.setenv("SEEDLAB_FORCE", "perhaps")

    assert main(["seed"]) == 2
    assert "SEEDLAB_FORCE: expected 1 or 0, found 'perhaps'" in capsys.readouterr()[1]


# ---- commands that read ---------------------------------------------------------------------------------


def test_ls_lists_stages_seeds_and_files(school: Path, capsys) -> None:
    assert main(["ls", str(school)]) == 0

    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()[1:3]] == [
        ["core", "cities", "cities", "essential", "all", "cities.csv"],
        ["people", "pupils", "pupils", "·", "development", "pupils.csv"],
    ]
    assert err == ""


def test_ls_json_is_only_json(school: Path, capsys) -> None:
    assert main(["ls", str(school), "--json"]) == 0

    out, err = capsys.readouterr()
    assert [seed["name"] for seed in json.loads(out)["seeds"]] == ["cities", "pupils"]
    assert err == ""


def test_quiet_prints_nothing(school: Path, capsys) -> None:
    assert main(["ls", str(school), "-q"]) == 0
    assert capsys.readouterr() == ("", "")


def test_graph_draws_dependencies_as_text_mermaid_and_json(school: Path, capsys) -> None:
    assert main(["graph", str(school)]) == 0
    text = capsys.readouterr()[0]
    assert main(["graph", str(school), "--mermaid"]) == 0
    mermaid = capsys.readouterr()[0]
    assert main(["graph", str(school), "--json"]) == 0
    record = json.loads(capsys.readouterr()[0])

    assert "people\n  ← core" in text
    assert mermaid.startswith("flowchart")
    assert record["edges"] == [{"before": "core", "after": "people", "origin": "declared"}]


def test_the_graph_of_a_bare_folder_says_where_to_look(tmp_path: Path, capsys) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "cities.csv").write_text("code\n")

    assert main(["graph", "bare"]) == 2
    assert "see them with seedlab plan" in capsys.readouterr()[1]


def test_a_configuration_error_is_exit_code_2_and_names_its_place(school: Path, capsys) -> None:
    (school / "seedlab.toml").write_text(CONFIG.replace("priority", "x") + '\n[projekt]\nname = "x"\n')

    assert main(["ls", str(school)]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert "seedlab.toml" in err
    assert "projekt" in err


def test_an_error_with_json_is_a_whole_record_on_standard_output(tmp_path: Path, capsys) -> None:
    assert main(["seed", "nowhere", "--json"]) == 2

    out, err = capsys.readouterr()
    record = json.loads(out)
    assert (record["status"], record["exit_code"]) == ("failed", 2)
    assert record["errors"][0]["rule"] == "configuration"
    assert record["args"] == ["seedlab", "seed", "nowhere", "--json"]
    assert "nowhere" in err


@pytest.fixture
def broken_listing(monkeypatch):
    """Make `ls` fail as only a fault of our own would."""

    def fail(*_: object) -> str:
        raise ZeroDivisionError("postgresql://me:hunter2@db.example/school")

    monkeypatch.setattr("seedlab.insight.formatting.summary.project_text", fail)


def test_an_unexpected_error_is_short_and_names_debug(school: Path, capsys, broken_listing) -> None:
    assert main(["ls", str(school)]) == 1

    err = capsys.readouterr()[1]
    assert err.startswith("✗ ZeroDivisionError: postgresql://me:***@db.example/school\n")
    assert "--debug" in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback_without_passwords(school: Path, capsys, broken_listing) -> None:
    assert main(["ls", str(school), "--debug"]) == 1

    err = capsys.readouterr()[1]
    assert "Traceback" in err
    assert "hunter2" not in err


def test_an_interrupt_is_exit_code_130(school: Path, capsys, monkeypatch) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("seedlab.insight.formatting.summary.project_text", interrupt)

    assert main(["ls", str(school)]) == 130
    assert capsys.readouterr()[1] == "✗ interrupted\n"


# ---- doctor and server ----------------------------------------------------------------------------------


def test_the_doctor_finds_a_good_installation_well(school: Path, capsys) -> None:
    assert main(["doctor", str(school), "--database-url", f"sqlite:///{school}/school.db", "--json"]) == 0

    checks = {check["name"]: check for check in json.loads(capsys.readouterr()[0])["checks"]}
    assert list(checks) == ["python", "packages", "disk", "embedded server", "project", "target"]
    assert {check["status"] for check in checks.values()} <= {"ok", "warn"}
    assert "school: 2 seeds, 2 stages" in checks["project"]["found"]


def test_the_doctor_shows_what_it_found_whole(school: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    target = ["--database-url", f"sqlite:///{school}/school.db"]
    assert main(["doctor", str(school), *target, "--json"]) == 0
    found = {each["name"]: each["found"] for each in json.loads(capsys.readouterr().out)["checks"]}
    assert len(found["packages"]) > 60

    assert main(["doctor", str(school), *target]) == 0

    assert found["packages"] in capsys.readouterr().out


def test_the_doctor_names_files_that_look_like_data_but_that_no_seed_reads(school: Path, capsys) -> None:
    unread = ("more.csv", "staff.xlsx", "backup.json.zst", "old.csv.zip", "Old.XLSX.gz")
    for name in (*unread, "notes.md", ".hidden.csv", "cities.csv.bak", "fields.json.md", "all.zip"):
        (school / name).write_bytes(b"")

    assert main(["doctor", str(school), "--database-url", f"sqlite:///{school}/school.db", "--json"]) == 0

    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)["checks"]}
    assert found["files"]["status"] == "warn"
    assert found["files"]["found"] == f"no seed reads {', '.join(sorted(unread))}"


def test_the_doctor_gives_a_remedy_for_what_fails(school: Path, capsys) -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/school"

    assert main(["doctor", str(school), "--database-url", url]) == 1

    out, err = capsys.readouterr()
    assert "✗  target" in out
    assert "→ check the URL and that the server runs" in out
    assert "hunter2" not in out + err


def test_the_doctor_quotes_names_in_the_grants_that_it_proposes(
    school: Path, capsys, postgres_server, postgres_admin
) -> None:
    name = 'Odd "name"'
    postgres_admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        url = postgres_server.database(name)
        with psycopg.connect(url, autocommit=True) as connection:
            role = connection.info.user
            revoke = sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC, CURRENT_USER")
            connection.execute(revoke.format(sql.Identifier(name)))

        main(["doctor", str(school), "--database-url", url])

        assert f'GRANT TEMPORARY ON DATABASE "Odd ""name""" TO "{role}"' in capsys.readouterr()[0]
    finally:
        drop_database(postgres_admin, name)


def test_the_server_that_was_never_started_is_not_running(capsys) -> None:
    assert main(["server", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr()[0])["running"] is False


@pytest.mark.slow
def test_a_database_is_made_before_there_is_any_data(own_server: None, tmp_path: Path, capsys) -> None:
    Path("cellar").mkdir()
    Path("cellar", "schema.sql").touch()

    assert main(["server", "url", "cellar"]) == 0
    with psycopg.connect(capsys.readouterr()[0].strip()) as connection:
        assert connection.info.dbname == "cellar"


@pytest.mark.slow
def test_the_url_of_the_server_can_be_used_as_printed(school: Path, own_server: None, capsys) -> None:
    assert main(["server", "url", str(school)]) == 0
    url = capsys.readouterr()[0].strip()
    assert main(["server", "status"]) == 0
    status = capsys.readouterr()[0]

    with psycopg.connect(url) as connection:
        assert connection.info.dbname == "school"
    assert "running, process" in status
    assert main(["server", "stop"]) == 0
    assert "not running" in capsys.readouterr()[0]


# ---- commands that make something -----------------------------------------------------------------------


def test_init_writes_a_project_that_ls_understands_and_never_writes_over(tmp_path: Path, capsys) -> None:
    assert main(["init", "library"]) == 0
    assert "next: seedlab seed library" in capsys.readouterr()[0]
    assert main(["ls", "library", "--json"]) == 0
    assert json.loads(capsys.readouterr()[0])["project"] == "library"

    assert main(["init", "library"]) == 2
    assert "already exists" in capsys.readouterr()[1]


def test_init_leaves_a_folder_of_data_as_the_project_that_it_is(tmp_path: Path, capsys) -> None:
    Path("shop").mkdir()
    Path("shop", "kinds.csv").write_text("slug\nred\n")

    assert main(["init", "shop"]) == 2
    assert "shop holds data already (kinds.csv), and is a project as it is" in capsys.readouterr()[1]
    assert [path.name for path in Path("shop").iterdir()] == ["kinds.csv"]


@pytest.mark.parametrize(
    ("name", "code"), [("KINDS.CSV", 2), ("kinds.tsv.gz", 2), ("kinds.csv.bak", 0), (".kinds.csv", 0)]
)
def test_init_takes_for_data_what_a_seed_would_read(tmp_path: Path, capsys, name: str, code: int) -> None:
    Path("shop").mkdir()
    Path("shop", name).write_text("slug\nred\n")

    assert main(["init", "shop"]) == code


def test_generate_takes_its_folders_before_and_after_the_flag() -> None:
    args = parse(["generate", "data", "--rows", "10", "out"], {})

    assert (str(args.directory), str(args.out)) == ("data", "out")
