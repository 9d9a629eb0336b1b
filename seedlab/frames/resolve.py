"""Resolve keys and references to handles: 128-bit hashes that identify rows.

A row's handle is the xxh3 hash of its table and its natural key, followed through references down to scalars
(the key chain), in canonical text with length prefixes. A reference is the handle of the parent's row. Both
are computed from the row's *own* dotted columns, so there are no joins and no order of resolution, and long
chains, self references and cycles cost nothing extra. With the version and variant bits set, a handle is a
uuid8 (RFC 9562), and the id of a new row.

A handle frame has the source columns of its load plus FILE, ROW, HANDLE, DIGEST, and one UInt128 column per
reference (`reference_column`) and per alternative key (`alternative_column`), NULL where a part is NULL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import polars as pl
import polars_hash as plh

from seedlab.errors import ConfigurationError
from seedlab.flow import DIGEST, HANDLE, RESERVED, Catalog, Column, Load, Part, Table, null_sources
from seedlab.frames.batcher import all_extended
from seedlab.frames.kinds import canonical

# A uuid has 122 bits of the hash, and fixed version and variant bits. These are kept as expressions, because
# creating a 128-bit literal takes 50 µs.
_HASH_BITS = pl.lit(~(0xF << 76 | 0x3 << 62) & (1 << 128) - 1, dtype=pl.UInt128)
_VERSION_8 = pl.lit(0x8 << 76 | 0x2 << 62, dtype=pl.UInt128)
_VERSION_5 = pl.lit(0x5 << 76 | 0x2 << 62, dtype=pl.UInt128)
_COLON = pl.lit(":")
# The namespace of uuid5 ids: 16 ASCII bytes, so that namespace and name can be hashed as one text.
UUID5_NAMESPACE = b"seedlab.uuid5.id"

ALTERNATIVE = "_seedlab_alt:"  # prefix of the columns with handles by an alternative key

Signature = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Handled:
    """A load's rows with their handles."""

    load: Load
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """The keys from which handles are computed in this run.

    `natural` has each table's natural key. `alternatives` maps a table to the other unique keys, by label, by
    which some reference identifies its rows.
    """

    catalog: Catalog
    ids: str
    natural: Mapping[str, Signature]
    alternatives: Mapping[str, Mapping[str, tuple[Part, ...]]] = field(default_factory=dict)

    def label(self, table: str, parts: Sequence[Part]) -> str:
        """Name a key: `table` for its natural key, `table|columns` for an alternative one."""
        return table if self.natural.get(table) == signature(parts) else f"{table}|{_spelled(parts)}"

    def handle(self, table: str, parts: Sequence[Part], *, referring: bool = False) -> pl.Expr:
        """Hash the key chain of `parts`; NULL when any part is NULL in which NULL is no value of the key.

        When all parts are NULL, a row that is `referring` by this key has no parent.
        """
        nulls, chain = null_sources(parts), tuple(leaves(self.catalog, table, parts))
        own = _hash(self.label(table, parts), chain, self.ids, nulls)
        if not referring or not nulls.issuperset(source for source, _ in chain):
            return own
        return pl.when(pl.any_horizontal(pl.col(source).is_not_null() for source in nulls)).then(own)


def signature(parts: Sequence[Part]) -> Signature:
    """Describe a key by its columns and the keys of its references; equal for interchangeable keys."""
    return tuple(
        (part.columns, signature(part.reference.parts) if part.reference is not None else None)
        for part in parts
    )


def _spelled(parts: Sequence[Part]) -> str:
    """Spell a key as `code,course_id(slug)`; a parent identified by another key makes another key."""
    return ",".join(
        ",".join(part.columns) + (f"({_spelled(part.reference.parts)})" if part.reference else "")
        for part in parts
    )


def leaves(catalog: Catalog, table: str, parts: Sequence[Part]) -> Iterator[tuple[str, Column]]:
    """Yield the source columns of a key chain in key order, each with the table column it fills."""
    for part in parts:
        if part.reference is not None:
            yield from leaves(catalog, part.reference.parent, part.reference.parts)
        elif part.source is not None:
            yield part.source, catalog.tables[table].columns[part.columns[0]]


