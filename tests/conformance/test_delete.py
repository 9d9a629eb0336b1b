"""Deletes touch exactly the rows they are given, and refuse where rows that stay refer to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import polars as pl
import psycopg
import pytest

from seedlab.database.connect import open_session, parse_target
from seedlab.database.postgres import delete as postgres_delete
from seedlab.database.writer import Session
from seedlab.errors import Refused, SeedError, WriteError
from seedlab.flow import Removal, Settings
from seedlab.insight.measuring.monitor import Monitor
from tests.support.seeding import dump, execute, rows_of
from tests.support.waiting import PATIENCE, until

A, B, C = (UUID(f"0000000{n}-0000-8000-8000-00000000000{n}") for n in "abc")
Columns = Mapping[str, Sequence[str | UUID]]
CURE = "delete or re-point those rows first, or keep the rows in the files"


class Database:
    """An open session, and what it was asked to do so far."""

    def __init__(self, url: str, **settings: str) -> None:
        self.url = url
        self.monitor = Monitor()
        self.session: Session = open_session(
            parse_target(url, "test"), Settings(**settings), self.monitor, "test"
        )
        self.catalog = self.session.catalog()

    def removal(self, table: str, columns: Columns) -> Removal:
        series = [
            pl.Series(
                name,
                [int(v) if isinstance(v, UUID) else v for v in values],
                dtype=pl.UInt128 if any(isinstance(v, UUID) for v in values) else pl.String,
            )
            for name, values in columns.items()
        ]
        return Removal(table=self.catalog.tables[table], columns=tuple(columns), frame=pl.DataFrame(series))

    def delete(self, *removals: tuple[str, Columns]) -> list[int]:
        """Delete in a transaction of its own; what is refused is rolled back."""
        self.session.begin()
        try:
            deleted = self.session.delete([self.removal(*each) for each in removals])
        except SeedError:
            self.session.rollback()
            raise
        self.session.commit()
        return deleted

    def refused(self, *removals: tuple[str, Columns]) -> str:
        """Why a delete is refused; everything is then as it was."""
        before = dump(self.url)
        with pytest.raises(Refused) as caught:
            self.delete(*removals)
        assert dump(self.url) == before
        return str(caught.value)

    def ids(self, table: str) -> list[object]:
        return [row[0] for row in rows_of(self.url, f"SELECT id FROM {table} ORDER BY 1")]


Open = Callable[..., Database]


@pytest.fixture
def opened(clean_database_url: str) -> Iterator[Open]:
    databases: list[Database] = []

    def open_it(ddl: str, **settings: str) -> Database:
        execute(clean_database_url, ddl)
        databases.append(Database(clean_database_url, **settings))
        return databases[-1]

    yield open_it
    for each in databases:
        each.session.close()


@pytest.fixture
def postgres(clean_postgres_url: str) -> Iterator[Open]:
    """The same, for what only PostgreSQL has."""
    databases: list[Database] = []

    def open_it(ddl: str, **settings: str) -> Database:
        execute(clean_postgres_url, ddl)
        databases.append(Database(clean_postgres_url, **settings))
        return databases[-1]

    yield open_it
    for each in databases:
        each.session.close()


FAMILY = """
CREATE TABLE towns (id int PRIMARY KEY);
CREATE TABLE streets (id int PRIMARY KEY, town int NOT NULL REFERENCES towns {action});
CREATE TABLE houses (id int PRIMARY KEY, street int REFERENCES streets {action}, town int REFERENCES towns {action});
INSERT INTO towns VALUES (1), (2); INSERT INTO streets VALUES (10, 1), (20, 2);
INSERT INTO houses VALUES (100, 10, 1), (101, NULL, 1), (200, 20, 2);
"""
ACTIONS = pytest.mark.parametrize(
    "action",
    ["", "ON DELETE RESTRICT", "ON DELETE CASCADE", "ON DELETE SET NULL", "ON DELETE SET DEFAULT"],
)

# ---- what goes ------------------------------------------------------------------------------------------


@ACTIONS
def test_parents_and_children_go_together_in_whatever_order_they_are_given(opened: Open, action: str) -> None:
    database = opened(FAMILY.format(action=action))

    deleted = database.delete(
        ("towns", {"id": ["1"]}), ("houses", {"id": ["100", "101"]}), ("streets", {"id": ["10"]})
    )

    assert deleted == [1, 2, 1]
    assert [database.ids(each) for each in ("towns", "streets", "houses")] == [[2], [20], [200]]


def test_a_row_that_is_gone_or_was_never_there_is_not_counted(opened: Open) -> None:
    database = opened(FAMILY.format(action=""))
    removal = ("houses", {"id": ["100", "999", "100"]})

    assert [database.delete(removal) for _ in range(2)] == [[1], [0]]
    assert database.ids("houses") == [101, 200]


def test_nothing_to_delete_is_no_statement(opened: Open) -> None:
    database = opened(FAMILY.format(action=""))
    database.session.begin()
    before = database.monitor.counters

    assert database.session.delete([]) == []
    assert database.session.delete([database.removal("towns", {"id": []})] * 2) == [0, 0]
    assert database.monitor.counters == before


def test_an_empty_removal_among_others_counts_nothing(opened: Open) -> None:
    database = opened(FAMILY.format(action=""))

    assert database.delete(("towns", {"id": []}), ("houses", {"id": ["200"]})) == [0, 1]


def test_two_removals_of_one_table_are_counted_each_and_a_shared_row_once(opened: Open) -> None:
    database = opened(
        """CREATE TABLE people (id int PRIMARY KEY, code text UNIQUE, boss int REFERENCES people);
        INSERT INTO people VALUES (1, 'a', NULL), (2, 'b', 1), (3, 'c', 2), (4, 'd', 3), (5, 'e', NULL);"""
    )

    deleted = database.delete(
        ("people", {"id": ["1", "3"]}), ("people", {"code": ["b", "c", "d"]}), ("people", {"id": ["4"]})
    )

    assert deleted == [2, 2, 0]
    assert database.ids("people") == [5]


def test_rows_of_two_removals_of_one_table_keep_a_child_of_neither(opened: Open) -> None:
    database = opened(FAMILY.format(action="ON DELETE CASCADE"))

    message = database.refused(
        ("towns", {"id": ["1"]}), ("streets", {"id": ["10"]}), ("towns", {"id": ["2"]})
    )

    assert "1 row of table houses refers to rows of table streets" in message
    assert "3 rows of table houses refer to rows of table towns" in message
    assert "1 row of table streets refers to rows of table towns" in message


# ---- keys -----------------------------------------------------------------------------------------------


def test_a_row_is_known_by_keys_of_every_kind(opened: Open) -> None:
    database = opened(
        f"""CREATE TABLE by_uuid (id uuid PRIMARY KEY, n int); CREATE TABLE by_text (id text PRIMARY KEY);
        CREATE TABLE by_serial (id SERIAL KEY, n int); CREATE TABLE by_day (id date PRIMARY KEY);
        CREATE TABLE by_number (id numeric(6, 2) PRIMARY KEY); CREATE TABLE by_flag (id bool PRIMARY KEY);
        INSERT INTO by_uuid VALUES ('{A}', 1), ('{B}', 2), ('{C}', 3);
        INSERT INTO by_serial (id, n) VALUES (7, 1), (8, 2); INSERT INTO by_text VALUES ('007'), ('7');
        INSERT INTO by_day VALUES ('2024-02-29'), ('2024-03-01'); INSERT INTO by_number VALUES (1.5), (2.5);
        INSERT INTO by_flag VALUES (true), (false);"""
    )

    deleted = database.delete(
        ("by_uuid", {"id": [A, C]}),
        ("by_serial", {"id": ["7"]}),
        ("by_text", {"id": ["007"]}),
        ("by_day", {"id": ["2024-02-29"]}),
        ("by_number", {"id": ["1.50"]}),
        ("by_flag", {"id": ["false"]}),
    )

    assert deleted == [2, 1, 1, 1, 1, 1]
    assert [len(rows) for rows in dump(database.url).values()] == [1] * 6
    assert rows_of(database.url, "SELECT id FROM by_text") == [("7",)]


def test_awkward_texts_name_themselves(opened: Open) -> None:
    texts = ['"', "\\", "NULL", "", "a,b", "{}", "\n", "'", "%s", "$1", "שלום", "x"]
    quoted = ", ".join("('{}')".format(each.replace("'", "''")) for each in texts)
    database = opened(f"CREATE TABLE t (id text PRIMARY KEY); INSERT INTO t VALUES {quoted}")

    deleted = database.delete(("t", {"id": texts[:-1]}))

    assert deleted == [len(texts) - 1]
    assert database.ids("t") == ["x"]


@pytest.mark.parametrize(
    ("spelling", "stored", "named"),
    [
        ("varchar(3)", "'abc'", "abcd"),
        ("char(3)", "'abc'", "abcd"),
        ("numeric(4, 1)", "1.3", "1.25"),
        ("int", "1", "01x"),
    ],
)
def test_a_value_that_its_column_would_bend_never_names_another_row(
    opened: Open, spelling: str, stored: str, named: str
) -> None:
    database = opened(f"CREATE TABLE t (id {spelling} PRIMARY KEY); INSERT INTO t VALUES ({stored})")
    removal = ("t", {"id": [named]})

    if spelling == "int" and database.session.dialect == "postgresql":
        with pytest.raises(SeedError, match="1 data fault"):
            database.delete(removal)
    else:
        assert database.delete(removal) == [0]

    assert len(database.ids("t")) == 1


def test_composite_keys_name_rows_and_are_referred_to(opened: Open) -> None:
    database = opened(
        """CREATE TABLE parents (a text, b int, PRIMARY KEY (a, b));
        CREATE TABLE children (id int PRIMARY KEY, a text, b int, FOREIGN KEY (a, b) REFERENCES parents (a, b));
        INSERT INTO parents VALUES ('x', 1), ('x', 2), ('y', 1), ('y', 2);
        INSERT INTO children VALUES (1, 'x', 1), (2, 'y', 2), (3, NULL, 1);"""
    )
    removal = ("parents", {"b": ["1", "2"], "a": ["x", "y"]})

    message = database.refused(removal, ("children", {"id": ["1"]}))
    deleted = database.delete(removal, ("children", {"id": ["1", "2"]}))

    assert "1 row of table children refers" in message
    assert deleted == [2, 2]
    assert rows_of(database.url, "SELECT a, b FROM parents ORDER BY 1") == [("x", 2), ("y", 1)]
    assert database.ids("children") == [3]


def test_a_foreign_key_to_another_column_than_the_removals_is_asked_about(opened: Open) -> None:
    database = opened(
        """CREATE TABLE parents (id int PRIMARY KEY, code text UNIQUE, slug text NOT NULL UNIQUE);
        CREATE TABLE children (id int PRIMARY KEY, code text REFERENCES parents (code) ON DELETE SET NULL);
        INSERT INTO parents VALUES (1, 'x', 'a'), (2, NULL, 'b'), (3, NULL, 'c'); INSERT INTO children VALUES (1, 'x');"""
    )

    message = database.refused(("parents", {"slug": ["a", "b", "c"]}))
    deleted = database.delete(("parents", {"slug": ["b", "c"]}))

    assert "1 row of table children refers to rows of table parents" in message
    assert deleted == [2]


def test_a_child_without_the_key_that_names_children_stays_and_refuses(opened: Open) -> None:
    database = opened(
        """CREATE TABLE parents (id int PRIMARY KEY);
        CREATE TABLE children (id int PRIMARY KEY, code text UNIQUE, parent int REFERENCES parents ON DELETE CASCADE);
        INSERT INTO parents VALUES (1); INSERT INTO children VALUES (1, 'x', 1), (2, NULL, 1);"""
    )

    message = database.refused(("parents", {"id": ["1"]}), ("children", {"code": ["x"]}))

    assert "1 row of table children refers to rows of table parents" in message


def test_names_are_quoted_whatever_they_hold(opened: Open) -> None:
    odd = '"Odd ""T"""'
    database = opened(
        f"""CREATE TABLE {odd} ("the Id" int PRIMARY KEY, "order" text NOT NULL UNIQUE);
        CREATE TABLE "select" (id int PRIMARY KEY, "To;" int CONSTRAINT "the %s key" REFERENCES {odd} ON DELETE CASCADE);
        INSERT INTO {odd} VALUES (1, 'a'), (2, 'b'); INSERT INTO "select" VALUES (1, 1), (2, 2);"""
    )
    removal = ('Odd "T"', {"order": ["a"]})

    message = database.refused(removal)
    deleted = database.delete(removal, ("select", {"id": ["1"]}))

    assert '1 row of table select refers to rows of table Odd "T"' in message
    assert deleted == [1, 1]
    assert database.ids('"select"') == [2]


