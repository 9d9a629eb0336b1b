"""The plugin, as its users have it: in test sessions of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

# A session inside of this process forgets what it imported, and polars cannot be imported twice.
import seedlab.database.models
import seedlab.database.postgres.snapshots
import seedlab.database.sqlite.snapshots
import seedlab.experiment.testing
import seedlab.steps.writing.transaction  # noqa: F401
from tests.fix_clones import ours_at, times_seeded
from tests.support.asking import forget
from tests.support.experiments import school
from tests.support.school import TABLES
from tests.support.seeding import execute, rows_of, write

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parent.parent
INSTALLED = any(each.name == "seedlab" for each in entry_points(group="pytest11"))
COUNT = """
import pytest
def pupils(database):
    connection = database.connect()
    try:
        return connection.execute("SELECT count(*) FROM pupils").fetchone()[0]
    finally:
        connection.close()
def empty(database):
    connection = database.connect()
    connection.execute("DELETE FROM pupils")
    connection.commit()
    connection.close()
"""


@pytest.fixture
def session(pytester: pytest.Pytester, noted: Path, clone_url: str, monkeypatch: pytest.MonkeyPatch):
    """Run a session of tests beside the school; answers what it told."""
    monkeypatch.setenv("SEEDLAB_DATABASE_URL", clone_url)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("CI", "BUILD_NUMBER"):  # pytest's summary would tell each fault in full once more
        monkeypatch.delenv(name, raising=False)
    pytester.makeini(
        f"[pytest]\nfilterwarnings = error\nseedlab_project = {os.path.relpath(noted, pytester.path)}\n"
    )

    def run(text: str, *words: str, apart: bool = False) -> pytest.RunResult:
        pytester.makepyfile(COUNT + text)
        forget()
        how = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
        loaded = () if INSTALLED else ("-p", "seedlab.pytest_plugin")
        xdist = () if apart else ("-p", "no:xdist")
        return how(*loaded, "-p", "no:nbval", "-p", "no:cacheprovider", "--strict-markers", *xdist, *words)

    return run


def test_each_test_has_a_database_of_its_own_that_goes_with_it(
    session, clone_url: str, tmp_path: Path
) -> None:
    told = session("""
import sqlite3, psycopg
NAMES = []
@pytest.mark.parametrize("again", range(3))
def test_it(seedlab_database, seedlab_url, again):
    assert seedlab_url == seedlab_database.url
    assert pupils(seedlab_database) == 3
    empty(seedlab_database)
    NAMES.append(seedlab_database.name)
    assert len(set(NAMES)) == again + 1
    assert "secret" not in repr(seedlab_database)
def test_by_its_url(seedlab_url):
    if seedlab_url.startswith("sqlite"):
        connection = sqlite3.connect(seedlab_url.removeprefix("sqlite:///"))
    else:
        connection = psycopg.connect(seedlab_url)
    assert connection.execute("SELECT count(*) FROM pupils").fetchone() == (3,)
    connection.close()
def test_it_needs_none():
    pass
""")

    told.assert_outcomes(passed=5)
    assert times_seeded(tmp_path) == 1
    assert len(ours_at(clone_url, tmp_path)) == 1


@pytest.mark.slow
def test_a_marker_says_what_is_copied(session, noted: Path, tmp_path: Path) -> None:
    school(
        tmp_path / "two", cities_csv="code,name\nhfa,Haifa\n", pupils_csv="name,city.code\nDan,hfa\nEva,hfa\n"
    )
    told = session(f"""
pytestmark = pytest.mark.seedlab(environment="small")
def test_of_all(seedlab_database):
    assert pupils(seedlab_database) == 1
@pytest.mark.seedlab(environment="test")
def test_nearest(seedlab_database):
    assert pupils(seedlab_database) == 3
@pytest.mark.seedlab(project={str(tmp_path / "two")!r}, environment="test")
def test_another_project(seedlab_database):
    assert pupils(seedlab_database) == 2
