"""The values of a plan: what a seed would do to each stage, table and row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from seedlab.flow.outcomes import Outcomes
from seedlab.flow.project import Level, Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSeed:
    """One seed of a plan: its files and tables."""

    name: str
    files: tuple[str, ...]
    tables: tuple[PlannedTable, ...]
    priority: Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTable:
    """One table of a planned seed; `key` is spelled as in the files, `origin` says why it is the key."""

    table: str
    rows: int
    key: tuple[str, ...]
    origin: str
    strategy: str  # "copy into the empty table", "staged merge", …
    outcomes: Outcomes = field(default_factory=Outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """One stage of a plan; `waits_for` are the stages that must be written before it."""

    id: str
    name: str
    status: Literal["run", "skipped"]
    reason: str
    waits_for: tuple[str, ...]
    seeds: tuple[PlannedSeed, ...] = ()
    parallel: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """A row that would be created, or updated in `columns`: (column, old text, new text)."""

    file: str
    line: int | None
    table: str
    outcome: Literal["created", "updated"]
    columns: tuple[tuple[str, str | None, str | None], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a seed would do: stages in writing order, and `waves` of stages that could run concurrently.

    `needless` are declared dependencies (stage, the stage it waits for) that no foreign key requires.
    """

    project: str
    target: str
    environment: str
    level: Level
    stages: tuple[PlannedStage, ...]
    waves: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    outcomes: Outcomes = field(default_factory=Outcomes)
    changes: tuple[RowChange, ...] = ()
    needless: tuple[tuple[str, str], ...] = ()
