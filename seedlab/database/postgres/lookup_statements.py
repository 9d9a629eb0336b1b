"""SQL that finds rows by their key chain on PostgreSQL, followed through references down to scalars."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.database.postgres import statements as sql
from seedlab.flow import Catalog, Column, Part, null_sources

# Kinds whose values are looked up without having been validated, so that a cast may fail.
_MAY_NOT_READ = frozenset({"enum", "interval", "timetz", "jsonb", "hstore", "array", "composite", "other"})


def lookup(
    catalog: Catalog, table: str, key: Sequence[Part], wanted: Sequence[str], version: int
) -> Composed:
    """Find rows by their key chain, given as text-array parameters in chain order.

    The result has the number of the row in the parameters (from 1) and the `wanted` columns as text. Keys are
    compared by the database's own equality. `version` is the server's.

    A part of the key that is a reference and may be NULL is joined so that a row without a parent stays; that
    row has the key if all that the parameters say of the parent is NULL.
    """
    with_nulls = bool(null_sources(key))  # all columns are compared alike, as in `equal_keys`
    joins: list[Composable] = []
    conditions: list[Composable] = []
    texts: list[Identifier] = []

    def visit(alias: str, name: str, parts: Sequence[Part], *, optional: bool = False) -> None:
        for part in parts:
            nulls = optional or part.nulls
            if part.reference is None:
                column = catalog.tables[name].columns[part.columns[0]]
                own = sql.as_base(column, Identifier(alias, column.name))
                texts.append(Identifier("k", f"c{len(texts) + 1}"))
                conditions.append(_named_by(column, own, texts[-1], version, nulls=with_nulls))
            else:
                foreign_key = part.reference.foreign_key
                parent, below = catalog.tables[foreign_key.parent], f"{alias}_{len(joins)}"
                pairs = zip(foreign_key.columns, foreign_key.parent_columns, strict=True)
                on = SQL(" AND ").join(
                    SQL("{} = {}").format(Identifier(alias, own), Identifier(below, other))
                    for own, other in pairs
                )
                kind = SQL(" LEFT JOIN" if nulls else " JOIN")
                joins.append(SQL("{} {} {} ON {}").format(kind, sql.stored(parent), Identifier(below), on))
                first = len(texts)
                visit(below, parent.name, part.reference.parts, optional=nulls)
                if nulls:
                    no_parent = _nulls(" OR ", [Identifier(alias, own) for own in foreign_key.columns])
                    conditions.append(SQL("{} = {}").format(no_parent, _nulls(" AND ", texts[first:])))

    visit("t", table, key)
    columns = [f"c{n}" for n in range(1, len(texts) + 1)]
    return SQL("SELECT k.n, {} FROM {} t{} JOIN unnest({}) WITH ORDINALITY k({}, n) ON {}").format(
        SQL(", ").join(SQL("{}::text").format(Identifier("t", name)) for name in wanted),
        sql.stored(catalog.tables[table]),
        SQL("").join(joins),
        sql.arrays(len(columns), 1),
        sql.names(columns),
        SQL(" AND ").join(conditions),
    )


def _named_by(column: Column, own: Composable, text: Composable, version: int, *, nulls: bool) -> Composed:
    """Compare a key column with text; invalid text matches no row instead of failing the query.

    Invalid values are faults that are reported elsewhere, with their lines.
    """
    kind = sql.trusted(column.base or column.type)  # a look-up must not fail at the checks of a domain
    value = SQL("CAST({} AS {})").format(text, kind)
    if column.kind in _MAY_NOT_READ:
        if version >= sql.TAKES_ERRORS:
            value = SQL("CASE WHEN pg_catalog.pg_input_is_valid({}, {}) THEN {} END").format(
                text, Literal(column.base or column.type), value
            )
        elif column.kind == "enum":
            own, value = SQL("CAST({} AS pg_catalog.text)").format(own), SQL("{}").format(text)
    return sql.equal(column, own, value, nulls=nulls)


def _nulls(together: str, values: Sequence[Identifier]) -> Composed:
    """Make the condition that these values are NULL: all of them (AND), or at least one (OR)."""
    return SQL("({})").format(SQL(together).join(SQL("{} IS NULL").format(each) for each in values))
