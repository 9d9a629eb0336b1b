"""Deletes the rows that seedlab created: those of some stages, or of one run.

Only rows of which the ledger says that seedlab created them are deleted. Values that were updated cannot be
restored, since old values are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from seedlab.errors import ConfigurationError, Refused, TargetChanged, nearest
from seedlab.flow import (
    Catalog,
    LoadMemory,
    Memo,
    Memory,
    Options,
    Outcomes,
    Project,
    Recorder,
    Removal,
    RunMemory,
    TableState,
    Tally,
)
from seedlab.frames import contents, row_names
from seedlab.insight.formatting.text import several
from seedlab.steps.agenda import is_comparable, tally_of
from seedlab.steps.looking import Look
from seedlab.steps.remembering import other_projects, row_memory
from seedlab.steps.remembering.table_state import TouchedTable, marks_of, settle_states, store_marks


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoRequest:
    """Which rows to delete: those of `stages` (of all if none is named), or only those that `run` created."""

    project: Project
    options: Options
    run_id: str
    started: str
    stages: frozenset[str] = frozenset()
    run: str | None = None


def undo(request: UndoRequest, look: Look, recorder: Recorder) -> list[Tally]:
    """Delete the rows, and forget them; returns how many of each load.

    Raises Refused where other rows refer to them, or where the run also updated or deleted rows,
    ConfigurationError for an unknown stage or run, TargetChanged where another seeder has written since the
    look.
    """
    session, memory = look.session, look.memory()
    loads = _loads(request, memory)
    if not memory.exists:
        if request.run is not None:
            _refuse_impossible(request.run, ())
        recorder.note("this target has no ledger: no run of seedlab wrote to it")
        return []
    session.begin()
    if session.lock(request.options.wait) != memory.generation:
        raise TargetChanged("another seed wrote to the database during this run")
    if request.run is not None:
        _refuse_impossible(request.run, session.ledger.runs(request.project.name, request.run))
    packed = session.ledger.recall(request.project.name, [load.name for load in loads]) if loads else []
    remembered = dict(zip(loads, map(contents.unpack, packed), strict=True))
    to_delete = _rows_to_delete(request, remembered, recorder)
    catalog = look.catalog()
    existing = _existing(to_delete, catalog, recorder)
    existing = _without_rows_of_others(existing, request, look, recorder)
    removals = [row_memory.removal_of(load, rows, catalog) for load, rows in existing.items()]
    known = _comparable(removals, look)
    store_marks(session.ledger, known.values(), recorder)
    deleted = marks_of(session.ledger, removals, known)
    counts = session.delete(removals)
    touched = [
        TouchedTable(state=state, previous=state, deleted=deleted.get(name, b""))
        for name, state in known.items()
    ]
    states, marks = settle_states(session.ledger, touched)
    remaining = {load: contents.without(remembered[load], rows) for load, rows in to_delete.items()}
    session.ledger.remember(_memo(request, remaining, counts, marks), states)
    session.commit()
    return [tally_of(load, Outcomes(deleted=count)) for load, count in zip(existing, counts, strict=True)]


def _loads(request: UndoRequest, memory: Memory) -> list[LoadMemory]:
    """Find the remembered loads that are requested; none if their rows were never created, or are gone."""
    if not memory.possible:
        raise ConfigurationError(
            "this user may not read the ledger of this target; have the owner of the schema seedlab "
            "grant its use (`seedlab status` says which rights)"
        )
    known = {load.stage for load in memory.loads} | {stage.id for stage in request.project.stages}
    for name in sorted(request.stages - known):
        raise ConfigurationError(
            f"neither the project nor the ledger has a stage '{name}'{nearest(name, sorted(known))}"
        )
    return [load for load in memory.loads if not request.stages or load.stage in request.stages]


def _rows_to_delete(
    request: UndoRequest, remembered: Mapping[LoadMemory, pl.DataFrame], recorder: Recorder
) -> dict[LoadMemory, pl.DataFrame]:
    """Find the rows of each load to be deleted; rows of tables without a key are left, and noted."""
    ours = {load: contents.created_rows(content, request.run) for load, content in remembered.items()}
    to_delete = {}
    for load, rows in ours.items():
        if row_names.is_nameless(rows, load.made) and rows.height:
            recorder.note(
                f"{_staying(rows, load)}: the table has no key by which to tell rows apart; delete what "
                "should go yourself"
            )
        elif rows.height:
            to_delete[load] = rows
    return to_delete


def _existing(
    to_delete: Mapping[LoadMemory, pl.DataFrame], catalog: Catalog, recorder: Recorder
) -> dict[LoadMemory, pl.DataFrame]:
    """Leave out the rows that cannot be found any more; a note names the tables that are still there."""
    existing = {}
    for load, rows in to_delete.items():
        if row_memory.can_be_found(load, rows, catalog):
            existing[load] = rows
        elif load.table in catalog.tables and catalog.tables[load.table].holds_rows:
            recorder.note(
                f"{_staying(rows, load)}: the columns by which they are known are not there any more; delete "
                "what should go yourself"
            )
    return existing


def _without_rows_of_others(
    to_delete: Mapping[LoadMemory, pl.DataFrame], request: UndoRequest, look: Look, recorder: Recorder
) -> dict[LoadMemory, pl.DataFrame]:
    """Leave out the rows that another project created after us, and note them; we forget them, too."""
    theirs = other_projects.created_later(
        to_delete, look.session.ledger, request.project.name, look.memory().shared, look.catalog()
    )
    remaining = dict(to_delete)
    for load, rows in theirs.items():
        remaining[load] = contents.without(to_delete[load], rows)
        if rows.height:
            recorder.note(f"{_staying(rows, load)}: another project created again what was deleted here")
    return remaining


def _staying(rows: pl.DataFrame, load: LoadMemory) -> str:
    verb = "stays" if rows.height == 1 else "stay"
    return f"{several(rows.height, 'row')} of table {load.table} {verb}"


def _refuse_impossible(run: str, found: Sequence[RunMemory]) -> None:
    if not found:
        raise ConfigurationError(f"the ledger has no run '{run}'; seedlab status lists the runs that it has")
    outcomes = found[0].outcomes
    if outcomes.updated or outcomes.deleted:
        raise Refused(
            f"run {run} updated {outcomes.updated} and deleted {outcomes.deleted} rows, and their old values "
            "are not kept, so it cannot be rolled back; seed the older files again, or restore a backup"
        )


def _memo(
    request: UndoRequest,
    remaining: dict[LoadMemory, pl.DataFrame],
    counts: Sequence[int],
    marks: Mapping[str, bytes | None],
) -> Memo:
    """Make the memo of what remains; its stages are unfinished, so that the next run runs them."""
    not_empty = {load: content for load, content in remaining.items() if content.height}
    return Memo(
        project=request.project.name,
        run_id=request.run_id,
        environment=request.options.environment.name,
        level=request.options.settings.level,
        started=request.started,
        outcomes=Outcomes(deleted=sum(counts)),
        stages=(),
        loads=tuple(replace(load, rows=content.height) for load, content in not_empty.items()),
        contents=tuple(contents.packs(content) for content in not_empty.values()),
        forgotten=tuple(load.name for load in remaining if load not in not_empty),
        unfinished=tuple(sorted({load.stage for load in remaining})),
        marks=marks,
    )


def _comparable(removals: Sequence[Removal], look: Look) -> dict[str, TableState]:
    """Map tables to their remembered states, as far as these can still be compared with."""
    names = dict.fromkeys(removal.table.name for removal in removals)
    return {name: look.memory().tables[name] for name in names if is_comparable(name, look)}
