"""Profiles a project: runs every level, and the default level without each optimisation, repeatedly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from seedlab.database.scratch_databases import ScratchDatabases
from seedlab.errors import ConfigurationError, masked, nearest
from seedlab.experiment.trials import (
    ProgressCallback,
    Reroute,
    delayed,
    make_template,
    open_guarded_databases,
    run_once,
    silent,
)
from seedlab.flow import LEVELS, SWITCHES, Level, Options, Project, Run, Settings, Target
from seedlab.flow.evidence import Attempt, Profile
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records.profiles import AGAIN, WITHOUT
from seedlab.insight.records.runs import new_run_id

DEFAULT: Level = "incremental"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to seed; `again` names a second run, which finds nothing to do, if that is recorded, too."""

    name: str
    settings: Settings
    again: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its runs, in their order."""
        return (self.name, self.again) if self.again else (self.name,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What a profile runs: every level, `pairs` times at each delay; `ablation` adds variants."""

    levels: tuple[str, ...] = tuple(LEVELS)
    pairs: int = 7
    round_trip_ms: tuple[float, ...] = (0.0,)
    ablation: bool = False
    args: tuple[str, ...] = ()


def profile(
    project: Project, target: Target, options: Options, design: Design, on_progress: ProgressCallback = silent
) -> Profile:
    """Run the variants in rounds, each run in a fresh database; every other round in reversed order.

    A first round without delay is not recorded: it pays for what a process does only once. Raises what a seed
    raises. The databases are dropped in any case.
    """
    variants = variants_of(design, options.settings)
    started = datetime.now(UTC)
    with open_guarded_databases(target, options.environment, options.yes_seed) as scratch:
        if any(design.round_trip_ms):
            scratch.server_address()  # refuses a target whose connections cannot be delayed, before any work
        template = make_template(scratch, project, target)
        setup = _Setup(project=project, options=options, scratch=scratch, template=template)
        attempts = tuple(_rounds(setup, variants, design, on_progress))
        notes = scratch.notes
    return Profile(
        profile_id=new_run_id(),
        project=project.name,
        started=started.isoformat(timespec="milliseconds"),
        args=tuple(map(masked, design.args)),
        variants=tuple(name for each in variants for name in each.names),
        attempts=attempts,
        notes=(*_notes_of_runs(attempts), *notes),
    )


def _notes_of_runs(attempts: Sequence[Attempt]) -> Iterator[str]:
    """Yield what runs noted, with the names of their variants: it may change what their figures mean."""
    noted: dict[str, list[str]] = {}
    for attempt in attempts:
        for note in attempt.run.notes:
            noted.setdefault(note, []).append(attempt.variant)
    for note, variants in noted.items():
        yield f"{', '.join(dict.fromkeys(variants))}: {note}"


def variants_of(design: Design, settings: Settings) -> tuple[Variant, ...]:
    """List the variants: the levels in the order given, then the default level less each of its switches.

    What the project itself disables stays disabled. Raises ConfigurationError for an unknown level.
    """
    levels = tuple(dict.fromkeys(design.levels))
    for level in levels:
        if level not in LEVELS:
            raise ConfigurationError(f"--levels: unknown level '{level}'{nearest(level, LEVELS)}")
    if design.pairs < 1 or not levels:
        raise ConfigurationError("a profile needs at least one level and one pair")
    found = [_variant(level, at_level(settings, level), again=level == DEFAULT) for level in levels]
    default = at_level(settings, DEFAULT)
    if design.ablation and DEFAULT not in levels:
        found.append(_variant(DEFAULT, default, again=True))
    for switch in (each for each in SWITCHES if design.ablation and each in default.switches):
        without = replace(default, disabled=default.disabled | {switch})
        # What `incremental` saves shows only in a second run.
        found.append(_variant(f"{DEFAULT}{WITHOUT}{switch}", without, again=switch == "incremental"))
    return tuple(found)


def at_level(settings: Settings, level: str) -> Settings:
    """Return the settings at another level, whose origin is then "experiment"."""
    known: Level = next(each for each in LEVELS if each == level)
    return replace(settings, level=known, origins={**settings.origins, "level": "experiment"})


def _variant(name: str, settings: Settings, *, again: bool) -> Variant:
    return Variant(name=name, settings=settings, again=f"{name}{AGAIN}" if again else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setup:
    """What all runs of a profile have in common."""

    project: Project
    options: Options
    scratch: ScratchDatabases
    template: str

    def runs(self, variant: Variant, reroute: Reroute) -> Iterator[tuple[str, Run]]:
        """Run a variant in a fresh database, a second time if the variant says so; measure in detail."""
        options = replace(self.options, settings=variant.settings)
        with self.scratch.fresh_copy(self.template) as database:
            for name in variant.names:
                # The monitor's own connection does not go through the delaying proxy.
                watch = partial(Monitor, closely=True, beside=database)
                yield name, run_once(self.project, reroute(database), options, watch)


def _rounds(
    setup: _Setup, variants: Sequence[Variant], design: Design, on_progress: ProgressCallback
) -> Iterator[Attempt]:
    on_progress("a first round, which does not count")
    for variant in variants:
        list(setup.runs(variant, lambda target: target))
    for delay in dict.fromkeys(design.round_trip_ms):
        at = f" at {delay:g} ms a round trip" if any(design.round_trip_ms) else ""
        with delayed(setup.scratch, delay) as reroute:
            for pair in range(1, design.pairs + 1):
                on_progress(f"round {pair} of {design.pairs}{at}")
                for variant in variants if pair % 2 else tuple(reversed(variants)):
                    for name, run in setup.runs(variant, reroute):
                        yield Attempt(variant=name, round_trip_ms=delay, pair=pair, run=run)
