"""What cannot be seeded is refused before anything is written, and said in words that help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from seedlab.cli import main
from seedlab.errors import ConfigurationError, DataFaults, WriteError
from seedlab.flow import Level
from tests.fix_postgres import PostgresServer
from tests.support.asking import asking
from tests.support.exporting import export
from tests.support.seeding import counted, dump, execute, rows_of, seed, write

RELATIONS = {
    "a view,": "CREATE VIEW things AS SELECT 1 AS id, 'a'::text AS v",
    "a view, which": "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE VIEW things AS SELECT * FROM t",
    "a materialized view": "CREATE MATERIALIZED VIEW things AS SELECT 1 AS id, 'a'::text AS v",
    "a partition of t:": "CREATE TABLE t (id int, v text) PARTITION BY LIST (id);"
    "CREATE TABLE things PARTITION OF t DEFAULT",
}
LITE = {
    "a view": "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE VIEW things AS SELECT * FROM t",
    "a virtual table": "CREATE VIRTUAL TABLE things USING fts5(id, v)",
}


def refused(folder: Path, url: str, relation: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, {"things.csv": "id,v\n1,a\n"})
    for command in ("seed", "plan"):
        assert (
            main([command, str(folder), "--database-url", url, "--reports", str(folder.parent / "reports")])
            == 2
        )
        told = capsys.readouterr().err
        assert "things.csv" in told
        assert f"things is {relation}" in told


@pytest.mark.parametrize("relation", RELATIONS)
def test_what_is_no_table_is_refused(
    relation: str, tmp_path: Path, clean_postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with asking(clean_postgres_url) as connection:
        connection.execute(RELATIONS[relation])

    refused(tmp_path, clean_postgres_url, relation, capsys)


RULES = {
    "a rule (elsewhere)": "CREATE RULE elsewhere AS ON INSERT TO things WHERE NEW.v = 'a' DO INSTEAD INSERT INTO others VALUES (NEW.id)",
    "rules (kept, told)": "CREATE RULE told AS ON UPDATE TO things DO ALSO INSERT INTO others VALUES (NEW.id);"
    "CREATE RULE kept AS ON DELETE TO things DO INSTEAD NOTHING",
}  # fmt: skip
THINGS = "CREATE TABLE others (id int); CREATE TABLE things (id int PRIMARY KEY, v text);"


@pytest.mark.parametrize("level", ["incremental", "legacy"])
@pytest.mark.parametrize("rules", RULES)
def test_a_table_whose_rules_a_copy_would_not_see_is_refused_until_they_are_off(
    rules: str, level: Level, tmp_path: Path, clean_postgres_url: str
) -> None:
    execute(clean_postgres_url, THINGS + RULES[rules])
    folder = write(tmp_path, {"things.csv": "id,v\n1,a\n2,b\n"})

    with pytest.raises(ConfigurationError, match=re.escape(f"things.csv: things has {rules}: ")):
        seed(folder, clean_postgres_url, level)

    assert rows_of(clean_postgres_url, "SELECT id FROM others UNION SELECT id FROM things") == []
    names = rules.partition("(")[2].rstrip(")").split(", ")
    execute(clean_postgres_url, ";".join(f"ALTER TABLE things DISABLE RULE {name}" for name in names))
    assert counted(seed(folder, clean_postgres_url, level)) == (2, 0, 0)
    execute(clean_postgres_url, ";".join(f"ALTER TABLE things ENABLE RULE {name}" for name in names))
    with pytest.raises(ConfigurationError, match=r"things has (a rule|rules) "):
        seed(folder, clean_postgres_url, level, force=True)


def test_a_table_with_rules_is_left_out_of_an_export(tmp_path: Path, clean_postgres_url: str) -> None:
    execute(
        clean_postgres_url,
        f"{THINGS} INSERT INTO things VALUES (1, 'b'); INSERT INTO others VALUES (1);"
        + RULES["a rule (elsewhere)"],
    )

    made = export(clean_postgres_url, tmp_path / "out")

    assert [each.table for each in made.tables] == ["others"]
    assert dict(made.left_out) == {"things": "has a rule (elsewhere), for which a seed would refuse it"}


@pytest.mark.parametrize("relation", LITE)
def test_what_is_no_table_is_refused_in_sqlite(
    relation: str, tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(sqlite_url, LITE[relation])

    refused(tmp_path, sqlite_url, relation, capsys)


def test_broken_views_and_virtual_tables_of_missing_modules_are_in_nobodys_way(
    tmp_path: Path, sqlite_url: str
) -> None:
    execute(
        sqlite_url,
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE VIEW broken AS SELECT * FROM gone;"
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema "
        "VALUES ('table', 'strange', 'strange', 0, 'CREATE VIRTUAL TABLE strange USING gone(x)')",
    )
    write(tmp_path, {"t.csv": "id,v\n1,a\n"})

    assert counted(seed(tmp_path, sqlite_url)) == (1, 0, 0)
    assert counted(seed(tmp_path, sqlite_url)) == (0, 0, 1)


@pytest.fixture
def foreign_url(clean_postgres_url: str, postgres_server: PostgresServer) -> Iterator[str]:
    """A database with a table that lies on another server, nobody knows where."""
    if postgres_server.superuser_url is None:
        pytest.skip("the server given lets us make no foreign data wrapper")
    path = urlsplit(clean_postgres_url).path
    admin_url = urlsplit(postgres_server.superuser_url)._replace(path=path).geturl()
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(
            "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing"
        )
        admin.execute("CREATE FOREIGN TABLE things (id int, v text) SERVER nowhere")
        yield clean_postgres_url
        admin.execute("DROP FOREIGN DATA WRAPPER nothing CASCADE")


def test_a_foreign_table_is_refused(
    tmp_path: Path, foreign_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(tmp_path, foreign_url, "a foreign table", capsys)


# ---- parents named by what is no value of their key ----------------------------------------------------

UNREADABLE = {  # type, what is one of its values, what is none, the server's version from which it is told
    "enum": ("mood", "sad", "bad", 150_000),
    "domain": ("email", "a@b", "ab", 150_000),
    "inet": ("inet", "10.0.0.1", "10.0.0", 160_000),
    "range": ("int4range", "[1,3)", "[z,3)", 160_000),
    "array": ("int[]", "{1,2}", "1,2", 160_000),
}
TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN email AS text CHECK (VALUE ~ '@');
"""


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_parent_named_by_no_value_of_its_key_is_told_with_its_line(
    kind: str, tmp_path: Path, clean_postgres_url: str
) -> None:
    url = clean_postgres_url
    spelling, good, bad, since = UNREADABLE[kind]
    if rows_of(url, f"SELECT current_setting('server_version_num')::int < {since}") == [(True,)]:
        pytest.skip("the server cannot be asked whether a text is a value")
    execute(
        url,
        f"{TYPES} CREATE TABLE parents (k {spelling} PRIMARY KEY); INSERT INTO parents VALUES ('{good}');"
        f"CREATE TABLE things (id int PRIMARY KEY, k {spelling} REFERENCES parents, n int)",
    )
    write(tmp_path, {"things.csv": f'id,k,n\n1,"{good}",1\n2,"{bad}",1\n3,"{good}",x\n'})

    with pytest.raises(DataFaults) as caught:
        seed(tmp_path, url)

    told = [(each.file, each.line, each.column, each.rule) for each in caught.value.faults]
    assert told == [("things.csv", 3, "k", "type"), ("things.csv", 4, "n", "type")]