# ---- what others refer to -------------------------------------------------------------------------------


@ACTIONS
def test_a_child_of_an_application_refuses_whatever_on_delete_says(opened: Open, action: str) -> None:
    database = opened(
        FAMILY.format(action="")
        + f"CREATE TABLE visits (id int PRIMARY KEY, house int CONSTRAINT of_house REFERENCES houses {action});"
        "INSERT INTO visits VALUES (1, 100), (2, 100), (3, 200), (4, NULL);"
    )

    message = database.refused(("houses", {"id": ["100", "101"]}))

    assert message.startswith("nothing was changed: 2 rows of table visits refer to rows of table houses")
    assert message.endswith(CURE)
    assert database.delete(("houses", {"id": ["101"]})) == [1]


def test_all_refusals_come_in_one_message(opened: Open) -> None:
    database = opened(FAMILY.format(action="ON DELETE CASCADE"))

    message = database.refused(("towns", {"id": ["1"]}), ("streets", {"id": ["20"]}))

    assert message.count("that would be deleted") == 3
    assert "1 row of table streets refers to rows of table towns" in message
    assert "2 rows of table houses refer to rows of table towns" in message
    assert "1 row of table houses refers to rows of table streets" in message


def test_a_row_is_an_example_of_each_foreign_key_that_refuses(opened: Open) -> None:
    database = opened(FAMILY.format(action="") + "CREATE TABLE visits (house int REFERENCES houses);")
    execute(database.url, "INSERT INTO visits VALUES (100), (100);")

    with pytest.raises(Refused) as caught:
        database.delete(("towns", {"id": ["1"]}), ("houses", {"id": ["100"]}))

    assert sorted(caught.value.examples) == [
        "the row of table houses with id 101",
        "the row of table streets with id 10",
        "the row of table visits with house 100",
    ]


