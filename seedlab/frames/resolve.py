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

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import polars as pl
import polars_hash as plh

from seedlab.errors import ConfigurationError
from seedlab.flow import (
    DIGEST,
    HANDLE,
    NAME,
    RESERVED,
    Catalog,
    Column,
    Load,
    Part,
    Table,
    null_sources,
)
from seedlab.frames.batcher import SMALL, cut, extend_all, select_all
from seedlab.frames.kinds import canonical

# A uuid has 122 bits of the hash, and fixed version and variant bits. These are kept as expressions, because
# creating a 128-bit literal takes 50 µs.
_HASH_BITS = pl.lit(~(0xF << 76 | 0x3 << 62) & (1 << 128) - 1, dtype=pl.UInt128)
_VERSION_8 = pl.lit(0x8 << 76 | 0x2 << 62, dtype=pl.UInt128)
_VERSION_5 = pl.lit(0x5 << 76 | 0x2 << 62, dtype=pl.UInt128)
_COLON = pl.lit(":")
_OR_NULL = "?"
_COLLATED = " COLLATE "
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
    keys = {load.table: load.key for load in loads}
    for load in loads:
        _refuse_endless(load.table, catalog.tables[load.table], keys)
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


def _refuse_endless(name: str, table: Table, keys: Mapping[str, tuple[Part, ...]]) -> None:
    """Raise ConfigurationError when a table's key refers, directly or not, to that same key."""

    def visit(current: str, path: tuple[str, ...]) -> None:
        if current in path:
            circle = " → ".join((*path[path.index(current) :], current))
            scalar = next((k.columns for k in table.keys if len(k.columns) == 1 and not k.primary), None)
            hint = f"key = ['{scalar[0]}']" if scalar else "a scalar key such as a code or slug"
            raise ConfigurationError(
                f"the key of table {name} contains a reference back to the table itself ({circle}); "
                f"declare {hint}"
            )
        for part in keys.get(current, ()):
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
    """Add the handles of each load to its frame, as `add_handles` does.

    Those of small frames are computed together, since their fixed cost is all of it.
    """
    hashes = [_hashes(frame, load, naming) for frame, load in zip(frames, loads, strict=True)]
    large = [n for n, frame in enumerate(frames) if frame.height >= SMALL]
    columns = [[_expression(each, naming.ids) for each in hashes[n]] for n in large]
    extended = dict(zip(large, extend_all([frames[n] for n in large], columns), strict=True))
    small = [n for n in range(len(frames)) if n not in extended]
    computed = iter(_computed([(frames[n], each) for n in small for each in hashes[n]], naming.ids))
    for n in small:
        extended[n] = frames[n].hstack([next(computed).alias(each.name) for each in hashes[n]])
    return [extended[n] for n in range(len(frames))]


class _Hash(NamedTuple):
    """A column of hashes: its name, the text before each row's texts, the columns of these, and how (`_of`).

    `how` is "whole", "digest", or "key" and the kinds of the columns that the texts fill, with the collation
    of those that have one, marked `_OR_NULL` where NULL is a value. "parent" is the same for a reference by
    such columns alone: all NULL is no parent.
    """

    name: str
    head: str
    sources: tuple[str, ...]
    how: tuple[str, ...]


def _hashes(frame: pl.DataFrame, load: Load, naming: Naming) -> list[_Hash]:
    def key(name: str, table: str, parts: Sequence[Part], *, referring: bool = False) -> _Hash:
        nulls, chain = null_sources(parts), tuple(leaves(naming.catalog, table, parts))
        how = "parent" if referring and nulls.issuperset(source for source, _ in chain) else "key"
        named = [named_by(frame.columns, source, column) for source, column in chain]
        kinds = (
            column.kind
            + (f"{_COLLATED}{column.collation}" if column.collation else "")
            + (_OR_NULL if source in nulls else "")
            for (source, _), (_, column) in zip(chain, named, strict=True)
        )
        sources = tuple(source for source, _ in named)
        return _Hash(name, _head(naming.label(table, parts)), sources, (how, *kinds))

    sources = tuple(_given(frame))
    own = key(HANDLE, load.table, load.key)
    found = [own if not load.whole else _Hash(HANDLE, f"{load.table}\0", sources, ("whole",))]
    found.append(_Hash(DIGEST, "", sources, ("digest",)))
    for index, reference in enumerate(load.references):
        found.append(key(reference_column(index), reference.parent, reference.parts, referring=True))
    for label, parts in naming.alternatives.get(load.table, {}).items():
        own_parts = restate(load, parts)
        if own_parts is not None:
            found.append(key(alternative_column(label), load.table, own_parts))
    return found


def _given(frame: pl.DataFrame) -> list[str]:
    """List the columns of a frame that the files gave, by name."""
    return sorted(name for name in frame.columns if name not in RESERVED and not name.startswith(NAME))


def named_by(columns: Collection[str], source: str, column: Column) -> tuple[str, Column]:
    """Return which of a frame's columns names the values of a source column, and what its texts fill."""
    own = f"{NAME}{source}"
    return (own, Column(name=own, type="text", kind="text")) if own in columns else (source, column)


