"""SQL that deletes rows on PostgreSQL: small functions that build one statement each.

In every statement the CTEs `s0`, `s1`, … are the rows to be deleted, one per removal, cast from text to the
columns' types. A text that a cast would change silently is left out, so it never identifies another row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.database.postgres import statements as sql
from seedlab.database.postgres.value_statements import lossy
from seedlab.database.removals import Referral
from seedlab.flow import Table


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Doomed:
    """Rows to be deleted as the server gets them: an array literal per column, or a temporary table.

    In the columns `nulls`, NULL is a value of the key.
    """

    table: Table
    columns: tuple[str, ...]
    nulls: frozenset[str] = frozenset()
    arrays: Sequence[str] = ()
    staged: str = ""


def staging_table(each: Doomed) -> Composed:
    """Create a temporary table for keys as text, dropped at the end of the transaction at the latest."""
    columns = SQL(", ").join(SQL("{} pg_catalog.text").format(Identifier(name)) for name in each.columns)
    return SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP").format(staging_name(each), columns)


def staging_name(each: Doomed) -> Identifier:
    """Name the temporary table."""
    return Identifier("pg_temp", each.staged)


def lock(each: Doomed) -> Composed:
    """Lock the rows, so that no other transaction can begin to refer to them."""
    return SQL("WITH {} SELECT count(*) FROM (SELECT 1 FROM {} t JOIN s0 s ON {} FOR UPDATE OF t) q").format(
        _sources([each]), sql.stored(each.table), _same("t", each)
    )


def count_referring(referrals: Sequence[Referral], doomed: Sequence[Doomed]) -> Composed:
    """Count, per foreign key, the remaining rows that refer to rows to be deleted.

    The result has the index of the foreign key and the count if it is not 0, or -1 where row-level security
    may hide rows that an ON DELETE action would change.
    """
    parents = {each.parent.name: each.parent for each in referrals}
    numbers = {name: n for n, name in enumerate(parents)}
    found = [_found(n, table, referrals, doomed) for n, table in enumerate(parents.values())]
    counts = [_count(n, each, numbers[each.parent.name], doomed) for n, each in enumerate(referrals)]
    return SQL("WITH {}, {} SELECT n, rows FROM ({}) q WHERE rows <> 0 ORDER BY n").format(
        _sources(doomed), SQL(", ").join(found), SQL(" UNION ALL ").join(counts)
    )


def example_referring(referral: Referral, doomed: Sequence[Doomed]) -> Composed:
    """Find the first of the rows that `count_referring` counts, by its columns `known_by`, as text."""
    columns = [SQL("{}::pg_catalog.text").format(Identifier("c", name)) for name in referral.known_by]
    places = SQL(", ").join(Literal(n) for n, _ in enumerate(columns, start=1))
    return SQL("WITH {}, {} SELECT {} {} ORDER BY {} LIMIT 1").format(
        _sources(doomed),
        _found(0, referral.parent, [referral], doomed),
        SQL(", ").join(columns),
        _referring(referral, 0, doomed),
        places,
    )


def _found(number: int, table: Table, referrals: Sequence[Referral], doomed: Sequence[Doomed]) -> Composed:
    """Make the CTE of the distinct referenced values of a table's rows to be deleted."""
    keys = [each.key for each in referrals if each.parent.name == table.name]
    columns = sorted({column for key in keys for column in key.parent_columns})
    selects = [
        SQL("SELECT DISTINCT {} FROM {} t JOIN {} s ON {}").format(
            sql.names(columns, "t"), sql.stored(table), _source(n), _same("t", each)
        )
        for n, each in _of(table, doomed)
    ]
    return SQL("{} AS ({})").format(Identifier(f"p{number}"), SQL(" UNION ").join(selects))


def _count(number: int, referral: Referral, parent: int, doomed: Sequence[Doomed]) -> Composed:
    child = referral.child
    active = SQL("pg_catalog.row_security_active({}::pg_catalog.regclass::pg_catalog.oid)")
    hidden = active.format(_regclass(child)) if child.row_security else SQL("false")
    return SQL("SELECT {n} AS n, CASE WHEN {hidden} THEN -1 ELSE count(*) END AS rows {referring}").format(
        n=Literal(number), hidden=hidden, referring=_referring(referral, parent, doomed)
    )


def _referring(referral: Referral, parent: int, doomed: Sequence[Doomed]) -> Composed:
    """Make FROM and WHERE of the remaining rows that refer to rows to be deleted, which CTE `parent` has."""
    spared = [SQL("NOT {}").format(_among("c", n, each)) for n, each in _of(referral.child, doomed)]
    return SQL("FROM {child} c JOIN {parent} p ON {refers} WHERE {spared}").format(
        child=sql.stored(referral.child),
        parent=Identifier(f"p{parent}"),
        refers=_and(
            SQL("{} = {}").format(Identifier("p", referred), Identifier("c", own))
            for referred, own in referral.pairs
        ),
        spared=_and(spared or [SQL("true")]),
    )


