"""pandas' `to_sql` in three ways: executemany, rows in one VALUES list, and COPY through its hook."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Literal

import sqlalchemy as sa

from tests.benchmarks.rivals.contract import Rival
from tests.benchmarks.rivals.forms import names_of
from tests.benchmarks.rivals.sqlalchemy_core import engine_of, loose

PARAMETERS = 65_535  # of one statement


def copy_rows(table: Any, connection: sa.Connection, names: list[str], rows: Iterable[tuple]) -> None:
    """As pandas' documentation proposes for PostgreSQL, with psycopg 3, which tells NULL from the empty string."""
    columns = ", ".join(f'"{name}"' for name in names)
    cursor = connection.connection.cursor()
    with cursor.copy(f'COPY "{table.name}" ({columns}) FROM STDIN') as copy:
        for row in rows:
            copy.write_row(row)


class PandasToSql(Rival):
    name = "pandas `to_sql`"
    remark = "one transaction"
    pace = "slow"
    packages = ("pandas", "pyarrow")
    method: Callable[..., None] | Literal["multi"] | None = None

    def run(self) -> None:
        import pandas as pd

        engine = engine_of(self.url)
        with engine.begin() as connection:
            for table in loose(self.material.metadata).sorted_tables:
                frame = pd.read_parquet(self.material.parquet(table.name), dtype_backend="numpy_nullable")
                if self.method is not copy_rows:
                    for name in names_of(table, sa.JSON):
                        values = [None if text is pd.NA else json.loads(text) for text in frame[name]]
                        frame[name] = pd.Series(values, dtype=object)
                frame.to_sql(
                    table.name,
                    connection,
                    if_exists="append",
                    index=False,
                    chunksize=PARAMETERS // len(table.columns) if self.method == "multi" else 10_000,
                    method=self.method,
                    dtype={column.name: column.type for column in table.columns},
                )
        engine.dispose()


class PandasMulti(PandasToSql):
    name = 'pandas `to_sql(method="multi")`'
    pace = "small"
    method = "multi"


class PandasCopy(PandasToSql):
    name = "pandas `to_sql`, COPY as its method"
    pace = "quick"
    method = staticmethod(copy_rows)
