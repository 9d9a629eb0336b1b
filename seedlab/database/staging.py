"""Tables in which other connections put the rows of a load before one transaction merges them.

They are UNLOGGED, lie beside the ledger, and are named after the run: one for each load, and one of marks.
A part of a load is staged in one transaction with its mark, so a part that two workers did, or one that was
done again after its worker was lost, is there once. Who holds the ledger's lock may drop all others: their
runs are dead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.database import statements as sql
from seedlab.database.encode import copy_text
from seedlab.database.encode_binary import HEADER, TRAILER, Unspeakable, copy_binary, speaks
from seedlab.database.failures import write_failed
from seedlab.database.wire import Results, StatementError, Wire
from seedlab.flow import Column, Load, Staging, Table, TableWrite

_SCHEMA = "seedlab"
_PREFIX = "staging_"
_PART = "_seedlab_part"
_IN_PART = "_seedlab_in_part"  # place of the row in its part, from 1
_SWEPT = SQL(
    "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = {} AND c.relkind = 'r' AND pg_catalog.starts_with(c.relname, {}) "
    "AND pg_catalog.pg_get_userbyid(c.relowner) = current_user ORDER BY 1"
).format(Literal(_SCHEMA), Literal(_PREFIX))
_OWN = {
    _PART: Column(name=_PART, type="integer", kind="int4"),
    _IN_PART: Column(name=_IN_PART, type="bigint", kind="int8"),
}
# Nobody is to look through what is dropped in a moment: on few cores that takes time from the merge.
_ALONE = SQL("WITH (autovacuum_enabled = false)")
_IN_USE = "55P03"
_ALREADY = frozenset({"23505", "40001"})  # another transaction has made the mark meanwhile

Session = Any  # a PostgresSession; the others never stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where rows belong: a part by its number, and how many of its rows lie before them."""

    part: int
    first: int


def relation_of(run: str, number: int) -> str:
    """Name the table of a load of a run."""
    return f"{_PREFIX}{run}_{number}"


# ---- statements -----------------------------------------------------------------------------------------


def make_marks(run: str) -> Composed:
    """Make the table that knows which parts are done."""
    return SQL("CREATE UNLOGGED TABLE {} (relation text, part int4, PRIMARY KEY (relation, part))").format(
        _marks(run)
    )


def make(staging: Staging, table: Table, columns: Sequence[str]) -> Composed:
    """Make the table of a load: with the target's own types, or as text where those are yet to be made."""
    own = [SQL("{} int4").format(Identifier(_PART)), SQL("{} int8").format(Identifier(_IN_PART))]
    if staging.as_text:
        texts = [SQL("{} text").format(Identifier(name)) for name in columns]
        return SQL("CREATE UNLOGGED TABLE {} ({}) {}").format(
            named(staging.relation), SQL(", ").join([*texts, *own]), _ALONE
        )
    return SQL(
        "CREATE UNLOGGED TABLE {} {} AS SELECT {}, 0::int4 AS {}, 0::int8 AS {} FROM {} WITH NO DATA"
    ).format(
        named(staging.relation),
        _ALONE,
        sql.names(columns),
        Identifier(_PART),
        Identifier(_IN_PART),
        sql.qualified(table),
    )


def claim(run: str, relation: str, part: int) -> Composed:
    """Say that this transaction stages a part; whoever comes second waits for it, and is told that it is."""
    return SQL("INSERT INTO {} VALUES ({}, {}) ON CONFLICT DO NOTHING RETURNING part").format(
        _marks(run), Literal(relation), Literal(part)
    )


def source(staging: Staging, columns: Sequence[str]) -> Composed:
    """The rows of a load, with their place among all of it, as `statements.merge` takes them."""
    firsts = ", ".join(map(str, staging.firsts))
    return SQL("(SELECT {}, (ARRAY[{}]::int8[])[s.{} + 1] + s.{} AS {} FROM {} s) AS r").format(
        sql.names(columns, "s"),
        sql.trusted(firsts),
        Identifier(_PART),
        Identifier(_IN_PART),
        Identifier(sql.PLACE),
        named(staging.relation),
    )


def insert(staging: Staging, load: Load, table: Table) -> Composed:
    """Put all rows of a load into a table that has none."""
    always = any(table.columns[name].identity for name in load.columns)
    return SQL("INSERT INTO {} ({}) {}SELECT {} FROM {} r").format(
        sql.qualified(table),
        sql.names(load.columns),
        SQL("OVERRIDING SYSTEM VALUE " if always else ""),
        sql.casts(table, load.columns) if staging.as_text else sql.names(load.columns, "r"),
        named(staging.relation),
    )


