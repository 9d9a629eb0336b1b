"""The contract of a ledger: what seedlab remembers in a target, and how it sees that nobody changed it.

One implementation per dialect (`postgres_ledger.py`, `sqlite_ledger.py`). A *mark* is 16 bytes: the hash of
a row's key and the hash of its seeded columns, as the database itself has them.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
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

MARK = 16
TRANSACTIONS = 100  # that a stamp may name
_KEY = 8


class Attested(NamedTuple):
    """Of some rows of a table their marks, how many of them the transactions of its stamp or this one wrote,
    and how often this one wrote others.
    """

    marks: bytes
    stamped: int = 0
    others: int = 0


class Ledger(Protocol):
    """The ledger of an open session. Nothing is written but by `ensure` and `remember`.

    `signed` tells whether its hashes are signed numbers where they are added up.
    """

    signed: bool

    def shifted(self, seen: TableState, before: bytes, after: bytes) -> TableState:
        """The content of a table of which some rows had the marks `before`, and have those `after` now."""
        hashes = Struct(f">{_KEY}x{'q' if self.signed else 'Q'}")
        old, new = ([h for (h,) in hashes.iter_unpack(marks)] for marks in (before, after))
        return replace(
            seen,
            rows=seen.rows + len(new) - len(old),
            xor=reduce(xor, (*old, *new), seen.xor),
            sum=seen.sum + sum(new) - sum(old),
        )

    def read(self, project: str) -> Memory:
        """Read what is remembered of a project, all but the packed rows."""

    def ensure(self) -> bool:
        """Make the ledger where it is missing, in a transaction of its own; False where we may not."""

    def generation(self) -> int:
        """Tell, inside the transaction, how often runs have written."""

    def begin_run(self) -> int:
        """Raise the generation for a run that commits more than once; answers a number that names it."""

    def join_run(self) -> int:
        """Tell, as the first thing in a transaction of such a run, the number of the last one.

        Until the transaction ends no other run can begin, or end as one that commits once.
        """

    def contents(self, states: Sequence[TableState]) -> list[TableState]:
        """Tell what the tables hold now, as `contents_ahead` does, and wait for it."""
        return self.contents_ahead(states)()

    def contents_ahead(self, states: Sequence[TableState]) -> Callable[[], list[TableState]]:
        """Begin to hash what the tables hold now, one statement; what comes back waits for it.

        Cost: one pass over the tables' seeded columns. What a stamp proves need not be hashed. A state keeps
        its stamp only while all of its rows are there as they were, so that of a table which changed
        otherwise no row that is seeded did.
        """

    def drifted(self, states: Sequence[TableState]) -> frozenset[str]:
        """Of tables whose content differs from these states, those of which a seeded row does."""
        found = self.touched([RowSet(state=state, frame=None) for state in states])
        return frozenset(
            state.table
            for state, (now, remembered) in zip(states, found, strict=True)
            if have_drifted(remembered, now)
        )

    def recall(self, project: str, names: Sequence[tuple[str, str, str]]) -> list[list[bytes]]:
        """Fetch the packs of the rows that seeds (stage, seed, table) brought, what is recent last."""

    def recall_apart(self, project: str, name: tuple[str, str, str]) -> Iterator[list[bytes]]:
        """Fetch the packs of one load one after another; what is recent comes with the first."""

    def marks(self, sets: Sequence[RowSet]) -> list[bytes]:
        """Mark the rows of each set as they are now."""

    def attested(self, sets: Sequence[RowSet]) -> Callable[[], list[Attested]]:
        """Begin to mark the rows of each set, which are named, as they are now, and to tell how the stamp of
        its state stands to them; what comes back waits for it.
        """
        answers = [Attested(marks) for marks in self.marks(sets)]
        return lambda: answers

    def spell_out(self, states: Sequence[TableState]) -> None:
        """Keep the marks of tables whose seeded rows are known by stamps alone, before they are written.

        Nothing becomes of those that somebody else has changed. Cost: one pass over each table.
        """

    def touched(self, sets: Sequence[RowSet]) -> list[tuple[bytes, bytes | None]]:
        """Mark the rows of each set as they are now, and fetch what is remembered of their tables.

        Where nothing is, all rows of a table need not be marked.
        """

    def recall_marks(self, tables: Sequence[str]) -> dict[str, bytes | None]:
        """Fetch the marks of tables' seeded rows; None where they are not known."""

    def runs(self, project: str, run: str | None = None, *, limit: int | None = None) -> list[RunMemory]:
        """Tell of the runs that are remembered, the last first, or of one, or of the last ones."""

    def size(self) -> int:
        """Tell how many bytes the ledger takes, of all projects."""

    def begin_to_remember(self) -> None:
        """Begin to write what a run leaves, in the open transaction: all that its rows do not change.

        The server does it while the rest is put together. Not for stages that are committed at the same time:
        they would wait for each other. Where it was not called, `remember` does it.
        """

    def remember(self, memo: Memo, states: Sequence[TableState]) -> None:
        """Write what a run leaves, and the content of the tables as it is now, in the open transaction.

        `memo.marks` says what is known of each table's seeded rows; of a table that it does not name every
        row is ours.
        """


_PAIR = Struct(f"{_KEY}s{MARK - _KEY}s")


