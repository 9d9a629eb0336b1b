"""Leaves rows alone that another project created in the place of ours, when ours are to be deleted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl

from seedlab.database.ledger import Ledger
from seedlab.flow import Catalog, LoadMemory
from seedlab.frames import contents, recreated_rows
from seedlab.steps.agenda import Task
from seedlab.steps.remembering import row_memory
from seedlab.steps.remembering.row_memory import LoadUpdate
from seedlab.steps.remembering.written_run import WrittenRun


def load_updates(written_run: WrittenRun, task: Task, ledger: Ledger) -> list[LoadUpdate]:
    """Decide what is remembered of each load, as `row_memory.load_updates` does, and spare others' rows.

    A sync forgets the rows that another project created later, and does not delete them.
    """
    updates = row_memory.load_updates(written_run, task.agenda)
    to_delete = {each.previous: each.to_delete for each in updates if each.to_delete.height}
    theirs = created_later(to_delete, ledger, task.project.name, task.memory.shared, written_run.catalog)
    return [
        replace(each, to_delete=contents.without(each.to_delete, theirs[each.previous]))
        if each.previous in theirs
        else each
        for each in updates
    ]


def created_later(
    to_delete: Mapping[LoadMemory, pl.DataFrame],
    ledger: Ledger,
    project: str,
    shared: Collection[str],
    catalog: Catalog,
) -> dict[LoadMemory, pl.DataFrame]:
    """Return, of the loads into `shared` tables, the rows that another project created after us.

    Cost: nothing unless rows of a shared table are to be deleted; then what others remember of it is fetched.
    """
    ours = {load: rows for load, rows in to_delete.items() if load.table in shared}
    if not ours:
        return {}
    others: dict[str, list[recreated_rows.Content]] = {}
    projects = {project}
    for other, load in ledger.other_loads(project, {load.table for load in ours}):
        content = contents.unpack(ledger.recall(other, [load.name])[0])
        others.setdefault(load.table, []).append((content, load.made))
        projects.add(other)
    finished = {
        run.run_id: datetime.fromisoformat(run.finished).astimezone(UTC)
        for name in sorted(projects)
        for run in ledger.runs(name)
    }
    return {
        load: recreated_rows.created_later(
            (rows, load.made), others.get(load.table, []), catalog.tables[load.table], finished
        )
        for load, rows in ours.items()
    }
