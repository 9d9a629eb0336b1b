"""Prepares stages, from their files to rows with handles, and resolves every reference of these rows.

To prepare writes nothing and needs only the catalog. To resolve asks the target which rows exist, and finds
the faults of all rows together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from seedlab.database.writer import Session
from seedlab.errors import DataFaults, Fault
from seedlab.flow import HANDLE, Catalog, Load, LoadMemory, Recorder, Stage, TableSpec
from seedlab.frames import guesses, tracing
from seedlab.frames.cache import SeedCache
from seedlab.frames.files.documents import collector_paused
from seedlab.frames.resolve import Handled, Naming, name_rows
from seedlab.frames.rules import Broken, confirm, suspects
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan import graph
from seedlab.plan.binder import Bound
from seedlab.plan.graph import Need
from seedlab.plan.keys import Keys, declared_keys
from seedlab.steps.agenda import Task
from seedlab.steps.looking import Look
from seedlab.steps.preparing import binding, reading, transforming
from seedlab.steps.preparing.respelling import respell
from seedlab.steps.preparing.shaping import Shaped
from seedlab.steps.recalling.reused_handles import ReusedHandles, reuse_handles
from seedlab.steps.recalling.unchanged_rows import FetchedRows, Recalled
from seedlab.steps.resolving import lookups, named_rows, rejecting
from seedlab.steps.resolving.rows import Rows, paths_of

# Chooses, by their places, the loads whose rows are staged by workers.
ChooseSpread = Callable[[Sequence[tuple[Load, Shaped]], Naming], frozenset[int]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """What is known of the stages that run, before the target is asked which rows it has.

    `read` are the rows of the files that were read, `rows` those of them that have to be written, and
    `broken` the rules that they break. Of stages that are `reduced`, only changed files were read, and only
    changed rows have to be written; `recalled` is then what the ledger remembers of them, and `changed` are
    the stages that have such rows. `fetched` are the remembered rows that were fetched before the files were
    read. The loads at the places `spread` have no rows here, since workers will read them.
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
    spread: frozenset[int] = frozenset()
    fetched: FetchedRows = field(default_factory=dict)

    @property
    def intact(self) -> frozenset[str]:
        """Stages whose files changed, but none of their rows."""
        read = frozenset(stage.id for stage in self.stages if stage.seeds)
        return (self.reduced & read) - self.changed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resolved:
    """The rows to be written, and what the target knows of them.

    `cache` has the ids that the target gave. `empty` are tables without rows, `filled` the others that
    matter. `rejected` are the rules broken by rows that were taken out.
    """

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
    choose_spread: ChooseSpread | None = None,
    fetched: FetchedRows = MappingProxyType({}),
) -> Prepared:
    """Read the files of stages, make loads of them, compute the handles of their rows and check them.

    `choose_spread` chooses the loads whose rows are not read here, because workers will read them. Of loads
    that were `fetched`, only the rows that differ from what is remembered are named and checked. Raises
    DataFaults for files and columns that are wrong, ConfigurationError for a wrong project; faults of single
    rows are collected in the result. Cost: no round trip, or one for keys that only the target can spell.
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
    catalog = _with_guessed_kinds(look, catalog, shaped)
    others = _unread_loads(task, stages)
    bound, pairs = _bound(shaped, catalog, _known_keys(task, stages, others, catalog), project.defaults)
    _check_dependencies(task, bound, others)
    with monitor.span("resolve"):
        naming = name_rows(catalog, bound.loads, settings.ids)
        pairs = respell(look, pairs, catalog)
        spread = choose_spread(pairs, naming) if choose_spread is not None else frozenset()
        # Without their streams, the loads that are spread are loads without rows.
        local = [(load, replace(s, stream=None) if n in spread else s) for n, (load, s) in enumerate(pairs)]
        held = [None if s.stream else s.frame for _, s in local]
        reused = reuse_handles(task, [load for load, _ in local], held, fetched)
        short_tables = _tables_of_short_handles(task, bound, fetched)
        rows, broken = _name_and_check(task, local, reused, naming, monitor, short_tables)
        rows = [replace(each, shaped=pairs[n][1]) if n in spread else each for n, each in enumerate(rows)]
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
        spread=spread,
        fetched=fetched,
    )


def _name_and_check(
    task: Task,
    pairs: Sequence[tuple[Load, Shaped]],
    reused: Mapping[int, ReusedHandles],
    naming: Naming,
    monitor: Monitor,
    short_tables: frozenset[str],
) -> tuple[list[Rows], list[Broken]]:
    """Name and check the rows of each load; where handles are `reused`, only those of changed rows.

    A load without changed rows is skipped, since naming no rows costs as much as naming a few.
    """
    changed = [
        (load, replace(shaped, frame=reused[n].changed) if n in reused else shaped)
        for n, (load, shaped) in enumerate(pairs)
    ]
    places = [n for n, (_, shaped) in enumerate(changed) if n not in reused or shaped.frame.height]
    rows, broken = named_rows.handle_rows(
        [changed[n] for n in places],
        naming,
        task.options.settings,
        monitor,
        short_tables,
        find_duplicates=task.options.rejects is not None,
    )
    named = dict(zip(places, rows, strict=True))
    return [
        named[n] if n in named else Rows(shaped=shaped, handled=Handled(load=load, frame=reused[n].no_rows()))
        for n, (load, shaped) in enumerate(changed)
    ], broken


def _tables_of_short_handles(task: Task, bound: Bound, fetched: FetchedRows) -> frozenset[str]:
    """Find the tables of whose rows not all handles are needed: short handles will do for very many rows.

    One seed fills such a table, with all its rows; nothing refers to it, and no remembered rows of it are
    compared by handles.
    """
    options, loads = task.options, bound.loads
    if options.environment.subset or options.rejects is not None or options.settings.level == "legacy":
        return frozenset()
    filled = Counter(load.table for load in loads)
    needed = {reference.parent for load in loads for reference in load.references}
    large = {name for name, each in fetched.items() if each is None}
    needed |= {load.table for load in task.memory.loads if load.name not in large}
    needed |= {
        load.table for load in loads if load.whole or load.null_key_columns or load.duplicates != "error"
    }
    return frozenset(table for table, seeds in filled.items() if seeds == 1) - needed


def _with_guessed_kinds(look: Look, catalog: Catalog, shaped: Sequence[Shaped]) -> Catalog:
    """Correct, by the values in the files, the kinds of columns that the database could only guess."""
    values = ((s.spec.table, (s.frame,) if s.stream is None else s.stream()) for s in shaped)
    corrected = guesses.correct(catalog, values)
    if corrected is not catalog and look.online:
        look.session.adopt(corrected)
    return corrected


def _bound(
    shaped: Sequence[Shaped],
    catalog: Catalog,
    known: Keys,
    defaults: Mapping[str, str],
) -> tuple[Bound, list[tuple[Load, Shaped]]]:
    try:
        return binding.bind(shaped, catalog, known, defaults)
    except DataFaults as found:
        raise DataFaults(with_lines(found.faults, shaped)) from None


def with_lines(faults: Sequence[Fault], shaped: Sequence[Shaped]) -> list[Fault]:
    """Find the lines of faults of which only the file and the row are known."""
    files = {file.name: file for each in shaped for file in each.seed.files}
    return tracing.complete(faults, files, {each.spec.table: each.spec.path for each in shaped})


def _unread_loads(task: Task, stages: Sequence[Stage]) -> list[LoadMemory]:
    """List the remembered loads of the project's seeds that are not read in this run."""
    read = {(stage.id, seed.name) for stage in stages for seed in stage.seeds}
    unread = task.agenda.declared_seeds.keys() - read
    return [load for load in task.memory.loads if load.files and load.name[:2] in unread]


