"""`PostgresLedger`: the implementation of `Ledger` for PostgreSQL, in the schema `seedlab`."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from seedlab.database.ledger import (
    Ledger,
    MarksAndWriters,
    StoreHashes,
    batched,
    load_document,
    load_of,
    merged_marks,
    packed,
    run_document,
    runs_of,
    stage_document,
)
from seedlab.database.postgres import ledger_statements as sql
from seedlab.database.postgres import stamp_statements as stamps
from seedlab.database.postgres import transaction_statements as transaction
from seedlab.database.postgres.failures import write_failed
from seedlab.database.postgres.kept_catalog import KeptCatalog
from seedlab.database.postgres.wire import Question, StatementError, Wire, translated
from seedlab.flow import LoadMemory, Memo, Memory, RowSet, RunMemory, Shift, Table, TableState

if TYPE_CHECKING:
    import polars as pl
    from psycopg.sql import Composable

# Bytes of packs in one statement. The server copies a parameter three times, and allocates memory from the
# operating system for each copy once it is large.
STATEMENT_BYTES = 1 << 18
NO_TABLE, NO_RIGHT = "42P01", "42501"
OfTables = Callable[[Sequence[tuple[TableState, Table]]], "Composable"]
Arrays = Callable[["pl.DataFrame"], Sequence[str]]


class PostgresLedger(Ledger):
    """A `Ledger` on a session's connection.

    `tables` looks a table up in the session's catalog, `arrays` encodes a frame as array literals, and
    `search_path` returns the connection's own search path.
    """

    signed = True

    def __init__(
        self,
        wire: Wire,
        tables: Callable[[str], Table],
        arrays: Arrays,
        search_path: Callable[[], Composable],
        lock_timeout: str,
    ) -> None:
        self._wire = wire
        self._table = tables
        self._arrays = arrays
        self._lock_timeout = lock_timeout
        self.memory = Memory()
        self.kept_catalog = KeptCatalog(wire, search_path)

    def read(self, project: str) -> Memory:  # noqa: ARG002 (the project was given with the catalog)
        """Return what was read together with the catalog, without a round trip."""
        return self.memory

    def ensure(self) -> bool:
        """Create the ledger if it is missing, in one message."""
        try:
            self.kept_catalog.created = int(self._wire.script(sql.CREATE)[1].get_value(0, 0) or 0)
        except StatementError as failed:
            self._wire.abandon()
            if failed.error.sqlstate in (NO_RIGHT, "25006"):
                return False
            raise write_failed(failed.error, "the ledger") from failed.error
        self.memory = replace(self.memory, stamped=True)
        return True

    def generation(self) -> int:
        """Read the generation; as the first query after the lock it sees what the last holder committed."""
        return int(self._ask([(sql.GENERATION, ())])[0][0][0])

    def begin_run(self) -> int:
        """Increase the generation in the open transaction, and return it."""
        return int(self._ask([(sql.RAISE_GENERATION, ())])[0][0][0])

    def join_run(self) -> int:
        """Lock the generation's row for share, which all transactions of a run may hold, and return it."""
        return int(self._ask([(sql.SHARE_GENERATION, ())])[0][0][0])

    def contents_ahead(self, states: Sequence[TableState]) -> Callable[[], list[TableState]]:
        """Count the rows of tables with stamps and hash all others.

        Tables whose stamp does not prove that they are unchanged are hashed in a second query.
        """
        stamped = [state for state in states if state.stamp]
        others = [state for state in states if not state.stamp]
        questions = [*self._of_tables(stamps.stamped, stamped), *self._of_tables(sql.contents, others)]
        if questions:
            self._limit_waiting()
        answers = self._wire.ask_ahead(questions) if questions else list

        def wait() -> list[TableState]:
            with translated("the seeded rows"):
                rows = iter(answers())
                known, unproven = _by_stamps(stamped, next(rows)) if stamped else ([], [])
                known += _hashed(others, next(rows)) if others else []
            if unproven:
                self._limit_waiting()
                known += _hashed(unproven, self._ask(self._of_tables(sql.contents, unproven))[0])
            by_name = {state.table: state for state in known}
            return [by_name[state.table] for state in states]

        return wait

    def _limit_waiting(self) -> None:
        """Limit how long the next message may wait for locks, where no transaction does so.

        Statements of one message are one transaction, so the setting ends with it.
        """
        if self._wire.idle and not self._wire.opening:
            self._wire.opening = [transaction.limit_waiting(self._lock_timeout)]

    def _of_tables(self, statement: OfTables, states: Sequence[TableState]) -> list[Question]:
        """Make one query about all these tables, or none without tables."""
        return [(statement([(each, self._table(each.table)) for each in states]), ())] if states else []

    def other_loads(self, project: str, tables: Collection[str]) -> list[tuple[str, LoadMemory]]:
        """Fetch them in one statement."""
        rows = self._ask([(sql.OTHER_LOADS, (project, json.dumps(sorted(tables))))])[0]
        return [(other, load_of(json.loads(load))) for other, load in rows]

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
        """Fetch the first pack of each load, the recent packs, and the number of further packs."""
        several = self.memory.several
        questions: list[Question] = [(sql.recall(project, *name, several=several), ()) for name in names]
        answers = self._ask(questions, binary=True) if names else []
        return [(rows[0][0], rows[0][1], rows[0][2]) if rows else (b"", b"", 0) for rows in answers]

    def _more(self, project: str, name: tuple[str, str, str], count: int) -> Iterator[bytes]:
        for number in range(1, count + 1):
            yield self._ask([(sql.RECALL_PACK, (project, *name, str(number)))], binary=True)[0][0][0]

    def current_and_remembered(self, sets: Sequence[RowSet]) -> list[tuple[bytes, bytes | None]]:
        """Fetch current and remembered marks in one pipeline."""
        if not sets:
            return []
        names = [each.state.table for each in sets]
        questions = self._mark_questions(sets, sql.marks_to_compare)
        remembered, *current = self._ask([_recall_marks(names), *questions], binary=True)
        known = _marks_of(remembered)
        return [(rows[0][0] or b"", known.get(name)) for name, rows in zip(names, current, strict=True)]

    def recall_marks(self, tables: Sequence[str]) -> dict[str, bytes | None]:
        """Fetch the remembered marks in one statement."""
        return _marks_of(self._ask([_recall_marks(tables)], binary=True)[0]) if tables else {}

    def marks(self, sets: Sequence[RowSet]) -> list[bytes]:
        """Compute the marks of all row sets in one pipeline."""
        answers = self._ask(self._mark_questions(sets), binary=True) if sets else []
        return [rows[0][0] or b"" for rows in answers]

    def marks_and_writers(self, sets: Sequence[RowSet]) -> Callable[[], list[MarksAndWriters]]:
        """Send the queries without waiting for the answers."""
        questions = [
            self._named(each, sql.marks_and_writers if each.state.stamp else sql.marks_of) for each in sets
        ]
        answers = self._wire.ask_ahead(questions, binary=True) if questions else list

        def wait() -> list[MarksAndWriters]:
            with translated("the ledger"):
                return [MarksAndWriters(marks or b"", *counts) for ((marks, *counts),) in answers()]

        return wait

    def store_marks(self, states: Sequence[TableState]) -> None:
        """Let the server compute and store the marks in one statement, without sending them to the client."""
        self._ask([(sql.store_marks([(state, self._table(state.table)) for state in states]), ())])

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
        self, rows: RowSet, marks: Callable[[TableState, Table, Sequence[str], Collection[str]], Composable]
    ) -> Question:
        assert rows.frame is not None
        nulls = [each.name for each in rows.frame.get_columns() if each.null_count()]
        statement = marks(rows.state, self._table(rows.state.table), rows.frame.columns, nulls)
        return statement, self._arrays(rows.frame)

    def runs(self, project: str, run: str | None = None, *, limit: int | None = None) -> list[RunMemory]:
        """Read the remembered runs in one statement."""
        return runs_of(document for (document,) in self._ask([(sql.runs(project, run, limit), ())])[0])

    def size(self) -> int:
        """Return the size of the ledger's tables on disk, including indexes and TOAST."""
        return int(self._ask([(sql.SIZE, ())])[0][0][0])

    def begin_to_remember(self) -> None:
        """Let the server store a copy of the catalog, unless there is a valid one."""
        self.kept_catalog.begin_to_keep()

    def begin_to_hash(self, states: Sequence[TableState], marks: Mapping[str, bytes | None]) -> StoreHashes:
        """Let the server hash the tables that this run has filled, in the open transaction."""
        return self._hash_ahead([state for state in states if state.table not in marks])

    def remember(
        self, memo: Memo, states: Sequence[TableState], store_hashes: StoreHashes | None = None
    ) -> None:
        """Write everything in one pipeline, or in several of about PACK_BYTES each."""
        if not memo.part:
            self.begin_to_remember()
        store_hashes = store_hashes or self.begin_to_hash(states, memo.marks)
        partly_seeded = [state for state in states if state.table in memo.marks]
        grown = self._wire.ask_ahead([self._shift(memo.shifts)]) if memo.shifts else list
        for questions in batched(self._questions(memo, partly_seeded), _bytes_of):
            self._ask(questions)
        store_hashes()
        for names in grown():
            self._fold([name for (name,) in names])
        self.kept_catalog.end()

    def _hash_ahead(self, states: Sequence[TableState]) -> StoreHashes:
        """Let the server hash tables that this run has filled, while the client packs their rows.

        Small tables are hashed and stored by one statement. Large ones are hashed by a query of their own,
        because a statement that also writes is not run in parallel; then the function returned stores the
        results, those of small tables too.
        """
        large = [state for state in states if stamps.unmarked(state, self._table(state.table))]
        if not large or not self.memory.stamped:
            if states:
                self._wire.tell([self._put_tables({}, states)[0]])
            return lambda: None
        hashes = self._wire.ask_ahead(self._of_tables(sql.contents, large))

        def put() -> None:
            with translated("the ledger"):
                hashed = {state.table: state for state in _hashed(large, hashes()[0])}
            self._ask([self._put_tables({}, [hashed.get(state.table, state) for state in states], hashed)])

        return put

    def _questions(self, memo: Memo, states: Sequence[TableState]) -> Iterator[Question]:
        """Yield the statements that write the memo and the states of tables with known marks."""
        yield from [
            *([] if memo.part else [(sql.RAISE_GENERATION, ())]),
            (sql.ADD_RUN, (json.dumps(run_document(memo)),)),
            (
                sql.PUT_STAGES,
                (json.dumps([stage_document(stage) | {"project": memo.project} for stage in memo.stages]),),
            ),
        ]
        if self.memory.several:
            replaced = (load.name for load in memo.loads if load.name not in memo.continued)
            yield sql.FORGET_PACKS, (json.dumps([[memo.project, *n] for n in (*replaced, *memo.forgotten)]),)
        yield from self._put_rows(memo)
        if memo.forgotten:
            yield sql.FORGET_ROWS, (json.dumps([[memo.project, *name] for name in memo.forgotten]),)
        if memo.unfinished:
            yield sql.FORGET_STAGES, (json.dumps([[memo.project, stage] for stage in memo.unfinished]),)
        for batch in batched(states, lambda state: len(memo.marks.get(state.table) or b"")):
            if batch:
                yield self._put_tables(memo.marks, batch)

    def _put_rows(self, memo: Memo) -> Iterator[Question]:
        """Yield the statements that store the packs of each load, or append them to those stored."""
        packs = [iter([b"".join(p)] if self.memory.undivided else p) for p in memo.contents]
        for continued, statement in ((False, sql.PUT_ROWS), (True, sql.ADD_ROWS)):
            loads = [n for n, load in enumerate(memo.loads) if (load.name in memo.continued) == continued]
            firsts = ((n, next(packs[n], b"")) for n in loads)
            for batch in batched(firsts, lambda each: len(each[1]), STATEMENT_BYTES):
                if batch:
                    yield _put_first(statement, memo, dict(batch))
        for load, others in zip(memo.loads, packs, strict=True):
            for number, pack in enumerate(others, 1):
                if not self.memory.several:
                    self.memory = replace(self.memory, several=True)
                    yield from ((each, ()) for each in sql.CREATE_PACKS)
                yield sql.PUT_PACK, (memo.project, *load.name, str(number), pack)

    def _shift(self, shifts: Sequence[Shift]) -> Question:
        """Make the statement that updates the states and marks of tables in which few rows changed."""
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
        """Merge the recent marks of tables into the others."""
        known = self.recall_marks(grown)
        if grown:
            self._ask([(sql.FOLD_MARKS, (name, known[name])) for name in grown])

    def _put_tables(
        self, marks: Mapping[str, bytes | None], states: Sequence[TableState], hashed: Collection[str] = ()
    ) -> Question:
        """Make the statement that stores states with these marks; the tables `hashed` need no hashing."""
        with_marks = [state.table for state in states if state.table in marks]
        content, places = packed(marks[name] or b"" for name in with_marks)
        cuts = {
            name: (start, -1 if marks[name] is None else length)
            for name, (start, length) in zip(with_marks, places, strict=True)
        }
        statement = sql.put_tables(
            [(state, self._table(state.table), cuts.get(state.table)) for state in states],
            stamped=self.memory.stamped,
            hashed=hashed,
        )
        return statement, ((content,) if any(marks[name] is not None for name in with_marks) else ())

    def _ask(self, questions: Sequence[Question], *, binary: bool = False) -> list[list[tuple[Any, ...]]]:
        with translated("the ledger"):
            return self._wire.ask(questions, binary=binary)


