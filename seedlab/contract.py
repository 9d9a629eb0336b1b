"""The Python contract: what `import seedlab` offers, in terms a notebook can use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedlab import flow, orchestrator, progress
from seedlab.database.connect import kept
from seedlab.errors import ConfigurationError
from seedlab.flow import LEVELS, Level, Options, Project, Target
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.notebooks.objects import Comparison, Plan, Profile, Run
from seedlab.insight.records.runs import judged
from seedlab.plan import choices
from seedlab.plan.project import find_project
from seedlab.plan.project import load_project as _load

if TYPE_CHECKING:
    from seedlab.insight.notebooks.chronicle import History

_OF_RUN = frozenset({"wait", "max_delete", "dry_run", "rejects", "commit", "executor"})


def load_project(directory: str | Path | None = None) -> Project:
    """Read a project: the folder named, else the nearest one upward from here.

    Raises SeedError with every mistake of the project file.
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
    """Seed a database: afterwards it is as the files say, or, with a SeedError, as it was before.

    `target` is a URL, the name of a `[targets]` entry, a Target, or None for what the environment and the
    project say (at last the embedded server). `settings` are those of `[settings]` (workers, disable, …), and
    of one run: `wait`, `max_delete`, `dry_run`, `commit` ("run" or "stage"), `rejects`, the folder for
    rows that cannot be written, and `executor`, any `concurrent.futures.Executor` (or "dask://HOST:PORT")
    that is to stage the parts of large loads.
    """
    of_run: dict[str, Any] = {name: settings.pop(name) for name in _OF_RUN & settings.keys()}
    if of_run.get("rejects") is not None:
        of_run["rejects"] = Path(of_run["rejects"])
    of_run["commit"] = choices.choose_commit(of_run.get("commit"))
    if isinstance(executor := of_run.get("executor"), str):
        of_run["executor"] = choices.choose_executor(executor)
    where, options = _asked(project, target, environment, {"level": level, **settings})
    options = replace(options, select=select, exclude=exclude, force=force, yes_seed=yes_seed, **of_run)
    with _watched(project, where) as monitor:
        return Run.of(judged(orchestrator.seed(project, where, options, monitor)))


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
    """Say what `seed` would do to the target, without writing to it."""
    where, options = _asked(project, target, environment, {"level": level, **settings})
    options = replace(options, select=select, exclude=exclude)
    with _watched(project, where) as monitor:
        return Plan.of(orchestrator.plan(project, where, options, monitor))


@contextmanager
def connected(
    project: Project, target: Target | str | None = None, *, environment: str | None = None
) -> Iterator[Target]:
    """Keep the connection to a target open, to seed it again and again.

        with seedlab.connected(project, url) as target:
            seedlab.seed(project, target)

    A run that finds nothing changed takes half the time. The target is chosen as by `seed`; a connection that
    the server closes meanwhile is made anew.
    """
    where, options = _asked(project, target, environment, {})
    with kept(replace(where, environment=options.environment.name)) as open_target:
        yield open_target


@contextmanager
def _watched(project: Project, target: Target) -> Iterator[Monitor]:
    """Measure a run, and show it: in a notebook, elsewhere only where SEEDLAB_PROGRESS asks for it."""
    monitor, mode = Monitor(), progress.chosen(os.environ)
    if mode == "auto" and not progress.in_notebook():
        mode = "off"
    with progress.watched(monitor, sys.stderr, mode, f"{project.name} → {target.shown}"):
        yield monitor


def history(directory: str | Path = "reports") -> History:
    """Read the records of all runs below a folder; those that cannot be read are in its `notes`.

    About 0.3 s for 1,000 runs.
    """
    from seedlab.insight.notebooks.chronicle import read_history

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
    """Run every level `pairs` times in fresh databases beside the target, taking turns; nothing is kept.

    `ablation` adds the default level without each of its switches, `round_trip_ms` the delays to measure at.
    """
    from seedlab.experiment import profiling

    where, options = _asked(project, target, environment, settings)
    asked = profiling.Design(levels=levels, pairs=pairs, round_trip_ms=round_trip_ms, ablation=ablation)
    with progress.experiment_line() as tell:
        return Profile.of(profiling.profile(project, where, replace(options, yes_seed=yes_seed), asked, tell))


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
    """Compare two runs, or what two names mean: stored runs, levels, project folders, git revisions.

    Two runs are compared as they are; all else is run in pairs, in fresh databases beside the target. `rules`
    are `pairs`, `max_pairs`, `threshold`, `anyway` and `round_trip_ms`.
    """
    from seedlab.experiment import asking
    from seedlab.experiment.comparing import Rules

    if isinstance(a, flow.Run) and isinstance(b, flow.Run):
        made = asking.compare_runs(a, b, names=(a.run_id, b.run_id), rules=Rules(**rules))
        return Comparison.of(made)
    if isinstance(a, flow.Run) or isinstance(b, flow.Run):
        raise ConfigurationError("expected two runs or two names, found one of each")
    asked = asking.Asked(
        names=(str(a), str(b)),
        reports=Path(reports),
        **_url_or_name(target),
        environment=environment,
        yes_seed=yes_seed,
        rules=Rules(**rules),
    )
    with progress.experiment_line() as tell:
        return Comparison.of(asking.compare(asked, tell))


def _asked(
    project: Project, target: Target | str | None, environment: str | None, flags: dict[str, object]
) -> tuple[Target, Options]:
    settings = choices.settings(project, flags, os.environ)
    if isinstance(target, Target):
        named = environment or target.environment or "development"
        return target, Options(environment=choices.environment(project, named), settings=settings)
    choice = choices.choose_target(project, **_url_or_name(target), environ=os.environ)
    chosen = choices.choose_environment(project, environment, os.environ, choice)
    return orchestrator.open_target(choice, project), Options(environment=chosen, settings=settings)


def _url_or_name(target: str | None) -> dict[str, Any]:
    """Tell whether a word is a URL or a target's name, as the keyword arguments of `choose_target`."""
    is_url = target is not None and "://" in target
    return {"database_url": target if is_url else None, "target": None if is_url else target}


__all__ = ["compare", "connected", "history", "load_project", "plan", "profile", "seed"]
