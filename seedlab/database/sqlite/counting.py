"""Count the statements of all SQLite connections to a file that are opened in this process.

SQLite reports statements only to a trace callback of the connection. So `sqlite3.connect`, which SQLAlchemy,
Django and aiosqlite call, too, is replaced while statements are counted.
"""

from __future__ import annotations

import os
import sqlite3
import sqlite3.dbapi2
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from seedlab.database.counting import Statements

_plain = sqlite3.connect
_watched: dict[str, Statements] = {}  # file → counts


def watch(path: Path, statements: Statements) -> None:
    """Count the statements of all connections to this file that are opened from now on."""
    _watched[str(path.resolve())] = statements
    _let_connect(_connect)


def forget(path: Path) -> None:
    """Stop counting the statements of new connections to this file."""
    _watched.pop(str(path.resolve()), None)
    if not _watched:
        _let_connect(_plain)


def _let_connect(how: Callable[..., sqlite3.Connection]) -> None:
    for module in (sqlite3, sqlite3.dbapi2):
        vars(module)["connect"] = how


def _connect(*arguments: Any, **named: Any) -> sqlite3.Connection:
    connection: sqlite3.Connection = _plain(*arguments, **named)
    database = arguments[0] if arguments else named["database"]
    if (found := _watched.get(_path(os.fsdecode(database)))) is not None:
        connection.set_trace_callback(_adder(found))
    return connection


def _path(name: str) -> str:
    """Return the file of a connection, which may be given as a URI."""
    if name.startswith("file:"):
        name = unquote(name.removeprefix("file:").removeprefix("//").partition("?")[0])
    return str(Path(name).resolve())


def _adder(statements: Statements) -> Callable[[str], None]:
    def add(text: str) -> None:
        if not text.startswith("--"):  # statements of triggers are reported as comments
            statements.add(text)

    return add
