"""Write rows one by one, looking up each parent and each row first: the `legacy` level.

Seed scripts usually work like this. It is kept as the baseline of measurements, and as the simplest
specification of what the fast paths must do. It uses SQLAlchemy Core on the session's own connection and
transaction, for every dialect.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any
from uuid import UUID

import polars as pl
import psycopg
from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    and_,
    cast,
    collate,
    false,
    or_,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import TableClause

from seedlab.database.legacy_clauses import clause_of, insert_into, made_by_us, own_rows, update_of
from seedlab.database.legacy_values import Spelled, as_spelled, bound, comparable, equal, in_binary
from seedlab.database.postgres.failures import write_failed
from seedlab.database.sqlite.encode import encode
from seedlab.database.sqlite.statements import compared
from seedlab.database.sqlite.write import explain
from seedlab.errors import CannotOrderRows, DataFaults, Fault, SeedError, WriteError
from seedlab.flow import (
    FILE,
    HANDLE,
    ROW,
    Catalog,
    Column,
    Dialect,
    Load,
    Outcomes,
    Part,
    Recorder,
    Reference,
    Sourced,
    Table,
    Written,
    null_sources,
)

Row = Mapping[str, Any]


# ---- one load -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Writer:
    """Writes the rows of one load; statements are built once and executed row by row.

    `keys` are those of the table's rows so far, as the database spells them.
    """

    connection: Connection
    catalog: Catalog
    load: Load
    table: Table
    clause: TableClause
    recorder: Recorder
    keys: set[tuple[Any, ...]]
    parents: dict[int, Executable] = field(default_factory=dict)  # by identity of the reference

    def write(self, rows: Sequence[Row], order: Sequence[int]) -> Written:
        """Look each row up by its key; insert it, or update it if it differs. `order` has the ordinals."""
        find, add, change = self._find(), self._insert(), self._update()
        created: list[int] = []
        updated = 0
        for place, row in zip(order, rows, strict=True):
            try:
                values = self._values(row)
                found = self.connection.execute(find, values).one_or_none()
                if found is None:
                    self.keys.update(map(tuple, self.connection.execute(add, values)))
                    created.append(place)
                elif found.conflict:
                    raise DataFaults([self._conflict(row)])
                elif (key := tuple(found)[2:]) in self.keys:
                    raise DataFaults([self._repeated(row)])
                else:
                    self.keys.add(key)
                    if found.differs and self.load.mode != "insert":
                        self.connection.execute(change, values)
                        updated += 1
            except DBAPIError as error:
                raise _refused(error, self.table, self.load, row) from error
            self.recorder.progress(self.load, 1)
        unchanged = len(rows) - len(created) - updated
        outcomes = Outcomes(created=len(created), updated=updated, unchanged=unchanged)
        return Written(load=self.load, outcomes=outcomes, created=tuple(created))

    # ---- statements ----

    def _find(self) -> Executable:
        """Select whether the existing row differs, whether its id is another than the file's, and its key."""
        explicit = {*self.table.primary_key} - {*self.load.key_columns, self.load.made}
        differs = [self._differs(name) for name in compared(self.load, self.table)]
        conflicts = [self._differs(name) for name in self.load.columns if name in explicit]
        return (
            select(
                or_(false(), *differs).label("differs"),
                or_(false(), *conflicts).label("conflict"),
                *self._key(),
            )
            .select_from(self.clause)
            .with_hint(*own_rows(self.clause, self.table))
            .where(*map(self._same, self.load.key_columns))
        )

    def _insert(self) -> Executable:
        """Insert a row without an id that the database generates."""
        names = [name for name in self.load.columns if name != self.load.made or made_by_us(self.table, name)]
        values = {name: self._bound(name) for name in names}
        return insert_into(self.clause, self.table, values).returning(*self._key())

    def _key(self) -> Sequence[ColumnElement[Any]]:
        return as_spelled([self._own(name) for name in self.load.key_columns], self.catalog.dialect)

    def _update(self) -> Executable:
        sets = {name: self._bound(name) for name in compared(self.load, self.table)}
        return update_of(self.clause, self.table).where(*map(self._same, self.load.key_columns)).values(sets)

    def _same(self, name: str) -> ColumnElement[bool]:
        nulls = name in self.load.null_key_columns
        return equal(self.table.columns[name], self._own(name), self._bound(name), nulls=nulls)

    def _own(self, name: str) -> ColumnElement[Any]:
        return self.clause.c[name]

    def _bound(self, name: str) -> ColumnElement[Any]:
        return bound(f"v_{self.load.columns.index(name)}", self.table.columns[name], self.catalog.dialect)

    def _differs(self, name: str) -> ColumnElement[bool]:
        """Compare as the other writers do: byte by byte, or in binary (send) form."""
        column, own, new = self.table.columns[name], self._own(name), self._bound(name)
        if self.catalog.dialect == "sqlite":
            own, new = comparable(column, own), comparable(column, new)
            return own.is_distinct_from(collate(new, "BINARY"))
        if column.kind == "char":  # the column stores it padded
            new = cast(new, Spelled(column.type))
        if column.send:
            return in_binary(column, own).is_distinct_from(in_binary(column, new))
        return own.is_distinct_from(new)

    # ---- values ----

    def _values(self, row: Row) -> dict[str, Any]:
        """Return the values of a row's columns; each reference costs a query per hop."""
        values = {name: row[name] for name in self.load.values}
        for reference in self.load.references:
            values |= self._resolve(reference, row)
        if self.load.made is not None:
            values[self.load.made] = row[HANDLE]
        return {f"v_{n}": values[name] for n, name in enumerate(self.load.columns)}

    def _resolve(self, reference: Reference, row: Row) -> dict[str, Any]:
        """Return the values of a foreign key's columns, looking the parent up unless its key has them."""
        key: dict[str, Any] = {}
        for part in reference.parts:
            if part.reference is not None:
                key |= self._resolve(part.reference, row)
            elif part.source is not None:
                key[part.columns[0]] = row[part.source]
        own, parents = reference.foreign_key.columns, reference.foreign_key.parent_columns
        if reference.outright:
            return {name: row[name] for name in own}
        optional = {name for part in reference.parts if part.nulls for name in part.columns}
        missing = {name for name, value in key.items() if value is None}
        if missing == key.keys() or not missing <= optional:
            return dict.fromkeys(own)
        if set(parents) <= set(key):
            return dict(zip(own, (key[name] for name in parents), strict=True))
        if id(reference) not in self.parents:
            self.parents[id(reference)] = self._find_parent(reference, tuple(key), optional)
        parameters = {f"k_{n}": value for n, value in enumerate(key.values())}
        found = self.connection.execute(self.parents[id(reference)], parameters).one_or_none()
        if found is None:
            raise DataFaults([self._orphan(reference, row)])
        return dict(zip(own, found, strict=True))

    def _find_parent(self, reference: Reference, key: Sequence[str], optional: Collection[str]) -> Executable:
        parent, dialect = self.catalog.tables[reference.parent], self.catalog.dialect
        clause = clause_of(parent)
        wanted = [clause.c[name] for name in reference.foreign_key.parent_columns]
        same = [
            equal(
                parent.columns[name],
                clause.c[name],
                bound(f"k_{n}", parent.columns[name], dialect),
                nulls=name in optional,
            )
            for n, name in enumerate(key)
        ]
        return select(*as_spelled(wanted, dialect)).with_hint(*own_rows(clause, parent)).where(and_(*same))

    # ---- faults ----

    def _orphan(self, reference: Reference, row: Row) -> Fault:
        sources = " and ".join(reference.sources())
        message = f"no row of table {reference.parent} matches {sources}"
        return _fault("missing-parent", message, self.load, row, reference.sources()[0])

    def _repeated(self, row: Row) -> Fault:
        key = ", ".join(self.load.key_columns)
        message = (
            f"another row of the files has the same key ({key}) for the database, in another spelling; "
            "keep one of them"
        )
        return _fault("unique", message, self.load, row, ", ".join(self.load.spelled_key))

    def _conflict(self, row: Row) -> Fault:
        message = (
            f"a row of table {self.table.name} with this key exists with another id; "
            "give that id, or leave the id out"
        )
        return _fault("id-conflict", message, self.load, row, ", ".join(self.table.primary_key))


