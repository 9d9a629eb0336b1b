"""Reuses the remembered handles of rows that are unchanged at the same place of the same file.

To hash a row's whole text (its digest) is much cheaper than to name and check it. So where a changed file has
as many rows as are remembered of it, rows with an equal digest at an equal place take the remembered handle,
and only the others are named and checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from seedlab.flow import DIGEST, FILE, HANDLE, ROW, Load
from seedlab.frames.resolve import digests
from seedlab.steps.agenda import Task
from seedlab.steps.recalling.unchanged_rows import FetchedRows, meaning_of, rows_of_load


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReusedHandles:
    """The rows of a load, of which those marked by `unchanged` keep their remembered handles.

    `frame` has all rows as the files have them, `remembered` a handle for each of them, and `changed` the
    rows that have to be named and checked.
    """

    frame: pl.DataFrame
    remembered: pl.Series
    unchanged: pl.Series
    changed: pl.DataFrame

    def all_handles(self, changed: pl.Series) -> pl.DataFrame:
        """Make a frame of FILE, ROW and HANDLE for all rows, given the handles of the changed ones."""
        handles = self.remembered.clone().rename(HANDLE)
        if len(changed):
            handles = handles.scatter((~self.unchanged).arg_true(), changed)
        return pl.DataFrame([self.frame[FILE], self.frame[ROW], handles])

    def no_rows(self) -> pl.DataFrame:
        """Make the frame of named rows for a load of which no row changed."""
        names = pl.Schema({HANDLE: pl.UInt128, DIGEST: pl.UInt64}).to_frame()
        return self.changed[[FILE, ROW]].clear().hstack(names)


def reuse_handles(
    task: Task,
    loads: Sequence[Load],
    frames: Sequence[pl.DataFrame | None],
    fetched: FetchedRows,
) -> dict[int, ReusedHandles]:
    """Find the loads whose remembered handles can be reused, by their places in `loads`.

    `frames` has the rows of each load as the files have them, or None where these are not held.
    """
    memories = {load.name: load for load in task.memory.loads}
    found: dict[int, ReusedHandles] = {}
    for n, (load, frame) in enumerate(zip(loads, frames, strict=True)):
        name = load.name
        if (fetched_rows := fetched.get(name)) is None or frame is None or load.whole:
            continue
        if memories[name].meaning != meaning_of(load):
            continue
        before = rows_of_load(load, memories[name], fetched_rows.rows)
        if before.height == frame.height:
            unchanged = (digests(frame) == before[DIGEST]) & (frame[FILE] == before[FILE])
            unchanged = unchanged.fill_null(value=False) if unchanged.null_count() else unchanged
            changed = frame.clear() if unchanged.all() else frame.filter(~unchanged)
            found[n] = ReusedHandles(
                frame=frame, remembered=before[HANDLE], unchanged=unchanged, changed=changed
            )
    return found
