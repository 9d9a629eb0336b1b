"""What one dialect alone has: PostgreSQL's types, schemas and kinds of tables; what SQLite takes anywhere."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from seedlab.errors import ConfigurationError, ConnectionFailed
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.project import load_project
from tests.asking import asking
from tests.exporting import export, round_trip, texts
from tests.seeding import execute, rows_of, seed, stored

TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN grade AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE TYPE point2 AS (x int, y text);
CREATE TABLE things (
  code text PRIMARY KEY, small smallint, big bigint, n numeric, n2 numeric(12,4), f4 real, f8 double precision,
  b boolean, c char(5), v varchar(9), bin bytea, d date, t time, tz timetz, ts timestamp, tstz timestamptz,
  i interval, u uuid, j json, jb jsonb, texts text[], grid int[][], m mood, g grade, p point2, r int4range,
  mr int4multirange, ip inet, net cidr, mac macaddr, bits bit varying, cash money, ts_v tsvector,
  twice int GENERATED ALWAYS AS (small * 2) STORED
);
"""
THINGS = r"""
INSERT INTO things VALUES
 ('max', 32767, 9223372036854775807, 12345678901234567890.12345678901234567890, 1.5000, 1e-45, 1.7976931348623157e308,
  true, 'ab', '', '\x00ff5c', '9999-12-31', '23:59:59.999999', '10:00:00+02', '1999-12-31 23:59:59.999999',
  '2024-03-31 02:30:00+02', '-1 year 2 days -03:04:05.6', '6b3f4b1e-0000-4000-8000-000000000001',
  '{"b": 1.10,  "a":[1, 2]}', '{"n": 1.10, "s": "x\"y\\z\n"}', ARRAY['a,b', NULL, '', 'NULL', '"q"', E'\n\\'],
  ARRAY[[1,2],[3,4]], 'happy', 100, ROW(1, 'a,"b'), '[1,5)', '{[1,3),[5,)}', '10.0.0.1/24', '10.0.0.0/8',
  '08:00:2b:01:02:03', B'0101', 12.34, 'fat:1A rat'),
 ('nan', -32768, 0, 'NaN', 0, 'NaN', '-Infinity', false, NULL, NULL, '', 'infinity', '24:00:00', NULL, 'infinity',
  '-infinity', '00:00:00', NULL, 'null', 'null', '{}', '{}', 'sad', 0, ROW(NULL, NULL), 'empty', '{}', '::1', NULL,
  NULL, NULL, 0, ''),
 ('old', NULL, NULL, 'Infinity', NULL, 0.1, 0.1, NULL, ' x', ' ', '\x', '0044-03-15 BC', NULL, NULL, NULL,
  '0044-03-15 10:00:00+00 BC', NULL, NULL, '[]', '"a"', '{NULL}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL);
"""


def test_every_type_is_as_it_was(clean_postgres_url: str, tmp_path: Path) -> None:
    execute(clean_postgres_url, TYPES)
    execute(clean_postgres_url, THINGS)

    round_trip(
        clean_postgres_url,
        TYPES.partition("CREATE TABLE")[0] + TYPES[TYPES.index("CREATE TABLE") :],
        tmp_path / "out",
    )


def test_spellings_do_not_depend_on_the_database(clean_postgres_url: str, tmp_path: Path) -> None:
    url = clean_postgres_url
    execute(url, TYPES)
    execute(url, THINGS)
    export(url, tmp_path / "usual")
    name = rows_of(url, "SELECT current_database()")[0][0]
    odd = {
        "timezone": "'Asia/Kolkata'", "datestyle": "'German, DMY'", "intervalstyle": "'sql_standard'",
        "extra_float_digits": "0", "bytea_output": "'escape'",
    }  # fmt: skip
    for setting, value in odd.items():
        execute(url, f'ALTER DATABASE "{name}" SET {setting} = {value}')
    try:
        export(url, tmp_path / "odd")
    finally:
        execute(url, f'ALTER DATABASE "{name}" RESET ALL')
        execute(url, f'ALTER DATABASE "{name}" SET search_path = public')

    assert texts(tmp_path / "odd") == texts(tmp_path / "usual")


