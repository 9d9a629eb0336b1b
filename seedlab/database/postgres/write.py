"""Write a plan into PostgreSQL: COPY into empty tables, and a merge into others.

*Direct*: all tables of the plan are empty, or consecutive large ones are (`direct.py`). *Staged*:
everything else. Each table, or cycle of tables, is merged from arrays, from a temporary table if there are
many rows, or from multi-row VALUES at the bulk level. A large merge with many new rows drops keys and indexes
meanwhile (`grow.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

import polars as pl
from psycopg.sql import SQL, Identifier

from seedlab.database.postgres import encode, staging
from seedlab.database.postgres import statements as sql
from seedlab.database.postgres.copy_rows import encoded, explain, raise_sequences
from seedlab.database.postgres.direct import write_direct
from seedlab.database.postgres.failures import write_failed
from seedlab.database.postgres.grow import may_grow, merge_without_indexes
from seedlab.database.postgres.orphans import located
from seedlab.database.postgres.wire import Results, StatementError, Wire, translated
from seedlab.errors import DataFaults
from seedlab.flow import Batch, Load, Outcomes, Table, TableWrite, WritePlan, Written

PARAMETERS = 65_535  # the most parameters of a statement, which the protocol counts in 16 bits
# Up to this many rows arrays are faster: no DDL, no ANALYZE, no WAL if nothing differs (docs/performance.md).
ARRAY_ROWS = 20_000
# SQLSTATEs that only mean that no temporary table can be created: lock held, no right, not supported.
_NOT_THIS_WAY = frozenset({"55P03", "42501", "0A000"})


def write_plan(wire: Wire, plan: WritePlan, switches: frozenset[str]) -> list[Written]:
    """Write all groups in order. Raises DataFaults or WriteError, after which the transaction is aborted."""
    if not plan.writes:
        return []
    try:
        return _write(wire, plan, switches)
    except DataFaults as found:
        raise located(found, plan.writes) from found.__cause__


def _write(wire: Wire, plan: WritePlan, switches: frozenset[str]) -> list[Written]:
    if "copy" in switches and all(_copyable(w.table, plan) and not w.mixed for w in plan.writes):
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
    """A merge statement: its steps and their parameters."""

    steps: Sequence[sql.MergeStep]
    parameters: Sequence[str | None]

    @property
    def tables(self) -> str:
        """The names of its tables, for messages."""
        return ", ".join(step.table.name for step in self.steps)


def _write_staged(wire: Wire, plan: WritePlan, switches: frozenset[str]) -> list[Written]:
    """Merge group by group, except consecutive large empty tables, which are copied together.

    In a protected environment (without `plan.ours`) these keep their keys and indexes, as readers must not
    wait.
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
    """Tell whether a group is a large empty table that no other write of the plan fills."""
    write = group[0]
    if "copy" not in switches or not _copyable(write.table, plan) or write.mixed:
        return False
    if _by_arrays(group, write.rows, switches):
        return False
    return sum(other.table.name == write.table.name for other in plan.writes) == 1


def _merge_groups(
    wire: Wire, plan: WritePlan, groups: Sequence[Sequence[TableWrite]], switches: frozenset[str]
) -> list[Written]:
    """Merge groups in order: small ones together in one pipeline, large ones separately."""
    written: list[Written] = []
    waiting: list[_Merge] = []
    rows = size = 0
    for number, given in enumerate(groups):
        height = sum(write.rows for write in given)
        measured = height <= ARRAY_ROWS or len(given) > 1
        group = [_held(write) for write in given] if measured else given
        own = sum(map(_size, group)) if measured else 0
        by_arrays = _by_arrays(group, height, switches, own)
        if waiting and (not by_arrays or rows > ARRAY_ROWS or size + own > encode.ARRAY_BYTES):
            written += _send(wire, waiting)
            waiting, rows, size = [], 0, 0
        if by_arrays:
            waiting.append(_array_merge(wire, group))
            rows, size = rows + height, size + own
        elif "copy" in switches:
            written += _merge_staging(wire, plan, group, switches, number)
        else:
            written += _merge_values(wire, group[0])
    written += _send(wire, waiting)
    if raises := raise_sequences(
        (load, write.table) for group in groups for write in group for load in write.loads
    ):
        with translated():
            wire.script(raises)
    return written


