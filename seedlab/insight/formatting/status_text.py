"""Formats a status: text for a terminal, plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from seedlab.flow import RunMemory
from seedlab.flow.status import LoadStatus, StageStatus, Status
from seedlab.insight.formatting.summary import outcomes_text
from seedlab.insight.formatting.text import isolate, moment, paragraphs, printable, several, size, table

_MARKS = {"unchanged": "✓", "stale": "+", "skipped": "-", "undeclared": "!"}
_VERDICTS = {"unchanged": "", "stale": "would run", "skipped": "does not take part", "undeclared": ""}


def status_text(status: Status, width: int = 120) -> str:
    """Format a status: each stage with its loads, then the last runs and the ledger's size."""
    head = f"{isolate(printable(status.project))} → {printable(status.target)}"
    blocks = [[head, printable(status.environment)]]
    if status.ledger == "there":
        blocks += [
            *_stage_blocks(status.stages, width),
            _run_lines(status.runs, width),
            [_ledger_line(status)],
        ]
    else:
        blocks.append(_without_ledger(status))
    return paragraphs(blocks)


def status_record(status: Status) -> dict[str, Any]:
    """Convert a status to plain values for JSON."""
    return asdict(status)


def _without_ledger(status: Status) -> list[str]:
    if status.ledger == "missing":
        return ["there is no ledger in this target: no seed has written to it yet"]
    grants = [f"     → {printable(each)}" for each in status.grants]
    return ["✗ there is a ledger in this target, but this user may not read it; its owner can run", *grants]


def _stage_blocks(stages: Sequence[StageStatus], cells: int) -> Iterator[list[str]]:
    """Yield one block of lines per stage; the columns are aligned across all of them."""
    rows = [_load_row(load) for stage in stages for load in stage.loads]
    lines = iter(table(rows, "<<<>><", cells=cells, flexible=5, spare=(5,)))
    for stage in stages:
        yield [_stage_line(stage), *(next(lines) for _ in stage.loads)]


def _stage_line(stage: StageStatus) -> str:
    what = " ".join(filter(None, (isolate(printable(stage.id)), _VERDICTS[stage.verdict])))
    last = f" (run {stage.run}, {moment(stage.finished)})" if stage.run and stage.finished else ""
    return f"{_MARKS[stage.verdict]} {what}: {printable(stage.reason + last)}"


def _load_row(load: LoadStatus) -> list[str]:
    return [
        "   ",
        printable(load.table),
        f"of {printable(load.seed)}{'' if load.declared else ', no longer declared'}",
        several(load.rows, "row"),
        f"{load.ours:,} created",
        f"by {printable(', '.join(load.key))}" if load.key else "",
    ]


def _run_lines(runs: Sequence[RunMemory], cells: int) -> list[str]:
    if not runs:
        return ["the ledger has no run of this project"]
    head = ["run", "started (UTC)", "environment", "level", "outcomes"]
    return table([head, *map(_run_row, runs)], "<<<<<", cells=cells, flexible=4)


def _run_row(run: RunMemory) -> list[str]:
    stages = f"; by stage: {', '.join(run.stages)}" if run.stages else ""
    return [
        printable(run.run_id),
        printable(moment(run.started)),
        printable(run.environment),
        printable(run.level),
        f"{outcomes_text(run.outcomes)}{printable(stages)}",
    ]


def _ledger_line(status: Status) -> str:
    return f"ledger of all projects here: {size(status.bytes)}, generation {status.generation:,}"
