"""`Wire`: send statements to PostgreSQL with few round trips, and count them.

A *script* is many statements in one simple query, including COPY; a *pipeline* is many statements with
parameters. Each is one round trip (and one more per COPY). The statements that open a transaction go with its
first message. Statements sent *ahead* are answered with those of the next pipeline.
"""

from __future__ import annotations

import math
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.sql import SQL, Composable

from seedlab.database.polling import readable
from seedlab.database.postgres.failures import Values, too_large, write_failed
from seedlab.errors import WriteError
from seedlab.flow import Recorder

Results = list[pq.abc.PGresult]
Question = tuple[Composable, Values]  # a statement and its parameters; bytes for bytea
Feed = Callable[[int, Results], Iterator[bytes]]  # (number of the COPY, results so far) → its bytes
Ahead = Callable[[int], None]  # prepares the COPY of this number while the server works
_EMPTY_QUERIES = 5
_ENDED = "57P"  # SQLSTATEs with which the server ends a connection, or all
_CANCEL_SECONDS = 5.0  # for the connection by which a statement is cancelled
_CANCEL_AGAIN = 0.5  # seconds without an answer, after which it is cancelled once more
_SLICE = 1 << 18  # bytes given to libpq at a time, since it buffers everything that it is given
_CHEAP = 0.001  # seconds that the server may need for the shortest of its answers
# Seconds to which a round trip is rounded down. They lie between the round numbers that people measure with.
_ROUND_TRIPS = (0.06, 0.03, 0.014, 0.0075, 0.0035, 0.0015)
_SEND_BUFFER = 1 << 20  # bytes of a local socket's send buffer, if the system allows it


class StatementError(WriteError):
    """A statement failed: `index` is its index among the caller's statements, `error` is psycopg's error.

    `index` is negative when a statement sent before the caller's failed, such as BEGIN. `results` has the
    results of the statements before it. Callers that know what the statement was about raise an error of
    their own; this one reaches the user where a connection is lost at any other statement.
    """

    def __init__(self, index: int, error: psycopg.Error, results: Results | None = None) -> None:
        super().__init__(str(write_failed(error)), sqlstate=error.sqlstate)
        self.index = index
        self.error = error
        self.results = results or []


@contextmanager
def translated(about: str | None = None, *, secured: bool = False) -> Iterator[None]:
    """Turn a StatementError into DataFaults or a WriteError about a table, or what else is named.

    `secured` says that row-level security may hide rows of the table.
    """
    try:
        yield
    except StatementError as failed:
        raise write_failed(failed.error, about, secured=secured) from failed.error


def _enlarge_send_buffer(connection: psycopg.Connection[Any]) -> bool:
    """Enlarge the send buffer of a local socket, so that the server does not wait for the client.

    With the usual 200 kB, of which three quarters must be consumed before the sender is woken, a COPY takes a
    quarter longer (docs/performance.md). TCP adapts its buffers itself. Tells whether the socket is local.
    """
    borrowed = socket.socket(fileno=connection.fileno())
    is_local = borrowed.family == getattr(socket, "AF_UNIX", None)
    try:
        if is_local:
            borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    except OSError:  # the system does not allow so much: keep the buffer as it is
        pass
    finally:
        borrowed.detach()  # libpq owns the file descriptor
    return is_local


