"""Two seeders never write one target at the same time: the second waits, or is told who is at work."""

from __future__ import annotations

import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from seedlab import orchestrator
from seedlab.cli import main
from seedlab.database import connect
from seedlab.errors import ConfigurationError, LockHeld, SeedError
from seedlab.flow import Options, Run, Settings
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.choices import ENVIRONMENTS
from seedlab.plan.project import load_project
from tests.fix_postgres import drop_database
from tests.support.asking import forget
from tests.support.ledgers import Target, opener
from tests.support.school import FILES, MODELED, MODELS, ONE_STAGE, TABLES
from tests.support.seeding import counted, dump, execute, rows_of, seed, write
from tests.support.waiting import until, until_asleep

# Seeds, and stops where it has the lock until it is told to go on.
HOLDING = """
import sys
from seedlab.cli import main
from seedlab.database.postgres.session import PostgresSession
from seedlab.database.sqlite.session import SqliteSession

def stopping(lock):
    def lock_and_stop(self, *asked):
        generation = lock(self, *asked)
        print("locked", flush=True)
        sys.stdin.readline()
        return generation
    return lock_and_stop

for each in (PostgresSession, SqliteSession):
    each.lock = stopping(each.lock)
sys.exit(main(["seed", *sys.argv[1:], "-q"]))
"""
ENVIRON = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
SEEDING = "import sys; from seedlab.cli import main; sys.exit(main(['seed', *sys.argv[1:]]))"


@pytest.fixture
def school(tmp_path: Path) -> Path:
    return write(tmp_path / "school", FILES)


@pytest.fixture
def url(clean_database_url: str) -> str:
    execute(clean_database_url, TABLES)
    return clean_database_url


