"""Make the values that writers take, from a live catalog and a few columns of text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from uuid import UUID

import polars as pl

from seedlab.flow import (
    FILE,
    HANDLE,
    ROW,
    Batch,
    Catalog,
    Load,
    Mode,
    Outcomes,
    Seed,
    Sourced,
    SourceFile,
    TableSpec,
    TableWrite,
    WritePlan,
    Written,
)
from seedlab.frames.cache import SeedCache
from seedlab.frames.ids import assign_ids
from seedlab.frames.resolve import Handled, add_handles, name_rows
from seedlab.plan.binder import bind
from seedlab.plan.columns import Given

Columns = Mapping[str, Sequence[str | None]]


def load_of(
    catalog: Catalog, table: str, columns: Columns, *, mode: Mode = "upsert", key: Sequence[str] | None = None
) -> Load:
    """The load that a file with these columns would be."""
    return loads_of(catalog, {table: columns}, mode=mode, keys={table: key} if key else {})[0]


def loads_of(
    catalog: Catalog,
    tables: Mapping[str, Columns],
    *,
    mode: Mode = "upsert",
    keys: Mapping[str, Sequence[str]] | None = None,
) -> list[Load]:
    given = []
    for table, columns in tables.items():
        declared = (keys or {}).get(table)
        spec = TableSpec(table=table, key=tuple(declared) if declared else None)
        file = SourceFile(path=Path(f"{table}.csv"), name=f"{table}.csv", format="csv")
        seed = Seed(name=table, stage="test", files=(file,), tables=(spec,), mode=mode)
        given.append(Given(seed=seed, spec=spec, columns=tuple(columns)))
    bound = bind(catalog, given)
    assert not bound.faults
    return list(bound.loads)


def source_frame(columns: Columns) -> pl.DataFrame:
    frame = pl.DataFrame(dict(columns), schema=dict.fromkeys(columns, pl.String))
    places = pl.int_range(pl.len(), dtype=pl.UInt32).alias(ROW)
    return frame.with_columns(pl.lit(0, dtype=pl.UInt16).alias(FILE), places)


def sourced(
    catalog: Catalog, tables: Mapping[str, Columns], *, keys: Mapping[str, Sequence[str]] | None = None
) -> list[Sourced]:
    """Rows as the files have them, with their handles."""
    loads = loads_of(catalog, tables, keys=keys)
    naming = name_rows(catalog, loads, "uuid8")
    frames = [source_frame(columns) for columns in tables.values()]
    handled = [add_handles(frame, load, naming) for frame, load in zip(frames, loads, strict=True)]
    return [Sourced(load=load, frame=frame) for load, frame in zip(loads, handled, strict=True)]


def resolved(catalog: Catalog, rows: Iterable[Sourced]) -> list[Batch]:
    """The same rows with ids known; all of them are taken to be new."""
    rows = list(rows)
    naming, cache = name_rows(catalog, [each.load for each in rows], "uuid8"), SeedCache()
    frames = [assign_ids(Handled(load=each.load, frame=each.frame), naming, cache) for each in rows]
    return [Batch(load=each.load, frame=frame.drop(HANDLE)) for each, frame in zip(rows, frames, strict=True)]


def batch(load: Load, columns: Mapping[str, Sequence[str | int | UUID | None]]) -> Batch:
    """A batch of ready rows; UUIDs become UInt128."""
    series = []
    for name, values in columns.items():
        numbers = [int(v) if isinstance(v, UUID) else v for v in values]
        dtype = pl.UInt128 if any(isinstance(v, int) for v in numbers) else pl.String
        series.append(pl.Series(name, numbers, dtype=dtype))
    return Batch(load=load, frame=source_places(pl.DataFrame(series)))


def source_places(frame: pl.DataFrame) -> pl.DataFrame:
    row = pl.int_range(pl.len(), dtype=pl.UInt32).alias(ROW)
    return frame.with_columns(pl.lit(0, dtype=pl.UInt16).alias(FILE), row)


def write_plan(catalog: Catalog, batches: Sequence[Batch], empty: Collection[str]) -> WritePlan:
    """A group for each batch, in order."""
    return WritePlan(groups=tuple((table_write(catalog, each),) for each in batches), empty=frozenset(empty))


def table_write(catalog: Catalog, *batches: Batch) -> TableWrite:
    loads = tuple(each.load for each in batches)
    return TableWrite(
        table=catalog.tables[loads[0].table],
        loads=loads,
        rows=sum(len(each.frame) for each in batches),
        batches=lambda: iter(batches),
    )


def outcomes(written: Iterable[Written]) -> dict[str, Outcomes]:
    """Outcomes by table."""
    found: dict[str, Outcomes] = {}
    for each in written:
        found[each.load.table] = found.get(each.load.table, Outcomes()) + each.outcomes
    return found
