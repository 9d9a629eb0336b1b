"""Scripts, COPYs and pipelines on a real connection, every message counted."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from psycopg import pq
from psycopg.sql import SQL

from seedlab.database.embedded.cluster import SOCKET
from seedlab.database.postgres.wire import Results, StatementError, Wire
from seedlab.database.proxy import DelayProxy
from seedlab.insight.measuring.monitor import Monitor

SELECTED = 1024  # files of which select() can tell


@pytest.fixture
def monitor() -> Monitor:
    return Monitor()


@pytest.fixture
def wire(clean_postgres_url: str, monitor: Monitor) -> Iterator[Wire]:
    with psycopg.connect(clean_postgres_url, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        yield Wire(connection, monitor)


def one(wire: Wire, question: str) -> object:
    return wire.ask([(SQL(question), ())])[0][0][0]


def counts(monitor: Monitor) -> tuple[int, int]:
    return monitor.counters.statements, monitor.counters.round_trips


# ---- the socket ----


def test_a_process_may_have_more_files_open_than_select_knows(
    clean_postgres_url: str, monitor: Monitor, request: pytest.FixtureRequest
) -> None:
    resource = pytest.importorskip("resource")
    mine, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= most < 2 * SELECTED:
        pytest.skip(f"this process may have {most} files open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(mine, 2 * SELECTED), most))
    request.addfinalizer(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (mine, most)))

    with ExitStack() as held:
        for _ in range(SELECTED):
            held.enter_context(Path(os.devnull).open())
        with psycopg.connect(clean_postgres_url, autocommit=True) as connection:
            wire = Wire(connection, monitor)
            assert connection.fileno() >= SELECTED
            wire.script([SQL("CREATE TABLE t (x text)"), SQL("COPY t FROM STDIN")], lambda *_: iter([b"1\n"]))
            assert wire.ask([(SQL("SELECT x FROM t"), ())]) == [[("1",)]]


def room(connection: psycopg.Connection) -> int:
    mine = socket.socket(fileno=connection.fileno())
    try:
        return mine.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    finally:
        mine.detach()


@pytest.fixture
def folder(clean_postgres_url: str) -> Path:
    """Where the socket of the test's server lies."""
    with psycopg.connect(clean_postgres_url) as connection:
        host = connection.info.host
    if not host.startswith("/"):
        pytest.skip("the server of these tests is reached over TCP")
    return Path(host)


def test_more_can_wait_in_a_local_socket_than_the_system_gives_it(
    clean_postgres_url: str, folder: Path
) -> None:
    with psycopg.connect(clean_postgres_url) as connection:
        before = room(connection)

        Wire(connection, Monitor())

        assert room(connection) > before
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_tcp_is_left_to_find_its_size_by_itself(clean_postgres_url: str, folder: Path) -> None:
    with (
        DelayProxy(unix_socket=folder / SOCKET, round_trip_ms=0) as proxy,
        psycopg.connect(proxy.url_for(clean_postgres_url)) as connection,
    ):
        before = room(connection)

        Wire(connection, Monitor())

        assert room(connection) == before


# ---- scripts ----


def test_a_script_is_one_round_trip_with_a_result_for_each_statement(wire: Wire, monitor: Monitor) -> None:
    results = wire.script([SQL("SELECT 1"), SQL("SELECT 2, 3")])

    assert [result.get_value(0, 0) for result in results] == [b"1", b"2"]
    assert counts(monitor) == (2, 1)
    assert monitor.counters.bytes_sent == len("SELECT 1; SELECT 2, 3")


def test_a_failed_statement_is_told_by_its_number(wire: Wire) -> None:
    with pytest.raises(StatementError) as caught:
        wire.script([SQL("SELECT 1"), SQL("SELECT 1/0"), SQL("SELECT 2")])

    assert caught.value.index == 1
    assert caught.value.error.sqlstate == "22012"


