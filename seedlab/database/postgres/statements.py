"""SQL for PostgreSQL: small functions that build one statement each, without a connection.

Every identifier comes from the catalog and goes through `psycopg.sql`; type names and constraint definitions
are the server's own text. Values are parameters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.flow import Column, ForeignKey, Table

if TYPE_CHECKING:
    from seedlab.flow import Load

TAKES_ERRORS = 160_000  # the first server version with pg_input_is_valid


def qualified(table: Table) -> Identifier:
    """Name a table with its schema."""
    return Identifier(table.schema, table.relation)


def stored(table: Table) -> Composable:
    """Name a table without the tables that inherit from it, to read, update or delete its own rows only."""
    return SQL("ONLY {}").format(qualified(table)) if table.inherits else qualified(table)


def names(columns: Sequence[str], prefix: str | None = None) -> Composed:
    """List columns, each prefixed by `prefix.` if given."""
    return SQL(", ").join(Identifier(prefix, name) if prefix else Identifier(name) for name in columns)


def trusted(text: str) -> SQL:
    """Use text as SQL that the server itself has spelled (a type, a definition, a sequence's quoted name)."""
    return SQL(text)


# ---- direct: COPY into empty tables ---------------------------------------------------------------------


def lock_exclusively(tables: Sequence[Table]) -> Composed:
    """Lock tables whose foreign keys are about to be dropped; fail instead of waiting."""
    return SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE NOWAIT").format(SQL(", ").join(map(qualified, tables)))


def lock_for_writing(tables: Sequence[Table]) -> Composed:
    """Lock tables against other writers, but not readers."""
    return SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(SQL(", ").join(map(qualified, tables)))


def count_filled(tables: Sequence[Table]) -> Composed:
    """Count the tables that have rows."""
    asks = [SQL("EXISTS (SELECT FROM {})::int").format(stored(table)) for table in tables]
    return SQL("SELECT {}").format(SQL(" + ").join(asks))


def find_empty(tables: Sequence[Table]) -> Composed:
    """Ask for each table whether it is empty."""
    asks = [SQL("NOT EXISTS (SELECT FROM {})").format(stored(table)) for table in tables]
    return SQL("SELECT {}").format(SQL(", ").join(asks))


def drop_foreign_keys(table: Table, keys: Sequence[ForeignKey]) -> Composed:
    """Drop foreign keys of one table in one statement."""
    drops = SQL(", ").join(SQL("DROP CONSTRAINT {}").format(Identifier(key.name)) for key in keys)
    return SQL("ALTER TABLE {} {}").format(qualified(table), drops)


def add_foreign_keys(table: Table, keys: Sequence[ForeignKey]) -> Composed:
    """Add dropped foreign keys again by the server's own definitions, which validates them."""
    adds = SQL(", ").join(
        SQL("ADD CONSTRAINT {} {}").format(Identifier(key.name), trusted(key.definition)) for key in keys
    )
    return SQL("ALTER TABLE {} {}").format(qualified(table), adds)


def comment_foreign_key(table: Table, key: ForeignKey) -> Composed:
    """Restore the comment of a foreign key."""
    return SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(
        Identifier(key.name), qualified(table), Literal(key.comment)
    )


def copy_in(target: Composable, columns: Sequence[str], *, binary: bool = False) -> Composed:
    """Copy rows from the client, in COPY's own text format or its binary one."""
    form = SQL(" (FORMAT binary)" if binary else "")
    return SQL("COPY {} ({}) FROM STDIN{}").format(target, names(columns), form)


def insert(table: Table, columns: Sequence[str], source: Composable, *, cast: bool = True) -> Composed:
    """Insert all rows of `source`, an item of FROM named `r`; `cast` its text to the types of the columns."""
    return SQL("INSERT INTO {} ({}) {}SELECT {} FROM {}").format(
        qualified(table),
        names(columns),
        _overriding(table, columns),
        casts(table, columns) if cast else names(columns, "r"),
        source,
    )


def _overriding(table: Table, columns: Sequence[str]) -> SQL:
    """Let an INSERT give values to identity columns, also to those GENERATED ALWAYS."""
    return SQL("OVERRIDING SYSTEM VALUE " if any(table.columns[name].identity for name in columns) else "")


def raise_sequence(table: Table, column: Column) -> Composed:
    """Move a column's sequence past the column's last value; never move it back.

    The last value is the highest that the sequence can reach, or the lowest for a descending sequence.
    """
    return SQL(
        "SELECT pg_catalog.setval(q.seqrelid, m::int8) FROM pg_catalog.pg_sequence q, {sequence} s, "
        "LATERAL (SELECT CASE WHEN q.seqincrement > 0 THEN max({column}) ELSE min({column}) END AS m "
        "FROM {table} WHERE {column} BETWEEN q.seqmin AND q.seqmax) v "
        "WHERE q.seqrelid = {name}::pg_catalog.regclass AND CASE WHEN q.seqincrement > 0 "
        "THEN m >= s.last_value + s.is_called::int ELSE m <= s.last_value - s.is_called::int END"
    ).format(
        sequence=trusted(column.sequence or ""),
        column=Identifier(column.name),
        table=qualified(table),
        name=Literal(column.sequence),
    )


# ---- staged: merge from a source ------------------------------------------------------------------------


PLACE = "_seedlab_place"  # a row's position in its source, from 1


def arrays_source(columns: Sequence[str], first: int = 1, *, place: str | None = None) -> Composed:
    """Make a source of rows of text-array parameters, one per column, the first of which is `first`.

    `place` is a column that numbers the rows from 1.
    """
    named = names([*columns, place] if place else columns)
    numbered = SQL(" WITH ORDINALITY" if place else "")
    return SQL("unnest({}){} AS r({})").format(arrays(len(columns), first), numbered, named)


def values_source(columns: Sequence[str], rows: int) -> Composed:
    """Make a source of rows of `rows * len(columns)` text parameters; PLACE numbers them from 1."""
    width = len(columns)
    lines = (
        "(" + ", ".join(f"${n}::text" for n in range(start, start + width)) + ")"
        for start in range(1, 1 + rows * width, width)
    )
    return SQL("(SELECT v.*, row_number() OVER () AS {} FROM (VALUES {}) AS v({})) AS r").format(
        Identifier(PLACE), trusted(", ".join(lines)), names(columns)
    )


def staging_source(name: str, columns: Sequence[str], *, place: str | None = None) -> Composed:
    """Make a source of the rows of a `staging_table`; `place` numbers them from 1 in the order of COPY."""
    numbered = SQL(", row_number() OVER () AS {}").format(Identifier(place)) if place else SQL("")
    return SQL("(SELECT {}{} FROM {}) AS r").format(names(columns), numbered, Identifier("pg_temp", name))


def arrays(count: int, first: int) -> SQL:
    """Spell this number of text-array parameters, the first of which is `first`."""
    return trusted(", ".join(f"${n}::pg_catalog.text[]" for n in range(first, first + count)))


def staging_table(name: str, table: Table, columns: Sequence[str]) -> Composed:
    """Create a temporary table with the target's column types, dropped at the end of the transaction."""
    return SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
        Identifier("pg_temp", name), names(columns), qualified(table)
    )


