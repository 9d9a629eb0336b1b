"""Reject files: in every format the source's own records, which are read again as they were."""

from __future__ import annotations

import gzip
import json
import os
import stat
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from seedlab.errors import ConfigurationError, DataFaults
from seedlab.flow import LINE, REASON, SourceFile
from seedlab.frames.files import large, rejects, sources
from seedlab.frames.files.documents import Number, Records
from seedlab.frames.files.outputs import write_private
from seedlab.frames.files.rejects import REJECTED
from seedlab.frames.files.trees import Plain
from tests.fix_sources import faults_of, source, told
from tests.support.cases import some
from tests.support.writing import FORMATS, write_rows

TEXTS = st.one_of(
    st.none(),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
    st.sampled_from(
        [
            "",
            "007",
            "null",
            "~",
            "true",
            "1.50",
            "- a",
            "a: b",
            "#",
            '"',
            ",",
            "\r\n",
            " x ",
            "\x85",
            "\u2028",
        ]
    ),
)
KINDS = {"code": "text", "name.en": "text", "size": "int"}


def rejected(*rows: int, line: int = 5) -> pl.DataFrame:
    notes = {
        "_seedlab_row": rows,
        LINE: [line] * len(rows),
        REASON: [f'because "{n}",\tof | this' for n in rows],
    }
    return pl.DataFrame(notes, schema=REJECTED)


def written(file: SourceFile, folder: Path, *rows: int) -> SourceFile:
    """The reject file of these rows, as a source."""
    path = rejects.write(file, rejected(*rows), folder / "rejects")
    return SourceFile(path=path, name=file.name, format=file.format, compression=file.compression)


def content(file: SourceFile) -> list[dict[str, object]] | pl.DataFrame:
    found = sources.read(file)
    return (
        found.records if isinstance(found, Records) else sources.collect({0: found})[0].drop("_seedlab_row")
    )


def rows_at(
    found: list[dict[str, object]] | pl.DataFrame, *rows: int
) -> list[dict[str, object]] | pl.DataFrame:
    return found[list(rows)] if isinstance(found, pl.DataFrame) else [found[n] for n in rows]


def same(one: list[dict[str, object]] | pl.DataFrame, other: list[dict[str, object]] | pl.DataFrame) -> None:
    if isinstance(one, pl.DataFrame):
        assert isinstance(other, pl.DataFrame)
        assert_frame_equal(one, other)
    else:
        assert one == other
        assert [[type(v) for v in each.values()] for each in one] == [
            [type(v) for v in each.values()] for each in other
        ]


@pytest.mark.parametrize("suffix", some(FORMATS, "csv", "yaml"))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.tuples(TEXTS, TEXTS), min_size=4, max_size=6))
def test_the_records_of_a_reject_file_are_read_as_those_of_the_source(
    tmp_path: Path, suffix: str, texts: list[tuple[str | None, str | None]]
) -> None:
    path = tmp_path / f"cities.{suffix}"
    write_rows(path, KINDS, [{"code": a, "name.en": b, "size": str(n)} for n, (a, b) in enumerate(texts)])
    file = SourceFile(path=path, name=path.name, format=suffix)

    again = written(file, tmp_path, 1, 3)

    same(content(again), rows_at(content(file), 1, 3))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("compression", ["gz", "zst"])
def test_a_packed_source_has_a_packed_reject_file(tmp_path: Path, suffix: str, compression: str) -> None:
    plain = tmp_path / f"plain.{suffix}"
    write_rows(plain, KINDS, [{"code": c, "name.en": "x", "size": "1"} for c in "abc"])
    path = tmp_path / f"cities.{suffix}.{compression}"
    path.write_bytes(rejects.packed(plain.read_bytes(), compression))
    file = SourceFile(path=path, name=path.name, format=suffix, compression=compression)

    again = written(file, tmp_path, 2)

    same(content(again), rows_at(content(file), 2))
    assert again.path.read_bytes()[:2] == path.read_bytes()[:2]


def test_fields_of_csv_stay_as_they_were_spelled(tmp_path: Path) -> None:
    text = b'\xef\xbb\xbfcode,"n,m",size\r\n\r\n"a",  b ,\r\nc,"d\r\n""e""",1\r\nf,g,'
    file = source(tmp_path, "cities.csv", text)

    again = written(file, tmp_path, 0, 1, 2)

    because = [b'"because ""%d"",\tof | this",5' % n for n in range(3)]
    assert again.path.read_bytes() == b"".join(
        [
            b'code,"n,m",size,_seedlab_reason,_seedlab_line\r\n',
            b'"a",  b ,,' + because[0] + b"\r\n",
            b'c,"d\r\n""e""",1,' + because[1] + b"\r\n",
            b"f,g,," + because[2] + b"\n",
        ]
    )


def test_number_tokens_and_nested_values_of_json_stay(tmp_path: Path) -> None:
    text = '[{"a": 1.50, "b": {"c": [1e3, -0.0, true, null, "1.50"]}, "d": []}, {"a": 2}]'
    file = source(tmp_path, "cities.json", text)

    again = written(file, tmp_path, 0)

    noted = json.loads(again.path.read_text(), parse_float=Number, parse_int=Number)
    assert noted[0].pop(REASON) == 'because "0",\tof | this'
    assert noted[0].pop(LINE) == "5"
    assert "1.50" in again.path.read_text()
    same(content(again), rows_at(content(file), 0))


