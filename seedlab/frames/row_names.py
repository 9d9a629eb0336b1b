"""By which columns of their table the rows of a content are known: the id that seedlab made, or the key.

Values of the key are text, or numbers for uuids. NULL stands for a value that is not known, and NULL_KEY for
one that is NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import polars as pl
import polars_hash as plh

from seedlab.flow import HANDLE, Column, Table
from seedlab.frames.key_packs import KEY
from seedlab.frames.kinds import canonical, unfolded

Spelled = Callable[[Column, pl.Expr], pl.Expr]
NULL_KEY = "\0-"  # text from a file never contains a NUL character


def spell_null_keys(keys: pl.DataFrame, nulls: Collection[str]) -> pl.DataFrame:
    """Put NULL_KEY in place of NULL into the key columns `nulls`, which become text."""
    return keys.with_columns(spell(keys, name).fill_null(NULL_KEY) for name in nulls)


def spell(frame: pl.DataFrame, name: str) -> pl.Expr:
    """Spell ids as 32 hexadecimal digits."""
    if frame.schema[name] != pl.UInt128:
        return pl.col(name)
    halves = (plh.col(name) // (1 << 64), plh.col(name) % (1 << 64))
    high, low = (half.cast(pl.UInt64).bytes.to_be() for half in halves)  # type: ignore[attr-defined]
    digits: pl.Expr = (high + low).bin.encode("hex").alias(name)
    return digits


def rename(content: pl.DataFrame, now: pl.DataFrame, made: str | None, table: Table) -> pl.DataFrame:
    """Replace handles by current ones after the key or the kind of ids was reconfigured.

    `now` has HANDLE and the `naming_columns` of rows of the target. An id that is no longer the handle is
    kept as a key.
    """
    if made is not None:
        content = content.with_columns(names(content, made)[made].alias(f"{KEY}{made}"))
    now = spell_null_keys(now, [each.name for each in now.get_columns() if each.null_count()])
    columns = [table.columns[name] for name in now.columns if name != HANDLE]
    current = now.select(pl.col(HANDLE).alias("_now"), *(comparable(now, c, "", unfolded) for c in columns))
    keys = [name for name in current.columns if name != "_now"]
    joined = content.with_columns(comparable(content, column, KEY, unfolded) for column in columns).join(
        current.unique(keys), on=keys, how="left", maintain_order="left"
    )
    return joined.with_columns(pl.coalesce("_now", HANDLE).alias(HANDLE)).drop("_now", *keys)


def comparable(frame: pl.DataFrame, column: Column, prefix: str, spelled: Spelled = canonical) -> pl.Expr:
    """Spell values comparably, whether they are handles or text."""
    name = f"{prefix}{column.name}"
    value = spell(frame, name)
    if frame.schema[name] == pl.String:
        value = pl.when(value == NULL_KEY).then(value).otherwise(spelled(column, value))
    return value.alias(f"_same.{column.name}")


def naming_columns(content: pl.DataFrame, made: str | None) -> list[str]:
    """Return the columns of the table that identify its rows: the id, or those of the key."""
    keys = [name.removeprefix(KEY) for name in content.columns if name.startswith(KEY)]
    return keys if made is None else [made]


def is_nameless(content: pl.DataFrame, made: str | None) -> bool:
    """Tell whether the rows cannot be identified, because their table has no key."""
    return made is None and not any(name.startswith(KEY) for name in content.columns)


def names(content: pl.DataFrame, made: str | None) -> pl.DataFrame:
    """Return the identifying columns of rows as a `Removal` needs them: the id column `made`, or the key.

    Rows whose keys are not known are left out.
    """
    if made is not None:
        known = [f"{KEY}{made}"] if f"{KEY}{made}" in content.columns else []
        return content.select(pl.coalesce(*known, HANDLE).alias(made))
    keys = [name for name in content.columns if name.startswith(KEY)]
    named = content.select(pl.col(name).alias(name.removeprefix(KEY)) for name in keys).drop_nulls()
    texts = [name for name, kind in named.schema.items() if kind == pl.String]
    return named.with_columns(pl.col(name).replace(NULL_KEY, None) for name in texts)
