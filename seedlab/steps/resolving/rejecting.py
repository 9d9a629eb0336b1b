"""Rejects rows that cannot be written, and all rows that depend on them, so that the others can be written.

A row is rejected with its parent if the target has no such parent either. A nested record is rejected with
the record around it. Rows and the parents that they refer to are found by handles, without joins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from seedlab.errors import ConfigurationError, Fault
from seedlab.flow import FILE, HANDLE, LINE, REASON, ROW, Catalog, Load, LoadName, Refusal, SourceFile
from seedlab.frames import ids, tracing
from seedlab.frames.cache import SeedCache
from seedlab.frames.dependents import (
    AROUND,
    NEVER,
    PLACE,
    Link,
    Node,
    Rejected,
    as_broken,
    dependents,
    follow,
    is_in,
)
from seedlab.frames.files import flatten, positions, rejects
from seedlab.frames.files.flatten import ROOT
from seedlab.frames.files.literals import whole_columns
from seedlab.frames.files.nesting import NESTED, RECORD, nesting
from seedlab.frames.resolve import Naming, alternative_column, reference_column
from seedlab.frames.rules import BROKEN, REJECTED_PARENT, Broken, Rule
from seedlab.plan.relations import parent_relation
from seedlab.steps.resolving.lookups import Question, parent_questions
from seedlab.steps.resolving.rows import Rows, paths_of

# Rules by which a database refuses single rows. Any other refusal ends the run.
ROW_RULES = frozenset(
    {"constraint", "unique", "not-null", "id-conflict", "type", "overflow", "rounding", "too-long"}
)
REASON_SEPARATOR = " | "  # between the reasons why one record was rejected


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rejection:
    """The rows that remain, and the rules that the rejected rows break."""

    rows: list[Rows]
    broken: list[Broken]


# ---- what the caller calls ------------------------------------------------------------------------------


def questions(
    rows: Sequence[Rows], broken: Sequence[Broken], naming: Naming, cache: SeedCache, filled: frozenset[str]
) -> list[Question]:
    """List what the target must be asked before `reject`: whether it has the parents that would be rejected.

    `filled` are the tables that have rows. The answers go into the cache, like those to
    `lookups.questions`.
    """
    rejected = _rejected_rows(_nodes(rows, naming), broken, cache)
    wanted = ids.referred_columns([each.load for each in rows])
    found: list[Question] = []
    asked: dict[str, list[pl.Series]] = {}
    for each in rows:
        for index, reference in enumerate(each.load.references):
            label = naming.label(reference.parent, reference.parts)
            if label not in rejected.names or reference.parent not in filled:
                continue
            handles = each.handled.frame.get_column(reference_column(index))
            unknown = cache.unasked(label, handles.filter(is_in(handles, rejected.names[label])))
            unknown = unknown.filter(~is_in(unknown, pl.concat(asked.get(label, [unknown.clear()]))))
            if len(unknown):
                asked.setdefault(label, []).append(unknown)
                found += parent_questions(each, index, naming, unknown, wanted.get(reference.parent, ()))
    return found


def reject(rows: Sequence[Rows], broken: Sequence[Broken], naming: Naming, cache: SeedCache) -> Rejection:
    """Reject the rows that break a rule, and all rows that depend on them.

    The result does not depend on the order of files or rows. Raises ConfigurationError where a transform
    hides which record a row is of. Cost: one pass over the rows per round, with as many rounds as the longest
    chain of references.
    """
    _refuse_rows_without_record(rows, broken)
    nodes = _nodes(rows, naming)
    rejected = _rejected_rows(nodes, broken, cache)
    kept = [
        each.with_frame(each.handled.frame.filter(~mask))
        for each, mask in zip(rows, rejected.masks, strict=True)
    ]
    return Rejection(rows=kept, broken=[*_with_earlier_duplicates(broken), *dependents(nodes, rejected)])


def faults(rows: Sequence[Rows], broken: Sequence[Broken]) -> list[Fault]:
    """Make a fault, with its line, for every rejected row, for the run's record."""
    return tracing.trace(broken, paths_of(rows), every=True)


