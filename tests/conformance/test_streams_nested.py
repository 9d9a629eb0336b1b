"""Nested records in files larger than memory: the same database, faults and memory of it as those held whole."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from seedlab.errors import ConfigurationError, DataFaults
from seedlab.flow import Run
from seedlab.steps.preparing import shaping
from seedlab.steps.resolving import scanning
from tests.support.cases import some
from tests.support.seeding import counted, dump, execute, rows_of, seed, stored, undo, write

TABLES = (
    "CREATE TABLE shops (code text PRIMARY KEY, name text);"
    "CREATE TABLE tags (code text PRIMARY KEY);"
    "CREATE TABLE sales (id integer PRIMARY KEY, shop text REFERENCES shops, note text);"
    "CREATE TABLE sale_tags (sale integer REFERENCES sales, tag text REFERENCES tags, PRIMARY KEY (sale, tag));"
    "CREATE TABLE items (sale integer REFERENCES sales, n integer, price numeric(9, 2),"
    " PRIMARY KEY (sale, n));"
    "CREATE TABLE parts (sale integer, n integer, m integer, label text, PRIMARY KEY (sale, n, m),"
    " FOREIGN KEY (sale, n) REFERENCES items)"
)
PROJECT = """
[[stages]]
id = "all"

  [[stages.seeds]]
  name = "shops"
  source = "shops.csv"

  [[stages.seeds]]
  name = "tags"
  source = "tags.csv"

  [[stages.seeds]]
  name = "sales"
  source = "sales*"
  {more}
    [stages.seeds.tables]
    sales = {{ path = "$" }}
    items = {{ path = "items", columns = {{ n = "$index" }} }}
    parts = {{ path = "items.parts", columns = {{ m = "$index", label = "name" }} }}
"""
ROWS = 40


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of few records, of which few rows are remembered by name."""
    monkeypatch.setattr(shaping, "STREAM_ROWS", 7)
    monkeypatch.setattr(scanning, "NAMED_ROWS", 20)


def sales(rows: int = ROWS) -> list[dict[str, Any]]:
    """Records of which the first batches lack what the others have, an object is null, and lists are empty."""
    return [
        {
            "id": n,
            "shop": {"code": f"s{n % 3}"} if n > 9 and n % 4 else None,
            **({"note": f"note {n}"} if n > 15 else {}),
            "tags": [f"t{k}" for k in range(n % 3)] if n > 7 else [],
            "items": [
                {
                    "price": f"{n}.{k}0",
                    **({"parts": [{"name": f"p{m}"} for m in range(k)]} if n > 11 else {}),
                }
                for k in range(n % 4)
            ],
        }
        for n in range(rows)
    ]


def packed(records: list[dict[str, Any]], form: str = "jsonl") -> bytes:
    if form == "parquet":
        stream = io.BytesIO()
        pl.DataFrame(records, infer_schema_length=None).write_parquet(stream)
        return stream.getvalue()
    data = "".join(json.dumps(each) + "\n" for each in records).encode()
    return gzip.compress(data) if form == "jsonl.gz" else data


def prepare(
    folder: Path, url: str, records: list[dict[str, Any]], form: str = "jsonl", more: str = ""
) -> None:
    shops = "code,name\n" + "".join(f"s{n},shop {n}\n" for n in range(3))
    write(
        folder,
        {
            "shops.csv": shops,
            "tags.csv": "code\nt0\nt1\n",
            f"sales.{form}": packed(records, form),
            "seedlab.toml": PROJECT.format(more=more),
        },
    )
    execute(url, TABLES)


def streamed(folder: Path, url: str, **options: Any) -> Run:
    return seed(folder, url, batch_rows=9, **options)


def faults(run: Callable[..., Run], folder: Path, url: str) -> list[Any]:
    with pytest.raises(DataFaults) as found:
        run(folder, url)
    assert all(not rows for rows in dump(url).values())
    return list(found.value.faults)


@pytest.mark.parametrize("form", some(["jsonl", "jsonl.gz", "parquet"], "jsonl"))
def test_nested_rows_give_the_same_database(folder: Path, clean_database_url: str, form: str) -> None:
    url = clean_database_url
    prepare(folder, url, sales(), form)
    whole = seed(folder, url)
    expected = stored(url)
    assert min(map(len, (expected["parts"], expected["sale_tags"]))) > 20
    undo(folder, url)
    assert all(not rows for rows in dump(url).values())

    runs = [streamed(folder, url), streamed(folder, url), streamed(folder, url, force=True)]

    total = counted(whole)[0]
    assert [counted(run) for run in runs] == [(total, 0, 0), (0, 0, total), (0, 0, total)]
    assert stored(url) == expected
    undo(folder, url)
    assert all(not rows for rows in dump(url).values())


