"""What PostgreSQL's errors become: whose they are, where, and never a row's value."""

from __future__ import annotations

import psycopg
import pytest

from seedlab.database.connect import parse_target
from seedlab.database.postgres.failures import connection_failed, write_failed
from seedlab.errors import DataFaults, Fault, Refused, SeedError, WriteError

DDL = """
CREATE TABLE p (id int PRIMARY KEY);
CREATE TABLE t (
  code text UNIQUE, n int NOT NULL DEFAULT 0, small smallint, name varchar(3), body jsonb,
  p_id int CONSTRAINT to_p REFERENCES p, CONSTRAINT positive CHECK (n >= 0),
  during int4range, CONSTRAINT apart EXCLUDE USING gist (during WITH &&)
);
INSERT INTO t (code, during) VALUES ('taken', '[1,5)')
"""
SECRET = "hunter2"


def failed(url: str, statement: str, **facts: object) -> SeedError:
    with psycopg.connect(url) as connection:
        connection.execute(DDL)
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(statement)
        connection.rollback()
    return write_failed(caught.value, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("statement", "rule", "column", "about"),
    [
        ("INSERT INTO t (n) VALUES (NULL)", "not-null", "n", "column n: a NOT NULL column would be NULL"),
        ("INSERT INTO t (p_id) VALUES (7)", "missing-parent", None, "(to_p)"),
        ("INSERT INTO t (code) VALUES ('taken')", "unique", None, "(t_code_key)"),
        ("INSERT INTO t (n) VALUES (-1)", "constraint", None, "(positive)"),
        ("INSERT INTO t (during) VALUES ('[2,3)')", "exclusion", None, "(apart)"),
        ("INSERT INTO t (n) SELECT 'x'::text::int", "type", None, "a value is not of the column's type"),
        ("INSERT INTO t (small) VALUES (99999)", "overflow", None, "a number is out of the column's range"),
        ("INSERT INTO t (name) VALUES ('long')", "too-long", None, "a text is too long"),
        (r"""INSERT INTO t (body) VALUES ('"\u0000"')""", "nul", None, r"\u0000"),
    ],
)
def test_what_the_rows_are_to_blame_for_is_a_data_fault(
    clean_postgres_url: str, statement: str, rule: str, column: str | None, about: str
) -> None:
    error = failed(clean_postgres_url, statement, table="t")

    assert isinstance(error, DataFaults)
    (fault,) = error.faults
    assert (fault.rule, fault.table, fault.column) == (rule, "t", column)
    assert about in fault.message


@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT INTO t (code) VALUES ('{SECRET}'), ('{SECRET}')",
        f"INSERT INTO t (n) SELECT '{SECRET}'::text::int",
        f"INSERT INTO t (name) VALUES ('{SECRET}')",
        f"INSERT INTO t (code, n) VALUES ('{SECRET}', -1)",
        f"INSERT INTO t (code, n) VALUES ('{SECRET}', NULL)",
    ],
)
def test_a_rows_value_is_never_in_the_message(clean_postgres_url: str, statement: str) -> None:
    error = failed(clean_postgres_url, statement)

    assert isinstance(error, DataFaults)
    assert SECRET not in f"{error} {error.faults[0].message} {error.faults[0].column}"


def test_what_the_server_said_of_a_row_is_its_value(clean_postgres_url: str) -> None:
    error = failed(clean_postgres_url, "INSERT INTO t (code) VALUES ('taken')")

    assert isinstance(error, DataFaults)
    assert "(code)=(taken)" in (error.faults[0].value or "")


def test_the_place_of_the_refused_row_is_kept(clean_postgres_url: str) -> None:
    row = Fault(rule="", message="", file="t.csv", row=3, column="n")

    error = failed(clean_postgres_url, "INSERT INTO t (n) SELECT 'x'::text::int", table="t", row=row)

    assert isinstance(error, DataFaults)
    assert (error.faults[0].file, error.faults[0].row, error.faults[0].column) == ("t.csv", 3, "n")


@pytest.mark.parametrize(
    ("statement", "state", "hint"),
    [
        ("SET LOCAL statement_timeout = 1; SELECT pg_sleep(9)", "57014", "--statement-timeout"),
        ("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(9)", "57014", "somebody cancelled it"),
        ("SET TRANSACTION READ ONLY; DELETE FROM t", "25006", "seed the primary"),
        ("SELECT * FROM pg_authid", "42501", "seedlab doctor"),
        ("SELECT nothing", "42703", ""),
    ],
)
def test_what_the_rows_are_not_to_blame_for_says_what_to_do(
    clean_postgres_url: str, statement: str, state: str, hint: str
) -> None:
    error = failed(clean_postgres_url, statement, table="t")

    assert isinstance(error, WriteError)
    assert (error.sqlstate, error.exit_code) == (state, 1)
    assert f"[{state}]" in str(error)
    assert hint in str(error)
    assert str(error).startswith("writing t: ")


def test_what_is_only_read_is_not_said_to_be_written(clean_postgres_url: str) -> None:
    error = failed(clean_postgres_url, "SELECT * FROM pg_authid", table="the catalog")

    assert str(error).startswith("the catalog: permission denied")


def test_a_lock_that_somebody_holds_is_told(clean_postgres_url: str) -> None:
    with psycopg.connect(clean_postgres_url) as holder:
        holder.execute("CREATE TABLE held (a int)")
        holder.commit()
        holder.execute("LOCK TABLE held")
        error = failed(clean_postgres_url, "LOCK TABLE held NOWAIT", table="held")

    assert isinstance(error, WriteError)
    assert error.sqlstate == "55P03"
    assert "writing held: " in str(error)
    assert "another session holds a lock" in str(error)


def test_an_error_without_a_sqlstate_is_told_too() -> None:
    error = write_failed(psycopg.OperationalError("the connection is lost"))

    assert isinstance(error, WriteError)
    assert str(error) == "the connection is lost [no SQLSTATE]"


def test_a_role_that_may_not_come_in_is_refused() -> None:
    assert isinstance(write_failed(psycopg.errors.InvalidAuthorizationSpecification("no")), Refused)


def test_a_target_that_cannot_be_reached_is_named_with_its_origin_and_without_a_password() -> None:
    target = parse_target(f"postgresql://me:{SECRET}@127.0.0.1:1/school", "--target staging")

    error = connection_failed(psycopg.OperationalError("connection refused\n\tis it running?"), target)

    assert str(error) == (
        "cannot connect to postgresql://me@127.0.0.1:1/school (from --target staging): "
        "connection refused; is it running?"
    )
