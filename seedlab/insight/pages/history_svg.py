"""Draws the charts of a history as inline SVG, with the styles of history.css. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise
from pathlib import Path

from seedlab.insight.formatting.history_text import verdict
from seedlab.insight.formatting.text import duration, moment, printable
from seedlab.insight.judging.trend import ENOUGH, Point, Trend, Usual, ceiling, labelled

WIDTH, HEIGHT = 640, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 8, 24, 26
_SMALL = (200, 44)
_DATE, _PAUSE = 110, 90  # the widths of a date and of a pause's days, at the size of letters on a phone
_DAYS = 7  # days without a run that are drawn as a gap
_CLIP = 2.5  # longer runs than this factor of the median are drawn at the upper edge, with their time


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """Maps runs and seconds to coordinates of a drawing."""

    runs: int
    top: float  # seconds at the upper edge
    left: float
    right: float
    upper: float
    lower: float

    def x(self, number: float) -> float:
        """Return the left edge of a run's slot."""
        return self.left + (self.right - self.left) * number / self.runs

    def y(self, seconds: float) -> float:
        return self.lower - (self.lower - self.upper) * min(seconds / self.top, 1.0)


def anchor(run_id: str) -> str:
    """Return the anchor of a run's details in the page."""
    return f"r-{escape(run_id)}"


def history_style() -> str:
    """Return the style sheet of these charts and the page."""
    return Path(__file__).with_name("history.css").read_text("utf-8")


def trend_svg(trend: Trend, linked: Collection[str] = ()) -> str:
    """Draw the runs of a series and the band of noise; runs have tooltips, and links if in `linked`."""
    points = trend.points
    top = _top([each.run.seconds for each in points if each.run.kind is not None])
    frame = _Frame(
        runs=len(points), top=top, left=_LEFT, right=WIDTH - _RIGHT, upper=_TOP, lower=HEIGHT - _BOTTOM
    )
    beyond = (n for n, each in enumerate(points) if each.run.kind is not None and each.run.seconds > top)
    long = labelled(beyond, len(points))
    parts = [
        *_grid(frame),
        _band(frame, [each.usual for each in points]),
        *_dates(frame, points),
        *_gaps(frame, points),
        f'<path class="line" d="{_line(frame, points)}"/>',
        *(_mark(frame, number, each, linked, long) for number, each in enumerate(points)),
    ]
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="seconds of each run"'
    return f'<svg class="trend" {size}>{"".join(parts)}</svg>'


def small_svg(seconds: Sequence[float], usual: Usual | None) -> str:
    """Draw the seconds of a phase over the runs of a series, with the usual band for the last run."""
    width, height = _SMALL
    frame = _Frame(runs=len(seconds), top=_top(seconds), left=0, right=width, upper=4, lower=height - 1)
    band = _band(replace(frame, runs=1), [usual])
    line = _path((frame.x(number + 0.5), frame.y(each)) for number, each in enumerate(seconds))
    dot = f'<circle cx="{frame.x(len(seconds) - 0.5):.1f}" cy="{frame.y(seconds[-1]):.1f}" r="3"/>'
    return (
        f'<svg class="small" viewBox="0 0 {width} {height}" aria-hidden="true">{band}'
        f'<path class="line" d="{line}"/>{dot}</svg>'
    )


def _top(seconds: Sequence[float]) -> float:
    return ceiling(seconds, _CLIP) * 1.08


# ---- background -----------------------------------------------------------------------------------------


def _grid(frame: _Frame) -> Iterator[str]:
    step = _step(frame.top)
    for number in range(int(frame.top / step) + 1):
        y = frame.y(number * step)
        label = _label(number * step)
        yield f'<path class="grid" d="M{frame.left:.0f} {y:.1f}H{frame.right:.0f}"/>'
        yield f'<text class="y" x="{frame.left - 6:.0f}" y="{y + 4:.1f}">{label}</text>'


def _label(seconds: float) -> str:
    if not seconds:
        return "0"
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1000:g} ms"


def _step(top: float) -> float:
    """Return a round number of seconds between grid lines, so that there are two to five lines."""
    unit = 1e-6
    while True:
        for times in (1, 2, 5):
            if top / (unit * times) < 5:
                return unit * times
        unit *= 10


