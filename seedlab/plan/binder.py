"""Binds files to the catalog: resolves the columns of each seed by it, and makes loads of them.

A load has a key and references, which say by which columns of the file a row and its parents are identified.

Pure: takes a catalog and the column names of the files, and returns loads and faults.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from seedlab.errors import ConfigurationError, Fault, Place, nearest
from seedlab.flow import Catalog, ForeignKey, Load, Part, Reference, Table
from seedlab.plan.columns import Given, GivenRelation, Understood, covered_columns, understand, unknown_column
from seedlab.plan.filling import default_columns, how_to_fill, made_column, unfilled_columns
from seedlab.plan.keys import WHOLE_ROWS, Keys, choose_keys, spell_keys
from seedlab.plan.relations import is_link


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The loads in the order given, the origin of each table's key, and faults of columns."""

    loads: tuple[Load, ...]
    key_origins: Mapping[str, str]
    faults: tuple[Fault, ...] = ()


def bind(
    catalog: Catalog,
    given: Sequence[Given],
    known: Keys | None = None,
    defaults: Collection[str] = (),
) -> Bound:
    """Interpret every source column, choose every table's key, and resolve the parts of every reference.

    `known` are the keys of tables that other seeds fill. `defaults` are the columns for which the project
    declares a default.

    Required columns without a value and unknown columns are returned as faults; if there are unknown ones, no
    load is returned. Raises ConfigurationError for what has to be corrected in seedlab.toml (no key,
    ambiguous relation, a view). The time is linear in the number of columns.
    """
    sources = [_understood(each, catalog) for each in given]
    misspelt = [each.given for each in sources if each.columns.unknown]
    faults: list[Fault] = []
    for each in sources:
        faults += _unknown(each, catalog)
        # A misspelt column may be the missing one, of this table or in the key that nested records inherit.
        if not any(each.given is outer or _is_within(each.given, outer) for outer in misspelt):
            faults += _unfilled(each, defaults)
    if misspelt:
        return Bound(loads=(), key_origins={}, faults=tuple(faults))
    keys = choose_keys(sources, catalog, known or Keys())
    loads = tuple(_load(each, keys, catalog, defaults) for each in sources)
    return Bound(loads=loads, key_origins=keys.origins, faults=tuple(faults))


def key_sources(catalog: Catalog, given: Given) -> tuple[str, ...]:
    """Return the source columns of a seed's key, which nested records inherit from the enclosing record."""
    understood = _understood(given, catalog)
    columns = understood.columns
    if columns.unknown:
        return ()  # `bind` reports them
    key = choose_keys([understood], catalog, Keys()).columns[understood.table.name]
    names = [name for name in columns.exact if name in key]
    for relation in columns.relations.values():
        if set(relation.foreign_key.columns) <= set(key):
            names += relation.sources.values()
    return tuple(names)


def no_table(catalog: Catalog, name: str) -> str:
    """Word the message for a missing table."""
    if name in catalog.partitions:
        root = catalog.partitions[name]
        return (
            f"{name} is a partition of {root}: put its rows into the file of {root}, "
            "and the database routes them"
        )
    meant = nearest(name, catalog.tables) if catalog.tables else ", which has no tables"
    return (
        f"no table '{name}' in database {catalog.database}{meant}{' Or ' if meant.endswith('?') else '; '}"
        'run your migrations first, or name your SQLAlchemy tables in [project] schema = "models.py:metadata"'
    )


# ---- columns --------------------------------------------------------------------------------------------


def _understood(given: Given, catalog: Catalog) -> Understood:
    table = _table(catalog, given)
    return Understood(given=given, table=table, columns=understand(given.columns, table, catalog))


def _table(catalog: Catalog, given: Given) -> Table:
    table = catalog.find(given.spec.table)
    where = Place(file=given.file) if given.file else None
    if table is None:
        raise ConfigurationError(no_table(catalog, given.spec.table), where)
    if not table.holds_rows:
        raise ConfigurationError(
            f"{table.name} is a {table.kind}, which holds no rows of its own: name the file after the table "
            "whose rows these are, or take it out of the project",
            where,
        )
    if table.rules:
        raise ConfigurationError(_refused_rules(table), where)
    if unfit := _unfit(catalog, table):
        raise ConfigurationError(unfit, where)
    return table


