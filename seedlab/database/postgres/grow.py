"""Merge many new rows into a PostgreSQL table that has rows, without its foreign keys and indexes.

The table's foreign keys, and indexes that nothing else needs, are dropped before the merge, created again
after it and validated over old and new rows, in the same transaction. Other tables stay as they are. Where
that is impossible, or fails, the merge is repeated with everything in place: slower, with the same result and
the same faults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.database.postgres import rebuilding
from seedlab.database.postgres import statements as sql
from seedlab.database.postgres.direct import FINAL, add_keys, choose, drop_keys, forbidden, locked_with
from seedlab.database.postgres.rebuilding import Facts, Keys
from seedlab.database.postgres.wire import Results, Wire, translated
from seedlab.errors import DataFaults, WriteError
from seedlab.flow import ForeignKey, Load, Table, TableWrite, WritePlan, Written

# It pays from this many new rows on, and from this share of the existing rows (docs/performance.md).
NEW_ROWS = 50_000
SHARE = 0.2
SAMPLE_ROWS = 1_000  # rows by which the share of new rows is estimated

Staged = Mapping[Load, Identifier]


def may_grow(write: TableWrite, plan: WritePlan, switches: frozenset[str]) -> bool:
    """Tell whether the plan allows to drop a table's keys and indexes.

    An index that is built after rows were updated may not be usable until the commit (broken HOT chains). So
    the plan must not write to the table again, nor delete rows for which the table is searched.
    """
    if "rebuild" not in switches or write.rows < NEW_ROWS:
        return False
    table = write.table
    others = [other for other in plan.writes if other is not write]
    return (
        table.name in plan.ours
        and table.name not in plan.empty
        and table.rebuildable
        and not any(load.whole for load in write.loads)
        and not any(other.table.name == table.name for other in others)
        and not any(load.mode == "sync" for other in (write, *others) for load in other.loads)
        and _parents(write, plan) is not None
    )


def _parents(write: TableWrite, plan: WritePlan) -> list[Table] | None:
    """Return the tables referred to, or None if a foreign key must stay, whose checks are most of the work.

    A foreign key to the table itself must stay if the referenced columns are updated: it may have actions.
    """
    table = write.table
    changed = {name for load in write.loads for name in sql.compared(load, table)}
    parents: dict[str, Table] = {}
    for key in _checked(table):
        parent = locked_with(key, plan)
        if parent is None:
            return None
        if parent.name == table.name and changed.intersection(key.parent_columns):
            return None
        parents[parent.name] = parent
    return list(parents.values())


def _checked(table: Table) -> list[ForeignKey]:
    """Return the foreign keys that the server checks row by row."""
    return [key for key in table.foreign_keys if key.enforced]


# ---- around the merge -----------------------------------------------------------------------------------


def merge_without_indexes(
    wire: Wire, plan: WritePlan, write: TableWrite, staged: Staged, merge: Callable[[], list[Written]]
) -> list[Written]:
    """Call `merge`, without keys and indexes if enough rows are new. The rows are `staged` and analyzed.

    Raises what `merge` raises with everything in place.
    """
    if not _grows(wire, write, staged):
        return merge()
    try:
        dropped = _drop_keys_and_indexes(wire, write.table, _parents(write, plan) or [])
        if dropped is None:
            return _roll_back_and_merge(wire, merge)
        written = merge()
        _create_again(wire, write.table, *dropped)
    except DataFaults:
        return _roll_back_and_merge(wire, merge)
    except WriteError as failed:
        if not failed.sqlstate or failed.sqlstate[:2] in FINAL:
            raise
        why = getattr(failed.__cause__, "diag", None)
        wire.recorder.note(
            f"indexes and foreign keys of {write.table.name} stay on during the load "
            f"({why.message_primary if why else failed}): slower, same result"
        )
        return _roll_back_and_merge(wire, merge)
    return written


def _roll_back_and_merge(wire: Wire, merge: Callable[[], list[Written]]) -> list[Written]:
    """Roll back to before anything was dropped, which also releases the locks, and merge."""
    wire.script([SQL("ROLLBACK TO SAVEPOINT growing")])
    return merge()


def _grows(wire: Wire, write: TableWrite, staged: Staged) -> bool:
    """Tell whether enough rows are new: count existing rows (up to a limit), and look a sample up."""
    part = min(1.0, SAMPLE_ROWS / write.rows)
    most = math.floor(write.rows / SHARE) + 1  # with more existing rows the share is too small anyway
    answer = _run(wire, write.table, [_question(write, staged, part, most)])[0]
    existing, new = (int(answer.get_value(0, n) or 0) for n in range(2))
    return max(NEW_ROWS, SHARE * existing) <= new / part


def _question(write: TableWrite, staged: Staged, part: float, most: int) -> Composed:
    target = sql.stored(write.table)
    news = [
        SQL(
            "(SELECT count(*) FROM {} s TABLESAMPLE BERNOULLI ({}) REPEATABLE (1) "
            "WHERE NOT EXISTS (SELECT FROM {} t WHERE {}))"
        ).format(
            relation,
            Literal(100 * part),
            target,
            sql.equal_keys(write.table, load.key_columns, load.null_key_columns),
        )
        for load, relation in staged.items()
    ]
    return SQL("SELECT (SELECT count(*) FROM (SELECT FROM {} LIMIT {}) q), {}").format(
        target, Literal(most), SQL(" + ").join(news)
    )


def _drop_keys_and_indexes(
    wire: Wire, table: Table, parents: Sequence[Table]
) -> tuple[Facts, list[Composable]] | None:
    """Lock the tables and drop keys and indexes; return how to create them again, or None without any."""
    locked = {each.name: each for each in (table, *parents)}
    lock = sql.lock_exclusively(list(locked.values()))
    results = _run(wire, table, [SQL("SAVEPOINT growing"), lock, rebuilding.ask_facts([table])])
    facts = rebuilding.read_facts(results[2].get_value(0, 0))
    keys: Keys = {table.name: (table, _checked(table))} if parents else {}
    why = forbidden(facts) or (facts.update_trigger and f"trigger {facts.update_trigger} may need them")
    if why:
        wire.recorder.note(f"indexes of {table.name} stay on during the load ({why}): slower, same result")
        return None
    indexes = choose(wire, facts, [table], keys).get((table.schema, table.relation), [])
    if not (keys or indexes):
        return None
    _run(wire, table, [*drop_keys(keys), *rebuilding.drop_indexes(indexes), *rebuilding.settings()])
    return facts, [*rebuilding.create_indexes(indexes), *add_keys(keys)]


def _create_again(wire: Wire, table: Table, facts: Facts, on: Sequence[Composable]) -> None:
    """Create everything again, and check that it is as it was."""
    with wire.recorder.span("index"):
        results = _run(wire, table, [*on, rebuilding.RESET, rebuilding.ask_facts([table])])
    rebuilding.compare(facts, rebuilding.read_facts(results[-1].get_value(0, 0)))


def _run(wire: Wire, table: Table, statements: Sequence[Composable]) -> Results:
    with translated(table.name):
        return wire.script(statements)
