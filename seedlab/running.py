"""From the files of the stages that have something to do to rows whose every reference is known.

Of a stage of which only files changed, only these are read, and of their rows only those are written that
the ledger does not know just so. Whatever is not plain about that, the stage is run whole instead.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from seedlab import binding, preparation, recalling, rejecting, resolution, transforming
from seedlab.agenda import Agenda, Task
from seedlab.database.writer import Session
from seedlab.errors import ConfigurationError, DataFaults, Fault, SeedError
from seedlab.flow import HANDLE, Catalog, Load, LoadMemory, Memory, Recorder, Stage
from seedlab.frames import guesses, tracing
from seedlab.frames.cache import SeedCache
from seedlab.frames.checks import Broken, suspects
from seedlab.frames.resolve import Naming, name_rows
from seedlab.insight.measuring.monitor import Monitor
from seedlab.looking import Look
from seedlab.plan import graph
from seedlab.plan.graph import Need
from seedlab.plan.schema import Bound
from seedlab.preparation import Shaped
from seedlab.recalling import Known
from seedlab.resolution import Question, Rows
from seedlab.respelling import respell

Apart = Callable[[Sequence[tuple[Load, Shaped]], Naming], frozenset[int]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """Everything known before the target is asked or written.

    `read` are the rows of the files that were read, `rows` those of them that have to be written: fewer in
    stages that are `reduced` to what changed. Those at the places `apart` were not gone through.
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
    changed: frozenset[str] = frozenset()
    apart: frozenset[int] = frozenset()

    @property
    def intact(self) -> frozenset[str]:
        """Stages whose files changed, but none of their rows."""
        return self.reduced - self.changed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resolved:
    """Rows whose every reference is known, and what the target has of them."""

    rows: Sequence[Rows]
    cache: SeedCache
    empty: frozenset[str]
    filled: frozenset[str]
    rejected: tuple[Broken, ...] = ()


class _NotReducibleError(SeedError):
    """The changed files alone do not tell enough; caught, and the stages are run whole."""


# ---- what changed ---------------------------------------------------------------------------------------


def prepared_of(task: Task, look: Look, monitor: Monitor, apart: Apart | None = None) -> Prepared:
    """Prepare what changed, or all of the stale stages where that does not do; `apart` as in `prepare`."""
    stages = task.stale
    smaller = [recalling.reduced(stage, task.standing.verdicts[stage.id], task.memory) for stage in stages]
    if task.options.environment.subset or task.options.rejects or not any(smaller):
        return prepare(task, look, monitor, stages, apart)
    chosen = tuple(small or stage for small, stage in zip(smaller, stages, strict=True))
    reduced = frozenset(small.id for small in smaller if small is not None)
    try:
        return _reduce(task, look, prepare(task, look, monitor, chosen, apart), reduced)
    except (DataFaults, ConfigurationError, _NotReducibleError):
        return prepare(task, look, monitor, stages, apart)


def _reduce(task: Task, look: Look, prepared: Prepared, reduced: frozenset[str]) -> Prepared:
    """Leave of the reduced stages the rows that the ledger does not know just so."""
    mine = [rows for rows in prepared.read if rows.load.stage in reduced]
    if any(rows.shaped.stream is not None or rows.load.whole for rows in mine):
        raise _NotReducibleError
    if resolution.register(prepared.read, prepared.naming, SeedCache()) or prepared.broken:
        raise _NotReducibleError
    known = recalling.recall(task, look.session, prepared.stages, prepared.read, reduced)
    unknown = known.unknown(prepared.read)
    if not known.covers(prepared.read, unknown, task.memory, prepared.catalog):
        raise _NotReducibleError
    rows = [each for each in unknown if each.handled.frame.height or each.shaped.stream]
    left = [each for each in prepared.read if each.load.stage in reduced and known.has_left(each)]
    changed = frozenset(each.load.stage for each in (*rows, *left))
    return replace(prepared, rows=rows, reduced=reduced, known=known, changed=changed)


# ---- prepare --------------------------------------------------------------------------------------------


def prepare(
    task: Task, look: Look, monitor: Monitor, stages: Sequence[Stage], apart: Apart | None = None
) -> Prepared:
    """Read, shape, bind and name; files are read while the catalog is on its way, where that is known.

    `apart` says of which loads, by their places, the rows are not gone through here: they come without any.
    """
    settings, project = task.options.settings, task.project
    seeds = tuple(seed for stage in stages for seed in stage.seeds)
    monitor.plan({stage.id: "waiting" for stage in stages})
    with _collector_paused():
        opened = preparation.read(stages, settings, monitor)
        catalog = look.catalog()
        shaped = preparation.shape(seeds, opened, catalog, monitor)
        del opened
    shaped = transforming.transform(shaped, project.root, project.transforms)
    catalog = _settled(look, catalog, shaped)
    others = _others(task, stages)
    bound, pairs = _bound(shaped, catalog, _keys(others, task.memory), project.defaults)
    needs = [
        Need(stage=load.stage, table=load.table, foreign_key_name=r.foreign_key.name, parent_table=r.parent)
        for load in bound.loads
        for r in load.references
    ]
    graph.check_dependencies(task.agenda.declared, needs, _providers(bound, others))
    with monitor.span("resolve"):
        naming = name_rows(catalog, bound.loads, settings.ids)
        pairs = respell(look, pairs, catalog)
        left = apart(pairs, naming) if apart is not None else frozenset()
        mine = [(load, replace(s, stream=None) if n in left else s) for n, (load, s) in enumerate(pairs)]
        rows, broken = resolution.handle_rows(mine, naming, settings, monitor)
        rows = [replace(each, shaped=pairs[n][1]) if n in left else each for n, each in enumerate(rows)]
        monitor.count(rows=sum(each.handled.frame.height for each in rows))
    return Prepared(
        stages=tuple(stages),
        catalog=catalog,
        bound=bound,
        naming=naming,
        read=rows,
        rows=rows,
        broken=broken,
        apart=left,
    )


