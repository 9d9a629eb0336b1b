"""Reads the files of seeds, and makes of their records one text frame for each seed and table (`Shaped`)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from seedlab.errors import DataFaults, Fault
from seedlab.flow import Catalog, Recorder, Seed, Settings, SourceFile, Stage
from seedlab.frames.files import flatten, large, sources
from seedlab.frames.files.documents import Records
from seedlab.frames.files.literals import whole_columns
from seedlab.frames.files.opening import size_of
from seedlab.frames.files.sources import Flat, LazyDataLoader
from seedlab.frames.files.splitting import split
from seedlab.plan import scheduler
from seedlab.steps.preparing.shaping import Shaped, shape_seed, shape_streams

# ---- read -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeFile:
    """A file larger than a batch, which is never held as a whole, but read as often as needed."""

    file: SourceFile


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parsed:
    """The rows of a flat file."""

    file: SourceFile
    frame: pl.DataFrame


Source = Parsed | Records | LargeFile


def read(stages: Sequence[Stage], settings: Settings, recorder: Recorder) -> dict[str, list[Source]]:
    """Open every file once, parsed but for large ones; the faults of all files come out together.

    Seeds are read as a ready queue hands them out, on as many threads as there are workers. Small flat files
    are parsed in one go.
    """
    seeds = {seed.name: seed for stage in stages for seed in stage.seeds}
    loader = LazyDataLoader(Counter(file.path for seed in seeds.values() for file in seed.files))
    opened: dict[str, list[Flat | Records | LargeFile]] = {}
    faults: list[Fault] = []

    def load(name: str) -> None:
        opened[name] = []
        with recorder.span("read", seed=seeds[name]):
            for file in seeds[name].files:
                if large.is_large(file, settings.batch_rows):
                    opened[name].append(LargeFile(file=file))
                    continue
                try:
                    source = loader.load(file)
                    recorder.count(rows=len(source.records) if isinstance(source, Records) else 0)
                    opened[name].append(source)
                except DataFaults as found:
                    faults.extend(found.faults)
                finally:
                    loader.release(file)

    scheduler.run(
        scheduler.ReadyQueue(_reading_tasks(stages)), load, _reader_threads(seeds.values(), settings)
    )
    if faults:
        raise DataFaults(sorted(faults, key=lambda each: (each.file or "", each.count, each.line or 0)))
    flats = [source for of_seed in opened.values() for source in of_seed if isinstance(source, Flat)]
    with recorder.span("read"):
        parsed = sources.collect(dict(enumerate(flats)))
        recorder.count(rows=sum(frame.height for frame in parsed.values()))
    rows = iter(parsed.values())
    return {
        name: [
            Parsed(file=source.file, frame=next(rows)) if isinstance(source, Flat) else source
            for source in of_seed
        ]
        for name, of_seed in opened.items()
    }


def _reading_tasks(stages: Sequence[Stage]) -> list[scheduler.Task]:
    """Make a task of reading each seed; seeds wait for each other only in a stage that is not parallel."""
    return [
        scheduler.Task(
            id=seed.name,
            dependencies=() if stage.parallel or before is None else (before.name,),
            priority=seed.priority,
            estimated_ms=seed.estimated_ms or 0,
            parallel=stage.parallel,
        )
        for stage in stages
        for before, seed in zip((None, *stage.seeds), stage.seeds, strict=False)
    ]


def _reader_threads(seeds: Iterable[Seed], settings: Settings) -> int:
    """Return the number of threads that read: one below a megabyte of files, where more would not pay."""
    threads_pay = sum(size_of(file) for seed in seeds for file in seed.files) > 1 << 20
    return concurrency(settings) if threads_pay else 1


def concurrency(settings: Settings) -> int:
    """Return how many threads may work at the same time: the workers that are set, else one per core."""
    return (settings.workers or os.cpu_count() or 1) if "parallel" in settings.switches else 1


# ---- shape ----------------------------------------------------------------------------------------------


def shape(
    seeds: Sequence[Seed],
    opened: Mapping[str, Sequence[Source]],
    catalog: Catalog,
    recorder: Recorder,
) -> list[Shaped]:
    """Make one text frame per seed and table; nested records get their parent's reference.

    Files larger than a batch are left to be streamed.
    """
    shaped: list[Shaped] = []
    for seed in seeds:
        with recorder.span("flatten", seed=seed):
            documents = whole_columns(seed, catalog)
            if any(isinstance(source, LargeFile) for source in opened[seed.name]):
                shaped += shape_streams(seed, catalog)
                continue
            frames = [
                flatten.flatten(source, documents)
                if isinstance(source, Records)
                else split(source.file, source.frame, documents)
                for source in opened[seed.name]
                if not isinstance(source, LargeFile)
            ]
            made = shape_seed(seed, frames, catalog, trusted=flatten.only_json(documents))
            recorder.count(rows=sum(each.frame.height for each in made))
            shaped += made
    return shaped
