"""What a worker does with one part of a large load: read, name, judge, settle, stage. One plain function.

It runs in a thread, another process or on another machine: it is given values that can be pickled, opens a
connection of its own, and answers in values. It writes nothing but staging tables, and makes no id that
needs to be agreed on: those of new rows are their handles, others are looked up, or left to the merge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from seedlab.database import connect, staging
from seedlab.database.holder import label_of
from seedlab.errors import DataFaults, SeedError
from seedlab.flow import FILE, HANDLE, ROW, Load, Seed, Settings, Staging, TableSpec, Target
from seedlab.frames import checks, ids
from seedlab.frames.cache import SeedCache
from seedlab.frames.large import Piece
from seedlab.frames.resolve import Handled, Naming, add_handles
from seedlab.insight.measuring.monitor import Monitor
from seedlab.steps import pipeline
from seedlab.steps.preparing.shaping import Shaped, Stream
from seedlab.steps.resolving import named_rows
from seedlab.steps.resolving.named_rows import Answered, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A part of a load: a `piece` of the seed's file number `file`; `number` orders the parts of a load."""

    number: int
    file: int
    piece: Piece


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assignment:
    """What every part of one load has in common. Holds the target's URL: it goes to workers one trusts.

    `settled` is the load as it is written, without the column that a sequence fills by itself. `defaults` are
    what the project gives every row. `filled` are the tables with rows, of which alone anything is asked;
    `referred`: rows of this run refer to rows of the load.
    """

    target: Target
    settings: Settings
    project: str
    run: str
    seed: Seed
    spec: TableSpec
    batches: Stream
    load: Load
    settled: Load
    defaults: Mapping[str, str]
    naming: Naming
    trusted: frozenset[str]
    staging: Staging
    filled: frozenset[str]
    referred: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What became of a part. ROW counts from the part's own first row.

    `thin` has the handles of all rows, `names` the columns by which the ledger knows them, `answers` what the
    target said of other rows. `faulty`: some row is wrong, and nothing of the part is staged. `failure` says
    why it could not be done at all.
    """

    partition: Partition
    rows: int = 0
    thin: pl.DataFrame = field(default_factory=pl.DataFrame)
    names: pl.DataFrame = field(default_factory=pl.DataFrame)
    answers: tuple[Answered, ...] = ()
    faulty: bool = False
    failure: str | None = None
    sqlstate: str | None = None
    counts: dict[str, int] = field(default_factory=dict)


class _FaultyError(SeedError):
    """A row of the part is wrong; `stage` catches it, and the run finds out which row in the usual way."""


def stage(assigned: Assignment, partition: Partition) -> Answer:
    """Stage one part; errors are told in the answer instead of raised, for not every error can be pickled."""
    try:
        return _stage(assigned, partition)
    except (DataFaults, _FaultyError):
        return Answer(partition=partition, faulty=True)
    except Exception as error:  # noqa: BLE001 (the coordinator raises it)
        told = str(error) if isinstance(error, SeedError) else f"{type(error).__name__}: {error}"
        return Answer(partition=partition, failure=told, sqlstate=getattr(error, "sqlstate", None))


def _stage(assigned: Assignment, partition: Partition) -> Answer:
    monitor = Monitor()
    settings = replace(assigned.settings, isolation="read committed")
    session = connect.open_session(assigned.target, settings, monitor, label_of(assigned.project))
    try:
        session.adopt(assigned.naming.catalog)
        answer = _Part(assigned, partition, session).work()
        session.commit()
    finally:
        session.close()
    return replace(answer, counts=_counts(monitor))


def _counts(monitor: Monitor) -> dict[str, int]:
    run = monitor.counters
    return {"statements": run.statements, "round_trips": run.round_trips, "bytes_sent": run.bytes_sent}


class _Part:
    """The work on one part: its batches are settled and copied to the staging table one by one."""

    def __init__(self, assigned: Assignment, partition: Partition, session: Any) -> None:
        self._assigned = assigned
        self._partition = partition
        self._session = session
        self._cache = SeedCache()
        self._answers: list[Answered] = []
        self._thin: list[pl.DataFrame] = []
        self._names: list[pl.DataFrame] = []
        self._rows = 0

    def work(self) -> Answer:
        """Stage all batches in the open transaction.

        Staged already, they are only gone through for the answer.
        """
        assigned, part = self._assigned, self._partition
        relation = assigned.staging.relation
        fresh = staging.begin_part(self._session, assigned.run, relation, part.number)
        for frame in self._batches():
            settled = self._settled(frame)
            if fresh:
                place = staging.Place(part=part.number, first=self._rows)
                table = assigned.naming.catalog.tables[assigned.load.table]
                names = assigned.settled.columns
                staging.copy(self._session, assigned.staging, table, settled, names, place)
            self._names.append(settled.select(_naming_columns(assigned)))
            self._rows += settled.height
        return Answer(
            partition=part,
            rows=self._rows,
            thin=pl.concat(self._thin) if self._thin else pl.DataFrame(),
            names=pl.concat(self._names) if self._names else pl.DataFrame(),
            answers=tuple(self._answers),
        )

    def _batches(self) -> Iterator[pl.DataFrame]:
        """The part's rows as the load has them: one text column for each source, ROW and FILE."""
        assigned, part = self._assigned, self._partition
        defaults = [pl.lit(each, dtype=pl.String).alias(name) for name, each in assigned.defaults.items()]
        for batch in assigned.batches.batches(assigned.naming.catalog, part.file, part.piece):
            yield batch.with_columns(defaults)

    def _settled(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Turn a batch of text into the columns to be written: handles, checks, look-ups, ids.

        Raises _FaultyError where a row is wrong.
        """
        load, naming, trusted = self._assigned.load, self._assigned.naming, self._assigned.trusted
        handled = Handled(load=load, frame=add_handles(frame, load, naming))
        broken = checks.judge([handled], [checks.rules_of(load, handled.frame, naming, trusted)])
        if pipeline.convict(self._session, broken):
            raise _FaultyError
        self._ask(frame, handled)
        self._thin.append(handled.frame.drop(set(frame.columns) - {FILE, ROW}))
        return ids.settle(Handled(load=self._assigned.settled, frame=handled.frame), naming, self._cache)

    def _ask(self, frame: pl.DataFrame, handled: Handled) -> None:
        """Ask the target for the rows that these refer to; for their own ids where somebody else needs them.

        A row that is there keeps its id by itself: the merge finds it by its key.
        """
        assigned = self._assigned
        load = assigned.settled if assigned.referred else replace(assigned.settled, made=None)
        shaped = Shaped(seed=assigned.seed, spec=assigned.spec, frame=frame)
        rows = Rows(shaped=shaped, handled=Handled(load=load, frame=handled.frame))
        asked = named_rows.questions([rows], assigned.naming, self._cache, assigned.filled)
        answers = self._session.lookup([each.ask for each in asked]) if asked else []
        for question, answer in zip(asked, answers, strict=True):
            handles = question.ask.frame[HANDLE]
            self._cache.remember(question.label, handles, answer)
            if assigned.referred or question.label != load.table:
                self._answers.append(Answered(label=question.label, asked=handles, answer=answer))
        if named_rows.id_conflicts([rows], assigned.naming, self._cache):
            raise _FaultyError


def _naming_columns(assigned: Assignment) -> list[str]:
    load = assigned.settled
    made = (load.made,) if load.made else ()
    return list(dict.fromkeys((FILE, ROW, HANDLE, *load.key_columns, *made)))
