"""Holds the rows of a load, in one of four forms, and gives them with all columns, as often as needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from seedlab.flow import FILE, HANDLE, ROW, Load, Staging
from seedlab.frames.resolve import Handled, Naming, add_handles, reference_column
from seedlab.frames.short_handles import ShortHandles
from seedlab.steps.preparing.shaping import Shaped


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answered:
    """A look-up that was answered: the handles that were asked for, and what the target has of them.

    `label` is the table, or the alternative key of it, by which the cache knows the handles.
    """

    label: str
    asked: pl.Series
    answer: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Staged:
    """Where workers have staged the rows of a load, and what they looked up for it.

    `names` has the columns by which the rows are known in the target, with FILE, ROW and HANDLE.
    """

    staging: Staging
    names: pl.DataFrame
    answers: Sequence[Answered]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """The rows of one load, with their handles, in one of four forms.

    *Held*: the frame of `handled` has their source columns, too. *Streamed*: it has only handles, and the
    source columns are read again from the files, by `shaped.stream`. *Short*: very many streamed rows, of
    which only `short_handles` are held; the frame is empty. *Staged*: workers have written them to a staging
    table, and `staged` says where.

    `written_keys` are frames of HANDLE and key columns, collected while rows are streamed to the target, so
    that the files need not be read once more for them.
    """

    shaped: Shaped
    handled: Handled
    staged: Staged | None = None
    short_handles: ShortHandles | None = None
    written_keys: list[pl.DataFrame] = field(default_factory=list)

    @property
    def height(self) -> int:
        """The number of rows."""
        return self.handled.frame.height if self.short_handles is None else self.short_handles.rows

    @property
    def load(self) -> Load:
        """The load that the rows are of."""
        return self.handled.load

    @property
    def is_held(self) -> bool:
        """Tell whether the frame has the source columns, too."""
        return self.shaped.stream is None

    def parent_handles(self, index: int) -> pl.Series:
        """Return the handles of the parents that the load's reference number `index` refers to."""
        if self.short_handles is not None:
            return self.short_handles.parents[index]
        return self.handled.frame.get_column(reference_column(index))

    def with_frame(self, frame: pl.DataFrame) -> Rows:
        """Replace the rows by others of the same load."""
        return replace(self, handled=replace(self.handled, frame=frame))


def paths_of(rows: Iterable[Rows]) -> dict[tuple[str, str], str]:
    """Map seed and table of each load to the path of its records in the files."""
    return {(each.load.seed, each.load.table): each.shaped.spec.path for each in rows}


def full_frames(rows: Rows, naming: Naming) -> Iterator[pl.DataFrame]:
    """Give the rows with source columns and handles: held ones as one frame, streamed ones in batches."""
    if rows.shaped.stream is None:
        yield rows.handled.frame
        return
    for batch in rows.shaped.stream():
        yield full_batch(rows, batch, naming)


def full_batch(rows: Rows, batch: pl.DataFrame, naming: Naming) -> pl.DataFrame:
    """Add handles to a batch that was read again, and leave only the rows that are in `rows`.

    These are found by place, since of rows with equal keys only one may have been kept.
    """
    full = add_handles(batch, rows.load, naming)
    if rows.short_handles is not None or not batch.height:
        return full
    named = _rows_of_batch(rows.handled.frame, batch)
    if rows.load.whole:  # equal rows are numbered, and their numbers depend on the rows of all batches
        handles = named.select(FILE, ROW, HANDLE)
        return full.drop(HANDLE).join(handles, on=[FILE, ROW], how="inner", maintain_order="left")
    return full.join(named, on=[FILE, ROW, HANDLE], how="semi", maintain_order="left")


def _rows_of_batch(named: pl.DataFrame, batch: pl.DataFrame) -> pl.DataFrame:
    """Slice the named rows that lie in a batch of one file; both are sorted by FILE and ROW."""
    start = named[FILE].search_sorted(batch[FILE][0], side="left")
    stop = named[FILE].search_sorted(batch[FILE][0], side="right")
    of_file = named.slice(start, stop - start)
    first = of_file[ROW].search_sorted(batch[ROW][0], side="left")
    end = of_file[ROW].search_sorted(batch[ROW][-1], side="right")
    return of_file.slice(first, end - first)
