"""Short handles: 64 bits of each handle, for the rows of a file larger than memory that nothing refers to.

They suffice to find keys that occur twice: equal short handles are verified with the full handles. What the
ledger needs of such rows is in `key_packs.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from seedlab.flow import HANDLE, Load
from seedlab.frames.resolve import reference_column

SHORT_HANDLE = "_seedlab_short_handle"

_PIECE_ROWS = 1 << 20  # rows that are searched for repeated keys at a time
_LOW = pl.lit((1 << 64) - 1, dtype=pl.UInt128)
_HALF = pl.lit(1 << 64, dtype=pl.UInt128)


def short_handle() -> pl.Expr:
    """Fold a handle to 64 bits, which may be equal for different handles."""
    return ((pl.col(HANDLE) & _LOW) ^ (pl.col(HANDLE) // _HALF)).cast(pl.UInt64).alias(SHORT_HANDLE)


@dataclass(slots=True, kw_only=True, eq=False)
class ShortHandles:
    """What is held of the rows of a load: their number, short handles, distinct parents per reference.

    `packs` are filled while the rows are written, and start anew with every attempt to write.
    """

    rows: int = 0
    each: list[pl.Series] = field(default_factory=list)
    parents: dict[int, pl.Series] = field(default_factory=dict)
    packs: list[bytes] = field(default_factory=list)
    twice: pl.Series | None = None

    def add(self, frame: pl.DataFrame, load: Load) -> None:
        """Add a batch of rows."""
        self.rows += frame.height
        self.each.append(frame.drop_nulls(HANDLE).select(short_handle()).to_series())
        for index in range(len(load.references)):
            more = frame.get_column(reference_column(index)).drop_nulls()
            known = self.parents.get(index)
            self.parents[index] = (more if known is None else pl.concat([known, more.unique()])).unique()

    def repeated(self) -> pl.Series:
        """Return the short handles that occur more than once, and free all others.

        Cost: one pass per million rows.
        """
        if self.twice is None:
            self.twice, self.each = self._repeated(), []
        return self.twice

    def _repeated(self) -> pl.Series:
        pieces = self.rows // _PIECE_ROWS + 1
        found = [pl.Series(SHORT_HANDLE, [], dtype=pl.UInt64)]
        for piece in range(pieces):
            part = pl.concat([each.filter(each % pieces == piece) for each in self.each] or found)
            if part.n_unique() < len(part):
                found.append(part.filter(part.is_duplicated()).unique())
        return pl.concat(found)
