"""Handles: every row named by a hash of its key chain, every reference by the hash of its parent's.

A handle is the 128-bit xxh3 of the table and the length-prefixed canonical key, all scalars, computed from a
row's *own* dotted columns: no joins, no order of resolution; many hops, self references and cycles cost
nothing. With its version and variant bits set it is a uuid8 (RFC 9562), and the id of a new row.

Handle frames have the source columns of their load plus FILE, ROW, HANDLE, DIGEST and one UInt128 column per
reference (`reference_column`) and per alternative key (`alternative_column`); NULL where a part is NULL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import polars as pl
import polars_hash as plh

from seedlab.errors import ConfigurationError
from seedlab.flow import DIGEST, HANDLE, RESERVED, Catalog, Column, Load, Part, Table
from seedlab.frames.batcher import all_extended
from seedlab.frames.kinds import canonical

# Version and variant bits of a uuid, as expressions: a 128-bit literal takes 50 µs to make.
_FREE = pl.lit(~(0xF << 76 | 0x3 << 62) & (1 << 128) - 1, dtype=pl.UInt128)
_VERSION_8 = pl.lit(0x8 << 76 | 0x2 << 62, dtype=pl.UInt128)
_VERSION_5 = pl.lit(0x5 << 76 | 0x2 << 62, dtype=pl.UInt128)
_COLON = pl.lit(":")
# The namespace of uuid5 ids: 16 ASCII bytes, so that it can be hashed as text with the name behind it.
UUID5_NAMESPACE = b"seedlab.uuid5.id"

ALTERNATIVE = "_seedlab_alt:"  # the beginning of columns with handles by another key

Signature = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Handled:
    """A load's rows with their handles."""

    load: Load
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How rows are named in this run: each table's natural key, and the alternative ones somebody uses.

    `alternatives` maps a table to the parts of every other key by which a reference names its rows.
    """

    catalog: Catalog
    ids: str
    natural: Mapping[str, Signature]
    alternatives: Mapping[str, Mapping[str, tuple[Part, ...]]] = field(default_factory=dict)

    def label(self, table: str, parts: Sequence[Part]) -> str:
        """Name the key: the bare table for its natural key, `table|columns` for another."""
        return table if self.natural.get(table) == signature(parts) else f"{table}|{_spelled(parts)}"

    def handle(self, table: str, parts: Sequence[Part]) -> pl.Expr:
        """Hash the key chain of `parts`; NULL when any part is NULL."""
        return _hash(self.label(table, parts), tuple(leaves(self.catalog, table, parts)), self.ids)


def signature(parts: Sequence[Part]) -> Signature:
    """What makes two ways of naming a row the same: columns, and how each reference is given."""
    return tuple(
        (part.columns, signature(part.reference.parts) if part.reference is not None else None)
        for part in parts
    )


def _spelled(parts: Sequence[Part]) -> str:
    """Spell a key as `code,course_id(slug)`: two ways of naming the same parent are two keys."""
    return ",".join(
        ",".join(part.columns) + (f"({_spelled(part.reference.parts)})" if part.reference else "")
        for part in parts
    )


def leaves(catalog: Catalog, table: str, parts: Sequence[Part]) -> Iterator[tuple[str, Column]]:
    """Source columns of a key chain in key order, each with the catalog column it is a value of."""
    for part in parts:
        if part.reference is not None:
            yield from leaves(catalog, part.reference.parent, part.reference.parts)
        elif part.source is not None:
            yield part.source, catalog.tables[table].columns[part.columns[0]]


def name_rows(catalog: Catalog, loads: Sequence[Load], ids: str) -> Naming:
    """Settle how every table's rows are named; loads of one table must name them alike.

    Raises ConfigurationError for a key that contains itself and for loads that spell a key differently.
    """
    natural: dict[str, Signature] = {}
    for load in loads:
        _refuse_endless(load.table, catalog.tables[load.table], loads)
        mine = signature(load.key)
        if natural.setdefault(load.table, mine) != mine:
            raise ConfigurationError(
                f"the seeds of table {load.table} give its key in different ways; "
                "give its references by the same columns in every file"
            )
    plain = Naming(catalog=catalog, ids=ids, natural=natural)
    alternatives: dict[str, dict[str, tuple[Part, ...]]] = {}
    for reference in (each for load in loads for each in load.references):
        label = plain.label(reference.parent, reference.parts)
        if label != reference.parent and reference.parent in natural:
            alternatives.setdefault(reference.parent, {})[label] = reference.parts
    return Naming(catalog=catalog, ids=ids, natural=natural, alternatives=alternatives)


def _refuse_endless(name: str, table: Table, loads: Sequence[Load]) -> None:
    """A key that needs the table's own key would never end."""
    keys = {load.table: load for load in loads}

    def visit(current: str, path: tuple[str, ...]) -> None:
        if current in path:
            circle = " → ".join((*path[path.index(current) :], current))
            scalar = next((k.columns for k in table.keys if len(k.columns) == 1 and not k.primary), None)
            hint = f"key = ['{scalar[0]}']" if scalar else "a scalar key such as a code or slug"
            raise ConfigurationError(
                f"the key of table {name} goes through itself ({circle}), so it never ends; declare {hint}"
            )
        for part in keys[current].key if current in keys else ():
            if part.reference is not None:
                visit(part.reference.parent, (*path, current))

    visit(name, ())


def reference_column(index: int) -> str:
    """Name the column that holds the handle of a load's reference."""
    return f"_seedlab_ref{index}"


