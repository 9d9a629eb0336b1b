"""The catalog: tables, columns, keys and foreign keys as the database describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Dialect = Literal["postgresql", "sqlite"]
Kind = Literal["table", "partitioned", "view", "materialized view", "foreign table", "virtual table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    `type` is the database's own spelling (`numeric(10,2)`), `kind` the family of types to which it belongs on
    every database (`database.kinds`, `frames.kinds`). `storage` is how SQLite stores a uuid (`hex`, `dashed`,
    `blob`) or a timestamp: `padded` to microseconds, or "" for as it is given.
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
    expression: str = ""  # the default expression of a primary key that no sequence fills
    storage: Literal["", "hex", "dashed", "blob", "padded"] = ""
    otherwise: Column | None = None  # where `uuid` is a guess: the column if the files' values are no uuids
    send: str = ""  # the type's qualified send function where `=` takes unlike values for equal (1.0, 1.00)
    domain: bool = False  # a domain: only the server can evaluate its checks
    element: Column | None = None  # of an array: its element type
    fields: tuple[Column, ...] = ()  # of a composite type
    # By which `=` takes unlike texts for equal: a nondeterministic one of PostgreSQL, or NOCASE or RTRIM.
    collation: str = ""
    base: str = ""  # of a domain: its base type, which `kind`, `length`, `precision` and `scale` describe

    @property
    def polymorphic(self) -> bool:
        """Whether this is a domain over a polymorphic type (enum, array, composite).

        Functions and operators of `anyenum` and the like accept such values only with a cast.
        """
        return bool(self.base) and self.kind in ("other", "array", "composite")


@dataclass(frozen=True, slots=True, kw_only=True)
class UniqueKey:
    """A primary key, or a unique constraint or index without predicate and expressions.

    `collated`: a collation of SQLite takes unlike texts for equal, as NOCASE does.
    """

    name: str
    columns: tuple[str, ...]
    primary: bool = False
    collated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A foreign key; `definition` is the server's own text, from which it can be recreated.

    `indexed` tells whether an index begins with its columns, in any order. It is always True on SQLite, where
    it is not looked up.
    """

    name: str
    columns: tuple[str, ...]
    parent: str  # the referenced table, by its name in `Catalog.tables`
    parent_columns: tuple[str, ...]
    definition: str = ""
    validated: bool = True
    enforced: bool = True  # False: a row may have no parent with equal values (NOT ENFORCED, PERIOD)
    period: bool = False  # the last columns are periods: rows of the parent together cover that of a row
    comment: str | None = None
    indexed: bool = True

    @property
    def column_pairs(self) -> tuple[tuple[str, str], ...]:
        """The referencing columns, each with the column of the parent that it references."""
        return tuple(zip(self.columns, self.parent_columns, strict=True))

    @property
    def spelled(self) -> str:
        """The columns and where they lead, for messages: `(book_id) to books (id)`."""
        parents = f" ({', '.join(self.parent_columns)})" if self.parent_columns else ""
        return f"({', '.join(self.columns)}) to {self.parent}{parents}"

    @property
    def meaning(self) -> tuple[object, ...]:
        """The constraint without its name: two constraints with equal meaning are one relation."""
        return (self.columns, self.parent, self.parent_columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table. `name` is the name that projects use: bare in the default schema, else `schema.table`."""

    name: str
    schema: str
    relation: str
    columns: Mapping[str, Column]
    keys: tuple[UniqueKey, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    kind: Kind = "table"
    exists: bool = True  # False: only the project's MetaData declares it so far
    row_security: bool = False
    inherits: bool = False  # part of an inheritance tree: statements must say ONLY to leave out children
    rebuildable: bool = True  # its foreign keys may be dropped and recreated
    rules: tuple[str, ...] = ()  # active rules, which rewrite INSERT, UPDATE or DELETE, but not COPY
    unfit: tuple[ForeignKey, ...] = ()  # those for which SQLite finds no unique key, not in `foreign_keys`

    @property
    def holds_rows(self) -> bool:
        """Whether rows can be inserted: views, foreign and virtual tables hold none of their own."""
        return self.kind in ("table", "partitioned")

    @property
    def relations(self) -> tuple[ForeignKey, ...]:
        """The foreign keys, without duplicates: of those with equal meaning only the first."""
        return tuple({key.meaning: key for key in reversed(self.foreign_keys)}.values())[::-1]

    @property
    def parents(self) -> frozenset[str]:
        """The tables that its foreign keys reference, the table itself included if one does."""
        return frozenset(key.parent for key in self.foreign_keys)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The columns of the primary key; empty if there is none."""
        return next((key.columns for key in self.keys if key.primary), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """All tables of a database that the connection can see."""

    dialect: Dialect
    version: str
    database: str
    user: str
    default_schema: str
    tables: Mapping[str, Table]
    empty: frozenset[str] = frozenset()  # of the tables whose emptiness was checked, those without rows
    partitions: Mapping[str, str] = field(default_factory=dict)  # partition → partitioned table

    def find(self, name: str) -> Table | None:
        """Look up `table` or `schema.table`; return None if there is no such table."""
        return self.tables.get(name) or self.tables.get(name.removeprefix(f"{self.default_schema}."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ddl:
    """Statements that create tables; constraints and indexes apart, as they cost less after the rows."""

    tables: list[str]
    constraints_and_indexes: list[str]

    @property
    def in_order(self) -> list[str]:
        """All statements, in an executable order."""
        return [*self.tables, *self.constraints_and_indexes]


def quote(name: str) -> str:
    """Quote an identifier by the rules of standard SQL, which every database here understands."""
    return '"' + name.replace('"', '""') + '"'
