"""By what the rows of an existing database are to be known: natural keys where they do, else ids as they are.

Pure: a catalog in, keys out. An id is left out only where nothing but foreign keys can hold it, for the next
database gives its rows other ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from seedlab.errors import ConfigurationError
from seedlab.flow import Catalog, Column, ForeignKey, Table, UniqueKey
from seedlab.flow.exports import Leaf
from seedlab.plan.graph import components
from seedlab.plan.relations import find_relation, relation_names

# Kinds whose values people can type, and whose equality files and databases see alike.
NAMING = frozenset(
    {"text", "varchar", "char", "citext", "enum", "int2", "int4", "int8", "numeric", "bool"}
    | {"date", "time", "timestamp", "timestamptz", "uuid"}
)
_INTEGERS = frozenset({"int2", "int4", "int8"})
_ENDINGS = ("_id", "Id")

Place = tuple[str, str]  # table and column
Keys = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """How rows are known.

    `keys` maps each table to columns of it; a table whose keys lead through themselves has none. `hidden`
    maps tables to the id that files leave out, `places` every column that holds such an id to its table,
    `kept` the tables whose ids stay, though they have natural keys, to the reason.
    """

    keys: Mapping[str, tuple[str, ...]]
    hidden: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[Place, str] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)


def identify(tables: Sequence[Table], found: Mapping[str, tuple[str, ...]], *, with_ids: bool) -> Identities:
    """Choose keys for tables, and the ids that can be left out. `found` are keys that the rows proved.

    Begins with every id that has a natural key beside it, and takes back those that something else than a
    reference by name needs.
    """
    hidden: dict[str, str] = {}
    for table in () if with_ids else tables:
        own = surrogate(table)
        if own is not None and natural_keys(table):
            hidden[table.name] = own
    kept = {name: why for name, why in _soft_references(tables).items() if name in hidden}
    while True:
        hidden = {name: own for name, own in hidden.items() if name not in kept}
        places = _places(tables, hidden)
        keys = _choose(tables, hidden, found)
        more = _unnameable(tables, places) or _endless(tables, hidden, keys)
        if not more:
            return Identities(keys=keys, hidden=hidden, places=places, kept=kept)
        kept |= more


def surrogate(table: Table) -> str | None:
    """Name the primary-key column whose values seedlab can make anew: a uuid, or the next of a sequence."""
    key = table.primary_key
    if len(key) != 1 or any(key[0] in each.columns for each in table.foreign_keys):
        return None
    column = table.columns[key[0]]
    return key[0] if column.kind == "uuid" or column.sequence else None


def natural_keys(table: Table) -> list[tuple[str, ...]]:
    """NOT NULL unique constraints without the primary key's columns, the most telling first.

    A key that the database fills by itself tells a person nothing, so it comes last.
    """
    own = set(table.primary_key)
    fit = [
        key
        for key in table.keys
        if not own & set(key.columns) and all(_can_name(table.columns[name]) for name in key.columns)
    ]
    fit.sort(key=lambda key: (any(map(_is_made, _of(table, key))), len(key.columns), key.name))
    return [key.columns for key in fit]


def _of(table: Table, key: UniqueKey) -> list[Column]:
    return [table.columns[name] for name in key.columns]


def _is_made(column: Column) -> bool:
    return column.sequence is not None or (column.kind == "uuid" and column.default)


def keyless(table: Table) -> bool:
    """Tell whether the table has no primary key and no NOT NULL unique constraint, so that rows must tell."""
    return not table.primary_key and not any(
        all(not table.columns[name].nullable for name in key.columns) for key in table.keys
    )


def leaves(catalog: Catalog, who: Identities, table: Table, columns: Iterable[str]) -> Iterator[Leaf]:
    """Spell columns of a table as a file has them: one that holds an id left out, by the parent's key."""
    for name in columns:
        key = _reference(table, name, who.places)
        if key is None:
            yield Leaf(name=name, column=table.columns[name])
            continue
        parent, relation = catalog.tables[key.parent], _relation(table, key)
        for leaf in leaves(catalog, who, parent, who.keys[parent.name]):
            yield Leaf(name=f"{relation}.{leaf.name}", column=leaf.column, path=(key, *leaf.path))