def name_rows(catalog: Catalog, loads: Sequence[Load], ids: str) -> Naming:
    """Determine by which keys rows get handles: the natural key of each table, and alternative keys in use.

    Raises ConfigurationError for a key that contains itself, and for loads of one table with different keys.
    """
    natural: dict[str, Signature] = {}
    for load in loads:
        _refuse_endless(load.table, catalog.tables[load.table], loads)
        key = signature(load.key)
        if natural.setdefault(load.table, key) != key:
            raise ConfigurationError(
                f"the seeds of table {load.table} spell its key by different columns; "
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
    """Raise ConfigurationError when a table's key refers, directly or not, to that same key."""
    keys = {load.table: load for load in loads}

    def visit(current: str, path: tuple[str, ...]) -> None:
        if current in path:
            circle = " → ".join((*path[path.index(current) :], current))
            scalar = next((k.columns for k in table.keys if len(k.columns) == 1 and not k.primary), None)
            hint = f"key = ['{scalar[0]}']" if scalar else "a scalar key such as a code or slug"
            raise ConfigurationError(
                f"the key of table {name} contains a reference back to the table itself ({circle}); "
                f"declare {hint}"
            )
        for part in keys[current].key if current in keys else ():
            if part.reference is not None:
                visit(part.reference.parent, (*path, current))

    visit(name, ())


def reference_column(index: int) -> str:
    """Name the column with the handles of a load's reference."""
    return f"_seedlab_ref{index}"


def alternative_column(label: str) -> str:
    """Name the column with the rows' handles by an alternative key."""
    return f"{ALTERNATIVE}{label}"


def add_handles(frame: pl.DataFrame, load: Load, naming: Naming) -> pl.DataFrame:
    """Add HANDLE, DIGEST, the handle of every reference, and those of the table's alternative keys in use."""
    return add_all_handles([frame], [load], naming)[0]


def add_all_handles(
    frames: Sequence[pl.DataFrame], loads: Sequence[Load], naming: Naming
) -> list[pl.DataFrame]:
    """Add the handles of each load to its frame, as `add_handles` does."""
    columns = [_handles(frame, load, naming) for frame, load in zip(frames, loads, strict=True)]
    return all_extended(frames, columns)


def _handles(frame: pl.DataFrame, load: Load, naming: Naming) -> list[pl.Expr]:
    sources = tuple(sorted(name for name in frame.columns if name not in RESERVED))
    own = _whole(load.table, sources) if load.whole else naming.handle(load.table, load.key)
    columns = [own.alias(HANDLE), _digest(sources)]
    for index, reference in enumerate(load.references):
        parent = naming.handle(reference.parent, reference.parts, referring=True)
        columns.append(parent.alias(reference_column(index)))
    for label, parts in naming.alternatives.get(load.table, {}).items():
        own_parts = restate(load, parts)
        if own_parts is not None:
            columns.append(naming.handle(load.table, own_parts).alias(alternative_column(label)))
    return columns


def digests(frame: pl.DataFrame) -> pl.Series:
    """Compute DIGEST as `add_handles` does: a hash of all source columns of each row."""
    sources = tuple(sorted(name for name in frame.columns if name not in RESERVED))
    return frame.select(_digest(sources)).to_series()


def restate(load: Load, parts: Sequence[Part]) -> tuple[Part, ...] | None:
    """Express a key of a load's table in the load's own source columns; None when the files lack a part."""
    references = {reference.foreign_key.columns: reference for reference in load.references}
    restated: list[Part] = []
    for part in parts:
        if part.reference is not None:
            own = references.get(part.columns)
            if own is None or signature(own.parts) != signature(part.reference.parts):
                return None
            restated.append(Part(columns=part.columns, reference=own))
        else:
            source = load.source_of(part.columns[0])
            if source is None:
                return None
            restated.append(Part(columns=part.columns, source=source))
    return tuple(restated)


def numbered(frame: pl.DataFrame, load: Load) -> pl.DataFrame:
    """Make the handles of equal rows distinct by numbering them, for a table without a key."""
    if not load.whole:
        return frame
    return frame.with_columns(pl.col(HANDLE) ^ pl.int_range(pl.len(), dtype=pl.UInt128).over(HANDLE))


@lru_cache(maxsize=4096)
def _whole(table: str, sources: tuple[str, ...]) -> pl.Expr:
    """Hash all source columns of a row, as `_digest` does, to the handle of a row without a key."""
    values = [pl.col(name).fill_null("\0-") for name in sources]
    return _uuid8(plh.concat_str(pl.lit(f"{table}\0"), *values, separator="\0,"))


@lru_cache(maxsize=4096)
def _hash(
    label: str, chain: tuple[tuple[str, Column], ...], ids: str, nulls: frozenset[str] = frozenset()
) -> pl.Expr:
    """Hash a key chain. Cached: making the expression takes longer than evaluating it on a small table."""
    texts = [canonical(column, pl.col(source)) for source, column in chain]
    return _of_texts(label, texts, ids, [source in nulls for source, _ in chain])


def handle_of(label: str, texts: Sequence[str], ids: str) -> pl.Expr:
    """Hash a key chain whose canonical text is in the columns `texts`."""
    return _of_texts(label, [pl.col(name) for name in texts], ids, [False] * len(texts))


def _of_texts(label: str, texts: Sequence[pl.Expr], ids: str, nulls: Sequence[bool]) -> pl.Expr:
    """Hash a label and texts, each prefixed with its length in bytes; in some, a NULL is hashed as `-`.

    All of it is one concatenation, since nested ones take longer. `pl.format` panics where a
    column's first chunk is empty.
    """
    head = pl.lit(f"{len(label.encode())}:{label}")
    prefixed: list[pl.Expr] = []
    for text, optional in zip(texts, nulls, strict=True):
        own = [text.str.len_bytes().cast(pl.String), _COLON, text]
        prefixed += [pl.coalesce(pl.concat_str(own), pl.lit("-"))] if optional else own
    whole = plh.concat_str([head, *prefixed])
    return _uuid5(whole) if ids == "uuid5" else _uuid8(whole)


@lru_cache(maxsize=4096)
def _digest(sources: tuple[str, ...]) -> pl.Expr:
    """Hash all source columns of a row, independently of their order in the file.

    Text from a file never contains a NUL character, so NUL and comma can separate values, and NUL and hyphen
    stand for NULL.
    """
    values = [pl.col(name).fill_null("\0-") for name in sources]
    digest: pl.Expr = plh.concat_str(values, separator="\0,").nchash.xxh3_64().alias(DIGEST)
    return digest


def _uuid8(text: pl.Expr) -> pl.Expr:
    hashed = text.nchash.xxh3_128()  # type: ignore[attr-defined]
    uuid: pl.Expr = (hashed & _HASH_BITS) | _VERSION_8
    return uuid


def _uuid5(text: pl.Expr) -> pl.Expr:
    """RFC 9562 section 5.5: the first 128 bits of SHA-1 over namespace and name, then version and variant."""
    named = plh.concat_str([pl.lit(UUID5_NAMESPACE.decode()), text])
    digits = named.nchash.sha1().str.slice(0, 32)
    number = digits.str.to_integer(base=16, dtype=pl.UInt128)
    uuid: pl.Expr = (number & _HASH_BITS) | _VERSION_5
    return uuid
