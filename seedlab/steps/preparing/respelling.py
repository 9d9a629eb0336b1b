"""Has the target spell the values of keys, where only the target knows which texts are one value.

Rows find each other by the text of their keys. Which texts of integers, dates and the like are equal is known
to `frames.kinds.canonical`. For networks, ranges, arrays and composite types the target is asked, and for
texts of citext and of collations. Some values are equal although the target spells them differently, such as
`1 day` and `24:00:00`. They stay as they are, and a column beside theirs, NAME, has a text that they share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from seedlab.flow import NAME, Catalog, Column, Load, Part, Table
from seedlab.frames.kinds import asks_for_names, canonical, is_built_in, name_known
from seedlab.frames.resolve import leaves
from seedlab.steps.looking import Look
from seedlab.steps.preparing.shaping import Shaped

Pairs = Sequence[tuple[Load, Shaped]]
Spellings = Mapping[str, pl.DataFrame]  # by source column: `value`, and how the target spells and names it


def respell(look: Look, pairs: Pairs, catalog: Catalog) -> list[tuple[Load, Shaped]]:
    """Replace the values of keys and references by the target's spelling of them, and add their names.

    Cost: one round trip if there are columns of such types, else none.
    """
    wanted = [dict(ambiguous_columns(load, catalog)) for load, _ in pairs]
    if not any(wanted) or not look.online:
        return list(pairs)
    questions = [
        (n, source, column, values)
        for n, (columns, (_, shaped)) in enumerate(zip(wanted, pairs, strict=True))
        for (source, column), values in zip(columns.items(), _values(shaped, columns), strict=True)
        if len(values)
    ]
    if not questions:
        return list(pairs)
    answers = look.session.spellings([(column, values) for _, _, column, values in questions])
    found: dict[int, dict[str, pl.DataFrame]] = {}
    for (n, source, _, _), answer in zip(questions, answers, strict=True):
        if answer.height:
            found.setdefault(n, {})[source] = answer
    return [
        (load, _replaced(shaped, found[n], wanted[n]) if n in found else shaped)
        for n, (load, shaped) in enumerate(pairs)
    ]


def ambiguous_columns(load: Load, catalog: Catalog) -> Iterator[tuple[str, Column]]:
    """List the source columns of keys and references that only the target can spell, each with its column.

    All unique keys count, since rows may be refused or referred to by any of them.
    """
    chains: list[tuple[str, tuple[Part, ...]]] = [(load.table, load.key)]
    chains += [(reference.parent, reference.parts) for reference in load.references]
    for table, parts in chains:
        for source, column in leaves(catalog, table, parts):
            if _asks_for_names(catalog.tables[table], column):
                yield source, column
    own = catalog.tables[load.table]
    for name in dict.fromkeys(name for key in own.keys for name in key.columns):
        given = load.source_of(name)
        if given is not None and _asks_for_names(own, own.columns[name]):
            yield given, own.columns[name]


def _asks_for_names(table: Table, column: Column) -> bool:
    """Tell whether the target is asked, which may not have the type yet if it has not the table."""
    return asks_for_names(column) and (table.exists or is_built_in(column))


def _values(shaped: Shaped, columns: Mapping[str, Column]) -> list[pl.Series]:
    """Collect the distinct values of each of these columns, sorted; a large file is read batch by batch."""

    def of(frame: pl.DataFrame) -> list[pl.Series]:
        asked = [(source, name_known(column, pl.col(source))) for source, column in columns.items()]
        selected = (
            frame.select(source) if k is None else frame.select(source).filter(~k) for source, k in asked
        )
        return [each.to_series().drop_nulls().unique() for each in selected]

    found = of(shaped.frame)
    for frame in shaped.stream() if shaped.stream is not None and columns else ():
        found = [pl.concat([known, values]).unique() for known, values in zip(found, of(frame), strict=True)]
    return [values.sort() for values in found]


def _replaced(shaped: Shaped, spellings: Spellings, columns: Mapping[str, Column]) -> Shaped:
    changed: list[pl.Expr] = []
    for source, each in spellings.items():
        value, spelled = pl.col(source), each["spelled"]
        changed.append(value.replace(each["value"], spelled))
        if each["name"].null_count() < each.height:
            name = value.replace(each["value"], each["name"].zip_with(each["name"].is_not_null(), spelled))
            if (known := name_known(columns[source], value)) is not None:
                name = pl.when(known).then(canonical(columns[source], value)).otherwise(name)
            changed.append(name.alias(f"{NAME}{source}"))
    return shaped.with_columns(changed)
