"""What a person is told of the ledger: how each stage of a project stands, and the last runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seedlab.flow.memory import RunMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadStatus:
    """What is remembered of the rows that a seed brought to a table.

    `rows` were in its files when it last ran; `ours` are those that seedlab made, also of rows that have left
    the files since. `declared` is False where the project has no such seed any more.
    """

    seed: str
    table: str
    key: tuple[str, ...]
    rows: int
    ours: int
    declared: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStatus:
    """What the next seed would make of a stage, and why; `run` is the last that ran it, `finished` when.

    A `stale` stage would run; one that is `skipped` does not take part; one that is `undeclared` is in the
    ledger only. Of an `unfinished` stage rows are remembered, but no run of it that was whole.
    """

    id: str
    verdict: Literal["unchanged", "stale", "skipped", "undeclared"]
    reason: str
    run: str | None = None
    finished: str | None = None
    unfinished: bool = False
    loads: tuple[LoadStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the ledger of a target remembers of a project; times are UTC, ISO 8601.

    `bytes` and `generation` are those of the whole ledger. Where it is `unreadable`, `grants` are what its
    owner has to say so that it can be read.
    """

    project: str
    target: str  # masked
    environment: str
    ledger: Literal["there", "missing", "unreadable"]
    generation: int = 0
    bytes: int = 0
    stages: tuple[StageStatus, ...] = ()
    runs: tuple[RunMemory, ...] = ()
    grants: tuple[str, ...] = ()
