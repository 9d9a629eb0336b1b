"""ADBC: Arrow tables by binary COPY."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.material import Material
from tests.benchmarks.rivals.contract import Rival
from tests.benchmarks.rivals.forms import binary


class AdbcIngest(Rival):
    name = "ADBC `adbc_ingest`"
    remark = "one transaction; Parquet files with uuid and jsonb as COPY's binary format has them"
    packages = ("adbc_driver_postgresql", "pyarrow")

    def prepare(self, material: Material, url: str, folder: Path) -> None:
        super().prepare(material, url, folder)
        material.rewrite(folder, binary)

    def run(self) -> None:
        from adbc_driver_postgresql import dbapi
        from pyarrow import parquet

        with dbapi.connect(self.url) as connection, connection.cursor() as cursor:
            for table in self.material.tables:
                rows = parquet.read_table(self.folder / f"{table.name}.parquet")
                cursor.adbc_ingest(table.name, rows, mode="append")
            connection.commit()