def _band(frame: _Frame, usuals: Sequence[Usual | None]) -> str:
    """Draw the band and median in each run's slot, unless there were too few earlier runs."""
    known = [each if each is not None and each.runs >= ENOUGH else None for each in usuals]
    slots = [(number, each) for number, each in enumerate(known) if each is not None]
    areas, medians = [], []
    for number, each in slots:
        left, right = f"{frame.x(number):.1f}", f"{frame.x(number + 1):.1f}"
        areas.append(f"M{left} {frame.y(each.high):.1f}H{right}V{frame.y(each.low):.1f}H{left}Z")
        medians.append(f"M{left} {frame.y(each.median):.1f}H{right}")
    return f'<path class="band" d="{"".join(areas)}"/><path class="median" d="{"".join(medians)}"/>'


def _dates(frame: _Frame, points: Sequence[Point]) -> Iterator[str]:
    first, last = points[0].run.started[:10], points[-1].run.started[:10]
    y = HEIGHT - 6
    yield f'<text x="{frame.left:.0f}" y="{y}">{escape(first)}</text>'
    if last != first:
        yield f'<text class="y" x="{frame.right:.0f}" y="{y}">{escape(last)}</text>'


def _gaps(frame: _Frame, points: Sequence[Point]) -> Iterator[str]:
    """Draw each long pause, with its days where they do not lie on a date or on those of another pause."""
    taken, end = frame.left + _DATE, frame.right - _DATE
    for number, days in _pauses(points):
        x = frame.x(number)
        yield f'<path class="gap" d="M{x:.1f} {frame.upper}V{frame.lower}"/>'
        if taken + _PAUSE / 2 <= x <= end - _PAUSE / 2:
            yield f'<text class="middle" x="{x:.1f}" y="{HEIGHT - 6}">{days} days</text>'
            taken = x + _PAUSE / 2


def _pauses(points: Sequence[Point]) -> Iterator[tuple[int, int]]:
    """Return the numbers of the runs after a long pause, and its days."""
    for number, (before, after) in enumerate(pairwise(points), start=1):
        days = (after.run.moment - before.run.moment).days
        if days >= _DAYS:
            yield number, days


# ---- runs -----------------------------------------------------------------------------------------------


def _line(frame: _Frame, points: Sequence[Point]) -> str:
    """Draw a line through the finished runs, interrupted at unfinished ones and at long pauses."""
    after_pause = {number for number, _ in _pauses(points)}
    pieces: list[list[tuple[float, float]]] = [[]]
    for number, each in enumerate(points):
        if each.run.kind is None or number in after_pause:
            pieces.append([])
        if each.run.kind is not None:
            pieces[-1].append((frame.x(number + 0.5), frame.y(each.run.seconds)))
    return "".join(map(_path, pieces))


def _path(places: Iterable[tuple[float, float]]) -> str:
    return "".join(f"{'L' if number else 'M'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(places))


def _mark(frame: _Frame, number: int, point: Point, linked: Collection[str], long: Collection[int]) -> str:
    """Draw a run, with its time if it is one of the `long` ones."""
    run = point.run
    x = frame.x(number + 0.5)
    y = frame.lower - 8 if run.kind is None else frame.y(run.seconds)
    shape = _SHAPES.get(point.judgement, _dot)(x, y)
    text = f"{run.run_id}, {moment(run.started)}: {duration(run.seconds)}"
    title = escape(printable(", ".join(filter(None, (text, verdict(point))))))
    drawn = f"{shape}<title>{title}</title></path>"
    if number in long:
        drawn += f'<text class="middle" x="{x:.1f}" y="{y - 8:.1f}">{duration(run.seconds)}</text>'
    return f'<a href="#{anchor(run.run_id)}">{drawn}</a>' if run.run_id in linked else drawn


def _dot(x: float, y: float) -> str:
    return f'<path class="usual" d="M{x - 3.5:.1f} {y:.1f}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0Z">'


def _slower(x: float, y: float) -> str:
    return f'<path class="slower" d="M{x - 6:.1f} {y + 5:.1f}h12l-6-11Z">'


def _faster(x: float, y: float) -> str:
    return f'<path class="faster" d="M{x - 6:.1f} {y - 5:.1f}h12l-6 11Z">'


def _cross(x: float, y: float) -> str:
    return f'<path class="failed" d="M{x - 5:.1f} {y - 5:.1f}l10 10m0-10l-10 10">'


_SHAPES: dict[str, Callable[[float, float], str]] = {
    "slower than usual": _slower,
    "faster than usual": _faster,
    "not finished": _cross,
}
