"""Proofs and canonical spellings of values, against what a real server does with the same text."""

from __future__ import annotations

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedlab.flow import Column
from seedlab.frames.kinds import canonical, has_spelling, plain, proven, refused, sortable
from tests.support.cases import some
from tests.support.tables import column

# Text around each type's grammar: near enough that many values are taken, loose enough that many are not.
_CLOCK = r"[0-2][0-9]:[0-6]0(:[0-6]0(\.[01]{1,7})?)?"
_DATE = r"(0000|0001|2024|1999|9999|202)-(0[0-3]|1[0-3]|2)-(0[19]|29|3[0-2]|1)"
_ZONE = r"(Z|z|[+-]0[0-5](:?(00|30|75))?|[+-]15| UTC|)"
_FOREIGN = {ord("1"): "\u0661", ord("0"): "\uff10"}  # Arabic one, fullwidth zero
NEAR = {
    "int2": r"[+ -]?0{0,2}(3276[789]|[0-9]{0,2})[. ]?",
    "int4": r"[+ -]?0{0,2}(214748364[789]|[0-9]{0,2}|0x1|1_0)[. ]?",
    "int8": r"[+-]?0{0,2}(922337203685477580[789]|[0-2]{0,2})",
    "numeric": r"[+-]?0{0,2}[0-2]{0,2}\.?[0-2]{0,2}0{0,2}(e1)?",
    "numeric(4,1)": r"[+-]?0?[0-9]{0,4}\.?[0-5]{0,2}0?",
    "numeric(3,3)": r"-?0?[01]?\.?[0-5]{0,4}",
    "numeric(3,-1)": r"[0-9]{1,5}",
    "real": r"[+-]?0{0,1}[0-2]{0,2}\.?[0-2]{0,2}0?([eE][+-]?[0-9]{1,2})?",
    "double precision": r"[+-]?0{0,1}[0-2]{0,2}\.?[0-2]{0,2}0?([eE][+-]?[0-9]{1,3})?",
    "boolean": r"[tTfF](rue|alse|RUE)?|yes|no|y|n|on|off|of|1|0|10|YES|",
    "uuid": r"\{?[aA0]{8}-?([bB1]{4}-?){3}[cC2]{12}\}?",
    "date": _DATE,
    "time": _CLOCK,
    "time(2)": _CLOCK,
    "timestamp": rf"{_DATE}([ T]{_CLOCK})?",
    "timestamp(3)": rf"{_DATE}([ T]{_CLOCK})?",
    "timestamptz": rf"{_DATE}[ T]{_CLOCK}{_ZONE}",
    "timestamptz(0)": rf"{_DATE}[ T]{_CLOCK}{_ZONE}",
    "varchar(3)": r"[ab]{0,4} {0,2}",
    "varchar": r"[ab]{0,2} {0,2}",
    "char(3)": r"[ab]{0,4} {0,2}",
    "text": r"[aA ]{0,3}",
    "bytea": r"\\x([aA0][bB1] ?){0,2}[ab]?",
    "json": r'-?[01]{0,2}(\.[01]{1,2})?|"a?\\?"|\{\}|\[\]|nul{1,2}|true',
    "jsonb": r'-?[01]{0,2}(\.[01]{1,2})?|"a?\\?"|\{\}|\[\]|nul{1,2}|true',
}
# What a value is before the column's limits are applied to it; floats round by their nature.
WIDE = {
    **dict.fromkeys(
        ("int2", "int4", "int8", "numeric", "numeric(4,1)", "numeric(3,3)", "numeric(3,-1)"), "numeric"
    ),
    **dict.fromkeys(("time", "time(2)"), "time"),
    **dict.fromkeys(("timestamp", "timestamp(3)"), "timestamp"),
    **dict.fromkeys(("timestamptz", "timestamptz(0)"), "timestamptz"),
    **dict.fromkeys(("varchar", "varchar(3)", "text"), "text"),
    "char(3)": "text",
}
# json has no equality, and that of jsonb is the server's alone: such keys go by their text.
# Of kinds that differ in their limits alone, one.
QUICK = ("int4", "numeric", "double precision", "uuid", "date", "timestamptz", "char(3)", "bytea")
COMPARED = sorted(NEAR.keys() - {"json", "jsonb"})

quick = settings(max_examples=12, suppress_health_check=list(HealthCheck))


