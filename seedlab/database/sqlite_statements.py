"""The SQL that SQLite is sent: small functions that build one statement each and return it.

Every identifier comes from the catalog and is quoted; values are parameters. In a merge `t` is the table and
stands left, so that its own collation and affinity decide what is equal; differences are told byte by byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from seedlab.database.kinds_sqlite import MOMENTS
from seedlab.database.removals import Referral
from seedlab.database.sqlite_connection import MAX_PARAMETERS, listed, quote
from seedlab.flow import Catalog, Column, ForeignKey, Table

if TYPE_CHECKING:
    from seedlab.flow import Load, Part

# What becomes of a staged row, and where it came from.
NEW, SAME, DIFFERENT, CONFLICT = range(4)
STATE, LOAD, PLACE_FILE, PLACE_ROW = "seedlab_state", "seedlab_load", "seedlab_file", "seedlab_row"
STAGED = (STATE, LOAD, PLACE_FILE, PLACE_ROW)
EVERY_ROW = (0, 2**63 - 1)


# Something in the file that minds in what order and how rows come.
_CONFLICTS = "type = 'table' AND sql LIKE '%conflict%'"
MINDFUL = f"SELECT count(*) FROM main.sqlite_schema WHERE type = 'trigger' OR ({_CONFLICTS})"
# What ANALYZE left is lost with an index.
STATISTICS = "SELECT 1 FROM main.sqlite_schema WHERE name LIKE 'sqlite\\_stat%' ESCAPE '\\'"
SCHEMA = "SELECT type, name, tbl_name, sql FROM main.sqlite_schema ORDER BY type, name"
ANY_ORPHAN = "SELECT 1 FROM pragma_foreign_key_check(?) LIMIT 1"


def indexes(tables: int) -> str:
    """Find the indexes of so many tables that were made by a statement of their own, as they were made."""
    return (
        "SELECT tbl_name, name, sql FROM main.sqlite_schema WHERE type = 'index' AND sql IS NOT NULL "
        f"AND tbl_name IN ({', '.join('?' * tables)}) ORDER BY _rowid_"
    )


def insert(target: str, columns: Sequence[str], rows: int = 1, otherwise: Literal["", "FAIL"] = "") -> str:
    """Insert `rows` rows given as parameters; `target` is quoted and qualified.

    FAIL leaves the rows before a refused one where they are, so that nothing is kept to undo them.
    """
    line = f"({', '.join('?' * len(columns))})"
    verb = f"INSERT OR {otherwise}" if otherwise else "INSERT"
    return f"{verb} INTO {target} ({listed(columns)}) VALUES {', '.join([line] * rows)}"


def rows_per_statement(columns: int) -> int:
    """How many rows the parameter limit lets one statement hold."""
    return max(1, MAX_PARAMETERS // columns)


def main(table: str) -> str:
    """Qualify a table of the database file."""
    return f"main.{quote(table)}"


def stage(name: str, table: Table, columns: Sequence[str]) -> str:
    """Make a temporary table whose columns have the affinities of the target's own."""
    origin = ", ".join(f"0 AS {each}" for each in STAGED)
    return (
        f"CREATE TEMPORARY TABLE {quote(name)} AS SELECT {origin}, {listed(columns)} "
        f"FROM {main(table.name)} WHERE 0"
    )


def classify(name: str, table: Table, loads: Sequence[Load]) -> str:
    """Mark every staged row that the table has: the same, different, or there with another explicit id."""
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
        f"FROM {main(table.name)} AS t WHERE {_same_key(load)}"
    )


def _classify_by_number(name: str, table: Table, load: Load) -> str:
    """Classify staged rows of a table without a key: of equal rows as many are there as the table has."""

    def counted(rows: str) -> str:
        row = as_one_text(load.columns)
        return (
            "(SELECT *, row_number() OVER (PARTITION BY seedlab_row_text) AS seedlab_number "
            f"FROM (SELECT _rowid_ AS seedlab_id, {row} AS seedlab_row_text FROM {rows}))"
        )

    return (
        f"UPDATE temp.{quote(name)} AS s SET {STATE} = {SAME} "
        f"FROM {counted(f'temp.{quote(name)}')} AS g JOIN {counted(main(table.name))} AS t "
        "ON t.seedlab_row_text = g.seedlab_row_text AND t.seedlab_number = g.seedlab_number "
        "WHERE s._rowid_ = g.seedlab_id"
    )


def as_one_text(columns: Sequence[str]) -> str:
    """The columns of a row as one text that tells every value from every other.

    Text goes by its bytes: quote() ends at a NUL, and Python would refuse what is not UTF-8. Older
    SQLite (3.35 does) quotes an integer as an integer; the empty text behind it makes it a text.
    """
    names = [quote(name) for name in columns]
    return " || ',' || ".join(
        f"CASE typeof({n}) WHEN 'text' THEN 't' || hex({n}) ELSE quote({n}) || '' END" for n in names
    )


