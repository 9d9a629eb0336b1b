"""What a preview says is what a seed then does, and saying it touches nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL

from seedlab.database.postgres import write as postgres_write
from seedlab.database.writer import Session
from seedlab.errors import DataFaults, WriteError
from seedlab.flow import Outcomes, WritePlan
from tests.conformance.test_shapes import CYCLE
from tests.fix_postgres import PostgresServer
from tests.support.cases import some
from tests.support.previewing import Counts, by_seed, is_locked, preview, preview_in, state
from tests.support.school import CITIES, FILES, PUPILS, SEED, STAGE, TABLES
from tests.support.seeding import Way, counted, execute, rows_of, seed, seed_in, write

Files = Mapping[str, str]
BOTH_INSERT = STAGE.format("all") + "".join(
    SEED.format(name, f"{name}.csv") + 'mode = "insert"\n' for name in ("cities", "pupils")
)
TWO_SEEDS = STAGE.format("cities") + "".join(
    SEED.format(name, f"{name}.csv") + 'table = "cities"\n' for name in ("north", "south")
)
SCHOOLS = """
CREATE TABLE schools (id SERIAL KEY, code text NOT NULL UNIQUE);
CREATE TABLE classes (
  id SERIAL KEY, school_id int NOT NULL REFERENCES schools, name text NOT NULL, UNIQUE (school_id, name)
);
CREATE TABLE desks (
  id SERIAL KEY, class_id int NOT NULL REFERENCES classes, number int NOT NULL, owner text,
  UNIQUE (class_id, number)
);
"""
DESKS = "class.school.code,class.name,number,owner\n"
PEOPLE = """
CREATE TABLE people (id SERIAL KEY, email text NOT NULL UNIQUE, boss_id int REFERENCES people);
"""
LINKS = """
CREATE TABLE courses (id uuid PRIMARY KEY, slug text NOT NULL UNIQUE, name text);
CREATE TABLE needs (
  course_id uuid NOT NULL REFERENCES courses, needed_id uuid NOT NULL REFERENCES courses, why text,
  PRIMARY KEY (course_id, needed_id)
);
"""
NAMES = """
CREATE TABLE countries (id SERIAL KEY, code text NOT NULL UNIQUE, name text NOT NULL UNIQUE);
CREATE TABLE towns (id SERIAL KEY, name text NOT NULL UNIQUE, country_id int NOT NULL REFERENCES countries);
"""
PRICES = "CREATE TABLE prices (code text PRIMARY KEY, price numeric, note json);"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Tables, what is in them, and files; `expected` is what the files then do, by dialect if need be."""

    name: str
    tables: str | Mapping[str, str] = TABLES
    seeded: Files = field(default_factory=dict)
    sql: str = ""
    files: Files = field(default_factory=lambda: FILES)
    expected: Counts | Mapping[str, Counts]

    def __str__(self) -> str:
        return self.name

    def prepare(self, folder: Path, url: str) -> Counts:
        """Make it so; answers what is expected."""
        dialect, _, _ = url.partition(":")
        execute(url, self.tables if isinstance(self.tables, str) else self.tables[dialect])
        if self.seeded:
            seed(write(folder, self.seeded), url)
        if self.sql:
            execute(url, self.sql)
        write(folder, self.files)
        return self.expected if isinstance(self.expected, tuple) else self.expected[dialect]


