"""The rows that a seed brought to a table, as the ledger remembers them: packed frames of hashes.

A content has FILE (index in `LoadMemory.files`, or LEFT), HANDLE, DIGEST, RUN (that made the row; NULL: it
was there) and, where ids do not name the rows, a column `key.COLUMN` for each key column of the table.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import polars as pl

from seedlab.flow import DIGEST, FILE, HANDLE, LEFT

RUN = "run"
KEY = "key."
CONTENT = pl.Schema({FILE: pl.UInt16, HANDLE: pl.UInt128, DIGEST: pl.UInt64, RUN: pl.String})

NOTHING = pl.DataFrame(schema=CONTENT)


def pack(content: pl.DataFrame) -> bytes:
    """Write as an Arrow stream, compressed."""
    stream = io.BytesIO()
    content.write_ipc_stream(stream, compression="zstd")
    return stream.getvalue()


def unpack(packed: bytes) -> pl.DataFrame:
    """Read what `pack` wrote; nothing remembered is no row."""
    return pl.read_ipc_stream(io.BytesIO(packed)) if packed else NOTHING


def renumber(content: pl.DataFrame, before: Sequence[str], now: Sequence[str]) -> pl.DataFrame:
    """Count files as they are listed now; rows of a file that is gone have LEFT."""
    places = {name: n for n, name in enumerate(now)}
    mapping = {n: places.get(name, LEFT) for n, name in enumerate(before)}
    if all(old == new for old, new in mapping.items()):
        return content
    moved = pl.col(FILE).replace_strict(mapping, default=LEFT, return_dtype=pl.UInt16)
    return content.with_columns(moved)


def unknown(frame: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Rows that are not remembered just as they are."""
    return frame.join(
        known.filter(pl.col(FILE) != LEFT), on=[HANDLE, DIGEST], how="anti", maintain_order="left"
    )


def of_other_files(content: pl.DataFrame, files: Sequence[int]) -> pl.Series:
    """Handles of rows that files other than these bring."""
    return content.filter(~pl.col(FILE).is_in([*files, LEFT]))[HANDLE]


def renewed(
    before: pl.DataFrame,
    rows: pl.DataFrame,
    created: pl.Series,
    run: str,
    keys: pl.DataFrame | None,
    files: Sequence[int],
) -> pl.DataFrame:
    """The content after a run that read these files: their rows as they are now, all others as before.

    `rows` has FILE, HANDLE and DIGEST, `created` the handles of rows made in this `run`, `keys` HANDLE and
    the key columns of the rows that were written. Rows of these files that are no more have LEFT, if we made
    them; all others we forget.
    """
    keys = (
        pl.DataFrame([s if s.name == HANDLE else s.alias(f"{KEY}{s.name}") for s in keys.get_columns()])
        if keys is not None
        else None
    )
    if not before.height and len(created) == rows.height:
        return _all_new(rows, run, keys)
    before = _of_types_now(before, keys)
    old = before.select(HANDLE, RUN, *(name for name in before.columns if name.startswith(KEY)))
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
    """The usual first run, where nothing has to be looked up: keys come in the order of the rows."""
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


def _of_types_now(before: pl.DataFrame, keys: pl.DataFrame | None) -> pl.DataFrame:
    """What is remembered, less key columns that have had another type: they name no row any more."""
    types = keys.schema if keys is not None else {}
    return before.drop([name for name, kind in before.schema.items() if types.get(name, kind) != kind])


def _preferred(keys: pl.DataFrame, old: pl.DataFrame) -> pl.DataFrame:
    """Keys as they were written now, before those remembered."""
    fresh = keys.join(old.select(HANDLE, RUN), on=HANDLE, how="left")
    return pl.concat([fresh, old], how="diagonal") if old.height else fresh


def abandoned(content: pl.DataFrame) -> pl.DataFrame:
    """The rows that we made, when no file brings any of them any more."""
    return content.filter(pl.col(RUN).is_not_null()).with_columns(pl.lit(LEFT, dtype=pl.UInt16).alias(FILE))


def left(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """Rows that a file had before, and no file has now."""
    now = after.filter(pl.col(FILE) != LEFT)[HANDLE]
    return before.filter((pl.col(FILE) != LEFT) & ~pl.col(HANDLE).is_in(now.implode()))


def ours(content: pl.DataFrame, run: str | None = None) -> pl.DataFrame:
    """Rows that we made, in any run or in one."""
    made = pl.col(RUN).is_not_null() if run is None else pl.col(RUN) == run
    return content.filter(made)


def among(content: pl.DataFrame, handles: pl.Series) -> pl.DataFrame:
    """Rows with these handles."""
    return content.filter(pl.col(HANDLE).is_in(handles.implode()))


def without(content: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Forget rows."""
    return content.filter(~pl.col(HANDLE).is_in(rows[HANDLE].implode()))


def names(content: pl.DataFrame, made: str | None) -> pl.DataFrame:
    """Name rows as a `Removal` does: by the id that is the handle, in column `made`, or by their keys.

    Rows whose keys are not known are left out.
    """
    if made is not None:
        return content.select(pl.col(HANDLE).alias(made))
    keys = [name for name in content.columns if name.startswith(KEY)]
    return content.select(pl.col(name).alias(name.removeprefix(KEY)) for name in keys).drop_nulls()
