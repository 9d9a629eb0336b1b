"""Batches of nested records: put together they are what the whole file says, and so are their faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from seedlab.errors import DataFaults
from seedlab.flow import INDEX, PARENT, ROW, SourceFile
from seedlab.frames.files import flatten, large, sources
from seedlab.frames.files.outlines import outline, parts
from seedlab.frames.files.splitting import split
from tests.fix_sources import source

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(0, 9), st.text("ab", max_size=2))
NAMES = st.sampled_from("abc")
# Of one shape or another by name, so that most records fit each other, and some do not.
ITEMS = st.dictionaries(NAMES, SCALARS, max_size=2)
VALUES = st.one_of(SCALARS, ITEMS, st.lists(SCALARS, max_size=3), st.lists(ITEMS, max_size=3))
FITTING = st.fixed_dictionaries(
    {},
    optional={
        "code": SCALARS,
        "shop": st.one_of(st.none(), ITEMS),
        "tags": st.lists(st.integers(0, 9), max_size=3),
        "lines": st.lists(
            st.fixed_dictionaries({"n": SCALARS}, optional={"parts": st.lists(ITEMS, max_size=2)}), max_size=3
        ),
    },
)


def lines(folder: Path, records: list[dict[str, Any]]) -> SourceFile:
    return source(folder, "t.jsonl", "".join(json.dumps(each) + "\n" for each in records))


def whole(file: SourceFile) -> dict[str, pl.DataFrame]:
    read = sources.read(file)
    if isinstance(read, sources.Flat):
        return split(file, sources.collect({0: read})[0], {})
    return flatten.flatten(read, {})


def together(file: SourceFile, size: int) -> dict[str, pl.DataFrame]:
    """All batches; PARENT is a place in a batch's own frame, here in the whole one."""
    known, found, before = outline(file, {}, size), {}, {}
    for by_path in parts(known, {}, size):
        for path, frame in by_path.items():
            if path != "$":
                around = flatten.enclosing(path, by_path)
                start = before.get(around, 0)
                frame = frame.with_columns(pl.col(PARENT) + start)  # noqa: PLW2901
            found.setdefault(path, []).append(frame)
        before |= {path: before.get(path, 0) + frame.height for path, frame in by_path.items()}
    return known.empty() | {path: pl.concat(frames) for path, frames in found.items()}


def faults(read: Any, *given: Any) -> set[Any]:
    try:
        read(*given)
    except DataFaults as found:
        return set(found.faults)
    return set()


@settings(max_examples=60)
@given(records=st.lists(FITTING, min_size=1, max_size=12), size=st.integers(1, 5))
def test_batches_are_the_whole(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]], size: int
) -> None:
    file = lines(tmp_path_factory.mktemp("whole"), records)
    expected, found = whole(file), together(file, size)
    assert found.keys() == expected.keys()
    for path, frame in expected.items():
        assert_frame_equal(found[path], frame, check_column_order=False)


@settings(max_examples=60)
@given(
    records=st.lists(st.dictionaries(NAMES, VALUES, max_size=3), min_size=1, max_size=8),
    size=st.integers(1, 4),
)
def test_faults_are_those_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]], size: int
) -> None:
    """However batches are cut, each record that does not fit the others is told, and once."""
    file = lines(tmp_path_factory.mktemp("faults"), records)
    expected = faults(whole, file)
    assert faults(outline, file, {}, size) == expected
    if not expected:
        for path, frame in whole(file).items():
            assert_frame_equal(together(file, size)[path], frame, check_column_order=False)


def test_what_only_a_later_batch_tells(tmp_path: Path) -> None:
    """A null says nothing; a scalar before the first object is as wrong as one behind it."""
    values = [None, None, "s1", {"code": "s2"}, None, "s3"]
    file = lines(tmp_path, [{"id": n, "shop": shop} for n, shop in enumerate(values)])
    with pytest.raises(DataFaults) as found:
        outline(file, {}, 2)
    assert [each.path for each in found.value.faults] == ["$[2].shop", "$[5].shop"]
    assert set(found.value.faults) == faults(whole, file)


def test_a_name_of_our_own_is_told_once(tmp_path: Path) -> None:
    file = lines(tmp_path, [{"a": 1}, *({"_seedlab_row": n} for n in range(9))])
    with pytest.raises(DataFaults) as found:
        outline(file, {}, 2)
    assert found.value.faults == tuple(faults(whole, file))


def test_lists_and_structs_of_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "_SLICE_ROWS", 3)
    path = tmp_path / "t.parquet"
    pl.DataFrame(
        {
            "id": range(10),
            "shop": [{"code": f"s{n}"} for n in range(10)],
            "lines": [[{"n": k, "parts": [k, n]} for k in range(n % 4)] for n in range(10)],
        }
    ).write_parquet(path)
    file = SourceFile(path=path, name="t.parquet", format="parquet")
    expected, found = whole(file), together(file, 3)
    assert found.keys() == expected.keys() == {"$", "lines", "lines.parts"}
    for each, frame in expected.items():
        assert_frame_equal(found[each], frame)


def test_an_item_of_parquet_that_is_null_is_told_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"lines": [[{"n": 1}]] * 7 + [[{"n": 1}, None]]}).write_parquet(path)
    file = SourceFile(path=path, name="t.parquet", format="parquet")
    frame = sources.collect({0: sources.read(file)})[0]
    for first in (0, 5):
        with pytest.raises(DataFaults) as found:
            split(file, frame.slice(first), {}, {"lines": first})
        assert [each.line for each in found.value.faults] == [8]
    assert {ROW, PARENT, INDEX} <= set(split(file, frame.head(7), {})["lines"].columns)