def near(kind: str, size: int) -> st.SearchStrategy[list[str]]:
    """Texts that are nearly values, and now and then any text at all (digits of every script among it)."""
    close = st.from_regex(NEAR[kind], fullmatch=True)
    anything = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
    foreign = close.map(lambda text: text.translate(_FOREIGN))
    return st.lists(st.one_of(close, close, close, anything, foreign), min_size=1, max_size=size)


def evaluate(expression: pl.Expr, values: list[str]) -> list[object]:
    return pl.DataFrame({"v": values}, schema={"v": pl.String}).select(expression.alias("v"))["v"].to_list()


def proofs(made: Column, values: list[str]) -> list[bool]:
    expression = proven(made, pl.col("v"))
    return [True] * len(values) if expression is None else evaluate(expression, values)


@pytest.mark.parametrize("kind", some(NEAR, *QUICK))
@given(data=st.data())
@quick
def test_what_is_proven_the_server_takes_and_does_not_change(
    kind: str, data: st.DataObject, postgres_admin: psycopg.Connection
) -> None:
    values = data.draw(near(kind, 30))

    sure = [v for v, proof in zip(values, proofs(column("v", kind), values), strict=True) if proof]
    valid = "SELECT v FROM unnest(%s::text[]) u(v) WHERE NOT pg_input_is_valid(v, %s)"
    assert postgres_admin.execute(valid, (sure, kind)).fetchall() == []
    if wide := WIDE.get(kind):
        kept = f"SELECT v FROM unnest(%s::text[]) u(v) WHERE (v::{kind})::{wide} IS DISTINCT FROM v::{wide}"
        changed = [row[0] for row in postgres_admin.execute(kept, (sure,))]
        # Padding is no change: a char column compares without it.
        assert [v for v in changed if kind != "char(3)" or v == v.rstrip(" ")] == []


@pytest.mark.parametrize("kind", some(COMPARED, *QUICK))
@given(data=st.data())
@quick
def test_canonical_spellings_are_equal_iff_the_server_says_the_values_are(
    kind: str, data: st.DataObject, postgres_admin: psycopg.Connection
) -> None:
    made = column("v", kind)
    drawn = data.draw(near(kind, 20))
    has = evaluate(has_spelling(made, pl.col("v")), drawn)
    assert has == [each is not None for each in evaluate(canonical(made, pl.col("v")), drawn)]

    values = [v for v, proof in zip(drawn, proofs(made, drawn), strict=True) if proof]
    spelled = evaluate(canonical(made, pl.col("v")), values)
    equal = "SELECT a = b FROM unnest(%s::text[]) x(v), unnest(%s::text[]) y(w), LATERAL (SELECT v::{k} a, w::{k} b) q"
    answers = [row[0] for row in postgres_admin.execute(equal.format(k=kind), (values, values))]
    assert None not in spelled
    assert [one == other for one in spelled for other in spelled] == answers


@pytest.mark.parametrize(
    ("kind", "value", "spelled"),
    [
        ("int4", "+007", "7"),
        ("int4", "-0", "0"),
        ("int4", "seven", None),
        ("numeric", "-0.00", "0"),
        ("numeric", "+0100.500", "100.5"),
        ("numeric", ".5", "0.5"),
        ("numeric", "1e3", None),
        ("double precision", "-0.0", "0"),
        ("uuid", "{A0EEBC99-9C0B4EF8-BB6D6BB9BD380A11}", "a0eebc999c0b4ef8bb6d6bb9bd380a11"),
        ("boolean", "YES", "true"),
        ("boolean", "of", None),
        ("date", "2024-02-30", None),
        ("numeric", "NaN", "NaN"),
        ("numeric", "infinity", None),  # PostgreSQL takes it, and spells it Infinity
        ("date", "-infinity", "-infinity"),
        ("date", "12025-01-31", "12025-01-31"),
        ("date", "12025-02-29", None),
        ("date", "0044-03-15 BC", "0044-03-15 BC"),
        ("date", "4714-12-31 BC", None),
        ("timestamptz", "0044-03-15 10:00:00+00 BC", "0044-03-15 10:00:00+00 BC"),
        ("timestamptz", "0044-03-15 10:00:00+02 BC", None),
        ("time", "24:00:00", "24:00:00"),
        ("time", "24:00", None),
        ("time", "10:00", "10:00:00"),
        ("time", "10:00:00.500", "10:00:00.5"),
        ("timestamp", "2024-01-01", "2024-01-01T00:00:00"),
        ("timestamptz", "2024-01-01 10:00+02", "2024-01-01T08:00:00"),
        ("timestamptz", "2024-01-01T08:00:00Z", "2024-01-01T08:00:00"),
        ("timestamptz", "2024-01-01T08:00:00", None),
        ("char(3)", "a  ", "a"),
        ("varchar(3)", "a  ", "a  "),
        ("citext", "Code", "code"),
        ("bytea", r"\xAB", r"\xab"),
        ("text", "e\u0301", "e\u0301"),
    ],
)
def test_a_value_is_spelled(kind: str, value: str, spelled: str | None) -> None:
    assert evaluate(canonical(column("v", kind), pl.col("v")), [value]) == [spelled]


