"""`Ledger`: the interface to seedlab's own tables in a target, and the functions that its dialects share.

The ledger remembers what was seeded and detects whether anybody changed it since. There is one
implementation per dialect (`postgres/ledger.py`, `sqlite/ledger.py`).

A *mark* stands for one seeded row: 16 bytes, of which 8 are the hash of its key and 8 the hash of its seeded
columns, both computed by the database from the stored values. Marks of many rows are concatenated.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import reduce
from itertools import accumulate, chain, compress
from operator import xor
from struct import Struct
from typing import Any, NamedTuple, Protocol, TypeVar

from seedlab.errors import WriteError
from seedlab.flow import (
    LEDGER_VERSION,
    LoadMemory,
    Memo,
    Memory,
    Outcomes,
    RowSet,
    RunMemory,
    StageMemory,
    Stamp,
    TableState,
    memory,
)

Piece = TypeVar("Piece")
StoreHashes = Callable[[], None]  # stores hashes of tables that the server was asked for

MARK = 16
TRANSACTIONS = 100  # the most transactions that a stamp names
_KEY = 8


class MarksAndWriters(NamedTuple):
    """The marks of some rows, and who wrote them.

    `stamped` counts those of the rows that were written by a transaction of the table's stamp or by this
    one; `others` counts further writes of this transaction to the table.
    """

    marks: bytes
    stamped: int = 0
    others: int = 0


class Ledger(Protocol):
    """The ledger of an open session.

    `signed` says whether the database adds row hashes up as signed integers.
    """

    signed: bool

    def shifted(self, state: TableState, before: bytes, after: bytes) -> TableState:
        """Compute a table's new state from its old one, given the changed rows' marks before and after."""
        hashes = Struct(f">{_KEY}x{'q' if self.signed else 'Q'}")
        old, new = ([h for (h,) in hashes.iter_unpack(marks)] for marks in (before, after))
        return replace(
            state,
            rows=state.rows + len(new) - len(old),
            xor=reduce(xor, (*old, *new), state.xor),
            sum=state.sum + sum(new) - sum(old),
        )

    def read(self, project: str) -> Memory:
        """Read everything remembered about a project except the packed rows."""

    def ensure(self) -> bool:
        """Create the ledger if it is missing, in its own transaction; False without the right to do so."""

    def generation(self) -> int:
        """Return, inside the transaction, the counter that every writing run increases."""

    def begin_run(self) -> int:
        """Start a run that commits more than once: increase the generation; return the run's number."""

    def join_run(self) -> int:
        """Return the number of the latest run that commits more than once.

        Must be the first call in each transaction of such a run. Until that transaction ends, no other run
        can begin or commit.
        """

    def contents(self, states: Sequence[TableState]) -> list[TableState]:
        """Compute the current state of the tables (see `contents_ahead`) and wait for the result."""
        return self.contents_ahead(states)()

    def contents_ahead(self, states: Sequence[TableState]) -> Callable[[], list[TableState]]:
        """Start computing the current state of the tables; the function returned waits for the result.

        Cost: one statement, and one pass over the seeded columns of each table whose stamp does not prove
        that it is unchanged. A state keeps its stamp only while all the stamp's rows are unchanged; a state
        that keeps its stamp but differs in content therefore has no changed seeded row.
        """

    def drifted(self, states: Sequence[TableState]) -> frozenset[str]:
        """Return those of the tables, all with changed content, in which a seeded row changed."""
        found = self.current_and_remembered([RowSet(state=state, frame=None) for state in states])
        return frozenset(
            state.table
            for state, (now, remembered) in zip(states, found, strict=True)
            if have_drifted(remembered, now)
        )

    def other_loads(self, project: str, tables: Collection[str]) -> list[tuple[str, LoadMemory]]:
        """Return what other projects put into these tables: each load with the name of its project."""

    def recall(self, project: str, names: Sequence[tuple[str, str, str]]) -> list[list[bytes]]:
        """Fetch the packed rows of loads named by (stage, seed, table); the most recent packs come last."""

    def recall_apart(self, project: str, name: tuple[str, str, str]) -> Iterator[list[bytes]]:
        """Fetch the packed rows of one load pack by pack; recent ones come together with the first pack."""

    def marks(self, sets: Sequence[RowSet]) -> list[bytes]:
        """Compute the current marks of the rows of each set."""

    def marks_and_writers(self, sets: Sequence[RowSet]) -> Callable[[], list[MarksAndWriters]]:
        """Start computing current marks together with who wrote the rows; the function returned waits.

        Every set must have a frame.
        """
        answers = [MarksAndWriters(marks) for marks in self.marks(sets)]
        return lambda: answers

    def store_marks(self, states: Sequence[TableState]) -> None:
        """Store the marks of tables whose seeded rows are so far known by their stamp alone.

        To be called before the tables are written. A table in which somebody else has changed a seeded row
        is left as it is. Cost: one pass over each table.
        """

    def current_and_remembered(self, sets: Sequence[RowSet]) -> list[tuple[bytes, bytes | None]]:
        """Return per set the current marks of its rows and the remembered marks of its table.

        Where no marks are remembered (None), the current marks of a whole table may be left empty.
        """

    def recall_marks(self, tables: Sequence[str]) -> dict[str, bytes | None]:
        """Fetch the remembered marks of the tables' seeded rows; None where they are not known."""

    def runs(self, project: str, run: str | None = None, *, limit: int | None = None) -> list[RunMemory]:
        """Return the remembered runs, latest first: all of them, the one named, or the latest `limit`."""

    def size(self) -> int:
        """Return the size of the ledger of all projects in bytes."""

    def begin_to_hash(
        self, states: Sequence[TableState], marks: Mapping[str, bytes | None]
    ) -> StoreHashes | None:
        """Begin to hash the tables that have no `marks`, for a `remember` of these states and marks."""

    def begin_to_remember(self) -> None:
        """Start that part of `remember` which does not depend on the run's rows, in the open transaction.

        The server works on it while the client prepares the rest. It is optional, and must not be called for
        stages that commit concurrently: they would wait for each other.
        """

    def remember(
        self, memo: Memo, states: Sequence[TableState], store_hashes: StoreHashes | None = None
    ) -> None:
        """Write what is to be remembered of a run and the tables' current states, in the open transaction.

        `memo.marks` has the marks of each table's seeded rows; of a table that is missing there, all rows
        are seeded rows. `store_hashes` is what `begin_to_hash` returned, if it was called.
        """


