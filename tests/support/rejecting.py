"""Seed a folder with rejects, out of the parts that the orchestrator uses."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from seedlab.database import connect
from seedlab.database.writer import Session
from seedlab.errors import DataFaults, Fault
from seedlab.flow import Catalog, Level, Outcomes, Project, Settings, Stage, Written
from seedlab.frames.cache import SeedCache
from seedlab.frames.resolve import Naming, name_rows
from seedlab.frames.rules import Broken, confirm, suspects
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan import graph
from seedlab.plan.project import load_project
from seedlab.steps.preparing import binding, reading, transforming
from seedlab.steps.resolving import lookups, named_rows, rejecting, write_plan
from seedlab.steps.resolving.rows import Rows


@dataclass(kw_only=True)
class Seeded:
    """What became of the rows: by the writer, by us, and where the rejected ones are."""

    written: list[Written]
    counts: dict[str, int]
    faults: list[Fault]
    files: dict[str, Path]
    outcomes: Outcomes = field(init=False)

    def __post_init__(self) -> None:
        self.outcomes = sum((each.outcomes for each in self.written), Outcomes())

    @property
    def told(self) -> list[tuple[str | None, int | None, str]]:
        return [(fault.file, fault.line, fault.rule) for fault in self.faults]


def seed_rejecting(
    folder: Path, url: str, rejects: Path, level: Level = "incremental", **settings: object
) -> Seeded:
    """Write what can be written, reject the rest."""
    run = _Run(load_project(folder), Settings(level=level, **settings))  # type: ignore[arg-type]
    target = connect.parse_target(url, "--database-url")
    with closing(connect.open_session(target, run.settings, run.monitor, "test")) as session:
        return run.go(session, rejects)


class _Run:
    def __init__(self, project: Project, settings: Settings) -> None:
        self.project = project
        self.settings = settings
        self.monitor = Monitor()

    def go(self, session: Session, rejects: Path) -> Seeded:
        catalog = session.catalog()
        rows, broken, naming = self.prepare(catalog)
        session.begin()
        cache = SeedCache()
        broken += named_rows.register(rows, naming, cache)
        rows = named_rows.without_duplicates(rows)
        tables = {each.load.table for each in rows}
        tables |= {reference.parent for each in rows for reference in each.load.references}
        filled = frozenset(tables) - session.find_empty(sorted(tables))
        lookups.look_up(session, lookups.questions(rows, naming, cache, filled), cache)
        broken += lookups.id_conflicts(rows, naming, cache) + named_rows.orphans(rows, naming, cache)
        doubtful = suspects(broken)
        certain = [each for each in broken if not each.rule.suspect]
        if doubtful:
            verdicts = session.invalid(doubtful)
            certain += confirm([b for b in broken if b.rule.suspect], verdicts)
        rejected: list[Broken] = []

        def reject(more: Sequence[Broken]) -> None:
            nonlocal rows
            if more:
                lookups.look_up(session, rejecting.questions(rows, more, naming, cache, filled), cache)
                rejection = rejecting.reject(rows, more, naming, cache)
                rows = rejection.rows
                rejected.extend(rejection.broken)

        reject(certain)
        empty = frozenset(tables) - filled
        plan = self.plan(session, rows, naming, cache, empty)
        reject(rejecting.broken_by_checks(session.broken_checks(plan), rows))
        session.savepoint()
        while True:
            try:
                written = self.write(session, rows, naming, cache, empty)
                break
            except DataFaults as found:
                refused, others = rejecting.broken_by_database(found.faults, rows)
                if others or not refused:
                    raise
                session.rollback_to_savepoint()
                reject(refused)
        files = rejecting.write_files(rows, rejected, catalog, rejects)
        session.commit()
        counts: dict[str, int] = {}
        for (_, _, table), number in rejecting.rejected_counts(rejected).items():
            counts[table] = counts.get(table, 0) + number
        return Seeded(written=written, counts=counts, faults=rejecting.faults(rows, rejected), files=files)

    def prepare(self, catalog: Catalog) -> tuple[list[Rows], list[Broken], Naming]:
        stages = self.project.stages or self.levels(catalog)
        seeds = [seed for stage in stages for seed in stage.seeds]
        opened = reading.read(stages, self.settings, self.monitor)
        shaped = reading.shape(seeds, opened, catalog, self.monitor)
        shaped = transforming.transform(shaped, self.project.root, self.project.transforms)
        bound, pairs = binding.bind(shaped, catalog)
        naming = name_rows(catalog, bound.loads, "uuid8")
        rows, broken = named_rows.handle_rows(pairs, naming, self.settings, self.monitor)
        return rows, broken, naming

    def levels(self, catalog: Catalog) -> tuple[Stage, ...]:
        tables = {spec.table for seed in self.project.seeds for spec in seed.tables}
        parents = {
            name: {key.parent for key in catalog.tables[name].foreign_keys} & tables for name in tables
        }
        return graph.levels(self.project.seeds, parents)

    def plan(
        self, session: Session, rows: Sequence[Rows], naming: Naming, cache: SeedCache, empty: frozenset[str]
    ):
        made = write_plan.with_sequences(rows, naming, cache, session.reserve)
        return write_plan.plan_writes(made, naming, cache, self.settings, empty)

    def write(
        self, session: Session, rows: Sequence[Rows], naming: Naming, cache: SeedCache, empty: frozenset[str]
    ) -> list[Written]:
        if self.settings.level == "legacy":
            plan = write_plan.plan_writes(rows, naming, cache, self.settings, empty)
            return session.write_rows(write_plan.sourced_rows(rows, naming, plan))
        return session.write(self.plan(session, rows, naming, cache, empty), self.settings.switches)
