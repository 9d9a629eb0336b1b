"""Respells the values of keys as the target spells them, where one value has many spellings.

Rows find each other by the text of their keys. Which texts of integers, dates and the like are equal is known
to `frames.kinds.canonical`. For networks, ranges, arrays and composite types the target is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from seedlab.flow import Catalog, Column, Load, Part
from seedlab.frames.kinds import has_many_spellings
from seedlab.frames.resolve import leaves
from seedlab.steps.looking import Look
from seedlab.steps.preparing.shaping import Shaped

Pairs = Sequence[tuple[Load, Shaped]]
Spellings = Mapping[str, pl.DataFrame]  # by source column: frames of `value`, and how the target spelled it


def respell(look: Look, pairs: Pairs, catalog: Catalog) -> list[tuple[Load, Shaped]]:
    """Replace the values of keys and references by the target's spelling of them.

    Cost: one round trip if there are columns of such types, else none.
    """
    wanted = [dict(ambiguous_columns(load, catalog)) for load, _ in pairs]
    if not any(wanted) or not look.online:
        return list(pairs)
    questions = [
        (n, source, column, values)
        for n, (columns, (_, shaped)) in enumerate(zip(wanted, pairs, strict=True))
        for (source, column), values in zip(columns.items(), _values(shaped, list(columns)), strict=True)
    ]
    answers = look.session.spellings([(column, values) for _, _, column, values in questions])
    found: dict[int, dict[str, pl.DataFrame]] = {}
    for (n, source, _, _), answer in zip(questions, answers, strict=True):
        if answer.height:
            found.setdefault(n, {})[source] = answer
    return [
        (load, _replaced(shaped, found[n]) if n in found else shaped)
        for n, (load, shaped) in enumerate(pairs)
    ]


def ambiguous_columns(load: Load, catalog: Catalog) -> Iterator[tuple[str, Column]]:
    """List the source columns of keys and references whose type has many spellings, each with its column."""
    chains: list[tuple[str, tuple[Part, ...]]] = [(load.table, load.key)]
    chains += [(reference.parent, reference.parts) for reference in load.references]
    for table, parts in chains:
        if catalog.tables[table].exists:
            yield from (pair for pair in leaves(catalog, table, parts) if has_many_spellings(pair[1]))


def _values(shaped: Shaped, sources: Sequence[str]) -> list[pl.Series]:
    """Collect the distinct values of each of these columns, sorted; a large file is read batch by batch."""
    found = [shaped.frame[source].drop_nulls().unique() for source in sources]
    for frame in shaped.stream() if shaped.stream is not None and sources else ():
        found = [
            pl.concat([known, frame[source].drop_nulls()]).unique()
            for known, source in zip(found, sources, strict=True)
        ]
    return [values.sort() for values in found]


def _replaced(shaped: Shaped, spellings: Spellings) -> Shaped:
    return shaped.with_columns(
        [
            pl.col(source).replace(spelling["value"], spelling["spelled"])
            for source, spelling in spellings.items()
        ]
    )