def alternative_column(label: str) -> str:
    """Name the column that holds a row's handle by another key than its natural one."""
    return f"{ALTERNATIVE}{label}"


def add_handles(frame: pl.DataFrame, load: Load, naming: Naming) -> pl.DataFrame:
    """Add HANDLE, DIGEST, the handle of every reference, and those of the table's alternative keys in use."""
    return add_all_handles([frame], [load], naming)[0]


def add_all_handles(
    frames: Sequence[pl.DataFrame], loads: Sequence[Load], naming: Naming
) -> list[pl.DataFrame]:
    """Add the handles of each load to its frame."""
    columns = [_handles(frame, load, naming) for frame, load in zip(frames, loads, strict=True)]
    return all_extended(frames, columns)


def _handles(frame: pl.DataFrame, load: Load, naming: Naming) -> list[pl.Expr]:
    sources = tuple(sorted(name for name in frame.columns if name not in RESERVED))
    own = _whole(load.table, sources) if load.whole else naming.handle(load.table, load.key)
    columns = [own.alias(HANDLE), _digest(sources)]
    for index, reference in enumerate(load.references):
        columns.append(naming.handle(reference.parent, reference.parts).alias(reference_column(index)))
    for label, parts in naming.alternatives.get(load.table, {}).items():
        mine = restate(load, parts)
        if mine is not None:
            columns.append(naming.handle(load.table, mine).alias(alternative_column(label)))
    return columns


def digests(frame: pl.DataFrame) -> pl.Series:
    """Hash all that the files say of each row, as `add_handles` does."""
    sources = tuple(sorted(name for name in frame.columns if name not in RESERVED))
    return frame.select(_digest(sources)).to_series()


def restate(load: Load, parts: Sequence[Part]) -> tuple[Part, ...] | None:
    """Say a key of a load's table in the load's own source columns; None when the files lack a part."""
    given = {reference.foreign_key.columns: reference for reference in load.references}
    mine: list[Part] = []
    for part in parts:
        if part.reference is not None:
            own = given.get(part.columns)
            if own is None or signature(own.parts) != signature(part.reference.parts):
                return None
            mine.append(Part(columns=part.columns, reference=own))
        else:
            source = load.source_of(part.columns[0])
            if source is None:
                return None
            mine.append(Part(columns=part.columns, source=source))
    return tuple(mine)


def numbered(frame: pl.DataFrame, load: Load) -> pl.DataFrame:
    """Tell equal rows of a table without a key apart by their number."""
    if not load.whole:
        return frame
    return frame.with_columns(pl.col(HANDLE) ^ pl.int_range(pl.len(), dtype=pl.UInt128).over(HANDLE))


@lru_cache(maxsize=4096)
def _whole(table: str, sources: tuple[str, ...]) -> pl.Expr:
    """Hash all that a file says of a row; as there, NULL is told from every text."""
    told = [pl.col(name).fill_null("\0-") for name in sources]
    return _uuid8(plh.concat_str(pl.lit(f"{table}\0"), *told, separator="\0,"))


@lru_cache(maxsize=4096)
def _hash(label: str, chain: tuple[tuple[str, Column], ...], ids: str) -> pl.Expr:
    """Hash a key chain. Kept: the expression takes longer to make than to evaluate on a small table."""
    parts = [_prefixed(column, source) for source, column in chain]
    text = plh.concat_str([pl.lit(f"{len(label.encode())}:{label}"), *parts])
    return _uuid5(text) if ids == "uuid5" else _uuid8(text)


def handle_of(label: str, texts: Sequence[str], ids: str) -> pl.Expr:
    """Hash a key chain that columns hold in its canonical text."""
    parts = [_counted(pl.col(name)) for name in texts]
    text = plh.concat_str([pl.lit(f"{len(label.encode())}:{label}"), *parts])
    return _uuid5(text) if ids == "uuid5" else _uuid8(text)


@lru_cache(maxsize=4096)
def _digest(sources: tuple[str, ...]) -> pl.Expr:
    """Hash all that a file says of a row, whatever the order of its columns.

    No text of a file holds NUL, so one of it with a comma is a boundary, and with a hyphen NULL.
    """
    told = [pl.col(name).fill_null("\0-") for name in sources]
    digest: pl.Expr = plh.concat_str(told, separator="\0,").nchash.xxh3_64().alias(DIGEST)
    return digest


@lru_cache(maxsize=4096)
def _prefixed(column: Column, source: str) -> pl.Expr:
    return _counted(canonical(column, pl.col(source)))


def _counted(text: pl.Expr) -> pl.Expr:
    """Put the length of a text before it."""
    return plh.concat_str([text.str.len_bytes().cast(pl.String), _COLON, text])


def _uuid8(text: pl.Expr) -> pl.Expr:
    hashed = text.nchash.xxh3_128()  # type: ignore[attr-defined]
    uuid: pl.Expr = (hashed & _FREE) | _VERSION_8
    return uuid


def _uuid5(text: pl.Expr) -> pl.Expr:
    """RFC 9562 section 5.5: the first 128 bits of SHA-1 over namespace and name, then version and variant."""
    named = plh.concat_str([pl.lit(UUID5_NAMESPACE.decode()), text])
    digits = named.nchash.sha1().str.slice(0, 32)
    number = digits.str.to_integer(base=16, dtype=pl.UInt128)
    uuid: pl.Expr = (number & _FREE) | _VERSION_5
    return uuid
