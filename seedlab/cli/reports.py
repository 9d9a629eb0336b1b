"""The command `report NOTEBOOK`, which runs a notebook."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from seedlab.cli.printing import show, write_stderr


def report_notebook(args: Namespace) -> int:
    """Run a notebook and write its report, which is also written if the notebook fails."""
    from seedlab.insight.notebooks import runner as notebooks

    notebook = notebooks.find(args.notebook)
    report = notebooks.run(
        notebook,
        _parameters(args.parameter),
        Path(args.out) if args.out else notebooks.new_folder(args.reports, notebook),
        environ={**os.environ, "SEEDLAB_REPORTS": str(args.reports.resolve())},
        on_heading=lambda heading: None if args.quiet else write_stderr(f"{notebook.name}: {heading}\n"),
    )
    notebooks.append_step_summary(report, os.environ)
    page = report.folder / "report.html"
    show(args, f"report: {page}\n", lambda: notebooks.summary_record(report))
    if report.failure is not None and not args.json:
        write_stderr(f"✗ {notebook.name} failed: {report.failure}\n")
    return report.exit_code


def _parameters(pairs: Sequence[str]) -> Mapping[str, str]:
    """Split each `name=value`; the last value of a repeated name counts."""
    from seedlab.errors import ConfigurationError

    for pair in pairs:
        if "=" not in pair:
            raise ConfigurationError(f"-p: expected NAME=VALUE, found {pair!r}")
    return dict(pair.split("=", 1) for pair in pairs)
