"""What others did to the database since the last run: it is seen, and mended where it is about our rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.again import INTACT, UNCHANGED, by_table, in_sqlite, told
from tests.support.cases import some
from tests.support.school import PUPILS, TABLES
from tests.support.seeding import counted, dump, execute, rows_of, seed, write

# ---- drift: what others did to our rows -----------------------------------------------------------------

# What others did → created, updated, unchanged when it is mended.
REPLACE = "DELETE FROM pupils WHERE name = 'Bob'; INSERT INTO pupils (name, city_id, age)"
DRIFTS = {
    "an update": ("UPDATE cities SET name = 'x' WHERE code = 'hfa'", (0, 1, 4)),
    "an update of all": ("UPDATE pupils SET age = 1", (0, 3, 2)),
    "null for a value": ("UPDATE cities SET name = NULL WHERE code = 'tlv'", (0, 1, 4)),
    "a swap": (
        "UPDATE pupils SET age = CASE name WHEN 'Ada' THEN 11 ELSE 9 END WHERE name IN ('Ada', 'Cid')",
        (0, 2, 3),
    ),
    "a delete": ("DELETE FROM pupils WHERE name = 'Bob'", (1, 0, 4)),
    "a delete with children": ("DELETE FROM pupils; DELETE FROM cities", (5, 0, 0)),
    "a key that was changed": ("UPDATE pupils SET name = 'Bob ' WHERE name = 'Bob'", (1, 0, 4)),
    "a reference that was changed": (
        "UPDATE pupils SET city_id = (SELECT id FROM cities WHERE code = 'hfa')",
        (0, 1, 4),
    ),
    "a row in its place": (
        f"{REPLACE} SELECT 'Bob', id, 99 FROM cities WHERE code = 'tlv'",
        (0, 1, 4),
    ),
    "another row for one deleted": (
        f"{REPLACE} SELECT 'Eve', id, 6 FROM cities WHERE code = 'tlv'",
        (1, 0, 4),
    ),
}


@pytest.mark.parametrize(
    "drift", some(DRIFTS, "a swap", "a delete with children", "a key that was changed", "a row in its place")
)
def test_what_others_did_to_our_rows_is_seen_and_mended(school: Path, url: str, drift: str) -> None:
    script, counts = DRIFTS[drift]
    seed(school, url)
    held = dump(url)
    execute(url, script)

    mended = seed(school, url)
    again = seed(school, url)

    assert counted(mended) == counts
    assert "was changed since the last seed" in told(mended)[0][1] + told(mended)[1][1]
    assert [row for row in dump(url)["pupils"] if row[0] not in ("Bob ", "Eve")] == held["pupils"]
    assert dump(url)["cities"] == held["cities"]
    assert (counted(again), told(again)) == ((0, 0, 5), UNCHANGED)


# Type on PostgreSQL (and SQLite, if there) → the file's value, another that is equal by some rule, or not.
VALUES = {
    "text": ("a", "'A'"),
    "text with a space": ("a", "'a '"),
    "null for empty": ('""', "NULL"),
    "empty for null": ("", "''"),
    "int": ("1", "2"),
}
TYPED = {
    "numeric": ("numeric", "1.0", "1.00"),
    "float8": ("float8", "0", "'-0'"),
    "float4": ("float4", "0", "'-0'"),
    "json": ("json", '"{""a"": 1}"', """'{"a":1}'"""),
    "json's keys": ("json", '"{""a"": 1, ""b"": 2}"', """'{"b": 2, "a": 1}'"""),
    "jsonb's numbers": ("jsonb", "1.0", "'1.00'"),
    "interval": ("interval", "1 day", "'24 hours'"),
    "arrays": ("int[]", '"{1,2}"', "'[0:1]={1,2}'"),
    "char": ("char(3)", "a", "'b'"),
    "timestamptz": ("timestamptz", "2026-01-01T00:00:00Z", "'2026-01-01T00:00:00.000001Z'"),
    "equal by collation": ("text COLLATE blind", "a", "'A'"),
    "bit": ("bit(3)", "101", "'100'"),
    "citext": ("citext", "a", "'A'"),
}


@pytest.mark.parametrize("case", some(VALUES, "text with a space", "null for empty"))
def test_values_that_differ_a_little_are_seen(folder: Path, clean_database_url: str, case: str) -> None:
    (given, drifted), url = VALUES[case], clean_database_url
    kind = "int" if case == "int" else "text"
    execute(url, f"CREATE TABLE things (code text PRIMARY KEY, value {kind})")
    write(folder, {"things.csv": f"code,value\nx,{given}\ny,\n"})
    seed(folder, url)
    held = dump(url)
    execute(url, f"UPDATE things SET value = {drifted} WHERE code = 'x'")

    mended = seed(folder, url)

    assert counted(mended) == (0, 1, 1)
    assert dump(url) == held


NEEDS = {
    "equal by collation": "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);",
    "citext": "CREATE EXTENSION citext;",
}


@pytest.fixture
def knowing_url(request: pytest.FixtureRequest, case: str) -> str:
    """An empty database of a server that knows the case's type."""
    url: str = request.getfixturevalue("able_postgres_url" if case in NEEDS else "clean_postgres_url")
    execute(url, NEEDS.get(case, ""))
    return url


