"""Classify what a folder would do to a database, as a preview does, and see that it leaves nothing behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from psycopg import sql

from seedlab import orchestrator
from seedlab.database import connect
from seedlab.database.writer import Session
from seedlab.flow import Classified, Level, Options, Run, Settings, WritePlan
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.choices import ENVIRONMENTS
from seedlab.plan.project import load_project
from seedlab.steps.agenda import file_hashes
from seedlab.steps.looking import open_look
from seedlab.steps.pipeline import prepare, resolve
from seedlab.steps.resolving import write_plan
from tests.support.asking import asking
from tests.support.seeding import Way

Counts = tuple[int, int, int]  # created, updated, unchanged
Inside = Callable[[Session, WritePlan], object]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preview:
    """What a writer says it would do."""

    classified: list[Classified]

    @property
    def counted(self) -> Counts:
        """All rows together."""
        outcomes = [each.outcomes for each in self.classified]
        return (
            sum(each.created for each in outcomes),
            sum(each.updated for each in outcomes),
            sum(each.unchanged for each in outcomes),
        )

    @property
    def by_seed(self) -> dict[tuple[str, str], Counts]:
        """By seed and table."""
        return {(c.load.seed, c.load.table): _counts(c.outcomes) for c in self.classified}

    def lines(self, table: str) -> list[tuple[Any, ...]]:
        """Differences of one table: file's place, row, outcome, column, old, new."""
        frames = [each.differences for each in self.classified if each.load.table == table]
        return [row for frame in frames if frame is not None for row in frame.rows()]

    @property
    def lines_counted(self) -> tuple[int, int]:
        """Rows created and updated, told from the lines."""
        frames = [each.differences for each in self.classified if each.differences is not None]
        rows = [frame.unique(["_seedlab_file", "_seedlab_row"]) for frame in frames]
        return _total(rows, "created"), _total(rows, "updated")


def _total(frames: Iterable[pl.DataFrame], outcome: str) -> int:
    return sum(len(frame.filter(pl.col("outcome") == outcome)) for frame in frames)


def _counts(outcomes: Any) -> Counts:
    return outcomes.created, outcomes.updated, outcomes.unchanged


def by_seed(run: Run) -> dict[tuple[str, str], Counts]:
    """What a run did, in the same words."""
    seeds = (seed for stage in run.stages for seed in stage.seeds)
    return {(seed.name, each.table): _counts(each.outcomes) for seed in seeds for each in seed.tables}


def preview(
    folder: Path,
    url: str,
    level: Level = "incremental",
    *,
    disabled: Iterable[str] = (),
    differences: bool = False,
    inside: Inside = lambda *_: None,
    **settings: Any,
) -> Preview:
    """Look, prepare and resolve as a seed does, then classify; `inside` sees the open transaction."""
    project = load_project(folder)
    target = connect.parse_target(url, "--database-url")
    chosen = Settings(level=level, disabled=frozenset(disabled), **settings)
    options = Options(environment=(project.environments or ENVIRONMENTS)["development"], settings=chosen)
    monitor = Monitor()
    with ThreadPoolExecutor(1) as pool:
        look = open_look(pool, project, target, chosen, monitor, None)
        with closing(look):
            task = orchestrator._task(project, options, look, monitor, file_hashes(project))
            prepared = prepare(task, look, monitor, task.agenda.stages)
            look.session.begin(read_only=True)
            resolved = resolve(look, prepared, task, monitor)
            naming, cache = prepared.naming, resolved.cache
            reserve = write_plan.placeholders(prepared.catalog)
            rows = write_plan.with_sequences(resolved.rows, naming, cache, reserve)
            plan = write_plan.plan_writes(rows, naming, cache, chosen, resolved.empty)
            classified = look.session.classify(plan, differences=differences)
            inside(look.session, plan)
            look.session.rollback()
    return Preview(classified=classified)


def preview_in(way: Way, folder: Path, url: str, **settings: Any) -> Preview:
    return preview(folder, url, way.level, disabled=way.disabled, **settings)


def state(url: str) -> object:
    """Everything that writing leaves: the bytes of a file; rows and their versions, and every sequence."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        return {each.name: each.read_bytes() for each in path.parent.glob(f"{path.name}*")}
    with asking(url) as connection:
        named = connection.execute(
            "SELECT nspname, relname, relkind FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE relkind IN ('r', 'S') AND nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1, 2"
        ).fetchall()
        held = {}
        for schema, name, kind in named:
            columns = "last_value, is_called" if kind == "S" else "ctid, xmin, xmax, t.*::text"
            query = sql.SQL(f"SELECT {columns} FROM {{}} t").format(sql.Identifier(schema, name))
            held[schema, name] = connection.execute(query).fetchall()
        return held


def is_locked(url: str) -> bool:
    """Tell whether another connection cannot begin to write a SQLite file."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=0, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        other.execute("ROLLBACK")
        return False