def count_ambiguous(each: Doomed) -> Composed:
    """Count the keys of rows to be deleted that several rows have, which may be where the key has NULL."""
    return SQL(
        "WITH {} SELECT count(*) FROM (SELECT FROM {} t JOIN s0 s ON {} GROUP BY {} HAVING count(*) > 1) q"
    ).format(_sources([each]), sql.stored(each.table), _same("t", each), sql.names(each.columns, "t"))


def unseen_referrals(tables: Sequence[Table], referrals: Sequence[Referral]) -> Composed:
    """Find foreign keys with ON DELETE actions that are not in our catalog: child, name, parent.

    They belong to tables in schemas that the user has no rights on, or to single partitions. Foreign keys
    without such actions need not be found, as the server refuses the delete.
    """
    known: list[Composable] = [
        SQL("({}::pg_catalog.regclass, {})").format(_regclass(each.child), Literal(each.key.name))
        for each in referrals
    ] or [SQL("(NULL::pg_catalog.regclass, NULL)")]
    return SQL(
        "WITH t(oid) AS (SELECT pg_catalog.unnest(ARRAY[{tables}]::pg_catalog.regclass[])) "
        "SELECT f.conrelid::pg_catalog.regclass::pg_catalog.text, f.conname::pg_catalog.text, "
        "f.confrelid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_constraint f "
        "WHERE f.contype = 'f' AND f.conparentid = 0 AND f.confdeltype IN ('c', 'n', 'd') "
        "AND f.confrelid IN (SELECT oid FROM t "
        "UNION SELECT p.relid FROM t, pg_catalog.pg_partition_tree(t.oid) p) "
        "AND NOT EXISTS (SELECT FROM (VALUES {known}) k(child, name) "
        "WHERE k.child = f.conrelid AND k.name = f.conname) ORDER BY 1, 2"
    ).format(tables=SQL(", ").join(map(_regclass, tables)), known=SQL(", ").join(known))


def delete(doomed: Sequence[Doomed]) -> Composed:
    """Delete the rows of one table, or of a cycle's tables, in one statement; return a count per removal.

    Foreign keys are checked, and ON DELETE acts, at the end of the statement, when all rows are deleted. A
    row that is in two removals is counted for the first.
    """
    deletes = [_delete(n, each, doomed) for n, each in enumerate(doomed)]
    counts = [SQL("(SELECT count(*) FROM {})").format(Identifier(f"d{n}")) for n in range(len(doomed))]
    return SQL("WITH {}, {} SELECT {}").format(
        _sources(doomed), SQL(", ").join(deletes), SQL(", ").join(counts)
    )


def _delete(number: int, each: Doomed, doomed: Sequence[Doomed]) -> Composed:
    earlier = [
        SQL(" AND NOT {}").format(_among("t", n, other)) for n, other in _of(each.table, doomed[:number])
    ]
    return SQL("{} AS (DELETE FROM {} t USING {} s WHERE {}{} RETURNING 1)").format(
        Identifier(f"d{number}"),
        sql.stored(each.table),
        _source(number),
        _same("t", each),
        SQL("").join(earlier),
    )


# ---- parts ----------------------------------------------------------------------------------------------


def _sources(doomed: Sequence[Doomed]) -> Composed:
    """Make the CTEs of all sources, numbering parameters consecutively."""
    parts: list[Composable] = []
    first = 1
    for n, each in enumerate(doomed):
        if each.staged:
            rows: Composable = sql.staging_source(each.staged, each.columns)
        else:
            rows = sql.arrays_source(each.columns, first)
            first += len(each.columns)
        parts.append(SQL("{} AS ({})").format(_source(n), _typed(each, rows)))
    return SQL(", ").join(parts)


def _typed(each: Doomed, rows: Composable) -> Composed:
    columns = [each.table.columns[name] for name in each.columns]
    return SQL("SELECT {} FROM {} WHERE {}").format(
        sql.casts(each.table, each.columns),
        rows,
        _and(SQL("({}) IS NULL").format(lossy(c, Identifier("r", c.name), 0)) for c in columns),
    )


def _source(number: int) -> Identifier:
    return Identifier(f"s{number}")


def _of(table: Table, doomed: Sequence[Doomed]) -> list[tuple[int, Doomed]]:
    """Return the removals of one table with their indexes."""
    return [(n, each) for n, each in enumerate(doomed) if each.table.name == table.name]


def _among(alias: str, number: int, each: Doomed) -> Composed:
    return SQL("EXISTS (SELECT FROM {} s WHERE {})").format(_source(number), _same(alias, each))


def _same(alias: str, each: Doomed) -> Composed:
    return sql.equal_keys(each.table, each.columns, each.nulls, (alias, "s"))


def _and(conditions: Iterable[Composable]) -> Composed:
    return SQL(" AND ").join(conditions)


def _regclass(table: Table) -> Literal:
    """Spell a table's quoted name as the text that regclass parses."""
    return Literal(sql.qualified(table).as_string(None))
