"""Keys that are equal to the database although it keeps them in different spellings are one key, everywhere."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import pytest

from seedlab.errors import DataFaults
from seedlab.steps.resolving import scanning
from tests.support.cases import some
from tests.support.seeding import WAYS, Way, counted, execute, rows_of, seed, seed_in, undo, write

ABLE = """
CREATE EXTENSION citext;
CREATE COLLATION able (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
"""


@dataclass(frozen=True, kw_only=True)
class Equal:
    """Two spellings of one value, and another value: of what type, in which database, what that needs."""

    type: str
    one: str
    other: str
    unequal: str
    server: str = "clean_postgres_url"
    needs: str = ""


EQUAL = {
    "interval": Equal(type="interval", one="1 mon -1 days", other="28 days 24:00:00", unequal="1 mon"),
    "jsonb": Equal(
        type="jsonb",
        one='{"a": [1.50, "1.0", 10]}',
        other='{"a": [1.5, "1.0", 10.00]}',
        unequal='{"a": [1.5, "1.00", 10]}',
    ),
    "numeric[]": Equal(type="numeric[]", one="{{1.0},{2}}", other="{{1.00},{2.0}}", unequal="{1,2}"),
    "interval[]": Equal(type="interval[]", one="{1 day,NULL}", other="{24:00:00,NULL}", unequal="{1 day}"),
    "numrange": Equal(type="numrange", one="[1.050,2)", other="[1.05,2.0)", unequal="[1.5,2)"),
    "composite[]": Equal(
        type="pair[]",
        one='{"(1.0,1 day)","(,1 day)"}',
        other='{"(1.00,24:00:00)","(,24:00:00)"}',
        unequal='{"(1,1 day)"}',
        needs="CREATE TYPE pair AS (a numeric, b interval);",
    ),
    "composite": Equal(
        type="pair",
        one="(2.5,1.0)",
        other="(2.50,1.0)",
        unequal="(2.5,1.00)",
        needs="CREATE TYPE pair AS (a numeric, b text);",
    ),
    "citext with I": Equal(
        type="citext", one="Ibis", other="iBIS", unequal="ibi", server="able_postgres_url", needs=ABLE
    ),
    "citext": Equal(
        type="citext", one="Ab", other="aB", unequal="abc", server="able_postgres_url", needs=ABLE
    ),
    "text": Equal(
        type="text COLLATE able", one="Ab", other="aB", unequal="abc", server="able_postgres_url", needs=ABLE
    ),
    "char": Equal(
        type="char(3) COLLATE able",
        one="Ab",
        other="aB",
        unequal="abc",
        server="able_postgres_url",
        needs=ABLE,
    ),
    "NOCASE": Equal(type="text COLLATE NOCASE", one="Ab", other="aB", unequal="abc", server="sqlite_url"),
    "RTRIM": Equal(
        type="varchar(9) COLLATE RTRIM", one="Ab", other="Ab  ", unequal=" Ab", server="sqlite_url"
    ),
}
SEEDS = """
[[stages]]
id = "all"
  [[stages.seeds]]
  name = "one"
  source = "one*.csv"
  MODE
  [stages.seeds.tables]
  things = {}
  [[stages.seeds]]
  name = "two"
  source = "two.csv"
  [stages.seeds.tables]
  things = {}
"""


# Every type in the default way, and every way with one type of each dialect, as they do not know of each other.
CASES = [
    f"{name} {way}"
    for name in EQUAL
    for way in ("legacy", "bulk", "incremental", "incremental-no-rebuild")
    if way == "incremental" or name in ("interval", "NOCASE")
]


@pytest.fixture(params=some(CASES, "interval legacy", "interval incremental", "NOCASE incremental"))
def case(request: pytest.FixtureRequest) -> tuple[Equal, Way]:
    name, _, way = request.param.rpartition(" ")
    return EQUAL[name], next(each for each in WAYS if str(each) == way)


@pytest.fixture
def equal(case: tuple[Equal, Way]) -> Equal:
    return case[0]


@pytest.fixture
def way(case: tuple[Equal, Way]) -> Way:
    return case[1]


@pytest.fixture
def url(equal: Equal, request: pytest.FixtureRequest) -> str:
    """A database with a table of such keys, and one that refers to it."""
    url: str = request.getfixturevalue(equal.server)
    execute(
        url,
        f"""{equal.needs}
        CREATE TABLE things (id SERIAL KEY, code {equal.type} NOT NULL UNIQUE, name text);
        CREATE TABLE uses (n int PRIMARY KEY, thing_id int NOT NULL REFERENCES things (id));
        """,
    )
    return url


@pytest.fixture(params=["no row", "a row of it", "another row"])
def there(request: pytest.FixtureRequest, equal: Equal, url: str) -> str:
    """What the table has before."""
    if request.param == "a row of it":
        execute(url, f"INSERT INTO things (code, name) VALUES ('{equal.one}', 'was')")
    if request.param == "another row":
        execute(url, f"INSERT INTO things (code, name) VALUES ('{equal.unequal}', 'was')")
    return request.param


def table(*rows: tuple[str, str], header: tuple[str, str] = ("code", "name")) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue()


def names(url: str) -> list[str]:
    return [name for (name,) in rows_of(url, "SELECT name FROM things ORDER BY name")]


def assert_refused(way: Way, folder: Path, url: str, file: str, line: int) -> None:
    before = names(url)
    with pytest.raises(DataFaults) as failed:
        seed_in(way, folder, url)
    faults = failed.value.faults
    assert [(each.rule, each.file, each.line) for each in faults] == [("duplicate-key", file, line)]
    assert names(url) == before


@pytest.mark.usefixtures("there")
def test_a_key_twice_in_a_file_is_refused(folder: Path, url: str, way: Way, equal: Equal) -> None:
    write(folder, {"things.csv": table((equal.one, "x"), (equal.other, "y"))})
    assert_refused(way, folder, url, "things.csv", 3)


@pytest.mark.usefixtures("there")
def test_a_key_in_two_seeds_is_refused(folder: Path, url: str, way: Way, equal: Equal) -> None:
    write(folder, {"seedlab.toml": SEEDS.replace("MODE", "")})
    write(folder, {"one.csv": table((equal.one, "x")), "two.csv": table((equal.other, "y"))})
    assert_refused(way, folder, url, "two.csv", 2)


@pytest.mark.slow
def test_a_key_twice_in_a_file_larger_than_a_batch_is_refused(folder: Path, url: str, equal: Equal) -> None:
    write(folder, {"things.csv": table((equal.one, "x"), (equal.other, "y"))})
    with pytest.raises(DataFaults) as failed:
        seed(folder, url, batch_rows=1)
    assert [(each.rule, each.line) for each in failed.value.faults] == [("duplicate-key", 3)]


@pytest.mark.parametrize("mode", ["", 'mode = "sync"'])
@pytest.mark.parametrize(
    ("file", "rows", "line"), [("one.csv", 2, 3), ("one_more.csv", 1, 2), ("two.csv", 1, 2)]
)
def test_a_key_that_comes_again_later_is_refused(
    folder: Path, url: str, way: Way, equal: Equal, file: str, rows: int, line: int, mode: str
) -> None:
    """Also where only the changed file is read, and of it only the new row would be written."""
    write(folder, {"seedlab.toml": SEEDS.replace("MODE", mode)})
    write(folder, {"one.csv": table((equal.one, "x")), "two.csv": table()})
    seed_in(way, folder, url)
    write(folder, {file: table(*[(equal.one, "x"), (equal.other, "y")][-rows:])})
    for _ in range(2):
        assert_refused(way, folder, url, file, line)


@pytest.mark.parametrize("mode", ["", 'mode = "sync"'])
def test_a_key_that_is_spelled_anew_is_the_same_row(
    folder: Path, url: str, way: Way, equal: Equal, mode: str
) -> None:
    """A sync deleted it."""
    write(folder, {"seedlab.toml": SEEDS.replace("MODE", mode)})
    write(folder, {"one.csv": table((equal.one, "x")), "two.csv": table()})
    seed_in(way, folder, url)
    before = rows_of(url, "SELECT id, code FROM things")

    write(folder, {"one.csv": table((equal.other, "y"))})
    runs = [seed_in(way, folder, url, max_delete="100%") for _ in range(2)]

    assert [(*counted(run), run.outcomes.deleted) for run in runs] == [(0, 1, 0, 0), (0, 0, 1, 0)]
    assert names(url) == ["y"]
    assert rows_of(url, "SELECT id, code FROM things") == before


def test_a_reference_in_another_spelling_finds_its_parent(
    folder: Path, url: str, way: Way, equal: Equal
) -> None:
    uses = table(("1", equal.other), ("2", equal.one), header=("n", "thing.code"))
    write(folder, {"things.csv": table((equal.one, "x")), "uses.csv": uses})
    runs = [seed_in(way, folder, url) for _ in range(2)]
    assert list(map(counted, runs)) == [(3, 0, 0), (0, 0, 3)]
    assert rows_of(url, "SELECT code FROM things") == rows_of(
        url, "SELECT DISTINCT code FROM things JOIN uses ON thing_id = id"
    )


def test_of_equal_keys_the_first_is_kept_where_the_seed_says_so(
    folder: Path, url: str, way: Way, equal: Equal
) -> None:
    write(folder, {"seedlab.toml": SEEDS.replace("MODE", 'duplicates = "first"')})
    write(folder, {"one.csv": table((equal.one, "x"), (equal.other, "y")), "two.csv": table()})
    runs = [seed_in(way, folder, url) for _ in range(2)]
    assert list(map(counted, runs)) == [(1, 0, 0), (0, 0, 1)]
    assert names(url) == ["x"]


@pytest.mark.slow
def test_rows_of_equal_keys_are_rejected(
    folder: Path, url: str, way: Way, equal: Equal, tmp_path: Path
) -> None:
    write(folder, {"things.csv": table((equal.one, "x"), (equal.other, "y"))})
    run = seed_in(way, folder, url, rejects=tmp_path / "reports")
    assert [(fault.rule, fault.line) for fault in run.faults] == [("duplicate-key", 2), ("duplicate-key", 3)]
    assert names(url) == []


@pytest.mark.slow
def test_very_many_rows_are_known_again_by_such_keys(
    folder: Path, monkeypatch: pytest.MonkeyPatch, clean_postgres_url: str
) -> None:
    """Of these the ledger has keys, and usually no handles."""
    monkeypatch.setattr(scanning, "NAMED_ROWS", 20)
    execute(clean_postgres_url, "CREATE TABLE things (code interval PRIMARY KEY, name text)")
    rows = [(f"{n} days", "x") for n in range(60)]
    write(folder, {"things.csv": table(*rows)})
    seed(folder, clean_postgres_url, batch_rows=10)
    write(folder, {"things.csv": table(("24:00:00", "y"), *[row for row in rows if row[0] != "1 days"])})

    run = seed(folder, clean_postgres_url, batch_rows=10)

    assert counted(run) == (0, 1, 59)
    assert undo(folder, clean_postgres_url).outcomes.deleted == 60


# ---- values that are not equal --------------------------------------------------------------------------


def test_a_value_that_looks_alike_is_another_row(folder: Path, url: str, way: Way, equal: Equal) -> None:
    write(folder, {"things.csv": table((equal.one, "x"), (equal.unequal, "y"))})
    assert counted(seed_in(way, folder, url)) == (2, 0, 0)


@pytest.mark.slow
def test_citext_is_compared_by_the_locale_of_the_database(folder: Path, able_postgres_url: str) -> None:
    """In the locale C only ASCII has lower case: the client took these two for one row."""
    url = able_postgres_url
    execute(url, f"{ABLE} CREATE TABLE things (id SERIAL KEY, code citext NOT NULL UNIQUE, name text);")
    (one_row,) = rows_of(url, "SELECT 'Ä'::citext = 'ä'::citext")[0]
    write(folder, {"seedlab.toml": SEEDS.replace("MODE", 'mode = "sync"')})
    write(folder, {"one.csv": table(("Ä", "x"), ("ä", "y")), "two.csv": table()})
    if one_row:
        assert_refused(Way(), folder, url, "one.csv", 3)
        return
    assert counted(seed_in(Way(), folder, url)) == (2, 0, 0)

    write(folder, {"one.csv": table(("ä", "y"))})
    run = seed_in(Way(), folder, url, max_delete="100%")

    assert (counted(run), run.outcomes.deleted, names(url)) == ((0, 0, 1), 1, ["y"])


# ---- tables that do not exist yet -----------------------------------------------------------------------

MODELS = """
from sqlalchemy import Column, Integer, MetaData, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, INET, INTERVAL
metadata = MetaData()
Table("spans", metadata, Column("code", INTERVAL, primary_key=True), Column("name", Text))
Table("hosts", metadata, Column("code", INET, primary_key=True), Column("name", Text))
Table("lists", metadata, Column("code", ARRAY(Numeric), primary_key=True), Column("name", Text))
"""
SYNCED = """
[project]
schema = "models.py:metadata"
""" + "".join(
    f"""
[[stages]]
id = "{name}"
  [[stages.seeds]]
  name = "{name}"
  source = "{name}.csv"
  mode = "sync"
"""
    for name in ("spans", "hosts", "lists")
)


def test_keys_of_tables_that_the_run_makes_are_named_as_later(folder: Path, clean_postgres_url: str) -> None:
    url = clean_postgres_url
    write(folder, {"models.py": MODELS, "seedlab.toml": SYNCED})
    rows = {"spans": "24:00:00", "hosts": "10.0.0.1/32", "lists": "{1.0}"}
    write(folder, {f"{name}.csv": table((code, "x")) for name, code in rows.items()})
    assert counted(seed(folder, url)) == (3, 0, 0)

    rows = {"spans": "1 day", "hosts": "10.0.0.1", "lists": "{1.00}"}
    write(folder, {f"{name}.csv": table((code, "y")) for name, code in rows.items()})
    run = seed(folder, url, max_delete="100%")

    assert (counted(run), run.outcomes.deleted) == ((0, 3, 0), 0)
    held = [rows_of(url, f"SELECT name FROM {name}") for name in rows]
    assert held == [[("y",)]] * 3
