"""A small school to run experiments on, and whether they leave anything behind."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from seedlab.database.scratch_databases import PREFIX
from tests.support.school import FILES, SEED, STAGE
from tests.support.seeding import write

# `seen` differs from run to run, ids come from a sequence: neither makes a database another one.
MODELS = """\
import sqlalchemy as sa

metadata = sa.MetaData()
sa.Table(
    "cities", metadata,
    sa.Column("id", sa.Integer, primary_key=True), sa.Column("code", sa.Text, unique=True, nullable=False),
    sa.Column("name", sa.Text),
    sa.Column("seen", sa.Text, server_default=sa.text("(random())")),
)
sa.Table(
    "pupils", metadata,
    sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text, unique=True, nullable=False),
    sa.Column("city_id", sa.ForeignKey("cities.id"), nullable=False), sa.Column("age", sa.Integer),
)
"""
CONFIG = (
    '[project]\nname = "school"\nschema = "models.py:metadata"\n'
    + STAGE.format("core")
    + SEED.format("cities", "cities.csv")
    + STAGE.format("people")
    + 'dependencies = ["core"]\n'
    + SEED.format("pupils", "pupils.csv")
)
SCHOOL = {**FILES, "seedlab.toml": CONFIG, "models.py": MODELS}


def school(folder: Path, **changed: str) -> Path:
    """Make the school; of files that are named (with _ for the dot) the text given."""
    return write(folder, SCHOOL | {name.replace("_", "."): text for name, text in changed.items()})


def left_behind(url: str) -> list[str]:
    """Scratch databases that are still there."""
    if url.startswith("sqlite"):
        return []
    with psycopg.connect(url) as connection:
        return [name for name in databases_of(connection, urlsplit(url).username) if PREFIX in name]


def databases_of(connection: psycopg.Connection, role: str | None) -> list[str]:
    query = "SELECT datname FROM pg_database WHERE datdba = %s::regrole"
    return [name for (name,) in connection.execute(query, [role]).fetchall()]
