"""SQL that deletes rows on SQLite: small functions that build one statement each.

The keys of the rows are in temporary tables, one for each removal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seedlab.database.removals import Referral
from seedlab.database.sqlite.connection import listed
from seedlab.database.sqlite.statements import equal, main
from seedlab.flow import Table
from seedlab.flow.catalog import quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed:
    """Rows to be deleted, whose keys are in the temporary table `name`.

    In the columns `nulls`, NULL is a value of the key.
    """

    table: Table
    columns: tuple[str, ...]
    name: str
    nulls: frozenset[str] = frozenset()


def stage_keys(each: Doomed) -> str:
    """Create a temporary table for keys, with the affinities of the table's columns."""
    return (
        f"CREATE TEMPORARY TABLE {quote(each.name)} AS SELECT {listed(each.columns)} "
        f"FROM {main(each.table.name)} WHERE 0"
    )


def index_keys(each: Doomed) -> str:
    """Create an index by which a row is found among those to be deleted; IN makes one by itself."""
    index, columns = quote(f"{each.name}_keys"), listed(each.columns)
    return f"CREATE INDEX temp.{index} ON {quote(each.name)} ({columns})"


def count_doomed(doomed: Sequence[Doomed]) -> str:
    """Count the existing rows per removal; a row in several removals is counted for the first."""
    counts = []
    for n, each in enumerate(doomed):
        earlier = [other for other in doomed[:n] if other.table.name == each.table.name]
        others = f" AND {_among('t', earlier)} IS NOT TRUE" if earlier else ""
        counts.append(
            f"(SELECT count(*) FROM {main(each.table.name)} AS t WHERE {_among('t', [each])}{others})"
        )
    return f"SELECT {', '.join(counts)}"


def count_ambiguous(each: Doomed) -> str:
    """Count the keys of rows to be deleted that several rows have, which may be where the key has NULL."""
    return (
        f"SELECT count(*) FROM (SELECT 1 FROM {main(each.table.name)} AS t WHERE {_among('t', [each])} "
        f"GROUP BY {listed(each.columns, 't.')} HAVING count(*) > 1)"
    )


def count_referring(referral: Referral, parents: Sequence[Doomed], children: Sequence[Doomed]) -> str:
    """Count the remaining rows that refer to rows to be deleted."""
    return f"SELECT count(*) {_referring(referral, parents, children)}"


def example_referring(referral: Referral, parents: Sequence[Doomed], children: Sequence[Doomed]) -> str:
    """Find the first of the rows that `count_referring` counts, by its columns `known_by`."""
    key = listed(referral.known_by, "c.")
    return f"SELECT {key} {_referring(referral, parents, children)} ORDER BY {key} LIMIT 1"


def _referring(referral: Referral, parents: Sequence[Doomed], children: Sequence[Doomed]) -> str:
    refers = " AND ".join(f"p.{quote(theirs)} = c.{quote(own)}" for theirs, own in referral.pairs)
    spared = f" AND {_among('c', children)} IS NOT TRUE" if children else ""
    return (
        f"FROM {main(referral.parent.name)} AS p JOIN {main(referral.child.name)} AS c "
        f"ON {refers} WHERE {_among('p', parents)}{spared}"
    )


def delete(doomed: Sequence[Doomed], leaves: Sequence[Referral] = ()) -> str:
    """Delete rows of one table; with `leaves` only those to which no other row refers by these keys."""
    unreferred = "".join(f" AND {_referred_to(each)} IS NOT TRUE" for each in leaves)
    return f"DELETE FROM {main(doomed[0].table.name)} AS t WHERE {_among('t', doomed)}{unreferred}"


def _referred_to(referral: Referral) -> str:
    """Make the condition for rows of `t` to which another row refers; self references do not count."""
    given = [f"c.{quote(own)} IS NOT NULL" for _, own in referral.pairs]
    if referral.child.name == referral.parent.name:
        differs = " OR ".join(f"c.{quote(theirs)} <> c.{quote(own)}" for theirs, own in referral.pairs)
        given.append(f"({differs})")
    return (
        f"(({listed(referral.key.parent_columns, 't.')}) IN (SELECT {listed(referral.key.columns, 'c.')} "
        f"FROM {main(referral.child.name)} AS c WHERE {' AND '.join(given)}))"
    )


def _among(alias: str, doomed: Sequence[Doomed]) -> str:
    """Make the condition for rows to be deleted; the table is on the left, for its collation and affinity."""
    return f"({' OR '.join(_in(alias, each) for each in doomed)})"


def _in(alias: str, each: Doomed) -> str:
    if not each.nulls:
        among = f"SELECT {listed(each.columns)} FROM temp.{quote(each.name)}"
        return f"({listed(each.columns, f'{alias}.')}) IN ({among})"
    same = (equal(f"{alias}.{quote(n)}", f"d.{quote(n)}", nulls=n in each.nulls) for n in each.columns)
    return f"EXISTS (SELECT 1 FROM temp.{quote(each.name)} AS d WHERE {' AND '.join(same)})"