@pytest.mark.seedlab(enviroment="test")
def test_misspelt(seedlab_database):
    pass
@pytest.mark.seedlab(environment="live")
def test_protected(seedlab_database):
    pass
""")

    told.assert_outcomes(passed=3, errors=2)
    told.stdout.fnmatch_lines(["*seedlab(enviroment): expected project=* or environment=*"])
    told.stdout.fnmatch_lines(["*environment live is protected*"])


@pytest.mark.slow
def test_workers_share_one_seeding(session, clone_url: str, tmp_path: Path) -> None:
    told = session(
        """
@pytest.mark.parametrize("again", range(8))
def test_it(seedlab_database, again):
    assert pupils(seedlab_database) == 3
    empty(seedlab_database)
""",
        "-n", "2", "--dist", "load", apart=True,
    )  # fmt: skip

    told.assert_outcomes(passed=8)
    assert times_seeded(tmp_path) == 1
    assert len(ours_at(clone_url, tmp_path)) == 1


def test_a_limit_to_statements(session) -> None:
    told = session("""
import sqlalchemy as sa
@pytest.fixture
def engine(seedlab_url):
    engine = sa.create_engine(seedlab_url)
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT count(*) FROM cities"))  # before the test, and not counted
    yield engine
    engine.dispose()
def names(engine, ages):
    with engine.begin() as connection:
        return [connection.execute(sa.text("SELECT name FROM pupils WHERE age = :age"), {"age": age}).all() for age in ages]
@pytest.mark.max_statements(2)
def test_as_many(engine):
    names(engine, [9, 11])
@pytest.mark.max_statements(2)
def test_one_more(engine):
    names(engine, [9, 10, 11])
@pytest.mark.max_statements(0)
def test_an_error_of_its_own(engine):
    names(engine, [9])
    assert False, "its own"
@pytest.mark.max_statements(2)
def test_no_database():
    pass
@pytest.mark.max_statements("2")
def test_no_number(seedlab_database):
    pass
@pytest.mark.max_statements(1)
def test_own_connection(seedlab_database):
    assert pupils(seedlab_database) == 3
""")

    told.assert_outcomes(passed=2, failed=4)
    told.stdout.fnmatch_lines(
        [
            "the test sent 3 statements, at most 2 are allowed:",
            "*3* SELECT name FROM pupils WHERE age = ?*",
        ]
    )
    told.stdout.fnmatch_lines(["*its own*", "*let it take seedlab_database or seedlab_url*"])
    told.stdout.fnmatch_lines(["*max_statements: expected one number*"])
    told.stdout.no_fnmatch_line("*age = 9*")


FAILS = """
def test_it(seedlab_database):
    connection = seedlab_database.connect()
    connection.execute("DELETE FROM pupils WHERE name = 'Ada'")
    connection.commit()
    connection.close()
    assert False
"""


@pytest.mark.slow
def test_what_failed_is_kept_where_that_is_asked_for(session, clone_url: str, tmp_path: Path) -> None:
    session(FAILS).assert_outcomes(failed=1)
    assert len(ours_at(clone_url, tmp_path)) == 1

    told = session(FAILS, "--seedlab-keep")
    told.assert_outcomes(failed=1)
    url = next(line for line in told.outlines if "seedlab_kept_" in line)
    assert rows_of(url, "SELECT name FROM pupils ORDER BY name") == [("Bob",), ("Cid",)]
    forget()
    session("def test_next(seedlab_database):\n    assert pupils(seedlab_database) == 3\n").assert_outcomes(
        passed=1
    )
    assert rows_of(url, "SELECT count(*) FROM pupils") == [(2,)]
    forget()


def test_a_fault_of_the_project_is_told_once(session, noted: Path) -> None:
    write(noted, {"pupils.csv": "name,city.code,age\nAda,nowhere,9\n"})
    told = session("""
