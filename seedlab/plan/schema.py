"""What the catalog means for the files: relations, keys, references, loads.

Pure: a catalog and the column names of the files in, loads and faults out. Opens nothing, asks nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from seedlab.errors import ConfigurationError, Fault, Place, nearest
from seedlab.flow import Catalog, ForeignKey, Load, Part, Reference, Seed, Table, TableSpec
from seedlab.plan.columns import Columns, covered_by, no_column, reachable, understand
from seedlab.plan.filling import by_default, how_to_fill, made_column, unfilled
from seedlab.plan.relations import find_relation


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The columns that one seed's files give one table."""

    seed: Seed
    spec: TableSpec
    columns: tuple[str, ...]

    @property
    def file(self) -> str | None:
        """The first of the files, as faults name it."""
        return self.seed.files[0].name if self.seed.files else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """All loads of a project in the order given, why each table has the key it has, and what does not fit."""

    loads: tuple[Load, ...]
    key_origins: Mapping[str, str]
    faults: tuple[Fault, ...] = ()


# The key of a table that has none, nor was given one in seedlab.toml.
WHOLE_ROWS = "all columns of the file, as the table has no key"


@dataclass(slots=True)
class _Keys:
    """Natural keys chosen so far: table → columns (sorted), and why."""

    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)


def bind(
    catalog: Catalog,
    given: Sequence[Given],
    known: Mapping[str, tuple[str, ...]] | None = None,
    defaults: Collection[str] = (),
) -> Bound:
    """Give every source column its meaning, every table its key and every foreign key its parts.

    `known` are keys of tables that seeds fill which are not given, `defaults` columns for which the project
    says what new rows get.
    Raises ConfigurationError for what seedlab.toml must say better (no key, ambiguous relation, views);
    columns that nobody fills come back as faults, and so do unknown ones, then without any load. Cost:
    linear in columns.
    """
    tables = {each.spec.table: _table(catalog, each) for each in given}
    understood = [understand(each.columns, tables[each.spec.table], catalog) for each in given]
    faults: list[Fault] = []
    for each, columns in zip(given, understood, strict=True):
        table = tables[each.spec.table]
        unknown = [_unknown(each, name, table, catalog) for name in columns.unknown]
        faults += unknown or _unfilled(each, columns, table, defaults)
    if any(columns.unknown for columns in understood):  # a misspelt column may be the missing part of a key
        return Bound(loads=(), key_origins={}, faults=tuple(faults))
    keys = _choose_keys(given, understood, tables, catalog, known or {})
    loads = [
        _load(each, columns, tables[each.spec.table], keys, catalog, defaults)
        for each, columns in zip(given, understood, strict=True)
    ]
    return Bound(loads=tuple(loads), key_origins=keys.origins, faults=tuple(faults))


def key_sources(catalog: Catalog, given: Given) -> tuple[str, ...]:
    """Name the source columns of one seed's key, which nested records inherit from the record around them."""
    table = _table(catalog, given)
    columns = understand(given.columns, table, catalog)
    if columns.unknown:
        return ()  # `bind` will tell
    key = _choose_keys([given], [columns], {given.spec.table: table}, catalog, {}).columns[table.name]
    sources = [name for name in columns.exact if name in key]
    for _, foreign_key, parts in columns.relations.values():
        if set(foreign_key.columns) <= set(key):
            sources += parts.values()
    return tuple(sources)


def no_table(catalog: Catalog, name: str) -> str:
    """Say that a table is missing, and what to do."""
    if name in catalog.partitions:
        root = catalog.partitions[name]
        return f"{name} is a partition of {root}: its rows go into the file of {root}, and find their way"
    meant = nearest(name, catalog.tables)
    return (
        f"no table '{name}' in database {catalog.database}{meant}{' Or ' if meant else '; '}"
        'run your migrations first, or name your SQLAlchemy tables in [project] schema = "models.py:metadata"'
    )


# ---- columns --------------------------------------------------------------------------------------------


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
    return table


def _unknown(given: Given, name: str, table: Table, catalog: Catalog) -> Fault:
    return Fault(
        rule="unknown-column",
        table=table.name,
        file=given.file,
        column=name,
        path=None if given.spec.path == "$" else given.spec.path,
        message=no_column(catalog, table, name),
    )


def _unfilled(given: Given, columns: Columns, table: Table, defaults: Collection[str]) -> list[Fault]:
    """Columns that must have a value and get none."""
    return [
        Fault(
            rule="not-null",
            table=table.name,
            file=given.file,
            column=name,
            message=f"column {name} of table {table.name} is NOT NULL without a default, "
            f"and the file does not have it: {how_to_fill(table, name)}",
        )
        for name in unfilled(table, covered_by(columns), defaults)
    ]


