"""Very many rows of a file that changed, compared with what is remembered of them without holding either.

Both are gone through batch by batch; only the rows that differ are held, and what is remembered of these.
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
from seedlab.steps.resolving.named_rows import Rows, kept_frames

_RECENT_PACKS = 2  # so much may lie behind what was packed at once; with more all rows are compared


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Differing:
    """The rows of a load that are not remembered just so, as those `Rows` are that are held by name.

    `before` is what is remembered of these, and of rows that have left the files that were read; `beside`
    counts the rows of files that are remembered, too.
    """

    frame: pl.DataFrame
    before: pl.DataFrame
    beside: int


def vast(known: Memory) -> frozenset[tuple[str, str, str]]:
    """The remembered loads of which not all rows need be held: those of very many, which no other load
    brings to the same table.
    """
    filled = Counter(load.table for load in known.loads)
    return frozenset(
        load.name
        for load in known.loads
        if load.rows > scanning.NAMED_ROWS and filled[load.table] == 1 and load.table not in known.shared
    )


def differing(
    session: Session, task: Task, rows: Rows, known: LoadMemory, naming: Naming
) -> Differing | None:
    """Compare a load with what is remembered of it. None: so much differs, or has differed since all was
    packed, that it is time to write and pack all of it; or the seed has other files than before.

    Cost: the file is read once more, and what is remembered fetched once; twice where something differs.
    """
    load = rows.load
    seeds = {(stage.id, seed.name): seed for stage in task.agenda.declared for seed in stage.seeds}
    if known.files != tuple(file.name for file in seeds[known.name[:2]].files):
        return None
    read = [file.name for file in load.files]

    def remembered() -> Iterator[pl.DataFrame]:
        return contents.unpack_apart(session.ledger.recall_apart(task.project.name, known.name))

    first = next(session.ledger.recall_apart(task.project.name, known.name), [])
    if contents.sizes(first)[1] > _RECENT_PACKS * memory.PACK_BYTES:
        return None
    then = (contents.renumber(each, known.files, read) for each in remembered())
    now = (each.drop(rows.shaped.columns) for each in kept_frames(rows, naming))
    new, old = differences(now, (e.filter(pl.col(FILE) != LEFT).select(FILE, HANDLE, DIGEST) for e in then))
    frame = rows.handled.frame if new is None else new
    handles = frame[HANDLE] if old is None else pl.concat([frame[HANDLE], old[HANDLE]]).unique()
    if not len(handles):
        return Differing(frame=frame, before=contents.NOTHING, beside=known.rows)
    parts = [each.filter(pl.col(HANDLE).is_in(handles.implode())) for each in remembered()]
    before = pl.concat([part for part in parts if part.height] or [contents.NOTHING], how="diagonal")
    if frame.estimated_size() + before.estimated_size() >= memory.PACK_BYTES:
        return None
    return Differing(frame=frame, before=before, beside=known.rows - contents.present(before))