def analyze(staging: Staging, key: Sequence[str]) -> Composed:
    """Let the server know of the columns of the join: without that one of 300k rows ran for minutes."""
    return SQL("ANALYZE {} ({})").format(named(staging.relation), sql.names(key))


def _marks(run: str) -> Identifier:
    return named(f"{_PREFIX}{run}")


def named(relation: str) -> Identifier:
    """Name a staging table with its schema."""
    return Identifier(_SCHEMA, relation)


# ---- on a session ---------------------------------------------------------------------------------------


def prepare(session: Session, run: str, loads: Sequence[tuple[Staging, Table, Sequence[str]]]) -> bool:
    """Sweep what dead runs left, and make the tables of this one; False without the right to.

    To be called while this run holds the ledger's lock, outside of a transaction.
    """
    sweep(session)
    session.begin()
    made: list[Composable] = [make_marks(run), *(make(*load) for load in loads)]
    try:
        session.wire.script(made)
    except StatementError as failed:
        session.rollback()
        if failed.error.sqlstate == "42501":
            return False
        raise write_failed(failed.error, "the staging tables") from failed.error
    session.commit()
    return True


def sweep(session: Session, run: str | None = None) -> None:
    """Drop the staging tables of a run, or of all; what a lost worker still holds is left to the next."""
    try:
        session.begin()
        found = [name for (name,) in session.wire.ask([(_SWEPT, ())])[0]]
        session.commit()
        mine = [name for name in found if run is None or name.split("_")[1] == run]
        for name in mine:
            session.begin()
            try:
                session.wire.script(
                    [
                        SQL("SET LOCAL lock_timeout = '2s'"),
                        SQL("DROP TABLE IF EXISTS {}").format(named(name)),
                    ]
                )
                session.commit()
            except StatementError as failed:
                session.rollback()
                if failed.error.sqlstate != _IN_USE:
                    raise
    except StatementError as failed:
        raise write_failed(failed.error, "the staging tables") from failed.error


def begin_part(session: Session, run: str, relation: str, part: int) -> bool:
    """Begin the transaction that stages a part; False where another has done so already."""
    session.begin()
    try:
        return bool(session.wire.ask([(claim(run, relation, part), ())])[0])
    except StatementError as failed:
        session.rollback()
        if failed.error.sqlstate not in _ALREADY:
            raise write_failed(failed.error, "the staging tables") from failed.error
        session.begin()
        return False


def copy(
    session: Session,
    staging: Staging,
    table: Table,
    frame: pl.DataFrame,
    columns: Sequence[str],
    place: Place,
) -> None:
    """Copy settled rows of a part, of which `place.first` went before. Raises DataFaults or WriteError."""
    numbered = frame.select(columns).with_columns(
        pl.lit(str(place.part)).alias(_PART),
        pl.int_range(place.first + 1, place.first + 1 + pl.len()).cast(pl.String).alias(_IN_PART),
    )
    names = [*columns, _PART, _IN_PART]
    data = None if staging.as_text else _binary(numbered, names, table)
    copying = sql.copy_in(named(staging.relation), names, binary=data is not None)
    pieces = [copy_text(numbered, names)] if data is None else [HEADER, data, TRAILER]
    try:
        session.wire.script([copying], lambda *_: iter(pieces))
    except StatementError as failed:
        raise write_failed(failed.error, "the staging tables") from failed.error


def _binary(frame: pl.DataFrame, names: Sequence[str], table: Table) -> bytes | None:
    """Encode in COPY's binary format; None where a column or a value has no such form."""
    own = replace(table, columns={**table.columns, **_OWN})
    if not speaks(own, names):
        return None
    try:
        return copy_binary(frame, names, own)
    except Unspeakable:
        return None


# ---- in the writing transaction -------------------------------------------------------------------------


def step(wire: Wire, write: TableWrite, load: Load) -> tuple[Load, Table, Composable, bool]:
    """Analyze what is staged of a load, and give it as a step of `statements.merge`."""
    staged = write.staged[load]
    _run(wire, write, [analyze(staged, load.key_columns)])
    for batch in write.batches():
        if batch.load == load:
            wire.recorder.progress(load, batch.frame.height)
    return load, write.table, source(staged, load.columns), staged.as_text


def _run(wire: Wire, write: TableWrite, statements: Sequence[Composable]) -> Results:
    try:
        return wire.script(statements)
    except StatementError as failed:
        secured = write.table.row_security
        raise write_failed(failed.error, write.table.name, secured=secured) from failed.error
