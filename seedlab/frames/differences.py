"""What differs between two streams of rows, of which neither fits into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl

from seedlab.flow import DIGEST, FILE, HANDLE

_ROWS = 200_000  # of either side, compared at a time at least
_SAME = (FILE, HANDLE, DIGEST)


def differences(
    now: Iterable[pl.DataFrame], then: Iterable[pl.DataFrame]
) -> tuple[pl.DataFrame | None, pl.DataFrame | None]:
    """Find the rows of either side that the other has not just so: of the same FILE, HANDLE and DIGEST.

    No row comes twice. None: a side has no batch. Rows that have found no partner wait for batches that
    come, so memory goes by how far rows have moved, not by their number; it is that of all rows where their
    order is another. They are looked through again only when as many more have come: n log n at worst.
    """
    mine, theirs = _Waiting(now), _Waiting(then)
    while True:
        more = [each.take() for each in (mine, theirs)]
        if not any(more) or mine.fresh + theirs.fresh >= 2 * max(_ROWS, mine.left, theirs.left):
            _settle(mine, theirs)
        if not any(more):
            return mine.rest, theirs.rest


class _Waiting:
    """The rows of one side that wait for their partners: those that were looked through, and `fresh` ones."""

    def __init__(self, batches: Iterable[pl.DataFrame]) -> None:
        self._batches: Iterator[pl.DataFrame] = (
            piece for batch in batches for piece in batch.iter_slices(_ROWS)
        )
        self._frames: list[pl.DataFrame] = []
        self.fresh = self.left = 0
        self.rest: pl.DataFrame | None = None

    def take(self) -> bool:
        """Take one more batch, if there is one."""
        batch = next(self._batches, None)
        if batch is not None:
            self._frames.append(batch)
            self.fresh += batch.height
        return batch is not None

    def all(self) -> pl.DataFrame | None:
        """Put together all that wait."""
        frames = [*([] if self.rest is None else [self.rest]), *self._frames]
        return pl.concat(frames, how="diagonal") if frames else None

    def keep(self, rows: pl.DataFrame | None) -> None:
        """Replace the waiting rows by those that found no partner."""
        self.rest, self._frames, self.fresh = rows, [], 0
        self.left = rows.height if rows is not None else 0


def _settle(mine: _Waiting, theirs: _Waiting) -> None:
    left, right = mine.all(), theirs.all()
    if left is not None and right is not None:
        alone = left.join(right, on=_SAME, how="anti", maintain_order="left")
        right = right.join(left, on=_SAME, how="anti", maintain_order="left")
        left = alone
    mine.keep(left)
    theirs.keep(right)
