"""The commands: arguments in, text or JSON and an exit code out. Only this module prints or exits.

Everything of ours is imported by the command that needs it, so that `--help` stays light.
"""

from __future__ import annotations

import io
import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from seedlab.arguments import build_parser, parse

if TYPE_CHECKING:
    from seedlab.flow import Run
    from seedlab.insight.monitor import Monitor

_COLOURS = {"✓": "32", "+": "32", "-": "2", "!": "33", "✗": "31"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    line = sys.argv[1:] if arguments is None else list(arguments)
    _tolerate_narrow_encodings()
    try:
        args = parse(line, os.environ)
    except SystemExit as done:  # argparse has printed what there is to say
        return int(done.code or 0)
    args.line = ("seedlab", *line)
    if args.version:
        return _print_version()
    if args.command is None:
        build_parser().print_help(sys.stderr)
        return 2
    try:
        return _COMMANDS[args.command](args)
    except BrokenPipeError:
        # The reader of our output went away; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last one who can tell
        return _explain(args, error)


# ---- seed and plan --------------------------------------------------------------------------------------


def _seed(args: Namespace) -> int:
    return _watch(args) if args.watch else _tell(args, *_attempt(args))


def _attempt(args: Namespace) -> tuple[Run | None, BaseException | None]:
    """Seed, or undo; gives the run, also one that failed, and why. No run: the request was not understood."""
    from dataclasses import replace

    from seedlab.insight import runs
    from seedlab.insight.monitor import Monitor
    from seedlab.request import request_of

    monitor = Monitor()
    heading = None
    try:
        request = request_of(args)
        from seedlab import orchestrator  # heavy: a misspelled name should not wait for it

        heading = request.heading()
        target = orchestrator.open_target(request.choice, request.project)
        heading = request.heading(target)
        with _watched(args, monitor):
            if args.command == "seed":
                run = orchestrator.seed(request.project, target, request.options, monitor)
            else:
                stages, undone = tuple(getattr(args, "stage", ())), getattr(args, "run", None)
                run = orchestrator.undo(
                    request.project, target, request.options, monitor, stages=stages, run=undone
                )
        return replace(run, args=heading.args), None
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - it has a record too
        return runs.failed(monitor, heading, error) if heading else None, error


def _undo(args: Namespace) -> int:
    return _tell(args, *_attempt(args))


def _watch(args: Namespace) -> int:
    """Seed, and seed again whenever a file of the project is saved."""
    from seedlab import watching
    from seedlab.request import request_of

    project = request_of(args).project  # what is not understood at the beginning ends it
    begun = "" if args.quiet else f"watching {project.name}; Ctrl-C ends\n"
    return watching.watch(
        watching.Folder(project, args.reports or "reports"),
        run=lambda saved: _tell(args, *_attempt(args), watching.heading(saved)),
        begun=lambda: _complain(begun),
    )


def _tell(args: Namespace, run: Run | None, failure: BaseException | None, why: str = "") -> int:
    """Keep the record of a run, show what came of it, and give its exit code; `why` says why it ran again."""
    kept = _keep(args, run, quiet=args.quiet or bool(why)) if run else ""
    if failure is not None:
        _complain(f"{why}:\n" if why else "")
        exit_code = _explain(args, failure, run)
    else:
        assert run is not None
        exit_code = _show_run(args, run, why)
    _complain(kept)
    return exit_code


def _keep(args: Namespace, run: Run, *, quiet: bool) -> str:
    """Write the run record and say where; a failure here leaves the exit code, for the data is written."""
    from pathlib import Path

    from seedlab.errors import ConfigurationError
    from seedlab.insight import history

    try:
        path = history.write(run, Path(args.reports or "reports"))
    except ConfigurationError as error:
        return f"! {error}\n"
    return "" if quiet else f"record: {path}\n"


def _show_run(args: Namespace, run: Run, why: str) -> int:
    from seedlab.insight import faces, history

    text = faces.outcome_line(run, why) if why else faces.summary(run, _width())
    _show(args, text, lambda: history.to_record(run))
    if run.faults and not args.json:
        _complain(faces.faults_text(run.faults, show_values=args.show_values, width=_width()))
    return run.exit_code


def _plan(args: Namespace) -> int:
    from seedlab import orchestrator
    from seedlab.insight import faces, history, runs
    from seedlab.insight.monitor import Monitor
    from seedlab.request import request_of

    monitor = Monitor()
    request = request_of(args)
    target = orchestrator.open_target(request.choice, request.project)
    with _watched(args, monitor):
        plan = orchestrator.plan(request.project, target, request.options, monitor, rows=args.rows)
    run = runs.measured(monitor, request.heading(target))
    text = faces.plan_text(plan, _width()) + faces.changes_text(plan.changes, show_values=args.show_values)
    _show(args, text, lambda: history.plan_record(run, plan, show_values=args.show_values))
    return args.exit_on_change or 0 if plan.outcomes.total != plan.outcomes.unchanged else 0


def _watched(args: Namespace, monitor: Monitor) -> AbstractContextManager[None]:
    """Show progress on standard error: bars for a person, lines for a log, nothing when asked to be quiet."""
    if args.quiet:
        return nullcontext()
    from seedlab.progress import watched

    return watched(monitor, sys.stderr, bars=not args.json)


# ---- commands that read ---------------------------------------------------------------------------------


def _check(args: Namespace) -> int:
    from seedlab import orchestrator
    from seedlab.request import project_of, reading_options

    project = project_of(args)
    notes = orchestrator.check(project, reading_options(args, project))
    lines = [f"✓ {project.name}: no faults found", *(f"! {note}" for note in notes)]
    record = {"project": project.name, "status": "succeeded", "exit_code": 0, "notes": [*notes], "errors": []}
    _show(args, "\n".join(lines) + "\n", lambda: record)
    return 0


def _ls(args: Namespace) -> int:
    from seedlab.insight import faces
    from seedlab.request import project_of

    project = project_of(args)
    _show(args, faces.project_text(project, _width()), lambda: faces.project_record(project))
    return 0


def _graph(args: Namespace) -> int:
    from seedlab import looking
    from seedlab.errors import ConfigurationError
    from seedlab.plan import graph
    from seedlab.request import project_of

    project = project_of(args)
    if not project.stages:
        raise ConfigurationError(
            f"{project.name} declares no stages: they follow from the foreign keys of the target;"
            " see them with seedlab plan"
        )
    edges = looking.edges(project)
    draw = graph.to_mermaid if args.mermaid else graph.to_text
    record = {
        "project": project.name,
        "stages": [stage.id for stage in project.stages],
        "edges": [{"before": each.before, "after": each.after, "origin": each.origin} for each in edges],
    }
    _show(args, draw(project.stages, edges) + "\n", lambda: record)
    return 0


def _status(args: Namespace) -> int:
    from seedlab import orchestrator
    from seedlab.insight import status_text
    from seedlab.insight.monitor import Monitor
    from seedlab.request import request_of
    from seedlab.status import status

    request = request_of(args)
    target = orchestrator.open_target(request.choice, request.project)
    found = status(request.project, target, request.options, Monitor())
    _show(args, status_text.status_text(found, _width()), lambda: status_text.status_record(found))
    return 1 if found.ledger == "unreadable" else 0


def _doctor(args: Namespace) -> int:
    from dataclasses import asdict
    from pathlib import Path

    from seedlab.doctor import Patient, examine, findings_text

    findings = examine(
        Patient(
            directory=Path(args.directory) if args.directory else None,
            database_url=args.database_url,
            target=args.target,
            environ=os.environ,
        )
    )
    _show(args, findings_text(findings, _width()), lambda: {"checks": [asdict(each) for each in findings]})
    return 1 if any(each.status == "fail" for each in findings) else 0


# ---- commands that make something -----------------------------------------------------------------------


def _init(args: Namespace) -> int:
    from pathlib import Path

    from seedlab.plan import scaffold

    directory = Path(args.directory)
    files = scaffold.files(directory.resolve().name)
    scaffold.write(directory, files)
    text = f"wrote {', '.join(map(str, files))} to {directory}\nnext: seedlab seed {directory}\n"
    _show(args, text, lambda: {"directory": str(directory), "files": [str(name) for name in files]})
    return 0


def _generate(args: Namespace) -> int:
    from pathlib import Path

    from seedlab.generation import generate
    from seedlab.request import project_of

    made = generate(project_of(args), rows=args.rows, out=Path(args.out), format=args.format)
    text = (
        f"wrote {made.rows:,} rows ({made.repetitions:,} times the project's own) in {len(made.files)} files "
        f"to {args.out}\nnext: seedlab seed {args.out}\n"
    )
    record = {"directory": args.out, "rows": made.rows, "repetitions": made.repetitions}
    _show(args, text, lambda: {**record, "files": [str(path) for path in made.files]})
    return 0


def _server(args: Namespace) -> int:
    from seedlab.database import server

    if args.action == "url":
        return _server_url(args)
    act = {"start": server.start, "stop": server.stop, "status": server.status, "clean": server.clean}
    seen = act[args.action](os.environ)
    state = f"running, process {seen.pid}" if seen.running else "not running"
    record = {"running": seen.running, "pid": seen.pid, "major": seen.major, "home": str(seen.home)}
    _show(args, f"PostgreSQL {seen.major}: {state}, in {seen.home}\n", lambda: record)
    return 0


def _server_url(args: Namespace) -> int:
    """Print how to connect to the project's database, starting the server so that it can be used at once."""
    from seedlab.database import server
    from seedlab.request import project_of

    url = server.ensure_database(server.start(os.environ), server.database_name(project_of(args).name))
    _show(args, f"{url}\n", lambda: {"url": url}, essential=True)
    return 0


def _print_version() -> int:
    from importlib.metadata import version

    print(f"seedlab {version('seedlab')}")
    return 0


# ---- what is printed ------------------------------------------------------------------------------------


def _show(
    args: Namespace, text: str, record: Callable[[], Mapping[str, Any]], *, essential: bool = False
) -> None:
    """Print the text, or with --json the record; --quiet leaves only what was asked for by name."""
    if args.json:
        sys.stdout.write(_as_json(args, record()))
    elif essential or not args.quiet:
        sys.stdout.write(_coloured(text, sys.stdout))
    sys.stdout.flush()


def _as_json(args: Namespace, record: Mapping[str, Any]) -> str:
    """Spell a record for people who read JSON too, or, where many follow each other, in one line."""
    from seedlab.insight.history import to_json, to_line

    return to_line(record) if getattr(args, "watch", False) else to_json(record)


def _explain(args: Namespace, error: BaseException, run: Run | None = None) -> int:
    """Say what went wrong and what to do, and give the exit code; passwords are masked."""
    from seedlab.errors import DataFaults, SeedError
    from seedlab.insight import faces, history, runs
    from seedlab.insight.monitor import Monitor

    if args.json:
        run = run or runs.failed(Monitor(), runs.Heading(args=args.line), error)
        sys.stdout.write(_as_json(args, history.to_record(run)))
        sys.stdout.flush()
    if args.debug:
        _complain(_traceback(error))
    if isinstance(error, DataFaults):
        _complain(faces.faults_text(error.faults, show_values=args.show_values, width=_width()))
    known = isinstance(error, SeedError | KeyboardInterrupt)
    advice = "" if known or args.debug else "\nthis is a fault of seedlab; --debug shows where it happened"
    hint = (
        "; --show-values shows row values" if isinstance(error, DataFaults) and not args.show_values else ""
    )
    _complain(f"✗ {runs.message_of(error)}{hint}{advice}\n")
    return runs.verdict(error)[1]


def _traceback(error: BaseException) -> str:
    import traceback

    from seedlab.errors import masked

    return masked("".join(traceback.format_exception(error)))


def _complain(text: str) -> None:
    sys.stderr.write(_coloured(text, sys.stderr))
    sys.stderr.flush()


def _coloured(text: str, stream: io.TextIOBase | Any) -> str:
    """Colour the marks at the beginnings of lines, in a terminal that is not told otherwise."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return text
    return re.sub("(?m)^[✓+!✗-](?= )", lambda mark: f"\x1b[{_COLOURS[mark[0]]}m{mark[0]}\x1b[0m", text)


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((120, 24)).columns


def _tolerate_narrow_encodings() -> None:
    """Escape what a terminal's encoding lacks, rather than fail after the work is done."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


_COMMANDS: Mapping[str, Callable[[Namespace], int]] = {
    "seed": _seed,
    "plan": _plan,
    "reset": _undo,
    "rollback": _undo,
    "check": _check,
    "ls": _ls,
    "graph": _graph,
    "status": _status,
    "doctor": _doctor,
    "init": _init,
    "generate": _generate,
    "server": _server,
}
