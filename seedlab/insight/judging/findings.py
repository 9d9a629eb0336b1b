"""Finds the bottlenecks of a run: the resources that took its time; words them for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from seedlab.flow.evidence import Bottleneck, Recommendation, Resource
from seedlab.insight.formatting.text import (
    duration,
    paragraphs,
    percent,
    printable,
    several,
    shorten,
    table,
    wrapped,
)
from seedlab.insight.judging.resource_seconds import IDLE, OUTSIDE, Activity, Spent, resource_of, spent

if TYPE_CHECKING:
    from seedlab.flow import Run

LEAST_SHARE = 0.01  # of the run's time; a resource that took less is no bottleneck
WORTH_SECONDS = 1.0  # shorter runs need no advice
UNATTRIBUTED = "importing, connecting, and what was not measured"
WORTH_SHARE = 0.4  # the share that a resource must have to be mentioned in the summary


# ---- bottlenecks ----------------------------------------------------------------------------------------


def bottlenecks(run: Run, parts: Sequence[Spent] | None = None) -> tuple[Bottleneck, ...]:
    """Return the resources that took the time, the greatest first, each with where most of it was spent.

    `parts` is the result of `spent` for the run, if it has been computed before.
    """
    by_resource: dict[Resource, list[Spent]] = {}
    for each in spent(run) if parts is None else parts:
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
    return f"{most} ({percent(its_seconds / seconds)} of it) and {several(others, 'other')}"


def _by(parts: Iterable[Spent], name: Callable[[Spent], str]) -> list[tuple[str, float]]:
    """Sum seconds by name, the greatest sum first."""
    found: dict[str, float] = {}
    for each in parts:
        found[name(each)] = found.get(name(each), 0.0) + each.seconds
    return sorted(found.items(), key=lambda each: -each[1])


def _client_evidence(_: Run, parts: Sequence[Spent]) -> str:
    phases = _by(parts, lambda each: each.phase or OUTSIDE)[:3]
    times = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in phases)
    return f"this program computed while no server did: {times}"


def _trip_evidence(run: Run, _: Sequence[Spent]) -> str:
    count = several(run.counters.round_trips, "round trip")
    return f"{count} of at least {duration(run.round_trip_seconds or 0.0)}"


def _server_evidence(run: Run, parts: Sequence[Spent]) -> str:
    """Word what the samples found the server doing with a resource."""
    resource = parts[0].resource
    counts: Activity = Counter()
    # Parts of the same span share one counter, which must be added only once.
    for activity in {id(each.activity): each.activity for each in parts}.values():
        counts.update(
            {what: n for what, n in activity.items() if what != IDLE and resource_of(what) == resource}
        )
    if not counts:
        return "the time of statements, less CPU and round trips; the server was not sampled"
    text = ", ".join(f"{what} in {max(round(times), 1)}" for what, times in counts.most_common(3))
    sampled = sum(1 for sample in run.samples if sample.waits)
    return f"{text} of {several(sampled, 'sample')} of the server"


def holders(run: Run) -> list[str]:
    """Return the holders of locks that the run waited for, longest first."""
    held = Counter(wait.holder for sample in run.samples for wait in sample.waits if wait.holder)
    return [holder for holder, _ in held.most_common()]


def _lock_evidence(run: Run, parts: Sequence[Spent]) -> str:
    held = f"; held by {', '.join(holders(run))}" if holders(run) else ""
    return f"{_server_evidence(run, parts)}{held}"


def _disk_evidence(run: Run, parts: Sequence[Spent]) -> str:
    if run.target.startswith("sqlite"):
        return "SQLite was at work and this program's CPU was not"
    return _server_evidence(run, parts)


def _waiting_evidence(run: Run, _: Sequence[Spent]) -> str:
    trips = several(run.counters.round_trips, "round trip")
    text = f"the server waited for this program (Client/ClientRead) longer than its CPU and {trips} explain"
    load, cores = run.machine.get("load_average"), run.machine.get("cores")
    if isinstance(load, float) and isinstance(cores, int) and load > cores:
        return f"{text}; other programs were at work, the load was {load:.1f} on {several(cores, 'core')}"
    return text


_EVIDENCE: Mapping[Resource, Callable[[Run, Sequence[Spent]], str]] = {
    "client CPU": _client_evidence,
    "round trips": _trip_evidence,
    "server CPU": _server_evidence,
    "locks": _lock_evidence,
    "disk": _disk_evidence,
    "client waiting": _waiting_evidence,
}


# ---- as text --------------------------------------------------------------------------------------------


def findings_text(run: Run, width: int = 120) -> str:
    """Word the bottlenecks with their evidence, and the recommendations with their commands.

    The last line has the time that is attributed to no resource, so that the shares add up to the whole run.
    """
    rows = [
        [percent(each.share), duration(each.seconds), each.resource, printable(each.where)]
        for each in run.bottlenecks
    ]
    evidence = [printable(each.evidence) for each in run.bottlenecks]
    rest = run.seconds - sum(each.seconds for each in run.bottlenecks)
    if rows and rest >= LEAST_SHARE * run.seconds:
        rows.append([percent(rest / run.seconds), duration(rest), "not attributed", UNATTRIBUTED])
        evidence.append("")
    lines = table(rows, ">><<", cells=width - 2, flexible=3)
    found = [
        text
        for line, reason in zip(lines, evidence, strict=True)
        for text in (f"  {line}", *wrapped(reason, width, "      "))
    ]
    helps = [text for each in run.recommendations for text in _help_lines(each, width)]
    blocks = [["where the time went", *found]] if found else []
    blocks += [["what would help", *helps]] if helps else []
    return paragraphs(blocks) if blocks else ""


def _help_lines(each: Recommendation, cells: int) -> list[str]:
    return [
        *wrapped(f"{printable(each.what)}{saves_text(each)}", cells, "  "),
        *wrapped(printable(each.why), cells, "    "),
        f"    $ {printable(each.command)}",
    ]


def saves_text(each: Recommendation) -> str:
    """Word what a recommendation saves, to follow it; "" if that is not known."""
    if each.saves is None:
        return ""
    return (
        f": saves {duration(each.saves)}, as {'measured' if each.basis == 'measured' else 'the model says'}"
    )


def headline(run: Run, width: int = 120) -> list[str]:
    """Word in at most two lines where the time of a long run went, if one resource took most of it."""
    first = run.bottlenecks[0] if run.bottlenecks else None
    if first is None or run.seconds < WORTH_SECONDS or first.share < WORTH_SHARE:
        return []
    lines = [f"Where the time went: {percent(first.share)} {first.resource}, {first.where}; {first.evidence}"]
    for each in run.recommendations[:1]:
        cure, show = f"What would help: {each.what}", f"seedlab show {run.run_id}"
        last = f"{show} says what would help"
        cures = [f"{cure}{saves_text(each)}; {how}" for how in (each.command, f"{show} tells how")]
        cures += [f"{cure}; {show} tells how", last]
        lines.append(next((cure for cure in cures if len(cure) <= width), last))
    return [shorten(printable(line), width) for line in lines]
