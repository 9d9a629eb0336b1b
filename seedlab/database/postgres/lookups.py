"""Look-ups and validation on PostgreSQL whose queries and results are frames.

This is separate from the session, so that a run with nothing to do does not import polars.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import polars as pl

from seedlab.database.postgres import statements as sql
from seedlab.database.postgres import value_statements as values
from seedlab.database.postgres.encode import array_literal, frame_literals, slices
from seedlab.database.postgres.lookup_statements import lookup
from seedlab.database.postgres.wire import Question
from seedlab.flow import FILE, HANDLE, ROW, Ask, Catalog, Column, Suspect, part_sources

_ASKED = 100_000  # the most values in one question

Rows = Sequence[tuple[Any, ...]]
Asking = Callable[[Sequence[Question]], list[list[tuple[Any, ...]]]]


def lookup_questions(asks: Sequence[Ask], catalog: Catalog, version: int) -> list[Question]:
    """Make one query per Ask for the rows that exist."""
    return [
        (
            lookup(catalog, ask.table, ask.key, ask.wanted, version),
            frame_literals(ask.frame, [source for part in ask.key for source in part_sources(part)]),
        )
        for ask in asks
    ]


def answer(ask: Ask, rows: Rows, catalog: Catalog) -> pl.DataFrame:
    """Turn result rows into the answer to an Ask: row numbers become HANDLE, uuids UInt128."""
    columns = catalog.tables[ask.table].columns
    numbers = pl.Series([row[0] - 1 for row in rows], dtype=pl.UInt32)
    values: dict[str, pl.Series] = {HANDLE: ask.frame[HANDLE].gather(numbers)}
    for place, name in enumerate(ask.wanted, start=1):
        text = pl.Series(name, [row[place] for row in rows], dtype=pl.String)
        values[name] = uuid_numbers(text) if columns[name].kind == "uuid" else text
    return pl.DataFrame(values)


def uuid_numbers(text: pl.Series) -> pl.Series:
    """Convert uuids to UInt128."""
    return text.str.replace_all("-", "").str.to_integer(base=16, dtype=pl.UInt128)


def judge(ask: Asking, suspects: Sequence[Suspect], catalog: Catalog, version: int) -> list[pl.DataFrame]:
    """Find the values that their columns do not accept, in one round trip.

    A second one reads the labels of enums and the checks of domains, to say what they accept.

    Each distinct value is sent once.
    """
    columns = [each.filled(catalog) for each in suspects]
    distinct = [each.frame["value"].unique(maintain_order=True) for each in suspects]
    settle = values.needs_settling(columns)
    invalid = _invalid(ask, list(zip(columns, distinct, strict=True)), version, settle=settle)
    refusing = {c.type: c for c, rows in zip(columns, invalid, strict=True) if rows}
    enums = {name: values.labels(c) for name, c in refusing.items() if values.has_labels(c)}
    domains = {name: values.checks(c) for name, c in refusing.items() if c.domain and name not in enums}
    asked = {**enums, **domains}
    told = ask([(query, ()) for query in asked.values()]) if asked else []
    known = {name: [text for (text,) in rows] for name, rows in zip(asked, told, strict=True)}
    return [
        _verdict(suspect, each, rows, column, known.get(column.type, ()))
        for suspect, each, column, rows in zip(suspects, distinct, columns, invalid, strict=True)
    ]


def spell(ask: Asking, columns: Sequence[tuple[Column, pl.Series]], version: int) -> list[pl.DataFrame]:
    """Find values that the server spells or names differently, in one round trip.

    A server without pg_input_is_valid needs another round trip before, which finds invalid values.
    """
    if version < sql.TAKES_ERRORS:
        invalid = _invalid(ask, columns, version, settle=True)
        columns = [
            (column, _without(texts, {place - 1 for place, _ in rows}))
            for (column, texts), rows in zip(columns, invalid, strict=True)
        ]
    questions = [
        [(values.spelled(column, version), frame_literals(part, part.columns)) for part in _parts(texts)]
        for column, texts in columns
    ]
    answers = iter(ask([(values.SETTLED, ()), *chain.from_iterable(questions)])[1:])
    schema = {"value": pl.String, "spelled": pl.String, "name": pl.String}
    spelled = (list(chain.from_iterable(islice(answers, len(each)))) for each in questions)
    return [pl.DataFrame(rows, schema=schema, orient="row") for rows in spelled]


def _parts(texts: pl.Series) -> Iterator[pl.DataFrame]:
    return slices(texts.to_frame(), _ASKED)


def _invalid(
    ask: Asking, columns: Sequence[tuple[Column, pl.Series]], version: int, *, settle: bool
) -> list[Rows]:
    """Find the invalid texts of each column, in one round trip: their places, from 1, and codes."""
    queries = [values.questions(column, array_literal(texts), version) for column, texts in columns]
    before = [(values.SETTLED, ())] if settle else []
    answers = iter(ask([*before, *chain.from_iterable(queries)])[len(before) :])
    return [list(islice(answers, len(each)))[-1] for each in queries]


def _without(texts: pl.Series, places: Container[int]) -> pl.Series:
    return texts.filter(pl.Series([n not in places for n in range(len(texts))], dtype=pl.Boolean))


def _verdict(
    suspect: Suspect, distinct: pl.Series, rows: Rows, column: Column, known: Sequence[str]
) -> pl.DataFrame:
    """Return the rows whose values the column does not accept, each with its rule and a hint.

    `known` are the labels of an enum, or the checks of a domain.
    """
    invalid = distinct.gather(pl.Series([place - 1 for place, _ in rows], dtype=pl.UInt32))
    of_type = f"the type is a domain over {' '.join([column.base, *known])}" if column.domain else None
    hints = [_HINTS.get(code, of_type) for _, code in rows]
    if known and values.has_labels(column):
        hints = [_of_labels(value, known) for value in invalid.to_list()]
    by_value = pl.DataFrame(
        [
            invalid.alias("value"),
            pl.Series("rule", [rule_of(code) for _, code in rows], dtype=pl.String),
            pl.Series("hint", hints, dtype=pl.String),
        ]
    )
    found = suspect.frame.join(by_value, on="value", how="inner", nulls_equal=True, maintain_order="left")
    return found.select(FILE, ROW, "rule", "hint")


def rule_of(code: str) -> str:
    """Name the rule for a code of an invalid value: an SQLSTATE, or a code of `value_statements`."""
    return {"22001": "too-long", "22003": "overflow"}.get(code, code if code in _RULES else "type")


_RULES = frozenset({"too-long", "overflow", "rounding"})
_HINTS = {
    values.ZONE: "write a time and a UTC offset (Z or +02:00) exactly where the type has them",
}
_SHOWN = 5  # the most labels of an enum that are listed


def _of_labels(value: str, labels: Sequence[str]) -> str:
    """List the labels that may have been meant: all if they are few, else the most similar."""
    from difflib import get_close_matches

    if len(labels) <= _SHOWN:
        known = get_close_matches(value, labels, n=_SHOWN, cutoff=0)
        return f"its labels are {_listed(known)}"
    if near := get_close_matches(value, labels, n=_SHOWN):
        return f"the nearest labels are {_listed(near)}"
    return f"its labels are {_listed(labels[:_SHOWN])} and {len(labels) - _SHOWN} more"


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(f"'{each}'" for each in labels)
