"""From flattened records to what each table is given: nested rows get their parent's reference.

One text frame per seed and table (`Shaped`). Files of which one is larger than a batch are never held: first
it is found what all records have (`frames.outlines`), so that every batch is shaped as the whole file would
be; then each table that they fill has its rows batch by batch, as often as they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from seedlab.errors import ConfigurationError, DataFaults, Fault
from seedlab.flow import FILE, ROW, Catalog, Seed, Table, TableSpec
from seedlab.frames import flatten, outlines
from seedlab.frames.flatten import ROOT, Documents
from seedlab.frames.large import WHOLE, Piece
from seedlab.frames.literals import whole_columns
from seedlab.frames.outlines import Outline
from seedlab.plan import schema
from seedlab.plan.columns import Given
from seedlab.plan.relations import infer_link, name_value, parent_relation

STREAM_ROWS = 100_000  # of a batch while a large file is gone through

# The relation to the record around, and the columns by which that is named.
Inherited = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shaped:
    """What one seed's files give one table, as text: source columns, ROW and FILE.

    `frame` holds all rows, or none of them where the files are larger than a batch; `stream` then gives
    them batch by batch, as often as it is called, and `batches` those of each file as they stand there.
    `trusted` columns hold JSON that we wrote ourselves. `placed` is False where a transform dropped ROW or
    FILE, so that a row's record is not known. `inherited` is what nested rows got of the record around them.
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


def shape_seed(
    seed: Seed,
    frames: Sequence[Mapping[str, pl.DataFrame]],
    catalog: Catalog,
    trusted: Mapping[str, frozenset[str]],
) -> list[Shaped]:
    """Make one frame per table of the frames by path of each of a seed's files.

    Top-down, so that a child finds its parent's key, which may hold the grandparent's. `trusted` are the
    columns by path that hold JSON of our own.
    """
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
                done[n][path] = shape_path(spec, by_path, done[n], inherited, catalog)
        parts = [placed(by_path[path], n) for n, by_path in enumerate(done) if path in by_path]
        if parts:
            frame = pl.concat(parts, how="diagonal") if len(parts) > 1 else parts[0]
            known = trusted.get(path, frozenset()) if not _is_flat(seed) else frozenset()
            made = Shaped(seed=seed, spec=spec, frame=frame, trusted=known, inherited=inherited)
            shaped += [made] if frame.height or made.columns else []  # an empty list says nothing
    return shaped


def shape_path(
    spec: TableSpec,
    by_path: Mapping[str, pl.DataFrame],
    done: Mapping[str, pl.DataFrame],
    inherited: Inherited | None,
    catalog: Catalog,
) -> pl.DataFrame:
    """Make what the table is given of one path's rows of a file, or of a batch of it.

    `done` are those of the paths around it.
    """
    frame = by_path[spec.path]
    if inherited:
        frame = flatten.inherit(frame, done[flatten.enclosing(spec.path, by_path)], *inherited)
        names = name_value(frame.columns, _known(catalog, spec), inherited[0])
        frame = frame.rename(names) if names else frame
    return flatten.fill(frame, spec.columns)


def placed(frame: pl.DataFrame, file: int) -> pl.DataFrame:
    """Say which file the rows are of, and forget their place in their lists.

    Eager, and not as a frame of its columns: either costs a small table more than all else that is done here.
    """
    own = frame.hstack([pl.Series(FILE, [file], dtype=pl.UInt16).new_from_index(0, frame.height)])
    for name in (flatten.PARENT, flatten.INDEX):
        if name in frame.columns:
            own.drop_in_place(name)
    return own


def _is_flat(seed: Seed) -> bool:
    """Tell whether the files' JSON is text that somebody else wrote, as in CSV and Parquet."""
    return any(file.format in ("csv", "tsv", "parquet") for file in seed.files)


def _all_specs(seed: Seed, paths: Collection[str], catalog: Catalog) -> dict[str, TableSpec]:
    """Map paths to table specs.

    Those that the seed declares, and link tables inferred for its other lists.
    """
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
) -> Inherited | None:
    """Find what a path's rows get of the record around them, of which `shaped` has the columns."""
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


# ---- in batches -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """How the files of a seed give the rows of one table, batch by batch; it can be sent to a worker.

    `chain` are the tables from the record to the one that is filled. `columns` are those of all batches.
    """

    seed: Seed
    outlines: tuple[Outline, ...]
    chain: tuple[tuple[TableSpec, Inherited | None], ...]
    columns: tuple[str, ...]

    def batches(self, catalog: Catalog, file: int, piece: Piece = WHOLE) -> Iterator[pl.DataFrame]:
        """Give the rows of a file by its number, or of a piece of it; ROW counts from its first."""
        path, documents = self.chain[-1][0].path, whole_columns(self.seed, catalog)
        for by_path in outlines.parts(self.outlines[file], documents, STREAM_ROWS, piece):
            if path not in by_path:
                continue
            done: dict[str, pl.DataFrame] = {}
            for spec, inherited in self.chain:
                if spec.path in by_path:
                    done[spec.path] = shape_path(spec, by_path, done, inherited, catalog)
            yield from self._aligned(placed(done[path], file)).iter_slices(STREAM_ROWS)

    def _aligned(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Give a batch the columns that only other files have, as NULL."""
        missing = [name for name in self.columns if name not in frame.columns]
        whole = frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)
        return whole.select(*self.columns, ROW, FILE)


def streamed(seed: Seed, catalog: Catalog) -> list[Shaped]:
    """Shape a seed's tables without any row, each with a stream of them.

    Raises DataFaults with all misshapen records of all its files. Cost: JSON Lines are gone through once.
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
