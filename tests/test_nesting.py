"""In which row and record nested rows lie."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from seedlab.flow import PARENT, ROW, SourceFile
from seedlab.frames.files.flatten import dumps
from seedlab.frames.files.nesting import NESTED, RECORD, nesting
from tests.fix_sources import source

RECORDS = [
    {"code": "a", "parts": [{"n": "1", "answers": [{"t": "x"}]}, {"n": "2", "answers": []}], "tags": ["u"]},
    {"code": "b", "parts": [], "tags": []},
    {"code": "c", "parts": [{"n": "3", "answers": [{"t": "y"}, {"t": "z"}]}], "tags": ["v", "w"]},
]


def file_of(folder: Path, suffix: str) -> SourceFile:
    if suffix == "parquet":
        path = folder / "quizzes.parquet"
        pl.DataFrame(RECORDS).write_parquet(path)
        return SourceFile(path=path, name=path.name, format="parquet")
    lines = "\n\n".join(json.dumps(each) for each in RECORDS)
    return source(folder, f"quizzes.{suffix}", lines if suffix == "jsonl" else json.dumps(RECORDS))


@pytest.mark.parametrize("suffix", ["json", "jsonl", "yaml", "parquet"])
def test_nested_rows_know_the_row_and_the_record_around_them(tmp_path: Path, suffix: str) -> None:
    found = nesting(file_of(tmp_path, suffix), {})

    assert set(found) == {"$", "parts", "parts.answers", "tags"}
    assert all(frame.schema == NESTED for frame in found.values())
    assert found["$"].rows() == [(0, None, 0), (1, None, 1), (2, None, 2)]
    assert found["parts"].rows() == [(0, 0, 0), (1, 0, 0), (2, 2, 2)]
    assert found["parts.answers"].rows() == [(0, 0, 0), (1, 2, 2), (2, 2, 2)]
    assert found["tags"].select(ROW, PARENT, RECORD).rows() == [(0, 0, 0), (1, 2, 2), (2, 2, 2)]


def test_a_list_that_is_json_is_no_path(tmp_path: Path) -> None:
    found = nesting(file_of(tmp_path, "json"), {"$": {"parts": dumps}})

    assert set(found) == {"$", "tags"}


def test_a_flat_file_has_its_records_only(tmp_path: Path) -> None:
    assert nesting(source(tmp_path, "a.csv", "code\na\nb\n"), {})["$"].get_column(RECORD).to_list() == [0, 1]
