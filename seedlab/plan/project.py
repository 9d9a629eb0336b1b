"""Finds a project and understands it: `seedlab.toml`, `[tool.seedlab]`, or a folder of data files alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from seedlab.errors import ConfigurationError
from seedlab.flow import (
    PRIORITIES,
    Duplicates,
    Environment,
    Mode,
    Project,
    Seed,
    SourceFile,
    Stage,
    TableSpec,
    TargetConfig,
)
from seedlab.plan import choices, scripts
from seedlab.plan.configuration import Document, Keys, Section, nearest_or_all, read_document, shown
from seedlab.plan.folder import folder_seeds, shared_table, source_files
from seedlab.plan.graph import check_cycles

FILE = "seedlab.toml"
MODES: tuple[Mode, ...] = ("insert", "upsert", "sync")
DUPLICATES: tuple[Duplicates, ...] = ("error", "first", "last")
# Every key there is, by the table it stands in. The published JSON Schema has the same (a test compares).
KEYS: Mapping[str, tuple[str, ...]] = {
    "file": ("project", "targets", "environments", "settings", "defaults", "stages"),
    "project": ("name", "schema", "transforms"),
    "target": ("url", "environment"),
    "environment": ("subset", "protected", "select"),
    "settings": tuple(choices.SETTINGS),
    "stage": ("id", "name", "dependencies", "conditions", "parallel", "seeds"),
    "seed": (
        "name",
        "source",
        "priority",
        "estimated_ms",
        "environments",
        "tags",
        "mode",
        "duplicates",
        "transform",
        "table",
        "tables",
    ),
    "table": ("path", "key", "parent", "columns"),
}
NAME = r"^[A-Za-z0-9_-]+$"  # of stages and seeds: selectors give a meaning to + . : and the comma
_FILLERS = ("$index", "$value")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """What the parts of one file may refer to."""

    root: Path
    stages: Collection[str]
    environments: Collection[str]
    transforms: bool


def find_project(directory: Path | None, cwd: Path) -> Path:
    """Find the project's folder: as named, else the nearest seedlab.toml upward, else `[tool.seedlab]`.

    Without a name a folder must have a configuration: what is about to be written should not depend on
    where somebody stands.
    """
    if directory is not None:
        return _pointed_to(_existing(cwd / directory))
    return _pointed_to(find_home(cwd))


def find_home(cwd: Path) -> Path:
    """Find the folder whose configuration counts here: the nearest seedlab.toml, else `[tool.seedlab]`."""
    upward = [cwd, *cwd.parents]
    for folder in upward:
        if (folder / FILE).is_file():
            return folder
    for folder in upward:
        if _tool_document(folder) is not None:
            return folder
    raise ConfigurationError(
        f"found no {FILE} in {shown(cwd)} or above it, and no [tool.seedlab] in a pyproject.toml; "
        "name the folder, as in seedlab seed DIR, or give it a seedlab.toml (only [project] is needed)"
    )


def load_project(directory: Path) -> Project:
    """Understand the project in a folder, with or without configuration.

    Raises one ConfigurationError that lists everything wrong with the file, a line each. Opens no data file.
    """
    root = _pointed_to(_existing(directory)).resolve()
    document = read_document(root / FILE) if (root / FILE).is_file() else _tool_document(root)
    if document is None:
        return Project(
            root=root, name=root.name, stages=(), seeds=folder_seeds(root), environments=choices.ENVIRONMENTS
        )
    return _project(root, document)


def _existing(directory: Path) -> Path:
    if not directory.is_dir():
        what = "a file" if directory.exists() else "nothing"
        raise ConfigurationError(f"expected the folder of a project at {shown(directory)}, found {what}")
    return directory


def _tool_document(folder: Path) -> Document | None:
    """Read `[tool.seedlab]`; None when the folder's pyproject.toml has none."""
    path = folder / "pyproject.toml"
    if not path.is_file() or "seedlab" not in path.read_text("utf-8", errors="replace"):
        return None
    document = read_document(path, "tool", "seedlab")
    tool = document.values.get("tool")
    return document if isinstance(tool, dict) and "seedlab" in tool else None


def _pointed_to(folder: Path) -> Path:
    """Follow `[tool.seedlab] project = "data"`, which says that the project is in another folder."""
    document = None if (folder / FILE).is_file() else _tool_document(folder)
    pointer = document.root.values.get("project") if document else None
    if document is None or not isinstance(pointer, str):
        return folder
    if others := sorted(document.root.values.keys() - {"project"}):
        document.root.wrong(
            others[0], f"the project is in '{pointer}', so this belongs into {pointer}/{FILE}"
        )
    if not (folder / pointer).is_dir():
        document.root.wrong("project", f"expected a folder, but there is none at '{pointer}'")
    document.check()
    return folder / pointer