def test_the_opening_goes_in_front_of_the_first_message_and_is_not_counted_as_the_callers(
    wire: Wire, monitor: Monitor
) -> None:
    wire.opening = [SQL("BEGIN"), SQL("SET LOCAL lock_timeout = '7s'")]

    with pytest.raises(StatementError) as caught:
        wire.script([SQL("SHOW lock_timeout"), SQL("SELECT 1/0")])

    assert caught.value.index == 1
    assert counts(monitor) == (4, 1)
    assert wire.opening == ()


def test_the_results_of_a_script_are_those_of_the_callers_statements(wire: Wire) -> None:
    wire.opening = [SQL("BEGIN"), SQL("SET LOCAL lock_timeout = '7s'")]

    (shown,) = wire.script([SQL("SHOW lock_timeout")])

    assert shown.get_value(0, 0) == b"7s"


# ---- COPY ----


def test_all_copies_of_a_script_are_fed_in_order(wire: Wire, monitor: Monitor) -> None:
    def feed(number: int, results: Results) -> Iterator[bytes]:
        yield b"%d\n" % number
        yield b"%d\n" % len(results)

    copy = [SQL("COPY t FROM STDIN"), SQL("COPY t FROM STDIN")]
    wire.script([SQL("CREATE TABLE t (a int)"), *copy], feed)

    assert one(wire, "SELECT array_agg(a)::text FROM t") == "{0,1,1,2}"
    assert counts(monitor) == (4, 4)


def test_a_copy_larger_than_every_buffer_arrives_whole(wire: Wire) -> None:
    line = b"x" * 999 + b"\n"
    pieces = [line * 20_000, b"", line]

    wire.script([SQL("CREATE TABLE t (a text)"), SQL("COPY t FROM STDIN")], lambda *_: iter(pieces))

    assert one(wire, "SELECT count(*) FROM t") == 20_001


def test_a_refused_row_of_a_large_copy_ends_it(wire: Wire) -> None:
    pieces = [b"x\n", *[b"1\n" * 100_000] * 30]

    with pytest.raises(StatementError) as caught:
        wire.script([SQL("CREATE TABLE t (a int)"), SQL("COPY t FROM STDIN")], lambda *_: iter(pieces))

    assert (caught.value.index, caught.value.error.sqlstate) == (1, "22P02")
    assert one(wire, "SELECT to_regclass('t') IS NULL") is True


def test_what_feeding_raises_ends_the_copy_and_comes_out(wire: Wire) -> None:
    def feed(_number: int, _results: Results) -> Iterator[bytes]:
        yield b"1\n"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wire.script([SQL("CREATE TABLE t (a int)"), SQL("COPY t FROM STDIN")], feed)

    assert one(wire, "SELECT to_regclass('t') IS NULL") is True


# ---- pipelines ----


def test_a_pipeline_is_one_round_trip_with_the_rows_of_each_question(wire: Wire, monitor: Monitor) -> None:
    answers = wire.ask([(SQL("SELECT $1::text, $2::text"), ["a", None]), (SQL("SELECT 1 WHERE false"), ())])

    assert answers == [[("a", None)], []]
    assert counts(monitor) == (2, 1)


def test_a_failed_question_is_told_by_its_number(wire: Wire) -> None:
    wire.opening = [SQL("BEGIN")]

    with pytest.raises(StatementError) as caught:
        wire.ask([(SQL("SELECT 1"), ()), (SQL("SELECT $1::int"), ["x"]), (SQL("SELECT 1"), ())])

    assert (caught.value.index, caught.value.error.sqlstate) == (1, "22P02")


def test_a_percent_sign_in_a_question_is_only_a_percent_sign(wire: Wire) -> None:
    assert one(wire, "SELECT 7 % 4") == 3


# ---- the end ----


def test_a_transaction_that_never_sent_anything_costs_nothing(wire: Wire, monitor: Monitor) -> None:
    wire.opening = [SQL("BEGIN")]

    assert wire.end([SQL("COMMIT")]) == []
    assert counts(monitor) == (0, 0)
    assert wire.connection.info.transaction_status == pq.TransactionStatus.IDLE


def test_without_a_transaction_there_is_nothing_to_end(wire: Wire, monitor: Monitor) -> None:
    assert wire.end([SQL("ROLLBACK")]) == []
    assert counts(monitor) == (0, 0)


