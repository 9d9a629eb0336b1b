"""Formats the state of a running run: a dashboard that fits a terminal, a line for a log. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from seedlab.insight.formatting.text import isolate, printable, roughly, several, shorten, size, table, width
from seedlab.insight.measuring.state import RunState, StageState, Status

Piece = tuple[str, str]  # a text and its style, as spelled by `rich`
Line = list[Piece]

STAGES_SHOWN = 10
_WIDEST_BAR = 80
_NARROWEST_BAR = 6
_MARKS: dict[Status, Piece] = {
    "running": ("▸", "bold cyan"),
    "waiting": ("·", "dim"),
    "done": ("✓", "green"),
    "skipped": ("-", "dim"),
}
_KINDS = {"Lock": "a lock", "IO": "the disk", "LWLock": "the server's own work", "Client": "seedlab"}


# ---- wording that all displays use ------------------------------------------------------------------------


def headline(state: RunState) -> list[str]:
    """Return the progress of the whole run in parts, the most important first."""
    parts = [f"{state.end} after {roughly(state.seconds)}" if state.end else roughly(state.seconds)]
    if state.total:
        parts.append(f"{state.rows:,} of {several(state.total, 'row')}")
    if state.rows_per_second and (state.end or state.rows < state.total):
        parts.append(f"{state.rows_per_second:,.0f} rows/s")
    if state.eta is not None:
        parts.append(f"about {roughly(state.eta)} left")
    return [*parts, size(state.rss_bytes)] if state.rss_bytes else parts


def count_text(stage: StageState) -> str:
    """Word the progress of a stage."""
    if stage.status == "skipped":
        return "skipped"
    if stage.total is not None:
        return f"{stage.rows:,} of {stage.total:,}"
    return f"{stage.rows:,} read" if stage.rows else ""


def lane_rows(state: RunState) -> list[tuple[str, str, str, str]]:
    """Return for each lane its name, what it does, for how long, and what its server process waits for."""
    return [
        (
            f"connection {lane.pid}" if lane.pid else f"thread {lane.number + 1}",
            printable(lane.doing) or "idle",
            roughly(lane.seconds) if lane.doing else "",
            wait_text(lane.wait) if lane.wait else "",
        )
        for lane in state.lanes
    ]


def wait_text(what: str) -> str:
    """Word what a server process waits for, with the server's name of the wait event."""
    if what == "CPU":
        return "server at work"
    kind, _, name = printable(what).partition("/")
    return f"waits for {_KINDS.get(kind, kind)}" + (f" ({name})" if name else "")


# ---- a line ---------------------------------------------------------------------------------------------


def log_line(state: RunState) -> str:
    """Format the state of a run as one line."""
    running = [stage for stage in state.stages if stage.status == "running"]
    stages = [f"{printable(stage.id)} {count_text(stage)}".rstrip() for stage in running]
    lanes = [f"{doing}: {wait}" if wait else doing for _, doing, since, wait in lane_rows(state) if since]
    return ", ".join([*headline(state), *stages, *lanes])


# ---- a dashboard ----------------------------------------------------------------------------------------


def dashboard(state: RunState, cells: int, height: int) -> list[Line]:
    """Format the state of a run as at most `height` lines of `cells` cells: stages, lanes, the last note.

    If there are too many stages, only the running ones, the next and the last done are shown.
    """
    below = [*_lane_lines(state, cells)[: max(1, height // 3)], *_note_line(state, cells)]
    room = min(STAGES_SHOWN, height - 1 - len(below))
    return [_head_line(state, cells), *_stage_lines(state.stages, cells, room), *below][: max(1, height)]


def _head_line(state: RunState, cells: int) -> Line:
    parts = headline(state)
    while len(parts) > 1 and width(" · ".join(parts)) > cells:
        parts.pop()
    return [(shorten(" · ".join(parts), cells), "bold")]


def _stage_lines(stages: Sequence[StageState], cells: int, room: int) -> list[Line]:
    shown, hidden = _chosen(stages, room)
    if not stages or room < 1:
        return []
    counts = [count_text(stage) for stage in shown]
    of_count = max(map(width, counts), default=0)
    widest = min(max(8, cells // 3), cells - of_count - 4)
    names = [isolate(shorten(printable(stage.id), widest)) for stage in shown]
    of_name = max(map(width, names), default=0)
    bar = min(_WIDEST_BAR, cells - of_name - of_count - 6)
    lines = [
        [
            _MARKS[stage.status],
            (f" {name}{' ' * (of_name - width(name))}", "dim" if stage.status == "skipped" else ""),
            *([("  ", ""), *_bar(stage, bar)] if bar >= _NARROWEST_BAR else []),
            (f"  {count:>{of_count}}", "" if stage.status == "running" else "dim"),
        ]
        for stage, name, count in zip(shown, names, counts, strict=True)
    ]
    rest = ", ".join(f"{count:,} {status}" for status, count in hidden.items())
    return [*lines, *([[(shorten(f"… {rest}", cells), "dim")]] if rest else [])]


def _chosen(stages: Sequence[StageState], room: int) -> tuple[list[StageState], Counter[Status]]:
    """Choose the stages to show, in their order, and count the others by status."""
    if len(stages) <= room:
        return list(stages), Counter()
    by_relevance = [stage for stage in stages if stage.status == "running"]
    by_relevance += [stage for stage in stages if stage.status == "waiting"]
    by_relevance += [stage for stage in reversed(stages) if stage.status == "done"]
    ids = {stage.id for stage in by_relevance[: max(0, room - 1)]}
    hidden = Counter(stage.status for stage in stages if stage.id not in ids)
    return [stage for stage in stages if stage.id in ids], hidden


def _bar(stage: StageState, cells: int) -> list[Piece]:
    if stage.status == "skipped" or stage.total is None:
        return [(" " * cells, "")]
    halves = 2 * cells * stage.rows // stage.total if stage.total else 2 * cells
    full = "━" * (halves // 2) + "╸" * (halves % 2)
    style = "green" if stage.status == "done" else "cyan"
    return [(full, style), ("─" * (cells - len(full)), "dim")]


def _lane_lines(state: RunState, cells: int) -> list[Line]:
    texts = table(lane_rows(state), "<<><", cells=cells, flexible=1)
    locked = [(lane.wait or "").startswith("Lock/") for lane in state.lanes]
    return [
        [(shorten(text.rstrip(), cells), "yellow" if lock else "dim")]
        for text, lock in zip(texts, locked, strict=True)
    ]


def _note_line(state: RunState, cells: int) -> list[Line]:
    return [[(shorten(f"! {printable(note)}", cells), "yellow")] for note in state.notes[-1:]]
