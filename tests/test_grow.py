"""A table with rows that gets many new ones: keys and indexes off around the merge, and every one as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from seedlab.database.postgres import grow as postgres_grow
from seedlab.database.postgres import rebuilding
from seedlab.database.postgres import write as postgres_write
from seedlab.errors import DataFaults, WriteError
from seedlab.flow import Run
from tests.fix_postgres import PostgresServer
from tests.support.asking import asking
from tests.support.cases import some
from tests.support.seeding import counted, execute, rows_of, seed, write
from tests.support.waiting import killed_asleep
from tests.test_rebuild import AWKWARD, CONTENT, DEFINITIONS, NODES, TABLES, UNIQUE, rebuilt

BEFORE, NEW = 60, 40
MOVED = 7  # pupils whose friend is another one when there are more
ALL = {"cities_code_key", "pupils_pkey", "pupils_email_key", "pupils_city_id_idx"}  # pupils need cities_pkey
NEEDED = """
SELECT relname FROM pg_constraint k JOIN pg_class c ON c.oid = conindid WHERE contype = 'f' AND conrelid <> confrelid
"""
SYNC = """
[[stages]]
id = "all"
[[stages.seeds]]
name = "cities"
source = "cities.csv"
mode = "sync"
[[stages.seeds]]
name = "pupils"
source = "pupils.csv"
"""
TRIGGER = (
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
    "CREATE TRIGGER tr BEFORE {} ON pupils FOR EACH ROW EXECUTE FUNCTION f()"
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every merge is a large one, and all of its rows are a sample."""
    monkeypatch.setattr(postgres_write, "ARRAY_ROWS", 0)
    monkeypatch.setattr(postgres_grow, "NEW_ROWS", 1)


@pytest.fixture
def url(clean_postgres_url: str) -> str:
    execute(clean_postgres_url, TABLES)
    return clean_postgres_url


def files(rows: int, *, cities: str = "", pupils: str = "", name: str = "City") -> dict[str, str]:
    towns = "".join(f"c{n},{name} {n},{n}\n" for n in range(rows))
    people = "".join(f"p{n}@x,c{n % rows},p{(n + 7) % rows}@x\n" for n in range(rows))
    return {
        "cities.csv": f"code,name,rank\n{towns}{cities}",
        "pupils.csv": f"email,city.code,friend.email\n{people}{pupils}",
    }


def school_in(folder: Path, url: str, script: str = "") -> Path:
    """A project whose first rows are in the tables."""
    if script:
        execute(url, script)
    seed(write(folder / "school", files(BEFORE)), url, disabled=["rebuild"])
    return folder / "school"


def grow(school: Path, url: str, rows: int = NEW, **given: str) -> tuple[Run, set[object]]:
    """Seed more rows; answers the run and the names of the indexes that were made anew."""
    write(school, files(BEFORE + rows, **given))
    before = rows_of(url, NODES)
    run = seed(school, url)
    return run, rebuilt(url, before)


@pytest.mark.slow
@pytest.mark.parametrize("script", AWKWARD.values(), ids=AWKWARD)
def test_every_index_and_constraint_is_afterwards_as_it_was(tmp_path: Path, url: str, script: str) -> None:
    school = school_in(tmp_path, url, script)
    before = rows_of(url, DEFINITIONS)
    needed = set(rows_of(url, NEEDED))

    run, new = grow(school, url)

    assert rows_of(url, DEFINITIONS) == before
    assert new == {name for name, _ in rows_of(url, NODES) if (name,) not in needed}
    assert counted(run)[:2] == (2 * NEW, MOVED)
    assert rows_of(url, "SELECT count(*) FROM pupils") == [(BEFORE + NEW,)]


def test_the_database_is_the_same_as_without(tmp_path: Path, url: str) -> None:
    content = "SELECT (SELECT json_agg(c ORDER BY id) FROM cities c)::text, (SELECT json_agg(p ORDER BY id) FROM pupils p)::text"
    given = {"name": "Town"}  # every row of before changes, too
    plain = school_in(tmp_path / "plain", url)
    write(plain, files(BEFORE + NEW, **given))
    outcome = counted(seed(plain, url, disabled=["rebuild"]))
    rows, definitions = rows_of(url, content), rows_of(url, DEFINITIONS)
    execute(url, "DROP SCHEMA seedlab CASCADE; TRUNCATE pupils, cities")

    run, new = grow(school_in(tmp_path, url), url, **given)

    assert new == ALL
    assert counted(run) == outcome
    assert rows_of(url, content) == rows
    assert rows_of(url, DEFINITIONS) == definitions
    again = seed(tmp_path / "school", url)
    assert (counted(again)[:2], again.counters.statements, again.counters.round_trips) == ((0, 0), 8, 2)


