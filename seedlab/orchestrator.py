"""The order of the work, and the only module that knows it: look, prepare, resolve, write, report.

look       connect beside reading; catalog, conditions, selection
prepare    files → frames → loads → handles → checks        (preparation, resolution)
write      one transaction: DDL, look-ups, ids, rows, sequences
report     what became of every row, by stage and seed      (reporting)
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from seedlab import preparation, reporting, resolution, settling
from seedlab.database import connect, server
from seedlab.errors import CannotOrderRows, DataFaults, Fault, WriteError
from seedlab.flow import (
    HANDLE,
    Catalog,
    Level,
    Load,
    Options,
    Plan,
    Project,
    Run,
    Seed,
    Settings,
    Stage,
    Target,
    WritePlan,
    Written,
)
from seedlab.frames import tracing
from seedlab.frames.cache import SeedCache
from seedlab.frames.checks import Broken, suspects
from seedlab.frames.resolve import Naming, name_rows
from seedlab.insight.monitor import Monitor
from seedlab.insight.runs import Heading
from seedlab.looking import Look, look_offline, open_look
from seedlab.plan import conditions, graph, guards
from seedlab.plan.choices import TargetChoice
from seedlab.plan.conditions import Situation
from seedlab.plan.graph import Need
from seedlab.plan.schema import Bound
from seedlab.plan.selection import select
from seedlab.preparation import Shaped
from seedlab.resolution import Rows

EMBEDDED = "embedded"
LEGACY: Level = "legacy"
_RETRIES = 3
_TRY_AGAIN = frozenset({"40001", "40P01"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """The stages that run, in the order declared, and why each other stage or seed does not."""

    declared: tuple[Stage, ...]
    stages: tuple[Stage, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def seeds(self) -> tuple[Seed, ...]:
        """Seeds of all stages that run."""
        return tuple(seed for stage in self.stages for seed in stage.seeds)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """Everything known before the target is asked or written."""

    agenda: Agenda
    catalog: Catalog
    bound: Bound
    naming: Naming
    rows: Sequence[Rows]
    broken: Sequence[Broken]
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resolved:
    """Rows whose every reference is known, and what the target has of them."""

    rows: Sequence[Rows]
    cache: SeedCache
    empty: frozenset[str]


# ---- the calls ------------------------------------------------------------------------------------------


def open_target(choice: TargetChoice, project: Project) -> Target:
    """Settle which database is meant; without a URL the embedded server is started."""
    if choice.url is not None:
        # A file that the project names lies beside the project, one that a person types lies where they are.
        root = project.root if choice.name is not None else None
        return connect.parse_target(
            choice.url, choice.origin, name=choice.name, environment=choice.environment, root=root
        )
    url = server.start(os.environ).url(server.database_name(project.name))
    return connect.parse_target(url, EMBEDDED, environment=choice.environment)


def seed(project: Project, target: Target, options: Options, monitor: Monitor) -> Run:
    """Seed the target: afterwards it is as the files say, or as it was before.

    Raises ConfigurationError, DataFaults, Refused, ConnectionFailed or WriteError; nothing is then written.
    """
    guards.check_target(target, options.environment, options.yes_seed)
    guards.refuse_sync(project)
    with _looking(project, target, options, monitor) as look:
        prepared = _prepare(project, options, look, monitor)
        before = look.session.wal_position()
        written = _write_with_retries(look, prepared, options, monitor)
        after = look.session.wal_position()
    run = reporting.run_of(
        prepared.agenda.declared,
        prepared.agenda.left_out,
        written,
        _heading(project, target, options),
        monitor,
    )
    return replace(
        run,
        wal_bytes=after - before if before is not None and after is not None else None,
        data_fingerprint=prepared.fingerprint,
        versions={**run.versions, prepared.catalog.dialect: prepared.catalog.version},
    )


def plan(project: Project, target: Target, options: Options, monitor: Monitor) -> Plan:
    """Say what `seed` would do, up to the writing; nothing is written, no sequence steps."""
    with _looking(project, target, options, monitor) as look:
        prepared = _prepare(project, options, look, monitor)
        look.session.begin(read_only=True)
        resolved = _resolve(look, prepared, options, monitor)
        look.session.rollback()
    agenda = prepared.agenda
    rows = {each.load: each.handled.frame.height for each in resolved.rows}
    made = reporting.plan_of(
        project,
        target,
        options,
        agenda.declared,
        agenda.left_out,
        rows,
        resolved.empty,
        prepared.bound.key_origins,
    )
    return replace(made, notes=monitor.notes)


def check(project: Project, options: Options) -> tuple[str, ...]:
    """Check a project without a database, against its own MetaData; returns notes.

    Raises DataFaults or ConfigurationError. What only a database knows is left out and said in a note.
    """
    monitor = Monitor()
    look = look_offline(project)
    prepared = _prepare(project, options, look, monitor)
    _resolve(look, prepared, options, monitor)
    return (*monitor.notes, "checked without a database: rows it may have already were not looked up")


def _heading(project: Project, target: Target, options: Options) -> Heading:
    return Heading(
        project=project.name,
        target=target.shown,
        environment=options.environment.name,
        settings=options.settings,
    )


# ---- look and prepare -----------------------------------------------------------------------------------


@contextmanager
def _looking(project: Project, target: Target, options: Options, monitor: Monitor) -> Iterator[Look]:
    """Connect and read the catalog in a thread while the caller reads files; close at the end."""

    def create_database() -> None:
        server.ensure_database(server.start(os.environ), target.database)

    with ThreadPoolExecutor(1, thread_name_prefix="seedlab-connect") as pool:
        missing = create_database if target.origin == EMBEDDED else None
        look = open_look(pool, project, target, options.settings, monitor, missing)
        try:
            yield look
        finally:
            look.close()


def _prepare(project: Project, options: Options, look: Look, monitor: Monitor) -> Prepared:
    """Read, shape, bind and name; files are read while the catalog is on its way, where that is known."""
    settings = options.settings
    agenda = _agenda(project, options, look)
    with _collector_paused():
        opened = preparation.read(agenda.stages, settings, monitor)
        catalog = look.catalog()
        shaped = preparation.shape(agenda.seeds, opened, catalog, monitor)
        del opened
    shaped = preparation.transform(shaped, project.root, project.transforms)
    bound, pairs = _bound(shaped, catalog)
    needs = [
        Need(stage=load.stage, table=load.table, foreign_key_name=r.foreign_key.name, parent_table=r.parent)
        for load in bound.loads
        for r in load.references
    ]
    graph.check_dependencies(agenda.declared, needs, _providers(bound))
    with monitor.span("resolve"):
        naming = name_rows(catalog, bound.loads, settings.ids)
        rows, broken = resolution.handle_rows(pairs, naming, settings, monitor)
    return Prepared(
        agenda=agenda,
        catalog=catalog,
        bound=bound,
        naming=naming,
        rows=rows,
        broken=broken,
        fingerprint=preparation.fingerprint(agenda.seeds),
    )


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the garbage collector while documents are parsed: it would look through every object again
    and again (JSON took three times as long in the first run of a process), and finds nothing.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _bound(shaped: Sequence[Shaped], catalog: Catalog) -> tuple[Bound, list[tuple[Load, Shaped]]]:
    try:
        return preparation.bind(shaped, catalog)
    except DataFaults as found:
        raise DataFaults(_completed(found.faults, shaped)) from None


def _completed(faults: Sequence[Fault], shaped: Sequence[Shaped]) -> list[Fault]:
    files = {file.name: file for each in shaped for file in each.seed.files}
    return tracing.complete(faults, files, {each.spec.table: each.spec.path for each in shaped})


def _agenda(project: Project, options: Options, look: Look) -> Agenda:
    """Select stages; judge their conditions, once, by what the target has now."""
    stages = project.stages or _levels(project, look.catalog())
    chosen = select(stages, options.select, options.exclude, options.environment)
    if not any(stage.conditions for stage in chosen.stages):
        return Agenda(declared=stages, stages=chosen.stages, left_out=chosen.left_out)
    kept, left_out = [], dict(chosen.left_out)
    for stage in chosen.stages:
        parsed = [conditions.parse(text) for text in stage.conditions]
        situation = Situation(
            environment=options.environment.name,
            empty_tables=look.empty(conditions.tables_needed(parsed)),
            root=project.root,
            force=options.force,
        )
        verdict = conditions.judge(parsed, situation)
        if verdict.met:
            kept.append(stage)
        else:
            left_out[stage.id] = "; ".join(verdict.reasons)
    return Agenda(declared=stages, stages=tuple(kept), left_out=left_out)


def _levels(project: Project, catalog: Catalog) -> tuple[Stage, ...]:
    """Stages of a folder without configuration: the levels of its foreign-key graph, as files spell it."""
    names = {spec.table for seed in project.seeds for spec in seed.tables}
    tables = {name: table for name in names if (table := catalog.find(name)) is not None}
    needed = {name: {key.parent for key in table.foreign_keys} for name, table in tables.items()}
    parents = {name: {n for n, t in tables.items() if t.name in needed[name]} for name in tables}
    return graph.levels(project.seeds, parents)


def _providers(bound: Bound) -> dict[str, list[str]]:
    providers: dict[str, list[str]] = {}
    for load in bound.loads:
        providers.setdefault(load.table, []).append(load.stage)
    return {table: list(dict.fromkeys(names)) for table, names in providers.items()}


# ---- resolve and write ----------------------------------------------------------------------------------


def _resolve(look: Look, prepared: Prepared, options: Options, monitor: Monitor) -> Resolved:
    """Ask the target what the files do not know, and refuse the run if any row is wrong."""
    settings, naming = options.settings, prepared.naming
    with monitor.span("resolve"):
        cache = SeedCache(remembering="cache" in settings.switches)
        broken = [*prepared.broken, *resolution.register(prepared.rows, naming, cache)]
        rows = resolution.without_duplicates(prepared.rows)
        tables = {load.table for load in prepared.bound.loads}
        tables |= {reference.parent for load in prepared.bound.loads for reference in load.references}
        empty = look.empty(tables)
        asked = resolution.questions(rows, naming, cache, frozenset(tables) - empty)
        answers = look.session.lookup([each.ask for each in asked]) if asked else []
        for question, answer in zip(asked, answers, strict=True):
            cache.remember(question.label, question.ask.frame[HANDLE], answer)
        monitor.cache(hits=cache.hits, misses=cache.misses, queries=cache.queries)
        broken += resolution.id_conflicts(rows, naming, cache)
        broken += resolution.orphans(rows, naming, cache, _left_out_tables(prepared.agenda))
        _refuse_broken(look, prepared, broken)
        rows = resolution.subset(rows, options.environment.subset, naming)
    return Resolved(rows=rows, cache=cache, empty=empty)


def _left_out_tables(agenda: Agenda) -> dict[str, str]:
    """Say of tables that only seeds left out would fill why they are not."""
    told: dict[str, str] = {}
    for seed in (seed for stage in agenda.declared for seed in stage.seeds):
        why = agenda.left_out.get(f"{seed.stage}.{seed.name}") or agenda.left_out.get(seed.stage)
        if why is not None:
            told |= {
                spec.table: f"; seed '{seed.name}' brings such rows, but is {why}" for spec in seed.tables
            }
    return told


def _refuse_broken(look: Look, prepared: Prepared, broken: Sequence[Broken]) -> None:
    """Let the target judge what is in doubt; raise DataFaults with everything that is wrong."""
    doubtful = suspects(broken)
    verdicts = look.session.invalid(doubtful) if doubtful and look.online else []
    certain = [each for each in broken if not each.rule.suspect]
    if verdicts:
        certain += resolution.convicted([each for each in broken if each.rule.suspect], verdicts)
    if certain:
        paths = {(r.load.seed, r.load.table): r.shaped.spec.path for r in prepared.rows}
        raise DataFaults(tracing.trace(certain, paths))


def _write_with_retries(look: Look, prepared: Prepared, options: Options, monitor: Monitor) -> list[Written]:
    """Write in one transaction; when another session came between, look again and write again."""
    for attempt in range(_RETRIES):
        try:
            return _write(look, prepared, options, monitor)
        except WriteError as error:
            if error.sqlstate not in _TRY_AGAIN or attempt == _RETRIES - 1:
                raise
            reason = f"another session came between ({error.sqlstate})"
        except DataFaults as found:
            # A row that is refused as there already may be one that another session has added meanwhile.
            if attempt or not any(fault.rule == "unique" and fault.line is None for fault in found.faults):
                shaped = [each.shaped for each in prepared.rows]
                raise DataFaults(_completed(found.faults, shaped)) from None
            reason = "the target has a row that it had not when we looked"
        look.session.rollback()
        look.forget()
        monitor.note(f"{reason}; trying again")
    raise AssertionError("unreachable")  # pragma: no cover


def _write(look: Look, prepared: Prepared, options: Options, monitor: Monitor) -> list[Written]:
    session, ddl = look.session, look.ddl()
    session.begin()
    if ddl.tables:
        session.create(ddl.tables)
    resolved = _resolve(look, prepared, options, monitor)
    written = _send(look, resolved, prepared.naming, options.settings, monitor)
    if ddl.constraints_and_indexes:
        with monitor.span("index"):
            session.create(ddl.constraints_and_indexes)
    with monitor.span("commit"):
        session.commit()
    return written


def _send(
    look: Look, resolved: Resolved, naming: Naming, settings: Settings, monitor: Monitor
) -> list[Written]:
    """Write row by row or set by set; only the latter takes values from sequences before."""

    def ordered(rows: Sequence[Rows]) -> WritePlan:
        return settling.plan_writes(rows, naming, resolved.cache, settings, resolved.empty, monitor)

    session = look.session
    if settings.level == LEGACY:
        try:
            return session.write_rows(settling.sourced(resolved.rows, naming, ordered(resolved.rows)))
        except CannotOrderRows as circle:
            monitor.note(f"{circle}; they are written set by set")
    with monitor.span("resolve"):
        writes = ordered(settling.with_sequences(resolved.rows, naming, resolved.cache, session.reserve))
    return session.write(writes, settings.switches)
