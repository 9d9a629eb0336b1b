"""Who does the parts of a large load: every item once, in order, whatever becomes of the executor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

import seedlab
from seedlab.errors import ConfigurationError, ConnectionFailed
from seedlab.plan.choices import choose_executor, refuse_forks
from seedlab.steps.parallel import executors

ITEMS = list(range(7))


def double(number: int) -> int:
    return 2 * number


class Breaking(ThreadPoolExecutor):
    """An executor that takes so many items, and then none."""

    def __init__(self, takes: int, loses: int | None = None) -> None:
        super().__init__(2)
        self.left = takes
        self.loses = loses

    def submit(self, work: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        if not self.left:
            raise RuntimeError("cannot schedule new futures")
        self.left -= 1
        if given == (self.loses,):
            failed: Future[Any] = Future()
            failed.set_exception(OSError("the worker was lost"))
            return failed
        return super().submit(work, *given, **named)


@pytest.mark.parametrize(
    ("make", "again"),
    [
        (lambda: ThreadPoolExecutor(3), 0),
        (lambda: Breaking(0), 1),
        (lambda: Breaking(4), 1),
        (lambda: Breaking(9, loses=2), 1),
    ],
    ids=["sound", "broken", "breaks", "loses"],
)
def test_every_item_is_done(make: Callable[[], Executor], again: int) -> None:
    told: list[int] = []
    redone: list[None] = []
    with make() as pool:
        results = executors.each(pool, double, ITEMS, told.append, lambda: redone.append(None))
    assert results == [double(number) for number in ITEMS]
    assert sorted(told) == results
    assert len(redone) == again


def test_what_is_lent_stays_open() -> None:
    with ThreadPoolExecutor(1) as mine:
        with executors.opened(mine, 4) as pool:
            assert pool is mine
        assert mine.submit(double, 2).result() == 4


@pytest.mark.parametrize(
    "named", ["dask", "dask://", "dask://host", "dask://:8786", "dask://host:port", "ray://h:1"]
)
def test_what_names_no_executor(named: str) -> None:
    with pytest.raises(ConfigurationError, match="expected dask://HOST:PORT"):
        choose_executor(named)


@pytest.mark.parametrize("named", [None, "dask://scheduler:8786", "dask://[::1]:8786"])
def test_what_names_one(named: str | None) -> None:
    assert choose_executor(named) == named


@pytest.mark.slow
def test_forked_workers_are_refused_before_anything_is_done() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        with pytest.raises(ConfigurationError, match="spawned, found some that are forked"):
            seedlab.seed(None, "sqlite:///nowhere/x.db", executor=pool)  # type: ignore[arg-type]


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(1)])
def test_other_executors_are_taken(executor: Executor | None) -> None:
    refuse_forks(executor)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        refuse_forks(pool)


def test_a_scheduler_that_is_not_there() -> None:
    with (
        pytest.raises(ConnectionFailed, match=r"tcp://127\.0\.0\.1:1"),
        executors.opened("dask://127.0.0.1:1", 1),
    ):
        pass