class MergeStep(NamedTuple):
    """One load of a merge: `source` has its rows, with PLACE, and as text to be cast if `as_text`."""

    load: Load
    table: Table
    source: Composable
    as_text: bool


def merge(steps: Sequence[MergeStep]) -> Composed:
    """Classify and write the rows of one load, or of a cycle's loads, in one statement.

    Rows are joined by key; those that exist and differ are updated, those that do not exist inserted.
    ON CONFLICT is not used, as it consumes sequence values and writes WAL for unchanged rows. Foreign keys
    are checked at the end of the statement, so cycles work. The result is one row with, per step: updated,
    inserted, all, and the places of the inserted rows if these are some but not all.
    """
    parts: list[Composable] = []
    counts: list[Composable] = []
    for n, step in enumerate(steps):
        parts += _merge_parts(n, step)
        counts += _merge_counts(n, updates=_differs(step.load, step.table) is not None)
    return SQL("WITH {} SELECT {}").format(SQL(", ").join(parts), SQL(", ").join(counts))


def _merge_parts(n: int, step: MergeStep) -> Iterator[Composed]:
    load, table, source, as_text = step
    joined, columns = Identifier(f"j{n}"), names(load.columns)
    yield classified(n, load, table, source, as_text=as_text, place=PLACE)
    if _differs(load, table) is not None:
        yield SQL(
            "u{n} AS (UPDATE {target} t SET {sets} FROM {j} s "
            "WHERE s._seedlab_hit AND s._seedlab_differs AND {key} RETURNING 1)"
        ).format(
            n=trusted(str(n)),
            target=stored(table),
            sets=SQL(", ").join(
                SQL("{} = {}").format(Identifier(c), Identifier("s", c)) for c in compared(load, table)
            ),
            j=joined,
            key=equal_keys(table, load.key_columns, load.null_key_columns),
        )
    yield SQL(
        "i{n} AS (INSERT INTO {target} ({columns}) {overriding}SELECT {columns} FROM {j} "
        "WHERE NOT _seedlab_hit RETURNING 1)"
    ).format(
        n=trusted(str(n)),
        target=qualified(table),
        columns=columns,
        overriding=_overriding(table, load.columns),
        j=joined,
    )