def test_a_parent_that_is_missing_and_another_fault_of_its_key_are_two_causes(
    tmp_path: Path, clean_postgres_url: str
) -> None:
    """One row twice, of a parent that nobody has."""
    execute(
        clean_postgres_url,
        f"{TYPES} CREATE TABLE parents (k mood PRIMARY KEY);"
        "CREATE TABLE things (k mood PRIMARY KEY REFERENCES parents, n int)",
    )
    write(tmp_path, {"things.csv": "k,n\nsad,1\nsad,2\nbad,3\n"})

    with pytest.raises(DataFaults) as caught:
        seed(tmp_path, clean_postgres_url)

    assert [(each.line, each.rule) for each in caught.value.faults] == [
        (2, "missing-parent"),
        (3, "duplicate-key"),
        (3, "missing-parent"),
        (4, "type"),
    ]


# ---- unique constraints over parents --------------------------------------------------------------------

RANKED = """
CREATE TABLE shops (id int PRIMARY KEY, country text NOT NULL, code text NOT NULL, UNIQUE (country, code));
CREATE TABLE goods (sku text PRIMARY KEY, shop_id int REFERENCES shops, place int, UNIQUE (shop_id, place));
"""
SHOPS = "id,country,code\n1,no,a\n2,no,b\n"


@pytest.mark.parametrize("level", ["legacy", "incremental"])
def test_rows_that_are_alike_by_their_parents_are_told_with_their_lines(
    tmp_path: Path, clean_database_url: str, level: Level
) -> None:
    execute(clean_database_url, RANKED)
    goods = "sku,shop.country,shop.code,place\nx,no,a,1\ny,no,b,1\nz,no,a,1\nv,no,a,\nw,no,a,\nu,,,1\nt,,,1\n"
    write(tmp_path, {"shops.csv": SHOPS, "goods.csv": goods})

    with pytest.raises(DataFaults) as caught:
        seed(tmp_path, clean_database_url, level)

    assert [(each.file, each.line, each.rule) for each in caught.value.faults] == [("goods.csv", 4, "unique")]
    assert "first at line 2" in caught.value.faults[0].message
    write(tmp_path, {"goods.csv": goods.replace("z,no,a,1", "z,no,a,2")})
    assert counted(seed(tmp_path, clean_database_url, level)) == (9, 0, 0)


