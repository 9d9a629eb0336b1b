"""Runs every stage in a transaction of its own, independent stages at the same time.

One session does nothing but hold the lock, for the whole run. Before any stage begins, missing tables are
created and every row is checked, as far as that can be done without writing, so that most faults are found
before anything is written. Then each stage runs on a session of its own, which sees what others have
committed. After a failure the next run goes on with the stages that were not committed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

from seedlab.database.writer import Session
from seedlab.errors import DataFaults, SeedError, TargetChanged, WriteError
from seedlab.flow import PRIORITIES, Recorder, Stage
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records.runs import message_of
from seedlab.plan import graph, guards, scheduler
from seedlab.steps.agenda import RunResult, Task
from seedlab.steps.looking import Look
from seedlab.steps.pipeline import Prepared, prepare, resolve
from seedlab.steps.preparing.reading import concurrency
from seedlab.steps.resolving.rows import Rows
from seedlab.steps.writing import transaction
from seedlab.steps.writing.retrying import Attempts
from seedlab.steps.writing.transaction import TransactionHooks

COMMITTED_ONE_BY_ONE = "each stage was committed by itself: readers saw them appear one by one"

OpenLook = Callable[[], Look]  # opens a further session to the target


def run_stages(task: Task, look: Look, monitor: Monitor, open_another: OpenLook) -> RunResult:
    """Run the stale stages, each in a transaction of its own; `open_another` opens further sessions.

    An error after the first stage has begun is returned as `failure`, not raised.
    """
    guards.check_stages(task.stale)
    return transaction.run(task, look, monitor, partial(_run_prepared, open_another=open_another))


def _run_prepared(
    task: Task, look: Look, prepared: Prepared, monitor: Monitor, open_another: OpenLook
) -> RunResult:
    looks = _LookPool(look, open_another)
    try:
        lock = Lock(look)
        lock.take(task, monitor)
        prepared = _create_and_check(task, looks, prepared, monitor, lock)
        runner = _StageRunner(task, prepared, monitor, looks, lock)
        result = runner.run(min(concurrency(task.options.settings), len(task.stale)))
        if result.failure is None:
            lock.release()
        return result
    finally:
        looks.close()
        look.session.rollback()


# ---- sessions -------------------------------------------------------------------------------------------


class _LookPool:
    """A pool of looks, one for each stage that is written at the same time.

    Where only one session can write to the database, the pool has just the run's own look. That look then
    cannot hold a lock between two stages.
    """

    def __init__(self, look: Look, open_another: OpenLook) -> None:
        self.concurrent = look.session.concurrent
        self._open_another = open_another
        self._opened: list[Look] = []
        self._free: list[Look] = [] if self.concurrent else [look]

    def take(self) -> Look:
        """Take a free look, refreshed to what is committed by now, or open one if none is free."""
        try:
            look = self._free.pop()
        except IndexError:
            look = self._open_another()
            self._opened.append(look)
        else:
            look.refresh()
        return look

    def put_back(self, look: Look) -> None:
        """Put a look back for other stages."""
        self._free.append(look)

    def close(self) -> None:
        """Close the looks that the pool has opened."""
        for look in self._opened:
            look.close()


class Lock:
    """Keeps other seeders out for the whole run, and notices if that has failed.

    A session holds the lock, and does nothing else. If its connection is lost, another seeder may begin.
    Therefore each transaction of this run takes a shared lock on the ledger's row, which the other would have
    to change, and checks that the row still has the number that was put there when this run began.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._number: int | None = None
        self._asking = threading.Lock()
        self._alone = not look.session.concurrent
        self.remembers = False

    def take(self, task: Task, monitor: Monitor) -> None:
        """Lock; raises LockHeld, and TargetChanged where others have written since the look."""
        self.remembers = transaction.lock(task, self._look.session, (), monitor)
        self._look.session.keep_alive()

    def name_run(self, session: Session) -> None:
        """Put this run's number into the ledger, in the session's transaction."""
        self._number = session.ledger.begin_run() if self.remembers else None

    def begin(self, task: Task, session: Session, tables: Collection[str], recorder: Recorder) -> bool:  # noqa: ARG002 (a hook of TransactionHooks)
        """Begin the transaction of a stage; raises WriteError where the lock was lost."""
        self.check()
        session.begin()
        session.exclude_writers(tables)
        if self.remembers and session.ledger.join_run() != self._number:
            raise WriteError("another seed wrote to the database during this run, which stopped; run again")
        return self.remembers

    def check(self) -> None:
        """Raise WriteError if the connection that holds the lock is lost."""
        if self._alone or not self.remembers:
            return
        with self._asking:
            try:
                self._look.session.keep_alive()
            except SeedError as error:
                raise WriteError(
                    f"the connection that held the lock was lost, so the run was stopped; run again ({error})"
                ) from error

    def release(self) -> None:
        """Release the lock; an error is ignored, since every stage is committed already."""
        try:
            self._look.session.commit()
        except SeedError:
            self._look.session.rollback()


# ---- before the stages ----------------------------------------------------------------------------------


def _create_and_check(
    task: Task, looks: _LookPool, prepared: Prepared, monitor: Monitor, lock: Lock
) -> Prepared:
    """Create missing tables, and check the rows of all stages together, as a run in one transaction does."""
    look = looks.take()
    session, ddl = look.session, look.ddl()
    if looks.concurrent:
        session.begin()
    if ddl.tables:
        with monitor.span("index"):
            session.create(ddl.in_order)
    lock.name_run(session)
    rows = resolve(look, prepared, task, monitor).rows
    session.commit()
    if ddl.tables:  # their definitions now come from the database instead of from the MetaData
        look.refresh()
        prepared = prepare(task, look, monitor, task.stale)
        session.begin()
        rows = resolve(look, prepared, task, monitor).rows
        session.rollback()
    looks.put_back(look)
    transaction.announce_rows(rows, monitor)
    return replace(prepared, rows=rows, broken=())


