"""Two streams of rows are told apart as if all of them were held, whatever their order and their batches."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedlab.flow import DIGEST, FILE, HANDLE
from seedlab.frames import differences as module
from seedlab.frames.differences import differences

Row = tuple[int, int]  # handle, digest
ROWS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), unique_by=lambda row: row[0])


def batches(rows: list[Row], size: int) -> Iterator[pl.DataFrame]:
    schema = {HANDLE: pl.UInt128, DIGEST: pl.UInt64}
    whole = pl.DataFrame(rows, schema, orient="row").with_columns(pl.lit(0, dtype=pl.UInt16).alias(FILE))
    return whole.iter_slices(size)


def told(frame: pl.DataFrame | None) -> set[Row]:
    return set(frame.select(HANDLE, DIGEST).rows()) if frame is not None else set()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(now=ROWS, then=ROWS, sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)), step=st.integers(1, 5))
def test_what_has_no_partner_is_found(
    now: list[Row], then: list[Row], sizes: tuple[int, int], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROWS", step)

    mine, theirs = differences(batches(now, sizes[0]), batches(then, sizes[1]))

    assert told(mine) == set(now) - set(then)
    assert told(theirs) == set(then) - set(now)


def test_few_rows_wait_where_few_have_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS", 10)
    rows = [(n, 0) for n in range(2000)]
    waiting: list[int] = []
    match = module._match

    def counting(left: module._Side, right: module._Side) -> None:
        waiting.append(sum(side.unmatched_rows + side.new_rows for side in (left, right)))
        match(left, right)

    monkeypatch.setattr(module, "_match", counting)
    mine, theirs = differences(batches([(9999, 0), *rows[3:]], 10), batches(rows, 10))

    assert told(mine) == {(9999, 0)}
    assert told(theirs) == {(0, 0), (1, 0), (2, 0)}
    assert max(waiting) < 60
