"""What the database itself says of its tables, columns and keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Dialect = Literal["postgresql", "sqlite"]
Kind = Literal["table", "partitioned", "view", "materialized view", "foreign table", "virtual table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as the catalog has it.

    `type` is the database's own spelling (`numeric(10,2)`), `kind` the portable family that frames know
    (`frames.resolve.KINDS`), `storage` how SQLite keeps a
    uuid (`hex`, `dashed`, `blob`) or a moment: `padded` to microseconds, "" as it is given.
    """

    name: str
    type: str
    kind: str
    nullable: bool = True
    default: bool = False
    generated: bool = False
    identity: Literal["", "always", "default"] = ""
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    sequence: str | None = None  # the sequence that fills it, quoted and qualified by the server
    expression: str = ""  # what else fills a primary key by default, as the server says it
    storage: Literal["", "hex", "dashed", "blob", "padded"] = ""
    otherwise: Column | None = None  # what it is if the files' values are no uuids, where that is a guess
    send: str = ""  # the type's send function where plain equality is blind (1.0 = 1.00), qualified
    domain: bool = False  # a domain: the server alone knows its checks
    element: Column | None = None  # of an array: what its elements are
    fields: tuple[Column, ...] = ()  # of a composite type
    base: str = ""  # the type below a domain, which `kind` and the limits are of

    @property
    def polymorphic(self) -> bool:
        """Tell whether it is a domain over a polymorphic type (enum, array, composite).

        Functions and operators of `anyenum` and the like do not take its values without a cast.
        """
        return bool(self.base) and self.kind in ("other", "array", "composite")


@dataclass(frozen=True, slots=True, kw_only=True)
class UniqueKey:
    """A primary key or a plain unique constraint or index (no predicate, no expression)."""

    name: str
    columns: tuple[str, ...]
    primary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A foreign key; `definition` is the server's own text, enough to make it again.

    `indexed` tells whether an index begins with its columns, in any order; SQLite is not asked.
    """

    name: str
    columns: tuple[str, ...]
    parent: str  # name of the table referred to, as in `Catalog.tables`
    parent_columns: tuple[str, ...]
    definition: str = ""
    validated: bool = True
    enforced: bool = True  # False: rows may refer to what is not there
    comment: str | None = None
    indexed: bool = True

    @property
    def column_pairs(self) -> tuple[tuple[str, str], ...]:
        """Its own columns, each with the parent's column whose value it holds."""
        return tuple(zip(self.columns, self.parent_columns, strict=True))

    @property
    def meaning(self) -> tuple[object, ...]:
        """What it demands, without its name: two constraints of equal meaning are one relation."""
        return (self.columns, self.parent, self.parent_columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table. `name` is what the project calls it: bare in the default schema, else `schema.table`."""

    name: str
    schema: str
    relation: str
    columns: Mapping[str, Column]
    keys: tuple[UniqueKey, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    kind: Kind = "table"
    exists: bool = True  # False: known from the project's MetaData only
    row_security: bool = False
    inherits: bool = False  # one table is made of another: of it only its own rows are meant
    rebuildable: bool = True  # its foreign keys may be dropped and made again

    @property
    def holds_rows(self) -> bool:
        """Tell whether it can be seeded: views and tables that lie elsewhere cannot."""
        return self.kind in ("table", "partitioned")

    @property
    def relations(self) -> tuple[ForeignKey, ...]:
        """The foreign keys, of those with equal meaning only the first."""
        return tuple({key.meaning: key for key in reversed(self.foreign_keys)}.values())[::-1]

    @property
    def parents(self) -> frozenset[str]:
        """The tables that its foreign keys refer to; itself, too, where one refers to its own rows."""
        return frozenset(key.parent for key in self.foreign_keys)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Columns of the primary key, or nothing."""
        return next((key.columns for key in self.keys if key.primary), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """What the database itself says of its tables."""

    dialect: Dialect
    version: str
    database: str
    user: str
    default_schema: str
    tables: Mapping[str, Table]
    empty: frozenset[str] = frozenset()  # of the tables that were asked about, those without a row
    partitions: Mapping[str, str] = field(default_factory=dict)  # single ones → the table of which they are

    def find(self, name: str) -> Table | None:
        """Look up `table` or `schema.table`; None when there is no such table."""
        return self.tables.get(name) or self.tables.get(name.removeprefix(f"{self.default_schema}."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ddl:
    """Statements that make tables, and apart those that are cheaper to run once the rows are there."""

    tables: list[str]
    constraints_and_indexes: list[str]

    @property
    def in_order(self) -> list[str]:
        """All statements, in an order in which they can be run."""
        return [*self.tables, *self.constraints_and_indexes]