def update(name: str, table: Table, load: Load) -> str:
    """Update rows that differ; parameters: first and last staged row id."""
    sets = ", ".join(f"{quote(column)} = s.{quote(column)}" for column in compared(load, table))
    return (
        f"UPDATE {main(table.name)} AS t SET {sets} FROM temp.{quote(name)} AS s "
        f"WHERE s.{STATE} = {DIFFERENT} AND s._rowid_ BETWEEN ? AND ? AND {_same_key(load)}"
    )


def insert_new(name: str, table: Table, load: Load) -> str:
    """Insert rows the table does not have, in file order; parameters: first and last staged row id."""
    return (
        f"INSERT INTO {main(table.name)} ({listed(load.columns)}) "
        f"SELECT {listed(load.columns, 's.')} FROM temp.{quote(name)} AS s "
        f"WHERE s.{STATE} = {NEW} AND s._rowid_ BETWEEN ? AND ? ORDER BY s._rowid_"
    )


def count_states(name: str) -> str:
    """Count staged rows by load and state."""
    return f"SELECT {LOAD}, {STATE}, count(*) FROM temp.{quote(name)} GROUP BY 1, 2"


def places(name: str, state: int) -> str:
    """Say where the staged rows of a state came from: row id, load, file, row."""
    return (
        f"SELECT _rowid_, {LOAD}, {PLACE_FILE}, {PLACE_ROW} FROM temp.{quote(name)} "
        f"WHERE {STATE} = {state} ORDER BY 1"
    )


def differences(name: str, table: Table, load: Load, column: str) -> str:
    """Find what an update would change in a column: load, file, row, the value there, the one given."""
    return (
        f"SELECT {LOAD}, {PLACE_FILE}, {PLACE_ROW}, t.{quote(column)}, s.{quote(column)} "
        f"FROM temp.{quote(name)} AS s JOIN {main(table.name)} AS t ON {_same_key(load)} "
        f"WHERE s.{STATE} = {DIFFERENT} AND ({_differs(table, [column])})"
    )


def orphans(name: str, foreign_key: ForeignKey) -> str:
    """Find written rows whose foreign key refers to nothing: row id, load, file, row."""
    given = " AND ".join(f"s.{quote(column)} IS NOT NULL" for column in foreign_key.columns)
    pairs = zip(foreign_key.columns, foreign_key.parent_columns, strict=True)
    same = " AND ".join(f"p.{quote(parent)} = s.{quote(own)}" for own, parent in pairs)
    return (
        f"SELECT s._rowid_, {LOAD}, {PLACE_FILE}, {PLACE_ROW} FROM temp.{quote(name)} AS s "
        f"WHERE s.{STATE} IN ({NEW}, {DIFFERENT}) AND {given} "
        f"AND NOT EXISTS (SELECT 1 FROM {main(foreign_key.parent)} AS p WHERE {same}) ORDER BY 1"
    )


def compared(load: Load, table: Table) -> list[str]:
    """Columns that an update may change: neither of the key, nor an id, nor a default."""
    fixed = {*load.key_columns, *table.primary_key, *load.defaults, load.made}
    return [name for name in load.columns if name not in fixed]


