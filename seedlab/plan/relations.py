"""Names of foreign keys in files, and the foreign key that a name, a nested record or a list means.

Pure: takes the catalog's tables.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from seedlab.errors import ConfigurationError, nearest
from seedlab.flow import Catalog, ForeignKey, Table, TableSpec

VALUE = "$value"  # the name of the single column that a list of scalars has


def relation_names(table: Table, foreign_key: ForeignKey) -> tuple[str, ...]:
    """Return all names by which a file may call a foreign key, the usual one first.

    These are the column without `_id` or `Id`, the column, the parent table if no other foreign key
    references it, and the constraint's name.
    """
    names = []
    if len(foreign_key.columns) == 1:
        column = foreign_key.columns[0]
        names += [column.removesuffix("_id").removesuffix("Id"), column]
    if len({other.meaning for other in table.foreign_keys if other.parent == foreign_key.parent}) == 1:
        names.append(foreign_key.parent)
    names.append(foreign_key.name)
    return tuple(dict.fromkeys(name for name in names if name))


def find_relation(table: Table, name: str) -> ForeignKey | None:
    """Look up a foreign key by any of its names. Raises ConfigurationError if the name is ambiguous."""
    found = [each for each in table.foreign_keys if name in relation_names(table, each)]
    if len({each.meaning for each in found}) > 1:
        choices = ", ".join(sorted(each.name for each in found))
        raise ConfigurationError(
            f"relation '{name}' of table {table.name} may mean any of the foreign keys {choices}; "
            "call it by the foreign key's name"
        )
    return found[0] if found else None


def parent_relation(child: Table, parent: str, declared: str | None) -> str:
    """Return the relation by which nested records refer to the record that encloses them.

    Raises ConfigurationError if the `declared` one does not exist, or if none is declared and the child has
    not exactly one foreign key to the parent.
    """
    if declared:
        if find_relation(child, declared) is None:
            known = [name for each in child.foreign_keys for name in relation_names(child, each)]
            raise ConfigurationError(
                f"parent = '{declared}' is no relation of table {child.name}{nearest(declared, known)}"
            )
        return declared
    found = [each for each in child.relations if each.parent == parent]
    if len(found) == 1:
        return relation_names(child, found[0])[0]
    if not found:
        raise ConfigurationError(
            f"records of {child.name} are nested in {parent}, but {child.name} has no foreign key to {parent}"
        )
    names = " or ".join(f"'{relation_names(child, each)[0]}'" for each in found)
    raise ConfigurationError(
        f"table {child.name} refers to {parent} by more than one foreign key; set parent = {names}"
    )


def is_link(table: Table) -> bool:
    """Tell whether this is a link table: one with a key that consists of its two foreign keys."""
    columns = sorted(column for each in table.relations for column in each.columns)
    return len(table.relations) == 2 and any(sorted(key.columns) == columns for key in table.keys)


def infer_link(catalog: Catalog, table: Table, path: str) -> TableSpec | None:
    """Find the link table that a list in `table`'s records fills; None if there is not exactly one.

    The last part of `path` must be the name of the link table, of the other table or of the relation to it.
    """
    name = path.rsplit(".", 1)[-1]
    word = name.casefold()
    singular = {word, word.removesuffix("s"), word.removesuffix("es"), re.sub("ies$", "y", word)}
    found = []
    for link in filter(is_link, catalog.tables.values()):
        for to_table, other in (link.relations, link.relations[::-1]):
            names = {each.casefold() for each in relation_names(link, other)}
            if to_table.parent == table.name and (name in (link.name, other.parent) or singular & names):
                found.append((link, to_table))
    if len(found) != 1:
        return None
    link, to_table = found[0]
    return TableSpec(table=link.name, path=path, parent=relation_names(link, to_table)[0])


def name_value(columns: Sequence[str], table: Table, parent: str) -> dict[str, str]:
    """Map the column of a list of scalars to the link's other relation: `{"$value": "course"}`."""
    if VALUE not in columns:
        return {}
    to_parent = find_relation(table, parent)
    others = [each for each in table.relations if to_parent is None or each.meaning != to_parent.meaning]
    if len(others) != 1:
        raise ConfigurationError(
            f"a list of scalars fills table {table.name}, which must have exactly one other foreign key "
            f"beside '{parent}'; it has {len(others)}: write a list of objects"
        )
    # A name that is no column is preferred: a column would hold the other row's id, a relation its key.
    names = relation_names(table, others[0])
    return {VALUE: next((name for name in names if name not in table.columns), names[0])}
