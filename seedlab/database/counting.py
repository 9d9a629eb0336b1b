"""Count the statements that any client sends, independently of its driver.

For PostgreSQL this is a proxy that forwards everything unchanged and parses the client's messages: simple
queries and executions of prepared statements. It does not support TLS, so the server must accept connections
without. SQLite has no protocol; there the library reports the statements of connections (`sqlite/counting`).
"""

from __future__ import annotations

import os
import re
import socket
import struct
import tempfile
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seedlab.database.connect import redirected, unencrypted
from seedlab.database.embedded.cluster import PORT, SOCKET, SOCKET_LENGTH
from seedlab.database.proxy import connect_to

_PIECE = 1 << 16  # bytes read at once
_KEPT = 1 << 13  # bytes of a message that are parsed: a name, and enough of a statement to recognize it
_ENCRYPTION_REQUESTS = {80877103, 80877104}  # for TLS, and for GSS
_LITERAL = re.compile(r"'(?:[^']|'')*'|(?<![$\w])[0-9]+(?:\.[0-9]+)?\b")
_LIST = re.compile(r"(?:\?|\$\d+|%s)(?:\s*,\s*(?:\?|\$\d+|%s))+")
_TRANSACTION = re.compile(
    r"\s*(?:BEGIN|START\s+TRANSACTION|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE)\b", re.IGNORECASE
)


@dataclass(slots=True, kw_only=True, eq=False)
class Statements:
    """Counts of statements by their text without values, excluding transaction control."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, text: str) -> None:
        """Count one statement."""
        if not _TRANSACTION.match(text):
            self.counts[shape(text)] += 1

    @property
    def total(self) -> int:
        """The number of statements counted."""
        return sum(self.counts.values())

    def clear(self) -> None:
        """Reset all counts."""
        self.counts = Counter()


def shape(text: str) -> str:
    """Remove the values from a statement, so that the same one with other values has the same text."""
    plain = " ".join(_LITERAL.sub("?", text).split())
    return _LIST.sub("?, …", plain)


def _folder() -> tempfile.TemporaryDirectory[str]:
    """Create a folder of mode 0700: in the temporary folder, unless that has too long a path for a socket."""
    deep = len(os.fsencode(Path(tempfile.gettempdir(), "seedlab_count_12345678", SOCKET))) > SOCKET_LENGTH
    return tempfile.TemporaryDirectory(prefix="seedlab_count_", dir="/tmp" if deep else None)  # noqa: S108


class CountingProxy:
    """A counting proxy in front of a server; `url_for` leads a database URL through it.

    The server is `host` and `port`, or the file `unix_socket`; the proxy listens on the same kind of socket.
    """

    def __init__(self, statements: Statements, address: dict[str, Any]) -> None:
        self._statements = statements
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._sockets: set[socket.socket] = set()
        self._upstream: str | tuple[str, int]
        if "unix_socket" in address:
            self._upstream = str(address["unix_socket"])
            self._folder = _folder()
            path = Path(self._folder.name, SOCKET)
            self.host, self.port = self._folder.name, PORT
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(str(path))
            self._listener.listen()
        else:
            self._upstream = (address["host"], address["port"])
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.host, self.port = self._listener.getsockname()[:2]
        threading.Thread(target=self._serve, daemon=True, name="seedlab-count").start()

    def url_for(self, url: str, password: str | None = None) -> str:
        """Lead a URL through the proxy, with a password that libpq found by the server's address."""
        return redirected(unencrypted(url, password), self.host, self.port)

    def close(self) -> None:
        """End the proxy and every connection through it."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in `accept`
        self._listener.close()
        for each in tuple(self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        if self._folder:
            self._folder.cleanup()

    # ---- in threads

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=[client], daemon=True, name="seedlab-count").start()

    def _carry(self, client: socket.socket) -> None:
        """Serve a client until client or server closes the connection."""
        with client, suppress(OSError), connect_to(self._upstream) as server:
            self._sockets |= {client, server}
            back = threading.Thread(target=_pass_on, args=(server, client), daemon=True, name="seedlab-count")
            back.start()
            _pass_on(client, server, Reader(self._statements))
            back.join()
            self._sockets -= {client, server}


def _pass_on(source: socket.socket, sink: socket.socket, reader: Reader | None = None) -> None:
    """Forward data until one end closes its connection; then close the other one."""
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            if reader is not None:
                answer, piece = reader.read(piece)
                if answer:
                    source.sendall(answer)
            sink.sendall(piece)
    for end in (sink, source):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Reader:
    """Parse a client's messages piece by piece, holding only the beginning of each message in memory."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._begun = False  # whether the startup message has passed
        self._head = bytearray()  # the beginning of an incomplete message
        self._skip = 0  # bytes of the message that need not be parsed
        self._prepared: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}

    def read(self, piece: bytes) -> tuple[bytes, bytes]:
        """Parse a piece; return the answer to the client, and the data to forward."""
        if not self._begun:
            return self._start(piece)
        self._messages(memoryview(piece))
        return b"", piece

    def _start(self, piece: bytes) -> tuple[bytes, bytes]:
        """Refuse encryption, which could not be parsed, and forward the startup message."""
        self._head += piece
        answer, passed = b"", b""
        while len(self._head) >= 8:
            length, code = struct.unpack_from("!II", self._head)
            if len(self._head) < length:
                break
            message = bytes(self._head[:length])
            del self._head[:length]
            if code in _ENCRYPTION_REQUESTS:
                answer += b"N"
                continue
            self._begun = True
            rest, self._head = bytes(self._head), bytearray()
            self._messages(memoryview(rest))
            passed = message + rest
            break
        return answer, passed

    def _messages(self, piece: memoryview) -> None:
        while piece:
            if self._skip:
                gone = min(self._skip, len(piece))
                self._skip -= gone
                piece = piece[gone:]
                continue
            wanted = self._wanted()
            taken = piece[: wanted - len(self._head)]
            self._head += taken
            piece = piece[len(taken) :]
            if len(self._head) >= 5 and len(self._head) == self._wanted():
                (length,) = struct.unpack_from("!I", self._head, 1)
                self._message(self._head[:1], bytes(self._head[5:]))
                self._skip = 1 + length - len(self._head)
                self._head.clear()

    def _wanted(self) -> int:
        """Return how many bytes of the current message to parse: first its header, then its beginning."""
        if len(self._head) < 5:
            return 5
        (length,) = struct.unpack_from("!I", self._head, 1)
        return int(min(1 + length, _KEPT))

    def _message(self, kind: bytes | bytearray, body: bytes) -> None:
        if kind == b"Q":
            self._statements.add(_text(body))
        elif kind == b"P":
            name, _, rest = body.partition(b"\0")
            self._prepared[name] = _text(rest)
        elif kind == b"B":
            portal, _, rest = body.partition(b"\0")
            self._portals[portal] = self._prepared.get(rest.partition(b"\0")[0], "")
        elif kind == b"E":
            self._statements.add(self._portals.get(body.partition(b"\0")[0], ""))
        elif kind == b"F":
            self._statements.add("function call")


def _text(body: bytes) -> str:
    return body.partition(b"\0")[0].decode("utf-8", "replace")
