"""A run that commits stage by stage: independent ones at the same time, and none twice after a failure.

One session only holds the lock, for the whole run. Before any stage begins, missing tables are made and every
row is judged, as far as that can be done without writing; so most faults are told before anything is written.
Each stage then is a run of its own, on a session of its own, which finds what others have committed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

from seedlab.database.writer import Session
from seedlab.errors import DataFaults, SeedError, TargetChanged, WriteError
from seedlab.flow import PRIORITIES, Recorder, Stage
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records.runs import message_of
from seedlab.plan import graph, guards, ready
from seedlab.steps.agenda import Task
from seedlab.steps.looking import Look
from seedlab.steps.pipeline import Prepared, prepare, resolve
from seedlab.steps.preparing.reading import concurrency
from seedlab.steps.resolving.named_rows import Rows
from seedlab.steps.writing import transaction
from seedlab.steps.writing.retrying import raise_unless_retryable, why_to_retry
from seedlab.steps.writing.transaction import Gate, RunResult

ONE_BY_ONE = "each stage was committed by itself: readers saw them appear one by one"

Beside = Callable[[], Look]


def run_stages(task: Task, look: Look, monitor: Monitor, beside: Beside) -> RunResult:
    """Run the stale stages, each in a transaction of its own; `beside` gives another session to do so.

    What ends the run after the first stage has begun is told in the answer, not raised.
    """
    guards.check_stages(task.stale)
    return transaction.run(task, look, monitor, partial(_run_prepared, beside=beside))


def _run_prepared(task: Task, look: Look, prepared: Prepared, monitor: Monitor, beside: Beside) -> RunResult:
    desks = _Desks(look, beside)
    try:
        lock = Lock(look)
        lock.take(task, monitor)
        prepared = _open(task, desks, prepared, monitor, lock)
        work = _Work(task, prepared, monitor, desks, lock)
        done = work.run(min(concurrency(task.options.settings), len(task.stale)))
        if done.failure is None:
            lock.release()
        return done
    finally:
        desks.close()
        look.session.rollback()


# ---- sessions -------------------------------------------------------------------------------------------


class _Desks:
    """Looks to write with, as many as work at the same time.

    Where only one session can write, that is the first look, which then holds no lock between stages.
    """

    def __init__(self, look: Look, beside: Beside) -> None:
        self.concurrent = look.session.concurrent
        self._beside = beside
        self._made: list[Look] = []
        self._free: list[Look] = [] if self.concurrent else [look]

    def take(self) -> Look:
        """Take a look that nobody uses, refreshed to what is committed by now.

        One is opened if all are in use.
        """
        try:
            desk = self._free.pop()
        except IndexError:
            desk = self._beside()
            self._made.append(desk)
        else:
            desk.refresh()
        return desk

    def give(self, desk: Look) -> None:
        """Give a look back for others to use."""
        self._free.append(desk)

    def close(self) -> None:
        """Close the looks that were opened here."""
        for desk in self._made:
            desk.close()


class Lock:
    """Keeps other seeders out for the whole run, and sees whether that has worked.

    A session holds the lock, and does nothing else. Should its connection be lost, others may begin: hence
    each transaction of this run shares the ledger's row, which they would have to change, and finds in it
    the number that was put there when this run began.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._number: int | None = None
        self._asking = threading.Lock()
        self._alone = not look.session.concurrent
        self.remembers = False

    def take(self, task: Task, monitor: Monitor) -> None:
        """Lock; raises LockHeld, and TargetChanged where others have written since the look."""
        self.remembers = transaction.lock(task, self._look.session, monitor)
        self._look.session.keep_alive()

    def name_run(self, session: Session) -> None:
        """Put this run's number into the ledger, in the session's transaction."""
        self._number = session.ledger.begin_run() if self.remembers else None

    def begin(self, task: Task, session: Session, recorder: Recorder) -> bool:  # noqa: ARG002 (a gate's)
        """Begin the transaction of a stage."""
        self.check()
        session.begin()
        if self.remembers and session.ledger.join_run() != self._number:
            raise WriteError(
                "another seed has written to the target in the midst of this run, which stopped; run again"
            )
        return self.remembers

    def check(self) -> None:
        """Raise WriteError when the lock is lost."""
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
        """Let others in; where the lock was lost at the very end, every stage is committed all the same."""
        try:
            self._look.session.commit()
        except SeedError:
            self._look.session.rollback()


# ---- before the stages ----------------------------------------------------------------------------------


