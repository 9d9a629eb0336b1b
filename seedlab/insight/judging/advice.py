"""Recommends what would make a run faster: one rule for each cause that a record can prove.

Each recommendation names a command that tries it, and what it would save. That is measured if other runs or
a profile of the same project are available, else estimated by a model whose numbers docs/design.md explains.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from seedlab.flow.catalog import quote
from seedlab.flow.evidence import Recommendation, Resource, UnindexedReference
from seedlab.insight.formatting.text import duration, several, significant
from seedlab.insight.judging.findings import WORTH_SECONDS, bottlenecks, holders
from seedlab.insight.judging.resource_seconds import Spent, spent

if TYPE_CHECKING:
    from seedlab.flow import Phase, Run
    from seedlab.flow.evidence import Profile

LEAST_SHARE = 0.2  # of the run's time; a cause that takes less yields no recommendation
FULL = ("copy", "incremental")
# A run at the full level takes this many seconds in any case, per row, and this many round trips
# (docs/performance.md).
FULL_SECONDS, FULL_ROW_SECONDS, FULL_TRIPS = 0.2, 10e-6, 20
JSON_SAVES = 0.9  # of the time to read YAML: 20,000 records take 350 ms of CPU as YAML, 18 ms as JSON
NEAR_SECONDS = 0.1e-3  # a round trip by TCP to a server on the same host
_BUSY: Mapping[str, object] = {"load_average": None}  # the machine facts that differ from run to run
_YAML = re.compile(r"\.ya?ml$", re.IGNORECASE)
_WRITING: frozenset[Phase] = frozenset({"resolve", "stage", "merge", "index"})


def with_recommendations(run: Run) -> Run:
    """Return the run with its `bottlenecks` and `recommendations` filled in."""
    parts = spent(run)
    case = _Case(run=run, spent=parts)
    return replace(run, bottlenecks=bottlenecks(run, parts), recommendations=_recommended(case))


def recommendations(
    run: Run, earlier: Sequence[Run] = (), profiles: Sequence[Profile] = ()
) -> tuple[Recommendation, ...]:
    """Return recommendations for a run of more than a second, the greatest saving first.

    Savings are measured by `earlier` runs and `profiles` of the same project; those of other projects are
    ignored.
    """
    return _recommended(_Case(run=run, spent=spent(run), earlier=earlier, profiles=profiles))


def _recommended(case: _Case) -> tuple[Recommendation, ...]:
    if case.run.seconds < WORTH_SECONDS:
        return ()
    found = [each for rule in _RULES for each in rule(case)]
    return tuple(sorted(found, key=lambda each: -(each.saves or 0.0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A run, its time by resource, and other measurements of its project."""

    run: Run
    spent: Sequence[Spent]
    earlier: Sequence[Run] = ()
    profiles: Sequence[Profile] = ()

    def seconds(
        self, resource: Resource | None = None, where: Callable[[Spent], bool] = lambda _: True
    ) -> float:
        return sum(each.seconds for each in self.spent if resource in (None, each.resource) and where(each))

    def matters(self, seconds: float) -> bool:
        return seconds >= LEAST_SHARE * self.run.seconds

    @property
    def writing(self) -> float:
        """The seconds of the writing phases, without waits for other sessions' locks and for the disk."""
        return self.seconds(
            where=lambda each: each.phase in _WRITING and each.resource not in ("locks", "disk")
        )

    @property
    def trip(self) -> float:
        return self.run.round_trip_seconds or 0.0

    @property
    def disabled(self) -> tuple[str, ...]:
        switches: Iterable[str] = self.run.settings.get("disabled", ())  # type: ignore[assignment]
        # Without `incremental`, since it saves nothing in a first run.
        return tuple(each for each in switches if each != "incremental")


# ---- the rules ------------------------------------------------------------------------------------------


def _level(case: _Case) -> Iterable[Recommendation]:
    """Recommend the full level to a run whose level writes without COPY."""
    run = case.run
    if run.level in FULL or not case.matters(case.writing):
        return
    rows = run.outcomes.total
    full = FULL_SECONDS + rows * FULL_ROW_SECONDS + FULL_TRIPS * case.trip
    sent = f"{several(run.counters.statements, 'statement')} for {several(rows, 'row')}"
    yield from _worth(
        case,
        what="write whole tables by COPY, as the level incremental does",
        why=f"level {run.level} sent {sent} in {several(run.counters.round_trips, 'round trip')}",
        model=case.writing - full,
        measured=_at_full_level(case),
        command=command_line(run, {"--level": "incremental", "--disable": None}),
    )


