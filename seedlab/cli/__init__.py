"""The commands: arguments in, text or JSON and an exit code out. Only this package prints or exits.

Everything of ours is imported by the command that needs it, so that `--help` stays light.
"""

from __future__ import annotations

import gc
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from importlib import import_module

from seedlab.cli.arguments import build_parser, parse
from seedlab.cli.printing import complain, explain, tolerate_narrow_encodings
from seedlab.errors import ConfigurationError

# As many objects as Python makes before it looks for garbage: a seed with nothing to do makes 56,000, nearly
# all of them in modules that stay, and to look through them took 12 ms.
_MADE = 60_000
# Where each command is carried out: module and function of this package.
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
    "history": ("telling", "history"),
    "show": ("telling", "show"),
    "report": ("telling", "report"),
    "profile": ("learning", "profile"),
    "compare": ("learning", "compare"),
    "init": ("making", "init"),
    "export": ("making", "export"),
    "generate": ("making", "generate"),
    "server": ("making", "server"),
    "clone": ("cloning", "clone"),
    "snapshots": ("cloning", "snapshots"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; without arguments, those of a process of its own."""
    if arguments is not None:
        return _run(arguments)
    gc.set_threshold(_MADE)
    try:
        return _run(sys.argv[1:])
    finally:
        gc.freeze()  # else Python looks through all that is there once more before it ends, 20 ms


def _run(arguments: Sequence[str]) -> int:
    line = list(arguments)
    tolerate_narrow_encodings()
    try:
        args = parse(line, os.environ)
    except SystemExit as done:  # after --help
        return int(done.code or 0)
    except ConfigurationError as error:
        complain(f"✗ {error}\n")
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
        # The reader of our output went away; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last one who can tell
        return explain(args, error)


def _command(name: str) -> Callable[[Namespace], int]:
    """Find what carries out a command."""
    module, function = _COMMANDS[name]
    found: Callable[[Namespace], int] = getattr(import_module(f"seedlab.cli.{module}"), function)
    return found


def _print_version() -> int:
    from importlib.metadata import version

    print(f"seedlab {version('seedlab')}")
    return 0
