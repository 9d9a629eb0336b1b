"""Make the rules by which rows are validated before anything is written; `rules` evaluates them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

import polars as pl

from seedlab.flow import (
    FILE,
    HANDLE,
    ROW,
    Catalog,
    Column,
    Load,
    Reference,
    Table,
    null_sources,
    part_sources,
)
from seedlab.frames.cache import SeedCache
from seedlab.frames.kinds import canonical, has_spelling, plain, proven, refused
from seedlab.frames.resolve import Naming, leaves, named_by, reference_column
from seedlab.frames.rules import MESSAGES, VALUE, Broken, Rule


def rules_of(
    load: Load, frame: pl.DataFrame, naming: Naming, trusted: frozenset[str], *, unique: bool = True
) -> list[Rule]:
    """Make the rules that need only the load's own rows: keys, NULLs, types, complete references.

    The `trusted` columns hold JSON text written by seedlab itself. `unique` constraints can be left out.
    """
    catalog = naming.catalog
    return [
        *_key_rules(load, frame, catalog),
        *_column_rules(load, frame, catalog, trusted),
        *_naming_rules(load, catalog),
        *_reference_rules(load, frame, catalog),
        *(unique_rules(load, frame.columns, catalog) if unique else ()),
    ]


def parent_rules(
    load: Load, naming: Naming, cache: SeedCache, hints: Mapping[str, str] = MappingProxyType({})
) -> list[Rule]:
    """Make the rules that need other tables: every reference must name a row of the files or the target."""
    rules = []
    for index, reference in enumerate(load.references):
        handle = pl.col(reference_column(index))
        label = naming.label(reference.parent, reference.parts)
        rules.append(
            Rule(
                name="missing-parent",
                column=reference.sources()[0],
                message=f"no row of table {reference.parent} matches {' and '.join(reference.sources())}"
                f"{hints.get(reference.parent, '')}",
                bad=handle.is_not_null() & ~cache.exists(label, handle),
                shown=reference.sources(),
            )
        )
    return rules


def without_invalid(
    broken: Sequence[Broken], references: Mapping[Rule, Reference], reported: Sequence[Broken]
) -> Iterator[Broken]:
    """Leave out missing parents of rows whose reference has an invalid value that is `reported` already."""
    invalid = [each for each in reported if each.rule.name in MESSAGES]
    for each in broken:
        sources = references[each.rule].sources()
        same = [b for b in invalid if b.load == each.load and b.rule.column in sources]
        places = pl.concat([each.frame.clear(), *(b.frame for b in same)]).select(FILE, ROW)
        frame = each.frame.join(places, on=[FILE, ROW], how="anti", maintain_order="left")
        if frame.height:
            yield replace(each, frame=frame)


def duplicate_rules(load: Load) -> list[Rule]:
    """Make the rule for keys that occur more than once in a load, unless `duplicates` says what to keep."""
    if load.duplicates != "error":
        return []
    key = ", ".join(load.spelled_key)
    message = f"key ({key}) of table {load.table} occurs more than once"
    bad = pl.col(HANDLE).is_not_null() & pl.col(HANDLE).is_duplicated()
    return [Rule(name="duplicate-key", column=key, message=message, bad=bad, shown=load.spelled_key)]


def other_seed_rule(load: Load, others: pl.Series) -> Rule:
    """Make the rule for keys among `others`, the handles of rows of earlier seeds of the same table."""
    key = ", ".join(load.spelled_key)
    message = f"key ({key}) of table {load.table} is also given by another seed"
    bad = pl.col(HANDLE).is_in(others.implode())
    return Rule(name="duplicate-key", column=key, message=message, bad=bad, shown=load.spelled_key)


def drop_duplicates(frame: pl.DataFrame, load: Load) -> pl.DataFrame:
    """Keep the first or the last of rows with the same key, as the seed's `duplicates` says."""
    if load.duplicates == "error":
        return frame
    return frame.unique(subset=[HANDLE], keep=load.duplicates, maintain_order=True)


def _naming_sources(load: Load) -> tuple[str, ...]:
    """Return the source columns of the key that must not be NULL; a table without a key has none."""
    nulls = null_sources(load.key)
    return () if load.whole else tuple(name for name in load.spelled_key if name not in nulls)


