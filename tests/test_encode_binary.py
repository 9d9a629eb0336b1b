"""COPY's binary format says what its text says: the server keeps the same bytes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import polars as pl
import pytest

from seedlab.database.postgres import direct as postgres_direct
from seedlab.database.postgres import load as postgres_load
from seedlab.database.postgres.encode_binary import NotBinary, copy_binary, has_binary_form
from seedlab.errors import DataFaults
from seedlab.flow import Column, Table
from tests.support.cases import some
from tests.support.seeding import counted, execute, rows_of, seed

# Types with a binary form, and values of them as files may give them.
VALUES: dict[str, Sequence[str | None]] = {
    "uuid": ["6f1ed0c1-0f5b-4b3a-9d4e-3f5c0a7b9d21", "00000000000000000000000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", None],
    "smallint": ["0", "-32768", "32767", "+5", "007", None],
    "integer": ["0", "-2147483648", "2147483647", "1", None],
    "bigint": ["0", "-9223372036854775808", "9223372036854775807", "-1", None],
    "double precision": ["0", "-0.0", "0.1", "1e22", "-2.2250738585072014e-30", "123456789.12345679", None],
    "boolean": ["true", "false", "t", "f", None],
    "text": ["", " ", "\\N", "\\.", "a\tb", "שלום", "é", "x" * 70_000, "\U0001f600", '"', None],
    "varchar(5)": ["", "abcde", "שלום", None],
    "date": ["2000-01-01", "1999-12-31", "0001-01-01", "9999-12-31", "2024-02-29", None],
    "timestamp": ["2000-01-01 00:00:00", "1969-12-31T23:59:59.999999", "0001-01-01 00:00:00.1", "9999-12-31 23:59:59", None],
    "timestamp(3)": ["2024-01-01 00:00:00.123", None],
    "timestamptz": ["2024-05-06 07:08:09Z", "2024-05-06T07:08:09.5+03:00", "2024-05-06 07:08:09-0330", "1901-01-01 00:00:00-11", None],
    "numeric(3,1)": ["0", "-9.9", "99.9", "1", "+1.5", "-0.0", None],
    "numeric(18,0)": ["0", "-999999999999999999", "10000", "1", None],
    "numeric(18,16)": ["0", "0.0000000000000001", "-99.9999999999999999", "0.5", None],
    "numeric(9,4)": ["12345.6789", "-0.0001", "10000.0000", "0.1", None],
    "json": ['{"a": [1, 2.50, null]}', '"שלום"', "1", None],
    "jsonb": ['{"a": [1, 2.50, null], "b": "\\u05d0"}', "[]", "null", None],
    "mood": ["good", "not so good", None],
}  # fmt: skip
# Spellings of another kind, which the server takes all the same.
OTHERS = {
    "uuid": "{6f1ed0c1-0f5b-4b3a-9d4e-3f5c0a7b9d21}",
    "integer": " 5",
    "double precision": "Infinity",
    "boolean": "yes",
    "date": "January 8, 1999",
    "timestamp": "infinity",
    "timestamptz": "2024-05-06 07:08:09 Asia/Jerusalem",
    "numeric(9,4)": "1e2",
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table is large enough."""
    monkeypatch.setattr(postgres_load, "BINARY_ROWS", 1)


def project(folder: Path, columns: dict[str, Sequence[str | None]]) -> Path:
    frame = pl.DataFrame({name: list(values) for name, values in columns.items()}, schema_overrides=None)
    folder.mkdir(exist_ok=True)
    frame.cast(pl.String).write_parquet(folder / "t.parquet")
    return folder


def text_of(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch, order: str) -> list[tuple[object, ...]]:
    """What the table holds when it is filled by COPY's text."""
    with monkeypatch.context() as patch:
        patch.setattr(postgres_load, "BINARY_ROWS", 1 << 60)
        seed(folder, url)
    found = rows_of(url, order)
    execute(url, "DROP SCHEMA seedlab CASCADE; TRUNCATE t")
    return found


def table(spellings: Sequence[str]) -> str:
    columns = "".join(f", c{n} {spelling}" for n, spelling in enumerate(spellings))
    return f"CREATE TYPE mood AS ENUM ('good', 'not so good'); CREATE TABLE t (key text PRIMARY KEY{columns})"


# As the server would send it: every difference shows.
def asked(count: int) -> str:
    sends = ", ".join(f"c{n}::text" for n in range(count))
    return f"SELECT key, {sends}, t::text FROM t ORDER BY key"


