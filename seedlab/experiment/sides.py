"""What the two names of a comparison mean: stored runs, levels, project folders, or git revisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from seedlab.database.arena import Arena
from seedlab.errors import ConfigurationError, nearest
from seedlab.experiment.comparing import Side
from seedlab.experiment.profiling import at_level
from seedlab.experiment.revisions import Tree, checked_out, is_revision, run_apart
from seedlab.experiment.trials import ground_of, run_once
from seedlab.flow import LEVELS, Options, Project, Run, Target
from seedlab.insight.records import history, stored
from seedlab.plan.project import load_project

Kind = Literal["run", "level", "folder", "revision"]
_PLAIN: dict[Kind, str] = {
    "run": "a stored run", "level": "a level", "folder": "a folder", "revision": "a git revision"
}  # fmt: skip
OptionsOf = Callable[[Project], Options]


# ---- what a name means ----------------------------------------------------------------------------------


def kind_of(a: str, b: str, reports: Path) -> Kind:
    """The kind of thing that both names mean. Raises ConfigurationError where they mean different kinds."""
    one, other = _meaning(a, reports), _meaning(b, reports)
    if one != other:
        raise ConfigurationError(
            f"'{a}' is {_PLAIN[one]} and '{b}' is {_PLAIN[other]}; expected two of one kind"
        )
    return one


def _meaning(name: str, reports: Path) -> Kind:
    kind, colon, rest = name.partition(":")
    if colon and kind in get_args(Kind):
        named: Kind = next(each for each in _PLAIN if each == kind)
        if not _means(named, rest, reports):
            raise ConfigurationError(f"there is no {_PLAIN[named].partition(' ')[2]} '{rest}'")
        return named
    found = [each for each in _PLAIN if _means(each, name, reports)]
    if len(found) > 1:
        choices = " and ".join(_PLAIN[each] for each in found)
        ways = " or ".join(f"{each}:{name}" for each in found)
        raise ConfigurationError(f"'{name}' is {choices}; say which: {ways}")
    if not found:
        raise ConfigurationError(
            f"'{name}' is no run in {reports}, no level, no folder and no git revision here"
            f"{nearest(name, LEVELS)}"
        )
    return found[0]


def _means(kind: Kind, name: str, reports: Path) -> bool:
    match kind:
        case "run":
            return stored.is_known(name, reports)
        case "level":
            return name in LEVELS
        case "folder":
            return Path(name).is_dir() and not (Path(name) / "run.json").is_file()
        case "revision":
            return is_revision(Path.cwd(), name)


def bare(name: str) -> str:
    """A name without the prefix that says its kind: `level:bulk` is `bulk`."""
    kind, colon, rest = name.partition(":")
    return rest if colon and kind in get_args(Kind) else name


def stored_run(name: str, reports: Path) -> Run:
    """Read a stored run."""
    return history.read(stored.find(bare(name), reports))


# ---- what is run ----------------------------------------------------------------------------------------


def levels(
    arena: Arena, project: Project, target: Target, options: Options, names: tuple[str, str]
) -> tuple[Side, Side]:
    """Make the sides of two levels of one project."""
    ground = ground_of(arena, project, target)
    chosen = [replace(options, settings=at_level(options.settings, bare(name))) for name in names]
    one, other = (_side(bare(name), ground, project, each) for name, each in zip(names, chosen, strict=True))
    return one, other


def folders(arena: Arena, target: Target, options: OptionsOf, names: tuple[str, str]) -> tuple[Side, Side]:
    """Make the sides of two project folders."""
    projects = [load_project(Path(bare(name))) for name in names]
    one, other = (
        _side(bare(name), ground_of(arena, each, target), each, options(each))
        for name, each in zip(names, projects, strict=True)
    )
    return one, other


def _side(name: str, ground: str, project: Project, options: Options) -> Side:
    """Make a side that seeds in this process."""

    def seed(database: Target) -> Run:
        return run_once(project, database, options)

    return Side(name=name, ground=ground, seed=seed)


@contextmanager
def revisions(
    arena: Arena, target: Target, options: OptionsOf, folder: Path, names: tuple[str, str]
) -> Iterator[tuple[Side, Side]]:
    """Seed a project as it was in two revisions.

    Where a revision has a seedlab of its own, as the repository of seedlab has, that one seeds, and then both
    run in processes of their own.
    """
    with ExitStack() as stack:
        trees = stack.enter_context(checked_out(folder, [bare(name) for name in names]))
        apart = any(tree.seedlab for tree in trees)
        one, other = (_revision(arena, target, options, tree, apart=apart) for tree in trees)
        yield one, other


def _revision(arena: Arena, target: Target, options: OptionsOf, tree: Tree, *, apart: bool) -> Side:
    project = load_project(tree.project)
    ground, chosen = ground_of(arena, project, target), options(project)
    if not apart:
        return _side(tree.revision, ground, project, chosen)

    def seed(database: Target) -> Run:
        return run_apart(tree, database, chosen.environment.name)

    return Side(name=tree.revision, ground=ground, seed=seed)
