"""Over a slow network small empty tables share one round trip, and everything else is as over a fast one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from seedlab.database.embedded.cluster import SOCKET
from seedlab.database.postgres import direct as postgres_direct
from seedlab.database.postgres import encode
from seedlab.database.postgres import load as postgres_load
from seedlab.database.postgres.wire import Wire
from seedlab.database.proxy import DelayProxy
from seedlab.errors import DataFaults
from seedlab.flow import Run
from tests.conformance.test_many_tables import ROWS, world
from tests.fix_clean import clean
from tests.support.seeding import counted, execute, portable_dump, rows_of, seed, write

NETWORK = 0.016  # seconds
CELLS = 30  # values of a table that take as long in arrays as a round trip
TABLES = """
CREATE TABLE cities (id int PRIMARY KEY, code text UNIQUE);
CREATE TABLE streets (city_id int PRIMARY KEY REFERENCES cities, name text);
CREATE TABLE pupils (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code varchar(4) UNIQUE, city_id int REFERENCES cities,
  friend_id bigint REFERENCES pupils);
CREATE TABLE notes (id serial PRIMARY KEY, pupil_id bigint REFERENCES pupils, text text, UNIQUE (pupil_id, text));
CREATE TABLE marks (pupil_id bigint PRIMARY KEY REFERENCES pupils, mark int)
"""
FILES = {
    "cities.csv": "id,code\n1,hfa\n2,tlv\n",
    "streets.csv": "city.code,name\nhfa,Main\n",
    "pupils.csv": "code,city.code,friend.code\n" + "".join(f"p{n},hfa,p{n // 2}\n" for n in range(30)),
    "notes.csv": 'pupil.code,text\np1,"a, ""b"" \\ {c}"\np2,x\n',
    "marks.csv": "pupil.code,mark\np3,5\n",
}


@contextmanager
def delayed(url: str, milliseconds: float) -> Iterator[str]:
    """The URL of the same database, over a network that delays."""
    folder = Path(dict(parse_qsl(urlsplit(url).query))["host"])
    with DelayProxy(unix_socket=folder / SOCKET, round_trip_ms=milliseconds) as proxy:
        yield proxy.url_for(url)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network is slow, and a table of a few rows is large."""
    monkeypatch.setattr(Wire, "network_seconds", NETWORK)
    monkeypatch.setattr(postgres_load, "ARRAY_SECONDS", NETWORK / CELLS)


def test_many_tables_cost_as_many_round_trips_as_few(clean_postgres_url: str, tmp_path: Path) -> None:
    local, found = {}, {}
    for tables in (4, 12):
        ddl, files = world(tables)
        folder = write(tmp_path / str(tables), files)
        execute(clean_postgres_url, ddl)
        local[tables] = seed(folder, clean_postgres_url)
        expected = portable_dump(clean_postgres_url)
        clean(clean_postgres_url)
        execute(clean_postgres_url, ddl)
        with delayed(clean_postgres_url, 8) as url:
            found[tables] = seed(folder, url)

        assert counted(found[tables]) == (tables * ROWS, 0, 0)
        assert portable_dump(clean_postgres_url) == expected
        clean(clean_postgres_url)

    assert found[4].counters.round_trips == found[12].counters.round_trips
    assert local[12].counters.round_trips == local[4].counters.round_trips + 8
    assert found[12].counters.round_trips == local[12].counters.round_trips - 12
    assert found[12].counters.statements == local[12].counters.statements


