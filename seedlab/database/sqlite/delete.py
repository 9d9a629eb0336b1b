"""Delete rows on SQLite, after checking that no remaining row refers to them.

Keys of the rows are put into temporary tables. Rows are counted before and after, because SQLite does not
report rows deleted by ON DELETE actions, which may come first among rows that are all to be deleted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from seedlab.database.removals import (
    Referral,
    ambiguous,
    children_first,
    find_referrals,
    refusal,
    still_referred,
)
from seedlab.database.sqlite import delete_statements as sql
from seedlab.database.sqlite.connection import CountedConnection
from seedlab.database.sqlite.delete_statements import Doomed
from seedlab.database.sqlite.encode import encode
from seedlab.database.sqlite.statements import insert
from seedlab.errors import WriteError
from seedlab.flow import Catalog, Recorder, Removal
from seedlab.flow.catalog import quote


def delete_rows(
    connection: CountedConnection, recorder: Recorder, catalog: Catalog, removals: Sequence[Removal]
) -> list[int]:
    """Delete the rows of every removal. Raises Refused or WriteError."""
    filled = {n: each for n, each in enumerate(removals) if each.frame.height}
    if not filled:
        return [0] * len(removals)
    referrals = find_referrals(catalog, {each.table.name for each in filled.values()})
    with recorder.span("merge", rows=sum(each.frame.height for each in filled.values())):
        doomed = [_stage(connection, n, each) for n, each in filled.items()]
        _refuse_referred(connection, doomed, referrals)
        before = connection.run(sql.count_doomed(doomed))[0]
        for tables in children_first((each.table.name for each in doomed), referrals):
            _delete_group(connection, tables, doomed, referrals)
        after = connection.run(sql.count_doomed(doomed))[0]
        for each in doomed:
            connection.run(f"DROP TABLE temp.{quote(each.name)}")
    deleted = dict(zip(filled, (a - b for a, b in zip(before, after, strict=True)), strict=True))
    return [deleted.get(n, 0) for n in range(len(removals))]


def _stage(connection: CountedConnection, number: int, removal: Removal) -> Doomed:
    """Put keys into a temporary table; a key with an invalid value identifies no row, and is left out."""
    doomed = Doomed(
        table=removal.table,
        columns=removal.columns,
        name=f"seedlab_delete_{number}",
        nulls=removal.nulls,
    )
    encoded = [encode(removal.table.columns[c], removal.frame[c]) for c in removal.columns]
    invalid = {place for each in encoded for place in each.unfit}
    keys = (key for n, key in enumerate(zip(*(e.values for e in encoded), strict=True)) if n not in invalid)
    connection.run(sql.stage_keys(doomed))
    connection.run_many(insert(f"temp.{quote(doomed.name)}", removal.columns), keys)
    if doomed.nulls:
        connection.run(sql.index_keys(doomed))
    return doomed


def _refuse_referred(
    connection: CountedConnection, doomed: Sequence[Doomed], referrals: Sequence[Referral]
) -> None:
    """Raise Refused if remaining rows refer to rows to be deleted, or if others have the keys of those.

    The error names all these foreign keys and tables.
    """
    reasons = [
        ambiguous(each.table, keys)
        for each in doomed
        if each.nulls and (keys := connection.run(sql.count_ambiguous(each))[0][0])
    ]
    examples = []
    for each in referrals:
        parents, children = _of(each.parent.name, doomed), _of(each.child.name, doomed)
        if rows := connection.run(sql.count_referring(each, parents, children))[0][0]:
            reasons.append(still_referred(each, rows))
            [found] = connection.run(sql.example_referring(each, parents, children))
            examples.append(each.example(found))
    if reasons:
        raise refusal(reasons, examples)


def _delete_group(
    connection: CountedConnection,
    tables: Sequence[str],
    doomed: Sequence[Doomed],
    referrals: Sequence[Referral],
) -> None:
    """Delete from one table, or from the tables of a cycle.

    In a cycle, ON DELETE actions may fail on rows that are to be deleted themselves (SET NULL in a NOT NULL
    column, CASCADE through a chain of more than a thousand rows). Then rows to which no other row refers are
    deleted first, repeatedly.
    """
    inner = [each for each in referrals if each.child.name in tables and each.parent.name in tables]
    if _try_delete(connection, tables, doomed) is None:
        return
    while inner and _delete_leaves(connection, tables, doomed, inner):
        pass
    if error := _try_delete(connection, tables, doomed):
        raise error


def _try_delete(
    connection: CountedConnection, tables: Sequence[str], doomed: Sequence[Doomed]
) -> WriteError | None:
    """Try to delete; return the error if that fails."""
    try:
        for table in tables:
            _run(connection, sql.delete(_of(table, doomed)), table)
    except WriteError as error:
        return error
    return None


def _delete_leaves(
    connection: CountedConnection,
    tables: Sequence[str],
    doomed: Sequence[Doomed],
    referrals: Sequence[Referral],
) -> int:
    """Delete rows to which no other row refers; return their number."""
    deleted = 0
    for table in tables:
        leaves = [each for each in referrals if each.parent.name == table]
        _run(connection, sql.delete(_of(table, doomed), leaves), table)
        deleted += connection.run("SELECT changes()")[0][0]
    return deleted


def _run(connection: CountedConnection, statement: str, table: str) -> None:
    """Run a delete; an error, for example of a trigger, names the table."""
    try:
        connection.run(statement)
    except sqlite3.IntegrityError as error:
        message = f"deleting from table {table}: {error}"
        raise WriteError(message, table=table, sqlstate=error.sqlite_errorname) from error


def _of(table: str, doomed: Sequence[Doomed]) -> list[Doomed]:
    return [each for each in doomed if each.table.name == table]
