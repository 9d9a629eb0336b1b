"""What a PostgreSQL server says of its tables, in one query of our own (`catalog.sql`).

SQLAlchemy's inspector would take a dozen statements for the same. The answer is one JSON document.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seedlab.database.kinds import TypeFacts, element_type, read_postgres_type
from seedlab.flow import Catalog, Column, ForeignKey, Table, UniqueKey

# Types whose plain equality sees every change; all others are compared through their send function.
PLAIN = frozenset(
    {"uuid", "bool", "int2", "int4", "int8", "text", "varchar", "bytea", "date", "timestamp", "timestamptz"}
)

QUERY = (Path(__file__).parent / "catalog.sql").read_text()
DIGEST = (Path(__file__).parent / "catalog_digest.sql").read_text()

Composites = Mapping[str, Sequence[Sequence[str]]]  # by type, the names and types of its fields
Numbered = Mapping[int, Mapping[int, str]]  # columns by table's oid and own number

_RELKINDS: Mapping[str, Any] = {
    "r": "table",
    "p": "partitioned",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}


def read_catalog(answer: Mapping[str, Any], default_schema: str) -> Catalog:
    """Make the catalog of the document that `QUERY` answers; `default_schema` is current_schema()."""
    rows = answer["tables"]
    names = _named(rows, default_schema)
    columns = {row[0]: {number: name for number, name, *_ in row[8] or ()} for row in rows}
    composites = dict(answer.get("composites") or ())
    single: defaultdict[int, list[Sequence[Any]]] = defaultdict(list)
    for root, *key in answer.get("partition_keys") or ():
        single[root].append(key)
    tables = [_table(row, names, columns, single[row[0]], composites) for row in rows]
    return Catalog(
        dialect="postgresql",
        version=answer["version"],
        database=answer["database"],
        user=answer["user"],
        default_schema=default_schema,
        tables={table.name: table for table in tables},
        empty=frozenset(names[row[0]] for row in rows if row[5]),
        partitions={
            relation if schema == default_schema else f"{schema}.{relation}": names[root]
            for schema, relation, root in answer.get("partitions") or ()
            if root in names
        },
    )


def _named(rows: Sequence[Sequence[Any]], default_schema: str) -> dict[int, str]:
    """Name tables as files do; one with a dot in its name gives way to a table of a schema called so."""
    spelled = {row[0]: f"{row[1]}.{row[2]}" for row in rows}
    taken = {spelled[row[0]] for row in rows if row[1] != default_schema}
    return {
        oid: relation if schema == default_schema and relation not in taken else spelled[oid]
        for oid, schema, relation, *_ in rows
    }


def _table(
    row: Sequence[Any],
    names: Mapping[int, str],
    numbered: Numbered,
    single: Sequence[Sequence[Any]],
    composites: Composites,
) -> Table:
    oid, schema, relation, relkind, owned, _, row_security, inherits, columns, keys, foreign_keys = row
    kind = _RELKINDS[relkind]
    return Table(
        name=names[oid],
        schema=schema,
        relation=relation,
        kind=kind,
        columns={each[1]: _column(each, composites) for each in columns or ()},
        keys=tuple(
            UniqueKey(name=name, primary=primary, columns=tuple(numbered[oid][n] for n in numbers))
            for name, primary, numbers in keys or ()
        ),
        foreign_keys=_with_partitions(
            [
                _foreign_key(each, names, numbered[oid], numbered[each[1]])
                for each in foreign_keys or ()
                if each[1] in names
            ],
            [
                _foreign_key([*each, "", False, None, True], names, numbered[oid], numbered[each[1]])
                for each in single
                if each[1] in names
            ],
        ),
        row_security=row_security,
        inherits=inherits and kind == "table",
        rebuildable=owned and kind == "table" and not inherits and not row_security,
    )


def _with_partitions(keys: Sequence[ForeignKey], single: Sequence[ForeignKey]) -> tuple[ForeignKey, ...]:
    """Add what only partitions refer to: parents come first, though rows of other partitions have none."""
    new = {key.meaning: replace(key, enforced=False) for key in single}
    for key in keys:
        new.pop(key.meaning, None)
    return (*keys, *new.values())


def _column(row: Sequence[Any], composites: Composites) -> Column:
    name, spelling, nullable, default, generated, identity, sequence, below, send = row[1:10]
    base, never_null = below or ("", False)
    deterministic, typtype, expression = row[10:]
    facts = read_postgres_type(base or spelling)
    if typtype == "e":
        facts = TypeFacts(kind="enum")
    within = _within(base or spelling, composites) if facts.kind in ("array", "other") else None
    plain = facts.kind in PLAIN and deterministic
    return Column(
        name=name,
        type=spelling,
        kind=within.kind if within else facts.kind if typtype in ("b", "d", "e") else "other",
        nullable=nullable and not never_null,
        default=default,
        generated=generated,
        identity={"a": "always", "d": "default"}.get(identity, ""),  # type: ignore[arg-type]
        length=facts.length,
        precision=facts.precision,
        scale=facts.scale,
        sequence=sequence,
        expression=expression or "",
        send="" if plain else send if "." in send else f"pg_catalog.{send}",
        domain=bool(base),
        base=base,
        element=within.element if within else None,
        fields=within.fields if within else (),
    )


def _within(spelling: str, composites: Composites) -> Column | None:
    """What an array or a composite type is made of, as a column without a name; None for other types."""
    if (element := element_type(spelling)) != spelling:
        return Column(name="", type=spelling, kind="array", element=_part("", element, composites))
    if spelling not in composites:
        return None
    fields = tuple(_part(name, each, composites) for name, each in composites[spelling])
    return Column(name="", type=spelling, kind="composite", fields=fields)


def _part(name: str, spelling: str, composites: Composites) -> Column:
    kind = read_postgres_type(spelling).kind
    made = _within(spelling, composites) if kind in ("array", "other") else None
    return replace(made, name=name) if made else Column(name=name, type=spelling, kind=kind)


def _foreign_key(
    row: Sequence[Any], names: Mapping[int, str], mine: Mapping[int, str], theirs: Mapping[int, str]
) -> ForeignKey:
    name, parent, columns, parent_columns, definition, validated, comment, indexed = row
    return ForeignKey(
        name=name,
        columns=tuple(mine[n] for n in columns),
        parent=names[parent],
        parent_columns=tuple(theirs[n] for n in parent_columns),
        definition=definition,
        validated=validated,
        enforced=not definition.endswith("NOT ENFORCED"),
        comment=comment,
        indexed=indexed,
    )