def test_every_value_of_every_type_is_kept_as_text_would_have_it(
    clean_postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, coin = clean_postgres_url, random.Random(6)
    execute(url, table(list(VALUES)))
    rows = 400
    columns: dict[str, Sequence[str | None]] = {"key": [f"{n:05}" for n in range(rows)]}
    columns |= {f"c{n}": [coin.choice(each) for _ in range(rows)] for n, each in enumerate(VALUES.values())}
    folder = project(tmp_path / "p", columns)
    expected = text_of(folder, url, monkeypatch, asked(len(VALUES)))
    monkeypatch.setattr(postgres_direct, "NotBinary", ZeroDivisionError)  # what is raised is not caught

    assert counted(seed(folder, url)) == (rows, 0, 0)

    assert rows_of(url, asked(len(VALUES))) == expected


def test_a_spelling_of_another_kind_in_a_later_table_sends_all_as_text(
    clean_postgres_url: str, tmp_path: Path
) -> None:
    """It is found while the server is at work on the table before."""
    execute(clean_postgres_url, f"{table(['uuid'])}; CREATE TABLE a (key text PRIMARY KEY)")
    folder = project(tmp_path / "p", {"key": ["k"], "c0": [OTHERS["uuid"]]})
    pl.DataFrame({"key": ["k"]}).write_parquet(folder / "a.parquet")

    assert counted(seed(folder, clean_postgres_url)) == (2, 0, 0)

    assert rows_of(clean_postgres_url, "SELECT c0::text FROM t") == [(OTHERS["uuid"].strip("{}"),)]


@pytest.mark.parametrize("spelling", some(OTHERS, "uuid", "timestamptz", "numeric(9,4)"))
def test_a_spelling_of_another_kind_sends_the_rows_as_text(
    clean_postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    url, value = clean_postgres_url, OTHERS[spelling]
    execute(url, table([spelling]))
    folder = project(tmp_path / "p", {"key": ["a", "b"], "c0": [VALUES[spelling][0], value]})
    expected = text_of(folder, url, monkeypatch, asked(1))

    assert counted(seed(folder, url)) == (2, 0, 0)

    assert rows_of(url, asked(1)) == expected


def test_a_row_that_the_server_refuses_is_told_by_file_and_row(
    clean_postgres_url: str, tmp_path: Path
) -> None:
    execute(clean_postgres_url, table(["int CHECK (c0 <> 7)"]))
    folder = project(tmp_path / "p", {"key": [str(n) for n in range(9)], "c0": [str(n) for n in range(9)]})

    with pytest.raises(DataFaults) as caught:
        seed(folder, clean_postgres_url)

    (fault,) = caught.value.faults
    assert (fault.rule, fault.file, fault.row) == ("constraint", "t.parquet", 7)


def column(name: str, kind: str, **more: object) -> Column:
    return Column(name=name, type=kind, kind=kind, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["char", "citext", "time", "interval", "bytea", "array", "other", "float4"])
def test_other_types_have_no_binary_form_here(kind: str) -> None:
    mine = Table(name="t", schema="s", relation="t", columns={"c": column("c", kind)})
    assert not has_binary_form(mine, ["c"])


@pytest.mark.parametrize(
    "mine",
    [
        column("c", "text", domain=True),
        column("c", "numeric"),
        column("c", "numeric", precision=19, scale=0),
        column("c", "numeric", precision=18, scale=17),
        column("c", "numeric", precision=3, scale=-2),
        column("c", "numeric", precision=3, scale=5),
    ],
    ids=["domain", "unlimited", "too long", "too fine", "negative scale", "below the point"],
)
def test_nor_have_domains_and_some_numerics(mine: Column) -> None:
    assert not has_binary_form(Table(name="t", schema="s", relation="t", columns={"c": mine}), ["c"])


def test_a_row_is_a_count_and_each_value_behind_its_length() -> None:
    mine = Table(
        name="t", schema="s", relation="t",
        columns={"u": column("u", "uuid"), "s": column("s", "text"), "n": column("n", "int2"), "b": column("b", "bool")},
    )  # fmt: skip
    number = UUID("6f1ed0c1-0f5b-4b3a-9d4e-3f5c0a7b9d21")
    frame = pl.DataFrame(
        {
            "u": pl.Series([number.int, None], dtype=pl.UInt128),
            "s": ["é", None],
            "n": ["-2", "3"],
            "b": ["t", None],
        }
    )

    null = b"\xff\xff\xff\xff"
    first = b"\0\4\0\0\0\x10" + number.bytes + b"\0\0\0\2\xc3\xa9" + b"\0\0\0\2\xff\xfe" + b"\0\0\0\1\1"
    assert copy_binary(frame, list("usnb"), mine) == first + b"\0\4" + null + null + b"\0\0\0\2\0\3" + null


@pytest.mark.parametrize("value", ["32768", "x", "", "1.0"])
def test_a_value_that_does_not_fit_is_left_to_the_server(value: str) -> None:
    mine = Table(name="t", schema="s", relation="t", columns={"n": column("n", "int2")})
    with pytest.raises(NotBinary):
        copy_binary(pl.DataFrame({"n": ["1", value]}), ["n"], mine)
