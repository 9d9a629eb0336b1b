"""Grows a project: repeats its rows with numbered keys, and writes them as a new project of flat files.

The new project has the same schema, stages and environments. Each seed and table becomes one flat file, so
that large ones can be streamed. Transforms are applied, and conditions are left out.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl

from seedlab.errors import ConfigurationError, DataFaults
from seedlab.flow import (
    FILE,
    ROW,
    Catalog,
    Environment,
    Load,
    Part,
    Project,
    Seed,
    Settings,
    SourceFile,
    Stage,
    Table,
    TableSpec,
)
from seedlab.frames import generate as growing
from seedlab.frames import tracing
from seedlab.frames.cache import SeedCache
from seedlab.frames.files.outputs import check_new, new_folder
from seedlab.frames.generate import Repeatable
from seedlab.frames.resolve import name_rows
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan import graph, scripts, toml_writer
from seedlab.plan.project import FILE as CONFIGURATION
from seedlab.plan.selection import select
from seedlab.steps.looking import look_offline
from seedlab.steps.preparing import binding, reading, transforming
from seedlab.steps.preparing.shaping import Shaped
from seedlab.steps.resolving import named_rows
from seedlab.steps.resolving.rows import paths_of

OutFormat = Literal["parquet", "csv", "jsonl", "json", "yaml"]
BLOCK_ROWS = 50_000  # made and written at a time

Pair = tuple[Load, Shaped]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What was written: `repetitions` times the project's rows, in `files` (data files, in the folder)."""

    files: tuple[Path, ...]
    rows: int
    repetitions: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Output:
    """One new seed: rows to repeat, and which columns hold JSON that must not be quoted again."""

    seed: Seed
    rows: Repeatable
    documents: frozenset[str]


def generate(project: Project, *, rows: int, out: Path, format: OutFormat = "parquet") -> Generated:  # noqa: A002
    """Write a project of about `rows` rows to the new folder `out`; the same input makes the same files.

    All tables are repeated equally often, so that their proportions and all references are kept. The number
    of rows is as near to `rows` as whole repetitions come, and at least the project's own. Raises
    ConfigurationError for a project without MetaData or with keys that cannot be numbered, DataFaults for
    rows that are wrong.
    """
    check_new(out)
    catalog = _catalog(project)
    parents = {name: table.parents for name, table in catalog.tables.items()}
    stages = project.stages or graph.levels(project.seeds, parents)
    pairs = _read(project, stages, catalog)
    total = sum(shaped.frame.height for _, shaped in pairs)
    times = growing.repetitions(total, rows)
    frames = [(load, shaped.frame.drop(ROW, FILE)) for load, shaped in pairs]
    repeated = growing.repeatable(catalog, frames, times)
    outputs = _outputs(pairs, repeated, catalog, format)
    with new_folder(out) as folder:
        _write_project(project, _grown(project, stages, outputs), folder)
        for each in outputs:
            _write(each, times, folder / each.seed.files[0].name)
    files = tuple(out / each.seed.files[0].name for each in outputs)
    return Generated(files=files, rows=total * times, repetitions=times)


# ---- read -----------------------------------------------------------------------------------------------


def _catalog(project: Project) -> Catalog:
    if project.schema is None:
        raise ConfigurationError(
            "generate needs to know keys and references without a database; add to [project]: "
            'schema = "models.py:metadata", the SQLAlchemy MetaData of the tables'
        )
    return look_offline(project).catalog()


def _read(project: Project, stages: Sequence[Stage], catalog: Catalog) -> list[Pair]:
    """Read every seed, whatever its environments and conditions; raises DataFaults for wrong rows."""
    monitor, settings = Monitor(), Settings(batch_rows=sys.maxsize)
    seeds = [seed for stage in stages for seed in stage.seeds]
    opened = reading.read(stages, settings, monitor)
    shaped = reading.shape(seeds, opened, catalog, monitor)
    shaped = transforming.transform(shaped, project.root, project.transforms)
    _, pairs = binding.bind(shaped, catalog, defaults=project.defaults)
    _refuse_broken(pairs, catalog, settings)
    return pairs


def _refuse_broken(pairs: Sequence[Pair], catalog: Catalog, settings: Settings) -> None:
    """Raise DataFaults for wrong rows, which would be repeated many times.

    A missing parent is no fault if no seed fills its table, since a target may have it. The same key in two
    seeds is none either, since these may be for different environments.
    """
    filled = {load.table for load, _ in pairs}
    naming, cache = name_rows(catalog, [load for load, _ in pairs], settings.ids), SeedCache()
    rows, broken = named_rows.handle_rows(pairs, naming, settings, Monitor())
    named_rows.register(rows, naming, cache)
    broken += [
        each
        for each in named_rows.orphans(rows, naming, cache)
        if each.rule.column in _sources_within(each.load, filled)
    ]
    certain = [each for each in broken if not each.rule.suspect]
    if certain:
        raise DataFaults(tracing.trace(certain, paths_of(rows)))


def _sources_within(load: Load, filled: set[str]) -> set[str]:
    """List the source columns of a load's references to tables that some seed fills."""
    return {name for each in load.references if each.parent in filled for name in each.sources()}


# ---- the new project ------------------------------------------------------------------------------------


