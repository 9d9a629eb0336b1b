"""Finds wide tables that PostgreSQL must analyze between their load and the check of their foreign keys.

Before version 18, the planner estimates that a table that was never analyzed is empty if its rows could be
wider than a page, however many rows have just been copied into it. It then checks a foreign key by a nested
loop, which takes minutes for 13,000 rows. Sixteen columns `varchar(255)` are wide enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from psycopg.sql import SQL, Composable

from seedlab.database.postgres import statements as sql
from seedlab.flow import Column, Table

# With fewer rows a nested loop takes no time.
ANALYZED_ROWS = 1_000
# The space for a single row in a page of 8 kB, without the headers of page and row.
PAGE_BYTES = 8_192 - 24 - 28


def analyze(tables: Iterable[Table], rows: Mapping[str, int]) -> dict[str, list[Composable]]:
    """Map wide tables with many `rows` to the ANALYZE statement to be run after their load.

    One column is enough to get the number of rows. It is not needed for tables whose indexes are built after
    the load, since that counts the rows as well.
    """
    return {
        table.name: [
            SQL("ANALYZE {} ({})").format(sql.qualified(table), sql.names(table.keys[0].columns[:1]))
        ]
        for table in tables
        if table.rebuildable and table.keys and rows[table.name] >= ANALYZED_ROWS
        if sum(map(_estimated_bytes, table.columns.values())) >= PAGE_BYTES
    }


def _estimated_bytes(column: Column) -> int:
    """Estimate the width of a value as the planner does (`get_typavgwidth`, with four bytes a character).

    Types without a declared length count for at most 32 bytes there, and are ignored here.
    """
    if column.length is None or column.domain:
        return 0
    widest = 4 * column.length + 4
    if column.kind == "char" or widest <= 32:
        return widest
    return 32 + (min(widest, 1_000) - 32) // 2
