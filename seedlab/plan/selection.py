"""Selects the stages and seeds that take part in a run. Pure.

A selector is `stage`, `stage.seed`, a seed's name, `tag:NAME` or `path:GLOB`. A leading `+` adds all stages
that the selected ones depend on, a trailing `+` all stages that depend on them.
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
    """The stages that take part, with only the seeds that do.

    `left_out` maps each other `stage` and `stage.seed` to the reason. A stage that depended on a left-out one
    depends instead on the nearest selected ones behind it.
    """

    stages: tuple[Stage, ...]
    left_out: Mapping[str, str]


def select(
    stages: Sequence[Stage], select: Sequence[str], exclude: Sequence[str], environment: Environment
) -> Selection:
    """Select the seeds that the environment and `select` choose and `exclude` does not.

    Raises ConfigurationError, with the nearest name, for a selector that matches nothing.
    """
    matcher = _Matcher(stages)
    allowed = matcher.match_any(environment.select, f"environments.{environment.name}.select: ")
    selected = matcher.match_any(select, "-s: ")
    excluded = {each: matcher.match(each, "-x: ") for each in exclude}

    def reason(seed: Seed) -> str | None:
        name = (seed.stage, seed.name)
        if seed.environments and environment.name not in seed.environments:
            return f"not in environment {environment.name}"
        if environment.select and name not in allowed:
            return f"not selected by environment {environment.name}"
        if select and name not in selected:
            return f"not selected by {_spell('-s', select)}"
        return next((f"excluded by -x {each}" for each, names in excluded.items() if name in names), None)

    return _keep(stages, reason)


class _Matcher:
    """Matches selectors against the names, tags, files and dependencies of the seeds."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.seeds = {(seed.stage, seed.name): seed for stage in stages for seed in stage.seeds}
        self.before = ancestors(stages)

    def match_any(self, selectors: Iterable[str], origin: str) -> Names:
        """Return the seeds that any of the selectors matches."""
        return frozenset[tuple[str, str]]().union(*(self.match(each, origin) for each in selectors))

    def match(self, selector: str, origin: str) -> Names:
        """Return the seeds that a selector matches, with the stages that `+` adds.

        Raises ConfigurationError, whose message begins with `origin`, if it matches none.
        """
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
            return self._where(lambda seed: any(_path_matches(file.name, value) for file in seed.files))
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
    """Replace dependencies on left-out stages by the nearest kept stages that those depend on."""
    waits_for = {stage.id: stage.dependencies for stage in stages}
    ends: dict[str, tuple[str, ...]] = {}  # stage → itself if kept, else the nearest kept ones behind it
    for name in topological_order(waits_for):
        behind = tuple(dict.fromkeys(end for parent in waits_for[name] for end in ends[parent]))
        ends[name] = (name,) if name in kept else behind
        waits_for[name] = behind
    return tuple(replace(stage, dependencies=waits_for[name]) for name, stage in kept.items())


def _path_matches(name: str, glob: str) -> bool:
    return fnmatchcase(name, glob) or fnmatchcase(name, f"{glob.rstrip('/')}/*")


def _spell(flag: str, selectors: Sequence[str]) -> str:
    return " ".join(f"{flag} {each}" for each in selectors)
