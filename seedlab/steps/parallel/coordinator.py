"""Spreads large loads over several connections: workers stage their parts, one transaction merges them.

lock       a session holds the ledger's lock for the whole run                        (stagewise.Lock)
stage      each part is read, checked, given its ids and staged by a worker           (worker)
check      keys that come twice and missing parents are found here, by handles        (pipeline.resolve)
merge      one transaction writes all loads, and reads those staged from there        (transaction.write_once)

Loads that cannot be spread are prepared and written as usual in that transaction. If a part has a wrong row,
the whole run is done in the usual way, which finds all faults and their lines; so neither the database nor
the faults depend on the workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import polars as pl

from seedlab.database.postgres import staging
from seedlab.database.writer import Session
from seedlab.errors import TargetChanged, WriteError
from seedlab.flow import ROW, Load, Options, Recorder, Reference, Staging, Target
from seedlab.frames import ids
from seedlab.frames.files import large
from seedlab.frames.resolve import Handled, Naming, add_handles
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.graph import components
from seedlab.steps.agenda import RunResult, Task
from seedlab.steps.looking import Look
from seedlab.steps.parallel import executors
from seedlab.steps.parallel.worker import Assignment, Partition, PartResult, stage
from seedlab.steps.pipeline import Prepared, prepare
from seedlab.steps.preparing import respelling
from seedlab.steps.preparing.shaping import Shaped
from seedlab.steps.resolving import write_plan
from seedlab.steps.resolving.rows import Rows, Staged
from seedlab.steps.writing import stagewise, transaction
from seedlab.steps.writing.transaction import TransactionHooks

NO_STAGING_RIGHT = (
    "this user may not create staging tables in the schema seedlab, so one connection did all the work; "
    "same result"
)
FAULTY_ROW = "a row is faulty: the files are read once more to find out which"
PARTS_REPEATED = "the executor lost some parts; they were done again in this process"

Pairs = Sequence[tuple[Load, Shaped]]


def run(
    task: Task, look: Look, monitor: Monitor, target: Target, open_another: Callable[[], Look]
) -> RunResult:
    """Run the stale stages, with large loads staged on several connections; `open_another` opens a session.

    Without workers, or where only one session can write to the database, nothing is spread.
    """
    workers = connections(task.options)
    if not workers or not look.session.concurrent:
        return transaction.run(task, look, monitor)
    writer = _SpreadWriter(task=task, target=target, workers=workers, open_another=open_another)
    return transaction.run(task, look, monitor, writer.write, partial(_choose_spread, look, task.options))


def connections(options: Options) -> int:
    """Count the connections on which large loads are staged; 0 if none is staged."""
    settings = options.settings
    if options.rejects or options.dry_run or options.environment.subset:
        return 0
    if not {"parallel", "copy"} <= settings.switches:
        return 0
    if options.executor is not None:
        return settings.workers or os.cpu_count() or 1
    return settings.workers if settings.workers > 1 else 0


def _choose_spread(look: Look, options: Options, pairs: Pairs, naming: Naming) -> frozenset[int]:
    """Choose the loads to spread, by their places in `pairs`.

    A load into an empty table is spread only over an executor that the user named. On one machine, a COPY
    into the table itself, with its keys dropped, is faster than to stage the rows and insert them from there.
    """
    places = spreadable(pairs, naming)
    if options.executor is not None or not places:
        return places
    empty = look.empty({pairs[place][0].table for place in places})
    return frozenset(place for place in places if pairs[place][0].table not in empty)


def spread_note(look: Look, options: Options, prepared: Prepared) -> str | None:
    """Say in a note for a plan which tables would be staged on several connections; None if none would."""
    workers = connections(options)
    if not workers or not look.session.concurrent:
        return None
    pairs = [(rows.load, rows.shaped) for rows in prepared.rows]
    places = _choose_spread(look, options, pairs, prepared.naming)
    tables = sorted({pairs[place][0].table for place in places})
    return f"would be staged on {workers} connections: {', '.join(tables)}" if tables else None


# ---- what is spread -------------------------------------------------------------------------------------


def spreadable(pairs: Pairs, naming: Naming) -> frozenset[int]:
    """Choose, by their places in `pairs`, the loads whose parts workers can stage independently.

    They cannot where rows refer to rows of this run whose ids do not follow from handles (they come from a
    sequence, or from the files), in cycles of tables, without a key or with NULL in it, and where one of
    equal keys is chosen.
    """
    loads = [load for load, _ in pairs]
    tables = {load.table for load in loads}
    parents = {name: naming.catalog.tables[name].parents & tables for name in tables}
    cyclic = {table for group in components(parents) if len(group) > 1 for table in group}
    return frozenset(
        place
        for place, (load, shaped) in enumerate(pairs)
        if shaped.stream is not None
        and load.table not in cyclic
        and _has_independent_rows(load, naming)
        and _makes_ids_alone(load, loads, naming)
        and all(_finds_parents_alone(reference, loads, naming) for reference in load.references)
    )


def _has_independent_rows(load: Load, naming: Naming) -> bool:
    """Tell whether each row of the load can be named, judged and staged without looking at others."""
    return (
        not (load.whole or load.null_key_columns)
        and load.duplicates == "error"
        and not naming.catalog.tables[load.table].row_security
        and not any(respelling.ambiguous_columns(load, naming.catalog))
    )


def _makes_ids_alone(load: Load, loads: Sequence[Load], naming: Naming) -> bool:
    """Tell whether references to the load's rows need only ids that follow from handles."""
    wanted = ids.referred_columns(loads).get(load.table, ())
    return load.table not in naming.alternatives and all(
        _from_handle(load, column, naming) for column in wanted
    )