@pytest.mark.usefixtures("slow")
def test_arrays_take_no_more_memory_than_they_may(
    clean_postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ddl, files = world(6)
    folder = write(tmp_path / "project", files)
    trips = []
    for most in (1_000_000, 3 * ROWS * 5):  # all tables, or three of them, with five columns each
        monkeypatch.setattr(postgres_load, "ARRAY_VALUES", most)
        execute(clean_postgres_url, ddl)
        run = seed(folder, clean_postgres_url)
        assert counted(run) == (6 * ROWS, 0, 0)
        trips.append(run.counters.round_trips)
        clean(clean_postgres_url)

    assert trips[1] == trips[0] + 1 + 3  # a message, and three COPYs in it


@pytest.mark.parametrize("rows", [0, 1], ids=["small", "large"])
@pytest.mark.parametrize("disabled", [(), ("rebuild",)], ids=["keys off", "keys on"])
@pytest.mark.usefixtures("slow")
def test_tables_that_are_too_large_are_copied(
    clean_postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    rows: int, disabled: tuple[str, ...],
) -> None:  # fmt: skip
    if rows:
        monkeypatch.setattr(postgres_direct, "REBUILD_ROWS", rows)
        monkeypatch.setattr(postgres_direct, "REBUILD_TABLE_ROWS", rows)
    folder = write(tmp_path / "project", FILES)

    def seeded(network: float) -> tuple[Run, object]:
        clean(clean_postgres_url)
        execute(clean_postgres_url, TABLES)
        monkeypatch.setattr(Wire, "network_seconds", network)
        run = seed(folder, clean_postgres_url, disabled=disabled)
        return run, portable_dump(clean_postgres_url)

    fast, expected = seeded(0.0)
    run, found = seeded(NETWORK)

    assert found == expected
    assert counted(run) == counted(fast) == (36, 0, 0)
    # One message with five COPYs, or two pipelines with a message of one COPY between them.
    assert run.counters.round_trips == fast.counters.round_trips - 6 + 4
    assert counted(seed(folder, clean_postgres_url)) == (0, 0, 36)
    keys = "SELECT count(*)::int FROM pg_constraint WHERE contype = 'f' AND convalidated"
    assert rows_of(clean_postgres_url, keys) == [(5,)]


LOOKING = """
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN NEW.text := (SELECT code FROM pupils WHERE id = NEW.pupil_id); RETURN NEW; END $$;
CREATE TRIGGER look BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION look();
"""


@pytest.mark.usefixtures("slow")
def test_a_trigger_finds_the_rows_of_the_large_table_that_was_written_before(
    clean_postgres_url: str, tmp_path: Path
) -> None:
    execute(clean_postgres_url, f"{TABLES}; {LOOKING}")

    seed(write(tmp_path / "project", FILES), clean_postgres_url)

    assert rows_of(clean_postgres_url, "SELECT text FROM notes ORDER BY id") == [("p1",), ("p2",)]


@pytest.mark.usefixtures("slow")
def test_large_values_are_copied(
    clean_postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "project", FILES)
    trips = []
    for most in (encode.ARRAY_BYTES, 10):
        monkeypatch.setattr(encode, "ARRAY_BYTES", most)
        clean(clean_postgres_url)
        execute(clean_postgres_url, TABLES)
        run = seed(folder, clean_postgres_url)
        assert counted(run) == (36, 0, 0)
        trips.append(run.counters.round_trips)

    assert trips[1] == trips[0] - 4 + 6


@pytest.mark.parametrize(
    ("broken", "place"),
    [
        ({"pupils.csv": "code,city.code\np1,hfa\npupil,tlv\n"}, ("pupils.csv", 1)),
        ({"cities.csv": "id,code\n1,hfa\n2,tlv\n3,HFA\n"}, ("cities.csv", 2)),
    ],
    ids=["too long", "not unique"],
)
def test_the_row_that_the_server_refuses_is_named(
    clean_postgres_url: str, tmp_path: Path, slow: None, broken: dict[str, str], place: tuple[str, int]
) -> None:
    execute(clean_postgres_url, f"{TABLES}; CREATE UNIQUE INDEX ON cities (lower(code))")
    folder = write(
        tmp_path / "project",
        {**FILES, **broken, "notes.csv": "pupil.code,text\n", "marks.csv": "pupil.code,mark\n"},
    )

    with pytest.raises(DataFaults) as caught:
        seed(folder, clean_postgres_url)

    assert [(fault.file, fault.row) for fault in caught.value.faults] == [place]
    assert rows_of(clean_postgres_url, "SELECT count(*)::int FROM cities") == [(0,)]
