"""Encode rows for COPY while the server works on earlier ones, and find the row at which a COPY failed."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import polars as pl
from psycopg.sql import Composable

from seedlab.database.postgres import statements as sql
from seedlab.database.postgres.encode import copy_text
from seedlab.database.postgres.encode_binary import HEADER, TRAILER, copy_binary
from seedlab.database.postgres.failures import write_failed
from seedlab.database.postgres.wire import StatementError, Wire
from seedlab.errors import Fault, SeedError
from seedlab.flow import FILE, ROW, Batch, Load, Table, TableWrite

ENCODE_ROWS = 20_000  # rows encoded at a time: enough to make the fixed cost small, and to overlap sending
_AHEAD = 8  # the most encoded pieces that wait for the server, each of ENCODE_ROWS rows
_POLL = 0.05  # seconds between checks whether the load has failed
_COPY_LINE = re.compile(r"COPY .*, line (\d+)(?:, column ([^:]+))?")


def encoded(
    wire: Wire, write: TableWrite, counts: dict[Load, int], *, binary: bool = False
) -> Iterator[bytes]:
    """Encode the rows of a write piece by piece, and count them in `counts` once they are sent.

    A piece counts as sent when the next one is requested. Raises NotBinary for a value without binary form.
    """
    head = HEADER if binary else b""
    for batches in _gathered(write.batches()):
        frames = [batch.frame for batch in batches]
        with wire.recorder.span("stage", load=write.loads[0], rows=sum(map(len, frames))):
            frame = pl.concat(frames) if len(frames) > 1 else frames[0]
            columns, table = write.columns, write.table
            data = copy_binary(frame, columns, table) if binary else copy_text(frame, columns)
        yield head + data if head else data
        head = b""
        count_sent(wire, batches, counts)
    if binary:
        yield head + TRAILER


def count_sent(wire: Wire, batches: Iterable[Batch], counts: dict[Load, int]) -> None:
    """Add the rows of these batches to `counts`, and report them as sent."""
    for batch in batches:
        counts[batch.load] = counts.get(batch.load, 0) + batch.frame.height
        wire.recorder.progress(batch.load, batch.frame.height)


def _gathered(batches: Iterable[Batch]) -> Iterator[list[Batch]]:
    """Combine small batches, because encoding has a fixed cost, and split large ones."""
    waiting: list[Batch] = []
    rows = 0
    for batch in batches:
        for frame in batch.frame.iter_slices(ENCODE_ROWS) if batch.frame.height else (batch.frame,):
            waiting.append(replace(batch, frame=frame))
            rows += frame.height
            if rows >= ENCODE_ROWS:
                yield waiting
                waiting, rows = [], 0
    if waiting:
        yield waiting


class InlineEncoder:
    """Provide the bytes of each COPY, encoded in the calling thread.

    The first piece of the next COPY is encoded while the server works on the previous one.
    """

    def __init__(self, tables: Sequence[Iterator[bytes]]) -> None:
        self._tables = tables
        self._first: dict[int, bytes | BaseException] = {}

    def __enter__(self) -> InlineEncoder:
        return self

    def __exit__(self, *_: object) -> None: ...

    def pieces(self, number: int) -> Iterator[bytes]:
        """Yield the bytes of one COPY; exceptions of encoding are raised here."""
        first = self._first.pop(number, b"")
        if isinstance(first, BaseException):
            raise first
        yield first
        yield from self._tables[number]

    def ahead(self, number: int) -> None:
        """Encode the first piece of this COPY, which comes next."""
        if number < len(self._tables):
            try:
                self._first[number] = next(self._tables[number], b"")
            except Exception as error:  # noqa: BLE001 (raised again by `pieces`)
                self._first[number] = error


class ThreadedEncoder:
    """Provide the bytes of each COPY, encoded by a thread while the server works.

    The thread is at most a few pieces ahead, also beyond the end of a table, so memory is bounded.
    """

    def __init__(self, tables: Sequence[Iterator[bytes]]) -> None:
        self._pieces: queue.Queue[tuple[int, bytes | BaseException | None]] = queue.Queue(maxsize=_AHEAD)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._encode, args=(tables,), name="encode", daemon=True)

    def __enter__(self) -> ThreadedEncoder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._pieces.get(timeout=_POLL)
        self._thread.join()

    def ahead(self, number: int) -> None:
        """Do nothing: the thread encodes ahead by itself."""

    def pieces(self, number: int) -> Iterator[bytes]:
        """Yield the bytes of one COPY, in the order of the COPYs; exceptions of encoding are raised here."""
        while True:
            table, piece = self._pieces.get()
            if isinstance(piece, BaseException):
                raise piece
            if piece is None:
                assert table == number
                return
            yield piece

    def _encode(self, tables: Sequence[Iterator[bytes]]) -> None:
        try:
            for number, pieces in enumerate(tables):
                for piece in pieces:
                    if not self._put(number, piece):
                        return
                self._put(number, None)
        except BaseException as error:  # noqa: BLE001 (raised again by `pieces`)
            self._put(-1, error)

    def _put(self, number: int, piece: bytes | BaseException | None) -> bool:
        while not self._ended.is_set():
            with suppress(queue.Full):
                self._pieces.put((number, piece), timeout=_POLL)
                return True
        return False


def raise_sequences(loads: Iterable[tuple[Load, Table]]) -> list[Composable]:
    """Build the statements that move sequences past explicit values of their columns."""
    filled = {
        (table.name, name): (table, name)
        for load, table in loads
        for name in load.columns
        if table.columns[name].sequence and name != load.made
    }
    return [sql.raise_sequence(table, table.columns[name]) for table, name in filled.values()]


def explain(failed: StatementError, write: TableWrite | None) -> SeedError:
    """Turn a failed statement into an error; for the COPY of `write`, with the row that the server names."""
    if write is None:
        return write_failed(failed.error)
    match = _COPY_LINE.match(failed.error.diag.context or "")
    row = _row_at(write, match) if match else None
    return write_failed(failed.error, write.table.name, row, into=write.table)


def _row_at(write: TableWrite, match: re.Match[str]) -> Fault | None:
    """Find the row of a COPY's line; in the text format every row is one line."""
    place, column = int(match[1]) - 1, match[2]
    for batch in write.batches():
        if 0 <= place < batch.frame.height:
            file, row = batch.frame.select(FILE, ROW).row(place)
            name = batch.load.files[file].name
            return Fault(rule="", message="", file=name, row=row, column=column)
        place -= batch.frame.height
    return None