def _switch(case: _Case) -> Iterable[Recommendation]:
    """Recommend to switch on an optimisation that was switched off."""
    run = case.run
    if run.level not in FULL or not case.disabled or not case.matters(case.writing):
        return
    names = ", ".join(case.disabled)
    yield from _worth(
        case,
        what=f"do not switch {names} off",
        why=f"{duration(case.writing)} went into writing without {names}",
        model=None,
        measured=_at_full_level(case),
        command=command_line(run, {"--disable": None}),
    )


def _far(case: _Case) -> Iterable[Recommendation]:
    """Recommend to run nearer to a distant database, once no more round trips can be saved."""
    seconds = case.seconds("round trips")
    if case.run.level not in FULL or case.trip <= 2 * NEAR_SECONDS or not case.matters(seconds):
        return
    milliseconds = significant(case.trip * 1000).replace(",", "")
    yield from _worth(
        case,
        what="run seedlab nearer to the database: on its host, or in its network",
        why=f"each of {several(case.run.counters.round_trips, 'round trip')} took {milliseconds} ms or more",
        model=seconds * (1 - NEAR_SECONDS / case.trip),
        command=f"seedlab profile --levels incremental --round-trip-ms 0,{milliseconds}",
    )


def _commits(case: _Case) -> Iterable[Recommendation]:
    """Recommend a single commit instead of one per stage, since each waits for the disk."""
    commits = sum(1 for span in case.run.spans if span.phase == "commit")
    seconds = sum(
        case.seconds(each, lambda part: part.phase in ("commit", None)) for each in ("disk", "round trips")
    )
    if commits < 2 or not case.matters(seconds):
        return
    yield from _worth(
        case,
        what="commit once, at the end",
        why=f"{several(commits, 'commit')} took {duration(seconds)}, waiting for disk and round trips",
        model=seconds * (1 - 1 / commits),
        command=command_line(case.run, {"--commit": "run"}),
    )


def _slow_disk(case: _Case) -> Iterable[Recommendation]:
    """Recommend a faster disk if the server waited for its own."""
    seconds = case.seconds("disk")
    if case.run.target.startswith("sqlite") or not case.matters(seconds):
        return
    yield Recommendation(
        what="put the database, or at least its WAL, on a faster disk",
        why=f"the server waited {duration(seconds)} for its disk; pg_test_fsync says how slow its writes are",
        saves=None,
        basis="model",
        command="pg_test_fsync -s 2",
    )


def _locked(case: _Case) -> Iterable[Recommendation]:
    """Recommend to end the session that held a lock for which the run waited."""
    seconds = case.seconds("locks")
    if not case.matters(seconds):
        return
    question = (
        "SELECT w.pid AS waits, b.pid AS holds, b.application_name, b.state, b.xact_start, b.query FROM "
        "pg_stat_activity w JOIN pg_stat_activity b ON b.pid = ANY (pg_blocking_pids(w.pid))"
    )
    holder = holders(case.run)[:1] or ["the session that holds the lock"]
    yield from _worth(
        case,
        what=f"commit or end {holder[0]}, or seed when it is done",
        why=f"the run waited {duration(seconds)} for locks; the command shows which sessions hold some now",
        model=seconds,
        command=shlex.join(["psql", case.run.target, "-c", question]),
    )


def _unindexed(case: _Case) -> Iterable[Recommendation]:
    """Recommend to index a foreign key: without, each deleted parent row scans the whole child table."""
    # Deletions are measured by a span without a seed, since one covers all tables.
    seconds = case.seconds("server CPU", lambda each: each.phase == "merge" and each.table is None)
    if not case.run.unindexed or not case.matters(seconds):
        return
    first = max(case.run.unindexed, key=lambda each: each.deleted)
    indexes = "; ".join(
        f"CREATE INDEX ON {_qualified(each)} ({', '.join(map(quote, each.columns))})"
        for each in case.run.unindexed
    )
    yield from _worth(
        case,
        what=f"index the foreign key of {first.table} ({', '.join(first.columns)})",
        why=f"for each of {several(first.deleted, 'row')} deleted from {first.parent} the server read all of "
        f"{first.table}: its foreign key has no index",
        model=seconds,
        command=shlex.join(["psql", case.run.target, "-c", indexes]),
    )


def _yaml(case: _Case) -> Iterable[Recommendation]:
    """Recommend JSON instead of YAML, which takes twenty times as long to read."""
    for stage in case.run.stages:
        for seed in stage.seeds:
            files = [name for name in seed.files if _YAML.search(name)]
            if not files:
                continue
            seconds = case.seconds("client CPU", partial(_reads, stage.id, seed.name))
            if not case.matters(seconds):
                continue
            others = f" and {several(len(files) - 1, 'other')}" if len(files) > 1 else ""
            yield from _worth(
                case,
                what=f"keep {files[0]}{others} as JSON",
                why=f"{duration(seconds)} went into reading YAML, and JSON takes a twentieth; "
                "afterwards seedlab plan tells whether any row reads differently",
                model=seconds * JSON_SAVES,
                command=_to_json(files[0]),
            )


