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
    function is missing or returns something else, and where a column has a name that a transform is given.
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
        function = scripts.find_name(root, script, each.seed.transform)
        if not callable(function):
            raise ConfigurationError(f"{script}: {each.seed.transform} is not a function")
        if taken := {*PROVENANCE.values()} & {*each.columns}:
            raise ConfigurationError(
                f"seed {each.seed.name}: a transform gets the columns _row and _file, which say where a row "
                f"came from, but {each.seed.files[0].name} has a column {min(taken)} of its own; rename it"
            )
        result += _transformed(each, function(each.frame.rename(PROVENANCE).lazy()), script)
    return result


def _transformed(shaped: Shaped, tables: object, script: str) -> list[Shaped]:
    if not isinstance(tables, dict) or not all(
        isinstance(table, pl.LazyFrame | pl.DataFrame) for table in tables.values()
    ):
        raise ConfigurationError(
            f"{script}: {shaped.seed.transform} must return a dict of table name to LazyFrame"
        )
    specs = {spec.table: spec for spec in shaped.seed.tables}
    result = []
    for name, lazy in tables.items():
        frame = lazy.lazy().collect()
        frame = frame.rename({given: own for own, given in PROVENANCE.items()}, strict=False)
        placed = {ROW, FILE} <= set(frame.columns)
        if ROW not in frame.columns:
            frame = frame.with_row_index(ROW)
        if FILE not in frame.columns:
            frame = frame.with_columns(pl.lit(0).alias(FILE))
        own = [pl.col(name).cast(pl.String) for name in frame.columns if name not in (ROW, FILE)]
        frame = frame.select(*own, pl.col(ROW).cast(pl.UInt32), pl.col(FILE).cast(pl.UInt16))
        spec = specs.get(name) or TableSpec(table=name)
        spec = replace(spec, path="$")
        result.append(Shaped(seed=shaped.seed, spec=spec, frame=frame, placed=placed))
    return result
