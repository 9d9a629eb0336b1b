"""The order of the work, and the only module that knows it: look, decide, run, report.

look       connect beside hashing the files; catalog and ledger               (looking)
decide     which stages have something to do, and why                         (agenda)
run        files → frames → loads → handles → checks → one transaction        (running)
report     what became of every row, by stage and seed                        (reporting)

Light: what a run with nothing to do needs. All that works on rows is imported when there is some to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from seedlab import reporting
from seedlab.agenda import Task, agenda_of, as_it_was, data_fingerprint, file_hashes, standing_of
from seedlab.database import connect, server
from seedlab.errors import DataFaults, Fault, TargetChanged, WriteError
from seedlab.flow import Options, Plan, Project, Run, Tally, Target
from seedlab.insight.monitor import Monitor
from seedlab.insight.runs import Heading, new_run_id
from seedlab.looking import Look, look_offline, open_look
from seedlab.plan import guards
from seedlab.plan.choices import TargetChoice

EMBEDDED = "embedded"
_TRIES = 3


# ---- the calls ------------------------------------------------------------------------------------------


def open_target(choice: TargetChoice, project: Project) -> Target:
    """Settle which database is meant; without a URL the embedded server is started."""
    if choice.url is not None:
        # A file that the project names lies beside the project, one that a person types lies where they are.
        root = project.root if choice.name is not None else None
        return connect.parse_target(
            choice.url, choice.origin, name=choice.name, environment=choice.environment, root=root
        )
    url = server.start(os.environ).url(server.database_name(project.name))
    return connect.parse_target(url, EMBEDDED, environment=choice.environment)


def seed(project: Project, target: Target, options: Options, monitor: Monitor) -> Run:
    """Seed the target: afterwards it is as the files say, or as it was before.

    Raises ConfigurationError, DataFaults, Refused, LockHeld, ConnectionFailed or WriteError; nothing is then
    written.
    """
    if options.dry_run:
        guards.check_dry_run(options.environment)
    guards.check_target(target, options.environment, options.yes_seed)
    if options.max_delete is not None:
        guards.allowed_deletes(options.max_delete, 0)  # a misspelled limit is told before any work
    with _looking(project, target, options, monitor) as look:
        hashes = file_hashes(project)
        before = look.session.wal_position()
        for attempt in range(_TRIES):
            try:
                task = _task(project, options, look, monitor, hashes)
                run = _seed(task, target, look, monitor)
                break
            except (TargetChanged, DataFaults) as error:
                _refuse_to_try_again(error, attempt)
                monitor.note(f"{_told(error)}; trying again")
            look.session.rollback()
            look.again()
        after = look.session.wal_position()
    return replace(run, wal_bytes=after - before if before is not None and after is not None else None)


def _seed(task: Task, target: Target, look: Look, monitor: Monitor) -> Run:
    """Run what has to run; report that and all that need not."""
    memory, standing = task.memory, task.standing
    skipped = standing.skipped(memory)
    tallies: list[Tally] = []
    rejected: tuple[Fault, ...] = ()
    if standing.stale:
        from seedlab.writing import run  # polars, and all that works on rows

        done = run(task, look, monitor)
        skipped |= done.skipped
        tallies += done.tallies
        rejected = done.rejected
    tallies += [as_it_was(load) for load in memory.loads if load.stage in skipped]
    catalog = look.catalog()
    made = reporting.run_of(task, skipped, tallies, monitor, _heading(task.project, task.options, target))
    return replace(
        made,
        run_id=task.run_id,
        faults=rejected,
        exit_code=DataFaults.exit_code if rejected else made.exit_code,
        data_fingerprint=data_fingerprint(task.agenda.seeds, standing.situation.files),
        versions={**made.versions, catalog.dialect: catalog.version},
    )


def _task(
    project: Project, options: Options, look: Look, monitor: Monitor, hashes: Mapping[str, str]
) -> Task:
    """Decide what has to run, and why."""
    agenda = agenda_of(project, options, look)
    return Task(
        project=project,
        options=options,
        agenda=agenda,
        standing=standing_of(project, agenda, hashes, look, options),
        memory=look.memory(),
        run_id=new_run_id(),
        started=monitor.started.isoformat(),
    )


def undo(
    project: Project,
    target: Target,
    options: Options,
    monitor: Monitor,
    *,
    stages: tuple[str, ...] = (),
    run: str | None = None,
) -> Run:
    """Delete the rows that seedlab made: of these stages, of one run, or all; children first.

    Raises Refused where rows that it did not make refer to them, or where old values would be needed.
    """
    from seedlab import undoing

    guards.check_reset(target, options.environment, options.yes_seed)
    with _looking(project, target, options, monitor) as look:
        asked = undoing.Undo(
            project=project,
            options=options,
            run_id=new_run_id(),
            started=monitor.started.isoformat(),
            stages=frozenset(stages),
            run=run,
        )
        tallies = undoing.undo(asked, look)
    return reporting.undone(asked.run_id, tallies, monitor, _heading(project, options, target))


def _refuse_to_try_again(error: TargetChanged | DataFaults, attempt: int) -> None:
    """Raise the error unless looking again may help: three times for a target that changed, once for a row
    that is refused as there already: it may be one that another session has added meanwhile.
    """
    if isinstance(error, TargetChanged):
        if attempt < _TRIES - 1:
            return
        cause = error.__cause__
        raise cause if isinstance(cause, WriteError) else error
    if attempt or not any(fault.rule == "unique" and fault.line is None for fault in error.faults):
        raise error


def _told(error: TargetChanged | DataFaults) -> str:
    if isinstance(error, TargetChanged):
        return str(error)
    return "the target has a row that it had not when we looked"


def plan(project: Project, target: Target, options: Options, monitor: Monitor, *, rows: bool = False) -> Plan:
    """Say what `seed` would do, up to the writing; nothing is written, no sequence steps.

    With `rows` every row that would change is told, with its columns.
    """
    from seedlab.previewing import preview

    with _looking(project, target, options, monitor) as look:
        task = _task(project, options, look, monitor, file_hashes(project))
        previewed = preview(task, look, monitor, differences=rows)
    made = reporting.plan_of(task, target, previewed)
    return replace(made, notes=monitor.notes)


def check(project: Project, options: Options) -> tuple[str, ...]:
    """Check a project without a database, against its own MetaData; returns notes.

    Raises DataFaults or ConfigurationError. What only a database knows is left out and said in a note.
    """
    from seedlab.running import prepare, resolve

    monitor = Monitor()
    look = look_offline(project)
    task = _task(project, options, look, monitor, file_hashes(project))
    resolve(look, prepare(task, look, monitor, task.stale), task, monitor)
    return (*monitor.notes, "checked without a database: rows it may have already were not looked up")


def _heading(project: Project, options: Options, target: Target) -> Heading:
    return Heading(
        project=project.name,
        target=target.shown,
        environment=options.environment.name,
        settings=options.settings,
    )


@contextmanager
def _looking(project: Project, target: Target, options: Options, monitor: Monitor) -> Iterator[Look]:
    """Connect and read the catalog in a thread while the caller reads files; close at the end."""

    def create_database() -> None:
        server.ensure_database(server.start(os.environ), target.database)

    with ThreadPoolExecutor(1, thread_name_prefix="seedlab-connect") as pool:
        missing = create_database if target.origin == EMBEDDED else None
        look = open_look(pool, project, target, options.settings, monitor, missing)
        try:
            yield look
        finally:
            look.close()
