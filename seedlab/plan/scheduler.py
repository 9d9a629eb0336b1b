"""Schedules dependent tasks: each starts as soon as its dependencies are done and a thread is free."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter
from heapq import heappop, heappush

from seedlab.flow import PRIORITIES, Priority
from seedlab.plan.graph import topological_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task of the schedule; one that is not `parallel` runs alone."""

    id: str
    dependencies: tuple[str, ...] = ()
    priority: Priority = "medium"
    estimated_ms: int = 0
    parallel: bool = True


class ReadyQueue:
    """A queue of the tasks whose dependencies are done.

    They are ordered by priority, then by the longest path of tasks that begins with them, then as listed. Not
    thread-safe: a single thread must call `take` and `done`. Raises GraphError for a cycle.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = {task.id: task for task in tasks}
        self._rank = _ranks(tasks)
        self._ready: list[tuple[tuple[int, int, int], str]] = []  # a heap by rank
        self._running: set[str] = set()
        self._sorter = TopologicalSorter({task.id: task.dependencies for task in tasks})
        self._sorter.prepare()

    def take(self) -> str | None:
        """Return the next task to start, or None if none may start now.

        Other tasks do not overtake a task that runs alone: when it is next, none starts until it can.
        """
        for each in self._sorter.get_ready():
            heappush(self._ready, (self._rank[each], each))
        if not self._ready or any(not self._tasks[each].parallel for each in self._running):
            return None
        first = self._ready[0][1]
        if self._running and not self._tasks[first].parallel:
            return None
        heappop(self._ready)
        self._running.add(first)
        return first

    def done(self, task: str) -> None:
        """Report that a task that `take` returned is done."""
        self._running.remove(task)
        self._sorter.done(task)


def run(queue: ReadyQueue, work: Callable[[str], object], workers: int) -> None:
    """Run all tasks, up to `workers` at a time; with one worker in the calling thread.

    After a failure no further task starts; once the running ones have ended, the failure is raised.
    """
    if workers == 1:
        while (task := queue.take()) is not None:
            work(task)
            queue.done(task)
        return
    running: dict[Future[object], str] = {}
    with ThreadPoolExecutor(workers, thread_name_prefix="seedlab") as pool:
        while True:
            while len(running) < workers and (task := queue.take()) is not None:
                running[pool.submit(work, task)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                queue.done(running.pop(future))


def simulate(tasks: Sequence[Task], seconds: Mapping[str, float], workers: int) -> tuple[list[str], float]:
    """Predict in which order tasks would start, and after how many seconds all would be done."""
    queue, order, now = ReadyQueue(tasks), [], 0.0
    running: list[tuple[float, str]] = []
    while True:
        while len(running) < workers and (task := queue.take()) is not None:
            heappush(running, (now + seconds[task], task))
            order.append(task)
        if not running:
            return order, now
        now, task = heappop(running)
        queue.done(task)


def _ranks(tasks: Sequence[Task]) -> dict[str, tuple[int, int, int]]:
    remaining = _remaining_ms(tasks)
    return {
        task.id: (PRIORITIES.index(task.priority), -remaining[task.id], position)
        for position, task in enumerate(tasks)
    }


def _remaining_ms(tasks: Sequence[Task]) -> dict[str, int]:
    """Map each task to the milliseconds of the longest path that begins with it."""
    remaining = {task.id: task.estimated_ms for task in tasks}
    by_id = {task.id: task for task in tasks}
    for name in reversed(topological_order({task.id: task.dependencies for task in tasks})):
        for parent in by_id[name].dependencies:
            remaining[parent] = max(remaining[parent], by_id[parent].estimated_ms + remaining[name])
    return remaining
