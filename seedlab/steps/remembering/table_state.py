"""Remembers the content of tables of whose seeded rows a run wrote only some, or none.

The next run compares a table's content as a whole, by one hash. So a run that stores this hash vouches also
for rows that it did not read: those of other stages, of other projects, and of files that did not change. It
stores it only where all these are as they were remembered. Otherwise it marks the table as in doubt, and the
next run compares row by row.

A mark is the pair of hashes (of key and of content) by which a seeded row of a table is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from seedlab.database.ledger import (
    MARK,
    TRANSACTIONS,
    Ledger,
    MarksAndWriters,
    have_drifted,
    marks_now,
    updated_marks,
    without_marks,
)
from seedlab.flow import (
    IN_DOUBT,
    Load,
    Recorder,
    Removal,
    RowSet,
    Shift,
    Stamp,
    TableState,
    TableWrite,
    WritePlan,
)

# Marks of so many rows take 64 MB, and twenty times as much while they are compared. Of a table with more
# rows no marks are kept: once it is not as we left it, all its rows are compared.
MARKED_ROWS = 4_000_000


# ---- tables of which only changed rows are written ------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IncrementalTables:
    """Tables of which a run writes only rows that changed.

    `rows` has for each table its state as the run found it, with the keys of the rows that are written.
    `before` waits for the marks of these rows, which were asked for before they were written.
    """

    rows: Mapping[str, RowSet] = field(default_factory=dict)
    before: Callable[[], Mapping[str, MarksAndWriters]] = dict

    def without(self, tables: Collection[str]) -> IncrementalTables:
        """Leave out these tables."""
        rows = {name: each for name, each in self.rows.items() if name not in tables}
        return replace(self, rows=rows)


def incremental_tables(
    ledger: Ledger,
    plan: WritePlan,
    reduced: Collection[str],
    known: Mapping[str, TableState],
    found: Mapping[str, TableState],
) -> IncrementalTables:
    """Find, before they are written, the tables that only `reduced` stages write, and ask for their marks.

    `known` are the remembered states of tables, `found` the states that this run has found. Rows that others
    write at the same time are no part of the state that is remembered, so the next run will see them.
    """
    writes: dict[str, list[TableWrite]] = {}
    for write in plan.writes:
        writes.setdefault(write.table.name, []).append(write)
    rows = {
        name: RowSet(state=found[name], frame=_keys(of_table, known[name].key))
        for name, of_table in writes.items()
        if name in found
        and sum(write.rows for write in of_table) <= MARKED_ROWS
        and all(load.stage in reduced and _matches(load, known[name]) for w in of_table for load in w.loads)
    }
    wait_for_marks = ledger.marks_and_writers(list(rows.values()))

    def before() -> dict[str, MarksAndWriters]:
        return dict(zip(rows, wait_for_marks(), strict=True))

    return IncrementalTables(rows=rows, before=before)


def _matches(load: Load, known: TableState) -> bool:
    """Tell whether the remembered state covers all columns that the load seeds, by the load's key."""
    columns = {*load.columns}.difference(load.defaults)
    return columns <= {*known.columns} and tuple(dict.fromkeys(load.key_columns)) == known.key


def _keys(writes: Sequence[TableWrite], key: Sequence[str]) -> pl.DataFrame:
    return pl.concat([batch.frame.select(key) for write in writes for batch in write.batches()])


def shifts_of(ledger: Ledger, tables: IncrementalTables) -> tuple[Shift, ...]:
    """Make what is remembered of such tables after they were written; one round trip."""
    answers = ledger.marks_and_writers(list(tables.rows.values()))()
    before = tables.before() if tables.rows else {}
    shifts = []
    for (name, rows), after in zip(tables.rows.items(), answers, strict=True):
        state = ledger.shifted(rows.state, before[name].marks, after.marks)
        stamp = _shifted_stamp(rows.state.stamp, before[name], after)
        shifts.append(Shift(state=replace(state, stamp=stamp), marks=after.marks))
    return tuple(shifts)