# ---- all loads ------------------------------------------------------------------------------------------


def write_rows(
    connection: Connection, catalog: Catalog, rows: Sequence[Sourced], recorder: Recorder
) -> list[Written]:
    """Write every row separately, in the order of `rows`, and parents first within a table.

    New uuid ids are the rows' handles, as everywhere; integer ids are generated by the database. Raises
    CannotOrderRows, before anything is written, as `order_rows` does, and DataFaults at the first row that is
    refused.
    """
    written = []
    keys: defaultdict[str, set[tuple[Any, ...]]] = defaultdict(set)
    for each, order in zip(rows, order_rows(rows), strict=True):
        load = each.load
        with recorder.span("merge", load=load, rows=len(each.frame)):
            own = catalog.tables[load.table]
            writer = _Writer(
                connection=connection,
                catalog=catalog,
                load=load,
                table=own,
                clause=clause_of(own),
                recorder=recorder,
                keys=keys[load.table],
            )
            written.append(writer.write(_rows(each, catalog, order), order))
    return written


def order_rows(rows: Sequence[Sourced]) -> list[list[int]]:
    """Return the order in which the rows of each load can be written one at a time, as their ordinals.

    Raises CannotOrderRows when tables or rows refer to each other in a cycle, or a table has no key.
    """
    _refuse_circles([each.load for each in rows])
    return [_parents_first(each) for each in rows]


def _refuse_circles(loads: Sequence[Load]) -> None:
    """Raise CannotOrderRows for a load that refers to a later table, or has no key."""
    for number, load in enumerate(loads):
        if load.whole:
            raise CannotOrderRows(f"table {load.table} has no key, so equal rows must be counted together")
        later = {each.table for each in loads[number + 1 :]}
        for reference in load.references:
            if reference.parent in later:
                raise CannotOrderRows(
                    f"table {load.table} refers to {reference.parent}, which is written later: "
                    "their rows cannot be written one at a time"
                )


