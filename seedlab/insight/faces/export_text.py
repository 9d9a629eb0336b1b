"""The face of an export: what was written and what was not, as text and as plain values for JSON."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from seedlab.flow.exports import Exported, WrittenTable
from seedlab.insight.faces.text import isolate, printable, several, table

_NAMES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}


def export_text(made: Exported, out: str, width: int = 120) -> str:
    """Show file by file what it holds and by what its rows are known, then what a person should know."""
    head = (
        f"{printable(made.database)} ({_NAMES[made.dialect]} {printable(made.version)}) → {printable(out)}: "
        f"{several(made.rows, 'row')} of {several(len(made.tables), 'table')}"
    )
    blocks = [
        [head],
        table([_row(each) for each in made.tables], "<<><<", cells=width, flexible=3),
        list(_told(made)),
        list(_next(made, out)),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _row(each: WrittenTable) -> list[str]:
    key = ", ".join(each.key)
    return [
        "  ",
        isolate(printable(each.file)),
        several(each.rows, "row"),
        f"by {printable(key)}",
        f"without {printable(each.hidden)}" if each.hidden else "",
    ]


def _told(made: Exported) -> Iterator[str]:
    if made.empty:
        yield f"- without rows, so without a file: {printable(', '.join(made.empty))}"
    for name, why in made.left_out.items():
        yield f"- {printable(name)} left out: {printable(why)}"
    for note in made.notes:
        yield f"! {printable(note)}"


def _next(made: Exported, out: str) -> Iterator[str]:
    if not made.tables:
        return
    yield "The files hold what the database holds, people's data too; only you may read them (mode 0600)."
    folder = shlex.quote(out)
    yield f"next: seedlab seed {folder} --database-url URL, of an empty copy of the schema"


def export_record(made: Exported, out: str) -> dict[str, Any]:
    """Give what `export_text` shows, as plain values for JSON."""
    return {
        "directory": out,
        "database": made.database,
        "dialect": made.dialect,
        "version": made.version,
        "rows": made.rows,
        "tables": [
            {
                "table": each.table,
                "file": each.file,
                "rows": each.rows,
                "key": list(each.key),
                "left_out_id": each.hidden,
            }
            for each in made.tables
        ],
        "empty": list(made.empty),
        "left_out": dict(made.left_out),
        "notes": list(made.notes),
    }
