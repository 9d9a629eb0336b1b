"""Compares two sides of runs: times by pairs, counts exactly. Pure.

A comparison is only as good as its pairs, which `experiment.comparing` makes: in fresh databases, on one
machine, with interleaved sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, median_low
from typing import Literal, get_args
from urllib.parse import urlsplit

from seedlab.errors import ConfigurationError
from seedlab.flow import Phase, Run
from seedlab.flow.evidence import Change, Comparison, CountChange
from seedlab.insight.formatting.summary import outcomes_text
from seedlab.insight.formatting.text import duration, size
from seedlab.insight.judging.ratios import is_precise_enough, judge
from seedlab.insight.measuring.monitor import phase_totals

GATE_FAILED = 6  # the exit code
Gate = Literal["counts", "time", "any", "none"]
_GATING_SHARE = 0.1  # phases with a smaller share of the time are shown, but fail no gate


# ---- two sides ------------------------------------------------------------------------------------------


def compare(
    before: Sequence[Run], after: Sequence[Run], *, names: tuple[str, str], threshold: float = 0.05
) -> Comparison:
    """Compare runs pair by pair; there must be as many of each side, at least one.

    Differences of time below `threshold` (a share) do not count. A phase's seconds are the sum of all
    threads'.
    """
    seconds = [(one.seconds, other.seconds) for one, other in zip(before, after, strict=True)]
    phases = [(_phases(one), _phases(other)) for one, other in zip(before, after, strict=True)]
    measured = median(sum(one.values()) for one, _ in phases)
    total = _change("total", seconds, threshold, 1.0)
    counts, uneven = _counts(before, after, names)
    return Comparison(
        before=names[0],
        after=names[1],
        threshold=threshold,
        total=total,
        phases=tuple(_phase_changes(phases, measured, threshold)),
        counts=counts,
        pairs=tuple(seconds),
        notes=(*_too_few(len(seconds), total), *uneven),
    )


def _phases(run: Run) -> Mapping[Phase, float]:
    return {total.name: total.seconds for total in phase_totals(run.spans)}


def _phase_changes(
    pairs: Sequence[tuple[Mapping[Phase, float], Mapping[Phase, float]]], measured: float, threshold: float
) -> Iterable[Change]:
    """Compare the phases that either side has, in the order of a run; a missing phase took no time."""
    for name in get_args(Phase):
        if any(name in side for pair in pairs for side in pair):
            seconds = [(one.get(name, 0.0), other.get(name, 0.0)) for one, other in pairs]
            share = median(one for one, _ in seconds) / measured if measured else 0.0
            yield _change(name, seconds, threshold, share)


def _change(name: str, seconds: Sequence[tuple[float, float]], threshold: float, share: float) -> Change:
    found = judge(seconds, threshold)
    return Change(
        name=name,
        before=median(one for one, _ in seconds),
        after=median(other for _, other in seconds),
        ratio=found.ratio,
        low=found.low,
        high=found.high,
        verdict=found.verdict,
        share=share,
    )


def _too_few(pairs: int, total: Change) -> Iterable[str]:
    if not bounded(total):
        found = "one pair of runs" if pairs == 1 else f"{pairs} pairs of runs"
        yield f"{found} cannot tell a difference of time from noise: it takes 6, better 7 to 15"


def bounded(change: Change) -> bool:
    """Tell whether there were enough pairs for a confidence interval."""
    return change.low > 0


def enough(comparison: Comparison) -> bool:
    """Tell whether more pairs would hardly narrow the interval of the total, so that measuring may end."""
    return is_precise_enough(comparison.total, comparison.threshold)


# ---- counts ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Count:
    """A count, and how to read it from a run, whose value is None if it was not counted."""

    name: str
    of: Callable[[Run], int | None]
    tolerance: float = 0.0


def _rows(outcome: str) -> _Count:
    return _Count(name=f"rows {outcome}", of=lambda run: getattr(run.outcomes, outcome))


_COUNTS = (
    _Count(name="statements", of=lambda run: run.counters.statements),
    _Count(name="round trips", of=lambda run: run.counters.round_trips),
    *map(_rows, ("created", "updated", "unchanged", "deleted", "rejected")),
    _Count(name="bytes sent", of=lambda run: run.counters.bytes_sent),
    _Count(name="WAL bytes", of=lambda run: run.wal_bytes, tolerance=0.01),
    _Count(name="peak RSS bytes", of=lambda run: run.peak_rss_bytes, tolerance=0.05),
)


def _counts(
    before: Sequence[Run], after: Sequence[Run], names: tuple[str, str]
) -> tuple[tuple[CountChange, ...], list[str]]:
    """Compare each count's medians; return also notes of counts that vary within a side."""
    changes, notes = [], []
    for count in _COUNTS:
        one, other = (
            [found for run in side if (found := count.of(run)) is not None] for side in (before, after)
        )
        if not one or not other:
            continue
        changes.append(_count_change(count, median_low(one), median_low(other)))
        notes += [
            f"{count.name} vary from run to run on {name}: {min(side):,} to {max(side):,}"
            for name, side in zip(names, (one, other), strict=True)
            if _differ(min(side), max(side), count.tolerance)
        ]
    return tuple(changes), notes


