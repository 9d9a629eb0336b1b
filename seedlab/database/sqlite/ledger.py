"""`SqliteLedger`: the implementation of `Ledger` for SQLite, in tables `seedlab_…` of the file.

SQLite has no hash functions, so rows are fetched and hashed here (`marks.py`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from seedlab.database.ledger import (
    Ledger,
    StoreHashes,
    load_document,
    load_of,
    memory_of,
    merged_marks,
    run_document,
    runs_of,
    stage_document,
)
from seedlab.database.sqlite.connection import MAX_PARAMETERS, CountedConnection, NotUtf8Error, listed
from seedlab.database.sqlite.marks import Marked, Row, Sums, added_up, hashes, marks_of, sums, sums_of_marks
from seedlab.database.sqlite.statements import equal, main
from seedlab.flow import (
    IN_DOUBT,
    LEDGER_VERSION,
    LoadMemory,
    Memo,
    Memory,
    RowSet,
    RunMemory,
    Table,
    TableState,
)
from seedlab.flow.catalog import quote

if TYPE_CHECKING:
    import polars as pl

CREATE = tuple((Path(__file__).parent / "ledger.sql").read_text().split(";\n"))
_PACKS = "seedlab_packs"  # created by the first run that needs more than one pack per load
_CREATE_PACKS = (
    f'CREATE TABLE IF NOT EXISTS {_PACKS} (project TEXT, stage TEXT, seed TEXT, "table" TEXT, '
    'number INTEGER, content BLOB NOT NULL, PRIMARY KEY (project, stage, seed, "table", number))'
)
_TABLES = ("seedlab_ledger", "seedlab_runs", "seedlab_stages", "seedlab_rows", "seedlab_tables")
_MADE = (
    "SELECT COALESCE(sum(name <> 'seedlab_packs'), 0), COALESCE(sum(name = 'seedlab_packs'), 0) "
    f"FROM main.sqlite_schema WHERE type = 'table' AND name IN {(*_TABLES, _PACKS)}"
)
_HEAD = "SELECT version, generation + (SELECT count(*) FROM seedlab_runs) FROM seedlab_ledger"
_RAISE = "UPDATE seedlab_ledger SET generation = generation + 1"
# The size of the values, not of the pages on disk, as not every build of SQLite has `dbstat`.
_SIZE = (
    "SELECT sum(n) FROM (SELECT sum(length(document)) AS n FROM seedlab_runs "
    "UNION ALL SELECT sum(length(document)) FROM seedlab_stages "
    "UNION ALL SELECT sum(length(document) + length(content)) FROM seedlab_rows "
    "UNION ALL SELECT sum(length(document) + COALESCE(length(marks), 0)) FROM seedlab_tables)"
)
_ROWS_OF = 'WHERE project = ? AND stage = ? AND seed = ? AND "table" = ?'

_OWN = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name GLOB 'seedlab_*'"
_ROWS = 1000  # rows fetched at once; more are not faster

Part = TypeVar("Part")
Encode = Callable[["pl.DataFrame", Table], list[Sequence[object]]]


def drop_ledger(connection: sqlite3.Connection) -> None:
    """Drop the tables of the ledger from a copy of a database."""
    for (name,) in connection.execute(_OWN).fetchall():
        connection.execute(f"DROP TABLE {quote(name)}")


class SqliteLedger(Ledger):
    """A `Ledger` on a session's connection; `encode` turns a frame of keys into rows of stored values."""

    signed = False

    def __init__(self, connection: CountedConnection, table: Callable[[str], Table], encode: Encode) -> None:
        self._run = connection.run
        self._stream = connection.stream
        self._any_text = connection.any_text
        self._table = table
        self._encode = encode
        self.memory = Memory()
        self._several = False  # whether some loads have more than one pack
        self.marked: Mapping[str, Marked] = {}  # the marks of tables that this transaction has filled

    def read(self, project: str) -> Memory:  # noqa: ARG002 (the project was given with the catalog)
        """Return the project's memory as `look` has read it, without a statement."""
        return self.memory

    def look(self, project: str) -> None:
        """Read the project's memory, with the generation first, for `read`."""
        self.memory = self._look(project)

    def _look(self, project: str) -> Memory:
        if not (heads := self._heads()):
            return Memory()
        version, generation = heads[0]
        stages = self._run("SELECT document, finished FROM seedlab_stages WHERE project = ?", (project,))
        loads = self._run(
            'SELECT document FROM seedlab_rows WHERE project = ? ORDER BY stage, seed, "table"', (project,)
        )
        shared = self._run('SELECT DISTINCT "table" FROM seedlab_rows WHERE project <> ?', (project,))
        tables = self._run("SELECT document FROM seedlab_tables")
        return memory_of(
            {
                "version": version,
                "generation": generation,
                "stages": [[*json.loads(document).values(), finished] for document, finished in stages],
                "loads": [list(json.loads(document).values()) for (document,) in loads],
                "shared": [name for (name,) in shared],
                "tables": [json.loads(document) for (document,) in tables],
            }
        )

    def ensure(self) -> bool:
        """Do nothing: `remember` creates the tables in its own transaction."""
        return True

    def generation(self) -> int:
        """Read the generation."""
        return int(heads[0][1]) if (heads := self._heads()) else 0

    def _heads(self) -> list[Any]:
        """Read version and generation; nothing if a table of the ledger is missing or empty."""
        made, self._several = self._run(_MADE)[0]
        return self._run(_HEAD) if made == len(_TABLES) else []

    def begin_run(self) -> int:
        """Increase and return the generation, after creating missing tables of the ledger."""
        self._make()
        self._run(_RAISE)
        return self.join_run()

    def join_run(self) -> int:
        """Read the generation, which nobody else can change while the transaction is open."""
        return int(self._run("SELECT generation FROM seedlab_ledger")[0][0])

    def _make(self) -> None:
        for statement in CREATE:
            self._run(statement)
        self._run(
            "INSERT INTO seedlab_ledger SELECT ?, 0 WHERE NOT EXISTS (SELECT 1 FROM seedlab_ledger)",
            (LEDGER_VERSION,),
        )

    def contents_ahead(self, states: Sequence[TableState]) -> Callable[[], list[TableState]]:
        """Return a function that fetches and hashes all rows itself, with one statement per table."""
        return lambda: [self._content(state) for state in states]

    def _content(self, state: TableState) -> TableState:
        statement = f"SELECT {listed(state.columns)} FROM {main(state.table)}"
        parts = self._scan(statement, lambda rows: sums(hashes(rows)))
        rows, crossed, total = added_up(parts)
        return replace(state, rows=rows, xor=crossed, sum=total)

    def _scan(
        self, statement: str, judge: Callable[[list[Row]], Part], parameters: Sequence[object] = ()
    ) -> list[Part]:
        """Apply a function to batches of a query's rows; start again if there is text that is not UTF-8."""
        try:
            return [judge(rows) for rows in self._stream(statement, _ROWS, parameters)]
        except NotUtf8Error:
            with self._any_text():
                return [judge(rows) for rows in self._stream(statement, _ROWS, parameters)]

    def other_loads(self, project: str, tables: Collection[str]) -> list[tuple[str, LoadMemory]]:
        """Fetch them in one statement."""
        rows = self._run("SELECT project, document FROM seedlab_rows WHERE project <> ?", (project,))
        loads = [(other, load_of(list(json.loads(document).values()))) for other, document in rows]
        return [(other, load) for other, load in loads if load.table in tables]

    def recall(self, project: str, names: Sequence[tuple[str, str, str]]) -> list[list[bytes]]:
        """Fetch the packs of each load, one load after another."""
        return [[pack for pack in self._packs(project, name) if pack] for name in names]

    def recall_apart(self, project: str, name: tuple[str, str, str]) -> Iterator[list[bytes]]:
        """Fetch the packs of one load lazily, one statement each; recent ones are part of the first."""
        yield from ([pack] for pack in self._packs(project, name))

    def _packs(self, project: str, name: tuple[str, str, str]) -> Iterator[bytes]:
        """Yield the first pack, whose query also counts further packs, and then these one by one."""
        more = f"(SELECT count(*) FROM {_PACKS} {_ROWS_OF})" if self._several else "0"
        first = f"SELECT content, {more} FROM seedlab_rows {_ROWS_OF}"
        one = f"SELECT content FROM {_PACKS} {_ROWS_OF} AND number = ?"
        load = (project, *name)
        for content, count in self._run(first, (*load, *load) if self._several else load):
            yield content
            for number in range(1, count + 1):
                yield self._run(one, (*load, number))[0][0]

    def store_marks(self, states: Sequence[TableState]) -> None:
        """Do nothing: there are no stamps, so marks are always stored."""

    def current_and_remembered(self, sets: Sequence[RowSet]) -> list[tuple[bytes, bytes | None]]:
        """Compute current marks and fetch the remembered ones."""
        remembered = self.recall_marks([each.state.table for each in sets])
        known = [remembered.get(each.state.table) for each in sets]
        return [
            (self._mark(each) if each.frame is not None or mine is not None else b"", mine)
            for each, mine in zip(sets, known, strict=True)
        ]

    def recall_marks(self, tables: Sequence[str]) -> dict[str, bytes | None]:
        """Fetch the remembered marks in one statement."""
        if not self._heads():
            return {}
        return {
            name: marks
            for name, marks in self._run('SELECT "table", marks FROM seedlab_tables')
            if name in tables
        }

    def marks(self, sets: Sequence[RowSet]) -> list[bytes]:
        """Compute the marks of each row set."""
        return [self._mark(each) for each in sets]

    def _mark(self, each: RowSet) -> bytes:
        state = each.state
        what = f"SELECT {listed((*state.key, *state.columns), 't.')}"
        table = f"{main(state.table)} AS t"
        if each.frame is not None:
            return b"".join(self._joined(state, each.frame, what, table))
        return b"".join(self._scan(f"{what} FROM {table}", lambda rows: marks_of(rows, len(state.key))))

    def _every_mark(self, state: TableState) -> tuple[bytes, Sums]:
        """Compute marks and sums of all rows of a table, unless the writer has just computed them."""
        marked = self.marked.get(state.table)
        if marked is not None and marked.tells_of(state):
            return marked.marks, marked.sums
        mine = self._mark(RowSet(state=state, frame=None))
        return mine, sums_of_marks(mine)

    def _joined(self, state: TableState, frame: pl.DataFrame, what: str, table: str) -> Iterator[bytes]:
        """Yield the marks of the rows with these keys, as many per statement as the limit allows."""
        keys = self._encode(frame, self._table(state.table))
        columns = frame.columns
        size = max(1, MAX_PARAMETERS // len(columns))
        nulls = {each.name for each in frame.get_columns() if each.null_count()}
        same = " AND ".join(equal(f"t.{quote(n)}", f"k.{quote(n)}", nulls=n in nulls) for n in columns)
        line = f"({', '.join('?' * len(columns))})"
        for start in range(0, len(keys), size):
            chunk = keys[start : start + size]
            values = f"WITH k({listed(columns)}) AS (VALUES {', '.join([line] * len(chunk))})"
            yield from self._scan(
                f"{values} {what} FROM k JOIN {table} ON {same}",
                lambda rows: marks_of(rows, len(state.key)),
                [value for key in chunk for value in key],
            )

    def runs(self, project: str, run: str | None = None, *, limit: int | None = None) -> list[RunMemory]:
        """Read all remembered runs, and return those that are wanted."""
        rows = self._run("SELECT document, finished FROM seedlab_runs ORDER BY finished DESC, rowid DESC")
        documents = [json.loads(document) | {"finished": finished} for document, finished in rows]
        mine = runs_of(each for each in documents if each["project"] == project)
        return [each for each in mine if run in (None, each.run_id)][:limit]

    def size(self) -> int:
        """Return the total size of the ledger's values in bytes."""
        more = self._run(f"SELECT sum(length(content)) FROM {_PACKS}")[0][0] if self._several else 0
        return int(self._run(_SIZE)[0][0] or 0) + int(more or 0)

    def begin_to_hash(self, states: Sequence[TableState], marks: Mapping[str, bytes | None]) -> None:
        """Do nothing: nobody else would do it meanwhile."""

    def begin_to_remember(self) -> None:
        """Do nothing: there is no server that could work meanwhile."""

    def remember(
        self,
        memo: Memo,
        states: Sequence[TableState],
        store_hashes: StoreHashes | None = None,  # noqa: ARG002 (`begin_to_hash` gives none)
    ) -> None:
        """Write everything, after creating missing tables of the ledger."""
        self._make()
        if not memo.part:
            self._run(_RAISE)
        run = run_document(memo)
        self._run(
            "INSERT INTO seedlab_runs (run_id, document) VALUES (?, ?)",
            (run["run_id"], json.dumps(run)),
        )
        for stage in memo.stages:
            self._run(
                "INSERT OR REPLACE INTO seedlab_stages (project, stage, document) VALUES (?, ?, ?)",
                (memo.project, stage.stage, json.dumps(stage_document(stage))),
            )
        for load, packs in zip(memo.loads, memo.contents, strict=True):
            self._put_rows(memo, load, iter(packs))
        for name in memo.forgotten:
            self._run(f"DELETE FROM seedlab_rows {_ROWS_OF}", (memo.project, *name))
            self._forget_packs(memo.project, name)
        for unfinished in memo.unfinished:
            self._run(
                "DELETE FROM seedlab_stages WHERE project = ? AND stage = ?", (memo.project, unfinished)
            )
        self._put_tables(memo.marks, states)
        known = self.recall_marks([each.state.table for each in memo.shifts]) if memo.shifts else {}
        for each in memo.shifts:
            before = known[each.state.table]
            self._put_table(each.state, None if before is None else merged_marks(before, each.marks))

    def _put_rows(self, memo: Memo, load: LoadMemory, packs: Iterator[bytes]) -> None:
        """Store the packs of a load, or append the one pack to those stored."""
        content = next(packs, b"")
        if load.name in memo.continued:
            content = next(self._packs(memo.project, load.name), b"") + content
        else:
            self._forget_packs(memo.project, load.name)
        self._run(
            "INSERT OR REPLACE INTO seedlab_rows VALUES (?, ?, ?, ?, ?, ?)",
            (memo.project, *load.name, json.dumps(load_document(load)), content),
        )
        for number, pack in enumerate(packs, 1):
            if not self._several:
                self._run(_CREATE_PACKS)
                self._several = True
            self._run(
                f"INSERT INTO {_PACKS} VALUES (?, ?, ?, ?, ?, ?)", (memo.project, *load.name, number, pack)
            )

    def _forget_packs(self, project: str, name: tuple[str, str, str]) -> None:
        if self._several:
            self._run(f"DELETE FROM {_PACKS} {_ROWS_OF}", (project, *name))

    def _put_tables(self, marks: Mapping[str, bytes | None], states: Sequence[TableState]) -> None:
        for state in states:
            if state.table in marks:
                mine, now = marks[state.table], self._content(state)
            else:
                mine, (rows, crossed, total) = self._every_mark(state)
                now = replace(state, rows=rows, xor=crossed, sum=total)
            self._put_table(replace(now, rows=IN_DOUBT) if state.rows == IN_DOUBT else now, mine)

    def _put_table(self, state: TableState, marks: bytes | None) -> None:
        document = [
            state.table,
            state.columns,
            state.key,
            state.server,
            state.rows,
            str(state.xor),
            str(state.sum),
        ]
        self._run(
            "INSERT OR REPLACE INTO seedlab_tables VALUES (?, ?, ?)",
            (state.table, json.dumps(document), marks),
        )
