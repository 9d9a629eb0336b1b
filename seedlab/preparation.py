"""The first half of a run: from files to rows whose every name is understood. Writes nothing.

files → sources → one text frame per seed and table (`Shaped`) → loads (`plan.schema`) → handles. It stands
above the rooms, as the orchestrator does, and passes values between them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from seedlab.errors import ConfigurationError, DataFaults, Fault
from seedlab.flow import (
    FILE,
    ROW,
    Catalog,
    Recorder,
    Seed,
    Settings,
    SourceFile,
    Stage,
    Table,
    TableSpec,
)
from seedlab.frames import flatten, large, sources
from seedlab.frames.literals import whole_columns
from seedlab.frames.sources import Flat, LazyDataLoader, Records
from seedlab.plan import ready, schema
from seedlab.plan.relations import infer_link, name_value, parent_relation
from seedlab.plan.schema import Given

STREAM_ROWS = 100_000  # of a batch while a large file is gone through


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shaped:
    """What one seed's files give one table, as text: source columns, ROW and FILE.

    `frame` holds all rows, or none of them where the files are larger than a batch; `stream` then gives
    them batch by batch, as often as it is called. `trusted` columns hold JSON that we wrote ourselves.
    `placed` is False where a transform dropped ROW or FILE, so that a row's record is not known.
    """

    seed: Seed
    spec: TableSpec
    frame: pl.DataFrame
    trusted: frozenset[str] = frozenset()
    placed: bool = True
    stream: Callable[[], Iterator[pl.DataFrame]] | None = field(default=None, repr=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """Source columns, without those of our own."""
        return tuple(name for name in self.frame.columns if name not in (ROW, FILE))


# ---- read -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Large:
    """A file larger than a batch: never held whole, gone through as often as needed."""

    file: SourceFile


Source = Flat | Records | Large


def read(stages: Sequence[Stage], settings: Settings, recorder: Recorder) -> dict[str, list[Source]]:
    """Open every file once, parsed but for large ones; the faults of all files come out together.

    Seeds are read as a ready queue hands them out, on as many threads as there are workers.
    """
    seeds = {seed.name: seed for stage in stages for seed in stage.seeds}
    loader = LazyDataLoader(Counter(file.path for seed in seeds.values() for file in seed.files))
    opened: dict[str, list[Source]] = {}
    faults: list[Fault] = []

    def load(name: str) -> None:
        opened[name] = []
        with recorder.span("read", seed=seeds[name]):
            for file in seeds[name].files:
                if large.is_large(file, settings.batch_rows):
                    opened[name].append(Large(file=file))
                    continue
                try:
                    source = loader.load(file)
                    recorder.count(rows=len(source.records) if isinstance(source, Records) else 0)
                    opened[name].append(source)
                except DataFaults as found:
                    faults.extend(found.faults)
                finally:
                    loader.release(file)

    ready.run(ready.ReadyQueue(_reading(stages)), load, _readers(seeds.values(), settings))
    if faults:
        raise DataFaults(sorted(faults, key=lambda fault: (fault.file or "", fault.line or 0)))
    return opened


def _reading(stages: Sequence[Stage]) -> list[ready.Task]:
    """Reading waits for nothing, but in a stage that is not parallel: that runs alone and as listed."""
    return [
        ready.Task(
            id=seed.name,
            dependencies=() if stage.parallel or seed is stage.seeds[0] else (before.name,),
            priority=seed.priority,
            estimated_ms=seed.estimated_ms or 0,
            parallel=stage.parallel,
        )
        for stage in stages
        for before, seed in zip((*stage.seeds[:1], *stage.seeds), stage.seeds, strict=False)
    ]


def _readers(seeds: Iterable[Seed], settings: Settings) -> int:
    """Threads where there is much to parse; below a megabyte they cost more than they save."""
    much = sum(file.path.stat().st_size for seed in seeds for file in seed.files) > 1 << 20
    return concurrency(settings) if much else 1


def concurrency(settings: Settings) -> int:
    """Say how much may be in work at the same time: the workers, by default one per core."""
    return (settings.workers or os.cpu_count() or 1) if "parallel" in settings.switches else 1


# ---- shape ----------------------------------------------------------------------------------------------


def shape(
    seeds: Sequence[Seed],
    opened: Mapping[str, Sequence[Source]],
    catalog: Catalog,
    recorder: Recorder,
) -> list[Shaped]:
    """Make one text frame per seed and table; nested records get their parent's reference.

    Small flat files are parsed in one go; files larger than a batch are left to be streamed.
    """
    flats = {
        (seed.name, n): source
        for seed in seeds
        for n, source in enumerate(opened[seed.name])
        if isinstance(source, Flat)
    }
    with recorder.span("read"):
        parsed = sources.collect(flats)
        recorder.count(rows=sum(frame.height for frame in parsed.values()))
    shaped: list[Shaped] = []
    for seed in seeds:
        with recorder.span("flatten", seed=seed):
            documents = whole_columns(seed, catalog)
            if any(isinstance(source, Large) for source in opened[seed.name]):
                shaped.append(_streamed(seed, documents))
                continue
            frames = [
                flatten.flatten(source, documents)
                if isinstance(source, Records)
                else flatten.split(source.file, parsed[seed.name, n], documents)
                for n, source in enumerate(opened[seed.name])
                if not isinstance(source, Large)
            ]
            made = _shape_seed(seed, frames, catalog, trusted=flatten.only_json(documents))
            recorder.count(rows=sum(each.frame.height for each in made))
            shaped += made
    return shaped


def _streamed(seed: Seed, documents: flatten.Documents) -> Shaped:
    """Files of which one is larger than a batch fill one table, column by column as they stand."""
    if len(seed.tables) != 1 or seed.tables[0].path != "$" or seed.transform:
        raise ConfigurationError(
            f"seed {seed.name}: {seed.files[0].name} is larger than a batch, and only a flat file for "
            "one table can be streamed; raise --batch-rows, or split the file"
        )
    spec = seed.tables[0]

    def batches() -> Iterator[pl.DataFrame]:
        for n, file in enumerate(seed.files):
            for batch in large.batches(file, STREAM_ROWS):
                yield shape_batch(batch, documents, spec, n)

    columns: dict[str, None] = {}
    for file in seed.files:
        columns |= dict.fromkeys(_large_columns(file, documents))
    empty = pl.DataFrame(schema={**dict.fromkeys(columns, pl.String), ROW: pl.UInt32})
    return Shaped(
        seed=seed,
        spec=spec,
        frame=_finished(empty, spec, 0),
        stream=lambda: (_with_columns(frame, columns, spec) for frame in batches()),
    )


def shape_batch(
    batch: pl.DataFrame | Records, documents: flatten.Documents, spec: TableSpec, file: int
) -> pl.DataFrame:
    """Make of some records of a seed's `file`-th file what its one table is given."""
    return _finished(_flat_frame(batch, documents), spec, file)


