"""When a run did what: the spans of a lane laid out in time, as fine as a screen shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from seedlab.flow import Phase, Run, Span
from seedlab.flow.evidence import Sample
from seedlab.insight.faces.text import duration, percent
from seedlab.insight.measuring.monitor import PhaseTotal, phase_totals

CELLS = 1000  # a run is cut into so many: less than a pixel each, and a bound for the size of a picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of time, in seconds, in which a lane did one thing; `what` is the table or seed, or empty."""

    start: float
    end: float
    phase: Phase
    what: str = ""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.start


def length(run: Run) -> float:
    """Seconds from the begin of a run to its end, or to that of its last span or sample."""
    ends = (span.start + span.seconds for span in run.spans)
    return max([run.seconds, *ends, *(sample.at for sample in run.samples)])


def lanes(run: Run) -> Mapping[int, tuple[Piece, ...]]:
    """Lay out the spans of each lane. A span's time is what inner spans leave of it, so these lie on top."""
    whole = length(run)
    if whole <= 0:
        return {}
    numbers = sorted({span.lane for span in run.spans})
    return {n: _pieces((span for span in run.spans if span.lane == n), whole / CELLS) for n in numbers}


def _pieces(spans: Iterable[Span], cell: float) -> tuple[Piece, ...]:
    cells: list[tuple[Phase, str] | None] = [None] * CELLS
    for span, end in reversed(_ends(spans)):
        first, last = (min(round(at / cell), CELLS) for at in (span.start, end))
        cells[first:last] = [(span.phase, span.table or span.seed or "")] * (last - first)
    pieces, at = [], 0
    for key, same in groupby(cells):
        after = at + sum(1 for _ in same)
        if key is not None:
            pieces.append(Piece(start=at * cell, end=after * cell, phase=key[0], what=key[1]))
        at = after
    return tuple(pieces)


def _ends(spans: Iterable[Span]) -> list[tuple[Span, float]]:
    """Give each span its end: after its own time and that of the spans inside it.

    Spans come in the order of their ends, so those inside stand before it and began after it.
    """
    found: list[tuple[Span, float]] = []
    unclaimed: list[tuple[float, float]] = []  # start and whole time of spans that may lie inside a later one
    for span in spans:
        inner = 0.0
        while unclaimed and unclaimed[-1][0] >= span.start:
            inner += unclaimed.pop()[1]
        whole = span.seconds + inner
        unclaimed.append((span.start, whole))
        found.append((span, span.start + whole))
    return found


def by_phase(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Join pieces of one phase that touch; `what` stays where it fills most of the stretch."""
    joined: list[list[Piece]] = []
    for piece in pieces:
        if joined and joined[-1][-1].phase == piece.phase and piece.start <= joined[-1][-1].end * 1.0001:
            joined[-1].append(piece)
        else:
            joined.append([piece])
    return tuple(map(_joined, joined))


def _joined(pieces: list[Piece]) -> Piece:
    longest = max(pieces, key=lambda piece: piece.seconds)
    start, end = pieces[0].start, pieces[-1].end
    what = longest.what if longest.seconds > 0.6 * (end - start) else ""
    return Piece(start=start, end=end, phase=longest.phase, what=what)


def covered(run: Run) -> float:
    """Seconds of a run in which at least one lane was in a phase."""
    edges = sorted((piece.start, piece.end) for pieces in lanes(run).values() for piece in pieces)
    total = reached = 0.0
    for start, end in edges:
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total


def in_groups(samples: Sequence[Sample], most: int) -> list[Sequence[Sample]]:
    """Put samples together, neighbours with neighbours, so that there are at most so many groups."""
    each = -(-len(samples) // most)
    return [samples[n : n + each] for n in range(0, len(samples), each)]


def totals(run: Run) -> tuple[PhaseTotal, ...]:
    """Add up the spans of a run by phase, longest first."""
    return tuple(sorted(phase_totals(run.spans), key=lambda each: -each.seconds))


def time_went(run: Run) -> str:
    """Say where most of the time of a run went."""
    whole, first = run.seconds, totals(run)[0]
    work = sum(total.seconds for total in totals(run))
    outside = whole - covered(run)
    busy = len({span.lane for span in run.spans})
    if whole > 0 and outside > max(first.seconds, 0.2 * whole):
        before = min(span.start for span in run.spans)
        where = "before the first phase" if before > 0.7 * outside else "outside of phases"
        part = f"{percent(outside / whole)} of {duration(whole)} went by {where}"
        return f"{part}; {first.name} takes {duration(first.seconds)}"
    if work > whole * 1.001:
        work_text = f"of {duration(work)} of work, done in {duration(whole)} by {busy} threads"
        return f"{first.name} takes {percent(first.seconds / work)}: {duration(first.seconds)} {work_text}"
    share = first.seconds / whole if whole > 0 else 1.0
    return f"{first.name} takes {percent(share)}: {duration(first.seconds)} of {duration(whole)}"
