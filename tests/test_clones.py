"""A snapshot is seeded once for what it is made of; clones of it are databases of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from seedlab import orchestrator
from seedlab.cli import main
from seedlab.database.connect import parse_target, url_of
from seedlab.database.snapshots import snapshots_at
from seedlab.errors import ConfigurationError, DataFaults, Refused, WriteError
from seedlab.experiment.clones import prune
from seedlab.experiment.pool import Pool
from seedlab.flow import Run
from tests.fix_clones import ours_at, read, stocked, times_seeded
from tests.support.asking import forget
from tests.support.school import CITIES, FILES, TABLES
from tests.support.seeding import execute, rows_of, write

PUPILS = "SELECT p.name, c.code, p.age FROM pupils p JOIN cities c ON c.id = p.city_id ORDER BY 1"
SEEDED = [("Ada", "hfa", 9), ("Bob", "tlv", None), ("Cid", "hfa", 11)]


# ---- snapshots and clones -------------------------------------------------------------------------------


def test_clones_are_seeded_and_share_nothing(noted: Path, clone_url: str, tmp_path: Path) -> None:
    with stocked(noted, clone_url) as stock:
        snapshot, made = stock.snapshot()
        one, other = (url_of(stock.snapshots.clone(snapshot)) for _ in range(2))
        execute(one, "DELETE FROM pupils")
        forget()

        assert (made, snapshot.mark.rows) == (True, 5)
        assert (rows_of(one, PUPILS), rows_of(other, PUPILS)) == ([], SEEDED)
        forget()
    assert times_seeded(tmp_path) == 1
    assert len(ours_at(clone_url, tmp_path)) == 1  # the snapshot


def test_it_is_seeded_once_and_then_found(noted: Path, clone_url: str, tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        with stocked(noted, clone_url) as stock:
            seen += [stock.snapshot(), stock.snapshot()]

    assert [made for _, made in seen] == [True, False, False, False]
    assert len({snapshot.mark for snapshot, _ in seen}) == 1
    assert times_seeded(tmp_path) == 1


@pytest.mark.parametrize(
    ("changed", "environment", "again"),
    [
        ({"cities.csv": CITIES.replace("Haifa", "Hefa")}, "test", True),
        ({"transforms.py": "noted = lambda frame: {'cities': frame}\n"}, "test", True),
        ({"models.py": ("sa.Text", "sa.String(50)")}, "test", True),
        ({"seedlab.toml": ('source = "pupils.csv"', 'source = "pupils.csv"\nmode = "insert"')}, "test", True),
        ({}, "small", True),
        ({"seedlab.toml": ("[environments.test]", "# nothing that a row depends on\n[environments.test]")}, "test", False),
        ({"README.md": "a school"}, "test", False),
    ],
)  # fmt: skip
def test_whatever_its_rows_depend_on_makes_it_another_one(
    changed: dict, environment: str, again: bool, noted: Path, apart: Path, sqlite_url: str
) -> None:
    with stocked(noted, sqlite_url) as stock:
        stock.snapshot()
    for name, text in changed.items():
        whole = text if isinstance(text, str) else (noted / name).read_text().replace(*text)
        write(noted, {name: whole})
    with stocked(noted, sqlite_url, environment) as stock:
        assert stock.snapshot()[1] is again


@pytest.mark.slow
def test_an_environment_has_its_own_rows(noted: Path, clone_url: str) -> None:
    with stocked(noted, clone_url, "small") as stock:
        snapshot, _ = stock.snapshot()
        clone = stock.snapshots.clone(snapshot)
        assert rows_of(url_of(clone), "SELECT count(*) FROM pupils") == [(1,)]
        forget()
        assert snapshot.mark.environment == "small"


def test_a_fault_is_told_and_nothing_is_left(noted: Path, clone_url: str, tmp_path: Path) -> None:
    write(noted, {"pupils.csv": "name,city.code,age\nAda,nowhere,9\n"})
    with stocked(noted, clone_url) as stock, pytest.raises(DataFaults) as told:
        stock.snapshot()

    assert [(fault.file, fault.line, fault.rule) for fault in told.value.faults] == [
        ("pupils.csv", 2, "missing-parent")
    ]
    assert ours_at(clone_url, tmp_path) == []


# ---- tables that are taken from the target --------------------------------------------------------------

MORE = """
CREATE TABLE marks (id SERIAL KEY, pupil_id int NOT NULL REFERENCES pupils, mark int);
CREATE TABLE versions (number text PRIMARY KEY);
INSERT INTO versions VALUES ('0001');
"""


@pytest.fixture
def migrated(clone_url: str, tmp_path: Path) -> str:
    """A target with the tables, some rows of somebody, and what a seed has left."""
    execute(clone_url, TABLES + MORE)
    write(tmp_path / "plain", {**FILES, "seedlab.toml": '[project]\nname = "plain"\n'})
    assert (
        main(["seed", str(tmp_path / "plain"), "--database-url", clone_url, "--reports", str(tmp_path)]) == 0
    )
    execute(clone_url, "INSERT INTO cities (code, name) VALUES ('eil', 'Eilat')")
    execute(clone_url, "INSERT INTO marks (pupil_id, mark) SELECT id, 5 FROM pupils")
    forget()
    return clone_url


def test_a_migrated_target_lends_its_tables_and_the_rows_that_nobody_seeds(
    migrated: str, tmp_path: Path
) -> None:
    before = rows_of(migrated, "SELECT count(*) FROM cities")
    forget()
    with stocked(tmp_path / "plain", migrated) as stock:
        snapshot, made = stock.snapshot()
        clone = url_of(stock.snapshots.clone(snapshot))

        assert made
        assert rows_of(clone, PUPILS) == [("Ada", "hfa", 9), ("Bob", "tlv", None), ("Cid", "hfa", 11)]
        assert rows_of(clone, "SELECT code FROM cities ORDER BY code") == [("hfa",), ("tlv",)]
        assert rows_of(clone, "SELECT min(id), max(id) FROM cities") == [(1, 2)]
        assert rows_of(clone, "SELECT * FROM marks") == []
        assert rows_of(clone, "SELECT * FROM versions") == [("0001",)]
        runs = "seedlab_runs" if migrated.startswith("sqlite") else "seedlab.runs"
        assert rows_of(clone, f"SELECT count(*) FROM {runs}") == [(1,)]
        forget()
    assert rows_of(migrated, "SELECT count(*) FROM cities") == before == [(3,)]


@pytest.mark.slow
def test_a_target_that_changed_is_copied_anew(migrated: str, tmp_path: Path) -> None:
    execute(migrated, "CREATE TABLE later (x int)")
    forget()
    with stocked(tmp_path / "plain", migrated) as stock:
        assert stock.snapshot()[1]
        assert not stock.snapshot()[1]
        execute(migrated, "INSERT INTO later VALUES (1)")
        forget()
        assert stock.snapshot()[1]


ANYTHING = (
    "INSERT INTO versions VALUES ('0002')",
    "UPDATE versions SET number = '0003' WHERE number = '0002'",
    "ALTER TABLE pupils ADD COLUMN house text",
    "CREATE INDEX pupils_age ON pupils (age)",
    "CREATE VIEW grown AS SELECT * FROM pupils WHERE age > 9",
    "ALTER TABLE pupils ALTER COLUMN age SET DEFAULT 7",
    "ALTER TABLE pupils ALTER COLUMN house SET NOT NULL",
    "ALTER TABLE pupils ADD CONSTRAINT young CHECK (age < 20)",
    "CREATE TYPE mood AS ENUM ('sad')",
    "ALTER TYPE mood ADD VALUE 'ok'",
    "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 2'",
    "CREATE FUNCTION said() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER says BEFORE UPDATE ON cities FOR EACH ROW EXECUTE FUNCTION said()",
    "ALTER TABLE cities DISABLE TRIGGER says",
    "ALTER TABLE cities ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY mine ON cities USING (true)",
    "CREATE DOMAIN small AS int CHECK (VALUE < 10)",
    "CREATE SEQUENCE steps",
    "CREATE SCHEMA other",
    "CREATE TABLE other.empty ()",
)
NOTHING = (
    "DELETE FROM marks",
    "UPDATE cities SET name = 'x'",
    "ANALYZE",
    "CREATE TABLE seedlab.mine (x int)",
    "COMMENT ON TABLE cities IS 'towns'",
)


@pytest.mark.slow
def test_a_target_is_known_by_all_that_a_copy_would_have_and_nothing_else(
    lonely_url: str, apart: Path, tmp_path: Path
) -> None:
    execute(lonely_url, f"{TABLES}{MORE}; CREATE SCHEMA seedlab; UPDATE pupils SET age = 1")
    empties = (("public", "cities"), ("public", "marks"), ("public", "pupils"))
    with closing(snapshots_at(parse_target(lonely_url, ""))) as snapshots:
        seen = [snapshots.base(empties)]
        for statement in (*ANYTHING, *NOTHING):
            execute(lonely_url, statement)
            seen.append(snapshots.base(empties))

    changed = [one != other for one, other in pairwise(seen)]
    told = dict(zip((*ANYTHING, *NOTHING), changed, strict=True))
    assert told == {**dict.fromkeys(ANYTHING, True), **dict.fromkeys(NOTHING, False)}


def test_a_target_without_the_tables_is_told_of(clone_url: str, tmp_path: Path) -> None:
    execute(clone_url, "CREATE TABLE pupil (name text)")
    forget()
    write(tmp_path / "plain", {**FILES, "seedlab.toml": '[project]\nname = "plain"\n'})
    with stocked(tmp_path / "plain", clone_url) as stock:
        with pytest.raises(ConfigurationError, match=r"no table 'cities' .* run your migrations first"):
            stock.snapshot()


# ---- guards ---------------------------------------------------------------------------------------------


def test_a_protected_environment_is_refused_whatever_is_typed(noted: Path, clone_url: str) -> None:
    with pytest.raises(Refused, match="environment live is protected"):
        stocked(noted, clone_url, "live").__enter__()


def test_another_machine_needs_consent(noted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me@db.example.com/app")
    monkeypatch.delenv("SEEDLAB_DATABASE_URL", raising=False)
    with pytest.raises(Refused, match="DATABASE_URL points to another machine"):
        stocked(noted, "").__enter__()


def test_who_may_make_no_database_is_told(noted: Path, lonely_url: str, postgres_server, apart: Path) -> None:
    role = sql.Identifier(lonely_url.rpartition("//")[2].partition("@")[0])
    with psycopg.connect(postgres_server.superuser_url, autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER ROLE {} NOCREATEDB").format(role))
    with stocked(noted, lonely_url) as stock:
        with pytest.raises(Refused, match=r"may not create a database .* CREATEDB"):
            stock.snapshot()


# ---- several processes ----------------------------------------------------------------------------------


def clone_command(folder: Path, url: str, name: str | Path) -> list[str]:
    return [sys.executable, "-m", "seedlab", "clone", str(name), str(folder), "--database-url", url]


def name_of(url: str, tmp_path: Path, name: str) -> str:
    """What a clone is called: a database, or a file."""
    return str(tmp_path / name) if url.startswith("sqlite") else name


@pytest.mark.slow
def test_of_two_at_once_one_seeds_and_the_other_waits(noted: Path, clone_url: str, tmp_path: Path) -> None:
    both = [
        subprocess.Popen(
            clone_command(noted, clone_url, name_of(clone_url, tmp_path, name)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in ("one", "other")
    ]  # fmt: skip
    told = [each.communicate() for each in both]

    assert [each.returncode for each in both] == [0, 0], told
    assert times_seeded(tmp_path) == 1
    assert [rows_of(out.strip(), PUPILS) for out, _ in told] == [SEEDED, SEEDED]
    assert sum("seeded" in err for _, err in told) == 1


PATIENCE = 30  # seconds, for a barrier that would else wait for ever


def test_sessions_that_begin_at_once_do_not_wait_for_each_others_end(
    noted: Path, clone_url: str, tmp_path: Path
) -> None:
    """As the workers of pytest-xdist do: each has the snapshot while all others use it."""
    begun, served = Barrier(3), Barrier(3)

    def serve(_: int) -> bool:
        with stocked(noted, clone_url) as stock:
            begun.wait(PATIENCE)
            made = stock.snapshot()[1]
            served.wait(PATIENCE)
            return made

    with ThreadPoolExecutor(3) as threads:
        assert sorted(threads.map(serve, range(3))) == [False, False, True]
    assert times_seeded(tmp_path) == 1


@pytest.mark.slow
def test_an_attempt_that_was_killed_is_made_again(
    noted: Path, clone_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = subprocess.run(clone_command(noted, clone_url, "x"), env={**os.environ, "DIES": "1"}, check=False)
    assert dying.returncode == -signal.SIGKILL
    assert times_seeded(tmp_path) == 1
    assert ours_at(clone_url, tmp_path) != []

    with stocked(noted, clone_url) as stock:
        snapshot, made = stock.snapshot()
        clone = stock.snapshots.clone(snapshot)
        assert (made, rows_of(url_of(clone), PUPILS)) == (True, SEEDED)
        forget()
        assert stock.snapshots.leftovers() == []
    assert len(ours_at(clone_url, tmp_path)) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.fix_clones import stocked
with stocked(Path(sys.argv[1]), sys.argv[2]) as stock:
    snapshot, _ = stock.snapshot()
    for _ in range(2):
        stock.snapshots.clone(snapshot)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_what_a_killed_session_left_is_dropped_by_the_next_and_only_that(
    noted: Path, clone_url: str, tmp_path: Path
) -> None:
    with stocked(noted, clone_url) as stock:
        snapshot, _ = stock.snapshot()
        mine = stock.snapshots.clone(snapshot)
        done = subprocess.run([sys.executable, "-c", KILLED, str(noted), clone_url], check=False)
        assert done.returncode == -signal.SIGKILL
        for _ in range(50):  # the server takes a moment to notice
            with stocked(noted, clone_url):
                pass
            if len(left := ours_at(clone_url, tmp_path)) == 2:
                break

        assert len(left) == 2, left
        assert rows_of(url_of(mine), PUPILS) == SEEDED
        forget()


def test_of_files_that_change_meanwhile_nothing_is_kept(
    noted: Path, clone_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be found by the hash of what it was not made of."""
    original, given = orchestrator.seed, (noted / "pupils.csv").read_text()

    def late(*arguments: Any) -> Run:
        write(noted, {"pupils.csv": given.replace("11", "12")})
        return original(*arguments)

    with monkeypatch.context() as patched, stocked(noted, clone_url) as stock:
        patched.setattr(orchestrator, "seed", late)
        with pytest.raises(ConfigurationError, match=r"pupils\.csv was written to while"):
            stock.snapshot()
    assert ours_at(clone_url, tmp_path) == []

    write(noted, {"pupils.csv": given})
    with stocked(noted, clone_url) as stock:
        clone = url_of(stock.snapshots.clone(stock.snapshot()[0]))
        assert rows_of(clone, PUPILS) == SEEDED
        forget()


