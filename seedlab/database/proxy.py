"""`DelayProxy`: a TCP proxy that simulates network latency by delaying both directions.

It runs in its own process. In a thread it would wait for the interpreter lock of the client that it measures,
up to 5 ms each time: a `select 1` of a busy client took 12 to 24 ms instead of 11.

Connecting is not delayed, as the kernel does the handshake. While a proxy runs, every user of this machine
can reach the server behind it through a TCP port.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from seedlab.errors import ServerError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["DelayProxy", "Traffic"]

_PIECE = 1 << 16  # bytes read at once
_WINDOW = 1 << 24  # bytes in flight in one direction, beyond which its sender must wait
_LATE = 200e-6  # seconds by which the kernel is assumed to wake a sleeping process too late, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The bytes transferred so far; a burst is what a client sends without receiving in between."""

    connections: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    bursts: int = 0


class DelayProxy:
    """Listen on a port of 127.0.0.1 in front of a server and delay both directions.

    The server is `host` and `port`, or the file `unix_socket`. Use as a context manager.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 5432,
        *,
        unix_socket: Path | None = None,
        round_trip_ms: float = 1.0,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self._upstream = str(unix_socket) if unix_socket else (host, port)
        self._delay = round_trip_ms / 2000
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def __enter__(self) -> Self:
        remote: socket.socket
        self._control, remote = socket.socketpair()
        with socket.create_server((self.host, 0)) as listener, remote:
            self.port = listener.getsockname()[1]
            arguments = [remote.fileno(), listener.fileno(), self._delay, self._upstream]
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", __name__, json.dumps(arguments)],
                pass_fds=(remote.fileno(), listener.fileno()),
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C interrupts only the client, which then closes the proxy
            )
        try:
            self.traffic()  # waits until the process is ready, so that it does not delay a connection
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the proxy and every connection through it."""
        if self._control and self._process:
            self._control.close()
            self._process.wait()
            self._control = self._process = None

    def traffic(self) -> Traffic:
        """Return the traffic so far."""
        if self._control is None:
            raise ServerError("asked a proxy that is closed for its traffic; ask inside the with block")
        answer = b""
        with suppress(ConnectionError):
            self._control.sendall(b"?")
            answer = self._control.recv(_PIECE)
        if not answer:
            raise ServerError("the proxy's process ended by itself; its message is on standard error")
        return Traffic(**json.loads(answer))

    def url_for(self, url: str) -> str:
        """Replace host and port of a database URL by those of the proxy."""
        # Imported here, because the proxy's own process does not need it.
        from seedlab.database.connect import redirected

        return redirected(url, self.host, self.port)


# ---- in the proxy's process -----------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True, eq=False)
class _Lane:
    """One direction of one connection, and the data in flight with the time when it is due."""

    source: socket.socket
    sink: socket.socket
    outward: bool  # from client to server
    waiting: deque[tuple[float, memoryview]] = field(default_factory=deque)
    held: int = 0  # bytes in `waiting`
    heard: bool = True  # outward: the client has received something since it last sent
    back: _Lane | None = None  # the other direction
    open: bool = True  # the source may send more
    done: bool = False  # the end of the data was passed on


