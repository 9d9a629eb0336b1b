"""Draws charts of a run over time: what each lane did, what the server waited for, memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, dropwhile
from math import ceil

from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, MaxNLocator

from seedlab.flow import Run
from seedlab.flow.evidence import Sample
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
from seedlab.insight.formatting.palette import (
    CONTEXT,
    INK,
    PALE,
    PHASE_COLOURS,
    PHASE_HATCHES,
    WAIT_COLOURS,
    WAIT_HATCHES,
)
from seedlab.insight.formatting.text import duration, percent, several, size
from seedlab.insight.formatting.timing import (
    Piece,
    by_phase,
    covered,
    in_groups,
    lanes,
    length,
    time_went,
    totals,
)

GROUPS = 240  # the most groups of samples that are drawn; each has several samples if there are more
_LETTER = 0.0085  # the width of a letter in a bar's label, as a share of the chart's
_DARK = frozenset({"merge", "resolve", "commit"})  # phases whose colours need white letters
NOT_SAMPLED = (
    "The server was not sampled: that begins after the first second of a run, or at once in a profile."
)


# ---- waterfall ------------------------------------------------------------------------------------------


@styled
def waterfall(run: Run) -> Chart:
    """Draw the spans of each thread over the time of the run, coloured by phase.

    Spans shorter than a thousandth of the run are included in the sums, but not drawn.
    """
    found = {number: by_phase(pieces) for number, pieces in lanes(run).items() if pieces}
    if not found:
        return empty_chart("No phase was measured", _why_no_spans(run), context_of(run))
    chart = new_chart(time_went(run), context_of(run), height=1.55 + 0.42 * len(found))
    axes = chart.add_subplot()
    whole = length(run)
    for row, pieces in enumerate(found.values()):
        axes.barh(row, whole, height=0.72, color=PALE)
        for piece in pieces:
            _bar(axes, row, piece)
            _bar_label(axes, row, piece, whole)
    rows_axis(axes, [f"thread {number}" for number in found] if len(found) > 1 else [""])
    seconds_axis(axes, whole, "since the run began")
    axes.grid(visible=False)
    spelled = [f"{total.name} {duration(total.seconds)}" for total in totals(run)]
    outside = f"outside of phases {duration(max(run.seconds - covered(run), 0.0))}"
    handles = [phase_patch(total.name, text) for total, text in zip(totals(run), spelled, strict=True)]
    legend_above(axes, [*handles, Patch(facecolor=PALE, label=outside)])
    return finish(chart, f"By phase: {', '.join(spelled)}, {outside}")


def _why_no_spans(run: Run) -> str:
    if run.status == "succeeded" and run.outcomes.total == run.outcomes.unchanged:
        return f"The run found nothing to do and took {duration(run.seconds)}."
    return f"The run took {duration(run.seconds)} and ended ({run.status}) before its first phase."


def _bar(axes: Axes, row: int, piece: Piece) -> None:
    axes.broken_barh(
        [(piece.start, piece.seconds)], (row - 0.36, 0.72),
        facecolor=PHASE_COLOURS[piece.phase], hatch=PHASE_HATCHES[piece.phase], linewidth=0,
    )  # fmt: skip


def _bar_label(axes: Axes, row: int, piece: Piece, whole: float) -> None:
    room = piece.seconds / whole
    full = f"{piece.phase} {name(piece.what, 24)}" if piece.what else piece.phase
    text = next((each for each in (full, piece.phase) if room > max(0.05, len(each) * _LETTER)), None)
    if text is None:
        return
    colour = PHASE_COLOURS[piece.phase]
    axes.text(
        piece.start + piece.seconds / 2, row, text, ha="center", va="center_baseline", fontsize=8.5,
        color="white" if piece.phase in _DARK else INK,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5},
    )  # fmt: skip


# ---- memory ---------------------------------------------------------------------------------------------


@styled
def memory(run: Run) -> Chart:
    """Draw the memory over time: as sampled, else the peak so far at the end of each span."""
    points, how = _memory_points(run)
    if not points:
        return empty_chart("Memory was not measured", _why_no_spans(run), context_of(run))
    most, phase = _peak(run)
    where = f" in {phase}" if phase else ""
    chart = new_chart(f"Memory peaks at {size(most)}{where}", f"{how} · {context_of(run)}", height=3.1)
    axes = chart.add_subplot()
    _phase_bands(axes, run)
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    axes.fill_between(xs, ys, step="post", color=CONTEXT, alpha=0.35, linewidth=0)
    axes.step(xs, ys, where="post", color=INK, linewidth=1.6)
    axes.axhline(most, color=INK, linestyle=":", linewidth=1.2)
    axes.annotate(
        f"peak {size(most)}", (length(run), most), xytext=(-6, 4), textcoords="offset points",
        ha="right", fontweight="bold",
    )  # fmt: skip
    axes.set_ylim(0, most * 1.25 or 1)
    axes.yaxis.set_major_formatter(EngFormatter(unit="B"))
    seconds_axis(axes, length(run), "since the run began")
    return finish(chart, f"{how}, from {size(ys[0])} to {size(ys[-1])}")


def _memory_points(run: Run) -> tuple[list[tuple[float, int]], str]:
    if len(run.samples) > 1:
        groups = in_groups(run.samples, GROUPS)
        points = [(group[0].at, max(each.rss_bytes for each in group)) for group in groups]
        return points, f"memory of the process, {len(run.samples):,} samples"
    ends = sorted((span.start + span.seconds, span.peak_rss_bytes) for span in run.spans)
    highest = accumulate((peak for _, peak in ends), max)
    points = [(at, peak) for (at, _), peak in zip(ends, highest, strict=True)]
    return points, "peak memory of the process until then"


def _peak(run: Run) -> tuple[int, str]:
    """Return the peak of a run and the phase that it was in, "" if it was in none.

    Each span has an exact peak of its own, while samples miss what is short.
    """
    in_phase, phase = max(
        ((span.peak_rss_bytes, span.phase) for span in run.spans), key=lambda each: each[0], default=(0, "")
    )
    outside = max([run.peak_rss_bytes, *(sample.rss_bytes for sample in run.samples)])
    return (in_phase, phase) if in_phase >= outside else (outside, "")


def _main_lane(run: Run) -> Sequence[Piece]:
    return max(
        map(by_phase, lanes(run).values()), key=lambda pieces: sum(p.seconds for p in pieces), default=()
    )


def _phase_bands(axes: Axes, run: Run) -> None:
    """Colour the background by the phases of the busiest lane."""
    pieces = _main_lane(run)
    for piece in pieces:
        axes.axvspan(
            piece.start, piece.end, facecolor=PHASE_COLOURS[piece.phase], hatch=PHASE_HATCHES[piece.phase],
            alpha=0.3, linewidth=0, zorder=0,
        )  # fmt: skip
    phases = dict.fromkeys(piece.phase for piece in pieces)
    handles = [phase_patch(phase, phase) for phase in PHASE_COLOURS if phase in phases]
    for handle in handles:
        handle.set_alpha(0.5)
    if handles:
        legend_above(axes, handles, ncols=7)


# ---- waits ----------------------------------------------------------------------------------------------

_LEGEND_COLUMNS = 2


@styled
def waits(run: Run) -> Chart:
    """Draw how many of the run's server processes computed or waited, by wait type, at each sample."""
    samples = [*dropwhile(lambda sample: not sample.waits, run.samples)]  # from the first of the server on
    if not samples:
        return empty_chart("What the server waited for is not known", NOT_SAMPLED, context_of(run))
    counts = Counter(wait.what for sample in samples for wait in sample.waits)
    of_kinds = Counter(_kind(wait.what) for sample in samples for wait in sample.waits)
    first, count = of_kinds.most_common(1)[0]
    finding = f"{_spelled(first, counts)} {percent(count / counts.total())} of the time"
    sampled = f"{several(len(samples), 'sample')} of the server from {duration(samples[0].at)} on"
    height = 2.7 + 0.2 * ceil(len(of_kinds) / _LEGEND_COLUMNS)
    chart = new_chart(finding, f"{sampled} · {context_of(run)}", height=height)
    axes = chart.add_subplot()
    _stack(axes, samples, length(run), counts)
    axes.set_ylabel("server processes")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    seconds_axis(axes, length(run), "since the run began")
    legend_above(axes, axes.get_legend_handles_labels()[0], ncols=_LEGEND_COLUMNS)
    shares = ", ".join(f"{what} {percent(n / counts.total())}" for what, n in counts.most_common(6))
    return finish(chart, f"Of {counts.total()} samples of processes: {shares}")


