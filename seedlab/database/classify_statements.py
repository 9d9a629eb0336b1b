"""What PostgreSQL is asked about rows that a merge would write: its own judgement, without the writing.

As in `statements`: one function, one statement, nothing here talks to a server.
"""

from __future__ import annotations

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.database import statements as sql
from seedlab.flow import ROW, Load, Table


def counts(load: Load, table: Table) -> Composed:
    """Count rows given as arrays: how many a merge would update and insert, and all; as `merge` answers."""
    return SQL(
        "WITH {judged} SELECT count(*) FILTER (WHERE _seedlab_hit AND _seedlab_differs), "
        "count(*) FILTER (WHERE NOT _seedlab_hit), count(*) FROM j0"
    ).format(judged=sql.judged(0, load, table, sql.arrays_source(load.columns), as_text=True))


def differences(load: Load, table: Table) -> Composed:
    """Say of rows given as arrays what a merge would change.

    Answers the row's number, from 1, with column, old and new text for each value that differs; for a row
    that would be inserted once, with nothing.
    """
    updating = load.mode != "insert"
    columns = sql.compared(load, table) if updating else ()
    lines = [
        SQL("(NULL::text, NULL::text, NULL::text, NOT s._seedlab_hit)"),
        *(_line(table, name) for name in columns),
    ]
    return SQL(
        "WITH {judged} SELECT s.{place}, d.name, d.was, d.becomes FROM j0 s "
        "LEFT JOIN {target} t ON s._seedlab_hit AND {key} "
        "CROSS JOIN LATERAL (VALUES {lines}) d(name, was, becomes, is_so) "
        "WHERE (s._seedlab_differs OR NOT s._seedlab_hit) AND d.is_so"
    ).format(
        judged=sql.judged(
            0, load, table, sql.arrays_source(load.columns, place=ROW), as_text=True, place=ROW
        ),
        place=Identifier(ROW),
        target=sql.stored(table),
        key=SQL("false") if load.whole else sql.equal_keys(table, load.key_columns),
        lines=SQL(", ").join(lines),
    )


def _line(table: Table, column: str) -> Composable:
    return SQL("({name}, {old}::text, {new}::text, s._seedlab_hit AND ({distinct}))").format(
        name=Literal(column),
        old=Identifier("t", column),
        new=Identifier("s", column),
        distinct=sql.distinct(table, column),
    )