def _finds_parents_alone(reference: Reference, loads: Sequence[Load], naming: Naming) -> bool:
    """Tell whether the reference needs only such ids of this run's rows that follow from handles."""
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
    """Cut the files of a load into parts of about `rows` rows."""
    pieces = ((file, piece) for file, source in enumerate(load.files) for piece in large.pieces(source, rows))
    return [Partition(number=number, file=file, piece=piece) for number, (file, piece) in enumerate(pieces)]


# ---- the run --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _SpreadLoad:
    """One load that is spread: its place among the loads, what its parts have in common, and the parts."""

    place: int
    assignment: Assignment
    parts: Sequence[Partition]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _SpreadWriter:
    """Writes a run whose large loads are staged by workers."""

    task: Task
    target: Target
    workers: int
    open_another: Callable[[], Look]

    def write(self, task: Task, look: Look, prepared: Prepared, monitor: Monitor) -> RunResult:
        """Write what was prepared; the staging tables are dropped, however this ends.

        If it cannot be spread after all, all files are read and written as usual.
        """
        if not prepared.spread:
            return transaction.write_once(task, look, prepared, monitor)
        lock = stagewise.Lock(look)
        lock.take(task, monitor)
        writing = self.open_another()
        try:
            result = self._write_locked(task, writing, prepared, monitor, lock) if lock.remembers else None
            if result is not None:
                lock.release()
                return result
        finally:
            writing.session.rollback()
            writing.close()
            look.session.rollback()
        whole = prepare(task, look, monitor, task.stale)
        return transaction.write_once(task, look, whole, monitor)

    def _write_locked(
        self, task: Task, look: Look, prepared: Prepared, monitor: Monitor, lock: stagewise.Lock
    ) -> RunResult | None:
        """Stage, check and merge while nobody else seeds; None where it cannot be spread."""
        spread_loads = self._spread_loads(task, look, prepared)
        tables = prepared.catalog.tables
        wanted = [
            (
                each.assignment.staging,
                tables[each.assignment.load.table],
                each.assignment.load_to_write.columns,
            )
            for each in spread_loads
        ]
        if not staging.prepare(look.session, task.run_id, wanted):
            monitor.note(NO_STAGING_RIGHT)
            return None
        try:
            results = self._stage_all(spread_loads, monitor)
            if any(part.faulty for parts in results for part in parts):
                monitor.note(FAULTY_ROW)
                return None
            rows = list(prepared.rows)
            for spread_load, parts in zip(spread_loads, results, strict=True):
                rows[spread_load.place] = _staged_rows(rows[spread_load.place], spread_load, parts)
            hooks = TransactionHooks(begin=partial(_begin, lock), check=lock.check)
            return transaction.write_once(task, look, replace(prepared, read=rows, rows=rows), monitor, hooks)
        finally:
            look.session.rollback()
            staging.sweep(look.session, task.run_id)

    def _spread_loads(self, task: Task, look: Look, prepared: Prepared) -> list[_SpreadLoad]:
        loads = [each.load for each in prepared.rows]
        referred = {reference.parent for load in loads for reference in load.references}
        tables = referred | {load.table for load in loads}
        filled = frozenset(tables) - look.empty(tables)
        by_default = write_plan.tables_with_default_ids(loads, prepared.naming)
        spread_loads = []
        for number, place in enumerate(sorted(prepared.spread)):
            rows = prepared.rows[place]
            load, shaped = rows.load, rows.shaped
            assert shaped.batches is not None
            assignment = Assignment(
                target=self.target,
                settings=task.options.settings,
                project=task.project.name,
                run=task.run_id,
                seed=shaped.seed,
                spec=shaped.spec,
                batches=shaped.batches,
                load=load,
                load_to_write=replace(load, made=None) if load.table in by_default else load,
                defaults={name: task.project.defaults[name] for name in load.defaults},
                naming=prepared.naming,
                trusted=shaped.trusted,
                staging=Staging(
                    relation=staging.relation_of(task.run_id, number),
                    as_text=not prepared.catalog.tables[load.table].exists,
                ),
                filled=filled,
                is_referred_to=load.table in referred,
            )
            parts = parts_of(load, task.options.settings.batch_rows)
            spread_loads.append(_SpreadLoad(place=place, assignment=assignment, parts=parts))
        return spread_loads

    def _stage_all(self, spread_loads: Sequence[_SpreadLoad], monitor: Monitor) -> list[list[PartResult]]:
        """Have the workers stage all parts; returns for each load the results of its parts.

        Raises WriteError where a part could not be staged for another reason than a wrong row.
        """
        items = [(spread_load.assignment, part) for spread_load in spread_loads for part in spread_load.parts]

        def on_result(part: PartResult) -> None:
            monitor.count(**part.counts)

        def on_repeat() -> None:
            monitor.note(PARTS_REPEATED)

        with monitor.span("stage"), executors.opened(self.task.options.executor, self.workers) as pool:
            results = executors.each(pool, _stage_item, items, on_result, on_repeat)
            monitor.count(rows=sum(part.rows for part in results))
        for part in results:
            if part.failure is not None:
                raise WriteError(part.failure, sqlstate=part.sqlstate)
        in_order = iter(results)
        return [[next(in_order) for _ in spread_load.parts] for spread_load in spread_loads]


