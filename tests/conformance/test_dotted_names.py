"""Names with dots, commas and quotes in them: what is printed for people is never read back as parts."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from seedlab.errors import DataFaults
from seedlab.flow import Level
from tests.fix_postgres import PostgresServer
from tests.support.asking import asking
from tests.support.seeding import counted, execute, rows_of, seed, write

# A type of the user's own, whose values are compared by its send function.
OWN_TYPE = """
CREATE SCHEMA "my.types"; SET search_path = "my.types"; CREATE TYPE "a.word";
CREATE FUNCTION "word.in"(cstring) RETURNS "a.word" LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION "word.out"("a.word") RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE FUNCTION "word.send"("a.word") RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS 'textsend';
CREATE TYPE "a.word" (INPUT = "word.in", OUTPUT = "word.out", SEND = "word.send", LIKE = text);
CREATE CAST ("a.word" AS text) WITHOUT FUNCTION AS IMPLICIT;
SET search_path = public; CREATE TABLE things (code text PRIMARY KEY, v "my.types"."a.word");
"""


@pytest.mark.parametrize("level", ["incremental", "legacy"])
def test_a_send_function_in_a_schema_with_a_dot_is_found(
    level: Level, tmp_path: Path, postgres_url: str, postgres_server: PostgresServer
) -> None:
    if postgres_server.superuser_url is None:
        pytest.skip("the server given lets us make no type")
    with asking(postgres_url) as connection:
        name, user = connection.info.dbname, connection.info.user
    with psycopg.connect(postgres_server.superuser_url, dbname=name, autocommit=True) as admin:
        admin.execute(OWN_TYPE)
        for what in ("SCHEMA {}", "ALL TABLES IN SCHEMA public"):
            grant = sql.SQL(f"GRANT ALL ON {what.format('public')} TO {{}}")
            admin.execute(grant.format(sql.Identifier(user)))
        admin.execute(sql.SQL('GRANT USAGE ON SCHEMA "my.types" TO {}').format(sql.Identifier(user)))
    folder = write(tmp_path, {"things.csv": "code,v\na,1\nb,2\n"})

    assert counted(seed(folder, postgres_url, level)) == (2, 0, 0)
    write(tmp_path, {"things.csv": "code,v\na,1\nb,3\n"})
    assert counted(seed(folder, postgres_url, level, force=True)) == (0, 1, 1)


def test_a_unique_value_of_a_column_with_a_dot_is_named_as_the_column(
    tmp_path: Path, sqlite_url: str
) -> None:
    execute(
        sqlite_url,
        'CREATE TABLE "t, u.v" (code text PRIMARY KEY, "a.b" int, "c, d" int, UNIQUE ("a.b", "c, d"));'
        """INSERT INTO "t, u.v" VALUES ('old', 1, 2)""",
    )
    folder = write(
        tmp_path,
        {
            "t, u.v.csv": 'code,a.b,"c, d"\nnew,1,2\n',
        },
    )

    with pytest.raises(DataFaults) as failed:
        seed(folder, sqlite_url)

    (fault,) = failed.value.faults
    assert fault.message.startswith("(a.b, c, d) of table t, u.v must be unique")
    assert fault.column == "a.b, c, d"


@pytest.mark.parametrize("level", ["incremental", "bulk", "legacy"])
def test_columns_may_have_the_names_of_sqlites_row_ids_and_of_ours(
    level: Level, tmp_path: Path, sqlite_url: str
) -> None:
    execute(
        sqlite_url,
        "CREATE TABLE t (code text PRIMARY KEY, _rowid_ int, rowid int, oid int REFERENCES t2 (_rowid_), "
        "seedlab_id int, seedlab_state int);"
        "CREATE TABLE t2 (_rowid_ int PRIMARY KEY); INSERT INTO t2 VALUES (900);"
        "INSERT INTO t VALUES ('old', -7, -8, 900, 1, 1), ('b', 1, 1, NULL, 1, 1)",
    )
    folder = write(
        tmp_path,
        {
            "t.csv": "code,_rowid_,rowid,oid,seedlab_id,seedlab_state\na,700,800,900,8,3\nb,-1,-2,,8,3\nc,701,801,,8,3\n"
        },
    )

    assert counted(seed(folder, sqlite_url, level)) == (2, 1, 0)
    assert counted(seed(folder, sqlite_url, level, force=True)) == (0, 0, 3)

    held = rows_of(sqlite_url, "SELECT code, _rowid_, rowid, oid FROM t WHERE seedlab_id = 8 ORDER BY code")
    assert held == [("a", 700, 800, 900), ("b", -1, -2, None), ("c", 701, 801, None)]