def _known_keys(task: Task, stages: Sequence[Stage], others: Sequence[LoadMemory], catalog: Catalog) -> Keys:
    """Return the keys of tables that these stages do not fill, as the ledger has them or the project says.

    The key of a table of the loads `others` is that of the ledger, as its rows were named by it.
    """
    states = task.memory.tables
    read = {spec.table for spec in _specs(stages)}
    keys = declared_keys((spec for spec in _specs(task.agenda.declared) if spec.table not in read), catalog)
    names = {load.table for load in others} & states.keys()
    keys.columns |= {name: tuple(sorted(states[name].key)) for name in names}
    return keys


def _specs(stages: Sequence[Stage]) -> Iterator[TableSpec]:
    return (spec for stage in stages for seed in stage.seeds for spec in seed.tables)


def _check_dependencies(task: Task, bound: Bound, others: Sequence[LoadMemory]) -> None:
    """Raise ConfigurationError for a foreign key between stages of which none depends on the other.

    `others` are the remembered loads of seeds that do not run, which may fill the parents' tables.
    """
    needs = [
        Need(stage=load.stage, table=load.table, foreign_key_name=r.foreign_key.name, parent_table=r.parent)
        for load in bound.loads
        for r in load.references
    ]
    filled = [(load.table, load.stage) for load in bound.loads]
    filled += [(load.table, load.stage) for load in others]
    graph.check_dependencies(task.agenda.declared, needs, graph.providers(filled))


