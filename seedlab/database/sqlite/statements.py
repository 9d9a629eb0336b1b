"""SQL for SQLite: small functions that build one statement each, without a connection.

Every identifier comes from the catalog and is quoted; values are parameters. In comparisons of keys the table
`t` is on the left side, so that its collation and affinity apply; differences are compared byte by byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Literal

from seedlab.database.sqlite.connection import MAX_PARAMETERS, listed
from seedlab.database.sqlite.kinds import MOMENTS, affinity
from seedlab.flow import Catalog, Column, ForeignKey, Table
from seedlab.flow.catalog import quote

if TYPE_CHECKING:
    from seedlab.flow import Load, Part

# The states of a staged row, and the columns with its number, state and origin.
NEW, SAME, DIFFERENT, CONFLICT = range(4)
ID = "_seedlab_id"
STATE, LOAD, PLACE_FILE, PLACE_ROW = "_seedlab_state", "_seedlab_load", "_seedlab_in", "_seedlab_at"
STAGED = (STATE, LOAD, PLACE_FILE, PLACE_ROW)
EVERY_ROW = (0, 2**63 - 1)

# Triggers and ON CONFLICT clauses, whose effects depend on the order and way in which rows are inserted.
_CONFLICTS = "type = 'table' AND sql LIKE '%conflict%'"
COUNT_ORDER_DEPENDENT = f"SELECT count(*) FROM main.sqlite_schema WHERE type = 'trigger' OR ({_CONFLICTS})"
# The statistics of ANALYZE, which would be lost with a dropped index.
STATISTICS = "SELECT 1 FROM main.sqlite_schema WHERE name LIKE 'sqlite\\_stat%' ESCAPE '\\'"
SCHEMA = "SELECT type, name, tbl_name, sql FROM main.sqlite_schema ORDER BY type, name"
ANY_ORPHAN = "SELECT 1 FROM pragma_foreign_key_check(?) LIMIT 1"


def indexes(tables: int) -> str:
    """Find the CREATE INDEX statements of this number of tables, in the order of creation."""
    return (
        "SELECT tbl_name, name, sql FROM main.sqlite_schema WHERE type = 'index' AND sql IS NOT NULL "
        f"AND tbl_name IN ({', '.join('?' * tables)}) ORDER BY _rowid_"
    )


def insert(target: str, columns: Sequence[str], rows: int = 1, otherwise: Literal["", "FAIL"] = "") -> str:
    """Insert `rows` rows given as parameters; `target` is quoted and qualified.

    OR FAIL keeps the rows before a refused one, so that SQLite needs no statement journal.
    """
    line = f"({', '.join('?' * len(columns))})"
    verb = f"INSERT OR {otherwise}" if otherwise else "INSERT"
    return f"{verb} INTO {target} ({listed(columns)}) VALUES {', '.join([line] * rows)}"


def rows_per_statement(columns: int) -> int:
    """Return how many rows fit into one statement by the parameter limit."""
    return max(1, MAX_PARAMETERS // columns)


def main(table: str) -> str:
    """Qualify a table of the database file."""
    return f"main.{quote(table)}"


def stage(name: str, table: Table, columns: Sequence[str]) -> str:
    """Create a temporary table whose columns have the affinities of the target's columns.

    Its row id has a name of its own, since a column of the target may be called `_rowid_`.
    """
    origin = ", ".join(f"{each} INTEGER" for each in STAGED)
    own = ", ".join(f"{quote(column)} {affinity(table.columns[column].type)}" for column in columns)
    return f"CREATE TEMPORARY TABLE {quote(name)} ({ID} INTEGER PRIMARY KEY, {origin}, {own})"


def classify(name: str, table: Table, loads: Sequence[Load]) -> str:
    """Set the state of staged rows that exist: the same, different, or in conflict with an explicit id.

    Where a collation takes the keys of several staged rows for that of one existing row, it is the row of the
    first of them. The others stay new, so that inserting them is refused.
    """
    load, cases = loads[0], []
    if load.whole:
        return _classify_by_number(name, table, load)
    explicit = [c for c in table.primary_key if c in load.values and c not in load.key_columns]
    if explicit:
        cases.append(f"WHEN {_differs(table, explicit)} THEN {CONFLICT}")
    columns = compared(load, table)
    updating = [str(n) for n, each in enumerate(loads) if each.mode != "insert"]
    if columns and updating:
        cases.append(
            f"WHEN s.{LOAD} IN ({', '.join(updating)}) AND ({_differs(table, columns)}) THEN {DIFFERENT}"
        )
    state = f"CASE {' '.join(cases)} ELSE {SAME} END" if cases else str(SAME)
    return (
        f"UPDATE temp.{quote(name)} AS s SET {STATE} = {state} "
        f"FROM {main(table.name)} AS t WHERE {_same_key(load)}{_first_of_its_key(name, table, load)}"
    )


def _first_of_its_key(name: str, table: Table, load: Load) -> str:
    """Make the condition that no earlier staged row has the key of the same existing row."""
    if not any(key.collated and set(key.columns) == {*load.key_columns} for key in table.keys):
        return ""
    return (
        f" AND s.{ID} IN (SELECT min(s.{ID}) FROM temp.{quote(name)} AS s JOIN {main(table.name)} AS t "
        f"ON {_same_key(load)} GROUP BY {listed(load.key_columns, 't.')})"
    )


def _classify_by_number(name: str, table: Table, load: Load) -> str:
    """Classify rows of a table without a key: the nth of equal rows exists if the table has n of them."""

    def counted(rows: str, number: str) -> str:
        row = as_one_text(load.columns)
        return (
            "(SELECT *, row_number() OVER (PARTITION BY seedlab_row_text) AS seedlab_number "
            f"FROM (SELECT {number} AS {ID}, {row} AS seedlab_row_text FROM {rows}))"
        )

    return (
        f"UPDATE temp.{quote(name)} AS s SET {STATE} = {SAME} "
        f"FROM {counted(f'temp.{quote(name)}', ID)} AS g JOIN {counted(main(table.name), '0')} AS t "
        "ON t.seedlab_row_text = g.seedlab_row_text AND t.seedlab_number = g.seedlab_number "
        f"WHERE s.{ID} = g.{ID}"
    )


def as_one_text(columns: Sequence[str]) -> str:
    """Spell the columns of a row as one text, which is different for different rows.

    Text is spelled as hex, because quote() stops at a NUL, and Python refuses invalid UTF-8. quote() returns
    integers as integers in older versions such as 3.35, so an empty text is appended.
    """
    names = [quote(name) for name in columns]
    return " || ',' || ".join(
        f"CASE typeof({n}) WHEN 'text' THEN 't' || hex({n}) ELSE quote({n}) || '' END" for n in names
    )


def update(name: str, table: Table, load: Load) -> str:
    """Update rows that differ; the parameters are the first and last staged row id."""
    sets = ", ".join(f"{quote(column)} = s.{quote(column)}" for column in compared(load, table))
    return (
        f"UPDATE {main(table.name)} AS t SET {sets} FROM temp.{quote(name)} AS s "
        f"WHERE s.{STATE} = {DIFFERENT} AND s.{ID} BETWEEN ? AND ? AND {_same_key(load)}"
    )


def insert_new(name: str, table: Table, load: Load) -> str:
    """Insert new rows in file order; the parameters are the first and last staged row id."""
    return (
        f"INSERT INTO {main(table.name)} ({listed(load.columns)}) "
        f"SELECT {listed(load.columns, 's.')} FROM temp.{quote(name)} AS s "
        f"WHERE s.{STATE} = {NEW} AND s.{ID} BETWEEN ? AND ? ORDER BY s.{ID}"
    )


def count_states(name: str) -> str:
    """Count staged rows by load and state."""
    return f"SELECT {LOAD}, {STATE}, count(*) FROM temp.{quote(name)} GROUP BY 1, 2"


def places(name: str, state: int) -> str:
    """Return the origin of the staged rows of a state: row id, load, file, row."""
    return (
        f"SELECT {ID}, {LOAD}, {PLACE_FILE}, {PLACE_ROW} FROM temp.{quote(name)} "
        f"WHERE {STATE} = {state} ORDER BY 1"
    )


def differences(name: str, table: Table, load: Load, column: str) -> str:
    """Find what an update would change in a column: load, file, row, old value, new value."""
    return (
        f"SELECT {LOAD}, {PLACE_FILE}, {PLACE_ROW}, t.{quote(column)}, s.{quote(column)} "
        f"FROM temp.{quote(name)} AS s JOIN {main(table.name)} AS t ON {_same_key(load)} "
        f"WHERE s.{STATE} = {DIFFERENT} AND ({_differs(table, [column])})"
    )


def orphans(name: str, foreign_key: ForeignKey) -> str:
    """Find written rows whose parent is missing: row id, load, file, row."""
    given = " AND ".join(f"s.{quote(column)} IS NOT NULL" for column in foreign_key.columns)
    pairs = zip(foreign_key.columns, foreign_key.parent_columns, strict=True)
    same = " AND ".join(f"p.{quote(parent)} = s.{quote(own)}" for own, parent in pairs)
    return (
        f"SELECT s.{ID}, {LOAD}, {PLACE_FILE}, {PLACE_ROW} FROM temp.{quote(name)} AS s "
        f"WHERE s.{STATE} IN ({NEW}, {DIFFERENT}) AND {given} "
        f"AND NOT EXISTS (SELECT 1 FROM {main(foreign_key.parent)} AS p WHERE {same}) ORDER BY 1"
    )


def compared(load: Load, table: Table) -> list[str]:
    """Return the columns that an update may change: not key, id or project defaults."""
    fixed = {*load.key_columns, *table.primary_key, *load.defaults, load.made}
    return [name for name in load.columns if name not in fixed]


def lookup(
    catalog: Catalog, table: str, key: Sequence[Part], wanted: Sequence[str]
) -> tuple[Callable[[int], str], list[tuple[str, Column]]]:
    """Find rows by their key chain.

    Returns a function that builds the statement for a number of rows, and the source and column of each
    parameter after the row's number. The statement's result has the row's number and the wanted columns.
    """
    joins, conditions, leaves = _chain(catalog, table, key)
    columns = [quote(f"c{n}") for n in range(len(leaves))]
    answer = ", ".join(["k.n", *(f"t.{quote(name)}" for name in wanted)])

    def build(rows: int) -> str:
        line = f"({', '.join('?' * (1 + len(columns)))})"
        return (
            f"WITH k(n, {', '.join(columns)}) AS (VALUES {', '.join([line] * rows)}) "
            f"SELECT {answer} FROM k {' '.join(joins)} WHERE {' AND '.join(conditions)} ORDER BY k.n"
        )

    return build, leaves


def _chain(
    catalog: Catalog, table: str, key: Sequence[Part]
) -> tuple[list[str], list[str], list[tuple[str, Column]]]:
    """Build the joins, from the end of the chain to the table itself, the conditions, and the leaves.

    Parents that a row need not have are joined last, so that a row without them stays; that row has the key
    if all that is said of the parent is NULL.
    """
    joins: list[str] = []
    outer: list[str] = []
    conditions: list[str] = []
    leaves: list[tuple[str, Column]] = []
    aliases = (f"p{n}" for n in count(1))

    def visit(alias: str, name: str, parts: Sequence[Part], *, optional: bool = False) -> None:
        for part in parts:
            nulls = optional or part.nulls
            if part.reference is None:
                assert part.source is not None
                own, given = f"{alias}.{quote(part.columns[0])}", f"k.{quote(f'c{len(leaves)}')}"
                conditions.append(equal(own, given, nulls=nulls))
                leaves.append((part.source, catalog.tables[name].columns[part.columns[0]]))
                continue
            below, foreign_key = next(aliases), part.reference.foreign_key
            pairs = zip(foreign_key.columns, foreign_key.parent_columns, strict=True)
            same = [f"{alias}.{quote(a)} = {below}.{quote(b)}" for a, b in pairs]
            if not nulls:
                conditions.extend(same)
                visit(below, foreign_key.parent, part.reference.parts)
                continue
            outer.append(f"LEFT JOIN {main(foreign_key.parent)} AS {below} ON {' AND '.join(same)}")
            first = len(leaves)
            visit(below, foreign_key.parent, part.reference.parts, optional=True)
            orphan = " OR ".join(f"{alias}.{quote(column)} IS NULL" for column in foreign_key.columns)
            unsaid = " AND ".join(f"k.{quote(f'c{n}')} IS NULL" for n in range(first, len(leaves)))
            conditions.append(f"({orphan}) = ({unsaid})")
        if not optional:
            joins.append(f"JOIN {main(name)} AS {alias}")

    visit("t", table, key)
    return [*joins, *outer], conditions, leaves


def _same_key(load: Load) -> str:
    nulls = load.null_key_columns
    return " AND ".join(equal(f"t.{quote(n)}", f"s.{quote(n)}", nulls=n in nulls) for n in load.key_columns)


def equal(own: str, other: str, *, nulls: bool) -> str:
    """Compare two values by the collation and affinity of `own`; with `nulls`, NULL equals NULL."""
    return f"{own} {'IS' if nulls else '='} {other}"


def _differs(table: Table, columns: Sequence[str]) -> str:
    def told_of(alias: str, name: str) -> str:
        return normalized(table.columns[name], f"{alias}.{quote(name)}")

    return " OR ".join(f"{told_of('t', c)} IS NOT {told_of('s', c)} COLLATE BINARY" for c in columns)


def normalized(column: Column, value: str) -> str:
    """Normalize a value for comparison: trailing zeros in the fraction of a time are insignificant."""
    if column.kind not in MOMENTS or column.storage:
        return value
    return f"CASE WHEN {value} LIKE '%.%' THEN rtrim(rtrim({value}, '0'), '.') ELSE {value} END"


def has_no_row(table: str) -> str:
    """Build an expression that is true if the table is empty."""
    return f"NOT EXISTS (SELECT 1 FROM {main(table)})"


def any_value(table: str, column: str) -> str:
    """Build an expression for some value of a column that is not NULL."""
    return f"(SELECT {quote(column)} FROM {main(table)} WHERE {quote(column)} IS NOT NULL LIMIT 1)"


def highest(table: str, column: str) -> str:
    """Find the highest row id of a table."""
    return f"SELECT max({quote(column)}) FROM {main(table)}"


# Of AUTOINCREMENT tables: whether there are any, and the highest row id that one ever had.
HAS_SEQUENCES = "SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_sequence'"
HIGHEST_EVER = "SELECT max(seq) FROM main.sqlite_sequence WHERE name = ?"


def defaults(expression: str) -> str:
    """Evaluate the expression of a column's default for a number of rows, which is the parameter."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
    return f"{numbers} SELECT ({expression}) FROM n"