def _held(write: TableWrite) -> TableWrite:
    """Make the rows of a write once, to be counted and sent; those that are staged are made already."""
    if write.staged:
        return write
    batches = list(write.batches())
    return replace(write, batches=lambda: iter(batches))


def _size(write: TableWrite) -> int:
    """Return the bytes of a held write's rows."""
    return 0 if write.staged else sum(int(batch.frame.estimated_size()) for batch in write.batches())


def _by_arrays(group: Sequence[TableWrite], rows: int, switches: frozenset[str], size: int = 0) -> bool:
    """Tell whether a group of so many rows and bytes is merged from arrays, in one statement.

    Small groups are faster that way, and cycles of any number of rows, which are one statement in any case.
    Without COPY it is needed by all that must be one statement: cycles, tables that refer to themselves, and
    tables without a key, whose equal rows must be counted together.
    """
    write = group[0]
    if write.staged:  # large, and the only write of its group
        return False
    small = (rows <= ARRAY_ROWS or len(group) > 1) and size <= encode.ARRAY_BYTES
    if "copy" in switches:
        return small
    if len(group) > 1 or write.loads[0].whole or (small and "arrays" in switches):
        return True
    return any(key.parent == write.table.name for key in write.table.foreign_keys)


def _array_merge(wire: Wire, group: Sequence[TableWrite]) -> _Merge:
    """Build one statement for the group, with the rows of each load as array parameters."""
    steps: list[sql.MergeStep] = []
    parameters: list[str] = []
    for write in group:
        for batch in together(write):
            with wire.recorder.span("stage", load=batch.load, rows=batch.frame.height):
                source = sql.arrays_source(batch.load.columns, first=len(parameters) + 1, place=sql.PLACE)
                steps.append(sql.MergeStep(batch.load, write.table, source, as_text=True))
                parameters += encode.array_literals(batch)
    return _Merge(steps=steps, parameters=parameters)


def together(write: TableWrite) -> Iterator[Batch]:
    """Yield all rows of each load as one batch."""
    frames: dict[Load, list[pl.DataFrame]] = {}
    for batch in write.batches():
        frames.setdefault(batch.load, []).append(batch.frame)
    for load, parts in frames.items():
        yield Batch(load=load, frame=pl.concat(parts) if len(parts) > 1 else parts[0])


def _merge_values(wire: Wire, write: TableWrite) -> list[Written]:
    """Merge by multi-row VALUES, as many rows per statement as the parameter limit allows."""
    written = []
    size = PARAMETERS // len(write.columns)
    for batch in write.batches():
        for part in encode.slices(batch.frame, size):
            with wire.recorder.span("stage", load=batch.load, rows=part.height):
                source = sql.values_source(batch.load.columns, part.height)
                parameters = encode.value_rows(part, batch.load.columns)
            merge = _Merge(
                steps=[sql.MergeStep(batch.load, write.table, source, as_text=True)], parameters=parameters
            )
            written += _send(wire, [merge])
    return written