KINDS = """
CREATE SCHEMA billing;
CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL UNIQUE);
CREATE TABLE billing.invoices (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number text NOT NULL UNIQUE, user_id int REFERENCES users
);
CREATE TABLE billing.users (code text PRIMARY KEY, invoice_id bigint REFERENCES billing.invoices);
CREATE TABLE events (day date NOT NULL, n int NOT NULL, user_id int REFERENCES users, PRIMARY KEY (day, n))
  PARTITION BY RANGE (day);
CREATE TABLE events_old PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
CREATE TABLE events_new PARTITION OF events DEFAULT;
CREATE TABLE animals (name text PRIMARY KEY);
CREATE TABLE dogs (tricks int, PRIMARY KEY (name)) INHERITS (animals);
CREATE VIEW emails AS SELECT email FROM users;
CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM users;
CREATE TABLE "User" (code text PRIMARY KEY);
CREATE TABLE "user" (code text PRIMARY KEY);
"""
KIND_ROWS = """
INSERT INTO users (email) VALUES ('b'), ('a');
INSERT INTO billing.invoices (number, user_id) VALUES ('1', 2), ('2', NULL);
INSERT INTO billing.users VALUES ('x', 1);
INSERT INTO events VALUES ('2023-05-05', 1, 2), ('2024-05-05', 1, NULL);
INSERT INTO animals VALUES ('cat'); INSERT INTO dogs VALUES ('rex', 3);
INSERT INTO "User" VALUES ('U'); INSERT INTO "user" VALUES ('u');
"""


@pytest.mark.parametrize("with_ids", [False, True])
def test_tables_of_every_kind_and_schema(clean_postgres_url: str, tmp_path: Path, *, with_ids: bool) -> None:
    execute(clean_postgres_url, KINDS)
    execute(clean_postgres_url, KIND_ROWS)

    execute(clean_postgres_url, "REFRESH MATERIALIZED VIEW counts")
    made = export(clean_postgres_url, tmp_path / "out", with_ids=with_ids)

    assert {each.table: each.rows for each in made.tables} == {
        "users": 2, "billing.invoices": 2, "billing.users": 1, "events": 2, "animals": 1, "dogs": 1,
        "User": 1, "user": 1,
    }  # fmt: skip
    assert {each.file for each in made.tables} >= {"billing.users.csv", "User.csv", "user-2.csv"}
    exact = stored(clean_postgres_url)
    execute(
        clean_postgres_url,
        'TRUNCATE users, billing.invoices, billing.users, events, animals, dogs, "User", "user"',
    )
    assert seed(tmp_path / "out", clean_postgres_url).outcomes.created == made.rows
    execute(clean_postgres_url, "REFRESH MATERIALIZED VIEW counts")
    if with_ids:
        assert stored(clean_postgres_url) == exact
        execute(
            clean_postgres_url, "INSERT INTO users (email) VALUES ('next')"
        )  # the sequence is behind its rows


def test_what_others_keep_is_left_out_and_told(clean_database_url: str, tmp_path: Path) -> None:
    url = clean_database_url
    execute(
        url,
        """
        CREATE TABLE alembic_version (version_num text PRIMARY KEY); INSERT INTO alembic_version VALUES ('a1');
        CREATE TABLE twins (a int NOT NULL, b int); INSERT INTO twins VALUES (1, 1), (1, 1);
        CREATE TABLE odd (_row int PRIMARY KEY); INSERT INTO odd VALUES (1);
        CREATE TABLE none (id int PRIMARY KEY);
        CREATE TABLE users (id SERIAL KEY, name text NOT NULL UNIQUE); INSERT INTO users (name) VALUES ('a');
        CREATE TABLE posts (code text PRIMARY KEY, user_id int REFERENCES users, owner_id int);
        INSERT INTO posts VALUES ('p', 1, 5);
        """,
    )
    (tmp_path / "seeded").mkdir()
    (tmp_path / "seeded" / "users.csv").write_text("name\nb\n")
    seed(tmp_path / "seeded", url)  # the ledger is nobody's table

    made = export(url, tmp_path / "out")

    assert {each.table for each in made.tables} == {"users", "posts"}
    assert (dict(made.left_out), made.empty) == (
        {
            "alembic_version": "belongs to a migration tool",
            "odd": "has a column _row, a name that seedlab keeps for itself",
            "twins": "no key tells its rows apart",
        },
        ("none",),
    )
    assert made.notes == (
        "no foreign key says what posts.owner_id refers to: if that is an id that is left out, export --with-ids",
    )
    alone = export(url, tmp_path / "alone", tables=("posts", "alembic_*"))
    assert {each.table for each in alone.tables} == {"posts", "alembic_version"}
    assert alone.notes == (
        "users is left out, and posts refers to it: these rows can be seeded only where its rows are",
    )
    with pytest.raises(ConfigurationError, match=r"no table is called 'post' .*did you mean 'posts'"):
        export(url, tmp_path / "none", exclude=("post",))


