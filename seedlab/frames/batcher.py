"""`stream`: work through more rows than fit in memory, a few batches at a time, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import polars as pl

Result = TypeVar("Result")


def stream(
    batches: Iterable[pl.DataFrame],
    process: Callable[[pl.DataFrame], Result],
    batch_rows: int,
    concurrency: int = 1,
) -> Iterator[Result]:
    """Process frames in batches of at most `batch_rows`, `concurrency` at a time; yield results in order.

    At most `concurrency` batches are in work or waiting to be taken, so memory is bounded by
    `concurrency * batch_rows` rows whatever the length of `batches`, and a slow taker slows the reading
    (back-pressure). What `process` raises comes out at its place; later batches are given up. With one
    worker everything runs in the calling thread.
    """
    slices = (piece for batch in batches for piece in batch.iter_slices(batch_rows))
    return _in_order(slices, process, concurrency)


def _in_order(
    slices: Iterator[pl.DataFrame], process: Callable[[pl.DataFrame], Result], concurrency: int
) -> Iterator[Result]:
    if concurrency <= 1:
        yield from map(process, slices)
        return
    with ThreadPoolExecutor(concurrency, thread_name_prefix="seedlab-batch") as pool:
        waiting: deque[Future[Result]] = deque()

        def refill() -> None:
            for piece in islice(slices, concurrency - len(waiting)):
                waiting.append(pool.submit(process, piece))

        try:
            refill()
            while waiting:
                result = waiting.popleft().result()
                refill()
                yield result
        finally:
            for future in waiting:
                future.cancel()
