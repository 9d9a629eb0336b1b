"""Links: rows of many-to-many tables, batched by table, critical ones first, the others side by side.

Entities come before links, so that a link's two ends are there; links of many seeds to one table make one
batch, sent as one statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seedlab.flow import PRIORITIES, Load, Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Relationships:
    """Loads that are written together: of one table, with the same columns."""

    table: str
    columns: tuple[str, ...]
    loads: tuple[Load, ...]
    link: bool

    @property
    def priority(self) -> Priority:
        """The most urgent priority among the loads."""
        return min((load.priority for load in self.loads), key=PRIORITIES.index)


def gather(loads: Sequence[Load]) -> list[Relationships]:
    """Batch loads by table and columns, in order of first appearance."""
    batches: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[Load]] = {}
    for load in loads:
        batches.setdefault((load.table, load.columns, load.defaults), []).append(load)
    return [
        Relationships(table=table, columns=columns, loads=tuple(members), link=members[0].link)
        for (table, columns, _), members in batches.items()
    ]


def order(
    groups: Sequence[tuple[str, ...]], batches: Sequence[Relationships], needed: frozenset[str]
) -> list[tuple[Relationships, ...]]:
    """Put batches into the groups of tables that are written together, parents first.

    `groups` are the tables in the order of their foreign keys; tables that nobody refers to (`needed` has
    the others) and that hold links are moved behind everything else, the critical ones before the others.
    """
    by_table: dict[str, list[Relationships]] = {}
    for batch in batches:
        by_table.setdefault(batch.table, []).append(batch)
    entities: list[tuple[Relationships, ...]] = []
    links: list[tuple[Relationships, ...]] = []
    for tables in groups:
        mine = [batch for table in tables for batch in by_table.get(table, ())]
        if len(tables) == 1 and tables[0] not in needed and mine and mine[0].link:
            links += [(batch,) for batch in mine]
        elif len(tables) == 1:
            entities += [(batch,) for batch in sorted(mine, key=_urgency)]
        elif mine:
            entities.append(tuple(sorted(mine, key=_urgency)))
    return entities + sorted(links, key=lambda group: _urgency(group[0]))


def _urgency(batch: Relationships) -> int:
    return PRIORITIES.index(batch.priority)