def _unfit(catalog: Catalog, table: Table) -> str | None:
    """Word the message for a table that SQLite lets nobody write to in a transaction with deferred checks."""
    for child in catalog.tables.values():
        for key in child.unfit:
            if table.name in (child.name, key.parent):
                return (
                    f"the foreign key of {child.name} {key.spelled} fits no unique key of {key.parent}, for "
                    f"which SQLite refuses rows of {table.name} (foreign key mismatch): make the columns "
                    "that it refers to unique, drop it, or take the file out of the project"
                )
    return None


def _refused_rules(table: Table) -> str:
    some, names = "a rule" if len(table.rules) == 1 else "rules", ", ".join(table.rules)
    return (
        f"{table.name} has {some} ({names}): PostgreSQL rewrites an INSERT or UPDATE by it, but not a COPY, "
        "so that the rows would depend on how they are written. Make it a trigger, or switch it off during "
        "the seed (ALTER TABLE … DISABLE RULE …), or take the file out of the project"
    )


def _unknown(source: Understood, catalog: Catalog) -> list[Fault]:
    """Return a fault for each source column that is neither a column of the table nor leads to one."""
    given, table = source.given, source.table
    return [
        Fault(
            rule="unknown-column",
            table=table.name,
            file=given.file,
            column=name,
            path=None if given.spec.path == "$" else given.spec.path,
            message=unknown_column(catalog, table, name),
        )
        for name in source.columns.unknown
    ]


def _unfilled(source: Understood, defaults: Collection[str]) -> list[Fault]:
    """Return a fault for each column that requires a value and has none."""
    given, table = source.given, source.table
    return [
        Fault(
            rule="not-null",
            table=table.name,
            file=given.file,
            column=name,
            message=f"column {name} of table {table.name} is NOT NULL without a default, "
            f"and the file does not have it: {how_to_fill(table, name)}",
        )
        for name in unfilled_columns(table, covered_columns(source.columns), defaults)
    ]


def _is_within(given: Given, outer: Given) -> bool:
    """Tell whether the records of one table are nested in those of another table of the same seed."""
    path, around = given.spec.path, outer.spec.path
    return given.seed is outer.seed and path != around and (around == "$" or path.startswith(f"{around}."))


# ---- loads ----------------------------------------------------------------------------------------------


def _load(source: Understood, keys: Keys, catalog: Catalog, defaults: Collection[str]) -> Load:
    seed, table, columns = source.given.seed, source.table, source.columns
    references = [_reference(relation, keys, catalog) for relation in columns.relations.values()]
    exact = [name for name in columns.exact if not table.columns[name].generated]
    references += [
        _direct_reference(fk, {name: name for name in fk.columns})
        for fk in table.foreign_keys
        if fk.enforced and set(fk.columns) <= set(exact) and fk.name not in columns.relations
    ]
    referred = {name for each in references for name in each.foreign_key.columns}
    filled = default_columns(table, covered_columns(columns), defaults)
    with_nulls = table.name in keys.with_nulls
    return Load(
        stage=seed.stage,
        seed=seed.name,
        table=table.name,
        key=tuple(_key_parts(table, keys.columns[table.name], references, exact, nulls=with_nulls)),
        values=(*(name for name in exact if name not in referred), *filled),
        references=tuple(references),
        made=made_column(table, {*exact, *referred}),
        defaults=filled,
        mode=seed.mode,
        duplicates=seed.duplicates,
        priority=seed.priority,
        files=seed.files,
        link=is_link(table),
        whole=keys.origins.get(table.name) == WHOLE_ROWS,
    )


