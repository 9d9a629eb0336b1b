"""Runs the parts of a large load on an executor: threads of this process, or what the user names.

`dask://HOST:PORT` names a scheduler of Dask distributed, which gives the parts of lost workers to others. If
an executor breaks all the same, nothing is lost: the parts that it has not done are done in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, TypeVar

from seedlab.errors import ConfigurationError, ConnectionFailed
from seedlab.plan.choices import DASK

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def opened(named: Executor | str | None, workers: int) -> Iterator[Executor]:
    """Give the user's executor, which stays open, or make one that is closed afterwards."""
    if isinstance(named, Executor):
        yield named
    elif named is None:
        with ThreadPoolExecutor(workers, thread_name_prefix="seedlab-part") as pool:
            yield pool
    else:
        with _dask(f"tcp://{named.removeprefix(DASK)}") as pool:
            yield pool


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    try:
        import distributed
    except ImportError as error:
        raise ConfigurationError(
            "--executor dask://… needs Dask distributed here and on the workers: pip install 'seedlab[dask]'"
        ) from error
    dask: Any = distributed  # it has no types
    try:
        client = dask.Client(address, timeout="10s", set_as_default=False)
    except OSError as error:
        raise ConnectionFailed(f"cannot connect to the Dask scheduler {address}: {error}") from None
    try:
        # Not pure, since a part has a side effect. Whether it was done is marked in the target, so that Dask
        # may repeat it.
        yield client.get_executor(pure=False, retries=3)
    finally:
        client.close()


def each(
    executor: Executor,
    work: Callable[[Item], Result],
    items: Sequence[Item],
    on_result: Callable[[Result], None],
    on_repeat: Callable[[], None] = lambda: None,
) -> list[Result]:
    """Do all items, in this process those that the executor could not; returns results in the items' order.

    `on_result` is called with each result as it comes, `on_repeat` once if items are done in this process.
    However this ends, also by Ctrl-C, items that have not begun are cancelled.
    """
    results: dict[int, Result] = {}
    waiting: Mapping[Future[Result], int] = {}
    try:
        waiting = _submitted(executor, work, items)
        for future in as_completed(waiting):
            try:
                results[waiting[future]] = future.result()
            except Exception:  # noqa: BLE001, S112 (the executor's: `work` raises none itself)
                continue
            on_result(results[waiting[future]])
    finally:
        for future in waiting:
            future.cancel()
    if len(results) < len(items):
        on_repeat()
    for number in range(len(items)):
        if number not in results:
            results[number] = work(items[number])
            on_result(results[number])
    return [results[number] for number in range(len(items))]


def _submitted(
    executor: Executor, work: Callable[[Item], Result], items: Sequence[Item]
) -> dict[Future[Result], int]:
    """Submit items until the executor refuses; maps futures to the items' places."""
    waiting: dict[Future[Result], int] = {}
    for number, item in enumerate(items):
        try:
            waiting[executor.submit(work, item)] = number
        except RuntimeError:
            break
    return waiting
