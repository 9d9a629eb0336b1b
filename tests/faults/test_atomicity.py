"""Whatever fails, and whenever: the target is as it was or as the files say, and the next run completes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from seedlab.database.postgres import direct as postgres_direct
from seedlab.database.postgres import grow as postgres_grow
from seedlab.database.postgres import write as postgres_write
from seedlab.database.postgres.wire import Wire
from seedlab.errors import CommitUnanswered, DataFaults, SeedError, WriteError
from seedlab.steps.looking import Look
from seedlab.steps.writing.committing import COMMITTED
from tests.faults.cutting import Cutter, cut, cut_for_good, nothing
from tests.fix_postgres import PostgresServer
from tests.support.cases import some
from tests.support.school import SEED, STAGE
from tests.support.seeding import Rows, counted, dump, execute, rows_of, seed, write

TABLES = """
CREATE TABLE cities (id SERIAL KEY, code text NOT NULL UNIQUE, name text NOT NULL);
CREATE TABLE pupils (
  id SERIAL KEY, email text NOT NULL UNIQUE, city_id int NOT NULL, friend_id int,
  CONSTRAINT lives_in FOREIGN KEY (city_id) REFERENCES cities ON DELETE CASCADE,
  CONSTRAINT likes FOREIGN KEY (friend_id) REFERENCES pupils DEFERRABLE INITIALLY DEFERRED
);
COMMENT ON CONSTRAINT lives_in ON pupils IS 'where they sleep';
"""
OTHERS = "INSERT INTO cities (code, name) VALUES ('c1', 'of the application'), ('app', 'its own');"
CITIES = 30
PUPILS = 300
FOREVER = 1 << 40  # bytes
PARTS = 8  # of what a seed sends; the line is cut behind each
KEYS = """
SELECT conname, pg_get_constraintdef(oid), convalidated, obj_description(oid, 'pg_constraint')
FROM pg_constraint WHERE conrelid::regclass::text IN ('cities', 'pupils') ORDER BY 1
"""
RELATIONS = """
SELECT relname FROM pg_class WHERE relkind IN ('r', 'u') AND relname !~ '^(pg|sql)_'
AND relnamespace IS DISTINCT FROM to_regnamespace('seedlab') ORDER BY 1
"""
END = """
SELECT pid, pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE application_name ~ '^seedlab' AND datname = current_database()
"""
LARGE = ((postgres_write, "ARRAY_ROWS"), (postgres_grow, "NEW_ROWS"), (postgres_direct, "REBUILD_ROWS"))
STARTS = {"empty": "", "filled": OTHERS}  # written directly, and by a merge
LEVELS = some(["incremental", "bulk", "legacy"], "incremental", "legacy")

State = tuple[dict[str, Rows], Any, Any]


@pytest.fixture
def school(tmp_path: Path) -> Path:
    cities = "".join(f"c{n},City {n}\n" for n in range(CITIES))
    pupils = "".join(f"p{n}@x,c{n % CITIES},p{(n + 7) % PUPILS}@x\n" for n in range(PUPILS))
    return write(
        tmp_path / "school",
        {"cities.csv": f"code,name\n{cities}", "pupils.csv": f"email,city.code,friend.email\n{pupils}"},
    )


@pytest.fixture(params=STARTS)
def start(request: pytest.FixtureRequest) -> str:
    return STARTS[request.param]


@pytest.fixture
def url(clean_postgres_url: str) -> str:
    execute(clean_postgres_url, TABLES)
    return clean_postgres_url


def state(url: str) -> State:
    """All rows, all constraints, all tables."""
    return dump(url), rows_of(url, KEYS), rows_of(url, RELATIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """A target before and after a seed, and how many bytes the seed sends."""

    before: State
    after: State
    sent: int


KNOWN: dict[str, Ends] = {}


def ends_of(school: Path, url: str, start: str) -> Ends:
    """What a seed undisturbed makes of it, which is tried once; leaves the target as it was at the start."""
    reset(url, start)
    if start in KNOWN:
        return KNOWN[start]
    before = state(url)
    with Cutter(url, FOREVER, nothing) as line:
        seed(school, line.url)
        sent = line.passed
    after = state(url)
    reset(url, start)
    return KNOWN.setdefault(start, Ends(before=before, after=after, sent=sent))


def reset(url: str, start: str) -> None:
    """The state before any seed: nothing is remembered, so every run sends the same bytes."""
    execute(url, "DROP SCHEMA IF EXISTS seedlab CASCADE")
    execute(url, f"TRUNCATE cities, pupils RESTART IDENTITY; {start}")


def check_whole(school: Path, url: str, ends: Ends) -> None:
    """Before or after and nothing else; the next run completes."""
    found = state(url)
    assert found in (ends.before, ends.after)

    seed(school, url)
    assert state(url) == ends.after


# ---- the line is cut, the client killed, the server's process ended -------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("level", ["incremental", "bulk", "legacy"])
def test_a_line_cut_anywhere_leaves_all_or_nothing(school: Path, url: str, start: str, level: Any) -> None:
    ends = ends_of(school, url, start)
    undone = 0

    for part in range(1, PARTS + 1):
        reset(url, start)
        with Cutter(url, ends.sent * part // PARTS - 12, cut) as line, pytest.raises(SeedError):
            seed(school, line.url, level)
        undone += state(url) == ends.before
        check_whole(school, url, ends)

    assert undone > PARTS - 3  # only with the answer to COMMIT can what was done be lost from sight


def undisturbed(school: Path, url: str, start: str, commit: Any) -> tuple[int, State]:
    """How often a seed commits until the rows are written, and what it makes of the target; then undone."""
    reset(url, start)
    with Cutter(url, FOREVER, nothing) as line:
        seed(school, line.url, commit=commit)
    after = state(url)
    reset(url, start)
    return line.commits - (commit == "stage"), after  # the last of all lets others in


@pytest.mark.parametrize("commit", ["run", "stage"])
def test_a_lost_answer_to_the_commit_is_settled_by_asking_the_ledger(
    school: Path, url: str, start: str, commit: Any
) -> None:
    commits, after = undisturbed(school, url, start, commit)

    with Cutter(url, FOREVER, cut, commits=commits) as line:
        run = seed(school, line.url, commit=commit)

    assert state(url) == after
    assert COMMITTED in run.notes
    assert run.outcomes.total == CITIES + PUPILS
    assert counted(seed(school, url)) == (0, 0, CITIES + PUPILS)


@pytest.mark.parametrize("commit", ["run", "stage"])
def test_a_commit_that_did_not_arrive_is_told_as_not_done(
    school: Path, url: str, start: str, commit: Any
) -> None:
    commits, after = undisturbed(school, url, start, commit)

    with (
        Cutter(url, FOREVER, cut, commits=commits, short=1) as line,
        pytest.raises(WriteError, match="the ledger says that it was not done; run again"),
    ):
        seed(school, line.url, commit=commit)

    assert state(url) != after
    seed(school, url)
    assert state(url) == after


def test_where_nobody_can_be_asked_a_lost_answer_is_told_as_that_and_nothing_is_written_twice(
    school: Path, url: str, start: str
) -> None:
    commits, after = undisturbed(school, url, start, "run")

    with (
        Cutter(url, FOREVER, cut_for_good, commits=commits) as line,
        pytest.raises(CommitUnanswered, match="not known whether the rows are written; run again"),
    ):
        seed(school, line.url)

    again = seed(school, url)
    assert state(url) == after
    assert counted(again) == (0, 0, CITIES + PUPILS)


@pytest.mark.parametrize("part", some([0.5, 0.9, 0.995], "0.9"))
def test_a_client_killed_leaves_all_or_nothing(school: Path, url: str, start: str, part: float) -> None:
    ends = ends_of(school, url, start)
    children: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        os.kill(children[0].pid, signal.SIGKILL)
        children[0].wait()
        raise Cutter.Cut

    with Cutter(url, int(ends.sent * part), kill) as line:
        command = [sys.executable, "-m", "seedlab", "seed", str(school), "--database-url", line.url, "-q"]
        reports = ["--reports", str(school.parent / "reports")]
        children.append(subprocess.Popen([*command, *reports]))
        code = children[0].wait()

    assert code == -signal.SIGKILL
    assert state(url) == ends.before
    check_whole(school, url, ends)


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.5, 0.9, 0.995])
def test_a_server_process_ended_leaves_all_or_nothing(
    school: Path, url: str, start: str, part: float
) -> None:
    ends = ends_of(school, url, start)

    def end() -> None:
        with psycopg.connect(url, autocommit=True) as other:
            other.execute(END)

    with Cutter(url, int(ends.sent * part), end) as line, pytest.raises(SeedError) as failed:
        seed(school, line.url)

    assert failed.value.exit_code == 1
    assert state(url) == ends.before
    check_whole(school, url, ends)


@pytest.mark.slow
def test_a_server_process_ended_before_any_message_of_a_large_load_is_told(
    school: Path, url: str, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in LARGE:
        monkeypatch.setattr(module, name, 1)
    ended, number = True, 0

    while ended:
        number += 1
        reset(url, start)
        before = state(url)
        with ending(url, number) as made:
            with suppress(SeedError):
                seed(school, url, workers=2, batch_rows=20)
                before = state(url)
        assert state(url) == before
        ended = bool(made)

    assert number > 10


def test_a_connection_lost_while_the_target_is_looked_at_again_ends_the_run(
    school: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = STAGE.format("cities") + SEED.format("cities", "cities.csv")
    stages += STAGE.format("pupils") + 'dependencies = ["cities"]\n' + SEED.format("pupils", "pupils.csv")
    write(school, {"seedlab.toml": stages})
    look_again = Look.refresh

    def lose_and_look_again(look: Look) -> None:
        execute(url, END)
        look_again(look)

    monkeypatch.setattr(Look, "refresh", lose_and_look_again)
    with pytest.raises(SeedError):
        seed(school, url, commit="stage", workers=1)
    monkeypatch.undo()

    assert counted(seed(school, url)) == (CITIES + PUPILS, 0, 0)


@contextmanager
def ending(url: str, number: int) -> Iterator[list[int]]:
    """End all of a run's server processes just before it sends its n-th message; gives those ended."""
    sent, ended = count(1), []

    def counting(send: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            if next(sent) == number:
                with psycopg.connect(url, autocommit=True) as other:
                    ended.extend(pid for pid, gone in other.execute(END).fetchall() if gone)
            return send(*args, **named)

        return counted

    with pytest.MonkeyPatch.context() as patched:
        for name in ("ask", "ask_ahead", "tell", "script", "end"):
            patched.setattr(Wire, name, counting(getattr(Wire, name)))
        yield ended


# ---- waits that end -------------------------------------------------------------------------------------

SLOW = """
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(60); RETURN NEW; END$$;
CREATE TRIGGER slow AFTER INSERT ON pupils FOR EACH ROW EXECUTE FUNCTION wait();
"""


@pytest.mark.slow
@pytest.mark.parametrize("level", ["incremental", "bulk", "legacy"])
def test_a_statement_timeout_undoes_all_and_is_named(school: Path, url: str, start: str, level: Any) -> None:
    ends = ends_of(school, url, start)
    execute(url, SLOW)

    with pytest.raises(WriteError, match="raise it with --statement-timeout") as failed:
        seed(school, url, level, statement_timeout="50ms")

    execute(url, "DROP TRIGGER slow ON pupils; DROP FUNCTION wait()")
    assert failed.value.sqlstate == "57014"
    assert state(url) == ends.before
    check_whole(school, url, ends)


@contextmanager
def holding(url: str, statement: str) -> Iterator[None]:
    """Another session that holds what a statement locks."""
    with psycopg.connect(url) as other:
        other.execute(statement)
        yield
        other.rollback()


def test_foreign_keys_stay_on_while_somebody_reads(school: Path, url: str) -> None:
    ends = ends_of(school, url, "")

    with holding(url, "SELECT FROM cities"):
        run = seed(school, url)

    assert state(url) == ends.after
    assert counted(run) == (CITIES + PUPILS, 0, 0)
    assert any("foreign keys stay on" in note for note in run.notes)


@pytest.mark.slow
def test_a_writers_lock_ends_the_wait_with_its_name(school: Path, url: str, start: str) -> None:
    ends = ends_of(school, url, start)

    with holding(url, "LOCK TABLE pupils IN SHARE ROW EXCLUSIVE MODE"):
        with pytest.raises(WriteError, match="raise --lock-timeout") as failed:
            seed(school, url, lock_timeout="50ms")

    assert failed.value.sqlstate == "55P03"
    assert state(url) == ends.before
    check_whole(school, url, ends)


@pytest.mark.slow
def test_a_row_that_is_being_changed_ends_the_wait(school: Path, url: str) -> None:
    ends = ends_of(school, url, OTHERS)

    with holding(url, "UPDATE cities SET name = 'new' WHERE code = 'c1'"):
        with pytest.raises(WriteError, match="raise --lock-timeout"):
            seed(school, url, lock_timeout="50ms")

    assert state(url) == ends.before
    check_whole(school, url, ends)


# ---- rights that are missing ----------------------------------------------------------------------------


@pytest.fixture
def role() -> str:
    """Roles belong to the whole server, which other workers use too."""
    return f"guest_{uuid.uuid4().hex}"


@pytest.fixture
def guest(url: str, role: str, postgres_server: PostgresServer) -> Iterator[str]:
    """A role that may read and write the rows of the tables, and nothing else; gives its URL."""
    if postgres_server.superuser_url is None:
        pytest.skip("the server given lets us make no role")
    with psycopg.connect(postgres_server.superuser_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN")
        execute(
            url,
            f"GRANT SELECT, INSERT, UPDATE ON cities, pupils TO {role};"
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}; GRANT USAGE ON SCHEMA public TO {role}",
        )
        yield url.replace("seedlab@", f"{role}@", 1)
        execute(url, f"DROP TABLE cities, pupils; REVOKE ALL ON SCHEMA public FROM {role}")
        admin.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("level", LEVELS)
def test_who_does_not_own_the_tables_can_seed_them(
    school: Path, url: str, guest: str, start: str, level: Any
) -> None:
    ends = ends_of(school, url, start)

    run = seed(school, guest, level)
    again = seed(school, guest, level)

    assert state(url) == ends.after
    assert run.outcomes.total == again.outcomes.unchanged == CITIES + PUPILS


def test_who_may_not_raise_a_sequence_is_told(school: Path, url: str, guest: str, start: str) -> None:
    ends = ends_of(school, url, start)
    write(school, {"cities.csv": "id,code,name\n" + "".join(f"{n + 50},c{n},x\n" for n in range(CITIES))})
    reset(url, "")

    with pytest.raises(WriteError, match="seedlab doctor") as failed:
        seed(school, guest)

    assert failed.value.sqlstate == "42501"
    assert rows_of(url, "SELECT count(*) FROM cities") == [(0,)]
    assert ends.before[1] == rows_of(url, KEYS)


def test_without_the_right_to_temporary_tables_it_falls_back(
    school: Path, url: str, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = ends_of(school, url, start)
    monkeypatch.setattr(postgres_write, "ARRAY_ROWS", 0)
    database = rows_of(url, "SELECT current_database()")[0][0]
    execute(url, f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC, CURRENT_USER")
    try:
        run = seed(school, url, disabled=["rebuild"])
        again = seed(school, url, force=True)
    finally:
        execute(url, f"GRANT TEMPORARY ON DATABASE {database} TO PUBLIC, CURRENT_USER")

    assert state(url) == ends.after
    assert run.outcomes.total == again.outcomes.unchanged == CITIES + PUPILS
    assert any("temporary" in note for note in again.notes)


@pytest.mark.parametrize("level", LEVELS)
def test_row_level_security_applies(
    school: Path, url: str, start: str, guest: str, role: str, level: Any
) -> None:
    ends = ends_of(school, url, start)
    policy = f"CREATE POLICY mine ON cities TO {role} USING (true) WITH CHECK"
    execute(url, f"ALTER TABLE cities ENABLE ROW LEVEL SECURITY; {policy} (name <> 'City 7')")

    with pytest.raises(SeedError):
        seed(school, guest, level)
    refused = state(url)
    execute(url, f"DROP POLICY mine ON cities; {policy} (true)")
    seed(school, guest, level)

    assert refused == ends.before
    assert state(url) == ends.after


# ---- an application that writes at the same time --------------------------------------------------------


@pytest.mark.parametrize("part", some([0.45, 0.6, 0.75, 0.9], "0.6", "0.9"))
def test_a_row_that_an_application_adds_meanwhile_is_found(
    school: Path, url: str, start: str, part: float
) -> None:
    """What the other session's row waits for decides: it comes before us, after us, or is refused."""
    ends = ends_of(school, url, start)
    own = "SET lock_timeout = '50ms'; INSERT INTO cities (code, name) VALUES ('c9', 'meanwhile')"
    added = []

    def add() -> None:
        try:
            execute(url, own)
        except psycopg.errors.LockNotAvailable:
            return
        added.append(True)

    with Cutter(url, int(ends.sent * part), add) as line:
        run = seed(school, line.url)

    assert state(url) == ends.after
    assert run.outcomes.total == CITIES + PUPILS
    if added:
        assert run.outcomes.updated >= 1


@pytest.mark.parametrize("commit", ["run", "stage"])
def test_an_application_that_never_stops_writing_does_not_keep_a_seed_from_its_end(
    school: Path, url: str, commit: Any
) -> None:
    """It updates the very rows that the seed updates, more often than the seed can be tried."""
    seed(school, url)
    ended = threading.Event()

    def application() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not ended.is_set():
                connection.execute("UPDATE cities SET name = name || '!' WHERE random() < 0.1")

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(application)
        try:
            for name in ("Town", "Village"):
                cities = "".join(f"c{n},{name} {n}\n" for n in range(CITIES))
                write(school, {"cities.csv": f"code,name\n{cities}"})
                run = seed(school, url, commit=commit)
                assert run.outcomes.total == CITIES + PUPILS
                assert run.outcomes.updated >= CITIES
        finally:
            ended.set()
        writing.result(timeout=60)


def test_a_unique_value_that_an_application_keeps_is_a_fault(school: Path, url: str) -> None:
    execute(url, "ALTER TABLE cities ADD CONSTRAINT one_name UNIQUE (name);" + OTHERS)
    execute(url, "INSERT INTO cities (code, name) VALUES ('other', 'City 9')")
    before = state(url)

    with pytest.raises(DataFaults, match="1 data fault") as failed:
        seed(school, url)

    assert failed.value.faults[0].rule == "unique"
    assert "one_name" in failed.value.faults[0].message
    assert state(url) == before
