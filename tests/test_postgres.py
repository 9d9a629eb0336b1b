"""The contract of a session, kept by a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import polars as pl
import psycopg
import pytest

from seedlab.database.connect import open_session, parse_target
from seedlab.database.postgres.lookups import uuid_numbers
from seedlab.database.postgres.session import PostgresSession
from seedlab.database.postgres.wire import Wire
from seedlab.errors import ConfigurationError, DataFaults, WriteError
from seedlab.flow import (
    FILE,
    HANDLE,
    ROW,
    Ask,
    Batch,
    Catalog,
    Outcomes,
    Reserve,
    Settings,
    Suspect,
    WritePlan,
)
from seedlab.insight.measuring.monitor import Monitor
from tests.support.loads import batch, load_of, loads_of, outcomes, source_frame, table_write, write_plan
from tests.support.seeding import execute

A, B, C = (UUID(f"00000000-0000-8000-8000-00000000000{n}") for n in "abc")
SCHOOL = """
CREATE TABLE universities (id uuid PRIMARY KEY, slug text NOT NULL UNIQUE, name text, fee numeric(6,2));
CREATE TABLE faculties (id uuid PRIMARY KEY, university_id uuid NOT NULL REFERENCES universities ON DELETE CASCADE,
  code text NOT NULL, UNIQUE (university_id, code))
