"""Where benchmarks run: a database of their own on the embedded server, with its durable defaults."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg import sql

from seedlab import orchestrator
from seedlab.database import connect
from seedlab.database.embedded import server
from seedlab.database.embedded.cluster import SOCKET, SUPERUSER
from seedlab.database.models import load_metadata
from seedlab.flow import Options, Run, Settings
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.project import load_project

DATA = Path(__file__).parents[2] / "data"
DATABASE = "seedlab_benchmark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The academy's empty tables in a database that nobody else uses."""

    url: str
    superuser_url: str
    unix_socket: Path
    tables: tuple[str, ...]  # parents first

    def empty(self) -> None:
        """Empty all tables, forget every run, and let the server finish its writing: each run begins alike."""
        names = sql.SQL(", ").join(map(sql.Identifier, self.tables))
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS seedlab CASCADE")
            connection.execute(sql.SQL("TRUNCATE {}").format(names))
            connection.execute("CHECKPOINT")

    def counts(self) -> dict[str, int]:
        """Rows of every table."""
        with psycopg.connect(self.superuser_url) as connection:
            query = sql.SQL("SELECT count(*) FROM {}")
            return {
                name: connection.execute(query.format(sql.Identifier(name))).fetchone()[0]
                for name in self.tables
            }

    def time(self, action: Callable[[], object]) -> float:
        """Seconds of an action on empty tables, with the collector's debts paid beforehand."""
        self.empty()
        gc.collect()
        began = time.perf_counter()
        action()
        return time.perf_counter() - began


@contextmanager
def bench() -> Iterator[Bench]:
    """Make the database, and drop it; the server goes on if it ran before."""
    ran = server.status(os.environ).running
    found = server.start(os.environ)
    admin = psycopg.connect(found.url("postgres", role=SUPERUSER), autocommit=True)
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(DATABASE))
    admin.execute(drop)
    url = server.ensure_database(found, DATABASE)
    try:
        yield Bench(
            url=url,
            superuser_url=found.url(DATABASE, role=SUPERUSER),
            unix_socket=found.socket / SOCKET,
            tables=make_tables(url),
        )
    finally:
        admin.execute(drop)
        admin.close()
        if not ran:
            server.stop(os.environ)


def make_tables(url: str) -> tuple[str, ...]:
    metadata = load_metadata(DATA, "models.py:metadata")
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    metadata.create_all(engine)
    engine.dispose()
    return tuple(table.name for table in metadata.sorted_tables)


def seed(url: str, settings: Settings | None = None, folder: Path = DATA) -> Run:
    """One run of seedlab, from the project file to the commit."""
    project = load_project(folder)
    options = Options(environment=project.environments["development"], settings=settings or Settings())
    return orchestrator.seed(project, connect.parse_target(url, "--database-url"), options, Monitor())


def timed_seed(url: str, settings: Settings, folder: Path) -> tuple[float, Run]:
    """Seconds of one run of seedlab, with the collector's debts paid beforehand, and its record."""
    gc.collect()
    began = time.perf_counter()
    done = seed(url, settings, folder)
    return time.perf_counter() - began, done
