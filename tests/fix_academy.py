"""The bundled project in real databases: each level and environment is seeded once in a run.

What is shared is only read. `SEEDLAB_ACCEPT=1 pytest FILE` rewrites what a test file compares with.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from seedlab import orchestrator
from seedlab.database import connect
from seedlab.database.embedded import server
from seedlab.database.models import load_metadata
from seedlab.flow import Level, Options, Project, Run, Settings
from seedlab.insight.measuring.monitor import Monitor
from seedlab.plan.project import load_project
from tests.fix_postgres import PostgresServer, drop_database

DATA = Path(__file__).parent.parent / "data"
ACCEPT = "SEEDLAB_ACCEPT"

Content = dict[str, list[list[Any]]]  # rows of every table, sorted, values in canonical text


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """A database that holds the academy, and the run that brought it there."""

    url: str
    run: Run


class Academies:
    """Databases of this run by what they were seeded with, made when first asked for."""

    def __init__(self, project: Project, request: pytest.FixtureRequest, folder: Path) -> None:
        self.project = project
        self._request = request
        self._folder = folder
        self._server: PostgresServer | None = None
        self._made: dict[tuple[str, Level, str], Seeded] = {}

    def seeded(self, dialect: str, level: Level = "incremental", environment: str = "development") -> Seeded:
        asked = (dialect, level, environment)
        if asked not in self._made:
            url = self._new_url(dialect)
            self._made[asked] = Seeded(url=url, run=self.seed(url, level, environment))
        return self._made[asked]

    def seed(self, url: str, level: Level = "incremental", environment: str = "development") -> Run:
        target = connect.parse_target(url, "--database-url")
        options = Options(
            environment=self.project.environments[environment],
            settings=Settings(level=level),
            yes_seed=target.database,
        )
        return orchestrator.seed(self.project, target, options, Monitor())

    def drop(self) -> None:
        names = [connect.parse_target(each.url, "").database for each in self._made.values()]
        if self._server is not None:
            with psycopg.connect(self._server.url, autocommit=True) as admin:
                for name in names:
                    drop_database(admin, name)

    def _new_url(self, dialect: str) -> str:
        name = f"academy_{uuid.uuid4().hex}"
        if dialect == "sqlite":
            return f"sqlite:///{self._folder / name}.db"
        if self._server is None:
            self._server = self._request.getfixturevalue("postgres_server")
        with psycopg.connect(self._server.url, autocommit=True) as admin:
            admin.execute(server.create_database(name))
        return self._server.database(name)


@pytest.fixture(scope="session")
def academies(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Academies]:
    made = Academies(load_project(DATA), request, tmp_path_factory.mktemp("academies"))
    yield made
    made.drop()


@pytest.fixture(scope="session")
def academy_metadata() -> sa.MetaData:
    return load_metadata(DATA, "models.py:metadata")


# ---- what a database holds ------------------------------------------------------------------------------


def content_of(url: str, metadata: sa.MetaData) -> Content:
    """Every row, spelled the same on both dialects.

    uuid lower case with dashes, timestamps in UTC, numerics without trailing zeros, JSON with sorted keys.
    """
    return {
        name: sorted(([_canonical(v, c.type) for v, c in zip(row, table.columns, strict=True)] for row in rows), key=json.dumps)
        for (name, table), rows in zip(metadata.tables.items(), _raw(url, metadata), strict=True)
    }  # fmt: skip


def summary_of(content: Content) -> dict[str, dict[str, object]]:
    """Rows and checksum of every table."""
    return {
        name: {"rows": len(rows), "checksum": hashlib.sha256(json.dumps(rows).encode()).hexdigest()}
        for name, rows in content.items()
    }


def _raw(url: str, metadata: sa.MetaData) -> list[list[tuple[Any, ...]]]:
    """Rows as the driver gives them; SQLAlchemy would hide how SQLite keeps a value."""
    if url.startswith("sqlite"):
        queries = [str(sa.select(table).compile()) for table in metadata.tables.values()]
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            return [connection.execute(query).fetchall() for query in queries]
    with psycopg.connect(url) as connection:
        return [
            connection.execute(
                sql.SQL("SELECT {} FROM {}").format(
                    sql.SQL(", ").join(map(_postgres_column, table.columns)),
                    sql.Identifier(table.name),
                )
            ).fetchall()
            for table in metadata.tables.values()
        ]


def _postgres_column(column: sa.Column[Any]) -> sql.Composable:
    """A column; JSON as text, so that its numbers do not pass through floats."""
    as_text = "::text" if isinstance(column.type, sa.JSON) else ""
    return sql.Identifier(column.name) + sql.SQL(as_text)


def _canonical(value: Any, kind: sa.types.TypeEngine[Any]) -> Any:
    if value is None:
        return None
    match kind:
        case sa.Uuid():
            return str(UUID(str(value)))
        case sa.Double():
            return repr(float(value))
        case sa.Numeric():
            return _number(value)
        case sa.DateTime():
            moment = datetime.fromisoformat(value) if isinstance(value, str) else value
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return aware.astimezone(UTC).isoformat()
        case sa.JSON():
            parsed = json.loads(value, parse_int=_number, parse_float=_number)
            return json.dumps(parsed, sort_keys=True, ensure_ascii=False)
        case sa.Boolean():
            return bool(value)
        case _:
            return value


def _number(value: Decimal | float | str) -> str:
    """A number without trailing zeros or exponent: jsonb keeps 5.972e24 as all its digits."""
    return format(Decimal(str(value)).normalize(), "f")


# ---- files of expectations ------------------------------------------------------------------------------


def expected(file: Path, found: dict[str, Any], *path: str) -> Any:
    """What the file says below `path`; when accepting, it is made to say `found`."""
    whole = json.loads(file.read_text()) if file.exists() else {}
    if os.environ.get(ACCEPT):
        inner = whole
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        if path:
            inner[path[-1]] = found
        else:
            whole = found
        file.write_text(json.dumps(whole, indent=2) + "\n")
    for name in path:
        whole = whole.get(name, {})
    return whole