# ---- keys -----------------------------------------------------------------------------------------------


def _choose_keys(
    given: Sequence[Given],
    understood: Sequence[Columns],
    tables: Mapping[str, Table],
    catalog: Catalog,
    known: Mapping[str, tuple[str, ...]],
) -> _Keys:
    keys = _Keys(columns=dict(known))
    by_table: dict[str, list[tuple[Given, Columns]]] = {}
    for each, columns in zip(given, understood, strict=True):
        by_table.setdefault(tables[each.spec.table].name, []).append((each, columns))
    for name, users in by_table.items():
        table = tables[users[0][0].spec.table]
        declared = {_declared(each, table, catalog) for each, _ in users if each.spec.key}
        if len(declared) > 1:
            raise ConfigurationError(f"the seeds of table {name} declare different keys: {_lists(declared)}")
        if declared:
            keys.columns[name], keys.origins[name] = declared.pop(), "declared"
        elif not table.keys:
            keys.columns[name], keys.origins[name] = _whole_rows(table, users), WHOLE_ROWS
        else:
            keys.columns[name], keys.origins[name] = _infer(table, users, known.get(name))
    return keys


def _declared(given: Given, table: Table, catalog: Catalog) -> tuple[str, ...]:
    """Columns of a declared key; a relation stands for its foreign key's columns."""
    columns: list[str] = []
    for name in given.spec.key or ():
        head, _, rest = name.partition(".")
        relation = None if name in table.columns else find_relation(table, head)
        known_relation = relation is not None and reachable(catalog, relation, rest)
        if name not in table.columns and not known_relation:
            raise ConfigurationError(f"key: {no_column(catalog, table, name)}", given.spec.place)
        columns += [name] if relation is None else relation.columns
    return tuple(sorted(set(columns)))


def _infer(
    table: Table, users: Sequence[tuple[Given, Columns]], known: tuple[str, ...] | None
) -> tuple[tuple[str, ...], str]:
    """The key `known` by others; else the primary key if every file has it; else the best covered unique
    constraint.
    """
    covered = set.intersection(*(covered_by(columns) for _, columns in users))
    if known and set(known) <= covered:
        return known, _origin(table, known)
    candidates = sorted(
        (key for key in table.keys if set(key.columns) <= covered),
        key=lambda key: (
            not key.primary,
            any(table.columns[column].nullable for column in key.columns),
            len(key.columns),
            key.name,
        ),
    )
    if candidates:
        key = tuple(sorted(candidates[0].columns))
        return key, _origin(table, key)
    have = _lists(key.columns for key in table.keys) or "none"
    files = ", ".join(file.name for each, _ in users for file in each.seed.files)
    raise ConfigurationError(
        f"table {table.name} has no unique key that {files} covers (its keys: {have}); "
        "add the missing columns, or say key = [...] for it in seedlab.toml"
    )


def _whole_rows(table: Table, users: Sequence[tuple[Given, Columns]]) -> tuple[str, ...]:
    """All columns that the files give; equal rows can only be counted where they come together."""
    given, columns = users[0]
    problem = None
    if len(users) > 1:
        problem = f"the seeds {' and '.join(each.seed.name for each, _ in users)} fill it"
    elif given.seed.mode == "sync":
        problem = "sync cannot tell which rows left the files"
    if problem:
        raise ConfigurationError(
            f"table {table.name} has no key, so equal rows can only be counted, and {problem}; add a primary "
            "key or a unique constraint, or say key = [...] for it in seedlab.toml"
        )
    return tuple(sorted(name for name in covered_by(columns) if not table.columns[name].generated))


def _origin(table: Table, key: tuple[str, ...]) -> str:
    """Say what makes these columns a key: the database, or else the project."""
    same = sorted(
        (each for each in table.keys if tuple(sorted(each.columns)) == key), key=lambda e: not e.primary
    )
    if not same:
        return "declared"
    return "primary key" if same[0].primary else f"unique constraint {same[0].name}"


def _lists(lists: Iterable[tuple[str, ...]]) -> str:
    return " or ".join(f"({', '.join(each)})" for each in sorted(lists))


# ---- loads ----------------------------------------------------------------------------------------------


