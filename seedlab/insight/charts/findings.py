"""Draws charts of findings: the bottlenecks of a run, and how time grows with rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.ticker import (
    EngFormatter,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
)

from seedlab.flow import Run
from seedlab.insight.charts.style import (
    Chart,
    context_of,
    empty_chart,
    finish,
    legend_above,
    name,
    new_chart,
    rows_axis,
    styled,
)
from seedlab.insight.formatting.palette import ACCENT, CONTEXT, INK, PALE, SOFT
from seedlab.insight.formatting.text import duration, percent, printable, shorten
from seedlab.insight.judging.growth import ENOUGH, Growth, Point, fit

_BACKGROUND = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # of text over lines
VITAL = 0.8  # the share of all bottlenecks that the coloured ones make up

# ---- bottlenecks ----------------------------------------------------------------------------------------


@styled
def pareto(run: Run) -> Chart:
    """Draw a Pareto chart of a run's bottlenecks: seconds, largest first, and their cumulative share.

    Those that make up the first 80 % are in colour.
    """
    found = sorted(run.bottlenecks, key=lambda each: -each.seconds)
    if not found:
        return empty_chart("No bottleneck was found", _why_no_bottleneck(run), context_of(run))
    first = found[0]
    title = f"{percent(first.share)} of the time goes to {first.resource}: {duration(first.seconds)}"
    chart = new_chart(f"{title} of {duration(run.seconds)}", context_of(run), height=1.4 + 0.62 * len(found))
    axes = chart.add_subplot()
    sums = list(accumulate(each.share for each in found))
    for row, (each, reached) in enumerate(zip(found, sums, strict=True)):
        vital = reached - each.share < VITAL * sums[-1]
        axes.barh(row, each.share, height=0.5, color=ACCENT if vital else CONTEXT, linewidth=0)
        _evidence(axes, row, f"{duration(each.seconds)}: {each.evidence}")
    rows_axis(axes, [f"{each.resource}, {percent(each.share)}\n{name(each.where, 42)}" for each in found])
    axes.tick_params(axis="y", labelsize=9)
    axes.set_xlim(0, sums[-1] * 1.15 or 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, min_n_ticks=2))
    axes.set_xlabel("of the run")
    if len(found) > 1:
        _cumulative(axes, sums)
    advice = [f"advice: {each.what} ({each.command})" for each in run.recommendations]
    return finish(chart, *(f"{each.resource}, {each.where}: {each.evidence}" for each in found), *advice)


def _cumulative(axes: Axes, sums: Sequence[float]) -> None:
    rows = range(len(sums))
    axes.plot(sums, rows, color=INK, marker="o", markersize=5, linewidth=1.2, label="added up", zorder=1)
    for row in rows[1:]:
        axes.annotate(
            percent(sums[row]), (sums[row], row), xytext=(7, 0), textcoords="offset points",
            va="center", fontsize=9, bbox=_BACKGROUND,
        )  # fmt: skip
    label = f"{percent(VITAL)} of what was found"
    axes.axvline(VITAL * sums[-1], color=CONTEXT, linestyle="--", linewidth=1, label=label, zorder=0)
    legend_above(axes, axes.get_legend_handles_labels()[0])


def _evidence(axes: Axes, row: int, text: str) -> None:
    spelled = shorten(printable(text), 88)
    place = axes.get_yaxis_transform()
    axes.text(
        0.005, row + 0.39, spelled, transform=place, va="center", fontsize=8, color=SOFT, bbox=_BACKGROUND
    )


def _why_no_bottleneck(run: Run) -> str:
    if not run.spans:
        return f"No phase was measured in the {duration(run.seconds)} that the run took."
    return f"No resource took 1 % of the {duration(run.seconds)} that the run took."


# ---- scaling --------------------------------------------------------------------------------------------


@styled
def scaling(points: Sequence[Point], *, context: str = "") -> Chart:
    """Draw seconds over rows on logarithmic axes, with the fitted growth and lines of slope 1 and 2."""
    usable = sorted((rows, seconds) for rows, seconds in points if rows > 0 < seconds)
    growth = fit(usable)
    if not usable:
        return empty_chart("Nothing to scale", "No run has rows and seconds.", context)
    if growth is None:
        title = f"Too few sizes to say how time grows: {len({n for n, _ in usable})} of {ENOUGH}"
    else:
        title = _growth_text(growth)
    chart = new_chart(title, context, height=4.2)
    axes = chart.add_subplot()
    axes.set_xscale("log")
    axes.set_yscale("log")
    _slopes(axes, usable)
    axes.plot(*zip(*usable, strict=True), "o", color=INK, markersize=6, label="measured", zorder=4)
    if growth is not None:
        _curve(axes, usable, growth)
    axes.set_xlabel("rows")
    _log_axes(axes, usable)
    legend_above(axes, axes.get_legend_handles_labels()[0])
    spelled = ", ".join(f"{rows:,.0f} rows {duration(seconds)}" for rows, seconds in usable[:12])
    return finish(chart, f"Measured: {spelled}")


def _growth_text(growth: Growth) -> str:
    fixed = f", beside a fixed {duration(growth.fixed)}" if growth.fixed > 0 else ""
    exponent = f"rows^{growth.exponent:.2f} [{growth.low:.2f}, {growth.high:.2f}]"
    if growth.low <= 1 <= growth.high:
        return f"Time grows in proportion to rows: {exponent}{fixed}"
    return f"Time grows {'faster' if growth.low > 1 else 'more slowly'} than rows: {exponent}{fixed}"


def _slopes(axes: Axes, points: Sequence[Point]) -> None:
    """Draw guide lines through the last point: slope 1 is proportional to rows, slope 2 to their square."""
    first, (last, seconds) = points[0][0], points[-1]
    bottom = min(each for _, each in points) / 1.5
    for slope, style in ((1, "--"), (2, ":")):
        begin = max(first, last * (bottom / seconds) ** (1 / slope)) if seconds > bottom else first
        axes.plot(
            [begin, last], [seconds * (begin / last) ** slope, seconds],
            color=CONTEXT, linestyle=style, linewidth=1.2, label=f"rows^{slope}",
        )  # fmt: skip


def _curve(axes: Axes, points: Sequence[Point], growth: Growth) -> None:
    first, last = points[0][0], points[-1][0]
    rows = [first * (last / first) ** (n / 60) for n in range(61)]
    axes.plot(rows, [growth.seconds(n) for n in rows], color=ACCENT, linewidth=2, label="fitted", zorder=3)


def _log_axes(axes: Axes, points: Sequence[Point]) -> None:
    for axis, values, formatter in (
        (axes.xaxis, [n for n, _ in points], EngFormatter()),
        (axes.yaxis, [seconds for _, seconds in points], FuncFormatter(_seconds)),
    ):
        wide = max(values) > 30 * min(values)
        axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(formatter)
    axes.grid(visible=True, axis="both", color=PALE)


def _seconds(value: float, _: int | None = None) -> str:
    """Label a time, without kiloseconds."""
    return f"{value:,.0f} s" if value >= 1000 else EngFormatter(unit="s")(value)