def _key_rules(load: Load, frame: pl.DataFrame, catalog: Catalog) -> Iterator[Rule]:
    columns = catalog.tables[load.table].columns
    parts = [part for part in load.key if any(columns[name].nullable for name in part.columns)]
    optional = {name for part in parts for name in part_sources(part)}
    for name in _naming_sources(load):
        if frame[name].null_count():
            message = (
                f"key column {name} of table {load.table} is NULL; a key column needs a value in every row"
            )
            if name in optional:
                message += f', or set nulls = "equal" for {load.table} in seedlab.toml if NULL is meant'
            yield Rule(name="null-key", column=name, message=message, bad=pl.col(name).is_null())


def _column_rules(
    load: Load, frame: pl.DataFrame, catalog: Catalog, trusted: frozenset[str]
) -> Iterator[Rule]:
    table = catalog.tables[load.table]
    in_key, named = set(_naming_sources(load)), _naming_columns(load, catalog)
    for name in load.columns:
        column = table.columns[name]
        source = load.source_of(name)
        if source is None or source not in frame.columns:
            continue
        if not column.nullable and source not in in_key and frame[source].null_count():
            message = f"column {name} of table {load.table} is NOT NULL, and the value is missing"
            yield Rule(name="not-null", column=source, message=message, bad=pl.col(source).is_null())
        if source not in trusted:
            rules = _type_rules(load.table, column, source, named=source in named)
            yield from map(_with_default_named, rules) if name in load.defaults else rules


def _with_default_named(rule: Rule) -> Rule:
    """Say in a rule's message that the value comes from the project's defaults, not from a file."""
    return replace(rule, message=f"below [defaults] in seedlab.toml: {rule.message}")


def _naming_columns(load: Load, catalog: Catalog) -> dict[str, Column]:
    """Map the source columns that identify a row, or the parent of one, to the columns they fill."""
    own = [] if load.whole else [(load.table, load.key)]
    chains = [*own, *((each.parent, each.parts) for each in load.references)]
    return {source: column for table, parts in chains for source, column in leaves(catalog, table, parts)}


def _naming_rules(load: Load, catalog: Catalog) -> Iterator[Rule]:
    """Make the rules for values that identify rows: their spelling must allow comparison as text."""
    own = {load.source_of(name) for name in load.columns}
    parents = {name: each.parent for each in load.references if each.outright for name in each.sources()}
    for source, column in _naming_columns(load, catalog).items():
        rule = _naming_rule(column, source, own=source in own)
        if rule is not None and source in parents:
            other = (
                f"{rule.message}, or name the row of {parents[source]} by another key, as in RELATION.COLUMN"
            )
            rule = replace(rule, message=other)
        if rule is not None:
            yield rule


@lru_cache(maxsize=4096)
def _naming_rule(column: Column, source: str, *, own: bool) -> Rule | None:
    value = pl.col(source)
    fits, refusal = plain(column, value), None
    if fits is None:
        return None
    if own:  # whether the column accepts the value has its own rule; here it must only be comparable
        fits, refusal = has_spelling(column, value), refused(column, value)
    odd = value.is_not_null() & ~fits
    message = f"{source} identifies a row by a value of type {column.type}; write it as the database shows it"
    alike = _naming_rule(replace(column, name=VALUE), VALUE, own=own) if source != VALUE else None
    bad = odd if refusal is None else odd & ~refusal
    return Rule(name="type", column=source, message=message, bad=bad, alike=alike)


@lru_cache(maxsize=4096)
def _type_rules(table: str, column: Column, source: str, *, named: bool) -> tuple[Rule, ...]:
    """Make the rules of one column. Cached: making expressions takes longer than using them on few rows."""
    rules = tuple(_make_type_rules(table, column, source, named=named))
    if source == VALUE:
        return rules
    alike = _type_rules("", replace(column, name=VALUE), VALUE, named=named)
    return tuple(replace(own, alike=other) for own, other in zip(rules, alike, strict=True))


