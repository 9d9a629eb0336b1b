"""Statements are counted by what a client really sends, cut into pieces however the network likes."""

from __future__ import annotations

import sqlite3
import struct
import tempfile
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from sqlite3 import dbapi2

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from seedlab.database.connect import parse_target, redirected, unencrypted
from seedlab.database.counting import CountingProxy, Reader, Statements, shape
from seedlab.database.snapshots import snapshots_at
from seedlab.database.sqlite import counting as sqlite_counting


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", 4 + len(body)) + body


STARTUP = struct.pack("!II", 17, 196608) + b"user\0me\0\0"
TLS = struct.pack("!II", 8, 80877103)
PASSWORD = message(b"p", b"secret\0")
TALK = (
    PASSWORD
    + message(b"Q", b"SELECT 1\0")
    + message(b"P", b"find\0SELECT $1\0\0\0")
    + b"".join(message(b"B", b"\0find\0" + b"x" * size) + message(b"E", b"\0\0\0\0\0") for size in (0, 9000))
    + message(b"S", b"")
    + message(b"d", b"Q" * 20_000)  # COPY data
    + message(b"Q", b"COMMIT\0")
    + message(b"Q", b"SELECT 'it''s', 2\0")
    + message(b"Q", b"SELECT " + b"x, " * 10_000 + b"1\0")
    + message(b"X", b"")
)


@given(cuts=st.lists(st.integers(0, len(TLS + STARTUP + TALK)), max_size=30))
def test_a_conversation_is_understood_however_it_is_cut(cuts: list[int]) -> None:
    whole = TLS + STARTUP + TALK
    edges = [0, *sorted(cuts), len(whole)]
    statements = Statements()
    reader = Reader(statements)
    answered, passed = b"", b""
    for start, end in pairwise(edges):
        if start < end:
            answer, on = reader.read(whole[start:end])
            answered += answer
            passed += on

    assert (answered, passed) == (b"N", STARTUP + TALK)
    assert statements.total == 5
    assert statements.counts["SELECT $1"] == 2
    assert statements.counts["SELECT ?"] == 1
    assert statements.counts["SELECT ?, …"] == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT * FROM t WHERE a = 'x' AND b = 1.5", "SELECT * FROM t WHERE a = ? AND b = ?"),
        ("SELECT *\n  FROM t1 WHERE a IN (1, 2,3)", "SELECT * FROM t1 WHERE a IN (?, …)"),
        ("INSERT INTO t VALUES ($1, $2)", "INSERT INTO t VALUES (?, …)"),
    ],
)
def test_a_statement_is_known_again_without_its_values(text: str, expected: str) -> None:
    assert shape(text) == expected


def test_what_a_driver_sends_is_counted_but_not_its_transactions(clean_postgres_url: str) -> None:
    statements = Statements()
    with closing(snapshots_at(parse_target(clean_postgres_url, ""))) as snapshots:
        with closing(CountingProxy(statements, snapshots.server_access().address)) as proxy:
            url = proxy.url_for(clean_postgres_url)
            with psycopg.connect(url) as connection:
                connection.execute("CREATE TABLE t (x int)")
                for number in range(7):  # the driver prepares it on the way
                    connection.execute("SELECT * FROM t WHERE x = %s", [number])
                with connection.cursor().copy("COPY t FROM STDIN") as copy:
                    copy.write(b"1\n" * 50_000)
                with connection.pipeline():
                    for number in range(3):
                        connection.execute("INSERT INTO t VALUES (%s)", [number])
            assert dict(statements.counts) == {
                "CREATE TABLE t (x int)": 1,
                "SELECT * FROM t WHERE x = $1": 7,
                "COPY t FROM STDIN": 1,
                "INSERT INTO t VALUES ($1)": 3,
            }
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT count(*) FROM t").fetchone() == (50_003,)
            with pytest.raises(psycopg.OperationalError, match="does not exist"):
                psycopg.connect(url.replace("?", "_not_there?") if "?" in url else f"{url}_not_there")


def test_a_door_opens_where_the_temporary_folder_lies_too_deep_for_a_socket(
    clean_postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    statements = Statements()
    with closing(snapshots_at(parse_target(clean_postgres_url, ""))) as snapshots:
        with closing(CountingProxy(statements, snapshots.server_access().address)) as proxy:
            with psycopg.connect(proxy.url_for(clean_postgres_url)) as connection:
                connection.execute("SELECT 1")
    assert statements.counts["SELECT ?"] + statements.counts["SELECT 1"] == 1


def test_every_way_to_open_a_file_is_counted_until_it_is_forgotten(tmp_path: Path) -> None:
    path, statements = tmp_path / "x.db", Statements()
    plain = sqlite3.connect
    sqlite_counting.watch(path, statements)
    engine = sa.create_engine(f"sqlite:///{path}")
    try:
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE t (x int)"))
            connection.execute(sa.text("INSERT INTO t VALUES (:x)"), [{"x": 1}, {"x": 2}])
        for name in (path, str(path), bytes(path), f"file:{path}?mode=rw"):
            with closing(dbapi2.connect(name, uri=True)) as connection:
                assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)
        with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
            connection.execute("SELECT 1")
    finally:
        engine.dispose()
        sqlite_counting.forget(path)

    counted = {text: count for text, count in statements.counts.items() if not text.startswith("PRAGMA")}
    assert counted == {
        "CREATE TABLE t (x int)": 1,
        "INSERT INTO t VALUES (?)": 2,
        "SELECT count(*) FROM t": 4,
    }
    assert sqlite3.connect is dbapi2.connect is plain


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://me:old@db:6432/app?sslmode=require", "postgresql://me:new@127.0.0.1:5000/app"),
        ("postgresql:///app?host=/run&port=1&connect_timeout=3", "postgresql://127.0.0.1:5000/app?connect_timeout=3"),
        ("postgresql://me@/app?host=/run", "postgresql://me:new@127.0.0.1:5000/app"),
    ],
)  # fmt: skip
def test_a_url_leads_elsewhere(url: str, expected: str) -> None:
    assert redirected(unencrypted(url, "new"), "127.0.0.1", 5000) == expected
