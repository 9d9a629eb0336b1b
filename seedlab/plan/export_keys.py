"""Chooses the keys by which an export identifies rows: natural keys if possible, else the ids themselves.

An id is left out only if nothing but foreign keys refers to it, because the database that is seeded from the
export generates other ids. Pure: takes the tables of a catalog.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from seedlab.errors import ConfigurationError
from seedlab.flow import Catalog, Column, ForeignKey, Table, UniqueKey
from seedlab.flow.exports import Leaf
from seedlab.plan.graph import components
from seedlab.plan.relations import find_relation, relation_names

# Kinds of columns that may be part of a natural key: people can type their values, and two values are equal
# in a file if and only if they are in the database.
KEY_KINDS = frozenset(
    {"text", "varchar", "char", "citext", "enum", "int2", "int4", "int8", "numeric", "bool"}
    | {"date", "time", "timestamp", "timestamptz", "uuid"}
)
_INTEGERS = frozenset({"int2", "int4", "int8"})
_ENDINGS = ("_id", "Id")

Place = tuple[str, str]  # table and column
Keys = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """How the rows of each table are identified.

    `keys` maps a table to its key's columns; it lacks tables all of whose keys refer back to themselves.
    `hidden` maps a table to the id column that its file leaves out. `places` maps every column that holds
    such an id to the id's table. `kept` maps tables whose ids are exported although they have natural keys to
    the reason, and `soft_references` are the columns without a foreign key for which some of them are kept.
    """

    keys: Mapping[str, tuple[str, ...]]
    hidden: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[Place, str] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    soft_references: frozenset[Place] = frozenset()


def identify(tables: Sequence[Table], found: Mapping[str, tuple[str, ...]], *, with_ids: bool) -> Identities:
    """Choose the tables' keys, and the ids that can be left out.

    `found` maps tables without a declared key to columns that are unique in their rows. Starts with leaving
    out every id whose table has a natural key, and keeps those that turn out to be needed, until nothing
    changes.
    """
    hidden: dict[str, str] = {}
    for table in () if with_ids else tables:
        id_column = surrogate(table)
        if id_column is not None and natural_keys(table):
            hidden[table.name] = id_column
    soft_references = [(place, name) for place, name in _soft_references(tables) if name in hidden]
    kept = {
        name: f"{'.'.join(place)} seems to hold them without a foreign key" for place, name in soft_references
    }
    while True:
        hidden = {name: id_column for name, id_column in hidden.items() if name not in kept}
        places = _places(tables, hidden)
        keys = _choose(tables, hidden, found)
        newly_kept = _needed_by_references(tables, places) or _in_key_cycles(tables, hidden, keys)
        if not newly_kept:
            return Identities(
                keys=keys,
                hidden=hidden,
                places=places,
                kept=kept,
                soft_references=frozenset(place for place, _ in soft_references),
            )
        kept |= newly_kept


def surrogate(table: Table) -> str | None:
    """Return the primary-key column whose values seedlab can generate anew: a uuid or of a sequence."""
    key = table.primary_key
    if len(key) != 1 or any(key[0] in each.columns for each in table.foreign_keys):
        return None
    column = table.columns[key[0]]
    return key[0] if column.kind == "uuid" or column.sequence else None


def natural_keys(table: Table) -> list[tuple[str, ...]]:
    """Return the natural keys, best first: NOT NULL unique constraints apart from the primary key.

    A key that the database generates has no meaning to people, so it comes last.
    """
    primary = set(table.primary_key)
    candidates = [
        key
        for key in table.keys
        if not primary & set(key.columns) and all(_can_name(table.columns[name]) for name in key.columns)
    ]
    candidates.sort(key=lambda key: (_is_generated(table, key), len(key.columns), key.name))
    return [key.columns for key in candidates]


def _is_generated(table: Table, key: UniqueKey) -> bool:
    columns = (table.columns[name] for name in key.columns)
    return any(each.sequence is not None or (each.kind == "uuid" and each.default) for each in columns)


def keyless(table: Table) -> bool:
    """Tell whether the table has neither a primary key nor a NOT NULL unique constraint."""
    return not table.primary_key and not any(
        all(not table.columns[name].nullable for name in key.columns) for key in table.keys
    )


def possible_key_columns(table: Table) -> list[str]:
    """Return the columns of kinds that a natural key may have, also those that may be NULL."""
    return [each.name for each in table.columns.values() if each.kind in KEY_KINDS and not each.generated]


def leaves(catalog: Catalog, identities: Identities, table: Table, columns: Iterable[str]) -> Iterator[Leaf]:
    """Return the columns of a file; a reference to a left-out id is replaced by the parent's key."""
    for name in columns:
        key = _reference(table, name, identities.places)
        if key is None:
            yield Leaf(name=name, column=table.columns[name])
            continue
        parent, relation = catalog.tables[key.parent], _relation(table, key)
        for leaf in leaves(catalog, identities, parent, identities.keys[parent.name]):
            yield Leaf(name=f"{relation}.{leaf.name}", column=leaf.column, path=(key, *leaf.path))


