"""Pieces of large files: read by themselves they are the whole file, wherever it is cut."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedlab.errors import DataFaults
from seedlab.flow import ROW, SourceFile
from seedlab.frames.files import large, sources
from seedlab.frames.files.documents import Records

CELLS = st.text(st.sampled_from('ab",\n\r é'), max_size=6)
TABLES = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=40)


def file_of(folder: Path, name: str, content: bytes, kind: str = "csv") -> SourceFile:
    path = folder / name
    path.write_bytes(content)
    return SourceFile(path=path, name=name, format=kind)  # type: ignore[arg-type]


def parts(file: SourceFile, rows: int) -> list[pl.DataFrame]:
    """The pieces that have rows: one may hold nothing but the header."""
    found = [list(large.batches(file, 1000, piece)) for piece in large.pieces(file, rows)]
    return [pl.concat(each, how="diagonal") for each in found if each]  # type: ignore[type-var]


def quoted(rows: list[tuple[str, str]], end: str) -> bytes:
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    return ("x,y" + end + "".join(line + end for line in lines)).encode()


@given(rows=TABLES, size=st.integers(1, 9), end=st.sampled_from(["\n", "\r\n"]))
def test_csv(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], size: int, end: str
) -> None:
    """Quotes, commas, and ends of lines within a field cut no record in two."""
    file = file_of(tmp_path_factory.mktemp("pieces"), "t.csv", quoted(rows, end))
    found = parts(file, size)
    assert [each[ROW].to_list() for each in found] == [list(range(len(each))) for each in found]
    assert pl.concat(found).drop(ROW).rows() == rows


def test_a_header_alone(tmp_path: Path) -> None:
    found = parts(file_of(tmp_path, "t.csv", b"x,y\n"), 5)
    assert found == []


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_lines(tmp_path: Path, size: int) -> None:
    text = "".join(f'{{"n": {n}, "text": "a\\"{n}"}}\n\n' for n in range(20))
    file = file_of(tmp_path, "t.jsonl", text.encode(), "jsonl")
    found = [batch for piece in large.pieces(file, size) for batch in large.batches(file, 1000, piece)]
    assert all(isinstance(each, Records) for each in found)
    assert [record["text"] for each in found for record in each.records] == [f'a"{n}' for n in range(20)]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_parquet(tmp_path: Path, size: int) -> None:
    frame = pl.DataFrame({"n": list(range(20)), "day": [None, "2026-01-01"] * 10})
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=5)
    file = SourceFile(path=tmp_path / "t.parquet", name="t.parquet", format="parquet")
    found = parts(file, size)
    assert len(found) == -(-20 // size)
    whole = sources.read(file)
    assert isinstance(whole, sources.Flat)
    assert pl.concat(found).drop(ROW).equals(whole.scan().collect().drop(ROW))


def test_what_cannot_be_cut(tmp_path: Path) -> None:
    file = SourceFile(path=tmp_path / "t.csv.gz", name="t.csv.gz", format="csv", compression="gz")
    assert large.pieces(file, 1) == [large.WHOLE]


def test_faults_of_a_part(tmp_path: Path) -> None:
    file = file_of(tmp_path, "t.csv", b"x,y\n1,2\n3,4\n5\n")
    found = large.pieces(file, 1)
    assert len(found) > 2
    with pytest.raises(DataFaults):
        list(large.batches(file, 10, found[-1]))
