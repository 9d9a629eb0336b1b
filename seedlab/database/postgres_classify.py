"""What a write would do with rows, asked of PostgreSQL and not done: for a preview.

All rows travel as arrays, whatever their number: a read-only transaction makes no temporary table (25006).
No row depends on another here, so many rows are cut into several statements, but for tables without a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from seedlab.database import classify_statements as sql
from seedlab.database import postgres_write
from seedlab.database.classified import VALUES, all_new, lines, tallies
from seedlab.database.encode import array_literals
from seedlab.database.failures import write_failed
from seedlab.database.wire import StatementError, Wire
from seedlab.flow import FILE, ROW, Batch, Classified, Outcomes, Table, TableWrite, WritePlan

Answer = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """Rows of one load for one statement.

    At most ARRAY_ROWS, or all where equal rows must be counted together.
    """

    table: Table
    batch: Batch

    @property
    def rows(self) -> int:
        """Rows of the part."""
        return self.batch.frame.height


def classify_plan(wire: Wire, plan: WritePlan, *, differences: bool) -> list[Classified]:
    """Classify every row as a merge would. Raises WriteError; the transaction is then of no use."""
    found = tallies(plan, differences=differences)
    writes = [write for group in plan.groups for write in group]
    for write in writes:
        if all_new(write, plan):
            for batch in write.batches():
                found[batch.load].add_new(batch.frame)
                wire.recorder.progress(batch.load, batch.frame.height)
    for parts in _pipelines([write for write in writes if not all_new(write, plan)]):
        for part, answer in zip(parts, _ask(wire, parts, differences=differences), strict=True):
            tally = found[part.batch.load]
            wire.recorder.progress(part.batch.load, part.rows)
            if differences:
                told = _lines(part, answer)
                tally.tell(told)
                tally.add(_outcomes(told, part.rows))
            else:
                updated, created, seen = answer[0]
                tally.add(Outcomes(created=created, updated=updated, unchanged=seen - updated - created))
    return [tally.classified() for tally in found.values()]


def _pipelines(writes: Sequence[TableWrite]) -> Iterator[list[_Part]]:
    """Cut the batches into statements, and gather small ones into one pipeline."""
    waiting: list[_Part] = []
    rows = 0
    limit = postgres_write.ARRAY_ROWS
    for write in writes:
        whole = write.loads[0].whole  # equal rows must be counted together
        for batch in postgres_write.together(write) if whole else write.batches():
            for frame in [batch.frame] if whole else batch.frame.iter_slices(limit):
                waiting.append(_Part(table=write.table, batch=Batch(load=batch.load, frame=frame)))
                rows += frame.height
                if rows >= limit:
                    yield waiting
                    waiting, rows = [], 0
    if waiting:
        yield waiting


def _ask(wire: Wire, parts: Sequence[_Part], *, differences: bool) -> list[Answer]:
    """Ask about all parts through one pipeline; say of a refused one which table it was about."""
    build = sql.differences if differences else sql.counts
    questions = []
    for part in parts:
        with wire.recorder.span("stage", load=part.batch.load, rows=part.rows):
            questions.append((build(part.batch.load, part.table), array_literals(part.batch)))
    with wire.recorder.span("merge", load=parts[0].batch.load if len(parts) == 1 else None):
        try:
            return wire.ask(questions)
        except StatementError as failed:
            at = parts[failed.index].table.name if 0 <= failed.index < len(parts) else None
            raise write_failed(failed.error, at) from failed.error


def _lines(part: _Part, answer: Answer) -> pl.DataFrame:
    """Turn the server's answer into a frame of differences: row numbers become FILE and ROW."""
    told = pl.DataFrame(answer, schema={"number": pl.UInt32, **VALUES}, orient="row")
    return lines(part.batch.frame.select(FILE, ROW)[told["number"] - 1], told.drop("number"))


def _outcomes(told: pl.DataFrame, rows: int) -> Outcomes:
    """Count rows by their lines; one without a line stays as it is."""
    created = told["column"].null_count()
    updated = told.filter(pl.col("column").is_not_null()).select(pl.struct(FILE, ROW).n_unique()).item()
    return Outcomes(created=created, updated=updated, unchanged=rows - created - updated)