def rejected_counts(broken: Sequence[Broken]) -> dict[LoadName, int]:
    """Count the rejected rows of each load."""
    return {load.name: places.height for load, places in _places(broken).items()}


def rejected_handles(rows: Sequence[Rows], broken: Sequence[Broken]) -> dict[str, pl.Series]:
    """Collect the handles of rejected rows, by table; NULL for a row whose key is not complete."""
    places = _places(broken)
    found: dict[str, pl.Series] = {}
    for each in rows:
        if (wrong := places.get(each.load)) is not None:
            series = each.handled.frame.join(wrong, on=[FILE, ROW], how="semi")[HANDLE]
            found[each.load.table] = pl.concat([found.get(each.load.table, series.clear()), series])
    return found


def write_files(
    rows: Sequence[Rows], broken: Sequence[Broken], catalog: Catalog, folder: Path
) -> dict[str, Path]:
    """Write the records of rejected rows to files in `folder`; returns the paths by the sources' names."""
    places = _places(broken)
    locations = {
        each.load: _locations(each, wrong, catalog)
        for each in rows
        if (wrong := places.get(each.load)) is not None
    }
    reasons: dict[SourceFile, list[pl.DataFrame]] = {}
    for each in broken:
        for (number,), frame in _reasons(each, locations).group_by(FILE, maintain_order=True):
            reasons.setdefault(each.load.files[int(str(number))], []).append(frame.drop(FILE))
    written = {}
    for file in sorted(reasons, key=lambda file: file.name):
        records = (
            pl.concat(reasons[file]).select(pl.col(RECORD).alias(ROW), REASON).unique(maintain_order=True)
        )
        joined = records.group_by(ROW).agg(pl.col(REASON).str.join(REASON_SEPARATOR)).sort(ROW)
        lines = _lines(file, ROOT, joined.get_column(ROW))
        rejected = joined.join(lines, on=ROW, how="left", maintain_order="left")
        written[file.name] = rejects.write(file, rejected.select(rejects.REJECTED.names()), folder)
    return written


def broken_by_checks(refusals: Iterable[Refusal], rows: Sequence[Rows]) -> list[Broken]:
    """Turn rows that the target would refuse into broken rules."""
    # A load may have been planned with an id that the database makes (`write_plan.with_sequences`). Then it
    # differs from the load of the rows in `made`.
    loads = {replace(each.load, made=None): each.load for each in rows}
    return [
        Broken(
            load=loads[replace(each.load, made=None)],
            rule=Rule(name=each.rule, column=each.column, message=each.message, bad=NEVER),
            frame=as_broken(each.frame),
        )
        for each in refusals
    ]


def broken_by_database(found: Sequence[Fault], rows: Sequence[Rows]) -> tuple[list[Broken], list[Fault]]:
    """Split the faults of a failed write into rows that can be rejected, and faults that end the run."""
    loads = {
        (file.name, each.load.table): (each.load, n)
        for each in rows
        for n, file in enumerate(each.load.files)
    }
    grouped: dict[tuple[Load, str, str, str], list[tuple[int, int]]] = {}
    fatal = []
    for fault in found:
        load, file = loads.get((fault.file or "", fault.table or ""), (None, 0))
        if load is None or fault.row is None or fault.rule not in ROW_RULES:
            fatal.append(fault)
        else:
            group = grouped.setdefault((load, fault.rule, fault.column or "", fault.message), [])
            group.append((file, fault.row))
    schema = pl.Schema({FILE: BROKEN[FILE], ROW: BROKEN[ROW]})
    broken = [
        Broken(
            load=load,
            rule=Rule(name=rule, column=column, message=message, bad=NEVER),
            frame=as_broken(pl.DataFrame(places, schema=schema, orient="row")),
        )
        for (load, rule, column, message), places in grouped.items()
    ]
    return broken, fatal


