"""How rows get into PostgreSQL: COPY into empty tables, merge into others.

*Direct*: every table of the plan is empty, or large ones are that come one after the other
(`postgres_direct`). *Staged*: anything else, each table (or cycle) by a merge from arrays, from a temporary
table when there is much, or from multi-row VALUES at the bulk level. Where many rows are new, a large merge
takes off what it can (`postgres_grow`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

import polars as pl
from psycopg.sql import SQL, Composable, Identifier

from seedlab.database import staging
from seedlab.database import statements as sql
from seedlab.database.encode import array_literals, value_rows
from seedlab.database.failures import write_failed
from seedlab.database.postgres_copy import encoded, explain, sequences
from seedlab.database.postgres_direct import write_direct
from seedlab.database.postgres_grow import around, may_grow
from seedlab.database.postgres_orphans import located
from seedlab.database.wire import Results, StatementError, Wire
from seedlab.errors import DataFaults
from seedlab.flow import Batch, Load, Outcomes, Table, TableWrite, WritePlan, Written

PARAMETERS = 65_535  # of one statement: the protocol counts them in 16 bits
# Up to here arrays win: no DDL, no ANALYZE, no WAL when nothing differs (docs/performance.md).
ARRAY_ROWS = 20_000
# Errors of a temporary table that only mean "not in this way": lock held, no right, feature.
_NOT_THIS_WAY = frozenset({"55P03", "42501", "0A000"})


def write_plan(wire: Wire, plan: WritePlan, switches: frozenset[str]) -> list[Written]:
    """Write every group in order. Raises DataFaults or WriteError; the transaction is then of no use."""
    writes = [write for group in plan.groups for write in group]
    if not writes:
        return []
    try:
        return _write(wire, plan, writes, switches)
    except DataFaults as found:
        raise located(found, writes) from found.__cause__


def _write(
    wire: Wire, plan: WritePlan, writes: Sequence[TableWrite], switches: frozenset[str]
) -> list[Written]:
    if "copy" in switches and all(_copyable(w.table, plan) and not w.mixed for w in writes):
        written = write_direct(wire, plan, plan.groups, switches)
        if written is not None:
            return written
        switches = frozenset({"arrays"})
    return _write_staged(wire, plan, switches)


def _copyable(table: Table, plan: WritePlan) -> bool:
    return table.name in plan.empty and not table.row_security and table.kind == "table"


# ---- staged ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Merge:
    """One merge statement to be sent: its steps and their parameters."""

    steps: Sequence[tuple[Load, Table, Composable, bool]]
    parameters: Sequence[str | None]

    @property
    def tables(self) -> str:
        """The tables it writes, for messages."""
        return ", ".join(table.name for _, table, _, _ in self.steps)


def _write_staged(wire: Wire, plan: WritePlan, switches: frozenset[str]) -> list[Written]:
    """Merge group by group, but copy into large empty tables, those that follow each other together.

    In a protected environment nobody who reads shall wait, so that nothing comes off of these.
    """
    written: list[Written] = []
    for direct, groups in groupby(plan.groups, partial(_fills, plan, switches)):
        if direct:
            kept = switches if plan.ours else switches - {"rebuild"}
            written += write_direct(wire, plan, list(groups), kept) or ()
        else:
            written += _merge_groups(wire, plan, list(groups), switches)
    return written


def _fills(plan: WritePlan, switches: frozenset[str], group: Sequence[TableWrite]) -> bool:
    """Tell whether a group is a large empty table; one that is written again is not empty for long."""
    write = group[0]
    if "copy" not in switches or not _copyable(write.table, plan) or write.mixed:
        return False
    if _by_arrays(group, write.rows, switches):
        return False
    return sum(other.table.name == write.table.name for each in plan.groups for other in each) == 1


def _merge_groups(
    wire: Wire, plan: WritePlan, groups: Sequence[Sequence[TableWrite]], switches: frozenset[str]
) -> list[Written]:
    """Send small merges together in one pipeline; what does not fit it flushes those before."""
    written: list[Written] = []
    waiting: list[_Merge] = []
    rows = 0
    for number, group in enumerate(groups):
        height = sum(write.rows for write in group)
        if _by_arrays(group, height, switches):
            waiting.append(_array_merge(wire, group))
            rows += height
        if rows > ARRAY_ROWS or not _by_arrays(group, height, switches):
            written += _send(wire, waiting)
            waiting, rows = [], 0
        if not _by_arrays(group, height, switches):
            written += _write_large(wire, plan, group[0], switches, number)
    written += _send(wire, waiting)
    if raises := sequences(
        (load, write.table) for group in groups for write in group for load in write.loads
    ):
        try:
            wire.script(raises)
        except StatementError as failed:
            raise write_failed(failed.error) from failed.error
    return written


def _by_arrays(group: Sequence[TableWrite], rows: int, switches: frozenset[str]) -> bool:
    """Cycles need one statement, small loads like it; without COPY only what refers to itself has it, and
    what has no key: equal rows must be counted together.
    """
    if group[0].staged:  # large, and alone in its group
        return False
    if "copy" not in switches and group[0].loads[0].whole:
        return True
    if len(group) > 1 or (rows <= ARRAY_ROWS and switches & {"copy", "arrays"}):
        return True
    refers_to_itself = any(key.parent == group[0].table.name for key in group[0].table.foreign_keys)
    return "copy" not in switches and refers_to_itself


def _write_large(
    wire: Wire, plan: WritePlan, write: TableWrite, switches: frozenset[str], number: int
) -> list[Written]:
    if "copy" not in switches:
        return _merge_values(wire, write)
    return _merge_staging(wire, plan, write, switches, number)


def _array_merge(wire: Wire, group: Sequence[TableWrite]) -> _Merge:
    """Build one statement for the group, the rows of each load as array parameters."""
    steps: list[tuple[Load, Table, Composable, bool]] = []
    parameters: list[str] = []
    for write in group:
        for batch in together(write):
            with wire.recorder.span("stage", load=batch.load, rows=batch.frame.height):
                source = sql.arrays_source(batch.load.columns, first=len(parameters) + 1, place=sql.PLACE)
                steps.append((batch.load, write.table, source, True))
                parameters += array_literals(batch)
    return _Merge(steps=steps, parameters=parameters)


def together(write: TableWrite) -> Iterator[Batch]:
    """All rows of each load as one batch."""
    frames: dict[Load, list[pl.DataFrame]] = {}
    for batch in write.batches():
        frames.setdefault(batch.load, []).append(batch.frame)
    for load, parts in frames.items():
        yield Batch(load=load, frame=pl.concat(parts) if len(parts) > 1 else parts[0])


def _merge_values(wire: Wire, write: TableWrite) -> list[Written]:
    """Merge by multi-row VALUES, as many rows a statement as the parameter limit allows."""
    written = []
    size = PARAMETERS // len(write.columns)
    for batch in write.batches():
        for part in batch.frame.iter_slices(size):
            with wire.recorder.span("stage", load=batch.load, rows=part.height):
                source = sql.values_source(batch.load.columns, part.height)
                parameters = value_rows(part, batch.load.columns)
            merge = _Merge(steps=[(batch.load, write.table, source, True)], parameters=parameters)
            written += _send(wire, [merge])
    return written


def _merge_staging(
    wire: Wire, plan: WritePlan, write: TableWrite, switches: frozenset[str], number: int
) -> list[Written]:
    """Temporary tables by COPY, analyzed (without that a join of 300k rows ran for minutes), then merged in
    one statement, for rows of one load may refer to rows of another. Without the right to them: arrays.
    """
    steps: list[tuple[Load, Table, Composable, bool]] = []
    relations: dict[Load, Identifier] = {}
    for place, load in enumerate(write.loads):
        if load in write.staged:
            steps.append(staging.step(wire, write, load))
            relations[load] = staging.named(write.staged[load].relation)
            continue
        name = f"_seedlab_{number}_{place}"
        own = Identifier("pg_temp", name)
        own_rows = replace(write, loads=(load,), batches=partial(_batches_of, write, load))
        with wire.recorder.span("stage", load=load):
            try:
                wire.script(
                    [
                        SQL("SAVEPOINT staging"),
                        sql.staging_table(name, write.table, load.columns),
                        sql.copy_in(own, load.columns),
                        SQL("ANALYZE {}").format(own),
                    ],
                    partial(_feed, wire, own_rows),
                )
            except StatementError as failed:
                if failed.index != 1 or failed.error.sqlstate not in _NOT_THIS_WAY:
                    raise explain(failed, own_rows if failed.index == 2 else None) from failed.error
                wire.recorder.note(
                    f"no temporary table is used ({failed.error.diag.message_primary}): same result"
                )
                wire.script([SQL("ROLLBACK TO SAVEPOINT staging")])
                return _send(wire, [_array_merge(wire, [write])])
        steps.append((load, write.table, sql.staging_source(name, load.columns, place=sql.PLACE), False))
        relations[load] = own
    merge = partial(_send, wire, [_Merge(steps=steps, parameters=[])])
    written = around(wire, plan, write, relations, merge) if may_grow(write, plan, switches) else merge()
    if temporary := [relations[load] for load in relations.keys() - write.staged.keys()]:
        # The ledger may keep the catalog as it will be after the commit, without them.
        wire.script([SQL("DROP TABLE {}").format(SQL(", ").join(temporary))])
    return written


def _feed(wire: Wire, write: TableWrite, _number: int, _results: Results) -> Iterator[bytes]:
    return encoded(wire, write, {})


def _batches_of(write: TableWrite, load: Load) -> Iterator[Batch]:
    return (batch for batch in write.batches() if batch.load == load)


def _send(wire: Wire, merges: Sequence[_Merge]) -> list[Written]:
    """Send merges through one pipeline; say of a refused one which tables it was about."""
    if not merges:
        return []
    with wire.recorder.span("merge", load=merges[0].steps[0][0] if len(merges) == 1 else None):
        try:
            answers = wire.ask([(sql.merge(each.steps), each.parameters) for each in merges])
        except StatementError as failed:
            refused = merges[failed.index] if 0 <= failed.index < len(merges) else None
            raise write_failed(
                failed.error,
                refused.tables if refused else None,
                secured=refused is not None and any(table.row_security for _, table, _, _ in refused.steps),
            ) from failed.error
    written = []
    for each, answer in zip(merges, answers, strict=True):
        for n, (load, _, _, with_rows) in enumerate(each.steps):
            written.append(_outcome(load, *answer[0][4 * n : 4 * n + 4]))
            if with_rows:  # else they were sent before
                wire.recorder.progress(load, written[-1].outcomes.total)
    wire.recorder.count(rows=sum(each.outcomes.total for each in written))
    return written


def _outcome(load: Load, updated: int, created: int, rows: int, places: Sequence[int] | None) -> Written:
    outcomes = Outcomes(created=created, updated=updated, unchanged=rows - updated - created)
    some = None if places is None else tuple(place - 1 for place in places)
    return Written(load=load, outcomes=outcomes, created=some)
