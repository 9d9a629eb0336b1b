"""What a user may do in a target: asked by people whose seed does not get through, never by a seed."""

from __future__ import annotations

import os
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from seedlab.database.sqlite_connection import quote
from seedlab.errors import ConnectionFailed, masked
from seedlab.flow import Target

PATIENCE = 5  # seconds for the server to answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Who we are in a database, and what we may make there."""

    version: str
    user: str
    schemas: bool
    temporary: bool


def rights(target: Target) -> Rights:
    """Connect and ask for our rights; raises ConnectionFailed."""
    return _sqlite_rights(Path(target.url)) if target.dialect == "sqlite" else _postgres_rights(target)


def reading_grants(user: str) -> tuple[str, ...]:
    """Spell what the owner of a ledger grants, so that this user may read it."""
    name = user if re.fullmatch("[a-z_][a-z0-9_]*", user) else quote(user)
    return (
        f"GRANT USAGE ON SCHEMA seedlab TO {name};",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA seedlab TO {name};",
    )


def _postgres_rights(target: Target) -> Rights:
    import psycopg

    query = (
        "SELECT current_setting('server_version'), current_user::text, "
        "has_database_privilege(current_database(), 'CREATE'), "
        "has_database_privilege(current_database(), 'TEMPORARY')"
    )
    try:
        with psycopg.connect(target.url, connect_timeout=PATIENCE, prepare_threshold=None) as connection:
            row = connection.execute(query).fetchone()
    except psycopg.Error as error:
        raise ConnectionFailed(f"connecting to {target} failed: {masked(str(error).strip())}") from None
    assert row is not None
    return Rights(version=row[0], user=row[1], schemas=row[2], temporary=row[3])


def _sqlite_rights(file: Path) -> Rights:
    """Ask the file system: a missing file can be made where its folder is writable."""
    place = file if file.exists() else file.parent
    if not place.exists():
        raise ConnectionFailed(f"opening {file} failed: there is no folder {place}; make it first")
    writable = os.access(place, os.W_OK)
    return Rights(version=f"SQLite {sqlite3.sqlite_version}", user="", schemas=writable, temporary=True)
