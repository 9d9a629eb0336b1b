"""Group loads into batches that are written together, and order the batches.

Loads of one table with the same columns form one batch, sent as one statement. Entities come before links
(rows of many-to-many tables), so that both ends of a link exist; critical batches come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seedlab.flow import PRIORITIES, Load, Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Relationships:
    """A batch: loads of one table with the same columns, which are written together."""

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
    """Order batches, parents first; each tuple has batches that must be written together.

    `groups` are the tables in foreign-key order, those of a cycle together. Link tables that no other table
    refers to (that are not in `needed`) come last, in order of priority.
    """
    by_table: dict[str, list[Relationships]] = {}
    for batch in batches:
        by_table.setdefault(batch.table, []).append(batch)
    entities: list[tuple[Relationships, ...]] = []
    links: list[tuple[Relationships, ...]] = []
    for tables in groups:
        group = [batch for table in tables for batch in by_table.get(table, ())]
        if len(tables) == 1 and tables[0] not in needed and group and group[0].link:
            links += [(batch,) for batch in group]
        elif len(tables) == 1:
            entities += [(batch,) for batch in sorted(group, key=_urgency)]
        elif group:
            entities.append(tuple(sorted(group, key=_urgency)))
    return entities + sorted(links, key=lambda group: _urgency(group[0]))


def _urgency(batch: Relationships) -> int:
    return PRIORITIES.index(batch.priority)
