"""What only PostgreSQL's ledger does: it is made once, by whoever may, and sees through the server's types."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import psycopg
import pytest

from seedlab.database.connect import open_session, parse_target
from seedlab.database.postgres import ledger_statements
from seedlab.errors import WriteError
from seedlab.flow import Memory, RowSet, Settings
from seedlab.insight.measuring.monitor import Monitor
from tests.support.ledgers import MEMO, Open, opener
from tests.support.school import SEED, STAGE
from tests.support.seeding import counted, execute, rows_of, seed, undo, write
from tests.support.waiting import until


@pytest.fixture
def opened(clean_postgres_url: str) -> Iterator[Open]:
    with opener(clean_postgres_url) as open_it:
        yield open_it


def with_setting(url: str, setting: str) -> str:
    """A URL whose sessions have a setting, as a role may."""
    value = setting.replace(" ", "\\ ")
    return f"{url}{'&' if '?' in url else '?'}options={quote(f'-c {value}')}"


# ---- the ledger itself ----------------------------------------------------------------------------------

ENSURING = """
import sys
from seedlab.database.postgres import ledger_statements
from seedlab.database.connect import open_session, parse_target
from seedlab.flow import Memory, RowSet, Settings
from seedlab.insight.measuring.monitor import Monitor

session = open_session(parse_target(sys.argv[1], "test"), Settings(), Monitor(), "test")
print("ready", flush=True)
sys.stdin.readline()
assert session.ledger.ensure()
"""


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_processes_that_make_the_ledger_at_the_same_moment_make_one(
    clean_postgres_url: str, isolation: str
) -> None:
    url = with_setting(clean_postgres_url, f"default_transaction_isolation={isolation}")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ENSURING, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for each in processes:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    with psycopg.connect(clean_postgres_url, autocommit=True) as gate:
        gate.execute(
            f"SELECT pg_advisory_lock({ledger_statements.CREATION})"
        )  # so that all of them wait, and then go at once
        for each in processes:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        waiting = f"SELECT count(*) FROM pg_locks WHERE objid = {ledger_statements.CREATION} AND NOT granted"
        until(lambda: gate.execute(waiting).fetchone() == (4,))
        gate.execute(f"SELECT pg_advisory_unlock({ledger_statements.CREATION})")

    codes = [(each.communicate(timeout=60), each.returncode)[1] for each in processes]

    assert codes == [0] * 4
    assert rows_of(clean_postgres_url, "SELECT version, generation FROM seedlab.ledger") == [(1, 0)]


def test_where_we_may_not_make_a_ledger_it_is_not_made(clean_postgres_url: str) -> None:
    with psycopg.connect(clean_postgres_url, autocommit=True) as owner:
        owner.execute("CREATE SCHEMA seedlab")
    read_only = with_setting(clean_postgres_url, "default_transaction_read_only=on")
    session = open_session(parse_target(read_only, "test"), Settings(), Monitor(), "test")

    made = session.ledger.ensure()
    session.close()

    assert made is False
    query = "SELECT count(*) FROM pg_class WHERE relnamespace = 'seedlab'::regnamespace"
    assert rows_of(clean_postgres_url, query) == [(0,)]


# ---- types ----------------------------------------------------------------------------------------------

POSTGRES_TYPES = [
    ("numeric", "1.0", "1.00"),
    ("numeric", "0", "NaN"),
    ("float8", "0", "-0"),
    ("float8", "0.1", "0.10000000000000002"),
    ("float4", "0", "-0"),
    ("text", "a", "a "),
    ("varchar(5)", "é", "e\u0301"),
    ("int2", "1", "-1"),
    ("int8", "0", "4294967297"),  # one for the server's hash, which folds halves
    ("timestamp", "2000-01-01", "2000-01-01 01:11:34.967297"),
    ("date", "2026-01-01", "infinity"),
    ("uuid", "00000000-0000-8000-8000-00000000000a", "00000000-0000-8000-8000-00000000000b"),
    ("char(3)", "a", "b"),
    ("interval", "1 day", "24 hours"),
    ("interval", "1 mon", "30 days"),
    ("jsonb", '{"a": 1.0}', '{"a": 1.00}'),
    ("json", '{"a":1}', '{"a": 1}'),
    ("numeric[]", "{1.0}", "{1.00}"),
    ("int[]", "{1}", "[0:0]={1}"),
    ("numrange", "[1.0,2)", "[1.00,2)"),
    ("bit(3)", "101", "100"),
    ("money", "1", "2"),
    ("tsvector", "a:1", "a:2"),
    ("point", "(1,2)", "(1,3)"),
    ("inet", "10.0.0.1/8", "10.0.0.1/9"),
    ("timetz", "12:00+00", "14:00+02"),
    ("timestamptz", "2026-01-01 00:00+00", "2026-01-01 00:00:00.000001+00"),
    ("bytea", "\\x00", "\\x0000"),
    ("mood", "sad", "glad"),
    ("price", "1.0", "1.00"),
    ("degrees", "0", "-0"),
    ("document", '{"a": 1.0}', '{"a": 1.00}'),
    ("pair", "(1,1.0)", "(1,1.00)"),
    ("bool", "true", "false"),
]
DEFINED = """
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE DOMAIN price AS numeric CHECK (value > 0);
CREATE DOMAIN degrees AS float8;
CREATE DOMAIN document AS jsonb;
CREATE TYPE pair AS (a int, b numeric);
CREATE TABLE things (id int PRIMARY KEY, value {});
"""


@pytest.mark.parametrize(("kind", "old", "new"), POSTGRES_TYPES)
def test_contents_see_values_that_the_server_calls_equal(opened: Open, kind: str, old: str, new: str) -> None:
    target = opened(DEFINED.format(kind))
    found = []
    for value in (old, new, None, old):
        literal = "NULL" if value is None else f"'{value}'"
        target.execute(f"DELETE FROM things; INSERT INTO things VALUES (1, {literal})")
        found.append(target.content("things"))

    assert len(set(found)) == 3
    assert found[0] == found[3]


def test_values_that_change_places_between_rows_are_seen_by_either_sum(opened: Open) -> None:
    target = opened(
        "CREATE TABLE pairs (id int PRIMARY KEY, a text, b text);"
        "INSERT INTO pairs VALUES (1, 'x', 'y'), (2, NULL, 'z')"
    )
    before = target.content("pairs")

    target.execute("UPDATE pairs SET a = (SELECT p.a FROM pairs p WHERE p.id <> pairs.id)")
    rows, xor, total = target.content("pairs")

    assert rows == before[0]
    assert xor != before[1]
    assert total != before[2]


def test_a_key_is_marked_by_the_value_that_its_type_makes_of_the_text(opened: Open) -> None:
    target = opened(
        "CREATE TABLE prices (day date, shop uuid, value numeric(6,2), PRIMARY KEY (day, shop));"
        "INSERT INTO prices VALUES ('2026-01-02', '00000000-0000-8000-8000-00000000000a', 1)"
    )
    shop = pl.Series([0x80008000_00000000000A], dtype=pl.UInt128)
    keys = pl.DataFrame({"day": ["20260102"], "shop": shop})
    state = target.state("prices")

    some, every = target.ledger.marks([RowSet(state=state, frame=keys), RowSet(state=state, frame=None)])

    assert len(every) == 16
    assert some == every


def test_tables_of_other_schemas_are_told_apart(opened: Open) -> None:
    target = opened(
        "CREATE SCHEMA billing; CREATE TABLE billing.cities (id int PRIMARY KEY, code text UNIQUE);"
        "CREATE TABLE cities (id int PRIMARY KEY, code text UNIQUE);"
        "INSERT INTO billing.cities VALUES (1, 'x')"
    )
    states = [target.state("cities"), target.state("billing.cities")]
    target.remember(MEMO, *states)

    target.execute("UPDATE billing.cities SET code = 'y'")

    assert {name: each.rows for name, each in target.read().tables.items()} == {
        "cities": 0,
        "billing.cities": 1,
    }
    assert target.ledger.drifted(states) == {"billing.cities"}


def test_contents_and_a_ledger_take_one_round_trip_each(opened: Open) -> None:
    target = opened()
    target.ledger.ensure()
    monitor = target.monitor
    counted = []
    for act in (
        lambda: target.ledger.contents([target.state()] * 3),
        lambda: (target.session.begin(), target.ledger.remember(MEMO, [target.state()])),
        lambda: target.ledger.recall("school", [("core", "cities", "cities")] * 3),
    ):
        before = monitor.counters
        act()
        after = monitor.counters
        counted.append((after.statements - before.statements, after.round_trips - before.round_trips))

    assert counted[0] == (2, 1)  # the first one limits how long the second waits for locks
    assert counted[1][1] == 1
    assert counted[2] == (3, 1)


def test_contents_are_hashed_by_several_processes_where_that_pays(opened: Open) -> None:
    target = opened()
    asked = ledger_statements.contents([(target.state(), target.catalog.tables["cities"])]).as_string()
    with psycopg.connect(target.url) as connection:
        for cost in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size"):
            connection.execute(f"SET {cost} = 0")
        plan = "\n".join(line for (line,) in connection.execute(f"EXPLAIN {asked}"))

    assert "Partial Aggregate" in plan


def test_a_ledger_that_is_there_but_not_ours_to_read_is_left_alone(clean_postgres_url: str) -> None:
    """A schema of that name without our tables: nothing is remembered, and one may be made."""
    execute(clean_postgres_url, "CREATE SCHEMA seedlab")
    with opener(clean_postgres_url) as open_it:
        target = open_it("")

        assert target.read() == Memory()
        target.remember()
        assert target.read().exists


def test_a_database_that_publishes_all_its_tables_is_seeded_again(
    clean_postgres_url: str, tmp_path: Path
) -> None:
    """As FOR ALL TABLES does, which only superusers may create: what has no replica identity cannot be updated."""
    url = clean_postgres_url
    execute(url, "CREATE TABLE cities (code text PRIMARY KEY, name text)")
    sync = STAGE.format("cities") + SEED.format("cities", "cities.csv") + 'mode = "sync"\n'
    folder = write(tmp_path / "project", {"seedlab.toml": sync, "cities.csv": "code,name\nhfa,Haifa\ntlv,\n"})
    seed(folder, url)
    names = (
        "SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables WHERE schemaname IN "
    )
    ((tables,),) = rows_of(url, f"{names} ('public', 'seedlab')")
    execute(url, f"CREATE PUBLICATION everything FOR TABLE {tables}")

    write(folder, {"cities.csv": "code,name\nhfa,\njlm,\n"})
    assert counted(seed(folder, url, max_delete="100%")) == (1, 1, 0)
    assert undo(folder, url).outcomes.deleted == 2


@pytest.mark.parametrize("commit", ["run", "stage"])
def test_a_target_that_only_reads_is_skipped_where_nothing_changed_and_else_says_so(
    clean_postgres_url: str, tmp_path: Path, commit: Any
) -> None:
    """As a standby does, or a role with default_transaction_read_only."""
    execute(clean_postgres_url, "CREATE TABLE cities (code text PRIMARY KEY, name text)")
    folder = write(tmp_path / "project", {"cities.csv": "code,name\nhfa,Haifa\n"})
    url = with_setting(clean_postgres_url, "default_transaction_read_only=on")
    with pytest.raises(WriteError, match="the target is read-only"):
        seed(folder, url, commit=commit)
    seed(folder, clean_postgres_url)

    assert seed(folder, url, commit=commit).stages[0].status == "skipped"
    write(folder, {"cities.csv": "code,name\nhfa,\n"})
    with pytest.raises(WriteError, match="seed the primary") as failed:
        seed(folder, url, commit=commit)
    assert failed.value.sqlstate == "25006"
    assert rows_of(clean_postgres_url, "SELECT name FROM cities") == [("Haifa",)]


def test_a_role_whose_server_quotes_all_names_seeds_and_finds_nothing_changed(
    clean_postgres_url: str, tmp_path: Path
) -> None:
    """With that setting the server spells types quoted, too: "uuid"."""
    url = with_setting(clean_postgres_url, "quote_all_identifiers=on")
    execute(url, "CREATE TABLE cities (id uuid PRIMARY KEY, code varchar(3) NOT NULL UNIQUE, name text)")
    folder = write(tmp_path / "project", {"cities.csv": "code,name\nhfa,Haifa\ntlv,\n"})

    assert counted(seed(folder, url)) == (2, 0, 0)
    assert counted(seed(folder, clean_postgres_url, force=True)) == (0, 0, 2)
    assert seed(folder, url).stages[0].status == "skipped"