def split(marks: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Cut marks apart: the hash of each row's key, and that of its columns."""
    return _PAIR.iter_unpack(marks)


def have_drifted(remembered: bytes | None, now: bytes) -> bool:
    """Tell whether a remembered row is not there as it was; unknown rows may always have drifted."""
    return remembered is None or not {*split(remembered)} <= {*split(now)}


def folded(marks: bytes, recent: bytes) -> bytes:
    """Put marks of rows that were written since into the place of those before.

    Cost: 0.15 s for a million rows, as these are numbers, and only recent ones are looked at one by one.
    """
    if not recent:
        return marks
    held, last = array("Q", marks), array("Q", recent)
    now = dict(zip(last[::2], last[1::2], strict=True))
    fresh = dict(now)
    for place in compress(range(0, len(held), 2), map(now.__contains__, held[::2])):
        held[place + 1] = now[held[place]]
        fresh.pop(held[place], None)
    held.extend(chain.from_iterable(fresh.items()))
    return held.tobytes()


def dropped(remembered: bytes, gone: bytes) -> bytes:
    """Remembered marks without those of rows that are no more."""
    keys = {key for key, _ in split(gone)}
    if not keys:
        return remembered
    return b"".join(key + columns for key, columns in split(remembered) if key not in keys)


def moved(remembered: bytes, then: bytes, now: bytes) -> bytes:
    """Remembered marks of rows that are there as they were `then`, as those rows have them `now`."""
    intact, fresh = {*split(then)}, dict(split(now))
    return b"".join(
        key + (fresh[key] if (key, columns) in intact else columns) for key, columns in split(remembered)
    )


def packed(pieces: Iterable[bytes]) -> tuple[bytes, list[tuple[int, int]]]:
    """Put byte strings behind each other; each one's start (from 1, as SQL counts) and length."""
    held = list(pieces)
    starts = accumulate(map(len, held), initial=1)
    return b"".join(held), [(start, len(piece)) for start, piece in zip(starts, held, strict=False)]


def batched(
    pieces: Iterable[Piece], size: Callable[[Piece], int], most: int | None = None
) -> Iterator[list[Piece]]:
    """Put pieces together until they have PACK_BYTES, or `most`; only the last batch has fewer, or none."""
    waiting: list[Piece] = []
    held, enough = 0, min(most or memory.PACK_BYTES, memory.PACK_BYTES)
    for piece in pieces:
        waiting.append(piece)
        held += size(piece)
        if held >= enough:
            yield waiting
            waiting, held = [], 0
    yield waiting


def run_document(memo: Memo) -> Mapping[str, object]:
    """The run as `runs` keeps it: one that commits each stage by itself has a row for each, RUN/STAGE.

    Rows are only added: to one that they share, transactions at the same time would have to wait.
    """
    outcomes = memo.outcomes
    return {
        "run_id": f"{memo.run_id}/{memo.part}" if memo.part else memo.run_id,
        "project": memo.project,
        "environment": memo.environment,
        "level": memo.level,
        "started": memo.started,
        "outcomes": {
            "created": outcomes.created,
            "updated": outcomes.updated,
            "unchanged": outcomes.unchanged,
            "deleted": outcomes.deleted,
            "rejected": outcomes.rejected,
        },
    }


def runs_of(documents: Iterable[Mapping[str, Any]]) -> list[RunMemory]:
    """Make the runs of their rows, the last first: stages of one run come together, in writing order."""
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
    """Make the memory of a document of lists, in the order of `memory.sql`."""
    if document["version"] != LEDGER_VERSION:
        raise WriteError(
            f"the ledger of the target has version {document['version']}, this seedlab knows "
            f"{LEDGER_VERSION}; use the newer seedlab"
        )
    stages = [
        StageMemory(stage=stage, parts=parts, tables=tuple(tables), run=run, finished=finished)
        for stage, parts, tables, run, finished in document["stages"] or ()
    ]
    return Memory(
        exists=True,
        generation=document["generation"],
        stages={each.stage: each for each in stages},
        loads=tuple(_load(row) for row in document["loads"] or ()),
        tables={row[0]: _state(row) for row in document["tables"] or ()},
        shared=frozenset(document["shared"] or ()),
        several=bool(document.get("several")),
        undivided=bool(document.get("undivided")),
        stamped=bool(document.get("stamped")),
    )


def _load(row: Sequence[Any]) -> LoadMemory:
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
    table, columns, key, server, rows, exclusive, total, *more = row
    stamp, unmarked = more or (None, False)
    return TableState(
        table=table,
        columns=tuple(columns),
        key=tuple(key),
        server=server,
        rows=rows,
        xor=int(exclusive),
        sum=int(total),
        stamp=stamp and Stamp(transactions=tuple(stamp["transactions"]), rows=stamp["rows"]),
        unmarked=unmarked,
    )


def stage_document(stage: StageMemory) -> dict[str, object]:
    """A stage as `stages` keeps it."""
    return {
        "stage": stage.stage,
        "parts": dict(stage.parts),
        "tables": list(stage.tables),
        "run_id": stage.run,
    }


def load_document(load: LoadMemory) -> dict[str, object]:
    """What a seed brought to a table, as `rows` keeps it."""
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
