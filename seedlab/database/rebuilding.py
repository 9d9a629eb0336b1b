"""What a large load takes off its empty tables beforehand and puts on again behind the rows.

Sorting all keys at once is much cheaper than finding the place of one after the other. Every definition is
the server's own, and what it says of the tables afterwards must be what it said before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.database.statements import qualified, trusted
from seedlab.errors import WriteError
from seedlab.flow import ForeignKey, Table

Keys = Mapping[str, tuple[Table, Sequence[ForeignKey]]]

_QUERY = (Path(__file__).parent / "rebuild.sql").read_text()
_KINDS = {"p": "PRIMARY KEY", "u": "UNIQUE"}
_MEMORY_KB = 1 << 18  # for one build; the server's own setting where that is more


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index, and the constraint that it serves, if it serves one.

    `why` says why it has to stay on; `referrers` are the foreign keys that need it: schema, table, name.
    `analyzed`: the planner knows how the values of its expressions are spread.
    """

    schema: str
    relation: str
    name: str
    definition: str
    comment: str | None
    constraint: str | None
    kind: str | None
    deferrable: bool | None
    deferred: bool | None
    constraint_comment: str | None
    clustered: bool
    analyzed: bool
    referrers: Sequence[Sequence[str]]
    why: str | None

    @property
    def place(self) -> tuple[str, str]:
        """Schema and name of its table."""
        return self.schema, self.relation


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the server says of the indexes and constraints of some tables, in the order they were made."""

    event_trigger: str | None
    trigger: str | None
    update_trigger: str | None
    tables: Mapping[tuple[str, str], str]
    indexes: Sequence[Index]
    made: frozenset[str]


def ask_facts(tables: Sequence[Table]) -> Composed:
    """Ask for the facts about some tables, which must not change any more: lock them first."""
    before, after = _QUERY.split("__TABLES__")
    each = SQL(", ").join(
        SQL("{}::pg_catalog.regclass").format(Literal(qualified(table).as_string())) for table in tables
    )
    return SQL("{}ARRAY[{}]{}").format(trusted(before), each, trusted(after))


def read_facts(answer: bytes | None) -> Facts:
    """Make the facts of the document that the server answers."""
    document: dict[str, Any] = json.loads(answer or b"{}")
    return Facts(
        event_trigger=document["event_trigger"],
        trigger=document["trigger"],
        update_trigger=document["update_trigger"],
        tables={(schema, relation): why for schema, relation, why in document["tables"] or ()},
        indexes=tuple(Index(**each) for each in document["indexes"] or ()),
        made=frozenset(document["made"] or ()),
    )


def rebuilt(
    facts: Facts, tables: Sequence[Table], keys: Keys
) -> tuple[dict[tuple[str, str], list[Index]], dict[str, str]]:
    """Choose the indexes of these tables that come off, by table; and say of the others why they stay.

    An index stays while a foreign key that is not dropped needs it.
    """
    dropped = {(table.schema, table.relation, key.name) for table, mine in keys.values() for key in mine}
    wanted = {(table.schema, table.relation): table.name for table in tables}
    chosen: dict[tuple[str, str], list[Index]] = {}
    staying: dict[str, str] = {}
    for index in facts.indexes:
        if index.place not in wanted:
            continue
        why = index.why
        if why is None and any(tuple(each) not in dropped for each in index.referrers):
            why = "a foreign key that stays on needs it"
        if why is None:
            chosen.setdefault(index.place, []).append(index)
        else:
            staying[index.name] = why
    return chosen, staying


def compare(before: Facts, after: Facts) -> None:
    """Raise WriteError unless everything is again as it was; the transaction must then not be committed."""
    lost, new = sorted(before.made - after.made), sorted(after.made - before.made)
    if lost or new:
        raise WriteError(
            "indexes or constraints were not made again as they were, so nothing is written; seed with "
            f"`--disable rebuild`. Expected {'; '.join(lost) or 'nothing more'}; "
            f"found {'; '.join(new) or 'nothing'}"
        )


# ---- statements -----------------------------------------------------------------------------------------


def settings() -> list[Composable]:
    """Give index builds memory, and their place no tablespace but the database's own."""
    return [
        SQL(
            "SELECT pg_catalog.set_config(name, greatest(setting::int8, {})::text, true) "
            "FROM pg_catalog.pg_settings WHERE name = 'maintenance_work_mem'"
        ).format(Literal(_MEMORY_KB)),
        SQL("SET LOCAL default_tablespace = ''"),
    ]


RESET = SQL("SET LOCAL default_tablespace TO DEFAULT")


def take_off(indexes: Sequence[Index]) -> Iterator[Composed]:
    """Drop the indexes of one table: those of constraints with these, in one statement each."""
    constraints = [each for each in indexes if each.constraint]
    if constraints:
        drops = SQL(", ").join(
            SQL("DROP CONSTRAINT {}").format(Identifier(each.constraint or "")) for each in constraints
        )
        yield SQL("ALTER TABLE {} {}").format(Identifier(*constraints[0].place), drops)
    plain = [Identifier(each.schema, each.name) for each in indexes if not each.constraint]
    if plain:
        yield SQL("DROP INDEX {}").format(SQL(", ").join(plain))


def put_all_on(indexes: Sequence[Index]) -> Iterator[Composable]:
    """Make the indexes of one table again; statistics of expressions go with an index, and are taken anew."""
    for index in indexes:
        yield from put_on(index)
    if any(index.analyzed for index in indexes):
        yield SQL("ANALYZE {}").format(Identifier(*indexes[0].place))


def put_on(index: Index) -> Iterator[Composable]:
    """Make an index again and, of it, its constraint."""
    table = Identifier(*index.place)
    yield trusted(index.definition)
    if index.constraint:
        yield SQL("ALTER TABLE {} ADD CONSTRAINT {} {} USING INDEX {}{}{}").format(
            table,
            Identifier(index.constraint),
            trusted(_KINDS[index.kind or ""]),
            Identifier(index.name),
            SQL(" DEFERRABLE" if index.deferrable else ""),
            SQL(" INITIALLY DEFERRED" if index.deferred else ""),
        )
    if index.comment is not None:
        name = Identifier(index.schema, index.name)
        yield SQL("COMMENT ON INDEX {} IS {}").format(name, Literal(index.comment))
    if index.constraint_comment is not None:
        yield SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(
            Identifier(index.constraint or ""), table, Literal(index.constraint_comment)
        )
    if index.clustered:
        yield SQL("ALTER TABLE {} CLUSTER ON {}").format(table, Identifier(index.name))
