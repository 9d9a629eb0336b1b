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
        """Take the rows of a seeded SQLite database."""
        super().prepare(material, url, folder)

    def run(self) -> None:
        with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection:
            if self.foreign_keys:
                connection.execute("PRAGMA foreign_keys = ON")
            for name in self.material.tables:
                rows = pl.read_parquet(self.material.parquet(name))
                marks = ", ".join("?" * rows.width)
                connection.executemany(f'INSERT INTO "{name}" VALUES ({marks})', rows.rows())
            connection.commit()


class CheckedExecutemany(Executemany):
    name = "sqlite3 `executemany`, foreign keys on"
    remark = "`PRAGMA foreign_keys = ON`, all else default"
    foreign_keys = True
