"""The ledger on PostgreSQL: the schema `seedlab`, and the server's own hashes of rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from seedlab.database import ledger_statements as sql
from seedlab.database import stamp_statements as stamps
from seedlab.database.failures import write_failed
from seedlab.database.ledger import (
    Attested,
    Ledger,
    batched,
    folded,
    load_document,
    packed,
    run_document,
    runs_of,
    stage_document,
)
from seedlab.database.transaction_statements import SYSTEM_NAMES, put_search_path
from seedlab.database.wire import Question, StatementError, Wire
from seedlab.flow import Memo, Memory, RowSet, RunMemory, Shift, Table, TableState

if TYPE_CHECKING:
    import polars as pl
    from psycopg.sql import Composable

# Of packs in one statement. The server holds a parameter three times over, as message, value and pieces, and
# asks the system for memory anew each time once it is large.
STATEMENT_BYTES = 1 << 18
NO_TABLE, NO_RIGHT = "42P01", "42501"
OfTables = Callable[[Sequence[tuple[TableState, Table]]], "Composable"]
Arrays = Callable[["pl.DataFrame"], Sequence[str]]


class PostgresLedger(Ledger):
    """A `Ledger` on a session's wire; `tables` looks up the catalog that the session has adopted."""

    signed = True

    def __init__(
        self,
        wire: Wire,
        tables: Callable[[str], Table],
        arrays: Arrays,
        search_path: Callable[[], Composable],
    ) -> None:
        self._wire = wire
        self._table = tables
        self._arrays = arrays
        self._search_path = search_path
        self.memory = Memory()
        self.keeps_catalog = False  # as it is

    def read(self, project: str) -> Memory:  # noqa: ARG002 (it was named with the catalog)
        """Give the project's memory as it was read in the catalog's own query; no round trip."""
        return self.memory

    def ensure(self) -> bool:
        """Make the ledger; one message."""
        try:
            self._wire.script(sql.CREATE)
        except StatementError as failed:
            self._wire.abandon()
            if failed.error.sqlstate in (NO_RIGHT, "25006"):
                return False
            raise write_failed(failed.error, "the ledger") from failed.error
        self.memory = replace(self.memory, stamped=True)
        return True

    def generation(self) -> int:
        """Read the generation.

        As the first statement after the lock it sees what the last holder committed.
        """
        return int(self._ask([(sql.GENERATION, ())])[0][0][0])

    def begin_run(self) -> int:
        """Raise the generation in the open transaction, and give the new one."""
        return int(self._ask([(sql.RAISE_GENERATION, ())])[0][0][0])

    def join_run(self) -> int:
        """Share-lock the generation's row, as all transactions of a run may at once; give the generation."""
        return int(self._ask([(sql.SHARE_GENERATION, ())])[0][0][0])

    def contents_ahead(self, states: Sequence[TableState]) -> Callable[[], list[TableState]]:
        """Let the server count rows by stamps and hash others; what stamps do not prove is hashed then."""
        stamped = [state for state in states if state.stamp]
        others = [state for state in states if not state.stamp]
        questions = [*self._of_tables(stamps.stamped, stamped), *self._of_tables(sql.contents, others)]
        answers = self._wire.ask_ahead(questions) if questions else list

        def found() -> list[TableState]:
            with _told_of_ledger():
                rows = iter(answers())
                same, doubtful = _judged(stamped, next(rows)) if stamped else ([], [])
                same += _hashed(others, next(rows)) if others else []
            if doubtful:
                same += _hashed(doubtful, self._ask(self._of_tables(sql.contents, doubtful))[0])
            by_name = {state.table: state for state in same}
            return [by_name[state.table] for state in states]

        return found

    def _of_tables(self, statement: OfTables, states: Sequence[TableState]) -> list[Question]:
        """A question of tables; of none nothing is asked."""
        return [(statement([(each, self._table(each.table)) for each in states]), ())] if states else []

    def recall(self, project: str, names: Sequence[tuple[str, str, str]]) -> list[list[bytes]]:
        """Fetch the first packs of all loads in one pipeline, further packs one by one."""
        return [
            [pack for pack in (first, *self._more(project, name, more), recent) if pack]
            for name, (first, recent, more) in zip(names, self._first(project, names), strict=True)
        ]

    def recall_apart(self, project: str, name: tuple[str, str, str]) -> Iterator[list[bytes]]:
        """Fetch the packs of one load lazily, a round trip each."""
        ((first, recent, more),) = self._first(project, [name])
        yield [pack for pack in (first, recent) if pack]
        yield from ([pack] for pack in self._more(project, name, more))

    def _first(self, project: str, names: Sequence[tuple[str, str, str]]) -> list[tuple[bytes, bytes, int]]:
        """The first pack of each load, the recent ones, and how many more there are."""
        several = self.memory.several
        questions: list[Question] = [(sql.recall(project, *name, several=several), ()) for name in names]
        answers = self._ask(questions, binary=True) if names else []
        return [(rows[0][0], rows[0][1], rows[0][2]) if rows else (b"", b"", 0) for rows in answers]

    def _more(self, project: str, name: tuple[str, str, str], count: int) -> Iterator[bytes]:
        for number in range(1, count + 1):
            yield self._ask([(sql.RECALL_PACK, (project, *name, str(number)))], binary=True)[0][0][0]

    def touched(self, sets: Sequence[RowSet]) -> list[tuple[bytes, bytes | None]]:
        """Give for each set the marks of its rows now, and those remembered of its table; in one pipeline."""
        if not sets:
            return []
        names = [each.state.table for each in sets]
        questions = self._mark_questions(sets, sql.marks_to_compare)
        remembered, *now = self._ask([_recall_marks(names), *questions], binary=True)
        known = _marks_of(remembered)
        return [(rows[0][0] or b"", known.get(name)) for name, rows in zip(names, now, strict=True)]

    def recall_marks(self, tables: Sequence[str]) -> dict[str, bytes | None]:
        """Fetch the marks of tables' seeded rows in one statement; None where they are not known."""
        return _marks_of(self._ask([_recall_marks(tables)], binary=True)[0]) if tables else {}

    def marks(self, sets: Sequence[RowSet]) -> list[bytes]:
        """Compute the marks of all row sets in one pipeline."""
        answers = self._ask(self._mark_questions(sets), binary=True) if sets else []
        return [rows[0][0] or b"" for rows in answers]

    def attested(self, sets: Sequence[RowSet]) -> Callable[[], list[Attested]]:
        """Ask for all of it ahead of what is sent next."""
        questions = [self._named(each, sql.attested if each.state.stamp else sql.marks_of) for each in sets]
        answers = self._wire.ask_ahead(questions, binary=True) if questions else list

        def found() -> list[Attested]:
            with _told_of_ledger():
                return [Attested(marks or b"", *counts) for ((marks, *counts),) in answers()]

        return found

    def spell_out(self, states: Sequence[TableState]) -> None:
        """Have the server store the marks of stamped tables, in one statement; no mark is sent to us."""
        self._ask([(sql.spell_out([(state, self._table(state.table)) for state in states]), ())])

    def _mark_questions(
        self, sets: Sequence[RowSet], whole: Callable[[TableState, Table], Composable] = sql.marks
    ) -> list[Question]:
        return [
            (whole(each.state, self._table(each.state.table)), ())
            if each.frame is None
            else self._named(each, sql.marks_of)
            for each in sets
        ]

    def _named(
        self, rows: RowSet, marks: Callable[[TableState, Table, Sequence[str]], Composable]
    ) -> Question:
        assert rows.frame is not None
        statement = marks(rows.state, self._table(rows.state.table), rows.frame.columns)
        return statement, self._arrays(rows.frame)

    def runs(self, project: str, run: str | None = None, *, limit: int | None = None) -> list[RunMemory]:
        """Read the runs on record in one statement, the last first."""
        return runs_of(document for (document,) in self._ask([(sql.runs(project, run, limit), ())])[0])

    def size(self) -> int:
        """Bytes that the ledger's tables take on disk, with indexes and TOAST."""
        return int(self._ask([(sql.SIZE, ())])[0][0][0])

    def begin_to_remember(self) -> None:
        """Let the server read the catalog and keep it, if the one that is kept is not as it is now."""
        if not self.keeps_catalog:
            ours = put_search_path(self._search_path())
            self._wire.tell([SYSTEM_NAMES, sql.KEEP_CATALOG, ours])
            self.keeps_catalog = True

    def remember(self, memo: Memo, states: Sequence[TableState]) -> None:
        """Write the memo and the states in one pipeline, or in several of about PACK_BYTES each."""
        if not memo.part:
            self.begin_to_remember()
        put_filled = self._hash_ahead([state for state in states if state.table not in memo.marks])
        partly = [state for state in states if state.table in memo.marks]
        grown = self._wire.ask_ahead([self._shift(memo.shifts)]) if memo.shifts else list
        for questions in batched(self._questions(memo, partly), _bytes_of):
            self._ask(questions)
        put_filled()
        for names in grown():
            self._fold([name for (name,) in names])

    def _hash_ahead(self, states: Sequence[TableState]) -> Callable[[], None]:
        """Let the server hash tables that this run has filled, while their rows are packed.

        Small ones are put down at once. Large ones are hashed by a statement that only asks, since one that
        writes as well is not run in parallel; what comes back puts them down, and the small ones beside them.
        """
        large = [state for state in states if stamps.unmarked(state, self._table(state.table))]
        if not large or not self.memory.stamped:
            if states:
                self._wire.tell([self._put_tables({}, states)[0]])
            return lambda: None
        hashes = self._wire.ask_ahead(self._of_tables(sql.contents, large))

        def put() -> None:
            with _told_of_ledger():
                hashed = {state.table: state for state in _hashed(large, hashes()[0])}
            self._ask([self._put_tables({}, [hashed.get(state.table, state) for state in states], hashed)])

        return put

    def _questions(self, memo: Memo, states: Sequence[TableState]) -> Iterator[Question]:
        yield from [
            *([] if memo.part else [(sql.RAISE_GENERATION, ())]),
            (sql.ADD_RUN, (json.dumps(run_document(memo)),)),
            (
                sql.PUT_STAGES,
                (json.dumps([stage_document(stage) | {"project": memo.project} for stage in memo.stages]),),
            ),
        ]
        if self.memory.several:
            anew = (load.name for load in memo.loads if load.name not in memo.continued)
            yield sql.FORGET_PACKS, (json.dumps([[memo.project, *n] for n in (*anew, *memo.forgotten)]),)
        yield from self._put_rows(memo)
        if memo.forgotten:
            yield sql.FORGET_ROWS, (json.dumps([[memo.project, *name] for name in memo.forgotten]),)
        if memo.unfinished:
            yield sql.FORGET_STAGES, (json.dumps([[memo.project, stage] for stage in memo.unfinished]),)
        for some in batched(states, lambda state: len(memo.marks.get(state.table) or b"")):
            if some:
                yield self._put_tables(memo.marks, some)

    def _put_rows(self, memo: Memo) -> Iterator[Question]:
        """Keep the packs of each load, or put them behind those that are there."""
        packs = [iter([b"".join(p)] if self.memory.undivided else p) for p in memo.contents]
        for continued, statement in ((False, sql.PUT_ROWS), (True, sql.ADD_ROWS)):
            mine = [n for n, load in enumerate(memo.loads) if (load.name in memo.continued) == continued]
            firsts = ((n, next(packs[n], b"")) for n in mine)
            for some in batched(firsts, lambda each: len(each[1]), STATEMENT_BYTES):
                if some:
                    yield _put_first(statement, memo, dict(some))
        for load, others in zip(memo.loads, packs, strict=True):
            for number, pack in enumerate(others, 1):
                if not self.memory.several:
                    self.memory = replace(self.memory, several=True)
                    yield from ((each, ()) for each in sql.CREATE_PACKS)
                yield sql.PUT_PACK, (memo.project, *load.name, str(number), pack)

    def _shift(self, shifts: Sequence[Shift]) -> Question:
        """Change what is known of few rows."""
        written, places = packed(each.marks for each in shifts)
        documents = [
            {
                "table": each.state.table,
                "rows": each.state.rows,
                "xor": each.state.xor,
                "sum": str(each.state.sum),
                "start": start,
                "length": length,
                "stamp": (stamp := each.state.stamp)
                and {"transactions": stamp.transactions, "rows": stamp.rows},
            }
            for each, (start, length) in zip(shifts, places, strict=True)
        ]
        return sql.shift_tables(stamped=self.memory.stamped), (json.dumps(documents), written)

    def _fold(self, grown: Sequence[str]) -> None:
        """Write all marks of tables anew."""
        known = self.recall_marks(grown)
        if grown:
            self._ask([(sql.FOLD_MARKS, (name, known[name])) for name in grown])

    def _put_tables(
        self,
        marks: Mapping[str, bytes | None],
        states: Sequence[TableState],
        hashed: Collection[str] = (),
    ) -> Question:
        given = [state.table for state in states if state.table in marks]
        content, places = packed(marks[name] or b"" for name in given)
        unknown = -1
        cuts = {
            name: (start, unknown if marks[name] is None else length)
            for name, (start, length) in zip(given, places, strict=True)
        }
        statement = sql.put_tables(
            [(state, self._table(state.table), cuts.get(state.table)) for state in states],
            stamped=self.memory.stamped,
            hashed=hashed,
        )
        return statement, ((content,) if any(marks[name] is not None for name in given) else ())

    def _ask(self, questions: Sequence[Question], *, binary: bool = False) -> list[list[tuple[Any, ...]]]:
        with _told_of_ledger():
            return self._wire.ask(questions, binary=binary)


