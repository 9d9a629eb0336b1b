"""What would happen: plans, which only the command that asks for one makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from seedlab.flow.outcomes import Outcomes
from seedlab.flow.project import Level, Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSeed:
    """One seed of a plan: where its rows come from, go to, and how they are known."""

    name: str
    files: tuple[str, ...]
    tables: tuple[PlannedTable, ...]
    priority: Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTable:
    """One table of a planned seed; `key` as spelled in files, `origin` says why that key."""

    table: str
    rows: int
    key: tuple[str, ...]
    origin: str
    strategy: str  # "copy into the empty table", "staged merge", …
    outcomes: Outcomes = field(default_factory=Outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """One stage of a plan. `waits_for` names the stages that must be written before."""

    id: str
    name: str
    status: Literal["run", "skipped"]
    reason: str
    waits_for: tuple[str, ...]
    seeds: tuple[PlannedSeed, ...] = ()
    parallel: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """What would become of one row: created, or updated in `columns`, each with its old and new text."""

    file: str
    line: int | None
    table: str
    outcome: Literal["created", "updated"]
    columns: tuple[tuple[str, str | None, str | None], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a seed would do: stages in writing order, and in waves of what could run at the same time."""

    project: str
    target: str
    environment: str
    level: Level
    stages: tuple[PlannedStage, ...]
    waves: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    outcomes: Outcomes = field(default_factory=Outcomes)
    changes: tuple[RowChange, ...] = ()
    needless: tuple[
        tuple[str, str], ...
    ] = ()  # stages and what they wait for, though no foreign key needs it