@pytest.mark.slow
@pytest.mark.parametrize("case", TYPED)
def test_values_that_postgresql_calls_equal_are_seen(folder: Path, knowing_url: str, case: str) -> None:
    (kind, given, drifted), url = TYPED[case], knowing_url
    execute(url, f"CREATE TABLE things (code text PRIMARY KEY, value {kind})")
    write(folder, {"things.csv": f"code,value\nx,{given}\ny,\n"})
    seed(folder, url)
    held = dump(url)
    execute(url, f"UPDATE things SET value = {drifted} WHERE code = 'x'")
    assert dump(url) != held

    mended = seed(folder, url)

    assert counted(mended) == (0, 1, 1)
    assert dump(url) == held
    assert told(seed(folder, url)) == UNCHANGED[:1]


KEYS = {
    "numeric": ("numeric", "1.0", "1.00"),
    "equal by collation": ("text COLLATE blind", "a", "'A'"),
    "citext": ("citext", "a", "'A'"),
}


@pytest.mark.parametrize("case", some(KEYS, "numeric"))
def test_a_key_that_others_spell_otherwise_is_theirs(folder: Path, knowing_url: str, case: str) -> None:
    (kind, given, drifted), url = KEYS[case], knowing_url
    execute(url, f"CREATE TABLE things (code {kind} PRIMARY KEY, value text)")
    write(folder, {"things.csv": f"code,value\n{given},v\n"})
    seed(folder, url)
    execute(url, f"UPDATE things SET code = {drifted}")

    seen, again = seed(folder, url), seed(folder, url)

    assert told(seen) == [("run", "table things was changed since the last seed (0 rows)")]
    assert counted(seen) == (0, 0, 1)
    assert told(again) == UNCHANGED[:1]


# ---- drift: tables, dumps, the ledger -------------------------------------------------------------------

ALTERED = {
    "a column more": ("ALTER TABLE pupils ADD COLUMN note text NOT NULL DEFAULT 'x'", 0),
    "another column by the same name": (
        "ALTER TABLE pupils RENAME COLUMN age TO years; ALTER TABLE pupils ADD COLUMN age int",
        2,
    ),
    "a key more": ("CREATE UNIQUE INDEX ages ON pupils (age, name)", 0),
}
PUPILS_TABLE = TABLES[TABLES.index("CREATE TABLE pupils") :]


@pytest.mark.parametrize("what", some(ALTERED, "another column by the same name"))
def test_a_table_that_was_altered_is_filled_again_whole(school: Path, url: str, what: str) -> None:
    check_altered(school, url, *ALTERED[what])


def test_a_column_of_another_type_is_filled_again_whole(school: Path, clean_postgres_url: str) -> None:
    execute(clean_postgres_url, TABLES)
    check_altered(school, clean_postgres_url, "ALTER TABLE pupils ALTER COLUMN age TYPE numeric(5,2)", 0)


