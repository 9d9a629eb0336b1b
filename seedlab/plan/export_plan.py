"""Plans the export of an existing database: which tables become files, with which columns and keys.

Pure: takes a catalog and what the user wants, and returns the plan of the export and the resulting project.
"""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

from seedlab.errors import ConfigurationError, nearest
from seedlab.flow import (
    NOTES,
    RESERVED,
    Catalog,
    Nulls,
    Project,
    Seed,
    SourceFile,
    Table,
)
from seedlab.flow.exports import Export, TableExport
from seedlab.plan import binder, export_keys, graph
from seedlab.plan.columns import Given
from seedlab.plan.toml_writer import free_name

# Tables of migration tools, in lower case. A copy of the schema gets its own when it is migrated.
MIGRATIONS = frozenset(
    {
        "alembic_version", "django_migrations", "_prisma_migrations", "schema_migrations",
        "ar_internal_metadata", "flyway_schema_history", "databasechangelog", "databasechangeloglock",
        "knex_migrations", "knex_migrations_lock", "sequelizemeta", "typeorm_metadata",
        "__drizzle_migrations", "__efmigrationshistory", "goose_db_version", "schema_version",
        "_sqlx_migrations",
        "__diesel_schema_migrations", "atlas_schema_revisions", "phinxlog", "doctrine_migration_versions",
    }
)  # fmt: skip
# Laravel, TypeORM and db-migrate use a plain word, which may also be an application's own table.
_PLAIN_NAME = "migrations"
_PLAIN_COLUMNS = frozenset({"id", "migration", "batch", "timestamp", "name", "run_on"})
# Names that some file system forbids, or that have a meaning in glob patterns or to seedlab itself.
_NO_FILE = re.compile(r'[\x00-\x1f\x7f/\\<>:"|?*\[\]]|^[. ]|^_seedlab|\.rejects\.|[. ]$')
_LONGEST = 200  # bytes of a file's name; file systems allow 255


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundKey:
    """Columns by which the rows of a table differ; `nulls` = "equal" if some of them have NULL there."""

    columns: tuple[str, ...]
    nulls: Nulls = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user wants to export: patterns of tables to include and exclude, with or without ids."""

    tables: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    with_ids: bool = False


def choose_tables(catalog: Catalog, wanted: Wanted) -> tuple[list[Table], dict[str, str]]:
    """Choose the tables to export, and map tables that are left out on our own account to the reason.

    Raises ConfigurationError for a pattern that matches no table.
    """
    known = {name: each for name, each in catalog.tables.items() if each.kind in ("table", "partitioned")}
    for pattern in (*wanted.tables, *wanted.exclude):
        if not _matching(known, catalog, (pattern,)):
            raise ConfigurationError(
                f"no table is called '{pattern}' in database {catalog.database}{nearest(pattern, known)}"
            )
    named = _matching(known, catalog, wanted.tables)
    taken = known.keys() - _matching(known, catalog, wanted.exclude)
    left_out: dict[str, str] = {}
    for name in sorted(taken):
        if wanted.tables and name not in named:
            continue
        if name not in named and _belongs_to_tool(known[name]):
            left_out[name] = "belongs to a migration tool"
        elif reserved := (RESERVED | NOTES) & known[name].columns.keys():
            left_out[name] = f"has a column {min(reserved)}, a name that seedlab reserves"
        elif rules := known[name].rules:
            left_out[name] = f"has a rule ({', '.join(rules)}), for which a seed would refuse it"
        elif not _stored(known[name]):
            left_out[name] = "has no column that a file could give"
    kept = (named or known.keys()) & taken - left_out.keys()
    return [known[name] for name in sorted(kept)], left_out


def _belongs_to_tool(table: Table) -> bool:
    name = table.relation.lower()
    return name in MIGRATIONS or (name == _PLAIN_NAME and table.columns.keys() <= _PLAIN_COLUMNS)


def _matching(known: Mapping[str, Table], catalog: Catalog, patterns: Sequence[str]) -> set[str]:
    """Return the names of tables that match a name or pattern: `users`, `billing.*`, `public.users`."""
    return {
        name
        for name, table in known.items()
        for pattern in patterns
        if pattern == name
        or fnmatch.fnmatchcase(name, pattern)
        or (table.schema == catalog.default_schema and fnmatch.fnmatchcase(f"{table.schema}.{name}", pattern))
    }


def plan_export(
    catalog: Catalog,
    tables: Sequence[Table],
    found: Mapping[str, FoundKey],
    left_out: Mapping[str, str],
    *,
    with_ids: bool,
) -> Export:
    """Plan the export of these tables.

    `found` maps tables without a declared key to columns by which their rows differ. Without such columns
    the whole row is the key of a table that has none, as it is when the table is seeded.
    """
    keyless = [table for table in tables if not table.keys and table.name not in found]
    whole_rows = {table.name: _stored(table) for table in keyless}
    by_rows = {name: key.columns for name, key in found.items()}
    identities = export_keys.identify(tables, {**by_rows, **whole_rows}, with_ids=with_ids)
    unidentified = {
        table.name: _without_key(table) if export_keys.keyless(table) else "its key refers back to itself"
        for table in tables
        if table.name not in identities.keys
    }
    exports = [_table_export(catalog, identities, table) for table in tables if table.name in identities.keys]
    exports = [
        replace(each, declared=True, nulls=found[each.table].nulls) if each.table in found else each
        for each in exports
    ]
    exports = _declared(catalog, _ordered(catalog, exports))
    missing = catalog.tables.keys() - {each.table for each in exports}
    return Export(
        tables=tuple(exports),
        left_out={**left_out, **unidentified},
        notes=(
            *_kept_id_notes(identities),
            *_undeclared_reference_notes(tables, identities),
            *_missing_parent_notes(catalog, exports, missing),
            *_unfit_notes(catalog, exports),
        ),
    )


def _without_key(table: Table) -> str:
    """Say why no key tells the rows: each unique one has NULL somewhere, and some rows are the same."""
    keys = " and ".join(sorted(f"({', '.join(key.columns)})" for key in table.keys))
    which = f"the unique key, {keys}," if len(table.keys) == 1 else f"each unique key, {keys},"
    if not export_keys.possible_key_columns(table):
        return f"{which} may be NULL, and no column is of a type that a key may have"
    return (
        f"some rows have NULL in {which} and are the same in all columns that a key may have, "
        "so that nothing tells them apart"
    )


def _stored(table: Table) -> tuple[str, ...]:
    return tuple(each.name for each in table.columns.values() if not each.generated)


def _table_export(catalog: Catalog, identities: export_keys.Identities, table: Table) -> TableExport:
    hidden, key = identities.hidden.get(table.name), identities.keys[table.name]
    written = [name for name in _stored(table) if name != hidden]
    return TableExport(
        table=table.name,
        key=key,
        hidden=hidden,
        leaves=tuple(export_keys.leaves(catalog, identities, table, written)),
        order=tuple(export_keys.leaves(catalog, identities, table, key)),
    )


def _ordered(catalog: Catalog, exports: Iterable[TableExport]) -> list[TableExport]:
    """Order exports: parents first, the tables of a foreign-key cycle together, otherwise by name."""
    by_name = {each.table: each for each in exports}
    parents = {name: catalog.tables[name].parents for name in by_name}
    return [by_name[name] for group in graph.components(parents) for name in group]


def _declared(catalog: Catalog, exports: Sequence[TableExport]) -> list[TableExport]:
    """Mark the tables whose key seedlab.toml must declare because seeding would infer another one."""
    given = [
        Given(
            seed=Seed(name=each.table, stage="", files=(), tables=()),
            spec=each.spec,
            columns=tuple(leaf.name for leaf in each.leaves),
        )
        for each in exports
    ]
    fit = {name: replace(table, unfit=()) for name, table in catalog.tables.items()}
    bound = binder.bind(replace(catalog, tables=fit), given)  # of what can be written elsewhere, too
    return [
        replace(each, declared=each.declared or set(load.key_columns) != set(each.key))
        for each, load in zip(exports, bound.loads, strict=True)
    ]


# ---- notes to show --------------------------------------------------------------------------------------


def _kept_id_notes(identities: export_keys.Identities) -> list[str]:
    return [f"{table} keeps its ids: {why}" for table, why in sorted(identities.kept.items())]


def _undeclared_reference_notes(tables: Sequence[Table], identities: export_keys.Identities) -> list[str]:
    """Warn of columns that are named like references but have no foreign key, if some ids are left out."""
    if not identities.hidden:
        return []
    known = identities.soft_references
    loose = [".".join(place) for place, _ in export_keys.loose_ids(tables) if place not in known]
    if not loose:
        return []
    refer = "refers" if len(loose) == 1 else "refer"
    why = f"no foreign key says what {', '.join(loose)} {refer} to"
    return [f"{why}: if the export leaves that id out, export --with-ids"]


def _missing_parent_notes(
    catalog: Catalog, exports: Sequence[TableExport], missing: Collection[str]
) -> list[str]:
    """Warn of exported tables that refer to tables that are not exported."""
    found: dict[str, set[str]] = {}
    for each in exports:
        for key in catalog.tables[each.table].foreign_keys:
            if key.parent in missing:
                found.setdefault(key.parent, set()).add(each.table)
    return [
        f"{parent} is left out, and {', '.join(sorted(children))} refer{'s' if len(children) == 1 else ''} "
        "to it: these rows can be seeded only where its rows are"
        for parent, children in sorted(found.items())
    ]


def _unfit_notes(catalog: Catalog, exports: Sequence[TableExport]) -> list[str]:
    """Warn of foreign keys that SQLite cannot follow either."""
    return [
        f"{each.table}: the foreign key {key.spelled} fits no unique key of {key.parent}, so its rows are "
        "exported as if there were none; SQLite refuses a seed of either table until that is corrected"
        for each in sorted(exports, key=attrgetter("table"))
        for key in catalog.tables[each.table].unfit
    ]


# ---- the project ----------------------------------------------------------------------------------------


def file_names(tables: Iterable[str]) -> dict[str, str]:
    """Choose a file name for each table: the table's name, as far as every file system allows it."""
    taken: set[str] = set()
    names: dict[str, str] = {}
    for table in tables:
        fits = not _NO_FILE.search(table) and len(table.encode()) <= _LONGEST
        stem = table if fits else _plain(table)
        numbered = (f"{stem}-{n}" for n in itertools.count(2))
        name = next(each for each in itertools.chain((stem,), numbered) if each.casefold() not in taken)
        taken.add(name.casefold())
        names[table] = f"{name}.csv"
    return names


def project_of(
    name: str, root: Path, catalog: Catalog, exports: Sequence[TableExport], files: Mapping[str, str]
) -> Project:
    """Build the project of an export: one seed per table, stages by the levels of the foreign keys."""
    taken: set[str] = set()
    seeds = []
    for each in exports:
        file = SourceFile(path=root / files[each.table], name=files[each.table], format="csv")
        seed = free_name(taken, _plain(each.table))
        seeds.append(Seed(name=seed, stage="", files=(file,), tables=(each.spec,)))
    parents = {name: catalog.tables[name].parents for name in files}
    return Project(root=root, name=name, stages=graph.levels(seeds, parents))


def _plain(name: str) -> str:
    """Turn a table's name into a valid name of a seed, which has letters, digits, - and _ only."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:60] or "table"
