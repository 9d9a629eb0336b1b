"""SQLAlchemy Core: an insert of each table with many parameter sets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import polars as pl
import sqlalchemy as sa

from tests.benchmarks.material import Material
from tests.benchmarks.rivals.contract import Rival
from tests.benchmarks.rivals.forms import names_of

BATCH = 10_000


def records(material: Material, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    """Batches of a table's rows as SQLAlchemy's types take them."""
    documents = names_of(table, sa.JSON)
    for frame in pl.read_parquet(material.parquet(table.name)).iter_slices(BATCH):
        rows = frame.to_dicts()
        for row in rows:
            for name in documents:
                row[name] = None if row[name] is None else json.loads(row[name])
        yield rows


def loose(metadata: sa.MetaData) -> sa.MetaData:
    """The tables with uuids as text, which spares a conversion of each."""
    copied = sa.MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        for column in table.to_metadata(copied).columns:
            if isinstance(column.type, sa.Uuid):
                column.type = sa.Uuid(as_uuid=False)
    return copied


def engine_of(url: str) -> sa.Engine:
    return sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))


class SqlAlchemyCore(Rival):
    name = "SQLAlchemy Core, executemany"
    remark = "one transaction"
    pace = "slow"

    def run(self) -> None:
        engine = engine_of(self.url)
        with engine.begin() as connection:
            for table in loose(self.material.metadata).sorted_tables:
                for rows in records(self.material, table):
                    connection.execute(sa.insert(table), rows)
        engine.dispose()