def _key_parts(
    table: Table,
    key: Sequence[str],
    references: Sequence[Reference],
    exact: Sequence[str],
    *,
    nulls: bool,
) -> Iterable[Part]:
    """Divide a key's columns into parts; a foreign key inside the key is one part, given by its reference.

    With `nulls`, NULL is a value of all parts that may be NULL.
    """
    within = [each for each in references if set(each.foreign_key.columns) <= set(key)]
    remaining = list(key)
    while remaining:
        column = remaining[0]
        reference = next((each for each in within if column in each.foreign_key.columns), None)
        if reference is not None:
            columns = reference.foreign_key.columns
            optional = nulls and any(table.columns[name].nullable for name in columns)
            yield Part(columns=columns, reference=reference, nulls=optional)
            remaining = [name for name in remaining if name not in columns]
        elif column in exact:
            yield Part(columns=(column,), source=column, nulls=nulls and table.columns[column].nullable)
            remaining.pop(0)
        else:
            raise ConfigurationError(
                f"the key of table {table.name} has column {column}, which the files do not give; "
                "add the column, or set another key"
            )


def _reference(given: GivenRelation, keys: Keys, catalog: Catalog) -> Reference:
    """Build a reference from its `relation.column` sources, which must form a unique key of the parent."""
    parent, sources = catalog.tables[given.foreign_key.parent], given.sources
    if set(sources) == {""}:
        sources = {_scalar_key(given.name, parent, keys.columns): sources[""]}
    inner = understand(sources, parent, catalog)
    nested = []
    for relation in inner.relations.values():  # its sources are paths of ours, which lead to source columns
        own_sources = {path: sources[ours] for path, ours in relation.sources.items()}
        nested.append(_reference(replace(relation, sources=own_sources), keys, catalog))
    nested += [
        _direct_reference(fk, sources) for fk in parent.foreign_keys if set(fk.columns) <= set(inner.exact)
    ]
    covered = covered_columns(inner)
    natural = keys.columns.get(parent.name, ())
    candidates = [natural, *(tuple(sorted(key.columns)) for key in parent.keys)]
    key = next((each for each in candidates if each and set(each) == covered), None)
    if key is None:
        known = spell_keys({each for each in candidates if each}) or "none"
        dotted = ", ".join(f"{given.name}.{path}" for path in sources)
        raise ConfigurationError(
            f"{dotted} do not make a unique key of table {parent.name} (its keys: {known}); a reference "
            "must name one row: give the parts of one key"
        )
    # The natural key of a table that does not run is unknown if neither the ledger nor the project says it.
    with_nulls = key == (natural or key) and parent.name in keys.with_nulls
    renamed = [
        replace(part, source=sources[part.source]) if part.source is not None else part
        for part in _key_parts(parent, key, nested, inner.exact, nulls=with_nulls)
    ]
    return Reference(name=given.name, foreign_key=given.foreign_key, key=key, parts=tuple(renamed))


def _scalar_key(spelling: str, parent: Table, keys: Mapping[str, tuple[str, ...]]) -> str:
    """Return the column that a bare `relation` means: the parent's natural key, or its only scalar key."""
    natural = keys.get(parent.name, ())
    scalars = (
        {natural} if len(natural) == 1 else {key.columns for key in parent.keys if len(key.columns) == 1}
    )
    if len(scalars) == 1:
        return scalars.pop()[0]
    raise ConfigurationError(
        f"'{spelling}' alone does not say which column of {parent.name} it holds; write '{spelling}.COLUMN'"
    )


def _direct_reference(foreign_key: ForeignKey, sources: Mapping[str, str]) -> Reference:
    """Build the reference of a foreign key whose own columns are in the file.

    `sources` maps each of these columns to its name in the file.
    """
    pairs = sorted((parent, own) for own, parent in foreign_key.column_pairs)
    return Reference(
        name=foreign_key.columns[0] if len(foreign_key.columns) == 1 else foreign_key.name,
        foreign_key=foreign_key,
        key=tuple(parent for parent, _ in pairs),
        parts=tuple(Part(columns=(parent,), source=sources[own]) for parent, own in pairs),
    )
