"""sqlite3's `executemany` in one transaction, with what it and SQLite have as defaults."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl

from tests.benchmarks.rivals.contract import Rival


class Executemany(Rival):
    name = "sqlite3 `executemany`"
    remark = "defaults: foreign keys are not checked"
    foreign_keys = False

    def prepare(self, material: Any, url: str, folder: Path) -> None:
        """Take the rows of a seeded SQLite database into memory, as Python's values."""
        super().prepare(material, url, folder)
        self.rows = {name: pl.read_parquet(material.parquet(name)).rows() for name in material.tables}

    def run(self) -> None:
        with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection:
            if self.foreign_keys:
                connection.execute("PRAGMA foreign_keys = ON")
            for name, rows in self.rows.items():
                marks = ", ".join("?" * len(rows[0]))
                connection.executemany(f'INSERT INTO "{name}" VALUES ({marks})', rows)
            connection.commit()


class CheckedExecutemany(Executemany):
    name = "sqlite3 `executemany`, foreign keys on"
    remark = "`PRAGMA foreign_keys = ON`, all else default"
    foreign_keys = True
