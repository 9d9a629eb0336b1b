"""A large load takes indexes and keys off its empty tables and puts them on again: every one as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from seedlab.database.postgres import direct as postgres_direct
from seedlab.database.postgres import rebuilding
from seedlab.database.postgres import write as postgres_write
from seedlab.errors import DataFaults, WriteError
from seedlab.flow import Run
from tests.fix_postgres import PostgresServer
from tests.support.asking import asking
from tests.support.cases import some
from tests.support.seeding import execute, rows_of, seed, write
from tests.support.waiting import killed_asleep

ROWS = 60
TABLES = """
CREATE TABLE cities (id uuid PRIMARY KEY, code text NOT NULL UNIQUE, name text, rank int, spot int4range, tags text[]);
CREATE TABLE pupils (id uuid PRIMARY KEY, email text NOT NULL UNIQUE, city_id uuid NOT NULL REFERENCES cities,
  friend_id uuid REFERENCES pupils DEFERRABLE INITIALLY DEFERRED);
CREATE INDEX ON pupils (city_id)
"""
# All that says what the indexes and constraints of a database are, but for the numbers that the server gives them.
DEFINITIONS = """
SELECT 'index', i.indrelid::regclass::text, c.relname, pg_get_indexdef(c.oid), obj_description(c.oid, 'pg_class'),
  c.reloptions::text, ROW(i.indisunique, i.indisprimary, i.indimmediate, i.indisclustered, i.indisvalid, i.indisready,
    i.indisreplident, i.indisexclusion, i.indnkeyatts, i.indoption, c.relam, c.reltablespace, c.relowner)::text,
  (SELECT string_agg(a.attname || ' ' || a.attstattarget, ',' ORDER BY attnum) FROM pg_attribute a WHERE attrelid = c.oid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(c.oid), obj_description(c.oid, 'pg_constraint'),
  conkey::text || confkey::text, ROW(contype, condeferrable, condeferred, convalidated, conislocal, coninhcount, connoinherit,
    confupdtype, confdeltype, confmatchtype)::text, conindid::regclass::text
FROM pg_constraint c WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'column', attrelid::regclass::text, attname, attnotnull::text, NULL, NULL, NULL, NULL
FROM pg_attribute WHERE attnum > 0 AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r')
ORDER BY 1, 2, 3
"""
NODES = """
SELECT relname, oid::int8 FROM pg_class WHERE relkind = 'i' AND relnamespace = 'public'::regnamespace ORDER BY 1
"""
CONTENT = "SELECT code, name, p.email, (SELECT email FROM pupils f WHERE f.id = p.friend_id) FROM pupils p JOIN cities c ON c.id = city_id ORDER BY p.email"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every load is a large one."""
    monkeypatch.setattr(postgres_direct, "REBUILD_ROWS", 1)
    monkeypatch.setattr(postgres_direct, "REBUILD_TABLE_ROWS", 1)
    monkeypatch.setattr(postgres_write, "ARRAY_ROWS", 0)


@pytest.fixture
def url(clean_postgres_url: str) -> str:
    execute(clean_postgres_url, TABLES)
    return clean_postgres_url


@pytest.fixture
def school(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A project; with `among` one that has been seeded before, and has two tables more since, that are empty."""
    if getattr(request, "param", "alone") == "among":
        url = request.getfixturevalue("url")
        execute(url, "CREATE TABLE lands (id uuid PRIMARY KEY, name text NOT NULL UNIQUE)")
        seed(write(tmp_path / "school", {"lands.csv": "name\nAwa\n"}), url)
        write(tmp_path / "school", {"lands.csv": "name\nAwa\nBel\n"})
    return write(tmp_path / "school", school_files())


def situations(*slow: str) -> pytest.MarkDecorator:
    """Do it with all tables empty, and with others that have rows and get more of them in the same run."""
    given = [pytest.param(each, marks=[pytest.mark.slow] * (each in slow)) for each in ("alone", "among")]
    return pytest.mark.parametrize("school", given, indirect=True)


def school_files(pupils: str = "", cities: str = "") -> dict[str, str]:
    towns = "".join(f"c{n},City {n},{n}\n" for n in range(ROWS))
    people = "".join(f"p{n}@x,c{n % ROWS},p{(n + 7) % ROWS}@x\n" for n in range(ROWS))
    return {
        "cities.csv": f"code,name,rank\n{towns}{cities}",
        "pupils.csv": f"email,city.code,friend.email\n{people}{pupils}",
    }


def rebuilt(url: str, before: list[tuple[object, ...]]) -> set[object]:
    """Names of the indexes that were made anew."""
    return {name for name, _ in set(rows_of(url, NODES)) - set(before)}


def seeded(school: Path, url: str) -> tuple[Run, set[object]]:
    before = rows_of(url, NODES)
    run = seed(school, url)
    assert rows_of(url, "SELECT count(*) FROM pupils") == [(ROWS,)]
    return run, rebuilt(url, before)


ALL = {"cities_pkey", "cities_code_key", "pupils_pkey", "pupils_email_key", "pupils_city_id_idx"}

AWKWARD = {
    "plain": "",
    "partial": "CREATE INDEX few ON pupils (email) WHERE email LIKE 'p1%'",
    "unique partial": "CREATE UNIQUE INDEX few ON pupils (city_id) WHERE email < 'p1'",
    "expression": "CREATE UNIQUE INDEX low ON pupils (lower(email), (1))",
    "opclass": "CREATE INDEX pat ON cities (name text_pattern_ops DESC NULLS LAST, rank ASC NULLS FIRST)",
    "collation": 'CREATE INDEX col ON cities (name COLLATE "C")',
    "include": "CREATE UNIQUE INDEX inc ON cities (code) INCLUDE (name, rank)",
    "include in a constraint": "ALTER TABLE cities ADD CONSTRAINT inc UNIQUE (code, rank) INCLUDE (name)",
    "nulls not distinct": "ALTER TABLE pupils ADD CONSTRAINT nnd UNIQUE NULLS NOT DISTINCT (email, friend_id)",
    "nulls not distinct index": "CREATE UNIQUE INDEX nnd ON pupils (email, friend_id) NULLS NOT DISTINCT",
    "deferrable": "ALTER TABLE cities ADD CONSTRAINT later UNIQUE (rank) DEFERRABLE",
    "deferred": "ALTER TABLE cities ADD CONSTRAINT later UNIQUE (rank) DEFERRABLE INITIALLY DEFERRED",
    "deferrable primary key": "ALTER TABLE pupils DROP CONSTRAINT pupils_friend_id_fkey, DROP CONSTRAINT pupils_pkey, "
    "ADD CONSTRAINT pk PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED, ADD CONSTRAINT uid UNIQUE (id),"
    "ADD FOREIGN KEY (friend_id) REFERENCES pupils (id) DEFERRABLE INITIALLY DEFERRED",
    "comments": "COMMENT ON INDEX pupils_pkey IS 'the ''key'''; COMMENT ON CONSTRAINT pupils_pkey ON pupils IS 'of %s';"
    "COMMENT ON INDEX pupils_city_id_idx IS 'two\nlines'; COMMENT ON CONSTRAINT pupils_city_id_fkey ON pupils IS 'fk'",
    "clustered": "ALTER TABLE pupils CLUSTER ON pupils_city_id_idx",
    "clustered on the key": "ALTER TABLE pupils CLUSTER ON pupils_pkey",
    "storage parameters": "CREATE INDEX fat ON pupils (email) WITH (fillfactor = 50, deduplicate_items = off);"
    "ALTER INDEX pupils_pkey SET (fillfactor = 70)",
    "brin": "CREATE INDEX br ON cities USING brin (rank) WITH (pages_per_range = 4)",
    "gin": "CREATE INDEX gi ON cities USING gin (tags) WITH (fastupdate = off)",
    "gist": "CREATE INDEX ge ON cities USING gist (spot)",
    "spgist": "CREATE INDEX sp ON cities USING spgist (spot)",
    "hash": "CREATE INDEX ha ON cities USING hash (code)",
    "names": 'CREATE INDEX "a ""b"" %s; DROP" ON cities (name); ALTER INDEX cities_pkey RENAME TO "Key"',
    "a function of the schema's": "CREATE FUNCTION f(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';"
    "CREATE INDEX fu ON cities (f(name))",
    "two keys that say the same": "CREATE UNIQUE INDEX again ON cities (id); ALTER TABLE pupils ADD FOREIGN KEY (city_id) REFERENCES cities (id)",
    "checked": "ALTER TABLE cities ADD CONSTRAINT c CHECK (rank >= 0) NOT VALID; ALTER TABLE cities ALTER name SET NOT NULL",
}


@situations("among")
@pytest.mark.parametrize(
    "case",
    some(
        AWKWARD,
        "plain",
        "unique partial",
        "include in a constraint",
        "deferrable primary key",
        "comments",
        "storage parameters",
        "names",
        "two keys that say the same",
    ),
)
def test_every_index_and_constraint_is_afterwards_as_it_was(school: Path, url: str, case: str) -> None:
    execute(url, AWKWARD[case])
    before, indexes = rows_of(url, DEFINITIONS), rows_of(url, NODES)

    run, new = seeded(school, url)

    assert rows_of(url, DEFINITIONS) == before
    assert new == {name for name, _ in indexes if not str(name).startswith("lands_")}
    assert run.notes == ()


STAYING = {
    "statistics target": (
        "CREATE INDEX low ON pupils (lower(email)); ALTER INDEX low ALTER COLUMN 1 SET STATISTICS 500",
        "low: its columns have statistics targets",
        ALL,
    ),
    "replica identity": (
        "ALTER TABLE pupils REPLICA IDENTITY USING INDEX pupils_email_key",
        "pupils_email_key: an index is its replica identity",
        {"cities_code_key", "cities_pkey"},
    ),
    "exclusion constraint": (
        "ALTER TABLE cities ADD EXCLUDE USING gist (spot WITH &&)",
        "cities_code_key: it has an exclusion constraint",
        ALL - {"cities_pkey", "cities_code_key"},
    ),
    "published": (
        "CREATE PUBLICATION p FOR TABLE cities",
        "cities_code_key: it is published",
        ALL - {"cities_pkey", "cities_code_key"},
    ),
    "a view": (
        "CREATE VIEW v AS SELECT id, name, count(*) FROM cities GROUP BY id",
        "cities_pkey: a view or a function depends on it",
        ALL - {"cities_pkey"},
    ),
    "a function": (
        (
            "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC INSERT INTO cities (id, code) VALUES (gen_random_uuid(), 'x') "
            "ON CONFLICT ON CONSTRAINT cities_code_key DO NOTHING; END"
        ),
        "cities_code_key: a view or a function depends on it",
        ALL - {"cities_code_key"},
    ),
    "a key from outside": (
        "CREATE TABLE shops (city_id uuid REFERENCES cities)",
        "cities_pkey: a foreign key that stays on needs it",
        ALL - {"cities_pkey"},
    ),
    "a key that is not valid": (
        (
            "CREATE TABLE a (id uuid); ALTER TABLE pupils DROP CONSTRAINT pupils_city_id_fkey;"
            "ALTER TABLE pupils ADD FOREIGN KEY (city_id) REFERENCES cities NOT VALID"
        ),
        "cities_pkey: a foreign key that stays on needs it",
        ALL - {"cities_pkey"},
    ),
    "a trigger": (
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            "CREATE TRIGGER tr BEFORE INSERT ON pupils FOR EACH ROW EXECUTE FUNCTION f()"
        ),
        "trigger tr may need them",
        set(),
    ),
}


@situations("among")
@pytest.mark.parametrize(
    "case", some(STAYING, "replica identity", "a view", "a key from outside", "a trigger")
)
def test_what_must_stay_on_stays_with_a_note_why(school: Path, url: str, case: str) -> None:
    script, why, expected = STAYING[case]
    execute(url, script)
    before = rows_of(url, DEFINITIONS)

    run, new = seeded(school, url)

    assert rows_of(url, DEFINITIONS) == before
    assert new == expected
    assert any(why in note for note in run.notes)


def test_no_index_is_touched_where_an_event_trigger_watches(
    school: Path, url: str, postgres_server: PostgresServer
) -> None:
    if postgres_server.superuser_url is None:
        pytest.skip("event triggers need a superuser")
    database = rows_of(url, "SELECT current_database()")[0][0]
    superuser = psycopg.conninfo.make_conninfo(postgres_server.superuser_url, dbname=database)
    with psycopg.connect(superuser, autocommit=True) as admin:
        admin.execute("CREATE FUNCTION public.f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
        admin.execute("CREATE EVENT TRIGGER seedlab_watch ON sql_drop EXECUTE FUNCTION public.f()")
        try:
            run, new = seeded(school, url)
        finally:
            admin.execute("DROP EVENT TRIGGER seedlab_watch; DROP FUNCTION public.f()")

    assert new == set()
    assert any("event trigger seedlab_watch" in note for note in run.notes)


def test_what_the_planner_knew_of_an_expression_it_knows_again(school: Path, url: str) -> None:
    """The table had rows, and was emptied; what is known of its columns outlives that, and so does this."""
    execute(url, "CREATE INDEX low ON cities (lower(name))")
    seeded(school, url)
    execute(url, "ANALYZE cities; TRUNCATE cities, pupils")
    _, new = seeded(school, url)
    assert "low" in new
    assert rows_of(url, "SELECT attname, n_distinct FROM pg_stats WHERE tablename = 'low'") == [
        ("lower", -1.0)
    ]


@situations()
def test_partitions_and_tables_that_inherit_keep_theirs(school: Path, url: str) -> None:
    execute(url, "CREATE TABLE more () INHERITS (cities)")
    _, new = seeded(school, url)

    assert new == {"pupils_pkey", "pupils_email_key", "pupils_city_id_idx"}
    assert rows_of(url, CONTENT)


@situations()
def test_a_reader_who_holds_a_lock_is_not_waited_for(school: Path, url: str) -> None:
    before = rows_of(url, NODES)
    with asking(url) as other, other.transaction():
        other.execute("SELECT FROM pupils")
        run = seed(school, url)

    assert rebuilt(url, before) == set()
    assert len(rows_of(url, CONTENT)) == ROWS
    assert any("stay on during the load" in note for note in run.notes)


def test_small_tables_and_small_loads_keep_theirs(
    school: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_direct, "REBUILD_TABLE_ROWS", ROWS + 1)
    write(school, school_files(pupils="last@x,c0,\n"))
    before = rows_of(url, NODES)
    seed(school, url)
    assert rebuilt(url, before) == {"pupils_pkey", "pupils_email_key", "pupils_city_id_idx"}


@situations()
@pytest.mark.parametrize("disabled", ["rebuild", "copy"])
def test_switched_off_nothing_comes_off(school: Path, url: str, disabled: str) -> None:
    before = rows_of(url, NODES)
    seed(school, url, disabled=[disabled])
    assert rebuilt(url, before) == set()


def test_asking_for_the_indexes_costs_a_large_load_one_round_trip(
    school: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = seed(school, url)
    execute(url, "DROP SCHEMA seedlab CASCADE; TRUNCATE pupils, cities")
    monkeypatch.setattr(postgres_direct, "REBUILD_ROWS", 1_000)
    small = seed(school, url)

    assert large.counters.round_trips == small.counters.round_trips + 1
    # facts twice, four constraints in two statements and one index dropped, all five and four constraints made,
    # two settings and one taken back
    assert large.counters.statements == small.counters.statements + 2 + 3 + 9 + 3


# ---- faults ---------------------------------------------------------------------------------------------

UNIQUE = {
    "constraint": "ALTER TABLE cities ADD CONSTRAINT one UNIQUE (rank)",
    "index": "CREATE UNIQUE INDEX one ON cities (rank)",
    "expression": "CREATE UNIQUE INDEX one ON cities ((rank + 1)) WHERE name <> ''",
    "deferred": "ALTER TABLE cities ADD CONSTRAINT one UNIQUE (rank) DEFERRABLE INITIALLY DEFERRED",
}


@situations()
@pytest.mark.parametrize("kind", some(UNIQUE, "constraint", "deferred"))
def test_a_row_that_breaks_a_unique_index_is_told_as_without_rebuilding(
    school: Path, url: str, kind: str
) -> None:
    execute(url, UNIQUE[kind])
    write(school, school_files(cities="double,City,7\n"))
    before = rows_of(url, DEFINITIONS)

    with pytest.raises(DataFaults) as plain:
        seed(school, url, disabled=["rebuild"])
    with pytest.raises(DataFaults) as caught:
        seed(school, url)

    assert caught.value.faults == plain.value.faults
    (fault,) = caught.value.faults
    assert (fault.rule, fault.table) == ("unique", "cities")
    if kind != "deferred":  # checked at the end of the COPY, or of the transaction
        assert (fault.file, fault.line) == ("cities.csv", ROWS + 2)
    assert rows_of(url, DEFINITIONS) == before
    assert rows_of(url, "SELECT count(*) FROM cities") == [(0,)]


@situations()
def test_a_row_whose_parent_the_server_misses_is_a_data_fault(school: Path, url: str) -> None:
    stranger = "00000000-0000-4000-8000-000000000001"
    write(school, {"pupils.csv": f"email,city_id\np@x,{stranger}\n"})
    before = rows_of(url, DEFINITIONS)

    with pytest.raises(DataFaults) as caught:
        seed(school, url)

    assert caught.value.faults[0].rule in ("missing-parent", "parent")
    assert rows_of(url, DEFINITIONS) == before


@situations("among")
def test_an_index_that_cannot_be_made_again_is_left_on(school: Path, url: str) -> None:
    """Its function refuses to run while it is made; with the index on, the same rows go in."""
    execute(
        url,
        "CREATE FUNCTION name_of(int) RETURNS text IMMUTABLE LANGUAGE plpgsql AS "
        "'BEGIN IF current_setting(''application_name'') LIKE ''%seedlab%'' AND "
        "EXISTS (SELECT FROM pg_locks WHERE mode = ''AccessExclusiveLock'' AND relation = ''public.cities''::regclass) "
        "AND NOT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(''public.nam'')) "
        "THEN RAISE ''no''; END IF; RETURN $1; END';"
        "CREATE INDEX nam ON cities (name_of(rank))",
    )
    before = rows_of(url, DEFINITIONS)

    run, new = seeded(school, url)

    assert new == set()
    assert rows_of(url, DEFINITIONS) == before
    assert any("indexes stay on" in note for note in run.notes)


@situations()
def test_what_is_not_as_it_was_is_an_error_and_nothing_is_written(
    school: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that comes back otherwise, as by a server that spells what it cannot read."""
    execute(url, "CREATE INDEX nam ON cities (name)")
    before = rows_of(url, DEFINITIONS)
    create_index = rebuilding.create_index

    def other(index: rebuilding.Index) -> Iterator[object]:
        for each in create_index(index):
            yield each
            if index.name == "nam":
                yield psycopg.sql.SQL("ALTER INDEX nam SET (fillfactor = 50)")

    monkeypatch.setattr(rebuilding, "create_index", other)

    with pytest.raises(WriteError, match=r"--disable rebuild.*nam"):
        seed(school, url)

    assert rows_of(url, DEFINITIONS) == before
    assert rows_of(url, "SELECT count(*) FROM cities") == [(0,)]


@pytest.mark.slow
def test_killed_while_indexes_are_off_it_leaves_all_as_it_was(school: Path, url: str) -> None:
    """The server sleeps where the first index is made; the process is killed there."""
    execute(
        url,
        "CREATE FUNCTION slow(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_sleep(20); RETURN $1; END'; CREATE INDEX sl ON cities (slow(name))",
    )
    before = rows_of(url, DEFINITIONS)
    code = (
        "import sys; from pathlib import Path; from seedlab.database.postgres import direct as p; "
        "p.REBUILD_ROWS = p.REBUILD_TABLE_ROWS = 1; from tests.support.seeding import seed; seed(Path(sys.argv[1]), sys.argv[2])"
    )
    with killed_asleep(url, code, school):
        pass

    assert rows_of(url, DEFINITIONS) == before
    assert rows_of(url, "SELECT count(*) FROM cities") == [(0,)]
