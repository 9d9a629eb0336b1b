"""Prisma's client for Node: `createMany`, and upserts row by row.

    npm install --prefix tests/benchmarks/rivals/prisma

once. The tables are there already, so its schema engine, which npm does not have, is not needed.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from tests.benchmarks.material import Material
from tests.benchmarks.rivals.contract import Rival

HOME = Path(__file__).parent / "prisma"
HEAD = """
generator client {{
  provider = "prisma-client-js"
  output = "{client}"
  engineType = "client"
}}
datasource db {{
  provider = "postgresql"
}}
"""


class PrismaCreateMany(Rival):
    name = "Prisma `createMany`"
    remark = "one transaction; without the start of node"
    pace = "slow"
    programs = ("node",)
    blind_to = "zeros in JSON"  # JavaScript reads 1.0 as 1
    mode = "createMany"

    def missing(self) -> str | None:
        if lacking := super().missing():
            return lacking
        if not (HOME / "node_modules" / "@prisma" / "client").is_dir():
            return f"run: npm install --prefix {HOME.relative_to(Path.cwd()) if HOME.is_relative_to(Path.cwd()) else HOME}"
        return None

    def prepare(self, material: Material, url: str, folder: Path) -> None:
        super().prepare(material, url, folder)
        self.client = folder / "client"
        generate(material.metadata, folder, self.client)
        order = [facts(table) for table in material.tables]
        (folder / "tables.json").write_text(json.dumps(order))
        for table in material.tables:
            write_lines(table, material.parquet(table.name), folder / f"{table.name}.jsonl")

    def run(self) -> float:
        done = subprocess.run(
            ["node", HOME / "load.mjs", self.client, self.folder, self.mode],
            env={**os.environ, "DATABASE_URL": self.url},
            check=True,
            stdout=subprocess.PIPE,
        )
        return float(done.stdout)


class PrismaUpserts(PrismaCreateMany):
    name = "Prisma, row by row: parents looked up, `upsert`"
    remark = "a transaction for each row; without the start of node"
    pace = "small"
    mode = "upserts"


def facts(table: sa.Table) -> dict[str, object]:
    """What a seed script's author knows of a table."""
    return {
        "name": table.name,
        "key": [column.name for column in table.primary_key],
        "references": [
            (column.name, key.column.table.name) for column in table.columns for key in column.foreign_keys
        ],
    }


def write_lines(table: sa.Table, source: Path, file: Path) -> None:
    """A line of JSON for each row, without its NULLs; exact numbers are text, and times as JavaScript writes them."""
    rows = pl.read_parquet(source).with_columns(
        pl.selectors.decimal().cast(pl.String), pl.selectors.datetime().dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
    )
    documents = {column.name for column in table.columns if isinstance(column.type, sa.JSON)}
    with file.open("w", encoding="utf-8") as out:
        for row in rows.iter_rows(named=True):
            given = {name: value for name, value in row.items() if value is not None}
            parsed = {name: json.loads(v) if name in documents else v for name, v in given.items()}
            out.write(json.dumps(parsed, ensure_ascii=False) + "\n")


# ---- the schema -----------------------------------------------------------------------------------------


def generate(metadata: sa.MetaData, folder: Path, client: Path) -> None:
    """Make the client. A script stands in for the schema engine, which would be downloaded, and is not asked."""
    (folder / "node_modules").symlink_to(HOME / "node_modules")
    engine = folder / "engine.sh"
    engine.write_text("#!/bin/sh\nexit 0\n")
    engine.chmod(0o755)
    schema = folder / "schema.prisma"
    models = (model(table) for table in metadata.sorted_tables)
    schema.write_text(HEAD.format(client=client) + "\n".join(models))
    subprocess.run(
        [HOME / "node_modules" / ".bin" / "prisma", "generate", "--schema", schema],
        cwd=folder,
        env={
            **os.environ,
            "PRISMA_SCHEMA_ENGINE_BINARY": str(engine),
            "PRISMA_HIDE_UPDATE_MESSAGE": "1",
            "CHECKPOINT_DISABLE": "1",  # no call home
        },
        check=True,
        capture_output=True,
    )


def model(table: sa.Table) -> str:
    key = [column.name for column in table.primary_key]
    lines = [
        f"  {column.name} {kind(column)}{'?' * column.nullable}{attributes(column)}"
        for column in table.columns
    ]
    lines.append(f"  @@id([{', '.join(key)}])")
    return f"model {table.name} {{\n" + "\n".join(lines) + "\n}\n"


def kind(column: sa.Column) -> str:
    match column.type:
        case sa.Boolean():
            return "Boolean"
        case sa.SmallInteger():
            return "Int"
        case sa.Double():
            return "Float"
        case sa.Numeric():
            return "Decimal"
        case sa.DateTime():
            return "DateTime"
        case sa.JSON():
            return "Json"
    return "String"


def attributes(column: sa.Column) -> str:
    match column.type:
        case sa.Uuid():
            return " @db.Uuid"
        case sa.SmallInteger():
            return " @db.SmallInt"
        case sa.Double():
            return " @db.DoublePrecision"
        case sa.Numeric() as numeric:
            return f" @db.Decimal({numeric.precision}, {numeric.scale})"
        case sa.DateTime():
            return " @db.Timestamptz"
    return ""
