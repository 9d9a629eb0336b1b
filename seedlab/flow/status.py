"""The values of the command `status`: the state of each stage of a project, and the last runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seedlab.flow.memory import RunMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadStatus:
    """What the ledger says of the rows that a seed put into a table.

    `rows` is how many its files had when it last ran; `ours` is how many of the table's rows seedlab created,
    also rows that have left the files since. `declared` is False if the project no longer has this seed.
    """

    seed: str
    table: str
    key: tuple[str, ...]
    rows: int
    ours: int
    declared: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStatus:
    """What the next seed would do with a stage, and why; `run` is the last run of it, which ended `finished`.

    A `stale` stage would run, a `skipped` one does not take part, and an `undeclared` one is only in the
    ledger. If `unfinished`, the ledger has rows of the stage, but no complete run.
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
    """What the ledger of a target says of a project; times are UTC, ISO 8601.

    `bytes` and `generation` are those of the whole ledger, which projects share. If it is `unreadable`,
    `grants` are the statements by which its owner can make it readable.
    """

    project: str
    target: str  # without the password
    environment: str
    ledger: Literal["there", "missing", "unreadable"]
    generation: int = 0
    bytes: int = 0
    stages: tuple[StageStatus, ...] = ()
    runs: tuple[RunMemory, ...] = ()
    grants: tuple[str, ...] = ()
