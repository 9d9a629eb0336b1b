"""A comparison as it is asked for: two names and where to run, understood, run and judged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from seedlab import orchestrator
from seedlab.database.arena import Arena
from seedlab.experiment import sides
from seedlab.experiment.comparing import Rules, Side, compare_sides
from seedlab.experiment.trials import Tell, arena_of, silent
from seedlab.flow import Options, Project, Run
from seedlab.flow.evidence import Comparison
from seedlab.insight.judging import compare as insight
from seedlab.plan import choices
from seedlab.plan.project import find_project, load_project


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A comparison that is asked for.

    The names of two sides, and target, environment and consent as for a seed.
    """

    names: tuple[str, str]
    reports: Path = Path("reports")
    database_url: str | None = None
    target: str | None = None
    environment: str | None = None
    yes_seed: str | None = None
    rules: Rules = field(default_factory=Rules)

    def project(self, kind: sides.Kind) -> Project:
        """Load the project whose targets and environments count: the first folder, else the nearest one."""
        if kind == "folder":
            return load_project(Path(sides.bare(self.names[0])))
        return load_project(find_project(None, Path.cwd()))

    def choice(self, project: Project) -> choices.TargetChoice:
        """Choose the target as a seed does."""
        return choices.choose_target(
            project, database_url=self.database_url, target=self.target, environ=os.environ
        )

    def options(self, project: Project, choice: choices.TargetChoice) -> Options:
        """The options of a seed of this project."""
        chosen = choices.choose_environment(project, self.environment, os.environ, choice)
        settings = choices.settings(project, {}, os.environ)
        return Options(environment=chosen, settings=settings, yes_seed=self.yes_seed)


def compare(asked: Asked, tell: Tell = silent) -> Comparison:
    """Compare what two names mean.

    Raises ConfigurationError where that is not clear, or stored runs do not match; Refused where the
    databases are not equal.
    """
    kind = sides.kind_of(*asked.names, asked.reports)
    if kind == "run":
        one, other = (sides.stored_run(name, asked.reports) for name in asked.names)
        return compare_runs(one, other, names=_bare(asked.names), rules=asked.rules)
    with _prepared(kind, asked) as (arena, pair):
        return compare_sides(arena, pair, asked.rules, tell)


def compare_runs(one: Run, other: Run, *, names: tuple[str, str], rules: Rules) -> Comparison:
    """Compare two stored runs. Raises ConfigurationError where their times are not comparable."""
    notes = insight.may_compare(one, other, anyway=rules.anyway)
    found = insight.compare([one], [other], names=names, threshold=rules.threshold)
    return replace(found, notes=(*found.notes, *notes))


@contextmanager
def _prepared(kind: sides.Kind, asked: Asked) -> Iterator[tuple[Arena, tuple[Side, Side]]]:
    """Open the arena and make both sides; all of it is dropped afterwards."""
    project = asked.project(kind)
    choice = asked.choice(project)
    options = asked.options(project, choice)
    target = orchestrator.open_target(choice, project)

    def options_of(other: Project) -> Options:
        return asked.options(other, choice)

    with arena_of(target, options.environment, asked.yes_seed) as arena:
        if kind == "level":
            yield arena, sides.levels(arena, project, target, options, asked.names)
        elif kind == "folder":
            yield arena, sides.folders(arena, target, options_of, asked.names)
        else:
            with sides.revisions(arena, target, options_of, project.root, asked.names) as pair:
                yield arena, pair


def _bare(names: tuple[str, str]) -> tuple[str, str]:
    return sides.bare(names[0]), sides.bare(names[1])