def _flat_frame(batch: pl.DataFrame | Records, documents: flatten.Documents) -> pl.DataFrame:
    if isinstance(batch, pl.DataFrame):
        return batch
    frames = flatten.flatten(batch, documents)
    if set(frames) != {"$"}:
        raise ConfigurationError(
            f"{batch.file.name} is larger than a batch and has lists ({', '.join(set(frames) - {'$'})}); "
            "only flat records can be streamed; raise --batch-rows, or split the file"
        )
    return frames["$"]


def _large_columns(file: SourceFile, documents: flatten.Documents) -> Iterator[str]:
    """Columns of a large file: of CSV and Parquet by the header, of JSONL by going through it."""
    for batch in large.batches(file, STREAM_ROWS):
        yield from (name for name in _flat_frame(batch, documents).columns if name != ROW)
        if file.format != "jsonl":
            return


def _with_columns(frame: pl.DataFrame, columns: Iterable[str], spec: TableSpec) -> pl.DataFrame:
    """Give a batch the columns that only other batches have, as NULL."""
    renamed = {source: name for name, source in spec.columns.items()}
    missing = [name for name in columns if renamed.get(name, name) not in frame.columns]
    return (
        frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)
        if missing
        else frame
    )


def _finished(frame: pl.DataFrame, spec: TableSpec, file: int) -> pl.DataFrame:
    return _placed(flatten.fill(frame, spec.columns), file)


