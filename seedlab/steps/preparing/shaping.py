"""Makes of flattened records the rows that each table is given; nested rows get a reference to their parent.

The result is one text frame for each seed and table (`Shaped`). If a file of a seed is larger than a batch,
its rows are not held. It is read once to find out which columns all records together have
(`frames.outlines`), so that every batch is shaped as the whole file would be. After that each table has its
rows as a stream of batches, which can be read as often as needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from seedlab.errors import ConfigurationError, DataFaults, Fault
from seedlab.flow import FILE, INDEX, PARENT, ROW, Catalog, Seed, Table, TableSpec
from seedlab.frames.files import flatten, outlines
from seedlab.frames.files.flatten import ROOT, Documents
from seedlab.frames.files.large import WHOLE, Piece
from seedlab.frames.files.literals import whole_columns
from seedlab.frames.files.outlines import Outline
from seedlab.plan import binder
from seedlab.plan.columns import Given
from seedlab.plan.relations import infer_link, name_value, parent_relation

STREAM_ROWS = 100_000  # in a batch of a large file

# The relation of a nested row to the enclosing record, and the columns by which that record is named.
Inherited = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shaped:
    """The rows that one seed's files give to one table, as text: the source columns, ROW and FILE.

    `frame` holds all rows. Where a file is larger than a batch it has the columns, but no row; then `stream`
    gives the rows in batches, as often as it is called, and `batches` gives those of one file, or of a piece
    of it. `trusted` columns hold JSON that seedlab wrote itself. `placed` is False where a transform dropped
    ROW or FILE, so that the record of a row is not known. `inherited` says by what nested rows refer to their
    parent.
    """

    seed: Seed
    spec: TableSpec
    frame: pl.DataFrame
    trusted: frozenset[str] = frozenset()
    placed: bool = True
    inherited: Inherited | None = None
    batches: Stream | None = field(default=None, repr=False)
    stream: Callable[[], Iterator[pl.DataFrame]] | None = field(default=None, repr=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """The source columns, without ROW and FILE."""
        return tuple(name for name in self.frame.columns if name not in (ROW, FILE))

    def with_columns(self, columns: Sequence[pl.Expr]) -> Shaped:
        """Add or replace columns of all rows, also of those that are streamed."""
        stream = self.stream

        def changed() -> Iterator[pl.DataFrame]:
            assert stream is not None
            return (batch.with_columns(columns) for batch in stream())

        return replace(self, frame=self.frame.with_columns(columns), stream=changed if stream else None)


def shape_seed(
    seed: Seed,
    frames: Sequence[Mapping[str, pl.DataFrame]],
    catalog: Catalog,
    trusted: Mapping[str, frozenset[str]],
) -> list[Shaped]:
    """Make the rows of each table from the frames by path of each of a seed's files.

    Parents are made before their children, since a child's reference is the parent's key, which may hold the
    grandparent's. `trusted` are by path the columns that hold JSON that seedlab wrote itself.
    Raises ConfigurationError for a list that fills no table.
    """
    specs = _all_specs(seed, {path for by_path in frames for path in by_path}, catalog)
    shaped_paths: list[dict[str, pl.DataFrame]] = [{} for _ in frames]
    shaped: list[Shaped] = []
    for path in sorted(specs, key=flatten.depth):
        if not any(path in by_path for by_path in frames):
            continue  # a file that is an empty list has no paths at all
        spec = specs[path]
        inherited = _inherited(spec, specs, shaped, catalog)
        for n, by_path in enumerate(frames):
            if path in by_path:
                shaped_paths[n][path] = shape_path(spec, by_path, shaped_paths[n], inherited, catalog)
        parts = [with_file(by_path[path], n) for n, by_path in enumerate(shaped_paths) if path in by_path]
        if parts:
            frame = pl.concat(parts, how="diagonal") if len(parts) > 1 else parts[0]
            own_json = trusted.get(path, frozenset()) if not _is_flat(seed) else frozenset()
            table = Shaped(seed=seed, spec=spec, frame=frame, trusted=own_json, inherited=inherited)
            shaped += [table] if frame.height or table.columns else []  # an empty list fills no table
    return shaped


def shape_path(
    spec: TableSpec,
    by_path: Mapping[str, pl.DataFrame],
    shaped_paths: Mapping[str, pl.DataFrame],
    inherited: Inherited | None,
    catalog: Catalog,
) -> pl.DataFrame:
    """Make the rows of one path in a file or in a batch; `shaped_paths` has those of the enclosing paths."""
    frame = by_path[spec.path]
    if inherited:
        frame = flatten.inherit(frame, shaped_paths[flatten.enclosing(spec.path, by_path)], *inherited)
        names = name_value(frame.columns, _table_of(catalog, spec), inherited[0])
        frame = frame.rename(names) if names else frame
    return flatten.fill(frame, spec.columns)


def with_file(frame: pl.DataFrame, file: int) -> pl.DataFrame:
    """Add the number of the rows' file as FILE, and drop their places in lists (PARENT and INDEX).

    A lazy query, or a new frame made of the columns, would cost more than all else that is done here for a
    small table.
    """
    own = frame.hstack([pl.Series(FILE, [file], dtype=pl.UInt16).new_from_index(0, frame.height)])
    for name in (PARENT, INDEX):
        if name in frame.columns:
            own.drop_in_place(name)
    return own


def _is_flat(seed: Seed) -> bool:
    """Tell whether the seed's files are flat; JSON in them was written by others, and has to be checked."""
    return any(file.format in ("csv", "tsv", "parquet") for file in seed.files)