def _kinds(counts: Counter[str]) -> list[str]:
    """List the wait types: first those that have a colour, in its order, then the others."""
    found = set(map(_kind, counts))
    return [*(kind for kind in WAIT_COLOURS if kind in found), *sorted(found - WAIT_COLOURS.keys())]


def _kind(what: str) -> str:
    return what.partition("/")[0]


def _spelled(kind: str, counts: Counter[str]) -> str:
    if kind == "CPU":
        return "The server computes"
    return f"The server waits for {'seedlab' if kind == 'Client' else name(kind)}{_events(kind, counts)}"


def _events(kind: str, counts: Counter[str]) -> str:
    """Name the two most frequent wait events of a type, in parentheses."""
    found = sorted((what for what in counts if _kind(what) == kind), key=lambda what: (-counts[what], what))
    names = [name(event) for what in found[:2] if (event := what.partition("/")[2])]
    return f" ({', '.join(names)}{', …' if len(found) > 2 else ''})" if names else ""


def _stack(axes: Axes, samples: Sequence[Sample], whole: float, details: Counter[str]) -> None:
    """Draw how many processes did what, as stacked areas; `details` has how often each event was seen."""
    groups = in_groups(samples, GROUPS)
    times = [group[0].at for group in groups]
    counts = [Counter(_kind(wait.what) for sample in group for wait in sample.waits) for group in groups]
    # A group stands for the time until the next one, and the last one for as long as the one before it.
    last = times[-1] - times[-2] if len(times) > 1 else whole - times[-1]
    xs = [*times, max(min(times[-1] + last, whole), times[-1])]
    floor = [0.0] * len(xs)
    for kind in _kinds(details):
        means = [count[kind] / len(group) for count, group in zip(counts, groups, strict=True)]
        tops = [low + mean for low, mean in zip(floor, [*means, means[-1]], strict=True)]
        axes.fill_between(
            xs, floor, tops, step="post", linewidth=0, label=_legend_of(kind, details),
            facecolor=WAIT_COLOURS.get(kind, PALE), hatch=WAIT_HATCHES.get(kind, "--"),
        )  # fmt: skip
        floor = tops
    axes.set_ylim(0, max(floor) + 0.5)


def _legend_of(kind: str, details: Counter[str]) -> str:
    share = sum(count for what, count in details.items() if _kind(what) == kind) / details.total()
    return f"{name(kind)}{_events(kind, details)} {percent(share)}"
