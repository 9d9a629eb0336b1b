"""Seeds made slow on purpose, in a real server: the cause is named first, and what would help fits it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from seedlab.database.embedded import server
from seedlab.database.embedded.binaries import find_binaries
from seedlab.database.proxy import DelayProxy
from seedlab.flow import Run
from seedlab.insight.judging import advice
from seedlab.insight.judging.findings import headline
from seedlab.insight.records.runs import with_findings
from tests.fix_postgres import RUN_FOLDER, server_environ
from tests.fix_system import missing
from tests.support.seeding import execute, seed, write

ITEMS = "CREATE TABLE items (code text PRIMARY KEY, title text NOT NULL, credits int NOT NULL);"


def items(count: int, title: str = "title") -> str:
    return "code,title,credits\n" + "".join(f"c{n},{title} {n},{n % 7}\n" for n in range(count))


def told(run: Run) -> Run:
    """The run with its findings, which are printed: pytest shows them where a test fails."""
    run = with_findings(run)
    print(run.seconds, run.round_trip_seconds, *run.bottlenecks, *run.recommendations, *run.notes, sep="\n")
    return run


def first_cure(run: Run) -> str:
    return run.recommendations[0].what


def saves(run: Run) -> float:
    """The seconds that the first recommendation saves."""
    return run.recommendations[0].saves or 0.0


# ---- no index on a reference ----------------------------------------------------------------------------


def stage_of(table: str, mode: str = "upsert") -> str:
    """A stage that fills one table."""
    seed = f'name = "{table}"\nsource = "{table}.csv"\nmode = "{mode}"\ntables = {{ {table} = {{}} }}\n'
    return f'[[stages]]\nid = "{table}"\n[[stages.seeds]]\n{seed}'


def sync_that_deletes(folder: Path, url: str, *, index: bool) -> Run:
    """Delete 300 parents of a table that has 100,000 rows of the application's, none of which refers to them."""
    sync = '[project]\nname = "p"\n' + stage_of("items", "sync")
    execute(url, ITEMS + "CREATE TABLE visits (id SERIAL KEY, item text NOT NULL REFERENCES items)")
    seed(write(folder, {"seedlab.toml": sync, "items.csv": items(301)}), url)
    execute(url, "INSERT INTO visits (item) SELECT 'c0' FROM generate_series(1, 100000); ANALYZE visits")
    if index:
        execute(url, "CREATE INDEX ON visits (item)")
    write(folder, {"items.csv": items(1)})
    return told(seed(folder, url, max_delete="100%"))


@pytest.mark.slow
def test_a_delete_without_an_index_on_the_reference_is_told_which_index_to_make(
    tmp_path: Path, clean_postgres_url: str
) -> None:
    run = sync_that_deletes(tmp_path, clean_postgres_url, index=False)

    assert run.outcomes.deleted == 300
    assert (run.bottlenecks[0].resource, run.bottlenecks[0].where) == ("server CPU", "merge")
    assert first_cure(run) == "index the foreign key of visits (item)"
    index = 'CREATE INDEX ON "public"."visits" ("item")'
    assert run.recommendations[0].command.endswith(f"-c '{index}'")
    assert saves(run) > 0.9 * run.bottlenecks[0].seconds


@pytest.mark.slow
def test_with_the_index_there_is_nothing_to_advise(tmp_path: Path, clean_postgres_url: str) -> None:
    run = sync_that_deletes(tmp_path, clean_postgres_url, index=True)

    assert run.outcomes.deleted == 300
    assert run.unindexed == ()
    assert run.recommendations == ()


# ---- a chatty level, far away ---------------------------------------------------------------------------


@contextmanager
def far_away(url: str, round_trip_ms: float) -> Iterator[str]:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    if "host" in query:
        proxy = DelayProxy(unix_socket=Path(query["host"][0], ".s.PGSQL.5432"), round_trip_ms=round_trip_ms)
    else:
        proxy = DelayProxy(parts.hostname or "", parts.port or 5432, round_trip_ms=round_trip_ms)
    with proxy:
        yield proxy.url_for(url)


