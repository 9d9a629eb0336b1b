"""Prepares stages, from their files to rows with handles, and resolves every reference of these rows.

To prepare writes nothing and needs only the catalog. To resolve asks the target which rows exist, and finds
the faults of all rows together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from seedlab.database.writer import Session
from seedlab.errors import DataFaults, Fault
from seedlab.flow import HANDLE, Catalog, Load, LoadMemory, Memory, Recorder, Stage
from seedlab.frames import guesses, tracing
from seedlab.frames.cache import SeedCache
from seedlab.frames.checks import Broken, confirmed, suspects
from seedlab.frames.documents import collector_paused
from seedlab.frames.resolve import Handled, Naming, name_rows
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan import graph
from seedlab.plan.graph import Need
from seedlab.plan.schema import Bound
from seedlab.steps.agenda import Task
from seedlab.steps.looking import Look
from seedlab.steps.preparing import binding, reading, transforming
from seedlab.steps.preparing.respelling import respell
from seedlab.steps.preparing.shaping import Shaped
from seedlab.steps.recalling.reused_handles import ReusedHandles, reuse_handles
from seedlab.steps.recalling.unchanged_rows import FetchedRows, Recalled
from seedlab.steps.resolving import named_rows, rejecting
from seedlab.steps.resolving.named_rows import Question, Rows

Apart = Callable[[Sequence[tuple[Load, Shaped]], Naming], frozenset[int]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """Everything known before the target is asked or written.

    `read` are the rows of the files that were read, `rows` those of them that have to be written: fewer in
    stages that are `reduced` to what changed. Those at the places `apart` were not gone through. `fetched` is
    what was fetched of the ledger for it.
    """

    stages: tuple[Stage, ...]
    catalog: Catalog
    bound: Bound
    naming: Naming
    read: Sequence[Rows]
    rows: Sequence[Rows]
    broken: Sequence[Broken]
    reduced: frozenset[str] = frozenset()
    recalled: Recalled | None = None
    changed: frozenset[str] = frozenset()
    apart: frozenset[int] = frozenset()
    fetched: FetchedRows = field(default_factory=dict)

    @property
    def intact(self) -> frozenset[str]:
        """Stages whose files changed, but none of their rows."""
        read = frozenset(stage.id for stage in self.stages if stage.seeds)
        return (self.reduced & read) - self.changed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resolved:
    """Rows whose every reference is known, and what the target has of them."""

    rows: Sequence[Rows]
    cache: SeedCache
    empty: frozenset[str]
    filled: frozenset[str]
    rejected: tuple[Broken, ...] = ()


# ---- prepare --------------------------------------------------------------------------------------------


def prepare(
    task: Task,
    look: Look,
    monitor: Monitor,
    stages: Sequence[Stage],
    apart: Apart | None = None,
    fetched: FetchedRows = MappingProxyType({}),
) -> Prepared:
    """Read, shape, bind and name; files are read while the catalog is on its way, where that is known.

    `apart` says of which loads, by their places, the rows are not gone through here: they come without any.
    Of loads that were `fetched` only rows that do not say what they said are judged.
    """
    settings, project = task.options.settings, task.project
    seeds = tuple(seed for stage in stages for seed in stage.seeds)
    monitor.plan({stage.id: "waiting" for stage in stages})
    with collector_paused():
        opened = reading.read(stages, settings, monitor)
        catalog = look.catalog()
        shaped = reading.shape(seeds, opened, catalog, monitor)
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
        held = [None if s.stream else s.frame for _, s in mine]
        reused = reuse_handles(task, [load for load, _ in mine], held, fetched)
        rows, broken = _handled(task, mine, reused, naming, monitor, _unnamed(task, bound, fetched))
        rows = [replace(each, shaped=pairs[n][1]) if n in left else each for n, each in enumerate(rows)]
        read = [
            each.with_frame(reused[n].all_handles(each.handled.frame[HANDLE])) if n in reused else each
            for n, each in enumerate(rows)
        ]
        monitor.count(rows=sum(each.height for each in read))
    return Prepared(
        stages=tuple(stages),
        catalog=catalog,
        bound=bound,
        naming=naming,
        read=read,
        rows=rows,
        broken=broken,
        apart=left,
        fetched=fetched,
    )


def _handled(
    task: Task,
    pairs: Sequence[tuple[Load, Shaped]],
    reused: Mapping[int, ReusedHandles],
    naming: Naming,
    monitor: Monitor,
    nameless: frozenset[str],
) -> tuple[list[Rows], list[Broken]]:
    """Name and judge the rows of each load; of those that are `reused` just the others, if there are any."""
    given = [
        (load, replace(shaped, frame=reused[n].changed) if n in reused else shaped)
        for n, (load, shaped) in enumerate(pairs)
    ]
    anew = [n for n, (_, shaped) in enumerate(given) if n not in reused or shaped.frame.height]
    found, broken = named_rows.handle_rows(
        [given[n] for n in anew],
        naming,
        task.options.settings,
        monitor,
        nameless,
        find_duplicates=task.options.rejects is not None,
    )
    named = dict(zip(anew, found, strict=True))
    return [
        named[n] if n in named else Rows(shaped=shaped, handled=Handled(load=load, frame=reused[n].no_rows()))
        for n, (load, shaped) in enumerate(given)
    ], broken


def _unnamed(task: Task, bound: Bound, fetched: FetchedRows) -> frozenset[str]:
    """Tables of which nobody needs the names of all rows: nothing refers to them, what is remembered of them
    is nothing, or left where it is; one seed fills them, with all of its rows.
    """
    options, loads = task.options, bound.loads
    if options.environment.subset or options.rejects is not None or options.settings.level == "legacy":
        return frozenset()
    filled = Counter(load.table for load in loads)
    named = {reference.parent for load in loads for reference in load.references}
    apart = {name for name, each in fetched.items() if each is None}
    named |= {load.table for load in task.memory.loads if load.name not in apart}
    named |= {load.table for load in loads if load.whole or load.duplicates != "error"}
    return frozenset(table for table, seeds in filled.items() if seeds == 1) - named


def _settled(look: Look, catalog: Catalog, shaped: Sequence[Shaped]) -> Catalog:
    """Let the files say what columns are of which the database could only guess that."""
    given = ((s.spec.table, (s.frame,) if s.stream is None else s.stream()) for s in shaped)
    found = guesses.settle(catalog, given)
    if found is not catalog and look.online:
        look.session.adopt(found)
    return found


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
    """What is remembered of seeds of the project that are not read: those that are know their files alone."""
    run = {(stage.id, seed.name) for stage in stages for seed in stage.seeds}
    beside = {(stage.id, seed.name) for stage in task.agenda.declared for seed in stage.seeds} - run
    return [load for load in task.memory.loads if load.files and load.name[:2] in beside]


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

    `empty` are the tables without rows, by default those of the look. What the ledger knows for certain is
    not asked: since when it was looked at others may have emptied a table, but then it is merged into all the
    same, and foreign keys are the server's to check.
    """
    settings, naming = task.options.settings, prepared.naming
    with recorder.span("resolve"):
        cache = SeedCache(remembering="cache" in settings.switches)
        broken = [*prepared.broken, *named_rows.register(prepared.rows, naming, cache)]
        rows = named_rows.without_duplicates(prepared.rows)
        tables = {load.table for load in prepared.bound.loads}
        tables |= {reference.parent for load in prepared.bound.loads for reference in load.references}
        held = {name for name, state in task.assessment.table_states.items() if state.rows}
        empty = look.empty(tables - held) if empty is None else empty
        filled = frozenset(tables) - empty
        for told in (told for each in rows if each.staged for told in each.staged.answers):
            cache.remember(told.label, told.asked, told.answer)
        loads = [each.load for each in rows]
        certain_ids = prepared.recalled.existing_by_handle(task, loads) if prepared.recalled else {}
        for table, handles in certain_ids.items():
            cache.add_rows(table, handles)
        _ask(look, named_rows.questions(rows, naming, cache, filled, certain_ids), cache)
        recorder.cache(hits=cache.hits, misses=cache.misses, queries=cache.queries)
        certain = convict(look.session if look.online else None, broken)
        certain += named_rows.id_conflicts(rows, naming, cache)
        certain += named_rows.orphans(rows, naming, cache, task.agenda.left_out_tables(), certain)
        resolved = Resolved(rows=rows, cache=cache, empty=empty, filled=filled)
        if certain:
            if task.options.rejects is None:
                paths = {(r.load.seed, r.load.table): r.shaped.spec.path for r in prepared.read}
                raise DataFaults(tracing.trace(certain, paths))
            resolved = set_apart(look, resolved, certain, naming)
        kept = named_rows.subset(resolved.rows, task.options.environment.subset, naming)
    return replace(resolved, rows=kept)


def _ask(look: Look, asked: Sequence[Question], cache: SeedCache) -> None:
    """Ask the target all questions in one look-up, and put the answers into the cache."""
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


def convict(session: Session | None, broken: Sequence[Broken]) -> list[Broken]:
    """Let the target, if there is one, judge what is in doubt; what is left is wrong for certain."""
    doubtful = suspects(broken)
    verdicts = session.invalid(doubtful) if doubtful and session is not None else []
    certain = [each for each in broken if not each.rule.suspect]
    if verdicts:
        certain += confirmed([each for each in broken if each.rule.suspect], verdicts)
    return certain
