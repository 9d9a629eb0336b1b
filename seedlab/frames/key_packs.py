"""Packs of very many rows for the ledger: of each row its digest, and its key instead of its handle.

The handles are computed from the keys again when packs are read. `contents.py` has the usual format of packs.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from struct import Struct
from typing import Any

import polars as pl

from seedlab.flow import DIGEST, FILE, HANDLE, Catalog, Load, memory
from seedlab.frames.kinds import asks_for_names, canonical, unfolded
from seedlab.frames.resolve import handle_of

KEY = "key."
RUN = "run"

_MAGIC = b"\x00seedlab keys\x00"
_LENGTH = Struct(">Q")


def pack(frame: pl.DataFrame, digests: pl.Series, load: Load, catalog: Catalog) -> bytes:
    """Pack FILE, DIGEST, and the key columns of a batch of rows, or the handle.

    Both are packed where the handle does not follow from the key columns alone.
    `pack_all` combines such packs.
    """
    columns = [pl.col(FILE), digests.alias(DIGEST)]
    keys = () if named_by_id(load, catalog) else tuple(dict.fromkeys(load.key_columns))
    kinds = catalog.tables[load.table].columns
    named_by_target = any(asks_for_names(kinds[name]) for name in keys)
    spell = unfolded if named_by_target else canonical
    if named_by_target or not is_plain(load) or not keys:
        columns.append(pl.col(HANDLE))
    columns += [
        (spell(kinds[name], pl.col(name)) if frame.schema[name] == pl.String else pl.col(name)).alias(
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
    """Combine packs into larger ones of about PACK_BYTES.

    `created` are the ordinals of the rows created in this `run`; None stands for all rows.
    """
    head: dict[str, Any] = {"table": load.table, "key": list(load.key_columns), "ids": ids, "run": run}
    head["all"] = created is None
    group: list[bytes] = []
    size = 0
    for each in packs if created is None else _marked(packs, created):
        if size and size + len(each) > memory.PACK_BYTES:
            yield _joined(head, group)
            group, size = [], 0
        group.append(each)
        size += len(each)
    yield _joined(head, group)


def _joined(head: Mapping[str, Any], packs: Sequence[bytes]) -> bytes:
    line = json.dumps({**head, "packs": len(packs)}).encode()
    return _MAGIC + b"".join(_LENGTH.pack(len(each)) + each for each in (line, *packs))


def is_packed(content: bytes) -> bool:
    """Tell whether bytes begin with a pack of this format."""
    return content.startswith(_MAGIC)


def unpack(content: bytes) -> Iterator[pl.DataFrame]:
    """Yield FILE, HANDLE, DIGEST, RUN and key columns of a pack, in the batches in which it was written."""
    (line, *packs), _ = _parted(content)
    head = json.loads(line)
    for each in packs:
        frame = pl.read_ipc_stream(io.BytesIO(each))
        if HANDLE not in frame.columns:
            sources = [f"{KEY}{name}" for name in head["key"]]
            frame = frame.with_columns(handle_of(head["table"], sources, head["ids"]).alias(HANDLE))
        made = pl.lit(head["run"])
        frame = frame.with_columns((made if head["all"] else pl.when(RUN).then(made)).alias(RUN))
        if DIGEST not in frame.columns:  # written by an older version
            frame = frame.with_columns(pl.lit(None, dtype=pl.UInt64).alias(DIGEST))
        yield frame.select(FILE, HANDLE, DIGEST, RUN, pl.col(f"^{KEY}.*$"))


def parted(content: bytes) -> Iterator[bytes]:
    """Yield the packs of this format at the beginning of a content; packs of the other one may follow."""
    while is_packed(content):
        end = _parted(content)[1]
        yield content[:end]
        content = content[end:]


def is_plain(load: Load) -> bool:
    """Tell whether the key has columns of the table alone, and no reference."""
    return all(part.reference is None for part in load.key)


def named_by_id(load: Load, catalog: Catalog) -> bool:
    """Tell whether rows created by seedlab have their handles as ids."""
    return load.made is not None and catalog.tables[load.table].columns[load.made].kind == "uuid"


def _marked(packs: Sequence[bytes], created: Sequence[int]) -> Iterator[bytes]:
    """Add to each pack which of its rows this run created."""
    places = pl.Series(created, dtype=pl.Int64).sort()
    start = 0
    for each in packs:
        frame = pl.read_ipc_stream(io.BytesIO(each))
        first, behind = (places.search_sorted(at, side="left") for at in (start, start + frame.height))
        in_pack = places.slice(first, behind - first) - start
        start += frame.height
        made = pl.int_range(frame.height, eager=True).is_in(in_pack.implode())
        stream = io.BytesIO()
        frame.with_columns(made.alias(RUN)).write_ipc_stream(stream, compression="zstd")
        yield stream.getvalue()


def _parted(content: bytes) -> tuple[list[bytes], int]:
    """Return the JSON line and the packs of rows, and the offset of their end."""
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
