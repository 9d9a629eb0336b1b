"""Formats a history: a table of runs, and each series with a sparkline and the judgement of its last run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seedlab.insight.formatting.text import (
    duration,
    isolate,
    moment,
    paragraphs,
    printable,
    several,
    shorten,
    significant,
    table,
    width,
)
from seedlab.insight.judging.trend import ENOUGH, Point, Series, Trend, Usual, ceiling, in_order

if TYPE_CHECKING:
    from seedlab.insight.notebooks.run_history import History

MARKS = {"not finished": "✗", "slower than usual": "!"}
_BARS = "▁▂▃▄▅▆▇█"
_DRAWN = 30  # the most runs in a sparkline
_SERIES_CELLS = 28  # in the table of runs
_ROOMY = 100  # the cells from which on the table has room for years
_HEAD = ("", "run", "started (UTC)", "what", "time", "rows", "statements", "round trips", "")


def history_text(history: History, *, limit: int = 20, width: int = 120) -> str:
    """Format the newest runs, the last at the bottom, and the series that they belong to."""
    trends = history.trends
    points = in_order(trends)[-limit:]
    shown = {point.run.run_id for point in points}
    blocks = [
        _run_lines(points, width),
        *(_trend_lines(each, trends) for each in trends if each.last.run.run_id in shown),
        [_total_line(history, len(points))],
        [f"! {printable(str(note.path))}: {printable(note.why)}" for note in history.notes],
    ]
    return paragraphs(blocks)


def history_record(history: History, limit: int) -> Mapping[str, Any]:
    """Convert the newest runs to plain values for JSON."""
    return {
        "runs": [_point_record(each) for each in history.points[-limit:]],
        "notes": [{"path": str(note.path), "why": note.why} for note in history.notes],
    }


# ---- wording that the HTML page uses, too ---------------------------------------------------------------


def health(trend: Trend) -> str:
    """Word how the last run of a series went: `310 ms, as usual (290 ms to 350 ms, 12 runs)`."""
    last = trend.last
    if last.judgement == "not finished":
        return verdict(last)
    return f"{duration(last.run.seconds)}, {verdict(last) or last.judgement} ({_band(last.usual)})"


def verdict(point: Point) -> str:
    """Word how a run compares with those before it; "" if these are too few."""
    run = point.run
    if point.judgement == "not finished":
        return f"{run.status}: {first_line(run.error)}" if run.error else run.status
    if times := _times_the_median(point):
        return f"{point.judgement}: {times} times the median"
    return "" if point.judgement == "too few runs" else point.judgement


def _times_the_median(point: Point) -> str:
    """Say how many times the median a run took that was slower or faster than usual; "" of all others."""
    if point.usual is None or point.judgement not in ("slower than usual", "faster than usual"):
        return ""
    return significant(point.run.seconds / point.usual.median)


def _band(usual: Usual | None) -> str:
    if usual is None:
        return "the first one"
    if usual.runs < ENOUGH:
        return f"{usual.runs} before it; a band needs {ENOUGH}"
    return f"{duration(usual.low)} to {duration(usual.high)}, {several(usual.runs, 'run')}"


def first_line(text: str | None) -> str:
    """Return the first line of a message."""
    return (text or "").partition("\n")[0]


def title(series: Series, cells: int | None = None) -> str:
    """Return the name of a series, safe for a line of text with names in right-to-left scripts.

    If it has more than `cells`, the project is cut, but not below 8, since the rest tells series apart.
    """
    project, rest = printable(series.project), f"/{printable(series.level)}/{series.kind}"
    if cells is not None:
        project = shorten(project, max(cells - width(rest), 8))
    return f"{isolate(project)}{rest}"


def sparkline(trend: Trend) -> str:
    """Draw the seconds of the last runs as bars; ✗ is a run that did not finish.

    The highest bar is the longest run, or twice the median if that is less.
    """
    points = trend.points[-_DRAWN:]
    most = ceiling([each.run.seconds for each in points if each.run.kind is not None], 2.0)
    return "".join("✗" if each.run.kind is None else _bar(each.run.seconds / most) for each in points)


def _bar(part: float) -> str:
    return _BARS[min(int(part * len(_BARS)), len(_BARS) - 1)]


# ---- internals ------------------------------------------------------------------------------------------


def _run_lines(points: Sequence[Point], cells: int) -> list[str]:
    if not points:
        return []
    one_year = len({point.run.started[:4] for point in points}) == 1
    short = one_year and cells < _ROOMY
    head = [*_HEAD[:2], "UTC" if short else _HEAD[2], *_HEAD[3:]]
    rows = [_run_row(point, 5 if short else 0) for point in points]
    return table([head, *rows], "<<<<>>>><", cells=cells, flexible=8, spare=(7, 6, 5), whole=(2,))


def _run_row(point: Point, begin: int) -> list[str]:
    """Return the row of a run; its date is shown from the letter `begin` on."""
    run = point.run
    return [
        MARKS.get(point.judgement, "✓"),
        printable(run.run_id),
        printable(moment(run.started)[begin:16]),
        title(point.series, _SERIES_CELLS),
        duration(run.seconds),
        f"{run.outcomes.total:,}",
        f"{run.statements:,}",
        f"{run.round_trips:,}",
        _brief(point),
    ]


def _brief(point: Point) -> str:
    """Word how a run compares with those before it in a few letters."""
    if times := _times_the_median(point):
        return f"{point.judgement.partition(' ')[0]} ×{times}"  # noqa: RUF001
    return printable(verdict(point))


def _trend_lines(trend: Trend, among: Sequence[Trend]) -> list[str]:
    """Format a series; its machine is named only if there are several."""
    series = trend.series
    machine = {each.series.machine for each in among} != {series.machine}
    where = ", ".join(filter(None, (series.circumstances, series.machine if machine else "")))
    mark = MARKS.get(trend.last.judgement, "✓")
    return [
        f"{mark} {title(series)} ({isolate(printable(where))})",
        f"  {sparkline(trend)}  {printable(health(trend))}",
    ]


def _total_line(history: History, shown: int) -> str:
    where = ", ".join(map(str, history.folders))
    if not history.runs:
        return f"no run is on record below {printable(where)}"
    rest = f"; {len(history) - shown:,} older ones are not shown (--limit)" if shown < len(history) else ""
    return f"{several(len(history), 'run')} below {printable(where)}{rest}"


def _point_record(point: Point) -> dict[str, Any]:
    run, usual = point.run, point.usual
    return {
        "run_id": run.run_id,
        "started": run.started,
        "series": point.series.name,
        "project": run.project,
        "dialect": run.dialect,
        "level": run.level,
        "disabled": list(run.disabled),
        "environment": run.environment,
        "machine": run.machine,
        "selection": run.selection,
        "kind": point.series.kind,
        "status": run.status,
        "seconds": run.seconds,
        "rows": run.outcomes.total,
        "statements": run.statements,
        "round_trips": run.round_trips,
        "phases": dict(run.phases),
        "judgement": point.judgement,
        "usual": None if usual is None else {
            "median": usual.median, "low": usual.low, "high": usual.high, "runs": usual.runs,
        },
        "path": str(run.path),
    }  # fmt: skip
