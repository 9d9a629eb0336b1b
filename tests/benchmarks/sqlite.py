"""A cold seed of a SQLite file against sqlite3's `executemany` of the same rows into the same tables.

python -m tests.benchmarks --only sqlite [--rows 1000000] [--pairs 3]
"""

from __future__ import annotations

import gc
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from seedlab.database.models import load_metadata
from seedlab.operations import generation
from seedlab.plan.project import load_project
from tests.benchmarks.bench import DATA, seed
from tests.benchmarks.figures import Result
from tests.benchmarks.paired_runs import Asked, Setup, measure_pairs, paired_table, tell
from tests.benchmarks.rivals.executemany import CheckedExecutemany, Executemany

REMARK = """{rows:,} rows in {tables} tables, which are there and empty, in a new file each time. seedlab: from reading
`seedlab.toml` to the commit, foreign keys checked. executemany: from rows in memory to the commit."""
ASKED = {Executemany: Asked(share=0.65), CheckedExecutemany: Asked()}


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlitePlace:
    """A file that is a copy of one with empty tables whenever it is to be empty."""

    empty: Path
    file: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.file}"

    superuser_url = url

    def time(self, action: Callable[[], object]) -> float:
        for each in self.file.parent.glob(f"{self.file.name}*"):
            each.unlink()
        shutil.copy(self.empty, self.file)
        gc.collect()
        began = time.perf_counter()
        action()
        return time.perf_counter() - began


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteRows:
    """What seedlab wrote into a file: the file kept, and its tables as Parquet."""

    seeded: Path
    folder: Path
    tables: list[str]
    rows: int

    def parquet(self, table: str) -> Path:
        return self.folder / f"{table}.parquet"

    def verify(self, url: str, **_: object) -> None:
        """Compare all rows; AssertionError names a table that differs."""
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("ATTACH ? AS seeded", [str(self.seeded)])
            for name in self.tables:
                one, other = (f'SELECT * FROM {schema}."{name}"' for schema in ("main", "seeded"))
                for query in (f"{one} EXCEPT {other}", f"{other} EXCEPT {one}"):
                    (differing,) = connection.execute(f"SELECT count(*) FROM ({query})").fetchone()
                    assert not differing, f"{differing} rows of {name} differ from seedlab's"


def take(seeded: Path, metadata: sa.MetaData, folder: Path) -> SqliteRows:
    """Write the seeded file's tables as Parquet, values as SQLite keeps them."""
    folder.mkdir()
    names = [table.name for table in metadata.sorted_tables]
    total = 0
    with closing(sqlite3.connect(seeded)) as connection:
        for name in names:
            rows = connection.execute(f'SELECT * FROM "{name}"')
            columns = [column[0] for column in rows.description]
            frame = pl.DataFrame(rows.fetchall(), columns, orient="row", infer_schema_length=None)
            frame.write_parquet(folder / f"{name}.parquet")
            total += frame.height
    return SqliteRows(seeded=seeded, folder=folder, tables=names, rows=total)


def measure(rows: int, pairs: int) -> Result:
    """Seed and insert in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grown = folder / "grown"
        tell(f"generating {rows:,} rows")
        generation.generate(load_project(DATA), rows=rows, out=grown)
        metadata = load_metadata(grown, "models.py:metadata")
        engine = sa.create_engine(f"sqlite:///{folder / 'empty.db'}")
        metadata.create_all(engine)
        engine.dispose()
        place = SqlitePlace(empty=folder / "empty.db", file=folder / "here.db")
        place.time(lambda: seed(place.url, folder=grown))
        shutil.copy(place.file, folder / "seeded.db")
        material = take(folder / "seeded.db", metadata, folder / "rows")
        setup = Setup(
            place=place,
            url=place.url,
            material=material,
            ours=lambda: seed(place.url, folder=grown),
            folder=folder,
            pairs=pairs,
        )
        results = [measure_pairs(setup, kind(), asked) for kind, asked in ASKED.items()]
        remark = REMARK.format(rows=material.rows, tables=len(material.tables))
    return paired_table(f"SQLite beside executemany, {rows:,} rows", remark, results)