def _outputs(
    pairs: Sequence[Pair],
    repeated: Sequence[Repeatable],
    catalog: Catalog,
    format: OutFormat,  # noqa: A002
) -> list[_Output]:
    """Make one new seed of each seed and table; that of a seed's first table keeps the seed's name."""
    numbers = {stage: n for n, stage in enumerate(dict.fromkeys(load.stage for load, _ in pairs))}
    names: set[str] = set()
    files: set[str] = set()
    outputs = []
    for (load, shaped), rows in zip(pairs, repeated, strict=True):
        seed_name, table = _plain(load.seed), _plain(load.table)
        name = toml_writer.free_name(names, seed_name, f"{seed_name}-{table}")
        stem = toml_writer.free_name(files, table if seed_name == table else f"{seed_name}.{table}")
        file = f"{numbers[load.stage]:02d}-{load.stage}/{stem}.{format}"
        key = tuple(part.source or _relation(part) for part in rows.load.key)
        seed = replace(
            shaped.seed,
            name=name,
            files=(SourceFile(path=Path(file), name=file, format=format),),
            tables=(
                TableSpec(table=load.table, key=key, nulls="equal" if load.null_key_columns else "error"),
            ),
            estimated_ms=None,
            transform=None,
        )
        outputs.append(
            _Output(seed=seed, rows=rows, documents=_documents(shaped, catalog.tables[load.table]))
        )
    return outputs


def _plain(name: str) -> str:
    """Replace the characters that names of stages, seeds and files may not have."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)


def _relation(part: Part) -> str:
    assert part.reference is not None
    return part.reference.name


def _documents(shaped: Shaped, table: Table) -> frozenset[str]:
    """Find the source columns whose text is JSON: those of json columns, and objects kept as text."""
    named = (name for name in shaped.columns if name in table.columns)
    json_columns = {name for name in named if table.columns[name].kind in ("json", "jsonb")}
    return frozenset(json_columns) | shaped.trusted.intersection(shaped.columns)


def _grown(project: Project, stages: Sequence[Stage], outputs: Sequence[_Output]) -> Project:
    """Make the new project; it has another name, so that it gets another database on the embedded server."""
    environments = {
        name: replace(each, select=tuple(_selectors(each, stages, outputs)) or each.select)
        for name, each in project.environments.items()
    }
    filled = {each.seed.stage for each in outputs}
    new_stages = tuple(
        replace(
            stage,
            conditions=(),
            dependencies=tuple(name for name in stage.dependencies if name in filled),
            seeds=tuple(each.seed for each in outputs if each.seed.stage == stage.id),
        )
        for stage in stages
        if stage.id in filled
    )
    return replace(
        project,
        name=f"{project.name}-grown",
        stages=new_stages,
        seeds=(),
        environments=environments,
        targets={},
        transforms=None,
    )


def _selectors(
    environment: Environment, stages: Sequence[Stage], outputs: Sequence[_Output]
) -> Iterator[str]:
    """Translate an environment's selectors to the new seeds' names; tags and stages keep their names.

    What selects only seeds without rows is left out, since the new project does not have these.
    """
    kept = {each.seed.stage for each in outputs} | {
        f"tag:{tag}" for each in outputs for tag in each.seed.tags
    }
    for text in environment.select:
        if text.strip("+") in kept:
            yield text
            continue
        chosen = select(stages, (text,), (), Environment(name=environment.name)).stages
        old = {(stage.id, seed.name) for stage in chosen for seed in stage.seeds}
        for each in outputs:
            if (each.seed.stage, each.rows.load.seed) in old:
                yield f"{each.seed.stage}.{each.seed.name}"


# ---- write ----------------------------------------------------------------------------------------------


def _write_project(old: Project, new: Project, folder: Path) -> None:
    heading = f"# Grown from {old.name} by seedlab generate: its rows, repeated with numbered keys.\n\n"
    (folder / CONFIGURATION).write_text(heading + toml_writer.to_toml(new), encoding="utf-8")
    if old.schema is not None:
        script, _ = scripts.split(old.schema)
        (folder / script).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(scripts.find_script(old.root, script), folder / script)


def _write(output: _Output, repetitions: int, path: Path) -> None:
    """Write one file block by block; every format tells NULL from the empty text."""
    path.parent.mkdir(exist_ok=True)
    blocks = output.rows.blocks(repetitions, BLOCK_ROWS)
    match output.seed.files[0].format:
        case "parquet":
            pl.concat(list(blocks)).sink_parquet(path)
        case "csv":
            pl.concat(list(blocks)).sink_csv(path, quote_style="necessary")
        case "json":
            _write_lines(_lines(blocks, output), path, start="[\n", between=",\n", end="\n]\n")
        case "yaml":
            _write_lines(_lines(blocks, output), path, start="- ", between="\n- ", end="\n")
        case _:
            _write_lines(_lines(blocks, output), path, start="", between="\n", end="\n")


def _lines(blocks: Iterable[pl.LazyFrame], output: _Output) -> Iterator[pl.Series]:
    """Spell blocks of rows as series of JSON objects, one per line, which is also YAML.

    The text of columns that hold JSON is not quoted again.
    """
    names = output.rows.frame.columns
    texts = [name for name in names if name not in output.documents]
    line = [pl.struct(texts).struct.json_encode().str.head(-1)]
    for name in (name for name in names if name in output.documents):
        document = pl.col(name).str.replace_all(r"[\r\n]+", " ").fill_null("null")
        line += [pl.lit(f",{json.dumps(name, ensure_ascii=False)}:"), document]
    for block in blocks:
        yield block.select(pl.concat_str(*line, pl.lit("}")).alias("line")).collect()["line"]


def _write_lines(lines: Iterator[pl.Series], path: Path, *, start: str, between: str, end: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(start)
        for n, block in enumerate(lines):
            file.write(between if n else "")
            file.write(block.str.join(between).item())
        file.write(end)
