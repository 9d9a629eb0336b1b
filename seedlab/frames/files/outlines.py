"""Determine the paths and columns of a whole file before its rows are read in batches.

A single batch does not show all: a relation that is null in all its records may be an object in another
batch, and a list that none of its records has may still fill a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from seedlab.flow import INDEX, PARENT, ROW, SourceFile
from seedlab.frames.files import large
from seedlab.frames.files.documents import Records
from seedlab.frames.files.faults import FaultList
from seedlab.frames.files.flatten import ROOT, Documents, Shape, Shapes, flatten, survey
from seedlab.frames.files.large import WHOLE, Piece
from seedlab.frames.files.splitting import split


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outline:
    """The paths of a file and their columns; its size does not depend on the number of rows."""

    file: SourceFile
    shapes: Shapes

    def empty(self) -> dict[str, pl.DataFrame]:
        """Return the frames of all paths without rows."""
        return {path: self.complete(path, _no_rows(path)) for path in self.shapes}

    def complete(self, path: str, frame: pl.DataFrame) -> pl.DataFrame:
        """Add the columns that only other batches have as NULL, and order all columns."""
        shape = self.shapes[path]
        names = shape.own(shape.columns)
        missing = [name for name in names if name not in frame.columns]
        if missing:
            frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)
        return frame.select(*_no_rows(path).columns, *names)


def _no_rows(path: str) -> pl.DataFrame:
    places = (ROW,) if path == ROOT else (ROW, PARENT, INDEX)
    return pl.DataFrame(schema=dict.fromkeys(places, pl.UInt32))


def outline(file: SourceFile, documents: Documents, batch_rows: int) -> Outline:
    """Determine a file's outline: for JSONL, JSON and YAML from all records, else from header or schema.

    Raises DataFaults with all records whose shapes contradict each other.
    """
    shapes: Shapes = {}
    faults = FaultList(file)
    for batch in large.batches(file, batch_rows):
        if isinstance(batch, pl.DataFrame):
            return Outline(file=file, shapes=_shapes(split(file, batch, documents)))
        survey(batch, documents, shapes, faults)
    if faults.found or any(_is_doubtful(shape) for shape in shapes.values()):
        faults = _faults(file, documents, batch_rows, shapes)
    faults.check()
    return Outline(file=file, shapes=shapes)


def _shapes(frames: dict[str, pl.DataFrame]) -> Shapes:
    own = {ROW, PARENT, INDEX}
    return {
        path: Shape(columns=dict.fromkeys(name for name in frame.columns if name not in own))
        for path, frame in frames.items()
    }


def _is_doubtful(shape: Shape) -> bool:
    """Tell whether some records may have a scalar where others have an object or a list; null is neither."""
    return not (shape.objects | shape.lists).isdisjoint(shape.columns)


def _faults(file: SourceFile, documents: Documents, batch_rows: int, shapes: Shapes) -> FaultList:
    """Read the records once more to locate faults, now that the shapes of all of them are known."""
    faults = FaultList(file)
    for shape in shapes.values():
        shape.reported.clear()
    for batch in large.batches(file, batch_rows):
        assert isinstance(batch, Records)
        survey(batch, documents, shapes, faults)
    return faults


def parts(
    known: Outline, documents: Documents, batch_rows: int, piece: Piece = WHOLE
) -> Iterator[dict[str, pl.DataFrame]]:
    """Read a file, or a piece of it, in batches; yield a frame with all columns per path of each batch.

    ROW counts through all batches, per path; PARENT is an index into the parent's frame of the same batch.
    """
    rows: dict[str, int] = {}
    for batch in large.batches(known.file, batch_rows, piece):
        frames = (
            split(known.file, batch, documents, rows)
            if isinstance(batch, pl.DataFrame)
            else flatten(batch, documents, rows, known.shapes)
        )
        for path, frame in frames.items():
            rows[path] = rows.get(path, 0) + frame.height
        yield {path: known.complete(path, frame) for path, frame in frames.items()}
