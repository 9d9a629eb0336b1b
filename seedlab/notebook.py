"""The functions that notebooks call: each does what a command does, but returns a value instead of text.

They work wherever the notebook lies, inside the project or beside it. When `seedlab report` runs a notebook,
each value is also published, that is, its summary and figures are written into the report at once.
"""

from __future__ import annotations

import os
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from seedlab import contract, flow
from seedlab.errors import ConfigurationError, GateFailed
from seedlab.flow import LEVELS, Project
from seedlab.insight.judging.compare import compare as compared
from seedlab.insight.judging.compare import fails
from seedlab.insight.notebooks.objects import Comparison, Displayable, Profile, Run
from seedlab.insight.notebooks.parameters import (
    CompareParameters,
    HistoryParameters,
    ProfileParameters,
    RunParameters,
    SeedParameters,
    words,
)
from seedlab.insight.notebooks.run_history import History
from seedlab.insight.notebooks.runner import FOLDER
from seedlab.insight.pages.page import Page
from seedlab.insight.records import history as records
from seedlab.insight.records import stored
from seedlab.insight.records.past import machine_name
from seedlab.insight.records.profiles import runs_of
from seedlab.plan.project import find_home

if TYPE_CHECKING:
    from IPython.display import Markdown

__all__ = [
    "CompareParameters",
    "HistoryParameters",
    "ProfileParameters",
    "RunParameters",
    "SeedParameters",
    "before_after",
    "compare",
    "ends",
    "gate",
    "history",
    "measured_on",
    "profile",
    "run",
    "seed",
]
_T = TypeVar("_T")


# ---- commands -------------------------------------------------------------------------------------------


def seed(parameters: SeedParameters) -> Run:
    """Seed, with live progress, and write the run's record."""
    seeded = contract.seed(
        _project(parameters.project),
        _target(parameters.target),
        environment=parameters.environment or None,
        level=parameters.level,
        force=parameters.force,
    )
    seeded = replace(seeded, args=("seedlab", "report", "01-seed"))
    records.write(seeded, _reports())
    return _published(seeded)


def profile(parameters: ProfileParameters) -> Profile:
    """Read a stored profile, or profile the project and write the record."""
    from seedlab.insight.records import profiles

    if parameters.profile:
        return _published(Profile.of(profiles.read(stored.find(parameters.profile, _reports(), "profile"))))
    profiled = contract.profile(
        _project(parameters.project),
        _target(parameters.target),
        environment=parameters.environment or None,
        levels=words(parameters.levels),
        pairs=parameters.pairs,
        round_trip_ms=tuple(map(float, words(parameters.round_trip_ms))),
        ablation=parameters.ablation,
    )
    profiles.write(profiled, _reports())
    return _published(profiled)


def before_after(profiled: Profile) -> Comparison:
    """Compare the profile's first level with its last, phase by phase, at the longest delay."""
    before, after = _runs_of_ends(profiled)
    return Comparison.of(compared(before, after, names=_ends(profiled), threshold=0.05))


def ends(profiled: Profile) -> tuple[Run, Run]:
    """Return the last run of each of the two variants that `before_after` compares."""
    before, after = _runs_of_ends(profiled)
    return Run.of(before[-1]), Run.of(after[-1])


def _runs_of_ends(profiled: Profile) -> tuple[list[flow.Run], list[flow.Run]]:
    """Return the runs of the first level and those of the last one, at the longest delay."""
    delay = max(each.round_trip_ms for each in profiled.attempts)
    before, after = (list(runs_of(profiled, variant, delay)) for variant in _ends(profiled))
    return before, after


def _ends(profiled: Profile) -> tuple[str, str]:
    """Return the first and the last level, or the only one and the first of its variants."""
    levels = [each for each in profiled.variants if each in LEVELS]
    others = [each for each in profiled.variants if each not in LEVELS]
    if len(levels) < 2 and not others:
        raise ConfigurationError(
            f"the profile has only level {levels[0]}, so there is nothing to compare it with; "
            "name several levels"
        )
    return levels[0], levels[-1] if len(levels) > 1 else others[0]


