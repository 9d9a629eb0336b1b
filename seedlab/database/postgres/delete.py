"""Delete rows on PostgreSQL, after checking that no remaining row refers to them.

The rows are sent as text arrays, or through temporary tables if there are many. Each table, or cycle of
tables, is one statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
from psycopg.sql import SQL, Composable

from seedlab.database.postgres import delete_statements as sql
from seedlab.database.postgres import encode
from seedlab.database.postgres.delete_statements import Doomed
from seedlab.database.postgres.failures import write_failed
from seedlab.database.postgres.statements import copy_in
from seedlab.database.postgres.wire import Question, Results, StatementError, Wire, translated
from seedlab.database.removals import (
    Referral,
    ambiguous,
    children_first,
    find_referrals,
    refusal,
    still_referred,
)
from seedlab.errors import SeedError
from seedlab.flow import Catalog, Removal

# Up to this many rows arrays are used, which need no DDL and no further round trip. Above it, temporary
# tables bound the client's memory.
ARRAY_ROWS = 20_000
_NO_TEMPORARY_TABLE = "42501"


def delete_rows(wire: Wire, catalog: Catalog, removals: Sequence[Removal], *, lock: bool) -> list[int]:
    """Delete the rows of every removal; return the number deleted per removal.

    `lock` locks the rows first, which READ COMMITTED needs, where each statement sees new commits. Raises
    Refused, and DataFaults or WriteError as writing does.
    """
    filled = {n: each for n, each in enumerate(removals) if each.frame.height}
    if not filled:
        return [0] * len(removals)
    referrals = find_referrals(catalog, {each.table.name for each in filled.values()})
    with wire.recorder.span("merge", rows=sum(each.frame.height for each in filled.values())):
        doomed = dict(zip(filled, _send_rows(wire, list(filled.values())), strict=True))
        _refuse_referred(wire, list(doomed.values()), referrals, lock=lock)
        deleted = _delete(wire, doomed, referrals)
    return [deleted.get(n, 0) for n in range(len(removals))]


# ---- sending the rows -----------------------------------------------------------------------------------


def _send_rows(wire: Wire, removals: Sequence[Removal]) -> list[Doomed]:
    """Copy very many rows into temporary tables, if that is possible; fewer are sent with each statement."""
    frames = [each.frame for each in removals]
    size = sum(int(frame.estimated_size()) for frame in frames)
    if sum(frame.height for frame in frames) > ARRAY_ROWS or size > encode.ARRAY_BYTES:
        try:
            return _stage(wire, removals)
        except StatementError as failed:
            if failed.error.sqlstate != _NO_TEMPORARY_TABLE:
                raise write_failed(failed.error) from failed.error
            wire.recorder.note(
                f"no temporary table is used ({failed.error.diag.message_primary}): same result"
            )
            wire.script([SQL("ROLLBACK TO SAVEPOINT deleting")])
    return [
        Doomed(
            table=each.table,
            columns=each.columns,
            nulls=each.nulls,
            arrays=encode.frame_literals(each.frame, each.columns),
        )
        for each in removals
    ]


def _stage(wire: Wire, removals: Sequence[Removal]) -> list[Doomed]:
    """Copy the rows into temporary tables, and analyze these for the planner."""
    doomed = [
        Doomed(table=each.table, columns=each.columns, nulls=each.nulls, staged=f"_seedlab_delete_{n}")
        for n, each in enumerate(removals)
    ]
    statements: list[Composable] = [SQL("SAVEPOINT deleting")]
    for each in doomed:
        name = sql.staging_name(each)
        statements += [sql.staging_table(each), copy_in(name, each.columns), SQL("ANALYZE {}").format(name)]

    def feed(number: int, _: Results) -> Iterator[bytes]:
        each = removals[number]
        return (encode.copy_text(part, each.columns) for part in encode.slices(each.frame, ARRAY_ROWS))

    wire.script(statements, feed)
    return doomed


# ---- checking and deleting ------------------------------------------------------------------------------


def _refuse_referred(
    wire: Wire, doomed: Sequence[Doomed], referrals: Sequence[Referral], *, lock: bool
) -> None:
    """Raise Refused if remaining rows refer to rows to be deleted, or if others have the keys of those.

    The error names all these foreign keys and tables.
    """
    parents = {each.parent.name for each in referrals}
    tables = {each.table.name: each.table for each in doomed}
    locks = [_question(sql.lock(each), [each]) for each in doomed if lock and each.table.name in parents]
    nullable = [each for each in doomed if each.nulls]
    questions = [*locks, *(_question(sql.count_ambiguous(each), [each]) for each in nullable)]
    questions.append((sql.unseen_referrals(list(tables.values()), referrals), ()))
    if referrals:
        questions.append(_question(sql.count_referring(referrals, doomed), doomed))
    with translated(", ".join(tables)):
        answers = iter(wire.ask(questions)[len(locks) :])
    several = [next(answers)[0][0] for _ in nullable]
    unseen, referring = next(answers), next(answers, [])
    reasons = [_referral_reason(referrals[n], rows) for n, rows in referring]
    examples = [_example(wire, referrals[n], doomed) for n, rows in referring if rows > 0]
    reasons += [_unseen_reason(*row) for row in unseen]
    reasons += [ambiguous(each.table, keys) for each, keys in zip(nullable, several, strict=True) if keys]
    if reasons:
        raise refusal(reasons, filter(None, examples))


def _example(wire: Wire, referral: Referral, doomed: Sequence[Doomed]) -> str:
    """Name a remaining row that refers to rows to be deleted, if this user may read it."""
    try:
        [[found]] = wire.ask([_question(sql.example_referring(referral, doomed), doomed)])
    except StatementError:
        return ""
    return referral.example(found)


def _question(statement: Composable, doomed: Sequence[Doomed]) -> Question:
    return statement, [array for each in doomed for array in each.arrays]


def _referral_reason(referral: Referral, rows: int) -> str:
    if rows > 0:
        return still_referred(referral, rows)
    return (
        f"row-level security may hide rows of table {referral.child.name} that refer to rows of table "
        f"{referral.parent.name} that would be deleted (foreign key {referral.key.name}): delete as its owner"
    )


def _unseen_reason(child: str, foreign_key: str, parent: str) -> str:
    return (
        f"foreign key {foreign_key} of table {child}, whose rows this user may not read, refers to table "
        f"{parent}, and its ON DELETE would change them"
    )


def _delete(wire: Wire, doomed: dict[int, Doomed], referrals: Sequence[Referral]) -> dict[int, int]:
    """Delete group by group in one pipeline; return the number of deleted rows per removal."""
    tables = children_first((each.table.name for each in doomed.values()), referrals)
    groups = [[n for n, each in doomed.items() if each.table.name in group] for group in tables]
    questions = []
    for group in groups:
        rows = [doomed[n] for n in group]
        questions.append(_question(sql.delete(rows), rows))
    staged = [SQL("DROP TABLE {}").format(sql.staging_name(each)) for each in doomed.values() if each.staged]
    try:
        answers = wire.ask([*questions, *((each, ()) for each in staged)])
    except StatementError as failed:
        raise _refusal_of(failed.error, ", ".join(tables[failed.index])) from failed.error
    deleted: dict[int, int] = {}
    for group, answer in zip(groups, answers, strict=False):
        deleted |= zip(group, answer[0], strict=True)
    return deleted


def _refusal_of(error: psycopg.Error, tables: str) -> SeedError:
    """Turn an error of the delete into ours; a foreign key fails now only if its rows were hidden before."""
    if error.sqlstate != "23503":
        return write_failed(error, tables)
    about = f"foreign key {error.diag.constraint_name} of table {error.diag.table_name}"
    return refusal([f"{about} still has rows that refer to rows of table {tables} that would be deleted"])
