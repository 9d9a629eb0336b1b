"""Scans a load that does not fit into memory, batch by batch: checks its rows and keeps their handles."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from seedlab.flow import Load, Recorder, Settings
from seedlab.frames import checks
from seedlab.frames.batcher import stream
from seedlab.frames.resolve import Handled, Naming, add_handles, number_equal_rows
from seedlab.frames.rules import Broken, judge
from seedlab.frames.short_handles import ShortHandles
from seedlab.steps.preparing.reading import concurrency
from seedlab.steps.preparing.shaping import Shaped

NAMED_ROWS = 1_000_000  # up to so many rows, handles are kept even if short handles would do


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scanned:
    """What a scan keeps of a load: handles, for very many rows short ones, and the rules that rows break."""

    handled: Handled
    short_handles: ShortHandles | None
    broken: list[Broken]


def scan(
    load: Load,
    shaped: Shaped,
    naming: Naming,
    settings: Settings,
    recorder: Recorder,
    *,
    every_handle: bool,
    duplicates: bool = False,
) -> Scanned:
    """Read a streamed load once, check its rows, and keep their handles.

    Unless something needs `every_handle`, short ones are kept instead of more than NAMED_ROWS. With
    `duplicates`, the columns of unique constraints are kept to the end, in order to find all rows with the
    same value. Without, the target refuses one of them.
    """
    assert shaped.stream is not None
    broken: list[Broken] = []
    unique = list(checks.unique_rules(load, shaped.columns, naming.catalog)) if duplicates else []
    needed = {name for rule in unique for name in rule.bad.meta.root_names()}
    dropped = [name for name in shaped.columns if name not in needed]

    def process(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[Broken]]:
        handled = Handled(load=load, frame=add_handles(frame, load, naming))
        rules = checks.rules_of(load, handled.frame, naming, shaped.trusted, unique=not duplicates)
        return handled.frame.drop(dropped), judge([handled], [rules])

    batches: list[pl.DataFrame] = []
    short_handles: ShortHandles | None = None
    rows = 0
    for batch, found in stream(shaped.stream(), process, settings.batch_rows, concurrency(settings)):
        recorder.progress(load, batch.height)
        rows += batch.height
        batches.append(batch)
        broken += found
        if not every_handle and rows > NAMED_ROWS:
            short_handles = short_handles or ShortHandles()
            for each in batches:
                short_handles.add(each, load)
            batches = []
    empty = add_handles(shaped.frame, load, naming).drop(dropped)
    whole = pl.concat([empty, *(each.select(empty.columns) for each in batches)])
    handled = Handled(load=load, frame=number_equal_rows(whole, load))
    broken += judge([handled], [unique])
    names = handled.frame.drop(needed.intersection(shaped.columns))
    return Scanned(handled=replace(handled, frame=names), short_handles=short_handles, broken=broken)