@pytest.mark.slow
def test_a_chatty_level_far_away_is_told_to_write_whole_tables(
    tmp_path: Path, clean_postgres_url: str
) -> None:
    execute(clean_postgres_url, ITEMS)
    with far_away(clean_postgres_url, 4.0) as url:
        run = told(seed(write(tmp_path, {"items.csv": items(300)}), url, "legacy"))

    assert run.round_trip_seconds
    assert run.round_trip_seconds >= 0.004
    assert (run.bottlenecks[0].resource, run.bottlenecks[0].where) == ("round trips", "merge items")
    assert first_cure(run) == "write whole tables by COPY, as the level incremental does"
    assert run.recommendations[0].command == "seedlab seed --level incremental"
    assert run.seconds / 2 < saves(run) < run.seconds


@pytest.mark.slow
def test_a_database_far_away_is_told_to_be_nearer_where_there_is_no_trip_to_save(
    tmp_path: Path, clean_postgres_url: str
) -> None:
    execute(clean_postgres_url, ITEMS)
    with far_away(clean_postgres_url, 150.0) as url:
        run = told(seed(write(tmp_path, {"items.csv": items(300)}), url))

    assert run.bottlenecks[0].resource == "round trips"
    assert first_cure(run).startswith("run seedlab nearer to the database")


# ---- a lock ---------------------------------------------------------------------------------------------


@contextmanager
def held(url: str, statement: str, seconds: float | None = None) -> Iterator[None]:
    """Hold what a statement locks, for so long or until the block ends, as another program does."""
    with psycopg.connect(url, application_name="night report") as other:
        other.execute(statement)
        timer = threading.Timer(seconds or 0.0, other.rollback)
        if seconds:
            timer.start()
        try:
            yield
        finally:
            if seconds:
                timer.join()
            other.rollback()


@pytest.mark.slow
def test_a_lock_of_another_session_is_named_with_its_holder(tmp_path: Path, clean_postgres_url: str) -> None:
    execute(clean_postgres_url, ITEMS)
    seed(write(tmp_path, {"items.csv": items(300)}), clean_postgres_url)
    write(tmp_path, {"items.csv": items(300, "new title")})
    with held(clean_postgres_url, "UPDATE items SET credits = 0 WHERE code = 'c7'", 3.0):
        run = told(seed(tmp_path, clean_postgres_url))

    assert (run.bottlenecks[0].resource, run.bottlenecks[0].where) == ("locks", "merge items")
    assert "held by night report (process " in run.bottlenecks[0].evidence
    assert "idle in transaction)" in run.bottlenecks[0].evidence
    assert first_cure(run).startswith("commit or end night report (process ")
    assert headline(run)[0].startswith("Where the time went: ")


@pytest.mark.slow
def test_another_seeder_that_was_waited_for_is_named(tmp_path: Path, clean_postgres_url: str) -> None:
    execute(clean_postgres_url, ITEMS)
    seed(write(tmp_path, {"items.csv": items(300)}), clean_postgres_url)
    write(tmp_path, {"items.csv": items(300, "new title")})
    with held(clean_postgres_url, "LOCK TABLE seedlab.lock IN EXCLUSIVE MODE", 3.0):
        run = told(seed(tmp_path, clean_postgres_url, wait="10s"))

    assert (run.bottlenecks[0].resource, run.bottlenecks[0].where) == ("locks", "outside the phases")


@pytest.mark.slow
def test_a_run_that_failed_for_a_lock_says_who_held_it(tmp_path: Path, clean_postgres_url: str) -> None:
    execute(clean_postgres_url, ITEMS)
    folder = write(tmp_path / "p", {"items.csv": items(300)})
    seed(folder, clean_postgres_url)
    write(folder, {"items.csv": items(300, "new title")})
    command = [
        sys.executable,
        "-m",
        "seedlab",
        "seed",
        folder,
        "--database-url",
        clean_postgres_url,
        "--json",
    ]
    with held(clean_postgres_url, "UPDATE items SET credits = 0 WHERE code = 'c7'"):
        done = subprocess.run(
            [*command, "--lock-timeout", "2s", "--reports", tmp_path],
            capture_output=True,
            text=True,
            check=False,
        )
    record = json.loads(done.stdout)

    assert (done.returncode, record["status"]) == (1, "failed")
    assert record["bottlenecks"][0]["resource"] == "locks"
    assert record["recommendations"][0]["what"].startswith("commit or end night report (process ")


# ---- a slow disk ----------------------------------------------------------------------------------------

SLOW_SYNC = """
#include <unistd.h>
#include <sys/syscall.h>
int fdatasync(int file) { usleep(150000); return syscall(SYS_fdatasync, file); }
"""


