"""Awkward schemas, seeded with no configuration by the owner of the tables: right at first, then left alone."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from seedlab import orchestrator
from seedlab.database import connect
from seedlab.flow import Options, Settings
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.choices import ENVIRONMENTS
from seedlab.plan.project import load_project
from tests.awkward import (
    Answers,
    Schema,
    constraints,
    ids,
    keyless,
    keys,
    lite,
    more,
    names,
    relations,
    samples,
)
from tests.fix_clean import clean
from tests.fix_postgres import PostgresServer
from tests.support.asking import asking
from tests.support.cases import some
from tests.support.seeding import counted, dump, execute, rows_of, seed, write

FAMILIES = (keys, ids, names, keyless, constraints, relations, samples, more)
SCHEMAS = [schema for family in FAMILIES for schema in family.ALL]
# With these all tables are written and compared in other ways.
WAYS: dict[str, dict[str, Any]] = {"usual": {}, "rows": {"level": "legacy"}, "sets": {"disabled": ["copy"]}}
# One of each kind of trouble, for who wants an answer at once.
QUICK = (
    "composite-and-overlapping",
    "circle-of-3-serial",
    "keys-beyond-the-calendar",
    "identity-always-ids-made",
    "sequence-of-two-tables",
    "generated-columns-in-the-file",
    "several-schemas",
    "no-key-and-equal-rows",
    "unique-indexes-of-every-kind",
    "constraints-that-are-not-valid",
    "triggers",
    "partitions-of-every-kind",
    "tables-that-inherit",
    "one-column-and-none",
)

TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2
"""


def places(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Where each row of each table lies, and which transaction wrote it: whoever writes changes that."""
    with asking(url) as connection:
        ask = sql.SQL("SELECT ctid::text, xmin::text FROM ONLY {} ORDER BY 1")
        return {
            f"{schema}.{name}": connection.execute(ask.format(sql.Identifier(schema, name))).fetchall()
            for schema, name in connection.execute(TABLES).fetchall()
        }


def planned(folder: Path, url: str) -> tuple[int, int]:
    """What a plan says of rows to be created and updated."""
    options = Options(environment=ENVIRONMENTS["development"], settings=Settings())
    target = connect.parse_target(url, "--database-url")
    outcomes = orchestrator.plan(load_project(folder), target, options, Monitor()).outcomes
    return outcomes.created, outcomes.updated


def check(url: str, answers: Answers) -> None:
    for query, expected in answers.items():
        assert rows_of(url, query) == expected, query


@pytest.mark.parametrize("way", some(WAYS, "usual"))
@pytest.mark.parametrize("schema", some(SCHEMAS, *QUICK))
def test_the_files_are_brought_once_and_then_only_what_changes(
    schema: Schema, tmp_path: Path, clean_postgres_url: str, way: str
) -> None:
    bring(schema, tmp_path, clean_postgres_url, way)


@pytest.mark.slow
@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_the_systems_own_server_is_brought_the_same(
    schema: Schema, tmp_path: Path, able_postgres_url: str
) -> None:
    """Ways of writing and servers do not know of each other: no need to cross them all."""
    bring(schema, tmp_path, able_postgres_url, "usual")


def bring(schema: Schema, tmp_path: Path, url: str, way: str) -> None:
    folder = write(tmp_path, schema.files)
    with asking(url) as connection:
        if connection.info.server_version < schema.needs * 10_000:
            pytest.skip(f"needs PostgreSQL {schema.needs}, and this server is older")
        connection.execute(schema.ddl)
    follow(schema, folder, url, way)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_keys_may_ignore_case(tmp_path: Path, able_postgres_url: str, way: str) -> None:
    execute(able_postgres_url, more.FOLDED.ddl)

    follow(more.FOLDED, write(tmp_path, more.FOLDED.files), able_postgres_url, way)


def follow(schema: Schema, folder: Path, url: str, way: str) -> None:
    """Seed, seed again, change a file and seed, go on as an application; all is as the schema says."""
    options = WAYS[way]
    new, same = (schema.rows - schema.found, 0, schema.found), (0, 0, schema.rows)

    assert planned(folder, url) == new[:2]
    assert counted(seed(folder, url, **options)) == new
    check(url, schema.holds)

    before = places(url)
    assert planned(folder, url) == (0, 0)
    assert counted(seed(folder, url, **options)) == same
    assert way == "rows" or places(url) == before  # row by row, all is compared, and the ledger written
    assert counted(seed(folder, url, force=True, **options)) == same
    mine = [name for name in before if not name.startswith("seedlab.")]
    after = places(url)
    assert {name: after[name] for name in mine} == {name: before[name] for name in mine}

    if schema.change:
        write(folder, schema.change)
        assert planned(folder, url) == schema.after_change[:2]
        assert counted(seed(folder, url, **options)) == schema.after_change
        check(url, schema.held)
    if schema.insert:
        with asking(url) as connection:
            connection.execute(schema.insert)
        check(url, schema.inserted)


# ---- SQLite ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", some(WAYS, "usual"))
@pytest.mark.parametrize("schema", lite.ALL, ids=str)
def test_sqlite_holds_the_files_and_then_only_what_changes(
    schema: Schema, tmp_path: Path, sqlite_url: str, way: str
) -> None:
    url, options, folder = sqlite_url, WAYS[way], write(tmp_path / "data", schema.files)
    file = Path(url.removeprefix("sqlite:///"))
    execute(url, schema.ddl)
    new, same = (schema.rows - schema.found, 0, schema.found), (0, 0, schema.rows)

    assert planned(folder, url) == new[:2]
    assert counted(seed(folder, url, **options)) == new
    check(url, schema.holds)

    before, held = file.read_bytes(), dump(url)
    assert planned(folder, url) == (0, 0)
    assert counted(seed(folder, url, **options)) == same
    assert way == "rows" or file.read_bytes() == before
    assert counted(seed(folder, url, force=True, **options)) == same
    assert dump(url) == held

    write(folder, schema.change)
    assert planned(folder, url) == schema.after_change[:2]
    assert counted(seed(folder, url, **options)) == schema.after_change
    check(url, schema.held)
    execute(url, schema.insert)
    check(url, schema.inserted)


# ---- by somebody who does not own the tables ------------------------------------------------------------

GRANTS = """
DO $$ DECLARE s text; BEGIN
  FOR s IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO {role}', s);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA %I TO {role}', s);
    EXECUTE format('GRANT SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA %I TO {role}', s);
  END LOOP;
