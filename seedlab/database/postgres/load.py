"""Send the rows of empty PostgreSQL tables, with what has to be done before and after them.

All statements are one message, in which each COPY is a round trip of its own. Over a network whose round
trips take longer than the rows of a small table, small tables that follow each other are inserted from arrays
instead: by a pipeline, which is one round trip, however many tables there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import polars as pl
from psycopg.sql import Composable

from seedlab.database.postgres import encode, staging
from seedlab.database.postgres import statements as sql
from seedlab.database.postgres.copy_rows import (
    ENCODE_ROWS,
    InlineEncoder,
    ThreadedEncoder,
    count_sent,
    encoded,
    explain,
    raise_sequences,
)
from seedlab.database.postgres.encode_binary import has_binary_form
from seedlab.database.postgres.wire import Question, Results, StatementError, Wire
from seedlab.errors import SeedError, WriteError
from seedlab.flow import Batch, Load, Outcomes, TableWrite, Written

# From this many rows on a table is sent in COPY's binary format, which has a fixed cost of 8 ms per frame.
BINARY_ROWS = 6_000
# Seconds that a value takes longer in an array than in a COPY (docs/performance.md).
ARRAY_SECONDS = 1.3e-6
# The most values of all arrays of a load, which are in memory together.
ARRAY_VALUES = 1_000_000
# SQLSTATEs before the first row that only mean that something cannot be dropped: lock held, not the owner,
# not supported, other objects depend on it, it does not exist any more.
NOT_THIS_WAY = frozenset({"55P03", "42501", "0A000", "2BP01", "42704"})
# A table with pending deferred triggers cannot be altered, which fails only after the rows are copied.
PENDING = "55006"
# No memory for more locks: each foreign key that is dropped and created again takes several.
OUT_OF_LOCKS = "53200"
# Class of errors raised by the user's code, such as an event trigger that forbids ALTER TABLE.
RAISED = "P0"
# Classes of errors about the rows.
_ABOUT_ROWS = frozenset({"22", "23"})
_EMPTY = 2  # the statement that counts tables with rows is the third


class LoadFailed(Exception):
    """A statement of a load failed: before the rows (`early`), in those of `write`, or after the rows."""

    def __init__(self, failed: StatementError, write: TableWrite | None, *, early: bool) -> None:
        super().__init__(failed)
        self.failed, self.write, self.early = failed, write, early
        self.state = failed.error.sqlstate or ""

    @property
    def explained(self) -> SeedError:
        """The error to raise to the caller."""
        return explain(self.failed, self.write)

    @property
    def message(self) -> str:
        """The server's message, in one line."""
        return self.failed.error.diag.message_primary or ""

    @property
    def avoidable(self) -> bool:
        """Tell whether the load may succeed with more constraints in place."""
        refused = self.state in NOT_THIS_WAY or self.state[:2] == RAISED
        return (self.early and refused) or self.state in (PENDING, OUT_OF_LOCKS)


class RowUnknown(Exception):
    """The server refused a row of an array; a COPY of the same rows will tell which row it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The statements around the rows; `behind` are those after the last rows of a table."""

    before: Sequence[Composable] = ()
    behind: Mapping[str, Sequence[Composable]] = field(default_factory=dict)
    end: Sequence[Composable] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """How rows are sent: `binary` if all columns have that form, encoded in a thread if `parallel`.

    Tables whose rows take less than `round_trip` seconds longer in arrays are inserted from arrays.
    """

    binary: bool = False
    parallel: bool = False
    round_trip: float = 0.0

    def is_binary(self, write: TableWrite) -> bool:
        """Tell whether a table is sent in COPY's binary format."""
        return self.binary and write.rows >= BINARY_ROWS and has_binary_form(write.table, write.columns)

    def by_arrays(self, write: TableWrite) -> bool:
        """Tell whether a table is inserted from arrays."""
        return not write.staged and _values(write) * ARRAY_SECONDS < self.round_trip


def _values(write: TableWrite) -> int:
    return write.rows * len(write.columns)


def see_empty(results: Results) -> None:
    """Raise WriteError (to be retried) when the third statement found a table with rows."""
    if len(results) > _EMPTY and int(results[_EMPTY].get_value(0, 0) or 0):
        raise WriteError(
            "another session wrote to a table that was empty when the run began; run again", sqlstate="40001"
        )


def load(
    wire: Wire, writes: Sequence[TableWrite], frame: Frame, options: SendOptions, *, looks: bool = False
) -> tuple[list[Written], Results]:
    """Send a load, encoding rows while the server works on earlier ones; return also all results.

    With `looks` the third statement counts the tables that are not empty. Raises LoadFailed, or RowUnknown.
    """
    counts: dict[Load, int] = {}
    messages = _messages(wire, writes, frame, options, counts)
    copied = [write for message in messages for write in message.copied]
    pieces = [encoded(wire, write, counts, binary=options.is_binary(write)) for write in copied]
    large = options.parallel and any(write.rows > ENCODE_ROWS for write in copied)
    results: Results = []
    message = messages[0]

    # One span: the server answers at the end, so copying and keys cannot be told apart.
    try:
        with (
            wire.recorder.span("merge", rows=sum(write.rows for write in writes)),
            ThreadedEncoder(pieces) if large else InlineEncoder(pieces) as bytes_of,
        ):
            copies = 0
            for message in messages:
                results += message.send(wire, bytes_of, copies, looks=looks and not results)
                copies += len(message.copied)
    except StatementError as failed:
        write = message.places.get(failed.index)
        if write and message.pipelined and (failed.error.sqlstate or "")[:2] in _ABOUT_ROWS:
            raise RowUnknown from failed
        early = message is messages[0] and failed.index < len(frame.before)
        raise LoadFailed(failed, write, early=early) from failed
    for write in writes:
        if write.staged:
            count_sent(wire, write.batches(), counts)
    return [
        Written(load=load, outcomes=Outcomes(created=counts.get(load, 0)))
        for write in writes
        for load in write.loads
    ], results


