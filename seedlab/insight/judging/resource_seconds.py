"""Divides the seconds of a run among resources. Pure functions of its record.

What this program did is measured: spans with their CPU time, and counts. What the server did is sampled. A
span without statements is attributed to the client's CPU. In a span with statements, the samples tell for
which share of it the server computed, or waited for locks or disk. The time in which the server was idle is
attributed to this program's CPU first, then to round trips; the rest is "client waiting", which nothing
explains. Without samples, the rest is attributed to the server's CPU. docs/design.md has the reasons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from seedlab.flow.evidence import Resource
from seedlab.insight.records.trace import with_ends

if TYPE_CHECKING:
    from seedlab.flow import Phase, Run, Span
    from seedlab.flow.evidence import Sample

IDLE = "idle"
OUTSIDE = "outside the phases"
_ASLEEP = ("Client/", "Activity/")
_OF_DISK = ("IO/", "LWLock/WAL")

Extent = tuple["Span", float]  # a span and the time of its end
Activity = Counter[str]  # what the server did → the number of samples in which it did


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The seconds of one span on one resource; `activity` is what the server did during the span."""

    resource: Resource
    seconds: float
    phase: Phase | None = None
    stage: str | None = None
    seed: str | None = None
    table: str | None = None
    activity: Activity = field(default_factory=Counter)

    @property
    def place(self) -> str:
        """Phase and table as text: `merge answers`."""
        return " ".join(filter(None, (self.phase, self.table or self.seed))) or OUTSIDE


# ---- seconds by resource --------------------------------------------------------------------------------


def spent(run: Run) -> tuple[Spent, ...]:
    """Divide the seconds of a run among resources; the sum never exceeds the run's seconds.

    Concurrent spans share the time that they cover. Takes 1 ms for 100 spans and 1,000 samples.
    """
    extents = list(with_ends(run.spans))
    covered = min(covered_seconds((span.start, end) for span, end in extents), run.seconds)
    worked = sum(span.seconds for span in run.spans)
    scale = min(1.0, covered / worked) if worked else 1.0
    activity = _activity(run.samples, extents)
    found = [
        Spent(
            resource=resource,
            seconds=seconds * scale,
            phase=span.phase,
            stage=span.stage,
            seed=span.seed,
            table=span.table,
            activity=activity.get(number, Counter()),
        )
        for number, (span, _) in enumerate(extents)
        for resource, seconds in _divided(run, span, activity.get(number, Counter())).items()
        if seconds > 0
    ]
    return (*found, *_outside(run, run.seconds - covered, activity.get(None, Counter())))


def resource_of(what: str) -> Resource:
    """Return the resource of a server's activity: whatever is neither lock nor disk is the server's CPU."""
    if what.startswith("Lock/"):
        return "locks"
    return "disk" if what.startswith(_OF_DISK) else "server CPU"


def _divided(run: Run, span: Span, activity: Activity) -> Mapping[Resource, float]:
    cpu = min(span.cpu_seconds, span.seconds)
    if not span.statements:
        return {"client CPU": span.seconds}
    if run.target.startswith("sqlite"):  # it runs in this thread; time without CPU is time of the disk
        return {"client CPU": cpu, "disk": span.seconds - cpu}
    server, idle = _server_seconds(span.seconds, activity)
    cpu = min(cpu, idle)
    trips = min(span.round_trips * (run.round_trip_seconds or 0.0), idle - cpu)
    rest: Resource = "client waiting" if activity else "server CPU"
    return {**server, "client CPU": cpu, "round trips": trips, rest: idle - cpu - trips}


def _server_seconds(seconds: float, activity: Activity) -> tuple[dict[Resource, float], float]:
    """Divide seconds in proportion to the samples; return the server's by resource, and the idle ones."""
    server: dict[Resource, float] = {}
    for what, times in activity.items():
        if what != IDLE:
            resource = resource_of(what)
            server[resource] = server.get(resource, 0.0) + seconds * times / activity.total()
    return server, seconds - sum(server.values())


def _outside(run: Run, seconds: float, activity: Activity) -> Iterator[Spent]:
    """Attribute time outside of spans to what samples found the server doing, and to round trips."""
    interval = _interval(run.samples)
    remaining = max(seconds, 0.0)
    for what, times in activity.items():
        if what != IDLE:
            used = min(times * interval, remaining)
            remaining -= used
            yield Spent(resource=resource_of(what), seconds=used, activity=Counter({what: times}))
    trips = run.counters.round_trips - sum(span.round_trips for span in run.spans)
    used = min(max(trips, 0) * (run.round_trip_seconds or 0.0), remaining)
    if used > 0:
        yield Spent(resource="round trips", seconds=used)


def _interval(samples: Sequence[Sample]) -> float:
    """Return the seconds between two samples, which is the time that each sample stands for."""
    return (samples[-1].at - samples[0].at) / (len(samples) - 1) if len(samples) > 1 else 0.0


# ---- spans and samples in time --------------------------------------------------------------------------


def covered_seconds(periods: Iterable[tuple[float, float]]) -> float:
    """Return the seconds that at least one of the periods (start, end) covers."""
    seconds = until = 0.0
    for start, end in sorted(periods):
        seconds += max(end - max(start, until), 0.0)
        until = max(until, end)
    return seconds


def _activity(samples: Sequence[Sample], extents: Sequence[Extent]) -> dict[int | None, Activity]:
    """Assign samples to the spans that were waiting for the server, by number; None is outside of spans.

    Which span uses which connection is not known. If several spans wait, each is assigned an equal share of
    what all connections did.
    """
    # Many samples are alike, so these are counted first.
    counts: dict[tuple[tuple[int | None, ...], tuple[str, ...]], int] = {}
    moments = _moments(extents)
    asking, until = next(moments)
    for sample in samples:
        while sample.at >= until:
            asking, until = next(moments)
        if sample.waits and asking:
            key = (asking, tuple(wait.what for wait in sample.waits))
            counts[key] = counts.get(key, 0) + 1
    found: dict[int | None, Activity] = {}
    for (numbers, waits), times in counts.items():
        shares = _shares(waits, len(numbers))
        for number in numbers:
            found.setdefault(number, Counter()).update({key: n * times for key, n in shares.items()})
    return found


def _moments(extents: Sequence[Extent]) -> Iterator[tuple[tuple[int | None, ...], float]]:
    """Divide the run into moments: yield the numbers of the spans that wait for the server, and the end.

    The numbers are (None,) if no span is open, and () if all open spans compute.
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


def _shares(waits: Sequence[str], asking: int) -> dict[str, float]:
    """Return what one of `asking` spans sees of a sample: each activity with its share."""
    busy = [what for what in waits if not what.startswith(_ASLEEP)]
    total = max(asking, len(busy))
    shares: dict[str, float] = {IDLE: (total - len(busy)) / total}
    for what in busy:
        shares[what] = shares.get(what, 0.0) + 1 / total
    return shares