class _Proxy:
    """Forward data in a single loop without threads."""

    def __init__(
        self, control: socket.socket, listener: socket.socket, delay: float, upstream: str | tuple[str, int]
    ) -> None:
        self.control = control
        self.listener = listener
        self.delay = delay
        self.upstream = upstream
        self.lanes: list[_Lane] = []
        self.counts: Counter[str] = Counter()
        self.late = _LATE  # how late the kernel wakes this process, as measured

    def serve(self) -> None:
        """Run until the other end of the control socket is closed."""
        while True:
            readable = self.wait()
            now = time.perf_counter()
            if self.control in readable and not self.report():
                return
            for lane in self.lanes:
                if lane.source in readable:
                    self.read(lane, now)
            if self.listener in readable:
                self.accept()
            for lane in self.lanes:
                self.deliver(lane)
            self.sweep()

    def wait(self) -> set[socket.socket]:
        """Wait until something can be read or is due; return the readable sockets."""
        sources = [lane.source for lane in self.lanes if lane.open and lane.held < _WINDOW]
        readers = [self.control, self.listener, *sources]
        now = time.perf_counter()
        due = [lane.waiting[0][0] for lane in self.lanes if lane.waiting]
        stuck = [lane.sink for lane in self.lanes if lane.waiting and lane.waiting[0][0] <= now]
        ahead = [moment for moment in due if moment > now]
        if not ahead:
            return set(select.select(readers, stuck, [])[0])
        return self.wait_until(min(ahead), readers, stuck)

    def wait_until(
        self, moment: float, readers: list[socket.socket], stuck: list[socket.socket]
    ) -> set[socket.socket]:
        """Sleep until shortly before a moment, and poll afterwards, because the kernel wakes too late."""
        alarm = moment - self.late
        timeout = max(0.0, alarm - time.perf_counter())
        readable, writable, _ = select.select(readers, stuck, [], timeout)
        if timeout and not readable and not writable:
            late = time.perf_counter() - alarm
            self.late = min(_LATE, self.late + (late - self.late) / 8)
        return set(readable)

    def report(self) -> bool:
        """Answer a request for the traffic; False if the client has closed the control socket."""
        if not self.control.recv(1):
            return False
        self.control.sendall(json.dumps(self.counts).encode())
        return True

    def accept(self) -> None:
        """Accept a client and connect it to the server; close its connection if that fails."""
        client, _ = self.listener.accept()
        try:
            server = connect_to(self.upstream)
        except OSError as error:
            sys.stderr.write(f"the proxy cannot reach {self.upstream}: {error}\n")
            client.close()
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for end in (client, server):
            end.setblocking(False)
        out = _Lane(source=client, sink=server, outward=True)
        back = _Lane(source=server, sink=client, outward=False, back=out)
        out.back = back
        self.lanes += [out, back]
        self.counts["connections"] += 1

    def read(self, lane: _Lane, now: float) -> None:
        """Read available data and note when it is due; an empty piece marks the end."""
        try:
            piece = lane.source.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        lane.open = bool(piece)
        lane.held += len(piece)
        lane.waiting.append((now + self.delay, memoryview(piece)))
        self.counts["bytes_sent" if lane.outward else "bytes_received"] += len(piece)
        if lane.outward and piece:
            self.counts["bursts"] += lane.heard
            lane.heard = False

    def deliver(self, lane: _Lane) -> None:
        """Send what is due, as much as the receiver accepts."""
        while lane.waiting and lane.waiting[0][0] <= time.perf_counter():
            due, piece = lane.waiting[0]
            try:
                sent = lane.sink.send(piece) if piece else _end(lane)
            except BlockingIOError:
                return
            except OSError:
                _break(lane)
                return
            lane.held -= sent
            if lane.back and not lane.outward and piece:
                lane.back.heard = True
            if sent < len(piece):
                lane.waiting[0] = (due, piece[sent:])
                return
            lane.waiting.popleft()

    def sweep(self) -> None:
        """Close connections whose two directions have both ended."""
        for lane in [each for each in self.lanes if each.outward and each.done]:
            if lane.back and lane.back.done:
                lane.source.close()
                lane.sink.close()
                self.lanes = [each for each in self.lanes if each not in (lane, lane.back)]


def connect_to(upstream: str | tuple[str, int]) -> socket.socket:
    """Connect to the server, given as the path of a Unix socket or as host and port."""
    if isinstance(upstream, str):
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            server.connect(upstream)
        except BaseException:
            server.close()
            raise
        return server
    server = socket.create_connection(upstream)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return server


def _end(lane: _Lane) -> int:
    """Shut down sending to the receiver."""
    lane.done = True
    with suppress(OSError):  # it may be closed already
        lane.sink.shutdown(socket.SHUT_WR)
    return 0


def _break(lane: _Lane) -> None:
    """End both directions after the receiver was closed."""
    for each in (lane, lane.back):
        if each:
            each.waiting.clear()
            each.held = 0
            each.open = False
            each.done = True


def _main() -> None:
    """Run the proxy on the sockets inherited from the parent process."""
    control, listener, delay, upstream = json.loads(sys.argv[1])
    address = upstream if isinstance(upstream, str) else (upstream[0], upstream[1])
    with socket.socket(fileno=control) as control_socket, socket.socket(fileno=listener) as server:
        _Proxy(control_socket, server, delay, address).serve()


if __name__ == "__main__":
    _main()
