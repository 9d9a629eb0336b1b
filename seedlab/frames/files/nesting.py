"""Find, by reading a file again, which row and which record of the file each nested row is in."""

from __future__ import annotations

import polars as pl

from seedlab.flow import PARENT, ROW, SourceFile
from seedlab.frames.files import flatten, sources
from seedlab.frames.files.flatten import ROOT, Documents
from seedlab.frames.files.sources import Flat
from seedlab.frames.files.splitting import split

RECORD = "_record"
# Per row of a path: its ROW, the ROW of the enclosing row (NULL for a record), and the ROW of its record.
NESTED = pl.Schema({ROW: pl.UInt32, PARENT: pl.UInt32, RECORD: pl.UInt32})


def nesting(file: SourceFile, documents: Documents) -> dict[str, pl.DataFrame]:
    """Return, by path, the enclosing row and record of every row of a file; columns as in NESTED.

    `documents` are the columns that take a list or an object as one value, as for `flatten`.
    """
    frames = _frames(file, documents)
    found: dict[str, pl.DataFrame] = {}
    for path in sorted(frames, key=flatten.depth):
        own = frames[path].get_column(ROW)
        if path == ROOT:
            columns = [own, pl.repeat(None, len(own), dtype=pl.UInt32, eager=True), own]
        else:
            place, around = frames[path].get_column(PARENT), found[flatten.enclosing(path, frames)]
            columns = [own, around.get_column(ROW).gather(place), around.get_column(RECORD).gather(place)]
        named = zip(NESTED, columns, strict=True)
        found[path] = pl.DataFrame([each.alias(name) for name, each in named], schema=NESTED)
    return found


def _frames(file: SourceFile, documents: Documents) -> dict[str, pl.DataFrame]:
    source = sources.read(file)
    if isinstance(source, Flat):
        return split(file, sources.collect({file.name: source})[file.name], documents)
    return flatten.flatten(source, documents)
