"""Awkward schemas that real databases have: DDL, a file for each table, and what must be there afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Answers = Mapping[str, list[tuple[Any, ...]]]  # queries, and what they answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A schema, files for it, and what must be true after each step.

    `rows` is the number of rows of all files, `holds` what is there after the first seed. `change` are files as
    somebody edits them, by default one value of one row; `changed` counts what becomes of that (created,
    updated, unchanged), `held` is there afterwards. `insert` is what the application does next; it must work.
    `found` rows of the files are there before. `needs` is the major version of the server.
    """

    name: str
    ddl: str
    files: Mapping[str, str]
    rows: int
    found: int = 0
    holds: Answers = field(default_factory=dict)
    change: Mapping[str, str] = field(default_factory=dict)
    changed: tuple[int, int, int] | None = None
    held: Answers = field(default_factory=dict)
    insert: str = ""
    inserted: Answers = field(default_factory=dict)
    needs: int = 0

    def __str__(self) -> str:
        return self.name

    @property
    def after_change(self) -> tuple[int, int, int]:
        """What becomes of the rows when the files are changed."""
        return self.changed or (0, 1, self.rows - 1)
