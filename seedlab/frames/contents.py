"""The rows that a seed brought to a table, as the ledger remembers them: packed frames of hashes.

A content has FILE (index in `LoadMemory.files`, or LEFT), HANDLE, DIGEST, RUN (that made the row; NULL: it
was there) and, where ids do not name the rows, a column `key.COLUMN` for each key column of the table.

It is kept as a whole and what is more recent: rows that replace those of their handles, or say that these are
FORGOTTEN. So a few rows that change cost a few bytes, however many there are.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any

import polars as pl

from seedlab.flow import DIGEST, FILE, HANDLE, LEFT, Column, Table, memory
from seedlab.frames import brief
from seedlab.frames.kinds import canonical

RUN = "run"
KEY = "key."
CONTENT = pl.Schema({FILE: pl.UInt16, HANDLE: pl.UInt128, DIGEST: pl.UInt64, RUN: pl.String})

FORGOTTEN = (
    LEFT - 1
)  # in place of a file's number, where a whole content has a row that is remembered no more
_HEAD = Struct(">IQ")  # of a pack: how long its line is, and its stream
_LITTLE = 1 << 18  # bytes behind the first pack that are always fine
_PART = 8  # and more than one in so many of its own bytes are not

NOTHING = pl.DataFrame(schema=CONTENT)


# ---- packed ---------------------------------------------------------------------------------------------


def packs(content: pl.DataFrame) -> Iterator[bytes]:
    """Pack rows, very many in several packs of about PACK_BYTES each."""
    rows = max(1, content.height * memory.PACK_BYTES // max(1, int(content.estimated_size())))
    for start in range(0, max(1, content.height), rows):
        yield pack(content.slice(start, rows), more=start > 0)


def pack(content: pl.DataFrame, *, more: bool = False) -> bytes:
    """Write the columns whose values differ as an Arrow stream, those with one value in a line before it.

    Packs may be put behind each other: rows of a later one replace those of an earlier one, or are just
    `more` of them. Not compressed: hashes do not get smaller, and the line is all that would. Cost: a copy
    of the bytes.
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
    """Read what was packed, the later packs over the earlier ones; nothing remembered is no row."""
    whole: list[pl.DataFrame] = []
    recent: list[pl.DataFrame] = []
    for frame, later in _frames(packed):
        (recent if later else whole).append(frame)
    first = pl.concat(whole, how="diagonal") if len(whole) > 1 else whole[0] if whole else NOTHING
    return _patched(first, pl.concat(recent, how="diagonal")) if recent else first


def unpack_apart(packed: Iterable[Sequence[bytes]]) -> Iterator[pl.DataFrame]:
    """Give the same rows a few at a time, in about the same order; what is recent is in the first packs."""
    newest = NOTHING
    for number, packs in enumerate(packed):
        if number == 0 and (recent := [frame for frame, later in _frames(packs) if later]):
            newest = pl.concat(recent, how="diagonal").unique(HANDLE, keep="last", maintain_order=True)
        for frame in (frame for frame, later in _frames(packs) if not later):
            yield without(frame, newest) if newest.height else frame
    yield newest.filter(pl.col(FILE) != FORGOTTEN)


def _frames(packed: Iterable[bytes]) -> Iterator[tuple[pl.DataFrame, bool]]:
    """The rows of each pack, and whether they came since all was packed at once."""
    first = True
    for each in packed:
        start = 0
        for pack in brief.parted(each):
            yield from ((frame, False) for frame in brief.unpack(pack))
            start, first = start + len(pack), False
        for head, body in _pieces(each, start):
            yield _unpacked(head, body), not first and "more" not in head
            first = False