def _settled(look: Look, catalog: Catalog, shaped: Sequence[Shaped]) -> Catalog:
    """Let the files say what columns are of which the database could only guess that."""
    given = ((s.spec.table, (s.frame,) if s.stream is None else s.stream()) for s in shaped)
    found = guesses.settle(catalog, given)
    if found is not catalog and look.online:
        look.session.adopt(found)
    return found


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


def _bound(
    shaped: Sequence[Shaped],
    catalog: Catalog,
    known: Mapping[str, tuple[str, ...]],
    defaults: Mapping[str, str],
) -> tuple[Bound, list[tuple[Load, Shaped]]]:
    try:
        return binding.bind(shaped, catalog, known, defaults)
    except DataFaults as found:
        raise DataFaults(completed(found.faults, shaped)) from None


def completed(faults: Sequence[Fault], shaped: Sequence[Shaped]) -> list[Fault]:
    """Find the lines of faults that only know their files and rows."""
    files = {file.name: file for each in shaped for file in each.seed.files}
    return tracing.complete(faults, files, {each.spec.table: each.spec.path for each in shaped})


def _others(task: Task, stages: Sequence[Stage]) -> list[LoadMemory]:
    """What is remembered of stages of the project that do not run: these know their files alone."""
    beside = {stage.id for stage in task.agenda.declared} - {stage.id for stage in stages}
    return [load for load in task.memory.loads if load.files and load.stage in beside]


def _keys(others: Sequence[LoadMemory], memory: Memory) -> dict[str, tuple[str, ...]]:
    """The keys of the tables that stages fill which do not run."""
    tables = {load.table for load in others} & memory.tables.keys()
    return {name: tuple(sorted(memory.tables[name].key)) for name in tables}


def _providers(bound: Bound, others: Sequence[LoadMemory]) -> dict[str, list[str]]:
    """The stages that fill each table, also those that do not run."""
    filled = [(load.table, load.stage) for load in bound.loads]
    filled += [(load.table, load.stage) for load in others]
    return graph.providers(filled)


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
        filled = frozenset(tables) - empty
        for told in (told for each in rows if each.staged for told in each.staged.answers):
            cache.remember(told.label, told.asked, told.answer)
        _ask(look, resolution.questions(rows, naming, cache, filled), cache)
        recorder.cache(hits=cache.hits, misses=cache.misses, queries=cache.queries)
        broken += resolution.id_conflicts(rows, naming, cache)
        broken += resolution.orphans(rows, naming, cache, _left_out_tables(task.agenda))
        resolved = Resolved(rows=rows, cache=cache, empty=empty, filled=filled)
        if certain := convict(look.session if look.online else None, broken):
            if task.options.rejects is None:
                paths = {(r.load.seed, r.load.table): r.shaped.spec.path for r in prepared.read}
                raise DataFaults(tracing.trace(certain, paths))
            resolved = set_apart(look, resolved, certain, naming)
        kept = resolution.subset(resolved.rows, task.options.environment.subset, naming)
    return replace(resolved, rows=kept)


def _ask(look: Look, asked: Sequence[Question], cache: SeedCache) -> None:
    """Ask the target, and remember what it answers."""
    answers = look.session.lookup([each.ask for each in asked]) if asked else []
    for question, answer in zip(asked, answers, strict=True):
        cache.remember(question.label, question.ask.frame[HANDLE], answer)


def set_apart(look: Look, resolved: Resolved, broken: Sequence[Broken], naming: Naming) -> Resolved:
    """Take broken rows out, and all that depend on them."""
    _ask(
        look,
        rejecting.questions(resolved.rows, broken, naming, resolved.cache, resolved.filled),
        resolved.cache,
    )
    rejection = rejecting.reject(resolved.rows, broken, naming, resolved.cache)
    return replace(resolved, rows=rejection.rows, rejected=(*resolved.rejected, *rejection.broken))


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


def convict(session: Session | None, broken: Sequence[Broken]) -> list[Broken]:
    """Let the target, if there is one, judge what is in doubt; what is left is wrong for certain."""
    doubtful = suspects(broken)
    verdicts = session.invalid(doubtful) if doubtful and session is not None else []
    certain = [each for each in broken if not each.rule.suspect]
    if verdicts:
        certain += resolution.convicted([each for each in broken if each.rule.suspect], verdicts)
    return certain
