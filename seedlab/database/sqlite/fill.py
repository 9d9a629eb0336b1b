"""Fill large empty SQLite tables faster than row by row, with the same result.

Indexes made by CREATE INDEX are dropped and created again after the rows are written, and foreign keys are
checked then. Rows are inserted in key order, many per statement, while the next ones are encoded. An error
does not tell which row is at fault: after any error the plan is written again row by row.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

import polars as pl

from seedlab.database.sqlite import statements as sql
from seedlab.database.sqlite.connection import CountedConnection
from seedlab.database.sqlite.encode import as_stored, encode
from seedlab.database.sqlite.marks import Marked, Marker
from seedlab.database.sqlite.references import References
from seedlab.errors import SeedError
from seedlab.flow import Batch, Load, Outcomes, Recorder, Table, WritePlan, Written
from seedlab.flow.catalog import quote

LARGE = 20_000  # rows from which on this is faster (docs/performance.md)
_STATEMENT_ROWS = 2000  # rows per statement; more are not faster
_ENCODED_ROWS = 16_000  # rows encoded at a time: enough to make the fixed cost small, and to overlap writing
_AHEAD = 4
_TURN = 0.0001  # seconds

Statement = tuple[str, Sequence[object]]  # a statement and its parameters


class NotFilledError(SeedError):
    """The plan cannot be written in this way; it must be written row by row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Encoded rows of one load, in one of the plan's groups."""

    group: int
    load: Load
    rows: int
    statements: Sequence[Statement]


def fillable(connection: CountedConnection, plan: WritePlan) -> bool:
    """Tell whether a plan is large enough, has only empty tables, and allows to insert rows in this way.

    Triggers depend on the order of rows, and ON CONFLICT clauses would be overridden.
    """
    writes = plan.writes
    if sum(write.rows for write in writes) < LARGE or any(w.table.name not in plan.empty for w in writes):
        return False
    return not connection.run(sql.COUNT_ORDER_DEPENDENT)[0][0]


def fill_plan(
    connection: CountedConnection, recorder: Recorder, plan: WritePlan
) -> tuple[list[Written], Mapping[str, Marked]]:
    """Write all groups in order; also return the marks of tables whose stored values are certain.

    Foreign keys must be off; they are checked here. Raises NotFilledError, WriteError or
    sqlite3.IntegrityError, after which the transaction must be rolled back.
    """
    writes = plan.writes
    tables = list(dict.fromkeys(write.table.name for write in writes))
    markers = {name: Marker.of([w for w in writes if w.table.name == name]) for name in tables}
    references = References.of(list({write.table.name: write.table for write in writes}.values()))
    before = connection.run(sql.SCHEMA)
    with recorder.span("index"):
        indexes = [] if connection.run(sql.STATISTICS) else connection.run(sql.indexes(len(tables)), tables)
        for _, name, _ in indexes:
            connection.run(f"DROP INDEX main.{quote(name)}")
    last = {write.table.name: number for number, group in enumerate(plan.groups) for write in group}
    sent: dict[Load, int] = {}
    try:
        with _quick_turns(), ThreadPoolExecutor(1, thread_name_prefix="seedlab-encode") as pool:
            pieces = _ahead(pool, _pieces(recorder, plan, markers, references))
            for number, rows in groupby(pieces, attrgetter("group")):
                _fill(connection, recorder, rows, sent)
                with recorder.span("index"):
                    _finish(connection, {name for name in tables if last[name] == number}, indexes)
        with recorder.span("index"):
            _check(connection, references)
        _require(connection.run(sql.SCHEMA) == before, "all indexes are as they were")
    except BaseException:
        for load, count in sent.items():
            recorder.progress(load, -count)
        raise
    loads = [load for write in writes for load in write.loads]
    written = [Written(load=load, outcomes=Outcomes(created=sent.get(load, 0))) for load in loads]
    marked = {name: marker.marked() for name, marker in markers.items() if marker.certain}
    return written, marked


