"""Formats the result of an export: text for a terminal, plain values for JSON."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from seedlab.flow.exports import Exported, WrittenTable
from seedlab.insight.formatting.text import isolate, paragraphs, printable, several, table

PRODUCTS = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}


def export_text(exported: Exported, out: str, width: int = 120) -> str:
    """Format an export: each file with its rows and key, then tables left out, notes and the next step."""
    source = f"{printable(exported.database)} ({PRODUCTS[exported.dialect]} {printable(exported.version)})"
    head = (
        f"{source} → {printable(out)}: "
        f"{several(exported.rows, 'row')} of {several(len(exported.tables), 'table')}"
    )
    blocks = [
        [head],
        table([_row(each) for each in exported.tables], "<<><<", cells=width, flexible=3),
        list(_remarks(exported)),
        list(_next(exported, out)),
    ]
    return paragraphs(blocks)


def _row(each: WrittenTable) -> list[str]:
    key = ", ".join(each.key)
    return [
        "  ",
        isolate(printable(each.file)),
        several(each.rows, "row"),
        f"by {printable(key)}",
        f"without {printable(each.hidden)}" if each.hidden else "",
    ]


def _remarks(exported: Exported) -> Iterator[str]:
    if exported.empty:
        yield f"- without rows, so without a file: {printable(', '.join(exported.empty))}"
    for name, why in exported.left_out.items():
        yield f"- {printable(name)} left out: {printable(why)}"
    for note in exported.notes:
        yield f"! {printable(note)}"


def _next(exported: Exported, out: str) -> Iterator[str]:
    if not exported.tables:
        yield f"There is no row to export, so {printable(out)} was not written: seedlab could not seed it."
        return
    yield "The files hold what the database holds, people's data too; only you may read them (mode 0600)."
    folder = shlex.quote(out)
    yield f"next: seedlab seed {folder} --database-url URL, of an empty copy of the schema"


def export_record(exported: Exported, out: str) -> dict[str, Any]:
    """Convert an export to plain values for JSON."""
    return {
        "directory": out,
        "database": exported.database,
        "dialect": exported.dialect,
        "version": exported.version,
        "rows": exported.rows,
        "tables": [
            {
                "table": each.table,
                "file": each.file,
                "rows": each.rows,
                "key": list(each.key),
                "left_out_id": each.hidden,
            }
            for each in exported.tables
        ],
        "empty": list(exported.empty),
        "left_out": dict(exported.left_out),
        "notes": list(exported.notes),
    }