def test_what_the_planner_knew_of_an_expression_it_knows_again(tmp_path: Path, url: str) -> None:
    """Dropping an index takes it away, and nothing else brings it back but an ANALYZE of the table."""
    school = school_in(tmp_path, url, "CREATE INDEX low ON pupils (lower(email))")
    execute(url, "ANALYZE pupils")
    _, new = grow(school, url)
    assert "low" in new
    assert rows_of(url, "SELECT attname, n_distinct FROM pg_stats WHERE tablename = 'low'") == [
        ("lower", -1.0)
    ]


def test_a_table_of_links_without_ids(tmp_path: Path, url: str) -> None:
    execute(
        url,
        "CREATE TABLE visits (pupil_id uuid REFERENCES pupils, city_id uuid REFERENCES cities, PRIMARY KEY (pupil_id, city_id))",
    )
    school = write(tmp_path / "school", files(BEFORE))
    links = [f"p{n}@x,c{n * 3 % BEFORE}\n" for n in range(BEFORE)]
    write(school, {"visits.csv": "pupil.email,city.code\n" + "".join(links[:20])})
    seed(school, url)
    write(school, {"visits.csv": "pupil.email,city.code\n" + "".join(links)})
    before = rows_of(url, NODES)

    run = seed(school, url)

    assert rebuilt(url, before) == {"visits_pkey"}
    assert counted(run)[0] == BEFORE - 20
    assert rows_of(url, "SELECT count(*) FROM visits") == [(BEFORE,)]


def test_rows_that_other_connections_staged(tmp_path: Path, url: str) -> None:
    school = school_in(tmp_path, url)
    execute(url, "DROP SCHEMA seedlab CASCADE")  # else the changed files alone are read, by one
    write(school, files(BEFORE + NEW))
    before = rows_of(url, NODES)

    run = seed(school, url, workers=2, batch_rows=30)

    assert rebuilt(url, before) == ALL
    assert counted(run) == (2 * NEW, MOVED, 2 * BEFORE - MOVED)


# ---- what stays on --------------------------------------------------------------------------------------

STAYING = {
    "an insert trigger": (TRIGGER.format("INSERT"), "trigger tr may need them", {"cities_code_key"}),
    "an update trigger": (TRIGGER.format("UPDATE"), "trigger tr may need them", {"cities_code_key"}),
    "published": (
        "CREATE PUBLICATION p FOR TABLE cities",
        "cities_code_key: it is published",
        ALL - {"cities_code_key"},
    ),
    "replica identity": (
        "ALTER TABLE pupils REPLICA IDENTITY USING INDEX pupils_email_key",
        "pupils_email_key: an index is its replica identity",
        {"cities_code_key"},
    ),
    "an exclusion constraint": (
        "ALTER TABLE cities ADD EXCLUDE USING gist (spot WITH &&)",
        "cities_code_key: it has an exclusion constraint",
        ALL - {"cities_code_key"},
    ),
    "a view": (
        "CREATE VIEW v AS SELECT id, city_id, count(*) FROM pupils GROUP BY id",
        "pupils_pkey: a view or a function depends on it",
        ALL - {"pupils_pkey"},
    ),
    "a key from outside": (
        "CREATE TABLE shops (city_code text REFERENCES cities (code))",
        "cities_code_key: a foreign key that stays on needs it",
        ALL - {"cities_code_key"},
    ),
    "a key to a table that is not ours": (
        "CREATE TABLE owners (id int PRIMARY KEY); ALTER TABLE pupils ADD owner_id int REFERENCES owners",
        "",
        {"cities_code_key"},
    ),
    "a key that is not valid": (
        (
            "ALTER TABLE pupils DROP CONSTRAINT pupils_city_id_fkey;"
            "ALTER TABLE pupils ADD FOREIGN KEY (city_id) REFERENCES cities NOT VALID"
        ),
        "",
        {"cities_code_key"},
    ),
    "a key to its own table whose rows change": (
        "ALTER TABLE cities ADD UNIQUE (name), ADD twin text REFERENCES cities (name) ON UPDATE CASCADE",
        "",
        {"pupils_pkey", "pupils_email_key", "pupils_city_id_idx"},
    ),
    "row-level security": (
        "ALTER TABLE cities ENABLE ROW LEVEL SECURITY",
        "",
        set(),
    ),
    "a table that inherits": ("CREATE TABLE more () INHERITS (cities)", "", set()),
}