@contextmanager
def _told_of_ledger() -> Iterator[None]:
    try:
        yield
    except StatementError as failed:
        raise write_failed(failed.error, "the ledger") from failed.error


def _judged(
    states: Sequence[TableState], counts: Sequence[tuple[Any, ...]]
) -> tuple[list[TableState], list[TableState]]:
    """Tell tables that are as they were from others; these lose a stamp whose rows are not all there."""
    same: list[TableState] = []
    doubtful: list[TableState] = []
    for n, total, theirs in counts:
        state, stamp = states[n], states[n].stamp
        if stamp is None or theirs != stamp.rows:
            doubtful.append(replace(state, stamp=None))
        else:
            (same if total == theirs == state.rows else doubtful).append(state)
    return same, doubtful


def _hashed(states: Sequence[TableState], hashes: Sequence[tuple[Any, ...]]) -> list[TableState]:
    return [
        replace(states[n], rows=rows, xor=int(crossed), sum=int(total)) for n, rows, crossed, total in hashes
    ]


def _recall_marks(tables: Sequence[str]) -> Question:
    return sql.RECALL_MARKS, (json.dumps(tables),)


def _marks_of(rows: Sequence[tuple[Any, ...]]) -> dict[str, bytes | None]:
    return {name: None if marks is None else folded(marks, recent) for name, marks, recent in rows}


def _put_first(statement: Composable, memo: Memo, packs: Mapping[int, bytes]) -> Question:
    """Write what is known of loads, by their places, with the first pack of each."""
    content, places = packed(packs.values())
    documents = [
        load_document(memo.loads[n]) | {"project": memo.project, "start": start, "length": length}
        for n, (start, length) in zip(packs, places, strict=True)
    ]
    return statement, (json.dumps(documents), content)


def _bytes_of(question: Question) -> int:
    return sum(len(each or b"") for each in question[1])
