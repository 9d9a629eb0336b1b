"""Predicts how long a seed will take from how long earlier ones took.

The times of earlier runs of the same kind, scaled to the present number of rows, are taken to be exchangeable
with that of the next run. So the interval from the shortest to the longest of n times contains the next with
probability (n - 1) / (n + 1), whatever the distribution (Wilks 1941, Determination of sample sizes for
setting tolerance limits).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from seedlab.flow import Level, Outcomes, Run
from seedlab.flow.evidence import Expectation

Kind = Literal["cold", "changed", "compared", "idle"]

ENOUGH = 3  # earlier runs that a prediction needs
NEWEST = 20  # earlier runs that count; older ones were made by another program
# The fixed costs of a seed (opening files, statements, keys), as a number of rows that would take as long;
# measured with the academy.
FIXED = 1_000
# The seconds per row of a seed that has neither been run nor estimated.
GUESS = 20e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What times depend on besides rows; only runs in the same situation predict each other."""

    project: str
    target: str
    environment: str
    level: Level
    disabled: tuple[str, ...]
    machine: tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long a number of rows took; `reading` is the part in which other seeds can be read, too."""

    rows: int
    seconds: float
    reading: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """The timings of earlier runs in one situation, newest last: runs by kind, seeds by id and kind."""

    runs: Mapping[Kind, Sequence[Timing]] = field(default_factory=dict)
    seeds: Mapping[tuple[str, Kind], Sequence[Timing]] = field(default_factory=dict)
    kinds: Sequence[Kind] = ()  # of the runs, in their order

    @property
    def usual(self) -> Expectation | None:
        """The expectation for a run of which nothing is known yet.

        If the last ENOUGH runs were of one kind, the next is assumed to be like the last of them; else None.
        """
        last = set(self.kinds[-ENOUGH:])
        if len(self.kinds) < ENOUGH or len(last) > 1:
            return None
        timings = self.runs[last.pop()]
        return expect(timings[-1].rows, timings)


def situation_of(run: Run) -> Situation:
    """Return what the times of a run depend on besides its rows."""
    machine = run.machine
    disabled = run.settings.get("disabled") or ()
    return Situation(
        project=run.project,
        target=run.target,
        environment=run.environment,
        level=run.level,
        disabled=tuple(disabled) if isinstance(disabled, list | tuple) else (),
        machine=tuple(machine.get(name) for name in ("cpu", "cores", "memory_bytes")),
    )


def kind_of(outcomes: Outcomes, *, ran: bool = True) -> Kind:
    """Classify work by its outcomes: all rows created, some changed, all unchanged, or nothing ran."""
    if not ran:
        return "idle"
    if outcomes.created + outcomes.updated + outcomes.deleted == 0:
        return "compared"
    return "cold" if outcomes.created == outcomes.total else "changed"


def learn(runs: Iterable[Run], situation: Situation) -> Experience:
    """Collect the timings of the runs in one situation; `runs` are in order, newest last."""
    alike = [run for run in runs if run.status == "succeeded" and situation_of(run) == situation]
    whole: dict[Kind, list[Timing]] = {}
    kinds: list[Kind] = []
    seeds: dict[tuple[str, Kind], list[Timing]] = {}
    for run in alike[-5 * NEWEST :]:
        ran = [stage.outcomes for stage in run.stages if stage.status == "run"]
        kind = kind_of(sum(ran, Outcomes()), ran=bool(ran))
        rows = sum(outcomes.total for outcomes in ran)
        kinds.append(kind)
        whole.setdefault(kind, []).append(Timing(rows=rows, seconds=run.seconds))
        for name, (kind, timing) in _seeds(run).items():
            seeds.setdefault((name, kind), []).append(timing)
    return Experience(runs=whole, seeds=seeds, kinds=kinds)


def _seeds(run: Run) -> dict[str, tuple[Kind, Timing]]:
    """Return the timing of each seed that ran.

    It has the seconds of the seed's own spans, and a share by rows of the spans that belong to no seed.
    """
    ran = {
        f"{stage.id}.{seed.name}": (seed, sum((each.outcomes for each in seed.tables), Outcomes()))
        for stage in run.stages
        if stage.status == "run"
        for seed in stage.seeds
    }
    shared = sum(span.seconds for span in run.spans if span.seed is None)
    rows = sum(outcomes.total for _, outcomes in ran.values()) or 1
    return {
        name: (
            kind_of(outcomes),
            Timing(
                rows=outcomes.total,
                seconds=sum(span.seconds for span in seed.spans) + shared * outcomes.total / rows,
                reading=sum(span.seconds for span in seed.spans if span.phase == "read"),
            ),
        )
        for name, (seed, outcomes) in ran.items()
    }


def expect(rows: int, timings: Sequence[Timing], estimated_ms: int | None = None) -> Expectation:
    """Predict how long a number of rows will take: by timings, or by an estimate if those are too few.

    Without an estimate of the project, the few timings that there are make a better one than the rows.
    """
    scaled = [each.seconds * (rows + FIXED) / (each.rows + FIXED) for each in timings[-NEWEST:]]
    if len(scaled) < ENOUGH:
        guess = median(scaled) if scaled else (rows + FIXED) * GUESS
        seconds = estimated_ms / 1000 if estimated_ms is not None else guess
        return Expectation(
            seconds=seconds, low=seconds, high=seconds, confidence=0.0, basis="estimate", runs=len(scaled)
        )
    return Expectation(
        seconds=median(scaled),
        low=min(scaled),
        high=max(scaled),
        confidence=(len(scaled) - 1) / (len(scaled) + 1),
        basis="history",
        runs=len(scaled),
    )


def summed(parts: Sequence[Expectation]) -> Expectation:
    """Sum the expectations of consecutive work; if one is an estimate, so is the sum."""
    known = bool(parts) and all(each.basis == "history" for each in parts)
    return Expectation(
        seconds=sum(each.seconds for each in parts),
        low=sum(each.low for each in parts),
        high=sum(each.high for each in parts),
        confidence=min((each.confidence for each in parts), default=0.0),
        basis="history" if known else "estimate",
        runs=min((each.runs for each in parts), default=0),
    )


def reading(timings: Sequence[Timing]) -> float:
    """Return the usual share of the seconds in which other seeds can be read, too."""
    return median([each.reading / each.seconds for each in timings[-NEWEST:] if each.seconds] or [0.0])