@pytest.mark.parametrize(
    ("kind", "value", "sure"),
    [
        ("double precision", "123456789012345", True),
        ("double precision", "1234567890123456", False),
        ("double precision", "12345678.9012345", True),
        ("double precision", "12345678.90123456", True),  # as the float is spelled
        ("double precision", "12345678.901234560", False),
        ("double precision", "0.000000000000015", True),
        ("double precision", "007.50e-9", True),
        ("double precision", "-0.1234567890123456", True),
        ("double precision", "1e400", False),
        ("double precision", "NaN", False),
        ("double precision", "-inf", False),
        ("real", "1234.56", True),
        ("real", "1234.567", True),
        ("real", "12345.6789", False),
        ("real", "0.000000000123456", True),
        ("real", "1e5", False),
        ("boolean", "YeS", True),
        ("boolean", "ye\u017f", False),
        ("boolean", "true\n", False),
    ],
)
def test_a_value_is_proven(kind: str, value: str, sure: bool) -> None:
    assert proofs(column("v", kind), [value]) == [sure]


@pytest.mark.parametrize("kind", ["text", "varchar", "bpchar", "citext"])
def test_every_text_fits_a_column_without_a_limit(kind: str) -> None:
    assert proven(column("v", kind), pl.col("v")) is None
    assert plain(column("v", kind), pl.col("v")) is None


def test_nothing_is_proven_for_a_domain() -> None:
    made = column("v", "int4", domain=True)

    assert proofs(made, ["1"]) == [False]


def test_a_plain_value_of_a_domain_can_name_a_row() -> None:
    made = plain(column("v", "int4", domain=True), pl.col("v"))

    assert made is not None
    assert evaluate(made, ["1", " 1"]) == [True, False]


@pytest.mark.parametrize("kind", ["interval", "int4range", "integer[]", "money", "jsonb"])
def test_of_types_we_do_not_know_every_text_may_name_a_row(kind: str) -> None:
    assert plain(column("v", kind), pl.col("v")) is None


def test_a_time_without_a_zone_is_refused_where_the_column_has_one() -> None:
    made = refused(column("v", "timestamptz"), pl.col("v"))

    assert made is not None
    assert evaluate(made, ["2024-01-01", "2024-01-01 10:00", "2024-01-01T10:00:00Z", "infinity"]) == [
        True,
        True,
        False,
        False,
    ]


def test_a_zone_is_refused_where_the_column_would_drop_it() -> None:
    made = refused(column("v", "timestamp"), pl.col("v"))

    assert made is not None
    assert evaluate(
        made, ["2024-01-01T10:00Z", "2024-01-01 10:00:00+02:00", "2024-01-01", "2024-01-01 10:00"]
    ) == [
        True,
        True,
        False,
        False,
    ]


def test_no_value_of_other_types_is_refused_outright() -> None:
    assert refused(column("v", "int4"), pl.col("v")) is None


def test_numbers_are_ordered_by_size_and_texts_by_code_point() -> None:
    frame = pl.DataFrame({"v": ["10", "9", "-1"]})

    orders = {
        kind: frame.sort(sortable(column("v", kind), pl.col("v")))["v"].to_list()
        for kind in ("int4", "numeric", "text")
    }

    assert orders == {"int4": ["-1", "9", "10"], "numeric": ["-1", "9", "10"], "text": ["-1", "10", "9"]}