def _project(root: Path, document: Document) -> Project:
    top = document.root
    top.only(KEYS["file"])
    head = top.section("project")
    head.only(KEYS["project"])
    environments = _environments(top)
    names = _Names(
        root=root,
        stages={str(stage.get("id")) for stage in _tables(top.values.get("stages"))},
        environments=environments,
        transforms="transforms" in head.values,
    )
    project = Project(
        root=root,
        name=head.text("name") or root.name,
        stages=tuple(_stage(section, names) for section in top.sections("stages")),
        config=root / Path(document.file).name,
        schema=_script(head, "schema", names),
        transforms=_script(head, "transforms", names),
        targets={name: _target(name, each, names) for name, each in top.named("targets").items()},
        environments=environments,
        settings=_settings(top.section("settings")),
        defaults=_defaults(top.section("defaults")),
    )
    _check_repeated(project.stages, document)
    document.check()
    check_cycles(project.stages)
    return project if project.stages else replace(project, seeds=folder_seeds(root))


def _tables(value: object) -> list[dict[str, object]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _environments(top: Section) -> dict[str, Environment]:
    """Extend the three that every project has by those of the file."""
    given = top.named("environments")
    names = dict.fromkeys([*choices.ENVIRONMENTS, *given])
    return {name: _environment(name, given.get(name)) for name in names}


def _environment(name: str, section: Section | None) -> Environment:
    default = choices.ENVIRONMENTS.get(name, Environment(name=name))
    if section is None:
        return default
    section.only(KEYS["environment"])
    subset = section.section("subset")
    counts = {table: subset.count(table, minimum=0) for table in subset.values}
    protected = section.flag("protected")
    return Environment(
        name=name,
        subset={table: count for table, count in counts.items() if count is not None},
        protected=default.protected if protected is None else protected,
        select=section.texts("select") or (),
    )


def _target(name: str, section: Section, names: _Names) -> TargetConfig:
    section.only(KEYS["target"])
    environment = section.text("environment")
    _check_known(section, "environment", "environment", (environment,), names.environments)
    return TargetConfig(
        name=name, url=section.needed_text("url"), environment=environment, place=section.place
    )


def _settings(section: Section) -> dict[str, object]:
    section.only(KEYS["settings"])
    checked = {}
    for name, value in section.values.items():
        if name in choices.SETTINGS:
            try:
                checked[name] = choices.check_setting(name, value)
            except ConfigurationError as error:
                section.wrong(name, error.message)
    return checked


def _defaults(section: Section) -> dict[str, str]:
    """Any column may be named; the empty text is a value, too."""
    return {name: section.value(name) for name in section.values}


def _script(section: Section, key: str, names: _Names) -> str | None:
    """Take `FILE.py` (transforms) or `FILE.py:NAME` (schema), a file that is there."""
    value = section.text(key)
    if value is not None:
        try:
            scripts.find_script(names.root, scripts.split(value)[0] if key == "schema" else value)
        except ConfigurationError as error:
            section.wrong(key, error.message)
    return value


def _stage(section: Section, names: _Names) -> Stage:
    section.only(KEYS["stage"])
    identity = _name(section, "id")
    dependencies = section.texts("dependencies") or ()
    _check_known(section, "dependencies", "stage", dependencies, names.stages)
    seeds = tuple(_seed(each, identity, names) for each in section.sections("seeds"))
    if not seeds:
        section.wrong(None, f"stage '{identity}' has no seeds; add [[stages.seeds]]")
    return Stage(
        id=identity,
        name=section.text("name") or identity,
        seeds=seeds,
        dependencies=dependencies,
        conditions=_conditions(section, names),
        parallel=section.flag("parallel") is not False,
        place=section.place,
    )


def _conditions(section: Section, names: _Names) -> tuple[str, ...]:
    texts = section.texts("conditions") or ()
    if not texts:
        return ()
    from seedlab.plan import conditions  # few projects have any

    for text in texts:
        try:
            condition = conditions.parse(text)
            if condition.kind == "python":
                scripts.find_script(names.root, condition.values[0])
        except ConfigurationError as error:
            section.wrong("conditions", error.message)
            continue
        if condition.kind == "environment":
            _check_known(section, "conditions", "environment", condition.values, names.environments)
    return texts


def _seed(section: Section, stage: str, names: _Names) -> Seed:
    section.only(KEYS["seed"])
    environments = section.texts("environments") or ()
    _check_known(section, "environments", "environment", environments, names.environments)
    files = _files(section, names.root)
    transform = section.text("transform")
    if transform is not None and not names.transforms:
        section.wrong(
            "transform", 'no Python is named for transforms; add transforms = "FILE.py" to [project]'
        )
    return Seed(
        name=_name(section, "name"),
        stage=stage,
        files=files,
        tables=_seed_tables(section, files),
        priority=section.choice("priority", PRIORITIES, "medium"),
        estimated_ms=section.count("estimated_ms", minimum=0),
        environments=environments,
        tags=section.texts("tags") or (),
        mode=section.choice("mode", MODES, "upsert"),
        duplicates=section.choice("duplicates", DUPLICATES, "error"),
        transform=transform,
    )


def _files(section: Section, root: Path) -> tuple[SourceFile, ...]:
    listed = isinstance(section.values.get("source"), list)
    patterns = (section.texts("source") if listed else (section.needed_text("source"),)) or ()
    if listed and not patterns:
        section.wrong("source", "expected a pattern for files, found an empty list")
    try:
        return source_files(root, tuple(filter(None, patterns)))
    except ConfigurationError as error:
        section.wrong("source", error.message)
        return ()


def _seed_tables(section: Section, files: tuple[SourceFile, ...]) -> tuple[TableSpec, ...]:
    """Take `tables`, or `table`, or the name that all files share."""
    if "tables" in section.values:
        if "table" in section.values:
            section.wrong("table", "'table' and 'tables' say the same thing; keep one")
        if section.values["tables"] == {}:
            section.wrong("tables", "expected at least one table, found none")
        return tuple(_table(name, each) for name, each in section.named("tables").items())
    table = section.text("table") or shared_table(files)
    if table is None and files:
        section.wrong(
            "source", f'files of several names ({_few(files)}); say which they fill: table = "NAME"'
        )
    return (TableSpec(table=table, place=section.place),) if table else ()


def _table(name: str, section: Section) -> TableSpec:
    section.only(KEYS["table"])
    given = section.section("columns")
    columns = {column: given.text(column) or "" for column in given.values}
    for column, path in columns.items():
        _check_path(section, "columns", path, f"column '{column}'")
    if section.values.get("key") == []:
        section.wrong("key", "expected at least one column or relation, found an empty list")
    path = section.text("path", "$") or "$"
    _check_path(section, "path", path, f"table '{name}'")
    return TableSpec(
        table=name,
        path=path if path == "$" else path.removeprefix("$."),
        key=section.texts("key"),
        parent=section.text("parent"),
        columns=columns,
        place=section.place,
    )


def _check_path(section: Section, key: str, path: str, what: str) -> None:
    special = path.startswith("$") and not path.startswith("$.") and path != "$"
    if special and (key == "path" or path not in _FILLERS):
        section.wrong(
            key, f"{what}: unknown path '{path}'; expected a dotted path from the record, or $index"
        )
    elif path and not all(path.split(".")):
        section.wrong(key, f"{what}: expected a dotted path like 'questions.parts', found '{path}'")


def _name(section: Section, key: str) -> str:
    name = section.needed_text(key)
    if name and not re.fullmatch(NAME, name):
        section.wrong(key, f"expected letters, digits, - and _, found '{name}'")
    return name


def _check_known(
    section: Section, key: str, what: str, given: Iterable[str | None], known: Collection[str]
) -> None:
    for name in given:
        if name is not None and name not in known:
            section.wrong(key, f"unknown {what} '{name}'{nearest_or_all(name, known)}")


def _check_repeated(stages: Iterable[Stage], document: Document) -> None:
    """Note stages of one id, and seeds of one name: `-s NAME` and the history go by them."""
    first: dict[tuple[str, str], int | None] = {}
    for keys, name in _named(stages):
        what = str(keys[-3]).removesuffix("s")
        if (what, name) in first:
            document.problems.append(
                (keys, f"{what} '{name}' is there twice, first at line {first[what, name]}")
            )
        elif name:
            first[what, name] = document.line(keys[:-1])


def _named(stages: Iterable[Stage]) -> Iterator[tuple[Keys, str]]:
    for number, stage in enumerate(stages):
        yield ("stages", number, "id"), stage.id
        for position, seed in enumerate(stage.seeds):
            yield ("stages", number, "seeds", position, "name"), seed.name


def _few(files: Collection[SourceFile]) -> str:
    names = [file.name for file in files]
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
