"""Drop the indexes and constraints of tables before a large load, and create them again afterwards.

Building an index at once is much cheaper than inserting keys one by one. All definitions are the server's
own, and afterwards the server must describe the tables exactly as before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.database.postgres.statements import qualified, trusted
from seedlab.errors import WriteError
from seedlab.flow import ForeignKey, Table

Keys = Mapping[str, tuple[Table, Sequence[ForeignKey]]]

_QUERY = (Path(__file__).parent / "rebuild.sql").read_text()
_KINDS = {"p": "PRIMARY KEY", "u": "UNIQUE"}
_MEMORY_KB = 1 << 18  # for building an index, unless the server's own setting is higher


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index, and the constraint that it implements, if any.

    `why` says why it must stay, if so. `referrers` are the foreign keys that need it: schema, table, name.
    `analyzed` says that there are planner statistics of its expressions.
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
        """The schema and name of its table."""
        return self.schema, self.relation


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The server's description of some tables' indexes, in order of creation, and constraints.

    `made` is the exact description of everything that must be the same after the load.
    """

    event_trigger: str | None
    trigger: str | None
    update_trigger: str | None
    tables: Mapping[tuple[str, str], str]
    indexes: Sequence[Index]
    made: frozenset[str]


def ask_facts(tables: Sequence[Table]) -> Composed:
    """Make the query for the facts about some tables, which must be locked against changes."""
    before, after = _QUERY.split("__TABLES__")
    each = SQL(", ").join(
        SQL("{}::pg_catalog.regclass").format(Literal(qualified(table).as_string())) for table in tables
    )
    return SQL("{}ARRAY[{}]{}").format(trusted(before), each, trusted(after))


def read_facts(answer: bytes | None) -> Facts:
    """Make Facts of the JSON document that the query returns."""
    document: dict[str, Any] = json.loads(answer or b"{}")
    return Facts(
        event_trigger=document["event_trigger"],
        trigger=document["trigger"],
        update_trigger=document["update_trigger"],
        tables={(schema, relation): why for schema, relation, why in document["tables"] or ()},
        indexes=tuple(Index(**each) for each in document["indexes"] or ()),
        made=frozenset(document["made"] or ()),
    )


def choose_indexes(
    facts: Facts, tables: Sequence[Table], keys: Keys
) -> tuple[dict[tuple[str, str], list[Index]], dict[str, str]]:
    """Choose the indexes of these tables to drop, by table; also return why the others stay.

    An index stays if a foreign key that is not among the dropped `keys` needs it.
    """
    dropped = {(table.schema, table.relation, key.name) for table, some in keys.values() for key in some}
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
    """Raise WriteError unless everything is as before; then the transaction must not be committed."""
    lost, new = sorted(before.made - after.made), sorted(after.made - before.made)
    if lost or new:
        raise WriteError(
            "indexes or constraints were not rebuilt as they had been, so nothing is written; seed with "
            f"`--disable rebuild`. Expected {'; '.join(lost) or 'nothing more'}; "
            f"found {'; '.join(new) or 'nothing'}"
        )


# ---- statements -----------------------------------------------------------------------------------------


def settings() -> list[Composable]:
    """Set the memory for building indexes, and the database's own tablespace for them."""
    return [
        SQL(
            "SELECT pg_catalog.set_config(name, greatest(setting::int8, {})::text, true) "
            "FROM pg_catalog.pg_settings WHERE name = 'maintenance_work_mem'"
        ).format(Literal(_MEMORY_KB)),
        SQL("SET LOCAL default_tablespace = ''"),
    ]


RESET = SQL("SET LOCAL default_tablespace TO DEFAULT")


def drop_indexes(indexes: Sequence[Index]) -> Iterator[Composed]:
    """Drop the indexes of one table: one statement for those of constraints, one for the others."""
    constraints = [each for each in indexes if each.constraint]
    if constraints:
        drops = SQL(", ").join(
            SQL("DROP CONSTRAINT {}").format(Identifier(each.constraint or "")) for each in constraints
        )
        yield SQL("ALTER TABLE {} {}").format(Identifier(*constraints[0].place), drops)
    plain = [Identifier(each.schema, each.name) for each in indexes if not each.constraint]
    if plain:
        yield SQL("DROP INDEX {}").format(SQL(", ").join(plain))


def create_indexes(indexes: Sequence[Index]) -> Iterator[Composable]:
    """Create the indexes of one table again, and analyze it if they had statistics of expressions."""
    for index in indexes:
        yield from create_index(index)
    if any(index.analyzed for index in indexes):
        yield SQL("ANALYZE {}").format(Identifier(*indexes[0].place))


def create_index(index: Index) -> Iterator[Composable]:
    """Create an index again, and its constraint from it."""
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