def check_altered(school: Path, url: str, script: str, rows: int) -> None:
    seed(school, url)
    execute(url, script)

    altered, again = seed(school, url), seed(school, url)
    write(school, {"pupils.csv": PUPILS.replace("11", "12")})
    after = seed(school, url)

    why = f"table pupils was altered ({rows} rows)"
    assert told(altered) == [("skipped", "unchanged"), ("run", why)]
    assert counted(altered) == (0, rows, 5 - rows)
    assert told(again) == UNCHANGED
    assert by_table(after)["pupils/pupils"] == (0, 1, 2)


@pytest.mark.parametrize("kind", some(["pair", "pair[]", "couple"], "pair[]"))
def test_fields_that_change_their_names_are_filled_again(
    folder: Path, clean_postgres_url: str, kind: str
) -> None:
    """Files name them, the stored value does not: the same row is another."""
    url = clean_postgres_url
    execute(url, "CREATE TYPE pair AS (low int, high int); CREATE DOMAIN couple AS pair")
    execute(url, f"CREATE TABLE things (code text PRIMARY KEY, value {kind})")
    pair = '{"low": 1, "high": 2}'
    write(
        folder, {"things.jsonl": f'{{"code": "a", "value": {f"[{pair}]" if kind == "pair[]" else pair}}}\n'}
    )
    seed(folder, url)
    query = (
        f"SELECT v.low, v.high FROM things, unnest({'value' if kind == 'pair[]' else 'ARRAY[value::pair]'}) v"
    )
    assert rows_of(url, query) == [(1, 2)]
    for old, new in (("low", "other"), ("high", "low"), ("other", "high")):
        execute(url, f"ALTER TYPE pair RENAME ATTRIBUTE {old} TO {new}")

    altered = seed(folder, url)

    assert told(altered) == [("run", "table things was altered (1 row)")]
    assert rows_of(url, query) == [(1, 2)]
    assert told(seed(folder, url)) == UNCHANGED[:1]


def test_a_table_made_anew_is_filled_and_an_index_is_no_change(school: Path, url: str) -> None:
    seed(school, url)
    held = dump(url)
    execute(url, "CREATE INDEX ages ON pupils (age)")
    indexed = seed(school, url)
    execute(url, f"DROP TABLE pupils; {PUPILS_TABLE}")

    made = seed(school, url)
    kept = "CREATE TABLE kept AS SELECT * FROM pupils; DROP TABLE pupils;"
    execute(url, f"{kept} {PUPILS_TABLE} INSERT INTO pupils SELECT * FROM kept; DROP TABLE kept")
    copied = seed(school, url)

    assert told(indexed) == told(copied) == UNCHANGED
    assert told(made)[1] == ("run", "table pupils was changed since the last seed (3 rows)")
    assert by_table(made) == {"cities/cities": (0, 0, 2), "pupils/pupils": (3, 0, 0)}
    assert dump(url) == held


def test_an_older_dump_is_brought_up_to_date(school: Path, url: str) -> None:
    seed(school, url)
    tables = {"pupils": "pupils"} | {
        name: name if in_sqlite(url) else name.replace("_", ".", 1)
        for name in ("seedlab_ledger", "seedlab_stages", "seedlab_rows", "seedlab_tables")
    }
    execute(url, "".join(f"CREATE TABLE old_{n} AS SELECT * FROM {t};" for n, t in tables.items()))
    restored = {n: f"DELETE FROM {t}; INSERT INTO {t} SELECT * FROM old_{n};" for n, t in tables.items()}
    write(school, {"pupils.csv": PUPILS.replace("11", "12")})
    seed(school, url)
    held = dump(url)

    execute(url, restored["pupils"])
    without_ledger = seed(school, url)
    now = dump(url)
    execute(url, "".join(restored.values()))
    with_ledger = seed(school, url)

    assert told(without_ledger)[1] == ("run", "table pupils was changed since the last seed (1 row)")
    assert told(with_ledger)[1] == ("run", "pupils.csv changed (1 row)")
    assert by_table(without_ledger) == by_table(with_ledger)
    assert held == now == dump(url)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["DROP TABLE", "DELETE FROM"])
