"""A proxy that does something at an exact byte: cuts the line, kills the client, lets another session in."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import psycopg
from psycopg.conninfo import conninfo_to_dict

Act = Callable[[], None]
COMMIT = re.compile(rb"(?<!ON )COMMIT")  # and not what a temporary table does then


class Cutter:
    """Pass on `limit` bytes from the client to the server, then call `act`; go on only if it returned.

    With `commits` not `limit`, but so many messages that say COMMIT, `short` of some bytes. `act` may raise Cut, which ends the
    connections there are with nothing more passed on, or Gone, after which no other can be made. Use as a
    context manager.
    """

    class Cut(Exception):
        """End the connection here."""

    class Gone(Cut):
        """End it for good."""

    def __init__(self, url: str, limit: int, act: Act, *, commits: int = 0, short: int = 0) -> None:
        with psycopg.connect(url) as connection:
            host, port = connection.info.host, connection.info.port
        self._upstream = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._left = limit
        self._commits, self._short = commits, short
        self._act: Act | None = act
        self._sockets: list[socket.socket] = []
        self._unheard: socket.socket | None = None  # an answer on the way would be faster than the cut
        self.passed = 0
        self.commits = 0
        given = conninfo_to_dict(url)
        own = {"host": "127.0.0.1", "port": str(self._listener.getsockname()[1])}
        user = given.get("user") or ""
        password = f":{given['password']}" if given.get("password") else ""
        self.url = f"postgresql://{user}{password}@{own['host']}:{own['port']}/{given['dbname']}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(for_good=True)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX if isinstance(self._upstream, str) else socket.AF_INET)
                server.connect(self._upstream)
                self._sockets += [client, server]
                threading.Thread(target=self._outward, args=(client, server), daemon=True).start()
                threading.Thread(target=self._homeward, args=(server, client), daemon=True).start()

    def _outward(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while piece := client.recv(1 << 16):
                self.commits += COMMIT.search(piece) is not None
                if self._act is not None and self.commits == self._commits > 0:
                    self._left = len(piece) - self._short
                    self._unheard = server
                if self._act is not None and len(piece) >= self._left:
                    server.sendall(piece[: self._left])
                    piece, act, self._act = piece[self._left :], self._act, None
                    try:
                        act()
                    except Cutter.Cut as how:
                        self._end(for_good=isinstance(how, Cutter.Gone))
                        return
                self._left -= len(piece)
                self.passed += len(piece)
                server.sendall(piece)
        _close(client, server)

    def _homeward(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while piece := server.recv(1 << 16):
                if server is not self._unheard:
                    client.sendall(piece)
        _close(client, server)

    def _end(self, *, for_good: bool) -> None:
        """End all connections; others may be made, unless it is for good."""
        if for_good:
            _close(self._listener)
        ended, self._sockets = self._sockets, []
        _close(*ended)


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


def cut() -> None:
    """End the connection at the moment asked for."""
    raise Cutter.Cut


def cut_for_good() -> None:
    """End the connection, and let no other be made."""
    raise Cutter.Gone


def nothing() -> None:
    """Let everything through: only count."""