def lookup(
    catalog: Catalog, table: str, key: Sequence[Part], wanted: Sequence[str]
) -> tuple[Callable[[int], str], list[tuple[str, Column]]]:
    """Find rows by their key chain; answers number and wanted columns.

    Gives a function from the count of rows to the statement, and the source and column of each parameter
    behind the row's number.
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
    """Joins from the far end of the chain to the table itself, conditions, and the leaves in order."""
    joins: list[str] = []
    conditions: list[str] = []
    leaves: list[tuple[str, Column]] = []
    aliases = iter(f"p{n}" for n in range(1, 1000))

    def visit(alias: str, name: str, parts: Sequence[Part]) -> None:
        for part in parts:
            if part.reference is None:
                assert part.source is not None
                conditions.append(f"{alias}.{quote(part.columns[0])} = k.{quote(f'c{len(leaves)}')}")
                leaves.append((part.source, catalog.tables[name].columns[part.columns[0]]))
            else:
                below, foreign_key = next(aliases), part.reference.foreign_key
                pairs = zip(foreign_key.columns, foreign_key.parent_columns, strict=True)
                conditions.extend(f"{alias}.{quote(a)} = {below}.{quote(b)}" for a, b in pairs)
                visit(below, foreign_key.parent, part.reference.parts)
        joins.append(f"JOIN {main(name)} AS {alias}")

    visit("t", table, key)
    return joins, conditions, leaves


def _same_key(load: Load) -> str:
    return " AND ".join(f"t.{quote(name)} = s.{quote(name)}" for name in load.key_columns)


def _differs(table: Table, columns: Sequence[str]) -> str:
    def told_of(alias: str, name: str) -> str:
        return told(table.columns[name], f"{alias}.{quote(name)}")

    return " OR ".join(f"{told_of('t', c)} IS NOT {told_of('s', c)} COLLATE BINARY" for c in columns)


def told(column: Column, value: str) -> str:
    """A value as it is compared: of a moment that is kept as given, zeros behind the second say nothing."""
    if column.kind not in MOMENTS or column.storage:
        return value
    return f"CASE WHEN {value} LIKE '%.%' THEN rtrim(rtrim({value}, '0'), '.') ELSE {value} END"


def has_no_row(table: str) -> str:
    """True where a table is empty, as an expression."""
    return f"NOT EXISTS (SELECT 1 FROM {main(table)})"


def any_value(table: str, column: str) -> str:
    """Some value of a column that is not NULL, as an expression."""
    return f"(SELECT {quote(column)} FROM {main(table)} WHERE {quote(column)} IS NOT NULL LIMIT 1)"


def reserved(table: str, column: str) -> Iterator[str]:
    """The highest row id there is, and the highest there ever was if the table is AUTOINCREMENT."""
    yield f"SELECT max({quote(column)}) FROM {main(table)}"
    yield "SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_sequence'"
    yield "SELECT max(seq) FROM main.sqlite_sequence WHERE name = ?"


def defaults(expression: str) -> str:
    """Evaluate a column's default, as its table's own text has it, for so many rows."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
    return f"{numbers} SELECT ({expression}) FROM n"


# ---- delete ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed:
    """Rows to be deleted: their keys stand in the temporary table `name`."""

    table: Table
    columns: tuple[str, ...]
    name: str


def stage_keys(each: Doomed) -> str:
    """Make a temporary table for keys, with the affinities of the table's own columns."""
    return (
        f"CREATE TEMPORARY TABLE {quote(each.name)} AS SELECT {listed(each.columns)} "
        f"FROM {main(each.table.name)} WHERE 0"
    )


def count_doomed(doomed: Sequence[Doomed]) -> str:
    """Count the rows that are there; one that several removals name belongs to the first."""
    counts = []
    for n, each in enumerate(doomed):
        earlier = [other for other in doomed[:n] if other.table.name == each.table.name]
        others = f" AND {_among('t', earlier)} IS NOT TRUE" if earlier else ""
        counts.append(
            f"(SELECT count(*) FROM {main(each.table.name)} AS t WHERE {_among('t', [each])}{others})"
        )
    return f"SELECT {', '.join(counts)}"


def count_referring(referral: Referral, parents: Sequence[Doomed], children: Sequence[Doomed]) -> str:
    """Count rows that refer to rows to be deleted and are none themselves."""
    refers = " AND ".join(f"p.{quote(theirs)} = c.{quote(own)}" for theirs, own in referral.pairs)
    spared = f" AND {_among('c', children)} IS NOT TRUE" if children else ""
    return (
        f"SELECT count(*) FROM {main(referral.parent.name)} AS p JOIN {main(referral.child.name)} AS c "
        f"ON {refers} WHERE {_among('p', parents)}{spared}"
    )


def delete(doomed: Sequence[Doomed], leaves: Sequence[Referral] = ()) -> str:
    """Delete rows of one table; with `leaves` only those to which no other row refers by these keys."""
    unreferred = "".join(f" AND {_referred_to(each)} IS NOT TRUE" for each in leaves)
    return f"DELETE FROM {main(doomed[0].table.name)} AS t WHERE {_among('t', doomed)}{unreferred}"


def _referred_to(referral: Referral) -> str:
    """Tell rows of `t` to which another row refers; one that refers to itself does not count."""
    given = [f"c.{quote(own)} IS NOT NULL" for _, own in referral.pairs]
    if referral.child.name == referral.parent.name:
        differs = " OR ".join(f"c.{quote(theirs)} <> c.{quote(own)}" for theirs, own in referral.pairs)
        given.append(f"({differs})")
    return (
        f"(({listed(referral.key.parent_columns, 't.')}) IN (SELECT {listed(referral.key.columns, 'c.')} "
        f"FROM {main(referral.child.name)} AS c WHERE {' AND '.join(given)}))"
    )


def _among(alias: str, doomed: Sequence[Doomed]) -> str:
    """Tell rows of a table by their keys. The table stands left: its collation and affinity decide."""
    sets = (
        f"({listed(each.columns, f'{alias}.')}) IN "
        f"(SELECT {listed(each.columns)} FROM temp.{quote(each.name)})"
        for each in doomed
    )
    return f"({' OR '.join(sets)})"
