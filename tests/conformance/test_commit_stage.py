"""`--commit stage`: the same database in the end, by a transaction for each stage."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from seedlab import orchestrator
from seedlab.cli import main
from seedlab.database import connect
from seedlab.errors import ConfigurationError, DataFaults, LockHeld, WriteError
from seedlab.flow import Options, Run, Settings
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.choices import ENVIRONMENTS
from seedlab.plan.project import load_project
from seedlab.steps.writing.stagewise import COMMITTED_ONE_BY_ONE
from tests.support.cases import some
from tests.support.seeding import counted, dump, execute, portable_dump, rows_of, seed, write
from tests.support.waiting import PATIENCE, until, until_left

ACADEMY = Path(__file__).parent.parent.parent / "data"

TABLES = """
CREATE TABLE bases (id SERIAL KEY, code text NOT NULL UNIQUE);
CREATE TABLE lefts (id SERIAL KEY, code text NOT NULL UNIQUE, base_id int NOT NULL REFERENCES bases);
CREATE TABLE rights (
  id SERIAL KEY, code text NOT NULL UNIQUE, base_id int NOT NULL REFERENCES bases, n int NOT NULL CHECK (n < 100)
);
CREATE TABLE tops (
  id SERIAL KEY, code text NOT NULL UNIQUE, left_id int NOT NULL REFERENCES lefts, right_id int REFERENCES rights
);
"""
ROWS = 20
NUMBERS = range(ROWS)


def files(*, n: int = 1) -> dict[str, str]:
    """A diamond of four tables; `n` of the last row of `rights` may be too much for it."""
    last = ROWS - 1
    return {
        "bases.csv": "code\n" + "".join(f"b{i}\n" for i in NUMBERS),
        "lefts.csv": "code,base.code\n" + "".join(f"l{i},b{i}\n" for i in NUMBERS),
        "rights.csv": "code,base.code,n\n" + "".join(f"r{i},b{i},{n if i == last else 1}\n" for i in NUMBERS),
        "tops.csv": "code,left.code,right.code\n" + "".join(f"t{i},l{i},r{i}\n" for i in NUMBERS),
    }


def stage(name: str, *waits_for: str, table: str = "", more: str = "", seed: str = "") -> str:
    return f"""
[[stages]]
id = "{name}"
name = "{name}"
dependencies = {json.dumps(waits_for)}
{more}
  [[stages.seeds]]
  name = "{name}-rows"
  source = "{name}.csv"
  table = "{table or name}"
  {seed}
