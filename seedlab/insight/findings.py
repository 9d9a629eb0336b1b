"""Where the time of a run went, by resource: pure functions of its record, as text too.

What this program did is measured: spans with their CPU time, and counts. What the server did meanwhile is
sampled. A span that asked the server nothing is the client's. Of one that did, the samples in it say how
much of it the server computed or waited for locks and disk; while the server was idle, the time went to this
program's CPU first, then to round trips, and what is left is waiting of the client that nothing explains.
Without samples the server has what CPU and round trips leave. docs/design.md has the reasons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seedlab.flow.evidence import Bottleneck, Recommendation, Resource
from seedlab.insight.text import duration, printable, several, shorten, table

if TYPE_CHECKING:
    from seedlab.flow import Phase, Run, Span
    from seedlab.flow.evidence import Sample

LEAST_SHARE = 0.01  # of the run; less is no bottleneck, whatever it is
WORTH_SECONDS = 1.0  # a shorter run needs no advice
WORTH_SHARE = 0.4  # of one resource, to be said in the summary
IDLE = "idle"
_OUTSIDE = "outside the phases"
_ASLEEP = ("Client/", "Activity/")
_OF_DISK = ("IO/", "LWLock/WAL")

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
        """Where that was: `merge answers`."""
        return " ".join(filter(None, (self.phase, self.table or self.seed))) or _OUTSIDE


# ---- seconds by resource --------------------------------------------------------------------------------


def spent(run: Run) -> tuple[Spent, ...]:
    """Divide the seconds of a run among resources; they never add up to more than the run took.

    Spans of threads that worked at the same time share the time that they cover. Costs 1 ms with 100 spans
    and 1,000 samples.
    """
    extents = _extents(run.spans)
    covered = _covered(extents)
    worked = sum(span.seconds for span in run.spans)
    fair = min(1.0, covered / worked) if worked else 1.0
    looks = _looks(run.samples, extents)
    found = [
        Spent(
            resource=resource,
            seconds=seconds * fair,
            phase=each.span.phase,
            stage=each.span.stage,
            seed=each.span.seed,
            table=each.span.table,
            looks=looks.get(number, Counter()),
        )
        for number, each in enumerate(extents)
        for resource, seconds in _divided(run, each.span, looks.get(number, Counter())).items()
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
    """Of the time between the phases only what the server is known to have done, and the round trips."""
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
    """Seconds that a sample stands for."""
    return (samples[-1].at - samples[0].at) / (len(samples) - 1) if len(samples) > 1 else 0.0


# ---- spans and samples in time --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Extent:
    """A span with its beginning and end, what was measured inside it included."""

    start: float
    end: float
    span: Span


def _extents(spans: Iterable[Span]) -> list[_Extent]:
    """Find the ends of spans: they come in order of their ends, and their seconds leave out inner ones."""
    ended: dict[int, list[tuple[float, float]]] = {}  # of each lane: start and length, not yet inside another
    found = []
    for span in spans:
        lane, length = ended.setdefault(span.lane, []), span.seconds
        while lane and lane[-1][0] >= span.start:
            length += lane.pop()[1]
        lane.append((span.start, length))
        found.append(_Extent(start=span.start, end=span.start + length, span=span))
    return found


def _covered(extents: Iterable[_Extent]) -> float:
    """Add up the seconds in which at least one span was open."""
    seconds = until = 0.0
    for start, end in sorted((each.start, each.end) for each in extents):
        seconds += max(end - max(start, until), 0.0)
        until = max(until, end)
    return seconds


def _looks(samples: Sequence[Sample], extents: Sequence[_Extent]) -> dict[int | None, Looks]:
    """Lay each sample to the spans that were waiting for the server then, by their numbers; None is outside.

    We do not know whose connection is whose: where several wait, each has its part of what all were at.
    """
    found: dict[int | None, Looks] = {}
    waiting = sorted(range(len(extents)), key=lambda n: (-extents[n].start, n))
    active: list[int] = []
    for sample in samples:
        while waiting and extents[waiting[-1]].start <= sample.at:
            active.append(waiting.pop())
        active = [n for n in active if extents[n].end > sample.at]
        if not sample.waits:
            continue
        innermost = {extents[n].span.lane: n for n in active}
        asking = [n for n in innermost.values() if extents[n].span.round_trips]
        if innermost and not asking:
            continue  # all of them compute; what the server does is no one's concern
        for number in asking or (None,):
            found.setdefault(number, Counter()).update(_look(sample, len(asking) or 1))
    return found


def _look(sample: Sample, asking: int) -> dict[str, float]:
    busy = [wait.what for wait in sample.waits if not wait.what.startswith(_ASLEEP)]
    shares = max(asking, len(busy))
    look: dict[str, float] = {IDLE: (shares - len(busy)) / shares}
    for what in busy:
        look[what] = look.get(what, 0.0) + 1 / shares
    return look


# ---- bottlenecks ----------------------------------------------------------------------------------------


def bottlenecks(run: Run) -> tuple[Bottleneck, ...]:
    """Give the resources that the time went to, the greatest first; each once, with where most of it was."""
    by_resource: dict[Resource, list[Spent]] = {}
    for each in spent(run):
        by_resource.setdefault(each.resource, []).append(each)
    found = [_bottleneck(run, resource, parts) for resource, parts in by_resource.items()]
    return tuple(
        sorted((each for each in found if each.share >= LEAST_SHARE), key=lambda each: -each.seconds)
    )


def _bottleneck(run: Run, resource: Resource, parts: Sequence[Spent]) -> Bottleneck:
    seconds = sum(each.seconds for each in parts)
    return Bottleneck(
        resource=resource,
        seconds=seconds,
        share=min(seconds / run.seconds, 1.0) if run.seconds else 0.0,
        where=_where(parts, seconds),
        evidence=_EVIDENCE[resource](run, parts),
    )


def _where(parts: Sequence[Spent], seconds: float) -> str:
    places = _by(parts, lambda each: each.place)
    most, its_seconds = places[0]
    others = len(places) - 1
    if not others or its_seconds >= 0.9 * seconds:
        return most
    return f"{most} ({its_seconds / seconds:.0%}) and {several(others, 'other')}"


def _by(parts: Iterable[Spent], name: Callable[[Spent], str]) -> list[tuple[str, float]]:
    """Add up seconds by name, the most first."""
    found: dict[str, float] = {}
    for each in parts:
        found[name(each)] = found.get(name(each), 0.0) + each.seconds
    return sorted(found.items(), key=lambda each: -each[1])


def _of_client(_: Run, parts: Sequence[Spent]) -> str:
    phases = _by(parts, lambda each: each.phase or _OUTSIDE)[:3]
    told = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in phases)
    return f"this program computed while no server did: {told}"


def _of_trips(run: Run, _: Sequence[Spent]) -> str:
    count = several(run.counters.round_trips, "round trip")
    return f"{count} of at least {duration(run.round_trip_seconds or 0.0)}"


def _of_looks(run: Run, parts: Sequence[Spent]) -> str:
    """Say what the samples saw, and by whom locks were held."""
    resource = parts[0].resource
    seen: Looks = Counter()
    for looks in {id(each.looks): each.looks for each in parts}.values():
        seen.update({what: n for what, n in looks.items() if what != IDLE and resource_of(what) == resource})
    if not seen:
        return "what the server was asked, less CPU and round trips; nobody looked what it did"
    told = ", ".join(f"{what} in {max(round(times), 1)}" for what, times in seen.most_common(3))
    looked = sum(1 for sample in run.samples if sample.waits)
    return f"the server: {told} of {several(looked, 'look')}"


def _of_disk(run: Run, parts: Sequence[Spent]) -> str:
    if run.target.startswith("sqlite"):
        return "SQLite was at work and this program's CPU was not"
    return _of_looks(run, parts)


def _of_waiting(run: Run, _: Sequence[Spent]) -> str:
    return (
        "the server waited for this program (Client/ClientRead) longer than its CPU time and "
        f"{several(run.counters.round_trips, 'round trip')} explain"
    )


_EVIDENCE: Mapping[Resource, Callable[[Run, Sequence[Spent]], str]] = {
    "client CPU": _of_client,
    "round trips": _of_trips,
    "server CPU": _of_looks,
    "locks": _of_looks,
    "disk": _of_disk,
    "client waiting": _of_waiting,
}


# ---- as text --------------------------------------------------------------------------------------------


def findings_text(run: Run, width: int = 120) -> str:
    """Show where the time went, and what would help: each with its reason, and the command that tries it."""
    rows = [
        [
            f"{each.share:.0%}",
            duration(each.seconds),
            each.resource,
            printable(each.where),
            printable(each.evidence),
        ]
        for each in run.bottlenecks
    ]
    lines = table(rows, ">><<<", cells=width - 2, flexible=4)
    blocks = [["where the time went", *(f"  {line}" for line in lines)]] if lines else []
    helps = [line for each in run.recommendations for line in _help_lines(each)]
    blocks += [["what would help", *helps]] if helps else []
    return "\n\n".join("\n".join(block) for block in blocks) + "\n" if blocks else ""


def _help_lines(each: Recommendation) -> list[str]:
    return [
        f"  {printable(each.what)}{_saves(each)}",
        f"    {printable(each.why)}",
        f"    $ {printable(each.command)}",
    ]


def _saves(each: Recommendation) -> str:
    if each.saves is None:
        return ""
    return (
        f": saves {duration(each.saves)}, as {'measured' if each.basis == 'measured' else 'the model says'}"
    )


def headline(run: Run, width: int = 120) -> list[str]:
    """Say in at most two lines where the time of a long run went, where one resource had most of it."""
    first = run.bottlenecks[0] if run.bottlenecks else None
    if first is None or run.seconds < WORTH_SECONDS or first.share < WORTH_SHARE:
        return []
    told = f"Where the time went: {first.share:.0%} {first.resource}, {first.where}; {first.evidence}"
    cures = [
        f"What would help: {each.what}{_saves(each)}; {each.command}" for each in run.recommendations[:1]
    ]
    return [shorten(printable(told), width), *map(printable, cures)]
