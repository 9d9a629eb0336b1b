"""dbt's `seed`: CSV files into tables of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tests.benchmarks.material import Material
from tests.benchmarks.rivals.contract import Rival
from tests.benchmarks.rivals.forms import parts_of

SCHEMA = "rival_dbt"


class DbtSeed(Rival):
    name = "dbt seed"
    remark = "own tables without any key; a transaction for each; the process counts; empty text becomes NULL"
    pace = "small"  # it reads every value in Python
    programs = ("dbt",)
    schema = SCHEMA
    blind_to = "empty text"

    def prepare(self, material: Material, url: str, folder: Path) -> None:
        super().prepare(material, url, folder)
        (folder / "seeds").mkdir()
        for table in material.tables:
            shutil.copy(material.csv(table.name), folder / "seeds")
        seeds = {table.name: {"+column_types": types_of(table)} for table in material.tables}
        project = {
            "name": "rival",
            "version": "1.0",
            "profile": "rival",
            "flags": {"send_anonymous_usage_stats": False},
            "seeds": {"rival": seeds},
        }
        (folder / "dbt_project.yml").write_text(json.dumps(project))  # JSON is YAML
        profile = {"rival": {"target": "here", "outputs": {"here": output_of(url)}}}
        (folder / "profiles.yml").write_text(json.dumps(profile))

    def reset(self) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")

    def run(self) -> None:
        subprocess.run(
            ["dbt", "--quiet", "--no-version-check", "seed", "--full-refresh", "--profiles-dir", "."],
            cwd=self.folder,
            check=True,
        )


def types_of(table: sa.Table) -> dict[str, str]:
    return {column.name: column.type.compile(postgresql.dialect()) for column in table.columns}


def output_of(url: str) -> dict[str, Any]:
    parts = parts_of(url)
    parts["dbname"] = parts.pop("database")
    return {"type": "postgres", **parts, "schema": SCHEMA, "threads": 2}
