"""Finds and loads a project: from seedlab.toml, `[tool.seedlab]`, or a folder that has only data files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from seedlab.errors import ConfigurationError
from seedlab.flow import Environment, Project, TargetConfig
from seedlab.plan import choices, scripts
from seedlab.plan.configuration import Document, Section, read_document, shown
from seedlab.plan.folder import folder_seeds
from seedlab.plan.graph import check_cycles
from seedlab.plan.stages import KEYS as STAGE_KEYS
from seedlab.plan.stages import StageReader

FILE = "seedlab.toml"
# All keys, by the table in which they stand. A test compares them with the published JSON Schema.
KEYS: Mapping[str, tuple[str, ...]] = {
    "file": ("project", "targets", "environments", "settings", "defaults", "stages"),
    "project": ("name", "schema", "transforms"),
    "target": ("url", "environment"),
    "environment": ("subset", "protected", "select"),
    "settings": tuple(choices.SETTINGS),
    **STAGE_KEYS,
}


def find_project(directory: Path | None, cwd: Path) -> Path:
    """Find the project's folder: `directory` if given, else the nearest with a configuration upwards.

    Only a named folder may lack a configuration. Otherwise the working directory would decide what is
    written. Raises ConfigurationError if there is no such folder.
    """
    if directory is not None:
        return _pointed_to(_existing(cwd / directory))
    return _pointed_to(find_home(cwd))


def find_home(cwd: Path) -> Path:
    """Find the nearest folder upwards with a seedlab.toml, else with `[tool.seedlab]` in pyproject.toml."""
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
    """Load the project in a folder, with or without configuration. Opens no data file.

    Raises one ConfigurationError that lists all mistakes in the configuration, one per line.
    """
    root = _pointed_to(_existing(directory)).resolve()
    document = read_document(root / FILE) if (root / FILE).is_file() else _tool_document(root)
    if document is None:
        return Project(
            root=root, name=root.name, stages=(), seeds=folder_seeds(root), environments=choices.ENVIRONMENTS
        )
    return _project(root, document)


def name_of(directory: Path) -> str:
    """Return the name of the project in a folder, which need not have data files yet."""
    root = _pointed_to(_existing(directory)).resolve()
    configured = (root / FILE).is_file() or _tool_document(root) is not None
    return load_project(root).name if configured else root.name


def _existing(directory: Path) -> Path:
    if not directory.is_dir():
        what = "a file" if directory.exists() else "nothing"
        raise ConfigurationError(f"expected the folder of a project at {shown(directory)}, found {what}")
    return directory


def _tool_document(folder: Path) -> Document | None:
    """Read `[tool.seedlab]` of the folder's pyproject.toml; None if there is none."""
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
        document.root.add_problem(
            others[0], f"the project is in '{pointer}', so this belongs in {pointer}/{FILE}"
        )
    if not (folder / pointer).is_dir():
        document.root.add_problem("project", f"expected a folder, but there is none at '{pointer}'")
    document.check()
    return folder / pointer


def _project(root: Path, document: Document) -> Project:
    top = document.root
    top.check_keys(KEYS["file"])
    head = top.section("project")
    head.check_keys(KEYS["project"])
    environments = _environments(top)
    reader = StageReader(
        root,
        {str(stage.get("id")) for stage in _tables(top.values.get("stages"))},
        environments,
        transforms="transforms" in head.values,
    )
    project = Project(
        root=root,
        name=head.text("name") or root.name,
        stages=reader.read(top),
        config=root / Path(document.file).name,
        schema=_script(head, "schema", root),
        transforms=_script(head, "transforms", root),
        targets={
            name: _target(name, each, environments) for name, each in top.tables_by_name("targets").items()
        },
        environments=environments,
        settings=_settings(top.section("settings")),
        defaults=_defaults(top.section("defaults")),
    )
    document.check()
    check_cycles(project.stages)
    return project if project.stages else replace(project, seeds=folder_seeds(root))


def _tables(value: object) -> list[dict[str, object]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _environments(top: Section) -> dict[str, Environment]:
    """Return the three environments that every project has, changed by the file, and the file's own."""
    sections = top.tables_by_name("environments")
    names = dict.fromkeys([*choices.ENVIRONMENTS, *sections])
    return {name: _environment(name, sections.get(name)) for name in names}


def _environment(name: str, section: Section | None) -> Environment:
    default = choices.ENVIRONMENTS.get(name, Environment(name=name))
    if section is None:
        return default
    section.check_keys(KEYS["environment"])
    subset = section.section("subset")
    counts = {table: subset.count(table, minimum=0) for table in subset.values}
    protected = section.flag("protected")
    return Environment(
        name=name,
        subset={table: count for table, count in counts.items() if count is not None},
        protected=default.protected if protected is None else protected,
        select=section.texts("select") or (),
    )


def _target(name: str, section: Section, environments: Collection[str]) -> TargetConfig:
    section.check_keys(KEYS["target"])
    environment = section.text("environment")
    section.check_names("environment", "environment", (environment,), environments)
    return TargetConfig(
        name=name, url=section.required_text("url"), environment=environment, place=section.place
    )


def _settings(section: Section) -> dict[str, object]:
    section.check_keys(KEYS["settings"])
    checked = {}
    for name, value in section.values.items():
        if name in choices.SETTINGS:
            try:
                checked[name] = choices.check_setting(name, value)
            except ConfigurationError as error:
                section.add_problem(name, error.message)
    return checked


def _defaults(section: Section) -> dict[str, str]:
    """Read `[defaults]`: any column may be named, values are text, and the empty text is a value."""
    return {name: section.value(name) for name in section.values}


def _script(section: Section, key: str, root: Path) -> str | None:
    """Read `FILE.py` (transforms) or `FILE.py:NAME` (schema), and check that the file exists."""
    value = section.text(key)
    if value is not None:
        try:
            scripts.find_script(root, scripts.split(value)[0] if key == "schema" else value)
        except ConfigurationError as error:
            section.add_problem(key, error.message)
    return value