def test_rows_of_the_same_table_that_stay_refuse_too(opened: Open) -> None:
    database = opened(TREE.format(action="ON DELETE CASCADE"))

    message = database.refused(("nodes", {"id": ["1", "2"]}))

    assert "2 rows of table nodes refer to rows of table nodes" in message


def test_what_fires_and_objects_names_its_table(opened: Open) -> None:
    ddl = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);"
    database = opened(ddl)
    execute(database.url, TRIGGERS[database.session.dialect])

    with pytest.raises(WriteError, match=r"t: not this one") as caught:
        database.delete(("t", {"id": ["1", "2"]}))

    assert caught.value.table == "t"
    assert database.ids("t") == [1, 2]


TRIGGERS = {
    "sqlite": "CREATE TRIGGER guard BEFORE DELETE ON t WHEN old.id = 2 BEGIN SELECT RAISE(ABORT, 'not this one'); END",
    "postgresql": """
        CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN IF old.id = 2 THEN RAISE 'not this one'; END IF; RETURN old; END $$;
        CREATE TRIGGER guard BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION guard()""",
}

# ---- self references and cycles -------------------------------------------------------------------------

TREE = """
CREATE TABLE nodes (id int PRIMARY KEY, up int REFERENCES nodes {action});
INSERT INTO nodes VALUES (1, NULL), (2, 1), (3, 2), (4, 2), (5, 5), (6, NULL);
"""


