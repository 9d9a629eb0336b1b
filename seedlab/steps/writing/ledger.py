"""The end of a transaction: what a sync deletes, and what the ledger remembers of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from seedlab.database.writer import Session
from seedlab.flow import Catalog, Memo, Outcomes, TableState, Tally, WritePlan, Written
from seedlab.plan import guards
from seedlab.steps.agenda import Task, unchanged_tally
from seedlab.steps.looking import Look
from seedlab.steps.pipeline import Prepared, Resolved
from seedlab.steps.recalling import unchanged_rows
from seedlab.steps.recalling.unchanged_rows import Name
from seedlab.steps.remembering import row_memory, stage_memory
from seedlab.steps.remembering.row_memory import Kept, Wrote
from seedlab.steps.remembering.table_state import Slight, marks_of, shifts_of
from seedlab.steps.resolving import rejecting


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sent:
    """The order of the writes, what became of them, and tables of which only few rows were written."""

    plan: WritePlan
    written: Sequence[Written] = ()
    slight: Mapping[str, Slight] = field(default_factory=dict)


def wrote_of(
    task: Task,
    session: Session,
    prepared: Prepared,
    resolved: Resolved,
    sent: Sent,
) -> Wrote:
    """Put together what a run did, or would do: then nothing is `written`."""
    known = prepared.known
    if known is None:
        known = unchanged_rows.recall(task, session, prepared.stages, prepared.read)
    return Wrote(
        run_id=task.run_id,
        stages=frozenset(stage.id for stage in prepared.stages),
        read=prepared.read,
        rows=resolved.rows,
        plan=sent.plan,
        written=sent.written,
        known=known,
        catalog=prepared.catalog,
        empty=resolved.empty,
        rejected=rejecting.handles(prepared.read, resolved.rejected),
        slight=sent.slight,
        ids=task.options.settings.ids,
    )


def remember(task: Task, look: Look, wrote: Wrote, resolved: Resolved) -> tuple[Tally, ...]:
    """Delete what a sync must, and leave in the ledger what the next run has to know."""
    session, memory = look.session, task.memory
    kept = row_memory.keep(wrote, task.agenda)
    states = stage_memory.states_of(wrote, memory, kept)
    doomed = {each.load.table for each in kept if each.doomed.height}
    wrote = replace(wrote, slight={name: e for name, e in wrote.slight.items() if name not in doomed})
    deleted, gone = _delete(task, session, kept, {state.table: state for state in states}, wrote.catalog)
    ran = {each.load.name for each in kept}
    others = [load for load in memory.loads if load.stage in wrote.known.reduced and load.name not in ran]
    tallies = (*tallies_of(wrote, resolved, kept, deleted), *map(unchanged_tally, others))
    stored, marks = stage_memory.content_of(states, wrote, memory, session, gone)
    declared = {stage.id for stage in task.agenda.declared}
    unfinished = tuple(
        sorted({each.load.stage for each in resolved.rejected} | (memory.stages.keys() - declared))
    )
    stages = stage_memory.stage_memories(wrote, task, memory)
    memo = Memo(
        project=task.project.name,
        run_id=task.run_id,
        environment=task.options.environment.name,
        level=task.options.settings.level,
        started=task.started,
        outcomes=sum((tally.outcomes for tally in tallies), Outcomes()),
        stages=tuple(stage for stage in stages if stage.stage not in unfinished),
        loads=tuple(each.load for each in kept),
        contents=tuple(each.packs(wrote.known) for each in kept),
        continued=frozenset(each.load.name for each in kept if each.continues(wrote.known)),
        forgotten=tuple(each.load.name for each in kept if not each.load.files and not each.content.height),
        marks=marks,
        shifts=shifts_of(session.ledger, wrote.slight),
        unfinished=unfinished,
        part=task.only_stage,
    )
    session.ledger.remember(memo, stored)
    return tallies


def _delete(
    task: Task, session: Session, kept: Sequence[Kept], states: Mapping[str, TableState], catalog: Catalog
) -> tuple[dict[Name, int], dict[str, bytes]]:
    """Delete rows that left the files of a sync; answers how many of each load, and their marks by table."""
    doomed = [each for each in kept if each.doomed.height]
    if not doomed:
        return {}, {}
    told = {
        f"seed {each.load.seed}, table {each.load.table}": (each.doomed.height, each.existing)
        for each in doomed
    }
    guards.check_deletes(told, task.options.max_delete)
    removals = [row_memory.removal_of(each.before, each.doomed, catalog) for each in doomed]
    gone = marks_of(session.ledger, removals, states)
    counts = session.delete(removals)
    return {each.load.name: count for each, count in zip(doomed, counts, strict=True)}, gone


def tallies_of(
    wrote: Wrote,
    resolved: Resolved,
    kept: Sequence[Kept] = (),
    deleted: Mapping[Name, int] | None = None,
) -> tuple[Tally, ...]:
    """Count every row once, also those that were rejected."""
    found = stage_memory.tallies_of(wrote, kept, deleted)
    rejection = rejecting.Rejection(rows=list(resolved.rows), broken=list(resolved.rejected))
    counts = {unchanged_rows.name_of(load): count for load, count in rejection.counts.items()}
    return tuple(
        replace(
            each,
            outcomes=replace(each.outcomes, rejected=counts.get((each.stage, each.seed, each.table), 0)),
        )
        for each in found
    )