SITUATIONS = (
    Situation(name="empty tables", expected=(5, 0, 0)),
    Situation(
        name="one table of two is empty", sql="INSERT INTO cities (code) VALUES ('hfa')", expected=(4, 1, 0)
    ),
    Situation(name="nothing changed", seeded=FILES, expected=(0, 0, 5)),
    Situation(
        name="one value changed",
        seeded=FILES,
        files={"pupils.csv": PUPILS.replace("Ada,hfa,9", "Ada,hfa,10")},
        expected=(0, 1, 4),
    ),
    Situation(
        name="a value becomes NULL",
        seeded=FILES,
        files={"pupils.csv": PUPILS.replace("Ada,hfa,9", "Ada,hfa,")},
        expected=(0, 1, 4),
    ),
    Situation(
        name="NULL becomes a value",
        seeded=FILES,
        files={"pupils.csv": PUPILS.replace("Bob,tlv,", "Bob,tlv,7")},
        expected=(0, 1, 4),
    ),
    Situation(
        name="a new row beside others",
        seeded=FILES,
        files={"pupils.csv": PUPILS + "Dan,tlv,8\n"},
        expected=(1, 0, 5),
    ),
    Situation(
        name="new rows, and one that moves, below a new parent",
        seeded=FILES,
        files={
            "cities.csv": CITIES + "eil,Eilat\nard,Arad\n",
            "pupils.csv": PUPILS.replace("Ada,hfa", "Ada,ard") + "Dan,eil,8\nEve,ard,7\n",
        },
        expected=(4, 1, 4),
    ),
    Situation(
        name="keys that go through new parents",
        tables=SCHOOLS,
        seeded={
            "schools.csv": "code\ns1\n",
            "classes.csv": "school.code,name\ns1,a\n",
            "desks.csv": DESKS + "s1,a,1,Ada\n",
        },
        files={
            "schools.csv": "code\ns1\ns2\ns3\n",
            "classes.csv": "school.code,name\ns1,a\ns1,b\ns2,a\ns3,a\n",
            "desks.csv": DESKS + "s1,a,1,Bob\ns1,a,2,\ns1,b,1,Ada\ns2,a,1,Ada\ns3,a,1,Ada\n",
        },
        expected=(9, 1, 2),
    ),
    Situation(
        name="a row that has the lowest id there is",
        tables=SCHOOLS,
        sql="INSERT INTO schools (id, code) VALUES (-2147483648, 'none');"
        "INSERT INTO classes (school_id, name) VALUES (-2147483648, 'a')",
        files={"schools.csv": "code\ns1\n", "classes.csv": "school.code,name\ns1,a\n"},
        expected=(2, 0, 0),
    ),
    Situation(
        name="rows that refer to their own table",
        tables=PEOPLE,
        seeded={"people.csv": "email,boss.email\na,\nb,a\n"},
        files={"people.csv": "email,boss.email\na,d\nb,a\nc,b\nd,\n"},
        expected=(2, 1, 1),
    ),
    Situation(
        name="tables that need each other",
        tables=CYCLE,
        seeded={
            "teams.csv": "name,leader.email\nred,ada\nblue,bob\n",
            "people.csv": "email,team.name\nada,red\nbob,red\ncid,blue\n",
        },
        files={
            "teams.csv": "name,leader.email\nred,ada\nblue,cid\ngreen,dan\n",
            "people.csv": "email,team.name\nada,red\nbob,red\ncid,blue\ndan,green\n",
        },
        expected=(2, 1, 4),
    ),
    Situation(
        name="insert mode",
        sql="INSERT INTO cities (id, code, name) VALUES (77, 'hfa', 'old')",
        files={**FILES, "seedlab.toml": BOTH_INSERT},
        expected=(4, 0, 1),
    ),
    Situation(
        name="rows of an application, with its own ids",
        sql="INSERT INTO cities (id, code, name) VALUES (77, 'hfa', 'old'), (78, 'app', 'its own');"
        "INSERT INTO pupils (name, city_id, age) VALUES ('Ada', 77, 9), ('Cid', 78, 11)",
        expected=(2, 2, 1),
    ),
    Situation(
        name="ids that the files give",
        seeded={"cities.csv": "id,code\n50,hfa\n40,tlv\n", "pupils.csv": "id,name,city.code\n7,Ada,hfa\n"},
        files={
            "cities.csv": "id,code\n50,hfa\n40,tlw\n60,eil\n",
            "pupils.csv": "id,name,city.code\n7,Ada,eil\n8,Bob,hfa\n",
        },
        expected=(2, 2, 1),
    ),
    Situation(
        name="two seeds of one table",
        seeded={"seedlab.toml": TWO_SEEDS, "north.csv": CITIES, "south.csv": "name,code\nEilat,eil\n"},
        files={"south.csv": "name,code\nEylat,eil\nArad,ard\n"},
        expected=(1, 1, 2),
    ),
    Situation(
        name="two seeds of one table, with other columns and modes",
        seeded={
            "seedlab.toml": TWO_SEEDS + 'mode = "insert"\n',
            "north.csv": CITIES,
            "south.csv": "code\neil\n",
        },
        files={"north.csv": CITIES.replace("Haifa", "Hefa"), "south.csv": "code,name\neil,Eylat\nard,Arad\n"},
        expected=(1, 1, 2),
    ),
    Situation(
        name="links, and uuid ids",
        tables=LINKS,
        seeded={"courses.csv": "slug,name\na,A\nb,B\n", "needs.csv": "course.slug,needed.slug,why\na,b,x\n"},
        files={
            "courses.csv": "slug,name\na,A\nb,Bee\nc,C\n",
            "needs.csv": "course.slug,needed.slug,why\na,b,y\na,c,\nc,b,z\n",
        },
        expected=(3, 2, 1),
    ),
    Situation(
        name="new parents named by another key",
        tables=NAMES,
        seeded={"countries.csv": "code,name\nil,Israel\n", "towns.csv": "name,country.name\nHaifa,Israel\n"},
        files={
            "countries.csv": "code,name\nil,Israel\nfr,France\n",
            "towns.csv": "name,country.name\nHaifa,France\nLyon,France\n",
        },
        expected=(2, 1, 1),
    ),
    Situation(
        name="numbers and documents spelled otherwise",
        tables=PRICES,
        seeded={"prices.csv": 'code,price,note\na,1.0,"{""x"": 1}"\nb,2,\n'},
        files={"prices.csv": 'code,price,note\na,1.00,"{""x"": 1}"\nb,2,"{""x"":1}"\n'},
        expected={"postgresql": (0, 2, 0), "sqlite": (0, 1, 1)},
    ),
)