def _reads(stage: str, seed: str, part: Spent) -> bool:
    return (part.phase, part.stage, part.seed) == ("read", stage, seed)


_RULES: tuple[Callable[[_Case], Iterable[Recommendation]], ...] = (
    _level, _switch, _far, _commits, _slow_disk, _locked, _unindexed, _yaml,
)  # fmt: skip


# ---- savings --------------------------------------------------------------------------------------------


def _worth(
    case: _Case, *, what: str, why: str, command: str, model: float | None, measured: float | None = None
) -> Iterable[Recommendation]:
    """Yield the recommendation unless it saves too little, as measured, or else as the model estimates."""
    saves = model if measured is None else measured
    if saves is None or saves >= LEAST_SHARE / 2 * case.run.seconds:
        yield Recommendation(
            what=what,
            why=why,
            saves=saves,
            basis="model" if measured is None else "measured",
            command=command,
        )


def _at_full_level(case: _Case) -> float | None:
    """Return the seconds that the full level would save, as measured by profiles, else by earlier runs.

    None if there are neither.
    """
    ratios = [each for profile in case.profiles if (each := _profiled(case, profile)) is not None]
    if not ratios:
        ratios = [each.seconds / case.run.seconds for each in case.earlier if _same_but_full(case.run, each)]
    return case.run.seconds * (1 - _median(ratios)) if ratios else None


def _profiled(case: _Case, profile: Profile) -> float | None:
    """Return the ratio of the seconds at the full level to those at the run's own, measured by a profile.

    Uses the profile's delay that is nearest to the run's round-trip time. None if the profile lacks a level.
    """
    if profile.project != case.run.project or len(case.disabled) > 1:
        return None
    own = f"{FULL[-1]} without {case.disabled[0]}" if case.disabled else case.run.level
    distances = {each.round_trip_ms for each in profile.attempts}
    nearest = min(distances, key=lambda each: abs(each - case.trip * 1000), default=0.0)
    here = [each for each in profile.attempts if each.round_trip_ms == nearest]
    at_own = [each.run.seconds for each in here if each.variant == own]
    full = [each.run.seconds for each in here if each.variant == FULL[-1]]
    return _median(full) / _median(at_own) if at_own and full else None


def _same_but_full(run: Run, other: Run) -> bool:
    """Tell whether the other run did the same work on the same target, with all optimisations."""
    same = ("project", "target", "data_fingerprint", "outcomes")
    return (
        other.status == "succeeded"
        and other.level in FULL
        and not other.settings.get("disabled")
        and all(getattr(run, name) == getattr(other, name) for name in same)
        and {**run.machine, **_BUSY} == {**other.machine, **_BUSY}
    )


def _median(numbers: Sequence[float]) -> float:
    """Return the median; the module statistics would take 10 ms to import."""
    ordered, half = sorted(numbers), len(numbers) // 2
    return (ordered[half] + ordered[~half]) / 2


# ---- commands -------------------------------------------------------------------------------------------


def command_line(run: Run, flags: Mapping[str, str | None]) -> str:
    """Return a run's command line with other flags; None removes a flag."""
    words, kept = list(run.args or ("seedlab", "seed")), []
    while words:
        word = words.pop(0)
        if word in flags:
            del words[:1]
        elif word.partition("=")[0] not in flags:
            kept.append(word)
    added = [part for name, value in flags.items() if value is not None for part in (name, value)]
    return shlex.join([*kept, *added])


def _to_json(file: str) -> str:
    """Return a command that converts YAML to JSON and keeps the spelling of scalars (`007`, `NO`, `1.10`)."""
    program = (
        "import json, sys, yaml; L = yaml.CSafeLoader; "
        "L.yaml_implicit_resolvers = {first: [each for each in all if each[0][-5:] in (':null', 'merge')] "
        "for first, all in L.yaml_implicit_resolvers.items()}; json.dump(yaml.load(sys.stdin, L), sys.stdout)"
    )
    converted = str(PurePosixPath(file).with_suffix(".json"))
    return f"python -c {shlex.quote(program)} < {shlex.quote(file)} > {shlex.quote(converted)}"


def _qualified(reference: UnindexedReference) -> str:
    return ".".join(quote(name) for name in (reference.schema, reference.relation) if name)