@pytest.mark.parametrize("mode", ['mode = "sync"', pytest.param("", marks=pytest.mark.slow)])
def test_rows_that_changed_came_and_left(folder: Path, clean_database_url: str, mode: str) -> None:
    url = clean_database_url
    prepare(folder, url, sales(), more=mode)
    streamed(folder, url)
    changed = sales(ROWS + 3)
    changed[22]["items"][0]["price"] = "99.99"
    changed[27]["items"][2]["parts"].pop()
    changed[31]["shop"] = {"code": "s0"}
    write(folder, {"sales.jsonl": packed(changed)})

    run = streamed(folder, url, max_delete="5")

    more = sum(
        1 + len(r["tags"]) + len(r["items"]) + sum(len(i["parts"]) for i in r["items"])
        for r in changed[ROWS:]
    )
    assert (run.outcomes.created, run.outcomes.updated, run.outcomes.deleted) == (more, 2, 1 if mode else 0)
    assert rows_of(url, "SELECT m FROM parts WHERE sale = 27 AND n = 3 ORDER BY m") == (
        [(1,)] if mode else [(1,), (2,)]
    )
    undo(folder, url)
    assert all(not rows for rows in dump(url).values())


def test_faults_of_nested_rows_are_those_of_the_whole(folder: Path, clean_database_url: str) -> None:
    """A parent that is missing, a value that is none, a key that comes again: in batches far apart."""
    url, records = clean_database_url, sales()
    records[9]["tags"] = ["nowhere"]
    records[35]["tags"] = ["nowhere", "t1"]
    records[30]["items"][1]["price"] = "much"
    records[38]["id"] = 3
    prepare(folder, url, records)

    found = faults(streamed, folder, url)

    # Of a streamed row that comes twice the values are no more at hand; where it stands is told alike.
    whole = {replace(each, value=None) for each in faults(seed, folder, url)}
    assert {replace(each, value=None) for each in found} == whole
    assert {(each.rule, each.line) for each in found} >= {
        ("missing-parent", 10),
        ("missing-parent", 36),
        ("type", 31),
        ("duplicate-key", 39),
    }


def test_records_that_do_not_fit_the_others_are_all_told(folder: Path, clean_database_url: str) -> None:
    url, records = clean_database_url, sales()
    records[2]["shop"] = "s1"
    records[20]["items"] = "none"
    records[33]["tags"] = [{"code": "t1"}]
    prepare(folder, url, records)
    write(folder, {"sales-more.jsonl": packed([{"id": n, "items": [{}, "x"]} for n in (90, 91)])})

    found = faults(streamed, folder, url)

    assert {(each.file, each.path) for each in found} == {
        ("sales-more.jsonl", "$[0].items"),
        ("sales-more.jsonl", "$[1].items"),
        ("sales.jsonl", "$[2].shop"),
        ("sales.jsonl", "$[20].items"),
        ("sales.jsonl", "$[33].tags"),
    }
    (folder / "sales-more.jsonl").unlink()
    assert set(faults(seed, folder, url)) == {each for each in found if each.file == "sales.jsonl"}


def test_files_that_lack_what_another_has(folder: Path, clean_database_url: str) -> None:
    """A column is filled from another path, where a file or a batch has that; else what it has stays."""
    url = clean_database_url
    prepare(folder, url, [])
    (folder / "sales.jsonl").unlink()
    named = [{"id": n, "items": [{"parts": [{"name": "named"}]}]} for n in range(20)]
    labelled = [{"id": n, "items": [{"price": "1", "parts": [{"label": "own"}]}]} for n in range(20, 30)]
    both = [
        {"id": 30 + n, "items": [{"parts": [{"name": "a", "label": "b"} if n else {"label": "b"}]}]}
        for n in range(20)
    ]
    write(folder, {f"sales-{n}.jsonl": packed(each) for n, each in enumerate([named, labelled, both])})
    seed(folder, url)
    expected = stored(url)
    assert rows_of(url, "SELECT DISTINCT label FROM parts WHERE sale BETWEEN 20 AND 29") == [("own",)]
    undo(folder, url)

    streamed(folder, url)

    assert stored(url) == expected


@pytest.mark.slow
def test_records_are_rejected_alike(folder: Path, clean_database_url: str, tmp_path: Path) -> None:
    """With all that hangs on them, whole records in the reject file."""
    url, records = clean_database_url, sales()
    records[30]["items"][1]["price"] = "much"
    records[35]["shop"] = {"code": "nowhere"}
    prepare(folder, url, records)
    seed(folder, url, rejects=tmp_path / "whole")
    expected = stored(url)
    undo(folder, url)

    streamed(folder, url, rejects=tmp_path / "streamed")

    assert stored(url) == expected
    told = [next((tmp_path / each).rglob("sales.jsonl")).read_bytes() for each in ("whole", "streamed")]
    assert (told[0] == told[1], told[0].count(b"\n")) == (True, 2)


def test_a_list_that_fills_no_table_is_told(folder: Path, clean_database_url: str) -> None:
    url, records = clean_database_url, sales()
    records[-1]["extras"] = [1]
    prepare(folder, url, records)
    with pytest.raises(ConfigurationError, match=r"the list 'extras' in .* matches no table"):
        streamed(folder, url)


def test_a_transform_is_given_all_rows_and_says_so(folder: Path, clean_database_url: str) -> None:
    url = clean_database_url
    prepare(folder, url, sales(), more='transform = "all_of_them"')
    settings = '[project]\ntransforms = "transforms.py"\n' + (folder / "seedlab.toml").read_text()
    write(folder, {"seedlab.toml": settings, "transforms.py": "def all_of_them(rows): return {}"})
    with pytest.raises(ConfigurationError, match="a transform is given all rows at once"):
        streamed(folder, url)