def run(parameters: RunParameters) -> Run:
    """Read a stored run, named by its id, the beginning of its id, `last`, or its path."""
    return _published(Run.of(records.read(stored.find(parameters.run, _reports()))))


def compare(parameters: CompareParameters) -> Comparison:
    """Compare two stored runs, levels, project folders or git revisions."""
    reports = _reports().resolve()
    with chdir(_project(parameters.project).root if parameters.project else _home()):
        comparison = contract.compare(
            parameters.before,
            parameters.after,
            target=_target(parameters.target),
            environment=parameters.environment or None,
            reports=reports,
            pairs=parameters.pairs,
            max_pairs=max(parameters.max_pairs, parameters.pairs),
            threshold=parameters.threshold,
            anyway=parameters.anyway,
            round_trip_ms=parameters.round_trip_ms,
        )
    return _published(comparison)


def measured_on(run: flow.Run) -> MeasuredOn:
    """Describe the machine, versions and data with which a run was measured."""
    return MeasuredOn(run=run)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)  # Displayable has a __repr__
class MeasuredOn(Displayable):
    """What the times of a run depend on: kind of machine, versions, data. The host is not named."""

    run: flow.Run

    def _page(self) -> Page:
        run = self.run
        versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
        facts = [f"{run.machine.get('python', '')}; {versions}"]
        facts += [f"commit {run.commit}"] if run.commit else []
        facts += [f"data {run.data_fingerprint[:12]}, environment {run.environment}"]
        return Page(title=machine_name(run.machine), facts=tuple(facts))


def gate(comparison: Comparison, parameters: CompareParameters) -> Markdown:
    """Raise GateFailed if the comparison has a difference that `fail_on` names; else say that it passes."""
    if reasons := fails(comparison, parameters.fail_on):
        raise GateFailed(f"the gate on {parameters.fail_on} failed: {'; '.join(reasons)}")
    from IPython.display import Markdown  # not needed by any other command

    why = "no difference fails it" if parameters.fail_on == "none" else "no such difference was found"
    return Markdown(f"It passes: `fail_on` is `{parameters.fail_on}`, and {why}.")  # type: ignore[no-untyped-call]


def history(parameters: HistoryParameters) -> History:
    """Read all recorded runs that the parameters select."""
    selected = contract.history(_reports()).select(
        project=parameters.project or None,
        level=parameters.level or None,
        environment=parameters.environment or None,
    )
    return _published(selected)


# ---- folders and targets --------------------------------------------------------------------------------


def _published(value: _T) -> _T:
    """Write the summary and figures of a value into the report, if the notebook runs for one."""
    if os.environ.get(FOLDER):
        from seedlab.insight.notebooks.publishing import publish  # imports charts, which only reports need

        publish(value, Path(os.environ[FOLDER]))
    return value


def _reports() -> Path:
    """Return the folder of records: SEEDLAB_REPORTS, else `reports` beside the configuration."""
    folder = os.environ.get("SEEDLAB_REPORTS")
    return Path(folder) if folder else _home() / "reports"


def _home() -> Path:
    """Return the nearest folder upwards that has a configuration, else the working directory.

    Jupyter starts kernels in the notebook's folder, which is often below that of the configuration.
    """
    try:
        return find_home(Path.cwd())
    except ConfigurationError:  # the project is a folder without configuration
        return Path.cwd()


def _project(directory: str) -> Project:
    """Load a project; its folder is relative to the configuration's folder or the working directory."""
    beside = _home() / directory
    return contract.load_project(beside if directory and beside.is_dir() else directory or None)


def _target(target: str) -> str | None:
    """Return a target's name or URL, or the value of the variable `$NAME`; None for the usual choice."""
    if not target.startswith("$"):
        return target or None
    value = os.environ.get(target[1:])
    if not value:
        raise ConfigurationError(f"parameter target: the environment has no variable {target[1:]}")
    return value
