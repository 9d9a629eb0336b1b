"""Decides whether a stage is stale: compares the hashes of all that its rows depend on with the last run's.

The hashes are stored by label instead of combined into one fingerprint, so that the reason can name what
changed. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from xxhash import xxh3_128_hexdigest

from seedlab.flow import (
    IN_DOUBT,
    Catalog,
    Column,
    Environment,
    Memory,
    Seed,
    Settings,
    Stage,
    StageMemory,
    Table,
)
from seedlab.plan.graph import topological_order

FILE, TABLE, STAGE = "file:", "table:", "stage:"
CONFIGURATION, ENVIRONMENT, PYTHON = "configuration", "environment", "python"
_REASONS = {
    CONFIGURATION: "its configuration changed",
    ENVIRONMENT: "another environment was seeded",
    PYTHON: "the project's Python changed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What stages are judged by: the hashes of files and of the project's Python, the catalog, the settings.

    `catalog` is None if the ledger has no stages: there is nothing to compare with, so the run does not wait
    for it. `definitions` caches the hashes of tables, since several stages depend on the same ones.
    """

    files: Mapping[str, str]
    python: str
    catalog: Catalog | None
    environment: Environment
    settings: Settings
    definitions: dict[str, str] = field(init=False, default_factory=dict, repr=False, compare=False)

    def definition_of(self, table: Table) -> str:
        """Return the hash of a table's definition, from the cache if possible."""
        if (known := self.definitions.get(table.name)) is None:
            known = self.definitions[table.name] = definition(table)
        return known


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a stage has to run, and why; None as the reason means that it is up to date.

    `files` are the changed files, if reading only them suffices; None if all files must be read. A stage that
    runs because of a stage it depends on reads only changed files (perhaps none) if that stage does, too.
    """

    stage: str
    reason: str | None
    files: frozenset[str] | None = None


def all_stale(stages: Sequence[Stage]) -> dict[str, Verdict]:
    """Return the verdict that every stage has to run, with an empty reason."""
    return {stage.id: Verdict(stage=stage.id, reason="") for stage in stages}


def judge(
    stages: Sequence[Stage],
    inputs: Inputs,
    memory: Memory,
    drifted: Collection[str] = (),
    intact: Collection[str] = (),
) -> dict[str, Verdict]:
    """Judge which stages of a run are stale.

    A stage that depends on a stale one is stale, too. `drifted` are tables that others changed, or whose
    content a run left in doubt. `intact` are stages whose files changed, but none of whose rows did.

    In an environment with a subset, all stages are stale if one is: which rows the subset leaves out depends
    on the files of all of them.
    """
    by_id = {stage.id: stage for stage in stages}
    verdicts: dict[str, Verdict] = {}
    for name in topological_order({stage.id: stage.dependencies for stage in stages}):
        if name in by_id:
            stage = by_id[name]
            hashes = memory.stages[name].parts if name in intact else parts(stage, inputs, memory)
            verdicts[name] = _judged(stage, hashes, inputs.files, memory, drifted, verdicts)
    return _together(verdicts) if inputs.environment.subset else verdicts


def _together(verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Make all stages stale, with all their files, if one is."""
    first = next((name for name, each in verdicts.items() if each.reason is not None), None)
    reason = None if first is None else f"{first} runs, and the subset is taken of all stages together"
    return {
        name: Verdict(stage=name, reason=reason if each.reason is None else each.reason)
        for name, each in verdicts.items()
    }


def _judged(
    stage: Stage,
    current: Mapping[str, str],
    declared: Collection[str],
    memory: Memory,
    drifted: Collection[str],
    verdicts: Mapping[str, Verdict],
) -> Verdict:
    remembered = memory.stages.get(stage.id)
    if remembered is None or _forgotten(remembered, memory):
        return Verdict(stage=stage.id, reason="")  # never seeded, as far as the ledger says
    changed = sorted(
        label for label in {*current, *remembered.parts} if current.get(label) != remembered.parts.get(label)
    )
    files = frozenset(label.removeprefix(FILE) for label in changed if label.startswith(FILE))
    only_files = len(files) == len(changed) and all(FILE + name in current for name in files)
    filled = {load.table for load in memory.loads if load.stage == stage.id and load.files}
    drifted_here = sorted(filled & set(drifted))
    stale = [
        verdicts[each]
        for each in stage.dependencies
        if each in verdicts and verdicts[each].reason is not None
    ]
    if stale:
        only_files = only_files and not drifted_here and all(each.files is not None for each in stale)
        reason = (
            _reason(changed, current, remembered.parts, declared)
            if files
            else f"it depends on {stale[0].stage}"
        )
        return Verdict(stage=stage.id, reason=reason, files=files if only_files else None)
    if drifted_here:
        return Verdict(stage=stage.id, reason=_drift_reason(drifted_here, memory))
    if not changed:
        return Verdict(stage=stage.id, reason=None)
    return Verdict(
        stage=stage.id,
        reason=_reason(changed, current, remembered.parts, declared),
        files=files if only_files else None,
    )


