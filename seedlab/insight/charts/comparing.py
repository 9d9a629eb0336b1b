"""Draws charts of a comparison: each phase before and after, and the ratio of each pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from seedlab.flow.evidence import Change, Comparison
from seedlab.insight.charts.style import (
    Chart,
    empty_chart,
    finish,
    legend_above,
    name,
    new_chart,
    rows_axis,
    seconds_axis,
    styled,
)
from seedlab.insight.formatting.comparison_text import interval, ratio_text
from seedlab.insight.formatting.palette import ACCENT, CONTEXT, INK, PALE, PHASE_COLOURS
from seedlab.insight.formatting.text import duration, percent, several
from seedlab.insight.judging.compare import bounded

_BEFORE: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "markeredgecolor": INK, "markersize": 8}
_AFTER: dict[str, Any] = {"marker": "D", "markersize": 7}
_TICKS = 9  # the most on the axis of ratios
# The factors of that axis, the finest first: numbers of each decade, and how many decades apart.
_FACTORS: Sequence[tuple[Sequence[float], int]] = (
    ((1, 1.2, 1.5, 2, 3, 5), 1),
    ((1, 2, 5), 1),
    ((1,), 1),
    ((1,), 3),
)


# ---- each phase -----------------------------------------------------------------------------------------


@styled
def before_after(comparison: Comparison) -> Chart:
    """Draw the median seconds before and after of the total and each phase, and all samples of the total.

    The bar on the `after` mark is the 95 % interval of the ratio, multiplied by the median before.
    """
    total = comparison.total
    changes = [total, *sorted(comparison.phases, key=lambda each: -abs(each.before - each.after))]
    if not any(each.before or each.after for each in changes):
        return empty_chart(
            "Nothing took any time", "No pair has a phase that was measured.", _sides(comparison)
        )
    chart = new_chart(finding(comparison), _sides(comparison), height=1.6 + 0.4 * len(changes))
    axes = chart.add_subplot()
    largest = max(
        *(value for each in changes for value in (each.before, each.after)),
        *(seconds for pair in comparison.pairs for seconds in pair),
        0.0,
    )
    for row, change in enumerate(changes):
        _dumbbell(axes, row, change)
        place = axes.get_yaxis_transform()
        axes.text(1.01, row, _verdict_text(change), transform=place, va="center", fontsize=9)
    _strip(axes, comparison.pairs)
    rows_axis(axes, [name(each.name) for each in changes])
    axes.tick_params(axis="y", pad=9)  # so that marks near zero do not lie on the names
    axes.get_yticklabels()[0].set_fontweight("bold")
    seconds_axis(axes, largest, "median")
    axes.set_xlim(0, largest * 1.03)
    legend_above(axes, [
        Line2D([], [], linestyle="none", label=f"before: {name(comparison.before, 40)}", **_BEFORE),
        Line2D([], [], linestyle="none", color=INK, label=f"after: {name(comparison.after, 40)}", **_AFTER),
        Line2D([], [], color=INK, linewidth=1, marker="|", label="95 % interval"),
    ], ncols=3)  # fmt: skip
    return finish(
        chart, *(f"{each.name}: {duration(each.before)} to {duration(each.after)}" for each in changes)
    )


def finding(comparison: Comparison) -> str:
    """Word the result of a comparison in one line."""
    total = comparison.total
    measured = f"{ratio_text(total)} in {several(len(comparison.pairs), 'pair')}"
    if not bounded(total):
        return f"Too few pairs for a verdict: {measured}"
    if total.verdict == "same":
        return f"After is as fast as before: {measured}"
    if total.verdict == "unclear":
        return f"Unclear whether after is faster or slower: {measured}"
    return f"After is {total.verdict}: {duration(total.before)} became {duration(total.after)}, {measured}"


def _verdict_text(change: Change) -> str:
    """Word a ratio and its verdict; a phase that one side does not have, or too few pairs, have none."""
    return f"{ratio_text(change)} {change.verdict}" if interval(change) else ratio_text(change)


def _sides(comparison: Comparison) -> str:
    sides = f"{name(comparison.before, 40)} → {name(comparison.after, 40)}"
    counts = f"a change counts from {percent(comparison.threshold)}"
    return f"{sides} · ratios are those of the pairs, after/before, with 95 % intervals · {counts}"


def _colour(change: Change) -> str:
    return next((colour for phase, colour in PHASE_COLOURS.items() if phase == change.name), INK)


def _dumbbell(axes: Axes, row: int, change: Change) -> None:
    axes.plot([change.before, change.after], [row, row], color=CONTEXT, linewidth=2.5, zorder=2)
    if bounded(change):
        bounds = [change.before * change.low, change.before * change.high]
        axes.plot(bounds, [row, row], color=INK, linewidth=1, marker="|", markersize=8, zorder=4)
    # Marks near zero are drawn whole, across the axis.
    axes.plot([change.before], [row], zorder=3, clip_on=False, **_BEFORE)
    axes.plot(
        [change.after], [row], color=_colour(change), markeredgecolor=INK, zorder=5, clip_on=False, **_AFTER
    )


def _strip(axes: Axes, pairs: Sequence[tuple[float, float]]) -> None:
    """Draw all samples of the total, those before above the line, those after below it."""
    for side, shift, marker in ((0, -0.3, "o"), (1, 0.3, "D")):
        values = [pair[side] for pair in pairs]
        axes.plot(values, [shift] * len(values), marker, markersize=3.5, color=CONTEXT, alpha=0.8, zorder=3)


# ---- each pair ------------------------------------------------------------------------------------------


@styled
def pairs(comparison: Comparison) -> Chart:
    """Draw the ratio of each pair, the estimate with its interval, and the band in which nothing changed."""
    ratios = [
        (n, after / before) for n, (before, after) in enumerate(comparison.pairs, 1) if before > 0 < after
    ]
    if not ratios:
        return empty_chart(
            "There is no pair to compare", "No pair has a time on both sides.", _sides(comparison)
        )
    chart = new_chart(finding(comparison), _sides(comparison), height=3.3)
    axes = chart.add_subplot()
    total, threshold = comparison.total, comparison.threshold
    axes.axhspan(1 / (1 + threshold), 1 + threshold, color=PALE, zorder=0)
    axes.axhline(1, color=INK, linewidth=1, linestyle=":")
    if bounded(total):
        axes.axhspan(total.low, total.high, facecolor=ACCENT, alpha=0.18, hatch="//", linewidth=0)
    axes.axhline(total.ratio, color=ACCENT, linewidth=2)
    axes.plot(*zip(*ratios, strict=True), "o", color=INK, markersize=6)
    _ratio_axis(axes, [1.0, total.ratio, *(ratio for _, ratio in ratios)])
    axes.set_xlabel("pair")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(0.5, len(comparison.pairs) + 0.5)
    legend_above(axes, [
        Line2D([], [], color=INK, linestyle="none", marker="o", label="after/before of a pair"),
        Line2D([], [], color=ACCENT, linewidth=2, label="Hodges-Lehmann, shaded: 95 % interval"),
        Line2D([], [], color=PALE, linewidth=8, label=f"no change (± {percent(threshold)})"),
    ], ncols=3)  # fmt: skip
    skipped = len(comparison.pairs) - len(ratios)
    spelled = ", ".join(f"{ratio:.2f}" for _, ratio in ratios)
    return finish(
        chart,
        f"Ratios of the pairs: {spelled}",
        f"{several(skipped, 'pair')} without a time" if skipped else "",
    )


def _ratio_axis(axes: Axes, ratios: Sequence[float]) -> None:
    room = max(max(ratios) / min(ratios), 1.2) ** 0.15
    low, high = min(ratios) / room, max(ratios) * room
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.set_yticks(*_ratio_ticks(low, high))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("faster ← ratio → slower")


def _ratio_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Return ticks and labels for ratios around 1: percentages, or factors if one is large."""
    small = low > 0.5 and high < 2
    if small:
        changes = MaxNLocator(nbins=6, steps=[1, 2, 5, 10]).tick_values(low - 1, high - 1)
        ticks = [1 + change for change in changes if low <= 1 + change <= high]
    else:
        ticks = _factors(low, high)
    return ticks, [_tick_label(tick, factor=not small) for tick in ticks]


def _factors(low: float, high: float) -> list[float]:
    """Return round factors, about even on a logarithmic axis: the finest of which _TICKS suffice."""
    found = list[float]()
    for mantissas, decades in _FACTORS:
        factors = {each * 10.0**n for n in range(0, 25, decades) for each in mantissas}
        found = [each for each in sorted(factors | {1 / each for each in factors}) if low <= each <= high]
        if len(found) <= _TICKS:
            break
    return found


def _tick_label(ratio: float, *, factor: bool) -> str:
    if math.isclose(ratio, 1):
        return "same"
    if not factor:
        return f"{(ratio - 1) * 100:+.3g} %"
    return f"×{ratio:,.12g}" if ratio > 1 else f"÷{1 / ratio:,.12g}"  # noqa: RUF001