class Wire:
    """A psycopg connection in autocommit mode, on which transactions are begun and ended by statements."""

    def __init__(self, connection: psycopg.Connection[Any], recorder: Recorder) -> None:
        self.connection = connection
        self.recorder = recorder
        self._pid = connection.pgconn.backend_pid
        # The shortest round trip so far, in seconds.
        self._shortest = 0.0 if _enlarge_send_buffer(connection) else math.inf
        self.opening: Sequence[Composable] = ()  # sent with the next message, before its statements
        self._sent_ahead = 0  # statements that were sent and whose answers were not received yet
        self._awaited: list[tuple[slice, Results]] = []  # those of their answers that a caller wants

    def script(
        self, statements: Sequence[Composable], feed: Feed | None = None, ahead: Ahead = lambda _: None
    ) -> Results:
        """Send statements as one simple query; return one result per statement. Raises StatementError.

        `feed` yields the bytes of each COPY; an exception of it ends the COPY, fails the transaction and is
        raised here. `ahead` is called after a COPY is sent, while the server still works on it.
        """
        before, text = self._compose(statements)
        results: Results = []
        began = time.perf_counter()
        try:
            self.connection.pgconn.send_query(text)
            self._flush()
            failure = self._receive(results, before, feed, ahead)
            self._shortest = min(self._shortest, time.perf_counter() - began)
        except psycopg.Error as lost:
            raise StatementError(len(results) - before, lost) from lost
        if failure is not None:
            raise failure
        return results[before:]

    def _compose(self, statements: Sequence[Composable]) -> tuple[int, bytes]:
        """Join statements into a simple query, and count them; return also how many precede the caller's."""
        self._receive_ahead()
        opening, self.opening = self.opening, ()
        text = b"; ".join(each.as_bytes(self.connection) for each in (*opening, *statements))
        count = len(opening) + len(statements)
        self.recorder.count(statements=count, round_trips=1, bytes_sent=len(text), pid=self._pid)
        return len(opening), text

    def _receive(
        self, results: Results, before: int, feed: Feed | None, ahead: Ahead
    ) -> BaseException | None:
        """Receive all answers into `results` and feed COPYs; return the first failure, if any."""
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

    def _next_result(self, *, cancelling: bool = False) -> pq.abc.PGresult | None:
        pgconn = self.connection.pgconn
        while pgconn.is_busy():
            if not readable(pgconn.socket, seconds=_CANCEL_AGAIN if cancelling else None):
                self.connection.cancel_safe(timeout=_CANCEL_SECONDS)
            pgconn.consume_input()
        return pgconn.get_result()

    def _send(self, feed: Feed | None, number: int, results: Results) -> BaseException | None:
        """Feed one COPY; on an exception abort the COPY and return the exception."""
        pgconn = self.connection.pgconn
        self.recorder.count(round_trips=1)
        try:
            for piece in feed(number, results) if feed else ():
                for start in range(0, len(piece), _SLICE):
                    pgconn.put_copy_data(piece[start : start + _SLICE])
                    self._flush()
                self.recorder.count(bytes_sent=len(piece))
        except BaseException as error:  # noqa: BLE001 (also Ctrl-C: the COPY must be ended)
            pgconn.put_copy_end(b"the client could not go on")
            self._flush()
            return error
        pgconn.put_copy_end()
        self._flush()
        return None

    def _flush(self) -> None:
        """Wait until everything is sent, because the connection is non-blocking."""
        pgconn = self.connection.pgconn
        while pgconn.flush():
            if readable(pgconn.socket, or_writable=True):
                pgconn.consume_input()

    def copy_out(self, statement: Composable, size: int) -> Iterator[bytes]:
        """Run `COPY … TO STDOUT`; yield whole rows, about `size` bytes at a time. Raises StatementError."""
        _, text = self._compose([statement])
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
        """Join the rows of a COPY, each of which comes in its own message."""
        pgconn, rows, held = self.connection.pgconn, [], 0
        while (got := pgconn.get_copy_data(1))[0] >= 0:
            if got[0] == 0:
                readable(pgconn.socket)
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
        """Send statements in one pipeline; return the rows of each. Raises StatementError.

        `binary` requests results in binary format, which avoids hex digits for bytea; all types in the result
        must be known to psycopg.
        """
        return self._rows(self._asked(questions, int(binary)))

    def pipeline(self, questions: Sequence[Question]) -> Results:
        """Send statements in one pipeline; return the result of each. Raises StatementError."""
        return self._asked(questions, 0)

    def ask_ahead(
        self, questions: Sequence[Question], *, binary: bool = False
    ) -> Callable[[], list[list[tuple[Any, ...]]]]:
        """Send statements without waiting; the function returned waits for their rows.

        Errors are raised by that function, or by whatever is sent before it is called.
        """
        before = self._sent_ahead + len(self.opening)
        self._send_ahead(questions, int(binary))
        answers: Results = []
        self._awaited.append((slice(before, self._sent_ahead), answers))

        def rows() -> list[list[tuple[Any, ...]]]:
            self._receive_ahead()
            return self._rows(answers)

        return rows

    def _asked(self, questions: Sequence[Question], answer: int) -> Results:
        """Send questions in a pipeline, and receive their answers and those of statements sent ahead."""
        if refused := too_large([values for _, values in questions]):
            raise StatementError(*refused)
        before, self._sent_ahead = self._sent_ahead + len(self.opening), 0
        awaited, self._awaited = self._awaited, []
        results: Results = []
        try:
            self._put(questions, round_trips=1, answer=answer)
            self._take(results)
        except psycopg.Error as error:
            raise StatementError(len(results) - before, error, results[before:]) from error
        for place, answers in awaited:
            answers.extend(results[place])
        return results[before:]

    def tell(self, statements: Sequence[Composable]) -> None:
        """Send statements without waiting for them; their errors are raised by whatever is sent next."""
        self._send_ahead([(each, ()) for each in statements])

    def _send_ahead(self, questions: Sequence[Question], answer: int = 0) -> None:
        if refused := too_large([values for _, values in questions]):
            raise StatementError(*refused)
        sent_ahead = self._sent_ahead + len(self.opening) + len(questions)
        try:
            self._put(questions, round_trips=0, answer=answer)
            self._flush()
        except psycopg.Error as lost:
            raise StatementError(-1, lost) from lost
        self._sent_ahead = sent_ahead

    def _receive_ahead(self) -> None:
        """Receive the answers to statements sent ahead, if there are any."""
        if self._sent_ahead:
            self.ask([])

    def _put(self, questions: Sequence[Question], *, round_trips: int, answer: int = 0) -> None:
        """Put statements into the pipeline, after those that open the transaction.

        psycopg's own pipelines need a cursor and a generator per statement, which take 0.2 ms.
        """
        opening, self.opening = self.opening, ()
        pgconn, sent = self.connection.pgconn, 0
        texts = [question.as_bytes(self.connection) for question in (*opening, *(q for q, _ in questions))]
        parameters: list[Sequence[str | bytes | None]] = [*(() for _ in opening), *(p for _, p in questions)]
        pgconn.enter_pipeline_mode()
        for text, each in zip(texts, parameters, strict=True):
            values = [value.encode() if isinstance(value, str) else value for value in each]
            formats = [int(isinstance(value, bytes)) for value in each]
            pgconn.send_query_params(
                text, values or None, param_formats=formats or None, result_format=answer
            )
            sent += len(text) + sum(len(value or b"") for value in values)
        self.recorder.count(statements=len(texts), round_trips=round_trips, bytes_sent=sent, pid=self._pid)

    def _take(self, results: Results) -> None:
        """Receive all answers of the pipeline into `results`, up to the first failure, which is raised.

        A server that ends the connection says why, before it is found lost.
        """
        pgconn, failure = self.connection.pgconn, None
        pgconn.pipeline_sync()
        self._flush()
        try:
            while (result := self._next_result()) is None or result.status != pq.ExecStatus.PIPELINE_SYNC:
                if result is None or result.status == pq.ExecStatus.PIPELINE_ABORTED:
                    continue
                if result.status == pq.ExecStatus.FATAL_ERROR:
                    failure = psycopg.errors.error_from_result(result, "utf-8")
                else:
                    results.append(result)
        except psycopg.Error:
            if failure is None or not (failure.sqlstate or "").startswith(_ENDED):
                raise
        else:
            pgconn.exit_pipeline_mode()
        if failure is not None:
            raise failure

    def _rows(self, results: Results) -> list[list[tuple[Any, ...]]]:
        """Convert the rows of each answer to Python values."""
        transformer, answers = Transformer(self.connection), []
        for result in results:
            transformer.set_pgresult(result)
            answers.append(transformer.load_rows(0, result.ntuples, tuple))
        return answers

    @property
    def network_seconds(self) -> float:
        """The time that a round trip takes in the network; 0 for a local socket.

        It is judged by the shortest round trip so far, and rounded down to one of a few steps, so that runs
        over one network send the same messages.
        """
        seconds = self._shortest - _CHEAP if math.isfinite(self._shortest) else 0.0
        return next((step for step in _ROUND_TRIPS if step <= seconds), 0.0)

    def round_trip_seconds(self) -> float | None:
        """Return the shortest time of a few empty queries, of which the first wakes the server up."""

        def ask() -> float:
            began = time.perf_counter()
            self.connection.pgconn.exec_(b"")
            return time.perf_counter() - began

        try:
            return min(ask() for _ in range(_EMPTY_QUERIES))
        except psycopg.Error:
            return None

    def abandon(self) -> None:
        """Roll back; on a lost connection the server has done so itself."""
        if not self.connection.closed:
            with suppress(StatementError):
                self._receive_ahead()
            with suppress(StatementError):
                self.end([SQL("ROLLBACK")])

    def cancel(self) -> None:
        """Cancel what the server is doing, so that the transaction can be rolled back; does nothing if idle.

        The server ignores a cancel that overtakes the statement it is meant for, so it is repeated. On a lost
        connection, or if the server does not answer in time, it is left to the server.
        """
        connection, pgconn = self.connection, self.connection.pgconn
        if connection.info.transaction_status != pq.TransactionStatus.ACTIVE:
            return
        self._sent_ahead, self._awaited = 0, []
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=_CANCEL_SECONDS)
            if pgconn.pipeline_status:
                pgconn.pipeline_sync()
                self._flush()
            while (result := self._next_result(cancelling=True)) is not None or pgconn.pipeline_status:
                if pgconn.pipeline_status:
                    with suppress(psycopg.OperationalError):  # some results are not received yet
                        pgconn.exit_pipeline_mode()
                elif result and result.status == pq.ExecStatus.COPY_IN:
                    pgconn.put_copy_end(b"cancelled")
                    self._flush()
                elif result and result.status == pq.ExecStatus.COPY_OUT:
                    deque(self._pieces(_SLICE), maxlen=0)

    @property
    def idle(self) -> bool:
        """Whether no transaction is open, and no answer is awaited."""
        return self.connection.info.transaction_status == pq.TransactionStatus.IDLE

    def end(self, statements: Sequence[Composable]) -> Results:
        """Commit or roll back; a transaction whose opening was not sent yet is merely forgotten."""
        unsent, self.opening = bool(self.opening), ()
        if self.idle:
            return []
        # With an unsent opening, the open transaction is an earlier one that has failed.
        results = self.script([SQL("ROLLBACK")] if unsent else statements)
        return [] if unsent else results
