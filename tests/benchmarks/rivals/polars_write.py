"""polars' `write_database` over ADBC, its quick engine."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tests.benchmarks.material import Material
from tests.benchmarks.rivals.contract import Rival
from tests.benchmarks.rivals.forms import binary


class PolarsWriteDatabase(Rival):
    name = "polars `write_database` (ADBC)"
    remark = "a transaction for each table; files as for ADBC"
    packages = ("adbc_driver_postgresql", "pyarrow")

    def prepare(self, material: Material, url: str, folder: Path) -> None:
        super().prepare(material, url, folder)
        material.rewrite(folder, binary)

    def run(self) -> None:
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(self.url) as connection:
            for table in self.material.tables:
                rows = pl.read_parquet(self.folder / f"{table.name}.parquet")
                rows.write_database(table.name, connection, if_table_exists="append", engine="adbc")
