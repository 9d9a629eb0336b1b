"""How rows get into empty tables of PostgreSQL: COPY, with as little as possible to be kept meanwhile.

Foreign keys among the tables are dropped, all tables copied and the keys made again and validated, in one
message. A large load takes indexes, primary keys and unique constraints off as well, and off its large
tables the foreign keys to tables with rows whose readers may wait. Where that cannot be, the load is done
with more left on, down to everything: slower, the same rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from psycopg.sql import SQL, Composable

from seedlab.database import rebuilding, staging
from seedlab.database import statements as sql
from seedlab.database.encode_binary import Unspeakable, speaks
from seedlab.database.postgres_copy import ENCODE_ROWS, Feeder, Teller, encoded, explain, sequences
from seedlab.database.rebuilding import Facts, Keys
from seedlab.database.wire import Results, StatementError, Wire
from seedlab.errors import SeedError, WriteError
from seedlab.flow import ForeignKey, Load, Outcomes, Table, TableWrite, WritePlan, Written

# From here on sorting all keys at once pays for asking what they are, and a table's foreign keys are worth a
# lock on the tables with rows that they lead to (docs/performance.md).
REBUILD_ROWS = 50_000
# Tables of fewer rows keep their indexes even then.
REBUILD_TABLE_ROWS = 2_000
# From here on a table goes as COPY's binary format, whose expressions cost some 8 ms a frame.
BINARY_ROWS = 6_000
# Errors before the first row that only mean "not in this way": lock held, not owner, feature; what hangs on
# a constraint, what is gone since we looked.
NOT_THIS_WAY = frozenset({"55P03", "42501", "0A000", "2BP01", "42704"})
# Deferred triggers wait for the end, and a table cannot be altered meanwhile. No DDL before the rows tells.
PENDING = "55006"
# Class of errors that code of the user's raises: an event trigger that forbids to alter tables.
RAISED = "P0"
# Classes of errors that no other way would be spared: connection, conflict, resources, cancelled, broken.
FINAL = frozenset({"08", "25", "40", "53", "57", "58", "XX"})


class Stumbled(Exception):
    """A load failed at a statement: before its first row, in the COPY of `write`, or behind the rows."""

    def __init__(self, failed: StatementError, write: TableWrite | None, *, early: bool) -> None:
        super().__init__(failed)
        self.failed, self.write, self.early = failed, write, early
        self.state = failed.error.sqlstate or ""

    @property
    def explained(self) -> SeedError:
        """The error to raise, with the table and what the server said."""
        return explain(self.failed, self.write)

    @property
    def message(self) -> str:
        """What the server says, in one line."""
        return self.failed.error.diag.message_primary or ""

    @property
    def avoidable(self) -> bool:
        """Tell whether the same rows may go in when more is left on."""
        refused = self.state in NOT_THIS_WAY or self.state[:2] == RAISED
        return (self.early and refused) or self.state == PENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """The statements of a load before its first COPY, after the last COPY of each table, and at the end."""

    before: Sequence[Composable] = ()
    behind: Mapping[str, Sequence[Composable]] = field(default_factory=dict)
    end: Sequence[Composable] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How COPY gets its rows: `binary` where every column has that form; `parallel` encodes in a thread."""

    binary: bool = False
    parallel: bool = False

    def speaks(self, write: TableWrite) -> bool:
        """Tell whether a table goes as COPY's binary format."""
        return self.binary and write.rows >= BINARY_ROWS and speaks(write.table, write.columns)


def write_direct(
    wire: Wire, plan: WritePlan, groups: Sequence[Sequence[TableWrite]], switches: frozenset[str]
) -> list[Written] | None:
    """Copy these groups of a plan into empty tables; None where keys of a cycle have to stay on.

    Raises DataFaults.
    """
    rebuild, manner = "rebuild" in switches, Manner(binary=True, parallel="parallel" in switches)
    try:
        return _direct(wire, plan, groups, manner, rebuild=rebuild)
    except Unspeakable:
        _go_back(wire, None)
        return _direct(wire, plan, groups, replace(manner, binary=False), rebuild=rebuild)


def _direct(
    wire: Wire, plan: WritePlan, groups: Sequence[Sequence[TableWrite]], manner: Manner, *, rebuild: bool
) -> list[Written] | None:
    writes = [write for group in groups for write in group]
    keys: Keys = _among(writes) if rebuild else {}
    if rebuild and sum(write.rows for write in writes) >= REBUILD_ROWS:
        try:
            return _rebuild(wire, writes, keys, plan, manner)
        except Stumbled as found:
            keys = _less(wire, found, keys)
    if keys:
        try:
            return _copy_all(wire, writes, keys, manner)
        except Stumbled as found:
            if not found.avoidable:
                raise found.explained from found.failed.error
            _go_back(wire, f"foreign keys stay on during the load ({found.message}): slower, same result")
            keys = {}
    if not keys and any(len(group) > 1 for group in groups):
        return None
    try:
        return _copy_all(wire, writes, {}, manner)
    except Stumbled as found:
        raise found.explained from found.failed.error


