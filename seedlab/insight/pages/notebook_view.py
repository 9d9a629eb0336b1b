"""Formats the state of a running run as HTML for a notebook's output, without scripts and links."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from seedlab.insight.formatting.live import count_text, headline, lane_rows
from seedlab.insight.formatting.text import printable
from seedlab.insight.measuring.state import RunState, StageState

_MARKS = {"running": "▸", "waiting": "·", "done": "✓", "skipped": "-"}
_COLOURS = {"running": "#0072b2", "waiting": "#999999", "done": "#009e73", "skipped": "#999999"}
_BAR = 240  # pixels
# Names may be in right-to-left scripts; <bdi> prevents them from reordering their line.
_CELL = 'style="text-align:left;padding:1px 12px 1px 0;border:0"'
_NUMBER = 'style="text-align:right;padding:1px 12px 1px 0;border:0;font-variant-numeric:tabular-nums"'


def html(state: RunState, title: str = "") -> str:
    """Format the state of a run: headline, a bar per stage, a line per connection, notes."""
    end = {None: "", "done": "✓ "}.get(state.end, "✗ ")
    head = escape(end + " · ".join(headline(state)))
    return (
        '<div class="seedlab-run" style="font-family:system-ui,sans-serif;font-size:13px;line-height:1.4">'
        + (f"<div><bdi>{escape(printable(title))}</bdi></div>" if title else "")
        + f"<div><b>{head}</b></div>"
        + _table(map(_stage_row, state.stages))
        + _table(_row(map(_text, lane)) for lane in lane_rows(state))
        + "".join(f"<div>! {escape(printable(note))}</div>" for note in state.notes)
        + "</div>"
    )


def _stage_row(stage: StageState) -> str:
    mark = f'<span style="color:{_COLOURS[stage.status]}">{_MARKS[stage.status]}</span>'
    name = f"<td {_CELL}>{mark} <bdi>{escape(printable(stage.id))}</bdi></td>"
    return _row([name, _bar(stage), _count(stage)])


def _bar(stage: StageState) -> str:
    """Draw a bar of boxes, since JupyterLab removes SVG from notebooks that it does not trust."""
    if stage.status == "skipped" or stage.total is None:
        return f"<td {_CELL}></td>"
    done = _BAR * stage.rows / stage.total if stage.total else _BAR
    full = f'<div style="width:{done:.0f}px;height:8px;background-color:{_COLOURS[stage.status]}"></div>'
    track = f"width:{_BAR}px;height:8px;background-color:rgba(128,128,128,0.3)"
    return f'<td {_CELL}><div class="seedlab-bar" style="{track}">{full}</div></td>'


def _count(stage: StageState) -> str:
    return f"<td {_NUMBER}>{escape(count_text(stage))}</td>"


def _text(text: str) -> str:
    return f"<td {_CELL}>{escape(text)}</td>"


def _row(cells: Iterable[str]) -> str:
    return f'<tr style="background:none">{"".join(cells)}</tr>'


def _table(rows: Iterable[str]) -> str:
    body = "".join(rows)
    return (
        f'<table style="border:0;margin:4px 0;color:inherit;font-size:inherit">{body}</table>' if body else ""
    )
