"""The writing of a run: one transaction, in which the target is asked, written and told what to remember."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from seedlab.database.writer import Session
from seedlab.errors import CannotOrderRows, DataFaults, Fault, TargetChanged, WriteError
from seedlab.flow import (
    Catalog,
    Level,
    Recorder,
    Table,
    Tally,
    WritePlan,
)
from seedlab.frames.resolve import Naming
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records import history
from seedlab.steps.agenda import Task
from seedlab.steps.looking import Look
from seedlab.steps.pipeline import (
    Apart,
    Prepared,
    Resolved,
    completed,
    prepare,
    resolve,
    set_apart,
)
from seedlab.steps.reducing import prepare_changes
from seedlab.steps.remembering import stage_memory
from seedlab.steps.remembering.table_state import IncrementalTables, incremental_tables, spell_out
from seedlab.steps.resolving import rejecting, write_plan
from seedlab.steps.resolving.named_rows import Rows
from seedlab.steps.writing import ledger
from seedlab.steps.writing.committing import commit
from seedlab.steps.writing.ledger import ExecutedPlan
from seedlab.steps.writing.retrying import CONFLICTS

LEGACY: Level = "legacy"
SAVED_AGAIN = "saved again, but no row changed"
NO_LEDGER = (
    "nothing is remembered in this target, since we may not make the schema seedlab, or not read it: every "
    "run compares every row; GRANT CREATE ON DATABASE, or the use of that schema, lets a run skip what has "
    "not changed"
)
DRY_RUN = "this was a dry run: all of it was rolled back"
_PASSES = 100  # of writing what is left after the target refused single rows


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What became of every row of the stages that ran, and why others turned out to have nothing to do.

    Where each stage is committed by itself, `failure` is what ended the run before all were, `failed` says
    why stages were undone, and `not_begun` why others were not come to.
    """

    tallies: tuple[Tally, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    rejected: tuple[Fault, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    not_begun: Mapping[str, str] = field(default_factory=dict)
    failure: BaseException | None = None


Write = Callable[[Task, Look, Prepared, Monitor], RunResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """How a transaction is begun, telling whether there is a ledger, and what must hold when it commits."""

    begin: Callable[[Task, Session, Recorder], bool]
    check: Callable[[], None] = lambda: None


def run(
    task: Task, look: Look, monitor: Monitor, write: Write | None = None, apart: Apart | None = None
) -> RunResult:
    """Run the stale stages; nothing is written where no row turns out to differ from what is remembered.

    `write` writes what was prepared, by default in one transaction; `apart` says what it goes through itself.
    Raises TargetChanged when another session came between: look again, decide again.
    """
    prepared = prepare_changes(task, look, monitor, apart)
    intact = prepared.intact
    if intact:
        monitor.plan(dict.fromkeys(intact, "skipped"))
        smaller = task.without_intact(intact)
        told = dict.fromkeys(intact, SAVED_AGAIN)
        if not smaller.stale:
            waiting = {stage.id: "unchanged" for stage in task.stale}
            return RunResult(skipped={**waiting, **told})
        if len(smaller.stale) < len(task.stale):
            done = run(smaller, look, monitor, write, apart)
            verdicts = smaller.assessment.verdicts
            reasons = {stage.id: verdicts[stage.id].reason or "" for stage in smaller.stale}
            return replace(done, skipped={**done.skipped, **told}, reasons={**reasons, **done.reasons})
    return attempt(task, look, prepared, monitor, write or write_once)


def attempt(task: Task, look: Look, prepared: Prepared, monitor: Monitor, write: Write) -> RunResult:
    """Write what was prepared; where the changed rows alone do not tell enough, prepare and write all."""
    try:
        return write(task, look, prepared, monitor)
    except WriteError as error:
        if error.sqlstate not in CONFLICTS:
            raise
        raise TargetChanged(f"another session came between ({error.sqlstate})") from error
    except DataFaults as found:
        if prepared.reduced:
            look.session.rollback()
            return attempt(task, look, prepare(task, look, monitor, task.stale), monitor, write)
        shaped = [each.shaped for each in prepared.read]
        raise DataFaults(completed(found.faults, shaped)) from None


def write_once(
    task: Task, look: Look, prepared: Prepared, monitor: Monitor, gate: Gate | None = None
) -> RunResult:
    """Write in one transaction, by default one that locks out other seeders by itself."""
    session, ddl, gate = look.session, look.ddl(), gate or Gate(begin=lock)
    remembers = gate.begin(task, session, monitor)
    if ddl.tables:
        with monitor.span("index"):
            session.create(ddl.tables)
    resolved = resolve(look, prepared, task, monitor)
    resolved, executed = _send(task, look, prepared, resolved, monitor)
    if ddl.constraints_and_indexes:
        with monitor.span("index"):
            session.create(ddl.constraints_and_indexes)
    with monitor.span("commit"):
        made = _as_made(session, prepared) if ddl.tables else prepared
        if remembers and not task.only_stage:
            session.ledger.begin_to_remember()
        written_run = ledger.written_run_of(task, session, made, resolved, executed)
        tallies = (
            ledger.remember(task, look, written_run, resolved)
            if remembers
            else ledger.tallies_of(written_run, resolved)
        )
        done = RunResult(tallies=tallies, rejected=_write_rejects(task, prepared, resolved))
        if task.options.dry_run:
            session.verify()
            session.rollback()
            monitor.note(DRY_RUN)
        else:
            gate.check()
            commit(task, look, monitor, remembered=remembers)
    return done


def lock(task: Task, session: Session, recorder: Recorder) -> bool:
    """Begin; with a ledger, lock out other seeders and see that none has come between."""
    memory = task.memory
    remembers = memory.possible and memory.exists
    if memory.possible and not memory.exists and not task.options.dry_run:
        with recorder.span("index"):
            remembers = session.ledger.ensure()
    if not remembers and not task.options.dry_run:
        recorder.note(NO_LEDGER)
    session.begin()
    if remembers and session.lock(task.options.wait) != memory.generation:
        raise TargetChanged("another seed has written since we looked")
    return remembers


# ---- rows -----------------------------------------------------------------------------------------------


def _send(
    task: Task, look: Look, prepared: Prepared, resolved: Resolved, recorder: Recorder
) -> tuple[Resolved, ExecutedPlan]:
    """Write all rows, or with rejects all that can be written."""
    if task.options.rejects is None:
        try:
            return resolved, _send_all(task, look, prepared, resolved, recorder)
        except DataFaults as found:
            raise _placed(found, task, look, prepared, resolved) from None
    plan = _planned(task, look, prepared.naming, resolved)
    if refused := rejecting.broken_by_checks(look.session.broken_checks(plan), resolved.rows):
        resolved = set_apart(look, resolved, refused, prepared.naming)
    look.session.savepoint()
    for _ in range(_PASSES):
        try:
            return resolved, _send_all(task, look, prepared, resolved, recorder)
        except DataFaults as found:
            refused, others = rejecting.broken_by_database(found.faults, resolved.rows)
            look.session.rollback_to_savepoint()
            if {fault.rule for fault in others} == {"unique"}:  # of a set, but of which row
                plan = _planned(task, look, prepared.naming, resolved)
                refused, others = rejecting.broken_by_checks(look.session.clashes(plan), resolved.rows), []
            if others or not refused:
                raise
            resolved = set_apart(look, resolved, refused, prepared.naming)
    raise WriteError(
        f"the target refused rows {_PASSES} times over; mend those of the last run's record first"
    )


def _placed(found: DataFaults, task: Task, look: Look, prepared: Prepared, resolved: Resolved) -> DataFaults:
    """Find the rows that a constraint refuses, where the database did not say which row it was."""
    session = look.session
    askings = {"constraint": session.broken_checks, "unique": session.clashes}
    told = any(fault.rule not in askings or fault.file for fault in found.faults)
    if told or prepared.reduced or look.ddl().tables or any(each.staged for each in resolved.rows):
        return found
    session.rollback()
    session.begin()
    plan = _planned(task, look, prepared.naming, resolved)
    refused = rejecting.broken_by_checks(askings[found.faults[0].rule](plan), resolved.rows)
    return DataFaults(rejecting.faults(resolved.rows, refused)) if refused else found


def _send_all(
    task: Task, look: Look, prepared: Prepared, resolved: Resolved, recorder: Recorder
) -> ExecutedPlan:
    """Write row by row or set by set; only the latter takes values from sequences before."""
    expect(resolved.rows, recorder)
    session, naming, settings = look.session, prepared.naming, task.options.settings
    if not prepared.reduced:
        spell_out(session.ledger, stage_memory.partly_written(task, look, prepared), recorder)
    if settings.level == LEGACY:
        try:
            plan = _ordered(task, naming, resolved)
            written = session.write_rows(write_plan.sourced(resolved.rows, naming, plan))
        except CannotOrderRows as circle:
            recorder.note(f"{circle}; they are written set by set")
        else:  # the database made the ids, and what is remembered needs them
            again = replace(prepared, rows=resolved.rows, broken=())
            known = resolve(look, again, task, recorder, empty=frozenset())
            write_plan.expose(known.rows, naming, known.cache)
            return ExecutedPlan(plan=_ordered(task, naming, known), written=written)
    with recorder.span("resolve"):
        plan = _planned(task, look, naming, resolved)
    incremental = IncrementalTables()
    if prepared.reduced:
        with recorder.span("commit"):
            remembered, found = task.memory.tables, task.assessment.table_states
            incremental = incremental_tables(session.ledger, plan, prepared.reduced, remembered, found)
        others = stage_memory.partly_written(task, look, prepared, incremental.rows)
        spell_out(session.ledger, others, recorder)
    written = session.write(plan, settings.switches)
    return ExecutedPlan(plan=plan, written=written, incremental=incremental)


def expect(rows: Sequence[Rows], recorder: Recorder) -> None:
    """Tell what is to be sent, of which nothing is yet."""
    for each in rows:
        recorder.expect(each.load, each.height)


def _planned(task: Task, look: Look, naming: Naming, resolved: Resolved) -> WritePlan:
    rows = write_plan.with_sequences(resolved.rows, naming, resolved.cache, look.session.reserve)
    return _ordered(task, naming, replace(resolved, rows=rows))


def _ordered(task: Task, naming: Naming, resolved: Resolved) -> WritePlan:
    settings = task.options.settings
    plan = write_plan.plan_writes(resolved.rows, naming, resolved.cache, settings, resolved.empty)
    return replace(plan, ours=_ours(task, naming.catalog, plan))


def _ours(task: Task, catalog: Catalog, plan: WritePlan) -> Mapping[str, Table]:
    """The tables that the project fills, in this run or before; others are read by whom we do not know.

    In a protected environment nobody who reads shall wait.
    """
    if task.options.environment.protected:
        return {}
    filled = {write.table.name for group in plan.groups for write in group} | task.memory.tables.keys()
    return {name: catalog.tables[name] for name in sorted(filled & catalog.tables.keys())}


def _write_rejects(task: Task, prepared: Prepared, resolved: Resolved) -> tuple[Fault, ...]:
    """Write the records of rejected rows, and tell why each was."""
    if not resolved.rejected:
        return ()
    if task.options.rejects is not None and not task.options.dry_run:
        folder = history.folder_of(task.options.rejects, task.started, task.run_id) / "rejects"
        rejecting.write_files(resolved.rows, resolved.rejected, prepared.catalog, folder)
    return tuple(rejecting.faults(resolved.rows, resolved.rejected))


def _as_made(session: Session, prepared: Prepared) -> Prepared:
    """Give what was prepared the catalog that has the tables just created."""
    catalog = prepared.catalog
    catalog = replace(catalog, tables={**catalog.tables, **session.made().tables})
    session.adopt(catalog)
    return replace(prepared, catalog=catalog)