@ACTIONS
def test_a_tree_goes_with_all_its_branches(opened: Open, action: str) -> None:
    database = opened(TREE.format(action=action))

    assert database.delete(("nodes", {"id": ["3", "1", "5", "2", "4"]})) == [5]
    assert database.ids("nodes") == [6]


CYCLE = """
CREATE TABLE a (id int PRIMARY KEY, b int {not_null});
CREATE TABLE b (id int PRIMARY KEY, c int {not_null});
CREATE TABLE c (id int PRIMARY KEY, a int {not_null} REFERENCES a {action});
CREATE TABLE leaf (id int PRIMARY KEY, a int REFERENCES a {action});
"""
SQLITE_CYCLE = """
CREATE TABLE a (id int PRIMARY KEY, b int {not_null} REFERENCES b {action} DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE b (id int PRIMARY KEY, c int {not_null} REFERENCES c {action} DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE c (id int PRIMARY KEY, a int {not_null} REFERENCES a {action});
CREATE TABLE leaf (id int PRIMARY KEY, a int REFERENCES a {action});
"""
CYCLE_ROWS = """BEGIN; INSERT INTO a VALUES (1, 1), (2, 2); INSERT INTO b VALUES (1, 1), (2, 2);
INSERT INTO c VALUES (1, 1), (2, 2); COMMIT; INSERT INTO leaf VALUES (1, 1), (2, 2);"""