def _refuse_rows_without_record(rows: Sequence[Rows], broken: Sequence[Broken]) -> None:
    """Raise ConfigurationError if a transform has dropped the columns that say of which record a row is."""
    wrong = {each.load for each in broken}
    for each in rows:
        if each.load in wrong and not each.shaped.placed:
            raise ConfigurationError(
                f"seed {each.load.seed}: rows of {each.load.table} are faulty, and cannot be rejected: the "
                f"transform {each.shaped.seed.transform} drops {FILE} or {ROW}, which say which record a row "
                "comes from; keep these columns, or seed without --on-error reject to see the faults"
            )


def _with_earlier_duplicates(broken: Sequence[Broken]) -> Iterator[Broken]:
    """Add, for a key that an earlier seed has, too, the rows of that seed, since both are wrong."""
    for each in broken:
        yield each
        if each.rule.name == "duplicate-key":
            yield from each.before


# ---- which rows depend on which -------------------------------------------------------------------------


def _rejected_rows(nodes: Sequence[Node], broken: Sequence[Broken], cache: SeedCache) -> Rejected:
    places = _places(_with_earlier_duplicates(broken))
    return follow(nodes, [node.at(places.get(node.load)) for node in nodes], cache.found)


def _nodes(rows: Sequence[Rows], naming: Naming) -> list[Node]:
    return [_node(each, rows, naming) for each in rows]


def _node(rows: Rows, all_rows: Sequence[Rows], naming: Naming) -> Node:
    table, frame = rows.load.table, rows.handled.frame
    other_names = {label: alternative_column(label) for label in naming.alternatives.get(table, {})}
    return Node(
        load=rows.load,
        frame=frame,
        names={
            table: HANDLE,
            **{label: column for label, column in other_names.items() if column in frame.columns},
            (rows.load.seed, rows.shaped.spec.path): PLACE,
        },
        links=[*_references(rows, naming), *_enclosing_link(rows, all_rows, naming)],
        nested=lambda: _nested(rows, range(len(rows.load.files)), naming.catalog),
    )


def _references(rows: Rows, naming: Naming) -> Iterator[Link]:
    for index, reference in enumerate(rows.load.references):
        yield Link(
            label=naming.label(reference.parent, reference.parts),
            column=reference_column(index),
            parent=reference.parent,
            source=reference.sources()[0],
            relation=reference.name,
        )


def _enclosing_link(rows: Rows, all_rows: Sequence[Rows], naming: Naming) -> Iterator[Link]:
    """Link a nested load to the load of the records around it; the root has no link."""
    spec = rows.shaped.spec
    if spec.path == ROOT:
        return
    by_path = {each.shaped.spec.path: each for each in all_rows if each.load.seed == rows.load.seed}
    around = by_path.get(flatten.enclosing(spec.path, by_path))
    if around is not None:
        parent = around.load.table
        relation = parent_relation(naming.catalog.tables[rows.load.table], parent, spec.parent)
        sources = (each.sources()[0] for each in rows.load.references if each.name == relation)
        yield Link(
            label=(rows.load.seed, around.shaped.spec.path),
            column=AROUND,
            parent=parent,
            source=next(sources, ""),
            relation=relation,
        )


def _places(broken: Iterable[Broken]) -> dict[Load, pl.DataFrame]:
    """Collect by load FILE and ROW of the rows that break some rule."""
    found: dict[Load, list[pl.DataFrame]] = {}
    for each in broken:
        found.setdefault(each.load, []).append(each.frame.select(FILE, ROW))
    return {load: pl.concat(frames).unique(maintain_order=True) for load, frames in found.items()}


