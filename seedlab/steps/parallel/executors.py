"""Who does the parts of a large load: threads of this process, or whatever executor the user names.

`dask://HOST:PORT` is a scheduler of Dask distributed, which hands the parts of workers that are lost to
others. An executor that breaks all the same loses nothing: what it has not done is done here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from seedlab.errors import ConfigurationError, ConnectionFailed
from seedlab.plan.choices import DASK

if TYPE_CHECKING:
    from collections.abc import Mapping

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def opened(named: Executor | str | None, workers: int) -> Iterator[Executor]:
    """Give an executor of the user's, which stays open, or one of our own."""
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
        # Not pure: a part is a deed, and its mark in the target says whether it is done.
        yield client.get_executor(pure=False, retries=3)
    finally:
        client.close()


def each(
    executor: Executor,
    work: Callable[[Item], Result],
    items: Sequence[Item],
    done: Callable[[Result], None],
    again: Callable[[], None] = lambda: None,
) -> list[Result]:
    """Do all items, and again here what an executor could not: answers the results in the items' order.

    `done` is told of each as it comes, `again` once before something is done again. What ends this, also
    Ctrl-C, leaves no item waiting.
    """
    results: dict[int, Result] = {}
    waiting: Mapping[Future[Result], int] = {}
    try:
        waiting = _submitted(executor, work, items)
        for future in as_completed(waiting):
            try:
                results[waiting[future]] = future.result()
            except (Exception, CancelledError):  # noqa: BLE001, S112 (not the work's: it answers all of its own)
                continue
            done(results[waiting[future]])
    finally:
        for future in waiting:
            future.cancel()
    if len(results) < len(items):
        again()
    for number in range(len(items)):
        if number not in results:
            results[number] = work(items[number])
            done(results[number])
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
