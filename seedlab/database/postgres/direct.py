"""Load empty PostgreSQL tables, with as few constraints and indexes in place as possible.

Foreign keys among the tables are dropped, all tables are filled (`load.py`), and the keys are added
again and validated. A large load also drops indexes, primary keys and unique constraints, and the foreign
keys of its large tables to tables with rows, if their readers may have to wait. Where something cannot be
dropped (no right, a lock held), the load is repeated with more in place: slower, with the same result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from psycopg.sql import SQL, Composable

from seedlab.database.postgres import rebuilding, wide_tables
from seedlab.database.postgres import statements as sql
from seedlab.database.postgres.copy_rows import raise_sequences
from seedlab.database.postgres.encode_binary import NotBinary
from seedlab.database.postgres.load import (
    OUT_OF_LOCKS,
    Frame,
    LoadFailed,
    RowUnknown,
    SendOptions,
    load,
    see_empty,
)
from seedlab.database.postgres.rebuilding import Facts, Keys
from seedlab.database.postgres.wire import Results, StatementError, Wire
from seedlab.flow import ForeignKey, Table, TableWrite, WritePlan, Written

# From this many rows on, building indexes at once saves more than asking for their definitions costs, and
# dropping foreign keys is worth a lock on the tables that they refer to (docs/performance.md).
REBUILD_ROWS = 50_000
# Smaller tables of a large load keep their indexes.
REBUILD_TABLE_ROWS = 2_000
# Classes of errors that another attempt cannot avoid: connection, transaction state, conflict, resources,
# cancelled, system, internal.
FINAL = frozenset({"08", "25", "40", "53", "57", "58", "XX"})


def write_direct(
    wire: Wire, plan: WritePlan, groups: Sequence[Sequence[TableWrite]], switches: frozenset[str]
) -> list[Written] | None:
    """Copy these groups of a plan into empty tables; None if the keys of a cycle cannot be dropped.

    Raises DataFaults or WriteError.
    """
    options = SendOptions(binary=True, parallel="parallel" in switches, round_trip=wire.network_seconds)
    while True:
        try:
            return _direct(wire, plan, groups, options, rebuild="rebuild" in switches)
        except NotBinary:
            options = replace(options, binary=False)
        except RowUnknown:
            options = replace(options, round_trip=0.0)
        _go_back(wire, None)


def is_large(writes: Iterable[TableWrite]) -> bool:
    """Tell whether a load has so many rows that indexes are dropped during it."""
    return sum(write.rows for write in writes) >= REBUILD_ROWS


def _direct(
    wire: Wire,
    plan: WritePlan,
    groups: Sequence[Sequence[TableWrite]],
    options: SendOptions,
    *,
    rebuild: bool,
) -> list[Written] | None:
    writes = [write for group in groups for write in group]
    keys: Keys = _among(writes) if rebuild else {}
    if rebuild and is_large(writes):
        try:
            return _rebuild(wire, writes, keys, plan, options)
        except LoadFailed as found:
            keys = _fallback(wire, found, keys)
    if keys:
        try:
            return _copy_all(wire, writes, keys, options)
        except LoadFailed as found:
            if not found.avoidable:
                raise found.explained from found.failed.error
            _go_back(wire, f"foreign keys stay on during the load ({found.message}): slower, same result")
            keys = {}
    if not keys and any(len(group) > 1 for group in groups):
        return None
    try:
        return _copy_all(wire, writes, {}, options)
    except LoadFailed as found:
        raise found.explained from found.failed.error


def _go_back(wire: Wire, note: str | None) -> None:
    if note is not None:
        wire.recorder.note(note)
    wire.script([SQL("ROLLBACK TO SAVEPOINT direct")])


def _fallback(wire: Wire, found: LoadFailed, keys: Keys) -> Keys:
    """Undo a failed rebuild; return the foreign keys to drop in the next attempt, or raise its error.

    A row that violates a unique index fails when the index is built; the next attempt, a COPY with the index
    in place, tells which row it is.
    """
    out_of_locks = found.state == OUT_OF_LOCKS
    final = found.write is not None or found.state[:2] in FINAL or not found.state
    if final and not out_of_locks:
        raise found.explained from found.failed.error
    data = found.state[:2] in ("22", "23")
    locked = out_of_locks or (found.early and found.state in ("55P03", "42501"))
    what = "indexes and foreign keys" if locked else "indexes"
    note = f"{what} stay on during the load ({found.message}): slower, same result"
    _go_back(wire, None if data else note)
    return {} if locked else keys


# ---- foreign keys ---------------------------------------------------------------------------------------


def _among(writes: Sequence[TableWrite]) -> Keys:
    """Find the foreign keys among the loaded empty tables."""
    loaded = {write.table.name: write.table for write in writes}
    return _droppable(
        loaded.values(), lambda key: (parent := loaded.get(key.parent)) is not None and parent.rebuildable
    )


def _outward(writes: Sequence[TableWrite], plan: WritePlan) -> Keys:
    """Find the foreign keys of large tables to tables with rows that may be locked."""
    loaded, rows = {table.name for table in _tables(writes)}, _rows(writes)
    return _droppable(
        (table for table in _tables(writes) if rows[table.name] >= REBUILD_ROWS),
        lambda key: key.enforced and key.parent not in loaded and locked_with(key, plan) is not None,
    )


def _droppable(tables: Iterable[Table], may: Callable[[ForeignKey], bool]) -> Keys:
    return {
        table.name: (table, droppable)
        for table in tables
        if table.exists and table.rebuildable
        if (droppable := [key for key in table.foreign_keys if key.validated and may(key)])
    }


def locked_with(key: ForeignKey, plan: WritePlan) -> Table | None:
    """Return the referenced table with rows, which dropping a foreign key locks, too.

    None if the key must not be dropped: it could not be added again, or readers of the table must not wait.
    """
    parent = plan.ours.get(key.parent)
    return parent if parent is not None and parent.rebuildable and key.validated else None


def drop_keys(keys: Keys) -> list[Composable]:
    """Drop foreign keys, with one statement per table."""
    return [sql.drop_foreign_keys(table, some) for table, some in keys.values()]


def add_keys(keys: Keys) -> list[Composable]:
    """Add foreign keys again, with their comments."""
    adds: list[Composable] = [sql.add_foreign_keys(table, some) for table, some in keys.values()]
    return adds + [
        sql.comment_foreign_key(table, key) for table, some in keys.values() for key in some if key.comment
    ]


# ---- loads ----------------------------------------------------------------------------------------------


def _look(wire: Wire, statements: Sequence[Composable]) -> Results:
    try:
        results = wire.script(statements)
    except StatementError as failed:
        raise LoadFailed(failed, None, early=True) from failed
    see_empty(results)
    return results


def _rebuild(
    wire: Wire, writes: Sequence[TableWrite], keys: Keys, plan: WritePlan, options: SendOptions
) -> list[Written]:
    """Lock the tables, read their indexes and constraints, drop these, copy, and create them again.

    The server builds the indexes of a table while the next one is encoded. Raises LoadFailed.
    """
    tables, rows = _tables(writes), _rows(writes)
    start = [SQL("SAVEPOINT direct"), sql.lock_exclusively(tables), sql.count_filled(tables)]
    facts = rebuilding.read_facts(
        _look(wire, [*start, rebuilding.ask_facts(tables)])[3].get_value(0, 0),
    )
    large = [table for table in tables if table.rebuildable and rows[table.name] >= REBUILD_TABLE_ROWS]
    off = dict(keys)
    if why := forbidden(facts):
        large = []
        wire.recorder.note(f"indexes stay on during the load ({why}): slower, same result")
    elif (outward := _outward(writes, plan)) and _dropped(wire, outward, plan):
        off |= {
            name: (table, [*off.get(name, (table, ()))[1], *more]) for name, (table, more) in outward.items()
        }
    chosen = choose(wire, facts, large, off)
    before = [*drop_keys(keys), *(each for some in chosen.values() for each in rebuilding.drop_indexes(some))]
    behind = {
        table.name: list(rebuilding.create_indexes(some))
        for table in large
        if (some := chosen.get((table.schema, table.relation)))
    }
    kept = [table for table in tables if not chosen.get((table.schema, table.relation))]
    frame = Frame(
        before=[*before, *rebuilding.settings()],
        behind=behind | wide_tables.analyze(kept, rows),
        end=[*add_keys(off), rebuilding.RESET, rebuilding.ask_facts(tables)],
    )
    written, results = load(wire, writes, frame, options)
    sequences = raise_sequences((load, write.table) for write in writes for load in write.loads)
    rebuilding.compare(facts, rebuilding.read_facts(results[-1 - len(sequences)].get_value(0, 0)))
    return written


def _dropped(wire: Wire, keys: Keys, plan: WritePlan) -> bool:
    """Drop foreign keys to tables with rows, if these can be locked without waiting; tell whether."""
    parents = {key.parent: plan.ours[key.parent] for _, some in keys.values() for key in some}
    lock = sql.lock_exclusively(list(parents.values()))
    try:
        wire.script([SQL("SAVEPOINT outward"), lock, *drop_keys(keys)])
    except StatementError as failed:
        found = LoadFailed(failed, None, early=True)
        if not found.avoidable:
            raise found from failed
        what = f"foreign keys to {', '.join(sorted(parents))}"
        wire.recorder.note(f"{what} stay on during the load ({found.message}): slower, same result")
        wire.script([SQL("ROLLBACK TO SAVEPOINT outward")])
        return False
    return True


def choose(
    wire: Wire, facts: Facts, tables: Sequence[Table], keys: Keys
) -> dict[tuple[str, str], list[rebuilding.Index]]:
    """Choose the indexes to drop, by table; note which ones stay, and why."""
    chosen, staying = rebuilding.choose_indexes(facts, tables, keys)
    if staying:
        reasons = ", ".join(f"{name}: {why}" for name, why in staying.items())
        wire.recorder.note(f"indexes that stay on during the load: {reasons}; slower, same result")
    return chosen


def forbidden(facts: Facts) -> str | None:
    """Say why no index may be dropped, if so: triggers that run during the load may need them."""
    if facts.event_trigger:
        return f"event trigger {facts.event_trigger} reacts to ALTER TABLE"
    return f"trigger {facts.trigger} may need them" if facts.trigger else None


def _tables(writes: Sequence[TableWrite]) -> list[Table]:
    return list({write.table.name: write.table for write in writes}.values())


def _rows(writes: Sequence[TableWrite]) -> Counter[str]:
    rows: Counter[str] = Counter()
    for write in writes:
        rows[write.table.name] += write.rows
    return rows


def _copy_all(wire: Wire, writes: Sequence[TableWrite], keys: Keys, options: SendOptions) -> list[Written]:
    """Lock the tables, check that they are empty, drop keys, copy, and add the keys again, in one message.

    Raises LoadFailed.
    """
    tables = _tables(writes)
    lock = sql.lock_exclusively(tables) if keys else sql.lock_for_writing(tables)
    start: list[Composable] = [SQL("SAVEPOINT direct"), lock, sql.count_filled(tables)]
    behind = wide_tables.analyze(tables, _rows(writes))
    frame = Frame(before=[*start, *drop_keys(keys)], behind=behind, end=add_keys(keys))
    return load(wire, writes, frame, options, looks=True)[0]
