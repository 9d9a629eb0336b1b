"""What the records of a file have, path by path, where they come in batches: found before any row is made.

One batch does not tell: where a relation is null in all of its records, only another says that it is an
object elsewhere, and a list that no record of a batch has still fills a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from seedlab.flow import INDEX, PARENT, ROW, SourceFile
from seedlab.frames import large
from seedlab.frames.documents import Records
from seedlab.frames.faults import FaultList
from seedlab.frames.flatten import ROOT, Documents, Shape, Shapes, flatten, survey
from seedlab.frames.large import WHOLE, Piece
from seedlab.frames.splitting import split

__all__ = ["Outline", "outline", "parts"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outline:
    """The paths of a file and what each has; small, whatever the size of the file."""

    file: SourceFile
    shapes: Shapes

    def empty(self) -> dict[str, pl.DataFrame]:
        """Give frames like those of the file, without any row."""
        return {path: self.complete(path, _nothing(path)) for path in self.shapes}

    def complete(self, path: str, frame: pl.DataFrame) -> pl.DataFrame:
        """Give the rows of a batch the columns that only other batches have, as NULL; all in one order."""
        shape = self.shapes[path]
        names = shape.own(shape.columns)
        missing = [name for name in names if name not in frame.columns]
        if missing:
            frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)
        return frame.select(*_nothing(path).columns, *names)


def _nothing(path: str) -> pl.DataFrame:
    places = (ROW,) if path == ROOT else (ROW, PARENT, INDEX)
    return pl.DataFrame(schema=dict.fromkeys(places, pl.UInt32))


def outline(file: SourceFile, documents: Documents, batch_rows: int) -> Outline:
    """Find what a file has: of JSON and YAML by going through it, of others by their header or schema.

    Raises DataFaults with all records that are misshapen.
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
    """Tell whether some records may have a scalar where others have more: null is none."""
    return not (shape.objects | shape.lists).isdisjoint(shape.columns)


def _faults(file: SourceFile, documents: Documents, batch_rows: int, shapes: Shapes) -> FaultList:
    """Go through the records once more, now that it is known what all of them have."""
    faults = FaultList(file)
    for shape in shapes.values():
        shape.told.clear()
    for batch in large.batches(file, batch_rows):
        assert isinstance(batch, Records)
        survey(batch, documents, shapes, faults)
    return faults


def parts(
    known: Outline, documents: Documents, batch_rows: int, piece: Piece = WHOLE
) -> Iterator[dict[str, pl.DataFrame]]:
    """Read a file, or a piece of it, in batches: of each a frame per path that it has, with all columns.

    ROW counts through in every path; PARENT is a place in the batch's own frame.
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