# ---- resolve --------------------------------------------------------------------------------------------


def resolve(
    look: Look, prepared: Prepared, task: Task, recorder: Recorder, empty: frozenset[str] | None = None
) -> Resolved:
    """Ask the target which rows exist; if any row is wrong, refuse the run or reject such rows.

    Raises DataFaults with all faults of all rows, unless rows may be rejected. `empty` are the tables without
    rows, by default those that the look finds. Tables and rows that the ledger is certain of are not asked
    for. If somebody has emptied a table since the look, its rows are merged all the same, and the server
    checks the foreign keys.
    """
    settings, naming = task.options.settings, prepared.naming
    with recorder.span("resolve"):
        cache = SeedCache(remembering="cache" in settings.switches)
        broken = [*prepared.broken, *named_rows.register(prepared.rows, naming, cache)]
        rows = named_rows.without_duplicates(prepared.rows)
        tables = {load.table for load in prepared.bound.loads}
        tables |= {reference.parent for load in prepared.bound.loads for reference in load.references}
        not_empty = {name for name, state in task.assessment.table_states.items() if state.rows}
        empty = look.empty(tables - not_empty) if empty is None else empty
        filled = frozenset(tables) - empty
        for staged in (each.staged for each in rows if each.staged):
            for answered in staged.answers:
                cache.remember(answered.label, answered.asked, answered.answer)
        loads = [each.load for each in rows]
        existing = prepared.recalled.existing_by_handle(task, loads) if prepared.recalled else {}
        for table, handles in existing.items():
            cache.add_rows(table, handles)
        questions = lookups.questions(rows, naming, cache, filled, existing)
        answered_now = lookups.look_up(look.session, questions, cache) if questions else []
        recorder.cache(hits=cache.hits, misses=cache.misses, queries=cache.queries)
        certain = confirm_broken(look.session if look.online else None, broken)
        certain += lookups.id_conflicts(rows, naming, cache)
        certain += lookups.ambiguous(rows, answered_now, naming)
        hints = task.agenda.left_out_tables(task.options.environment)
        certain += named_rows.orphans(rows, naming, cache, hints, certain)
        resolved = Resolved(rows=rows, cache=cache, empty=empty, filled=filled)
        if certain:
            if task.options.rejects is None:
                raise DataFaults(tracing.trace(certain, paths_of(prepared.read)))
            resolved = reject_rows(look, resolved, certain, naming)
        chosen = named_rows.subset(resolved.rows, task.options.environment.subset, naming)
    return replace(resolved, rows=chosen)


def reject_rows(look: Look, resolved: Resolved, broken: Sequence[Broken], naming: Naming) -> Resolved:
    """Take out the broken rows and those that depend on them, unless the target has their parents."""
    cache = resolved.cache
    if questions := rejecting.questions(resolved.rows, broken, naming, cache, resolved.filled):
        lookups.look_up(look.session, questions, cache)
    rejection = rejecting.reject(resolved.rows, broken, naming, cache)
    return replace(resolved, rows=rejection.rows, rejected=(*resolved.rejected, *rejection.broken))


def confirm_broken(session: Session | None, broken: Sequence[Broken]) -> list[Broken]:
    """Keep the faults that are certain; the target judges the suspects, or nobody where there is none."""
    suspected = suspects(broken)
    verdicts = session.invalid(suspected) if suspected and session is not None else []
    certain = [each for each in broken if not each.rule.suspect]
    if verdicts:
        certain += confirm([each for each in broken if each.rule.suspect], verdicts)
    return certain
