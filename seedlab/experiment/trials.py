"""The parts of an experiment's run: scratch databases, their template, added delay, the run itself."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from seedlab import orchestrator
from seedlab.database.proxy import DelayProxy
from seedlab.database.scratch_databases import ScratchDatabases, open_scratch_databases
from seedlab.errors import ConfigurationError
from seedlab.flow import Environment, Options, Project, Run, Target
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan import guards

ProgressCallback = Callable[[str], None]  # called with what the experiment is about to do
Reroute = Callable[[Target], Target]  # returns the target as reached through a delaying proxy


def silent(_: str) -> None:
    """Show nothing: the default ProgressCallback."""


@contextmanager
def open_guarded_databases(
    target: Target, environment: Environment, yes_seed: str | None
) -> Iterator[ScratchDatabases]:
    """Open scratch databases on the target's server; raises Refused if seeding the target is refused."""
    guards.check_target(target, environment, yes_seed)
    superuser = None
    if target.origin == orchestrator.EMBEDDED:
        from seedlab.database.embedded import cluster, server

        superuser = server.start(os.environ).url("postgres", role=cluster.SUPERUSER)
    with open_scratch_databases(target, superuser) as scratch:
        yield scratch


def make_template(scratch: ScratchDatabases, project: Project, target: Target) -> str:
    """Create a template database with a project's empty tables, and return its name.

    The tables are those of the project's MetaData, else copies of the target's.
    """
    if project.schema is None:
        return scratch.copy_as_template(target, project.table_names, Monitor())
    from seedlab.database import models

    return scratch.create_template(models.declared(project.root, project.schema, target.dialect))


@contextmanager
def delayed(scratch: ScratchDatabases, round_trip_ms: float) -> Iterator[Reroute]:
    """Run a proxy that delays each round trip; yields a function that reroutes a target through it."""
    if round_trip_ms < 0:
        raise ConfigurationError(f"--round-trip-ms: expected 0 or more, found {round_trip_ms:g}")
    if not round_trip_ms:
        yield lambda target: target
        return
    with DelayProxy(**scratch.server_address(), round_trip_ms=round_trip_ms) as proxy:
        yield lambda target: replace(target, url=proxy.url_for(target.url))


def run_once(
    project: Project, target: Target, options: Options, watch: Callable[[], Monitor] = Monitor
) -> Run:
    """Seed a scratch database, which the guards need not protect.

    `watch` creates the monitor, whose clock starts at once. So it is called only after garbage collection,
    which would otherwise be measured with the run.
    """
    gc.collect()
    return orchestrator.seed(project, target, replace(options, yes_seed=target.database), watch())
