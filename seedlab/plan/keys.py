"""Chooses the natural key of each table: the declared one, or one that the files' columns cover.

Pure: takes the catalog and interpreted source columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from seedlab.errors import ConfigurationError
from seedlab.flow import Catalog, Table, TableSpec
from seedlab.plan.columns import Understood, covered_columns, reachable, unknown_column
from seedlab.plan.relations import find_relation

# The origin of the key of a table that has no key, neither in the database nor in seedlab.toml.
WHOLE_ROWS = "all columns of the file, as the table has no key"


@dataclass(slots=True)
class Keys:
    """Natural keys by table: the key's sorted columns, and the reason why they were chosen.

    In keys of the tables `with_nulls`, NULL is a value like any other.
    """

    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    with_nulls: set[str] = field(default_factory=set)


def choose_keys(sources: Sequence[Understood], catalog: Catalog, known: Keys) -> Keys:
    """Choose one key for each table: the declared or an inferred one, or whole rows if the table has no key.

    `known` are keys that tables have from seeds outside of `sources`. Raises ConfigurationError if seeds
    declare different keys for a table, or if its files cover no key.
    """
    keys = Keys(columns=dict(known.columns), with_nulls=set(known.with_nulls))
    by_table: dict[str, list[Understood]] = {}
    for source in sources:
        by_table.setdefault(source.table.name, []).append(source)
    for name, fillers in by_table.items():
        table = fillers[0].table
        declared = {_declared(each.given.spec, table, catalog) for each in fillers if each.given.spec.key}
        if len(declared) > 1:
            raise ConfigurationError(
                f"the seeds of table {name} declare different keys: {spell_keys(declared)}"
            )
        if declared:
            keys.columns[name], keys.origins[name] = declared.pop(), "declared"
        elif not table.keys:
            keys.columns[name], keys.origins[name] = _whole_rows(table, fillers), WHOLE_ROWS
        else:
            keys.columns[name], keys.origins[name] = _inferred(table, fillers, known.columns.get(name))
        keys.with_nulls.discard(name)
        if _with_nulls(table, fillers):
            keys.with_nulls.add(name)
            if keys.origins[name] != WHOLE_ROWS:
                keys.origins[name] += ", in which NULL equals NULL"
    return keys


def spell_keys(keys: Iterable[tuple[str, ...]]) -> str:
    """Spell keys for a message: `(code) or (course_id, position)`."""
    return " or ".join(f"({', '.join(each)})" for each in sorted(keys))


def declared_keys(specs: Iterable[TableSpec], catalog: Catalog) -> Keys:
    """Return what the project itself says of keys: their columns, and in which of them NULL is a value.

    A key that its table does not have is left out; it is reported by the run that fills the table.
    """
    keys = Keys()
    for spec in specs:
        if (table := catalog.find(spec.table)) is None:
            continue
        with suppress(ConfigurationError):
            keys.columns |= {table.name: _declared(spec, table, catalog)} if spec.key else {}
        if spec.nulls == "equal":
            keys.with_nulls.add(table.name)
    return keys


def _declared(spec: TableSpec, table: Table, catalog: Catalog) -> tuple[str, ...]:
    """Return the sorted columns of a declared key; a relation stands for its foreign key's columns."""
    columns: list[str] = []
    for name in spec.key or ():
        head, _, path = name.partition(".")
        relation = None if name in table.columns else find_relation(table, head)
        known_relation = relation is not None and reachable(catalog, relation, path)
        if name not in table.columns and not known_relation:
            raise ConfigurationError(f"key: {unknown_column(catalog, table, name)}", spec.place)
        columns += [name] if relation is None else relation.columns
    return tuple(sorted(set(columns)))


def _with_nulls(table: Table, fillers: Sequence[Understood]) -> bool:
    """Tell whether NULL is a value of the table's key; all seeds of the table must agree."""
    said = {each.given.spec.nulls for each in fillers}
    if len(said) > 1:
        names = " and ".join(sorted({each.given.seed.name for each in fillers}))
        raise ConfigurationError(
            f'the seeds {names} fill table {table.name}, and some of them have nulls = "equal" for it while '
            "others have not; whether NULL is a value of the table's key must be said in all of them"
        )
    return said == {"equal"}


def _inferred(
    table: Table, fillers: Sequence[Understood], known: tuple[str, ...] | None
) -> tuple[tuple[str, ...], str]:
    """Infer a key that all seeds' files cover, and its origin.

    This is the one `known`, else the primary key, else the best unique constraint. Constraints are ranked by
    NOT NULL, then by fewest columns, then by name.
    """
    covered = set.intersection(*(covered_columns(each.columns) for each in fillers))
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
    existing = spell_keys(key.columns for key in table.keys) or "none"
    raise ConfigurationError(
        f"table {table.name} has no unique key that {_files(fillers)} covers (its keys: {existing}); "
        "add the missing columns, or set key = [...] for it in seedlab.toml"
    )


def _whole_rows(table: Table, fillers: Sequence[Understood]) -> tuple[str, ...]:
    """Return all columns that the files give, as the key of a table without one.

    Equal rows are told apart by counting them, so they must come from a single seed, which may not be a sync.
    """
    problem = None
    if len(fillers) > 1:
        problem = f"the seeds {' and '.join(each.given.seed.name for each in fillers)} fill it"
    elif fillers[0].given.seed.mode == "sync":
        problem = "sync cannot tell which rows left the files"
    if problem:
        raise ConfigurationError(
            f"table {table.name} has no key, so equal rows can only be counted, and {problem}; add a primary "
            "key or a unique constraint, or set key = [...] for it in seedlab.toml"
        )
    covered = covered_columns(fillers[0].columns)
    given = tuple(sorted(name for name in covered if not table.columns[name].generated))
    if not given:
        raise ConfigurationError(
            f"table {table.name} has no key, and {_files(fillers)} gives no column of it that can be "
            "written; add columns that are not generated"
        )
    return given


def _files(fillers: Sequence[Understood]) -> str:
    return ", ".join(file.name for each in fillers for file in each.given.seed.files)


def _origin(table: Table, key: tuple[str, ...]) -> str:
    """Word what makes these columns a key: a constraint of the database, or the project's declaration."""
    same = sorted(
        (each for each in table.keys if tuple(sorted(each.columns)) == key), key=lambda each: not each.primary
    )
    if not same:
        return "declared"
    return "primary key" if same[0].primary else f"unique constraint {same[0].name}"