def test_a_ledger_that_lost_a_table_is_made_again(school: Path, url: str, how: str) -> None:
    names = ["ledger", "runs", "stages", "rows", "tables", *([] if in_sqlite(url) else ["lock"])]
    seed(school, url)
    for turn, name in enumerate(names):
        age = 20 + turn
        write(school, {"pupils.csv": PUPILS.replace("11", str(age))})
        execute(url, f"{how} {'seedlab_' if in_sqlite(url) else 'seedlab.'}{name}")

        mended, again = seed(school, url), seed(school, url)

        assert counted(mended) == (0, 1, 4), name
        assert (counted(again), told(again)) == ((0, 0, 5), UNCHANGED), name
        assert rows_of(url, "SELECT age FROM pupils WHERE name = 'Cid'") == [(age,)]


def test_a_ledger_that_is_gone_is_made_again_with_what_others_did(school: Path, url: str) -> None:
    seed(school, url)
    held = dump(url)
    if in_sqlite(url):
        names = ("ledger", "runs", "stages", "rows", "tables")
        execute(url, "".join(f"DROP TABLE seedlab_{name};" for name in names))
    else:
        execute(url, "DROP SCHEMA seedlab CASCADE")
    execute(url, "UPDATE cities SET name = 'x'")

    mended, again = seed(school, url), seed(school, url)

    assert counted(mended) == (0, 2, 3)
    assert told(again) == UNCHANGED
    assert dump(url) == held


def test_what_is_packed_is_not_packed_again(school: Path, clean_postgres_url: str) -> None:
    execute(clean_postgres_url, TABLES)
    seed(school, clean_postgres_url)

    storage = rows_of(
        clean_postgres_url,
        "SELECT attname, attstorage::text FROM pg_attribute WHERE attrelid IN "
        "('seedlab.rows'::regclass, 'seedlab.tables'::regclass) AND atttypid = 'bytea'::regtype ORDER BY 1",
    )

    assert storage == [("content", "e"), ("marks", "e"), ("recent", "e"), ("recent", "e")]


# ---- what others do with rows of their own --------------------------------------------------------------


def test_rows_of_others_make_no_stage_run(school: Path, url: str) -> None:
    seed(school, url)
    steps = [
        "INSERT INTO cities (code, name) VALUES ('own', 'its own')",
        "INSERT INTO pupils (name, city_id) SELECT 'Eve', id FROM cities WHERE code = 'own'",
        "UPDATE pupils SET age = 99 WHERE name = 'Eve'",
        "UPDATE cities SET name = 'other' WHERE code = 'own'",
    ]
    intact = [INTACT, "unchanged"], [INTACT, INTACT]

    def after(step: str) -> list[str]:
        execute(url, step)
        return [reason for _, reason in told(seed(school, url))]

    assert [after(step) for step in steps] == [intact[0], *[intact[1]] * 3]

    write(school, {"pupils.csv": PUPILS.replace("11", "12")})
    changed = seed(school, url)
    assert by_table(changed) == {"cities/cities": (0, 0, 2), "pupils/pupils": (0, 1, 2)}
    assert [each[1] for each in told(seed(school, url))] == [INTACT, "unchanged"]
    assert after("UPDATE pupils SET age = 98 WHERE name = 'Eve'") == [INTACT, INTACT]
    assert after("DELETE FROM pupils WHERE name = 'Eve'") == [INTACT, INTACT]
    assert after("DELETE FROM cities WHERE code = 'own'") == ["unchanged", INTACT]
    assert told(seed(school, url, force=True))[0][0] == "run"
    assert told(seed(school, url)) == UNCHANGED


