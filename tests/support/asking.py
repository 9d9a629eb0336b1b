"""A connection for the tests' own questions, kept from one to the next: to connect costs more than most of them."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg.pq import TransactionStatus

_kept: dict[str, psycopg.Connection] = {}  # one at most: that of the database asked last


@contextmanager
def asking(url: str) -> Iterator[psycopg.Connection]:
    """A connection that commits each statement and is as one newly made; after an error it is not kept.

    A thread other than the first has one of its own, lest two wait for each other.
    """
    if threading.current_thread() is not threading.main_thread():
        with psycopg.connect(url, autocommit=True) as own:
            yield own
        return
    connection = _ready(url) or psycopg.connect(url, autocommit=True, prepare_threshold=None)
    try:
        yield connection
    except BaseException:
        connection.close()
        raise
    if connection.info.transaction_status is TransactionStatus.IDLE:
        _kept[url] = connection
    else:
        connection.commit()
        connection.close()


def _ready(url: str) -> psycopg.Connection | None:
    """The connection kept, with nothing left of what was set on it; one to another database is closed."""
    connection = _kept.pop(url, None)
    forget()
    if connection is not None:
        with suppress(psycopg.OperationalError):
            connection.execute("DISCARD ALL")
            return connection
        connection.close()
    return None


@atexit.register
def forget() -> None:
    """Close the connection kept."""
    while _kept:
        _kept.popitem()[1].close()
