"""`SeedCache`: which rows exist, and the ids of those whose id is not their handle.

A key's label (`Naming.label`) says which table and which of its keys a handle belongs to. What the files
bring and what the target answered are kept apart: only the latter costs a query.
"""

from __future__ import annotations

import polars as pl

from seedlab.flow import HANDLE

_NONE = pl.Series(HANDLE, [], dtype=pl.UInt128)


class SeedCache:
    """Handles known in this run, and the values behind the exceptions.

    `hits` counts references answered without asking the target, `misses` those that were asked, `queries`
    the questions sent. A disabled cache (`remembering=False`) keeps nothing between questions.
    """

    def __init__(self, *, remembering: bool = True) -> None:
        self._rows: dict[str, list[pl.Series]] = {}
        self._asked: dict[str, list[pl.Series]] = {}
        self._found: dict[str, list[pl.Series]] = {}
        self._values: dict[tuple[str, str], list[pl.DataFrame]] = {}
        self._exceptions: dict[tuple[str, str], pl.DataFrame | None] = {}  # made of `_values` when asked for
        self._remembering = remembering
        self.hits = 0
        self.misses = 0
        self.queries = 0

    def add_rows(self, label: str, handles: pl.Series) -> None:
        """Add the handles of rows that the files bring under a label."""
        self._rows.setdefault(label, []).append(handles.rename(HANDLE))

    def rows(self, label: str) -> pl.Series:
        """Handles of all rows the files bring under this label."""
        return _concat(self._rows.get(label))

    def to_ask(self, label: str, handles: pl.Series) -> pl.Series:
        """Distinct handles that neither the files bring nor the target has been asked about."""
        distinct = handles.drop_nulls().unique(maintain_order=True).rename(HANDLE)
        known = [*self._rows.get(label, ()), *(self._asked.get(label, ()) if self._remembering else ())]
        left = distinct.filter(~distinct.is_in(_concat(known).implode())) if known else distinct
        self.hits += len(distinct) - len(left)
        self.misses += len(left)
        return left

    def unasked(self, label: str, handles: pl.Series) -> pl.Series:
        """Distinct handles that the target has not been asked about, whether or not the files bring them."""
        distinct = handles.drop_nulls().unique(maintain_order=True).rename(HANDLE)
        return distinct.filter(~distinct.is_in(_concat(self._asked.get(label)).implode()))

    def remember(self, label: str, asked: pl.Series, answer: pl.DataFrame) -> None:
        """Keep the target's answer: HANDLE and value columns of the rows that exist."""
        self.queries += 1
        self._asked.setdefault(label, []).append(asked.rename(HANDLE))
        self._found.setdefault(label, []).append(answer[HANDLE])
        for column in answer.columns:
            if column != HANDLE:
                self.expose(label, column, answer.select(HANDLE, column))

    def expose(self, label: str, column: str, values: pl.DataFrame) -> None:
        """Keep a column's values by handle (HANDLE, `column`), for references that need them."""
        self._values.setdefault((label, column), []).append(values)
        self._exceptions.pop((label, column), None)

    def found(self, label: str) -> pl.Series:
        """Handles of rows that the target said exist."""
        return _concat(self._found.get(label))

    def exists(self, label: str, handles: pl.Expr) -> pl.Expr:
        """True where a handle is known from the files or the target."""
        known = _concat([*self._rows.get(label, ()), *self._found.get(label, ())])
        return handles.is_in(known.implode())

    def knows(self, label: str, handles: pl.Series) -> bool:
        """Tell whether all handles are known from the files or the target; NULL is."""
        known = _concat([*self._rows.get(label, ()), *self._found.get(label, ())])
        return bool(handles.is_in(known.implode()).all(ignore_nulls=True))

    def all_values(self, label: str, column: str) -> pl.DataFrame | None:
        """HANDLE and `column` of all rows whose value is known; None when there are none."""
        frames = self._values.get((label, column))
        if not frames:
            return None
        return pl.concat(frames).unique(subset=[HANDLE], keep="first", maintain_order=True)

    def values(self, label: str, column: str) -> pl.DataFrame | None:
        """HANDLE and `column` of the rows whose value is not the handle itself; None when there are none."""
        if (label, column) not in self._exceptions:  # every reference to the table asks
            frame = self.all_values(label, column)
            if frame is not None and frame.schema[column] == pl.UInt128:
                frame = frame.filter(pl.col(column) != pl.col(HANDLE))
            self._exceptions[label, column] = None if frame is None or frame.is_empty() else frame
        return self._exceptions[label, column]


def _concat(series: list[pl.Series] | None) -> pl.Series:
    return pl.concat(series) if series else _NONE
