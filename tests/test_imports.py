"""What a command must not pay for: the imports it does not need."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from seedlab.cli import main
from tests.support.seeding import execute, write

HEAVY = {"polars", "sqlalchemy", "psycopg", "rich", "yaml", "zstandard", "numpy"}
NOTEBOOK = {
    "IPython",
    "ipykernel",
    "matplotlib",
    "nbconvert",
    "nbformat",
    "papermill",
    "pandas",
    "jupyter_client",
}

RUN_COMMAND = """
import sys
from importlib.metadata import version
sys.argv = ["seedlab", *{arguments!r}]
import runpy
try:
    runpy.run_module("seedlab", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
"""


def imported(code: str, *, whole: bool = False) -> set[str]:
    """Modules that a fresh interpreter has after running the code: of the top level, or `whole` names."""
    tail = "\nimport sys, json\nprint(json.dumps([*sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    names = set(json.loads(done.stdout.splitlines()[-1]))
    return names if whole else {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("arguments", [["--help"], ["seed", "--help"], ["--version"]], ids=" ".join)
def test_a_command_that_only_speaks_imports_nothing_heavy(arguments: list[str]) -> None:
    assert imported(RUN_COMMAND.format(arguments=arguments)) & (HEAVY | NOTEBOOK) == set()


@pytest.mark.parametrize("module", ["seedlab", "seedlab.flow", "seedlab.errors", "seedlab.plan.binder"])
def test_the_values_and_the_plan_room_are_light(module: str) -> None:
    assert imported(f"import {module}") & (HEAVY | NOTEBOOK) == set()


def test_what_a_seed_needs_imports_no_notebook_or_plotting_package() -> None:
    found = imported(
        "import seedlab.cli.seeding, seedlab.steps.parallel.coordinator, seedlab.database.postgres.session, seedlab.database.postgres.write,"
        "seedlab.database.sqlite.session, seedlab.database.sqlite.fill, seedlab.database.sqlite.write"
    )

    assert "polars" in found
    assert found & NOTEBOOK == set()


def test_a_seed_by_copy_needs_no_sqlalchemy() -> None:
    found = imported("import seedlab.orchestrator, seedlab.database.postgres.session")

    assert "psycopg" in found
    assert "sqlalchemy" not in found


def test_a_seed_with_nothing_to_do_imports_nothing_that_works_on_rows_or_tells_of_them(
    database_url: str, tmp_path: Path
) -> None:
    execute(database_url, "CREATE TABLE cities (id integer PRIMARY KEY, name text NOT NULL)")
    project = write(tmp_path / "project", {"cities.csv": "id,name\n1,Haifa\n"})
    line = ["seed", str(project), "--database-url", database_url, "--reports", str(tmp_path / "reports")]
    assert main(line) == 0  # this one has something to do

    found = imported(RUN_COMMAND.format(arguments=line), whole=True)

    flow = {f"seedlab.flow.{name}" for name in ("evidence", "loads", "plans", "writes")}
    shown = {
        "seedlab.insight.formatting.live",
        "seedlab.insight.formatting.excerpts",
        "seedlab.insight.measuring.state",
    }
    decided = {
        "seedlab.plan.binder",
        "seedlab.plan.conditions",
        "seedlab.steps.pipeline",
        "seedlab.steps.sampling",
    }
    needless = {"polars", "sqlalchemy", "rich", "yaml", "hashlib", "platform"}
    assert found & (flow | shown | decided | needless) == set()
    assert ("psycopg" in found) == database_url.startswith("postgresql")


def test_a_sqlite_target_needs_no_psycopg() -> None:
    assert "psycopg" not in imported("import seedlab.database.sqlite.session, seedlab.database.connect")


def test_psycopg_is_told_its_version_and_reads_no_metadata() -> None:
    code = "import seedlab.database.postgres.driver as d; d.preload_version(); import psycopg, psycopg_binary"
    found = imported(code)
    told = "print(psycopg.__version__, psycopg_binary.__version__)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {told}"], capture_output=True, text=True, timeout=60, check=True
    )

    assert "email" not in found
    assert done.stdout.split() == [version("psycopg"), version("psycopg-binary")]


def test_psycopg_that_is_there_is_left_alone() -> None:
    code = "import psycopg, sys; was = dict(sys.modules); import seedlab.database.postgres.driver as d; d.preload_version()"
    told = "print({n for n, m in sys.modules.items() if was.get(n) is not m} - {d.__name__, 'seedlab', 'seedlab.database', d.__package__})"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {told}"], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout == "set()\n"