@pytest.fixture(scope="module")
def slow_disk_url() -> Iterator[str]:
    """A database whose server waits 150 ms whenever its WAL has to be on disk.

    The server's programs are the usual ones; its `fdatasync` is ours. `commit_delay` would be simpler, but a
    server that sleeps for it is seen at work.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        missing("needs a C compiler for a slow fdatasync: install gcc")
    # Not in the run's own folder: it may be in memory, where some systems let nobody run programs.
    folder = Path(tempfile.mkdtemp(prefix="seedlab-slow-"))
    folder.chmod(0o755)
    programs = folder / "bin"
    programs.mkdir()
    (folder / "slow.c").write_text(SLOW_SYNC)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "slow.so", folder / "slow.c"], check=True)
    real = find_binaries(os.environ)
    for name in ("initdb", "pg_ctl", "postgres"):
        preload = f"LD_PRELOAD='{folder / 'slow.so'}' " if name == "postgres" else ""
        (programs / name).write_text(f"#!/bin/sh\n{preload}exec '{real / name}' \"$@\"\n")
        (programs / name).chmod(0o755)
    environ = {**server_environ(Path(os.environ[RUN_FOLDER], "slow")), "SEEDLAB_PG_BIN": str(programs)}
    started = server.start(environ)
    try:
        server.ensure_database(started, "slow")
        yield started.url("slow")
    finally:
        server.clean(environ)
        shutil.rmtree(folder)


@pytest.mark.slow
def test_commits_that_wait_for_a_slow_disk_are_told_to_be_one(tmp_path: Path, slow_disk_url: str) -> None:
    tables = [f"t{n:02}" for n in range(12)]
    execute(slow_disk_url, " ".join(ITEMS.replace("items", name) for name in tables))
    folder = write(tmp_path, {f"{name}.csv": items(10) for name in tables})
    write(folder, {"seedlab.toml": '[project]\nname = "p"\n' + "".join(map(stage_of, tables))})
    run = told(seed(folder, slow_disk_url, commit="stage", workers=1))

    assert (run.bottlenecks[0].resource, run.bottlenecks[0].where) == ("disk", "commit")
    assert "WalSync" in run.bottlenecks[0].evidence
    assert first_cure(run) == "commit once, at the end"
    assert "pg_test_fsync" in {each.command.split()[0] for each in run.recommendations}


# ---- a huge YAML file -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_huge_yaml_file_is_told_to_be_json_and_the_command_makes_it(
    tmp_path: Path, clean_postgres_url: str
) -> None:
    execute(clean_postgres_url, ITEMS)
    records = "".join(f"- {{code: c{n}, title: title {n}, credits: {n % 7}}}\n" for n in range(60_000))
    run = told(seed(write(tmp_path, {"items.yaml": records}), clean_postgres_url))

    assert run.bottlenecks[0].resource == "client CPU"
    assert run.bottlenecks[0].where.startswith("read items")
    assert first_cure(run) == "keep items.yaml as JSON"

    subprocess.run(run.recommendations[0].command, shell=True, check=True, cwd=tmp_path)
    assert len(json.loads((tmp_path / "items.json").read_text())) == 60_000
    (tmp_path / "items.yaml").unlink()
    again = seed(tmp_path, clean_postgres_url, force=True)
    assert again.outcomes.unchanged == 60_000
    assert reading(again) < reading(run) / 4


def reading(run: Run) -> float:
    return sum(span.cpu_seconds for span in run.spans if span.phase == "read")


# ---- and an ordinary one --------------------------------------------------------------------------------


def test_an_ordinary_run_gets_no_advice(tmp_path: Path, clean_postgres_url: str) -> None:
    execute(clean_postgres_url, ITEMS)
    run = told(seed(write(tmp_path, {"items.csv": items(300)}), clean_postgres_url))

    assert run.recommendations == ()
    assert headline(run) == []


@pytest.mark.slow
def test_a_run_of_many_rows_gets_no_advice_either_however_long_it_takes(
    tmp_path: Path, clean_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        advice, "WORTH_SECONDS", 0.0
    )  # else a machine that needs less than a second gets none
    execute(clean_postgres_url, ITEMS)
    run = told(seed(write(tmp_path, {"items.csv": items(1_000_000)}), clean_postgres_url))
    about_the_machine = "put the database, or at least its WAL, on a faster disk"  # true where others write

    assert {each.what for each in run.recommendations} <= {about_the_machine}
