"""Collect the results of classifying rows: outcomes and differences, for every dialect."""

from __future__ import annotations

import polars as pl

from seedlab.flow import FILE, ROW, Classified, Load, Outcomes, TableWrite, WritePlan

# One line per row that would be created (`column` is null) and per value that would be updated; `old` and
# `new` are text as the database spells it, null for NULL.
DIFFERENCES = pl.Schema(
    {
        FILE: pl.UInt16,
        ROW: pl.UInt32,
        "outcome": pl.String,
        "column": pl.String,
        "old": pl.String,
        "new": pl.String,
    }
)
VALUES = pl.Schema({name: DIFFERENCES[name] for name in ("column", "old", "new")})


def all_new(write: TableWrite, plan: WritePlan) -> bool:
    """Tell whether all rows are new, because the table is empty or does not exist."""
    return write.table.name in plan.empty or not write.table.exists


def difference_lines(places: pl.DataFrame, values: pl.DataFrame | None = None) -> pl.DataFrame:
    """Make lines (DIFFERENCES) of places and their values (VALUES); without `values` all rows are new."""
    rows = places.select(FILE, ROW)
    if values is None:
        rows = rows.with_columns(pl.lit(None, dtype=dtype).alias(name) for name, dtype in VALUES.items())
    else:
        rows = rows.hstack(values)
    created = pl.when(pl.col("column").is_null()).then(pl.lit("created")).otherwise(pl.lit("updated"))
    return rows.select(FILE, ROW, created.alias("outcome"), *VALUES).cast(DIFFERENCES)


class Tally:
    """The outcomes and differences of one load's rows so far."""

    def __init__(self, load: Load, *, differences: bool) -> None:
        self._load = load
        self._outcomes = Outcomes()
        self._lines = [DIFFERENCES.to_frame()] if differences else None

    def add(self, outcomes: Outcomes) -> None:
        """Add outcomes."""
        self._outcomes += outcomes

    def add_lines(self, differences: pl.DataFrame) -> None:
        """Add lines of differences, if they are wanted."""
        if self._lines is not None:
            self._lines.append(differences)

    def add_new(self, places: pl.DataFrame) -> None:
        """Add rows that would all be created."""
        self.add(Outcomes(created=places.height))
        if self._lines is not None:
            self._lines.append(difference_lines(places))

    def classified(self) -> Classified:
        """Return the result, with differences in the order of the files."""
        differences = None if self._lines is None else pl.concat(self._lines).sort(FILE, ROW, "column")
        return Classified(load=self._load, outcomes=self._outcomes, differences=differences)


def tallies(plan: WritePlan, *, differences: bool) -> dict[Load, Tally]:
    """Start a tally for every load, in writing order."""
    loads = (load for write in plan.writes for load in write.loads)
    return {load: Tally(load, differences=differences) for load in loads}
