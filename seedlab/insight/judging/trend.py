"""Groups comparable runs into series, and judges each run by those before it. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from seedlab.insight.records.past import PastRun

ENOUGH = 5  # earlier runs before any is judged unusual
WINDOW = 20  # earlier runs that count; after a lasting change the band follows once half of them are new
SPREADS = 2.0  # the band's width in interquartile ratios; docs/design.md has the false alarms of others
NARROWEST = 0.05  # the least width on each side, as a share of the median

Judgement = Literal["as usual", "slower than usual", "faster than usual", "too few runs", "not finished"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What comparable runs have in common; `kind` is `failed` if none has succeeded yet."""

    project: str
    dialect: str
    level: str
    disabled: tuple[str, ...]
    environment: str
    machine: str
    selection: str
    kind: str

    @property
    def name(self) -> str:
        """Project, level and kind: `academy/incremental/cold`."""
        return f"{self.project}/{self.level}/{self.kind}"

    @property
    def circumstances(self) -> str:
        """What the series depends on besides the machine: dialect, environment, switches, selection."""
        without = [f"without {each}" for each in self.disabled]
        return ", ".join(filter(None, (self.dialect, self.environment, *without, self.selection)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """The usual seconds of earlier runs: the median, and the band of noise around it."""

    median: float
    low: float
    high: float
    runs: int

    def judge(self, seconds: float) -> Judgement:
        """Judge a run's seconds against the band."""
        if self.runs < ENOUGH:
            return "too few runs"
        if seconds > self.high:
            return "slower than usual"
        return "faster than usual" if seconds < self.low else "as usual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A run of a series, what was usual before it, and the judgement."""

    run: PastRun
    series: Series
    usual: Usual | None
    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A series with its runs in the order of time."""

    series: Series
    points: tuple[Point, ...]

    @property
    def last(self) -> Point:
        """The newest run."""
        return self.points[-1]


def usual(seconds: Sequence[float]) -> Usual | None:
    """Return the median of the last `WINDOW` times and the band around it; None if there are none.

    The band extends on each side by the ratio of the quartiles to the power of `SPREADS`, since noise is
    multiplicative. Times below a microsecond count as one.
    """
    last = [max(each, 1e-6) for each in seconds[-WINDOW:]]
    if len(last) < 2:
        return Usual(median=last[0], low=last[0], high=last[0], runs=1) if last else None
    first, median, third = statistics.quantiles(last, method="inclusive")
    ratio = max((third / first) ** SPREADS, 1 + NARROWEST)
    return Usual(median=median, low=median / ratio, high=median * ratio, runs=len(last))


def trends(runs: Iterable[PastRun]) -> tuple[Trend, ...]:
    """Group runs, which are in the order of time, into series, and judge each by those before it.

    The series with the newest run is last.
    """
    by_series: dict[Series, list[PastRun]] = {}
    for run, series in _with_series(tuple(runs)):
        by_series[series] = [*by_series.pop(series, []), run]
    return tuple(Trend(series=series, points=_judged(series, own)) for series, own in by_series.items())


def ceiling(seconds: Sequence[float], clip: float) -> float:
    """Return the upper end of a chart's axis: the greatest time, but at most `clip` times the median.

    Otherwise a single run that hung would flatten all others. Never 0.
    """
    return min(max(seconds), statistics.median(seconds) * clip) or 1.0 if seconds else 1.0


def labelled(numbers: Iterable[int], runs: int) -> frozenset[int]:
    """Choose which of a chart's `runs` get a label: each is a seventh of the chart from the one before."""
    chosen: list[int] = []
    for number in numbers:
        if not chosen or number - chosen[-1] >= runs / 7:
            chosen.append(number)
    return frozenset(chosen)


def in_order(trends: Iterable[Trend]) -> tuple[Point, ...]:
    """Return the runs of all series in the order of time."""
    points = (point for trend in trends for point in trend.points)
    return tuple(sorted(points, key=lambda point: (point.run.started, point.run.run_id)))


def _judged(series: Series, runs: Sequence[PastRun]) -> tuple[Point, ...]:
    points, earlier = [], list[float]()
    for run in runs:
        before = usual(earlier)
        judgement: Judgement = "too few runs"
        if run.kind is None:
            judgement = "not finished"
        elif before is not None:
            judgement = before.judge(run.seconds)
        points.append(Point(run=run, series=series, usual=before, judgement=judgement))
        if run.kind is not None:
            earlier.append(run.seconds)
    return tuple(points)


def _with_series(runs: Sequence[PastRun]) -> Iterable[tuple[PastRun, Series]]:
    """Pair each run with its series.

    The kind of a failed run is not known. It is put into the series of the previous run in the same
    circumstances, or of the next one if there is no previous.
    """
    kinds: dict[Series, str] = {}
    for run in reversed(runs):
        if run.kind is not None:
            kinds[_circumstances(run)] = run.kind
    for run in runs:
        circumstances = _circumstances(run)
        kind = kinds[circumstances] = run.kind or kinds.get(circumstances, "failed")
        yield run, replace(circumstances, kind=kind)


def _circumstances(run: PastRun) -> Series:
    """Return the series of a run without its kind."""
    return Series(
        project=run.project,
        dialect=run.dialect,
        level=run.level,
        disabled=run.disabled,
        environment=run.environment,
        machine=run.machine,
        selection=run.selection,
        kind="",
    )
