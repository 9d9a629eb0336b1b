"""The rows that a seed brought to a table, as the ledger remembers them: frames of hashes, packed as bytes.

Such a frame, a *content*, has FILE (index in `LoadMemory.files`, or LEFT), HANDLE, DIGEST, RUN (which created
the row; NULL if it existed before) and, where ids do not identify rows, `key.COLUMN` per key column. NULL
there means that the value is not known; where NULL itself is the value, NULL_KEY stands for it.

It is stored as a base and later changes, which replace rows of the same handle or mark them FORGOTTEN. So a
change of a few rows writes a few bytes, however many rows there are.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any

import polars as pl

from seedlab.flow import DIGEST, FILE, HANDLE, LEFT, memory
from seedlab.frames import key_packs
from seedlab.frames.key_packs import KEY, RUN
from seedlab.frames.row_names import spell

CONTENT = pl.Schema({FILE: pl.UInt16, HANDLE: pl.UInt128, DIGEST: pl.UInt64, RUN: pl.String})

FORGOTTEN = LEFT - 1  # in place of a file's number: the row is not remembered any more
_HEAD = Struct(">IQ")  # the header of a pack: the lengths of its JSON line and of its Arrow stream
_LITTLE = 1 << 14  # bytes of changes that never cause repacking: some 20 runs that change one row each
_PART = 8  # more changes than this fraction of the base do

NOTHING = pl.DataFrame(schema=CONTENT)


# ---- packed ---------------------------------------------------------------------------------------------


def packs(content: pl.DataFrame) -> Iterator[bytes]:
    """Pack rows into one or more packs of about PACK_BYTES each."""
    rows = max(1, content.height * memory.PACK_BYTES // max(1, int(content.estimated_size())))
    for start in range(0, max(1, content.height), rows):
        yield pack(content.slice(start, rows), more=start > 0)


def pack(content: pl.DataFrame, *, more: bool = False) -> bytes:
    """Write rows as an Arrow stream, after a JSON line that has the columns with only one value.

    Packs may be concatenated: rows of a later pack replace rows of earlier ones, or with `more` are appended
    to them. There is no compression, because hashes do not compress. Cost: a copy of the bytes.
    """
    alike = {name: content.item(0, name) for name in (FILE, RUN) if _is_alike(content.get_column(name))}
    head = {"columns": content.columns, "rows": content.height, "alike": alike}
    line = json.dumps(head | {"more": True} if more else head).encode()
    stream = io.BytesIO(bytes(_HEAD.size) + line)
    stream.seek(0, io.SEEK_END)
    rest = pl.DataFrame([each for each in content.get_columns() if each.name not in alike])
    rest.write_ipc_stream(stream, compression="uncompressed")
    body = stream.tell() - _HEAD.size - len(line)
    stream.seek(0)
    stream.write(_HEAD.pack(len(line), body))
    return stream.getvalue()


def _is_alike(values: pl.Series) -> bool:
    nulls = values.null_count()
    return 0 < len(values) == nulls or (not nulls and len(values) > 0 and values.min() == values.max())


def unpack(packed: Iterable[bytes]) -> pl.DataFrame:
    """Read packs, applying later ones to earlier ones; no packs give no rows."""
    whole: list[pl.DataFrame] = []
    recent: list[pl.DataFrame] = []
    for frame, later in _frames(packed):
        (recent if later else whole).append(frame)
    first = pl.concat(whole, how="diagonal") if len(whole) > 1 else whole[0] if whole else NOTHING
    return _patched(first, pl.concat(recent, how="diagonal")) if recent else first


def unpack_apart(packed: Iterable[Sequence[bytes]]) -> Iterator[pl.DataFrame]:
    """Yield the same rows in parts and roughly in order; all changes must be in the first of the `packed`."""
    newest = NOTHING
    for number, packs in enumerate(packed):
        if number == 0 and (recent := [frame for frame, later in _frames(packs) if later]):
            newest = pl.concat(recent, how="diagonal").unique(HANDLE, keep="last", maintain_order=True)
        for frame in (frame for frame, later in _frames(packs) if not later):
            yield without(frame, newest) if newest.height else frame
    yield newest.filter(pl.col(FILE) != FORGOTTEN)


def _frames(packed: Iterable[bytes]) -> Iterator[tuple[pl.DataFrame, bool]]:
    """Yield the rows of each pack, and whether they are changes rather than part of the base."""
    first = True
    for each in packed:
        start = 0
        for pack in key_packs.parted(each):
            yield from ((frame, False) for frame in key_packs.unpack(pack))
            start, first = start + len(pack), False
        for head, body in _pieces(each, start):
            yield _unpacked(head, body), not first and "more" not in head
            first = False


def has_grown(packed: Sequence[bytes]) -> bool:
    """Tell whether the changes are so large that everything should be packed again."""
    if any(map(key_packs.is_packed, packed)):
        return True  # now that all rows are in memory, they can be packed in the usual format
    whole, recent = sizes(packed)
    return recent > min(max(_LITTLE, whole // _PART), memory.PACK_BYTES)


def sizes(packed: Iterable[bytes]) -> tuple[int, int]:
    """Return the sizes of the base and of the changes in bytes."""
    whole = recent = 0
    for each in packed:
        start = sum(map(len, key_packs.parted(each)))
        whole += start
        for head, body in _pieces(each, start):
            if not whole or "more" in head:
                whole += len(body)
            else:
                recent += len(body)
    return whole, recent


def _pieces(packed: bytes, start: int = 0) -> Iterator[tuple[dict[str, Any], memoryview]]:
    view = memoryview(packed)
    while start < len(packed):
        line, body = _HEAD.unpack_from(packed, start)
        start += _HEAD.size
        yield json.loads(packed[start : start + line]), view[start + line : start + line + body]
        start += line + body


def _unpacked(head: Mapping[str, Any], body: memoryview) -> pl.DataFrame:
    found = pl.read_ipc_stream(io.BytesIO(body))
    for place, name in enumerate(head["columns"]):
        if name in head["alike"]:
            same = pl.Series(name, [head["alike"][name]], dtype=CONTENT[name])
            found.insert_column(place, same.new_from_index(0, head["rows"]))
    return found


def _patched(whole: pl.DataFrame, recent: pl.DataFrame) -> pl.DataFrame:
    """Apply changes: replace rows of the same handle in their place, and append new ones.

    There are few changes among many rows, so the hash table is built on the changes, and nothing is sorted.
    """
    newest = recent.unique(HANDLE, keep="last", maintain_order=True)
    places = newest[[HANDLE]].with_row_index("_place", whole.height)
    again = whole[[HANDLE]].join(places, on=HANDLE, how="left", maintain_order="left")["_place"]
    order = pl.int_range(whole.height, dtype=pl.UInt32, eager=True)
    order = again.zip_with(again.is_not_null(), order)
    if whole.height - again.null_count() < newest.height:
        new = places["_place"]
        order = pl.concat([order, new.filter(~new.is_in(again.implode()))])
    both = pl.concat([whole, newest], how="diagonal")[order]
    return both.filter(pl.col(FILE) != FORGOTTEN) if (newest[FILE] == FORGOTTEN).any() else both


def forget(rows: pl.DataFrame) -> pl.DataFrame:
    """Make the changes that remove these rows from what is remembered."""
    return rows.with_columns(pl.lit(FORGOTTEN, dtype=pl.UInt16).alias(FILE))


# ---- compared -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """How files differ from what is remembered: handles that are `new`, and rows that have `left`."""

    new: pl.Series
    left: pl.DataFrame


def compare(handles: pl.Series, before: pl.DataFrame) -> Compared:
    """Compare the handles of some files with the rows remembered of the same files, `before`.

    Only rows whose position changed are looked up, as most files keep their order.
    """
    if handles.equals(before[HANDLE]):
        return Compared(new=handles.clear(), left=before.clear())
    height = min(before.height, len(handles))
    moved = handles.head(height) != before[HANDLE].head(height)
    now = pl.concat([handles.head(height).filter(moved), handles.slice(height)])
    then = pl.concat([before.head(height).filter(moved), before.slice(height)])
    return Compared(
        new=now.filter(~now.is_in(then[HANDLE].implode())),
        left=then.filter(~then[HANDLE].is_in(now.implode())),
    )


def rows_of_files(content: pl.DataFrame, before: Sequence[str], now: Sequence[str]) -> pl.DataFrame:
    """Return the rows of the files `now`, with FILE as an index into that list."""
    if len(now) == 1 and now[0] in before:  # fast path for the usual case: one file has changed
        here = content[FILE] == before.index(now[0])
        only = pl.DataFrame([each.filter(here) for each in content.get_columns()])
        return only.with_columns(pl.lit(0, dtype=pl.UInt16).alias(FILE))
    found = renumber(content, before, now)
    return found.filter(pl.col(FILE) != LEFT) if found[FILE].max() == LEFT else found


def renumber(content: pl.DataFrame, before: Sequence[str], now: Sequence[str]) -> pl.DataFrame:
    """Make FILE an index into the list `now`; rows of files that are not in it get LEFT."""
    places = {name: n for n, name in enumerate(now)}
    mapping = {n: places.get(name, LEFT) for n, name in enumerate(before)}
    if all(old == new for old, new in mapping.items()):
        return content
    moved = pl.col(FILE).replace_strict(mapping, default=LEFT, return_dtype=pl.UInt16)
    return content.with_columns(moved)


def changed_rows(frame: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that are not remembered with the same digest and file.

    Only rows whose position changed are looked up.
    """
    if not frame.height or all(frame[name].equals(known[name]) for name in (HANDLE, DIGEST, FILE)):
        return frame.clear()
    height = min(frame.height, known.height)
    head, then = frame.head(height), known.head(height)
    moved = (
        (head[HANDLE] != then[HANDLE]) | head[DIGEST].ne_missing(then[DIGEST]) | (head[FILE] != then[FILE])
    )
    here = pl.concat([head.filter(moved), frame.slice(height)])
    there = pl.concat([then.filter(moved), known.slice(height)])
    return here.join(there, on=[HANDLE, DIGEST, FILE], how="anti", maintain_order="left")


