"""A run of the stages that have something to do: prepare, resolve, write and remember, in one transaction.

Of a stage of which only files changed, only these are read, and of their rows only those are written that
the ledger does not know just so. Whatever is not plain about that, the stage is run whole instead.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from seedlab import preparation, remembering, resolution, settling
from seedlab.agenda import Agenda, Task, as_it_was
from seedlab.database.writer import Session
from seedlab.errors import (
    CannotOrderRows,
    ConfigurationError,
    DataFaults,
    Fault,
    SeedError,
    TargetChanged,
    WriteError,
)
from seedlab.flow import (
    HANDLE,
    Catalog,
    Level,
    Load,
    Memo,
    Outcomes,
    Recorder,
    Settings,
    Stage,
    Tally,
    WritePlan,
    Written,
)
from seedlab.frames import tracing
from seedlab.frames.cache import SeedCache
from seedlab.frames.checks import Broken, suspects
from seedlab.frames.resolve import Naming, name_rows
from seedlab.insight.monitor import Monitor
from seedlab.looking import Look
from seedlab.plan import graph
from seedlab.plan.graph import Need
from seedlab.plan.schema import Bound
from seedlab.preparation import Shaped
from seedlab.remembering import Known, Left, Wrote
from seedlab.resolution import Rows

LEGACY: Level = "legacy"
SAVED_AGAIN = "saved again, but no row changed"
_TRY_AGAIN = frozenset({"40001", "40P01"})
NO_LEDGER = (
    "nothing is remembered in this target, since we may not make the schema seedlab: every run compares "
    "every row; GRANT CREATE ON DATABASE lets a run skip what has not changed"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """Everything known before the target is asked or written.

    `read` are the rows of the files that were read, `rows` those of them that have to be written: fewer in
    stages that are `reduced` to what changed.
    """

    stages: tuple[Stage, ...]
    catalog: Catalog
    bound: Bound
    naming: Naming
    read: Sequence[Rows]
    rows: Sequence[Rows]
    broken: Sequence[Broken]
    reduced: frozenset[str] = frozenset()
    known: Known | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resolved:
    """Rows whose every reference is known, and what the target has of them."""

    rows: Sequence[Rows]
    cache: SeedCache
    empty: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of every row of the stages that ran, and why others turned out to have nothing to do."""

    tallies: tuple[Tally, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)


class _NotReducibleError(SeedError):
    """The changed files alone do not tell enough; caught, and the stages are run whole."""


# ---- the run --------------------------------------------------------------------------------------------


def run(task: Task, look: Look, monitor: Monitor) -> Done:
    """Run the stale stages; nothing is written where no row turns out to differ from what is remembered.

    Raises TargetChanged when another session came between: look again, decide again.
    """
    prepared = _prepared(task, look, monitor)
    known = prepared.known
    if known is not None and prepared.reduced and not known.has_changed(prepared.read, prepared.rows):
        return Done(skipped=dict.fromkeys(task.standing.stale, SAVED_AGAIN))
    try:
        return _write(task, look, prepared, monitor)
    except WriteError as error:
        if error.sqlstate not in _TRY_AGAIN:
            raise
        raise TargetChanged(f"another session came between ({error.sqlstate})") from error
    except DataFaults as found:
        if prepared.reduced:
            look.session.rollback()
            return _write(task, look, prepare(task, look, monitor, task.stale), monitor)
        shaped = [each.shaped for each in prepared.read]
        raise DataFaults(_completed(found.faults, shaped)) from None


def _prepared(task: Task, look: Look, monitor: Monitor) -> Prepared:
    """Prepare what changed, or all of the stale stages where that does not do."""
    stages = task.stale
    smaller = [remembering.reduced(stage, task.standing.verdicts[stage.id], task.memory) for stage in stages]
    if task.options.environment.subset or not any(smaller):
        return prepare(task, look, monitor, stages)
    chosen = tuple(small or stage for small, stage in zip(smaller, stages, strict=True))
    reduced = frozenset(small.id for small in smaller if small is not None)
    try:
        return _reduce(task, look, prepare(task, look, monitor, chosen), reduced)
    except (DataFaults, ConfigurationError, _NotReducibleError):
        return prepare(task, look, monitor, stages)


