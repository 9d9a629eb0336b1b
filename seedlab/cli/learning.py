"""The commands that run seeds to learn from them: profile and compare."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from seedlab.cli.printing import complain, show, width


def profile(args: Namespace) -> int:
    """Run every level in fresh databases, keep all of it, and show what each bought."""
    from seedlab import orchestrator
    from seedlab.cli.request import request_of
    from seedlab.experiment import profiling
    from seedlab.insight.faces import profile_text
    from seedlab.insight.records import profiles

    request = request_of(args)
    design = profiling.Design(
        levels=args.levels, pairs=args.pairs, round_trip_ms=args.round_trip_ms, ablation=args.ablation,
        args=args.line,
    )  # fmt: skip
    profiling.variants_of(design, request.options.settings)  # a misspelled level should not wait for a server
    target = orchestrator.open_target(request.choice, request.project)
    made = profiling.profile(request.project, target, request.options, design, _teller(args))
    path = profiles.write(made, Path(args.reports or "reports"))
    record = profiles.effects_record
    show(args, profile_text.profile_text(made, width()), lambda: {**record(made), "record": str(path)})
    if not args.quiet:
        complain(f"record: {path}\n")
    return 0


def compare(args: Namespace) -> int:
    """Compare two runs, levels, folders or revisions, and judge what differs."""
    from seedlab.experiment.asking import Asked, compare
    from seedlab.experiment.comparing import Rules
    from seedlab.insight.faces import comparison_text
    from seedlab.insight.judging.compare import GATE_FAILED, fails

    rules = Rules(
        pairs=args.pairs,
        max_pairs=max(args.max_pairs, args.pairs),
        threshold=args.threshold,
        anyway=args.anyway,
        round_trip_ms=args.round_trip_ms,
    )
    asked = Asked(
        names=(args.before, args.after),
        reports=Path(args.reports or "reports"),
        database_url=args.database_url,
        target=args.target,
        environment=args.env,
        yes_seed=args.yes_seed,
        rules=rules,
    )
    found = compare(asked, _teller(args))
    text = comparison_text.comparison_text(found, width())
    show(args, text, lambda: comparison_text.comparison_record(found))
    reasons = fails(found, args.fail_on)
    if reasons:
        complain(f"✗ --fail-on {args.fail_on}: {'; '.join(reasons)}\n")
    return GATE_FAILED if reasons else 0


def _teller(args: Namespace) -> Callable[[str], None]:
    """Say on standard error what is being done; an experiment takes a while."""
    return (lambda _: None) if args.quiet else (lambda text: complain(f"{text}\n"))