def _all_specs(seed: Seed, paths: Collection[str], catalog: Catalog) -> dict[str, TableSpec]:
    """Map paths to the table specs that the seed declares, and to link tables inferred for other lists."""
    specs = {spec.path: spec for spec in reversed(seed.tables)}
    if seed.transform:  # it gets the columns of the records, and decides itself which tables they fill
        return {"$": specs["$"]}
    for path in sorted(paths - specs.keys(), key=flatten.depth):
        above = specs.get(flatten.enclosing(path, specs))
        table = _table_of(catalog, above) if above else None
        link = infer_link(catalog, table, path) if table else None
        if link is None:
            raise ConfigurationError(
                f"seed {seed.name}: the list '{path}' in {seed.files[0].name} matches no table; "
                f'name it under [stages.seeds.tables]: TABLE = {{ path = "{path}" }}'
            )
        specs[path] = link
    return specs


def _inherited(
    spec: TableSpec, specs: Mapping[str, TableSpec], shaped: Sequence[Shaped], catalog: Catalog
) -> Inherited | None:
    """Find by which relation and columns a path's rows refer to the enclosing record; None at the root."""
    if spec.path == "$":
        return None
    outer = flatten.enclosing(spec.path, specs)
    above = specs.get(outer)
    around = next((each for each in shaped if each.spec is above), None)
    if above is None or around is None:
        raise ConfigurationError(
            f"table {spec.table} has path '{spec.path}', but no table has the path '{outer}' that encloses it"
        )
    parent = _table_of(catalog, above)
    relation = parent_relation(_table_of(catalog, spec), parent.name, spec.parent)
    enclosing = Given(seed=around.seed, spec=above, columns=around.columns)
    return relation, binder.key_sources(catalog, enclosing)


def _table_of(catalog: Catalog, spec: TableSpec) -> Table:
    table = catalog.find(spec.table)
    if table is None:
        raise ConfigurationError(binder.no_table(catalog, spec.table))
    return table


# ---- in batches -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """Reads the rows of one table from the files of a seed, in batches; it can be pickled for a worker.

    `chain` has the tables from the root of the records to the one that is filled, `columns` the source
    columns that every batch has.
    """

    seed: Seed
    outlines: tuple[Outline, ...]
    chain: tuple[tuple[TableSpec, Inherited | None], ...]
    columns: tuple[str, ...]

    def batches(self, catalog: Catalog, file: int, piece: Piece = WHOLE) -> Iterator[pl.DataFrame]:
        """Read the rows of a file, by its number, or of a piece of it; ROW counts from the first of them."""
        path, documents = self.chain[-1][0].path, whole_columns(self.seed, catalog)
        for by_path in outlines.parts(self.outlines[file], documents, STREAM_ROWS, piece):
            if path not in by_path:
                continue
            shaped_paths: dict[str, pl.DataFrame] = {}
            for spec, inherited in self.chain:
                if spec.path in by_path:
                    shaped_paths[spec.path] = shape_path(spec, by_path, shaped_paths, inherited, catalog)
            yield from self._aligned(with_file(shaped_paths[path], file)).iter_slices(STREAM_ROWS)

    def _aligned(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Add the columns that only other files or batches have, as NULL."""
        missing = [name for name in self.columns if name not in frame.columns]
        whole = frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)
        return whole.select(*self.columns, ROW, FILE)


def shape_streams(seed: Seed, catalog: Catalog) -> list[Shaped]:
    """Make the tables of a seed with a large file, without rows, but each with a stream of them.

    Raises DataFaults for all misshapen records of all its files, ConfigurationError for a seed with a
    transform. Cost: files of JSON Lines are read once.
    """
    if seed.transform:
        raise ConfigurationError(
            f"seed {seed.name}: a transform is given all rows at once, since it may look at any of them, so "
            f"its files cannot be streamed, and {seed.files[0].name} is larger than a batch; raise "
            "--batch-rows to hold it in memory, or seed it without a transform"
        )
    documents = whole_columns(seed, catalog)
    found = _outlines(seed, documents)
    shaped = shape_seed(seed, [each.empty() for each in found], catalog, flatten.only_json(documents))
    return [_with_stream(each, shaped, found, catalog) for each in shaped]


def _outlines(seed: Seed, documents: Documents) -> tuple[Outline, ...]:
    found, faults = [], list[Fault]()
    for file in seed.files:
        try:
            found.append(outlines.outline(file, documents, STREAM_ROWS))
        except DataFaults as wrong:
            faults += wrong.faults
    if faults:
        raise DataFaults(faults)
    return tuple(found)


def _with_stream(
    nested: Shaped, shaped: list[Shaped], found: tuple[Outline, ...], catalog: Catalog
) -> Shaped:
    path = nested.spec.path
    around = [outer for outer in shaped if outer is not nested and _is_around(outer.spec.path, path)]
    chain = tuple((each.spec, each.inherited) for each in (*around, nested))
    batches = Stream(seed=nested.seed, outlines=found, chain=chain, columns=nested.columns)

    def stream() -> Iterator[pl.DataFrame]:
        for file in range(len(found)):
            yield from batches.batches(catalog, file)

    return replace(nested, batches=batches, stream=stream)


def _is_around(outer: str, path: str) -> bool:
    return path != ROOT and (outer == ROOT or path.startswith(f"{outer}."))