def _shifted_stamp(stamp: Stamp | None, before: MarksAndWriters, after: MarksAndWriters) -> Stamp | None:
    """Make the stamp of a table after some of its rows were written; None if it does not cover all of them.

    It does not if this transaction wrote further rows, by triggers: they have the same stamp, but not their
    remembered content.
    """
    if stamp is None or len(stamp.transactions) == TRANSACTIONS:
        return None
    if after.stamped * MARK != len(after.marks) or after.others != before.others:
        return None
    return replace(stamp, rows=stamp.rows + after.stamped - before.stamped)


# ---- all other tables -----------------------------------------------------------------------------------

# By table and row set ("written", "known", "now"): the marks of its rows, and the remembered marks of the
# table.
Answers = Mapping[tuple[str, str], tuple[bytes, bytes | None]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TouchedTable:
    """A table that a run wrote to: its state from now on, and its `previous` one, if that can be compared.

    `frame` has the keys of the rows that were written, `deleted` the marks of those that were deleted.
    `all_written` tells that the run wrote every row that anybody seeds into the table. It is `migrated` if
    columns of the previous state are gone: then it cannot be found out whether rows of others are as they
    were. But they need no doubt, since whoever seeds a table compares all rows once its definition changed.
    """

    state: TableState
    previous: TableState | None
    frame: pl.DataFrame | None = None
    deleted: bytes = b""
    all_written: bool = False
    migrated: bool = False


def store_marks(ledger: Ledger, states: Iterable[TableState], recorder: Recorder) -> None:
    """Store the marks of tables that are known by a stamp alone, before some of their rows are written."""
    if unmarked := [each for each in states if each.unmarked and each.stamp and each.rows <= MARKED_ROWS]:
        with recorder.span("commit"):
            ledger.store_marks(unmarked)


def marks_of(
    ledger: Ledger, removals: Iterable[Removal], states: Mapping[str, TableState]
) -> dict[str, bytes]:
    """Fetch the marks, by table, of rows that are about to be deleted, where their tables have a state."""
    with_state = [each for each in removals if each.table.name in states and each.frame.height]
    found: dict[str, bytes] = {}
    sets = [RowSet(state=states[each.table.name], frame=each.frame) for each in with_state]
    for each, marks in zip(sets, ledger.marks(sets), strict=True):
        found[each.state.table] = found.get(each.state.table, b"") + marks
    return found


def settle_states(
    ledger: Ledger, tables: Sequence[TouchedTable]
) -> tuple[list[TableState], dict[str, bytes | None]]:
    """Make the states to be stored, and the marks of the tables' seeded rows; one round trip."""
    sets: dict[tuple[str, str], RowSet] = {}
    for each in tables:
        name = each.state.table
        if each.frame is not None:
            sets[name, "written"] = RowSet(state=each.state, frame=each.frame)
        if not each.all_written and each.previous is not None:
            if not each.migrated:
                sets[name, "known"] = RowSet(state=each.previous, frame=None)
            if each.previous.columns != each.state.columns:
                sets[name, "now"] = RowSet(state=each.state, frame=None)
    answers = dict(zip(sets, ledger.current_and_remembered(list(sets.values())), strict=True)) if sets else {}
    settled = [_settled(each, answers) for each in tables]
    return [state for state, _ in settled], {state.table: marks for state, marks in settled}


def _settled(table: TouchedTable, answers: Answers) -> tuple[TableState, bytes | None]:
    name = table.state.table
    written = answers.get((name, "written"), (b"", None))[0]
    if table.all_written:
        return table.state, written
    if table.migrated:
        now, remembered = answers[name, "now"]
        others = without_marks(without_marks(remembered or b"", table.deleted), written)
        return table.state, marks_now(others, now) + written
    present, remembered = answers.get((name, "known"), (b"", None))
    if remembered is None:
        return replace(table.state, rows=IN_DOUBT), None
    others = without_marks(without_marks(remembered, table.deleted), written)
    state = replace(table.state, rows=IN_DOUBT) if have_drifted(others, present) else table.state
    if (name, "now") in answers:  # other columns are seeded now, so the marks of the other rows change
        others = updated_marks(others, present, answers[name, "now"][0])
    return state, others + written
