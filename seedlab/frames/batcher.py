"""Evaluate expressions over many frames at once, and process more rows than fit into memory in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import polars as pl

Result = TypeVar("Result")
_Column = TypeVar("_Column", bound=pl.Expr | str)
AT_ONCE = 128  # the most frames collected together
SMALL = 5_000  # rows below which distributing expressions over threads costs more than it saves


def extend_all(frames: Sequence[pl.DataFrame], columns: Iterable[Iterable[pl.Expr]]) -> list[pl.DataFrame]:
    """Add its own columns to each frame; large frames are collected together."""
    return _all(frames, columns, pl.DataFrame.with_columns_seq, pl.LazyFrame.with_columns, SMALL)


def select_all(
    frames: Sequence[pl.DataFrame], columns: Iterable[Iterable[pl.Expr | str]], *, large: int = SMALL
) -> list[pl.DataFrame]:
    """Select its own columns of each frame; frames of at least `large` rows are collected together."""
    return _all(frames, columns, pl.DataFrame.select_seq, pl.LazyFrame.select, large)


def _all(
    frames: Sequence[pl.DataFrame],
    columns: Iterable[Iterable[_Column]],
    alone: Callable[[pl.DataFrame, Iterable[_Column]], pl.DataFrame],
    together: Callable[[pl.LazyFrame, Iterable[_Column]], pl.LazyFrame],
    large: int,
) -> list[pl.DataFrame]:
    """Evaluate large frames together and lazily, small ones one by one.

    Together, no core is idle while the slowest column of one frame is computed, and common subexpressions
    are computed once.
    """
    pairs = list(zip(frames, columns, strict=True))
    results = iter(collect_all([together(f.lazy(), exprs) for f, exprs in pairs if f.height >= large]))
    return [alone(f, exprs) if f.height < large else next(results) for f, exprs in pairs]


def collect_all(lazies: Sequence[pl.LazyFrame]) -> list[pl.DataFrame]:
    """Collect many frames in portions, because polars uses a thread per frame, of at most 512."""
    portions = (lazies[start : start + AT_ONCE] for start in range(0, len(lazies), AT_ONCE))
    return [frame for some in portions for frame in pl.collect_all(some)]


def stack(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Concatenate frames with the same columns in any order."""
    columns = frames[0].columns
    alike = (frame if frame.columns == columns else frame.select(columns) for frame in frames)
    return pl.concat(alike) if len(frames) > 1 else frames[0]


def cut(frame: pl.DataFrame, heights: Sequence[int]) -> Iterator[pl.DataFrame]:
    """Split a frame into slices of these heights, without copying."""
    start = 0
    for height in heights:
        yield frame.slice(start, height)
        start += height


def stream(
    batches: Iterable[pl.DataFrame],
    process: Callable[[pl.DataFrame], Result],
    batch_rows: int,
    concurrency: int = 1,
) -> Iterator[Result]:
    """Process frames in batches of at most `batch_rows`, `concurrency` at a time; yield results in order.

    At most `concurrency` batches are being processed or waiting to be consumed, so memory is bounded by
    `concurrency * batch_rows` rows, and a slow consumer slows the reading down (back-pressure). One thread
    reads `batches`, others process them. An exception of either is raised in the place of the batch's result,
    and later batches are abandoned. With a concurrency of 1 everything runs in the calling thread.
    """
    slices = (piece for batch in batches for piece in batch.iter_slices(batch_rows))
    return _in_order(slices, process, concurrency)


def _in_order(
    slices: Iterator[pl.DataFrame], process: Callable[[pl.DataFrame], Result], concurrency: int
) -> Iterator[Result]:
    if concurrency <= 1:
        yield from map(process, slices)
        return
    with (
        ThreadPoolExecutor(1, thread_name_prefix="seedlab-read") as reader,
        ThreadPoolExecutor(concurrency, thread_name_prefix="seedlab-batch") as pool,
    ):
        waiting: deque[Future[tuple[Result] | None]] = deque()

        def work(reading: Future[pl.DataFrame | None]) -> tuple[Result] | None:
            piece = reading.result()
            return None if piece is None else (process(piece),)

        def refill() -> None:
            while len(waiting) < concurrency:
                waiting.append(pool.submit(work, reader.submit(next, slices, None)))

        try:
            refill()
            while (result := waiting.popleft().result()) is not None:
                refill()
                yield result[0]
        finally:
            for future in waiting:
                future.cancel()