# ---- ids ------------------------------------------------------------------------------------------------


def _can_name(column: Column) -> bool:
    return column.kind in KEY_KINDS and not column.nullable and not column.generated


def _places(tables: Sequence[Table], hidden: Mapping[str, str]) -> dict[Place, str]:
    """Map every column that holds a left-out id, directly or through foreign keys, to the id's table."""
    places = {(name, own): name for name, own in hidden.items()}
    links = [
        ((table.name, own), (key.parent, parent))
        for table in tables
        for key in table.foreign_keys
        for own, parent in key.column_pairs
    ]
    grown = True
    while grown:
        more = {
            own: places[referenced] for own, referenced in links if referenced in places and own not in places
        }
        places |= more
        grown = bool(more)
    return places


def _needed_by_references(tables: Sequence[Table], places: Mapping[Place, str]) -> dict[str, str]:
    """Map tables to why their ids are needed: a foreign key to them cannot be given by the parent's key."""
    found: dict[str, str] = {}
    for table in tables:
        for key in table.foreign_keys:
            roots = [places[key.parent, name] for name in key.parent_columns if (key.parent, name) in places]
            shared = any(
                set(key.columns) & set(other.columns) for other in table.foreign_keys if other != key
            )
            # When a project is seeded, a child takes over its parent's own id, but no other column of the
            # parent's, such as the id of the parent's parent.
            through = any(root != key.parent for root in roots)
            if roots and (len(key.columns) > 1 or shared or through or _relation(table, key) is None):
                by = ", ".join(key.columns)
                why = f"{table.name} refers to it by {by}, which a natural key cannot replace"
                found |= dict.fromkeys(roots, why)
    return found


def _soft_references(tables: Sequence[Table]) -> Iterator[tuple[Place, str]]:
    """Yield columns that seem to hold ids without a foreign key, each with the table of these ids.

    Such a column is named after the table, `user_id` for `users`, or has a key that SQLite cannot follow.
    """
    ids = {table.name: table.columns[own] for table in tables if (own := surrogate(table)) is not None}
    for table in tables:
        for key in (each for each in table.unfit if each.parent in ids):
            if not key.parent_columns or ids[key.parent].name in key.parent_columns:
                yield (table.name, key.columns[0]), key.parent
    named = {table.name: table.relation.lower() for table in tables if table.name in ids}
    for column_place, column in loose_ids(tables):
        stem = _stem(column_place[1]).lower()
        spelled = {stem, f"{stem}s", f"{stem}es", f"{stem.removesuffix('y')}ies"}
        for name, relation in named.items():
            same_kind = (column.kind in _INTEGERS) == (ids[name].kind in _INTEGERS)
            if same_kind and (
                relation in spelled or relation.endswith(tuple(f"_{each}" for each in spelled))
            ):
                yield column_place, name


