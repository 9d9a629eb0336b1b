"""The order of the work, and the only module that knows it: look, decide, run, report.

look       connect beside hashing the files; catalog and ledger               (looking)
decide     which stages have something to do, and why                         (agenda)
run        files → frames → loads → handles → checks → one transaction        (pipeline, writing)
report     what became of every row, by stage and seed                        (reporting)

A run with nothing to do must be quick to import, so the modules that work on rows are imported only when
there is something to do.
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
from seedlab.errors import DataFaults
from seedlab.flow import Options, Project, Recorder, Run, Target
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records.runs import Heading, new_run_id
from seedlab.plan import graph, guards
from seedlab.plan.choices import TargetChoice
from seedlab.plan.revision import commit_of
from seedlab.steps import reporting
from seedlab.steps.agenda import (
    Assessment,
    FileState,
    RunResult,
    Task,
    agenda_of,
    assess,
    data_fingerprint,
    file_hashes,
    file_states,
    unchanged_tally,
)
from seedlab.steps.looking import Look, edges_in, look_offline, open_another_look, open_look
from seedlab.steps.writing.retrying import Attempts

if TYPE_CHECKING:
    from seedlab.flow import Plan

EMBEDDED = "embedded"
EXPLAINED_SECONDS = 1.0  # of runs that take longer the round trip is measured, to say where the time went


# ---- the calls ------------------------------------------------------------------------------------------


def open_target(choice: TargetChoice, project: Project) -> Target:
    """Make the target that was chosen; without a URL, start the embedded server."""
    if choice.url is not None:
        # A relative path in the project's file is relative to the project, one on the command line is
        # relative to the working directory.
        root = project.root if choice.name is not None else None
        return connect.parse_target(
            choice.url, choice.origin, name=choice.name, environment=choice.environment, root=root
        )
    from seedlab.database.embedded import server  # needed for the embedded server only

    url = server.start(os.environ).url(server.database_name(project.name))
    return connect.parse_target(url, EMBEDDED, environment=choice.environment)


def seed(project: Project, target: Target, options: Options, monitor: Monitor) -> Run:
    """Seed the target, which afterwards is as the files say, or as it was before.

    Raises ConfigurationError, DataFaults, Refused, LockHeld, ConnectionFailed or WriteError. Then nothing was
    written, unless each stage is committed by itself: `monitor.half_done` is the run as far as it got.
    """
    guards.check_commit(options)
    if options.dry_run:
        guards.check_dry_run(options.environment)
    guards.check_target(target, options.environment, options.yes_seed)
    if options.max_delete is not None:
        guards.allowed_deletes(options.max_delete, 0)  # raises for a misspelled limit before any work
    with looking_at(project, target, options, monitor) as look:
        files, hashes = file_states(project), file_hashes(project)
        attempts = Attempts(options.wait)

        def attempt() -> Run:
            task = _task(project, options, look, monitor, hashes, files)
            return _seed(replace(task, exclusive=attempts.exclusive), target, look, monitor)

        run = attempts.run(attempt, look, monitor)
        before, after = look.wal_before(), look.session.wal_position()
        explained = monitor.closely or run.seconds >= EXPLAINED_SECONDS
        round_trip = look.session.round_trip_seconds() if explained else None
    wal_bytes = after - before if before is not None and after is not None else None
    return replace(run, wal_bytes=wal_bytes, round_trip_seconds=round_trip)


def _seed(task: Task, target: Target, look: Look, monitor: Monitor) -> Run:
    """Run the stages that have to run, and report all of them.

    Raises what ended the run; if some stages were committed before, `monitor.half_done` reports them.
    """
    memory, assessment = task.memory, task.assessment
    result = _watched(task, target, look, monitor) if assessment.stale else RunResult()
    skipped = {**assessment.skipped(memory), **result.skipped}
    unchanged = [unchanged_tally(load) for load in memory.loads if load.stage in skipped]
    tallies = [*unchanged, *result.tallies]
    task = task.with_reasons(result.reasons)
    heading, catalog = _heading(task.project, task.options, target), look.catalog()
    made = reporting.seed_run(task, {**skipped, **result.not_begun}, tallies, monitor, heading, result.failed)
    run = replace(
        reporting.with_unindexed_references(made, catalog),
        run_id=task.run_id,
        faults=result.rejected,
        exit_code=DataFaults.exit_code if result.rejected else made.exit_code,
        data_fingerprint=data_fingerprint(task.agenda.seeds, assessment.inputs.files),
        versions={**made.versions, catalog.dialect: catalog.version},
    )
    if result.failure:
        monitor.half_done = run
        raise result.failure
    return run


def _watched(task: Task, target: Target, look: Look, monitor: Monitor) -> RunResult:
    """Write, while a thread samples memory and what the server does."""
    from seedlab.steps.sampling import sampled  # a run with nothing to do does not need it

    with sampled(task.project.name, target, monitor, look.wal_before):
        return _write(task, target, look, monitor)


def _write(task: Task, target: Target, look: Look, monitor: Monitor) -> RunResult:
    """Run the stale stages: in one transaction, or each in a transaction of its own."""
    settings = task.options.settings

    def open_another() -> Look:
        return open_another_look(task.project, target, settings, monitor)

    if task.options.commit == "run":
        from seedlab.steps.parallel.coordinator import run

        return run(task, look, monitor, target, open_another)
    from seedlab.steps.writing.stagewise import run_stages

    return run_stages(task, look, monitor, open_another)


def _task(
    project: Project,
    options: Options,
    look: Look,
    monitor: Monitor,
    hashes: Mapping[str, str],
    files: Mapping[str, FileState] = MappingProxyType({}),
) -> Task:
    """Decide what has to run, and why.

    If files changed, they are prepared while a server computes whether its tables changed.
    """
    agenda, run_id = agenda_of(project, options, look), new_run_id()
    early: list[Task] = []

    def task_of(assessment: Assessment) -> Task:
        stale = assessment.stale
        monitor.plan({each.id: "waiting" if each.id in stale else "skipped" for each in agenda.stages})
        return Task(
            project=project,
            options=options,
            agenda=agenda,
            assessment=assessment,
            memory=look.memory(),
            files=files,
            run_id=run_id,
            started=monitor.started.isoformat(),
        )

    def on_changed_files(assessment: Assessment) -> Callable[[], None]:
        from seedlab.steps.recalling.unchanged_rows import fetch_changed_loads
        from seedlab.steps.reducing import prepare_early

        task = task_of(assessment)
        fetched = fetch_changed_loads(task, look.session)

        def prepare() -> None:
            if fetched and (prepared := prepare_early(task, look, monitor, fetched)) is not None:
                early.append(replace(task, prepared_early=prepared))

        return prepare

    in_one = options.commit == "run"  # otherwise each stage is prepared when it is its turn
    assessment = assess(project, agenda, hashes, look, options, on_changed_files if in_one else None)
    if early and not assessment.drifted:
        return replace(early[0], assessment=assessment)
    return task_of(assessment)


def undo(
    project: Project,
    target: Target,
    options: Options,
    monitor: Monitor,
    *,
    stages: tuple[str, ...] = (),
    run: str | None = None,
) -> Run:
    """Delete the rows that seedlab created: those of these stages, of one run, or all.

    Raises Refused where rows that seedlab did not create refer to them, or where the run to be undone also
    updated or deleted rows, whose old values are not kept.
    """
    from seedlab.steps import undoing

    guards.check_reset(target, options.environment, options.yes_seed)
    with looking_at(project, target, options, monitor) as look:
        request = undoing.UndoRequest(
            project=project,
            options=options,
            run_id=new_run_id(),
            started=monitor.started.isoformat(),
            stages=frozenset(stages),
            run=run,
        )
        tallies = Attempts(options.wait).run(lambda: undoing.undo(request, look, monitor), look, monitor)
        catalog = look.catalog()
    undone = reporting.undo_run(request.run_id, tallies, monitor, _heading(project, options, target))
    return reporting.with_unindexed_references(undone, catalog)


def plan(project: Project, target: Target, options: Options, monitor: Monitor, *, rows: bool = False) -> Plan:
    """Say what `seed` would do; nothing is written, and no sequence is advanced.

    With `rows` the plan lists every row that would change, with its columns.
    """
    from seedlab.steps.previewing import plan_of, preview

    with looking_at(project, target, options, monitor) as look:
        task = _task(project, options, look, monitor, file_hashes(project))
        preview_result = preview(task, look, monitor, differences=rows)
        needless = graph.needless(edges_in(look.catalog(), task.agenda.declared))
    made = plan_of(task, target, preview_result)
    return replace(made, notes=monitor.notes, needless=needless)


def check(project: Project, options: Options) -> tuple[str, ...]:
    """Check a project without a database, against its own MetaData; returns notes.

    Raises DataFaults or ConfigurationError. What only a database can check is left out, and noted.
    """
    from seedlab.steps.pipeline import prepare, resolve

    monitor = Monitor()
    look = look_offline(project)
    task = _task(project, options, look, monitor, file_hashes(project))
    prepared = prepare(task, look, monitor, task.stale)
    resolve(look, prepared, task, monitor)
    suspects = [each for each in prepared.broken if each.rule.suspect]
    columns = sorted({f"{each.load.table}.{each.rule.column}" for each in suspects})
    values = sum(each.frame.height for each in suspects)
    not_judged = f"values that only a database can check were not checked ({values} in {', '.join(columns)})"
    return (
        *monitor.notes,
        "checked without a database: rows that it may already hold were not considered",
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
        from seedlab.database.embedded import server

        server.ensure_database(server.start(os.environ), target.database)

    with ThreadPoolExecutor(1, thread_name_prefix="seedlab-connect") as pool:
        missing = create_database if target.origin == EMBEDDED else None
        look = open_look(pool, project, target, options.settings, recorder, missing)
        try:
            yield look
        finally:
            look.close()
