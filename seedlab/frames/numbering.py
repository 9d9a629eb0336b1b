"""Choose the columns that must be numbered when the rows of a project are repeated.

Columns connected by foreign keys have the same values and are numbered alike: they form a *domain*. At least
one domain of every key (the natural key, and each unique constraint that the files cover) must be numbered,
and no more than necessary, so that codes within a parent, positions and kinds stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from seedlab.errors import ConfigurationError
from seedlab.flow import Catalog, Column, Load, Reference, null_sources
from seedlab.frames.kinds import largest_integer

Place = tuple[str, str]  # table and column
Family = Literal["text", "integer", "uuid", "date"]

_FAMILIES: Mapping[str, Family] = {  # in order of preference
    **dict.fromkeys(("text", "varchar", "char", "citext"), "text"),
    **dict.fromkeys(("int2", "int4", "int8", "numeric"), "integer"),
    "uuid": "uuid",
    "date": "date",
}
_RANKS = {family: rank for rank, family in enumerate(dict.fromkeys(_FAMILIES.values()))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Columns of seeded tables with the same values; `name` is the column that the others refer to."""

    name: Place
    family: Family
    columns: tuple[Column, ...]

    @property
    def length(self) -> int | None:
        """The length limit that fits every column; None without a limit."""
        return min((c.length for c in self.columns if c.length is not None), default=None)

    @property
    def largest(self) -> int:
        """The largest integer that fits every column."""
        return min(map(largest_integer, self.columns))

    def __str__(self) -> str:
        return ".".join(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """The domains to be numbered, by name; `roots` maps every column to the name of its domain."""

    catalog: Catalog
    domains: Mapping[Place, Domain]
    roots: Mapping[Place, Place]

    def of(self, load: Load) -> dict[str, tuple[Column, Domain]]:
        """Return, by source column to be numbered, the column whose values it holds, and its domain."""
        return {
            source: (self.catalog.tables[place[0]].columns[place[1]], self.domains[self.roots[place]])
            for source, place in _places(load).items()
            if self.roots[place] in self.domains
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    table: str
    columns: tuple[str, ...]
    domains: tuple[Place, ...]


def choose(catalog: Catalog, loads: Sequence[Load]) -> Numbering:
    """Choose domains so that every key of the loads differs between repetitions.

    Greedy: keys with the fewest domains come first. Raises ConfigurationError for a key without any domain
    that can be numbered.
    """
    roots = _join(catalog)
    filled = {load.table for load in loads}
    references = [each for load in loads for each in load.references]
    fixed = {roots[place] for each in references for place in _outside(each, filled)}
    known = {each.name: each for each in _domains(catalog, filled, roots) if each.name not in fixed}
    chosen: dict[Place, Domain] = {}
    keys = {key for load in loads for key in _keys(load, catalog, roots)}
    # A key with one domain leaves no choice, and a parent's key has no more domains than a key containing it.
    for key in sorted(keys, key=lambda key: (len(set(key.domains)), key.table, key.columns, key.domains)):
        if not chosen.keys() & set(key.domains):
            candidates = [known[name] for name in key.domains if name in known]
            if not candidates:
                raise _stuck(key, catalog, fixed)
            best = min(candidates, key=_dislike)
            chosen[best.name] = best
    return Numbering(catalog=catalog, domains=chosen, roots=roots)


def spare_ids(catalog: Catalog, loads: Sequence[Load]) -> dict[Load, str]:
    """Find explicit ids that the target can generate: neither part of the key nor used by references."""
    roots = _join(catalog)
    used = {roots[place] for load in loads for each in load.references for place in _below(each).values()}
    spare = {}
    for load in loads:
        table = catalog.tables[load.table]
        for name in table.primary_key if len(table.primary_key) == 1 else ():
            column = table.columns[name]
            made = column.kind == "uuid" or column.sequence or column.identity or column.default
            free = name not in load.key_columns and roots[table.name, name] not in used
            if name in load.values and made and free:
                spare[load] = name
    return spare


# ---- domains --------------------------------------------------------------------------------------------


def _join(catalog: Catalog) -> dict[Place, Place]:
    """Map every column to the one that names its domain: the last of its chain of foreign keys."""
    above = {(t.name, column): (t.name, column) for t in catalog.tables.values() for column in t.columns}

    def end(place: Place) -> Place:
        while above[place] != place:
            place = above[place]
        return place

    for table in catalog.tables.values():
        for key in table.foreign_keys:
            for own, parent in key.column_pairs:
                if (key.parent, parent) in above:
                    above[end((table.name, own))] = end((key.parent, parent))
    return {place: end(place) for place in above}


def _domains(catalog: Catalog, filled: Iterable[str], roots: Mapping[Place, Place]) -> Iterator[Domain]:
    """Yield the domains that can be numbered: those whose columns are all of one family."""
    members: dict[Place, list[Column]] = {}
    for table in sorted(filled):
        for column in catalog.tables[table].columns.values():
            members.setdefault(roots[table, column.name], []).append(column)
    for name, columns in members.items():
        families = {_FAMILIES.get(column.kind) for column in columns}
        family = families.pop() if len(families) == 1 else None
        if family is not None:
            yield Domain(name=name, family=family, columns=tuple(columns))


def _dislike(domain: Domain) -> tuple[bool, int, float]:
    """Rank a domain, best first: no user-defined types (which have unknown checks), text, longer text."""
    defined = any(column.domain for column in domain.columns)
    return defined, _RANKS[domain.family], -(domain.length or float("inf"))


# ---- keys -----------------------------------------------------------------------------------------------


def _places(load: Load) -> dict[str, Place]:
    """Map each source column of a load to the table column whose values it has."""
    places = {name: (load.table, name) for name in load.values}
    for reference in load.references:
        places |= _below(reference)
    return places


def _below(reference: Reference) -> dict[str, Place]:
    places: dict[str, Place] = {}
    for part in reference.parts:
        if part.reference is not None:
            places |= _below(part.reference)
        elif part.source is not None:
            places[part.source] = (reference.parent, part.columns[0])
    return places


def _outside(reference: Reference, filled: set[str]) -> Iterator[Place]:
    """Yield the columns that identify rows which no seed fills: those exist in the target only once."""
    if reference.parent not in filled:
        yield from _below(reference).values()
    for part in reference.parts:
        if part.reference is not None:
            yield from _outside(part.reference, filled)


def _keys(load: Load, catalog: Catalog, roots: Mapping[Place, Place]) -> Iterator[_Key]:
    """Yield the natural key and every unique key that the files cover."""
    places = _places(load)
    # What is NULL cannot be numbered, so a column without NULL is needed where there is one.
    nulls = null_sources(load.key)
    natural = [name for name in load.spelled_key if name not in nulls] or list(load.spelled_key)
    written = {*load.values, *(name for each in load.references for name in each.foreign_key.columns)}
    covered = [key for key in catalog.tables[load.table].keys if written.issuperset(key.columns)]
    unique = [(key.columns, list(_key_sources(load, set(key.columns)))) for key in covered]
    for columns, sources in [(load.key_columns, natural), *unique]:
        domains = tuple(dict.fromkeys(roots[places[source]] for source in sources))
        yield _Key(table=load.table, columns=columns, domains=domains)


def _key_sources(load: Load, columns: set[str]) -> Iterator[str]:
    """Yield the source columns that determine these columns; of a reference partly within, only that part."""
    yield from (name for name in load.values if name in columns)
    for reference in load.references:
        key = reference.foreign_key
        if columns.issuperset(key.columns):
            yield from reference.sources()
        within = {parent for own, parent in key.column_pairs if own in columns}
        yield from (part.source for part in reference.parts if part.source and part.columns[0] in within)


def _stuck(key: _Key, catalog: Catalog, fixed: set[Place]) -> ConfigurationError:
    reasons = [
        f"{'.'.join(name)} belongs to rows that no seed fills"
        if name in fixed
        else f"{'.'.join(name)} is {catalog.tables[name[0]].columns[name[1]].type}"
        for name in key.domains
    ]
    return ConfigurationError(
        f"the rows of {key.table} cannot be repeated, because nothing in the key ({', '.join(key.columns)}) "
        f"can be numbered: {'; '.join(reasons) or 'only a part of it is given'}; "
        "seedlab numbers text, integers, uuids and dates"
    )
