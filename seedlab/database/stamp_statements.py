"""SQL that proves a table unchanged on PostgreSQL, by the transactions that wrote its rows (xmin).

Every change of a row is a row that another transaction wrote, so while there are as many rows of those that
a stamp names, none of them was changed or deleted; and while there are no others, none came.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.sql import SQL, Composable, Composed, Literal

from seedlab.database.ledger import TRANSACTIONS
from seedlab.database.statements import qualified, stored, trusted
from seedlab.flow import IN_DOUBT, Column, Table, TableState

UNMARKED_ROWS = 10_000  # of fewer marks cost nothing
_NUMBERS_ARE_UNIQUE = SQL(
    "pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) < 4294967296"  # later they come again
)
# A deferred trigger could still change rows, and nobody would see it, for the transaction is the same.
POSSIBLE = SQL(
    "({} AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgdeferrable AND NOT tgisinternal))"
).format(_NUMBERS_ARE_UNIQUE)


def place(relation: Composable) -> Composed:
    """Tell all that a stamp of a relation, of which this is the oid, depends on; NULL where none can hold.

    That is the database; the table's own name, for another may have it now; the columns; and, since no row
    is written for another name, the labels of enums.
    """
    return SQL(
        "(SELECT pg_catalog.concat_ws(' ', d.oid, d.xmin, (SELECT "
        "ROW(c.relnamespace::pg_catalog.regnamespace, c.relname) FROM pg_catalog.pg_class c "
        "WHERE c.oid = {relation}), (SELECT pg_catalog.sum("
        "pg_catalog.hash_record_extended(ROW(attnum, attname, atttypid, atttypmod), 0)) "
        "FROM pg_catalog.pg_attribute WHERE attrelid = {relation} AND attnum > 0 AND NOT attisdropped), "
        "(SELECT pg_catalog.sum(pg_catalog.hash_record_extended(ROW(e.oid, e.xmin), 0)) "
        "FROM pg_catalog.pg_enum e)) "
        "FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database() AND {unique})"
    ).format(relation=relation, unique=_NUMBERS_ARE_UNIQUE)


def by(state: TableState, transaction: str) -> SQL:
    """Tell whether a transaction is one of a state's stamp."""
    numbers = ",".join(map(str, state.stamp.transactions)) if state.stamp else ""
    return trusted(f"{transaction} = ANY ('{{{numbers}}}'::pg_catalog.xid[])")


def worth(state: TableState, table: Table) -> bool:
    """Tell whether a stamp can say what the rows of a table hold.

    Not in doubt, nor of a table that has its rows in others; nor values of composite types, which lose a
    field without any row being written.
    """
    whole = state.rows != IN_DOUBT and table.kind == "table" and not table.inherits
    return whole and all(_is_in_its_row(table.columns[name]) for name in state.columns)


def _is_in_its_row(column: Column) -> bool:
    while column.element:
        column = column.element
    # What elements of a type that is no usual one are made of is not known.
    return (
        column.kind != "composite"
        and column.send != "pg_catalog.record_send"
        and (column.kind != "other" or bool(column.name))
    )


def unmarked(state: TableState, table: Table) -> bool:
    """Tell whether a table that a run has filled needs no marks: by its stamp they can be made later."""
    return worth(state, table) and state.rows >= UNMARKED_ROWS


def attested(state: TableState, table: Table) -> Composed:
    """Count of rows, with xmin as x, those that a transaction of the stamp wrote, or this one; and how often
    this one has written or deleted rows of the table that are none of them.
    """
    own = SQL(
        "pg_catalog.count(*) FILTER (WHERE x = (pg_catalog.txid_current_if_assigned()::text)::pg_catalog.xid)"
    )
    written = SQL(" + ").join(
        SQL("pg_catalog.pg_stat_get_xact_tuples_{}({})").format(SQL(how), _oid(table))
        for how in ("inserted", "updated", "deleted")
    )
    theirs = SQL("pg_catalog.count(*) FILTER (WHERE {})").format(by(state, "x"))
    return SQL("{theirs} + {own}, {written} - {own}").format(theirs=theirs, own=own, written=written)


def stamped(states: Sequence[tuple[TableState, Table]]) -> Composed:
    """Count rows, and those that the transactions of a stamp wrote: number of the table, all, theirs."""
    return SQL(" UNION ALL ").join(
        SQL("SELECT {}, pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE {}) FROM {} t").format(
            Literal(n), by(state, "t.xmin"), stored(table)
        )
        for n, (state, table) in enumerate(states)
    )


def stamp(table: Table, rows: Composable, *, filled: bool) -> Composed:
    """Name the transactions that wrote the `rows` of a table, one where this run has `filled` it."""
    return SQL(
        "CASE WHEN {possible} THEN (SELECT pg_catalog.jsonb_build_object("
        "'run', pg_catalog.txid_current(), 'relation', {relation}, 'place', {place}, "
        "'transactions', pg_catalog.jsonb_agg(x)) "
        "FROM (SELECT {each} (xmin::text)::int8 AS x FROM {table} LIMIT {most}) w "
        "HAVING pg_catalog.count(*) BETWEEN 1 AND {enough}) "
        "|| pg_catalog.jsonb_build_object('rows', {rows}) END"
    ).format(
        rows=rows,
        possible=POSSIBLE,
        relation=_oid(table),
        place=place(_oid(table)),
        each=SQL("" if filled else "DISTINCT"),
        table=stored(table),
        most=Literal(1 if filled else TRANSACTIONS + 1),
        enough=Literal(TRANSACTIONS),
    )


def _oid(table: Table) -> Composed:
    return SQL("{}::pg_catalog.regclass::pg_catalog.oid").format(Literal(qualified(table).as_string()))