def has_grown(packed: Sequence[bytes]) -> bool:
    """Tell whether so much came behind what was packed at once that it is time to pack all anew."""
    if any(map(brief.is_packed, packed)):
        return True  # all rows were held, so they can be packed like any others
    whole, recent = sizes(packed)
    return recent > min(max(_LITTLE, whole // _PART), memory.PACK_BYTES)


def sizes(packed: Iterable[bytes]) -> tuple[int, int]:
    """Tell how many bytes were packed at once, and how many came since."""
    whole = recent = 0
    for each in packed:
        start = sum(map(len, brief.parted(each)))
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
    same = {
        name: pl.Series(name, [value], dtype=CONTENT[name]).new_from_index(0, head["rows"])
        for name, value in head["alike"].items()
    }
    return pl.DataFrame([same[name] if name in same else found[name] for name in head["columns"]])


def _patched(whole: pl.DataFrame, recent: pl.DataFrame) -> pl.DataFrame:
    """Put what is more recent in the place of the same rows before, new rows behind all.

    Few of very many: they are found by a table of the few, and nothing is sorted.
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


def forgotten(rows: pl.DataFrame) -> pl.DataFrame:
    """Turn remembered rows into entries that, packed behind older packs, cancel them."""
    return rows.with_columns(pl.lit(FORGOTTEN, dtype=pl.UInt16).alias(FILE))


# ---- compared -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """What files say now beside what is remembered of them: handles that are `new`, rows that have `left`."""

    new: pl.Series
    left: pl.DataFrame


def compare(handles: pl.Series, before: pl.DataFrame) -> Compared:
    """Find which rows of some files are new, and which are no more; `before` are those remembered of them.

    Rows that are where they were need no look-up: most files keep their order.
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


def of_files(content: pl.DataFrame, before: Sequence[str], now: Sequence[str]) -> pl.DataFrame:
    """The rows of the files listed now, counted as these are."""
    if len(now) == 1 and now[0] in before:  # the usual one that changed
        here = content[FILE] == before.index(now[0])
        only = pl.DataFrame([each.filter(here) for each in content.get_columns()])
        return only.with_columns(pl.lit(0, dtype=pl.UInt16).alias(FILE))
    found = renumber(content, before, now)
    return found.filter(pl.col(FILE) != LEFT) if found[FILE].max() == LEFT else found


def renumber(content: pl.DataFrame, before: Sequence[str], now: Sequence[str]) -> pl.DataFrame:
    """Count files as they are listed now; rows of a file that is gone have LEFT."""
    places = {name: n for n, name in enumerate(now)}
    mapping = {n: places.get(name, LEFT) for n, name in enumerate(before)}
    if all(old == new for old, new in mapping.items()):
        return content
    moved = pl.col(FILE).replace_strict(mapping, default=LEFT, return_dtype=pl.UInt16)
    return content.with_columns(moved)


def unknown(frame: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Rows that are not remembered just as they are, and of the same file.

    Those that are where they were need no look-up.
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


def made_elsewhere(rows: pl.Series, others: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Of these handles those of rows that we made, as the contents of other seeds have them."""
    found = [
        other.filter(pl.col(RUN).is_not_null() & pl.col(HANDLE).is_in(rows.implode())) for other in others
    ]
    return pl.concat([each for each in found if each.height] or [NOTHING], how="diagonal")


def present(content: pl.DataFrame) -> int:
    """Count the rows that files bring."""
    return int((content[FILE] != LEFT).sum())


def of_other_files(several: Sequence[pl.DataFrame], files: Sequence[int] = ()) -> pl.Series:
    """Handles of the rows of these contents that files other than these bring."""
    handles = pl.concat([NOTHING[HANDLE], *(each[HANDLE] for each in several)])
    places = pl.concat([NOTHING[FILE], *(each[FILE] for each in several)])
    return handles.filter(~places.is_in([*files, LEFT]))


def renewed(
    before: pl.DataFrame,
    rows: pl.DataFrame,
    created: pl.Series,
    run: str,
    keys: pl.DataFrame | None,
    files: Sequence[int],
    moved: pl.DataFrame = NOTHING,
) -> pl.DataFrame:
    """The content after a run that read these files: their rows as they are now, all others as before.

    `rows` has FILE, HANDLE and DIGEST, `created` the handles of rows made in this `run`, `keys` HANDLE and
    the key columns of the rows that were written, `moved` the content of rows that we made for another seed.
    Rows of these files that are no more have LEFT, if we made them; all others we forget.
    """
    keys = (
        pl.DataFrame([s if s.name == HANDLE else s.alias(f"{KEY}{s.name}") for s in keys.get_columns()])
        if keys is not None
        else None
    )
    if not before.height and len(created) == rows.height:
        return _all_new(rows, run, keys)
    updated = keys is None and not len(created) and not moved.height
    if updated and before[HANDLE].equals(rows[HANDLE]) and before[FILE].equals(rows[FILE]):
        return before.with_columns(rows[DIGEST])
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
    """Make the content of a first run, where nothing was remembered; `keys` come in the order of the rows."""
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
    """Leave out keys by which rows are not named any more: rows of two kinds of names have none in common."""
    if keys is None:
        return content
    known = {*CONTENT.items(), *keys.schema.items()}
    return content.select(name for name, kind in content.schema.items() if (name, kind) in known)


def _preferred(keys: pl.DataFrame, old: pl.DataFrame) -> pl.DataFrame:
    """Merge key columns: as written now, else as remembered."""
    fresh = keys.join(old.select(HANDLE, RUN), on=HANDLE, how="left")
    return pl.concat([fresh, old], how="diagonal") if old.height else fresh


def abandoned(content: pl.DataFrame) -> pl.DataFrame:
    """The rows that we made, when no file brings any of them any more."""
    return content.filter(pl.col(RUN).is_not_null()).with_columns(pl.lit(LEFT, dtype=pl.UInt16).alias(FILE))


def left(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """Rows that a file had before, and no file has now."""
    now = after.filter(pl.col(FILE) != LEFT)[HANDLE]
    return before.filter((pl.col(FILE) != LEFT) & ~pl.col(HANDLE).is_in(now.implode()))


def left_now(content: pl.DataFrame, now: pl.Series) -> pl.DataFrame:
    """Rows that we made, that files brought last time and do not bring now."""
    brought = (pl.col(FILE) != LEFT) & pl.col(RUN).is_not_null()
    return content.filter(brought & ~pl.col(HANDLE).is_in(now.implode()))


def ours(content: pl.DataFrame, run: str | None = None) -> pl.DataFrame:
    """Rows that we made, in any run or in one."""
    made = pl.col(RUN).is_not_null() if run is None else pl.col(RUN) == run
    return content.filter(made)


def without(content: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Leave out of remembered rows those with the handles of `rows`."""
    return content.filter(~pl.col(HANDLE).is_in(rows[HANDLE].implode()))


def renamed(content: pl.DataFrame, now: pl.DataFrame, made: str | None, table: Table) -> pl.DataFrame:
    """Give rows the handles by which they are known `now`: by another key, or ids of another kind.

    `now` has HANDLE and the columns that name a remembered row (`named_by`) of rows in the target. An id
    that is no longer the handle is kept as a key.
    """
    if made is not None:
        content = content.with_columns(names(content, made)[made].alias(f"{KEY}{made}"))
    columns = [table.columns[name] for name in now.columns if name != HANDLE]
    fresh = now.select(pl.col(HANDLE).alias("_now"), *(_same(now, c, "") for c in columns))
    keys = [name for name in fresh.columns if name != "_now"]
    joined = content.with_columns(_same(content, column, KEY) for column in columns).join(
        fresh.unique(keys), on=keys, how="left", maintain_order="left"
    )
    return joined.with_columns(pl.coalesce("_now", HANDLE).alias(HANDLE)).drop("_now", *keys)


def _same(frame: pl.DataFrame, column: Column, prefix: str) -> pl.Expr:
    """A column's values so that equal ones are equal, however they were given: by a handle or as text."""
    value = pl.col(f"{prefix}{column.name}")
    if frame.schema[f"{prefix}{column.name}"] == pl.String:
        value = canonical(column, value)
        value = (
            value.str.to_integer(base=16, dtype=pl.UInt128, strict=False) if column.kind == "uuid" else value
        )
    return value.alias(f"_same.{column.name}")


def named_by(content: pl.DataFrame, made: str | None) -> list[str]:
    """Columns of the table by which rows are named: that of the id, or those of the key."""
    keys = [name.removeprefix(KEY) for name in content.columns if name.startswith(KEY)]
    return keys if made is None else [made]


def nameless(content: pl.DataFrame, made: str | None) -> bool:
    """Tell whether rows cannot be named at all: their table has no key."""
    return made is None and not any(name.startswith(KEY) for name in content.columns)


def names(content: pl.DataFrame, made: str | None) -> pl.DataFrame:
    """Name rows as a `Removal` does: by the id that is the handle, in column `made`, or by their keys.

    Rows whose keys are not known are left out.
    """
    if made is not None:
        known = [f"{KEY}{made}"] if f"{KEY}{made}" in content.columns else []
        return content.select(pl.coalesce(*known, HANDLE).alias(made))
    keys = [name for name in content.columns if name.startswith(KEY)]
    return content.select(pl.col(name).alias(name.removeprefix(KEY)) for name in keys).drop_nulls()