def _forgotten(known: StageMemory, memory: Memory) -> bool:
    """Tell whether the ledger lost a stage's rows, for example because its table was emptied."""
    return bool(known.tables) and not any(load.stage == known.stage for load in memory.loads)


def _drift_reason(tables: Sequence[str], memory: Memory) -> str:
    """Name a table that others changed, or, if there is none, one that a run left in doubt."""
    doubtful = {name for name, state in memory.tables.items() if state.rows == IN_DOUBT}
    first = min(tables, key=lambda name: (name in doubtful, name))
    why = (
        "was not fully compared by an earlier run" if first in doubtful else "was changed since the last seed"
    )
    return f"table {first} {why}"


def _reason(
    changed: Sequence[str], current: Mapping[str, str], before: Mapping[str, str], declared: Collection[str]
) -> str:
    """Word the reason: the first thing that changed, and how many more did.

    A file of `declared` ones that is not among the `current` parts belongs to a seed that was not selected.
    """
    first = min(changed, key=lambda label: (not label.startswith(FILE), label))
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    kind, _, name = first.partition(":")
    if first in _REASONS:
        return f"{_REASONS[first]}{more}"
    if kind == "file":
        gone = "is not selected" if name in declared else "is gone"
        verb = gone if first not in current else "changed" if first in before else "is new"
        return f"{name} {verb}{more}"
    return f"table {name} was altered{more}" if kind == "table" else f"it depends on {name}{more}"


def parts(
    stage: Stage, inputs: Inputs, memory: Memory, tables: Collection[str] | None = None
) -> dict[str, str]:
    """Hash everything that the rows of a stage depend on, by label.

    `tables` are those it needs besides the declared ones, by default those of its last run.
    """
    seeds = stage.seeds
    remembered = memory.stages.get(stage.id)
    declared = {spec.table for seed in seeds for spec in seed.tables}
    names = declared.union(tables if tables is not None else remembered.tables if remembered else ())
    assert inputs.catalog is not None
    definitions = {table.name: table for name in names if (table := inputs.catalog.find(name)) is not None}
    hashes = {
        CONFIGURATION: _hash([_configured(seed) for seed in seeds], inputs.settings.ids),
        ENVIRONMENT: _hash(sorted(inputs.environment.subset.items())),
        **{FILE + file.name: inputs.files[file.name] for seed in seeds for file in seed.files},
        **{TABLE + name: inputs.definition_of(table) for name, table in definitions.items()},
    }
    if any(seed.transform for seed in seeds):
        hashes[PYTHON] = inputs.python
    for each in stage.dependencies:
        hashes[STAGE + each] = memory.stages[each].run if each in memory.stages else ""
    return hashes


def definition(table: Table) -> str:
    """Hash what rows depend on in a table's definition: columns, keys, foreign keys; not privileges."""
    columns = [
        (c.name, c.type, c.nullable, c.default, c.generated, c.identity, *_parts_of(c))
        for c in table.columns.values()
    ]
    keys = sorted((key.name, key.columns, key.primary) for key in table.keys)
    foreign = sorted(
        (f.name, f.columns, f.parent, f.parent_columns, f.definition) for f in table.foreign_keys
    )
    return _hash(table.schema, table.relation, table.kind, columns, keys, foreign)


def _parts_of(column: Column) -> list[tuple[object, ...]]:
    """Return the names and types of a composite type's fields, recursively, since files use the names."""
    parts = (*column.fields, *([column.element] if column.element else ()))
    return [(each.name, each.type, *_parts_of(each)) for each in parts if column.fields or each.fields]


def _configured(seed: Seed) -> tuple[object, ...]:
    """Return what rows depend on in a seed's configuration; the files' content is hashed separately."""
    specs = [
        (
            s.table,
            s.path,
            s.key,
            s.parent,
            sorted(s.columns.items()),
            *([s.nulls] if s.nulls != "error" else []),
        )
        for s in seed.tables
    ]
    names = [file.name for file in seed.files] if seed.duplicates != "error" else ()
    return (seed.name, specs, seed.mode, seed.duplicates, seed.transform, names)


def _hash(*things: object) -> str:
    return xxh3_128_hexdigest(repr(things).encode())
