"""Reads `[[stages]]` of seedlab.toml: stages, their seeds, and the tables that a seed fills.

Mistakes are added to the document's problems, and reading goes on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from seedlab.errors import ConfigurationError
from seedlab.flow import PRIORITIES, Duplicates, Mode, Nulls, Seed, SourceFile, Stage, TableSpec
from seedlab.plan import scripts
from seedlab.plan.configuration import Document, Keys, Section
from seedlab.plan.folder import shared_table, source_files

MODES: tuple[Mode, ...] = ("insert", "upsert", "sync")
DUPLICATES: tuple[Duplicates, ...] = ("error", "first", "last")
NULLS: tuple[Nulls, ...] = ("error", "equal")
KEYS: Mapping[str, tuple[str, ...]] = {
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
    "table": ("path", "key", "nulls", "parent", "columns"),
}
NAME = r"^[A-Za-z0-9_-]+$"  # of stages and seeds; the characters + . : and , have a meaning in selectors
_FILLERS = ("$index", "$value")


class StageReader:
    """Reads `[[stages]]`, and checks what stages refer to.

    They may refer to files and scripts below `root`, to the ids of `stages`, and to `environments`;
    `transforms` tells whether [project] names a file of transforms.
    """

    def __init__(
        self, root: Path, stages: Collection[str], environments: Collection[str], *, transforms: bool
    ) -> None:
        self._root = root
        self._stages = stages
        self._environments = environments
        self._transforms = transforms

    def read(self, top: Section) -> tuple[Stage, ...]:
        """Return the document's stages in its order. Repeated names are problems, too."""
        stages = tuple(self._stage(section) for section in top.sections("stages"))
        _check_repeated(stages, top.document)
        return stages

    def _stage(self, section: Section) -> Stage:
        section.check_keys(KEYS["stage"])
        identity = _name(section, "id")
        dependencies = section.texts("dependencies") or ()
        section.check_names("dependencies", "stage", dependencies, self._stages)
        seeds = tuple(self._seed(each, identity) for each in section.sections("seeds"))
        if not seeds:
            section.add_problem(None, f"stage '{identity}' has no seeds; add [[stages.seeds]]")
        return Stage(
            id=identity,
            name=section.text("name") or identity,
            seeds=seeds,
            dependencies=dependencies,
            conditions=self._conditions(section),
            parallel=section.flag("parallel") is not False,
            place=section.place,
        )

    def _conditions(self, section: Section) -> tuple[str, ...]:
        texts = section.texts("conditions") or ()
        if not texts:
            return ()
        from seedlab.plan import conditions  # imported here since few projects have conditions

        for text in texts:
            try:
                condition = conditions.parse(text)
                if condition.kind == "python":
                    scripts.find_script(self._root, condition.values[0])
            except ConfigurationError as error:
                section.add_problem("conditions", error.message)
                continue
            if condition.kind == "environment":
                section.check_names("conditions", "environment", condition.values, self._environments)
        return texts

    def _seed(self, section: Section, stage: str) -> Seed:
        section.check_keys(KEYS["seed"])
        environments = section.texts("environments") or ()
        section.check_names("environments", "environment", environments, self._environments)
        files = _files(section, self._root)
        transform = section.text("transform")
        if transform is not None and not self._transforms:
            section.add_problem(
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
    patterns = (section.texts("source") if listed else (section.required_text("source"),)) or ()
    if listed and not patterns:
        section.add_problem("source", "expected a pattern for files, found an empty list")
    try:
        return source_files(root, tuple(filter(None, patterns)))
    except ConfigurationError as error:
        section.add_problem("source", error.message)
        return ()


def _seed_tables(section: Section, files: tuple[SourceFile, ...]) -> tuple[TableSpec, ...]:
    """Read `tables`, else `table`, else use the table that all files are named after."""
    if "tables" in section.values:
        if "table" in section.values:
            section.add_problem("table", "'table' and 'tables' say the same thing; keep one")
        if section.values["tables"] == {}:
            section.add_problem("tables", "expected at least one table, found none")
        return tuple(_table(name, each) for name, each in section.tables_by_name("tables").items())
    table = section.text("table") or shared_table(files)
    if table is None and files:
        section.add_problem(
            "source", f'files of several names ({_few(files)}); say which table they fill: table = "NAME"'
        )
    return (TableSpec(table=table, place=section.place),) if table else ()


def _table(name: str, section: Section) -> TableSpec:
    section.check_keys(KEYS["table"])
    mapping = section.section("columns")
    columns = {column: mapping.text(column) or "" for column in mapping.values}
    for column, path in columns.items():
        _check_path(section, "columns", path, f"column '{column}'")
    if section.values.get("key") == []:
        section.add_problem("key", "expected at least one column or relation, found an empty list")
    path = section.text("path", "$") or "$"
    _check_path(section, "path", path, f"table '{name}'")
    return TableSpec(
        table=name,
        path=path if path == "$" else path.removeprefix("$."),
        key=section.texts("key"),
        nulls=section.choice("nulls", NULLS, "error"),
        parent=section.text("parent"),
        columns=columns,
        place=section.place,
    )


def _check_path(section: Section, key: str, path: str, subject: str) -> None:
    special = path.startswith("$") and not path.startswith("$.") and path != "$"
    if special and (key == "path" or path not in _FILLERS):
        section.add_problem(
            key, f"{subject}: unknown path '{path}'; expected a dotted path from the record, or $index"
        )
    elif path and not all(path.split(".")):
        section.add_problem(key, f"{subject}: expected a dotted path like 'questions.parts', found '{path}'")


def _name(section: Section, key: str) -> str:
    name = section.required_text(key)
    if name and not re.fullmatch(NAME, name):
        section.add_problem(key, f"expected letters, digits, - and _, found '{name}'")
    return name


def _check_repeated(stages: Iterable[Stage], document: Document) -> None:
    """Add a problem for stages with the same id and seeds with the same name, which identify them."""
    first: dict[tuple[str, str], int | None] = {}
    for keys, name in _named(stages):
        kind = str(keys[-3]).removesuffix("s")
        if (kind, name) in first:
            document.problems.append(
                (keys, f"{kind} '{name}' is declared twice, first at line {first[kind, name]}")
            )
        elif name:
            first[kind, name] = document.line(keys[:-1])


def _named(stages: Iterable[Stage]) -> Iterator[tuple[Keys, str]]:
    for number, stage in enumerate(stages):
        yield ("stages", number, "id"), stage.id
        for position, seed in enumerate(stage.seeds):
            yield ("stages", number, "seeds", position, "name"), seed.name


def _few(files: Collection[SourceFile]) -> str:
    names = [file.name for file in files]
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