def _parents_first(sourced: Sourced) -> list[int]:
    """Order the rows of a table that refers to itself so that each row comes after those it refers to."""
    load = sourced.load
    to_itself = [each for each in load.references if each.parent == load.table]
    graph: TopologicalSorter[int] = TopologicalSorter(dict.fromkeys(range(len(sourced.frame)), ()))
    for reference in to_itself:
        own = _own_sources(load, reference)
        known = {key: n for n, key in enumerate(sourced.frame.select(own).iter_rows())}
        key_columns = {column for part in reference.parts for column in part.columns}
        optional = null_sources(reference.parts)
        looked_up = not key_columns.issuperset(reference.foreign_key.parent_columns)
        for n, key in enumerate(sourced.frame.select(reference.sources()).iter_rows()):
            # A row may refer to itself by its own key, but not by one that must be looked up before.
            missing = {
                source for source, value in zip(reference.sources(), key, strict=True) if value is None
            }
            named = key in known and missing <= optional and len(missing) < len(key)
            if named and (known[key] != n or looked_up):
                graph.add(n, known[key])
    try:
        return list(graph.static_order()) if to_itself else list(range(len(sourced.frame)))
    except CycleError as error:
        raise CannotOrderRows(
            f"rows of table {load.table} refer to each other in a circle: "
            "they cannot be written one at a time"
        ) from error


def _own_sources(load: Load, reference: Reference) -> list[str]:
    """Return the row's own source columns of the key by which a self reference identifies its parent."""
    by_columns = {each.foreign_key.columns: each.sources() for each in load.references}
    sources: list[str] = []
    for part in reference.parts:
        if part.reference is not None:
            sources += by_columns.get(part.columns, ())
        elif (source := load.source_of(part.columns[0])) is not None:
            sources.append(source)
    return sources


def _rows(sourced: Sourced, catalog: Catalog, order: Sequence[int]) -> list[Row]:
    """Make dictionaries of values for the driver: text, or the values that SQLite stores."""
    frame, load = sourced.frame, sourced.load
    own = catalog.tables[load.table]
    columns: dict[str, Sequence[Any]] = {FILE: frame[FILE].to_list(), ROW: frame[ROW].to_list()}
    leaves = {name: own.columns[name] for name in load.values} | _leaves(
        catalog, own, [Part(columns=each.foreign_key.columns, reference=each) for each in load.references]
    )
    faults: list[Fault] = []
    for source, column in leaves.items():
        columns[source], unfit = _values(column, frame[source], catalog.dialect)
        faults += (_unfit(rule, column, sourced, position) for position, rule in unfit.items())
    if faults:
        raise DataFaults(faults)
    if load.made is not None:
        columns[HANDLE] = _ids(own.columns[load.made], frame[HANDLE], catalog.dialect)
    return [{name: values[n] for name, values in columns.items()} for n in order]


def _leaves(catalog: Catalog, of: Table, parts: Sequence[Part]) -> dict[str, Column]:
    """Return the source columns of references, each with the table column that it fills."""
    leaves: dict[str, Column] = {}
    for part in parts:
        if part.reference is not None:
            leaves |= _leaves(catalog, catalog.tables[part.reference.parent], part.reference.parts)
        elif part.source is not None:
            leaves[part.source] = of.columns[part.columns[0]]
    return leaves


def _values(column: Column, series: pl.Series, dialect: Dialect) -> tuple[Sequence[Any], Mapping[int, str]]:
    """Return values for the driver, and the rules that invalid ones break; PostgreSQL checks them itself."""
    if dialect == "postgresql":
        return series.to_list(), {}
    encoded = encode(column, series)
    return encoded.values, encoded.unfit


def _ids(column: Column, handles: pl.Series, dialect: Dialect) -> Sequence[Any]:
    if dialect == "sqlite":
        return encode(column, handles).values
    return [str(UUID(int=handle)) for handle in handles.to_list()]


def _refused(error: DBAPIError, of: Table, load: Load, row: Row) -> SeedError:
    """Turn a driver's error into ours, with the refused row."""
    original = error.orig
    if isinstance(original, sqlite3.IntegrityError):
        rule, message, columns = explain(original, of, load)
        return DataFaults([_fault(rule, message, load, row, columns or None)])
    if isinstance(original, psycopg.Error):
        place = _fault("constraint", "", load, row, None)
        return write_failed(original, of.name, place, secured=of.row_security)
    return WriteError(f"writing {of.name}: {original}", table=of.name)


def _unfit(rule: str, column: Column, sourced: Sourced, position: int) -> Fault:
    place = {name: sourced.frame[name][position] for name in (FILE, ROW)}
    message = f"column {column.name} is {column.type or 'untyped'}, which does not hold the value exactly"
    return _fault(rule, message, sourced.load, place, column.name)


def _fault(rule: str, message: str, load: Load, row: Row, column: str | None) -> Fault:
    number = row[FILE]
    file = load.files[number].name if number < len(load.files) else None
    return Fault(rule=rule, message=message, table=load.table, column=column, file=file, row=row[ROW])