def _expression(each: _Hash, ids: str) -> pl.Expr:
    return _of(each.how, pl.lit(each.head), list(map(pl.col, each.sources)), ids).alias(each.name)


def _computed(hashes: Sequence[tuple[pl.DataFrame, _Hash]], ids: str) -> list[pl.Series]:
    """Compute hashes of small frames: alike ones as one frame of the texts before each row, and the texts."""
    groups: dict[object, list[int]] = {}
    for n, (_, each) in enumerate(hashes):
        groups.setdefault((each.how, len(each.sources)), []).append(n)
    alike = [[hashes[n] for n in places] for places in groups.values()]
    stacks = list(map(_stack_texts, alike))
    columns = [[_of_columns(members[0][1].how, len(members[0][1].sources), ids)] for members in alike]
    results: dict[int, pl.Series] = {}
    for places, found in zip(groups.values(), select_all(stacks, columns, large=0), strict=True):
        parts = cut(found, [hashes[n][0].height for n in places])
        results |= {n: part.to_series() for n, part in zip(places, parts, strict=True)}
    return [results[n] for n in range(len(hashes))]


def _stack_texts(hashes: Sequence[tuple[pl.DataFrame, _Hash]]) -> pl.DataFrame:
    """Stack the texts of alike hashes: columns `0`, `1`, …, and `head`, the text before each row's."""
    heads = [pl.Series("head", [each.head]).new_from_index(0, frame.height) for frame, each in hashes]
    columns = [pl.concat(heads)]
    for n in range(len(hashes[0][1].sources)):
        texts = [frame.get_column(each.sources[n]) for frame, each in hashes]
        columns.append(pl.concat(texts, rechunk=True).alias(f"{n}"))
    return pl.DataFrame(columns)


def digests(frame: pl.DataFrame) -> pl.Series:
    """Compute DIGEST as `add_handles` does: a hash of all source columns of each row."""
    return frame.select(_digest(list(map(pl.col, _given(frame))))).to_series()


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


def number_equal_rows(frame: pl.DataFrame, load: Load) -> pl.DataFrame:
    """Make the handles of equal rows distinct by numbering them, for a table without a key."""
    if not load.whole:
        return frame
    return frame.with_columns(pl.col(HANDLE) ^ pl.int_range(pl.len(), dtype=pl.UInt128).over(HANDLE))


def handle_of(label: str, texts: Sequence[str], ids: str) -> pl.Expr:
    """Hash a key chain whose canonical text is in the columns `texts`."""
    return _of_texts(pl.lit(_head(label)), [pl.col(name) for name in texts], ids, [False] * len(texts))


def _head(label: str) -> str:
    return f"{len(label.encode())}:{label}"


@lru_cache(maxsize=4096)
def _of_columns(how: tuple[str, ...], texts: int, ids: str) -> pl.Expr:
    """Hash the columns `head`, `0`, `1`, …; cached, since it takes longer to make than to use."""
    return _of(how, pl.col("head"), [pl.col(f"{n}") for n in range(texts)], ids)


def _of(how: tuple[str, ...], head: pl.Expr, texts: Sequence[pl.Expr], ids: str) -> pl.Expr:
    """Hash a key chain, or all texts of a row to the handle of a row without a key, or to its digest."""
    if how == ("digest",):
        return _digest(texts)
    if how == ("whole",):
        return _uuid8(plh.concat_str(head, *(text.fill_null("\0-") for text in texts), separator="\0,"))
    kinds = (kind.removesuffix(_OR_NULL).partition(_COLLATED) for kind in how[1:])
    columns = (Column(name="", type="", kind=kind, collation=collation) for kind, _, collation in kinds)
    own = _of_texts(
        head,
        [canonical(*each) for each in zip(columns, texts, strict=True)],
        ids,
        [kind.endswith(_OR_NULL) for kind in how[1:]],
    )
    if how[0] == "key":
        return own
    return pl.when(pl.any_horizontal(text.is_not_null() for text in texts)).then(own)


def _of_texts(head: pl.Expr, texts: Sequence[pl.Expr], ids: str, nulls: Sequence[bool]) -> pl.Expr:
    """Hash a head and texts, each prefixed with its length in bytes; in some, a NULL is hashed as `-`.

    All of it is one concatenation, since nested ones take longer. `pl.format` panics where a
    column's first chunk is empty.
    """
    prefixed: list[pl.Expr] = []
    for text, optional in zip(texts, nulls, strict=True):
        own = [text.str.len_bytes().cast(pl.String), _COLON, text]
        prefixed += [pl.coalesce(pl.concat_str(own), pl.lit("-"))] if optional else own
    whole = plh.concat_str([head, *prefixed])
    return _uuid5(whole) if ids == "uuid5" else _uuid8(whole)


def _digest(texts: Sequence[pl.Expr]) -> pl.Expr:
    """Hash all texts of a row, which are in the order of their columns' names.

    Text from a file never contains a NUL character, so NUL and comma can separate values, and NUL and hyphen
    stand for NULL.
    """
    values = [text.fill_null("\0-") for text in texts]
    digest: pl.Expr = plh.concat_str(values, separator="\0,").nchash.xxh3_64()
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
