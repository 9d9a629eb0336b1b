"""Read PostgreSQL's catalog: tables, columns, unique keys and foreign keys.

One query of our own (`catalog.sql`) returns everything as a JSON document; SQLAlchemy's inspector would need
a dozen statements. This module turns the document into a `Catalog`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seedlab.database.kinds import TypeFacts, element_type, read_postgres_type
from seedlab.flow import Catalog, Column, ForeignKey, Table, UniqueKey

# Types whose `=` detects every change of a value. All others are compared by their binary (send) form:
# numeric's `=`, for example, does not tell 1.5 from 1.50.
PLAIN = frozenset(
    {"uuid", "bool", "int2", "int4", "int8", "text", "varchar", "bytea", "date", "timestamp", "timestamptz"}
)

# Quoted names in the definition of a foreign key. Outside of them, only the keyword PERIOD is in upper case.
_QUOTED = re.compile(r'"(?:[^"]|"")*"')

QUERY = (Path(__file__).parent / "catalog.sql").read_text()

Composites = Mapping[str, Sequence[Sequence[str]]]  # composite type → (name, type) of each field
ColumnNames = Mapping[int, Mapping[int, str]]  # table's oid → column's number → column's name

_RELKINDS: Mapping[str, Any] = {
    "r": "table",
    "p": "partitioned",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}


def read_catalog(answer: Mapping[str, Any], default_schema: str) -> Catalog:
    """Make a Catalog of the document that `QUERY` returns; `default_schema` is current_schema()."""
    rows = answer["tables"]
    names = _table_names(rows, default_schema)
    columns = {row[0]: {number: name for number, name, *_ in row[8] or ()} for row in rows}
    composites = dict(answer.get("composites") or ())
    partition_keys: defaultdict[int, list[Sequence[Any]]] = defaultdict(list)
    for root, *key in answer.get("partition_keys") or ():
        partition_keys[root].append(key)
    tables = [_table(row, names, columns, partition_keys[row[0]], composites) for row in rows]
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


def _table_names(rows: Sequence[Sequence[Any]], default_schema: str) -> dict[int, str]:
    """Name tables as data files do, by oid: `table` in the default schema, `schema.table` elsewhere.

    A table of the default schema that is itself called `a.b` is qualified when schema `a` has a table `b`.
    """
    qualified = {row[0]: f"{row[1]}.{row[2]}" for row in rows}
    taken = {qualified[row[0]] for row in rows if row[1] != default_schema}
    return {
        oid: relation if schema == default_schema and relation not in taken else qualified[oid]
        for oid, schema, relation, *_ in rows
    }


def _table(
    row: Sequence[Any],
    names: Mapping[int, str],
    column_names: ColumnNames,
    partition_keys: Sequence[Sequence[Any]],
    composites: Composites,
) -> Table:
    oid, schema, relation, relkind, owned, _, row_security, inherits, columns, keys, foreign_keys, rules = row
    kind = _RELKINDS[relkind]
    return Table(
        name=names[oid],
        schema=schema,
        relation=relation,
        kind=kind,
        columns={each[1]: _column(each, composites) for each in columns or ()},
        keys=tuple(
            UniqueKey(name=name, primary=primary, columns=tuple(column_names[oid][n] for n in numbers))
            for name, primary, numbers in keys or ()
        ),
        foreign_keys=_with_partitions(
            [
                _foreign_key(each, names, column_names[oid], column_names[each[1]])
                for each in foreign_keys or ()
                if each[1] in names
            ],
            [
                _foreign_key([*each, "", False, None, True], names, column_names[oid], column_names[each[1]])
                for each in partition_keys
                if each[1] in names
            ],
        ),
        row_security=row_security,
        inherits=inherits and kind == "table",
        rebuildable=owned and kind == "table" and not inherits and not row_security,
        rules=tuple(rules or ()),
    )


def _with_partitions(
    keys: Sequence[ForeignKey], partition_keys: Sequence[ForeignKey]
) -> tuple[ForeignKey, ...]:
    """Add foreign keys of single partitions, so that their parents are written first.

    They are not enforced for the whole table: rows of other partitions need no such parent.
    """
    new = {key.meaning: replace(key, enforced=False) for key in partition_keys}
    for key in keys:
        new.pop(key.meaning, None)
    return (*keys, *new.values())


def _column(row: Sequence[Any], composites: Composites) -> Column:
    name, spelling, nullable, default, generated, identity, sequence, domain, send = row[1:10]
    base, never_null = domain or ("", False)
    collation, typtype, expression = row[10:]
    facts = read_postgres_type(base or spelling)
    if typtype == "e":
        facts = TypeFacts(kind="enum")
    compound = _compound(base or spelling, composites) if facts.kind in ("array", "other") else None
    plain = facts.kind in PLAIN and not collation
    return Column(
        name=name,
        type=spelling,
        kind=compound.kind if compound else facts.kind if typtype in ("b", "d", "e") else "other",
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
        collation=collation or "",
        domain=bool(base),
        base=base,
        element=compound.element if compound else None,
        fields=compound.fields if compound else (),
    )


def _compound(spelling: str, composites: Composites) -> Column | None:
    """Describe an array or composite type as a column without a name; None for other types."""
    if (element := element_type(spelling)) != spelling:
        return Column(name="", type=spelling, kind="array", element=_part("", element, composites))
    if spelling not in composites:
        return None
    fields = tuple(_part(name, each, composites) for name, each in composites[spelling])
    return Column(name="", type=spelling, kind="composite", fields=fields)


def _part(name: str, spelling: str, composites: Composites) -> Column:
    """Describe an array's element or a composite's field."""
    kind = read_postgres_type(spelling).kind
    compound = _compound(spelling, composites) if kind in ("array", "other") else None
    return replace(compound, name=name) if compound else Column(name=name, type=spelling, kind=kind)


def _foreign_key(
    row: Sequence[Any],
    names: Mapping[int, str],
    child_names: Mapping[int, str],
    parent_names: Mapping[int, str],
) -> ForeignKey:
    name, parent, columns, parent_columns, definition, validated, comment, indexed = row
    period = " PERIOD " in _QUOTED.sub('""', definition)
    return ForeignKey(
        name=name,
        columns=tuple(child_names[n] for n in columns),
        parent=names[parent],
        parent_columns=tuple(parent_names[n] for n in parent_columns),
        definition=definition,
        validated=validated,
        enforced=not definition.endswith("NOT ENFORCED") and not period,
        period=period,
        comment=comment,
        indexed=indexed,
    )
