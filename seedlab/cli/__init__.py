"""The command line: dispatches to the commands, and turns their errors into messages and exit codes.

Only this package prints and exits. Each command imports what it needs itself, so that `--help` stays fast.
"""

from __future__ import annotations

import gc
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from importlib import import_module

from seedlab.cli.arguments import build_parser, parse
from seedlab.cli.printing import report_error, tolerate_narrow_encodings, write_stderr
from seedlab.errors import ConfigurationError

# The number of new objects after which Python collects garbage. A seed with nothing to do creates 56,000,
# nearly all of them in modules, which stay; collecting among them took 12 ms.
_GC_THRESHOLD = 60_000
# The module of this package and the function that carry out each command.
_COMMANDS = {
    "seed": ("seeding", "seed"),
    "plan": ("seeding", "plan"),
    "reset": ("seeding", "undo"),
    "rollback": ("seeding", "undo"),
    "check": ("reading", "check"),
    "ls": ("reading", "ls"),
    "graph": ("reading", "graph"),
    "status": ("reading", "status"),
    "doctor": ("reading", "doctor"),
    "history": ("recorded_runs", "history"),
    "show": ("recorded_runs", "show"),
    "report": ("recorded_runs", "report"),
    "profile": ("experiments", "profile"),
    "compare": ("experiments", "compare"),
    "init": ("projects", "init"),
    "export": ("projects", "export"),
    "generate": ("projects", "generate"),
    "server": ("embedded_server", "server"),
    "clone": ("cloning", "clone"),
    "snapshots": ("cloning", "snapshots"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; without arguments, run that of the process's command line."""
    if arguments is not None:
        return _run(arguments)
    gc.set_threshold(_GC_THRESHOLD)
    try:
        return _run(sys.argv[1:])
    finally:
        gc.freeze()  # skips the collection at exit, which takes 20 ms


def _run(arguments: Sequence[str]) -> int:
    line = list(arguments)
    tolerate_narrow_encodings()
    try:
        args = parse(line, os.environ)
    except SystemExit as done:  # after --help
        return int(done.code or 0)
    except ConfigurationError as error:
        write_stderr(f"✗ {error}\n")
        return error.exit_code
    args.line = ("seedlab", *line)
    if args.version:
        return _print_version()
    if args.command is None:
        build_parser().print_help(sys.stderr)
        return 2
    try:
        return _command(args.command)(args)
    except BrokenPipeError:
        # Whoever read our output has closed it. Without this, flushing at exit would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - nobody above would report it
        return report_error(args, error)


def _command(name: str) -> Callable[[Namespace], int]:
    """Import and return the function that carries out a command."""
    module, function = _COMMANDS[name]
    found: Callable[[Namespace], int] = getattr(import_module(f"seedlab.cli.{module}"), function)
    return found


def _print_version() -> int:
    from importlib.metadata import version

    print(f"seedlab {version('seedlab')}")
    return 0
