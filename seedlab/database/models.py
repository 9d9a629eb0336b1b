"""Load the project's SQLAlchemy MetaData, as a catalog and as DDL statements.

The MetaData also has information that SQLite's catalog lacks: that a CHAR(32) is a uuid, or that a DATETIME
is stored in UTC.
"""

from __future__ import annotations

import importlib.util
import sqlite3
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    create_mock_engine,
)
from sqlalchemy import types as sa
from sqlalchemy.dialects.postgresql import CreateEnumType
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine.interfaces import Dialect as SqlDialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable, ExecutableDDLElement

from seedlab.database.kinds import TypeFacts, element_type, read_postgres_type
from seedlab.database.sqlite.catalog import read_catalog, reread, uuid_storage
from seedlab.errors import ConfigurationError, Place, nearest
from seedlab.flow import Catalog, Ddl, Dialect, ForeignKey, UniqueKey
from seedlab.flow import Column as CatalogColumn
from seedlab.flow import Table as CatalogTable

_URLS = {"postgresql": "postgresql+psycopg://", "sqlite": "sqlite://"}
_SCHEMAS = {"postgresql": "public", "sqlite": "main"}
_POSTGRES: SqlDialect = PGDialect_psycopg(paramstyle="named")  # type: ignore[no-untyped-call]


# ---- loading ----------------------------------------------------------------------------------------------


def load_metadata(root: Path, name: str) -> MetaData:
    """Import `models.py:metadata` (or `models.py:Base.metadata`) from the project folder.

    This runs the project's code. The file may import its neighbours; afterwards nothing is left on `sys.path`
    and in `sys.modules`. Raises ConfigurationError with file and attribute.
    """
    file, _, attribute = name.partition(":")
    path = (root / file).resolve()
    place = Place(file=file)
    if not attribute:
        raise ConfigurationError(f"schema = '{name}' names no attribute; write '{file}:metadata'", place)
    if not path.is_relative_to(root.resolve()):
        raise ConfigurationError(f"schema = '{name}' lies outside the project folder", place)
    if not path.is_file():
        raise ConfigurationError(f"schema = '{name}': there is no such file in the project folder", place)
    module = _import(path, place)
    try:
        found = attrgetter(attribute)(module)
    except AttributeError:
        known = [each for each, value in vars(module).items() if isinstance(value, MetaData)]
        raise ConfigurationError(f"{file} has no '{attribute}'{nearest(attribute, known)}", place) from None
    if not isinstance(found, MetaData):
        raise ConfigurationError(
            f"'{attribute}' is of type {type(found).__name__}; expected sqlalchemy.MetaData", place
        )
    return found


