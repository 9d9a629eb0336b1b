"""A load that does not fit into memory is gone through once, batch by batch, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from seedlab.flow import FILE, ROW, Load, Recorder, Settings
from seedlab.frames import checks
from seedlab.frames.batcher import stream
from seedlab.frames.brief import Briefs
from seedlab.frames.checks import Broken
from seedlab.frames.resolve import Handled, Naming, add_handles, numbered
from seedlab.steps.preparing.reading import concurrency
from seedlab.steps.preparing.shaping import Shaped

NAMED_ROWS = 1_000_000  # of a load whose names nobody needs: so many are kept all the same


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scanned:
    """What a scan keeps of a load: its handles, or briefs where the rows are very many; and wrong rows."""

    handled: Handled
    briefs: Briefs | None
    broken: list[Broken]


def scan(
    load: Load, shaped: Shaped, naming: Naming, settings: Settings, recorder: Recorder, *, named: bool
) -> Scanned:
    """Go once through a load that does not fit a batch: judge its rows, keep their handles.

    If they need not be `named`, briefs are kept of more than NAMED_ROWS.
    """
    assert shaped.stream is not None
    broken: list[Broken] = []

    def process(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[Broken]]:
        handled = Handled(load=load, frame=add_handles(frame, load, naming))
        found = checks.judge([handled], [checks.rules_of(load, handled.frame, naming, shaped.trusted)])
        return handled.frame.drop(shaped.columns), found

    thin: list[pl.DataFrame] = []
    briefs: Briefs | None = None
    rows = 0
    for kept, found in stream(shaped.stream(), process, settings.batch_rows, concurrency(settings)):
        recorder.progress(load, kept.height)
        rows += kept.height
        thin.append(kept)
        broken += found
        if not named and rows > NAMED_ROWS:
            briefs = briefs or Briefs()
            for each in thin:
                briefs.add(each, load)
            thin = []
    empty = add_handles(shaped.frame, load, naming).drop(shaped.columns)
    handled = Handled(load=load, frame=numbered(pl.concat([empty, *thin]), load))
    return Scanned(handled=handled, briefs=briefs, broken=broken)


def near(thin: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """Slice the kept rows that belong to a batch of one file; both are sorted by FILE and ROW."""
    start = thin[FILE].search_sorted(frame[FILE][0], side="left")
    stop = thin[FILE].search_sorted(frame[FILE][0], side="right")
    of_file = thin.slice(start, stop - start)
    first = of_file[ROW].search_sorted(frame[ROW][0], side="left")
    behind = of_file[ROW].search_sorted(frame[ROW][-1], side="right")
    return of_file.slice(first, behind - first)