def _shape_seed(
    seed: Seed,
    frames: Sequence[Mapping[str, pl.DataFrame]],
    catalog: Catalog,
    trusted: Mapping[str, frozenset[str]],
) -> list[Shaped]:
    """Top-down, so that a child finds its parent's key, which may hold the grandparent's."""
    specs = _all_specs(seed, {path for by_path in frames for path in by_path}, catalog)
    done: list[dict[str, pl.DataFrame]] = [{} for _ in frames]
    shaped: list[Shaped] = []
    for path in sorted(specs, key=_depth):
        if not any(path in by_path for by_path in frames):
            continue  # nothing around it either, where a file is an empty list
        spec = specs[path]
        inherited = _inherited(spec, specs, shaped, catalog)
        for n, by_path in enumerate(frames):
            if path in by_path:
                frame = by_path[path]
                if inherited:
                    frame = flatten.inherit(frame, done[n][flatten.enclosing(path, by_path)], *inherited)
                    names = name_value(frame.columns, _known(catalog, spec), inherited[0])
                    frame = frame.rename(names) if names else frame
                done[n][path] = flatten.fill(frame, spec.columns)
        parts = [_placed(by_path[path], n) for n, by_path in enumerate(done) if path in by_path]
        if parts:
            frame = pl.concat(parts, how="diagonal") if len(parts) > 1 else parts[0]
            known = trusted.get(path, frozenset()) if not _is_flat(seed) else frozenset()
            made = Shaped(seed=seed, spec=spec, frame=frame, trusted=known)
            shaped += [made] if frame.height or made.columns else []  # an empty list says nothing
    return shaped


def _placed(frame: pl.DataFrame, file: int) -> pl.DataFrame:
    """Say which file the rows are of, and forget their place in their lists. Eager, column by column: a
    lazy detour would cost a millisecond a table.
    """
    own = [each for each in frame.get_columns() if each.name not in (flatten.PARENT, flatten.INDEX)]
    return pl.DataFrame([*own, pl.Series(FILE, [file], dtype=pl.UInt16).new_from_index(0, frame.height)])


def _is_flat(seed: Seed) -> bool:
    """CSV and Parquet hold JSON as text that somebody else wrote."""
    return any(file.format in ("csv", "tsv", "parquet") for file in seed.files)


def _all_specs(seed: Seed, paths: Collection[str], catalog: Catalog) -> dict[str, TableSpec]:
    """What the seed declares, and the link tables that its other lists fill."""
    specs = {spec.path: spec for spec in reversed(seed.tables)}
    if seed.transform:  # it is given the records' own columns, and says itself which tables they fill
        return {"$": specs["$"]}
    for path in sorted(paths - specs.keys(), key=_depth):
        above = specs.get(flatten.enclosing(path, specs))
        table = _known(catalog, above) if above else None
        link = infer_link(catalog, table, path) if table else None
        if link is None:
            raise ConfigurationError(
                f"seed {seed.name}: the list '{path}' in {seed.files[0].name} fills no table we can tell; "
                f'say which under [stages.seeds.tables]: TABLE = {{ path = "{path}" }}'
            )
        specs[path] = link
    return specs


def _inherited(
    spec: TableSpec, specs: Mapping[str, TableSpec], shaped: Sequence[Shaped], catalog: Catalog
) -> tuple[str, tuple[str, ...]] | None:
    """The relation to the enclosing record, and the columns that name it."""
    if spec.path == "$":
        return None
    outer = flatten.enclosing(spec.path, specs)
    above = specs.get(outer)
    around = next((each for each in shaped if each.spec is above), None)
    if above is None or around is None:
        raise ConfigurationError(
            f"table {spec.table} has path '{spec.path}', but no table has the path '{outer}' around it"
        )
    parent = _known(catalog, above)
    relation = parent_relation(_known(catalog, spec), parent.name, spec.parent)
    given = Given(seed=around.seed, spec=above, columns=around.columns)
    return relation, schema.key_sources(catalog, given)


def _known(catalog: Catalog, spec: TableSpec) -> Table:
    table = catalog.find(spec.table)
    if table is None:
        raise ConfigurationError(schema.no_table(catalog, spec.table))
    return table


def _depth(path: str) -> tuple[int, str]:
    return (0 if path == "$" else path.count(".") + 1, path)
