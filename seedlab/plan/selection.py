"""What of a project takes part in a run, and why the rest does not. Pure.

A selector is `stage`, `stage.seed`, a seed's name, `tag:NAME` or `path:GLOB`; `+` before it adds all that
it waits for, `+` behind it all that waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from seedlab.errors import ConfigurationError, nearest
from seedlab.flow import Environment, Seed, Stage
from seedlab.plan.graph import ancestors, topological_order

Names = frozenset[tuple[str, str]]  # (stage, seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The stages that take part, with the seeds that do; why each other `stage` and `stage.seed` does not.

    The dependencies of a kept stage skip stages that were left out: they name the nearest kept ones.
    """

    stages: tuple[Stage, ...]
    left_out: Mapping[str, str]


def select(
    stages: Sequence[Stage], select: Sequence[str], exclude: Sequence[str], environment: Environment
) -> Selection:
    """Keep what the environment and `select` both choose and `exclude` does not name.

    A selector that matches nothing is a ConfigurationError with the nearest name.
    """
    chooser = _Chooser(stages)
    allowed = chooser.every(environment.select, f"environments.{environment.name}.select: ")
    asked = chooser.every(select, "-s: ")
    excluded = {each: chooser.match(each, "-x: ") for each in exclude}

    def reason(seed: Seed) -> str | None:
        name = (seed.stage, seed.name)
        if seed.environments and environment.name not in seed.environments:
            return f"not in environment {environment.name}"
        if environment.select and name not in allowed:
            return f"not selected by environment {environment.name}"
        if select and name not in asked:
            return f"not selected by {_spell('-s', select)}"
        return next((f"excluded by -x {each}" for each, names in excluded.items() if name in names), None)

    return _keep(stages, reason)


class _Chooser:
    """Finds the seeds that a selector means, by names, tags, files and dependencies of the stages."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.seeds = {(seed.stage, seed.name): seed for stage in stages for seed in stage.seeds}
        self.before = ancestors(stages)

    def every(self, selectors: Iterable[str], origin: str) -> Names:
        """The seeds that any of the selectors means; `origin` begins the error for one that means none."""
        return frozenset[tuple[str, str]]().union(*(self.match(each, origin) for each in selectors))

    def match(self, selector: str, origin: str) -> Names:
        """The seeds that a selector means; `+` adds those it waits for, or those that wait for it."""
        core = selector.removeprefix("+").removesuffix("+")
        found = self._named(core)
        if not found:
            raise ConfigurationError(f"{origin}'{selector}' selects nothing{nearest(core, self._known())}")
        chosen = {stage for stage, _ in found}
        more: set[str] = set()
        if selector.startswith("+"):
            more.update(*(self.before[stage] for stage in chosen))
        if selector.endswith("+"):
            more.update(stage for stage, before in self.before.items() if before & chosen)
        return found | {name for name in self.seeds if name[0] in more}

    def _named(self, core: str) -> Names:
        kind, _, value = core.partition(":")
        if kind == "tag":
            return self._where(lambda seed: value in seed.tags)
        if kind == "path":
            return self._where(lambda seed: any(_lies(file.name, value) for file in seed.files))
        return self._where(lambda seed: core == seed.stage) or self._where(
            lambda seed: core in (seed.name, f"{seed.stage}.{seed.name}")
        )

    def _where(self, fits: Callable[[Seed], bool]) -> Names:
        return frozenset(name for name, seed in self.seeds.items() if fits(seed))

    def _known(self) -> set[str]:
        names = {name for stage, seed in self.seeds for name in (stage, seed, f"{stage}.{seed}")}
        return names | {f"tag:{tag}" for seed in self.seeds.values() for tag in seed.tags}


def _keep(stages: Sequence[Stage], reason: Callable[[Seed], str | None]) -> Selection:
    kept: dict[str, Stage] = {}
    left_out: dict[str, str] = {}
    for stage in stages:
        reasons = {seed.name: why for seed in stage.seeds if (why := reason(seed))}
        left_out.update({f"{stage.id}.{name}": why for name, why in reasons.items()})
        if len(reasons) < len(stage.seeds):
            kept[stage.id] = replace(
                stage, seeds=tuple(seed for seed in stage.seeds if seed.name not in reasons)
            )
        else:
            left_out[stage.id] = "; ".join(dict.fromkeys(reasons.values())) or "has no seeds"
    return Selection(stages=_bridged(stages, kept), left_out=left_out)


def _bridged(stages: Sequence[Stage], kept: Mapping[str, Stage]) -> tuple[Stage, ...]:
    """Let kept stages wait for the nearest kept ones behind those that were left out."""
    waits_for = {stage.id: stage.dependencies for stage in stages}
    ends: dict[str, tuple[str, ...]] = {}  # stage → itself if kept, else the nearest kept ones before it
    for name in topological_order(waits_for):
        behind = tuple(dict.fromkeys(end for parent in waits_for[name] for end in ends[parent]))
        ends[name] = (name,) if name in kept else behind
        waits_for[name] = behind
    return tuple(replace(stage, dependencies=waits_for[name]) for name, stage in kept.items())


def _lies(name: str, glob: str) -> bool:
    return fnmatchcase(name, glob) or fnmatchcase(name, f"{glob.rstrip('/')}/*")


def _spell(flag: str, selectors: Sequence[str]) -> str:
    return " ".join(f"{flag} {each}" for each in selectors)
