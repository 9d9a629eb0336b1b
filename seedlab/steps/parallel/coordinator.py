"""Large loads spread over several connections: workers stage their parts, one transaction merges them.

lock       a session holds the ledger's lock for the whole run                 (stagewise.Lock)
stage      each part is read, judged, settled and staged by a worker           (partition)
judge      keys that come twice, parents that are nowhere: by handles, here    (running.resolve)
merge      one transaction writes all loads, those that are staged from there  (transaction.write_once)

What cannot be spread goes the usual way beside it. Where a part has a wrong row, the run goes the usual way
as a whole, for that finds all faults and says where they stand; so the result never depends on the workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import polars as pl

from seedlab.database import staging
from seedlab.database.writer import Session
from seedlab.errors import TargetChanged, WriteError
from seedlab.flow import ROW, Load, Options, Recorder, Reference, Staging, Target
from seedlab.frames import ids, large
from seedlab.frames.resolve import Handled, Naming, add_handles
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.graph import components
from seedlab.steps.agenda import Task
from seedlab.steps.looking import Look
from seedlab.steps.parallel import executors
from seedlab.steps.parallel.worker import Answer, Assignment, Partition, stage
from seedlab.steps.pipeline import Prepared, prepare
from seedlab.steps.preparing import respelling
from seedlab.steps.preparing.shaping import Shaped
from seedlab.steps.resolving import write_plan
from seedlab.steps.resolving.named_rows import Rows, Staged
from seedlab.steps.writing import stagewise, transaction
from seedlab.steps.writing.transaction import Gate, RunResult

NOT_RIGHT = "the schema seedlab lets us make no staging table: nothing was spread; same result"
WRONG = "a row is wrong: the files are gone through once more, to say which"
AGAIN = "the executor lost some parts; they were done again in this process"

Pairs = Sequence[tuple[Load, Shaped]]


def run(task: Task, look: Look, monitor: Monitor, target: Target, beside: Callable[[], Look]) -> RunResult:
    """Run the stale stages with large loads staged over several connections.

    `beside` opens a session more; without workers, or where one session writes at a time, all goes the
    usual way.
    """
    workers = connections(task.options)
    if not workers or not look.session.concurrent:
        return transaction.run(task, look, monitor)
    spread = _Spread(task=task, target=target, workers=workers, beside=beside)
    return transaction.run(task, look, monitor, spread.write, partial(_chosen, look, task.options))


def connections(options: Options) -> int:
    """Count the connections on which large loads are staged; 0: on none but the run's own."""
    settings = options.settings
    plain = not (options.rejects or options.dry_run or options.environment.subset)
    if not plain or not {"parallel", "copy"} <= settings.switches:
        return 0
    if options.executor is not None:
        return settings.workers or os.cpu_count() or 1
    return settings.workers if settings.workers > 1 else 0


def _chosen(look: Look, options: Options, pairs: Pairs, naming: Naming) -> frozenset[int]:
    """Choose the loads to spread, by their places in `pairs`.

    Without an executor of the user's none that goes into an empty table: one COPY with the keys off is faster
    than to stage and then insert, as long as one machine prepares it all.
    """
    places = spreadable(pairs, naming)
    if options.executor is not None or not places:
        return places
    empty = look.empty({pairs[place][0].table for place in places})
    return frozenset(place for place in places if pairs[place][0].table not in empty)


def announced(look: Look, options: Options, prepared: Prepared) -> str | None:
    """Say which tables a run would stage on several connections, for a plan's notes; None for none."""
    workers = connections(options)
    if not workers or not look.session.concurrent:
        return None
    pairs = [(rows.load, rows.shaped) for rows in prepared.rows]
    places = _chosen(look, options, pairs, prepared.naming)
    tables = sorted({pairs[place][0].table for place in places})
    return f"would be staged on {workers} connections: {', '.join(tables)}" if tables else None


# ---- what is spread -------------------------------------------------------------------------------------