@dataclass(slots=True, kw_only=True)
class _Message:
    """Statements that are sent together: a pipeline, or one simple query in which rows are copied.

    `places` says which of them write rows of which table; `copied` are the tables that are sent by COPY.
    """

    pipelined: bool
    questions: list[Question] = field(default_factory=list)
    places: dict[int, TableWrite] = field(default_factory=dict)
    copied: list[TableWrite] = field(default_factory=list)

    def add(self, statements: Sequence[Composable]) -> None:
        """Append statements without parameters."""
        self.questions += [(each, ()) for each in statements]

    def add_rows(self, write: TableWrite, statement: Composable, parameters: Sequence[str] = ()) -> None:
        """Append a statement that writes rows of a table."""
        self.places[len(self.questions)] = write
        self.questions.append((statement, parameters))

    def send(
        self, wire: Wire, bytes_of: InlineEncoder | ThreadedEncoder, copies: int, *, looks: bool
    ) -> Results:
        """Send the statements, whose first COPY is number `copies` of the load.

        Raises StatementError, and WriteError for tables with rows.
        """
        try:
            results = (
                wire.pipeline(self.questions)
                if self.pipelined
                else self._send_copies(wire, bytes_of, copies, looks=looks)
            )
        except StatementError as failed:
            if looks and self.pipelined:
                see_empty(failed.results)
            raise
        if looks:
            see_empty(results)
        return results

    def _send_copies(
        self, wire: Wire, bytes_of: InlineEncoder | ThreadedEncoder, copies: int, *, looks: bool
    ) -> Results:
        def feed(number: int, results: Results) -> Iterator[bytes]:
            if number == 0 and looks:
                see_empty(results)
            return bytes_of.pieces(copies + number)

        statements = [statement for statement, _ in self.questions]
        return wire.script(statements, feed, lambda number: bytes_of.ahead(copies + number))


def _messages(
    wire: Wire, writes: Sequence[TableWrite], frame: Frame, options: SendOptions, counts: dict[Load, int]
) -> list[_Message]:
    """Make all statements of a load, in the order of the writes: triggers may read earlier tables."""
    messages: list[_Message] = []
    last = {write.table.name: number for number, write in enumerate(writes)}
    for number, (write, batches) in enumerate(zip(writes, _array_rows(writes, options), strict=True)):
        pipelined = batches is not None
        if not messages or messages[-1].pipelined != pipelined:
            messages.append(_Message(pipelined=pipelined))
            messages[-1].add(frame.before if number == 0 else ())
        if batches is not None:
            _add_arrays(wire, messages[-1], write, batches, counts)
        else:
            _add_write(messages[-1], write, options)
        if last[write.table.name] == number:
            messages[-1].add(frame.behind.get(write.table.name, ()))
    messages[-1].add(frame.end)
    messages[-1].add(raise_sequences((load, write.table) for write in writes for load in write.loads))
    return messages


def _array_rows(writes: Sequence[TableWrite], options: SendOptions) -> list[list[Batch] | None]:
    """Find the rows of each table that is inserted from arrays, as far as all these fit into memory.

    None for the others. As a pipeline between COPYs makes one message more, and two if COPYs follow, a few
    small tables there are copied, too.
    """
    found: list[list[Batch] | None] = []
    values = size = 0
    for write in writes:
        found.append(None)
        if options.by_arrays(write) and values + _values(write) <= ARRAY_VALUES:
            batches = list(write.batches())
            own = sum(int(batch.frame.estimated_size()) for batch in batches)
            if size + own <= encode.ARRAY_BYTES:
                values, size, found[-1] = values + _values(write), size + own, batches
    runs = [list(run) for _, run in groupby(found, lambda batches: batches is None)]
    saving = [len(run) > (n > 0) + (n < len(runs) - 1) for n, run in enumerate(runs)]
    return [batches if saves else None for run, saves in zip(runs, saving, strict=True) for batches in run]


def _add_arrays(
    wire: Wire, message: _Message, write: TableWrite, batches: Sequence[Batch], counts: dict[Load, int]
) -> None:
    with wire.recorder.span("stage", load=write.loads[0], rows=write.rows):
        literals = encode.frame_literals(
            pl.concat([batch.frame.select(write.columns) for batch in batches]), write.columns
        )
    statement = sql.insert(write.table, write.columns, sql.arrays_source(write.columns))
    message.add_rows(write, statement, literals)
    count_sent(wire, batches, counts)


def _add_write(message: _Message, write: TableWrite, options: SendOptions) -> None:
    for load in write.staged:  # its rows are in the target already
        message.add_rows(write, staging.insert(write.staged[load], load, write.table))
    if not write.staged:
        message.copied.append(write)
        binary = options.is_binary(write)
        message.add_rows(write, sql.copy_in(sql.qualified(write.table), write.columns, binary=binary))
