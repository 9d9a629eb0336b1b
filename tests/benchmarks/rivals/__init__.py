"""What a user would take instead of seedlab: one small module for each tool."""

from __future__ import annotations

from tests.benchmarks.rivals.adbc import AdbcIngest
from tests.benchmarks.rivals.contract import Rival
from tests.benchmarks.rivals.dbt_seed import DbtSeed
from tests.benchmarks.rivals.django_bulk import DjangoBulkCreate
from tests.benchmarks.rivals.dlt_pipeline import DltMerge, DltReplace
from tests.benchmarks.rivals.pandas_to_sql import PandasCopy, PandasMulti, PandasToSql
from tests.benchmarks.rivals.polars_write import PolarsWriteDatabase
from tests.benchmarks.rivals.prisma_client import PrismaCreateMany, PrismaUpserts
from tests.benchmarks.rivals.psql import PsqlCopy
from tests.benchmarks.rivals.sqlalchemy_core import SqlAlchemyCore
from tests.benchmarks.rivals.sqlalchemy_orm import SqlAlchemyOrm

POSTGRES: tuple[type[Rival], ...] = (
    PsqlCopy,
    AdbcIngest,
    PolarsWriteDatabase,
    DltReplace,
    DltMerge,
    PandasCopy,
    PandasToSql,
    PandasMulti,
    SqlAlchemyCore,
    SqlAlchemyOrm,
    DjangoBulkCreate,
    DbtSeed,
    PrismaCreateMany,
    PrismaUpserts,
)
