"""The SQL that PostgreSQL is sent: small functions that build one statement each and return it.

Every identifier comes from the catalog and goes through `psycopg.sql`; type names and constraint
definitions are the server's own text. Values are parameters. Nothing here talks to a server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.flow import Catalog, Column, ForeignKey, Table

if TYPE_CHECKING:
    from seedlab.flow import Load, Part

TAKES_ERRORS = 160_000  # the server version from which pg_input_is_valid is there
# Kinds of which a text reaches a question unproven, so that the server may find that it is none.
_MAY_NOT_READ = frozenset({"enum", "interval", "timetz", "jsonb", "hstore", "array", "composite", "other"})


def qualified(table: Table) -> Identifier:
    """Name a table with its schema."""
    return Identifier(table.schema, table.relation)


def stored(table: Table) -> Composable:
    """Name a table to read, update or delete its own rows, and not those of tables that inherit from it."""
    return SQL("ONLY {}").format(qualified(table)) if table.inherits else qualified(table)


def names(columns: Sequence[str], prefix: str | None = None) -> Composed:
    """List columns, each behind `prefix.` if given."""
    return SQL(", ").join(Identifier(prefix, name) if prefix else Identifier(name) for name in columns)


def trusted(text: str) -> SQL:
    """Take the server's own text (a type, a definition, a sequence's quoted name) or numbers as SQL."""
    return SQL(text)


# ---- direct: COPY into empty tables ---------------------------------------------------------------------


def lock_exclusively(tables: Sequence[Table]) -> Composed:
    """Lock tables whose foreign keys are about to be dropped; do not wait for anybody."""
    return SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE NOWAIT").format(SQL(", ").join(map(qualified, tables)))


def lock_for_writing(tables: Sequence[Table]) -> Composed:
    """Keep other writers out, let readers in."""
    return SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(SQL(", ").join(map(qualified, tables)))


def count_filled(tables: Sequence[Table]) -> Composed:
    """Count tables that have a row after all."""
    asks = [SQL("EXISTS (SELECT FROM {})::int").format(stored(table)) for table in tables]
    return SQL("SELECT {}").format(SQL(" + ").join(asks))


def find_empty(tables: Sequence[Table]) -> Composed:
    """Tell of each table whether it has no row."""
    asks = [SQL("NOT EXISTS (SELECT FROM {})").format(stored(table)) for table in tables]
    return SQL("SELECT {}").format(SQL(", ").join(asks))


def drop_foreign_keys(table: Table, keys: Sequence[ForeignKey]) -> Composed:
    """Drop foreign keys of one table in one statement."""
    drops = SQL(", ").join(SQL("DROP CONSTRAINT {}").format(Identifier(key.name)) for key in keys)
    return SQL("ALTER TABLE {} {}").format(qualified(table), drops)


def add_foreign_keys(table: Table, keys: Sequence[ForeignKey]) -> Composed:
    """Make dropped foreign keys again, each by the server's own definition; this validates them."""
    adds = SQL(", ").join(
        SQL("ADD CONSTRAINT {} {}").format(Identifier(key.name), trusted(key.definition)) for key in keys
    )
    return SQL("ALTER TABLE {} {}").format(qualified(table), adds)


def comment_foreign_key(table: Table, key: ForeignKey) -> Composed:
    """Give a foreign key its comment back."""
    return SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(
        Identifier(key.name), qualified(table), Literal(key.comment)
    )


def copy_in(target: Composable, columns: Sequence[str], *, binary: bool = False) -> Composed:
    """Copy rows from the client, in COPY's own text format or its binary one."""
    form = SQL(" (FORMAT binary)" if binary else "")
    return SQL("COPY {} ({}) FROM STDIN{}").format(target, names(columns), form)


def raise_sequence(table: Table, column: Column) -> Composed:
    """Put a column's sequence behind its last value; never takes it back, nor one that has not begun.

    The last is the highest, or of a sequence that goes down the lowest, of those that the sequence may reach.
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


PLACE = "_seedlab_place"  # of a row in its source, from 1


def arrays_source(columns: Sequence[str], first: int = 1, *, place: str | None = None) -> Composed:
    """Rows from one text-array parameter per column, numbered from `first`; `place` counts them from 1."""
    named = names([*columns, place] if place else columns)
    numbered = SQL(" WITH ORDINALITY" if place else "")
    return SQL("unnest({}){} AS r({})").format(_arrays(len(columns), first), numbered, named)


def values_source(columns: Sequence[str], rows: int) -> Composed:
    """Rows from `rows * len(columns)` text parameters; PLACE counts them from 1."""
    width = len(columns)
    lines = (
        "(" + ", ".join(f"${n}::text" for n in range(start, start + width)) + ")"
        for start in range(1, 1 + rows * width, width)
    )
    return SQL("(SELECT v.*, row_number() OVER () AS {} FROM (VALUES {}) AS v({})) AS r").format(
        Identifier(PLACE), trusted(", ".join(lines)), names(columns)
    )


def staging_source(name: str, columns: Sequence[str], *, place: str | None = None) -> Composed:
    """Rows from a temporary table made by `staging_table`; `place` counts them from 1 as they were copied."""
    numbered = SQL(", row_number() OVER () AS {}").format(Identifier(place)) if place else SQL("")
    return SQL("(SELECT {}{} FROM {}) AS r").format(names(columns), numbered, Identifier("pg_temp", name))


def _arrays(count: int, first: int) -> SQL:
    return trusted(", ".join(f"${n}::pg_catalog.text[]" for n in range(first, first + count)))


def staging_table(name: str, table: Table, columns: Sequence[str]) -> Composed:
    """Make a temporary table with the target's own column types, gone at the end of the transaction."""
    return SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
        Identifier("pg_temp", name), names(columns), qualified(table)
    )