"""


DIAMOND = (
    '[project]\nname = "diamond"\n'
    + stage("bases")
    + stage("lefts", "bases")
    + stage("rights", "bases")
    + stage("tops", "lefts", "rights")
)
STAGES = ("bases", "lefts", "rights", "tops")


@pytest.fixture
def diamond(tmp_path: Path) -> Path:
    return write(tmp_path / "diamond", {"seedlab.toml": DIAMOND, **files()})


@pytest.fixture
def url(clean_database_url: str) -> str:
    execute(clean_database_url, TABLES)
    return clean_database_url


@pytest.fixture
def postgres(clean_postgres_url: str) -> str:
    execute(clean_postgres_url, TABLES)
    return clean_postgres_url


def by_stage(run: Run) -> dict[str, tuple[str, int]]:
    """Status and rows created of every stage."""
    return {each.id: (each.status, each.outcomes.created) for each in run.stages}


def held(url: str) -> dict[str, int]:
    return {name: rows_of(url, f"SELECT count(*) FROM {name}")[0][0] for name in STAGES}


def beside(url: str, tmp_path: Path) -> str:
    """Another database with the same tables, seeded at once."""
    other = f"sqlite:///{tmp_path}/beside.db"
    execute(other, TABLES)
    return other


# ---- the same database ----------------------------------------------------------------------------------


@pytest.mark.parametrize("level", some(["legacy", "bulk", "incremental"], "incremental"))
def test_stages_committed_one_by_one_make_the_same_database(
    diamond: Path, url: str, tmp_path: Path, level: Any
) -> None:
    plain = beside(url, tmp_path)
    seed(diamond, plain)

    run = seed(diamond, url, level, commit="stage", workers=3)
    again = seed(diamond, url, level)

    assert by_stage(run) == dict.fromkeys(STAGES, ("run", ROWS))
    assert counted(run) == (4 * ROWS, 0, 0)
    assert COMMITTED_ONE_BY_ONE in run.notes
    assert portable_dump(url) == portable_dump(plain)
    assert counted(again) == (0, 0, 4 * ROWS)
    assert level != "incremental" or {each.status for each in again.stages} == {"skipped"}


def test_a_change_is_written_stage_by_stage(diamond: Path, url: str, tmp_path: Path) -> None:
    plain = beside(url, tmp_path)
    for where in (plain, url):
        seed(diamond, where)
    write(diamond, {**files(n=7), "tops.csv": files()["tops.csv"] + "new,l0,\n"})

    run = seed(diamond, url, commit="stage", workers=3)

    assert counted(run) == counted(seed(diamond, plain))
    assert {each.id: each.status for each in run.stages} == {
        "bases": "skipped",
        "lefts": "skipped",
        "rights": "run",
        "tops": "run",
    }
    assert portable_dump(url) == portable_dump(plain)
    assert counted(seed(diamond, url, commit="stage")) == (0, 0, 4 * ROWS + 1)


@pytest.mark.slow
def test_the_academy_is_the_same_either_way(
    tmp_path: Path, postgres_url: str, clean_postgres_url: str
) -> None:
    lite, plain = f"sqlite:///{tmp_path}/stages.db", f"sqlite:///{tmp_path}/run.db"

    runs = [seed(ACADEMY, each, commit="stage", workers=2) for each in (postgres_url, lite)]
    whole = [seed(ACADEMY, each) for each in (clean_postgres_url, plain)]

    assert [run.outcomes for run in runs] == [run.outcomes for run in whole]
    assert dump(postgres_url) == dump(clean_postgres_url)
    assert dump(lite) == dump(plain)
    assert {each.status for each in seed(ACADEMY, postgres_url).stages} == {"skipped"}


def test_a_folder_without_configuration_is_committed_level_by_level(tmp_path: Path, url: str) -> None:
    folder = write(tmp_path / "plain", files())

    run = seed(folder, url, commit="stage")

    assert by_stage(run) == {
        "level-1": ("run", ROWS),
        "level-2": ("run", 2 * ROWS),
        "level-3": ("run", ROWS),
    }
    assert held(url) == dict.fromkeys(STAGES, ROWS)


def test_an_environments_subset_is_taken_of_all_stages_together(
    diamond: Path, url: str, tmp_path: Path
) -> None:
    write(diamond, {"seedlab.toml": f"{DIAMOND}\n[environments.test]\nsubset = {{ bases = 3 }}\n"})
    plain = beside(url, tmp_path)
    seed(diamond, plain, environment="test")

    seed(diamond, url, environment="test", commit="stage", workers=3)

    assert held(url) == dict.fromkeys(STAGES, 3)
    assert portable_dump(url) == portable_dump(plain)


def test_a_run_of_stages_can_be_taken_back_as_one(diamond: Path, url: str) -> None:
    run = seed(diamond, url, commit="stage", workers=3)

    undone = undo(diamond, url, run.run_id)

    assert undone.outcomes.deleted == 4 * ROWS
    assert held(url) == dict.fromkeys(STAGES, 0)


def undo(folder: Path, url: str, run: str) -> Run:
    target = connect.parse_target(url, "--database-url")
    options = Options(environment=ENVIRONMENTS["development"], yes_seed=target.database)
    return orchestrator.undo(load_project(folder), target, options, Monitor(), run=run)


# ---- order ----------------------------------------------------------------------------------------------

SHARED = '[project]\nname = "shared"\n' + stage("few", table="bases") + stage("more", table="bases")


def test_stages_that_fill_one_table_wait_for_each_other(tmp_path: Path, url: str) -> None:
    folder = write(
        tmp_path / "shared", {"seedlab.toml": SHARED, "few.csv": "code\na\nb\n", "more.csv": "code\nc\n"}
    )

    run = seed(folder, url, commit="stage", workers=4)
    execute(url, "UPDATE bases SET code = 'x' WHERE code = 'a'")
    after = seed(folder, url, commit="stage", workers=4)

    assert by_stage(run) == {"few": ("run", 2), "more": ("run", 1)}
    assert counted(after) == (1, 0, 2)
    assert {each.status for each in seed(folder, url).stages} == {"skipped"}


def test_a_stage_waits_for_all_that_fill_a_table_it_refers_to(tmp_path: Path, url: str) -> None:
    toml = SHARED + stage("lefts", "few")  # declares one of them
    rows = {"few.csv": "code\na\n", "more.csv": "code\nb\n", "lefts.csv": "code,base.code\nl,b\n"}
    folder = write(tmp_path / "shared", {"seedlab.toml": toml, **rows})

    run = seed(folder, url, commit="stage", workers=4)

    assert by_stage(run) == {"few": ("run", 1), "more": ("run", 1), "lefts": ("run", 1)}


def test_one_row_of_two_stages_is_a_fault_before_anything_is_written(tmp_path: Path, url: str) -> None:
    folder = write(
        tmp_path / "shared", {"seedlab.toml": SHARED, "few.csv": "code\na\n", "more.csv": "code\na\n"}
    )

    with pytest.raises(DataFaults, match="nothing was written") as failed:
        seed(folder, url, commit="stage")

    assert {fault.rule for fault in failed.value.faults} == {"duplicate-key"}
    assert held(url)["bases"] == 0


def test_a_fault_in_the_last_stages_file_is_told_before_the_first_is_written(diamond: Path, url: str) -> None:
    write(diamond, {"tops.csv": "code,left.code,right.code\nt,none,\n"})

    with pytest.raises(DataFaults, match="1 data fault, nothing was written"):
        seed(diamond, url, commit="stage")

    assert held(url) == dict.fromkeys(STAGES, 0)


def test_missing_tables_are_not_made_for_files_with_faults(tmp_path: Path, clean_postgres_url: str) -> None:
    folder = shutil.copytree(ACADEMY, tmp_path / "academy")
    file = folder / "00-core" / "translations.csv"
    file.write_text(f"{file.read_text('utf-8')}oops\n", "utf-8")

    with pytest.raises(DataFaults, match="nothing was written"):
        seed(folder, clean_postgres_url, commit="stage")

    assert dump(clean_postgres_url) == {}


# ---- what stages cannot do ------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", [{"dry_run": True}, {"rejects": Path("reports")}])
def test_what_needs_one_transaction_is_refused(diamond: Path, url: str, flag: Mapping[str, Any]) -> None:
    target = connect.parse_target(url, "--database-url")
    options = Options(environment=ENVIRONMENTS["development"], commit="stage", **flag)

    with pytest.raises(ConfigurationError, match="leave --commit stage out"):
        orchestrator.seed(load_project(diamond), target, options, Monitor())

    assert held(url) == dict.fromkeys(STAGES, 0)


def test_a_sync_is_refused(tmp_path: Path, url: str) -> None:
    toml = '[project]\nname = "synced"\n' + stage("bases", seed='mode = "sync"')
    folder = write(tmp_path / "synced", {"seedlab.toml": toml, "bases.csv": "code\na\n"})

    with pytest.raises(ConfigurationError, match="seed bases-rows: a sync deletes rows"):
        seed(folder, url, commit="stage")


def test_a_misspelled_variable_is_told(
    diamond: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEEDLAB_COMMIT", "stages")

    assert main(["seed", str(diamond), "--database-url", url]) == 2
    assert "--commit: expected run or stage, found 'stages'" in capsys.readouterr().err


# ---- a stage fails --------------------------------------------------------------------------------------


def record(
    capsys: pytest.CaptureFixture[str], folder: Path, url: str, *flags: str
) -> tuple[int, dict[str, Any], str]:
    """Seed from the command line; answers exit code, record and what was complained of."""
    reports = ["--reports", str(folder.parent / "reports")]
    code = main(["seed", str(folder), "--database-url", url, "--json", *reports, *flags])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def test_a_failure_keeps_what_was_committed_and_the_next_run_goes_on_there(
    diamond: Path, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(diamond, files(n=100))

    code, told, err = record(capsys, diamond, url, "--commit", "stage", "--workers", "1")
    after = held(url)
    write(diamond, files())
    code_again, told_again, _ = record(capsys, diamond, url, "--commit", "stage", "--workers", "1")

    assert (code, told["status"], told["exit_code"]) == (3, "failed", 3)
    assert {each["id"]: each["status"] for each in told["stages"]} == {
        "bases": "run",
        "lefts": "run",
        "rights": "failed",
        "tops": "skipped",
    }
    assert told["stages"][3]["reason"] == "not begun: stage rights failed"
    assert told["outcomes"]["created"] == 2 * ROWS
    assert "nothing of stage rights was written; committed and kept: bases, lefts" in err
    assert "the next run goes on with stage rights" in err
    assert after == {"bases": ROWS, "lefts": ROWS, "rights": 0, "tops": 0}
    assert (code_again, told_again["outcomes"]["created"]) == (0, 2 * ROWS)
    assert {each["id"]: each["status"] for each in told_again["stages"]} == {
        "bases": "skipped",
        "lefts": "skipped",
        "rights": "run",
        "tops": "run",
    }
    plain = beside(url, tmp_path)
    seed(diamond, plain)
    assert portable_dump(url) == portable_dump(plain)


def test_what_was_committed_before_a_failure_is_remembered_under_the_records_name(
    diamond: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(diamond, files(n=100))
    _, told, _ = record(capsys, diamond, url, "--commit", "stage")

    undone = undo(diamond, url, told["run_id"])

    assert undone.outcomes.deleted == told["outcomes"]["created"] > 0
    assert held(url) == dict.fromkeys(STAGES, 0)


def test_a_run_is_told_from_those_after_it(diamond: Path, url: str) -> None:
    session = connect.open_session(connect.parse_target(url, "test"), Settings(), Monitor(), "test")
    try:
        session.catalog("diamond")
        session.ledger.ensure()
        session.begin()
        number = session.ledger.begin_run()
        session.commit()

        session.begin()
        mine = session.ledger.join_run()
        session.rollback()
        seed(diamond, url)
        session.begin()
        after = session.ledger.join_run()
    finally:
        session.close()

    assert mine == number != after


# ---- at the same time, PostgreSQL -----------------------------------------------------------------------


@contextmanager
def in_the_way(url: str, table: str) -> Iterator[psycopg.Connection[Any]]:
    """Another session lets nobody write to a table, while the block lasts."""
    with psycopg.connect(url) as other:
        other.execute(f"LOCK TABLE {table} IN SHARE MODE")
        yield other
        other.rollback()


class Seeding(threading.Thread):
    """Seeds in a thread."""

    def __init__(self, folder: Path, url: str, **how: Any) -> None:
        super().__init__()
        self.run_ = lambda: seed(folder, url, commit="stage", workers=2, **how)
        self.done: Run | None = None
        self.failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.done = self.run_()
        except Exception as error:  # noqa: BLE001 the test looks at it
            self.failure = error


def test_independent_stages_are_written_at_the_same_time(diamond: Path, postgres: str) -> None:
    with in_the_way(postgres, "lefts"):
        seeding = Seeding(diamond, postgres)
        until(lambda: held(postgres)["rights"] == ROWS)  # committed, while lefts cannot be
        midway = held(postgres)
    seeding.join(PATIENCE)

    assert midway == {"bases": ROWS, "lefts": 0, "rights": ROWS, "tops": 0}
    assert seeding.failure is None
    assert seeding.done is not None
    assert by_stage(seeding.done) == dict.fromkeys(STAGES, ("run", ROWS))
    lanes = {span.stage: span.lane for span in seeding.done.spans if span.phase == "stage"}
    assert lanes["lefts"] != lanes["rights"]
    assert (seeding.done.wal_bytes or 0) > 0


def test_a_stage_that_is_not_parallel_is_written_alone(diamond: Path, postgres: str) -> None:
    alone = DIAMOND.replace('name = "lefts"\n', 'name = "lefts"\nparallel = false\n')
    write(diamond, {"seedlab.toml": alone})

    with in_the_way(postgres, "lefts"):
        seeding = Seeding(diamond, postgres)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'lefts'::regclass"
        until(lambda: rows_of(postgres, waiting) == [(1,)])
        midway = held(postgres)
    seeding.join(PATIENCE)

    assert midway == {"bases": ROWS, "lefts": 0, "rights": 0, "tops": 0}
    assert held(postgres) == dict.fromkeys(STAGES, ROWS)


@pytest.mark.parametrize("commit", ["run", "stage"])
def test_another_seed_is_locked_out_for_the_whole_run(diamond: Path, postgres: str, commit: Any) -> None:
    with in_the_way(postgres, "lefts"):
        seeding = Seeding(diamond, postgres)
        until(lambda: held(postgres)["rights"] == ROWS)
        with pytest.raises(LockHeld, match=r"another seed is running: process .* \(project diamond, "):
            seed(diamond, postgres, commit=commit)
    seeding.join(PATIENCE)

    assert seeding.failure is None
    assert held(postgres) == dict.fromkeys(STAGES, ROWS)


def test_who_waits_for_the_lock_sees_what_the_stages_have_committed(diamond: Path, postgres: str) -> None:
    with in_the_way(postgres, "tops"):
        seeding = Seeding(diamond, postgres)
        until(lambda: held(postgres)["rights"] == held(postgres)["lefts"] == ROWS)
        waiting = threading.Thread(target=lambda: runs.append(seed_waiting(diamond, postgres)))
        runs: list[Run] = []
        waiting.start()
        queued = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'seedlab.lock'::regclass"
        until(lambda: rows_of(postgres, queued) == [(1,)])
    seeding.join(PATIENCE)
    waiting.join(PATIENCE)

    assert {each.status for each in runs[0].stages} == {"skipped"}


def seed_waiting(folder: Path, url: str) -> Run:
    target = connect.parse_target(url, "--database-url")
    options = Options(environment=ENVIRONMENTS["development"], wait="20s")
    return orchestrator.seed(load_project(folder), target, options, Monitor())


def test_a_stage_that_another_session_comes_between_is_tried_again(diamond: Path, postgres: str) -> None:
    seed(diamond, postgres)
    write(diamond, files(n=7))

    with psycopg.connect(postgres) as other:
        other.execute(f"UPDATE rights SET n = 50 WHERE code = 'r{ROWS - 1}'")
        seeding = Seeding(diamond, postgres)
        # Transactions are the whole server's, on which other tests wait, too: who waits for this one is asked.
        mine = other.info.backend_pid
        queued = f"SELECT count(*) FROM pg_stat_activity WHERE {mine} = ANY (pg_blocking_pids(pid))"
        until(lambda: rows_of(postgres, queued) == [(1,)])
        other.commit()
    seeding.join(PATIENCE)

    assert seeding.done is not None
    assert (
        "stage rights: another session wrote to the same tables during this run (40001); trying again"
        in seeding.done.notes
    )
    assert rows_of(postgres, f"SELECT n FROM rights WHERE code = 'r{ROWS - 1}'") == [(7,)]


HOLDER = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
WHERE relation = 'seedlab.lock'::regclass AND granted AND mode = 'ExclusiveLock'
"""