def _count_change(count: _Count, before: int, after: int) -> CountChange:
    verdict: Literal["same", "more", "fewer"] = "more" if after > before else "fewer"
    return CountChange(
        name=count.name,
        before=before,
        after=after,
        tolerance=count.tolerance,
        verdict=verdict if _differ(before, after, count.tolerance) else "same",
    )


def _differ(one: int, other: int, tolerance: float) -> bool:
    return abs(one - other) > tolerance * min(one, other)


# ---- stored runs ----------------------------------------------------------------------------------------

# Those that times depend on, but for the level, which may be what is compared.
_SETTINGS = ("isolation", "batch_rows", "workers", "ids")
_MACHINE = ("cpu", "cores", "os", "python")


def may_compare(before: Run, after: Run, *, anyway: bool = False) -> tuple[str, ...]:
    """Return notes on differences that readers of a comparison of two stored runs should know.

    Differences that make times incomparable (machine, data, settings, target, work) raise a
    ConfigurationError that lists them all; with `anyway` they are among the notes instead.
    """
    differences = [
        f"{name}: {one} and {other}" for name, one, other in _conditions(before, after) if one != other
    ]
    notes = [
        f"{name} differ: {one} and {other}"
        for name, one, other in _circumstances(before, after)
        if one != other
    ]
    if differences and not anyway:
        raise ConfigurationError(
            f"runs {before.run_id} and {after.run_id} cannot be compared, they differ in"
            f" {'; '.join(differences)}; measure both sides here, or add --anyway"
        )
    return (*(f"not the same conditions: {each}" for each in differences), *notes)


def _conditions(before: Run, after: Run) -> Iterable[tuple[str, object, object]]:
    yield "project", before.project, after.project
    yield "status", before.status, after.status
    yield "environment", before.environment, after.environment
    yield "data", _hash(before), _hash(after)
    yield "rows", outcomes_text(before.outcomes), outcomes_text(after.outcomes)
    yield "target", _server(before), _server(after)
    for name in _MACHINE:
        yield name, before.machine.get(name), after.machine.get(name)
    if not _alike(before.machine.get("memory_bytes"), after.machine.get("memory_bytes")):
        yield "memory", _memory(before), _memory(after)
    for name in _SETTINGS:
        yield name, before.settings.get(name), after.settings.get(name)


def _circumstances(before: Run, after: Run) -> Iterable[tuple[str, object, object]]:
    yield "levels", before.level, after.level
    yield "switches", _disabled(before), _disabled(after)
    for name in sorted({*before.versions, *after.versions}):
        yield f"versions of {name}", before.versions.get(name, "none"), after.versions.get(name, "none")


def _hash(run: Run) -> str:
    return run.data_fingerprint[:12] or "unknown"


def _server(run: Run) -> str:
    """Return dialect and host, on which the time of a round trip depends."""
    parts = urlsplit(run.target)
    dialect = parts.scheme.partition("+")[0]
    return f"{dialect} on {parts.hostname}" if parts.hostname else dialect


def _alike(one: object, other: object) -> bool:
    """Tell whether two sizes of memory are the same but for the little that a kernel reserves."""
    return isinstance(one, int) and isinstance(other, int) and not _differ(one, other, 0.05)


def _memory(run: Run) -> str:
    found = run.machine.get("memory_bytes")
    return size(found) if isinstance(found, int) else "unknown"


def _disabled(run: Run) -> str:
    found = run.settings.get("disabled")
    return ", ".join(map(str, found)) if isinstance(found, list) and found else "all on"


# ---- the gate -------------------------------------------------------------------------------------------


def fails(comparison: Comparison, on: Gate) -> tuple[str, ...]:
    """Return the reasons why a comparison fails the gate `on`; empty if it passes.

    A count fails if it is greater, a number of rows if it differs. Time fails if the total, or a phase with
    at least a tenth of it, is slower; an unclear difference does not fail.
    """
    reasons = []
    if on in ("counts", "any"):
        reasons += [
            f"{each.name}: {each.before:,} → {each.after:,}" for each in comparison.counts if worse(each)
        ]
    if on in ("time", "any"):
        reasons += [
            f"{each.name} is slower: {duration(each.before)} → {duration(each.after)}"
            for each in (comparison.total, *comparison.phases)
            if each.verdict == "slower" and each.share >= _GATING_SHARE
        ]
    return tuple(reasons)


def worse(change: CountChange) -> bool:
    """Tell whether a count got worse: a greater cost, or a different number of rows (different work)."""
    return change.verdict == "more" or (change.verdict == "fewer" and change.name.startswith("rows "))
