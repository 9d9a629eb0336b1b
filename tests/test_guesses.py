"""Guesses: a key of an SQLite file that may keep uuids is what the files' values say."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.seeding import counted, rows_of, seed, write

A = UUID("0123ABCD-89ab-cdef-0123-456789abcdef")
SCHEMA = """
CREATE TABLE parents (id {0} PRIMARY KEY, name TEXT);
CREATE TABLE children (n INTEGER NOT NULL, parent_id {0} NOT NULL REFERENCES parents, PRIMARY KEY (n, parent_id));
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'guessed.db'}"


def execute(url: str, script: str) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.executescript(script)


@pytest.mark.parametrize(
    ("declared", "spelled", "stored"),
    [
        ("VARCHAR(36)", ["de", "DE"], ["de", "DE"]),
        ("VARCHAR(36)", [str(A).upper(), "de"], [str(A).upper(), "de"]),
        ("VARCHAR(36)", [str(A), "x" * 36], [str(A), "x" * 36]),
        ("CHAR(32)", [A.hex.upper(), "x"], [A.hex.upper(), "x"]),
        ("BLOB", [r"\x01", r"\x"], [b"\x01", b""]),
        ("VARBINARY(255)", [rf"\x{A.hex}", r"\x02"], [A.bytes, b"\x02"]),
        ("BLOB", [rf"\x{A.hex}", rf"\x{'02' * 16}"], [A.bytes, b"\2" * 16]),
        ("VARCHAR(36)", [str(A).upper()], [str(A)]),
        ("CHAR(32)", [str(A)], [A.hex]),
        ("BLOB", [str(A)], [A.bytes]),
    ],
)
def test_values_decide_whether_a_key_keeps_uuids(
    tmp_path: Path, url: str, declared: str, spelled: list[str], stored: list[object]
) -> None:
    execute(url, SCHEMA.format(declared))
    files = {
        "parents.csv": "id,name\n" + "".join(f"{each},p\n" for each in spelled),
        "children.csv": "n,parent_id\n" + "".join(f"{n},{each}\n" for n, each in enumerate(spelled)),
    }
    folder, rows = write(tmp_path / "project", files), 2 * len(spelled)

    assert counted(seed(folder, url)) == (rows, 0, 0)
    assert rows_of(url, "SELECT parent_id FROM children ORDER BY n") == [(each,) for each in stored]
    assert rows_of(url, "SELECT count(*) FROM parents JOIN children ON parent_id = id") == [(rows // 2,)]

    assert counted(seed(folder, url, force=True)) == (0, 0, rows)
    write(
        folder, {"children.csv": files["children.csv"] + f"9,{spelled[0]}\n"}
    )  # of a parent that is not read
    assert counted(seed(folder, url)) == (1, 0, rows)


def test_a_large_file_decides_too(tmp_path: Path, url: str) -> None:
    execute(url, SCHEMA.format("VARCHAR(36)"))
    folder = write(tmp_path / "project", {"parents.csv": f"id,name\n{A},a\n{A.hex},b\nde,c\n"})

    assert counted(seed(folder, url, batch_rows=1)) == (3, 0, 0)
    assert rows_of(url, "SELECT id FROM parents ORDER BY name") == [(str(A),), (A.hex,), ("de",)]