_PAIR = Struct(f"{_KEY}s{MARK - _KEY}s")


def split(marks: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Split marks into pairs of key hash and column hash."""
    return _PAIR.iter_unpack(marks)


def have_drifted(remembered: bytes | None, current: bytes) -> bool:
    """Tell whether a remembered row is changed or deleted; True when the remembered rows are unknown."""
    return remembered is None or not {*split(remembered)} <= {*split(current)}


def merged_marks(marks: bytes, recent: bytes) -> bytes:
    """Replace the marks of rows that were written again since, and append those of new rows.

    Cost: 0.15 s for a million marks. They are compared as integers, and only matches are visited in Python.
    """
    if not recent:
        return marks
    merged, updates = array("Q", marks), array("Q", recent)
    by_key = dict(zip(updates[::2], updates[1::2], strict=True))
    new = dict(by_key)
    for place in compress(range(0, len(merged), 2), map(by_key.__contains__, merged[::2])):
        merged[place + 1] = by_key[merged[place]]
        new.pop(merged[place], None)
    merged.extend(chain.from_iterable(new.items()))
    return merged.tobytes()


def without_marks(remembered: bytes, deleted: bytes) -> bytes:
    """Remove the marks of deleted rows."""
    keys = {key for key, _ in split(deleted)}
    if not keys:
        return remembered
    return b"".join(key + columns for key, columns in split(remembered) if key not in keys)


def updated_marks(remembered: bytes, before: bytes, after: bytes) -> bytes:
    """Update remembered marks of rows that were still unchanged `before` to what they are `after`.

    The marks of rows that had drifted already stay as they are remembered.
    """
    intact, new = {*split(before)}, dict(split(after))
    return b"".join(
        key + (new[key] if (key, columns) in intact else columns) for key, columns in split(remembered)
    )


def marks_now(remembered: bytes, now: bytes) -> bytes:
    """Return the marks that remembered rows have `now`, whatever these were; rows that are gone have none."""
    new = dict(split(now))
    return b"".join(key + new[key] for key, _ in split(remembered) if key in new)


def packed(pieces: Iterable[bytes]) -> tuple[bytes, list[tuple[int, int]]]:
    """Concatenate byte strings; also return the start (counted from 1, as in SQL) and length of each."""
    held = list(pieces)
    starts = accumulate(map(len, held), initial=1)
    return b"".join(held), [(start, len(piece)) for start, piece in zip(starts, held, strict=False)]


def batched(
    pieces: Iterable[Piece], size: Callable[[Piece], int], most: int | None = None
) -> Iterator[list[Piece]]:
    """Group pieces into batches of at least PACK_BYTES, or `most` if that is less.

    The last batch may be smaller or empty.
    """
    batch: list[Piece] = []
    total, enough = 0, min(most or memory.PACK_BYTES, memory.PACK_BYTES)
    for piece in pieces:
        batch.append(piece)
        total += size(piece)
        if total >= enough:
            yield batch
            batch, total = [], 0
    yield batch


def run_document(memo: Memo) -> Mapping[str, object]:
    """Make the row of the ledger's table `runs`.

    A run that commits each stage separately adds a row RUN/STAGE per stage: concurrent transactions would
    have to wait for each other if they updated one shared row.
    """
    return {
        "run_id": f"{memo.run_id}/{memo.part}" if memo.part else memo.run_id,
        "project": memo.project,
        "environment": memo.environment,
        "level": memo.level,
        "started": memo.started,
        "outcomes": asdict(memo.outcomes),
    }


def runs_of(documents: Iterable[Mapping[str, Any]]) -> list[RunMemory]:
    """Combine rows of the ledger's table `runs` (latest first), which may be several per run, into runs."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for document in documents:
        rows.setdefault(document["run_id"].partition("/")[0], []).append(document)
    return [_run(name, parts) for name, parts in rows.items()]


def _run(name: str, parts: Sequence[Mapping[str, Any]]) -> RunMemory:
    stages = (each["run_id"].partition("/")[2] for each in reversed(parts))
    last = parts[0]
    return RunMemory(
        run_id=name,
        environment=last["environment"],
        level=last["level"],
        started=last["started"],
        finished=last["finished"],
        outcomes=sum((Outcomes(**each["outcomes"]) for each in parts), Outcomes()),
        stages=tuple(stage for stage in stages if stage),
    )


def memory_of(document: Mapping[str, Any]) -> Memory:
    """Make a Memory of the JSON document that `memory.sql` returns.

    Raises WriteError when the ledger was written by a newer seedlab.
    """
    if document["version"] != LEDGER_VERSION:
        raise WriteError(
            f"the ledger of the target has version {document['version']}, this seedlab supports "
            f"{LEDGER_VERSION}; use a newer seedlab"
        )
    stages = [
        StageMemory(stage=stage, parts=parts, tables=tuple(tables), run=run, finished=finished)
        for stage, parts, tables, run, finished in document["stages"] or ()
    ]
    return Memory(
        exists=True,
        generation=document["generation"],
        stages={each.stage: each for each in stages},
        loads=tuple(load_of(row) for row in document["loads"] or ()),
        tables={row[0]: _state(row) for row in document["tables"] or ()},
        shared=frozenset(document["shared"] or ()),
        several=bool(document.get("several")),
        undivided=bool(document.get("undivided")),
        stamped=bool(document.get("stamped")),
    )


def load_of(row: Sequence[Any]) -> LoadMemory:
    """Make a remembered load from the values of the ledger's table `rows`, without its packed rows."""
    stage, seed, table, meaning, files, rows, key, made = row
    return LoadMemory(
        stage=stage,
        seed=seed,
        table=table,
        meaning=meaning,
        files=tuple(files),
        rows=rows,
        key=tuple(key),
        made=made,
    )


def _state(row: Sequence[Any]) -> TableState:
    table, columns, key, server, rows, xor_of_hashes, sum_of_hashes, *optional = row
    stamp, unmarked = optional or (None, False)
    return TableState(
        table=table,
        columns=tuple(columns),
        key=tuple(key),
        server=server,
        rows=rows,
        xor=int(xor_of_hashes),
        sum=int(sum_of_hashes),
        stamp=stamp and Stamp(transactions=tuple(stamp["transactions"]), rows=stamp["rows"]),
        unmarked=unmarked,
    )


def stage_document(stage: StageMemory) -> dict[str, object]:
    """Make the row of the ledger's table `stages`."""
    return {
        "stage": stage.stage,
        "parts": dict(stage.parts),
        "tables": list(stage.tables),
        "run_id": stage.run,
    }


def load_document(load: LoadMemory) -> dict[str, object]:
    """Make the row of the ledger's table `rows`, without its packed rows."""
    return {
        "stage": load.stage,
        "seed": load.seed,
        "table": load.table,
        "meaning": load.meaning,
        "files": list(load.files),
        "rows": load.rows,
        "key": list(load.key),
        "made": load.made,
    }