def start(script: str, school: Path, url: str) -> subprocess.Popen[str]:
    options = [str(school), "--database-url", url, "--reports", str(school.parent / "reports")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", script, *options], text=True, env=ENVIRON, **pipes)  # type: ignore[call-overload, no-any-return]


@contextmanager
def holding(school: Path, url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock; it goes on at the latest at the end."""
    process = start(HOLDING, school, url)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n", process.communicate()[1]
    try:
        yield process
    finally:
        if process.poll() is None:
            process.communicate("go on\n", timeout=60)


def go_on(process: subprocess.Popen[str]) -> int:
    """Let the other process end; its exit code."""
    process.communicate("go on\n", timeout=60)
    return process.returncode


def seed_waiting(school: Path, url: str, wait: str | None, **settings: str) -> Run:
    target = connect.parse_target(url, "--database-url")
    options = Options(
        environment=ENVIRONMENTS["development"],
        settings=Settings(**settings),  # type: ignore[arg-type]
        yes_seed=target.database,
        wait=wait,
    )
    return orchestrator.seed(load_project(school), target, options, Monitor())


def lock_of(url: str, wait: str | None = None, **settings: str) -> int:
    """Take the lock in a transaction of its own, and let go of it."""
    with opener(url) as open_it:
        session = open_it("", **settings).session
        session.begin()
        generation = session.lock(wait)
        session.rollback()
    return generation


@contextmanager
def locked(target: Target) -> Iterator[None]:
    target.ledger.ensure()
    target.session.begin()
    target.session.lock()
    yield
    target.session.rollback()


# ---- two at once ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_second_seeder_exits_with_5_and_names_the_first(
    school: Path,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with holding(school, url) as first:
        code = main(["seed", str(school), "--database-url", url, "--json"])
        written = dump(url)
        assert go_on(first) == 0

    out, err = capsys.readouterr()
    record = json.loads(out)
    assert (code, record["exit_code"], record["status"], record["errors"][0]["rule"]) == (
        5,
        5,
        "refused",
        "lock",
    )
    assert f"another seed is running: process {first.pid} on {platform.node()[:30]}" in err
    assert ", since 20" in err
    assert " UTC" in err
    assert "--wait" in err
    assert written == {"cities": [], "pupils": []}
    assert counted(seed(school, url)) == (0, 0, 5)


@pytest.mark.slow
def test_a_second_seeder_that_waits_finds_nothing_to_do(school: Path, url: str) -> None:
    found: list[Run] = []
    waiting = threading.Thread(target=lambda: found.append(seed_waiting(school, url, "60s")))
    with holding(school, url) as first:
        waiting.start()
        waiting.join(1)
        waited = waiting.is_alive()
        assert go_on(first) == 0
        waiting.join(60)

    assert waited
    assert [counted(run) for run in found] == [(0, 0, 5)]
    assert [stage.status for stage in found[0].stages] == ["skipped", "skipped"]


@pytest.mark.slow
def test_a_reset_that_waits_for_a_seed_deletes_its_rows_too(
    school: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seed(school, url)
    write(school, {"cities.csv": f"{FILES['cities.csv']}p9,Nine\n"})
    command = ["reset", str(school), "--database-url", url, "--wait", "60s", "--yes-seed"]
    database = connect.parse_target(url, "--database-url").database
    with holding(school, url) as first, ThreadPoolExecutor(1) as pool:
        reset = pool.submit(main, [*command, database, "--reports", str(school.parent / "reports")])
        with pytest.raises(TimeoutError):
            reset.result(1)
        assert go_on(first) == 0
        assert reset.result(60) == 0, capsys.readouterr().err

    assert dump(url) == {"cities": [], "pupils": []}


def test_who_does_not_wait_long_enough_is_told_who_was_longer(url: str) -> None:
    told = {}
    with opener(url) as open_it, locked(open_it("")):
        for wait in ("50ms", "0", "0s", None):
            with pytest.raises(LockHeld) as refused:
                lock_of(url, wait)
            told[wait] = str(refused.value)

    assert told["50ms"].endswith("; waited 50ms")
    assert all(told[wait].endswith("; --wait 30s waits for it") for wait in ("0", "0s", None))
    assert all(message.startswith("another seed is running: ") for message in told.values())


def test_a_wait_that_is_no_duration_is_a_mistake_of_the_caller(url: str) -> None:
    with opener(url) as open_it:
        target = open_it("")
        target.ledger.ensure()
        target.session.begin()

        with pytest.raises(ConfigurationError, match="'soon' is not a duration"):
            target.session.lock("soon")


@pytest.mark.slow
def test_a_preview_does_not_ask_for_the_lock(school: Path, url: str) -> None:
    target = connect.parse_target(url, "--database-url")
    options = Options(environment=ENVIRONMENTS["development"])
    with holding(school, url):
        plan = orchestrator.plan(load_project(school), target, options, Monitor())

    assert [stage.status for stage in plan.stages] == ["run", "run"]


def test_what_ends_a_run_ends_its_lock(school: Path, url: str) -> None:
    write(school, {"pupils.csv": "name,city.code\nAda,nowhere\n"})
    for _ in range(2):
        with pytest.raises(SeedError, match="1 data fault"):
            seed(school, url)
    write(school, {"pupils.csv": FILES["pupils.csv"]})

    assert counted(seed(school, url)) == (5, 0, 0)
    assert lock_of(url) == 2
    assert not list(school.parent.glob("*.seedlab-lock"))


def test_who_is_interrupted_while_the_server_works_holds_no_lock_longer(clean_postgres_url: str) -> None:
    with opener(clean_postgres_url) as open_it:
        target = open_it()
        target.ledger.ensure()
        target.session.begin()
        target.session.lock()
        target.session.wire.tell([sql.SQL("SELECT pg_sleep(60)")])

    assert lock_of(clean_postgres_url) == 0


# ---- killed ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_lock_of_a_killed_seeder_is_free(school: Path, url: str) -> None:
    with holding(school, url) as first:
        first.send_signal(signal.SIGKILL)
        first.communicate()

        assert lock_of(url, "30s") == 0

    assert counted(seed(school, url)) == (5, 0, 0)


@pytest.mark.slow
def test_the_lock_of_a_seeder_killed_in_a_long_statement_is_free_before_its_end(
    school: Path, clean_postgres_url: str
) -> None:
    url = clean_postgres_url
    execute(url, TABLES)
    execute(
        url,
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_sleep(60); RETURN new; END';"
        "CREATE TRIGGER slowly BEFORE INSERT ON cities FOR EACH ROW EXECUTE FUNCTION slowly()",
    )
    first = start(SEEDING, school, url)
    until_asleep(url, first)
    first.send_signal(signal.SIGKILL)
    first.communicate()

    assert lock_of(url, "30s") == 0
    assert dump(url) == {"cities": [], "pupils": []}


# ---- many at once ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "runs"),
    [
        ("postgresql", 3),
        pytest.param("postgresql", 8, marks=pytest.mark.slow),
        pytest.param("sqlite", 8, marks=pytest.mark.slow),
    ],
)
def test_of_first_runs_at_the_same_moment_each_seeds_or_says_who_does(
    school: Path, dialect: str, runs: int, request: pytest.FixtureRequest
) -> None:
    """Not even the tables are there: each run would make them, the ledger and the rows."""
    url = request.getfixturevalue("postgres_url" if dialect == "postgresql" else "sqlite_url")
    write(school, {"seedlab.toml": MODELED + ONE_STAGE, "models.py": MODELS})

    processes = [start(SEEDING, school, url) for _ in range(runs)]
    ends = [(process.communicate(timeout=120), process.returncode) for process in processes]

    codes = sorted(code for _, code in ends)
    told = [(out, err) for (out, err), code in ends if code]
    assert codes[0] == 0, told
    assert set(codes) <= {0, 5}, told
    assert all("another seed " in err for _, err in told)
    created = [out for (out, _), code in ends if not code and "5 created" in out]
    assert len(created) == 1
    assert {name: len(rows) for name, rows in dump(url).items()} == {"cities": 2, "pupils": 3}
    assert counted(seed(school, url)) == (0, 0, 5)


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
def test_seeds_of_several_projects_that_wait_all_come_to_their_turn(
    tmp_path: Path, dialect: str, request: pytest.FixtureRequest
) -> None:
    """Whoever waited finds that another has written, and has to look again: oftener than it would retry."""
    url = request.getfixturevalue("postgres_url" if dialect == "postgresql" else "sqlite_url")
    execute(url, TABLES)
    projects = [
        write(
            tmp_path / f"project-{number}",
            {
                "seedlab.toml": f'[project]\nname = "p{number}"\n',
                "cities.csv": f"code,name\nc{number},City\n",
            },
        )
        for number in range(6)
    ]

    with ThreadPoolExecutor(len(projects)) as pool:
        runs = list(pool.map(lambda project: seed(project, url, wait="60s"), projects))

    assert [counted(run) for run in runs] == [(1, 0, 0)] * len(projects)
    assert [counted(seed(project, url)) for project in projects] == [(0, 0, 1)] * len(projects)


# ---- PostgreSQL -----------------------------------------------------------------------------------------


def test_a_database_made_from_a_template_has_a_lock_and_holders_of_its_own(
    postgres_url: str, postgres_admin: psycopg.Connection
) -> None:
    parts = urlsplit(postgres_url)
    name = f"{parts.path[1:]}_copy"
    copy = parts._replace(path=f"/{name}").geturl()
    with opener(postgres_url) as open_it:
        open_it("").ledger.ensure()
    original = sql.Identifier(parts.path[1:])
    forget()
    postgres_admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), original))
    try:
        with opener(postgres_url) as open_it, opener(copy) as open_copy:
            first, second, third = open_it(""), open_copy(""), open_copy("")
            pids = [each.session.wire.connection.info.backend_pid for each in (first, second)]  # type: ignore[attr-defined]
            with locked(first), locked(second):
                third.session.begin()
                with pytest.raises(LockHeld) as refused:
                    third.session.lock()
    finally:
        drop_database(postgres_admin, name)

    assert f"server process {pids[1]}" in str(refused.value)
    assert f"server process {pids[0]}" not in str(refused.value)


# Who has waited for longer than the 50 ms that a statement may take.
LATE = """
SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
AND clock_timestamp() - query_start > '200ms'
"""


def test_the_longest_statement_is_not_the_longest_wait(clean_postgres_url: str) -> None:
    with opener(clean_postgres_url) as open_it:
        first, second = open_it(""), open_it("", statement_timeout="50ms")
        with locked(first):
            second.session.begin()
            with ThreadPoolExecutor(1) as thread:
                waited = thread.submit(second.session.lock, "60s")
                until(lambda: rows_of(clean_postgres_url, LATE))
                first.session.rollback()

                assert waited.result() == 0

            (now,) = second.session.wire.ask([(sql.SQL("SHOW statement_timeout"), ())])  # type: ignore[attr-defined]
    assert now == [("50ms",)]


# ---- SQLite ---------------------------------------------------------------------------------------------


def test_another_program_that_writes_is_waited_for_and_then_said_to(school: Path, sqlite_url: str) -> None:
    execute(sqlite_url, TABLES)
    file = sqlite_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(
            LockHeld, match="another connection is writing; run again, or raise --lock-timeout"
        ):
            seed_waiting(school, sqlite_url, None, lock_timeout="50ms")
        left = list(school.parent.glob("*.seedlab-lock"))
        late = threading.Timer(0.3, other.execute, ["COMMIT"])
        late.start()

        run = seed_waiting(school, sqlite_url, None, lock_timeout="60s")

        late.join()
    assert left == []
    assert counted(run) == (5, 0, 0)


@pytest.mark.slow
def test_the_lock_file_lies_beside_the_database_while_a_seed_writes(school: Path, sqlite_url: str) -> None:
    execute(sqlite_url, TABLES)
    with holding(school, sqlite_url) as first:
        (file,) = school.parent.glob("*.seedlab-lock")
        said = json.loads(file.read_text())
        assert go_on(first) == 0

    assert file.name == "test.db.seedlab-lock"
    assert said["pid"] == first.pid != os.getpid()
    assert not file.exists()
