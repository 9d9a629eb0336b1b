"""Carries out a requested comparison: resolves the two names, runs what they stand for, and compares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from seedlab import orchestrator
from seedlab.database.scratch_databases import ScratchDatabases
from seedlab.experiment import sides
from seedlab.experiment.comparing import Rules, Side, compare_sides
from seedlab.experiment.trials import ProgressCallback, open_guarded_databases, silent
from seedlab.flow import Options, Project, Run
from seedlab.flow.evidence import Comparison
from seedlab.insight.judging import compare as insight
from seedlab.plan import choices
from seedlab.plan.project import find_project, load_project


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRequest:
    """A requested comparison: the names of its two sides; target, environment and consent as for a seed."""

    names: tuple[str, str]
    reports: Path = Path("reports")
    database_url: str | None = None
    target: str | None = None
    environment: str | None = None
    yes_seed: str | None = None
    rules: Rules = field(default_factory=Rules)

    def project(self, kind: sides.Kind) -> Project:
        """Load the project that names the target: the first folder, else the nearest project upwards."""
        if kind == "folder":
            return load_project(Path(sides.without_prefix(self.names[0])))
        return load_project(find_project(None, Path.cwd()))

    def choice(self, project: Project) -> choices.TargetChoice:
        """Choose the target as a seed does."""
        return choices.choose_target(
            project, database_url=self.database_url, target=self.target, environ=os.environ
        )

    def options(self, project: Project, choice: choices.TargetChoice) -> Options:
        """Return the options for seeding this project."""
        chosen = choices.choose_environment(project, self.environment, os.environ, choice)
        settings = choices.settings(project, {}, os.environ)
        return Options(environment=chosen, settings=settings, yes_seed=self.yes_seed)


def compare(request: ComparisonRequest, on_progress: ProgressCallback = silent) -> Comparison:
    """Compare what two names stand for.

    Raises ConfigurationError if a name is unknown or ambiguous, or if stored runs are not comparable, and
    Refused if the two sides do not produce equal databases.
    """
    kind = sides.kind_of(*request.names, request.reports)
    if kind == "run":
        one, other = (sides.stored_run(name, request.reports) for name in request.names)
        return compare_runs(one, other, names=_without_prefixes(request.names), rules=request.rules)
    with _prepared(kind, request) as (scratch, pair):
        return compare_sides(scratch, pair, request.rules, on_progress)


def compare_runs(one: Run, other: Run, *, names: tuple[str, str], rules: Rules) -> Comparison:
    """Compare two stored runs. Raises ConfigurationError if their times are not comparable."""
    notes = insight.may_compare(one, other, anyway=rules.anyway)
    found = insight.compare([one], [other], names=names, threshold=rules.threshold)
    return replace(found, notes=(*found.notes, *notes))


@contextmanager
def _prepared(
    kind: sides.Kind, request: ComparisonRequest
) -> Iterator[tuple[ScratchDatabases, tuple[Side, Side]]]:
    """Open scratch databases and set up both sides in them; they are dropped afterwards."""
    project = request.project(kind)
    choice = request.choice(project)
    options = request.options(project, choice)
    target = orchestrator.open_target(choice, project)

    def options_of(other: Project) -> Options:
        return request.options(other, choice)

    with open_guarded_databases(target, options.environment, request.yes_seed) as scratch:
        if kind == "level":
            yield scratch, sides.levels(scratch, project, target, options, request.names)
        elif kind == "folder":
            yield scratch, sides.folders(scratch, target, options_of, request.names)
        else:
            with sides.revisions(scratch, target, options_of, project.root, request.names) as pair:
                yield scratch, pair


def _without_prefixes(names: tuple[str, str]) -> tuple[str, str]:
    return sides.without_prefix(names[0]), sides.without_prefix(names[1])