def _by_stamps(
    states: Sequence[TableState], counts: Sequence[tuple[Any, ...]]
) -> tuple[list[TableState], list[TableState]]:
    """Separate tables proven to be unchanged from others, which lose a stamp whose rows are incomplete.

    `counts` has (index of the state, rows, rows written by transactions of the stamp).
    """
    proven: list[TableState] = []
    unproven: list[TableState] = []
    for n, rows, stamped_rows in counts:
        state, stamp = states[n], states[n].stamp
        if stamp is None or stamped_rows != stamp.rows:
            unproven.append(replace(state, stamp=None))
        else:
            (proven if rows == stamped_rows == state.rows else unproven).append(state)
    return proven, unproven


def _hashed(states: Sequence[TableState], hashes: Sequence[tuple[Any, ...]]) -> list[TableState]:
    return [replace(states[n], rows=rows, xor=int(xor), sum=int(total)) for n, rows, xor, total in hashes]


def _recall_marks(tables: Sequence[str]) -> Question:
    return sql.RECALL_MARKS, (json.dumps(tables),)


def _marks_of(rows: Sequence[tuple[Any, ...]]) -> dict[str, bytes | None]:
    return {name: None if marks is None else merged_marks(marks, recent) for name, marks, recent in rows}


def _put_first(statement: Composable, memo: Memo, packs: Mapping[int, bytes]) -> Question:
    """Make the statement that writes loads, by index, with the first pack of each."""
    content, places = packed(packs.values())
    documents = [
        load_document(memo.loads[n]) | {"project": memo.project, "start": start, "length": length}
        for n, (start, length) in zip(packs, places, strict=True)
    ]
    return statement, (json.dumps(documents), content)


def _bytes_of(question: Question) -> int:
    return sum(len(each or b"") for each in question[1])