QUICK = (
    "empty tables",
    "nothing changed",
    "one table of two is empty",
    "new rows, and one that moves, below a new parent",
    "keys that go through new parents",
    "tables that need each other",
    "insert mode",
    "two seeds of one table, with other columns and modes",
    "new parents named by another key",
    "numbers and documents spelled otherwise",
)
EACH_SITUATION = pytest.mark.parametrize("situation", some(SITUATIONS, *QUICK))
# For what is claimed besides: one where nothing is to do, and those of most tables and ways.
OTHER_SITUATION = pytest.mark.parametrize("situation", some(SITUATIONS, *(QUICK[n] for n in (1, 3, 5, 7))))


# ---- what is said ---------------------------------------------------------------------------------------


@EACH_SITUATION
def test_a_preview_says_what_a_seed_does_and_touches_nothing(
    folder: Path, clean_database_url: str, situation: Situation
) -> None:
    url = clean_database_url
    expected = situation.prepare(folder, url)
    before = state(url)

    plain, lined = preview(folder, url), preview(folder, url, differences=True)

    assert state(url) == before
    assert plain.counted == expected
    assert plain.by_seed == lined.by_seed == by_seed(seed(folder, url))
    assert lined.lines_counted == expected[:2]
    assert all(each.differences is None for each in plain.classified)


