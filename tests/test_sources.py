"""Sources: each format gives the same text, large files come in batches, each file is read once."""

from __future__ import annotations

import csv
import gc
import gzip
import io
import json
import os
import random
import threading
import weakref
from pathlib import Path

import polars as pl
import pytest
import xxhash
import yaml
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from seedlab.errors import ConfigurationError, DataFaults
from seedlab.flow import ROW, SourceFile
from seedlab.frames.files import flatten, large, opening, sources
from seedlab.frames.files.documents import Records
from seedlab.frames.files.sources import Flat, LazyDataLoader
from seedlab.frames.files.splitting import split
from tests.fix_sources import faults_of, source, told

# ---- every format says the same

TEXTS = st.one_of(
    st.none(),
    st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t\r"), max_size=12),
    st.sampled_from(
        ["", "007", "NO", "1.10", "null", "~", "true", '"', 'a"b', ",", "\r\n", "שלום", "😀", " x ", "#"]
    ),
)
NAMES = st.sampled_from(["code", "name.en", "שם", 'a "quoted" one', "n,m", "no"])


def as_csv(rows, columns):
    def field(value):
        return "" if value is None else '"' + value.replace('"', '""') + '"'

    lines = [",".join(map(field, columns)), *(",".join(field(row[c]) for c in columns) for row in rows)]
    # A record of one NULL is an empty line, which CSV cannot tell from no record.
    return "\n".join(lines).encode() + b"\n"


def as_parquet(rows, columns):
    stream = io.BytesIO()
    pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String)).write_parquet(stream)
    return stream.getvalue()


WRITERS = {
    "csv": as_csv,
    "json": lambda rows, _: json.dumps(rows, ensure_ascii=False).encode(),
    "jsonl": lambda rows, _: "\n".join(json.dumps(row) for row in rows).encode(),
    "yaml": lambda rows, _: yaml.safe_dump(rows, allow_unicode=True, sort_keys=False).encode(),
    "parquet": as_parquet,
}


def frame_of(file: SourceFile) -> pl.DataFrame:
    read = sources.read(file)
    if isinstance(read, Records):
        return flatten.flatten(read, {})["$"]
    return split(file, sources.collect({0: read})[0], {})["$"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_format_reads_back_the_same_text(tmp_path, data):
    columns = data.draw(st.lists(NAMES, min_size=2, max_size=4, unique=True))
    rows = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(columns, TEXTS)), min_size=1, max_size=6))
    wanted = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String)).with_row_index(ROW)

    for name, write in WRITERS.items():
        file = source(tmp_path, f"t.{name}", write(rows, columns))
        assert_frame_equal(frame_of(file), wanted, check_column_order=False)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.text(st.sampled_from('ab,"\n\r'), max_size=20))
def test_a_csv_file_is_read_as_the_standard_library_reads_it_or_refused(tmp_path, content):
    file = source(tmp_path, "t.csv", "x,y\n" + content)
    try:
        frame = frame_of(file)
    except DataFaults:
        return

    rows = [row for row in csv.reader(io.StringIO("x,y\n" + content, newline=""), strict=True) if row][1:]
    assert frame.drop(ROW).fill_null("").rows() == [tuple(row) for row in rows]


# ---- bytes


def test_the_content_hash_is_of_the_raw_bytes(tmp_path):
    data = os.urandom(3 << 20)

    assert opening.content_hash(source(tmp_path, "t.csv", data)) == xxhash.xxh3_128_hexdigest(data)


