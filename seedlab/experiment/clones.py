"""Seeded databases to take copies of: what a snapshot is made of, and whether it may be made there.

The environment is `test` unless somebody says otherwise, and a protected one is refused whatever is typed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from xxhash import xxh3_128_hexdigest

import seedlab
from seedlab import orchestrator
from seedlab.database.content import read_tables
from seedlab.database.snapshots import Relations, Snapshot, Snapshots, Wanted, snapshots_at
from seedlab.errors import ConfigurationError, Refused
from seedlab.flow import Catalog, Options, Project, Stage, Target
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan import choices, guards
from seedlab.plan.project import find_project, load_project
from seedlab.plan.schema import no_table
from seedlab.steps.agenda import FileState, file_hashes, file_states, python_hash, written_since

ENVIRONMENT = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which project, seeded how, beside which database; what is not said is chosen as `seed` chooses it."""

    directory: Path | None = None
    start: Path | None = None  # where the search for a project begins
    database_url: str | None = None
    target: str | None = None
    environment: str | None = None
    yes_seed: str | None = None


class Stock:
    """The snapshot of one project, seeded when it is first asked for, and the clones of it."""

    def __init__(self, project: Project, target: Target, options: Options) -> None:
        self.project = project
        self.target = target
        self._options = options
        self._files: Mapping[str, FileState] = {}  # before they were hashed
        self.snapshots: Snapshots = _snapshots(target, project)

    def snapshot(self) -> tuple[Snapshot, bool]:
        """Find the snapshot of the project as it is now, else seed it; tells whether it was seeded now.

        Raises what `seed` raises, and ConfigurationError where a file was written to meanwhile. Where the
        project has no MetaData the tables are those of the target.
        """
        self._files = file_states(self.project)
        if self.project.schema is not None:
            return self.snapshots.ready(self._wanted(_declared(self.project, self.target), None), self._seed)
        with self.snapshots.turn():
            empties = _emptied(read_tables(self.target, Monitor()), self.project)
            wanted = self._wanted(self.snapshots.base(empties), empties)
            return self.snapshots.ready(wanted, self._seed)

    def close(self) -> None:
        """Drop the clones that are left."""
        self.snapshots.close()

    def _seed(self, database: Target) -> int:
        options = replace(self._options, yes_seed=database.database)
        made = orchestrator.seed(self.project, database, options, Monitor()).outcomes
        if written := written_since(self.project, self._files):
            raise ConfigurationError(
                f"{min(written)} was written to while a snapshot was seeded from it, and would be found by "
                "the file's content before that; nothing is kept: try again"
            )
        return made.created + made.updated + made.unchanged

    def _wanted(self, tables: str, empties: Relations | None) -> Wanted:
        environment, project = self._options.environment, self.project
        hashed = {
            "seedlab": seedlab.__version__,
            "maker": self.snapshots.maker,
            "project": project.name,
            "stages": [_configured(stage) for stage in _stages(project)],
            "defaults": sorted(project.defaults.items()),
            "environment": (environment.name, sorted(environment.subset.items()), environment.select),
            "ids": self._options.settings.ids,
            "files": sorted(file_hashes(project).items()),
            "python": python_hash(project.root) if _runs_python(project) else "",
            "tables": tables,
            "copied": empties,
        }
        return Wanted(
            fingerprint=xxh3_128_hexdigest(repr(hashed).encode()),
            project=project.name,
            environment=environment.name,
            empties=empties,
        )


@contextmanager
def open_stock(asked: Asked) -> Iterator[Stock]:
    """Open a stock, and close it."""
    stock = stock_of(asked)
    try:
        yield stock
    finally:
        stock.close()


def stock_of(asked: Asked) -> Stock:
    """Open the stock of the project that is asked for; the caller closes it.

    Raises Refused where a guard refuses the target, or the environment is protected.
    """
    project = load_project(find_project(asked.directory, asked.start or Path.cwd()))
    choice = choices.choose_target(
        project, database_url=asked.database_url, target=asked.target, environ=os.environ
    )
    named = asked.environment or os.environ.get("SEEDLAB_ENV") or ENVIRONMENT
    environment = choices.choose_environment(project, named, os.environ, choice)
    if environment.protected:
        raise Refused(
            f"environment {environment.name} is protected, or that of the target is: databases for tests are "
            f"made of another one; the default is --env {ENVIRONMENT}"
        )
    settings = choices.settings(project, {}, os.environ)
    target = orchestrator.open_target(choice, project)
    guards.check_target(target, environment, asked.yes_seed)
    return Stock(project, target, Options(environment=environment, settings=settings))


def prune(snapshots: Snapshots, older_than: float | None = None) -> tuple[list[str], list[str]]:
    """Drop leftovers, and snapshots older than so many seconds.

    Without `older_than` all but the newest of each project and environment go. Answers what is gone, and what
    somebody uses and so is not.
    """
    now = datetime.now(UTC)
    newest: set[tuple[str, str]] = set()
    doomed = snapshots.leftovers()
    for each in snapshots.every():
        age = (now - datetime.fromisoformat(each.mark.created)).total_seconds()
        whose = (each.mark.project, each.mark.environment)
        if age > older_than if older_than is not None else whose in newest:
            doomed.append(each.name)
        newest.add(whose)
    gone = [name for name in doomed if snapshots.remove(name)]
    return gone, [name for name in doomed if name not in gone]


def _snapshots(target: Target, project: Project) -> Snapshots:
    """Open the snapshots beside a target; the database of the embedded server is made if it is missing."""
    embedded = target.origin == orchestrator.EMBEDDED
    if embedded and project.schema is None:
        from seedlab.database import server

        server.ensure_database(server.start(os.environ), target.database)
    return snapshots_at(target, embedded=embedded)


# ---- what a snapshot is made of ---------------------------------------------------------------------------


def _declared(project: Project, target: Target) -> str:
    """Give the DDL of the project's MetaData: its file may import what is not in the project's folder."""
    from seedlab.database import models  # SQLAlchemy costs 200 ms: imported where tables are declared

    assert project.schema is not None
    made = models.declared(project.root, project.schema, target.dialect)
    return repr(sorted(made))  # its own order varies


def _emptied(catalog: Catalog, project: Project) -> Relations:
    """Name the tables that the project fills, and all that refer to them."""
    names = {spec.table for seed in project.every_seed for spec in seed.tables}
    missing = sorted(name for name in names if catalog.find(name) is None)
    if missing:
        raise ConfigurationError(no_table(catalog, missing[0]))
    found = {table.name for name in names if (table := catalog.find(name)) is not None}
    while more := {
        table.name
        for table in catalog.tables.values()
        if table.holds_rows and table.name not in found and found & table.parents
    }:
        found |= more
    return tuple(sorted((catalog.tables[name].schema, catalog.tables[name].relation) for name in found))


def _stages(project: Project) -> tuple[Stage, ...]:
    """The stages as configured, those of a folder without configuration as one."""
    return project.stages or (Stage(id="", name="", seeds=project.seeds),)


def _configured(stage: Stage) -> tuple[object, ...]:
    """The part of a stage's configuration that its rows depend on: no line numbers, no estimated times."""
    seeds = [
        (
            replace(seed, files=(), tables=(), estimated_ms=None),
            [replace(spec, place=None) for spec in seed.tables],
            [file.name for file in seed.files],
        )
        for seed in stage.seeds
    ]
    return stage.id, stage.dependencies, stage.conditions, seeds


def _runs_python(project: Project) -> bool:
    transforms = any(seed.transform for seed in project.every_seed)
    return transforms or any(each.startswith("python:") for s in project.stages for each in s.conditions)
