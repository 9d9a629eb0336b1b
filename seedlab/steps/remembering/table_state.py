"""What is remembered of a table of whose seeded rows a run wrote only some, or none.

Its content as a whole is compared next time. So a run that stores it vouches for rows that it did not look
at: those of other stages, other projects, files that did not change. It does so only where they are as they
were remembered; else the table is in doubt, and the next run compares row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import polars as pl

from seedlab.database.ledger import MARK, TRANSACTIONS, Attested, Ledger, dropped, have_drifted, moved
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

# 64 MB, and twenty times as much where they are compared. Of a table with more rows no marks are kept: once
# it is another than we left it, all is compared.
MARKED_ROWS = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slight:
    """A table of which a run writes only rows that changed: its content as the run found it, the keys of
    these rows; `before` waits for what was to be told of these rows before they were written.
    """

    seen: TableState
    keys: pl.DataFrame
    before: Callable[[], Attested]


def slight(
    ledger: Ledger,
    plan: WritePlan,
    reduced: Collection[str],
    known: Mapping[str, TableState],
    seen: Mapping[str, TableState],
) -> dict[str, Slight]:
    """Find such tables before they are written, those that only `reduced` stages write, and ask for the marks
    ahead of that.

    What others do meanwhile is no part of what will be remembered of them, so the next run sees it.
    """
    writes: dict[str, list[TableWrite]] = {}
    for write in (write for group in plan.groups for write in group):
        writes.setdefault(write.table.name, []).append(write)
    found = {
        name: RowSet(state=seen[name], frame=_keys(mine, known[name].key))
        for name, mine in writes.items()
        if name in seen
        and sum(write.rows for write in mine) <= MARKED_ROWS
        and all(_is_slight(load, reduced, known[name]) for w in mine for load in w.loads)
    }
    answers = cache(ledger.attested(list(found.values())))
    return {
        name: Slight(seen=each.state, keys=each.frame, before=partial(_nth, answers, n))
        for n, (name, each) in enumerate(found.items())
        if each.frame is not None
    }


def _nth(answers: Callable[[], Sequence[Attested]], n: int) -> Attested:
    return answers()[n]


def _is_slight(load: Load, reduced: Collection[str], known: TableState) -> bool:
    columns = {*load.columns}.difference(load.defaults)
    return (
        load.stage in reduced
        and columns <= {*known.columns}
        and tuple(dict.fromkeys(load.key_columns)) == known.key
    )


def _keys(writes: Sequence[TableWrite], key: Sequence[str]) -> pl.DataFrame:
    return pl.concat([batch.frame.select(key) for write in writes for batch in write.batches()])


def shifts_of(ledger: Ledger, tables: Mapping[str, Slight]) -> tuple[Shift, ...]:
    """What is remembered of such tables after they were written; one round trip."""
    after = ledger.attested([RowSet(state=each.seen, frame=each.keys) for each in tables.values()])()
    shifts = []
    for each, now in zip(tables.values(), after, strict=True):
        before = each.before()
        state = ledger.shifted(each.seen, before.marks, now.marks)
        shifts.append(
            Shift(state=replace(state, stamp=_shifted_stamp(each.seen.stamp, before, now)), marks=now.marks)
        )
    return tuple(shifts)


def _shifted_stamp(stamp: Stamp | None, before: Attested, now: Attested) -> Stamp | None:
    """The stamp of a table after some of its rows were written, if it tells of all of them.

    Others that were written, too, by triggers, have the same transaction and are not what they were.
    """
    if stamp is None or len(stamp.transactions) == TRANSACTIONS:
        return None
    if now.stamped * MARK != len(now.marks) or now.others != before.others:
        return None
    return replace(stamp, rows=stamp.rows + now.stamped - before.stamped)


# ---- any other ------------------------------------------------------------------------------------------

Answers = Mapping[tuple[str, str], tuple[bytes, bytes | None]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Touched:
    """A table that a run has written to: its state before, if that can be compared with, and from now on.

    `frame` has the keys of the rows that were written, `gone` the marks of those that were deleted. `whole`:
    every row that anybody seeds was written.
    """

    state: TableState
    known: TableState | None
    frame: pl.DataFrame | None = None
    gone: bytes = b""
    whole: bool = False


def spell_out(ledger: Ledger, states: Iterable[TableState], recorder: Recorder) -> None:
    """Keep the marks of tables of which a stamp alone tells, before some of their rows are written."""
    if bare := [each for each in states if each.unmarked and each.stamp and each.rows <= MARKED_ROWS]:
        with recorder.span("commit"):
            ledger.spell_out(bare)


def marks_of(
    ledger: Ledger, removals: Iterable[Removal], states: Mapping[str, TableState]
) -> dict[str, bytes]:
    """The marks, by table, of rows that are about to be deleted, where their tables have a state."""
    named = [each for each in removals if each.table.name in states and each.frame.height]
    found: dict[str, bytes] = {}
    sets = [RowSet(state=states[each.table.name], frame=each.frame) for each in named]
    for each, marks in zip(sets, ledger.marks(sets), strict=True):
        found[each.state.table] = found.get(each.state.table, b"") + marks
    return found


def settle(ledger: Ledger, tables: Sequence[Touched]) -> tuple[list[TableState], dict[str, bytes | None]]:
    """The tables' states to be stored, and the marks of their seeded rows; one round trip."""
    sets: dict[tuple[str, str], RowSet] = {}
    for each in tables:
        name = each.state.table
        if each.frame is not None:
            sets[name, "written"] = RowSet(state=each.state, frame=each.frame)
        if not each.whole and each.known is not None:
            sets[name, "known"] = RowSet(state=each.known, frame=None)
            if each.known.columns != each.state.columns:
                sets[name, "now"] = RowSet(state=each.state, frame=None)
    answers = dict(zip(sets, ledger.touched(list(sets.values())), strict=True)) if sets else {}
    settled = [_settled(each, answers) for each in tables]
    return [state for state, _ in settled], {state.table: marks for state, marks in settled}


def _settled(each: Touched, answers: Answers) -> tuple[TableState, bytes | None]:
    name = each.state.table
    written = answers.get((name, "written"), (b"", None))[0]
    if each.whole:
        return each.state, written
    there, remembered = answers.get((name, "known"), (b"", None))
    if remembered is None:
        return replace(each.state, rows=IN_DOUBT), None
    others = dropped(dropped(remembered, each.gone), written)
    state = replace(each.state, rows=IN_DOUBT) if have_drifted(others, there) else each.state
    if (name, "now") in answers:
        others = moved(others, there, answers[name, "now"][0])
    return state, others + written
