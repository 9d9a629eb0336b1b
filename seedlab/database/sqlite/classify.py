"""Classify rows on SQLite without writing them, for previews: created, updated or unchanged.

The rows are staged in a temporary table and classified as for a write; the file itself is only read.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from seedlab.database.classified import DIFFERENCES, VALUES, Tally, all_new, difference_lines, tallies
from seedlab.database.sqlite import statements as sql
from seedlab.database.sqlite.connection import CountedConnection
from seedlab.database.sqlite.encode import spell
from seedlab.database.sqlite.write import encode_rows, mark_rows, outcomes, send_prepared, stage_rows
from seedlab.errors import DataFaults, Fault
from seedlab.flow import FILE, ROW, Classified, Load, Recorder, TableWrite, WritePlan
from seedlab.flow.catalog import quote

STAGE = "seedlab_preview"


def classify_plan(
    connection: CountedConnection, recorder: Recorder, plan: WritePlan, *, differences: bool
) -> list[Classified]:
    """Classify every row as `write_plan` would. Raises DataFaults for invalid values and conflicting ids."""
    found = tallies(plan, differences=differences)
    for write in plan.writes:
        if all_new(write, plan):
            _add_new(recorder, write, found)
        else:
            _add_staged(connection, recorder, write, found, differences=differences)
    return [tally.classified() for tally in found.values()]


def _add_new(recorder: Recorder, write: TableWrite, found: dict[Load, Tally]) -> None:
    """Count the rows of an empty table, which are all new; raises DataFaults for invalid values."""
    faults: list[Fault] = []
    for batch in write.batches():
        with recorder.span("stage", load=batch.load, rows=batch.frame.height):
            _, unfit = encode_rows(batch, write.table)
        faults += unfit
        found[batch.load].add_new(batch.frame)
        recorder.progress(batch.load, batch.frame.height)
    if faults:
        raise DataFaults(faults)


def _add_staged(
    connection: CountedConnection,
    recorder: Recorder,
    write: TableWrite,
    found: dict[Load, Tally],
    *,
    differences: bool,
) -> None:
    stage_rows(connection, recorder, write, send_prepared, STAGE)
    with recorder.span("merge", load=write.loads[0]):
        counts = mark_rows(connection, write, STAGE)
        for number, load in enumerate(write.loads):
            found[load].add(outcomes(counts, number))
        for number, told in _lines(connection, write) if differences else ():
            found[write.loads[number]].add_lines(told)
        connection.run(f"DROP TABLE temp.{quote(STAGE)}")


def _lines(connection: CountedConnection, write: TableWrite) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield the differences of the staged rows, by index of the load."""
    found: list[tuple[object, ...]] = [
        (number, file, row, None, None, None)
        for _, number, file, row in connection.run(sql.places(STAGE, sql.NEW))
    ]
    load, table = write.loads[0], write.table
    for column in sql.compared(load, table):
        found += [
            (number, file, row, column, spell(old), spell(new))
            for number, file, row, old, new in connection.run(sql.differences(STAGE, table, load, column))
        ]
    schema: dict[str, pl.DataType] = {"load": pl.UInt32()}
    schema |= {name: DIFFERENCES[name] for name in (FILE, ROW, *VALUES)}
    frame = pl.DataFrame(found, schema=schema, orient="row")
    for (number,), told in frame.group_by("load"):
        yield int(str(number)), difference_lines(told, told.select(VALUES.names()))