def merge(steps: Sequence[tuple[Load, Table, Composable, bool]]) -> Composed:
    """Classify and write the rows of one load, or of a cycle's loads, in one statement.

    Each step is a load, its table, its source of rows, and whether that holds text to be cast. By join on
    the key: rows found and different are updated, rows not found inserted. No ON CONFLICT: it would burn
    sequence values and write WAL for rows that do not change. Foreign keys are checked at the end of the
    statement, so cycles work. Answers one row, for each step in turn: updated, inserted, seen, and the places
    of the inserted rows, if they were some but not all. Every source has PLACE.
    """
    parts: list[Composable] = []
    counts: list[Composable] = []
    for n, (load, table, source, as_text) in enumerate(steps):
        parts += list(_merge_parts(n, load, table, source, as_text=as_text))
        counts += _merge_counts(n, updates=_differs(load, table) is not None)
    return SQL("WITH {} SELECT {}").format(SQL(", ").join(parts), SQL(", ").join(counts))


def _merge_parts(
    n: int, load: Load, table: Table, source: Composable, *, as_text: bool
) -> Iterator[Composed]:
    joined = Identifier(f"j{n}")
    columns = load.columns
    yield judged(n, load, table, source, as_text=as_text, place=PLACE)
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
            key=equal_keys(table, load.key_columns),
        )
    yield SQL(
        "i{n} AS (INSERT INTO {target} ({columns}) {overriding}SELECT {values} FROM {j} "
        "WHERE NOT _seedlab_hit RETURNING 1)"
    ).format(
        n=trusted(str(n)),
        target=qualified(table),
        columns=names(columns),
        overriding=SQL("OVERRIDING SYSTEM VALUE " if any(table.columns[c].identity for c in columns) else ""),
        values=names(columns),
        j=joined,
    )


def judged(
    n: int, load: Load, table: Table, source: Composable, *, as_text: bool, place: str | None = None
) -> Composed:
    """Judge the rows of a source, as `j{n}`: is there a row with the key, and does it differ.

    `place` is a column of the source that is kept beside the load's own.
    """
    values = casts(table, load.columns) if as_text else names(load.columns)
    values = SQL("{}, {}").format(values, Identifier("r", place)) if place else values
    if load.whole:
        return _judged_by_number(n, load, table, SQL("SELECT {} FROM {}").format(values, source))
    return SQL(
        "{j} AS MATERIALIZED (SELECT s.*, t.tableoid IS NOT NULL AS _seedlab_hit, "
        "{differs} AS _seedlab_differs FROM (SELECT {values} FROM {source}) s LEFT JOIN {target} t ON {key})"
    ).format(
        j=Identifier(f"j{n}"),
        differs=_differs(load, table) or SQL("false"),
        values=values,
        source=source,
        target=stored(table),
        key=equal_keys(table, load.key_columns),
    )


