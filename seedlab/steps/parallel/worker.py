"""Stages one part of a large load: reads it, names and checks its rows, gives them ids, copies them.

A worker runs in a thread, in another process or on another machine. So what it is given and what it returns
can be pickled, and it opens a connection of its own. It writes only to staging tables. It makes no id that
workers would have to agree on: the id of a new row follows from its handle, and others are looked up, or left
to the merge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from seedlab.database import connect
from seedlab.database.lock_holder import label_of
from seedlab.database.postgres import staging
from seedlab.errors import DataFaults, SeedError
from seedlab.flow import FILE, HANDLE, ROW, Load, Seed, Settings, Staging, TableSpec, Target
from seedlab.frames import checks, ids
from seedlab.frames.cache import SeedCache
from seedlab.frames.files.large import Piece
from seedlab.frames.resolve import Handled, Naming, add_handles
from seedlab.frames.rules import judge
from seedlab.insight.measuring.monitor import Monitor
from seedlab.steps import pipeline
from seedlab.steps.preparing.shaping import Shaped, Stream
from seedlab.steps.resolving import lookups
from seedlab.steps.resolving.rows import Answered, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A part of a load: a `piece` of the seed's file with the number `file`; `number` orders the parts."""

    number: int
    file: int
    piece: Piece


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assignment:
    """What all parts of one load have in common.

    It holds the target's URL with its password, so it must go only to workers that one trusts.
    `load_to_write` is the load as it is written, without a column that the database fills from a sequence.
    `defaults` are the values of the project's defaults that every row gets. `filled` are the tables that have
    rows; only these are queried. `is_referred_to` tells whether rows of this run refer to rows of the load.
    """

    target: Target
    settings: Settings
    project: str
    run: str
    seed: Seed
    spec: TableSpec
    batches: Stream
    load: Load
    load_to_write: Load
    defaults: Mapping[str, str]
    naming: Naming
    trusted: frozenset[str]
    staging: Staging
    filled: frozenset[str]
    is_referred_to: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartResult:
    """What became of a part. ROW counts from the part's own first row.

    `handles` has the handles of all rows, `names` the columns by which the ledger names them, `answers` what
    the target said of the rows that these refer to. If a row is wrong, the part is `faulty`, and nothing of
    it is staged. `failure` and `sqlstate` tell of any other error.
    """

    partition: Partition
    rows: int = 0
    handles: pl.DataFrame = field(default_factory=pl.DataFrame)
    names: pl.DataFrame = field(default_factory=pl.DataFrame)
    answers: tuple[Answered, ...] = ()
    faulty: bool = False
    failure: str | None = None
    sqlstate: str | None = None
    counts: dict[str, int] = field(default_factory=dict)


class _FaultyError(SeedError):
    """A row of the part is wrong; the run without workers then finds out which one it is."""


def stage(assignment: Assignment, partition: Partition) -> PartResult:
    """Stage one part; errors are returned in the result, since not every exception can be pickled."""
    try:
        return _stage(assignment, partition)
    except (DataFaults, _FaultyError):
        return PartResult(partition=partition, faulty=True)
    except Exception as error:  # noqa: BLE001 (the coordinator raises it)
        message = str(error) if isinstance(error, SeedError) else f"{type(error).__name__}: {error}"
        return PartResult(partition=partition, failure=message, sqlstate=getattr(error, "sqlstate", None))


def _stage(assignment: Assignment, partition: Partition) -> PartResult:
    monitor = Monitor()
    settings = replace(assignment.settings, isolation="read committed")
    session = connect.open_session(assignment.target, settings, monitor, label_of(assignment.project))
    try:
        session.adopt(assignment.naming.catalog)
        answer = _Part(assignment, partition, session).work()
        session.commit()
    finally:
        session.close()
    return replace(answer, counts=_counts(monitor))


def _counts(monitor: Monitor) -> dict[str, int]:
    run = monitor.counters
    return {"statements": run.statements, "round_trips": run.round_trips, "bytes_sent": run.bytes_sent}


class _Part:
    """Stages one part, batch by batch."""

    def __init__(self, assignment: Assignment, partition: Partition, session: Any) -> None:
        self._assignment = assignment
        self._partition = partition
        self._session = session
        self._cache = SeedCache()
        self._answers: list[Answered] = []
        self._handles: list[pl.DataFrame] = []
        self._names: list[pl.DataFrame] = []
        self._rows = 0

    def work(self) -> PartResult:
        """Stage all batches in the open transaction.

        A part that a lost worker has staged already is read again, for the result, but not copied.
        """
        assignment, part = self._assignment, self._partition
        relation = assignment.staging.relation
        fresh = staging.begin_part(self._session, assignment.run, relation, part.number)
        for frame in self._batches():
            resolved = self._resolve(frame)
            if fresh:
                place = staging.Place(part=part.number, first=self._rows)
                table = assignment.naming.catalog.tables[assignment.load.table]
                names = assignment.load_to_write.columns
                staging.copy(self._session, assignment.staging, table, resolved, names, place)
            self._names.append(resolved.select(_naming_columns(assignment)))
            self._rows += resolved.height
        return PartResult(
            partition=part,
            rows=self._rows,
            handles=pl.concat(self._handles) if self._handles else pl.DataFrame(),
            names=pl.concat(self._names) if self._names else pl.DataFrame(),
            answers=tuple(self._answers),
        )

    def _batches(self) -> Iterator[pl.DataFrame]:
        """Read the part's rows: one text column for each source column or default, ROW and FILE."""
        assignment, part = self._assignment, self._partition
        defaults = [pl.lit(each, dtype=pl.String).alias(name) for name, each in assignment.defaults.items()]
        for batch in assignment.batches.batches(assignment.naming.catalog, part.file, part.piece):
            yield batch.with_columns(defaults)

    def _resolve(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Turn a batch of text into the columns that are written; raises _FaultyError for a wrong row."""
        load, naming, trusted = self._assignment.load, self._assignment.naming, self._assignment.trusted
        handled = Handled(load=load, frame=add_handles(frame, load, naming))
        broken = judge([handled], [checks.rules_of(load, handled.frame, naming, trusted)])
        if pipeline.confirm_broken(self._session, broken):
            raise _FaultyError
        self._look_up(frame, handled)
        self._handles.append(handled.frame.drop(set(frame.columns) - {FILE, ROW}))
        return ids.assign_ids(
            Handled(load=self._assignment.load_to_write, frame=handled.frame), naming, self._cache
        )

    def _look_up(self, frame: pl.DataFrame, handled: Handled) -> None:
        """Ask the target for the rows that these refer to, and for their own ids if other rows need them.

        If none does, existing rows need not be asked for, since the merge finds them by their keys.
        """
        assignment = self._assignment
        load = (
            assignment.load_to_write
            if assignment.is_referred_to
            else replace(assignment.load_to_write, made=None)
        )
        shaped = Shaped(seed=assignment.seed, spec=assignment.spec, frame=frame)
        rows = Rows(shaped=shaped, handled=Handled(load=load, frame=handled.frame))
        questions = lookups.questions([rows], assignment.naming, self._cache, assignment.filled)
        self._answers += [
            each
            for each in lookups.look_up(self._session, questions, self._cache)
            if assignment.is_referred_to or each.label != load.table
        ]
        if lookups.id_conflicts([rows], assignment.naming, self._cache):
            raise _FaultyError


def _naming_columns(assignment: Assignment) -> list[str]:
    load = assignment.load_to_write
    made = (load.made,) if load.made else ()
    return list(dict.fromkeys((FILE, ROW, HANDLE, *load.key_columns, *made)))
