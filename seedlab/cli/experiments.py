"""The commands `profile` and `compare`, which run seeds in order to measure them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from seedlab.cli.printing import show, width, write_stderr


def profile(args: Namespace) -> int:
    """Run every level in fresh databases, write the profile's record, and show what each level gains."""
    from seedlab import orchestrator
    from seedlab.cli.request import request_of
    from seedlab.experiment import profiling
    from seedlab.insight.formatting import profile_text
    from seedlab.insight.records import profiles

    request = request_of(args)
    design = profiling.Design(
        levels=args.levels, pairs=args.pairs, round_trip_ms=args.round_trip_ms, ablation=args.ablation,
        args=args.line,
    )  # fmt: skip
    profiling.variants_of(design, request.options.settings)  # finds misspelt levels before a server starts
    target = orchestrator.open_target(request.choice, request.project)
    profiled = profiling.profile(request.project, target, request.options, design, _on_progress(args))
    path = profiles.write(profiled, args.reports)
    text = profile_text.profile_text(profiled, width())
    show(args, text, lambda: {**profiles.effects_record(profiled), "record": str(path)})
    if not args.quiet:
        write_stderr(f"record: {path}\n")
    return 0


def compare(args: Namespace) -> int:
    """Compare two runs, levels, folders or revisions; the exit code says whether `--fail-on` failed."""
    from seedlab.experiment.comparing import Rules
    from seedlab.experiment.comparison_request import ComparisonRequest, compare
    from seedlab.insight.formatting import comparison_text
    from seedlab.insight.judging.compare import GATE_FAILED, fails

    rules = Rules(
        pairs=args.pairs,
        max_pairs=max(args.max_pairs, args.pairs),
        threshold=args.threshold,
        anyway=args.anyway,
        round_trip_ms=args.round_trip_ms,
    )
    request = ComparisonRequest(
        names=(args.before, args.after),
        reports=args.reports,
        database_url=args.database_url,
        target=args.target,
        environment=args.env,
        yes_seed=args.yes_seed,
        rules=rules,
    )
    comparison = compare(request, _on_progress(args))
    text = comparison_text.comparison_text(comparison, width())
    show(args, text, lambda: comparison_text.comparison_record(comparison))
    reasons = fails(comparison, args.fail_on)
    if reasons:
        write_stderr(f"✗ --fail-on {args.fail_on}: {'; '.join(reasons)}\n")
    return GATE_FAILED if reasons else 0


def _on_progress(args: Namespace) -> Callable[[str], None]:
    """Return a function that shows on standard error what an experiment is doing, unless `--quiet`."""
    return (lambda _: None) if args.quiet else (lambda text: write_stderr(f"{text}\n"))