@pytest.mark.slow
def test_a_run_whose_lock_is_lost_stops_with_every_stage_whole_or_absent(
    diamond: Path, postgres: str, tmp_path: Path
) -> None:
    with in_the_way(postgres, "lefts"):
        seeding = Seeding(diamond, postgres)
        until(lambda: held(postgres)["rights"] == ROWS)
        rows_of(postgres, HOLDER)
    seeding.join(PATIENCE)
    midway = held(postgres)
    run = seed(diamond, postgres, commit="stage")

    assert isinstance(seeding.failure, WriteError)
    assert "the connection that held the lock was lost" in str(seeding.failure)
    assert midway == {"bases": ROWS, "lefts": 0, "rights": ROWS, "tops": 0}
    assert [each.status for each in run.stages] == ["skipped", "run", "skipped", "run"]
    plain = beside(postgres, tmp_path)
    seed(diamond, plain)
    assert portable_dump(postgres) == portable_dump(plain)


def test_no_other_run_can_begin_or_end_while_a_stage_is_written(diamond: Path, postgres: str) -> None:
    with in_the_way(postgres, "tops") as other:
        seeding = Seeding(diamond, postgres)
        until(lambda: held(postgres)["rights"] == held(postgres)["lefts"] == ROWS)
        writing = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tops'::regclass"
        until(lambda: rows_of(postgres, writing) == [(1,)])
        other.execute("SET lock_timeout = '100ms'")
        other.execute("SAVEPOINT before")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("UPDATE seedlab.ledger SET generation = generation + 1")
        other.execute("ROLLBACK TO before")
    seeding.join(PATIENCE)

    assert seeding.failure is None


