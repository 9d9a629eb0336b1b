"""SQL that reads tables for an export; the same for PostgreSQL and SQLite.

Every identifier comes from the catalog and goes through `psycopg.sql`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg.sql import SQL, Composable, Composed, Identifier

from seedlab.database.postgres.statements import qualified, trusted
from seedlab.flow import Catalog, Dialect, ForeignKey, Table
from seedlab.flow.exports import Leaf, TableExport, Tie

# Settings under which the server spells values without loss and unambiguously.
SPELLINGS = tuple(
    SQL(f"SET LOCAL {setting}")
    for setting in ("extra_float_digits = 1", "bytea_output = 'hex'", "intervalstyle = 'postgres'")
)
# What runs when rows are inserted, other than the server's own functions, such as tsvector_update_trigger.
TRIGGERS = SQL("""
SELECT n.nspname, c.relname, t.tgname
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & 4 <> 0
  AND p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace
ORDER BY 1, 2, 3""")
SQLITE_TRIGGERS = "SELECT tbl_name, name, sql FROM main.sqlite_schema WHERE type = 'trigger' ORDER BY 1, 2"
_ORPHANS = (
    "SELECT DISTINCT s.name, f.parent FROM main.sqlite_schema AS s "
    "JOIN pragma_foreign_key_check(s.name, 'main') AS f WHERE s.type = 'table' AND s.name"
)
_TEXTS = frozenset({"text", "varchar", "char", "citext"})
_UNORDERED = frozenset({"json", "array", "other"})  # types that may have no ordering
_BYTES = {"postgresql": '"C"', "sqlite": "BINARY"}  # the bytewise collation, the same on every machine

Path = tuple[ForeignKey, ...]


def lock_for_reading(tables: Sequence[Table]) -> Composed:
    """Lock tables against being altered or dropped, but not against reading and writing."""
    return SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(SQL(", ").join(map(qualified, tables)))


def copy_out(query: Composable) -> Composed:
    """Return a query's result as CSV, where NULL is nothing, and empty text a pair of quotes."""
    return SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(query)


def select_rows(catalog: Catalog, export: TableExport) -> Composed:
    """Read the columns of a table's file, in the order of its key."""
    joins = _Joins(catalog, export)
    columns = [joins.column(leaf) for leaf in export.leaves]
    return joins.select(columns)


def select_ties(catalog: Catalog, export: TableExport, ties: Sequence[tuple[Tie, Sequence[str]]]) -> Composed:
    """Read the keys by which rows are selected for a consistent export, in the order of the key.

    The columns are the row's own key, then per tie the parent's key (its columns are given with the tie),
    then per doubtful tie 1 if the parent is missing. A tie with a period is asked for by itself: it repeats
    the row for each parent.
    """
    joins = _Joins(catalog, export)
    columns: list[Composable] = [Identifier("t", name) for name in export.key]
    for tie, key in ties:
        columns += [Identifier(joins.alias((tie.foreign_key,)), name) for name in key]
    for tie, _ in ties:
        if tie.doubtful:
            columns.append(_orphaned(joins, tie.foreign_key))
    return joins.select(columns)


def count_values(table: Table, columns: Iterable[str], dialect: Dialect) -> Composed:
    """Count the rows, and the values that are not NULL of each column."""
    counts = SQL("").join(SQL(", count({})").format(Identifier(name)) for name in columns)
    return SQL("SELECT count(*){} FROM {}").format(counts, _source(table, dialect))


def count_distinct(table: Table, columns: Sequence[str], dialect: Dialect) -> Composed:
    """Count the distinct values of these columns."""
    names = SQL(", ").join(map(Identifier, columns))
    return SQL("SELECT count(*) FROM (SELECT DISTINCT {} FROM {}) AS q").format(
        names, _source(table, dialect)
    )


def _source(table: Table, dialect: Dialect) -> Composed:
    """Spell a table with its partitions, but without tables that inherit from it."""
    only = dialect == "postgresql" and table.kind == "table"
    return SQL("ONLY {}" if only else "{}").format(qualified(table))


def _orphaned(joins: _Joins, key: ForeignKey) -> Composed:
    """Make 1 for a row that refers to a parent that does not exist, else 0."""
    refers = SQL(" AND ").join(SQL("{} IS NOT NULL").format(Identifier("t", name)) for name in key.columns)
    if key.period:
        return SQL("CASE WHEN {} AND NOT {} THEN 1 ELSE 0 END").format(refers, _covered(joins.catalog, key))
    parent = Identifier(joins.alias((key,)), key.parent_columns[0])
    return SQL("CASE WHEN {} AND {} IS NULL THEN 1 ELSE 0 END").format(refers, parent)


def sqlite_orphans(tables: int) -> str:
    """Ask SQLite which of this number of tables have rows without a parent, and of which parent."""
    return f"{_ORPHANS} IN ({', '.join('?' * tables)})"


def _covered(catalog: Catalog, key: ForeignKey) -> Composed:
    """Tell whether the parent's rows together cover a row's period."""
    *shared, (own, other) = key.column_pairs
    same = [SQL("{} = {}").format(Identifier("p", far), Identifier("t", near)) for near, far in shared]
    return SQL("COALESCE({} <@ (SELECT pg_catalog.range_agg({}) FROM {} AS p WHERE {}), false)").format(
        Identifier("t", own),
        Identifier("p", other),
        _source(catalog.tables[key.parent], catalog.dialect),
        SQL(" AND ").join(same),
    )


class _Joins:
    """A table `t`, and the parents that its leaves need, each joined once."""

    def __init__(self, catalog: Catalog, export: TableExport) -> None:
        self.catalog = catalog
        self.export = export
        self.joined: dict[Path, tuple[str, Composed]] = {}

    def alias(self, path: Path) -> str:
        """Return the alias of the table at the end of a path, joining it if necessary."""
        if not path:
            return "t"
        if path not in self.joined:
            near, key = self.alias(path[:-1]), path[-1]
            far = f"p{len(self.joined)}"
            compare = ["="] * (len(key.columns) - key.period) + ["&&"] * key.period
            on = SQL(" AND ").join(
                SQL("{} {} {}").format(Identifier(near, own), trusted(operator), Identifier(far, other))
                for (own, other), operator in zip(key.column_pairs, compare, strict=True)
            )
            parent = _source(self.catalog.tables[key.parent], self.catalog.dialect)
            join = SQL(" LEFT JOIN {} AS {} ON {}").format(parent, Identifier(far), on)
            self.joined[path] = (far, join)
        return self.joined[path][0]

    def column(self, leaf: Leaf) -> Identifier:
        return Identifier(self.alias(leaf.path), leaf.column.name)

    def select(self, columns: Sequence[Composable]) -> Composed:
        """Select columns in the order of the key, which is the same on every machine."""
        order = [self._ordered(leaf) for leaf in self.export.order]  # first, as this may join parents, too
        return SQL("SELECT {} FROM {} AS t{} ORDER BY {}").format(
            SQL(", ").join(columns),
            _source(self.catalog.tables[self.export.table], self.catalog.dialect),
            SQL("").join(join for _, join in self.joined.values()),
            SQL(", ").join(order),
        )

    def _ordered(self, leaf: Leaf) -> Composed:
        column: Composable = self.column(leaf)
        if leaf.column.kind in _UNORDERED and self.catalog.dialect == "postgresql":
            column = SQL("{}::pg_catalog.text").format(column)
        elif leaf.column.kind not in _TEXTS:
            return SQL("{}").format(column)
        return SQL("{} COLLATE {}").format(column, trusted(_BYTES[self.catalog.dialect]))