def _narrowed_to(prepared: Prepared, stage: str) -> Prepared:
    """Narrow what was prepared down to one stage."""

    def of_stage(rows: Iterable[Rows]) -> list[Rows]:
        return [each for each in rows if each.load.stage == stage]

    reduced = prepared.reduced & {stage}
    recalled = replace(prepared.recalled, reduced=reduced) if prepared.recalled and reduced else None
    bound = prepared.bound
    return replace(
        prepared,
        stages=tuple(each for each in prepared.stages if each.id == stage),
        bound=replace(bound, loads=tuple(load for load in bound.loads if load.stage == stage)),
        read=of_stage(prepared.read),
        rows=of_stage(prepared.rows),
        reduced=reduced,
        recalled=recalled,
    )


def _queue(task: Task, prepared: Prepared) -> scheduler.ReadyQueue:
    """Make the queue of stages; a stage waits for those it depends on and those that fill the same table."""
    stages = task.stale
    before = graph.waiting(task.agenda.declared, [stage.id for stage in stages], _links(stages, prepared))
    return scheduler.ReadyQueue(
        [
            scheduler.Task(
                id=stage.id,
                dependencies=tuple(sorted(before[stage.id])),
                priority=min((seed.priority for seed in stage.seeds), key=PRIORITIES.index, default="medium"),
                estimated_ms=sum(seed.estimated_ms or 0 for seed in stage.seeds),
                parallel=stage.parallel,
            )
            for stage in stages
        ]
    )


def _links(stages: Sequence[Stage], prepared: Prepared) -> Iterator[tuple[str, str]]:
    loads = prepared.bound.loads
    fillers = graph.providers(
        (load.table, stage.id) for stage in stages for load in loads if load.stage == stage.id
    )
    for table, names in fillers.items():
        for key in prepared.catalog.tables[table].foreign_keys:
            yield from ((parent, name) for parent in fillers.get(key.parent, ()) for name in names)
    for names in fillers.values():
        yield from combinations(names, 2)


# ---- the stages -----------------------------------------------------------------------------------------


class _StageRunner:
    """Writes stages on several threads, and keeps what became of each of them."""

    def __init__(
        self, task: Task, prepared: Prepared, monitor: Monitor, looks: _LookPool, lock: Lock
    ) -> None:
        self._task = task
        self._prepared = prepared
        self._monitor = monitor
        self._looks = looks
        self._write = partial(
            transaction.write_once, hooks=TransactionHooks(begin=lock.begin, check=lock.check)
        )
        self._results: dict[str, RunResult] = {}
        self._failures: dict[str, BaseException] = {}

    def run(self, workers: int) -> RunResult:
        """Write the stages; after a first failure those that have begun are finished, and no other begins."""
        failure: BaseException | None = None
        try:
            scheduler.run(
                _queue(self._task, self._prepared), self._run_stage, workers if self._looks.concurrent else 1
            )
        except BaseException as error:  # noqa: BLE001 (after Ctrl-C, too, it is reported what is committed)
            failure = error
        self._monitor.note(COMMITTED_ONE_BY_ONE)
        return self._summary(failure)

    def _run_stage(self, stage: str) -> None:
        try:
            self._results[stage] = self._write_stage(stage)
        except BaseException as error:
            self._failures[stage] = error
            raise

    def _write_stage(self, stage: str) -> RunResult:
        """Write one stage, again if another session came between; after an error nothing of it stays."""
        prepared, attempts = _narrowed_to(self._prepared, stage), Attempts()
        look = self._looks.take()
        while True:
            task = self._task.narrowed_to(stage, look.memory())
            task = replace(task, exclusive=attempts.exclusive)
            try:
                result = transaction.write_prepared(task, look, prepared, self._monitor, self._write)
            except BaseException as error:
                look.session.rollback()
                if not isinstance(error, TargetChanged | DataFaults):
                    raise
                self._monitor.note(f"stage {stage}: {attempts.fail(error)}")
                look.refresh()
            else:
                self._looks.put_back(look)
                return result

    def _summary(self, failure: BaseException | None) -> RunResult:
        """Sum up which stages were committed, and why others failed or were not begun."""
        result = RunResult(tallies=tuple(tally for each in self._results.values() for tally in each.tallies))
        if failure is None:
            return result
        first = None
        if failure in self._failures.values():  # False after Ctrl-C, which is no stage's failure
            first, failure = next(iter(self._failures.items()))
        why = f"stage {first} failed" if first else message_of(failure)
        left = [stage.id for stage in self._task.stale if stage.id not in {*self._results, *self._failures}]
        return replace(
            result,
            failed={name: f"failed: {message_of(_of_stage(e, name))}" for name, e in self._failures.items()},
            not_begun=dict.fromkeys(left, f"not begun: {why}"),
            failure=_explained(_of_stage(failure, first), self._results, first),
        )


def _of_stage(error: BaseException, stage: str | None) -> BaseException:
    """Add to data faults that nothing of the stage was written; other errors stay as they are."""
    if isinstance(error, DataFaults) and stage is not None:
        return DataFaults(error.faults, f"nothing of stage {stage} was written")
    return error


def _explained(error: BaseException, committed: Collection[str], stage: str | None) -> BaseException:
    """Add to an error which stages were committed before it, and with which the next run goes on."""
    kept = f"committed and kept: {', '.join(committed)}" if committed else "no stage was committed"
    error.add_note(f"{kept}; the next run goes on with {f'stage {stage}' if stage else 'the others'}")
    return error