def test_a_connection_that_is_cut_is_a_failed_statement(wire: Wire, clean_postgres_url: str) -> None:
    pid = one(wire, "SELECT pg_backend_pid()")
    with psycopg.connect(clean_postgres_url) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

    with pytest.raises(StatementError):
        wire.script([SQL("SELECT 1")])
    with pytest.raises(StatementError):
        wire.ask([(SQL("SELECT 1"), ())])


def test_a_server_that_ends_the_connection_during_a_pipeline_says_why(wire: Wire) -> None:
    statements = ("SELECT 1", "SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(9)", "SELECT 2")

    with pytest.raises(StatementError, match="administrator") as caught:
        wire.pipeline([(SQL(each), ()) for each in statements])

    assert (caught.value.index, caught.value.sqlstate) == (1, "57P01")
    wire.abandon()


# ---- what is told ----


def test_what_is_told_is_done_before_what_is_asked_and_no_round_trip(wire: Wire, monitor: Monitor) -> None:
    wire.opening = [SQL("BEGIN")]
    wire.tell([SQL("CREATE TEMPORARY TABLE t AS SELECT 7 AS n"), SQL("SELECT 'not asked for'")])

    assert counts(monitor) == (3, 0)
    assert one(wire, "SELECT n FROM t") == 7
    assert counts(monitor) == (4, 1)


def test_the_server_works_at_what_is_told_before_anything_is_asked(
    wire: Wire, clean_postgres_url: str
) -> None:
    """Another session waits until it sees that it was done."""
    wire.tell([SQL("SELECT pg_catalog.pg_advisory_lock(6)")])

    with psycopg.connect(clean_postgres_url, autocommit=True) as other:
        other.execute("SET statement_timeout = '30s'")
        found = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = 6"
        while other.execute(found).fetchone() == (0,):
            pass
    assert one(wire, "SELECT pg_catalog.pg_advisory_unlock(6)") is True


NEXT = {
    "a script": lambda wire: wire.script([SQL("SELECT 2")]),
    "a question": lambda wire: one(wire, "SELECT 2"),
    "a copy": lambda wire: list(wire.copy_out(SQL("COPY (SELECT 2) TO STDOUT"), 100)),
    "something told": lambda wire: (wire.tell([SQL("SELECT 2")]), one(wire, "SELECT 3")),
}


@pytest.mark.parametrize("send", NEXT.values(), ids=NEXT)
def test_what_fails_that_was_told_comes_out_of_what_is_sent_next(
    wire: Wire, send: Callable[[Wire], object]
) -> None:
    wire.tell([SQL("SELECT 1"), SQL("SELECT 1/0")])

    with pytest.raises(StatementError) as caught:
        send(wire)

    assert caught.value.index < 0
    assert caught.value.error.sqlstate == "22012"
    assert one(wire, "SELECT 4") == 4


def test_a_script_or_a_copy_may_follow_what_is_told(wire: Wire) -> None:
    wire.tell([SQL("CREATE TEMPORARY TABLE t AS SELECT 7 AS n")])
    (found,) = wire.script([SQL("SELECT n FROM t")])
    wire.tell([SQL("UPDATE t SET n = 8")])

    assert found.get_value(0, 0) == b"7"
    assert b"".join(wire.copy_out(SQL("COPY t TO STDOUT"), 100)) == b"8\n"


@pytest.mark.parametrize("told", ["SELECT 1", "SELECT 1/0"])
def test_what_was_told_is_rolled_back_with_all_else(wire: Wire, told: str) -> None:
    wire.opening = [SQL("BEGIN")]
    wire.tell([SQL(told)])

    wire.abandon()

    assert wire.connection.info.transaction_status == pq.TransactionStatus.IDLE
    assert wire.connection.pgconn.pipeline_status == pq.PipelineStatus.OFF
    assert one(wire, "SELECT 4") == 4


# ---- asked ahead ----


