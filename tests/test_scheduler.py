"""Whatever the graph and the number of workers: every task runs once, and after what it waits for."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedlab.errors import GraphError
from seedlab.flow import PRIORITIES
from seedlab.plan.scheduler import ReadyQueue, Task, run, simulate


def order(*tasks: Task) -> list[str]:
    done: list[str] = []
    run(ReadyQueue(tasks), done.append, 1)
    return done


@st.composite
def task_graphs(draw: st.DrawFn) -> list[Task]:
    size = draw(st.integers(0, 12))
    tasks = [
        Task(
            id=str(number),
            dependencies=tuple(map(str, sorted(draw(st.sets(st.integers(0, number - 1)))))) if number else (),
            priority=draw(st.sampled_from(PRIORITIES)),
            estimated_ms=draw(st.integers(0, 50)),
            parallel=draw(st.booleans()),
        )
        for number in range(size)
    ]
    return draw(st.permutations(tasks))


@given(task_graphs(), st.integers(1, 5))
def test_every_task_runs_once_and_after_its_dependencies(tasks: list[Task], workers: int) -> None:
    began: list[str] = []
    ended: list[str] = []
    running: set[str] = set()
    company: dict[str, bool] = {}
    ended_before: dict[str, set[str]] = {}
    lock = threading.Lock()

    def work(name: str) -> None:
        with lock:
            ended_before[name] = set(ended)
            began.append(name)
            running.add(name)
            for each in running:
                company[each] = company.get(each, False) or len(running) > 1
        with lock:
            running.remove(name)
            ended.append(name)

    run(ReadyQueue(tasks), work, workers)

    assert sorted(began) == sorted(task.id for task in tasks)
    for task in tasks:
        assert set(task.dependencies) <= ended_before[task.id]
        assert task.parallel or not company[task.id]


def test_priority_orders_what_is_ready() -> None:
    tasks = [Task(id=each, priority=each) for each in reversed(PRIORITIES)]

    assert order(*tasks) == list(PRIORITIES)


def test_priority_does_not_pass_dependencies() -> None:
    assert order(Task(id="b", dependencies=("a",), priority="critical"), Task(id="a", priority="low")) == [
        "a",
        "b",
    ]


def test_of_the_same_priority_the_longest_path_goes_first() -> None:
    found = order(
        Task(id="single", estimated_ms=50),
        Task(id="head", estimated_ms=1),
        Task(id="tail", dependencies=("head",), estimated_ms=60),
        Task(id="long", estimated_ms=55),
    )

    assert found == ["head", "tail", "long", "single"]


def test_of_the_same_length_the_listed_order_stays() -> None:
    assert order(Task(id="z"), Task(id="a"), Task(id="m")) == ["z", "a", "m"]


def test_there_is_no_barrier_between_waves() -> None:
    queue = ReadyQueue([Task(id="slow"), Task(id="quick"), Task(id="next", dependencies=("quick",))])
    taken = [queue.take(), queue.take(), queue.take()]

    queue.done("quick")

    assert taken == ["slow", "quick", None]
    assert queue.take() == "next"  # though slow is still running


def test_a_task_that_runs_alone_has_no_company_and_is_not_overtaken() -> None:
    queue = ReadyQueue([Task(id="a"), Task(id="alone", parallel=False), Task(id="b")])

    first, second = queue.take(), queue.take()
    queue.done("a")
    third, fourth = queue.take(), queue.take()
    queue.done("alone")

    assert (first, second, third, fourth, queue.take()) == ("a", None, "alone", None, "b")


def test_independent_tasks_run_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=10)

    run(ReadyQueue([Task(id="a"), Task(id="b")]), lambda _: both.wait(), 2)

    assert not both.broken


def test_one_worker_is_the_calling_thread() -> None:
    threads = []

    run(ReadyQueue([Task(id="a"), Task(id="b")]), lambda _: threads.append(threading.current_thread()), 1)

    assert set(threads) == {threading.current_thread()}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_failure_stops_the_rest_and_is_raised(workers: int) -> None:
    done: list[str] = []
    failed = threading.Event()

    def work(name: str) -> None:
        if name == "bad":
            failed.set()
            raise ValueError(name)
        if workers > 1:
            assert failed.wait(10)
        done.append(name)

    tasks = [
        Task(id="running", priority="high" if workers > 1 else "low"),
        Task(id="bad"),
        Task(id="never", priority="low"),
    ]
    with pytest.raises(ValueError, match="bad"):
        run(ReadyQueue([*tasks, Task(id="after", dependencies=("bad",))]), work, workers)

    assert "after" not in done
    assert ("running" in done) == (workers > 1)  # what was running has ended, not been cut off


def test_a_circle_is_refused_before_anything_runs() -> None:
    with pytest.raises(GraphError, match="circle"):
        ReadyQueue([Task(id="a", dependencies=("b",)), Task(id="b", dependencies=("a",))])


# ---- what it would take ---------------------------------------------------------------------------------

CHAIN = [Task(id="a"), Task(id="b", dependencies=("a",)), Task(id="c"), Task(id="alone", parallel=False)]
TOOK = {"a": 1.0, "b": 2.0, "c": 4.0, "alone": 8.0}


@pytest.mark.parametrize(("workers", "expected"), [(1, 15.0), (2, 12.0), (9, 12.0)])
def test_a_simulation_says_when_all_would_be_done(workers: int, expected: float) -> None:
    order, seconds = simulate(CHAIN, TOOK, workers)

    assert sorted(order) == ["a", "alone", "b", "c"]
    assert seconds == expected


@given(st.integers(1, 5))
def test_no_number_of_workers_beats_the_longest_path_or_loses_to_one(workers: int) -> None:
    _, seconds = simulate(CHAIN, TOOK, workers)

    assert 3.0 <= seconds <= simulate(CHAIN, TOOK, 1)[1]