def _open(task: Task, desks: _Desks, prepared: Prepared, monitor: Monitor, lock: Lock) -> Prepared:
    """Make missing tables, judge all rows as one run would, and leave those that are to be written."""
    desk = desks.take()
    session, ddl = desk.session, desk.ddl()
    if desks.concurrent:
        session.begin()
    if ddl.tables:
        with monitor.span("index"):
            session.create(ddl.in_order)
    lock.name_run(session)
    rows = resolve(desk, prepared, task, monitor).rows
    session.commit()
    if ddl.tables:  # now the database says what they are
        desk.refresh()
        prepared = prepare(task, desk, monitor, task.stale)
        session.begin()
        rows = resolve(desk, prepared, task, monitor).rows
        session.rollback()
    desks.give(desk)
    transaction.expect(rows, monitor)
    return replace(prepared, rows=rows, broken=())


def _part(prepared: Prepared, stage: str) -> Prepared:
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


def _queue(task: Task, prepared: Prepared) -> ready.ReadyQueue:
    """Order the stages: as declared, by foreign keys, and one after another where they fill one table."""
    stages = task.stale
    before = graph.waiting(task.agenda.declared, [stage.id for stage in stages], _links(stages, prepared))
    return ready.ReadyQueue(
        [
            ready.Task(
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


class _Work:
    """Writes stages on several threads, and keeps what became of each."""

    def __init__(self, task: Task, prepared: Prepared, monitor: Monitor, desks: _Desks, lock: Lock) -> None:
        self._task = task
        self._prepared = prepared
        self._monitor = monitor
        self._desks = desks
        self._write = partial(transaction.write_once, gate=Gate(begin=lock.begin, check=lock.check))
        self._done: dict[str, RunResult] = {}
        self._failed: dict[str, BaseException] = {}

    def run(self, workers: int) -> RunResult:
        """Write stage by stage; the first failure lets those end that have begun, and no other begin."""
        failure: BaseException | None = None
        try:
            ready.run(
                _queue(self._task, self._prepared), self._commit, workers if self._desks.concurrent else 1
            )
        except BaseException as error:  # noqa: BLE001 (also Ctrl-C: what is committed has to be told)
            failure = error
        self._monitor.note(ONE_BY_ONE)
        return self._told(failure)

    def _commit(self, stage: str) -> None:
        try:
            self._done[stage] = self._try(stage)
        except BaseException as error:
            self._failed[stage] = error
            raise

    def _try(self, stage: str) -> RunResult:
        """Write one stage, again where others came between; whatever else happens, nothing of it stays."""
        part, attempt = _part(self._prepared, stage), 0
        desk = self._desks.take()
        while True:
            task = self._task.narrowed_to(stage, desk.memory())
            try:
                done = transaction.attempt(task, desk, part, self._monitor, self._write)
            except BaseException as error:
                desk.session.rollback()
                if not isinstance(error, TargetChanged | DataFaults):
                    raise
                raise_unless_retryable(error, attempt)
                self._monitor.note(f"stage {stage}: {why_to_retry(error)}; trying again")
                desk.refresh()
                attempt += 1
            else:
                self._desks.give(desk)
                return done

    def _told(self, failure: BaseException | None) -> RunResult:
        """Sum up the run.

        Tallies of committed stages, why others failed or were not begun, and the failure.
        """
        done = RunResult(tallies=tuple(tally for each in self._done.values() for tally in each.tallies))
        if failure is None:
            return done
        first = None
        if failure in self._failed.values():  # of several the first; but Ctrl-C may be none of a stage's
            first, failure = next(iter(self._failed.items()))
        why = f"stage {first} failed" if first else message_of(failure)
        left = [stage.id for stage in self._task.stale if stage.id not in {*self._done, *self._failed}]
        return replace(
            done,
            failed={name: f"failed: {message_of(_of_stage(e, name))}" for name, e in self._failed.items()},
            not_begun=dict.fromkeys(left, f"not begun: {why}"),
            failure=_explained(_of_stage(failure, first), self._done, first),
        )


def _of_stage(error: BaseException, stage: str | None) -> BaseException:
    """Add to data faults that nothing of the stage was written; other errors stay as they are."""
    if isinstance(error, DataFaults) and stage is not None:
        return DataFaults(error.faults, f"nothing of stage {stage} was written")
    return error


def _explained(error: BaseException, done: Mapping[str, RunResult], stage: str | None) -> BaseException:
    """Add to an error what was committed before it, and where the next run goes on."""
    committed = f"committed and kept: {', '.join(done)}" if done else "no stage was committed"
    error.add_note(f"{committed}; the next run goes on with {f'stage {stage}' if stage else 'the others'}")
    return error