def _load(
    given: Given,
    columns: Columns,
    table: Table,
    keys: _Keys,
    catalog: Catalog,
    defaults: Collection[str],
) -> Load:
    references = [
        _reference(spelling, fk, parts, keys.columns, catalog)
        for spelling, fk, parts in columns.relations.values()
    ]
    exact = [name for name in columns.exact if not table.columns[name].generated]
    references += [
        _given_reference(fk, {name: name for name in fk.columns})
        for fk in table.foreign_keys
        if fk.enforced and set(fk.columns) <= set(exact) and fk.name not in columns.relations
    ]
    referred = {name for each in references for name in each.foreign_key.columns}
    filled = by_default(table, covered_by(columns), defaults)
    seed = given.seed
    return Load(
        stage=seed.stage,
        seed=seed.name,
        table=table.name,
        key=tuple(_key_parts(table, keys.columns[table.name], references, exact)),
        values=(*(name for name in exact if name not in referred), *filled),
        references=tuple(references),
        made=made_column(table, {*exact, *referred}),
        defaults=filled,
        mode=seed.mode,
        duplicates=seed.duplicates,
        priority=seed.priority,
        files=seed.files,
        link=_is_link(table),
        whole=keys.origins.get(table.name) == WHOLE_ROWS,
    )


def _is_link(table: Table) -> bool:
    columns = sorted(column for each in table.relations for column in each.columns)
    return len(table.relations) == 2 and any(sorted(key.columns) == columns for key in table.keys)


def _key_parts(
    table: Table, key: Sequence[str], references: Sequence[Reference], exact: Sequence[str]
) -> Iterable[Part]:
    """Cut a key's columns into parts; a foreign key wholly inside the key is one part, by its reference."""
    left = list(key)
    while left:
        column = left[0]
        reference = next(
            (
                r
                for r in references
                if column in r.foreign_key.columns and set(r.foreign_key.columns) <= set(key)
            ),
            None,
        )
        if reference is not None:
            yield Part(columns=reference.foreign_key.columns, reference=reference)
            left = [name for name in left if name not in reference.foreign_key.columns]
        elif column in exact:
            yield Part(columns=(column,), source=column)
            left.pop(0)
        else:
            raise ConfigurationError(
                f"key of table {table.name} has column {column}, which the files do not give"
            )


def _reference(
    spelling: str,
    foreign_key: ForeignKey,
    parts: Mapping[str, str],
    keys: Mapping[str, tuple[str, ...]],
    catalog: Catalog,
) -> Reference:
    """Understand `relation.column` parts: together they must be a unique key of the parent."""
    parent = catalog.tables[foreign_key.parent]
    if set(parts) == {""}:
        parts = {_scalar_key(spelling, parent, keys): parts[""]}
    inner = understand(parts, parent, catalog)
    nested = [
        _reference(name, fk, {rest: parts[source] for rest, source in sub.items()}, keys, catalog)
        for name, fk, sub in inner.relations.values()
    ]
    nested += [
        _given_reference(fk, parts) for fk in parent.foreign_keys if set(fk.columns) <= set(inner.exact)
    ]
    covered = covered_by(inner)
    natural = keys.get(parent.name, ())
    candidates = [natural, *(tuple(sorted(key.columns)) for key in parent.keys)]
    key = next((each for each in candidates if each and set(each) == covered), None)
    if key is None:
        known = _lists({each for each in candidates if each}) or "none"
        given = ", ".join(f"{spelling}.{rest}" for rest in parts)
        raise ConfigurationError(
            f"{given} do not make a unique key of table {parent.name} (its keys: {known}); a reference "
            "must name one row: give the parts of one key"
        )
    renamed = [
        Part(columns=part.columns, source=parts[part.source]) if part.source is not None else part
        for part in _key_parts(parent, key, nested, inner.exact)
    ]
    return Reference(name=spelling, foreign_key=foreign_key, key=key, parts=tuple(renamed))


def _scalar_key(spelling: str, parent: Table, keys: Mapping[str, tuple[str, ...]]) -> str:
    """The one column that a bare `relation` means: the parent's natural key, or its only scalar one."""
    natural = keys.get(parent.name, ())
    scalars = (
        {natural} if len(natural) == 1 else {key.columns for key in parent.keys if len(key.columns) == 1}
    )
    if len(scalars) == 1:
        return scalars.pop()[0]
    raise ConfigurationError(
        f"'{spelling}' alone does not say which column of {parent.name} it holds; write '{spelling}.COLUMN'"
    )


def _given_reference(foreign_key: ForeignKey, sources: Mapping[str, str]) -> Reference:
    """A foreign key whose own columns stand in the file, under the names that `sources` gives."""
    pairs = sorted(zip(foreign_key.parent_columns, foreign_key.columns, strict=True))
    return Reference(
        name=foreign_key.columns[0] if len(foreign_key.columns) == 1 else foreign_key.name,
        foreign_key=foreign_key,
        key=tuple(parent for parent, _ in pairs),
        parts=tuple(Part(columns=(parent,), source=sources[own]) for parent, own in pairs),
    )
