"""The commands `seed`, `plan`, `reset` and `rollback`."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from seedlab.cli.printing import report_error, show, width, write_stderr

if TYPE_CHECKING:
    from pathlib import Path

    from seedlab.cli.request import Request
    from seedlab.flow import Project, Run, Target
    from seedlab.insight.measuring.monitor import Monitor

MUCH = 1 << 20  # bytes of files; fewer are read by one thread, so that the order does not matter


def seed(args: Namespace) -> int:
    """Seed a target, once or, with --watch, whenever a file is saved."""
    return _watch(args) if args.watch else _finish(args, *_run(args))


def _run(args: Namespace) -> tuple[Run | None, BaseException | None]:
    """Seed, reset or roll back; return the run and, if it failed, the error.

    The run is None if the arguments or the project are wrong, so that nothing began.
    """
    from dataclasses import replace

    from seedlab.cli.request import request_of
    from seedlab.insight.measuring.monitor import Monitor
    from seedlab.insight.records import runs

    monitor = Monitor(closely=bool(getattr(args, "trace", None)))
    request = target = None
    try:
        request = request_of(args)
        from seedlab import orchestrator  # slow to import, and not needed to report wrong arguments

        target = orchestrator.open_target(request.choice, request.project)
        with _progress_shown(args, monitor):
            if args.command == "seed":
                project = _with_experience(args, request, monitor, target)
                run = orchestrator.seed(project, target, request.options, monitor)
            else:
                stages, undone = tuple(getattr(args, "stage", ())), getattr(args, "run", None)
                run = orchestrator.undo(
                    request.project, target, request.options, monitor, stages=stages, run=undone
                )
        return runs.with_findings(replace(run, args=request.line)), None
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - a failed run has a record, too
        if request is None:
            return None, error
        return runs.with_findings(runs.build_failed_run(monitor, request.heading(target), error)), error


def _with_experience(args: Namespace, request: Request, monitor: Monitor, target: Target) -> Project:
    """Return the project with estimates from earlier runs, by which the longest seeds start first.

    Also tells the monitor how long a run usually takes. Projects whose order makes no difference are returned
    as they are, without reading the history.
    """
    project = request.project
    files = (file for seed in project.every_seed for file in seed.files)
    if request.options.commit == "run" and sum(file.path.stat().st_size for file in files) < MUCH:
        return project
    from seedlab.insight.records import history, runs
    from seedlab.operations import forecasting

    earlier = history.newest(args.reports)
    heading = runs.build_run(monitor, request.heading(target))
    informed, usual = forecasting.experience_of(project, earlier, heading)
    monitor.expected = usual.seconds if usual else None
    return informed


def undo(args: Namespace) -> int:
    """Delete rows that seedlab created: those of stages (`reset`) or of one run (`rollback`)."""
    return _finish(args, *_run(args))


def _watch(args: Namespace) -> int:
    """Seed, and seed again whenever a file of the project is saved."""
    from seedlab.cli import watching
    from seedlab.cli.request import request_of

    project = request_of(args).project  # wrong arguments end the command before it begins to watch
    message = "" if args.quiet else f"watching {project.name}; Ctrl-C ends\n"
    return watching.watch(
        watching.Folder(project, args.reports),
        run=lambda saved: _finish(args, *_run(args), watching.heading(saved)),
        begun=lambda: write_stderr(message),
    )


def _finish(args: Namespace, run: Run | None, failure: BaseException | None, why: str = "") -> int:
    """Write the record of a run, show its result, and return its exit code; `why` says why it ran again."""
    written = _write_records(args, run, quiet=args.quiet or bool(why)) if run else ""
    if failure is not None:
        write_stderr(f"{why}:\n" if why else "")
        exit_code = report_error(args, failure, run)
    else:
        assert run is not None
        exit_code = _show_run(args, run, why)
    write_stderr(written)
    return exit_code


def _write_records(args: Namespace, run: Run, *, quiet: bool) -> str:
    """Write the record of a run, and its trace with --trace; return messages that say where."""
    from pathlib import Path

    from seedlab.insight.records import history

    messages = _written("record", lambda: history.write(run, args.reports), quiet=quiet)
    if name := getattr(args, "trace", None):
        from seedlab.insight.records import trace

        messages += _written("trace", lambda: trace.write(run, Path(name)), quiet=quiet)
    return messages


def _written(what: str, write: Callable[[], Path], *, quiet: bool) -> str:
    """Write a file and return a message that says where.

    A failure does not change the exit code, since the data has been written.
    """
    from seedlab.errors import ConfigurationError

    try:
        path = write()
    except ConfigurationError as error:
        return f"! {error}\n"
    return "" if quiet else f"{what}: {path}\n"


def _show_run(args: Namespace, run: Run, why: str) -> int:
    from seedlab.insight.formatting import summary as formatting
    from seedlab.insight.records import history

    text = formatting.outcome_line(run, why) if why else formatting.summary(run, width())
    show(args, text, lambda: history.to_record(run))
    if run.faults and not args.json:
        write_stderr(formatting.faults_text(run.faults, show_values=args.show_values, width=width()))
    return run.exit_code


def plan(args: Namespace) -> int:
    """Show what a seed would do, and how long it would take."""
    from seedlab import orchestrator
    from seedlab.cli.request import request_of
    from seedlab.insight.formatting import summary as formatting
    from seedlab.insight.formatting.forecast_text import forecast_record, forecast_text
    from seedlab.insight.measuring.monitor import Monitor
    from seedlab.insight.records import history, runs
    from seedlab.operations import forecasting

    monitor = Monitor()
    request = request_of(args)
    target = orchestrator.open_target(request.choice, request.project)
    with _progress_shown(args, monitor):
        planned = orchestrator.plan(request.project, target, request.options, monitor, rows=args.rows)
    run = runs.build_run(monitor, request.heading(target))
    earlier = history.newest(args.reports)
    forecast = forecasting.forecast(request.project, planned, run, earlier)
    changes = formatting.changes_text(planned.changes, show_values=args.show_values)
    show(
        args,
        formatting.plan_text(planned, width()) + forecast_text(forecast, width()) + changes,
        lambda: {
            **history.plan_record(run, planned, show_values=args.show_values),
            "forecast": forecast_record(forecast),
        },
    )
    return args.exit_on_change or 0 if planned.outcomes.total != planned.outcomes.unchanged else 0


def _progress_shown(args: Namespace, monitor: Monitor) -> AbstractContextManager[None]:
    """Show progress on standard error: a dashboard in a terminal, lines in a log, nothing with --quiet."""
    from seedlab import progress

    mode = progress.read_mode(os.environ)
    if args.json and mode == "auto":
        mode = "plain"
    return progress.shown(monitor, sys.stderr, "off" if args.quiet else mode)
