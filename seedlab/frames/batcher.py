"""Many frames as one, and one as many; `stream`: more rows than fit in memory, a few batches at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import polars as pl

Result = TypeVar("Result")
_Column = TypeVar("_Column", bound=pl.Expr | str)
AT_ONCE = 128  # frames collected together
SMALL = 5_000  # rows below which it costs more to share expressions among threads than it spares


def extended(frame: pl.DataFrame, columns: Iterable[pl.Expr]) -> pl.DataFrame:
    """Add columns to one frame, by expressions."""
    return all_extended([frame], [columns])[0]


def all_extended(frames: Sequence[pl.DataFrame], columns: Iterable[Iterable[pl.Expr]]) -> list[pl.DataFrame]:
    """Add to each frame its own columns, all frames in one collect."""
    return _all(frames, columns, pl.DataFrame.with_columns_seq, pl.LazyFrame.with_columns)


def selected(frame: pl.DataFrame, columns: Iterable[pl.Expr | str]) -> pl.DataFrame:
    """Evaluate expressions over one frame, and keep only these columns."""
    return all_selected([frame], [columns])[0]


def all_selected(
    frames: Sequence[pl.DataFrame], columns: Iterable[Iterable[pl.Expr | str]]
) -> list[pl.DataFrame]:
    """Evaluate for each frame its own expressions, all frames in one collect."""
    return _all(frames, columns, pl.DataFrame.select_seq, pl.LazyFrame.select)


def _all(
    frames: Sequence[pl.DataFrame],
    columns: Iterable[Iterable[_Column]],
    small: Callable[[pl.DataFrame, Iterable[_Column]], pl.DataFrame],
    large: Callable[[pl.LazyFrame, Iterable[_Column]], pl.LazyFrame],
) -> list[pl.DataFrame]:
    """Evaluate large frames together, so that no core waits for the longest column of each, and what several
    columns have in common once; small ones one by one.
    """
    given = list(zip(frames, columns, strict=True))
    done = iter(collected([large(f.lazy(), mine) for f, mine in given if f.height >= SMALL]))
    return [small(f, mine) if f.height < SMALL else next(done) for f, mine in given]


def collected(lazies: Sequence[pl.LazyFrame]) -> list[pl.DataFrame]:
    """Collect many frames, as many at once as polars takes: it has a thread wait for each, 512 at most."""
    portions = (lazies[start : start + AT_ONCE] for start in range(0, len(lazies), AT_ONCE))
    return [frame for some in portions for frame in pl.collect_all(some)]


def stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Put frames with the same columns, in whatever order, on top of each other."""
    columns = frames[0].columns
    alike = (frame if frame.columns == columns else frame.select(columns) for frame in frames)
    return pl.concat(alike) if len(frames) > 1 else frames[0]


def cut(frame: pl.DataFrame, heights: Sequence[int]) -> Iterator[pl.DataFrame]:
    """Take a stack apart again; nothing is copied."""
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

    At most `concurrency` batches are in work or waiting to be taken, so memory is bounded by
    `concurrency * batch_rows` rows whatever the length of `batches`, and a slow taker slows the reading
    (back-pressure). A thread reads `batches`, others process, so that whoever takes the results need only
    take. What either raises comes out at its place; later batches are given up. With one worker everything
    runs in the calling thread.
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
