"""How PostgreSQL is talked to: scripts and pipelines on one connection, every message counted.

A *script* is many statements in one simple query, COPY included; a *pipeline* is many statements with
parameters. Either is one round trip (and one more per COPY). Whatever opens the transaction is sent in
front of the first message of it. What is *told* is not waited for: it begins the pipeline that comes next.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.sql import SQL, Composable

from seedlab.flow import Recorder

Results = list[pq.abc.PGresult]
Question = tuple[Composable, Sequence[str | bytes | None]]  # parameters: text, or the bytes of a bytea
Feed = Callable[[int, Results], Iterator[bytes]]  # number of the COPY, results so far → its bytes
Ahead = Callable[[int], None]  # number of the COPY that comes next, to be prepared while the server works
_EMPTY_QUERIES = 5
_SLICE = 1 << 18  # libpq buffers what it is given; quarter-megabyte slices keep the client's memory flat
_WAITING = 1 << 20  # bytes that may wait in a local socket, where the system allows it


class StatementError(Exception):
    """A statement failed: `index` counts the caller's statements, `error` is psycopg's.

    `results` are those of the caller's statements before it, where they were sent as a script.
    """

    def __init__(self, index: int, error: psycopg.Error, results: Results | None = None) -> None:
        super().__init__(index, error)
        self.index = index
        self.error = error
        self.results = results or []


def _widen(connection: psycopg.Connection[Any]) -> None:
    """Let more wait in a local socket than the system gives it, so that the server never waits for us.

    Of the usual 200 kB three quarters must be gone before the sender is woken: a COPY then takes a quarter
    longer (docs/performance.md). TCP finds its size by itself.
    """
    local = getattr(socket, "AF_UNIX", None)
    mine = socket.socket(fileno=connection.fileno())
    try:
        if mine.family == local:
            mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _WAITING)
    except OSError:  # more than the system allows; then as it was
        pass
    finally:
        mine.detach()  # it is libpq's


class Wire:
    """One psycopg connection in autocommit mode; transactions are statements of our own."""

    def __init__(self, connection: psycopg.Connection[Any], recorder: Recorder) -> None:
        self.connection = connection
        self.recorder = recorder
        self._pid = connection.pgconn.backend_pid
        _widen(connection)
        self.opening: Sequence[Composable] = ()  # sent in front of whatever comes next
        self._told = 0  # statements that were sent, and of which no answer was taken yet
        self._awaited: list[tuple[slice, Results]] = []  # which answers to these somebody comes for later

    def script(
        self,
        statements: Sequence[Composable],
        feed: Feed | None = None,
        ahead: Ahead = lambda _: None,
    ) -> Results:
        """Send statements as one simple query; answers one result per statement. Raises StatementError.

        `feed` gives the bytes of each COPY; what it raises ends the COPY, fails the transaction and comes
        out here. `ahead` is called when a COPY is sent and the server is at work on it.
        """
        self._hear()
        opening, self.opening = self.opening, ()
        text = b"; ".join(each.as_bytes(self.connection) for each in (*opening, *statements))
        self.recorder.count(
            statements=len(opening) + len(statements), round_trips=1, bytes_sent=len(text), pid=self._pid
        )
        results: Results = []
        try:
            self.connection.pgconn.send_query(text)
            self._flush()
            failure = self._receive(results, len(opening), feed, ahead)
        except psycopg.Error as lost:
            raise StatementError(len(results) - len(opening), lost) from lost
        if failure is not None:
            raise failure
        return results[len(opening) :]

    def _receive(
        self, results: Results, before: int, feed: Feed | None, ahead: Ahead
    ) -> BaseException | None:
        """Take every answer, feeding the COPYs; `results` grows, the first failure comes back."""
        copies = 0
        failure: BaseException | None = None
        while (result := self._next_result()) is not None:
            if result.status == pq.ExecStatus.COPY_IN:
                failure = self._send(feed, copies, results[before:]) or failure
                copies += 1
                if failure is None:
                    ahead(copies)
            elif result.status == pq.ExecStatus.FATAL_ERROR:
                error = psycopg.errors.error_from_result(result, "utf-8")
                failure = failure or StatementError(len(results) - before, error, results[before:])
            else:
                results.append(result)
        return failure

    def _next_result(self) -> pq.abc.PGresult | None:
        pgconn = self.connection.pgconn
        while pgconn.is_busy():
            select.select([pgconn.socket], [], [])
            pgconn.consume_input()
        return pgconn.get_result()

    def _send(self, feed: Feed | None, number: int, results: Results) -> BaseException | None:
        """Feed one COPY; a client that cannot go on tells the server so, and the error is kept."""
        pgconn = self.connection.pgconn
        self.recorder.count(round_trips=1)
        try:
            for piece in feed(number, results) if feed else ():
                for start in range(0, len(piece), _SLICE):
                    pgconn.put_copy_data(piece[start : start + _SLICE])
                    self._flush()
                self.recorder.count(bytes_sent=len(piece))
        except BaseException as error:  # noqa: BLE001 (also Ctrl-C: the server must hear of it)
            pgconn.put_copy_end(b"the client could not go on")
            self._flush()
            return error
        pgconn.put_copy_end()
        self._flush()
        return None

    def _flush(self) -> None:
        """Wait until the server has taken what was put: the connection does not block by itself."""
        pgconn = self.connection.pgconn
        while pgconn.flush():
            readable, _, _ = select.select([pgconn.socket], [pgconn.socket], [])
            if readable:
                pgconn.consume_input()

    def copy_out(self, statement: Composable, size: int) -> Iterator[bytes]:
        """Send `COPY … TO STDOUT`; whole rows, about `size` bytes at a time. Raises StatementError."""
        self._hear()
        opening, self.opening = self.opening, ()
        text = b"; ".join(each.as_bytes(self.connection) for each in (*opening, statement))
        self.recorder.count(statements=len(opening) + 1, round_trips=1, bytes_sent=len(text), pid=self._pid)
        try:
            self.connection.pgconn.send_query(text)
            self._flush()
            while (result := self._next_result()) is not None:
                if result.status == pq.ExecStatus.COPY_OUT:
                    yield from self._pieces(size)
                elif result.status == pq.ExecStatus.FATAL_ERROR:
                    error = psycopg.errors.error_from_result(result, "utf-8")
                    raise StatementError(0, error)
        except psycopg.Error as lost:
            raise StatementError(0, lost) from lost

    def _pieces(self, size: int) -> Iterator[bytes]:
        """Put the rows of a COPY together; each comes in a message of its own."""
        pgconn, rows, held = self.connection.pgconn, [], 0
        while (got := pgconn.get_copy_data(1))[0] >= 0:
            if got[0] == 0:
                select.select([pgconn.socket], [], [])
                pgconn.consume_input()
                continue
            rows.append(bytes(got[1]))
            held += got[0]
            if held >= size:
                yield b"".join(rows)
                rows, held = [], 0
        if rows:
            yield b"".join(rows)

    def ask(self, questions: Sequence[Question], *, binary: bool = False) -> list[list[tuple[Any, ...]]]:
        """Send statements with text parameters through one pipeline; answers their rows.

        `binary` spares bytes that come the detour over hex digits; it is for types that psycopg knows.
        Raises StatementError.
        """
        return self._rows(self._asked(questions, int(binary)))

    def ask_ahead(
        self, questions: Sequence[Question], *, binary: bool = False
    ) -> Callable[[], list[list[tuple[Any, ...]]]]:
        """Send statements and go on while the server is at work on them; what comes back waits for the rows.

        What they fail with comes out of that, or of whatever is sent before it.
        """
        before = self._told + len(self.opening)
        self._send_ahead(questions, int(binary))
        answers: Results = []
        self._awaited.append((slice(before, self._told), answers))

        def rows() -> list[list[tuple[Any, ...]]]:
            self._hear()
            return self._rows(answers)

        return rows

    def _asked(self, questions: Sequence[Question], answer: int) -> Results:
        before, self._told = self._told + len(self.opening), 0
        awaited, self._awaited = self._awaited, []
        results: Results = []
        try:
            self._put(questions, round_trips=1, answer=answer)
            self._take(results)
        except psycopg.Error as error:
            raise StatementError(len(results) - before, error) from error
        for place, answers in awaited:
            answers.extend(results[place])
        return results[before:]

    def tell(self, statements: Sequence[Composable]) -> None:
        """Send statements and go on while the server is at work on them.

        What they fail with comes out of whatever is sent next, as before its first statement.
        """
        self._send_ahead([(each, ()) for each in statements])

    def _send_ahead(self, questions: Sequence[Question], answer: int = 0) -> None:
        told = self._told + len(self.opening) + len(questions)
        try:
            self._put(questions, round_trips=0, answer=answer)
            self._flush()
        except psycopg.Error as lost:
            raise StatementError(-1, lost) from lost
        self._told = told

    def _hear(self) -> None:
        """Take the answers to what was told, in front of what is no pipeline."""
        if self._told:
            self.ask([])

    def _put(self, questions: Sequence[Question], *, round_trips: int, answer: int = 0) -> None:
        """Put statements, and what opens the transaction, into the pipeline.

        psycopg's own pipelines cost a cursor and a generator for each statement, a fifth of a millisecond.
        """
        opening, self.opening = self.opening, ()
        pgconn, sent = self.connection.pgconn, 0
        texts = [question.as_bytes(self.connection) for question in (*opening, *(q for q, _ in questions))]
        given: list[Sequence[str | bytes | None]] = [*(() for _ in opening), *(p for _, p in questions)]
        pgconn.enter_pipeline_mode()
        for text, each in zip(texts, given, strict=True):
            values = [value.encode() if isinstance(value, str) else value for value in each]
            formats = [int(isinstance(value, bytes)) for value in each]
            pgconn.send_query_params(
                text, values or None, param_formats=formats or None, result_format=answer
            )
            sent += len(text) + sum(len(value or b"") for value in values)
        self.recorder.count(statements=len(texts), round_trips=round_trips, bytes_sent=sent, pid=self._pid)

    def _take(self, results: Results) -> None:
        """Take every answer of the pipeline; `results` grows until one is a failure, which is raised."""
        pgconn, failure = self.connection.pgconn, None
        pgconn.pipeline_sync()
        self._flush()
        while (result := self._next_result()) is None or result.status != pq.ExecStatus.PIPELINE_SYNC:
            if result is None or result.status == pq.ExecStatus.PIPELINE_ABORTED:
                continue
            if result.status == pq.ExecStatus.FATAL_ERROR:
                failure = psycopg.errors.error_from_result(result, "utf-8")
            else:
                results.append(result)
        pgconn.exit_pipeline_mode()
        if failure is not None:
            raise failure

    def _rows(self, results: Results) -> list[list[tuple[Any, ...]]]:
        """Load the rows of each answer, each value as its type says; what loads a type is looked up once."""
        transformer, answers = Transformer(self.connection), []
        for result in results:
            transformer.set_pgresult(result)
            answers.append(transformer.load_rows(0, result.ntuples, tuple))
        return answers

    def round_trip_seconds(self) -> float | None:
        """Give the least that an empty query takes; the first of a few wakes the server up."""

        def ask() -> float:
            began = time.perf_counter()
            self.connection.pgconn.exec_(b"")
            return time.perf_counter() - began

        try:
            return min(ask() for _ in range(_EMPTY_QUERIES))
        except psycopg.Error:
            return None

    def abandon(self) -> None:
        """Roll back; a connection that is lost has done so."""
        if not self.connection.closed:
            with suppress(StatementError):
                self._hear()
            with suppress(StatementError):
                self.end([SQL("ROLLBACK")])

    def end(self, statements: Sequence[Composable]) -> Results:
        """Commit or roll back; a transaction whose opening was never sent is simply forgotten."""
        unsent, self.opening = bool(self.opening), ()
        if self.connection.info.transaction_status == pq.TransactionStatus.IDLE:
            return []
        results = self.script([SQL("ROLLBACK")] if unsent else statements)  # of one before, that has failed
        return [] if unsent else results
