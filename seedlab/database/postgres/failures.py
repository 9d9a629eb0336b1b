"""Turn PostgreSQL's errors into our own, with table and advice, and without values of rows.

The server's message and DETAIL may quote rows, so they go into `Fault.value`, which is shown on request only.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from seedlab.errors import ConnectionFailed, DataFaults, Fault, Refused, SeedError, WriteError
from seedlab.flow import Table, Target

Values = Sequence[str | bytes | None]  # the parameters of a statement

# The server function that refuses a row without a partition; the SQLSTATE is that of a CHECK constraint.
_PARTITIONS = "ExecFindPartition"
NO_PARTITION = "no partition of the table takes the row; make one, or correct the row"
_RULES = {
    "23502": ("not-null", "a NOT NULL column would be NULL"),
    "23503": ("missing-parent", "a foreign key refers to a row that does not exist"),
    "23505": ("unique", "a unique constraint would be broken by another row"),
    "23514": ("constraint", "a CHECK constraint refused the row"),
    _PARTITIONS: ("constraint", NO_PARTITION),
    "23P01": ("exclusion", "an exclusion constraint refused the row"),
    "22P02": ("type", "a value is not of the column's type"),
    "22003": ("overflow", "a number is out of the column's range"),
    "22001": ("too-long", "a text is too long for its column"),
    "22021": ("nul", "a text holds a character the database cannot store"),
    "22P05": ("nul", "a json text holds \\u0000, which jsonb cannot store"),
}
# The server function that refuses a row by a policy; the SQLSTATE is that of any missing right.
_POLICIES = "ExecWithCheckOptions"
# The most bytes of values in one statement. The server takes 1 GB, with all that is around them.
MESSAGE_BYTES = 1_000 << 20
_HINTS = {
    "57014": "statement_timeout was reached (raise it with --statement-timeout), or somebody cancelled it",
    "55P03": "another session holds a lock on the table; try again, or raise --lock-timeout",
    "40001": "another session changed the same rows at the same time; run again",
    "40P01": "a deadlock with another session; run again",
    "53100": "the server's disk is full; nothing was written",
    "53200": "the server is out of memory; if it is that for locks, raise its max_locks_per_transaction, or "
    "write fewer tables in one transaction (--commit stage)",
    "25006": "the target is read-only (a replica?); seed the primary",
    "42501": "the user lacks the right; run `seedlab doctor`",
    _POLICIES: "row-level security does not let this user write the row: correct the row or the policy, or "
    "seed as the tables' owner or as a user with BYPASSRLS",
}


def too_large(statements: Sequence[Values]) -> tuple[int, psycopg.Error] | None:
    """Find the first of these statements' values that are too many for the server, and make the error.

    The server would end the connection without a reason.
    """
    for index, values in enumerate(statements):
        # No character has more than four bytes.
        if (
            sum(map(len, filter(None, values))) * 4 > MESSAGE_BYTES
            and (size := _bytes(values)) > MESSAGE_BYTES
        ):
            return index, psycopg.errors.ProgramLimitExceeded(
                f"the values are {size >> 20:,} MB in one statement, of which the server takes "
                f"{MESSAGE_BYTES >> 20:,}; only a seed at the level copy, with the right to create TEMPORARY "
                "tables in the database, takes more"
            )
    return None


def _bytes(values: Values) -> int:
    return sum(len(each.encode() if isinstance(each, str) else each) for each in values if each)


def connection_failed(error: psycopg.Error, target: Target) -> ConnectionFailed:
    """Make the error for a failed connection; libpq's message never contains the password."""
    reason = "; ".join(line.strip() for line in str(error).strip().splitlines())
    return ConnectionFailed(f"cannot connect to {target.shown} (from {target.origin}): {reason}")


def _elsewhere(error: psycopg.Error, into: Table) -> bool:
    """Tell whether a row of another table was refused.

    Rows of a partitioned table are its partitions'. A broken foreign key always names the referring table.
    """
    refused = (error.diag.schema_name, error.diag.table_name)
    other = None not in refused and refused != (into.schema, into.relation)
    return other and into.kind == "table" and error.sqlstate != "23503"


def write_failed(
    error: psycopg.Error,
    table: str | None = None,
    row: Fault | None = None,
    *,
    secured: bool = False,
    into: Table | None = None,
) -> SeedError:
    """Turn a failed statement into DataFaults (classes 22 and 23) or a WriteError with its SQLSTATE.

    `row` has the place of the refused row, if it is known; `secured` says that policies may hide rows. `into`
    is the only table that the statement itself writes: rows of others are written by its triggers.
    """
    name = error.diag.table_name or table
    if (error.sqlstate or "")[:2] in ("22", "23"):
        return DataFaults([_fault(error, name, row, secured=secured, into=into)])
    if error.sqlstate == "28000":
        return Refused(f"the database refused: {error.diag.message_primary}")
    return _write_error(error, name)


def _fault(
    error: psycopg.Error, table: str | None, row: Fault | None, *, secured: bool, into: Table | None
) -> Fault:
    diag = error.diag
    known = _PARTITIONS if diag.source_function == _PARTITIONS else error.sqlstate or ""
    rule, meaning = _RULES.get(known, ("constraint", "the database refused a value"))
    where = f"table {table}: " if table else ""
    column = f"column {diag.column_name}: " if diag.column_name else ""
    about = _constraint(error)
    if secured and rule == "unique":
        about += ", perhaps by one that row-level security hides"
    if into and _elsewhere(error, into):
        about += f", in a row that a trigger or cascade of table {into.name} wrote"
    return Fault(
        rule=rule,
        message=f"{where}{column}{meaning}{about}",
        table=table,
        column=diag.column_name or (row.column if row else None),
        file=row.file if row else None,
        row=row.row if row else None,
        value="; ".join(filter(None, (diag.message_primary, diag.message_detail))) or None,
    )


def _write_error(error: psycopg.Error, table: str | None) -> WriteError:
    diag = error.diag
    hint = _HINTS.get(_POLICIES if diag.source_function == _POLICIES else error.sqlstate or "")
    doing = "" if table and table.startswith("the ") else "writing "  # "the ledger" may have been read
    where = f"{doing}{table}: " if table else ""
    reason = diag.message_primary or str(error).strip() or type(error).__name__
    state = error.sqlstate or "no SQLSTATE"
    return WriteError(
        f"{where}{reason}{_constraint(error)} [{state}]{f'; {hint}' if hint else ''}",
        table=table,
        sqlstate=error.sqlstate,
    )


def _constraint(error: psycopg.Error) -> str:
    return f" ({error.diag.constraint_name})" if error.diag.constraint_name else ""