def _merge_staging(
    wire: Wire, plan: WritePlan, group: Sequence[TableWrite], switches: frozenset[str], number: int
) -> list[Written]:
    """Copy the rows into temporary tables, analyze these, and merge all loads of a group in one statement.

    It is one statement because rows of one load may refer to rows of another. Without statistics the join of
    300,000 rows ran for minutes. Without the right to create temporary tables, arrays are used.
    """
    steps: list[sql.MergeStep] = []
    relations: dict[Load, Identifier] = {}
    for write in group:
        for load in write.loads:
            if load in write.staged:
                steps.append(staging.merge_step(wire, write, load))
                relations[load] = staging.named(write.staged[load].relation)
                continue
            name = f"_seedlab_{number}_{len(steps)}"
            if not _copy_to_temporary(wire, write, load, name):
                return _send(wire, [_array_merge(wire, group)])
            source = sql.staging_source(name, load.columns, place=sql.PLACE)
            steps.append(sql.MergeStep(load, write.table, source, as_text=False))
            relations[load] = Identifier("pg_temp", name)
    merge = partial(_send, wire, [_Merge(steps=steps, parameters=[])])
    written = (
        merge_without_indexes(wire, plan, group[0], relations, merge)
        if len(group) == 1 and may_grow(group[0], plan, switches)
        else merge()
    )
    staged = {load for write in group for load in write.staged}
    if temporary := [relations[load] for load in relations.keys() - staged]:
        # Dropped here and not at the commit, as the ledger may store a copy of the catalog before.
        wire.script([SQL("DROP TABLE {}").format(SQL(", ").join(temporary))])
    return written


def _copy_to_temporary(wire: Wire, write: TableWrite, load: Load, name: str) -> bool:
    """Copy the rows of a load into a new temporary table, and analyze it; False if it cannot be created."""
    table = Identifier("pg_temp", name)
    rows = replace(write, loads=(load,), batches=partial(_batches_of, write, load))
    statements = [
        SQL("SAVEPOINT staging"),
        sql.staging_table(name, write.table, load.columns),
        sql.copy_in(table, load.columns),
        SQL("ANALYZE {}").format(table),
    ]
    with wire.recorder.span("stage", load=load):
        try:
            wire.script(statements, partial(_feed, wire, rows))
        except StatementError as failed:
            if failed.index != 1 or failed.error.sqlstate not in _NOT_THIS_WAY:
                raise explain(failed, rows if failed.index == 2 else None) from failed.error
            wire.recorder.note(
                f"no temporary table is used ({failed.error.diag.message_primary}): same result"
            )
            wire.script([SQL("ROLLBACK TO SAVEPOINT staging")])
            return False
    return True


def _feed(wire: Wire, write: TableWrite, _number: int, _results: Results) -> Iterator[bytes]:
    return encoded(wire, write, {})


def _batches_of(write: TableWrite, load: Load) -> Iterator[Batch]:
    return (batch for batch in write.batches() if batch.load == load)


def _send(wire: Wire, merges: Sequence[_Merge]) -> list[Written]:
    """Send merges in one pipeline; an error names the tables of its merge."""
    if not merges:
        return []
    with wire.recorder.span("merge", load=merges[0].steps[0].load if len(merges) == 1 else None):
        try:
            answers = wire.ask([(sql.merge(each.steps), each.parameters) for each in merges])
        except StatementError as failed:
            refused = merges[failed.index] if 0 <= failed.index < len(merges) else None
            raise write_failed(
                failed.error,
                refused.tables if refused else None,
                secured=refused is not None and any(step.table.row_security for step in refused.steps),
                into=refused.steps[0].table if refused and len(refused.steps) == 1 else None,
            ) from failed.error
    written = []
    for each, answer in zip(merges, answers, strict=True):
        for n, step in enumerate(each.steps):
            written.append(_outcome(step.load, *answer[0][4 * n : 4 * n + 4]))
            if step.as_text:  # rows in staging tables were counted when they were sent
                wire.recorder.progress(step.load, written[-1].outcomes.total)
    wire.recorder.count(rows=sum(each.outcomes.total for each in written))
    return written


def _outcome(load: Load, updated: int, created: int, rows: int, places: Sequence[int] | None) -> Written:
    outcomes = Outcomes(created=created, updated=updated, unchanged=rows - updated - created)
    some = None if places is None else tuple(place - 1 for place in places)
    return Written(load=load, outcomes=outcomes, created=some)