def _go_back(wire: Wire, note: str | None) -> None:
    if note is not None:
        wire.recorder.note(note)
    wire.script([SQL("ROLLBACK TO SAVEPOINT direct")])


def _less(wire: Wire, found: Stumbled, keys: Keys) -> Keys:
    """Go back to before a rebuild that failed; answers the foreign keys that may still come off.

    A row that breaks a unique index was found when that was made: COPY with the index on tells which it is.
    """
    if found.write is not None or found.state[:2] in FINAL or not found.state:
        raise found.explained from found.failed.error
    data = found.state[:2] in ("22", "23")
    locked = found.early and found.state in ("55P03", "42501")
    what = "indexes and foreign keys" if locked else "indexes"
    note = f"{what} stay on during the load ({found.message}): slower, same result"
    _go_back(wire, None if data else note)
    return {} if locked else keys


# ---- foreign keys ---------------------------------------------------------------------------------------


def _among(writes: Sequence[TableWrite]) -> Keys:
    """Foreign keys among the loaded empty tables."""
    loaded = {write.table.name: write.table for write in writes}
    return _droppable(
        loaded.values(), lambda key: (parent := loaded.get(key.parent)) is not None and parent.rebuildable
    )


def _outward(writes: Sequence[TableWrite], plan: WritePlan) -> Keys:
    """Foreign keys of large empty tables to tables that are not loaded with them, and may be locked."""
    loaded, rows = {table.name for table in _tables(writes)}, _rows(writes)
    return _droppable(
        (table for table in _tables(writes) if rows[table.name] >= REBUILD_ROWS),
        lambda key: key.enforced and key.parent not in loaded and locked_with(key, plan) is not None,
    )


def _droppable(tables: Iterable[Table], may: Callable[[ForeignKey], bool]) -> Keys:
    return {
        table.name: (table, mine)
        for table in tables
        if table.exists and table.rebuildable
        if (mine := [key for key in table.foreign_keys if key.validated and may(key)])
    }


def locked_with(key: ForeignKey, plan: WritePlan) -> Table | None:
    """The table with rows that a foreign key leads to, which dropping the key locks, too.

    None where the key must stay on: it could not be made again, or we do not know who reads the table.
    """
    parent = plan.ours.get(key.parent)
    return parent if parent is not None and parent.rebuildable and key.validated else None


def drop_keys(keys: Keys) -> list[Composable]:
    """Drop foreign keys, those of a table in one statement."""
    return [sql.drop_foreign_keys(table, mine) for table, mine in keys.values()]


def add_keys(keys: Keys) -> list[Composable]:
    """Make foreign keys again, with their comments."""
    adds: list[Composable] = [sql.add_foreign_keys(table, mine) for table, mine in keys.values()]
    return adds + [
        sql.comment_foreign_key(table, key) for table, mine in keys.values() for key in mine if key.comment
    ]


# ---- loads ----------------------------------------------------------------------------------------------


def _look(wire: Wire, statements: Sequence[Composable]) -> Results:
    try:
        results = wire.script(statements)
    except StatementError as failed:
        raise Stumbled(failed, None, early=True) from failed
    _see_empty(results)
    return results


def _see_empty(results: Results) -> None:
    if int(results[2].get_value(0, 0) or 0):
        raise WriteError("a table was filled while we looked; run again", sqlstate="40001")


