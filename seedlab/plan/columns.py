"""Interprets source columns: each is a column of the table, or part of a reference to a parent row.

Pure: takes names and the catalog's tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from seedlab.errors import ConfigurationError, closest
from seedlab.flow import Catalog, ForeignKey, Seed, Table, TableSpec
from seedlab.plan.relations import find_relation, relation_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The source columns that a seed's files have for a table."""

    seed: Seed
    spec: TableSpec
    columns: tuple[str, ...]

    @property
    def file(self) -> str | None:
        """The name of the first file, which faults of columns name."""
        return self.seed.files[0].name if self.seed.files else None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenRelation:
    """A foreign key that the files give by a relation, whose `name` is spelled as there.

    `sources` maps the path behind the name ("university.slug", "" for the bare name) to the source column.
    """

    name: str
    foreign_key: ForeignKey
    sources: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Interpreted source columns: columns of the table, relations by foreign key's name, unknown names."""

    exact: tuple[str, ...]
    relations: Mapping[str, GivenRelation]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """The source columns of a seed for a table, with the table and the interpretation of the columns."""

    given: Given
    table: Table
    columns: Columns


def understand(columns: Iterable[str], table: Table, catalog: Catalog) -> Columns:
    """Interpret source columns; the exact name of a column takes precedence over a dotted path.

    Raises ConfigurationError for a relation that may mean several foreign keys, and for a foreign key that is
    given twice.
    """
    exact, unknown = [], []
    relations: dict[str, GivenRelation] = {}
    for source in columns:
        head, _, path = source.partition(".")
        foreign_key = None if source in table.columns else find_relation(table, head)
        if source in table.columns:
            exact.append(source)
        elif foreign_key is None or not reachable(catalog, foreign_key, path):
            unknown.append(source)
        else:
            given = relations.setdefault(foreign_key.name, GivenRelation(name=head, foreign_key=foreign_key))
            if given.name != head:
                raise ConfigurationError(
                    f"table {table.name}: '{given.name}' and '{head}' both mean the foreign key "
                    f"{foreign_key.name}; use one of them"
                )
            given.sources[path] = source
    _refuse_twice(table, exact, relations.values())
    return Columns(exact=tuple(exact), relations=relations, unknown=tuple(unknown))


def _refuse_twice(table: Table, exact: Sequence[str], relations: Iterable[GivenRelation]) -> None:
    """Raise ConfigurationError if a foreign key is given in more than one of three ways.

    These are: by its own columns, by the bare relation, by the parts of a key of the parent.
    """
    for each in relations:
        own = each.foreign_key.columns if set(each.foreign_key.columns) <= set(exact) else ()
        bare = (each.name,) if "" in each.sources and len(each.sources) > 1 else ()
        if own or bare:
            dotted = next((f"{each.name}.{path}" for path in each.sources if path), each.name)
            raise ConfigurationError(
                f"table {table.name}: '{', '.join(own or bare)}' and '{dotted}' both give the foreign key "
                f"{each.foreign_key.name}; use one of them"
            )


def reachable(catalog: Catalog, foreign_key: ForeignKey, path: str) -> bool:
    """Tell whether `path` (`university.slug`) leads from the parent to a column, or is empty."""
    parent = catalog.tables[foreign_key.parent]
    if not path or path in parent.columns:
        return True
    head, _, tail = path.partition(".")
    following = find_relation(parent, head)
    return following is not None and bool(tail) and reachable(catalog, following, tail)


def unknown_column(catalog: Catalog, table: Table, name: str) -> str:
    """Word the message for a name that is no column: how far its dotted path leads, and the nearest name."""
    message = f"table {table.name} has no column or relation '{name}'"
    current, walked, path = table, "", name
    while "." in path and (key := find_relation(current, path.partition(".")[0])) is not None:
        head, _, path = path.partition(".")
        current, walked = catalog.tables[key.parent], f"{walked}{head}."
    if walked:
        message += f": {current.name}, to which '{walked[:-1]}' refers, has no '{path.partition('.')[0]}'"
    relations = [relation_names(current, each)[0] for each in current.foreign_keys]
    head, dot, tail = path.partition(".")
    if not dot:
        suggestion = closest(path, [*current.columns, *relations])
    elif (suggestion := path.replace(".", "_")) not in current.columns:
        nearest_relation = closest(head, relations)
        suggestion = f"{nearest_relation}.{tail}" if nearest_relation else None
    return f"{message}; did you mean '{walked}{suggestion}'?" if suggestion else message


def covered_columns(columns: Columns) -> set[str]:
    """Return the columns of the table that the source columns fill, those of foreign keys included."""
    return {
        *columns.exact,
        *(name for each in columns.relations.values() for name in each.foreign_key.columns),
    }
