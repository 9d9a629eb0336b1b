"""Writes a project as a seedlab.toml that loads as the same project: the inverse of `project.py`.

Only `[defaults]` are not written: the files of a generated project have their values already.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping

from seedlab.flow import Environment, Project, Seed, Stage, TableSpec
from seedlab.plan import choices
from seedlab.plan.folder import shared_table

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(project: Project) -> str:
    """Return the TOML of a project that has stages; values equal to their default are left out."""
    head = {"name": project.name, "schema": project.schema, "transforms": project.transforms}
    lines = ["[project]", *_pairs(head)]
    for name, target in project.targets.items():
        lines += ["", f"[targets.{_key(name)}]"]
        lines += _pairs({"url": target.url, "environment": target.environment})
    for name, environment in project.environments.items():
        if environment != choices.ENVIRONMENTS.get(name):
            lines += ["", f"[environments.{_key(name)}]", *_pairs(_environment(environment))]
    if project.settings:
        lines += ["", "[settings]", *_pairs(project.settings)]
    for stage in project.stages:
        lines += ["", *_stage(stage)]
    return "\n".join(lines) + "\n"


def free_name(taken: set[str], *names: str) -> str:
    """Return the first of these names that is not taken, else the last with a number; add it to `taken`."""
    numbered = (f"{names[-1]}-{n}" for n in itertools.count(2))
    name = next(each for each in itertools.chain(names, numbered) if each not in taken)
    taken.add(name)
    return name


def _environment(environment: Environment) -> dict[str, object]:
    default = choices.ENVIRONMENTS.get(environment.name, Environment(name=environment.name))
    return {
        "subset": environment.subset or None,
        "protected": environment.protected if environment.protected != default.protected else None,
        "select": environment.select or None,
    }


def _stage(stage: Stage) -> Iterator[str]:
    yield "[[stages]]"
    yield from _pairs(
        {
            "id": stage.id,
            "name": stage.name if stage.name != stage.id else None,
            "dependencies": stage.dependencies or None,
            "conditions": stage.conditions or None,
            "parallel": None if stage.parallel else False,
        }
    )
    for seed in stage.seeds:
        yield ""
        yield from (f"  {line}" for line in _seed(seed))


def _seed(seed: Seed) -> Iterator[str]:
    names = [file.name for file in seed.files]
    yield "[[stages.seeds]]"
    yield from _pairs(
        {
            "name": seed.name,
            "source": names[0] if len(names) == 1 else names,
            "priority": seed.priority if seed.priority != "medium" else None,
            "estimated_ms": seed.estimated_ms,
            "environments": seed.environments or None,
            "tags": seed.tags or None,
            "mode": seed.mode if seed.mode != "upsert" else None,
            "duplicates": seed.duplicates if seed.duplicates != "error" else None,
            "transform": seed.transform,
            "table": _other_table(seed),
        }
    )
    if len(seed.tables) > 1 or any(map(_table, seed.tables)):
        yield "[stages.seeds.tables]"
        yield from _pairs({spec.table: _table(spec) for spec in seed.tables})


def _other_table(seed: Seed) -> str | None:
    """Return the value of `table`, which is needed if the only, plain table is not named after the files."""
    table = seed.tables[0].table
    plain = len(seed.tables) == 1 and not _table(seed.tables[0])
    return table if plain and shared_table(seed.files) != table else None


def _table(spec: TableSpec) -> dict[str, object]:
    said = {
        "path": spec.path if spec.path != "$" else None,
        "key": spec.key,
        "nulls": spec.nulls if spec.nulls != "error" else None,
        "parent": spec.parent,
        "columns": spec.columns or None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _pairs(values: Mapping[str, object]) -> list[str]:
    return [f"{_key(name)} = {_value(value)}" for name, value in values.items() if value is not None]


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case Mapping():
            inner = ", ".join(_pairs(value))
            return f"{{ {inner} }}" if inner else "{}"
        case frozenset():
            return _value(sorted(value))
        case Iterable():
            return f"[{', '.join(map(_value, value))}]"
        case _:
            return str(value)


def _text(text: str) -> str:
    """Return a TOML basic string: the escapes are those of JSON, but TOML also wants DEL to be escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