@OTHER_SITUATION
@pytest.mark.parametrize("rows", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_rows_beyond_one_statement_are_added_up(
    folder: Path,
    clean_postgres_url: str,
    situation: Situation,
    rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = clean_postgres_url
    expected = situation.prepare(folder, url)
    whole = preview(folder, url, differences=True)
    monkeypatch.setattr(postgres_write, "ARRAY_ROWS", rows)

    plain = preview(folder, url)
    lined = preview(folder, url, differences=True)

    tables = {each.load.table for each in whole.classified}
    assert plain.counted == expected
    assert plain.by_seed == lined.by_seed == whole.by_seed
    assert [lined.lines(name) for name in tables] == [whole.lines(name) for name in tables]


@OTHER_SITUATION
@pytest.mark.parametrize("level", ["legacy", pytest.param("bulk", marks=pytest.mark.slow)])
def test_a_preview_is_the_same_at_every_level(
    folder: Path, clean_database_url: str, situation: Situation, level: str
) -> None:
    way = Way(level=level)  # type: ignore[arg-type]
    expected = situation.prepare(folder, clean_database_url)

    told = preview_in(way, folder, clean_database_url)

    assert told.counted == expected
    assert told.by_seed == by_seed(seed_in(way, folder, clean_database_url))


def test_a_load_that_is_streamed_is_told_whole(school: Path, url: str) -> None:
    seed(school, url)
    write(school, {"pupils.csv": PUPILS.replace("Ada,hfa,9", "Ada,hfa,10") + "Dan,tlv,8\n"})

    told = preview(school, url, batch_rows=2, differences=True)

    assert told.counted == (1, 1, 4)
    assert [line[1:4] for line in told.lines("pupils")] == [(0, "updated", "age"), (3, "created", None)]


def test_rows_of_tables_that_are_yet_to_be_made_are_new(folder: Path, clean_database_url: str) -> None:
    models = """
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text
metadata = MetaData()
Table("cities", metadata, Column("id", Integer, primary_key=True), Column("code", Text, nullable=False, unique=True))
Table("pupils", metadata, Column("name", Text, primary_key=True),
      Column("city_id", Integer, ForeignKey("cities.id"), nullable=False))
"""
    config = '[project]\nschema = "models.py:metadata"\n' + STAGE.format("all")
    config += SEED.format("cities", "cities.csv") + SEED.format("pupils", "pupils.csv")
    files = {
        "models.py": models,
        "cities.csv": "code\nhfa\n",
        "pupils.csv": "name,city.code\nAda,hfa\nBob,hfa\n",
    }
    write(folder, {"seedlab.toml": config, **files})
    again: list[int] = []

    def ask(session: Session, plan: WritePlan) -> None:
        unsaid = replace(plan, empty=frozenset())
        again.extend(each.outcomes.created for each in session.classify(unsaid))

    told = preview(folder, clean_database_url, differences=True, inside=ask)

    assert told.counted == (sum(again), 0, 0) == (3, 0, 0)
    assert told.lines_counted == (3, 0)
    assert counted(seed(folder, clean_database_url)) == (3, 0, 0)


@pytest.mark.parametrize(
    ("own", "referring"),
    [
        ("smallserial", "smallint"),
        ("bigserial", "bigint"),
        ("bigserial", "int"),
        ("numeric(5) DEFAULT nextval('ids')", "int"),
        ("positive DEFAULT nextval('ids')", "positive"),
        ("serial", "positive"),
    ],
)
def test_the_id_of_a_new_parent_fits_whoever_refers_to_it(
    folder: Path, clean_postgres_url: str, own: str, referring: str
) -> None:
    url = clean_postgres_url
    execute(
        url,
        f"""
        CREATE DOMAIN positive AS int CHECK (VALUE > 0);
        CREATE SEQUENCE ids;
        CREATE TABLE parents (id {own} PRIMARY KEY, code text UNIQUE);
        CREATE TABLE children (parent_id {referring} REFERENCES parents, code text, PRIMARY KEY (parent_id, code));
        ALTER SEQUENCE ids OWNED BY parents.id;
        INSERT INTO parents (code) VALUES ('a'); INSERT INTO children VALUES (1, 'x');
        """,
    )
    write(folder, {"parents.csv": "code\na\nb\nc\n", "children.csv": "parent.code,code\na,x\nb,x\nc,x\n"})
    before = state(url)

    told = preview(folder, url)

    assert state(url) == before
    assert told.counted == (4, 0, 2) == counted(seed(folder, url))


# ---- differences ----------------------------------------------------------------------------------------


def test_differences_are_told_by_row_and_column(school: Path, url: str) -> None:
    seed(school, url)
    execute(url, "UPDATE pupils SET age = NULL, city_id = 2 WHERE name = 'Cid'")
    write(
        school,
        {
            "cities.csv": CITIES.replace("Haifa", "Hefa"),
            "pupils.csv": "name,city.code,age\nEve,hfa,\n" + PUPILS[19:],
        },
    )

    told = preview(school, url, differences=True)

    assert told.lines("cities") == [(0, 0, "updated", "name", "Haifa", "Hefa")]
    assert told.lines("pupils") == [
        (0, 0, "created", None, None, None),
        (0, 3, "updated", "age", None, "11"),
        (0, 3, "updated", "city_id", "2", "1"),
    ]


def test_rows_of_several_files_are_told_by_file(folder: Path, url: str) -> None:
    execute(url, "INSERT INTO cities (code, name) VALUES ('b', 'B'), ('c', 'C')")
    config = STAGE.format("all") + SEED.format("cities", "*.csv") + 'table = "cities"\n'
    write(
        folder, {"seedlab.toml": config, "1.csv": "code,name\na,A\nb,B\n", "2.csv": "code,name\nc,Z\nd,D\n"}
    )

    told = preview(folder, url, differences=True)

    assert [line[:4] for line in told.lines("cities")] == [
        (0, 0, "created", None),
        (1, 0, "updated", "name"),
        (1, 1, "created", None),
    ]


def test_a_row_of_insert_mode_has_no_difference(folder: Path, url: str) -> None:
    execute(url, "INSERT INTO cities (code, name) VALUES ('hfa', 'old')")
    write(folder, {**FILES, "seedlab.toml": BOTH_INSERT})

    assert preview(folder, url, differences=True).lines("cities") == [(0, 1, "created", None, None, None)]


def test_values_are_spelled_as_the_database_does(folder: Path, clean_database_url: str) -> None:
    url = clean_database_url
    execute(
        url,
        "CREATE TABLE things (code text PRIMARY KEY, flag boolean, price numeric(8,2), raw bytea, day date, note text);"
        "INSERT INTO things VALUES ('a', true, 1.5, NULL, '2024-01-31', '')",
    )
    write(folder, {"things.csv": "code,flag,price,raw,day,note\na,no,2,\\x0aff,2024-02-01,\n"})

    told = {line[3]: line[4:] for line in preview(folder, url, differences=True).lines("things")}

    own = {
        "postgresql": {"flag": ("true", "false"), "price": ("1.50", "2.00")},
        "sqlite": {"flag": ("1", "0"), "price": ("1.5", "2")},
    }[url.partition(":")[0]]
    same = {"raw": (None, "\\x0aff"), "day": ("2024-01-31", "2024-02-01"), "note": ("", None)}
    assert told == {**own, **same}


def test_a_difference_that_equality_does_not_see_is_told(folder: Path, clean_postgres_url: str) -> None:
    execute(clean_postgres_url, PRICES + "INSERT INTO prices (code, price) VALUES ('a', 1.0), ('b', 1.00)")
    write(folder, {"prices.csv": "code,price\na,1.00\nb,1.00\n"})

    told = preview(folder, clean_postgres_url, differences=True)

    assert told.lines("prices") == [(0, 0, "updated", "price", "1.0", "1.00")]


# ---- what is not touched --------------------------------------------------------------------------------


def test_on_postgresql_it_is_one_read_only_transaction_that_logs_nothing(
    folder: Path, clean_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_write, "ARRAY_ROWS", 1)
    url = clean_postgres_url
    _new_parent().prepare(folder, url)
    seen: list[object] = []

    def look(session: Session, _: object) -> None:
        ask = "SELECT current_setting('transaction_read_only'), pg_current_xact_id_if_assigned() IS NULL"
        seen.extend(session.wire.ask([(SQL(ask), ())])[0])  # type: ignore[attr-defined]

    preview(folder, url, differences=True, inside=look)

    assert seen == [("on", True)]


def test_on_postgresql_not_a_byte_of_wal_is_written(folder: Path, clean_postgres_url: str) -> None:
    url = clean_postgres_url
    if rows_of(url, "SELECT current_setting('server_version_num')::int < 180000") == [(True,)]:
        pytest.skip("before 18 the server counts WAL for all backends together, and others are at work")
    _new_parent().prepare(folder, url)
    execute(url, "VACUUM")  # else reading prunes pages of the catalog, which the server logs as ours
    logged: list[int] = []

    def told(session: Session, last: str) -> None:
        """End the transaction, so that the server counts what its backend logged."""
        wire = session.wire  # type: ignore[attr-defined]
        wire.ask([(SQL(each), ()) for each in ("SELECT pg_stat_force_next_flush()", last)])
        pid = wire.connection.info.backend_pid
        logged.append(rows_of(url, f"SELECT wal_bytes::bigint FROM pg_stat_get_backend_wal({pid})")[0][0])

    def look(session: Session, _: object) -> None:
        told(session, "ROLLBACK")
        told(session, "UPDATE cities SET name = 'x'")

    preview(folder, url, inside=look)

    assert logged[0] == 0
    assert logged[1] > 0


def test_on_sqlite_no_lock_is_taken_and_none_needed(folder: Path, sqlite_url: str) -> None:
    expected = _new_parent().prepare(folder, sqlite_url)
    locked: list[bool] = []

    told = preview(
        folder, sqlite_url, differences=True, inside=lambda *_: locked.append(is_locked(sqlite_url))
    )

    assert told.counted == expected
    assert locked == [False]


def test_a_transaction_can_be_asked_again(folder: Path, clean_database_url: str) -> None:
    _new_parent().prepare(folder, clean_database_url)
    again: list[list[Outcomes]] = []

    def ask(session: Session, plan: WritePlan) -> None:
        again.append([each.outcomes for each in session.classify(plan)])

    told = preview(folder, clean_database_url, inside=ask)

    assert again == [[each.outcomes for each in told.classified]]


def _new_parent() -> Situation:
    return next(each for each in SITUATIONS if each.name.endswith("below a new parent"))


@pytest.fixture
def reader(clean_postgres_url: str, postgres_server: PostgresServer) -> Iterator[str]:
    """A role that may read what is in the schema and nothing else; gives its URL."""
    if postgres_server.superuser_url is None:
        pytest.skip("the server given lets us make no role")
    url, role = clean_postgres_url, f"reader_{uuid.uuid4().hex}"
    name = rows_of(url, "SELECT current_database()")[0][0]
    with psycopg.connect(postgres_server.superuser_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN")
        execute(
            url, f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC; GRANT USAGE ON SCHEMA public TO {role};"
        )
        execute(url, f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {role}")
        yield url.replace("seedlab@", f"{role}@", 1)
        execute(url, f"GRANT TEMPORARY ON DATABASE {name} TO PUBLIC")
        execute(url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        admin.execute(f"DROP ROLE {role}")


@OTHER_SITUATION
def test_who_may_only_read_is_told_too(
    folder: Path, clean_postgres_url: str, reader: str, situation: Situation, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = situation.prepare(folder, clean_postgres_url)
    monkeypatch.setattr(postgres_write, "ARRAY_ROWS", 2)

    told = [preview(folder, reader, differences=lines).counted for lines in (False, True)]

    assert told == [expected, expected]
    if expected != (0, 0, expected[2]):
        with pytest.raises(WriteError):
            seed(folder, reader)


# ---- what is refused ------------------------------------------------------------------------------------


def test_an_id_that_a_row_does_not_have_is_refused_as_by_a_seed(folder: Path, url: str) -> None:
    execute(url, "INSERT INTO cities (id, code, name) VALUES (77, 'hfa', 'old')")
    config = STAGE.format("cities") + SEED.format("cities", "cities.csv")
    config += '[stages.seeds.tables]\ncities = { key = ["code"] }\n'
    write(folder, {"seedlab.toml": config, "cities.csv": "id,code,name\n50,hfa,new\n"})
    faults = []

    for call in (preview, seed):
        with pytest.raises(DataFaults) as failed:
            call(folder, url)
        faults.append([(each.rule, each.file, each.line) for each in failed.value.faults])

    assert faults == [[("id-conflict", "cities.csv", 2)]] * 2


@pytest.mark.parametrize("there", ["", "INSERT INTO days VALUES ('x', '2024-01-01')"])
def test_a_value_that_does_not_fit_is_refused_as_by_a_seed(
    folder: Path, clean_database_url: str, there: str
) -> None:
    url = clean_database_url
    execute(url, f"CREATE TABLE days (code text PRIMARY KEY, day date); {there}")
    write(folder, {"days.csv": "code,day\na,2024-02-30\n"})
    faults = []

    for call in (preview, seed):
        with pytest.raises(DataFaults) as failed:
            call(folder, url)
        faults.append([(each.rule, each.file, each.line) for each in failed.value.faults])

    assert faults == [[("type", "days.csv", 2)]] * 2