def test_a_json_document_of_one_record_stays_one(tmp_path: Path) -> None:
    for suffix, text in (("json", '{"a": 1}'), ("yaml", "a: 1\n")):
        file = source(tmp_path, f"city.{suffix}", text)

        again = sources.read(written(file, tmp_path, 0))

        assert isinstance(again, Records)
        assert again.single
        assert again.records == [{"a": "1"}]


def test_yaml_keeps_what_was_plain_and_what_was_quoted(tmp_path: Path) -> None:
    text = "- &x\n  a: true\n  b: 'true'\n  '<<': 007\n  null: ~\n  c: {d: [1.50, '1.50', '']}\n- <<: *x\n  a: |\n    two\n    lines\n"
    file = source(tmp_path, "cities.yaml", text)

    again = written(file, tmp_path, 0, 1)

    same(content(again), content(file))
    first = content(again)[0]
    assert isinstance(first, dict)
    assert (type(first["a"]), type(first["b"]), type(first["<<"])) == (Plain, str, Plain)
    assert yaml.safe_load(again.path.read_text())[0][LINE] == 5


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "i": pl.Series([1, 2, 3], dtype=pl.Int16),
            "d": pl.Series([Decimal("1.50"), None, Decimal(3)], dtype=pl.Decimal(10, 2)),
            "on": [date(2024, 1, n) for n in (1, 2, 3)],
            "at": pl.Series(
                [datetime(2024, 1, n, tzinfo=UTC) for n in (1, 2, 3)], dtype=pl.Datetime("us", "UTC")
            ),
            "b": [b"\0", b"", None],
            "list": [[{"x": 1.5}], [], None],
            "cat": pl.Series(["a", "b", "a"], dtype=pl.Categorical),
        }
    )
    path = tmp_path / "cities.parquet"
    frame.write_parquet(path)

    again = written(SourceFile(path=path, name=path.name, format="parquet"), tmp_path, 0, 2)

    found = pl.read_parquet(again.path)
    assert_frame_equal(found.drop(REASON, LINE), frame[[0, 2]])
    assert found.select(REASON, LINE).schema == {REASON: pl.String, LINE: pl.UInt32}


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_reject_file_of_a_reject_file_has_one_note(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cities.{suffix}"
    write_rows(path, KINDS, [{"code": c, "name.en": None, "size": "1"} for c in "abc"])
    first = written(SourceFile(path=path, name=path.name, format=suffix), tmp_path, 0, 2)

    second = written(first, tmp_path / "again", 1)

    same(content(second), rows_at(content(first), 1))
    if suffix == "parquet":
        assert pl.read_parquet(second.path).columns == [*KINDS, REASON, LINE]
    else:
        assert second.path.read_text().count(LINE) == 1


# ---- where they lie ----


def test_a_reject_file_is_for_its_owner_only(tmp_path: Path) -> None:
    file = source(tmp_path, "cities.csv", "code\na\n")
    old = os.umask(0)
    try:
        again = written(file, tmp_path, 0)
    finally:
        os.umask(old)

    assert stat.S_IMODE(again.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(again.path.parent.stat().st_mode) == 0o700


def test_a_reject_file_lies_by_the_name_of_its_source(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("code\na\n")
    file = SourceFile(path=path, name="03-cities/israel/cities.csv", format="csv")

    assert rejects.write(file, rejected(0), tmp_path / "r") == tmp_path / "r" / "03-cities/israel/cities.csv"


def test_an_older_file_is_replaced_and_a_link_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    path = tmp_path / "link"
    path.symlink_to(other)

    write_private(path, b"new")

    assert (path.read_bytes(), path.is_symlink(), other.read_text()) == (b"new", False, "mine")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match=r"writing x\.csv: "):
        write_private(tmp_path / "file" / "x.csv", b"")


def test_equal_rejects_are_packed_alike() -> None:
    assert rejects.packed(b"x", "gz") == rejects.packed(b"x", "gz")
    assert gzip.decompress(rejects.packed(b"x", "gz")) == b"x"


# ---- what readers make of them ----


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_a_reject_file_adds_is_no_data(tmp_path: Path, suffix: str) -> None:
    kinds = {"code": "text", REASON: "text", "name": "text", LINE: "int"}
    path = tmp_path / f"cities.{suffix}"
    write_rows(path, kinds, [{"code": c, REASON: "r", "name": "n", LINE: "1"} for c in "abc"])
    file = SourceFile(path=path, name=path.name, format=suffix)

    batches = list(large.batches(file, 2))

    first = rows_at(content(file), 0)
    columns = first.columns if isinstance(first, pl.DataFrame) else list(first[0])
    assert columns == ["code", "name"]
    for batch in batches:
        names = batch.columns if isinstance(batch, pl.DataFrame) else batch.records[0]
        assert set(names) - {"_seedlab_row"} == {"code", "name"}


def test_only_the_record_itself_is_relieved_of_notes(tmp_path: Path) -> None:
    file = source(tmp_path, "cities.json", f'[{{"a": {{"{LINE}": 1}}, "_seedlab_lines": 2}}]')

    assert content(file) == [{"a": {LINE: "1"}, "_seedlab_lines": "2"}]


def test_a_note_may_stand_twice_in_no_file(tmp_path: Path) -> None:
    file = source(tmp_path, "cities.csv", f"code,{LINE},{LINE}\na,1,2\n")

    assert told(faults_of(file)) == [("syntax", 1)]
    with pytest.raises(DataFaults):
        sources.read(file)
