"""The ledger's SQL, read without a server."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from psycopg.sql import Composable

from seedlab.database.postgres import ledger_statements as sql
from seedlab.database.postgres import transaction_statements
from seedlab.flow import Settings, TableState
from tests.support.tables import column, table

ODD = table(
    'we"ird.ta"ble',
    {'na"me': "text not null", "price": column("price", "numeric", send="pg_catalog.numeric_send")},
    primary=['na"me'],
)
STATE = TableState(table=ODD.name, columns=('na"me', "price"), key=('na"me',), server="postgresql 18")
OTHER = replace(STATE, columns=("price",))
NAME = 'COALESCE(pg_catalog.hashtextextended("t"."na""me", 1), 1)'
PRICE = 'COALESCE(pg_catalog.hashtextextended(CAST("t"."price" AS pg_catalog.text), {0}), {0})'
HASH = "pg_catalog.hashtextextended('', {})"
CONTENT = HASH.format(f"{NAME} # {PRICE.format(2)}")
KEY = HASH.format(NAME)


def text(statement: Composable) -> str:
    return statement.as_string(None)


def test_the_ledger_is_made_in_one_transaction_behind_a_lock_of_its_own() -> None:
    made = [text(each) for each in sql.CREATE]

    assert made[0].startswith("BEGIN")
    assert "pg_advisory_xact_lock" in made[1]
    assert made[-1] == "COMMIT"
    assert all(re.search("IF NOT EXISTS|NOT EXISTS|SET STORAGE EXTERNAL", each) for each in made[2:-1])


def test_one_who_waited_to_make_the_ledger_sees_what_the_other_made() -> None:
    assert text(sql.CREATE[0]) == "BEGIN ISOLATION LEVEL READ COMMITTED"


def test_catalog_and_ledger_are_read_as_of_one_moment() -> None:
    assert text(transaction_statements.look([], "1s")[0]) == (
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    )


def test_nothing_of_the_ledger_hangs_on_the_search_path() -> None:
    asked = [sql.GENERATION, sql.RAISE_GENERATION, sql.HOLDER, sql.lock(0, Settings())[0]]
    asked += [sql.ADD_RUN, sql.PUT_STAGES, sql.PUT_ROWS, sql.FORGET_ROWS, sql.FORGET_STAGES]
    asked += [sql.RECALL_MARKS, sql.read("p"), sql.recall("p", "s", "d", "t")]

    for each in map(text, asked):
        said = each.replace("DO UPDATE SET", "")
        relations = re.findall(r"\b(?:FROM|INTO|UPDATE|TABLE|JOIN|USING)\s+([\w.]+)", said)
        assert relations, each
        assert all(name.startswith(("seedlab.", "pg_catalog.")) for name in relations), each


def test_names_in_a_ledger_are_literals_whatever_they_hold() -> None:
    asked = text(sql.recall("pro'ject", "st'age", "se'ed", "ta\"b'le"))

    assert all(name in asked for name in ("'pro''ject'", "'st''age'", "'se''ed'", "'ta\"b''le'"))
    assert "project = 'it''s'" in text(sql.read("it's"))


def test_the_lock_is_taken_at_once_or_not_at_all_where_nobody_wants_to_wait() -> None:
    assert [text(each) for each in sql.lock(0, Settings())] == [
        "LOCK TABLE seedlab.lock IN EXCLUSIVE MODE NOWAIT",
        text(sql.GENERATION),
    ]


@pytest.mark.parametrize(("own", "after"), [(None, "DEFAULT"), ("5s", "'5s'")])
def test_who_waits_for_the_lock_waits_as_long_as_asked_and_no_longer_for_all_else(
    own: str | None, after: str
) -> None:
    settings = Settings(lock_timeout="7s", statement_timeout=own)

    assert [text(each) for each in sql.lock(30_000, settings)] == [
        "SET LOCAL statement_timeout = 0",
        "SET LOCAL lock_timeout = 30000",
        "LOCK TABLE seedlab.lock IN EXCLUSIVE MODE",
        "SET LOCAL lock_timeout = '7s'",
        f"SET LOCAL statement_timeout = {after}",
        text(sql.GENERATION),
    ]


def test_a_wait_longer_than_a_timeout_can_be_is_the_longest() -> None:
    assert text(sql.lock(10**12, Settings())[1]) == "SET LOCAL lock_timeout = 2147483647"


def test_the_holder_is_looked_for_in_this_database_alone() -> None:
    assert "l.database = " in text(sql.HOLDER)


def test_contents_are_one_statement_of_one_pass_over_each_table() -> None:
    asked = text(sql.contents([(STATE, ODD), (OTHER, ODD)]))

    assert asked.count(" UNION ALL ") == 1
    assert asked.count('FROM "we""ird"."ta""ble" t') == 2
    assert f'SELECT {CONTENT} AS "h"' in asked
    assert 'AS "k"' not in asked


def test_a_column_whose_equality_is_blind_is_hashed_as_it_is_shown_or_sent() -> None:
    spans = table(
        "spans",
        {"day": "date not null", "span": column("span", "interval", send="pg_catalog.interval_send")},
        primary=["day"],
    )
    state = replace(STATE, table="spans", columns=("day", "span"))

    assert HASH.format(PRICE.format(1)) in text(sql.contents([(OTHER, ODD)]))
    record = 'pg_catalog.hash_record_extended(ROW("t"."day", pg_catalog.interval_send("t"."span")), 0)'
    assert HASH.format(record) in text(sql.contents([(state, spans)]))


def test_marks_hash_key_and_content_of_every_row() -> None:
    asked = text(sql.marks(STATE, ODD))

    assert f'SELECT {KEY} AS "k", {CONTENT} AS "h" FROM "we""ird"."ta""ble" t' in asked
    assert "int8send(k) || pg_catalog.int8send(h)" in asked


def test_marks_of_some_rows_take_an_array_for_each_key_column() -> None:
    two = replace(STATE, key=('na"me', "price"))

    asked = text(sql.marks_of(two, ODD, two.key))

    assert "unnest($1::pg_catalog.text[], $2::pg_catalog.text[])" in asked
    assert 'CAST("r"."price" AS numeric) AS "price"' in asked
    assert '"t"."na""me" = "s"."na""me" AND "t"."price" = "s"."price"' in asked


@pytest.mark.parametrize(
    ("cut", "marks"),
    [
        (None, "string_agg"),
        ((7, 16), "pg_catalog.substr($1::pg_catalog.bytea, 7, 16)"),
        ((1, -1), "NULL::pg_catalog.bytea"),
    ],
    ids=["all rows", "given", "unknown"],
)
def test_a_table_is_kept_with_the_marks_of_all_rows_those_given_or_none(
    cut: tuple[int, int] | None, marks: str
) -> None:
    asked = text(sql.put_tables([(STATE, ODD, cut)], stamped=False))

    assert marks in asked
    assert ('AS "k"' in asked) is (cut is None)
    assert "'we\"ird.ta\"ble'" in asked
    assert 'ON CONFLICT ("table") DO UPDATE' in asked
