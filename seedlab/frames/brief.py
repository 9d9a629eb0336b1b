"""What a row of a file larger than memory leaves behind: 8 bytes while it is checked, its key for the ledger.

Of a table whose rows nobody refers to, the names of all rows are needed for two things alone: to see that no
key comes twice, and to remember which rows are ours. The first is told from 64 bits of each handle, piece by
piece (a clash is looked at more closely); the second needs the keys, from which handles are made again, and
the digests, by which rows that change are found.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

import polars as pl

from seedlab.flow import DIGEST, FILE, HANDLE, Catalog, Load, memory
from seedlab.frames.kinds import canonical
from seedlab.frames.resolve import handle_of, reference_column

KEY = "key."
RUN = "run"
BRIEF = "_seedlab_brief"

_MAGIC = b"\x00seedlab keys\x00"
_LENGTH = Struct(">Q")
_PIECE_ROWS = 1 << 20  # looked through at a time for keys that come twice
_LOW = pl.lit((1 << 64) - 1, dtype=pl.UInt128)
_HALF = pl.lit(1 << 64, dtype=pl.UInt128)


def brief() -> pl.Expr:
    """64 bits of a handle, which may be equal by chance."""
    return ((pl.col(HANDLE) & _LOW) ^ (pl.col(HANDLE) // _HALF)).cast(pl.UInt64).alias(BRIEF)


@dataclass(slots=True, kw_only=True, eq=False)
class Briefs:
    """The rows of one load: how many, a brief of each, the different parents that each reference names.

    `packs` are filled while the rows are written, anew each time that they are.
    """

    rows: int = 0
    each: list[pl.Series] = field(default_factory=list)
    parents: dict[int, pl.Series] = field(default_factory=dict)
    packs: list[bytes] = field(default_factory=list)
    twice: pl.Series | None = None

    def add(self, frame: pl.DataFrame, load: Load) -> None:
        """Add the briefs of a batch of rows."""
        self.rows += frame.height
        self.each.append(frame.drop_nulls(HANDLE).select(brief()).to_series())
        for index in range(len(load.references)):
            more = frame.get_column(reference_column(index)).drop_nulls()
            known = self.parents.get(index)
            self.parents[index] = (more if known is None else pl.concat([known, more.unique()])).unique()

    def repeated(self) -> pl.Series:
        """Briefs that come more than once; all are forgotten then. Cost: a pass for each million rows."""
        if self.twice is None:
            self.twice, self.each = self._repeated(), []
        return self.twice

    def _repeated(self) -> pl.Series:
        pieces = self.rows // _PIECE_ROWS + 1
        found = [pl.Series(BRIEF, [], dtype=pl.UInt64)]
        for piece in range(pieces):
            mine = pl.concat([each.filter(each % pieces == piece) for each in self.each] or found)
            if mine.n_unique() < len(mine):
                found.append(mine.filter(mine.is_duplicated()).unique())
        return pl.concat(found)


# ---- for the ledger -------------------------------------------------------------------------------------


def pack(frame: pl.DataFrame, digests: pl.Series, load: Load, catalog: Catalog) -> bytes:
    """Pack some rows as they are written: an id that is the handle or the key, and what their files say.

    `pack_all` puts such packs together.
    """
    columns = [pl.col(FILE), digests.alias(DIGEST)]
    keys = () if named_by_id(load, catalog) else tuple(dict.fromkeys(load.key_columns))
    if not is_plain(load) or not keys:
        columns.append(pl.col(HANDLE))
    kinds = catalog.tables[load.table].columns
    columns += [
        (canonical(kinds[name], pl.col(name)) if frame.schema[name] == pl.String else pl.col(name)).alias(
            f"{KEY}{name}"
        )
        for name in keys
    ]
    stream = io.BytesIO()
    frame.select(columns).write_ipc_stream(stream, compression="zstd")
    return stream.getvalue()


def pack_all(
    packs: Sequence[bytes], load: Load, ids: str, run: str, created: Sequence[int] | None
) -> Iterator[bytes]:
    """Put packs together, to about PACK_BYTES.

    `created` are the ordinals of the rows that `run` made, None: all of them.
    """
    head: dict[str, Any] = {"table": load.table, "key": list(load.key_columns), "ids": ids, "run": run}
    head["all"] = created is None
    waiting: list[bytes] = []
    held = 0
    for each in packs if created is None else _marked(packs, created):
        if held and held + len(each) > memory.PACK_BYTES:
            yield _joined(head, waiting)
            waiting, held = [], 0
        waiting.append(each)
        held += len(each)
    yield _joined(head, waiting)


def _joined(head: Mapping[str, Any], packs: Sequence[bytes]) -> bytes:
    line = json.dumps({**head, "packs": len(packs)}).encode()
    return _MAGIC + b"".join(_LENGTH.pack(len(each)) + each for each in (line, *packs))


def is_packed(content: bytes) -> bool:
    """Tell whether a content is one of these."""
    return content.startswith(_MAGIC)


def unpack(content: bytes) -> Iterator[pl.DataFrame]:
    """Give what such a pack remembers, FILE, HANDLE, DIGEST, RUN, and keys, in batches as it was written."""
    (line, *packs), _ = _parted(content)
    head = json.loads(line)
    for each in packs:
        frame = pl.read_ipc_stream(io.BytesIO(each))
        if HANDLE not in frame.columns:
            sources = [f"{KEY}{name}" for name in head["key"]]
            frame = frame.with_columns(handle_of(head["table"], sources, head["ids"]).alias(HANDLE))
        made = pl.lit(head["run"])
        frame = frame.with_columns((made if head["all"] else pl.when(RUN).then(made)).alias(RUN))
        if DIGEST not in frame.columns:  # of an older ledger
            frame = frame.with_columns(pl.lit(None, dtype=pl.UInt64).alias(DIGEST))
        yield frame.select(FILE, HANDLE, DIGEST, RUN, pl.col(f"^{KEY}.*$"))


def parted(content: bytes) -> Iterator[bytes]:
    """Give the packs of this kind with which a content begins; others may lie behind them."""
    while is_packed(content):
        end = _parted(content)[1]
        yield content[:end]
        content = content[end:]


def is_plain(load: Load) -> bool:
    """Tell whether the handle can be made of the key columns alone."""
    return all(part.reference is None for part in load.key)


def named_by_id(load: Load, catalog: Catalog) -> bool:
    """Tell whether the rows that we create have their handles as ids."""
    return load.made is not None and catalog.tables[load.table].columns[load.made].kind == "uuid"


def _marked(packs: Sequence[bytes], created: Sequence[int]) -> Iterator[bytes]:
    """Add to each pack which of its rows this run created."""
    places = pl.Series(created, dtype=pl.Int64).sort()
    start = 0
    for each in packs:
        frame = pl.read_ipc_stream(io.BytesIO(each))
        first, behind = (places.search_sorted(at, side="left") for at in (start, start + frame.height))
        mine = places.slice(first, behind - first) - start
        start += frame.height
        made = pl.int_range(frame.height, eager=True).is_in(mine.implode())
        stream = io.BytesIO()
        frame.with_columns(made.alias(RUN)).write_ipc_stream(stream, compression="zstd")
        yield stream.getvalue()


def _parted(content: bytes) -> tuple[list[bytes], int]:
    """The line and the packs of rows, and where they end."""
    parts: list[bytes] = []
    place, number = len(_MAGIC), 1
    while place < len(content) and len(parts) < number:
        (size,) = _LENGTH.unpack_from(content, place)
        place += _LENGTH.size
        parts.append(content[place : place + size])
        place += size
        if len(parts) == 1:
            number += json.loads(parts[0]).get("packs", len(content))
    return parts, place