def test_an_export_is_private_new_and_names_no_password(clean_database_url: str, tmp_path: Path) -> None:
    url = clean_database_url
    execute(url, "CREATE TABLE t (code text PRIMARY KEY); INSERT INTO t VALUES ('a');")
    out = tmp_path / "out"
    secret = url.replace("seedlab@", "seedlab:s3cret@")

    export(secret, out)

    assert stat.S_IMODE((out / "t.csv").stat().st_mode) == 0o600
    assert "s3cret" not in (out / "seedlab.toml").read_text()
    assert load_project(out).name == "out"
    with pytest.raises(ConfigurationError, match="not written over"):
        export(url, out)
    assert {path.name for path in tmp_path.iterdir()} <= {"out", "test.db"}


def test_reading_writes_nothing_and_asks_a_known_number_of_questions(lonely_url: str, tmp_path: Path) -> None:
    url = lonely_url
    tables = " ".join(
        f"CREATE TABLE t{n} (code text PRIMARY KEY); INSERT INTO t{n} VALUES ('a');" for n in range(9)
    )
    execute(url, tables)
    name = rows_of(url, "SELECT current_database()")[0][0]
    execute(url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    few, many = Monitor(), Monitor()

    export(url, tmp_path / "few", few, tables=("t1",))
    export(url, tmp_path / "many", many)

    assert many.counters.statements - few.counters.statements == 8
    assert (few.counters.statements, few.counters.round_trips) == (20, 5)


def test_a_table_that_may_not_be_read_is_named(lonely_url: str, tmp_path: Path) -> None:
    with asking(lonely_url) as owner:
        owner.execute("CREATE TABLE secrets (code text PRIMARY KEY)")
        owner.execute("CREATE TABLE open (code text PRIMARY KEY)")
        owner.execute("INSERT INTO open VALUES ('a')")
        owner.execute("REVOKE ALL ON secrets FROM CURRENT_USER")

    with pytest.raises(ConfigurationError, match=r"secrets.*--exclude-table"):
        export(lonely_url, tmp_path / "out")

    assert export(lonely_url, tmp_path / "out", exclude=("secrets",)).rows == 1


def test_sqlite_values_that_are_not_what_their_column_says_are_told(sqlite_url: str, tmp_path: Path) -> None:
    execute(
        sqlite_url,
        """
        CREATE TABLE t (
          code text PRIMARY KEY, n int, b boolean, ts timestamp, tz timestamptz, x numeric, raw bytea, f real
        );
        INSERT INTO t VALUES
          ('ok', 1, 1, '2024-01-01 10:00:00.000000', '2024-01-01 10:00:00.000000', 1.5, x'00ff', 0.1),
          ('null', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
          ('odd', 'word', 2, '2024-01-01T10:00', '2024-01-01T10:00:00Z', 'many', 'text', 1e300);
        """,
    )

    made = export(sqlite_url, tmp_path / "out")

    assert texts(tmp_path / "out")["t.csv"].splitlines()[3] == (
        "ok,1,true,2024-01-01 10:00:00.000000,2024-01-01 10:00:00.000000+00:00,1.5,\\x00ff,0.1"
    )
    assert [note.partition(" ")[0] for note in made.notes] == [
        "t.b:",
        "t.n:",
        "t.raw:",
        "t.ts:",
        "t.tz:",
        "t.x:",
    ]


def test_an_sqlite_file_that_is_not_there_is_not_made(sqlite_url: str, tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailed, match="no such file"):
        export(sqlite_url, tmp_path / "out")

    assert list(tmp_path.iterdir()) == []
