"""Classify rows on PostgreSQL without writing them, for previews: created, updated or unchanged.

All rows are sent as arrays, because a read-only transaction cannot create temporary tables (25006). Rows are
classified independently of each other, so they are distributed over several statements, except for tables
without a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from seedlab.database.classified import VALUES, all_new, difference_lines, tallies
from seedlab.database.postgres import classify_statements as sql
from seedlab.database.postgres import encode
from seedlab.database.postgres import write as postgres_write
from seedlab.database.postgres.failures import write_failed
from seedlab.database.postgres.wire import StatementError, Wire
from seedlab.flow import FILE, ROW, Batch, Classified, Outcomes, Table, TableWrite, WritePlan

Answer = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """Rows of one load for one statement: at most ARRAY_ROWS, or all rows for a table without a key."""

    table: Table
    batch: Batch

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.batch.frame.height


def classify_plan(wire: Wire, plan: WritePlan, *, differences: bool) -> list[Classified]:
    """Classify every row as a merge would. Raises WriteError, after which the transaction is aborted."""
    found = tallies(plan, differences=differences)
    for write in plan.writes:
        if all_new(write, plan):
            for batch in write.batches():
                found[batch.load].add_new(batch.frame)
                wire.recorder.progress(batch.load, batch.frame.height)
    all_parts = _parts([write for write in plan.writes if not all_new(write, plan)])
    for parts in encode.pipelines(all_parts, lambda part: part.batch.frame, postgres_write.ARRAY_ROWS):
        for part, answer in zip(parts, _ask(wire, parts, differences=differences), strict=True):
            tally = found[part.batch.load]
            wire.recorder.progress(part.batch.load, part.rows)
            if differences:
                found_lines = _lines(part, answer)
                tally.add_lines(found_lines)
                tally.add(_outcomes(found_lines, part.rows))
            else:
                updated, created, rows = answer[0]
                tally.add(Outcomes(created=created, updated=updated, unchanged=rows - updated - created))
    return [tally.classified() for tally in found.values()]


def _parts(writes: Sequence[TableWrite]) -> Iterator[_Part]:
    """Split batches into the parts of which each is one statement."""
    for write in writes:
        whole = write.loads[0].whole  # equal rows must be counted together
        for batch in postgres_write.together(write) if whole else write.batches():
            for frame in [batch.frame] if whole else encode.slices(batch.frame, postgres_write.ARRAY_ROWS):
                yield _Part(table=write.table, batch=Batch(load=batch.load, frame=frame))


def _ask(wire: Wire, parts: Sequence[_Part], *, differences: bool) -> list[Answer]:
    """Classify all parts in one pipeline; an error names the table of its part."""
    build = sql.differences if differences else sql.counts
    questions = []
    for part in parts:
        with wire.recorder.span("stage", load=part.batch.load, rows=part.rows):
            questions.append((build(part.batch.load, part.table), encode.array_literals(part.batch)))
    with wire.recorder.span("merge", load=parts[0].batch.load if len(parts) == 1 else None):
        try:
            return wire.ask(questions)
        except StatementError as failed:
            at = parts[failed.index].table.name if 0 <= failed.index < len(parts) else None
            raise write_failed(failed.error, at) from failed.error


def _lines(part: _Part, answer: Answer) -> pl.DataFrame:
    """Turn the server's answer into a frame of differences: row numbers become FILE and ROW."""
    differences = pl.DataFrame(answer, schema={"number": pl.UInt32, **VALUES}, orient="row")
    places = part.batch.frame.select(FILE, ROW)[differences["number"] - 1]
    return difference_lines(places, differences.drop("number"))


def _outcomes(differences: pl.DataFrame, rows: int) -> Outcomes:
    """Count rows by their differences; a row without any is unchanged."""
    created = differences["column"].null_count()
    changed = differences.filter(pl.col("column").is_not_null())
    updated = changed.select(pl.struct(FILE, ROW).n_unique()).item()
    return Outcomes(created=created, updated=updated, unchanged=rows - created - updated)