def test_who_lost_the_lock_leaves_the_snapshot_that_another_has_made(
    noted: Path, lonely_url: str, apart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection that holds it waits for the seed, and a server may be told to end those that wait."""
    original, others = orchestrator.seed, []

    def seeded(*arguments: Any) -> Run:
        run = original(*arguments)
        monkeypatch.setattr(orchestrator, "seed", original)
        with psycopg.connect(lonely_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE usename = user AND pid <> pg_backend_pid()"
            )
        others.append(opened.enter_context(stocked(noted, lonely_url)))
        assert others[0].snapshot()[1]
        return run

    with ExitStack() as opened:
        monkeypatch.setattr(orchestrator, "seed", seeded)
        with pytest.raises(WriteError), stocked(noted, lonely_url) as stock:
            stock.snapshot()

        clone = others[0].snapshots.clone(others[0].snapshot()[0])
        assert rows_of(url_of(clone), PUPILS) == SEEDED
        forget()


# ---- the pool -------------------------------------------------------------------------------------------


def test_a_pool_makes_clones_ahead_but_no_more_than_are_wanted(
    noted: Path, clone_url: str, tmp_path: Path
) -> None:
    with stocked(noted, clone_url) as stock:
        snapshot, _ = stock.snapshot()
        with closing(Pool(stock.snapshots, snapshot)) as pool:
            seen = []
            for wanted in (2, 1, 0):
                clone = pool.take(wanted)
                seen.append(clone.url)
                execute(url_of(clone), "DELETE FROM pupils")
                pool.drop(clone)
            assert len(pool._ready) == 0
            last = pool.take(1)
            assert rows_of(url_of(last), PUPILS) == SEEDED
            forget()
        assert len({*seen, last.url}) == 4
    assert len(ours_at(clone_url, tmp_path)) == 1


@pytest.mark.slow
def test_a_clone_that_is_kept_stays_and_is_pruned(noted: Path, clone_url: str, tmp_path: Path) -> None:
    with stocked(noted, clone_url) as stock:
        snapshot, _ = stock.snapshot()
        clone = stock.snapshots.clone(snapshot)
        stock.snapshots.keep(clone)
        kept = stock.snapshots.kept_as(clone)
    with stocked(noted, clone_url) as stock:
        assert rows_of(url_of(kept), PUPILS) == SEEDED
        forget()
        gone, used = prune(stock.snapshots)
        assert (len(gone), used) == (1, [])
    assert len(ours_at(clone_url, tmp_path)) == 1


# ---- commands -------------------------------------------------------------------------------------------


def run(capsys, *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_clone_prints_where_it_is_and_replaces_only_its_own(
    noted: Path, clone_url: str, tmp_path: Path, capsys
) -> None:
    name = name_of(clone_url, tmp_path, "mine")
    words = ("clone", name, str(noted), "--database-url", clone_url)

    code, out, err = run(capsys, *words)
    assert (code, rows_of(out.strip(), PUPILS)) == (0, SEEDED)
    assert "seeded" in err
    execute(out.strip(), "DELETE FROM pupils")
    forget()

    assert run(capsys, *words)[::2] == (4, run(capsys, *words)[2])
    assert "type --replace" in run(capsys, *words)[2]
    code, out, _ = run(capsys, *words, "--replace", "--json")
    told = read(out)
    assert (code, told["seeded"], told["rows"], told["environment"]) == (0, False, 5, "test")
    assert rows_of(told["url"], PUPILS) == SEEDED
    forget()


def test_of_several_that_hand_over_at_once_the_last_has_the_name(
    noted: Path, lonely_url: str, apart: Path, tmp_path: Path
) -> None:
    ready = Barrier(3)

    def hand_over(_: int) -> str:
        with stocked(noted, lonely_url) as stock:
            snapshot, _made = stock.snapshot()
            ready.wait(PATIENCE)
            return url_of(stock.snapshots.hand_over(snapshot, name, replace=True))

    name = f"{urlsplit(lonely_url).username}_x"
    with ThreadPoolExecutor(3) as threads:
        urls = {*threads.map(hand_over, range(3))}

    assert [rows_of(url, PUPILS) for url in urls] == [SEEDED]
    forget()
    assert len(ours_at(lonely_url, tmp_path)) == 2  # and the snapshot


@pytest.mark.slow  # PostgreSQL waits twice 5 s for them to go
def test_a_clone_that_other_roles_use_is_not_replaced(
    noted: Path, lonely_url: str, postgres_server, apart: Path, capsys
) -> None:
    name = f"{urlsplit(lonely_url).username}_used"
    words = ("clone", name, str(noted), "--database-url", lonely_url)
    assert run(capsys, *words)[0] == 0

    with psycopg.connect(postgres_server.database(name)):
        code, _, err = run(capsys, *words, "--replace")

    assert code == 4
    assert f"other users are connected to the database '{name}'" in err
    forget()


def test_a_cache_that_cannot_be_made_is_named(noted: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}/file")

    url = f"sqlite:///{tmp_path}/school.db"
    code, _, err = run(capsys, "clone", f"{tmp_path}/x.db", str(noted), "--database-url", url)

    assert code == 2
    assert "set XDG_CACHE_HOME to another folder" in err


def test_clone_leaves_what_is_not_its_own(noted: Path, clone_url: str, tmp_path: Path, capsys) -> None:
    execute(clone_url, "CREATE TABLE mine (x int)")
    forget()
    path = clone_url.removeprefix("sqlite:///")
    name = path if clone_url.startswith("sqlite") else clone_url.rpartition("//")[2].partition("@")[0]
    code, _, err = run(capsys, "clone", name, str(noted), "--database-url", clone_url, "--replace")

    assert code == 4
    assert "not a clone made by seedlab" in err
    assert rows_of(clone_url, "SELECT * FROM mine") == []
    forget()


@pytest.mark.slow
def test_snapshots_are_listed_and_pruned_but_not_those_in_use(
    noted: Path, clone_url: str, tmp_path: Path, capsys
) -> None:
    where = (str(noted), "--database-url", clone_url)
    assert run(capsys, "snapshots", "ls", *where)[:2] == (0, "no snapshots\n")
    for text in ("Hefa", "Haïfa"):
        write(noted, {"cities.csv": CITIES.replace("Haifa", text)})
        name = name_of(clone_url, tmp_path, text)
        assert run(capsys, "clone", name, *where)[0] == 0
    listed = read(run(capsys, "snapshots", "ls", *where, "--json")[1])["snapshots"]
    assert [(each["project"], each["environment"], each["rows"]) for each in listed] == [
        ("school", "test", 5)
    ] * 2
    clones = 0 if clone_url.startswith("sqlite") else 1
    assert [each["clones"] for each in listed] == [clones] * 2
    shown = run(capsys, "snapshots", "ls", *where)[1].splitlines()
    assert [line.split()[0] for line in shown] == ["name", *(each["name"] for each in listed)]

    with stocked(noted, clone_url) as stock:
        used, _ = stock.snapshot()
        told = read(run(capsys, "snapshots", "prune", *where, "--older-than", "0s", "--json")[1])
        assert told == {
            "dropped": [each["name"] for each in listed if each["name"] != used.name],
            "in_use": [used.name],
        }
    assert run(capsys, "snapshots", "prune", *where)[1] == "nothing to prune\n"
    assert run(capsys, "snapshots", "prune", *where, "--older-than", "1d")[1] == "nothing to prune\n"
    assert read(run(capsys, "snapshots", "prune", *where, "--older-than", "0s", "--json")[1])["dropped"] == [
        used.name
    ]


@pytest.mark.slow
def test_prune_leaves_the_newest_of_each_environment(noted: Path, clone_url: str, capsys) -> None:
    where = (str(noted), "--database-url", clone_url)
    for environment in ("test", "small"):
        with stocked(noted, clone_url, environment) as stock:
            stock.snapshot()
    assert run(capsys, "snapshots", "prune", *where)[1] == "nothing to prune\n"


@pytest.mark.parametrize("name", ["", "x" * 64, "seedlab_snapshot_x", "../x"])
def test_a_name_that_cannot_be_is_told(name: str, noted: Path, lonely_url: str, apart: Path, capsys) -> None:
    code, _, err = run(capsys, "clone", name, str(noted), "--database-url", lonely_url)

    assert code == 2
    assert "cannot be called" in err
    assert apart.read_text() == ""  # it was not seeded for that


@pytest.mark.slow  # PostgreSQL waits 5 s for them to go
def test_a_target_that_others_use_cannot_be_copied(lonely_url: str, tmp_path: Path) -> None:
    execute(lonely_url, TABLES)
    forget()
    write(tmp_path / "plain", {**FILES, "seedlab.toml": '[project]\nname = "plain"\n'})
    with stocked(tmp_path / "plain", lonely_url) as stock, psycopg.connect(lonely_url):
        with pytest.raises(Refused, match="other sessions are connected to the database"):
            stock.snapshot()