@pytest.mark.parametrize(
    "case",
    some(
        STAYING,
        "a view",
        "a key from outside",
    ),
)
def test_what_must_stay_on_stays(tmp_path: Path, url: str, case: str) -> None:
    script, why, expected = STAYING[case]
    school = school_in(tmp_path, url, script)
    before = rows_of(url, DEFINITIONS)

    run, new = grow(school, url)

    assert new == expected
    assert rows_of(url, DEFINITIONS) == before
    assert any(why in note for note in run.notes) or not why
    assert counted(run)[:2] == (2 * NEW, MOVED)


def test_the_lock_is_given_back_where_nothing_comes_off(tmp_path: Path, url: str) -> None:
    """The trigger that forbids it looks whether readers of its table would have to wait."""
    execute(
        url,
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF EXISTS (SELECT FROM pg_locks "
        "WHERE mode = ''AccessExclusiveLock'' AND relation = ''pupils''::regclass) THEN RAISE ''locked''; END IF; "
        "RETURN NEW; END'; CREATE TRIGGER tr BEFORE UPDATE ON pupils FOR EACH ROW EXECUTE FUNCTION f()",
    )
    run, _ = grow(school_in(tmp_path, url), url)
    assert counted(run)[:2] == (2 * NEW, MOVED)
    assert any("trigger tr" in note for note in run.notes)


@pytest.mark.parametrize("table", ["pupils", "cities"])
def test_a_reader_who_holds_a_lock_is_not_waited_for(tmp_path: Path, url: str, table: str) -> None:
    """A reader of the parent, too: dropping a key to it would lock it."""
    school = school_in(tmp_path, url)
    write(school, files(BEFORE + NEW))
    before = rows_of(url, NODES)
    with asking(url) as other, other.transaction():
        other.execute(f"SELECT FROM {table}")
        run = seed(school, url)

    assert rebuilt(url, before) == ({"cities_code_key"} if table == "pupils" else set())
    assert any("pupils stay on during the load" in note for note in run.notes)
    assert len(rows_of(url, CONTENT)) == BEFORE + NEW


def test_no_reader_waits_in_a_protected_environment(tmp_path: Path, url: str) -> None:
    school = school_in(tmp_path, url)
    write(school, files(BEFORE + NEW))
    before = rows_of(url, NODES)
    seed(school, url, environment="production")
    assert rebuilt(url, before) == set()


def test_nothing_comes_off_where_a_sync_may_delete(tmp_path: Path, url: str) -> None:
    """Whether rows refer to what it deletes is looked for by these indexes."""
    school = school_in(tmp_path, url)
    write(school, {"seedlab.toml": SYNC})
    run, new = grow(school, url)
    assert new == set()
    assert counted(run)[0] == 2 * NEW


@pytest.mark.parametrize(("new", "expected"), [(11, set()), (12, ALL)])
def test_less_than_a_fifth_of_new_rows_changes_nothing(
    tmp_path: Path, url: str, new: int, expected: set[str]
) -> None:
    school = school_in(tmp_path, url)
    assert grow(school, url, new)[1] == expected


def test_asking_costs_a_large_merge_one_statement_and_a_small_one_none(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    school = school_in(tmp_path, url)

    def more(rows: int, *disabled: str) -> tuple[int, int]:
        counters = seed(write(school, files(BEFORE + rows)), url, disabled=disabled).counters
        return counters.statements, counters.round_trips

    more(1, "rebuild")
    more(2, "rebuild")
    statements, round_trips = more(3, "rebuild")
    assert more(4) == (statements + 2 + 3, round_trips + 2)  # of two tables; and the catalog is kept anew
    monkeypatch.setattr(postgres_grow, "NEW_ROWS", 1_000)
    assert more(5) == (statements, round_trips)


# ---- faults ---------------------------------------------------------------------------------------------


def told(school: Path, url: str, *disabled: str) -> tuple[object, ...]:
    with pytest.raises(DataFaults) as caught:
        seed(school, url, disabled=disabled)
    return caught.value.faults


def tables(url: str) -> list[tuple[object, ...]]:
    return [*rows_of(url, DEFINITIONS), *rows_of(url, NODES), *rows_of(url, CONTENT)]


WRONG = {
    "a rank that another city has": {"cities": "double,City,7\n"},
    "a rank twice among the new": {"cities": "double,City,90\n"},
    "a city that nobody knows": {"pupils": "last@x,nowhere,\n"},
    "a pupil twice": {"pupils": "p3@x,c3,\n"},
    "no number": {"cities": "double,City,seven\n"},
}


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        *(pytest.param(given, "constraint", id=name) for name, given in WRONG.items()),
        *(pytest.param(next(iter(WRONG.values())), kind, id=kind, marks=pytest.mark.slow) for kind in UNIQUE),
    ],
)
def test_a_wrong_row_is_told_as_without_and_nothing_is_written(
    tmp_path: Path, url: str, given: dict[str, str], kind: str
) -> None:
    school = school_in(tmp_path, url, UNIQUE[kind])
    write(school, files(BEFORE + NEW, **given))
    before = tables(url)

    faults = told(school, url)

    assert faults == told(school, url, "rebuild")
    assert tables(url) == before
    if "rank" not in str(faults):  # the server alone knows
        assert all(fault.file and fault.line for fault in faults)