def _stage_item(item: tuple[Assignment, Partition]) -> PartResult:
    return stage(*item)


def _begin(
    lock: stagewise.Lock,
    task: Task,
    session: Session,
    tables: Collection[str],
    recorder: Recorder,  # noqa: ARG001 (a hook of TransactionHooks)
) -> bool:
    """Begin the transaction that merges, after all parts are staged, so that its snapshot has them.

    It changes the ledger's row first of all. A seeder that began because our lock was lost would have to
    change that row, too, so only one of both can commit.
    """
    lock.check()
    session.begin()
    session.exclude_writers(tables)
    if session.ledger.generation() != task.memory.generation:
        raise TargetChanged("another seed wrote to the database during this run")
    session.ledger.begin_run()
    return True


# ---- what became of the parts ---------------------------------------------------------------------------


def _staged_rows(rows: Rows, spread_load: _SpreadLoad, parts: Sequence[PartResult]) -> Rows:
    """Put the rows of a load together from the results of its parts, in the order of the files."""
    firsts, count = [], 0
    handles, names = [], []
    for part, before in zip(parts, _rows_before(parts), strict=True):
        firsts.append(count)
        count += part.rows
        if part.rows:
            handles.append(part.handles.with_columns(pl.col(ROW) + before))
            names.append(part.names.with_columns(pl.col(ROW) + before))
    load = rows.load
    empty = add_handles(rows.shaped.frame, load, spread_load.assignment.naming).drop(rows.shaped.columns)
    handled = Handled(load=load, frame=pl.concat([empty, *handles]))
    staged = Staged(
        staging=replace(spread_load.assignment.staging, firsts=tuple(firsts)),
        names=pl.concat(names),
        answers=[answer for part in parts for answer in part.answers],
    )
    return Rows(shaped=rows.shaped, handled=handled, staged=staged)


def _rows_before(parts: Sequence[PartResult]) -> Iterator[int]:
    """Count for each part the rows of its file that lie before it."""
    rows: dict[int, int] = {}
    for part in parts:
        before = rows.get(part.partition.file, 0)
        rows[part.partition.file] = before + part.rows
        yield before