def cycle(url_is_sqlite: bool, action: str, not_null: str) -> str:
    if url_is_sqlite:
        return SQLITE_CYCLE.format(action=action, not_null=not_null) + CYCLE_ROWS
    alters = (
        f"ALTER TABLE {own} ADD FOREIGN KEY ({other}) REFERENCES {other} {action};"
        for own, other in (("a", "b"), ("b", "c"))
    )
    rows = CYCLE_ROWS.replace("BEGIN; ", "").replace("COMMIT; ", "")
    return CYCLE.format(action=action, not_null=not_null) + rows + "".join(alters)


@pytest.mark.parametrize("action", ["", "ON DELETE CASCADE"])
def test_a_cycle_of_tables_goes_at_once(opened: Open, clean_database_url: str, action: str) -> None:
    database = opened(cycle(clean_database_url.startswith("sqlite"), action, "NOT NULL"))
    removals = [(table, {"id": ["1"]}) for table in ("leaf", "c", "a", "b")]

    message = database.refused(*removals[:-1])
    deleted = database.delete(*removals)

    assert "1 row of table b refers to rows of table c" in message
    assert deleted == [1, 1, 1, 1]
    assert [database.ids(table) for table in ("leaf", "c", "a", "b")] == [[2]] * 4


def test_tables_in_a_cycle_whose_rows_are_not_go_leaves_first(opened: Open, clean_database_url: str) -> None:
    database = opened(cycle(clean_database_url.startswith("sqlite"), "ON DELETE RESTRICT", ""))
    execute(database.url, "UPDATE a SET b = NULL WHERE id = 1")

    assert database.delete(*((table, {"id": ["1"]}) for table in ("a", "b", "c", "leaf"))) == [1, 1, 1, 1]


def test_a_cycle_of_rows_goes_though_each_restricts_the_other(opened: Open, clean_database_url: str) -> None:
    database = opened(cycle(clean_database_url.startswith("sqlite"), "ON DELETE RESTRICT", ""))

    assert database.delete(*((table, {"id": ["1"]}) for table in ("a", "b", "c", "leaf"))) == [1, 1, 1, 1]


