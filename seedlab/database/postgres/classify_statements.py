"""SQL that classifies rows on PostgreSQL as a merge would, without writing: one function per statement."""

from __future__ import annotations

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.database.postgres import statements as sql
from seedlab.flow import ROW, Load, Table


def counts(load: Load, table: Table) -> Composed:
    """Count, for rows given as arrays: those that a merge would update, those it would insert, and all."""
    return SQL(
        "WITH {classified} SELECT count(*) FILTER (WHERE _seedlab_hit AND _seedlab_differs), "
        "count(*) FILTER (WHERE NOT _seedlab_hit), count(*) FROM j0"
    ).format(classified=sql.classified(0, load, table, sql.arrays_source(load.columns), as_text=True))


def differences(load: Load, table: Table) -> Composed:
    """Find what a merge would change, for rows given as arrays.

    The result has the row's number (from 1), column, old and new text for each changed value, and one row
    with NULLs for each row that would be inserted.
    """
    updating = load.mode != "insert"
    columns = sql.compared(load, table) if updating else ()
    lines = [
        SQL("(NULL::text, NULL::text, NULL::text, NOT s._seedlab_hit)"),
        *(_line(table, name) for name in columns),
    ]
    return SQL(
        "WITH {classified} SELECT s.{place}, d.name, d.was, d.becomes FROM j0 s "
        "LEFT JOIN {target} t ON s._seedlab_hit AND {key} "
        "CROSS JOIN LATERAL (VALUES {lines}) d(name, was, becomes, is_so) "
        "WHERE (s._seedlab_differs OR NOT s._seedlab_hit) AND d.is_so"
    ).format(
        classified=sql.classified(
            0, load, table, sql.arrays_source(load.columns, place=ROW), as_text=True, place=ROW
        ),
        place=Identifier(ROW),
        target=sql.stored(table),
        key=SQL("false") if load.whole else sql.equal_keys(table, load.key_columns, load.null_key_columns),
        lines=SQL(", ").join(lines),
    )


def _line(table: Table, column: str) -> Composable:
    return SQL("({name}, {old}::text, {new}::text, s._seedlab_hit AND ({distinct}))").format(
        name=Literal(column),
        old=Identifier("t", column),
        new=Identifier("s", column),
        distinct=sql.distinct(table, column),
    )
