"""`SeedCache`: which rows exist, in the files or in the target, and the ids that differ from their handles.

Everything is stored by label (`Naming.label`), which says of which table and key a handle is. Rows of the
files and rows found in the target are stored separately, because only the latter cost a query.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from seedlab.flow import HANDLE
from seedlab.frames.batcher import SMALL

_NONE = pl.Series(HANDLE, [], dtype=pl.UInt128)


class SeedCache:
    """Handles of existing rows, and values of their columns.

    `hits` counts handles that were known without a query, `misses` those that were not, `queries` the queries
    sent. With `remembering=False` the target's answers are not reused.
    """

    def __init__(self, *, remembering: bool = True) -> None:
        self._rows: dict[str, list[pl.Series]] = {}
        self._asked: dict[str, list[pl.Series]] = {}
        self._found: dict[str, list[pl.Series]] = {}
        self._values: dict[tuple[str, str], list[pl.DataFrame]] = {}
        self._exceptions: dict[tuple[str, str], pl.DataFrame | None] = {}  # computed from `_values` on demand
        self._remembering = remembering
        self.hits = 0
        self.misses = 0
        self.queries = 0

    def add_rows(self, label: str, handles: pl.Series) -> None:
        """Add handles of rows of the files."""
        self._rows.setdefault(label, []).append(handles.rename(HANDLE))

    def rows(self, label: str) -> pl.Series:
        """Return the handles of all rows of the files."""
        return _concat(self._rows.get(label))

    def to_ask(self, label: str, handles: pl.Series) -> pl.Series:
        """Return the distinct handles that are not in the files and were not looked up yet; count them."""
        distinct = handles.drop_nulls().unique(maintain_order=True).rename(HANDLE)
        known = [*self._rows.get(label, ()), *(self._asked.get(label, ()) if self._remembering else ())]
        left = distinct.filter(~distinct.is_in(_concat(known).implode())) if known else distinct
        self.hits += len(distinct) - len(left)
        self.misses += len(left)
        return left

    def unasked(self, label: str, handles: pl.Series) -> pl.Series:
        """Return the distinct handles that were not looked up yet, including those of the files."""
        distinct = handles.drop_nulls().unique(maintain_order=True).rename(HANDLE)
        return distinct.filter(~distinct.is_in(_concat(self._asked.get(label)).implode()))

    def remember(self, label: str, asked: pl.Series, answer: pl.DataFrame) -> None:
        """Store the answer of a look-up: HANDLE and value columns of the rows that exist in the target."""
        self.queries += 1
        self._asked.setdefault(label, []).append(asked.rename(HANDLE))
        self._found.setdefault(label, []).append(answer[HANDLE])
        for column in answer.columns:
            if column != HANDLE:
                self.expose(label, column, answer.select(HANDLE, column))

    def expose(self, label: str, column: str, values: pl.DataFrame) -> None:
        """Store values of a column (HANDLE, `column`) for references that need them."""
        self._values.setdefault((label, column), []).append(values)
        self._exceptions.pop((label, column), None)

    def found(self, label: str) -> pl.Series:
        """Return the handles of rows found in the target."""
        return _concat(self._found.get(label))

    def exists(self, label: str, handles: pl.Expr) -> pl.Expr:
        """Build an expression that is true where a handle is in the files or was found in the target."""
        known = _concat([*self._rows.get(label, ()), *self._found.get(label, ())])
        return handles.is_in(known.implode())

    def unknown(self, wanted: Mapping[str, pl.Series]) -> list[str]:
        """Return the labels with a handle, other than NULL, that is neither in the files nor in the target.

        Those of few handles are first looked at together, since usually all are known.
        """
        few = {label: handles for label, handles in wanted.items() if len(handles) < SMALL}
        left = wanted.keys() - few.keys() if self._knows(few) else wanted.keys()
        return [label for label in wanted if label in left and not self._knows({label: wanted[label]})]

    def _knows(self, wanted: Mapping[str, pl.Series]) -> bool:
        known = _concat(
            [each for label in wanted for each in (*self._rows.get(label, ()), *self._found.get(label, ()))]
        )
        return bool(_concat([*wanted.values()]).is_in(known.implode()).all(ignore_nulls=True))

    def all_values(self, label: str, column: str) -> pl.DataFrame | None:
        """Return HANDLE and `column` of all rows whose value is known; None when there are none."""
        frames = self._values.get((label, column))
        if not frames:
            return None
        return pl.concat(frames).unique(subset=[HANDLE], keep="first", maintain_order=True)

    def values(self, label: str, column: str) -> pl.DataFrame | None:
        """Return HANDLE and `column` of the rows whose value is not their handle; None without any."""
        if (label, column) not in self._exceptions:  # every reference to the table needs the same frame
            frame = self.all_values(label, column)
            if frame is not None and frame.schema[column] == pl.UInt128:
                frame = frame.filter(pl.col(column) != pl.col(HANDLE))
            self._exceptions[label, column] = None if frame is None or frame.is_empty() else frame
        return self._exceptions[label, column]


def _concat(series: list[pl.Series] | None) -> pl.Series:
    return pl.concat(series) if series else _NONE
