"""Prepares the stages that run, reduced to what changed where that is enough.

Of a stage of which only files changed, only these files are read, and of their rows only those are written
that differ from what the ledger remembers. Wherever it is not certain that this makes the same database, the
stages are prepared as a whole instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from seedlab.errors import ConfigurationError, DataFaults, SeedError
from seedlab.flow import FILE, ROW, LoadName, Settings
from seedlab.frames.cache import SeedCache
from seedlab.frames.resolve import Naming, add_handles, number_equal_rows
from seedlab.frames.rules import Broken
from seedlab.insight.measuring.monitor import Monitor
from seedlab.steps.agenda import Task
from seedlab.steps.looking import Look
from seedlab.steps.pipeline import ChooseSpread, Prepared, prepare
from seedlab.steps.recalling.changed_files import reduced_stages
from seedlab.steps.recalling.large_files import LargeLoadChanges, compare_large_load
from seedlab.steps.recalling.unchanged_rows import FetchedRows, fetch_changed_loads, recall
from seedlab.steps.resolving import named_rows
from seedlab.steps.resolving.rows import Rows


class _NotReducibleError(SeedError):
    """The changed files alone do not tell enough; it is caught here, and all files are read."""


def prepare_changes(
    task: Task, look: Look, monitor: Monitor, choose_spread: ChooseSpread | None = None
) -> Prepared:
    """Prepare the stale stages, reduced to what changed if possible.

    `choose_spread` is passed on to `prepare` where the stages are prepared as a whole. Raises what that
    raises.
    """
    reduced = reduced_stages(task)
    if not reduced:
        return prepare(task, look, monitor, task.stale, choose_spread)
    try:
        prepared = task.prepared_early or _prepare_changed_files(
            task, look, monitor, fetch_changed_loads(task, look.session)
        )
        return _reduce(task, look, prepared, frozenset(reduced))
    except (DataFaults, ConfigurationError, _NotReducibleError):
        return prepare(task, look, monitor, task.stale, choose_spread)


def prepare_early(task: Task, look: Look, monitor: Monitor, fetched: FetchedRows) -> Prepared | None:
    """Prepare the changed files before it is known whether somebody changed a table.

    Returns None where that fails; the same error is raised again when the stages are prepared as a whole.
    """
    try:
        return _prepare_changed_files(task, look, monitor, fetched)
    except (DataFaults, ConfigurationError):
        return None


def _prepare_changed_files(task: Task, look: Look, monitor: Monitor, fetched: FetchedRows) -> Prepared:
    """Prepare the stale stages; those of which only files changed with just these files."""
    reduced = reduced_stages(task)
    stages = tuple(reduced.get(stage.id, stage) for stage in task.stale)
    return prepare(task, look, monitor, stages, fetched=fetched)


def _reduce(task: Task, look: Look, prepared: Prepared, reduced: frozenset[str]) -> Prepared:
    """Leave of the reduced stages the rows that differ from what is remembered."""
    read = [rows for rows in prepared.read if rows.load.stage in reduced]
    if any(rows.load.whole for rows in read):
        raise _NotReducibleError
    has_faults = any(not each.rule.suspect for each in prepared.broken)
    if has_faults or named_rows.register(prepared.read, prepared.naming, SeedCache()):
        raise _NotReducibleError
    large_changes = _compare_large_loads(task, look, prepared, reduced)
    recalled = recall(
        task, look.session, prepared.stages, prepared.read, reduced, prepared.fetched, large_changes
    )
    if any(rows.load.name not in recalled.rows for rows in read):
        raise _NotReducibleError
    changed = recalled.changed_rows(prepared.rows)
    if not recalled.suffices(prepared.read, changed, task.memory, prepared.catalog):
        raise _NotReducibleError
    rows = [
        _hold(each, prepared.naming, task.options.settings) if each.load.stage in reduced else each
        for each in changed
        if each.handled.frame.height or (each.shaped.stream and each.load.stage not in reduced)
    ]
    with_removed_rows = [each for each in read if recalled.has_removed_rows(each.load)]
    return replace(
        prepared,
        rows=rows,
        broken=list(_suspects_of(rows, prepared.broken, reduced)),
        reduced=reduced,
        recalled=recalled,
        changed=frozenset(each.load.stage for each in (*rows, *with_removed_rows)),
    )


def _compare_large_loads(
    task: Task, look: Look, prepared: Prepared, reduced: frozenset[str]
) -> dict[LoadName, LargeLoadChanges]:
    """Compare the loads of which no handles are held with what is remembered of them."""
    loads = {load.name: load for load in task.memory.loads}
    found: dict[LoadName, LargeLoadChanges] = {}
    for rows in prepared.read:
        name = rows.load.name
        if rows.short_handles is not None and rows.load.stage in reduced and name in loads:
            changes = compare_large_load(look.session, task, rows, loads[name], prepared.naming)
            if changes is None:
                raise _NotReducibleError
            found[name] = changes
    return found


def _suspects_of(rows: Sequence[Rows], broken: Sequence[Broken], reduced: frozenset[str]) -> Iterator[Broken]:
    """Keep the suspected faults of rows that are to be written; the target has taken all others before."""
    written = {each.load: each.handled.frame.select(FILE, ROW) for each in rows}
    for each in broken:
        if each.load.stage not in reduced:
            yield each
        elif each.load in written:
            frame = each.frame.join(written[each.load], on=[FILE, ROW], how="semi", maintain_order="left")
            if frame.height:
                yield replace(each, frame=frame)


def _hold(rows: Rows, naming: Naming, settings: Settings) -> Rows:
    """Read the files of a streamed load once more, to hold its changed rows if they fit into a batch."""
    wanted = rows.handled.frame.select(FILE, ROW)
    if rows.shaped.stream is None or wanted.height > settings.batch_rows:
        return rows
    found = [
        batch.join(wanted, on=[FILE, ROW], how="semi", maintain_order="left")
        for batch in rows.shaped.stream()
    ]
    shaped = replace(rows.shaped, frame=pl.concat(found), stream=None)
    frame = number_equal_rows(add_handles(shaped.frame, rows.load, naming), rows.load)
    return Rows(shaped=shaped, handled=replace(rows.handled, frame=frame))
