"""Finds what every source column means, as a column or a reference, and fills in the project's defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import polars as pl

from seedlab.errors import DataFaults
from seedlab.flow import Catalog, Load
from seedlab.plan import binder
from seedlab.plan.columns import Given
from seedlab.plan.keys import Keys
from seedlab.steps.preparing.shaping import Shaped


def bind(
    shaped: Sequence[Shaped],
    catalog: Catalog,
    known: Keys | None = None,
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> tuple[binder.Bound, list[tuple[Load, Shaped]]]:
    """Make the load of each shaped table, paired with its rows, in which the defaults are filled in.

    `known` are the keys of tables that stages fill which do not run. Raises DataFaults for columns that mean
    nothing, and ConfigurationError as `binder.bind` does.
    """
    given = [Given(seed=each.seed, spec=each.spec, columns=each.columns) for each in shaped]
    bound = binder.bind(catalog, given, known, defaults)
    if bound.faults:
        raise DataFaults(bound.faults)
    pairs = zip(bound.loads, shaped, strict=True)
    return bound, [
        (load, _with_defaults(each, {name: defaults[name] for name in load.defaults})) for load, each in pairs
    ]


def _with_defaults(shaped: Shaped, values: Mapping[str, str]) -> Shaped:
    """Give every row the project's defaults, as if they stood in the files."""
    columns = [pl.lit(value, dtype=pl.String).alias(name) for name, value in values.items()]
    return shaped.with_columns(columns) if columns else shaped
