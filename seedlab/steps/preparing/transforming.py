"""Runs the project's own Python (transforms) on the rows of a seed, before they are written to its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from seedlab.errors import ConfigurationError
from seedlab.flow import FILE, ROW, TableSpec
from seedlab.plan import scripts
from seedlab.steps.preparing.shaping import Shaped

# The names by which a transform is given the row's number and its file's number.
PROVENANCE = {ROW: "_row", FILE: "_file"}


def transform(shaped: Sequence[Shaped], root: Path, script: str | None) -> list[Shaped]:
    """Replace the rows of seeds that name a transform by what it makes of them: a LazyFrame for each table.

    `script` is the project's file of transforms. Raises ConfigurationError where there is none, where the
    function is missing, fails or returns something else, and where a column has a name that a transform is
    given.
    """
    result: list[Shaped] = []
    for each in shaped:
        if each.seed.transform is None:
            result.append(each)
            continue
        if script is None:
            raise ConfigurationError(
                f"seed {each.seed.name} names a transform, but [project] names no transforms"
            )
        if taken := {*PROVENANCE.values()} & {*each.columns}:
            raise ConfigurationError(
                f"seed {each.seed.name}: a transform gets the columns _row and _file, which say where a row "
                f"came from, but {each.seed.files[0].name} has a column {min(taken)} of its own; rename it"
            )
        result += _transformed(each, each.seed.transform, root, script)
    return result


def _transformed(shaped: Shaped, name: str, root: Path, script: str) -> list[Shaped]:
    """Run the transform `name` on the rows of a seed, and make the rows of its tables of what it returns."""
    function = scripts.find_function(root, script, name)
    with scripts.running(root, script, name):
        tables = function(shaped.frame.rename(PROVENANCE).lazy())
    if not isinstance(tables, dict) or not all(
        isinstance(table, str) and isinstance(lazy, pl.LazyFrame | pl.DataFrame)
        for table, lazy in tables.items()
    ):
        raise ConfigurationError(f"{script}: {name} must return a dict of table name to LazyFrame")
    with scripts.running(root, script, name):  # only now lazy frames are computed
        frames = {table: _texts(lazy.lazy().collect()) for table, lazy in tables.items()}
    specs = {spec.table: replace(spec, path="$") for spec in shaped.seed.tables}
    result = []
    for table, frame in frames.items():
        if not _is_placed_within(frame, len(shaped.seed.files)):
            raise ConfigurationError(
                f"{script}: {name} changes _row or _file of table {table}, which say where a row came from; "
                "leave them as they are, or leave them out"
            )
        spec, placed = specs.get(table) or TableSpec(table=table), {ROW, FILE} <= {*frame.columns}
        result.append(Shaped(seed=shaped.seed, spec=spec, frame=_with_places(frame), placed=placed))
    return result


def _texts(frame: pl.DataFrame) -> pl.DataFrame:
    """Make all columns text but ROW and FILE, which are NULL where they are not as they were given."""
    kinds = {ROW: pl.UInt32, FILE: pl.UInt16}
    frame = frame.rename({given: own for own, given in PROVENANCE.items()}, strict=False)
    return frame.select(
        pl.col(name).cast(kinds[name], strict=False) if name in kinds else pl.col(name).cast(pl.String)
        for name in frame.columns
    )


def _with_places(frame: pl.DataFrame) -> pl.DataFrame:
    """Add ROW and FILE where a transform has dropped them: a number, and the first file."""
    rows = [] if ROW in frame.columns else [pl.int_range(pl.len(), dtype=pl.UInt32).alias(ROW)]
    files = [] if FILE in frame.columns else [pl.lit(0, dtype=pl.UInt16).alias(FILE)]
    return frame.with_columns(*rows, *files).select(pl.exclude(ROW, FILE), ROW, FILE)


def _is_placed_within(frame: pl.DataFrame, files: int) -> bool:
    """Tell whether ROW and FILE, where a transform kept them, may be those of rows of so many files."""
    kept = [frame[name] for name in (ROW, FILE) if name in frame.columns]
    within = FILE not in frame.columns or (frame[FILE] < files).all()
    return within and not any(each.null_count() for each in kept)
