"""Draws the chart of a series of runs: their seconds beside what was usual before each."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from seedlab.insight.charts.style import (
    Chart,
    empty_chart,
    finish,
    in_one_unit,
    legend_above,
    name,
    new_chart,
    styled,
)
from seedlab.insight.formatting.history_text import health
from seedlab.insight.formatting.palette import ACCENT, CONTEXT, INK, PALE, WARNING
from seedlab.insight.formatting.text import duration, moment, several
from seedlab.insight.judging.trend import ENOUGH, Judgement, Point, Trend, ceiling, labelled

_CLIP = 4  # the end of the axis as a factor of the median: a run that hung does not flatten the others
_BEYOND = 1.08  # where such a run is drawn, as a factor of that end
_MARKS: dict[Judgement, dict[str, Any]] = {
    "as usual": {"marker": "o", "color": INK},
    "slower than usual": {"marker": "^", "color": WARNING},
    "faster than usual": {"marker": "v", "color": ACCENT},
    "too few runs": {"marker": "o", "color": INK, "markerfacecolor": "white"},
    "not finished": {"marker": "x", "color": WARNING},
}


@styled
def trend(past: Trend | None) -> Chart:
    """Draw the seconds of each run of a series over the median and band of noise of the runs before it."""
    if past is None or not past.points:
        return empty_chart("No run is on record", "Each seed writes a record below reports; make one first.")
    context = f"{past.series.circumstances} · {name(past.series.machine, 60)}"
    series = f"{name(past.series.project, 40)}/{past.series.level}/{past.series.kind}"
    chart = new_chart(f"{series}: {health(past)}", context, height=3.3)
    axes = chart.add_subplot()
    seconds = [point.run.seconds for point in past.points]
    top = max(ceiling(seconds, _CLIP), *(p.usual.high for p in past.points if p.usual is not None), 0.0)
    _band(axes, past)
    long = labelled((n for n, each in enumerate(seconds) if each > top * _BEYOND), len(seconds))
    for n, point in enumerate(past.points):
        _point(axes, n, point, top * _BEYOND, named=n in long)
    axes.set_ylim(0, top * (1.2 if max(seconds) > top else 1.12))
    in_one_unit(axes.yaxis, top)
    axes.grid(visible=True, axis="y")
    _dates(axes, past)
    seen = dict.fromkeys(point.judgement for point in past.points)
    legend_above(axes, [
        *(Line2D([], [], linestyle="none", label=each, **_MARKS[each]) for each in _MARKS if each in seen),
        Line2D([], [], color=CONTEXT, linewidth=1.5, label="median before it"),
        Patch(facecolor=PALE, hatch="//", label="band of noise"),
    ])  # fmt: skip
    unusual = [
        f"run {p.run.run_id} of {moment(p.run.started)} took {duration(p.run.seconds)}: {p.judgement}"
        for p in past.points
        if p.judgement not in ("as usual", "too few runs")
    ]
    return finish(chart, f"{several(len(past.points), 'run')} on record", *unusual[-8:])


def _point(axes: Axes, n: int, point: Point, top: float, *, named: bool) -> None:
    """Draw a run; one that is beyond the axis is drawn at its end, with its time if it is to be `named`."""
    seconds = point.run.seconds
    at = min(seconds, top)
    axes.plot([n], [at], markersize=6.5, zorder=4, **_MARKS[point.judgement])
    if named:
        axes.annotate(
            duration(seconds), (n, at), xytext=(0, 5), textcoords="offset points", ha="center", fontsize=8.5
        )


def _band(axes: Axes, past: Trend) -> None:
    usuals = ((n, point.usual) for n, point in enumerate(past.points))
    known = [(n, usual) for n, usual in usuals if usual is not None and usual.runs >= ENOUGH]
    if not known:
        return
    xs = [n for n, _ in known]
    lows, highs = [usual.low for _, usual in known], [usual.high for _, usual in known]
    axes.fill_between(xs, lows, highs, facecolor=PALE, hatch="//", linewidth=0)
    axes.plot(xs, [usual.median for _, usual in known], color=CONTEXT, linewidth=1.5)


def _dates(axes: Axes, past: Trend) -> None:
    """Label some of the runs with their date; runs are evenly spaced, whatever the time between them."""
    count = len(past.points)
    step = max(1, -(-count // 6))
    shown = range(0, count, step)
    axes.set_xticks(
        shown, [moment(past.points[n].run.started).replace(" ", "\n") for n in shown], fontsize=8.5
    )
    axes.set_xlim(-0.6, max(count - 0.4, 0.6))