def _judged_by_number(n: int, load: Load, table: Table, given: Composed) -> Composed:
    """Classify rows of a table without a key.

    Of equal rows (byte by byte) as many are there as the table has.
    """

    def counted(columns: str, rows: Composable, alias: str) -> Composed:
        seen_by = SQL(", ").join(seen(table, name, alias) for name in load.columns)
        return SQL(
            "(SELECT *, row_number() OVER (PARTITION BY _seedlab_h, _seedlab_i) AS _seedlab_n FROM ("
            "SELECT {columns}pg_catalog.hash_record_extended(ROW({seen}), 0) AS _seedlab_h, "
            "pg_catalog.hash_record_extended(ROW({seen}), 1) AS _seedlab_i FROM {rows} {alias}) q)"
        ).format(columns=SQL(columns), seen=seen_by, rows=rows, alias=Identifier(alias))

    return SQL(
        "{j} AS MATERIALIZED (SELECT s.*, t._seedlab_n IS NOT NULL AS _seedlab_hit, "
        "false AS _seedlab_differs FROM {given} s LEFT JOIN {there} t ON s._seedlab_h = t._seedlab_h "
        "AND s._seedlab_i = t._seedlab_i AND s._seedlab_n = t._seedlab_n)"
    ).format(
        j=Identifier(f"j{n}"),
        given=counted("g.*, ", SQL("({})").format(given), "g"),
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
    """Columns that an update may change: neither key, nor id, nor default, nor GENERATED ALWAYS."""
    fixed = {*load.key_columns, *table.primary_key, *load.defaults}
    return [name for name in load.columns if name not in fixed and table.columns[name].identity != "always"]


def _differs(load: Load, table: Table) -> Composed | None:
    """Tell a row that needs an update; None where there is nothing to update."""
    columns = [] if load.mode == "insert" else compared(load, table)
    if not columns:
        return None
    return SQL("({})").format(SQL(" OR ").join(distinct(table, name) for name in columns))


def distinct(table: Table, column: str) -> Composed:
    """Tell whether a column of the row given, `s`, differs from the one that is there, `t`."""
    return SQL("{} IS DISTINCT FROM {}").format(seen(table, column, "s"), seen(table, column, "t"))


def seen(table: Table, column: str, alias: str) -> Composable:
    """A column as comparison must see it: through its send function where equality is blind."""
    known, name = table.columns[column], Identifier(alias, column)
    return SQL("{}({})").format(trusted(known.send), as_base(known, name)) if known.send else name


def as_base(column: Column, value: Composable) -> Composable:
    """A value of a domain as one of the type below: functions and operators of any enum take no domain."""
    return SQL("CAST({} AS {})").format(value, trusted(column.base)) if column.polymorphic else value


def casts(table: Table, columns: Sequence[str]) -> Composed:
    """Columns of `r` that hold text, cast to the table's own types."""
    return SQL(", ").join(
        SQL("CAST({} AS {}) AS {}").format(Identifier("r", c), trusted(table.columns[c].type), Identifier(c))
        for c in columns
    )


def equal_keys(table: Table, columns: Sequence[str]) -> Composed:
    """Say that the row `t` of a table and the row `s` of what is written have one key."""
    return SQL(" AND ").join(
        SQL("{} = {}").format(*(as_base(table.columns[name], Identifier(side, name)) for side in "ts"))
        for name in columns
    )


# ---- questions ------------------------------------------------------------------------------------------


def lookup(
    catalog: Catalog, table: str, key: Sequence[Part], wanted: Sequence[str], version: int
) -> Composed:
    """Find rows by their key chain: text-array parameters in chain order; answers number and values.

    Keys compare in the database's own equality. Numbers start at 1. `version` is the server's.
    """
    joins: list[Composable] = []
    conditions: list[Composable] = []
    counter = iter(range(1, 1000))

    def visit(alias: str, name: str, parts: Sequence[Part]) -> None:
        for part in parts:
            if part.reference is None:
                column = catalog.tables[name].columns[part.columns[0]]
                own = as_base(column, Identifier(alias, column.name))
                conditions.append(_named_by(column, own, Identifier("k", f"c{next(counter)}"), version))
            else:
                foreign_key = part.reference.foreign_key
                parent, below = catalog.tables[foreign_key.parent], f"{alias}_{len(joins)}"
                pairs = zip(foreign_key.columns, foreign_key.parent_columns, strict=True)
                on = SQL(" AND ").join(
                    SQL("{} = {}").format(Identifier(alias, own), Identifier(below, other))
                    for own, other in pairs
                )
                joins.append(SQL(" JOIN {} {} ON {}").format(stored(parent), Identifier(below), on))
                visit(below, parent.name, part.reference.parts)

    visit("t", table, key)
    columns = [f"c{n}" for n in range(1, next(counter))]
    return SQL("SELECT k.n, {} FROM {} t{} JOIN unnest({}) WITH ORDINALITY k({}, n) ON {}").format(
        SQL(", ").join(SQL("{}::text").format(Identifier("t", name)) for name in wanted),
        stored(catalog.tables[table]),
        SQL("").join(joins),
        _arrays(len(columns), 1),
        names(columns),
        SQL(" AND ").join(conditions),
    )


def _named_by(column: Column, own: Composable, text: Composable, version: int) -> Composed:
    """Compare a column of a key with a text. One that is no value of its type names no row: it is a fault of
    its own, told with its line, and must not make the question fail.
    """
    kind = trusted(column.base or column.type)  # the checks of a domain are none of a question's
    if column.kind not in _MAY_NOT_READ:
        return SQL("{} = CAST({} AS {})").format(own, text, kind)
    if version >= TAKES_ERRORS:
        return SQL("{} = CASE WHEN pg_catalog.pg_input_is_valid({}, {}) THEN CAST({} AS {}) END").format(
            own, text, Literal(column.base or column.type), text, kind
        )
    if column.kind == "enum":
        return SQL("CAST({} AS pg_catalog.text) = {}").format(own, text)
    return SQL("{} = CAST({} AS {})").format(own, text, kind)


def reserve(column: Column, count: int) -> Composed:
    """Take the next values of a sequence, or of what else a column's default says."""
    value = SQL("pg_catalog.nextval({}::pg_catalog.regclass)").format(Literal(column.sequence))
    if column.expression:
        value = SQL("CAST(CAST({} AS {}) AS pg_catalog.text)").format(
            trusted(column.expression), trusted(column.type)
        )
    return SQL("SELECT {} FROM pg_catalog.generate_series(1, {})").format(value, Literal(count))