def _nested(rows: Rows, files: Iterable[int], catalog: Catalog) -> pl.DataFrame:
    """Find in which record each nested row of these files lies: a frame of NESTED, with FILE."""
    documents, path = whole_columns(rows.shaped.seed, catalog), rows.shaped.spec.path
    found = [
        nesting(rows.load.files[n], documents)
        .get(path, pl.DataFrame(schema=NESTED))
        .with_columns(pl.lit(n, dtype=pl.UInt16).alias(FILE))
        for n in files
    ]
    return pl.concat(found)


# ---- reasons --------------------------------------------------------------------------------------------


def _locations(rows: Rows, places: pl.DataFrame, catalog: Catalog) -> pl.DataFrame:
    """Locate rows: a frame of FILE, ROW, the row's RECORD and LINE, and `at`, its path in the record."""
    path = rows.shaped.spec.path
    files = places.get_column(FILE).unique().sort().to_list()
    if path == ROOT:
        placed = places.with_columns(pl.col(ROW).alias(RECORD))
    else:
        nested = _nested(rows, files, catalog).select(FILE, ROW, RECORD)
        placed = places.join(nested, on=[FILE, ROW], how="left", maintain_order="left")
    lines = [
        _lines(rows.load.files[n], path, placed.filter(pl.col(FILE) == n).get_column(ROW)).with_columns(
            pl.lit(n, dtype=pl.UInt16).alias(FILE)
        )
        for n in files
    ]
    found = placed.join(pl.concat(lines), on=[FILE, ROW], how="left", maintain_order="left")
    # Nested rows of Parquet have no line of their own, so they get the number of their record.
    return found.with_columns(pl.col(LINE).fill_null(pl.col(RECORD) + 1))


def _lines(file: SourceFile, path: str, rows: pl.Series) -> pl.DataFrame:
    """Find where rows begin: a frame of ROW, LINE and `at`, a nested row's path in its record."""
    located = positions.locate(file, path, rows.to_list())
    frame = pl.DataFrame(
        {
            ROW: list(located),
            LINE: [each.line for each in located.values()],
            "at": [None if path == ROOT else each.path for each in located.values()],
        },
        schema={ROW: pl.UInt32, LINE: pl.UInt32, "at": pl.String},
    )
    # The record's number is cut off, since it is another one in the file of rejected records.
    return frame.with_columns(pl.col("at").str.replace(r"^\$(\[[0-9]+\])?\.", ""))


def _reasons(broken: Broken, locations: Mapping[Load, pl.DataFrame]) -> pl.DataFrame:
    """Make a frame of FILE, RECORD and REASON, with one row for every broken row."""
    before = [_parent_places(each, locations[each.load]) for each in broken.before if each.load in locations]
    frame = broken.frame.join(locations[broken.load], on=[FILE, ROW], how="left", maintain_order="left")
    parent_place = pl.lit("")
    if broken.rule.name == REJECTED_PARENT and before:
        parents = pl.concat(before).unique(subset=["same"], keep="first", maintain_order=True)
        frame = frame.join(parents, on="same", how="left", maintain_order="left")
        parent_place = pl.concat_str(pl.lit(", "), "where").fill_null("")
    message = pl.lit(f"{broken.rule.name}: {broken.rule.message}")
    path = pl.concat_str("at", pl.lit(": ")).fill_null("")
    return frame.select(FILE, RECORD, pl.concat_str(path, message, parent_place).alias(REASON))


def _parent_places(broken: Broken, locations: pl.DataFrame) -> pl.DataFrame:
    """Make a frame of `same`, by which dependents find their parent, and `where` the parent is: FILE:LINE."""
    names = pl.DataFrame(
        {FILE: range(len(broken.load.files)), "_name": [file.name for file in broken.load.files]},
        schema={FILE: pl.UInt16, "_name": pl.String},
    )
    found = broken.frame.join(locations, on=[FILE, ROW], how="inner", maintain_order="left")
    found = found.join(names, on=FILE, how="left", maintain_order="left")
    where = pl.concat_str("_name", pl.lit(":"), pl.col(LINE).cast(pl.String))
    return found.select("same", where.alias("where"))