def test_an_action_that_would_break_a_row_that_goes_too_does_not_matter(opened: Open) -> None:
    database = opened(
        """CREATE TABLE nodes (id int PRIMARY KEY, tenant int NOT NULL, up int, UNIQUE (tenant, id),
          FOREIGN KEY (tenant, up) REFERENCES nodes (tenant, id) ON DELETE SET NULL);
        INSERT INTO nodes VALUES (1, 1, NULL), (2, 1, 1), (3, 1, 2), (4, 1, 4), (5, 1, NULL);"""
    )

    assert database.delete(("nodes", {"id": ["1", "2", "3", "4"]})) == [4]
    assert database.ids("nodes") == [5]


@pytest.mark.slow
def test_a_long_chain_goes(opened: Open) -> None:
    """SQLite follows a CASCADE over a thousand rows and no further."""
    database = opened(
        """CREATE TABLE nodes (id int PRIMARY KEY, up int REFERENCES nodes ON DELETE CASCADE);
        CREATE INDEX nodes_up ON nodes (up);
        WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 2050)
        INSERT INTO nodes SELECT n, nullif(n - 1, 0) FROM s;"""
    )

    assert database.delete(("nodes", {"id": [str(n) for n in range(1, 2051)]})) == [2050]
    assert database.ids("nodes") == []


# ---- much -----------------------------------------------------------------------------------------------


def test_more_rows_than_one_slice_go_by_few_statements(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_delete, "ARRAY_ROWS", 300)
    series = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000)"
    database = opened(
        f"""CREATE TABLE nodes (id int PRIMARY KEY, code text NOT NULL UNIQUE, up int REFERENCES nodes ON DELETE CASCADE);
        CREATE TABLE leaves (id int PRIMARY KEY, node int NOT NULL REFERENCES nodes ON DELETE CASCADE);
        {series} INSERT INTO nodes SELECT n, 'a,b\\' || n, nullif(n / 2, 0) FROM s;
        {series} INSERT INTO leaves SELECT n, n FROM s;"""
    )
    ids = [str(n) for n in range(1, 1001)]
    before = database.monitor.counters.statements

    message = database.refused(("nodes", {"code": [f"a,b\\{n}" for n in ids]}), ("leaves", {"id": ids[:-3]}))
    deleted = database.delete(
        ("nodes", {"code": [f"a,b\\{n}" for n in ids]}), ("leaves", {"id": [*ids, "0"]})
    )

    assert "3 rows of table leaves refer to rows of table nodes" in message
    assert deleted == [1000, 1000]
    assert dump(database.url) == {"nodes": [], "leaves": []}
    assert database.monitor.counters.statements - before < 60


def test_two_deletes_in_one_transaction_do_not_disturb_each_other(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_delete, "ARRAY_ROWS", 1)
    database = opened(FAMILY.format(action=""))
    removals = [database.removal("houses", {"id": each}) for each in (["100", "101"], ["200", "300"])]

    database.session.begin()
    deleted = [database.session.delete([each]) for each in removals]
    database.session.commit()

    assert deleted == [[2], [1]]


def test_a_delete_takes_as_many_statements_as_it_has_tables(postgres: Open) -> None:
    database = postgres(FAMILY.format(action=""))
    database.session.begin()
    database.session.find_empty(["towns"])
    before = database.monitor.counters

    database.session.delete(
        [database.removal(t, {"id": [i]}) for t, i in (("towns", "1"), ("streets", "10"), ("houses", "101"))]
        + [database.removal("houses", {"id": ["100"]})]
    )

    after = database.monitor.counters
    assert after.statements - before.statements == 5  # hidden foreign keys, who refers, three tables
    assert after.round_trips - before.round_trips == 2


# ---- what only PostgreSQL has ---------------------------------------------------------------------------


def test_without_the_right_to_temporary_tables_arrays_do(
    postgres: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_delete, "ARRAY_ROWS", 1)
    database = postgres(FAMILY.format(action=""))
    name = psycopg.conninfo.conninfo_to_dict(database.url)["dbname"]
    revoked = f'REVOKE TEMPORARY ON DATABASE "{name}" FROM PUBLIC, CURRENT_USER'
    execute(database.url, revoked)

    try:
        deleted = database.delete(("houses", {"id": ["100", "101"]}))
    finally:
        execute(database.url, revoked.replace("REVOKE", "GRANT").replace("FROM", "TO"))

    assert deleted == [2]
    assert any("no temporary table is used" in note for note in database.monitor.notes)


