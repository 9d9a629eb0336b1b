"""What a server does for a run, seen from beside: real connections that wait for what they are said to wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from seedlab.database import connect
from seedlab.database.connect import open_activity, parse_target
from seedlab.database.postgres.activity import Activity
from seedlab.errors import ConnectionFailed
from seedlab.flow.evidence import Wait
from tests.support.waiting import until

LABEL = "seedlab school 7@here"


@pytest.fixture
def activity(clean_postgres_url: str) -> Iterator[Activity]:
    found = open_activity(parse_target(clean_postgres_url, "test"), LABEL)
    assert found is not None
    yield found
    found.close()


@pytest.fixture
def connected(clean_postgres_url: str) -> Iterator[Callable[..., psycopg.Connection]]:
    made: list[psycopg.Connection] = []

    def connection(label: str = LABEL) -> psycopg.Connection:
        made.append(psycopg.connect(clean_postgres_url, application_name=label, autocommit=True))
        return made[-1]

    yield connection
    for each in made:
        each.close()


def seen(activity: Activity, what: str) -> Wait:
    """Look until something is seen."""
    waits: dict[str, Wait] = {}

    def look() -> bool:
        waits.update({wait.what: wait for wait in activity.look()[1]})
        return what in waits

    until(look, lambda: f"never saw {what}, but {waits}")
    return waits[what]


def running(connection: psycopg.Connection, statement: str) -> threading.Thread:
    def run() -> None:
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute(statement)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_connections_of_other_names_and_its_own_are_left_out(activity, connected) -> None:
    connected("seedlab school 8@here")

    assert activity.look()[1] == ()


def test_a_transaction_that_is_idle_waits_for_the_client(activity, connected) -> None:
    connection = connected()
    connection.execute("BEGIN")

    assert seen(activity, "Client/ClientRead").pid == connection.info.backend_pid


def test_a_query_without_a_wait_is_at_work(activity, connected) -> None:
    connection = connected()
    thread = running(connection, "SELECT count(*) FROM generate_series(1, 100000000000) AS n")

    assert seen(activity, "CPU").pid == connection.info.backend_pid
    connection.cancel_safe()
    thread.join()


def test_who_is_kept_waiting_is_seen_beside_who_keeps_it(activity, connected) -> None:
    holder, waiter = connected(), connected()
    holder.execute("CREATE TABLE cities (id int)")
    holder.execute("BEGIN")
    holder.execute("LOCK TABLE cities")
    thread = running(waiter, "LOCK TABLE cities; SELECT 1")

    assert seen(activity, "Lock/relation").pid == waiter.info.backend_pid
    assert Wait(pid=holder.info.backend_pid, what="Client/ClientRead") in activity.look()[1]
    waiter.cancel_safe()
    thread.join()


def test_a_connection_of_that_name_to_another_database_is_none_of_the_run(activity, postgres_url) -> None:
    with psycopg.connect(postgres_url, application_name=LABEL):
        assert activity.look()[1] == ()


def test_the_wal_grows_with_what_is_written(activity, connected) -> None:
    before = activity.wal_position()
    connected().execute("CREATE TABLE numbers AS SELECT generate_series(1, 10000) AS n")

    assert activity.wal_position() - before > 10_000 * 8
    assert activity.look()[0] >= activity.wal_position() - (1 << 20)


def test_a_connection_that_is_lost_is_told_as_such(activity, connected, clean_postgres_url) -> None:
    connected().execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name LIKE 'seedlab-sampler %' AND datname = current_database()"
    )

    with pytest.raises(ConnectionFailed):
        activity.look()
    with pytest.raises(ConnectionFailed):
        activity.wal_position()


def test_sqlite_has_no_server(sqlite_url: str) -> None:
    assert connect.open_activity(parse_target(sqlite_url, "test"), LABEL) is None
