"""Divide the seconds of a run among resources: pure functions of its record.

What this program did is measured: spans with their CPU time, and counts. What the server did meanwhile is
sampled. A span that asked the server nothing is the client's. Of one that did, the samples in it say how
much of it the server computed or waited for locks and disk; while the server was idle, the time went to this
program's CPU first, then to round trips, and what is left is waiting of the client that nothing explains.
Without samples the server has what CPU and round trips leave. docs/design.md has the reasons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from seedlab.flow.evidence import Resource
from seedlab.insight.records.trace import opened

if TYPE_CHECKING:
    from seedlab.flow import Phase, Run, Span
    from seedlab.flow.evidence import Sample

IDLE = "idle"
OUTSIDE = "outside the phases"
_ASLEEP = ("Client/", "Activity/")
_OF_DISK = ("IO/", "LWLock/WAL")

Extent = tuple["Span", float]  # a span, and when it ended
Looks = Counter[str]  # what the server did, by the number of samples that found it so


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Seconds that one piece of work spent on one resource; `looks` are the samples taken meanwhile."""

    resource: Resource
    seconds: float
    phase: Phase | None = None
    stage: str | None = None
    seed: str | None = None
    table: str | None = None
    looks: Looks = field(default_factory=Counter)

    @property
    def place(self) -> str:
        """Phase and table as text: `merge answers`."""
        return " ".join(filter(None, (self.phase, self.table or self.seed))) or OUTSIDE


# ---- seconds by resource --------------------------------------------------------------------------------


def spent(run: Run) -> tuple[Spent, ...]:
    """Divide the seconds of a run among resources; they never add up to more than the run took.

    Spans of threads that worked at the same time share the time that they cover. Costs 1 ms with 100 spans
    and 1,000 samples.
    """
    extents = list(opened(run.spans))
    covered = min(_covered(extents), run.seconds)
    worked = sum(span.seconds for span in run.spans)
    fair = min(1.0, covered / worked) if worked else 1.0
    looks = _looks(run.samples, extents)
    found = [
        Spent(
            resource=resource,
            seconds=seconds * fair,
            phase=span.phase,
            stage=span.stage,
            seed=span.seed,
            table=span.table,
            looks=looks.get(number, Counter()),
        )
        for number, (span, _) in enumerate(extents)
        for resource, seconds in _divided(run, span, looks.get(number, Counter())).items()
        if seconds > 0
    ]
    return (*found, *_outside(run, run.seconds - covered, looks.get(None, Counter())))


def resource_of(what: str) -> Resource:
    """Say which resource a server process used or waited for; what is no lock and no disk is its own work."""
    if what.startswith("Lock/"):
        return "locks"
    return "disk" if what.startswith(_OF_DISK) else "server CPU"


def _divided(run: Run, span: Span, looks: Looks) -> Mapping[Resource, float]:
    cpu = min(span.cpu_seconds, span.seconds)
    if not span.statements:
        return {"client CPU": span.seconds}
    if run.target.startswith("sqlite"):  # it computes in this thread, and what it does not compute it writes
        return {"client CPU": cpu, "disk": span.seconds - cpu}
    server, idle = _of_server(span.seconds, looks)
    cpu = min(cpu, idle)
    trips = min(span.round_trips * (run.round_trip_seconds or 0.0), idle - cpu)
    rest: Resource = "client waiting" if looks else "server CPU"
    return {**server, "client CPU": cpu, "round trips": trips, rest: idle - cpu - trips}


def _of_server(seconds: float, looks: Looks) -> tuple[dict[Resource, float], float]:
    """Divide seconds as the samples say; gives what the server did with them, and how long it was idle."""
    server: dict[Resource, float] = {}
    for what, times in looks.items():
        if what != IDLE:
            resource = resource_of(what)
            server[resource] = server.get(resource, 0.0) + seconds * times / looks.total()
    return server, seconds - sum(server.values())


def _outside(run: Run, seconds: float, looks: Looks) -> Iterator[Spent]:
    """Attribute the time outside of phases, as far as samples show the server at work, and to round trips."""
    interval = _interval(run.samples)
    left = max(seconds, 0.0)
    for what, times in looks.items():
        if what != IDLE:
            took = min(times * interval, left)
            left -= took
            yield Spent(resource=resource_of(what), seconds=took, looks=Counter({what: times}))
    trips = run.counters.round_trips - sum(span.round_trips for span in run.spans)
    took = min(max(trips, 0) * (run.round_trip_seconds or 0.0), left)
    if took > 0:
        yield Spent(resource="round trips", seconds=took)


def _interval(samples: Sequence[Sample]) -> float:
    """Seconds between two samples, the time that one stands for."""
    return (samples[-1].at - samples[0].at) / (len(samples) - 1) if len(samples) > 1 else 0.0


# ---- spans and samples in time --------------------------------------------------------------------------


def _covered(extents: Iterable[Extent]) -> float:
    """Add up the seconds in which at least one span was open."""
    seconds = until = 0.0
    for start, end in sorted((span.start, end) for span, end in extents):
        seconds += max(end - max(start, until), 0.0)
        until = max(until, end)
    return seconds


def _looks(samples: Sequence[Sample], extents: Sequence[Extent]) -> dict[int | None, Looks]:
    """Lay each sample to the spans that were waiting for the server then, by their numbers; None is outside.

    We do not know whose connection is whose: where several wait, each has its part of what all were at.
    """
    seen: dict[tuple[tuple[int | None, ...], tuple[str, ...]], int] = {}  # many samples are alike
    moments = _moments(extents)
    asking, until = next(moments)
    for sample in samples:
        while sample.at >= until:
            asking, until = next(moments)
        if sample.waits and asking:
            what = (asking, tuple(wait.what for wait in sample.waits))
            seen[what] = seen.get(what, 0) + 1
    found: dict[int | None, Looks] = {}
    for (numbers, waits), times in seen.items():
        look = _look(waits, len(numbers))
        for number in numbers:
            found.setdefault(number, Counter()).update({what: n * times for what, n in look.items()})
    return found


def _moments(extents: Sequence[Extent]) -> Iterator[tuple[tuple[int | None, ...], float]]:
    """Cut the run into moments: which spans wait for the server, and the end of the moment.

    The spans are (None,) where none is open, and () where all open ones compute.
    """
    edges = sorted({edge for span, end in extents for edge in (span.start, end)})
    later = sorted(range(len(extents)), key=lambda n: -extents[n][0].start)
    active: list[int] = []
    yield (None,), edges[0] if edges else inf
    for edge, until in zip(edges, (*edges[1:], inf), strict=True):
        active = [n for n in active if extents[n][1] > edge]
        while later and extents[later[-1]][0].start <= edge:
            active.append(later.pop())
        innermost = {extents[n][0].lane: n for n in active}
        yield (
            tuple(n for n in innermost.values() if extents[n][0].round_trips) if active else (None,),
            until,
        )


def _look(waits: Sequence[str], asking: int) -> dict[str, float]:
    busy = [what for what in waits if not what.startswith(_ASLEEP)]
    shares = max(asking, len(busy))
    look: dict[str, float] = {IDLE: (shares - len(busy)) / shares}
    for what in busy:
        look[what] = look.get(what, 0.0) + 1 / shares
    return look