def test_partitions_and_tables_of_other_schemas_are_asked_too(postgres: Open) -> None:
    database = postgres(
        """CREATE SCHEMA app; CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE t2 PARTITION OF t DEFAULT;
        CREATE TABLE app.c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE);
        INSERT INTO t VALUES (1), (2), (30); INSERT INTO app.c VALUES (1, 1)"""
    )

    message = database.refused(("t", {"id": ["1", "30"]}))
    deleted = database.delete(("t", {"id": ["1", "30"]}), ("app.c", {"id": ["1"]}))

    assert "1 row of table app.c refers to rows of table t " in message
    assert deleted == [2, 1]


def test_a_foreign_key_of_one_partition_that_would_cascade_is_refused(postgres: Open) -> None:
    database = postgres(
        """CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id int, p int) PARTITION BY RANGE (id);
        CREATE TABLE t1 PARTITION OF t DEFAULT;
        ALTER TABLE t1 ADD CONSTRAINT hidden FOREIGN KEY (p) REFERENCES p ON DELETE SET NULL;
        INSERT INTO p VALUES (1); INSERT INTO t VALUES (1, 1)"""
    )

    message = database.refused(("p", {"id": ["1"]}))

    assert "foreign key hidden of table t1, whose rows this user may not read, refers to table p" in message


def test_a_foreign_key_of_one_partition_that_restricts_is_refused(postgres: Open) -> None:
    database = postgres(
        """CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id int, p int) PARTITION BY RANGE (id);
        CREATE TABLE t1 PARTITION OF t DEFAULT; INSERT INTO p VALUES (1), (2);
        ALTER TABLE t1 ADD CONSTRAINT hidden FOREIGN KEY (p) REFERENCES p; INSERT INTO t VALUES (1, 1)"""
    )

    message = database.refused(("p", {"id": ["1"]}))

    assert "1 row of table t refers to rows of table p that would be deleted (foreign key hidden)" in message
    assert message.endswith(CURE)
    assert database.delete(("p", {"id": ["2"]})) == [1]


def test_rows_that_row_level_security_may_hide_refuse(postgres: Open) -> None:
    database = postgres(
        """CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int, p int REFERENCES p ON DELETE CASCADE);
        INSERT INTO p VALUES (1); INSERT INTO c VALUES (1, 1); ALTER TABLE c ENABLE ROW LEVEL SECURITY;
        CREATE POLICY few ON c USING (id > 1); ALTER TABLE c FORCE ROW LEVEL SECURITY"""
    )

    with pytest.raises(
        Refused, match="row-level security may hide rows of table c that refer to rows of table p"
    ):
        database.delete(("p", {"id": ["1"]}))
    execute(database.url, "ALTER TABLE c NO FORCE ROW LEVEL SECURITY")

    assert "1 row of table c refers to rows of table p" in database.refused(("p", {"id": ["1"]}))


BLOCKED = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.mark.parametrize(
    ("isolation", "error", "said"),
    [
        ("read committed", Refused, "1 row of table houses refers to rows of table streets"),
        ("repeatable read", WriteError, "40001"),
    ],
)
def test_a_child_that_comes_meanwhile_is_not_swept_away(
    postgres: Open, isolation: str, error: type[SeedError], said: str
) -> None:
    database = postgres(FAMILY.format(action="ON DELETE CASCADE") + "DELETE FROM houses", isolation=isolation)

    with psycopg.connect(database.url) as other, ThreadPoolExecutor(1) as thread:
        other.execute("INSERT INTO houses VALUES (300, 10, NULL)")
        deleting = thread.submit(database.delete, ("streets", {"id": ["10"]}))
        until(lambda: rows_of(database.url, BLOCKED))
        other.commit()
        with pytest.raises(error, match=said):
            deleting.result(PATIENCE)

    assert database.ids("houses") == [300]
