"""Runs stages in one transaction: locks out other seeders, resolves, writes, remembers and commits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from seedlab.database.writer import Session
from seedlab.errors import CannotOrderRows, DataFaults, Fault, TargetChanged, WriteError
from seedlab.flow import Catalog, Level, Recorder, Table, WritePlan
from seedlab.frames.resolve import Naming
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records import history
from seedlab.steps.agenda import RunResult, Task
from seedlab.steps.looking import Look
from seedlab.steps.pipeline import (
    ChooseSpread,
    Prepared,
    Resolved,
    prepare,
    reject_rows,
    resolve,
    with_lines,
)
from seedlab.steps.reducing import prepare_changes
from seedlab.steps.remembering import stage_memory
from seedlab.steps.remembering.table_state import IncrementalTables, incremental_tables, store_marks
from seedlab.steps.resolving import rejecting, write_plan
from seedlab.steps.resolving.rows import Rows
from seedlab.steps.writing import ledger
from seedlab.steps.writing.committing import commit
from seedlab.steps.writing.ledger import ExecutedPlan
from seedlab.steps.writing.retrying import CONFLICTS

LEGACY: Level = "legacy"
ROWS_UNCHANGED = "files were saved again, but no row changed"
NO_LEDGER = (
    "no ledger is kept in this target, since this user may not create or not read the schema seedlab: "
    "every run compares every row; GRANT CREATE ON DATABASE, or USAGE of that schema and rights on its "
    "tables, lets a run skip what has not changed"
)
DRY_RUN = "this was a dry run: all of it was rolled back"
_MAX_ROUNDS = 100  # of rejecting rows that the target refuses and writing the others again


Write = Callable[[Task, Look, Prepared, Monitor], RunResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionHooks:
    """How a transaction begins, and what is checked before it commits.

    `begin` keeps other writers out of the tables that it is given, and returns whether there is a ledger to
    write to; `check` raises where the run must not commit.
    """

    begin: Callable[[Task, Session, Collection[str], Recorder], bool]
    check: Callable[[], None] = lambda: None


def run(
    task: Task,
    look: Look,
    monitor: Monitor,
    write: Write | None = None,
    choose_spread: ChooseSpread | None = None,
) -> RunResult:
    """Run the stale stages, and skip those of which no row differs from what is remembered.

    `write` writes what was prepared, by default in one transaction; `choose_spread` chooses the loads of
    which it reads the rows itself. Raises TargetChanged when another session has written since the look, and
    what `prepare` and `write_once` raise.
    """
    prepared = prepare_changes(task, look, monitor, choose_spread)
    intact = prepared.intact
    if intact:
        monitor.plan(dict.fromkeys(intact, "skipped"))
        remaining = task.without_intact(intact)
        skipped = dict.fromkeys(intact, ROWS_UNCHANGED)
        if not remaining.stale:
            dependents = {stage.id: "unchanged" for stage in task.stale}
            return RunResult(skipped={**dependents, **skipped})
        if len(remaining.stale) < len(task.stale):
            result = run(remaining, look, monitor, write, choose_spread)
            verdicts = remaining.assessment.verdicts
            reasons = {stage.id: verdicts[stage.id].reason or "" for stage in remaining.stale}
            return replace(
                result, skipped={**result.skipped, **skipped}, reasons={**reasons, **result.reasons}
            )
    return write_prepared(task, look, prepared, monitor, write or write_once)


def write_prepared(task: Task, look: Look, prepared: Prepared, monitor: Monitor, write: Write) -> RunResult:
    """Write what was prepared.

    If the stages are reduced to changed rows, and some of these turn out to be wrong, all rows are prepared
    and written instead. Then the faults of all rows are reported together, or there are none, because a row
    seemed wrong only as long as the unchanged rows were not read. Raises TargetChanged if another transaction
    has written the same rows in the meantime.
    """
    try:
        return write(task, look, prepared, monitor)
    except WriteError as error:
        if error.sqlstate not in CONFLICTS:
            raise
        raise TargetChanged(
            f"another session wrote to the same tables during this run ({error.sqlstate})"
        ) from error
    except DataFaults as found:
        if prepared.reduced:
            look.session.rollback()
            return write_prepared(task, look, prepare(task, look, monitor, task.stale), monitor, write)
        shaped = [each.shaped for each in prepared.read]
        raise DataFaults(with_lines(found.faults, shaped)) from None


def write_once(
    task: Task, look: Look, prepared: Prepared, monitor: Monitor, hooks: TransactionHooks | None = None
) -> RunResult:
    """Write what was prepared in one transaction; `hooks` begins it, by default with `lock`.

    Raises DataFaults for rows that are wrong or that the target refuses, WriteError for all else.
    """
    session, ddl, hooks = look.session, look.ddl(), hooks or TransactionHooks(begin=lock)
    contended = {load.table for load in prepared.bound.loads} if task.exclusive else ()
    remembers = hooks.begin(task, session, contended, monitor)
    if ddl.tables:
        with monitor.span("index"):
            session.create(ddl.tables)
    task = stage_memory.read_shared_keyless(task, look, prepared) if remembers else task
    resolved = resolve(look, prepared, task, monitor)
    resolved, executed = _write_rows(task, look, prepared, resolved, monitor)
    if ddl.constraints_and_indexes:
        with monitor.span("index"):
            session.create(ddl.constraints_and_indexes)
    with monitor.span("commit"):
        as_created = _with_created_tables(session, prepared) if ddl.tables else prepared
        if remembers and not task.only_stage:
            session.ledger.begin_to_remember()
        written_run = ledger.written_run_of(task, session, as_created, resolved, executed)
        tallies = (
            ledger.remember(task, look, written_run, resolved)
            if remembers
            else ledger.tallies_of(written_run, resolved)
        )
        result = RunResult(tallies=tallies, rejected=_write_reject_files(task, prepared, resolved))
        if task.options.dry_run:
            session.verify()
            session.rollback()
            monitor.note(DRY_RUN)
        else:
            hooks.check()
            commit(task, look, monitor, remembered=remembers)
    return result


def lock(task: Task, session: Session, tables: Collection[str], recorder: Recorder) -> bool:
    """Begin the transaction and, if there is a ledger, lock out other seeders; tells whether there is one.

    All other writers are kept out of `tables`.
    Raises LockHeld, and TargetChanged where another seeder has written since the look.
    """
    memory = task.memory
    remembers = memory.possible and memory.exists
    if memory.possible and not memory.exists and not task.options.dry_run:
        with recorder.span("index"):
            remembers = session.ledger.ensure()
    if not remembers and not task.options.dry_run:
        recorder.note(NO_LEDGER)
    session.begin()
    if remembers:
        if session.lock(task.options.wait, tables) != memory.generation:
            raise TargetChanged("another seed wrote to the database during this run")
    else:
        session.exclude_writers(tables)
    return remembers


# ---- rows -----------------------------------------------------------------------------------------------


def _write_rows(
    task: Task, look: Look, prepared: Prepared, resolved: Resolved, recorder: Recorder
) -> tuple[Resolved, ExecutedPlan]:
    """Write all rows; if rows may be rejected, all that can be written."""
    if task.options.rejects is None:
        try:
            return resolved, _write_all(task, look, prepared, resolved, recorder)
        except DataFaults as found:
            raise _with_rows_found(found, task, look, prepared, resolved) from None
    # Most refusals are found by queries before anything is written, all at once. What only a write shows, as
    # a trigger that raises, is found in rounds: the rows refused are rejected, the others written again.
    plan = _plan_with_ids(task, look, prepared.naming, resolved)
    if refused := rejecting.broken_by_checks(look.session.broken_checks(plan), resolved.rows):
        resolved = reject_rows(look, resolved, refused, prepared.naming)
    look.session.savepoint()
    for _ in range(_MAX_ROUNDS):
        try:
            return resolved, _write_all(task, look, prepared, resolved, recorder)
        except DataFaults as found:
            refused, others = rejecting.broken_by_database(found.faults, resolved.rows)
            look.session.rollback_to_savepoint()
            if {fault.rule for fault in others} == {"unique"}:  # the database did not say which row it was
                plan = _plan_with_ids(task, look, prepared.naming, resolved)
                refused, others = rejecting.broken_by_checks(look.session.clashes(plan), resolved.rows), []
            if others or not refused:
                raise
            resolved = reject_rows(look, resolved, refused, prepared.naming)
    raise WriteError(
        f"the target refused rows in each of {_MAX_ROUNDS} attempts; correct the rows that the last run's "
        "record lists, and run again"
    )


def _with_rows_found(
    found: DataFaults, task: Task, look: Look, prepared: Prepared, resolved: Resolved
) -> DataFaults:
    """Find the rows that a constraint refuses, where the database did not say which rows these are."""
    session = look.session
    queries = {"constraint": session.broken_checks, "unique": session.clashes}
    has_rows = any(fault.rule not in queries or fault.file for fault in found.faults)
    if has_rows or prepared.reduced or look.ddl().tables or any(each.staged for each in resolved.rows):
        return found
    session.rollback()
    session.begin()
    plan = _plan_with_ids(task, look, prepared.naming, resolved)
    refused = rejecting.broken_by_checks(queries[found.faults[0].rule](plan), resolved.rows)
    return DataFaults(rejecting.faults(resolved.rows, refused)) if refused else found


def _write_all(
    task: Task, look: Look, prepared: Prepared, resolved: Resolved, recorder: Recorder
) -> ExecutedPlan:
    """Write all rows: row by row at the level `legacy`, else table by table.

    Row by row the database makes the ids while it inserts, so they are looked up afterwards, for the ledger.
    """
    announce_rows(resolved.rows, recorder)
    session, naming, settings = look.session, prepared.naming, task.options.settings
    if not prepared.reduced:
        store_marks(session.ledger, stage_memory.partly_written(task, look, prepared), recorder)
    if settings.level == LEGACY:
        try:
            plan = _plan_writes(task, naming, resolved)
            written = session.write_rows(write_plan.sourced_rows(resolved.rows, naming, plan))
        except CannotOrderRows as error:
            recorder.note(str(error))
        else:
            prepared = replace(prepared, rows=resolved.rows, broken=())
            resolved = resolve(look, prepared, task, recorder, empty=frozenset())
            write_plan.expose(resolved.rows, naming, resolved.cache)
            return ExecutedPlan(plan=_plan_writes(task, naming, resolved), written=written)
    with recorder.span("resolve"):
        plan = _plan_with_ids(task, look, naming, resolved)
    incremental = IncrementalTables()
    if prepared.reduced:
        with recorder.span("commit"):
            remembered, found = task.memory.tables, task.assessment.table_states
            incremental = incremental_tables(session.ledger, plan, prepared.reduced, remembered, found)
        others = stage_memory.partly_written(task, look, prepared, incremental.rows)
        store_marks(session.ledger, others, recorder)
    written = session.write(plan, settings.switches)
    return ExecutedPlan(plan=plan, written=written, incremental=incremental)


def announce_rows(rows: Sequence[Rows], recorder: Recorder) -> None:
    """Tell the recorder how many rows of each load are about to be written."""
    for each in rows:
        recorder.expect(each.load, each.height)


def _plan_with_ids(task: Task, look: Look, naming: Naming, resolved: Resolved) -> WritePlan:
    """Plan the writes, after taking ids from sequences for new rows that others refer to."""
    rows = write_plan.with_sequences(resolved.rows, naming, resolved.cache, look.session.reserve)
    return _plan_writes(task, naming, replace(resolved, rows=rows))


def _plan_writes(task: Task, naming: Naming, resolved: Resolved) -> WritePlan:
    settings = task.options.settings
    plan = write_plan.plan_writes(resolved.rows, naming, resolved.cache, settings, resolved.empty)
    return replace(plan, ours=_project_tables(task, naming.catalog, plan))


def _project_tables(task: Task, catalog: Catalog, plan: WritePlan) -> Mapping[str, Table]:
    """Map the tables whose readers may have to wait for a large load: those that the project fills.

    Other tables may have readers of whom we know nothing. In a protected environment no reader waits.
    """
    if task.options.environment.protected:
        return {}
    filled = {write.table.name for write in plan.writes} | task.memory.tables.keys()
    return {name: catalog.tables[name] for name in sorted(filled & catalog.tables.keys())}


def _write_reject_files(task: Task, prepared: Prepared, resolved: Resolved) -> tuple[Fault, ...]:
    """Write the records of rejected rows to files; returns a fault for each of the rows."""
    if not resolved.rejected:
        return ()
    if task.options.rejects is not None and not task.options.dry_run:
        folder = history.folder_of(task.options.rejects, task.started, task.run_id) / "rejects"
        rejecting.write_files(resolved.rows, resolved.rejected, prepared.catalog, folder)
    return tuple(rejecting.faults(resolved.rows, resolved.rejected))


def _with_created_tables(session: Session, prepared: Prepared) -> Prepared:
    """Read the definitions of the tables just created, as the database has them, into the catalog."""
    catalog = prepared.catalog
    catalog = replace(catalog, tables={**catalog.tables, **session.catalog_in_transaction().tables})
    session.adopt(catalog)
    return replace(prepared, catalog=catalog)
