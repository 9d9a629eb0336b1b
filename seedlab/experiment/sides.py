"""Resolves the two names of a comparison to sides: stored runs, levels, project folders, git revisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from seedlab.database.scratch_databases import ScratchDatabases
from seedlab.errors import ConfigurationError, nearest
from seedlab.experiment.comparing import Side
from seedlab.experiment.profiling import at_level
from seedlab.experiment.revisions import Tree, checked_out, is_revision, seed_in_subprocess
from seedlab.experiment.trials import make_template, run_once
from seedlab.flow import LEVELS, Options, Project, Run, Target
from seedlab.insight.records import history, stored
from seedlab.plan.project import load_project

Kind = Literal["run", "level", "folder", "revision"]
_PLAIN: dict[Kind, str] = {
    "run": "a stored run", "level": "a level", "folder": "a folder", "revision": "a git revision"
}  # fmt: skip
OptionsOf = Callable[[Project], Options]


# ---- names ----------------------------------------------------------------------------------------------


def kind_of(a: str, b: str, reports: Path) -> Kind:
    """Return the kind of both names. Raises ConfigurationError if they have different kinds."""
    one, other = _kind(a, reports), _kind(b, reports)
    if one != other:
        raise ConfigurationError(
            f"'{a}' is {_PLAIN[one]} and '{b}' is {_PLAIN[other]}; expected two of one kind"
        )
    return one


def _kind(name: str, reports: Path) -> Kind:
    """Return the kind of a name: as its prefix says (`level:bulk`), else the only kind that has this name."""
    prefix, colon, rest = name.partition(":")
    if colon and prefix in get_args(Kind):
        kind: Kind = next(each for each in _PLAIN if each == prefix)
        if not _exists(kind, rest, reports):
            raise ConfigurationError(f"there is no {_PLAIN[kind].partition(' ')[2]} '{rest}'")
        return kind
    found = [each for each in _PLAIN if _exists(each, name, reports)]
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


def _exists(kind: Kind, name: str, reports: Path) -> bool:
    match kind:
        case "run":
            return stored.is_known(name, reports)
        case "level":
            return name in LEVELS
        case "folder":
            return Path(name).is_dir() and not (Path(name) / "run.json").is_file()
        case "revision":
            return is_revision(Path.cwd(), name)


def without_prefix(name: str) -> str:
    """Remove the prefix that says a name's kind: `level:bulk` becomes `bulk`."""
    kind, colon, rest = name.partition(":")
    return rest if colon and kind in get_args(Kind) else name


def stored_run(name: str, reports: Path) -> Run:
    """Read a stored run."""
    return history.read(stored.find(without_prefix(name), reports))


# ---- sides ----------------------------------------------------------------------------------------------


def levels(
    scratch: ScratchDatabases, project: Project, target: Target, options: Options, names: tuple[str, str]
) -> tuple[Side, Side]:
    """Return the sides of two levels of one project."""
    template = make_template(scratch, project, target)
    chosen = [replace(options, settings=at_level(options.settings, without_prefix(name))) for name in names]
    one, other = (
        _side(without_prefix(name), template, project, each) for name, each in zip(names, chosen, strict=True)
    )
    return one, other


def folders(
    scratch: ScratchDatabases, target: Target, options: OptionsOf, names: tuple[str, str]
) -> tuple[Side, Side]:
    """Return the sides of two project folders."""
    projects = [load_project(Path(without_prefix(name))) for name in names]
    one, other = (
        _side(without_prefix(name), make_template(scratch, each, target), each, options(each))
        for name, each in zip(names, projects, strict=True)
    )
    return one, other


def _side(name: str, template: str, project: Project, options: Options) -> Side:
    """Return a side that seeds in this process."""

    def seed(database: Target) -> Run:
        return run_once(project, database, options)

    return Side(name=name, template=template, seed=seed)


@contextmanager
def revisions(
    scratch: ScratchDatabases, target: Target, options: OptionsOf, folder: Path, names: tuple[str, str]
) -> Iterator[tuple[Side, Side]]:
    """Return the sides of a project in two git revisions, which are checked out meanwhile.

    If a revision contains a seedlab package, as in seedlab's own repository, it is used for that revision. To
    keep the comparison fair, both revisions are then seeded in processes of their own.
    """
    with ExitStack() as stack:
        trees = stack.enter_context(checked_out(folder, [without_prefix(name) for name in names]))
        in_subprocess = any(tree.seedlab for tree in trees)
        one, other = (
            _revision(scratch, target, options, tree, in_subprocess=in_subprocess) for tree in trees
        )
        yield one, other


def _revision(
    scratch: ScratchDatabases, target: Target, options: OptionsOf, tree: Tree, *, in_subprocess: bool
) -> Side:
    project = load_project(tree.project)
    template, chosen = make_template(scratch, project, target), options(project)
    if not in_subprocess:
        return _side(tree.revision, template, project, chosen)

    def seed(database: Target) -> Run:
        return seed_in_subprocess(tree, database, chosen.environment.name)

    return Side(name=tree.revision, template=template, seed=seed)