@pytest.mark.parametrize("level", ["legacy", "bulk", "incremental"])
def test_a_value_that_a_row_of_the_application_has_is_told_with_its_line(
    tmp_path: Path, clean_database_url: str, level: Level
) -> None:
    url = clean_database_url
    execute(url, RANKED + "INSERT INTO shops VALUES (1, 'no', 'a'); INSERT INTO goods VALUES ('app', 1, 7)")
    execute(url, "INSERT INTO goods VALUES ('x', 1, 3), ('free', 1, NULL)")
    goods = "sku,shop.country,shop.code,place\nx,no,a,3\ny,no,b,7\nz,no,a,7\nv,no,a,\n"
    write(tmp_path, {"shops.csv": SHOPS, "goods.csv": goods})
    before = dump(url)

    with pytest.raises(DataFaults) as caught:
        seed(tmp_path, url, level)

    assert [(each.file, each.line, each.rule) for each in caught.value.faults] == [("goods.csv", 4, "unique")]
    assert dump(url) == before


@pytest.mark.parametrize("level", ["bulk", "incremental"])
def test_rows_that_swap_a_unique_value_are_told_as_that(
    tmp_path: Path, clean_database_url: str, level: Level
) -> None:
    execute(clean_database_url, "CREATE TABLE seats (id int PRIMARY KEY, place int NOT NULL UNIQUE)")
    seed(write(tmp_path, {"seats.csv": "id,place\n1,1\n2,2\n"}), clean_database_url, level)
    write(tmp_path, {"seats.csv": "id,place\n1,2\n2,1\n"})

    with pytest.raises(DataFaults) as caught:
        seed(tmp_path, clean_database_url, level)

    assert {each.rule for each in caught.value.faults} == {"unique"}
    assert all("two rows that swap a unique value" in each.message for each in caught.value.faults)
    assert not any("first at" in each.message for each in caught.value.faults)  # their values differ


@pytest.mark.parametrize("level", ["incremental", "bulk"])
def test_a_row_that_a_trigger_wrote_is_told_as_that(
    tmp_path: Path, clean_postgres_url: str, level: Level
) -> None:
    execute(
        clean_postgres_url,
        """
        CREATE TABLE log (who int PRIMARY KEY);
        CREATE TABLE users (id int PRIMARY KEY);
        CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS
          'BEGIN INSERT INTO log VALUES (NEW.id); RETURN NULL; END';
        CREATE TRIGGER log AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION log();
        """,
    )
    folder = write(tmp_path, {"log.csv": "who\n7\n", "users.csv": "id\n7\n"})

    with pytest.raises(DataFaults) as caught:
        seed(folder, clean_postgres_url, level)

    [fault] = caught.value.faults
    assert fault.message == (
        "table log: a unique constraint would be broken by another row (log_pkey), "
        "in a row that a trigger or cascade of table users wrote"
    )


def test_a_row_whose_key_somebody_changed_is_told_as_that(tmp_path: Path, clean_postgres_url: str) -> None:
    execute(clean_postgres_url, "CREATE TABLE goods (id uuid PRIMARY KEY, code text NOT NULL UNIQUE, n int)")
    write(tmp_path, {"goods.csv": "code,n\na,1\nb,2\n"})
    seed(tmp_path, clean_postgres_url)
    execute(clean_postgres_url, "UPDATE goods SET code = 'c' WHERE code = 'b'")

    with pytest.raises(DataFaults) as caught:
        seed(tmp_path, clean_postgres_url)

    (fault,) = caught.value.faults
    assert (fault.file, fault.line) == ("goods.csv", 3)
    assert "the row that seedlab made for this key was given another key since" in fault.message
    assert rows_of(clean_postgres_url, "SELECT code FROM goods ORDER BY 1") == [("a",), ("c",)]


# ---- row-level security ---------------------------------------------------------------------------------

FORCED = """
CREATE TABLE things (id int PRIMARY KEY, v text);
INSERT INTO things VALUES (1, 'hidden'), (2, 'seen');
ALTER TABLE things ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON things USING (v <> 'hidden') WITH CHECK (v <> 'bad');
"""


@pytest.mark.parametrize("level", ["legacy", "bulk", "incremental"])
def test_a_row_that_a_policy_refuses_is_said_to_be(
    tmp_path: Path, clean_postgres_url: str, level: str
) -> None:
    execute(clean_postgres_url, FORCED)
    write(tmp_path, {"things.csv": "id,v\n2,new\n3,bad\n"})

    with pytest.raises(WriteError, match="row-level security does not let this user write the row") as caught:
        seed(tmp_path, clean_postgres_url, level)  # type: ignore[arg-type]

    assert caught.value.sqlstate == "42501"
    assert rows_of(clean_postgres_url, "SELECT * FROM things") == [(2, "seen")]