def test_a_stage_that_finds_another_runs_number_is_not_written(diamond: Path, postgres: str) -> None:
    with in_the_way(postgres, "bases"):
        seeding = Seeding(diamond, postgres)
        writing = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'bases'::regclass"
        until(lambda: rows_of(postgres, writing) == [(1,)])
        raising = threading.Thread(
            target=execute, args=(postgres, "UPDATE seedlab.ledger SET generation = generation + 1")
        )
        raising.start()
        # Of this database: what waits for transactions of other tests is in pg_locks, too.
        queued = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event = 'transactionid'"
        )
        until(lambda: rows_of(postgres, queued) == [(1,)])
    seeding.join(PATIENCE)
    raising.join(PATIENCE)

    assert isinstance(seeding.failure, WriteError)
    assert "another seed wrote to the database during this run" in str(seeding.failure)
    assert held(postgres) == {"bases": ROWS, "lefts": 0, "rights": 0, "tops": 0}


@pytest.mark.slow
def test_a_process_killed_leaves_every_stage_whole_or_absent(
    diamond: Path, postgres: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "seedlab", "seed", str(diamond), "--database-url", postgres, "-q"]
    how = ["--reports", str(tmp_path / "reports"), "--commit", "stage", "--workers", "2"]

    with in_the_way(postgres, "lefts"):
        child = subprocess.Popen([*command, *how])
        until(lambda: held(postgres)["rights"] == ROWS)
        os.kill(child.pid, signal.SIGKILL)
        code = child.wait(PATIENCE)
    until_left(postgres)
    midway = held(postgres)
    run = seed(diamond, postgres, commit="stage")

    assert code == -signal.SIGKILL
    assert midway == {"bases": ROWS, "lefts": 0, "rights": ROWS, "tops": 0}
    assert [each.status for each in run.stages] == ["skipped", "run", "skipped", "run"]
    assert held(postgres) == dict.fromkeys(STAGES, ROWS)


def test_without_the_right_to_a_ledger_stages_are_committed_all_the_same(
    diamond: Path, postgres_url: str
) -> None:
    execute(postgres_url, TABLES)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for who in ("PUBLIC", connection.info.user):
            connection.execute(f'REVOKE CREATE ON DATABASE "{connection.info.dbname}" FROM {who}')

    run = seed(diamond, postgres_url, commit="stage", workers=2)

    assert counted(run) == (4 * ROWS, 0, 0)
    assert held(postgres_url) == dict.fromkeys(STAGES, ROWS)
    assert (run.wal_bytes or 0) > 0
    assert any("no ledger is kept in this target" in note for note in run.notes)