@pytest.mark.parametrize("again", range(3))
def test_it(seedlab_database, again):
    pass
def test_other():
    pass
""")

    told.assert_outcomes(errors=3, passed=1)
    lines = [line for line in told.outlines if "nowhere" in line or "pupils.csv" in line]
    assert any("pupils.csv:2" in line for line in lines), told.outlines
    assert str(told.stdout).count("pupils.csv:2") == 1
    assert str(told.stdout).count("described in full by the first test") >= 2


@pytest.mark.slow
def test_a_migrated_database_of_ones_own_is_copied(
    session, noted: Path, clone_url: str, tmp_path: Path
) -> None:
    write(
        noted,
        {"seedlab.toml": (noted / "seedlab.toml").read_text().replace('schema = "models.py:metadata"\n', "")},
    )
    execute(clone_url, f"{TABLES}; INSERT INTO cities (code, name) VALUES ('eil', 'Eilat')")
    told = session("""
@pytest.mark.parametrize("again", range(2))
def test_it(seedlab_database, again):
    assert pupils(seedlab_database) == 3
    connection = seedlab_database.connect()
    assert connection.execute("SELECT count(*) FROM cities").fetchone() == (2,)
    connection.close()
    empty(seedlab_database)
""")

    told.assert_outcomes(passed=2)
    assert rows_of(clone_url, "SELECT code FROM cities") == [("eil",)]
    forget()


@pytest.mark.slow
def test_sessions_at_once_do_not_disturb_each_other(
    session, pytester: pytest.Pytester, clone_url: str, tmp_path: Path
) -> None:
    session("""
@pytest.mark.parametrize("again", range(10))
def test_it(seedlab_database, again):
    assert pupils(seedlab_database) == 3
    empty(seedlab_database)
""").assert_outcomes(passed=10)
    loaded = [] if INSTALLED else ["-p", "seedlab.pytest_plugin"]
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:nbval", "-p", "no:cacheprovider", *loaded]
    both = [
        subprocess.Popen(
            [*words, f"--basetemp={tmp_path / f'base{n}'}"],
            cwd=pytester.path,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]
    told = [each.communicate()[0] for each in both]

    assert [each.returncode for each in both] == [0, 0], told
    assert times_seeded(tmp_path) == 1
    assert len(ours_at(clone_url, tmp_path)) == 1


@pytest.mark.slow
def test_on_a_server_of_the_users_own_with_what_only_that_has(
    able_postgres_url: str,
    pytester: pytest.Pytester,
    apart: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = school(tmp_path / "school", seedlab_toml='[project]\nname = "school"\n')
    (folder / "models.py").unlink()
    execute(able_postgres_url, f"CREATE EXTENSION citext; {TABLES.replace('code text', 'code citext')}")
    forget()
    monkeypatch.setenv("SEEDLAB_DATABASE_URL", able_postgres_url)
    pytester.makepyfile("""
import pytest
@pytest.mark.max_statements(1)
def test_it(seedlab_database):
    with seedlab_database.connect() as connection:
        assert connection.execute("SELECT name FROM cities WHERE code = 'HFA'").fetchone() == ("Haifa",)
""")
    loaded = () if INSTALLED else ("-p", "seedlab.pytest_plugin")
    pytester.makeini(f"[pytest]\nseedlab_project = {folder}\n")
    told = pytester.runpytest_inprocess(*loaded, "-p", "no:nbval", "-p", "no:cacheprovider", "-p", "no:xdist")

    told.assert_outcomes(passed=1)


def test_the_plugin_imports_nothing_of_ours_until_it_is_used() -> None:
    script = (
        "import sys; sys.modules['pytest']\n"
        "import seedlab.pytest_plugin\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in ('seedlab', 'polars', 'psycopg', 'sqlalchemy')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import pytest\n{script}"], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "['seedlab', 'seedlab.pytest_plugin']"
