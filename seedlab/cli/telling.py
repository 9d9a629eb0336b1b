"""The commands that tell of runs on record: history, show, report."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from seedlab.cli.printing import show as print_out
from seedlab.cli.printing import width
from seedlab.errors import ConfigurationError

if TYPE_CHECKING:
    from seedlab.insight.notebooks.chronicle import History

PROFILES = 3  # the newest ones that are asked what was measured


def history(args: Namespace) -> int:
    """List the runs on record."""
    from seedlab.insight.faces.history_text import history_record, history_text

    found = _history(args)
    if args.directory:
        from seedlab.cli.request import project_of

        found = found.select(project=project_of(args).name)
    text = history_text(found, limit=args.limit, width=width())
    print_out(args, text, lambda: history_record(found, args.limit))
    return 0


def show(args: Namespace) -> int:
    """Show one run, with what other runs and profiles say of what would help it."""
    from dataclasses import replace

    from seedlab.insight.faces.run_text import run_text
    from seedlab.insight.judging.advice import recommendations
    from seedlab.insight.records import history, profiles, stored

    reports = _folder(args)
    run = history.read(stored.find(args.run, reports))
    others = history.newest(reports), profiles.newest(reports, PROFILES)
    run = replace(run, recommendations=recommendations(run, *others))
    print_out(args, run_text(run, width()), lambda: history.to_record(run))
    return 0


def report(args: Namespace) -> int:
    """Write a page: of all runs, or of a notebook."""
    if args.history:
        return report_history(args)
    if args.notebook is None:
        raise ConfigurationError(
            "name what to report: a notebook, such as 03-bottlenecks, or --history, the runs on record"
        )
    from seedlab.cli.reports import report_notebook

    return report_notebook(args)


def report_history(args: Namespace) -> int:
    """Write the page of all runs."""
    from seedlab.insight.pages.history_page import history_page

    found = _history(args)
    out = Path(args.out) if args.out else _folder(args) / "history.html"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(history_page(found), "utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {out}: {error.strerror}; name another file with --out"
        ) from error
    notes = "".join(f"! {note.path}: {note.why}\n" for note in found.notes)
    record = {"page": str(out), "runs": len(found), "notes": [str(note.path) for note in found.notes]}
    print_out(args, f"{notes}page: {out}\n", lambda: record)
    return 0


def _folder(args: Namespace) -> Path:
    return Path(args.reports or "reports")


def _history(args: Namespace) -> History:
    from seedlab.insight.notebooks.chronicle import read_history

    return read_history(_folder(args))