def classified(
    n: int, load: Load, table: Table, source: Composable, *, as_text: bool, place: str | None = None
) -> Composed:
    """Make the CTE `j{n}`, which classifies the rows of a source: does the row exist, and does it differ.

    `place` is a column of the source that is passed on. Where several rows of the source have the key of one
    existing row in other spellings, as `1 day` and `24:00:00`, it is the row of one of them. The others count
    as new, so that inserting them is refused.
    """
    values = casts(table, load.columns) if as_text else names(load.columns)
    values = SQL("{}, {}").format(values, Identifier("r", place)) if place else values
    if load.whole:
        return _classified_by_number(n, load, table, SQL("SELECT {} FROM {}").format(values, source))
    spelled_unlike = any(table.columns[name].send for name in load.key_columns)
    first = " AND row_number() OVER (PARTITION BY t.tableoid, t.ctid) = 1" if spelled_unlike else ""
    return SQL(
        "{j} AS MATERIALIZED (SELECT s.*, t.tableoid IS NOT NULL{first} AS _seedlab_hit, "
        "{differs} AS _seedlab_differs FROM (SELECT {values} FROM {source}) s LEFT JOIN {target} t ON {key})"
    ).format(
        j=Identifier(f"j{n}"),
        first=SQL(first),
        differs=_differs(load, table) or SQL("false"),
        values=values,
        source=source,
        target=stored(table),
        key=equal_keys(table, load.key_columns, load.null_key_columns),
    )


def _classified_by_number(n: int, load: Load, table: Table, rows: Composed) -> Composed:
    """Make the CTE for a table without a key: the nth of equal rows exists if the table has n of them.

    Rows are compared byte by byte, through 128 bits of hash.
    """

    def counted(columns: str, rows: Composable, alias: str) -> Composed:
        row = SQL(", ").join(comparable(table, name, alias) for name in load.columns)
        return SQL(
            "(SELECT *, row_number() OVER (PARTITION BY _seedlab_h, _seedlab_i) AS _seedlab_n FROM ("
            "SELECT {columns}pg_catalog.hash_record_extended(ROW({row}), 0) AS _seedlab_h, "
            "pg_catalog.hash_record_extended(ROW({row}), 1) AS _seedlab_i FROM {rows} {alias}) q)"
        ).format(columns=SQL(columns), row=row, rows=rows, alias=Identifier(alias))

    return SQL(
        "{j} AS MATERIALIZED (SELECT s.*, t._seedlab_n IS NOT NULL AS _seedlab_hit, "
        "false AS _seedlab_differs FROM {given} s LEFT JOIN {there} t ON s._seedlab_h = t._seedlab_h "
        "AND s._seedlab_i = t._seedlab_i AND s._seedlab_n = t._seedlab_n)"
    ).format(
        j=Identifier(f"j{n}"),
        given=counted("g.*, ", SQL("({})").format(rows), "g"),
        there=counted("", stored(table), "t"),
    )