def _reduce(task: Task, look: Look, prepared: Prepared, reduced: frozenset[str]) -> Prepared:
    """Leave of the reduced stages the rows that the ledger does not know just so."""
    if any(rows.shaped.stream is not None for rows in prepared.read if rows.load.stage in reduced):
        raise _NotReducibleError
    if resolution.register(prepared.read, prepared.naming, SeedCache()) or prepared.broken:
        raise _NotReducibleError
    known = remembering.recall(task.project.name, look.session, task.memory, prepared.read, reduced)
    if not known.covers(prepared.read, task.memory):
        raise _NotReducibleError
    return replace(prepared, rows=known.unknown(prepared.read), reduced=reduced, known=known)


# ---- prepare --------------------------------------------------------------------------------------------


def prepare(task: Task, look: Look, monitor: Monitor, stages: Sequence[Stage]) -> Prepared:
    """Read, shape, bind and name; files are read while the catalog is on its way, where that is known."""
    settings, project = task.options.settings, task.project
    seeds = tuple(seed for stage in stages for seed in stage.seeds)
    with _collector_paused():
        opened = preparation.read(stages, settings, monitor)
        catalog = look.catalog()
        shaped = preparation.shape(seeds, opened, catalog, monitor)
        del opened
    shaped = preparation.transform(shaped, project.root, project.transforms)
    bound, pairs = _bound(shaped, catalog)
    needs = [
        Need(stage=load.stage, table=load.table, foreign_key_name=r.foreign_key.name, parent_table=r.parent)
        for load in bound.loads
        for r in load.references
    ]
    graph.check_dependencies(task.agenda.declared, needs, _providers(bound))
    with monitor.span("resolve"):
        naming = name_rows(catalog, bound.loads, settings.ids)
        rows, broken = resolution.handle_rows(pairs, naming, settings, monitor)
    return Prepared(
        stages=tuple(stages),
        catalog=catalog,
        bound=bound,
        naming=naming,
        read=rows,
        rows=rows,
        broken=broken,
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


def _providers(bound: Bound) -> dict[str, list[str]]:
    providers: dict[str, list[str]] = {}
    for load in bound.loads:
        providers.setdefault(load.table, []).append(load.stage)
    return {table: list(dict.fromkeys(names)) for table, names in providers.items()}


# ---- resolve --------------------------------------------------------------------------------------------


def resolve(
    look: Look, prepared: Prepared, task: Task, recorder: Recorder, empty: frozenset[str] | None = None
) -> Resolved:
    """Ask the target what the files do not know, and refuse the run if any row is wrong.

    `empty` are the tables without rows, by default those of the look.
    """
    settings, naming = task.options.settings, prepared.naming
    with recorder.span("resolve"):
        cache = SeedCache(remembering="cache" in settings.switches)
        broken = [*prepared.broken, *resolution.register(prepared.rows, naming, cache)]
        rows = resolution.without_duplicates(prepared.rows)
        tables = {load.table for load in prepared.bound.loads}
        tables |= {reference.parent for load in prepared.bound.loads for reference in load.references}
        empty = look.empty(tables) if empty is None else empty
        asked = resolution.questions(rows, naming, cache, frozenset(tables) - empty)
        answers = look.session.lookup([each.ask for each in asked]) if asked else []
        for question, answer in zip(asked, answers, strict=True):
            cache.remember(question.label, question.ask.frame[HANDLE], answer)
        recorder.cache(hits=cache.hits, misses=cache.misses, queries=cache.queries)
        broken += resolution.id_conflicts(rows, naming, cache)
        broken += resolution.orphans(rows, naming, cache, _left_out_tables(task.agenda))
        _refuse_broken(look, prepared, broken)
        rows = resolution.subset(rows, task.options.environment.subset, naming)
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
        paths = {(r.load.seed, r.load.table): r.shaped.spec.path for r in prepared.read}
        raise DataFaults(tracing.trace(certain, paths))


# ---- write ----------------------------------------------------------------------------------------------


def _write(task: Task, look: Look, prepared: Prepared, monitor: Monitor) -> Done:
    session, ddl = look.session, look.ddl()
    remembers = _lock(task, session, monitor)
    if ddl.tables:
        session.create(ddl.tables)
    resolved = resolve(look, prepared, task, monitor)
    plan, written = _send(session, resolved, prepared.naming, task.options.settings, monitor)
    if plan is None:  # the database made the ids; what is remembered needs them
        known = resolve(look, prepared, task, monitor, empty=frozenset())
        plan = _ordered(known, prepared.naming, task.options.settings, monitor)
    if ddl.constraints_and_indexes:
        with monitor.span("index"):
            session.create(ddl.constraints_and_indexes)
    with monitor.span("commit"):
        done = _remember(task, look, prepared, resolved, plan, written, remembers=remembers)
        session.commit()
    return done


def _remember(
    task: Task,
    look: Look,
    prepared: Prepared,
    resolved: Resolved,
    plan: WritePlan,
    written: list[Written],
    *,
    remembers: bool,
) -> Done:
    """Leave in the ledger what the next run has to know."""
    session, memory = look.session, task.memory
    catalog = prepared.catalog
    if remembers and look.ddl().tables:
        catalog = replace(catalog, tables={**catalog.tables, **session.made().tables})
        session.adopt(catalog)
    known = prepared.known or remembering.recall(
        task.project.name, session, memory, prepared.read, frozenset()
    )
    wrote = Wrote(
        read=prepared.read,
        rows=resolved.rows,
        plan=plan,
        written=written,
        known=known,
        catalog=catalog,
        empty=resolved.empty,
    )
    if not remembers:
        return Done(tallies=remembering.tallies_of(wrote))
    left = remembering.leave(wrote, task.agenda, memory, session)
    session.ledger.remember(_memo(task, wrote, left), left.states)
    ran = {load.name for load in left.loads}
    others = [load for load in memory.loads if load.stage in prepared.reduced and load.name not in ran]
    return Done(tallies=(*left.tallies, *map(as_it_was, others)))


def _memo(task: Task, wrote: Wrote, left: Left) -> Memo:
    return Memo(
        project=task.project.name,
        run_id=task.run_id,
        environment=task.options.environment.name,
        level=task.options.settings.level,
        started=task.started,
        outcomes=sum((tally.outcomes for tally in left.tallies), Outcomes()),
        stages=remembering.stage_memories(wrote, task.agenda, task.standing, task.memory, task.run_id),
        loads=left.loads,
        contents=left.contents,
        marks=left.marks,
    )


def _lock(task: Task, session: Session, recorder: Recorder) -> bool:
    """Begin; with a ledger, lock out other seeders and see that none has come between."""
    memory = task.memory
    remembers = memory.possible and (memory.exists or session.ledger.ensure())
    if not remembers:
        recorder.note(NO_LEDGER)
    session.begin()
    if remembers and session.lock(task.options.wait) != memory.generation:
        raise TargetChanged("another seed has written since we looked")
    return remembers


def _send(
    session: Session, resolved: Resolved, naming: Naming, settings: Settings, recorder: Recorder
) -> tuple[WritePlan | None, list[Written]]:
    """Write set by set, or row by row: then without a plan that knows every id."""
    if settings.level == LEGACY:
        try:
            plan = _ordered(resolved, naming, settings, recorder)
            return None, session.write_rows(settling.sourced(resolved.rows, naming, plan))
        except CannotOrderRows as circle:
            recorder.note(f"{circle}; they are written set by set")
    with recorder.span("resolve"):
        rows = settling.with_sequences(resolved.rows, naming, resolved.cache, session.reserve)
        plan = _ordered(replace(resolved, rows=rows), naming, settings, recorder)
    return plan, session.write(plan, settings.switches)


def _ordered(resolved: Resolved, naming: Naming, settings: Settings, recorder: Recorder) -> WritePlan:
    return settling.plan_writes(resolved.rows, naming, resolved.cache, settings, resolved.empty, recorder)
