"""Files larger than memory: the same database, faults and memory of it as those that are held whole."""

from __future__ import annotations

import gzip
import io
import shlex
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import zstandard

from seedlab.errors import DataFaults
from seedlab.flow import memory
from seedlab.steps.preparing import shaping
from seedlab.steps.resolving import scanning
from tests.support.cases import some
from tests.support.seeding import counted, dump, execute, rows_of, seed, undo, write
from tests.support.waiting import killed_asleep

TABLES = (
    "CREATE TABLE shops (code text PRIMARY KEY, name text);"
    "CREATE TABLE sales (id {integer} PRIMARY KEY, shop text REFERENCES shops, price numeric(9, 2), note text)"
)
ROWS = 60
FORMS = ("csv", "tsv", "jsonl", "parquet", "csv.gz", "csv.zst", "jsonl.zst")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of few rows, of which few are remembered by name, in several packs."""
    monkeypatch.setattr(memory, "PACK_BYTES", 600)
    monkeypatch.setattr(shaping, "STREAM_ROWS", 7)
    monkeypatch.setattr(scanning, "NAMED_ROWS", 20)


def sales(rows: int = ROWS, **changed: object) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "id": [f"{n:03}" if n % 7 == 0 else str(n) for n in range(rows)],
            "shop": [f"s{n % 3}" for n in range(rows)],
            "price": [f"{n}.50" for n in range(rows)],
            "note": [None if n % 5 == 0 else f"note {n}" for n in range(rows)],
        }
    )
    return frame.with_columns(**changed) if changed else frame


def packed(frame: pl.DataFrame, form: str) -> bytes:
    stream = io.BytesIO()
    kind, _, archive = form.partition(".")
    if kind == "parquet":
        frame.write_parquet(stream, row_group_size=max(11, frame.height // 10))
    elif kind == "jsonl":
        frame.write_ndjson(stream)
    else:
        frame.write_csv(stream, separator="\t" if kind == "tsv" else ",")
    data = stream.getvalue()
    return {"gz": gzip.compress, "zst": zstandard.compress}.get(archive, bytes)(data)


def prepare(folder: Path, url: str, frame: pl.DataFrame, form: str = "csv") -> None:
    shops = "code,name\n" + "".join(f"s{n},shop {n}\n" for n in range(3))
    write(folder, {"shops.csv": shops, f"sales.{form}": packed(frame, form)})
    execute(url, TABLES.format(integer="integer" if url.startswith("sqlite") else "int8"))


def ids(url: str) -> list[int]:
    return sorted(number for (number,) in rows_of(url, "SELECT id FROM sales"))


def streamed(folder: Path, url: str, **options: object):
    return seed(folder, url, batch_rows=9, **options)


@pytest.mark.parametrize("form", some(FORMS, "csv", "parquet"))
def test_rows_of_which_only_keys_are_kept_give_the_same_database(
    folder: Path, clean_database_url: str, form: str
) -> None:
    url = clean_database_url
    prepare(folder, url, sales(), form)
    assert counted(seed(folder, url)) == (ROWS + 3, 0, 0)
    expected = dump(url)
    undo(folder, url)
    assert dump(url) == {"shops": [], "sales": []}

    runs = [streamed(folder, url), streamed(folder, url), streamed(folder, url, force=True)]

    assert [counted(run) for run in runs] == [(ROWS + 3, 0, 0), (0, 0, ROWS + 3), (0, 0, ROWS + 3)]
    assert dump(url) == expected


@pytest.mark.parametrize("again", ["streamed", "whole"])
def test_rows_that_changed_and_left_are_told_from_the_others(
    folder: Path, clean_database_url: str, again: str
) -> None:
    url = clean_database_url
    prepare(folder, url, sales())
    streamed(folder, url)
    frame = sales(ROWS + 2, note=pl.when(pl.col("id") == "11").then(pl.lit("new")).otherwise("note")).slice(5)
    write(folder, {"sales.csv": packed(frame, "csv")})

    run = streamed(folder, url) if again == "streamed" else seed(folder, url)

    assert counted(run) == (2, 1, ROWS - 6 + 3)
    assert len(dump(url)["sales"]) == ROWS + 2
    undo(folder, url)
    assert dump(url) == {"shops": [], "sales": []}


def noted(first: int, last: int, *others: int) -> pl.DataFrame:
    """Sales from the first to before the last, of which some have another note."""
    other = pl.when(pl.col("id").cast(int).is_in(others)).then(pl.lit("another")).otherwise("note")
    return sales(last, note=other).slice(first)


def as_packed(url: str) -> set[tuple[object, ...]]:
    """The packs as they were written at once; xmin is the transaction that did."""
    return set(rows_of(url, "SELECT number, xmin::text FROM seedlab.packs"))


def test_of_very_many_rows_that_changed_a_few_times_only_those_that_differ_are_sent_and_remembered(
    folder: Path, clean_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = clean_database_url
    prepare(folder, url, sales())
    execute(url, "INSERT INTO shops VALUES ('s0', 'shop 0'), ('s1', 'shop 1'), ('s2', 'shop 2')")
    execute(url, "INSERT INTO sales VALUES (50, 's1', 3, 'theirs'), (900, 's1', 3, 'theirs')")
    assert counted(streamed(folder, url)) == (ROWS - 1, 1, 3)
    packs = as_packed(url) if url.startswith("postgresql") else set()
    monkeypatch.setattr(memory, "PACK_BYTES", 1 << 20)  # so much may differ
    told = []
    for frame in (
        noted(0, ROWS, 11, 50),  # two others
        noted(0, ROWS, 50),  # one again as it was, all as they were of which the packs know
        noted(5, ROWS + 20, 50, 70),  # some left, some came
        noted(3, ROWS + 20, 50),  # two that left are there again
        noted(3, ROWS + 20, 50).reverse(),  # in another order
        noted(3, 55, 12),
    ):
        write(folder, {"sales.csv": packed(frame, "csv")})
        told.append(counted(streamed(folder, url)))

    assert told == [
        (0, 2, ROWS - 2 + 3),
        (0, 1, ROWS - 1 + 3),
        (20, 0, ROWS - 5 + 3),
        (0, 1, ROWS + 20 - 3 - 1 + 3),
        (0, 0, ROWS + 20 - 3 + 3),
        (0, 2, 52 - 2 + 3),
    ]
    assert len(packs) > 3 or url.startswith("sqlite")
    assert not packs or as_packed(url) == packs
    assert ids(url) == [*range(ROWS + 20), 900]
    undo(folder, url)
    assert ids(url) == [50, 900]


def test_a_changed_file_of_very_many_rows_is_told_from_the_other_files(
    folder: Path, clean_database_url: str
) -> None:
    url = clean_database_url
    prepare(folder, url, sales().head(1))
    (folder / "sales.csv").unlink()
    seeds = '[[stages]]\nid = "all"\n[[stages.seeds]]\nname = "shops"\nsource = "shops.csv"\n'
    write(
        folder,
        {
            "seedlab.toml": seeds + '[[stages.seeds]]\nname = "sales"\nsource = "sales/*.csv"\n'
            "[stages.seeds.tables]\nsales = {}\n"
        },
    )

    def both(first: pl.DataFrame, second: pl.DataFrame) -> tuple[int, int, int]:
        write(folder, {"sales/1.csv": packed(first, "csv"), "sales/2.csv": packed(second, "csv")})
        return counted(streamed(folder, url))

    assert both(noted(0, 30), noted(30, 60)) == (63, 0, 0)
    assert both(noted(0, 30, 7), noted(30, 60)) == (0, 1, 62)
    assert both(noted(0, 30, 7), noted(29, 60).slice(1)) == (0, 0, 63)
    assert both(noted(0, 31, 7), noted(31, 60)) == (0, 0, 63)  # one moved to the other file
    with pytest.raises(DataFaults) as found:
        both(noted(0, 32, 7), noted(31, 60))
    assert {each.rule for each in found.value.faults} == {"duplicate-key"}
    assert both(noted(2, 31, 7), noted(31, 60, 33)) == (0, 1, 60)
    undo(folder, url)
    assert dump(url) == {"shops": [], "sales": []}


def test_only_rows_that_we_made_are_deleted_again(folder: Path, clean_database_url: str) -> None:
    url = clean_database_url
    prepare(folder, url, sales())
    execute(url, "INSERT INTO shops VALUES ('s0', 'shop 0'), ('s1', 'shop 1'), ('s2', 'shop 2')")
    execute(
        url, "INSERT INTO sales VALUES (12, 's1', 1, 'theirs'), (31, 's1', 2, 'theirs'), (900, 's1', 3, '')"
    )

    assert counted(streamed(folder, url)) == (ROWS - 2, 2, 3)
    undo(folder, url)

    assert ids(url) == [12, 31, 900]


def test_a_sync_deletes_what_left_the_file(folder: Path, clean_database_url: str) -> None:
    url = clean_database_url
    prepare(folder, url, sales())
    seeds = (
        f'[[stages.seeds]]\nname = "{name}"\nsource = "{name}.csv"\nmode = "sync"\n'
        for name in ("shops", "sales")
    )
    write(folder, {"seedlab.toml": '[[stages]]\nid = "all"\n' + "".join(seeds)})
    streamed(folder, url)
    execute(url, "INSERT INTO sales VALUES (900, 's1', 3, 'theirs')")
    write(folder, {"sales.csv": packed(sales().slice(10), "csv")})

    streamed(folder, url, max_delete="10")

    assert ids(url) == [*range(10, ROWS), 900]


@pytest.mark.parametrize("form", some(["csv", "jsonl", "parquet"], "csv"))
def test_a_key_that_comes_twice_far_apart_is_told_with_both_lines(
    folder: Path, clean_database_url: str, form: str
) -> None:
    url = clean_database_url
    twice = pl.when(pl.col("id") == "58").then(pl.lit("03")).otherwise("id")
    prepare(folder, url, sales(id=twice), form)

    with pytest.raises(DataFaults) as found:
        streamed(folder, url)
    with pytest.raises(DataFaults) as whole:
        seed(folder, url)

    assert found.value.faults == whole.value.faults
    assert [(each.rule, each.row) for each in found.value.faults] == [("duplicate-key", 58)]
    assert dump(url) == {"shops": [], "sales": []}


def test_parents_that_are_missing_are_told_with_their_lines(folder: Path, clean_database_url: str) -> None:
    url = clean_database_url
    lost = pl.when(pl.col("id").is_in(["4", "33"])).then(pl.lit("none")).otherwise("shop")
    prepare(folder, url, sales(shop=lost))

    with pytest.raises(DataFaults) as found:
        streamed(folder, url)

    assert [(each.rule, each.line) for each in found.value.faults] == [
        ("missing-parent", 6),
        ("missing-parent", 35),
    ]


def test_what_the_database_refuses_is_told_with_its_line(folder: Path, clean_database_url: str) -> None:
    url = clean_database_url
    prepare(folder, url, sales())
    execute(url, "DROP TABLE sales")
    execute(
        url,
        "CREATE TABLE sales (id integer PRIMARY KEY, shop text, price numeric(9, 2) CHECK (price < 57), note text)",
    )

    with pytest.raises(DataFaults) as found:
        streamed(folder, url)

    assert found.value.faults[0].line == 59
    assert dump(url) == {"shops": [], "sales": []}


# ---- as much as a machine takes -------------------------------------------------------------------------

SEED = """
import sys
from pathlib import Path
from seedlab.steps.resolving import scanning
from seedlab.steps.preparing import shaping
from tests.support.seeding import seed
scanning.NAMED_ROWS = shaping.STREAM_ROWS = 20_000
print(seed(Path(sys.argv[1]), sys.argv[2], batch_rows=50_000).peak_rss_bytes)
"""
REPOSITORY = Path(__file__).parents[2]


def command(folder: Path, url: str) -> list[str]:
    return [sys.executable, "-c", SEED, str(folder), url]


def peak(folder: Path, url: str) -> int:
    """The most memory of a process that seeds, as the child of a shell: of ours it would have our own peak."""
    script = f"{shlex.join(command(folder, url))}; exit $?"
    return int(subprocess.check_output(["sh", "-c", script], text=True, cwd=REPOSITORY))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "parquet", "csv.zst"])
def test_memory_does_not_grow_with_the_rows(folder: Path, clean_postgres_url: str, form: str) -> None:
    url, peaks = clean_postgres_url, []
    for rows in (300_000, 1_200_000):
        prepare(folder, url, sales(rows), form)
        peaks.append(peak(folder, url))
        assert rows_of(url, "SELECT count(*) FROM sales") == [(rows,)]
        execute(url, "DROP TABLE sales, shops; DROP SCHEMA seedlab CASCADE")

    assert peaks[1] - peaks[0] < 900_000 * 60  # held whole, a row takes some 300 bytes


ORDERS = (
    "CREATE TABLE orders (id int8 PRIMARY KEY, buyer text);"
    "CREATE TABLE lines (order_id int8 REFERENCES orders, n int4, note text, PRIMARY KEY (order_id, n))"
)
ORDERED = """
[[stages]]
id = "all"
[[stages.seeds]]
name = "orders"
source = "orders.jsonl"
[stages.seeds.tables]
orders = { path = "$" }
lines = { path = "lines", columns = { n = "$index" } }
"""


def orders(folder: Path, records: int) -> None:
    """Records of three lines each."""
    write(folder, {"seedlab.toml": ORDERED})
    with (folder / "orders.jsonl").open("w") as file:
        for n in range(records):
            lines = ", ".join(f'{{"note": "line {n} {k}"}}' for k in range(3))
            file.write(f'{{"id": {n}, "buyer": "buyer {n % 99}", "lines": [{lines}]}}\n')


@pytest.mark.slow
def test_memory_does_not_grow_with_nested_records(folder: Path, clean_postgres_url: str) -> None:
    url, peaks = clean_postgres_url, []
    for records in (60_000, 240_000):
        orders(folder, records)
        execute(url, ORDERS)
        peaks.append(peak(folder, url))
        assert rows_of(url, "SELECT count(*) FROM lines") == [(3 * records,)]
        execute(url, "DROP TABLE lines, orders; DROP SCHEMA seedlab CASCADE")

    # What lines refer to is known by name, about 700 bytes a record; held whole, one takes 1,800.
    assert peaks[1] - peaks[0] < 180_000 * 1_000


SLEEPY = """
CREATE FUNCTION sleepy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
CREATE TRIGGER sleepy BEFORE INSERT ON sales FOR EACH ROW WHEN (NEW.id = 60000) EXECUTE FUNCTION sleepy()
"""


@pytest.mark.slow
def test_a_process_killed_on_the_way_leaves_nothing(folder: Path, clean_postgres_url: str) -> None:
    url = clean_postgres_url
    prepare(folder, url, sales(300_000))
    execute(url, SLEEPY)
    with killed_asleep(url, SEED, folder):
        copied = rows_of(
            url, "SELECT tuples_processed FROM pg_stat_progress_copy WHERE relid = 'sales'::regclass"
        )
        assert copied[0][0] > 50_000
    execute(url, "DROP TRIGGER sleepy ON sales; DROP FUNCTION sleepy()")

    assert dump(url) == {"shops": [], "sales": []}
    assert counted(seed(folder, url)) == (300_003, 0, 0)
