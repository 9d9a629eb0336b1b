"""SQL that proves a PostgreSQL table unchanged by the transactions that wrote its rows (xmin): stamps.

An update writes a new version of a row, with the xmin of its own transaction. So while a table has as many
rows as before of the transactions that a stamp names, none of them was updated or deleted; and while it has
no other rows, none was inserted. Counting rows by xmin is far cheaper than hashing them.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.sql import SQL, Composable, Composed, Literal

from seedlab.database.ledger import TRANSACTIONS
from seedlab.database.postgres.statements import qualified, stored, trusted
from seedlab.flow import IN_DOUBT, Column, Table, TableState

PARALLEL_ROWS = 100_000  # with fewer rows in all tables, parallel workers cost more than they save
UNMARKED_ROWS = 10_000  # the marks of smaller tables cost next to nothing
_NUMBERS_ARE_UNIQUE = SQL(
    "pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) < 4294967296"  # no wraparound yet
)
# A deferred trigger could change rows at the commit, which a stamp would not detect: the xmin is the same.
POSSIBLE = SQL(
    "({} AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgdeferrable AND NOT tgisinternal))"
).format(_NUMBERS_ARE_UNIQUE)


def place(relation: Composable) -> Composed:
    """Describe all that a stamp of the relation with this oid depends on; NULL if stamps are impossible.

    That is the database, the table's name, its columns, and the labels of enums, which can be renamed without
    any row being written.
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


def in_stamp(state: TableState, transaction: str) -> SQL:
    """Make the condition that a transaction is one of a state's stamp."""
    numbers = ",".join(map(str, state.stamp.transactions)) if state.stamp else ""
    return trusted(f"{transaction} = ANY ('{{{numbers}}}'::pg_catalog.xid[])")


def can_prove(state: TableState, table: Table) -> bool:
    """Tell whether a stamp can prove the table unchanged.

    It cannot for a state in doubt, for tables whose rows are in other tables (partitions, inheritance), and
    for composite types, a field of which can be dropped without any row being written.
    """
    whole = state.rows != IN_DOUBT and table.kind == "table" and not table.inherits
    return whole and all(_changes_with_its_row(table.columns[name]) for name in state.columns)


def _changes_with_its_row(column: Column) -> bool:
    while column.element:
        column = column.element
    # An element of an unknown type (without a name of its own) might be a composite.
    return (
        column.kind != "composite"
        and column.send != "pg_catalog.record_send"
        and (column.kind != "other" or bool(column.name))
    )


def unmarked(state: TableState, table: Table) -> bool:
    """Tell whether a table filled by this run needs no marks, as its stamp allows to compute them later."""
    return can_prove(state, table) and state.rows >= UNMARKED_ROWS


def count_writers(state: TableState, table: Table) -> Composed:
    """Count, of rows with xmin as x, those written by the stamp or this transaction, and its other writes.

    The latter are rows of the table that this transaction wrote or deleted, but that are not among the rows.
    """
    own = SQL(
        "pg_catalog.count(*) FILTER (WHERE x = (pg_catalog.txid_current_if_assigned()::text)::pg_catalog.xid)"
    )
    written = SQL(" + ").join(
        SQL("pg_catalog.pg_stat_get_xact_tuples_{}({})").format(SQL(how), _oid(table))
        for how in ("inserted", "updated", "deleted")
    )
    of_stamp = SQL("pg_catalog.count(*) FILTER (WHERE {})").format(in_stamp(state, "x"))
    return SQL("{of_stamp} + {own}, {written} - {own}").format(of_stamp=of_stamp, own=own, written=written)


# A part of a UNION ALL that has no row, and keeps the server from starting parallel workers, since these may
# not call this function. It would start them because it expects many rows of tables without statistics.
_BY_LEADER = SQL("SELECT 0, 0, 0 WHERE pg_catalog.pg_my_temp_schema() IS NULL")


def stamped(states: Sequence[tuple[TableState, Table]]) -> Composed:
    """Count per table all rows, and those of its stamp's transactions: (index of the table, all, stamped)."""
    few = sum(state.rows for state, _ in states) < PARALLEL_ROWS
    counts = (
        SQL("SELECT {}, pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE {}) FROM {} t").format(
            Literal(n), in_stamp(state, "t.xmin"), stored(table)
        )
        for n, (state, table) in enumerate(states)
    )
    return SQL(" UNION ALL ").join([*counts, *([_BY_LEADER] if few else [])])


NO_PROOF = SQL("NULL::pg_catalog.oid, NULL::pg_catalog.jsonb")


def proof(state: TableState, table: Table, *, filled: bool) -> Composed | SQL:
    """Build two columns: the oid of a table, and the transactions that wrote its rows, as JSON.

    They are NULL if no stamp can prove what the rows hold, if there is no row, and if too many transactions
    wrote them. A table that this run has `filled` has one transaction.
    """
    if not can_prove(state, table):
        return NO_PROOF
    return SQL(
        "{relation}, (SELECT pg_catalog.jsonb_agg(x) FROM (SELECT {each} (xmin::text)::int8 AS x "
        "FROM {table} LIMIT {most}) w HAVING pg_catalog.count(*) BETWEEN 1 AND {enough})"
    ).format(
        relation=_oid(table),
        each=SQL("" if filled else "DISTINCT"),
        table=stored(table),
        most=Literal(1 if filled else TRANSACTIONS + 1),
        enough=Literal(TRANSACTIONS),
    )


# The stamp, built from the columns `relation` and `transactions` of `proof` and from the row count. It
# is NULL if they are, and on servers where no stamp is valid.
STAMP = SQL(
    "CASE WHEN {possible} AND transactions IS NOT NULL THEN pg_catalog.jsonb_build_object("
    "'run', pg_catalog.txid_current(), 'relation', relation, 'place', {place}, "
    "'transactions', transactions, 'rows', rows) END"
).format(possible=POSSIBLE, place=place(SQL("relation")))


def _oid(table: Table) -> Composed:
    return SQL("{}::pg_catalog.regclass::pg_catalog.oid").format(Literal(qualified(table).as_string()))
