"""Few rows with large values: no message to the server takes all of them, whatever their number."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from seedlab.database.postgres import encode, failures
from seedlab.database.postgres.wire import Question, Results, Wire
from seedlab.errors import WriteError
from tests.support.previewing import preview
from tests.support.rejecting import seed_rejecting
from tests.support.seeding import counted, execute, rows_of, seed, write

LIMIT = 20_000
TABLES = """
CREATE TABLE texts (code text PRIMARY KEY, v text CHECK (v <> 'bad'));
CREATE TABLE notes (code text PRIMARY KEY, text text NOT NULL REFERENCES texts, v text);
INSERT INTO texts VALUES ('t0', 'old'); INSERT INTO notes VALUES ('n0', 't0', 'old');
"""


def long(number: int) -> str:
    """A text of 1,000 bytes, or of 15,000 for some."""
    return f"{number:04}" * (3750 if number % 20 == 0 else 250)


def files(count: int = 60) -> dict[str, str]:
    texts = "".join(f"t{n},{long(n)}\n" for n in range(count))
    notes = "".join(f"n{n},t{n},{long(n)}\n" for n in range(count))
    return {"texts.csv": f"code,v\n{texts}", "notes.csv": f"code,text,v\n{notes}"}


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of the parameters of each pipeline, where LIMIT is the most that is meant to be sent."""
    found: list[int] = []
    asked = Wire._asked

    def measured(wire: Wire, questions: list[Question], answer: int) -> Results:
        found.append(sum(len(value or "") for _, parameters in questions for value in parameters))
        return asked(wire, questions, answer)

    monkeypatch.setattr(Wire, "_asked", measured)
    monkeypatch.setattr(encode, "ARRAY_BYTES", LIMIT)
    return found


@pytest.mark.parametrize("level", ["bulk", "incremental"])
def test_a_merge_of_large_values_is_no_single_message(
    level, tmp_path: Path, clean_postgres_url: str, sizes: list[int]
) -> None:
    execute(clean_postgres_url, TABLES)
    folder = write(tmp_path, files())

    assert counted(seed(folder, clean_postgres_url, level)) == (118, 2, 0)
    assert counted(seed(folder, clean_postgres_url, level, force=True)) == (0, 0, 120)

    assert max(sizes) <= 2 * LIMIT
    for table in ("texts", "notes"):
        held = rows_of(clean_postgres_url, f"SELECT code, v FROM {table} ORDER BY length(code), code")
        assert held == [(f"{table[0]}{n}", long(n)) for n in range(60)]


def test_a_plan_and_checks_of_large_values_are_no_single_message(
    tmp_path: Path, clean_postgres_url: str, sizes: list[int]
) -> None:
    execute(clean_postgres_url, TABLES)
    folder = write(tmp_path, files())

    assert preview(folder, clean_postgres_url, differences=True).lines_counted == (118, 2)
    assert max(sizes) <= 2 * LIMIT

    bad = files()
    bad["texts.csv"] = bad["texts.csv"].replace(long(59), "bad")
    rejecting = seed_rejecting(write(tmp_path, bad), clean_postgres_url, tmp_path / "rejects")
    assert rejecting.told == [("notes.csv", 61, "rejected-parent"), ("texts.csv", 61, "constraint")]
    assert max(sizes) <= 2 * LIMIT


def test_a_cycle_of_large_values_is_no_single_message(
    tmp_path: Path, clean_postgres_url: str, sizes: list[int]
) -> None:
    """It is one statement all the same, over temporary tables."""
    execute(
        clean_postgres_url,
        f"{TABLES} ALTER TABLE texts ADD note text REFERENCES notes; UPDATE texts SET note = 'n0';",
    )
    cyclic = files()
    lines = cyclic["texts.csv"].splitlines()
    cyclic["texts.csv"] = "\n".join(
        ["code,v,note", *(f"{line},n{number}" for number, line in enumerate(lines[1:]))]
    )
    folder = write(tmp_path, cyclic)

    assert counted(seed(folder, clean_postgres_url)) == (118, 2, 0)
    assert counted(seed(folder, clean_postgres_url, force=True)) == (0, 0, 120)

    assert max(sizes) <= 2 * LIMIT
    held = rows_of(clean_postgres_url, "SELECT code, v, note FROM texts ORDER BY length(code), code")
    assert held == [(f"t{n}", long(n), f"n{n}") for n in range(60)]


SYNCED = """
[[stages]]
id = "texts"
  [[stages.seeds]]
  name = "texts"
  source = "texts.csv"
  mode = "sync"
  [stages.seeds.tables]
  texts = { key = ["v"], nulls = "equal" }
"""


def test_rows_with_large_keys_are_deleted_by_temporary_tables(
    tmp_path: Path, clean_postgres_url: str, sizes: list[int]
) -> None:
    execute(clean_postgres_url, "CREATE TABLE texts (code text, v text)")
    folder = write(tmp_path, {"seedlab.toml": SYNCED, "texts.csv": files()["texts.csv"]})
    seed(folder, clean_postgres_url)
    write(folder, {"texts.csv": "code,v\nt1,new\n"})
    before = len(sizes)

    run = seed(folder, clean_postgres_url, max_delete="100%")

    assert (counted(run), run.outcomes.deleted) == ((1, 0, 0), 60)
    whole = sum(len(long(n)) for n in range(60))
    assert sum(size > whole for size in sizes[before:]) == 1  # the ledger asks for the marks of these rows
    assert rows_of(clean_postgres_url, "SELECT * FROM texts") == [("t1", "new")]


def test_a_plan_of_equal_rows_that_are_too_large_for_a_statement_is_refused_with_the_reason(
    tmp_path: Path, clean_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are counted together. The connection was lost."""
    monkeypatch.setattr(encode, "ARRAY_BYTES", LIMIT)
    monkeypatch.setattr(failures, "MESSAGE_BYTES", 2 * LIMIT)
    execute(
        clean_postgres_url, "CREATE TABLE texts (code text, v text); INSERT INTO texts VALUES ('t0', 'old')"
    )
    folder = write(tmp_path, {"texts.csv": files()["texts.csv"]})

    with pytest.raises(WriteError, match=r"texts: .* MB in one statement"):
        preview(folder, clean_postgres_url)

    assert counted(seed(folder, clean_postgres_url)) == (60, 0, 0)


def test_rows_that_must_go_in_one_statement_and_are_too_large_for_it_are_refused_with_the_reason(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(postgres_url, TABLES)
    monkeypatch.setattr(encode, "ARRAY_BYTES", LIMIT)
    monkeypatch.setattr(failures, "MESSAGE_BYTES", 2 * LIMIT)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        name, user = connection.info.dbname, connection.info.user
        revoke = sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC, {}")
        connection.execute(revoke.format(sql.Identifier(name), sql.Identifier(user)))
    folder = write(tmp_path, files())

    with pytest.raises(WriteError, match=r"texts: .* MB in one statement.*TEMPORARY"):
        seed(folder, postgres_url)

    assert rows_of(postgres_url, "SELECT * FROM texts") == [("t0", "old")]