def test_what_is_asked_ahead_is_answered_with_what_is_asked_next(wire: Wire, monitor: Monitor) -> None:
    first = wire.ask_ahead([(SQL("SELECT 1"), ()), (SQL("SELECT $1::text"), ("two",))])
    second = wire.ask_ahead([(SQL("SELECT $1::bytea"), (b"\x03",))], binary=True)

    assert one(wire, "SELECT 4") == 4
    assert (first(), second()) == ([[(1,)], [("two",)]], [[(b"\x03",)]])
    assert counts(monitor) == (4, 1)


def test_who_comes_for_the_answers_waits_for_them(wire: Wire, monitor: Monitor) -> None:
    wire.opening = [SQL("BEGIN")]
    answers = wire.ask_ahead([(SQL("SELECT pg_catalog.pg_sleep(0.05)::text"), ())])
    wire.tell([SQL("SELECT 2")])

    assert answers() == [[("",)]]
    assert answers() == [[("",)]]
    assert counts(monitor) == (3, 1)
    assert wire.connection.info.transaction_status == pq.TransactionStatus.INTRANS


def test_a_script_does_not_lose_what_was_asked_ahead(wire: Wire) -> None:
    answers = wire.ask_ahead([(SQL("SELECT 1"), ())])

    wire.script([SQL("SELECT 2")])

    assert answers() == [[(1,)]]


def test_what_was_asked_ahead_fails_with_what_comes_next(wire: Wire) -> None:
    wire.ask_ahead([(SQL("SELECT 1 / 0"), ())])

    with pytest.raises(StatementError) as caught:
        wire.ask([(SQL("SELECT 2"), ())])

    assert (caught.value.index, caught.value.error.sqlstate) == (-1, "22012")
    assert one(wire, "SELECT 3") == 3


# ---- cancelled ------------------------------------------------------------------------------------------

SLEEP = "SELECT pg_sleep(60)"


def send_ahead(wire: Wire) -> None:
    wire.tell([SQL("CREATE TEMPORARY TABLE t (a int)"), SQL(SLEEP)])


def ask_and_be_interrupted(wire: Wire) -> None:
    wire.tell([SQL("SELECT 1"), SQL(SLEEP), SQL("SELECT 2")])
    wire.connection.pgconn.pipeline_sync()


def send_query(wire: Wire, text: str = SLEEP) -> None:
    wire.connection.pgconn.send_query(text.encode())


def copy_in(wire: Wire) -> None:
    wire.script([SQL("CREATE TEMPORARY TABLE t (a int)")])
    send_query(wire, "COPY t FROM STDIN")


def copy_out(wire: Wire) -> None:
    slow = (
        "SELECT repeat('x', 9000), pg_sleep(0.001) FROM generate_series(1, 60000)"  # more than is held back
    )
    next(wire.copy_out(SQL(f"COPY ({slow}) TO STDOUT"), 1))


@pytest.mark.parametrize("begin", [send_ahead, ask_and_be_interrupted, send_query, copy_in, copy_out])
def test_what_the_server_is_doing_is_cancelled_and_its_transaction_can_be_rolled_back(
    wire: Wire, begin: Callable[[Wire], object]
) -> None:
    wire.script([SQL("BEGIN")])
    begin(wire)

    wire.cancel()
    wire.abandon()

    assert wire.connection.info.transaction_status == pq.TransactionStatus.IDLE
    assert one(wire, "SELECT 1") == 1


DEAF = """
DO $$BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN PERFORM pg_sleep(5), nextval('late'); END$$
"""


def test_a_cancel_of_which_the_server_takes_no_notice_is_sent_again(wire: Wire) -> None:
    """As one that comes before the statement has begun."""
    wire.script([SQL("CREATE SEQUENCE late")])
    send_query(wire, DEAF)

    wire.cancel()

    assert wire.connection.info.transaction_status == pq.TransactionStatus.IDLE
    assert one(wire, "SELECT is_called FROM late") is False


def test_a_connection_that_is_idle_or_lost_has_nothing_to_cancel(wire: Wire) -> None:
    wire.cancel()
    assert one(wire, "SELECT 1") == 1
    wire.tell([SQL("SELECT pg_terminate_backend(pg_backend_pid())")])

    wire.cancel()
    wire.abandon()