def test_an_old_row_that_breaks_a_key_keeps_it_as_it_is(
    tmp_path: Path, url: str, postgres_server: PostgresServer
) -> None:
    """Somebody wrote it with triggers off; the key counts as valid, though it could not be made again."""
    if postgres_server.superuser_url is None:
        pytest.skip("triggers are switched off by a superuser")
    school = school_in(tmp_path, url)
    database = rows_of(url, "SELECT current_database()")[0][0]
    superuser = psycopg.conninfo.make_conninfo(postgres_server.superuser_url, dbname=database)
    with psycopg.connect(superuser) as admin:
        admin.execute("SET session_replication_role = replica")
        admin.execute("INSERT INTO public.pupils VALUES (gen_random_uuid(), 'lost@x', gen_random_uuid())")
    before = rows_of(url, DEFINITIONS)

    run, new = grow(school, url)

    assert new == {"cities_code_key"}
    assert rows_of(url, DEFINITIONS) == before
    assert counted(run)[0] == 2 * NEW


def test_rows_that_a_new_index_refuses_are_set_apart(tmp_path: Path, url: str) -> None:
    school = school_in(tmp_path, url, UNIQUE["constraint"])
    write(school, files(BEFORE + NEW, cities="double,City,7\n"))
    run = seed(school, url, rejects=tmp_path / "rejects")
    assert counted(run)[:2] == (2 * NEW, MOVED)
    assert run.outcomes.rejected == 2  # it, and the one that has its rank


def test_what_is_not_as_it_was_is_an_error_and_nothing_is_written(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    school = school_in(tmp_path, url, "CREATE INDEX nam ON pupils (email)")
    before = tables(url)
    create_index = rebuilding.create_index

    def other(index: rebuilding.Index) -> Iterator[object]:
        yield from create_index(index)
        if index.name == "nam":
            yield psycopg.sql.SQL("ALTER INDEX nam SET (fillfactor = 50)")

    monkeypatch.setattr(rebuilding, "create_index", other)
    write(school, files(BEFORE + NEW))

    with pytest.raises(WriteError, match=r"--disable rebuild.*nam"):
        seed(school, url)

    assert tables(url) == before


@pytest.mark.slow
def test_readers_wait_and_a_kill_leaves_all_as_it_was(tmp_path: Path, url: str) -> None:
    """The server sleeps where an index of pupils is made, if this program does it; the program is killed there."""
    school = school_in(
        tmp_path,
        url,
        "CREATE FUNCTION slow(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN IF EXISTS (SELECT FROM pg_locks "
        "WHERE mode = ''AccessExclusiveLock'' AND relation = ''public.pupils''::regclass AND pid = pg_backend_pid()) "
        "THEN PERFORM pg_sleep(20); END IF; RETURN $1; END'; CREATE INDEX sl ON pupils (slow(email))",
    )
    before = tables(url)
    write(school, files(BEFORE + NEW))
    code = (
        "import sys; from pathlib import Path; from seedlab.database.postgres import grow, write; "
        "grow.NEW_ROWS = 1; write.ARRAY_ROWS = 0; from tests.support.seeding import seed; "
        "seed(Path(sys.argv[1]), sys.argv[2])"
    )
    with killed_asleep(url, code, school):
        for table in ("pupils", "cities"):
            with pytest.raises(psycopg.errors.LockNotAvailable):
                execute(url, f"SET lock_timeout = '50ms'; SELECT count(*) FROM {table}")

    assert tables(url) == before