def _make_type_rules(table: str, column: Column, source: str, *, named: bool) -> Iterator[Rule]:
    value = pl.col(source)
    fits, refusal = proven(column, value), refused(column, value)
    expected = f"column {column.name} of table {table} is {column.type}"
    if refusal is not None:
        need = "needs" if column.kind == "timestamptz" else "must not have"
        message = f"{expected} and {need} a UTC offset (Z or +02:00)"
        yield Rule(name="type", column=source, message=message, bad=refusal)
    if fits is not None:
        doubtful = value.is_not_null() & ~fits
        if named and plain(column, value) is not None:  # what cannot be compared is left to `_naming_rule`
            doubtful &= has_spelling(column, value)
        yield Rule(
            name="type",
            column=source,
            message=expected,
            bad=doubtful & ~refusal if refusal is not None else doubtful,
            suspect=True,
        )


def _reference_rules(load: Load, frame: pl.DataFrame, catalog: Catalog) -> Iterator[Rule]:
    table = catalog.tables[load.table]
    in_key = set(_naming_sources(load))
    for reference in load.references:
        names = reference.sources()
        if len(names) > 1 and not reference.outright:
            yield from _completeness_rules(reference.name, names, null_sources(reference.parts))
        needed = any(not table.columns[name].nullable for name in reference.foreign_key.columns)
        dotted = any(load.source_of(name) is None for name in reference.foreign_key.columns)
        if needed and dotted and not in_key.issuperset(names) and any(frame[n].null_count() for n in names):
            message = (
                f"reference '{reference.name}' of table {load.table} is empty, but foreign key "
                f"{reference.foreign_key.name} is NOT NULL"
            )
            nulls = pl.all_horizontal(pl.col(name).is_null() for name in names)
            yield Rule(name="not-null", column=names[0], message=message, bad=nulls)


@lru_cache(maxsize=4096)
def _completeness_rules(name: str, sources: tuple[str, ...], optional: frozenset[str]) -> tuple[Rule, ...]:
    """Make the rule that all columns of a reference, but for the `optional` ones, or none are given."""
    given, nulls = ", ".join(sources), [pl.col(source).is_null() for source in sources]
    needed = [source for source in sources if source not in optional]
    if not needed:
        return ()
    incomplete = pl.any_horizontal(pl.col(source).is_null() for source in needed)
    return (
        Rule(
            name="null-key",
            column=given,
            message=f"reference '{name}' is incomplete: fill all of {', '.join(needed)}, or none"
            + (f" of {given}" if optional else ""),
            bad=incomplete & ~pl.all_horizontal(nulls),
            shown=sources,
        ),
    )


def unique_rules(load: Load, columns: Collection[str], catalog: Catalog) -> Iterator[Rule]:
    """Make the rules of unique constraints other than the key, where the files give all columns.

    `columns` are those of the load's frame.
    """
    table = catalog.tables[load.table]
    for key in table.keys:
        parts = [_unique_part(load, columns, name, table) for name in key.columns]
        if set(key.columns) == set(load.key_columns) or None in parts:
            continue
        by_sources = dict(part for part in parts if part is not None)
        names, values = [name for sources in by_sources for name in sources], [*by_sources.values()]
        whole = pl.all_horizontal(value.is_not_null() for value in values)
        twice = pl.struct(values).is_duplicated() if len(values) > 1 else values[0].is_duplicated()
        if load.duplicates != "error":  # rows with the same key will become one row
            twice = pl.col(HANDLE).n_unique().over(values) > 1
        message = f"({', '.join(names)}) of table {load.table} occurs more than once ({key.name})"
        yield Rule(
            name="unique", column=", ".join(names), message=message, bad=whole & twice, shown=tuple(names)
        )


def _unique_part(
    load: Load, columns: Collection[str], name: str, table: Table
) -> tuple[tuple[str, ...], pl.Expr] | None:
    """Return the source columns that fill a column, and an expression that is equal where its values are.

    For a column of a reference the expression is the parent's handle.
    """
    if (source := load.source_of(name)) is not None:
        own, column = named_by(columns, source, table.columns[name])
        return (source,), canonical(column, pl.col(own)).alias(name)
    for index, reference in enumerate(load.references):
        if name in reference.foreign_key.columns:
            return reference.sources(), pl.col(reference_column(index))
    return None