def _fill(
    connection: CountedConnection, recorder: Recorder, pieces: Iterable[_Piece], sent: dict[Load, int]
) -> None:
    for piece in pieces:
        with recorder.span("merge", load=piece.load, rows=piece.rows):
            for statement, parameters in piece.statements:
                connection.run(statement, parameters)
        sent[piece.load] = sent.get(piece.load, 0) + piece.rows
        recorder.progress(piece.load, piece.rows)


def _finish(connection: CountedConnection, tables: Collection[str], indexes: Sequence[Any]) -> None:
    """Create the indexes of filled tables again."""
    for table, _, statement in indexes:
        if table in tables:
            connection.run(statement)


def _check(connection: CountedConnection, references: References) -> None:
    """Raise NotFilledError for references to missing rows; SQLite checks the doubtful tables."""
    for table in references.doubtful:
        orphans = connection.run(sql.ANY_ORPHAN, (table,))
        _require(not orphans, f"every reference of table {table} has a parent")


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise NotFilledError(f"the plan must be written row by row: not {what}")


@contextmanager
def _quick_turns() -> Iterator[None]:
    """Shorten the interpreter's switch interval, as SQLite runs a statement in less than the usual 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _ahead(pool: Executor, pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    """Make pieces in a thread, a few of them in advance."""

    def following() -> _Piece | None:
        return next(pieces, None)

    waiting = deque(pool.submit(following) for _ in range(_AHEAD))
    while (piece := waiting.popleft().result()) is not None:
        waiting.append(pool.submit(following))
        yield piece


# ---- encoding -------------------------------------------------------------------------------------------


def _pieces(
    recorder: Recorder, plan: WritePlan, markers: Mapping[str, Marker], references: References
) -> Iterator[_Piece]:
    for number, write in ((number, write) for number, group in enumerate(plan.groups) for write in group):
        for batch in write.batches():
            for part in _ordered(batch, write.table).iter_slices(_ENCODED_ROWS):
                with recorder.span("stage", load=batch.load, rows=part.height):
                    statements = _statements(batch.load, part, write.table, markers[write.table.name])
                references.add(write.table, part)
                yield _Piece(group=number, load=batch.load, rows=part.height, statements=statements)
    references.judge()  # in this thread, while SQLite writes the last rows


def _ordered(batch: Batch, table: Table) -> pl.DataFrame:
    """Sort rows by key, approximately as text, so that the index of the key grows at its end.

    Rows keep their order if row ids are assigned in that order, or the table has no key.
    """
    numbered = any(column.sequence == "rowid" for column in table.columns.values())
    if numbered or batch.load.whole:
        return batch.frame
    named = dict.fromkeys(batch.load.key_columns)
    indexed = (key.columns for key in table.keys if {*key.columns} == named.keys())
    return batch.frame.sort(next(indexed, tuple(named)))


def _statements(load: Load, frame: pl.DataFrame, table: Table, marker: Marker) -> list[Statement]:
    columns: dict[str, Sequence[object]] = {}
    for name in load.columns:
        encoded = encode(table.columns[name], frame[name])
        _require(not encoded.unfit, f"every value fits column {name} of table {table.name}")
        columns[name] = encoded.values
    if marker.certain:
        marker.add({name: as_stored(table.columns[name], values) for name, values in columns.items()})
    size = min(_STATEMENT_ROWS, sql.rows_per_statement(len(columns)))
    target = sql.main(table.name)
    statements: list[Statement] = []
    for start in range(0, frame.height, size):
        rows = min(size, frame.height - start)
        parameters: list[object] = [None] * (rows * len(columns))
        for place, values in enumerate(columns.values()):
            parameters[place :: len(columns)] = values[start : start + rows]
        statement = sql.insert(target, load.columns, rows, otherwise="FAIL")
        statements.append((statement, parameters))
    return statements
