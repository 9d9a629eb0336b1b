"""dlt: a pipeline of Arrow tables, which it loads by COPY of CSV into tables of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from tests.benchmarks.material import Material
from tests.benchmarks.rivals.contract import Rival
from tests.benchmarks.rivals.forms import parts_of

DATASET = "rival_dlt"


class DltReplace(Rival):
    name = "dlt, replace"
    remark = "own tables without keys and indexes; CSV and COPY; empty text becomes NULL"
    packages = ("dlt", "pyarrow", "psycopg2")
    schema = DATASET
    blind_to = "empty text"
    disposition = "replace"

    def prepare(self, material: Material, url: str, folder: Path) -> None:
        super().prepare(material, url, folder)
        os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
        os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
        parts = parts_of(url)
        self.credentials = {**parts, "username": parts["user"]}
        if parts["host"].startswith("/"):  # a socket's folder does not survive in the URL that dlt makes
            self.credentials |= {"host": "localhost", "query": {"host": parts["host"]}}
        self.runs = 0

    def reset(self) -> None:
        self.runs += 1
        with psycopg.connect(self.url) as connection:
            for schema in (DATASET, f"{DATASET}_staging"):
                connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")

    def run(self) -> None:
        import dlt

        pipeline = dlt.pipeline(
            "rival",
            destination=dlt.destinations.postgres(credentials=self.credentials),
            dataset_name=DATASET,
            pipelines_dir=str(self.folder / f"pipelines-{self.runs}"),
        )
        info = pipeline.run(
            [self.resource(table) for table in self.material.tables], loader_file_format="csv"
        )
        info.raise_on_failed_jobs()

    def resource(self, table: sa.Table) -> Any:
        import dlt
        from pyarrow import parquet

        def rows() -> Any:
            yield parquet.read_table(self.material.parquet(table.name))

        return dlt.resource(
            rows,
            name=table.name,
            write_disposition=self.disposition,
            primary_key=[column.name for column in table.primary_key],
        )


class DltMerge(DltReplace):
    name = "dlt, merge"
    disposition = "merge"
