"""Profile a project: run every level, and the default one without each switch, and keep all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from seedlab.database.arena import Arena
from seedlab.errors import ConfigurationError, masked, nearest
from seedlab.experiment.trials import Lead, Tell, arena_of, at_distance, ground_of, run_once, silent
from seedlab.flow import LEVELS, SWITCHES, Level, Options, Project, Run, Settings, Target
from seedlab.flow.evidence import Attempt, Profile
from seedlab.insight.measuring.monitor import Monitor
from seedlab.insight.records.profiles import AGAIN, WITHOUT
from seedlab.insight.records.runs import new_run_id

DEFAULT: Level = "incremental"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to seed; `again` names its second run, with nothing to do, if there is one to be recorded."""

    name: str
    settings: Settings
    again: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its runs, in the order in which they are made."""
        return (self.name, self.again) if self.again else (self.name,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What a profile is to do: `pairs` rounds for each delay."""

    levels: tuple[str, ...] = tuple(LEVELS)
    pairs: int = 7
    round_trip_ms: tuple[float, ...] = (0.0,)
    ablation: bool = False
    args: tuple[str, ...] = ()


def profile(
    project: Project, target: Target, options: Options, design: Design, tell: Tell = silent
) -> Profile:
    """Run the variants in turn, each in a fresh database, in reversed order every other round.

    A first round, without delay, does not count: it pays for what is done once in a process. Raises what a
    seed raises; nothing is left in the server then, either.
    """
    variants = variants_of(design, options.settings)
    started = datetime.now(UTC)
    with arena_of(target, options.environment, options.yes_seed) as arena:
        if any(design.round_trip_ms):
            arena.door()  # a target that has none is refused before any work
        ground = ground_of(arena, project, target)
        bench = _Bench(project=project, options=options, arena=arena, ground=ground)
        attempts = tuple(_rounds(bench, variants, design, tell))
        notes = arena.notes
    return Profile(
        profile_id=new_run_id(),
        project=project.name,
        started=started.isoformat(timespec="milliseconds"),
        args=tuple(map(masked, design.args)),
        variants=tuple(name for each in variants for name in each.names),
        attempts=attempts,
        notes=notes,
    )


def variants_of(design: Design, settings: Settings) -> tuple[Variant, ...]:
    """Name the variants: levels in the order asked for, then the default one without each of its switches.

    What the project itself disables stays so. Raises ConfigurationError for a level there is not.
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
        # The worth of `incremental` shows in a second run only.
        found.append(_variant(f"{DEFAULT}{WITHOUT}{switch}", without, again=switch == "incremental"))
    return tuple(found)


def at_level(settings: Settings, level: str) -> Settings:
    """The settings at another level; `origins` says that an experiment chose it."""
    known: Level = next(each for each in LEVELS if each == level)
    return replace(settings, level=known, origins={**settings.origins, "level": "experiment"})


def _variant(name: str, settings: Settings, *, again: bool) -> Variant:
    return Variant(name=name, settings=settings, again=f"{name}{AGAIN}" if again else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """What every run of a profile needs."""

    project: Project
    options: Options
    arena: Arena
    ground: str

    def runs(self, variant: Variant, lead: Lead) -> Iterator[tuple[str, Run]]:
        """Run a variant in a fresh database, and again where that is asked for, looking closely."""
        options = replace(self.options, settings=variant.settings)
        with self.arena.fresh(self.ground) as database:
            for name in variant.names:
                # What looks goes past a proxy that delays.
                watch = partial(Monitor, closely=True, beside=database)
                yield name, run_once(self.project, lead(database), options, watch)


def _rounds(bench: _Bench, variants: Sequence[Variant], design: Design, tell: Tell) -> Iterator[Attempt]:
    tell("a first round, which does not count")
    for variant in variants:
        list(bench.runs(variant, lambda target: target))
    for delay in dict.fromkeys(design.round_trip_ms):
        at = f" at {delay:g} ms a round trip" if any(design.round_trip_ms) else ""
        with at_distance(bench.arena, delay) as lead:
            for pair in range(1, design.pairs + 1):
                tell(f"round {pair} of {design.pairs}{at}")
                for variant in variants if pair % 2 else tuple(reversed(variants)):
                    for name, run in bench.runs(variant, lead):
                        yield Attempt(variant=name, round_trip_ms=delay, pair=pair, run=run)
