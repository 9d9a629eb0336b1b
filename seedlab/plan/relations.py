"""What a foreign key may be called, and which one a name, a nesting or a list means.

Pure: the catalog's tables in, foreign keys out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from seedlab.errors import ConfigurationError, nearest
from seedlab.flow import Catalog, ForeignKey, Table, TableSpec

VALUE = "$value"  # the column of a list of scalars


def relation_names(table: Table, foreign_key: ForeignKey) -> tuple[str, ...]:
    """Every name a file may call a foreign key by, the usual one first.

    The column less `_id`/`Id`, the column, the referenced table if no other key refers there, the
    constraint's name.
    """
    names = []
    if len(foreign_key.columns) == 1:
        column = foreign_key.columns[0]
        names += [column.removesuffix("_id").removesuffix("Id"), column]
    if sum(other.parent == foreign_key.parent for other in table.relations) == 1:
        names.append(foreign_key.parent)
    names.append(foreign_key.name)
    return tuple(dict.fromkeys(name for name in names if name))


def find_relation(table: Table, name: str) -> ForeignKey | None:
    """Look up a foreign key by any of its names; ambiguous is a ConfigurationError with the choices."""
    found = [each for each in table.foreign_keys if name in relation_names(table, each)]
    if len({each.meaning for each in found}) > 1:
        choices = ", ".join(sorted(each.name for each in found))
        raise ConfigurationError(
            f"relation '{name}' of table {table.name} may mean any of the foreign keys {choices}; "
            "call it by the foreign key's name"
        )
    return found[0] if found else None


def parent_relation(child: Table, parent: str, declared: str | None) -> str:
    """Name the relation by which nested records refer to the record around them."""
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
    raise ConfigurationError(f"table {child.name} refers to {parent} more than once: say parent = {names}")


def infer_link(catalog: Catalog, table: Table, path: str) -> TableSpec | None:
    """Find the link table that a list of `table`'s records fills: its key is exactly its two foreign keys.

    `path` ends in the list's name, which must name the link table, the other table or the other relation.
    """
    name = path.rsplit(".", 1)[-1]
    word = name.casefold()
    singular = {word, word.removesuffix("s"), word.removesuffix("es"), re.sub("ies$", "y", word)}
    found = []
    for link in catalog.tables.values():
        pair = link.relations
        columns = sorted(column for each in pair for column in each.columns)
        if len(pair) != 2 or not any(sorted(key.columns) == columns for key in link.keys):
            continue
        for to_table, other in (pair, pair[::-1]):
            names = {each.casefold() for each in relation_names(link, other)}
            if to_table.parent == table.name and (name in (link.name, other.parent) or singular & names):
                found.append((link, to_table))
    if len(found) != 1:
        return None
    link, to_table = found[0]
    return TableSpec(table=link.name, path=path, parent=relation_names(link, to_table)[0])


def name_value(columns: Sequence[str], table: Table, parent: str) -> dict[str, str]:
    """Rename the column of a list of scalars after the link's other relation: `{"$value": "course"}`."""
    if VALUE not in columns:
        return {}
    to_parent = find_relation(table, parent)
    others = [each for each in table.relations if to_parent is None or each.meaning != to_parent.meaning]
    if len(others) != 1:
        raise ConfigurationError(
            f"a list of scalars fills table {table.name}, which must have exactly one other foreign key "
            f"beside '{parent}'; it has {len(others)}: write a list of objects"
        )
    # By a name that is no column: a column would hold the other row's id, a relation holds its key.
    names = relation_names(table, others[0])
    return {VALUE: next((name for name in names if name not in table.columns), names[0])}