"""
COPY, BULK = frozenset({"cache", "parallel", "copy", "rebuild"}), frozenset({"cache"})
SWITCHES = pytest.mark.parametrize(
    "switches", [COPY, COPY - {"rebuild"}, BULK], ids=["rebuild", "copy", "bulk"]
)

Columns = Mapping[str, Sequence[str | UUID | None]]


class Database:
    """An open session, and a second connection that sees what was committed."""

    def __init__(self, session: PostgresSession, monitor: Monitor, other: psycopg.Connection) -> None:
        self.session, self.monitor, self.other = session, monitor, other

    def rows(self, question: str) -> list[tuple[object, ...]]:
        return self.other.execute(question).fetchall()

    def batch(self, catalog: Catalog, table: str, columns: Columns, **load: object) -> Batch:
        made = load_of(catalog, table, columns, **load)  # type: ignore[arg-type]
        # As in a run: an id that no reference needs beforehand is left to the column's default.
        return batch(made if made.made in columns else replace(made, made=None), columns)

    def write(
        self, table: str, columns: Columns, switches: frozenset[str] = COPY, **load: object
    ) -> Outcomes:
        catalog = self.session.catalog()
        plan = write_plan(catalog, [self.batch(catalog, table, columns, **load)], catalog.empty)
        self.session.begin()
        written = self.session.write(plan, switches)
        self.session.commit()
        return outcomes(written)[table]


Open = Callable[..., Database]


@pytest.fixture
def opened(clean_postgres_url: str) -> Iterator[Open]:
    databases: list[Database] = []

    def open_it(ddl: str = SCHOOL, **settings: object) -> Database:
        other = psycopg.connect(clean_postgres_url, autocommit=True)
        other.execute(ddl)
        monitor = Monitor()
        session = open_session(
            parse_target(clean_postgres_url, "test"), Settings(**settings), monitor, "seedlab test"
        )  # type: ignore[arg-type]
        assert isinstance(session, PostgresSession)
        databases.append(Database(session, monitor, other))
        return databases[-1]

    yield open_it
    for each in databases:
        each.session.close()
        each.other.close()


def universities(*slugs: str, name: str | None = "U") -> Columns:
    ids = [UUID(int=8 << 76 | 2 << 62 | ord(slug)) for slug in slugs]
    return {"id": ids, "slug": list(slugs), "name": [name] * len(slugs)}


# ---- looking ----


def test_the_catalog_is_one_round_trip(opened: Open) -> None:
    database = opened()

    catalog = database.session.catalog()

    assert set(catalog.tables) == {"universities", "faculties"}
    assert catalog.empty == {"universities", "faculties"}
    assert database.monitor.counters.round_trips == 1
    assert database.session.wal_position() is not None


def test_reading_the_catalog_leaves_no_setting_behind(opened: Open) -> None:
    database = opened()
    database.session.catalog()

    path = psycopg.sql.SQL("SHOW search_path")
    assert database.session.wire.ask([(path, ())]) == [database.other.execute(path).fetchall()]


def test_the_default_schema_is_the_sessions_own(opened: Open, clean_postgres_url: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(clean_postgres_url)["dbname"]
    try:
        database = opened(
            f'CREATE SCHEMA app; CREATE TABLE app.t (a int); ALTER DATABASE "{name}" SET search_path = app'
        )

        catalog = database.session.catalog()
    finally:
        execute(clean_postgres_url, f'ALTER DATABASE "{name}" SET search_path = public')

    assert (catalog.default_schema, set(catalog.tables)) == ("app", {"t"})


def test_empty_tables_are_found_in_one_statement(opened: Open) -> None:
    database = opened(
        SCHOOL + "; INSERT INTO universities VALUES (gen_random_uuid(), 'u'); DELETE FROM universities"
    )
    catalog = database.session.catalog()
    before = database.monitor.counters.statements

    assert catalog.empty == {"faculties"}
    assert database.session.find_empty(["universities", "faculties"]) == {"universities", "faculties"}
    assert database.monitor.counters.statements == before + 1
    assert database.session.find_empty([]) == frozenset()


def ask(catalog: Catalog, table: str, columns: Columns, wanted: Sequence[str], **load: object) -> Ask:
    frame = source_frame(columns).drop(FILE, ROW)  # type: ignore[arg-type]
    handles = pl.Series(HANDLE, range(100, 100 + frame.height), dtype=pl.UInt128)
    return Ask(
        table=table,
        key=load_of(catalog, table, columns, **load).key,  # type: ignore[arg-type]
        wanted=tuple(wanted),
        frame=frame.with_columns(handles),
    )


def test_a_look_up_answers_the_rows_that_exist(opened: Open) -> None:
    database = opened(SCHOOL + f"; INSERT INTO universities VALUES ('{A}', 'u', 'U'), ('{B}', 'v', NULL)")
    catalog = database.session.catalog()

    (answer,) = database.session.lookup(
        [ask(catalog, "universities", {"slug": ["w", "v", "u"]}, ["id", "name"])]
    )

    assert sorted(answer.rows()) == [(101, B.int, None), (102, A.int, "U")]
    assert answer.schema == {HANDLE: pl.UInt128, "id": pl.UInt128, "name": pl.String}


def test_a_look_up_walks_through_references(opened: Open) -> None:
    database = opened(
        SCHOOL + f"; INSERT INTO universities VALUES ('{A}', 'u'), ('{B}', 'v');"
        f"INSERT INTO faculties VALUES ('{C}', '{B}', 'x')"
    )
    catalog = database.session.catalog()
    columns = {"university.slug": ["u", "v"], "code": ["x", "x"]}

    (answer,) = database.session.lookup([ask(catalog, "faculties", columns, ["id"])])

    assert answer.rows() == [(101, C.int)]


def test_all_look_ups_are_one_round_trip(opened: Open) -> None:
    database = opened()
    catalog = database.session.catalog()
    before = database.monitor.counters.round_trips
    question = ask(catalog, "universities", {"slug": ["w"]}, ["id"])

    answers = database.session.lookup([question, question])

    assert [answer.height for answer in answers] == [0, 0]
    assert database.monitor.counters.round_trips == before + 1
    assert database.session.lookup([]) == []


def test_keys_compare_in_the_databases_own_equality(opened: Open) -> None:
    database = opened(
        "CREATE TABLE t (price numeric PRIMARY KEY, at timestamptz); INSERT INTO t VALUES (1.50)"
    )
    catalog = database.session.catalog()

    (answer,) = database.session.lookup([ask(catalog, "t", {"price": ["1.5"]}, ["at"])])

    assert answer.height == 1


def test_a_key_of_awkward_text_is_found(opened: Open) -> None:
    awkward = ['"', "\\", "NULL", "", "a,b", "{}", "\n", "'"]
    database = opened("CREATE TABLE t (code text PRIMARY KEY, n int)")
    with database.other.cursor() as cursor:
        cursor.executemany("INSERT INTO t VALUES (%s, 1)", [(each,) for each in awkward])
    catalog = database.session.catalog()

    (answer,) = database.session.lookup([ask(catalog, "t", {"code": awkward}, ["n"])])

    assert answer.height == len(awkward)


# ---- values ----


@pytest.mark.parametrize(
    ("spelling", "values", "rules"),
    [
        ("int4", ["1", "x", "99999999999", " 5", "1.0"], {1: "type", 2: "overflow", 4: "type"}),
        (
            "numeric(4,1)",
            ["1.5", "1.25", "1000", "x", "1.50", "1e1"],
            {1: "rounding", 2: "overflow", 3: "type"},
        ),
        ("varchar(3)", ["abc", "abcd", "abc  "], {1: "too-long", 2: "too-long"}),
        ("char(3)", ["abc", "abcd", "abc  "], {1: "too-long"}),
        (
            "timestamp(3)",
            ["2024-01-01", "2024-01-01 10:00:00.1234", "soon", "2024-01-01 10:00:00.1230"],
            {1: "rounding", 2: "type"},
        ),
        ("timestamptz", ["2024-01-01 10:00:00.1234567+00", "now"], {0: "rounding"}),
        ("boolean", ["tru", "maybe"], {1: "type"}),
        ("grade", ["1", "7"], {1: "type"}),
        ("mood", ["good", "bad"], {1: "type"}),
        ("int[]", ["{1,2}", "{1,x}"], {1: "type"}),
    ],
)
def test_the_server_judges_values_and_names_what_is_wrong(
    opened: Open, spelling: str, values: list[str], rules: dict[int, str]
) -> None:
    database = opened(
        "CREATE TYPE mood AS ENUM ('good'); CREATE DOMAIN grade AS int CHECK (VALUE < 6);"
        f"CREATE TABLE t (code text PRIMARY KEY, v {spelling})"
    )
    catalog = database.session.catalog()
    frame = source_frame({"value": values})
    load = load_of(catalog, "t", {"code": [], "v": []})

    (verdict,) = database.session.invalid([Suspect(load=load, column="v", frame=frame)])

    assert {row: rule for _, row, rule in verdict.select(FILE, ROW, "rule").rows()} == rules


def test_a_value_that_names_a_parent_is_judged_by_the_column_it_goes_into(opened: Open) -> None:
    database = opened(
        "CREATE TABLE p (id int2 PRIMARY KEY); CREATE TABLE c (code text PRIMARY KEY, p_id int2 REFERENCES p)"
    )
    catalog = database.session.catalog()
    load = load_of(catalog, "c", {"code": [], "p.id": []})

    (verdict,) = database.session.invalid(
        [Suspect(load=load, column="p.id", frame=source_frame({"value": ["99999"]}))]
    )

    assert verdict["rule"].to_list() == ["overflow"]


def test_values_of_a_sequence_are_reserved(opened: Open) -> None:
    database = opened("CREATE TABLE t (id serial PRIMARY KEY); SELECT nextval('t_id_seq')")
    database.session.catalog()

    assert database.session.reserve([Reserve(table="t", column="id", count=3)])[0] == [2, 3, 4]
    assert database.rows("SELECT nextval('t_id_seq')") == [(5,)]


# ---- transactions ----


def test_nothing_is_written_before_begin_and_nothing_stays_without_commit(opened: Open) -> None:
    database = opened()
    catalog = database.session.catalog()
    plan = write_plan(catalog, [database.batch(catalog, "universities", universities("u"))], catalog.empty)

    database.session.begin()
    database.session.write(plan, COPY)
    seen_before = database.rows("SELECT count(*) FROM universities")
    database.session.rollback()

    assert seen_before == [(0,)]
    assert database.rows("SELECT count(*) FROM universities") == [(0,)]


def test_closing_undoes_what_was_not_committed(opened: Open) -> None:
    database = opened()
    database.session.catalog()
    database.session.begin()
    database.session.create(["CREATE TABLE made (a int)"])

    database.session.close()

    assert database.rows("SELECT to_regclass('made')") == [(None,)]


def test_the_transaction_has_the_settings_isolation_timeouts_and_utc(opened: Open) -> None:
    database = opened(isolation="serializable", lock_timeout="7s", statement_timeout="9min")
    database.session.catalog()
    names = ("transaction_isolation", "lock_timeout", "statement_timeout", "timezone", "datestyle")

    database.session.begin()
    inside = database.session.wire.ask([(psycopg.sql.SQL(f"SHOW {name}"), ()) for name in names])
    database.session.rollback()
    outside = database.session.wire.ask([(psycopg.sql.SQL("SHOW lock_timeout"), ())])

    assert [rows[0][0] for rows in inside] == ["serializable", "7s", "9min", "UTC", "ISO, YMD"]
    assert outside == [[("0",)]]


def test_an_unknown_isolation_is_refused_with_the_known_ones(opened: Open) -> None:
    database = opened(isolation="snapshot")

    with pytest.raises(ConfigurationError, match="not one of read committed, repeatable read, serializable"):
        database.session.begin()


def test_a_read_only_transaction_writes_nothing(opened: Open) -> None:
    database = opened()
    database.session.catalog()
    database.session.begin(read_only=True)

    with pytest.raises(WriteError) as caught:
        database.session.create(["CREATE TABLE made (a int)"])
    assert caught.value.sqlstate == "25006"


def test_a_commit_that_the_server_turns_into_a_rollback_is_an_error(opened: Open) -> None:
    database = opened()
    database.session.catalog()
    database.session.begin()
    with pytest.raises(WriteError):
        database.session.create(["SELECT 1/0 FROM nothing"])

    with pytest.raises(WriteError, match="rolled it back"):
        database.session.commit()


def test_a_constraint_that_is_checked_at_commit_is_a_data_fault(opened: Open) -> None:
    database = opened(
        "CREATE TABLE p (id int PRIMARY KEY);"
        "CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p DEFERRABLE INITIALLY DEFERRED); INSERT INTO p VALUES (1)"
    )

    with pytest.raises(DataFaults) as caught:
        database.write("c", {"id": ["1"], "p_id": ["7"]})
    assert caught.value.faults[0].rule == "missing-parent"


def test_a_session_that_was_cut_ends_in_errors_of_ours_and_rolls_back_quietly(opened: Open) -> None:
    database = opened()
    database.session.catalog()
    database.session.begin()
    database.session.find_empty(["universities"])
    database.rows(f"SELECT pg_terminate_backend({database.session.wire.connection.info.backend_pid}, 5000)")

    with pytest.raises(WriteError):
        database.session.find_empty(["universities"])
    with pytest.raises(WriteError):
        database.session.commit()
    database.session.rollback()
    database.session.close()


# ---- writing ----


@SWITCHES
def test_new_rows_are_created_and_equal_rows_left_alone(opened: Open, switches: frozenset[str]) -> None:
    database = opened()

    first = database.write("universities", universities("u", "v"), switches)
    ctids = database.rows("SELECT ctid, xmin FROM universities ORDER BY slug")
    second = database.write("universities", universities("u", "v"), switches)

    assert (first, second) == (Outcomes(created=2), Outcomes(unchanged=2))
    assert database.rows("SELECT ctid, xmin FROM universities ORDER BY slug") == ctids


@SWITCHES
def test_only_rows_that_differ_are_updated(opened: Open, switches: frozenset[str]) -> None:
    database = opened()
    database.write("universities", universities("u", "v"), switches)

    changed = {**universities("u", "v", "w"), "name": ["U", None, "W"]}

    assert database.write("universities", changed, switches) == Outcomes(created=1, updated=1, unchanged=1)
    assert database.rows("SELECT slug, name FROM universities ORDER BY 1") == [
        ("u", "U"),
        ("v", None),
        ("w", "W"),
    ]


@SWITCHES
def test_a_column_absent_from_the_files_is_left_alone_and_takes_its_default(
    opened: Open, switches: frozenset[str]
) -> None:
    database = opened(
        "CREATE TABLE t (code text PRIMARY KEY, a text, b text DEFAULT 'default'); INSERT INTO t VALUES ('x', 'old', 'kept')"
    )

    database.write("t", {"code": ["x", "y"], "a": ["new", "new"]}, switches)

    assert database.rows("SELECT * FROM t ORDER BY 1") == [("x", "new", "kept"), ("y", "new", "default")]


@SWITCHES
def test_a_change_that_plain_equality_does_not_see_is_written(opened: Open, switches: frozenset[str]) -> None:
    database = opened("CREATE TABLE t (code text PRIMARY KEY, n numeric, b jsonb, i interval)")
    database.write("t", {"code": ["x"], "n": ["1.5"], "b": ["1.0"], "i": ["1 day"]}, switches)

    written = database.write("t", {"code": ["x"], "n": ["1.500"], "b": ["1.00"], "i": ["24:00:00"]}, switches)

    assert written == Outcomes(updated=1)
    assert database.rows("SELECT n::text, b::text, i::text FROM t") == [("1.500", "1.00", "24:00:00")]


@SWITCHES
def test_insert_mode_leaves_existing_rows_as_they_are(opened: Open, switches: frozenset[str]) -> None:
    database = opened()
    database.write("universities", universities("u"), switches)

    written = database.write("universities", universities("u", "v", name="other"), switches, mode="insert")

    assert written == Outcomes(created=1, unchanged=1)
    assert database.rows("SELECT slug, name FROM universities ORDER BY 1") == [("u", "U"), ("v", "other")]


@SWITCHES
def test_sequences_end_above_the_ids_written_and_are_never_lowered(
    opened: Open, switches: frozenset[str]
) -> None:
    database = opened(
        "CREATE TABLE a (id serial PRIMARY KEY); CREATE TABLE b (id serial PRIMARY KEY); ALTER SEQUENCE b_id_seq RESTART 500"
    )

    for table in ("a", "b"):
        database.write(table, {"id": ["7", "50"]}, switches)

    assert database.rows("SELECT nextval('a_id_seq'), nextval('b_id_seq')") == [(51, 500)]


@SWITCHES
def test_a_second_run_steps_no_sequence(opened: Open, switches: frozenset[str]) -> None:
    database = opened("CREATE TABLE t (id serial PRIMARY KEY, code text UNIQUE)")
    database.write("t", {"code": ["x"]}, switches)
    before = database.rows("SELECT last_value, is_called FROM t_id_seq")

    database.write("t", {"code": ["x"]}, switches)

    assert database.rows("SELECT last_value, is_called FROM t_id_seq") == before


@SWITCHES
def test_explicit_ids_go_into_an_identity_column(opened: Open, switches: frozenset[str]) -> None:
    database = opened("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code text)")

    first = database.write("t", {"id": ["3"], "code": ["x"]}, switches)
    second = database.write("t", {"id": ["3"], "code": ["y"]}, switches)

    assert (first, second) == (Outcomes(created=1), Outcomes(updated=1))
    assert database.rows("SELECT * FROM t") == [(3, "y")]


@SWITCHES
def test_the_foreign_keys_are_afterwards_as_they_were(opened: Open, switches: frozenset[str]) -> None:
    database = opened(SCHOOL + "; COMMENT ON CONSTRAINT faculties_university_id_fkey ON faculties IS 'why'")
    question = "SELECT conname, pg_get_constraintdef(oid), convalidated, obj_description(oid) FROM pg_constraint WHERE contype = 'f'"
    before = database.rows(question)
    catalog = database.session.catalog()
    parents = database.batch(catalog, "universities", universities("u"))
    children = database.batch(
        catalog, "faculties", {"id": [B], "university_id": [str(parents_id(parents))], "code": ["x"]}
    )

    database.session.begin()
    database.session.write(write_plan(catalog, [parents, children], catalog.empty), switches)
    database.session.commit()

    assert database.rows(question) == before
    assert database.rows("SELECT code FROM faculties") == [("x",)]


def parents_id(made: Batch) -> UUID:
    return UUID(int=made.frame["id"][0])


@SWITCHES
def test_tables_that_refer_to_each_other_are_written_together(opened: Open, switches: frozenset[str]) -> None:
    database = opened(
        "CREATE TABLE heads (id int PRIMARY KEY, tail_id int NOT NULL);"
        "CREATE TABLE tails (id int PRIMARY KEY, head_id int NOT NULL REFERENCES heads);"
        "ALTER TABLE heads ADD FOREIGN KEY (tail_id) REFERENCES tails"
    )
    catalog = database.session.catalog()
    columns: dict[str, Columns] = {
        "heads": {"id": ["1"], "tail_id": ["2"]},
        "tails": {"id": ["2"], "head_id": ["1"]},
    }
    loads = loads_of(catalog, columns)  # type: ignore[arg-type]
    group = tuple(table_write(catalog, batch(load, columns[load.table])) for load in loads)
    found = []
    for _ in range(2):
        plan = WritePlan(groups=(group,), empty=database.session.catalog().empty)
        database.session.begin()
        written = database.session.write(plan, switches)
        database.session.commit()
        found.append(outcomes(written))

    assert found == [
        dict.fromkeys(("heads", "tails"), Outcomes(created=1)),
        dict.fromkeys(("heads", "tails"), Outcomes(unchanged=1)),
    ]


@SWITCHES
def test_a_refused_row_leaves_everything_as_it_was(opened: Open, switches: frozenset[str]) -> None:
    database = opened("CREATE TABLE t (code text PRIMARY KEY, n int CHECK (n > 0))")

    with pytest.raises(DataFaults) as caught:
        database.write("t", {"code": ["x", "y"], "n": ["1", "-1"]}, switches)
    database.session.rollback()

    assert (caught.value.faults[0].rule, caught.value.faults[0].table) == ("constraint", "t")
    assert database.rows("SELECT * FROM t") == []


NETWORKS = pytest.mark.parametrize("network", [0.0, 1.0], ids=["fast network", "slow network"])


@NETWORKS
@pytest.mark.parametrize("broken", [0, 2])
def test_a_row_that_copy_refuses_is_told_by_file_and_row(
    opened: Open, monkeypatch: pytest.MonkeyPatch, broken: int, network: float
) -> None:
    monkeypatch.setattr(Wire, "network_seconds", network)
    database = opened("CREATE TABLE t (code text PRIMARY KEY, n int)")
    numbers = ["1", "2", "3"]
    numbers[broken] = "x"

    with pytest.raises(DataFaults) as caught:
        database.write("t", {"code": ["a\nb", "\n", "\t\\"], "n": numbers})

    (fault,) = caught.value.faults
    assert (fault.rule, fault.file, fault.row, fault.column) == ("type", "t.csv", broken, "n")


@NETWORKS
@pytest.mark.parametrize("slug", ["another", "u"], ids=["another key", "the same key"])
def test_a_table_that_was_filled_meanwhile_is_not_copied_into(
    opened: Open, monkeypatch: pytest.MonkeyPatch, slug: str, network: float
) -> None:
    monkeypatch.setattr(Wire, "network_seconds", network)
    database = opened()
    catalog = database.session.catalog()
    plan = write_plan(catalog, [database.batch(catalog, "universities", universities("u"))], catalog.empty)
    database.rows(f"INSERT INTO universities VALUES ('{A}', '{slug}') RETURNING 1")
    database.session.begin()

    with pytest.raises(WriteError, match="another session wrote to a table that was empty") as caught:
        database.session.write(plan, COPY)
    database.session.rollback()

    assert caught.value.sqlstate == "40001"
    assert database.rows("SELECT slug FROM universities") == [(slug,)]


def test_tables_in_use_are_loaded_with_their_keys_on(opened: Open) -> None:
    database = opened(lock_timeout="5s")
    catalog = database.session.catalog()
    parents = database.batch(catalog, "universities", universities("u"))
    children = database.batch(
        catalog, "faculties", {"id": [B], "university_id": [str(parents_id(parents))], "code": ["x"]}
    )
    database.session.begin()

    with database.other.transaction():
        database.other.execute("SELECT FROM universities")
        database.session.write(write_plan(catalog, [parents, children], catalog.empty), COPY)
    database.session.commit()

    assert any("foreign keys stay on" in note for note in database.monitor.notes)
    assert database.rows("SELECT code FROM faculties") == [("x",)]


@SWITCHES
def test_rows_into_a_table_with_row_security_pass_its_policies(
    opened: Open, switches: frozenset[str]
) -> None:
    database = opened(
        "CREATE TABLE t (code text PRIMARY KEY); ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
        "CREATE POLICY short ON t USING (true) WITH CHECK (length(code) < 3)"
    )

    assert database.write("t", {"code": ["a", "b"]}, switches) == Outcomes(created=2)
    with pytest.raises(WriteError) as caught:
        database.write("t", {"code": ["long"]}, switches)
    assert caught.value.sqlstate == "42501"


@SWITCHES
def test_rows_go_to_the_partitions_they_belong_to(opened: Open, switches: frozenset[str]) -> None:
    database = opened(
        "CREATE TABLE t (code text PRIMARY KEY) PARTITION BY LIST (code);"
        "CREATE TABLE t_a PARTITION OF t FOR VALUES IN ('a')"
    )

    assert database.write("t", {"code": ["a"]}, switches) == Outcomes(created=1)
    with pytest.raises(DataFaults):
        database.write("t", {"code": ["b"]}, switches)


@SWITCHES
def test_triggers_fire_once_for_each_row_that_changes(opened: Open, switches: frozenset[str]) -> None:
    database = opened(
        "CREATE TABLE t (code text PRIMARY KEY, n int); CREATE TABLE log (code text);"
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO log VALUES (NEW.code); RETURN NEW; END $$;"
        "CREATE TRIGGER noted AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note()"
    )
    database.write("t", {"code": ["a", "b"], "n": ["1", "1"]}, switches)
    database.write("t", {"code": ["a", "b"], "n": ["1", "2"]}, switches)
    database.write("t", {"code": ["a", "b"], "n": ["1", "2"]}, switches)

    assert database.rows("SELECT code, count(*) FROM log GROUP BY 1 ORDER BY 1") == [("a", 1), ("b", 2)]


@pytest.mark.parametrize("switches", [COPY, BULK], ids=["copy", "bulk"])
def test_many_rows_are_merged_as_few_are(opened: Open, switches: frozenset[str]) -> None:
    database = opened(
        "CREATE TABLE t (code int PRIMARY KEY, name text); INSERT INTO t VALUES (-1, 'mine'), (0, 'old')"
    )
    codes = [str(n) for n in range(33_000)]
    columns = {"code": codes, "name": [f"name {n}" for n in codes]}

    first = database.write("t", columns, switches)
    second = database.write("t", columns, switches)

    assert (first, second) == (Outcomes(created=32_999, updated=1), Outcomes(unchanged=33_000))
    assert database.rows("SELECT count(*), count(DISTINCT name) FROM t") == [(33_001, 33_001)]


def test_an_empty_plan_writes_nothing(opened: Open) -> None:
    database = opened()
    database.session.catalog()
    database.session.begin()

    assert database.session.write(WritePlan(groups=(), empty=frozenset()), COPY) == []


def test_tables_are_made_inside_the_transaction(opened: Open) -> None:
    database = opened()
    database.session.catalog()
    database.session.begin()
    database.session.create(["CREATE TABLE made (a int)", "CREATE INDEX ON made (a)"])
    before = database.rows("SELECT to_regclass('made')")
    database.session.commit()

    assert before == [(None,)]
    assert database.rows("SELECT to_regclass('made') IS NOT NULL") == [(True,)]


def test_the_wal_a_commit_wrote_is_known(opened: Open) -> None:
    database = opened()
    database.session.catalog()
    before = database.session.wal_position()
    database.write("universities", universities("u"))
    after = database.session.wal_position()

    assert before is not None
    assert after is not None
    assert after > before


def test_uuids_are_read_as_numbers() -> None:
    texts = pl.Series([str(A), None])

    assert uuid_numbers(texts).to_list() == [A.int, None]
