"""One run of an experiment: in a fresh database, at a distance, measured."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from seedlab import orchestrator
from seedlab.database.arena import Arena, open_arena
from seedlab.database.proxy import DelayProxy
from seedlab.errors import ConfigurationError
from seedlab.flow import Environment, Options, Project, Run, Target
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan import guards

Tell = Callable[[str], None]
Lead = Callable[[Target], Target]


def silent(_: str) -> None:
    """Tell nobody: the `Tell` of those who show nothing."""


@contextmanager
def arena_of(target: Target, environment: Environment, yes_seed: str | None) -> Iterator[Arena]:
    """Open an arena beside the target. Raises Refused where a seed of the target would be refused."""
    guards.check_target(target, environment, yes_seed)
    superuser = None
    if target.origin == orchestrator.EMBEDDED:
        from seedlab.database import cluster, server

        superuser = server.start(os.environ).url("postgres", role=cluster.SUPERUSER)
    with open_arena(target, superuser) as arena:
        yield arena


def ground_of(arena: Arena, project: Project, target: Target) -> str:
    """Make a project's empty tables in the arena, by its MetaData or as the target has them.

    Gives their name.
    """
    if project.schema is None:
        return arena.taken(target, {spec.table for seed in project.every_seed for spec in seed.tables})
    from seedlab.database import models

    return arena.made(models.declared(project.root, project.schema, target.dialect))


@contextmanager
def at_distance(arena: Arena, round_trip_ms: float) -> Iterator[Lead]:
    """Delay each round trip by a proxy; gives a function that leads a target through it."""
    if round_trip_ms < 0:
        raise ConfigurationError(f"--round-trip-ms: expected 0 or more, found {round_trip_ms:g}")
    if not round_trip_ms:
        yield lambda target: target
        return
    with DelayProxy(**arena.door(), round_trip_ms=round_trip_ms) as proxy:
        yield lambda target: replace(target, url=proxy.url_for(target.url))


def run_once(
    project: Project, target: Target, options: Options, watch: Callable[[], Monitor] = Monitor
) -> Run:
    """Seed a database of the arena, which needs no consent of its own.

    `watch` makes what measures it, whose clock starts then: after the collector's debts are paid.
    """
    gc.collect()
    return orchestrator.seed(project, target, replace(options, yes_seed=target.database), watch())