def _merge_counts(n: int, *, updates: bool) -> list[Composable]:
    def count(letter: str) -> Composed:
        return SQL("(SELECT count(*) FROM {})").format(Identifier(f"{letter}{n}"))

    some = SQL(
        "(SELECT array_agg({place}) FILTER (WHERE NOT _seedlab_hit) FROM {j} "
        "HAVING count(*) FILTER (WHERE NOT _seedlab_hit) BETWEEN 1 AND count(*) - 1)"
    ).format(place=Identifier(PLACE), j=Identifier(f"j{n}"))
    return [count("u") if updates else SQL("0"), count("i"), count("j"), some]


def compared(load: Load, table: Table) -> list[str]:
    """Return the columns that an update may change: not key, id, project defaults or GENERATED ALWAYS."""
    fixed = {*load.key_columns, *table.primary_key, *load.defaults}
    return [name for name in load.columns if name not in fixed and table.columns[name].identity != "always"]


def _differs(load: Load, table: Table) -> Composed | None:
    """Make the condition for rows that need an update; None if no column may be updated."""
    columns = [] if load.mode == "insert" else compared(load, table)
    if not columns:
        return None
    return SQL("({})").format(SQL(" OR ").join(distinct(table, name) for name in columns))


def distinct(table: Table, column: str) -> Composed:
    """Make the condition that a column of the new row `s` differs from that of the existing row `t`."""
    return SQL("{} IS DISTINCT FROM {}").format(
        comparable(table, column, "s"), comparable(table, column, "t")
    )


def comparable(table: Table, column: str, alias: str) -> Composable:
    """Spell a column for comparison: in binary form (send) if `=` does not detect every change."""
    known, name = table.columns[column], Identifier(alias, column)
    return SQL("{}({})").format(trusted(known.send), as_base(known, name)) if known.send else name


def as_base(column: Column, value: Composable) -> Composable:
    """Cast a domain over an enum, array or the like to its base type, as polymorphic functions need it."""
    return SQL("CAST({} AS {})").format(value, trusted(column.base)) if column.polymorphic else value


def casts(table: Table, columns: Sequence[str]) -> Composed:
    """Cast text columns of `r` to the types of the table's columns."""
    return SQL(", ").join(
        SQL("CAST({} AS {}) AS {}").format(Identifier("r", c), trusted(table.columns[c].type), Identifier(c))
        for c in columns
    )


def equal_keys(
    table: Table, columns: Sequence[str], nulls: Collection[str] = (), sides: tuple[str, str] = ("t", "s")
) -> Composed:
    """Make the condition that the existing row `t` and the new row `s` have the same key.

    In the columns `nulls`, NULL equals NULL. Then all columns are compared as `equal` does with `nulls`, as
    an index by the others alone may find very many rows for each key.
    """
    with_nulls = any(name in nulls and table.columns[name].nullable for name in columns)
    return SQL(" AND ").join(
        equal(
            table.columns[name],
            *(as_base(table.columns[name], Identifier(side, name)) for side in sides),
            nulls=with_nulls,
        )
        for name in columns
    )


def equal(column: Column, own: Composable, other: Composable, *, nulls: bool) -> Composed:
    """Compare two values of a column's type; with `nulls`, NULL equals NULL.

    Arrays of one element are compared then: they can be hashed, so that the table is read once, while IS NOT
    DISTINCT FROM is evaluated for each pair of rows. Arrays cannot be elements of arrays.
    """
    if not nulls:
        return SQL("{} = {}").format(own, other)
    if column.kind == "array":
        return SQL("{} IS NOT DISTINCT FROM {}").format(own, other)
    if column.base:  # an array of a domain and one of its base type cannot be compared
        own, other = (SQL("CAST({} AS {})").format(each, trusted(column.base)) for each in (own, other))
    return SQL("ARRAY[{}] = ARRAY[{}]").format(own, other)


# ---- questions ------------------------------------------------------------------------------------------


def reserve(column: Column, count: int) -> Composed:
    """Take the next values of a column's sequence, or of its default expression."""
    value = SQL("pg_catalog.nextval({}::pg_catalog.regclass)").format(Literal(column.sequence))
    if column.expression:
        value = SQL("CAST(CAST({} AS {}) AS pg_catalog.text)").format(
            trusted(column.expression), trusted(column.type)
        )
    return SQL("SELECT {} FROM pg_catalog.generate_series(1, {})").format(value, Literal(count))
