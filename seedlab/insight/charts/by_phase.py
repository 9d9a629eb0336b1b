"""Draws charts by phase: the operations of a run, and the time of each variant of a profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from seedlab.flow import Phase, Run, Span
from seedlab.flow.evidence import Profile
from seedlab.insight.charts.style import (
    Chart,
    context_of,
    empty_chart,
    finish,
    legend_above,
    name,
    new_chart,
    phase_patch,
    rows_axis,
    seconds_axis,
    styled,
)
from seedlab.insight.formatting.palette import CONTEXT, INK, PALE, PHASE_COLOURS, PHASE_HATCHES, SOFT
from seedlab.insight.formatting.profile_times import delay_text, effect_text, profile_finding
from seedlab.insight.formatting.text import duration, several, size
from seedlab.insight.records.profiles import Effect, delays, effects, runs_of

# ---- operations -----------------------------------------------------------------------------------------

OUTSIDE = "outside"  # the row of what was asked outside of phases, so that the bars add up to the title


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measure:
    """What is counted: of a span, and of a whole run, where None means that it was not measured."""

    name: str
    of_span: Callable[[Span], int | None]
    of_run: Callable[[Run], int | None]
    spelled: Callable[[int], str] = "{:,}".format

    def count(self, run: Run, row: str) -> int | None:
        """Return the count of a phase, or of what is outside of all phases."""
        known = [count for span in run.spans if (count := self.of_span(span)) is not None]
        if run.spans and not known:
            return None
        if row == OUTSIDE:
            return max((self.of_run(run) or 0) - sum(known), 0)
        return sum(self.of_span(span) or 0 for span in run.spans if span.phase == row)

    def text(self, run: Run, row: str) -> str:
        """Word a count."""
        count = self.count(run, row)
        return "not measured" if count is None else self.spelled(count) if count else "0"


_MEASURES = (
    _Measure(
        name="statements", of_span=lambda span: span.statements, of_run=lambda run: run.counters.statements
    ),
    _Measure(
        name="round trips", of_span=lambda span: span.round_trips, of_run=lambda run: run.counters.round_trips
    ),
    _Measure(
        name="sent",
        of_span=lambda span: span.bytes_sent,
        of_run=lambda run: run.counters.bytes_sent,
        spelled=size,
    ),
    _Measure(name="WAL", of_span=lambda span: span.wal_bytes, of_run=lambda run: run.wal_bytes, spelled=size),
)


@styled
def operations(run: Run, after: Run | None = None) -> Chart:
    """Draw statements, round trips, bytes sent and WAL by phase, of one run, or of two beside each other."""
    runs = (run,) if after is None else (run, after)
    phases = [phase for phase in get_args(Phase) if _has_operations(runs, phase)]
    context = context_of(run) if after is None else f"grey: {context_of(run)}\ncolour: {context_of(after)}"
    if not phases:
        return empty_chart("No phase asked the database anything", _asked_outside(runs), context)
    rows = [*phases, *([OUTSIDE] if _has_operations(runs, OUTSIDE) else [])]
    height = 1.5 + (0.3 if after is None else 0.48) * len(rows)
    chart = new_chart(" → ".join(map(_operations_text, runs)), context, height=height)
    panels = chart.subplots(1, len(_MEASURES), sharey=True)
    for axes, measure in zip(panels, _MEASURES, strict=True):
        axes.set_title(measure.name)
        if all(measure.count(each, OUTSIDE) is None for each in runs):
            _unmeasured(axes, runs)
        else:
            _panel(axes, runs, rows, measure)
    rows_axis(panels[0], rows)
    for axes in panels:
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.set_xticks([])
        axes.tick_params(axis="y", length=0)
    return finish(chart, *(_row_text(row, runs) for row in rows))


def _asked_outside(runs: Sequence[Run]) -> str:
    """Word what runs without phases asked: a run with nothing to do only asks whether something changed."""
    asked = [_operations_text(run) for run in runs if run.counters.statements]
    return f"Outside of phases: {' → '.join(asked)}." if asked else "No phase has a statement."


def _has_operations(runs: Sequence[Run], row: str) -> bool:
    return any(measure.count(run, row) for run in runs for measure in _MEASURES)


def _operations_text(run: Run) -> str:
    counters = run.counters
    sent = f" send {size(counters.bytes_sent)}" if counters.bytes_sent else ""
    return (
        f"{several(counters.statements, 'statement')} in {several(counters.round_trips, 'round trip')}{sent}"
    )


def _panel(axes: Axes, runs: Sequence[Run], rows: Sequence[str], measure: _Measure) -> None:
    height = 0.7 / len(runs)
    largest = max(measure.count(run, row) or 0 for run in runs for row in rows) or 1
    colours: dict[str, str] = {**PHASE_COLOURS, OUTSIDE: PALE}  # type: ignore[dict-item]
    hatches: dict[str, str] = {**PHASE_HATCHES, OUTSIDE: ""}  # type: ignore[dict-item]
    for side, run in enumerate(runs):
        grey = len(runs) == 2 and side == 0
        for number, row in enumerate(rows):
            at = number + (side - (len(runs) - 1) / 2) * height
            count = measure.count(run, row) or 0
            axes.barh(
                at, count, height=height * 0.92, linewidth=0,
                color=CONTEXT if grey else colours[row], hatch="" if grey else hatches[row],
            )  # fmt: skip
            axes.text(count + largest * 0.04, at, measure.text(run, row), va="center", fontsize=8.5)
    axes.axvline(0, color=CONTEXT, linewidth=0.8)
    axes.set_xlim(0, largest * 1.6)


def _unmeasured(axes: Axes, runs: Sequence[Run]) -> None:
    in_all = [size(run.wal_bytes) for run in runs if run.wal_bytes is not None]
    text = f"{' → '.join(in_all)} in all;\nby phase only\nin a profile" if in_all else "not measured"
    axes.text(0.02, 0.97, text, transform=axes.transAxes, va="top", fontsize=8.5, color=SOFT)


def _row_text(row: str, runs: Sequence[Run]) -> str:
    sides = [", ".join(f"{each.text(run, row)} {each.name}" for each in _MEASURES[:3]) for run in runs]
    return f"{row}: {' → '.join(sides)}"


# ---- steps ----------------------------------------------------------------------------------------------

_LETTER = 0.0105  # the width of a letter as a share of the axes'
_LETTERS = 64  # the most in a line beside a bar, so that the bars get a third of the width
_DWARFS = 6  # a variant that takes more than this factor of the next one's time has its bar cut …
_BESIDE = 1.3  # … at this factor of the next one's time


@styled
def steps(profile: Profile) -> Chart:
    """Draw the seconds of each variant by phase, all its samples, and what it saved.

    A bar that would leave too little room for the others is cut and marked.
    """
    known = effects(profile)
    shown = [[each for each in known if each.round_trip_ms == delay] for delay in delays(profile)]
    rounds = several(max((attempt.pair for attempt in profile.attempts), default=0), "round")
    measured = f"medians of {rounds}, dots: each run"
    context = f"{name(profile.project, 40)} · {measured} · profile {profile.profile_id}"
    if not known:
        return empty_chart("Nothing was profiled", "The profile holds no run.", context)
    height = 1.4 + sum(0.65 + 0.34 * len(variants) for variants in shown)
    chart = new_chart(profile_finding(profile), context, height=height)
    panels = chart.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axes, variants in zip(panels, shown, strict=True):
        _steps_panel(axes, profile, variants)
        delay = variants[0].round_trip_ms
        axes.set_xlabel(delay_text(delay) if len(shown) > 1 or delay else "")
    _phase_legend(panels[0], known)
    return finish(chart, *map(_variants_text, shown))


def _steps_panel(axes: Axes, profile: Profile, variants: Sequence[Effect]) -> None:
    samples = [
        [run.seconds for run in runs_of(profile, each.variant, each.round_trip_ms)] for each in variants
    ]
    largest, room = _end(samples), 0.0
    for row, (each, runs) in enumerate(zip(variants, samples, strict=True)):
        reached = _stacked(axes, row, each, largest)
        seconds = [run for run in runs if run <= largest]
        axes.plot(
            seconds, [row] * len(seconds), "o", markersize=4, color=INK, markeredgecolor="white", zorder=4
        )
        cut = ", longer than drawn" if each.seconds > largest else ""
        took = duration(each.seconds) + cut
        text = "  ".join(filter(None, (took, effect_text(each))))
        if len(text) > _LETTERS:
            text = ",\n".join(text.rsplit(", ", 1))
        right = max([*seconds, reached]) + largest * 0.02
        axes.text(right, row, text, va="center", fontsize=8.5, linespacing=1)
        room = max(room, right / (1 - max(map(len, text.splitlines())) * _LETTER))
    rows_axis(axes, [name(each.variant, 34) for each in variants])
    seconds_axis(axes, largest)
    axes.set_xlim(0, room or 1)


def _end(samples: Sequence[Sequence[float]]) -> float:
    """Return the seconds at which the time axis ends.

    This is the longest run, unless one variant takes so much longer than all others that their bars would be
    too short. Then it is a little more than the longest run of the others.
    """
    *_, others, longest = (0.0, *sorted(map(max, samples)))
    return others * _BESIDE if others and longest > others * _DWARFS else longest


def _stacked(axes: Axes, row: int, effect: Effect, end: float) -> float:
    """Draw a variant as a stacked bar, cut at `end` seconds: its phases, then the time outside of phases.

    Returns the x at which the bar ends.
    """
    reached = 0.0
    for phase in get_args(Phase):
        seconds = min(effect.phases.get(phase, 0.0), end - reached)
        if seconds > 0:
            axes.barh(
                row, seconds, left=reached, height=0.62, linewidth=0,
                color=PHASE_COLOURS[phase], hatch=PHASE_HATCHES[phase],
            )  # fmt: skip
        reached += seconds
    whole = min(effect.seconds, end)
    axes.barh(row, max(whole - reached, 0.0), left=reached, height=0.62, color=PALE, linewidth=0)
    if effect.seconds > end:
        for shift in (0.96, 0.975):  # two strokes through the bar mark it as cut
            strokes = [end * (shift - 0.005), end * (shift + 0.005)]
            axes.plot(strokes, [row + 0.42, row - 0.42], color="white", linewidth=2.5, zorder=5)
    return max(whole, reached)


def _phase_legend(axes: Axes, known: Sequence[Effect]) -> None:
    phases = [phase for phase in get_args(Phase) if any(phase in each.phases for each in known)]
    handles = [phase_patch(phase, phase) for phase in phases]
    legend_above(axes, [*handles, Patch(facecolor=PALE, label="outside of phases")])


def _variants_text(variants: Sequence[Effect]) -> str:
    medians = ", ".join(f"{each.variant} {duration(each.seconds)}" for each in variants)
    return f"{delay_text(variants[0].round_trip_ms).capitalize()}: {medians}"