@pytest.mark.slow
def test_after_any_run_our_rows_are_still_told_from_those_of_others(school: Path, url: str) -> None:
    """Every way to write leaves marks by which the next run knows our rows."""
    execute(url, "INSERT INTO cities (code, name) VALUES ('own', 'its own'), ('hfa', 'adopted')")
    texts = [PUPILS, PUPILS.replace("11", "12"), PUPILS + "Dan,own,7\n"]
    for text in texts:
        write(school, {"pupils.csv": text})
        seed(school, url)

        execute(url, "UPDATE cities SET name = name || '!' WHERE code = 'own'")
        own = seed(school, url)
        execute(url, "UPDATE cities SET name = 'drifted' WHERE code = 'hfa'")
        ours = seed(school, url)
        execute(url, "UPDATE pupils SET age = 77 WHERE name = 'Ada'")
        age = seed(school, url)

        assert told(own)[0] == ("skipped", INTACT)
        assert told(ours)[0] == ("run", "table cities was changed since the last seed (1 row)")
        assert told(age)[1] == ("run", "table pupils was changed since the last seed (1 row)")


@pytest.mark.parametrize("migration", ["RENAME COLUMN age TO years", "DROP COLUMN age"])
def test_after_a_migration_of_a_table_that_two_projects_fill_both_have_nothing_to_do(
    tmp_path: Path, url: str, migration: str
) -> None:
    """Neither can tell whether the other's rows are as they were; but both compare theirs, and drift is seen."""
    execute(url, "INSERT INTO cities (code, name) VALUES ('hfa', 'Haifa')")

    def write_all(header: str, age: str) -> list[Path]:
        return [
            write(
                tmp_path / name,
                {
                    "seedlab.toml": f'[project]\nname = "{name}"\n',
                    "pupils.csv": f"name,city_id{header}\n{name} 1,1{age}\n{name} 2,1{age}\n",
                },
            )
            for name in ("one", "other")
        ]

    for folder in write_all(",age", ",9"):
        seed(folder, url)
    execute(url, f"ALTER TABLE pupils {migration}")
    both = write_all(",years", ",9") if "years" in migration else write_all("", "")

    assert [counted(seed(folder, url)) for folder in both] == [(0, 0, 2)] * 2
    assert [told(seed(folder, url))[0][0] for folder in both] == ["skipped"] * 2
    for folder in both:
        execute(url, f"DELETE FROM pupils WHERE name = '{folder.name} 1'")
        assert [counted(seed(each, url))[0] for each in both] == [int(each == folder) for each in both]
        assert [told(seed(each, url))[0][0] for each in both] == ["skipped"] * 2


# ---- what a trigger makes of our rows while they are written --------------------------------------------

LOUD = {
    "postgresql": """
        CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN NEW.word = upper(NEW.word); RETURN NEW; END$$;
        CREATE TRIGGER loud BEFORE INSERT OR UPDATE ON words FOR EACH ROW EXECUTE FUNCTION shout();
    """,
    "sqlite": """
        CREATE TRIGGER loud AFTER INSERT ON words BEGIN UPDATE words SET word = upper(word) WHERE id = NEW.id; END;
        CREATE TRIGGER louder AFTER UPDATE ON words WHEN NEW.word <> upper(NEW.word)
        BEGIN UPDATE words SET word = upper(word) WHERE id = NEW.id; END;
    """,
}


def test_what_a_trigger_makes_of_a_row_is_what_later_runs_expect(
    folder: Path, clean_database_url: str
) -> None:
    url = clean_database_url
    execute(url, "CREATE TABLE words (id SERIAL KEY, code text NOT NULL UNIQUE, word text, n int);")
    execute(url, LOUD[url.split(":")[0]])
    write(folder, {"words.csv": "code,word,n\na,ada,1\nb,bob,1\n"})

    runs = [counted(seed(folder, url)) for _ in range(2)]
    runs += [counted(seed(folder, url, force=True)) for _ in range(2)]
    write(folder, {"words.csv": "code,word,n\na,ada,2\nb,bob,1\n"})
    runs += [counted(seed(folder, url)) for _ in range(2)]

    assert runs == [(2, 0, 0), (0, 0, 2), (0, 2, 0), (0, 2, 0), (0, 1, 1), (0, 0, 2)]
    assert rows_of(url, "SELECT word, n FROM words ORDER BY 1") == [("ADA", 2), ("BOB", 1)]