def _rebuild(
    wire: Wire, writes: Sequence[TableWrite], keys: Keys, plan: WritePlan, manner: Manner
) -> list[Written]:
    """Lock, look again and ask what there is; then take it off, copy, and put it on again, table by table.

    The server builds a table's indexes while the next one is encoded. Raises Stumbled.
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
    before = [*drop_keys(keys), *(each for mine in chosen.values() for each in rebuilding.take_off(mine))]
    behind = {
        table.name: list(rebuilding.put_all_on(mine))
        for table in large
        if (mine := chosen.get((table.schema, table.relation)))
    }
    frame = _Frame(
        before=[*before, *rebuilding.settings()],
        behind=behind,
        end=[*add_keys(off), rebuilding.RESET, rebuilding.ask_facts(tables)],
    )
    written, results = _load(wire, writes, frame, manner)
    place = -1 - sum(1 for _ in sequences((load, write.table) for write in writes for load in write.loads))
    rebuilding.compare(facts, rebuilding.read_facts(results[place].get_value(0, 0)))
    return written


def _dropped(wire: Wire, keys: Keys, plan: WritePlan) -> bool:
    """Drop foreign keys to tables with rows, which locks these; tell whether that could be at once."""
    parents = {key.parent: plan.ours[key.parent] for _, mine in keys.values() for key in mine}
    lock = sql.lock_exclusively(list(parents.values()))
    try:
        wire.script([SQL("SAVEPOINT outward"), lock, *drop_keys(keys)])
    except StatementError as failed:
        found = Stumbled(failed, None, early=True)
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
    """Choose the indexes that come off, by table; a note says which stay on, and why."""
    chosen, staying = rebuilding.rebuilt(facts, tables, keys)
    if staying:
        told = ", ".join(f"{name}: {why}" for name, why in staying.items())
        wire.recorder.note(f"indexes that stay on during the load: {told}; slower, same result")
    return chosen


def forbidden(facts: Facts) -> str | None:
    """Say why nothing but foreign keys may come off: code that runs beside the load might need the rest."""
    if facts.event_trigger:
        return f"event trigger {facts.event_trigger} watches what is altered"
    return f"trigger {facts.trigger} may need them" if facts.trigger else None


def _tables(writes: Sequence[TableWrite]) -> list[Table]:
    return list({write.table.name: write.table for write in writes}.values())


def _rows(writes: Sequence[TableWrite]) -> Counter[str]:
    rows: Counter[str] = Counter()
    for write in writes:
        rows[write.table.name] += write.rows
    return rows


def _copy_all(wire: Wire, writes: Sequence[TableWrite], keys: Keys, manner: Manner) -> list[Written]:
    """Lock, look again, drop keys, copy everything, make the keys again: one message, one answer.

    Raises Stumbled.
    """
    tables = _tables(writes)
    lock = sql.lock_exclusively(tables) if keys else sql.lock_for_writing(tables)
    start: list[Composable] = [SQL("SAVEPOINT direct"), lock, sql.count_filled(tables)]
    frame = _Frame(before=[*start, *drop_keys(keys)], end=add_keys(keys))
    return _load(wire, writes, frame, manner, looks=True)[0]


def _load(
    wire: Wire, writes: Sequence[TableWrite], frame: _Frame, manner: Manner, *, looks: bool = False
) -> tuple[list[Written], Results]:
    """Send all in one message; the next rows are encoded while the server takes those before.

    With `looks` the third statement counts the tables that have a row after all.
    """
    statements, places = _statements(writes, frame, manner)
    counts: dict[Load, int] = {}
    copied = [write for write in writes if not write.staged]
    pieces = [encoded(wire, write, counts, binary=manner.speaks(write)) for write in copied]
    large = manner.parallel and any(write.rows > ENCODE_ROWS for write in copied)

    # One span: the server answers at the end, so copying and keys cannot be told apart.
    try:
        with (
            wire.recorder.span("merge", rows=sum(write.rows for write in writes)),
            Feeder(pieces) if large else Teller(pieces) as bytes_of,
        ):

            def feed(number: int, results: Results) -> Iterator[bytes]:
                if number == 0 and looks:
                    _see_empty(results)
                return bytes_of.pieces(number)

            results = wire.script(statements, feed, bytes_of.ahead)
            if looks and not copied:
                _see_empty(results)
        for batch in (batch for write in writes if write.staged for batch in write.batches()):
            counts[batch.load] = counts.get(batch.load, 0) + batch.frame.height
            wire.recorder.progress(batch.load, batch.frame.height)
    except StatementError as failed:
        early = failed.index < len(frame.before)
        raise Stumbled(failed, places.get(failed.index), early=early) from failed
    return [
        Written(load=load, outcomes=Outcomes(created=counts.get(load, 0)))
        for write in writes
        for load in write.loads
    ], results


def _statements(
    writes: Sequence[TableWrite], frame: _Frame, manner: Manner
) -> tuple[list[Composable], dict[int, TableWrite]]:
    """All statements of a load, and which of them is whose COPY."""
    statements = list(frame.before)
    places: dict[int, TableWrite] = {}
    last = {write.table.name: number for number, write in enumerate(writes)}
    for number, write in enumerate(writes):
        for load in write.staged:  # its rows are in the target already
            places[len(statements)] = write
            statements.append(staging.insert(write.staged[load], load, write.table))
        if not write.staged:
            places[len(statements)] = write
            target = sql.qualified(write.table)
            statements.append(sql.copy_in(target, write.columns, binary=manner.speaks(write)))
        if last[write.table.name] == number:
            statements += frame.behind.get(write.table.name, ())
    statements += frame.end
    statements += sequences((load, write.table) for write in writes for load in write.loads)
    return statements, places
