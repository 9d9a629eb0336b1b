"""How rows get into a COPY, and which of them it stumbled over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import polars as pl
from psycopg.sql import Composable

from seedlab.database import statements as sql
from seedlab.database.encode import copy_text
from seedlab.database.failures import write_failed
from seedlab.database.wire import StatementError, Wire
from seedlab.errors import Fault, SeedError
from seedlab.flow import FILE, ROW, Batch, Load, Table, TableWrite

ENCODE_ROWS = 20_000  # encoded at a time: enough to forget the fixed cost, little enough to overlap
_COPY_LINE = re.compile(r"COPY .*, line (\d+)(?:, column ([^:]+))?")


def encoded(wire: Wire, write: TableWrite, counts: dict[Load, int]) -> Iterator[bytes]:
    """Encode batch by batch; small batches together, for what each costs beside its rows.

    Whoever asks for the next bytes has sent those before.
    """
    for batches in _gathered(write.batches()):
        frames = [batch.frame for batch in batches]
        with wire.recorder.span("stage", load=write.loads[0], rows=sum(map(len, frames))):
            text = copy_text(pl.concat(frames) if len(frames) > 1 else frames[0], write.columns)
        yield text
        for batch in batches:
            counts[batch.load] = counts.get(batch.load, 0) + batch.frame.height
            wire.recorder.progress(batch.load, batch.frame.height)


def _gathered(batches: Iterable[Batch]) -> Iterator[list[Batch]]:
    """Put small batches together until they are worth encoding."""
    waiting: list[Batch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.frame.height
        if rows >= ENCODE_ROWS:
            yield waiting
            waiting, rows = [], 0
    if waiting:
        yield waiting


def sequences(loads: Iterable[tuple[Load, Table]]) -> list[Composable]:
    """Sequences of columns whose values came from files end above them."""
    filled = {
        (table.name, name): (table, name)
        for load, table in loads
        for name in load.columns
        if table.columns[name].sequence and name != load.made
    }
    return [sql.raise_sequence(table, table.columns[name]) for table, name in filled.values()]


def explain(failed: StatementError, write: TableWrite | None) -> SeedError:
    """Find the row that a COPY stumbled over by the line it names; None where no COPY failed."""
    if write is None:
        return write_failed(failed.error)
    match = _COPY_LINE.match(failed.error.diag.context or "")
    return write_failed(failed.error, write.table.name, _row_at(write, match) if match else None)


def _row_at(write: TableWrite, match: re.Match[str]) -> Fault | None:
    """The row of a COPY's line: in the text format every row is one line."""
    place, column = int(match[1]) - 1, match[2]
    for batch in write.batches():
        if 0 <= place < batch.frame.height:
            file, row = batch.frame.select(FILE, ROW).row(place)
            name = batch.load.files[file].name
            return Fault(rule="", message="", file=name, row=row, column=column)
        place -= batch.frame.height
    return None
