"""The commands that run: seed, plan, and what undoes a seed."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from seedlab.cli.printing import complain, explain, show, width

if TYPE_CHECKING:
    from pathlib import Path

    from seedlab.cli.request import Request
    from seedlab.flow import Project, Run, Target
    from seedlab.insight.measuring.monitor import Monitor

MUCH = 1 << 20  # bytes of files: with less, one thread reads them all


def seed(args: Namespace) -> int:
    """Seed a target, once or whenever a file is saved."""
    return _watch(args) if args.watch else _tell(args, *_attempt(args))


def _attempt(args: Namespace) -> tuple[Run | None, BaseException | None]:
    """Seed, or undo; gives the run, also one that failed, and why. No run: the request was not understood."""
    from dataclasses import replace

    from seedlab.cli.request import request_of
    from seedlab.insight.measuring.monitor import Monitor
    from seedlab.insight.records import runs

    monitor = Monitor(closely=bool(getattr(args, "trace", None)))
    request = target = None
    try:
        request = request_of(args)
        from seedlab import orchestrator  # heavy: a misspelled name should not wait for it

        target = orchestrator.open_target(request.choice, request.project)
        with _watched(args, monitor):
            if args.command == "seed":
                project = _informed(args, request, monitor, target)
                run = orchestrator.seed(project, target, request.options, monitor)
            else:
                stages, undone = tuple(getattr(args, "stage", ())), getattr(args, "run", None)
                run = orchestrator.undo(
                    request.project, target, request.options, monitor, stages=stages, run=undone
                )
        return runs.judged(replace(run, args=request.line)), None
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - it has a record too
        if request is None:
            return None, error
        return runs.judged(runs.failed(monitor, request.heading(target), error)), error


def _informed(args: Namespace, request: Request, monitor: Monitor, target: Target) -> Project:
    """Give the project with the times its seeds took, where their order makes a difference; the monitor
    learns how long it usually takes.
    """
    project = request.project
    files = (file for seed in project.every_seed for file in seed.files)
    if request.options.commit == "run" and sum(file.path.stat().st_size for file in files) < MUCH:
        return project
    from pathlib import Path

    from seedlab.insight.records import history, runs
    from seedlab.operations import forecasting

    earlier = history.newest(Path(args.reports or "reports"))
    heading = runs.measured(monitor, request.heading(target))
    informed, usual = forecasting.experience_of(project, earlier, heading)
    monitor.expected = usual.seconds if usual else None
    return informed


def undo(args: Namespace) -> int:
    """Delete the rows that seedlab made, of stages or of one run."""
    return _tell(args, *_attempt(args))


def _watch(args: Namespace) -> int:
    """Seed, and seed again whenever a file of the project is saved."""
    from seedlab.cli import watching
    from seedlab.cli.request import request_of

    project = request_of(args).project  # what is not understood at the beginning ends it
    begun = "" if args.quiet else f"watching {project.name}; Ctrl-C ends\n"
    return watching.watch(
        watching.Folder(project, args.reports or "reports"),
        run=lambda saved: _tell(args, *_attempt(args), watching.heading(saved)),
        begun=lambda: complain(begun),
    )


def _tell(args: Namespace, run: Run | None, failure: BaseException | None, why: str = "") -> int:
    """Keep the record of a run, show what came of it, and give its exit code; `why` says why it ran again."""
    kept = _keep(args, run, quiet=args.quiet or bool(why)) if run else ""
    if failure is not None:
        complain(f"{why}:\n" if why else "")
        exit_code = explain(args, failure, run)
    else:
        assert run is not None
        exit_code = _show_run(args, run, why)
    complain(kept)
    return exit_code


def _keep(args: Namespace, run: Run, *, quiet: bool) -> str:
    """Write the run record, and a trace if one was asked for, and say where."""
    from pathlib import Path

    from seedlab.insight.records import history

    kept = _kept("record", lambda: history.write(run, Path(args.reports or "reports")), quiet=quiet)
    if name := getattr(args, "trace", None):
        from seedlab.insight.records import trace

        kept += _kept("trace", lambda: trace.write(run, Path(name)), quiet=quiet)
    return kept


def _kept(what: str, write: Callable[[], Path], *, quiet: bool) -> str:
    """Write, and say where; a failure here leaves the exit code, for the data is written."""
    from seedlab.errors import ConfigurationError

    try:
        path = write()
    except ConfigurationError as error:
        return f"! {error}\n"
    return "" if quiet else f"{what}: {path}\n"


def _show_run(args: Namespace, run: Run, why: str) -> int:
    from seedlab.insight.faces import summary as faces
    from seedlab.insight.records import history

    text = faces.outcome_line(run, why) if why else faces.summary(run, width())
    show(args, text, lambda: history.to_record(run))
    if run.faults and not args.json:
        complain(faces.faults_text(run.faults, show_values=args.show_values, width=width()))
    return run.exit_code


def plan(args: Namespace) -> int:
    """Say what a seed would do, and how long that would take."""
    from pathlib import Path

    from seedlab import orchestrator
    from seedlab.cli.request import request_of
    from seedlab.insight.faces import summary as faces
    from seedlab.insight.faces.forecast_text import forecast_record, forecast_text
    from seedlab.insight.measuring.monitor import Monitor
    from seedlab.insight.records import history, runs
    from seedlab.operations import forecasting

    monitor = Monitor()
    request = request_of(args)
    target = orchestrator.open_target(request.choice, request.project)
    with _watched(args, monitor):
        planned = orchestrator.plan(request.project, target, request.options, monitor, rows=args.rows)
    run = runs.measured(monitor, request.heading(target))
    earlier = history.newest(Path(args.reports or "reports"))
    forecast = forecasting.forecast(request.project, planned, run, earlier)
    changes = faces.changes_text(planned.changes, show_values=args.show_values)
    show(
        args,
        faces.plan_text(planned, width()) + forecast_text(forecast, width()) + changes,
        lambda: {
            **history.plan_record(run, planned, show_values=args.show_values),
            "forecast": forecast_record(forecast),
        },
    )
    return args.exit_on_change or 0 if planned.outcomes.total != planned.outcomes.unchanged else 0


def _watched(args: Namespace, monitor: Monitor) -> AbstractContextManager[None]:
    """Show progress on standard error: drawn for a person, lines for a log, nothing with --quiet."""
    from seedlab import progress

    mode = progress.chosen(os.environ)
    if args.json and mode == "auto":
        mode = "plain"
    return progress.watched(monitor, sys.stderr, "off" if args.quiet else mode)
