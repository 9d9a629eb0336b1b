"""The order of the work, and the only module that knows it: look, decide, run, report.

look       connect beside hashing the files; catalog and ledger               (looking)
decide     which stages have something to do, and why                         (agenda)
run        files → frames → loads → handles → checks → one transaction        (running)
report     what became of every row, by stage and seed                        (reporting)

Light: what a run with nothing to do needs. All that works on rows is imported when there is some to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from seedlab.database import connect
from seedlab.errors import DataFaults, TargetChanged
from seedlab.flow import Options, Project, Recorder, Run, Target
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records.runs import Heading, new_run_id
from seedlab.plan import graph, guards
from seedlab.plan.choices import TargetChoice
from seedlab.plan.revision import commit_of
from seedlab.steps import reporting
from seedlab.steps.agenda import (
    FileState,
    Standing,
    Task,
    agenda_of,
    as_it_was,
    data_fingerprint,
    file_hashes,
    file_states,
    standing_of,
)
from seedlab.steps.looking import Look, edges_in, look_beside, look_offline, open_look
from seedlab.steps.writing.retrying import TRIES, refuse_to_try_again, told

if TYPE_CHECKING:
    from seedlab.flow import Plan
    from seedlab.steps.writing.transaction import Done

EMBEDDED = "embedded"
WORTH_A_LOOK = 1.0  # seconds: of a run that took longer it is told where the time went


# ---- the calls ------------------------------------------------------------------------------------------


def open_target(choice: TargetChoice, project: Project) -> Target:
    """Settle which database is meant; without a URL the embedded server is started."""
    if choice.url is not None:
        # A file that the project names lies beside the project, one that a person types lies where they are.
        root = project.root if choice.name is not None else None
        return connect.parse_target(
            choice.url, choice.origin, name=choice.name, environment=choice.environment, root=root
        )
    from seedlab.database import server  # a target of one's own has no use for it

    url = server.start(os.environ).url(server.database_name(project.name))
    return connect.parse_target(url, EMBEDDED, environment=choice.environment)


def seed(project: Project, target: Target, options: Options, monitor: Monitor) -> Run:
    """Seed the target: afterwards it is as the files say, or as it was before.

    Raises ConfigurationError, DataFaults, Refused, LockHeld, ConnectionFailed or WriteError; nothing is then
    written, but where stages are committed by themselves: `monitor.half_done` tells which were.
    """
    guards.check_commit(options)
    if options.dry_run:
        guards.check_dry_run(options.environment)
    guards.check_target(target, options.environment, options.yes_seed)
    if options.max_delete is not None:
        guards.allowed_deletes(options.max_delete, 0)  # a misspelled limit is told before any work
    with looking_at(project, target, options, monitor) as look:
        files, hashes = file_states(project), file_hashes(project)
        for attempt in range(TRIES):
            try:
                task = _task(project, options, look, monitor, hashes, files)
                run = _seed(task, target, look, monitor)
                break
            except (TargetChanged, DataFaults) as error:
                if monitor.half_done is not None:
                    raise
                refuse_to_try_again(error, attempt)
                monitor.note(f"{told(error)}; trying again")
            look.session.rollback()
            look.again()
        before, after = look.wal_before(), look.session.wal_position()
        looked = monitor.closely or run.seconds >= WORTH_A_LOOK
        trip = look.session.round_trip_seconds() if looked else None
    wal_bytes = after - before if before is not None and after is not None else None
    return replace(run, wal_bytes=wal_bytes, round_trip_seconds=trip)


def _seed(task: Task, target: Target, look: Look, monitor: Monitor) -> Run:
    """Run what has to run; report that and all that need not."""
    memory, standing = task.memory, task.standing
    done = _watched(task, target, look, monitor) if standing.stale else None
    skipped = {**standing.skipped(memory), **(done.skipped if done else {})}
    tallies = [as_it_was(load) for load in memory.loads if load.stage in skipped]
    tallies += done.tallies if done else ()
    skipped |= done.not_begun if done else {}
    task = task.told(done.reasons) if done else task
    heading, catalog = _heading(task.project, task.options, target), look.catalog()
    made = reporting.run_of(task, skipped, tallies, monitor, heading, done.failed if done else {})
    rejected = done.rejected if done else ()
    run = replace(
        reporting.unindexed(made, catalog),
        run_id=task.run_id,
        faults=rejected,
        exit_code=DataFaults.exit_code if rejected else made.exit_code,
        data_fingerprint=data_fingerprint(task.agenda.seeds, standing.situation.files),
        versions={**made.versions, catalog.dialect: catalog.version},
    )
    if done and done.failure:
        monitor.half_done = run
        raise done.failure
    return run


def _watched(task: Task, target: Target, look: Look, monitor: Monitor) -> Done:
    """Write, while a thread samples memory and the server."""
    from seedlab.steps.sampling import sampled  # a thread, which a run with nothing to do does not need

    with sampled(task.project.name, target, monitor, look.wal_before):
        return _write(task, target, look, monitor)


def _write(task: Task, target: Target, look: Look, monitor: Monitor) -> Done:
    """Write what has to be written: all at once, or stage by stage."""
    settings = task.options.settings

    def beside() -> Look:
        return look_beside(task.project, target, settings, monitor)

    if task.options.commit == "run":
        from seedlab.steps.parallel.coordinator import run  # polars, and all that works on rows

        return run(task, look, monitor, target, beside)
    from seedlab.steps.writing.stagewise import run_stages

    return run_stages(task, look, monitor, beside)


def _task(
    project: Project,
    options: Options,
    look: Look,
    monitor: Monitor,
    hashes: Mapping[str, str],
    files: Mapping[str, FileState] = MappingProxyType({}),
) -> Task:
    """Decide what has to run, and why."""
    agenda, made = agenda_of(project, options, look), new_run_id()
    ahead: list[Task] = []

    def task_of(standing: Standing) -> Task:
        stale = standing.stale
        monitor.plan({each.id: "waiting" if each.id in stale else "skipped" for each in agenda.stages})
        return Task(
            project=project,
            options=options,
            agenda=agenda,
            standing=standing,
            memory=look.memory(),
            files=files,
            run_id=made,
            started=monitor.started.isoformat(),
        )

    def meanwhile(standing: Standing) -> Callable[[], None]:
        from seedlab.steps.pipeline import prepared_ahead
        from seedlab.steps.recalling.unchanged_rows import of_changed  # polars, and all that works on rows

        task = task_of(standing)
        fetched = of_changed(task, look.session)

        def prepare() -> None:
            if fetched and (prepared := prepared_ahead(task, look, monitor, fetched)) is not None:
                ahead.append(replace(task, ahead=prepared))

        return prepare

    once = options.commit == "run"  # else each stage is prepared when its turn has come
    standing = standing_of(project, agenda, hashes, look, options, meanwhile if once else None)
    return replace(ahead[0], standing=standing) if ahead and not standing.drifted else task_of(standing)


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
    from seedlab.steps import undoing

    guards.check_reset(target, options.environment, options.yes_seed)
    with looking_at(project, target, options, monitor) as look:
        asked = undoing.Undo(
            project=project,
            options=options,
            run_id=new_run_id(),
            started=monitor.started.isoformat(),
            stages=frozenset(stages),
            run=run,
        )
        tallies = undoing.undo(asked, look, monitor)
        catalog = look.catalog()
    undone = reporting.undone(asked.run_id, tallies, monitor, _heading(project, options, target))
    return reporting.unindexed(undone, catalog)


def plan(project: Project, target: Target, options: Options, monitor: Monitor, *, rows: bool = False) -> Plan:
    """Say what `seed` would do, up to the writing; nothing is written, no sequence steps.

    With `rows` every row that would change is told, with its columns.
    """
    from seedlab.steps.previewing import plan_of, preview

    with looking_at(project, target, options, monitor) as look:
        task = _task(project, options, look, monitor, file_hashes(project))
        previewed = preview(task, look, monitor, differences=rows)
        needless = graph.needless(edges_in(look.catalog(), task.agenda.declared))
    made = plan_of(task, target, previewed)
    return replace(made, notes=monitor.notes, needless=needless)


def check(project: Project, options: Options) -> tuple[str, ...]:
    """Check a project without a database, against its own MetaData; returns notes.

    Raises DataFaults or ConfigurationError. What only a database knows is left out and said in a note.
    """
    from seedlab.steps.pipeline import prepare, resolve

    monitor = Monitor()
    look = look_offline(project)
    task = _task(project, options, look, monitor, file_hashes(project))
    prepared = prepare(task, look, monitor, task.stale)
    resolve(look, prepared, task, monitor)
    doubtful = [each for each in prepared.broken if each.rule.suspect]
    columns = sorted({f"{each.load.table}.{each.rule.column}" for each in doubtful})
    values = sum(each.frame.height for each in doubtful)
    not_judged = f"values that only a database can judge were not ({values} in {', '.join(columns)})"
    return (
        *monitor.notes,
        "checked without a database: rows it may have already were not looked up",
        *([not_judged] if values else ()),
    )


def _heading(project: Project, options: Options, target: Target) -> Heading:
    return Heading(
        project=project.name,
        target=target.shown,
        environment=options.environment.name,
        settings=options.settings,
        commit=commit_of(project.root),
    )


@contextmanager
def looking_at(project: Project, target: Target, options: Options, recorder: Recorder) -> Iterator[Look]:
    """Connect and read the catalog in a thread while the caller reads files; close at the end."""

    def create_database() -> None:
        from seedlab.database import server

        server.ensure_database(server.start(os.environ), target.database)

    with ThreadPoolExecutor(1, thread_name_prefix="seedlab-connect") as pool:
        missing = create_database if target.origin == EMBEDDED else None
        look = open_look(pool, project, target, options.settings, recorder, missing)
        try:
            yield look
        finally:
            look.close()
