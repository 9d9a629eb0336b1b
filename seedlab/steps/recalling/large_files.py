"""Compares very many rows of a changed file with what is remembered of them, holding neither.

Both are gone through batch by batch. Only the rows that differ are held, and what is remembered of these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from seedlab.database.writer import Session
from seedlab.flow import DIGEST, FILE, HANDLE, LEFT, LoadMemory, Memory, memory
from seedlab.frames import contents
from seedlab.frames.differences import differences
from seedlab.frames.resolve import Naming
from seedlab.steps.agenda import Task
from seedlab.steps.resolving import scanning
from seedlab.steps.resolving.rows import Rows, full_frames

_RECENT_PACKS = 2  # with more than so many packs of later changes, all rows are compared and packed anew


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LargeLoadChanges:
    """The rows of a large load that differ from what is remembered of it.

    `frame` has these rows as the files say them now, with handles. `before` is what is remembered of them,
    and of the rows that are no longer in the files that were read. `unchanged` counts the other remembered
    rows that are in files.
    """

    frame: pl.DataFrame
    before: pl.DataFrame
    unchanged: int


def large_loads(known: Memory) -> frozenset[tuple[str, str, str]]:
    """Name the remembered loads that are compared without holding their rows.

    These have very many rows, and no other load fills their table.
    """
    loads_of_table = Counter(load.table for load in known.loads)
    return frozenset(
        load.name
        for load in known.loads
        if load.rows > scanning.NAMED_ROWS
        and loads_of_table[load.table] == 1
        and load.table not in known.shared
    )


def compare_large_load(
    session: Session, task: Task, rows: Rows, known: LoadMemory, naming: Naming
) -> LargeLoadChanges | None:
    """Compare a load with what is remembered of it.

    Returns None where the load should be written and packed as a whole: its seed has other files than before,
    or more than a pack of rows differs, now or in sum since all rows were packed.
    Cost: reads the file once more, and fetches what is remembered once, or twice where something differs.
    """
    load = rows.load
    if known.files != tuple(file.name for file in task.agenda.declared_seeds[known.name[:2]].files):
        return None
    files_read = [file.name for file in load.files]

    def remembered() -> Iterator[pl.DataFrame]:
        return contents.unpack_apart(session.ledger.recall_apart(task.project.name, known.name))

    first = next(session.ledger.recall_apart(task.project.name, known.name), [])
    if contents.sizes(first)[1] > _RECENT_PACKS * memory.PACK_BYTES:
        return None
    before = (contents.renumber(each, known.files, files_read) for each in remembered())
    before = (each.filter(pl.col(FILE) != LEFT).select(FILE, HANDLE, DIGEST) for each in before)
    now = (each.drop(rows.shaped.columns) for each in full_frames(rows, naming))
    new, old = differences(now, before)
    frame = rows.handled.frame if new is None else new
    handles = frame[HANDLE] if old is None else pl.concat([frame[HANDLE], old[HANDLE]]).unique()
    if not len(handles):
        return LargeLoadChanges(frame=frame, before=contents.NOTHING, unchanged=known.rows)
    parts = [each.filter(pl.col(HANDLE).is_in(handles.implode())) for each in remembered()]
    replaced = pl.concat([part for part in parts if part.height] or [contents.NOTHING], how="diagonal")
    if frame.estimated_size() + replaced.estimated_size() >= memory.PACK_BYTES:
        return None
    unchanged = known.rows - contents.count_present(replaced)
    return LargeLoadChanges(frame=frame, before=replaced, unchanged=unchanged)
