"""Staging tables, into which parallel workers copy the rows of a load before one transaction merges them.

They are UNLOGGED tables in the ledger's schema, named after the run: one per load, and one that records which
parts are done. A part is copied and recorded in one transaction, so a part that two workers do, or that is
repeated after a worker was lost, is staged once. The holder of the ledger's lock may drop all staging tables
of other runs: these are dead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.database.postgres import statements as sql
from seedlab.database.postgres.encode import copy_text
from seedlab.database.postgres.encode_binary import HEADER, TRAILER, NotBinary, copy_binary, has_binary_form
from seedlab.database.postgres.failures import write_failed
from seedlab.database.postgres.wire import StatementError, Wire, translated
from seedlab.flow import Column, Load, Staging, Table, TableWrite

_SCHEMA = "seedlab"
_PREFIX = "staging_"
_PART = "_seedlab_part"
_IN_PART = "_seedlab_in_part"  # position of the row in its part, from 1
_OWN_TABLES = SQL(
    "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = {} AND c.relkind = 'r' AND pg_catalog.starts_with(c.relname, {}) "
    "AND pg_catalog.pg_get_userbyid(c.relowner) = current_user ORDER BY 1"
).format(Literal(_SCHEMA), Literal(_PREFIX))
_OWN = {
    _PART: Column(name=_PART, type="integer", kind="int4"),
    _IN_PART: Column(name=_IN_PART, type="bigint", kind="int8"),
}
# Autovacuum of tables that are dropped soon would only take CPU time from the merge.
_NO_AUTOVACUUM = SQL("WITH (autovacuum_enabled = false)")
_IN_USE = "55P03"
_ALREADY = frozenset({"23505", "40001"})  # another transaction has claimed the part meanwhile

Session = Any  # a PostgresSession; other dialects have no staging tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where rows belong: the number of their part, and the number of rows of the part before them."""

    part: int
    first: int


def relation_of(run: str, number: int) -> str:
    """Name the staging table of a run's load."""
    return f"{_PREFIX}{run}_{number}"


# ---- statements -----------------------------------------------------------------------------------------


def make_claims(run: str) -> Composed:
    """Create the table of claims: the parts that are done, or being done by an open transaction."""
    return SQL("CREATE UNLOGGED TABLE {} (relation text, part int4, PRIMARY KEY (relation, part))").format(
        _claims(run)
    )


def make(staging: Staging, table: Table, columns: Sequence[str]) -> Composed:
    """Create the table of a load: with the target's types, or as text if the target has no such table yet."""
    own = [SQL("{} int4").format(Identifier(_PART)), SQL("{} int8").format(Identifier(_IN_PART))]
    if staging.as_text:
        texts = [SQL("{} text").format(Identifier(name)) for name in columns]
        return SQL("CREATE UNLOGGED TABLE {} ({}) {}").format(
            named(staging.relation), SQL(", ").join([*texts, *own]), _NO_AUTOVACUUM
        )
    return SQL(
        "CREATE UNLOGGED TABLE {} {} AS SELECT {}, 0::int4 AS {}, 0::int8 AS {} FROM {} WITH NO DATA"
    ).format(
        named(staging.relation),
        _NO_AUTOVACUUM,
        sql.names(columns),
        Identifier(_PART),
        Identifier(_IN_PART),
        sql.qualified(table),
    )


def claim(run: str, relation: str, part: int) -> Composed:
    """Claim a part for this transaction; another that claims it waits for this one, and gets no row."""
    return SQL("INSERT INTO {} VALUES ({}, {}) ON CONFLICT DO NOTHING RETURNING part").format(
        _claims(run), Literal(relation), Literal(part)
    )


def source(staging: Staging, columns: Sequence[str]) -> Composed:
    """Make the source of a load's rows for `statements.merge`, with PLACE among all rows of the load."""
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
    """Insert all rows of a load into an empty table."""
    rows = SQL("{} AS r").format(named(staging.relation))
    return sql.insert(table, load.columns, rows, cast=staging.as_text)


def analyze(staging: Staging, key: Sequence[str]) -> Composed:
    """Analyze the join columns: without statistics a join of 300,000 rows ran for minutes."""
    return SQL("ANALYZE {} ({})").format(named(staging.relation), sql.names(key))


def _claims(run: str) -> Identifier:
    return named(f"{_PREFIX}{run}")


def named(relation: str) -> Identifier:
    """Name a staging table with its schema."""
    return Identifier(_SCHEMA, relation)


# ---- on a session ---------------------------------------------------------------------------------------


def prepare(session: Session, run: str, loads: Sequence[tuple[Staging, Table, Sequence[str]]]) -> bool:
    """Drop the tables of dead runs, and create those of this run; False without the right to do so.

    Must be called while this run holds the ledger's lock, outside of a transaction.
    """
    sweep(session)
    session.begin()
    creates: list[Composable] = [make_claims(run), *(make(*load) for load in loads)]
    try:
        session.wire.script(creates)
    except StatementError as failed:
        session.rollback()
        if failed.error.sqlstate == "42501":
            return False
        raise write_failed(failed.error, "the staging tables") from failed.error
    session.commit()
    return True


def sweep(session: Session, run: str | None = None) -> None:
    """Drop the staging tables of a run, or of all runs, except tables that a lost worker still has locked."""
    with translated("the staging tables"):
        session.begin()
        found = [name for (name,) in session.wire.ask([(_OWN_TABLES, ())])[0]]
        session.commit()
        for name in (name for name in found if run is None or name.split("_")[1] == run):
            drop = SQL("DROP TABLE IF EXISTS {}").format(named(name))
            session.begin()
            try:
                session.wire.script([SQL("SET LOCAL lock_timeout = '2s'"), drop])
                session.commit()
            except StatementError as failed:
                session.rollback()
                if failed.error.sqlstate != _IN_USE:
                    raise


def begin_part(session: Session, run: str, relation: str, part: int) -> bool:
    """Begin the transaction that stages a part; False if another one has staged it already."""
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
    """Copy rows of a part, in an open transaction. Raises DataFaults or WriteError."""
    numbered = frame.select(columns).with_columns(
        pl.lit(str(place.part)).alias(_PART),
        pl.int_range(place.first + 1, place.first + 1 + pl.len()).cast(pl.String).alias(_IN_PART),
    )
    names = [*columns, _PART, _IN_PART]
    data = None if staging.as_text else _binary(numbered, names, table)
    copying = sql.copy_in(named(staging.relation), names, binary=data is not None)
    pieces = [copy_text(numbered, names)] if data is None else [HEADER, data, TRAILER]
    with translated("the staging tables"):
        session.wire.script([copying], lambda *_: iter(pieces))


def _binary(frame: pl.DataFrame, names: Sequence[str], table: Table) -> bytes | None:
    """Encode in COPY's binary format; None if a column or a value has no such form."""
    own = replace(table, columns={**table.columns, **_OWN})
    if not has_binary_form(own, names):
        return None
    try:
        return copy_binary(frame, names, own)
    except NotBinary:
        return None


# ---- in the writing transaction -------------------------------------------------------------------------


def merge_step(wire: Wire, write: TableWrite, load: Load) -> sql.MergeStep:
    """Analyze the staged rows of a load, and return its step for `statements.merge`."""
    staged = write.staged[load]
    with translated(write.table.name, secured=write.table.row_security):
        wire.script([analyze(staged, load.key_columns)])
    for batch in write.batches():
        if batch.load == load:
            wire.recorder.progress(load, batch.frame.height)
    return sql.MergeStep(load, write.table, source(staged, load.columns), staged.as_text)