def loose_ids(tables: Sequence[Table]) -> Iterator[tuple[Place, Column]]:
    """Find columns that are named like references (`user_id`) but belong to no foreign key."""
    for table in tables:
        bound = {name for key in table.foreign_keys for name in key.columns} | {*table.primary_key}
        for column in table.columns.values():
            is_id = column.kind in _INTEGERS or column.kind == "uuid"
            if is_id and column.name not in bound and _stem(column.name) != column.name:
                yield (table.name, column.name), column


def _stem(name: str) -> str:
    for ending in _ENDINGS:
        if name.endswith(ending) and len(name) > len(ending):
            return name.removesuffix(ending)
    return name


# ---- keys -----------------------------------------------------------------------------------------------


def _choose(
    tables: Sequence[Table],
    hidden: Mapping[str, str],
    found: Mapping[str, tuple[str, ...]],
) -> Keys:
    """Choose for each table the best key that does not lead back to the table itself.

    A key that contains references is settled once the keys of the parents are. All tables start with their
    best key alone; whenever no further table can be settled, one table is allowed its next best, too.
    """
    choices = {table.name: _choices(table, hidden, found) for table in tables}
    tables_by_name = {table.name: table for table in tables}
    allowed = dict.fromkeys(choices, 1)
    keys: Keys = {}

    def settles(name: str) -> bool:
        for key in choices[name][: allowed[name]]:
            parents = {
                each.parent for each in tables_by_name[name].foreign_keys if set(each.columns) <= set(key)
            }
            if name not in parents and not (parents & tables_by_name.keys()) - keys.keys():
                keys[name] = key
                return True
        return False

    while open_tables := sorted(choices.keys() - keys.keys()):
        settled = [name for name in open_tables if settles(name)]
        another = next((name for name in open_tables if allowed[name] < len(choices[name])), None)
        if not settled and another is None:
            break
        if not settled and another is not None:
            allowed[another] += 1
    return keys


def _choices(
    table: Table, hidden: Mapping[str, str], found: Mapping[str, tuple[str, ...]]
) -> list[tuple[str, ...]]:
    if table.name in hidden:
        return natural_keys(table)
    primary = [table.primary_key] if table.primary_key else []
    others = [
        key.columns
        for key in sorted(table.keys, key=lambda key: (len(key.columns), key.name))
        if not key.primary and not any(table.columns[name].nullable for name in key.columns)
    ]
    return [*primary, *others, *([found[table.name]] if table.name in found else [])]


def _in_key_cycles(tables: Sequence[Table], hidden: Mapping[str, str], keys: Keys) -> dict[str, str]:
    """Map tables to why their ids are needed: they got no key, since their keys refer to each other.

    If there are cycles, only the tables in them are returned: the others may get a key once these keep their
    ids.
    """
    unkeyed = [table for table in tables if table.name not in keys]
    graph = {
        table.name: {
            each.parent
            for key in _choices(table, hidden, {})
            for each in table.foreign_keys
            if set(each.columns) <= set(key)
        }
        for table in unkeyed
    }
    circles = [group for group in components(graph) if len(group) > 1 or group[0] in graph[group[0]]]
    found = {name for group in circles for name in group} & hidden.keys()
    return dict.fromkeys(found or hidden.keys() - keys.keys(), "its natural key refers back to itself")


def _reference(table: Table, column: str, places: Mapping[Place, str]) -> ForeignKey | None:
    """Return the foreign key that replaces a column that holds a left-out id, else None."""
    if (table.name, column) not in places:
        return None
    return next((key for key in table.foreign_keys if key.columns == (column,)), None)


def _relation(table: Table, key: ForeignKey) -> str | None:
    """Return a name for a foreign key in files, or None if every name may mean something else."""
    for name in relation_names(table, key):
        try:
            means = find_relation(table, name)
        except ConfigurationError:
            continue
        hides = any(column.startswith(f"{name}.") for column in table.columns)
        if means == key and "." not in name and not hides:
            return name
    return None
