"""Streaming: batches in order, bounded memory, faults at their place."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedlab.frames.batcher import AT_ONCE, SMALL, extend_all, select_all, stream


def frames(*heights: int) -> Iterator[pl.DataFrame]:
    start = 0
    for height in heights:
        yield pl.DataFrame({"n": pl.Series(range(start, start + height), dtype=pl.Int64)})
        start += height


def numbers(frame: pl.DataFrame) -> list[int]:
    return frame["n"].to_list()


@given(
    heights=st.lists(st.integers(0, 30), max_size=5), size=st.integers(1, 12), concurrency=st.integers(1, 4)
)
@settings(max_examples=40)
def test_every_row_comes_once_and_in_order_however_it_is_cut(
    heights: list[int], size: int, concurrency: int
) -> None:
    batches = list(stream(frames(*heights), numbers, size, concurrency))

    assert [n for batch in batches for n in batch] == list(range(sum(heights)))
    assert all(len(batch) <= size for batch in batches)


def test_results_come_in_order_though_a_later_batch_is_done_first() -> None:
    second_done = threading.Event()

    def process(frame: pl.DataFrame) -> int:
        first = frame["n"][0]
        if first == 0:
            assert second_done.wait(10)
        else:
            second_done.set()
        return first

    assert list(stream(frames(2), process, 1, 2)) == [0, 1]


@pytest.mark.parametrize("concurrency", [1, 2, 3])
def test_no_more_batches_are_read_than_can_be_in_work(concurrency: int) -> None:
    read: list[int] = []

    def source() -> Iterator[pl.DataFrame]:
        for n in range(20):
            read.append(n)
            yield pl.DataFrame({"n": [n]})

    results = stream(source(), numbers, 1, concurrency)
    ahead = [len(read) - taken for taken, _ in enumerate(results, start=1)]

    assert max(ahead) <= concurrency
    assert len(read) == 20


@pytest.mark.parametrize("concurrency", [1, 3])
def test_what_processing_raises_comes_out_at_its_place(concurrency: int) -> None:
    def process(frame: pl.DataFrame) -> int:
        if frame["n"][0] == 2:
            raise ValueError("the third")
        return int(frame["n"][0])

    results = stream(frames(5), process, 1, concurrency)

    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(results)


def test_what_reading_raises_comes_out() -> None:
    def source() -> Iterator[pl.DataFrame]:
        yield pl.DataFrame({"n": [0]})
        raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"):
        list(stream(source(), numbers, 1, 2))


def test_one_worker_works_in_the_calling_thread() -> None:
    threads = set(stream(frames(3), lambda _: threading.current_thread(), 1))

    assert threads == {threading.current_thread()}


def test_a_taker_that_goes_away_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    results = stream(frames(10), numbers, 1, 3)
    next(results)
    results.close()  # type: ignore[attr-defined]

    assert threading.active_count() == before


@pytest.mark.parametrize(
    "heights", [[], [0, 3], [SMALL, 2, SMALL + 1, SMALL - 1], [SMALL] * (AT_ONCE + 2)], ids=len
)
def test_many_frames_are_evaluated_in_their_order(heights: list[int]) -> None:
    frames = [pl.DataFrame({"n": range(n, n + height)}) for n, height in enumerate(heights)]
    more = [[(pl.col("n") + n).alias("more")] for n in range(len(heights))]

    extended = extend_all(frames, more)
    sums = select_all(extended, [[pl.col("more").sum(), pl.len()]] * len(heights))

    assert [each.columns for each in extended] == [["n", "more"]] * len(heights)
    assert [each.row(0) for each in sums] == [
        (sum(range(2 * n, 2 * n + height)), height) for n, height in enumerate(heights)
    ]