def spreadable(pairs: Pairs, naming: Naming) -> frozenset[int]:
    """Choose, by their places in `pairs`, the loads whose parts workers can stage without knowing others.

    Not so where rows refer to rows of this run whose ids only the whole run knows (from sequences, or given
    beside the key they are referred to by), in cycles, without a key, and where of equal keys one is kept.
    """
    loads = [load for load, _ in pairs]
    tables = {load.table for load in loads}
    parents = {name: naming.catalog.tables[name].parents & tables for name in tables}
    cyclic = {table for group in components(parents) if len(group) > 1 for table in group}
    return frozenset(
        place
        for place, (load, shaped) in enumerate(pairs)
        if shaped.stream is not None
        and not (load.whole or load.duplicates != "error" or load.table in cyclic)
        and not naming.catalog.tables[load.table].row_security
        and not any(respelling.asked(load, naming.catalog))
        and _makes_ids_alone(load, loads, naming)
        and all(_finds_parents_alone(reference, loads, naming) for reference in load.references)
    )


def _makes_ids_alone(load: Load, loads: Sequence[Load], naming: Naming) -> bool:
    """Tell whether references to the load's rows need no id but one that follows from the row's handle."""
    wanted = ids.referred_columns(loads).get(load.table, ())
    return load.table not in naming.alternatives and all(
        _from_handle(load, column, naming) for column in wanted
    )


def _finds_parents_alone(reference: Reference, loads: Sequence[Load], naming: Naming) -> bool:
    """Tell whether the reference needs of this run's rows only ids that follow from their handles."""
    wanted = [column for column in reference.foreign_key.parent_columns if not reference.source_of(column)]
    parents = [each for each in loads if each.table == reference.parent]
    if not wanted or not parents:
        return True
    natural = naming.label(reference.parent, reference.parts) == reference.parent
    return natural and all(_from_handle(parent, column, naming) for parent in parents for column in wanted)


def _from_handle(load: Load, column: str, naming: Naming) -> bool:
    """Tell whether the column is a uuid that seedlab makes of a row's handle."""
    return load.made == column and naming.catalog.tables[load.table].columns[column].kind == "uuid"


def parts_of(load: Load, rows: int) -> list[Partition]:
    """Cut the files of a load into parts of about so many rows."""
    pieces = ((file, piece) for file, source in enumerate(load.files) for piece in large.pieces(source, rows))
    return [Partition(number=number, file=file, piece=piece) for number, (file, piece) in enumerate(pieces)]


