"""Hash rows of SQLite, which has no hash function, for the ledger's table states and marks.

A row is hashed as the values that sqlite3 returns, serialized by `marshal` (version 2), which distinguishes
1, 1.0 and '1', NULL and '', text and bytes, and is the same in every version of Python. Cost: 0.4 µs per row
in addition to fetching it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain, islice, repeat
from marshal import dumps
from operator import itemgetter, xor
from sys import byteorder
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_64_digest

from seedlab.flow import TableState

if TYPE_CHECKING:
    from seedlab.flow import TableWrite

Row = tuple[Any, ...]
Sums = tuple[int, int, int]  # rows, xor of their hashes, sum

_FORMAT = 2
_TURN = 500  # rows hashed at a time, so that the thread that runs SQLite need not wait long
_NONE: Sums = (0, 0, 0)


def hashes(rows: Iterable[Row]) -> list[bytes]:
    """Hash each row to 8 bytes."""
    return list(map(xxh3_64_digest, map(dumps, rows, repeat(_FORMAT))))


def marks(keys: Iterable[bytes], contents: Iterable[bytes]) -> bytes:
    """Join each row's key hash and content hash into its mark of 16 bytes."""
    return b"".join(chain.from_iterable(zip(keys, contents, strict=True)))


def marks_of(rows: Sequence[Row], key: int) -> bytes:
    """Compute the marks of rows whose first `key` values are the key, and the others the content."""
    first, rest = itemgetter(slice(key)), itemgetter(slice(key, None))
    return marks(hashes(map(first, rows)), hashes(map(rest, rows)))


def sums(contents: Iterable[bytes]) -> Sums:
    """Compute count, xor and sum of hashes, which do not depend on their order."""
    return _sums(_numbers(b"".join(contents)))


def sums_of_marks(marked: bytes) -> Sums:
    """Compute count, xor and sum of the content hashes in marks."""
    return _sums(_numbers(marked)[1::2])


def added(one: Sums, other: Sums) -> Sums:
    """Add the sums of two parts of a table."""
    return one[0] + other[0], one[1] ^ other[1], one[2] + other[2]


def added_up(parts: Iterable[Sums]) -> Sums:
    """Add the sums of all parts of a table."""
    return reduce(added, parts, _NONE)


def _numbers(hashed: bytes) -> array[int]:
    numbers = array("Q", hashed)
    if byteorder == "little":
        numbers.byteswap()
    return numbers


def _sums(numbers: array[int]) -> Sums:
    return len(numbers), reduce(xor, numbers, 0), sum(numbers)


# ---- rows that are about to be written ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """The marks of a table with only seeded rows, for these columns and this key."""

    columns: tuple[str, ...]
    key: tuple[str, ...]
    marks: bytes
    sums: Sums

    def tells_of(self, state: TableState) -> bool:
        """Tell whether these are marks of the state's columns and key."""
        return (self.columns, self.key) == (state.columns, state.key)


@dataclass(slots=True, kw_only=True)
class Marker:
    """Compute the marks of rows before they are written, while it is certain how SQLite stores them."""

    columns: tuple[str, ...]
    key: tuple[str, ...]
    certain: bool
    _marks: list[bytes] = field(default_factory=list)
    _sums: Sums = _NONE

    @classmethod
    def of(cls, writes: Sequence[TableWrite]) -> Marker:
        """Start with a table, all loads of which must have the same columns."""
        loads = [load for write in writes for load in write.loads]
        seeded = {tuple(sorted({*load.columns}.difference(load.defaults))) for load in loads}
        keys = {tuple(dict.fromkeys(load.key_columns)) for load in loads}
        certain = len(seeded) == len(keys) == 1 and not any(load.whole for load in loads)
        return cls(columns=next(iter(seeded)), key=next(iter(keys)), certain=certain)

    def add(self, columns: Mapping[str, Sequence[object] | None]) -> None:
        """Add rows, given as columns; None for a column whose stored values are not certain."""
        if any(columns[name] is None for name in (*self.key, *self.columns)):
            self.certain = False
            return
        keys, contents = (
            zip(*(columns[name] or () for name in names), strict=True) for names in (self.key, self.columns)
        )
        while some := hashes(islice(keys, _TURN)):
            hashed = hashes(islice(contents, _TURN))
            self._marks.append(marks(some, hashed))
            self._sums = added(self._sums, sums(hashed))

    def marked(self) -> Marked:
        """Return the marks of all rows."""
        return Marked(columns=self.columns, key=self.key, marks=b"".join(self._marks), sums=self._sums)
