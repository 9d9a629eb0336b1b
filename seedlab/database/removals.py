"""The parts of a delete that all dialects share: referring tables, the order of deletes, and refusals."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from seedlab.errors import Refused
from seedlab.flow import Catalog, ForeignKey, Table

_CURE = "delete or re-point those rows first, or keep the rows in the files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Referral:
    """A foreign key by which rows of one table refer to rows of another, or of the same."""

    child: Table
    parent: Table
    key: ForeignKey

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs of a parent's column and the child's column that refers to it."""
        return tuple(zip(self.key.parent_columns, self.key.columns, strict=True))

    @property
    def known_by(self) -> tuple[str, ...]:
        """The columns by which people know the referring rows: a unique key, if possible not that of ids."""
        keys = sorted(self.child.keys, key=lambda each: (each.primary, len(each.columns), each.name))
        return keys[0].columns if keys else tuple(self.child.columns)

    def example(self, values: Iterable[object]) -> str:
        """Name a referring row by its values in the columns `known_by`."""
        pairs = zip(self.known_by, values, strict=True)
        return f"the row of table {self.child.name} with " + ", ".join(
            f"{name} {value}" for name, value in pairs
        )


def find_referrals(catalog: Catalog, parents: Collection[str]) -> list[Referral]:
    """Find all foreign keys of all tables that refer to one of these tables.

    A foreign key that SQLite cannot match with a key of the parent is left out: SQLite itself refuses any
    delete there.
    """
    return [
        Referral(child=table, parent=catalog.tables[key.parent], key=key)
        for table in catalog.tables.values()
        for key in table.foreign_keys
        if key.parent in parents and len(key.columns) == len(key.parent_columns)
    ]


def children_first(tables: Iterable[str], referrals: Sequence[Referral]) -> list[list[str]]:
    """Order tables so that referring ones come before those referred to; a cycle shares a group."""
    group = {name: frozenset({name}) for name in sorted(tables)}
    edges = [(each.child.name, each.parent.name) for each in referrals if each.child.name in group]
    while True:
        sorter = TopologicalSorter({each: set() for each in group.values()})
        for child, parent in edges:
            if group[child] != group[parent]:
                sorter.add(group[parent], group[child])
        try:
            return [sorted(each) for each in sorter.static_order()]
        except CycleError as error:
            merged = frozenset().union(*error.args[1])
            group |= dict.fromkeys(merged, merged)


def still_referred(referral: Referral, rows: int) -> str:
    """Make the reason that remaining rows refer to rows to be deleted."""
    subject = "1 row" if rows == 1 else f"{rows} rows"
    return (
        f"{subject} of table {referral.child.name} {'refers' if rows == 1 else 'refer'} to rows of table "
        f"{referral.parent.name} that would be deleted (foreign key {referral.key.name})"
    )


def ambiguous(table: Table, keys: int) -> str:
    """Make the reason that other rows have the keys of rows to be deleted, which have NULL in them."""
    subject = "the key" if keys == 1 else f"the keys of {keys} rows"
    return (
        f"table {table.name} has several rows with {subject} that would be deleted, which the database "
        "allows where NULL is in a key"
    )


def refusal(reasons: Iterable[str], examples: Iterable[str] = ()) -> Refused:
    """Make one error of all reasons against a delete; `examples` name rows that are such a reason."""
    return Refused(f"nothing was changed: {'; '.join(reasons)}; {_CURE}", examples)