def created_for_others(rows: pl.Series, others: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the rows of other seeds' contents that have these handles and were created by seedlab."""
    found = [
        other.filter(pl.col(RUN).is_not_null() & pl.col(HANDLE).is_in(rows.implode())) for other in others
    ]
    return pl.concat([each for each in found if each.height] or [NOTHING], how="diagonal")


def count_present(content: pl.DataFrame) -> int:
    """Count the rows that are in a file."""
    return int((content[FILE] != LEFT).sum())


def handles_of_other_files(several: Sequence[pl.DataFrame], files: Sequence[int] = ()) -> pl.Series:
    """Return the handles of rows that are in other files than these."""
    handles = pl.concat([NOTHING[HANDLE], *(each[HANDLE] for each in several)])
    places = pl.concat([NOTHING[FILE], *(each[FILE] for each in several)])
    return handles.filter(~places.is_in([*files, LEFT]))


def update(
    before: pl.DataFrame,
    rows: pl.DataFrame,
    created: pl.Series,
    run: str,
    keys: pl.DataFrame | None,
    files: Sequence[int],
    moved: pl.DataFrame = NOTHING,
) -> pl.DataFrame:
    """Compute the content after a run that read `files`: their current rows, and all others as before.

    `rows` has FILE, HANDLE and DIGEST; `created` has the handles of rows created in this `run`; `keys` has
    HANDLE and the key columns of the rows written; `moved` is the content of rows that were created for
    another seed. Rows that are gone from the files get LEFT if seedlab created them, else they are dropped.
    """
    if keys is not None:
        own = keys.get_columns()
        keys = pl.DataFrame([s if s.name == HANDLE else s.alias(f"{KEY}{s.name}") for s in own])
    if not before.height and len(created) == rows.height:
        return _all_new(rows, run, keys)
    stayed = not len(created) and not moved.height
    if stayed and before[HANDLE].equals(rows[HANDLE]) and before[FILE].equals(rows[FILE]):
        if keys is None:
            return before.with_columns(rows[DIGEST])
        if keys[HANDLE].equals(rows[HANDLE]):
            return pl.DataFrame([*before[FILE, HANDLE], rows[DIGEST], before[RUN], *keys.drop(HANDLE)])
    before, moved = _named_alike(before, keys), _named_alike(moved, keys)
    known = pl.concat([moved, before], how="diagonal") if moved.height else before
    old = known.select(HANDLE, RUN, *(name for name in known.columns if name.startswith(KEY)))
    old = _preferred(keys, old) if keys is not None else old
    made = pl.when(pl.col(HANDLE).is_in(created.implode())).then(pl.lit(run)).otherwise(pl.col(RUN))
    now = rows.select(FILE, HANDLE, DIGEST)
    now = now.join(old.unique(HANDLE, keep="first"), on=HANDLE, how="left", maintain_order="left")
    now = now.with_columns(made.alias(RUN))
    read = pl.col(FILE).is_in([*files, LEFT])
    gone = before.filter(read & pl.col(RUN).is_not_null() & ~pl.col(HANDLE).is_in(now[HANDLE].implode()))
    others = before.filter(~read)
    gone = gone.filter(~pl.col(HANDLE).is_in(others[HANDLE].implode()))
    parts = [others, now, gone.with_columns(pl.lit(LEFT, dtype=pl.UInt16).alias(FILE))]
    return pl.concat([part for part in parts if part.height] or [now], how="diagonal")


def _all_new(rows: pl.DataFrame, run: str, keys: pl.DataFrame | None) -> pl.DataFrame:
    """Make the content of a first run; `keys` are usually in the order of the rows."""
    columns = [
        rows[FILE],
        rows[HANDLE],
        rows[DIGEST],
        pl.Series(RUN, [run]).new_from_index(0, rows.height),
    ]
    if keys is not None and keys[HANDLE].equals(rows[HANDLE]):
        return pl.DataFrame([*columns, *(keys[name] for name in keys.columns if name != HANDLE)])
    whole = pl.DataFrame(columns)
    return whole if keys is None else whole.join(keys, on=HANDLE, how="left", maintain_order="left")


def _named_alike(content: pl.DataFrame, keys: pl.DataFrame | None) -> pl.DataFrame:
    """Drop key columns that do not identify the table's rows any more."""
    if keys is None:
        return content
    as_text = [name for name in content.columns if keys.schema.get(name) == pl.String]
    content = content.with_columns(spell(content, name) for name in as_text)
    known = {*CONTENT.items(), *keys.schema.items()}
    return content.select(name for name, kind in content.schema.items() if (name, kind) in known)


def _preferred(keys: pl.DataFrame, old: pl.DataFrame) -> pl.DataFrame:
    """Combine keys: as written now, else as remembered."""
    new = keys.join(old.select(HANDLE, RUN), on=HANDLE, how="left")
    return pl.concat([new, old], how="diagonal") if old.height else new


def mark_left(content: pl.DataFrame) -> pl.DataFrame:
    """Return the rows created by seedlab, marked as being in no file."""
    return content.filter(pl.col(RUN).is_not_null()).with_columns(pl.lit(LEFT, dtype=pl.UInt16).alias(FILE))


def created_and_left(content: pl.DataFrame, now: pl.Series) -> pl.DataFrame:
    """Return the rows created by seedlab that were in a file last time and are not now."""
    brought = (pl.col(FILE) != LEFT) & pl.col(RUN).is_not_null()
    return content.filter(brought & ~pl.col(HANDLE).is_in(now.implode()))


def created_rows(content: pl.DataFrame, run: str | None = None) -> pl.DataFrame:
    """Return the rows created by seedlab, in any run or in the one named."""
    made = pl.col(RUN).is_not_null() if run is None else pl.col(RUN) == run
    return content.filter(made)


def without(content: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Drop the rows that have the handles of `rows`."""
    return content.filter(~pl.col(HANDLE).is_in(rows[HANDLE].implode()))