# ---- ids ------------------------------------------------------------------------------------------------


def _can_name(column: Column) -> bool:
    return column.kind in NAMING and not column.nullable and not column.generated


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
        more = {own: places[far] for own, far in links if far in places and own not in places}
        places |= more
        grown = bool(more)
    return places


def _unnameable(tables: Sequence[Table], places: Mapping[Place, str]) -> dict[str, str]:
    """Map tables whose ids cannot be left out to why: a foreign key to them that no name can stand for."""
    found: dict[str, str] = {}
    for table in tables:
        for key in table.foreign_keys:
            roots = [places[key.parent, name] for name in key.parent_columns if (key.parent, name) in places]
            shared = any(
                set(key.columns) & set(other.columns) for other in table.foreign_keys if other != key
            )
            # A seed hands a row's own id on to its children, not one that it has from its parent.
            through = any(root != key.parent for root in roots)
            if roots and (len(key.columns) > 1 or shared or through or _relation(table, key) is None):
                why = f"{table.name} refers to it by {', '.join(key.columns)}, which no name can stand for"
                found |= dict.fromkeys(roots, why)
    return found


def _soft_references(tables: Sequence[Table]) -> dict[str, str]:
    """Map tables to the column that seems to hold their ids without a foreign key (`user_id` and `users`)."""
    found: dict[str, str] = {}
    ids = {table.name: table.columns[own] for table in tables if (own := surrogate(table)) is not None}
    named = {table.name: table.relation.lower() for table in tables if table.name in ids}
    for place, column in loose_ids(tables):
        stem = _stem(place[1]).lower()
        spelled = {stem, f"{stem}s", f"{stem}es", f"{stem.removesuffix('y')}ies"}
        for name, relation in named.items():
            same_kind = (column.kind in _INTEGERS) == (ids[name].kind in _INTEGERS)
            if same_kind and (
                relation in spelled or relation.endswith(tuple(f"_{each}" for each in spelled))
            ):
                found[name] = f"{'.'.join(place)} holds them without a foreign key"
    return found


def loose_ids(tables: Sequence[Table]) -> Iterator[tuple[Place, Column]]:
    """Find columns named like references (`user_id`) that no foreign key has."""
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
    """Give each table the best of its keys that does not lead through itself.

    First choices come first; only when they lead no further one table takes its next.
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

    while left := sorted(choices.keys() - keys.keys()):
        settled = [name for name in left if settles(name)]
        another = next((name for name in left if allowed[name] < len(choices[name])), None)
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


def _endless(tables: Sequence[Table], hidden: Mapping[str, str], keys: Keys) -> dict[str, str]:
    """Map tables whose id is left out, and that got no key, to why.

    Those whose keys lead in a circle, if any: the others may get theirs once these keep their ids.
    """
    left = [table for table in tables if table.name not in keys]
    graph = {
        table.name: {
            each.parent
            for key in _choices(table, hidden, {})
            for each in table.foreign_keys
            if set(each.columns) <= set(key)
        }
        for table in left
    }
    circles = [group for group in components(graph) if len(group) > 1 or group[0] in graph[group[0]]]
    found = {name for group in circles for name in group} & hidden.keys()
    return dict.fromkeys(found or hidden.keys() - keys.keys(), "its natural key leads through itself")


def _reference(table: Table, column: str, places: Mapping[Place, str]) -> ForeignKey | None:
    """Find the foreign key by which a column is given, if it holds a left-out id; else None."""
    if (table.name, column) not in places:
        return None
    return next((key for key in table.foreign_keys if key.columns == (column,)), None)


def _relation(table: Table, key: ForeignKey) -> str | None:
    """Name a foreign key as files call it; None where every name may mean something else."""
    for name in relation_names(table, key):
        try:
            means = find_relation(table, name)
        except ConfigurationError:
            continue
        hides = any(column.startswith(f"{name}.") for column in table.columns)
        if means == key and "." not in name and not hides:
            return name
    return None
