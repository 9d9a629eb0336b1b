from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from seedlab.database.proxy import DelayProxy, Traffic, connect_to
from seedlab.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def upstream(clean_postgres_url: str) -> dict[str, object]:
    """Where the test's server is, in the proxy's words."""
    parts = urlsplit(clean_postgres_url)
    query = parse_qs(parts.query)
    if "host" in query:
        return {"unix_socket": Path(query["host"][0], ".s.PGSQL.5432")}
    return {"host": parts.hostname, "port": parts.port or 5432}


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets, and ends when its client does."""

    def serve(listener: socket.socket) -> None:
        with suppress(ConnectionError), listener.accept()[0] as client:
            while piece := client.recv(1 << 16):
                client.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        yield listener.getsockname()[1]
        socket.create_connection(listener.getsockname()).close()  # a server that nobody called ends too
        thread.join()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not list open files")
def test_a_server_that_is_not_there_leaves_no_socket_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))

    with pytest.raises(FileNotFoundError) as caught:
        connect_to(str(tmp_path / "nobody"))

    assert caught.value
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_every_question_takes_at_least_the_round_trip(clean_postgres_url: str, upstream: dict) -> None:
    with DelayProxy(**upstream, round_trip_ms=1.0) as proxy:
        with psycopg.connect(proxy.url_for(clean_postgres_url), autocommit=True) as connection:
            began = time.perf_counter()
            answers = [connection.execute("select 1").fetchone() for _ in range(50)]
            seconds = time.perf_counter() - began
    print(f"a question through the proxy of 1 ms takes {seconds / 50 * 1000:.3f} ms")

    assert answers == [(1,)] * 50
    assert seconds >= 0.050


def test_pipelined_questions_share_the_round_trip(clean_postgres_url: str, upstream: dict) -> None:
    with DelayProxy(**upstream, round_trip_ms=40.0) as proxy:
        with psycopg.connect(proxy.url_for(clean_postgres_url), autocommit=True) as connection:
            before = proxy.traffic().bursts
            began = time.perf_counter()
            with connection.pipeline():
                cursors = [connection.execute("select %s::int", [number]) for number in range(50)]
            seconds = time.perf_counter() - began
            bursts = proxy.traffic().bursts - before

    assert [cursor.fetchone() for cursor in cursors] == [(number,) for number in range(50)]
    assert seconds >= 0.040
    assert bursts < 10  # each takes a round trip; how long that is on a busy machine is no test


def test_a_burst_is_counted_for_every_question(clean_postgres_url: str, upstream: dict) -> None:
    with DelayProxy(**upstream, round_trip_ms=0.2) as proxy:
        with psycopg.connect(proxy.url_for(clean_postgres_url), autocommit=True) as connection:
            before = proxy.traffic()
            for _ in range(20):
                connection.execute("select 1", prepare=False)
            after = proxy.traffic()

    assert after.bursts - before.bursts == 20
    assert after.connections == 1


def test_a_large_stream_arrives_whole_and_is_counted(echo: int) -> None:
    sent = os.urandom(8 << 20)
    with DelayProxy(port=echo, round_trip_ms=4.0) as proxy:
        with socket.create_connection((proxy.host, proxy.port)) as client:
            writer = threading.Thread(target=client.sendall, args=[sent])
            writer.start()
            received = bytearray()
            while len(received) < len(sent):
                received += client.recv(1 << 16)
            writer.join()
            traffic = proxy.traffic()

    assert received == sent
    assert (traffic.bytes_sent, traffic.bytes_received) == (len(sent), len(sent))


def test_the_end_of_one_direction_is_passed_on_after_its_data(echo: int) -> None:
    with DelayProxy(port=echo, round_trip_ms=10.0) as proxy:
        with socket.create_connection((proxy.host, proxy.port)) as client:
            client.sendall(b"last words")
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: client.recv(100), b""))

    assert answer == b"last words"


def test_an_idle_proxy_has_no_traffic(echo: int) -> None:
    with DelayProxy(port=echo) as proxy:
        traffic = proxy.traffic()

    assert traffic == Traffic()


def test_a_client_is_hung_up_on_when_the_server_is_away(tmp_path: Path) -> None:
    with DelayProxy(unix_socket=tmp_path / "none") as proxy:
        with socket.create_connection((proxy.host, proxy.port)) as client:
            answer = client.recv(1)

    assert answer == b""


def test_the_port_is_closed_after_the_block(echo: int) -> None:
    with DelayProxy(port=echo) as proxy:
        pass

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((proxy.host, proxy.port))
    with pytest.raises(ServerError, match="closed"):
        proxy.traffic()


def test_a_proxy_that_was_killed_is_named(echo: int) -> None:
    with DelayProxy(port=echo) as proxy:
        assert proxy._process
        os.kill(proxy._process.pid, signal.SIGKILL)
        proxy._process.wait()

        with pytest.raises(ServerError, match="ended by itself"):
            proxy.traffic()


@pytest.mark.parametrize(
    ("url", "want"),
    [
        ("postgresql://me@/db?host=/run/pg&port=5432", "postgresql://me@127.0.0.1:7/db"),
        ("postgresql://me:a#b@far/db?sslmode=require", "postgresql://me:a#b@127.0.0.1:7/db?sslmode=require"),
        ("postgresql://me:p%40ss@far:99/a%2Fb", "postgresql://me:p%40ss@127.0.0.1:7/a%2Fb"),
        (
            "postgresql+psycopg:///db?host=/r&application_name=a%20b",
            "postgresql+psycopg://127.0.0.1:7/db?application_name=a%20b",
        ),
    ],
)
def test_a_url_keeps_all_but_host_and_port(url: str, want: str) -> None:
    proxy = DelayProxy()
    proxy.port = 7

    assert proxy.url_for(url) == want
