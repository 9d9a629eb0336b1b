"""What notebooks call, a function a question: what a command does, with values in place of text.

Works wherever a notebook stands: below the project, beside it, or run by `seedlab report`, for which each
value that a report is about is published as soon as it is there.
"""

from __future__ import annotations

import os
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from seedlab import contract, flow
from seedlab.errors import ConfigurationError, GateFailed
from seedlab.flow import LEVELS, Project
from seedlab.insight.judging.compare import compare as compared
from seedlab.insight.judging.compare import fails
from seedlab.insight.notebooks.chronicle import History
from seedlab.insight.notebooks.front_door import FOLDER
from seedlab.insight.notebooks.objects import Comparison, Face, Profile, Run
from seedlab.insight.notebooks.parameters import (
    CompareParameters,
    HistoryParameters,
    ProfileParameters,
    RunParameters,
    SeedParameters,
    words,
)
from seedlab.insight.pages.page import Page
from seedlab.insight.records import history as records
from seedlab.insight.records import stored
from seedlab.insight.records.past import machine_name
from seedlab.plan.project import find_home

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


# ---- the questions --------------------------------------------------------------------------------------


def seed(asked: SeedParameters) -> Run:
    """Seed, with live progress, and write the run's record."""
    made = contract.seed(
        _project(asked.project),
        _target(asked.target),
        environment=asked.environment or None,
        level=asked.level,
        force=asked.force,
    )
    made = replace(made, args=("seedlab", "report", "01-seed"))
    records.write(made, _reports())
    return _published(made)


def profile(asked: ProfileParameters) -> Profile:
    """Read a stored profile, or make one and keep it."""
    from seedlab.insight.records import profiles

    if asked.profile:
        return _published(Profile.of(profiles.read(stored.find(asked.profile, _reports(), "profile"))))
    made = contract.profile(
        _project(asked.project),
        _target(asked.target),
        environment=asked.environment or None,
        levels=words(asked.levels),
        pairs=asked.pairs,
        round_trip_ms=tuple(map(float, words(asked.round_trip_ms))),
        ablation=asked.ablation,
    )
    profiles.write(made, _reports())
    return _published(made)


def before_after(made: Profile) -> Comparison:
    """Compare the profile's first level with its last, phase by phase, at the longest round trip."""
    before, after = _runs_of_ends(made)
    names = (before[0].level, after[0].level)
    return Comparison.of(compared(before, after, names=names, threshold=0.05))


def ends(made: Profile) -> tuple[Run, Run]:
    """The last run of each of the two variants that `before_after` compares."""
    before, after = _runs_of_ends(made)
    return Run.of(before[-1]), Run.of(after[-1])


def _runs_of_ends(made: Profile) -> tuple[list[flow.Run], list[flow.Run]]:
    """Pick the runs of the first level and of the last one, at the longest round trip."""
    delay = max(each.round_trip_ms for each in made.attempts)
    levels = [each for each in made.variants if each in LEVELS]
    before, after = (
        [each.run for each in made.attempts if (each.variant, each.round_trip_ms) == (name, delay)]
        for name in (levels[0], levels[-1])
    )
    return before, after


def run(asked: RunParameters) -> Run:
    """Read a stored run: by its id or the beginning of it, `last`, or its path."""
    return _published(Run.of(records.read(stored.find(asked.run, _reports()))))


def compare(asked: CompareParameters) -> Comparison:
    """Compare two stored runs, levels, project folders or git revisions."""
    reports = _reports().resolve()
    with chdir(_project(asked.project).root if asked.project else _home()):
        made = contract.compare(
            asked.before,
            asked.after,
            target=_target(asked.target),
            environment=asked.environment or None,
            reports=reports,
            pairs=asked.pairs,
            max_pairs=max(asked.max_pairs, asked.pairs),
            threshold=asked.threshold,
            anyway=asked.anyway,
            round_trip_ms=asked.round_trip_ms,
        )
    return _published(made)


def measured_on(made: flow.Run) -> MeasuredOn:
    """Say on which machine, by which versions and with which data a run was measured."""
    return MeasuredOn(run=made)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)  # a face has one
class MeasuredOn(Face):
    """What times depend on: machine, versions, data; it names no machine."""

    run: flow.Run

    def _page(self) -> Page:
        made = self.run
        versions = ", ".join(f"{name} {version}" for name, version in made.versions.items())
        facts = [f"{made.machine.get('python', '')}; {versions}"]
        facts += [f"commit {made.commit}"] if made.commit else []
        facts += [f"data {made.data_fingerprint[:12]}, environment {made.environment}"]
        return Page(title=machine_name(made.machine), facts=tuple(facts))


def gate(made: Comparison, asked: CompareParameters) -> None:
    """Raise GateFailed where the comparison has what `fail_on` names."""
    if reasons := fails(made, asked.fail_on):
        raise GateFailed(f"the gate on {asked.fail_on} failed: {'; '.join(reasons)}")


def history(asked: HistoryParameters) -> History:
    """Read all runs on record."""
    kept = contract.history(_reports()).select(
        project=asked.project or None, level=asked.level or None, environment=asked.environment or None
    )
    return _published(kept)


# ---- where things are -----------------------------------------------------------------------------------


def _published(value: _T) -> _T:
    """Write the summary and the figures of a value into the report that is being made, if one is."""
    if os.environ.get(FOLDER):
        from seedlab.insight.notebooks.publishing import publish  # charts: not for who only looks at a cell

        publish(value, Path(os.environ[FOLDER]))
    return value


def _reports() -> Path:
    """Where records are: SEEDLAB_REPORTS, else `reports` beside the configuration that counts here."""
    named = os.environ.get("SEEDLAB_REPORTS")
    return Path(named) if named else _home() / "reports"


def _home() -> Path:
    """The folder of the configuration that counts here, else the current one.

    Jupyter starts kernels in the notebook's folder, often one below.
    """
    try:
        return find_home(Path.cwd())
    except ConfigurationError:  # a project without configuration, named by its folder
        return Path.cwd()


def _project(named: str) -> Project:
    """Load the project in a folder named from here, or from where commands would be typed."""
    beside = _home() / named
    return contract.load_project(beside if named and beside.is_dir() else named or None)


def _target(named: str) -> str | None:
    """Give what `$NAME` holds, a name or a URL; nothing: as the project and the environment say."""
    if not named.startswith("$"):
        return named or None
    found = os.environ.get(named[1:])
    if not found:
        raise ConfigurationError(f"parameter target: the environment has no variable {named[1:]}")
    return found