@pytest.mark.parametrize("level", ["legacy", "bulk", "incremental"])
def test_a_row_that_a_policy_hides_is_not_taken_for_missing_without_a_word(
    tmp_path: Path, clean_postgres_url: str, level: str
) -> None:
    execute(clean_postgres_url, FORCED)
    write(tmp_path, {"things.csv": "id,v\n1,new\n2,new\n"})

    with pytest.raises(DataFaults) as caught:
        seed(tmp_path, clean_postgres_url, level)  # type: ignore[arg-type]

    (fault,) = caught.value.faults
    assert fault.rule == "unique"
    assert "row-level security hides" in fault.message
    execute(clean_postgres_url, "ALTER TABLE things NO FORCE ROW LEVEL SECURITY")
    assert rows_of(clean_postgres_url, "SELECT * FROM things ORDER BY 1") == [(1, "hidden"), (2, "seen")]


# ---- rows without a partition ---------------------------------------------------------------------------

PARTITIONED = {
    "range": "RANGE (id); CREATE TABLE early PARTITION OF visits FOR VALUES FROM (1) TO (10)",
    "none yet": "LIST (n)",
    "nested": "LIST (n); CREATE TABLE p PARTITION OF visits FOR VALUES IN ('a') PARTITION BY RANGE (id);"
    "CREATE TABLE early PARTITION OF p FOR VALUES FROM (1) TO (10)",
    "hash": "HASH (n, id); CREATE TABLE p PARTITION OF visits FOR VALUES WITH (MODULUS 1000, REMAINDER 0)",
}
VISITS = 'CREATE TABLE visits (id int, n text COLLATE "C", PRIMARY KEY (id, n)) PARTITION BY '
REFUSED = {"range": [4], "none yet": [2, 3, 4], "nested": [3, 4], "hash": [2, 3, 4]}


@pytest.mark.parametrize("there", [False, True], ids=["empty", "rows"])
@pytest.mark.parametrize("kind", PARTITIONED)
def test_a_row_without_a_partition_is_told_as_one_with_its_line(
    tmp_path: Path, clean_postgres_url: str, kind: str, there: bool
) -> None:
    execute(clean_postgres_url, VISITS + PARTITIONED[kind])
    if there and REFUSED[kind][0] > 2:
        execute(clean_postgres_url, "INSERT INTO visits VALUES (1, 'a')")
    write(tmp_path, {"visits.csv": "id,n\n1,a\n2,b\n99,c\n"})

    with pytest.raises(DataFaults) as caught:
        seed(tmp_path, clean_postgres_url)

    assert [(fault.file, fault.line) for fault in caught.value.faults] == [
        ("visits.csv", line) for line in REFUSED[kind]
    ]
    assert {fault.message for fault in caught.value.faults} == {
        "table visits: no partition of the table takes the row; make one, or correct the row"
    }


@pytest.mark.parametrize("by", ["LIST (n)", "RANGE ((id / 10))"], ids=["default", "expression"])
def test_rows_of_a_default_partition_are_taken_and_expressions_are_left_to_the_server(
    tmp_path: Path, clean_postgres_url: str, by: str
) -> None:
    execute(
        clean_postgres_url,
        f"CREATE TABLE visits (id int, n text, CHECK (id < 90)) PARTITION BY {by};"
        "CREATE TABLE rest PARTITION OF visits DEFAULT",
    )
    write(tmp_path, {"visits.csv": "id,n\n1,a\n2,b\n99,c\n"})

    with pytest.raises(DataFaults) as caught:
        seed(tmp_path, clean_postgres_url)

    assert [(fault.line, fault.message) for fault in caught.value.faults] == [
        (4, "table visits: a CHECK constraint refuses the row (visits_id_check)")
    ]


def test_a_unique_index_of_an_expression_is_named_and_not_taken_for_a_column(
    tmp_path: Path, sqlite_url: str
) -> None:
    execute(
        sqlite_url,
        "CREATE TABLE people (id int PRIMARY KEY, mail text); CREATE UNIQUE INDEX mails ON people (lower(mail))",
    )
    folder = write(tmp_path, {"people.csv": "id,mail\n1,A@x\n2,a@X\n"})

    with pytest.raises(DataFaults) as refused:
        seed(folder, sqlite_url)

    (fault,) = refused.value.faults
    assert (fault.rule, fault.column, fault.line) == ("unique", None, 3)
    assert fault.message.startswith("index 'mails' of table people must be unique, and another row has it")