def _import(path: Path, place: Place) -> Any:
    spec = importlib.util.spec_from_file_location(f"seedlab_project_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _importable(path.parent):
        sys.modules[spec.name] = module  # declarative classes look their module up while they are created
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ConfigurationError(
                f"importing it failed: {type(error).__name__}: {error}", place
            ) from error
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Make modules of a folder importable for a while; other projects may have modules of the same names."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).is_relative_to(folder):
                del sys.modules[name]


# ---- as a catalog -----------------------------------------------------------------------------------------


def catalog_of(metadata: MetaData, dialect: Dialect) -> Catalog:
    """Return the catalog that the database would have with the MetaData's tables (`exists=False`)."""
    if dialect == "sqlite":
        return refine(_made_in_memory(metadata), metadata)
    tables = [_table(each) for each in metadata.sorted_tables]
    return Catalog(
        dialect=dialect,
        version="",
        database="",
        user="",
        default_schema="public",
        tables={each.name: each for each in tables},
        empty=frozenset(each.name for each in tables),
    )


def refine(catalog: Catalog, metadata: MetaData) -> Catalog:
    """Add to SQLite's catalog what only the MetaData knows; PostgreSQL's catalog is complete.

    The storage format of uuids stays as existing rows have it, if there are any.
    """
    if catalog.dialect != "sqlite":
        return catalog
    tables = dict(catalog.tables)
    for each in metadata.tables.values():
        known = catalog.find(each.fullname)
        if known is not None:
            columns = {
                name: _refined(column, each.columns[name].type) if name in each.columns else column
                for name, column in known.columns.items()
            }
            tables[known.name] = replace(known, columns=columns)
    return replace(catalog, tables=tables)


def _refined(column: CatalogColumn, declared: sa.TypeEngine[Any]) -> CatalogColumn:
    if isinstance(declared, sa.Uuid):
        if column.kind == "uuid":
            return replace(column, otherwise=None)
        return reread(column, uuid_storage(column.type) or "hex")
    if isinstance(declared, sa.DateTime):
        kind = "timestamptz" if declared.timezone else "timestamp"
        return replace(column, kind=kind, storage="padded")  # as SQLAlchemy spells what it compares with
    if isinstance(declared, sa.Time):
        return replace(column, kind="time", storage="padded")
    if isinstance(declared, sa.Numeric):
        exact = declared.asdecimal and not isinstance(declared, sa.Float)
        return replace(
            column,
            kind="numeric" if exact else "float8",
            precision=declared.precision if exact else None,
            scale=declared.scale if exact else None,
        )
    kinds = {sa.JSON: "json", sa.Boolean: "bool", sa.Date: "date"}
    kind = next((kind for known, kind in kinds.items() if isinstance(declared, known)), column.kind)
    return replace(column, kind=kind)


def _made_in_memory(metadata: MetaData) -> Catalog:
    """Create the tables in a database in memory, and read SQLite's catalog of them."""
    connection = sqlite3.connect(":memory:")
    try:
        for each in statements(metadata, metadata.tables, "sqlite").in_order:
            connection.execute(each)
        made = read_catalog(lambda sql: connection.execute(sql).fetchall(), "")
    except sqlite3.Error as error:
        raise ConfigurationError(f"the project's MetaData cannot be made on SQLite: {error}") from error
    finally:
        connection.close()
    tables = {name: replace(each, exists=False) for name, each in made.tables.items()}
    return replace(made, tables=tables)


def _table(table: Table) -> CatalogTable:
    return CatalogTable(
        name=_name(table, "postgresql"),
        schema=table.schema or "public",
        relation=table.name,
        columns={column.name: _column(column, table) for column in table.columns},
        keys=tuple(sorted(_keys(table), key=lambda key: key.name)),
        foreign_keys=tuple(sorted(map(_foreign_key, _foreign_keys(table)), key=lambda key: key.name)),
        exists=False,
    )


def _name(table: Table, dialect: Dialect) -> str:
    """Name a table as the catalog does: without the default schema, unless another is called like that."""
    default = _SCHEMAS[dialect]
    other = table.metadata.tables.get(table.name)
    taken = other is not None and other.schema not in (None, default)
    if table.schema in (None, default) and not taken:
        return table.name
    return f"{table.schema or default}.{table.name}"


def _column(column: Column[Any], table: Table) -> CatalogColumn:
    spelling = column.type.compile(dialect=_POSTGRES)
    native_enum = isinstance(column.type, sa.Enum) and column.type.native_enum
    facts = TypeFacts(kind="enum") if native_enum else read_postgres_type(spelling)
    counts = column.identity is not None or (
        column is table.autoincrement_column and column.server_default is None
    )
    return CatalogColumn(
        name=column.name,
        type=spelling,
        kind=facts.kind,
        nullable=bool(column.nullable),
        default=column.server_default is not None and column.computed is None,
        generated=column.computed is not None,
        identity=("always" if column.identity.always else "default") if column.identity else "",
        length=facts.length,
        precision=facts.precision,
        scale=facts.scale,
        sequence=_sequence(column, table) if counts else None,
        element=_element(spelling) if facts.kind == "array" else None,
    )


def _element(spelling: str) -> CatalogColumn:
    inner = element_type(spelling)
    return CatalogColumn(name="", type=inner, kind=read_postgres_type(inner).kind)


def _sequence(column: Column[Any], table: Table) -> str:
    """Name the sequence of a SERIAL or IDENTITY column as PostgreSQL does."""
    quote = _POSTGRES.identifier_preparer.quote
    return f"{quote(table.schema or 'public')}.{quote(f'{table.name}_{column.name}_seq')}"


def _keys(table: Table) -> Iterator[UniqueKey]:
    """Yield the unique keys without expression or predicate, with PostgreSQL's default names."""
    for constraint in table.constraints:
        if isinstance(constraint, (PrimaryKeyConstraint, UniqueConstraint)) and constraint.columns:
            columns = tuple(column.name for column in constraint.columns)
            primary = isinstance(constraint, PrimaryKeyConstraint)
            usual = f"{table.name}_pkey" if primary else f"{table.name}_{'_'.join(columns)}_key"
            yield UniqueKey(name=str(constraint.name or usual), columns=columns, primary=primary)
    for index in table.indexes:
        predicate = index.dialect_options["postgresql"]["where"]
        if index.unique and predicate is None and all(isinstance(each, Column) for each in index.expressions):
            yield UniqueKey(name=str(index.name), columns=tuple(each.name for each in index.columns))


def _foreign_keys(table: Table) -> list[ForeignKeyConstraint]:
    found = [each for each in table.constraints if isinstance(each, ForeignKeyConstraint)]
    return sorted(found, key=lambda each: tuple(each.column_keys))


def _foreign_key(constraint: ForeignKeyConstraint) -> ForeignKey:
    columns = tuple(each.parent.name for each in constraint.elements)
    usual = f"{constraint.table.name}_{'_'.join(columns)}_fkey"
    return ForeignKey(
        name=str(constraint.name or usual),
        columns=columns,
        parent=_name(constraint.referred_table, "postgresql"),
        parent_columns=tuple(each.column.name for each in constraint.elements),
    )


# ---- as statements ----------------------------------------------------------------------------------------


def declared(root: Path, name: str, dialect: Dialect) -> list[str]:
    """Return the statements that create everything in a project's MetaData; see `load_metadata`."""
    metadata = load_metadata(root, name)
    return statements(metadata, catalog_of(metadata, dialect).tables, dialect).in_order


def statements(metadata: MetaData, tables: Collection[str], dialect: Dialect) -> Ddl:
    """Compile the DDL of the named tables (in the catalog's spelling), with all that belongs to them.

    For PostgreSQL foreign keys and indexes are separate, to be created once the rows are written; SQLite
    cannot add foreign keys later. Existing types and schemas are left alone. Raises ConfigurationError for
    what the dialect does not support.
    """
    wanted = [each for each in metadata.sorted_tables if _name(each, dialect) in tables]
    try:
        elements, sql_dialect = _elements(metadata, wanted, dialect)
        later: list[ExecutableDDLElement] = [each for each in elements if isinstance(each, CreateIndex)]
        first = [each for each in elements if not isinstance(each, (CreateIndex, AddConstraint))]
        if dialect == "postgresql":
            keys = [key for table in wanted for key in _foreign_keys(table)]
            later += [AddConstraint(key, isolate_from_table=False) for key in keys]
        return Ddl(
            tables=[*_schemas(wanted, sql_dialect), *(_compiled(each, sql_dialect) for each in first)],
            constraints_and_indexes=[_compiled(each, sql_dialect) for each in later],
        )
    except SQLAlchemyError as error:
        raise ConfigurationError(f"the project's MetaData cannot be made on {dialect}: {error}") from error


def _elements(
    metadata: MetaData, tables: list[Table], dialect: Dialect
) -> tuple[list[ExecutableDDLElement], SqlDialect]:
    """Collect what SQLAlchemy would send: types, tables, indexes, comments, the project's own DDL events."""
    elements: list[Any] = []
    # A paramstyle without percent signs, which would be doubled: LIKE 'a%' is sent to the server as it is.
    engine = create_mock_engine(
        _URLS[dialect], lambda element, *_, **__: elements.append(element), paramstyle="named"
    )
    metadata.create_all(engine, tables=tables, checkfirst=False)
    for each in elements:
        if isinstance(each, CreateTable) and dialect == "postgresql":
            each.include_foreign_key_constraints = []
    return elements, engine.dialect


def _schemas(tables: list[Table], sql_dialect: SqlDialect) -> list[str]:
    """Create schemas only if they are missing, since IF NOT EXISTS needs the right to create even then."""
    quote = sql_dialect.identifier_preparer.quote
    named = sorted({each.schema for each in tables if each.schema and each.schema not in _SCHEMAS.values()})
    return [
        "DO $seedlab$ BEGIN IF pg_catalog.to_regnamespace({}) IS NULL THEN CREATE SCHEMA {}; END IF; "
        "END $seedlab$".format("'" + quote(each).replace("'", "''") + "'", quote(each))
        for each in named
    ]


def _compiled(element: ExecutableDDLElement, sql_dialect: SqlDialect) -> str:
    text = str(element.compile(dialect=sql_dialect)).strip()
    if not isinstance(element, CreateEnumType):
        return text
    # CREATE TYPE has no IF NOT EXISTS, and existing tables may use the same enum.
    return f"DO $seedlab$ BEGIN {text}; EXCEPTION WHEN duplicate_object THEN NULL; END $seedlab$"
