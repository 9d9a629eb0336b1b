"""Prints results as text or JSON on standard output, and messages and errors on standard error."""

from __future__ import annotations

import io
import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seedlab.flow import Run

_COLOURS = {"✓": "32", "+": "32", "-": "2", "!": "33", "✗": "31"}


def show(
    args: Namespace, text: str, record: Callable[[], Mapping[str, Any]], *, essential: bool = False
) -> None:
    """Print the text, or with --json the record; with --quiet, print only text that is `essential`."""
    if args.json:
        sys.stdout.write(_as_json(args, record()))
    elif essential or not args.quiet:
        sys.stdout.write(_coloured(text, sys.stdout))
    sys.stdout.flush()


def _as_json(args: Namespace, record: Mapping[str, Any]) -> str:
    """Return a record as indented JSON, or with --watch, where records follow each other, as one line."""
    from seedlab.insight.records.files import to_json, to_line

    return to_line(record) if getattr(args, "watch", False) else to_json(record)


def report_error(args: Namespace, error: BaseException, run: Run | None = None) -> int:
    """Print an error and what to do about it, with passwords masked, and return the exit code.

    With --json the record of the failed run is printed, too.
    """
    from seedlab.errors import DataFaults, Refused, SeedError
    from seedlab.insight.formatting import summary as formatting
    from seedlab.insight.measuring.monitor import Monitor
    from seedlab.insight.records import history, runs

    if args.json:
        run = run or runs.build_failed_run(Monitor(), runs.Heading(args=args.line), error)
        sys.stdout.write(_as_json(args, history.to_record(run)))
        sys.stdout.flush()
    if args.debug:
        write_stderr(_traceback(error))
    if isinstance(error, DataFaults):
        write_stderr(formatting.faults_text(error.faults, show_values=args.show_values, width=width()))
    known = args.debug or isinstance(error, SeedError | KeyboardInterrupt)
    advice = "" if known else f"\n{_advice(error)}"
    examples = "; ".join(error.examples) if isinstance(error, Refused) else ""
    hint = f"; for example {examples}" if examples else ""
    if not args.show_values:
        hint = "; --show-values shows row values" if examples or isinstance(error, DataFaults) else ""
    write_stderr(f"✗ {runs.message_of(error)}{hint}{advice}\n")
    return runs.verdict(error)[1]


def _advice(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("seedlab."):
        return (
            f"this Python, {sys.executable}, has no package {error.name}, which seedlab needs; activate the "
            "virtual environment in which seedlab is installed, or install it in this one"
        )
    return "this is a bug in seedlab; --debug shows where it happened"


def _traceback(error: BaseException) -> str:
    import traceback

    from seedlab.errors import masked

    return masked("".join(traceback.format_exception(error)))


def write_stderr(text: str) -> None:
    """Print text on standard error; in a terminal the marks at the beginnings of lines are coloured."""
    sys.stderr.write(_coloured(text, sys.stderr))
    sys.stderr.flush()


def _coloured(text: str, stream: io.TextIOBase | Any) -> str:
    """Colour the marks at the beginnings of lines if the stream is a terminal that supports it."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return text
    return re.sub("(?m)^[✓+!✗-](?= )", lambda mark: f"\x1b[{_COLOURS[mark[0]]}m{mark[0]}\x1b[0m", text)


def width() -> int:
    """Return the width of the terminal in cells."""
    import shutil

    return shutil.get_terminal_size((120, 24)).columns


def tolerate_narrow_encodings() -> None:
    """Escape characters that the output's encoding lacks, instead of failing after the work is done."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
