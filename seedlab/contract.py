"""The public Python interface: the functions that `import seedlab` offers to programs and notebooks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedlab import flow, orchestrator, progress
from seedlab.database.connect import keep_connections
from seedlab.errors import ConfigurationError
from seedlab.flow import LEVELS, Level, Options, Project, Target
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.notebooks.objects import Comparison, Plan, Profile, Run
from seedlab.insight.records.runs import with_findings
from seedlab.plan import choices
from seedlab.plan.project import find_project
from seedlab.plan.project import load_project as _load

if TYPE_CHECKING:
    from seedlab.insight.notebooks.run_history import History

# The keywords of `seed` that are options of one run; all others are names of `[settings]`.
_RUN_OPTIONS = frozenset({"wait", "max_delete", "dry_run", "rejects", "commit", "executor"})


def load_project(directory: str | Path | None = None) -> Project:
    """Read the project in `directory`, else the nearest project in or above the working directory.

    Raises SeedError, which lists every mistake in the project file.
    """
    return _load(find_project(Path(directory) if directory is not None else None, Path.cwd()))


def seed(
    project: Project,
    target: Target | str | None = None,
    *,
    environment: str | None = None,
    level: Level | None = None,
    select: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    force: bool = False,
    yes_seed: str | None = None,
    **settings: object,
) -> Run:
    """Seed a database, so that it holds what the project's files say.

    `target` is a URL, the name of a `[targets]` entry, a Target, or None for the target that the environment
    variables and the project name (the embedded server if they name none).

    `settings` are those of `[settings]` (workers, disable, …), and these options of one run: `wait`,
    `max_delete`, `dry_run`, `commit` ("run" or "stage"), `rejects` (the folder for rows that cannot be
    written), and `executor` (any `concurrent.futures.Executor`, or "dask://HOST:PORT") that stages the parts
    of large loads.

    Raises SeedError if the database cannot be seeded; the database is then as it was before.
    """
    run_options: dict[str, Any] = {name: settings.pop(name) for name in _RUN_OPTIONS & settings.keys()}
    if run_options.get("rejects") is not None:
        run_options["rejects"] = Path(run_options["rejects"])
    run_options["commit"] = choices.choose_commit(run_options.get("commit"))
    if isinstance(executor := run_options.get("executor"), str):
        run_options["executor"] = choices.choose_executor(executor)
    else:
        choices.refuse_forks(executor)
    resolved, options = _resolve(project, target, environment, {"level": level, **settings})
    options = replace(options, select=select, exclude=exclude, force=force, yes_seed=yes_seed, **run_options)
    with _monitored(project, resolved) as monitor:
        return Run.of(with_findings(orchestrator.seed(project, resolved, options, monitor)))


def plan(
    project: Project,
    target: Target | str | None = None,
    *,
    environment: str | None = None,
    level: Level | None = None,
    select: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    **settings: object,
) -> Plan:
    """Report what `seed` would do to the target, without writing to it."""
    resolved, options = _resolve(project, target, environment, {"level": level, **settings})
    options = replace(options, select=select, exclude=exclude)
    with _monitored(project, resolved) as monitor:
        return Plan.of(orchestrator.plan(project, resolved, options, monitor))


@contextmanager
def connected(
    project: Project, target: Target | str | None = None, *, environment: str | None = None
) -> Iterator[Target]:
    """Keep the connection to a target open, so that it can be seeded repeatedly.

        with seedlab.connected(project, url) as target:
            seedlab.seed(project, target)

    A run that finds nothing changed takes half the time. The target is chosen as by `seed`. If the server
    closes the connection meanwhile, a new one is opened.
    """
    resolved, options = _resolve(project, target, environment, {})
    with keep_connections(replace(resolved, environment=options.environment.name)) as open_target:
        yield open_target


@contextmanager
def _monitored(project: Project, target: Target) -> Iterator[Monitor]:
    """Measure a run, and show its progress in a notebook, or wherever SEEDLAB_PROGRESS asks for it."""
    monitor, mode = Monitor(), progress.read_mode(os.environ)
    if mode == "auto" and not progress.in_notebook():
        mode = "off"
    with progress.shown(monitor, sys.stderr, mode, f"{project.name} → {target.shown}"):
        yield monitor


def history(directory: str | Path = "reports") -> History:
    """Read the records of all runs below a folder; records that cannot be read are listed in `notes`.

    Takes about 0.3 s for 1,000 runs.
    """
    from seedlab.insight.notebooks.run_history import read_history

    return read_history(Path(directory))


def profile(
    project: Project,
    target: Target | str | None = None,
    *,
    environment: str | None = None,
    levels: tuple[str, ...] = tuple(LEVELS),
    pairs: int = 7,
    round_trip_ms: tuple[float, ...] = (0.0,),
    ablation: bool = False,
    yes_seed: str | None = None,
    **settings: object,
) -> Profile:
    """Run every level `pairs` times, interleaved, in fresh databases on the target's server.

    The databases are dropped afterwards. `ablation` also measures the default level with each of its
    optimisations switched off in turn. `round_trip_ms` are the network delays to measure at.
    """
    from seedlab.experiment import profiling

    resolved, options = _resolve(project, target, environment, settings)
    options = replace(options, yes_seed=yes_seed)
    design = profiling.Design(levels=levels, pairs=pairs, round_trip_ms=round_trip_ms, ablation=ablation)
    with progress.experiment_line() as show_progress:
        return Profile.of(profiling.profile(project, resolved, options, design, show_progress))


def compare(
    a: flow.Run | str | Path,
    b: flow.Run | str | Path,
    *,
    target: str | None = None,
    environment: str | None = None,
    yes_seed: str | None = None,
    reports: str | Path = "reports",
    **rules: Any,
) -> Comparison:
    """Compare two runs, or what two names stand for: stored runs, levels, project folders, git revisions.

    Two runs are compared by their records. Anything else is run in interleaved pairs, in fresh databases on
    the target's server. `rules` are `pairs`, `max_pairs`, `threshold`, `anyway` and `round_trip_ms`.
    """
    from seedlab.experiment import comparison_request
    from seedlab.experiment.comparing import Rules

    if isinstance(a, flow.Run) and isinstance(b, flow.Run):
        compared = comparison_request.compare_runs(a, b, names=(a.run_id, b.run_id), rules=Rules(**rules))
        return Comparison.of(compared)
    if isinstance(a, flow.Run) or isinstance(b, flow.Run):
        raise ConfigurationError("expected two runs or two names, found one of each")
    request = comparison_request.ComparisonRequest(
        names=(str(a), str(b)),
        reports=Path(reports),
        **_url_or_name(target),
        environment=environment,
        yes_seed=yes_seed,
        rules=Rules(**rules),
    )
    with progress.experiment_line() as show_progress:
        return Comparison.of(comparison_request.compare(request, show_progress))


def _resolve(
    project: Project, target: Target | str | None, environment: str | None, flags: dict[str, object]
) -> tuple[Target, Options]:
    """Resolve the target that a caller named, and the options of the run."""
    settings = choices.settings(project, flags, os.environ)
    if isinstance(target, Target):
        name = environment or target.environment or "development"
        return target, Options(environment=choices.environment(project, name), settings=settings)
    choice = choices.choose_target(project, **_url_or_name(target), environ=os.environ)
    chosen = choices.choose_environment(project, environment, os.environ, choice)
    return orchestrator.open_target(choice, project), Options(environment=chosen, settings=settings)


def _url_or_name(target: str | None) -> dict[str, Any]:
    """Return the keyword arguments of `choose_target` for a URL or a target's name."""
    is_url = target is not None and "://" in target
    return {"database_url": target if is_url else None, "target": None if is_url else target}


__all__ = ["compare", "connected", "history", "load_project", "plan", "profile", "seed"]
