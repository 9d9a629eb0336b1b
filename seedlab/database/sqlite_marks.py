"""Hashes of rows as SQLite gives them, which has none itself: what a table's state and its marks are made of.

A row is hashed as the values that sqlite3 gives, in the second format of `marshal`: that tells 1 from 1.0 and
'1', NULL from '' and text from bytes, and is the same in every Python. Cost: 0.4 µs a row beside fetching it.
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
_TURN = 500  # rows that are hashed before another thread, which waits for a statement to end, has its turn
_NONE: Sums = (0, 0, 0)


def hashes(rows: Iterable[Row]) -> list[bytes]:
    """Hash each row: 8 bytes, whatever else is in the table."""
    return list(map(xxh3_64_digest, map(dumps, rows, repeat(_FORMAT))))


def marks(keys: Iterable[bytes], contents: Iterable[bytes]) -> bytes:
    """Join each row's key hash and content hash into its mark, 16 bytes a row."""
    return b"".join(chain.from_iterable(zip(keys, contents, strict=True)))


def marks_of(rows: Sequence[Row], key: int) -> bytes:
    """Mark rows whose first `key` values are their keys; what stands behind these is their content."""
    first, rest = itemgetter(slice(key)), itemgetter(slice(key, None))
    return marks(hashes(map(first, rows)), hashes(map(rest, rows)))


def sums(contents: Iterable[bytes]) -> Sums:
    """Add hashes up so that their order does not matter."""
    return _sums(_numbers(b"".join(contents)))


def sums_of_marks(marked: bytes) -> Sums:
    """Count, xor and sum of the content hashes in marks."""
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
    """What a table holds of which every row is ours: its marks, of these columns and this key."""

    columns: tuple[str, ...]
    key: tuple[str, ...]
    marks: bytes
    sums: Sums

    def tells_of(self, state: TableState) -> bool:
        """Tell whether these are the marks that the state asks for."""
        return (self.columns, self.key) == (state.columns, state.key)


@dataclass(slots=True, kw_only=True)
class Marker:
    """Marks the rows of a table on their way into it, as long as it is certain how SQLite will keep them."""

    columns: tuple[str, ...]
    key: tuple[str, ...]
    certain: bool
    _marks: list[bytes] = field(default_factory=list)
    _sums: Sums = _NONE

    @classmethod
    def of(cls, writes: Sequence[TableWrite]) -> Marker:
        """Begin with a table, whose loads must all bring the same columns."""
        loads = [load for write in writes for load in write.loads]
        seeded = {tuple(sorted({*load.columns}.difference(load.defaults))) for load in loads}
        keys = {tuple(dict.fromkeys(load.key_columns)) for load in loads}
        certain = len(seeded) == len(keys) == 1 and not any(load.whole for load in loads)
        return cls(columns=next(iter(seeded)), key=next(iter(keys)), certain=certain)

    def add(self, columns: Mapping[str, Sequence[object] | None]) -> None:
        """Mark rows, column by column; None where it is not certain how a column's values are kept."""
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
        """Give the marks of all rows."""
        return Marked(columns=self.columns, key=self.key, marks=b"".join(self._marks), sums=self._sums)
