"""Provides snapshots of projects: seeded databases to clone, which are reused while nothing changes.

Decides by a fingerprint whether an existing snapshot is up to date. The environment is `test` by default; a
protected environment is always refused.
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
from seedlab.plan.binder import no_table
from seedlab.plan.graph import with_dependents
from seedlab.plan.project import find_project, load_project
from seedlab.steps.agenda import FileState, file_hashes, file_states, python_hash, written_since

ENVIRONMENT = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRequest:
    """Which project to seed, how, and on which target's server; None means the same choice as by `seed`."""

    directory: Path | None = None
    start: Path | None = None  # where the search for a project begins
    database_url: str | None = None
    target: str | None = None
    environment: str | None = None
    yes_seed: str | None = None


class SnapshotProvider:
    """Finds or seeds the snapshot of one project, and drops its clones when closed."""

    def __init__(self, project: Project, target: Target, options: Options) -> None:
        self.project = project
        self.target = target
        self._options = options
        self._files: Mapping[str, FileState] = {}  # as they were before their content was hashed
        self.snapshots: Snapshots = _snapshots(target, project)

    def snapshot(self) -> tuple[Snapshot, bool]:
        """Return the snapshot of the project as it is now, and whether it had to be seeded.

        If the project has no MetaData, the tables are copied from the target. Raises what `seed` raises, and
        ConfigurationError if a file was written to while the snapshot was seeded.
        """
        self._files = file_states(self.project)
        if self.project.schema is not None:
            return self.snapshots.ready(self._wanted(_declared(self.project, self.target), None), self._seed)
        with self.snapshots.turn():
            empties = _emptied(read_tables(self.target, Monitor()), self.project)
            wanted = self._wanted(self.snapshots.base(empties), empties)
            return self.snapshots.ready(wanted, self._seed)

    def close(self) -> None:
        """Drop the remaining clones."""
        self.snapshots.close()

    def _seed(self, database: Target) -> int:
        options = replace(self._options, yes_seed=database.database)
        outcomes = orchestrator.seed(self.project, database, options, Monitor()).outcomes
        if written := written_since(self.project, self._files):
            raise ConfigurationError(
                f"{min(written)} was written to while a snapshot was seeded from it, so the snapshot may "
                "differ from the file and was not kept; try again"
            )
        return outcomes.created + outcomes.updated + outcomes.unchanged

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
def open_provider(request: SnapshotRequest) -> Iterator[SnapshotProvider]:
    """Open a provider, and close it afterwards."""
    provider = provider_for(request)
    try:
        yield provider
    finally:
        provider.close()


def provider_for(request: SnapshotRequest) -> SnapshotProvider:
    """Open the provider of the requested project; the caller must close it.

    Raises Refused if a guard refuses the target, or if the environment is protected.
    """
    project = load_project(find_project(request.directory, request.start or Path.cwd()))
    choice = choices.choose_target(
        project, database_url=request.database_url, target=request.target, environ=os.environ
    )
    name = request.environment or os.environ.get("SEEDLAB_ENV") or ENVIRONMENT
    environment = choices.choose_environment(project, name, os.environ, choice)
    if environment.protected:
        raise Refused(
            f"environment {environment.name} is protected, or that of the target is; make "
            f"databases for tests from another one (the default is --env {ENVIRONMENT})"
        )
    settings = choices.settings(project, {}, os.environ)
    target = orchestrator.open_target(choice, project)
    guards.check_target(target, environment, request.yes_seed)
    return SnapshotProvider(project, target, Options(environment=environment, settings=settings))


def prune(snapshots: Snapshots, older_than: float | None = None) -> tuple[list[str], list[str]]:
    """Drop leftovers (unfinished snapshots, kept clones) and snapshots older than `older_than` seconds.

    Without `older_than`, all snapshots but the newest of each project and environment are dropped. Returns
    the names of what was dropped, and of what was not because it is in use.
    """
    now = datetime.now(UTC)
    newest: set[tuple[str, str]] = set()
    doomed = snapshots.leftovers()
    for each in snapshots.every():
        age = (now - datetime.fromisoformat(each.mark.created)).total_seconds()
        owner = (each.mark.project, each.mark.environment)
        if age > older_than if older_than is not None else owner in newest:
            doomed.append(each.name)
        newest.add(owner)
    dropped = [name for name in doomed if snapshots.remove(name)]
    return dropped, [name for name in doomed if name not in dropped]


def _snapshots(target: Target, project: Project) -> Snapshots:
    """Open the snapshots on a target's server; create the embedded server's database if it is missing."""
    embedded = target.origin == orchestrator.EMBEDDED
    if embedded and project.schema is None:
        from seedlab.database.embedded import server

        server.ensure_database(server.start(os.environ), target.database)
    return snapshots_at(target, embedded=embedded)


# ---- what a snapshot is made of ---------------------------------------------------------------------------


def _declared(project: Project, target: Target) -> str:
    """Return the DDL of the project's MetaData, whose file may import modules from outside the project."""
    from seedlab.database import models  # SQLAlchemy costs 200 ms: imported where tables are declared

    assert project.schema is not None
    ddl = models.declared(project.root, project.schema, target.dialect)
    return repr(sorted(ddl))  # sorted, as its own order varies from run to run


def _emptied(catalog: Catalog, project: Project) -> Relations:
    """Return the tables that the project fills, and all that refer to them, directly or indirectly."""
    names = project.table_names
    missing = sorted(name for name in names if catalog.find(name) is None)
    if missing:
        raise ConfigurationError(no_table(catalog, missing[0]))
    filled = {table.name for name in names if (table := catalog.find(name)) is not None}
    parents = {table.name: table.parents for table in catalog.tables.values() if table.holds_rows}
    found = with_dependents(filled, parents)
    return tuple(sorted((catalog.tables[name].schema, catalog.tables[name].relation) for name in found))


def _stages(project: Project) -> tuple[Stage, ...]:
    """Return the configured stages, or a single one for a project that declares none."""
    return project.stages or (Stage(id="", name="", seeds=project.seeds),)


def _configured(stage: Stage) -> tuple[object, ...]:
    """Return what rows depend on in a stage's configuration, so without line numbers and estimated times."""
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
