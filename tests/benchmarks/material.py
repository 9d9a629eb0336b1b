"""The rows that rivals load: what seedlab wrote, taken out of the database again as files, in its order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import polars as pl
import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects import postgresql

_DIALECT = postgresql.dialect()

# What a tool cannot help changing: "" is NULL to it, or 1.0 in a JSON document is 1.
Blind = Literal["", "empty text", "zeros in JSON"]
Digests = Mapping[str, tuple[int, int]]  # of each table: rows, sum of their hashes
Form = Callable[[sa.Table, pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A file of each table in two formats, and what a database must hold once they are loaded."""

    folder: Path
    metadata: sa.MetaData
    digests: Mapping[Blind, Digests]

    @property
    def tables(self) -> list[sa.Table]:
        """Parents first."""
        return self.metadata.sorted_tables

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.digests[""].values())

    def csv(self, table: str) -> Path:
        """The table as the server writes CSV, with a header: nothing for NULL, quotes for the empty string."""
        return self.folder / f"{table}.csv"

    def parquet(self, table: str) -> Path:
        """The table with its types; uuid and JSON are text."""
        return self.folder / f"{table}.parquet"

    def rewrite(self, folder: Path, form: Form) -> None:
        """Write Parquet files of the same rows in another form."""
        folder.mkdir(exist_ok=True)
        for table in self.tables:
            form(table, pl.read_parquet(self.parquet(table.name))).write_parquet(
                folder / f"{table.name}.parquet"
            )

    def verify(self, url: str, *, schema: str = "public", blind_to: Blind = "") -> None:
        """Compare a database's rows with these by count and content; AssertionError names what differs."""
        expected = self.digests[blind_to]
        found = digests(url, self.metadata, schema, blind_to)
        wrong = {name: (found[name], expected[name]) for name in expected if found[name] != expected[name]}
        assert not wrong, f"other rows than seedlab's, (rows, hash) found and expected: {wrong}"


def take(url: str, metadata: sa.MetaData, folder: Path) -> Material:
    """Write the files of what a seeded database holds."""
    folder.mkdir(parents=True, exist_ok=True)
    material = Material(
        folder=folder,
        metadata=metadata,
        digests={blind: digests(url, metadata, blind_to=blind) for blind in get_args(Blind)},
    )
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'")
        for table in metadata.sorted_tables:
            _copy_out(connection, table, material.csv(table.name))
            text = pl.read_csv(material.csv(table.name), infer_schema=False)  # it tells "" from nothing, too
            text.with_columns(map(_value, table.columns)).write_parquet(material.parquet(table.name))
    return material


def _copy_out(connection: psycopg.Connection, table: sa.Table, file: Path) -> None:
    query = sql.SQL("COPY {} ({}) TO STDOUT (FORMAT csv, HEADER)").format(
        sql.Identifier(table.name),
        sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns),
    )
    with connection.cursor().copy(query) as copy, file.open("wb") as out:
        out.writelines(copy)


def _value(column: sa.Column) -> pl.Expr:
    text = pl.col(column.name)
    match column.type:
        case sa.Boolean():
            return text == "t"
        case sa.SmallInteger():
            return text.cast(pl.Int16)
        case sa.Double():
            return text.cast(pl.Float64)
        case sa.Numeric() as kind:
            return text.cast(pl.Decimal(kind.precision, kind.scale))
        case sa.DateTime():
            return text.str.strip_suffix("+00").str.to_datetime(time_unit="us", time_zone="UTC")
    return text


# ---- comparing ------------------------------------------------------------------------------------------


def digests(url: str, metadata: sa.MetaData, schema: str = "public", blind_to: Blind = "") -> Digests:
    """Rows of every table and the sum of their hashes; values are cast to the types that they should have."""
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'")
        return {
            table.name: connection.execute(_digest(table, schema, blind_to)).fetchone() or (0, 0)
            for table in metadata.sorted_tables
        }


def _digest(table: sa.Table, schema: str, blind_to: Blind) -> sql.Composed:
    values = (
        sql.SQL(_template(column, blind_to)).format(
            sql.Identifier(column.name), sql.SQL(column.type.compile(_DIALECT))
        )
        for column in table.columns
    )
    query = sql.SQL("SELECT count(*), sum(hashtextextended(ROW({})::text, 0)) FROM {}")
    return query.format(sql.SQL(", ").join(values), sql.Identifier(schema, table.name))


def _template(column: sa.Column, blind_to: Blind) -> str:
    match blind_to, column.type:
        case "empty text", _:
            return "nullif({}::text, '')::{}"
        case "zeros in JSON", sa.JSON():
            return r"regexp_replace({}::{}::text, '\.0+(?![0-9])|(\.[0-9]*[1-9])0+(?![0-9])', '\1', 'g')"
    return "{}::{}"