END $$
"""
OWNED = {schema.name for schema in relations.ALL if "POLICY" in schema.ddl}  # policies hide all from others


@pytest.fixture(scope="module")
def guest(postgres_server: PostgresServer) -> Iterator[str]:
    """A role that owns nothing."""
    if postgres_server.superuser_url is None:
        pytest.skip("the server given lets us make no role")
    role = f"guest_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server.superuser_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN")
        yield role
        admin.execute(f"DROP ROLE {role}")


@pytest.mark.slow
@pytest.mark.parametrize("schema", [each for each in SCHEMAS if each.name not in OWNED], ids=str)
def test_rights_on_the_rows_are_enough(
    schema: Schema, tmp_path: Path, clean_postgres_url: str, guest: str
) -> None:
    url, folder = clean_postgres_url, write(tmp_path, schema.files)
    with asking(url) as connection:
        if connection.info.server_version < schema.needs * 10_000:
            pytest.skip(f"needs PostgreSQL {schema.needs}, and this server is older")
        connection.execute(schema.ddl)
        connection.execute(GRANTS.format(role=guest))
    theirs = url.replace("seedlab@", f"{guest}@", 1)

    first = seed(folder, theirs)
    check(url, schema.holds)
    before = places(url)
    second = seed(folder, theirs)
    after = places(url)
    write(folder, schema.change)
    third = seed(folder, theirs) if schema.change else None
    check(url, schema.held)
    clean(url)  # what is granted to a role keeps it from being dropped

    assert counted(first) == (schema.rows - schema.found, 0, schema.found)
    assert counted(second) == (0, 0, schema.rows)
    assert before == after
    assert third is None or counted(third) == schema.after_change
