"""The commands that only read: `check`, `ls`, `graph`, `status` and `doctor`."""

from __future__ import annotations

import os
from argparse import Namespace

from seedlab.cli.printing import show, width


def check(args: Namespace) -> int:
    """Read all data files and report every fault, without a database."""
    from seedlab import orchestrator
    from seedlab.cli.request import project_of, reading_options

    project = project_of(args)
    notes = orchestrator.check(project, reading_options(args, project))
    lines = [f"✓ {project.name}: no faults found", *(f"! {note}" for note in notes)]
    record = {"project": project.name, "status": "succeeded", "exit_code": 0, "notes": [*notes], "errors": []}
    show(args, "\n".join(lines) + "\n", lambda: record)
    return 0


def ls(args: Namespace) -> int:
    """List the project's stages and seeds."""
    from seedlab.cli.request import project_of
    from seedlab.insight.formatting import summary as formatting

    project = project_of(args)
    show(args, formatting.project_text(project, width()), lambda: formatting.project_record(project))
    return 0


def graph(args: Namespace) -> int:
    """Draw the dependency graph of the stages, from the declared dependencies alone."""
    from seedlab.cli.request import project_of
    from seedlab.errors import ConfigurationError
    from seedlab.insight.formatting.graph_text import graph_mermaid, graph_text
    from seedlab.steps import looking

    project = project_of(args)
    if not project.stages:
        raise ConfigurationError(
            f"{project.name} declares no stages: they follow from the foreign keys of the target;"
            " see them with seedlab plan"
        )
    edges = looking.edges(project)
    stages = project.stages
    drawn = graph_mermaid(stages, edges) if args.mermaid else graph_text(stages, edges, width())
    record = {
        "project": project.name,
        "stages": [stage.id for stage in project.stages],
        "edges": [{"before": each.before, "after": each.after, "origin": each.origin} for each in edges],
    }
    show(args, drawn, lambda: record)
    return 0


def status(args: Namespace) -> int:
    """Show what the target's ledger says of the project."""
    from seedlab import orchestrator
    from seedlab.cli.request import request_of
    from seedlab.insight.formatting import status_text
    from seedlab.insight.measuring.monitor import Monitor
    from seedlab.operations.status import status

    request = request_of(args)
    target = orchestrator.open_target(request.choice, request.project)
    state = status(request.project, target, request.options, Monitor())
    show(args, status_text.status_text(state, width()), lambda: status_text.status_record(state))
    return 1 if state.ledger == "unreadable" else 0


def doctor(args: Namespace) -> int:
    """Examine this installation, the project and the target; the exit code is 1 if anything fails."""
    from dataclasses import asdict
    from pathlib import Path

    from seedlab.cli.doctor import Subject, examine, findings_text

    findings = examine(
        Subject(
            directory=Path(args.directory) if args.directory else None,
            database_url=args.database_url,
            target=args.target,
            environ=os.environ,
        )
    )
    show(args, findings_text(findings), lambda: {"checks": [asdict(each) for each in findings]})
    return 1 if any(each.status == "fail" for each in findings) else 0