# ---- the run --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Work:
    """One load that is spread: its place among the rows, what its parts have in common, and the parts."""

    place: int
    assigned: Assignment
    parts: Sequence[Partition]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Spread:
    """The writing of a run whose large loads are staged by workers."""

    task: Task
    target: Target
    workers: int
    beside: Callable[[], Look]

    def write(self, task: Task, look: Look, prepared: Prepared, monitor: Monitor) -> RunResult:
        """Write what was prepared; staging tables are dropped however this ends."""
        if not prepared.apart:
            return transaction.write_once(task, look, prepared, monitor)
        lock = stagewise.Lock(look)
        lock.take(task, monitor)
        desk = self.beside()
        try:
            done = self._locked(task, desk, prepared, monitor, lock) if lock.remembers else None
            if done is not None:
                lock.release()
                return done
        finally:
            desk.session.rollback()
            desk.close()
            look.session.rollback()
        whole = prepare(task, look, monitor, task.stale)
        return transaction.write_once(task, look, whole, monitor)

    def _locked(
        self, task: Task, desk: Look, prepared: Prepared, monitor: Monitor, lock: stagewise.Lock
    ) -> RunResult | None:
        """Stage, judge and merge, while nobody else seeds; None where the usual way must do it."""
        works = self._works(task, desk, prepared)
        tables = prepared.catalog.tables
        wanted = [
            (work.assigned.staging, tables[work.assigned.load.table], work.assigned.settled.columns)
            for work in works
        ]
        if not staging.prepare(desk.session, task.run_id, wanted):
            monitor.note(NOT_RIGHT)
            return None
        try:
            answers = self._staged(works, monitor)
            if any(answer.faulty for of_load in answers for answer in of_load):
                monitor.note(WRONG)
                return None
            rows = list(prepared.rows)
            for work, of_load in zip(works, answers, strict=True):
                rows[work.place] = _staged_rows(rows[work.place], work, of_load)
            gate = Gate(begin=partial(_begin, lock), check=lock.check)
            return transaction.write_once(task, desk, replace(prepared, read=rows, rows=rows), monitor, gate)
        finally:
            desk.session.rollback()
            staging.sweep(desk.session, task.run_id)

    def _works(self, task: Task, desk: Look, prepared: Prepared) -> list[_Work]:
        loads = [each.load for each in prepared.rows]
        referred = {reference.parent for load in loads for reference in load.references}
        tables = referred | {load.table for load in loads}
        filled = frozenset(tables) - desk.empty(tables)
        by_default = write_plan.left_to_defaults(loads, prepared.naming)
        works = []
        for number, place in enumerate(sorted(prepared.apart)):
            rows = prepared.rows[place]
            load, shaped = rows.load, rows.shaped
            assert shaped.batches is not None
            assigned = Assignment(
                target=self.target,
                settings=task.options.settings,
                project=task.project.name,
                run=task.run_id,
                seed=shaped.seed,
                spec=shaped.spec,
                batches=shaped.batches,
                load=load,
                settled=replace(load, made=None) if load.table in by_default else load,
                defaults={name: task.project.defaults[name] for name in load.defaults},
                naming=prepared.naming,
                trusted=shaped.trusted,
                staging=Staging(
                    relation=staging.relation_of(task.run_id, number),
                    as_text=not prepared.catalog.tables[load.table].exists,
                ),
                filled=filled,
                referred=load.table in referred,
            )
            parts = parts_of(load, task.options.settings.batch_rows)
            works.append(_Work(place=place, assigned=assigned, parts=parts))
        return works

    def _staged(self, works: Sequence[_Work], monitor: Monitor) -> list[list[Answer]]:
        """Have all parts of all loads staged, and answer for each load what became of its parts.

        Raises WriteError for what could not be done at all.
        """
        items = [(work.assigned, part) for work in works for part in work.parts]

        def done(answer: Answer) -> None:
            monitor.count(**answer.counts)

        with monitor.span("stage"), executors.opened(self.task.options.executor, self.workers) as pool:
            answers = executors.each(pool, _stage_item, items, done, lambda: monitor.note(AGAIN))
            monitor.count(rows=sum(answer.rows for answer in answers))
        for answer in answers:
            if answer.failure is not None:
                raise WriteError(answer.failure, sqlstate=answer.sqlstate)
        in_order = iter(answers)
        return [[next(in_order) for _ in work.parts] for work in works]


def _stage_item(item: tuple[Assignment, Partition]) -> Answer:
    return stage(*item)


def _begin(lock: stagewise.Lock, task: Task, session: Session, recorder: Recorder) -> bool:  # noqa: ARG001 (a gate's)
    """Begin the transaction that writes: its snapshot is of now, when all is staged.

    The ledger's row is raised first of all: whoever took the lock that we lost would have to raise it too.
    """
    lock.check()
    session.begin()
    if session.ledger.generation() != task.memory.generation:
        raise TargetChanged("another seed has written since we looked")
    session.ledger.begin_run()
    return True


# ---- what the workers answered --------------------------------------------------------------------------


def _staged_rows(rows: Rows, work: _Work, answers: Sequence[Answer]) -> Rows:
    """Give the rows of a load as its parts answered: handles in the files' order, and where they lie."""
    firsts, count = [], 0
    thin, names = [], []
    for answer, before in zip(answers, _rows_before(answers), strict=True):
        firsts.append(count)
        count += answer.rows
        if answer.rows:
            thin.append(answer.thin.with_columns(pl.col(ROW) + before))
            names.append(answer.names.with_columns(pl.col(ROW) + before))
    load = rows.load
    empty = add_handles(rows.shaped.frame, load, work.assigned.naming).drop(rows.shaped.columns)
    handled = Handled(load=load, frame=pl.concat([empty, *thin]))
    staged = Staged(
        staging=replace(work.assigned.staging, firsts=tuple(firsts)),
        names=pl.concat(names),
        answers=[told for answer in answers for told in answer.answers],
    )
    return Rows(shaped=rows.shaped, handled=handled, staged=staged)


def _rows_before(answers: Sequence[Answer]) -> Iterator[int]:
    """Give for each part how many rows of its file lie before it."""
    rows: dict[int, int] = {}
    for answer in answers:
        before = rows.get(answer.partition.file, 0)
        rows[answer.partition.file] = before + answer.rows
        yield before
