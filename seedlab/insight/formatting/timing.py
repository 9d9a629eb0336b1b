"""Lays out the spans of a run in time, at the resolution of a screen, for charts and pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from seedlab.flow import Phase, Run, Span
from seedlab.flow.evidence import Sample
from seedlab.insight.formatting.text import duration, percent
from seedlab.insight.judging.resource_seconds import covered_seconds
from seedlab.insight.measuring.monitor import PhaseTotal, phase_totals
from seedlab.insight.records.trace import with_ends

CELLS = 1000  # the number of cells of a run: each less than a pixel wide, and a limit to a picture's size


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A period, in seconds, in which a lane did one thing; `what` is the table or seed, or ""."""

    start: float
    end: float
    phase: Phase
    what: str = ""

    @property
    def seconds(self) -> float:
        """The length of the period."""
        return self.end - self.start


def length(run: Run) -> float:
    """Return the seconds from the begin of a run to its end, or to that of its last span or sample."""
    ends = (span.start + span.seconds for span in run.spans)
    return max([run.seconds, *ends, *(sample.at for sample in run.samples)])


def lanes(run: Run) -> Mapping[int, tuple[Piece, ...]]:
    """Lay out the spans of each lane; nested spans cover the part of the enclosing span in which they ran."""
    whole = length(run)
    if whole <= 0:
        return {}
    numbers = sorted({span.lane for span in run.spans})
    return {n: _pieces((span for span in run.spans if span.lane == n), whole / CELLS) for n in numbers}


def _pieces(spans: Iterable[Span], cell: float) -> tuple[Piece, ...]:
    cells: list[tuple[Phase, str] | None] = [None] * CELLS
    for span, end in reversed(list(with_ends(spans))):
        first, last = (min(round(at / cell), CELLS) for at in (span.start, end))
        cells[first:last] = [(span.phase, span.table or span.seed or "")] * (last - first)
    pieces, at = [], 0
    for key, same in groupby(cells):
        after = at + sum(1 for _ in same)
        if key is not None:
            pieces.append(Piece(start=at * cell, end=after * cell, phase=key[0], what=key[1]))
        at = after
    return tuple(pieces)


def by_phase(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Join adjacent pieces of the same phase; `what` is kept if it fills most of the joined piece."""
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
    """Return the seconds of a run in which at least one lane was in a phase."""
    return covered_seconds((piece.start, piece.end) for pieces in lanes(run).values() for piece in pieces)


def in_groups(samples: Sequence[Sample], most: int) -> list[Sequence[Sample]]:
    """Divide consecutive samples into at most `most` groups."""
    each = -(-len(samples) // most)
    return [samples[n : n + each] for n in range(0, len(samples), each)]


def totals(run: Run) -> tuple[PhaseTotal, ...]:
    """Sum the spans of a run by phase, longest first."""
    return tuple(sorted(phase_totals(run.spans), key=lambda each: -each.seconds))


def worked(run: Run) -> float:
    """Return the seconds of which phases have a share: those of the run, or of all its threads' work."""
    work = sum(total.seconds for total in totals(run))
    return work if work > run.seconds * 1.001 else run.seconds


def time_went(run: Run) -> str:
    """Word where most of the time of a run went."""
    seconds, first, work = run.seconds, totals(run)[0], worked(run)
    outside = seconds - covered(run)
    busy = len({span.lane for span in run.spans})
    if seconds > 0 and outside > max(first.seconds, 0.2 * seconds):
        before = min(span.start for span in run.spans)
        where = "before the first phase" if before > 0.7 * outside else "outside of phases"
        part = f"{percent(outside / seconds)} of {duration(seconds)} went by {where}"
        return f"{part}; {first.name} takes {duration(first.seconds)}"
    if work > seconds:
        work_text = f"of {duration(work)} of work, done in {duration(seconds)} by {busy} threads"
        return f"{first.name} takes {percent(first.seconds / work)}: {duration(first.seconds)} {work_text}"
    share = first.seconds / seconds if seconds > 0 else 1.0
    return f"{first.name} takes {percent(share)}: {duration(first.seconds)} of {duration(seconds)}"