@pytest.mark.parametrize("read", [sources.read, opening.content_hash, sources.read_bytes])
def test_pipes_folders_and_missing_files_are_refused(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()

    for name in ("pipe.csv", "folder.csv", "missing.csv", "pipe.json"):
        with pytest.raises(ConfigurationError, match=name):
            read(SourceFile(path=tmp_path / name, name=name, format="csv"))


def test_too_large_documents_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_DOCUMENT_BYTES", 100)

    for name in ("t.json", "t.yaml", "t.jsonl"):
        assert told(faults_of(source(tmp_path, name, "[" + " " * 100 + "]"))) == [("too-large", None)]


def test_many_files_are_collected_together(tmp_path):
    flats = {n: sources.read(source(tmp_path, f"{n}.csv", f"a\n{n}\n")) for n in range(5)}

    frames = sources.collect(flats)

    assert [frames[n].rows() for n in range(5)] == [[(0, str(n))] for n in range(5)]
    assert sources.collect({}) == {}


def test_files_parsed_together_are_read_as_each_by_itself(tmp_path):
    contents = {
        "plain.csv": "a,b\n1,x\n2,y\n",
        "other-columns.csv": "c,d\n,\n3,z",
        "windows.csv": "a,b\r\n4,\r\n\r\n,5\r\n",
        "blank.csv": "a,b\n\n6,7\n\n\n8,9\n\n",
        "quoted.csv": 'a,b\n"","1\n2"\n3,4\n',
        "none.csv": "a,b\n",
        "no-end.csv": "a,b",
        "one.csv": "a\n1\n\n2\n",
        "tabs.tsv": "a\tb\n1,2\t3\n",
        "rejected.csv": "a,_seedlab_reason\n1,why\n",
    }
    flats = {name: sources.read(source(tmp_path, name, text)) for name, text in contents.items()}

    frames = sources.collect(flats)

    assert list(frames) == list(contents)
    for name, flat in flats.items():
        assert_frame_equal(frames[name], flat.scan().collect())


def test_polars_is_not_given_more_files_than_it_can_wait_for(tmp_path, monkeypatch):
    """It has 512 threads that wait, and one more file than that may hang for ever."""
    collect_all, portions = pl.collect_all, []
    monkeypatch.setattr(pl, "collect_all", lambda lazies: portions.append(len(lazies)) or collect_all(lazies))
    flats = {n: sources.read(source(tmp_path, f"{n}.csv", f'a\n"{n}"\n')) for n in range(600)}

    frames = sources.collect(flats)

    assert [frames[n].rows() for n in range(600)] == [[(0, str(n))] for n in range(600)]
    assert sum(portions) == 600
    assert max(portions) < 512


# ---- large files


def table(rows: int) -> bytes:
    lines = (b'%d,"line one\n""two"" of %d",' % (n, n) + (b"\n" if n % 3 else b"x\n\n") for n in range(rows))
    return b"n,text,c\n" + b"".join(lines)


def small_chunks(monkeypatch):
    monkeypatch.setattr(opening, "CHUNK", 100)


@pytest.mark.parametrize("chunk", [7, 100, 1 << 20])
def test_batches_of_csv_are_the_whole_file(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(opening, "CHUNK", chunk)
    file = source(tmp_path, "t.csv", table(100))

    found = list(large.batches(file, 30))

    assert [frame.height for frame in found] == [30, 30, 30, 10]
    assert_frame_equal(pl.concat(found), sources.collect({0: sources.read(file)})[0])


def test_batches_of_parquet_are_the_whole_file(tmp_path):
    stream = io.BytesIO()
    pl.DataFrame({"a": range(1000)}).write_parquet(stream, row_group_size=300)
    file = source(tmp_path, "t.parquet", stream.getvalue())

    found = list(large.batches(file, 150))

    assert max(frame.height for frame in found) <= 150
    assert_frame_equal(pl.concat(found), sources.collect({0: sources.read(file)})[0])


def test_batches_of_jsonl_are_the_whole_file_and_rows_count_on(tmp_path, monkeypatch):
    small_chunks(monkeypatch)
    file = source(tmp_path, "t.jsonl", "\n".join(f'{{"n": {n}, "l": ["a", "b"]}}' for n in range(50)))

    found = list(large.batches(file, 20))
    offsets: dict[str, int] = {}
    rows = []
    for records in found:
        frames = flatten.flatten(records, {}, offsets)
        rows += frames["l"].get_column(ROW).to_list()
        offsets = {path: offsets.get(path, 0) + frame.height for path, frame in frames.items()}

    assert [(records.first, len(records.records)) for records in found] == [(0, 20), (20, 20), (40, 10)]
    assert [r for records in found for r in records.records] == sources.read(file).records
    assert rows == list(range(100))


def written(rows: int, form: str) -> bytes:
    frame = pl.DataFrame({"n": range(rows), "text": [f"row {n}" for n in range(rows)]})
    stream = io.BytesIO()
    if form == "parquet":
        frame.write_parquet(stream, row_group_size=77)
    elif form == "jsonl":
        frame.write_ndjson(stream)
    else:
        frame.write_csv(stream, separator="\t" if form == "tsv" else ",")
    return stream.getvalue()


@pytest.mark.parametrize(
    "body",
    ["1,2\n3\n4,5,6\n", "1,2\n4,5,6\n3\n", "1,2,\n3\n", "1\n2,3,4", "1,2,3\n4,5\n6\n" + "7,8\n" * 5000],
)
def test_fields_missing_here_and_too_many_there_are_found(tmp_path, body):
    with pytest.raises(DataFaults) as batched:
        list(large.batches(source(tmp_path, "t.csv", "a,b\n" + body), 10))
    with pytest.raises(DataFaults) as whole:
        sources.read(source(tmp_path, "t.csv", "a,b\n" + body))

    assert told(batched.value.faults) == told(whole.value.faults)
    assert len(whole.value.faults) == 2


def test_documents_are_one_batch(tmp_path):
    found = list(large.batches(source(tmp_path, "t.json", '[{"a": 1}, {"a": 2}]'), 1))

    assert [len(records.records) for records in found] == [2]


def test_faults_of_all_batches_are_told_together(tmp_path, monkeypatch):
    small_chunks(monkeypatch)
    lines = ["a,b", *("1,2" for _ in range(100)), "3", *("1,2" for _ in range(100)), "4,\0", "5"]
    file = source(tmp_path, "t.csv", "\n".join(lines))

    with pytest.raises(DataFaults) as caught:
        list(large.batches(file, 10))

    assert told(caught.value.faults) == [("field-count", 102), ("nul", 203), ("field-count", 204)]


def test_bad_lines_of_all_batches_are_told_together(tmp_path, monkeypatch):
    small_chunks(monkeypatch)
    lines = ["{}"] * 100 + ["x"] + ["{}"] * 100 + ["[]"]

    with pytest.raises(DataFaults) as caught:
        list(large.batches(source(tmp_path, "t.jsonl", "\n".join(lines)), 10))

    assert told(caught.value.faults) == [("syntax", 101), ("syntax", 202)]


def test_an_open_quote_does_not_swallow_a_large_file(tmp_path, monkeypatch):
    small_chunks(monkeypatch)
    monkeypatch.setattr(large, "MAX_RECORD_BYTES", 1000)
    file = source(tmp_path, "t.csv", "a,b\n" + "1,2\n" * 20 + '1,"x\n' + "1,2\n" * 5000)

    with pytest.raises(DataFaults) as caught:
        list(large.batches(file, 10))

    assert told(caught.value.faults) == [("syntax", 22)]


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    small_chunks(monkeypatch)
    monkeypatch.setattr(large, "MAX_RECORD_BYTES", 1000)

    for name in ("t.csv", "t.jsonl"):
        with pytest.raises(DataFaults) as caught:
            list(large.batches(source(tmp_path, name, "x" * 5000), 10))
        assert told(caught.value.faults) == [("too-large", 1)]


def test_only_the_header_of_a_large_file_is_read_at_first(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "WHOLE_BYTES", 10)
    small_chunks(monkeypatch)
    file = source(tmp_path, "t.csv", "a,b\n" + "1,2\n" * 100 + "3\n")

    flat = sources.read(file)

    assert flat.columns == ("a", "b")
    with pytest.raises(DataFaults):
        sources.collect({0: flat})


def test_a_file_is_large_when_it_has_more_rows_than_a_batch(tmp_path):
    stream = io.BytesIO()
    pl.DataFrame({"a": [1] * 2000}).write_parquet(stream)
    content = {"t.csv": table(2000), "t.jsonl": b'{"a": 1}\n' * 2000, "t.parquet": stream.getvalue()}
    noise = b"a\n" + b"".join(b"%d\n" % (n * 7919 % 1_000_003) for n in range(2000))
    content |= {"t.csv.zst": zstandard.compress(noise), "t.csv.gz": gzip.compress(noise)}

    for name, data in content.items():
        file = source(tmp_path, name, data)
        assert [large.is_large(file, rows) for rows in (1000, 10_000)] == [True, False]
    assert not large.is_large(source(tmp_path, "t.json", "[" + "{}," * 2000 + "{}]"), 1)
    assert not large.is_large(source(tmp_path, "empty.csv", ""), 0)


def test_a_parquet_file_is_large_when_its_few_rows_are_wide(tmp_path):
    """A row of a kilobyte counts for four."""
    stream, chance = io.BytesIO(), random.Random(1)
    pl.DataFrame({"a": [chance.randbytes(512).hex() for _ in range(2000)]}).write_parquet(stream)
    file = source(tmp_path, "t.parquet", stream.getvalue())

    assert [large.is_large(file, rows) for rows in (2000, 7999, 8000)] == [True, True, False]


# ---- once per file


def test_a_file_is_read_once_and_freed_after_its_last_user(tmp_path):
    file = source(tmp_path, "t.csv", "a\n1\n")
    loader = LazyDataLoader({file.path: 2})

    first = loader.load(file)
    file.path.unlink()  # whoever reads again fails
    alive = weakref.ref(first.scan)

    assert loader.load(file) is first
    loader.release(file)
    assert loader.loaded == {file.path}
    loader.release(file)
    del first
    gc.collect()
    assert (loader.loaded, alive()) == (frozenset(), None)


def test_many_threads_read_a_file_once(tmp_path):
    file = source(tmp_path, "t.json", json.dumps([{"a": str(n)} for n in range(2000)]))
    loader = LazyDataLoader({file.path: 8})
    found: list[Flat | Records] = []
    threads = [threading.Thread(target=lambda: found.append(loader.load(file))) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len({id(each) for each in found}) == 1


def test_clear_lets_everything_go(tmp_path):
    file = source(tmp_path, "t.csv", "a\n1\n")
    loader = LazyDataLoader({file.path: 5})
    loader.load(file)

    loader.clear()

    assert loader.loaded == frozenset()


def test_three_modules_touch_files():
    room = Path(sources.__file__).parent

    for module in room.glob("*.py"):
        text = module.read_text()
        reads = any(call in text for call in (".open(", "read_text(", "read_bytes()", "scan_parquet("))
        writes = any(call in text for call in ("fdopen(", "write_text(", "write_bytes(", "os.open("))
        assert writes == (module.name == "outputs.py"), module.name
        assert reads == (module.name in ("opening.py", "sources.py", "outputs.py")), module.name
