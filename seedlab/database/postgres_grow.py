"""How many new rows get into a table of PostgreSQL that has rows: keys and indexes off around their merge.

The table's foreign keys and what indexes nothing else needs come off, the rows are merged, and all of it is
made again and validated over old and new rows, in the same transaction. Other tables stay as they are. Where
that cannot be, or anything fails on the way, the merge is done with everything on: slower, the same rows, and
the same faults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.database import rebuilding
from seedlab.database import statements as sql
from seedlab.database.failures import write_failed
from seedlab.database.postgres_direct import FINAL, add_keys, choose, drop_keys, forbidden, locked_with
from seedlab.database.rebuilding import Facts, Keys
from seedlab.database.wire import Results, StatementError, Wire
from seedlab.errors import DataFaults, WriteError
from seedlab.flow import ForeignKey, Load, Table, TableWrite, WritePlan, Written

# From so many new rows on, and from such a part of the rows that are there (docs/performance.md).
NEW_ROWS = 50_000
SHARE = 0.2
SAMPLE_ROWS = 1_000  # of which it is asked whether they are there

Staged = Mapping[Load, Identifier]


def may_grow(write: TableWrite, plan: WritePlan, switches: frozenset[str]) -> bool:
    """Tell, by what the plan knows, whether everything may come off a table.

    Until the commit the server may not use an index that was made behind updated rows. So the plan must not
    come back to the table, nor delete rows that are looked for in it.
    """
    if "rebuild" not in switches or write.rows < NEW_ROWS:
        return False
    table = write.table
    others = [other for group in plan.groups for other in group if other is not write]
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
    """The tables that it refers to; None where a foreign key must stay on, whose checks are most of the work.

    One to its own table may act on rows when others change.
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
    """The foreign keys that are checked row by row."""
    return [key for key in table.foreign_keys if key.enforced]


# ---- around the merge -----------------------------------------------------------------------------------


def around(
    wire: Wire, plan: WritePlan, write: TableWrite, staged: Staged, merge: Callable[[], list[Written]]
) -> list[Written]:
    """Merge, with all off that may be if enough rows are new; the rows are `staged`, and analyzed.

    Raises what `merge` does: a fault is found by it with everything on.
    """
    if not _grows(wire, write, staged):
        return merge()
    try:
        taken = _take_off(wire, write.table, _parents(write, plan) or [])
        if taken is None:
            return _plainly(wire, merge)
        written = merge()
        _put_on(wire, write.table, *taken)
    except DataFaults:
        return _plainly(wire, merge)
    except WriteError as failed:
        if not failed.sqlstate or failed.sqlstate[:2] in FINAL:
            raise
        why = getattr(failed.__cause__, "diag", None)
        wire.recorder.note(
            f"indexes and foreign keys of {write.table.name} stay on during the load "
            f"({why.message_primary if why else failed}): slower, same result"
        )
        return _plainly(wire, merge)
    return written


def _plainly(wire: Wire, merge: Callable[[], list[Written]]) -> list[Written]:
    """Go back to before anything was taken off, which gives the locks back, and merge."""
    wire.script([SQL("ROLLBACK TO SAVEPOINT growing")])
    return merge()


def _grows(wire: Wire, write: TableWrite, staged: Staged) -> bool:
    """Ask how many rows there are, as far as that matters, and for a sample of ours whether it is there."""
    part = min(1.0, SAMPLE_ROWS / write.rows)
    most = math.floor(write.rows / SHARE) + 1  # then there are too many, whatever is new
    answer = _run(wire, write.table, [_question(write, staged, part, most)])[0]
    there, new = (int(answer.get_value(0, n) or 0) for n in range(2))
    return max(NEW_ROWS, SHARE * there) <= new / part


def _question(write: TableWrite, staged: Staged, part: float, most: int) -> Composed:
    target = sql.stored(write.table)
    news = [
        SQL(
            "(SELECT count(*) FROM {} s TABLESAMPLE BERNOULLI ({}) REPEATABLE (1) "
            "WHERE NOT EXISTS (SELECT FROM {} t WHERE {}))"
        ).format(relation, Literal(100 * part), target, sql.equal_keys(write.table, load.key_columns))
        for load, relation in staged.items()
    ]
    return SQL("SELECT (SELECT count(*) FROM (SELECT FROM {} LIMIT {}) q), {}").format(
        target, Literal(most), SQL(" + ").join(news)
    )


def _take_off(wire: Wire, table: Table, parents: Sequence[Table]) -> tuple[Facts, list[Composable]] | None:
    """Lock, ask what there is, and take it off; answers how it is put on again, None where nothing may be."""
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
    _run(wire, table, [*drop_keys(keys), *rebuilding.take_off(indexes), *rebuilding.settings()])
    return facts, [*rebuilding.put_all_on(indexes), *add_keys(keys)]


def _put_on(wire: Wire, table: Table, facts: Facts, on: Sequence[Composable]) -> None:
    """Make everything again, and see that all is as it was."""
    with wire.recorder.span("index"):
        results = _run(wire, table, [*on, rebuilding.RESET, rebuilding.ask_facts([table])])
    rebuilding.compare(facts, rebuilding.read_facts(results[-1].get_value(0, 0)))


def _run(wire: Wire, table: Table, statements: Sequence[Composable]) -> Results:
    try:
        return wire.script(statements)
    except StatementError as failed:
        raise write_failed(failed.error, table.name) from failed.error
