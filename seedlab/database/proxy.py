"""A TCP proxy that makes a server look far away: what is sent arrives half a round trip later.

It runs in a process of its own. In a thread it would wait for the interpreter lock of the client it
measures, 5 ms each time a busy client holds it: a `select 1` of such a client took 12 to 24 ms instead of 11.

The connection is accepted at once: its handshake is the kernel's and costs no round trip here.
While a proxy runs, every user of this machine can reach the server behind it through a TCP port.
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
_WINDOW = 1 << 24  # bytes under way in one direction before its sender has to wait
_LATE = 200e-6  # seconds: how late, at most, we take the kernel to wake a sleeper


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What went through so far, in bytes; a burst is what a client sends without hearing in between."""

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
        theirs: socket.socket
        self._control, theirs = socket.socketpair()
        with socket.create_server((self.host, 0)) as listener, theirs:
            self.port = listener.getsockname()[1]
            order = [theirs.fileno(), listener.fileno(), self._delay, self._upstream]
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", __name__, json.dumps(order)],
                pass_fds=(theirs.fileno(), listener.fileno()),
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the client, which then closes us
            )
        try:
            self.traffic()  # answered once it is ready: a first connection is not slowed by the start
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
        """Ask what went through so far."""
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
        """Lead a database URL through the proxy: other host and port, all else as it is."""
        # Imported here: the process of the proxy has no use for it.
        from seedlab.database.connect import redirected

        return redirected(url, self.host, self.port)


# ---- in the proxy's process -----------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True, eq=False)
class _Lane:
    """One direction of one connection: what is under way, with the time it is due."""

    source: socket.socket
    sink: socket.socket
    outward: bool  # from client to server
    waiting: deque[tuple[float, memoryview]] = field(default_factory=deque)
    held: int = 0  # bytes in `waiting`
    heard: bool = True  # outward: the client was answered since it last spoke
    back: _Lane | None = None
    open: bool = True  # the source may send more
    done: bool = False  # its end was passed on


class _Proxy:
    """Moves the bytes; one loop, no threads."""

    def __init__(
        self, control: socket.socket, listener: socket.socket, delay: float, upstream: str | tuple[str, int]
    ) -> None:
        self.control = control
        self.listener = listener
        self.delay = delay
        self.upstream = upstream
        self.lanes: list[_Lane] = []
        self.counts: Counter[str] = Counter()
        self.late = _LATE  # how late the kernel wakes us, as observed

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
        """Sleep until something can be read or is due; awake for the last moment of a delay."""
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
        """Sleep until shortly before a moment and spend the rest awake: the kernel wakes sleepers late."""
        alarm = moment - self.late
        timeout = max(0.0, alarm - time.perf_counter())
        readable, writable, _ = select.select(readers, stuck, [], timeout)
        if timeout and not readable and not writable:
            late = time.perf_counter() - alarm
            self.late = min(_LATE, self.late + (late - self.late) / 8)
        return set(readable)

    def report(self) -> bool:
        """Answer a question for the traffic; False if nobody is there to ask any more."""
        if not self.control.recv(1):
            return False
        self.control.sendall(json.dumps(self.counts).encode())
        return True

    def accept(self) -> None:
        """Take a client and connect it to the server; one who cannot be connected is hung up on."""
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
        """Take what has arrived and note when it is due; an empty piece is the end."""
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
        """Pass on what is due, as much as the receiver takes."""
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
        """Close connections both of whose directions have ended."""
        for lane in [each for each in self.lanes if each.outward and each.done]:
            if lane.back and lane.back.done:
                lane.source.close()
                lane.sink.close()
                self.lanes = [each for each in self.lanes if each not in (lane, lane.back)]


def connect_to(upstream: str | tuple[str, int]) -> socket.socket:
    """Connect to the server: a path is a unix socket."""
    if isinstance(upstream, str):
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.connect(upstream)
        return server
    server = socket.create_connection(upstream)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return server


def _end(lane: _Lane) -> int:
    """Tell the receiver that no more will come."""
    lane.done = True
    with suppress(OSError):  # it has hung up before
        lane.sink.shutdown(socket.SHUT_WR)
    return 0


def _break(lane: _Lane) -> None:
    """End both directions: the receiver is gone."""
    for each in (lane, lane.back):
        if each:
            each.waiting.clear()
            each.held = 0
            each.open = False
            each.done = True


def _main() -> None:
    """Serve with the sockets that our parent has left open for us."""
    control, listener, delay, upstream = json.loads(sys.argv[1])
    address = upstream if isinstance(upstream, str) else (upstream[0], upstream[1])
    with socket.socket(fileno=control) as asked, socket.socket(fileno=listener) as door:
        _Proxy(asked, door, delay, address).serve()


if __name__ == "__main__":
    _main()
