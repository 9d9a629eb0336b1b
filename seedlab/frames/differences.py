"""Compute the difference of two streams of rows that do not fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl

from seedlab.flow import DIGEST, FILE, HANDLE

_ROWS = 200_000  # rows read from each side before they are compared
_SAME = (FILE, HANDLE, DIGEST)


def differences(
    now: Iterable[pl.DataFrame], then: Iterable[pl.DataFrame]
) -> tuple[pl.DataFrame | None, pl.DataFrame | None]:
    """Return the rows of each side that the other one lacks, by FILE, HANDLE and DIGEST.

    Neither side may contain a row twice. A side without any batch gives None. Unmatched rows wait for later
    batches, so memory depends on how far rows have moved, not on their number; with an entirely different
    order it is that of all rows. Waiting rows are compared again only after as many new ones have arrived,
    so the cost is O(n log n) at worst.
    """
    left, right = _Side(now), _Side(then)
    while True:
        more = [side.read() for side in (left, right)]
        if not any(more) or left.new_rows + right.new_rows >= 2 * max(
            _ROWS, left.unmatched_rows, right.unmatched_rows
        ):
            _match(left, right)
        if not any(more):
            return left.unmatched, right.unmatched


class _Side:
    """One side: its rows that were compared without finding a match, and its new rows."""

    def __init__(self, batches: Iterable[pl.DataFrame]) -> None:
        self._batches: Iterator[pl.DataFrame] = (
            piece for batch in batches for piece in batch.iter_slices(_ROWS)
        )
        self._new: list[pl.DataFrame] = []
        self.new_rows = self.unmatched_rows = 0
        self.unmatched: pl.DataFrame | None = None

    def read(self) -> bool:
        """Read one more batch; False at the end."""
        batch = next(self._batches, None)
        if batch is not None:
            self._new.append(batch)
            self.new_rows += batch.height
        return batch is not None

    def waiting(self) -> pl.DataFrame | None:
        """Return all rows without a match so far."""
        frames = [*([] if self.unmatched is None else [self.unmatched]), *self._new]
        return pl.concat(frames, how="diagonal") if frames else None

    def keep(self, rows: pl.DataFrame | None) -> None:
        """Replace the waiting rows by those that still have no match."""
        self.unmatched, self._new, self.new_rows = rows, [], 0
        self.unmatched_rows = rows.height if rows is not None else 0


def _match(left: _Side, right: _Side) -> None:
    """Drop the waiting rows that both sides have."""
    ours, others = left.waiting(), right.waiting()
    if ours is not None and others is not None:
        ours, others = (
            ours.join(others, on=_SAME, how="anti", maintain_order="left"),
            others.join(ours, on=_SAME, how="anti", maintain_order="left"),
        )
    left.keep(ours)
    right.keep(others)
