"""The commands that read recorded runs: `history`, `show` and `report`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from seedlab.cli.printing import show as print_out
from seedlab.cli.printing import width
from seedlab.errors import ConfigurationError

if TYPE_CHECKING:
    from seedlab.insight.notebooks.run_history import History

PROFILES = 3  # how many of the newest profiles recommendations are based on


def history(args: Namespace) -> int:
    """List the recorded runs."""
    from seedlab.insight.formatting.history_text import history_record, history_text

    runs = _history(args)
    if args.directory:
        from seedlab.cli.request import project_of

        runs = runs.select(project=project_of(args).name)
    text = history_text(runs, limit=args.limit, width=width())
    print_out(args, text, lambda: history_record(runs, args.limit))
    return 0


def show(args: Namespace) -> int:
    """Show one run, with recommendations that are based on other runs and profiles."""
    from dataclasses import replace

    from seedlab.insight.formatting.run_text import run_text
    from seedlab.insight.judging.advice import recommendations
    from seedlab.insight.records import history, profiles, stored

    run = history.read(stored.find(args.run, args.reports))
    others = history.newest(args.reports), profiles.newest(args.reports, PROFILES)
    run = replace(run, recommendations=recommendations(run, *others))
    print_out(args, run_text(run, width()), lambda: history.to_record(run))
    return 0


def report(args: Namespace) -> int:
    """Write an HTML page: the report of a notebook, or the history of all runs."""
    if args.history:
        return _report_history(args)
    if args.notebook is None:
        raise ConfigurationError(
            "name what to report: a notebook, such as 03-bottlenecks, or --history, the runs on record"
        )
    from seedlab.cli.reports import report_notebook

    return report_notebook(args)


def _report_history(args: Namespace) -> int:
    """Write the HTML page of all runs."""
    from seedlab.insight.pages.history_page import history_page

    runs = _history(args)
    out = Path(args.out) if args.out else args.reports / "history.html"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(history_page(runs), "utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {out}: {error.strerror}; name another file with --out"
        ) from error
    notes = "".join(f"! {note.path}: {note.why}\n" for note in runs.notes)
    record = {"page": str(out), "runs": len(runs), "notes": [str(note.path) for note in runs.notes]}
    print_out(args, f"{notes}page: {out}\n", lambda: record)
    return 0


def _history(args: Namespace) -> History:
    from seedlab.insight.notebooks.run_history import read_history

    return read_history(args.reports)
