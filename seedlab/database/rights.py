"""Find out what the user may do in a target, for `seedlab doctor`; seeding itself never asks."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from seedlab.errors import ConnectionFailed, masked
from seedlab.flow import Target
from seedlab.flow.catalog import quote

PATIENCE = 5  # seconds to wait for a connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """The user of a connection, what the user may create, and the GRANT statements for missing rights."""

    version: str
    user: str
    schemas: bool
    temporary: bool
    grants: tuple[str, ...] = ()


def rights(target: Target, tables: Collection[str] = ()) -> Rights:
    """Connect and read the user's rights, also on `tables` as a project names them.

    Raises ConnectionFailed.
    """
    if target.dialect == "sqlite":
        return _sqlite_rights(Path(target.url))
    return _postgres_rights(target, sorted(tables))


def reading_grants(user: str) -> tuple[str, ...]:
    """Make the GRANT statements by which the ledger's owner lets this user read it."""
    name = quote(user)
    return (
        f"GRANT USAGE ON SCHEMA seedlab TO {name};",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA seedlab TO {name};",
    )


# The rights that are missing to write rows to tables (a text-array parameter), with the objects they are on.
# As in the catalog, `a.b` means table b of a schema a, if there is one, rather than a table called a.b.
_LACKING = """
WITH named AS (
  SELECT DISTINCT ON (name) c.oid, n.oid AS schema FROM unnest(%(names)s::text[]) AS name, pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND (n.nspname || '.' || c.relname = name
    OR c.relname = name AND (pg_table_is_visible(c.oid) OR n.nspname = 'public'))
  ORDER BY name, c.relname = name, pg_table_is_visible(c.oid) DESC)
SELECT concat_ws(', ', CASE WHEN NOT has_any_column_privilege(oid, 'SELECT') THEN 'SELECT' END,
    CASE WHEN NOT has_any_column_privilege(oid, 'INSERT') THEN 'INSERT' END,
    CASE WHEN NOT has_any_column_privilege(oid, 'UPDATE') THEN 'UPDATE' END) || ' ON ', oid::regclass::text
FROM named
UNION
SELECT 'USAGE ON SCHEMA ', schema::regnamespace::text
FROM named WHERE NOT has_schema_privilege(schema, 'USAGE')
UNION
SELECT 'USAGE ON SEQUENCE ', s.oid::regclass::text
FROM named t JOIN pg_depend d ON d.refobjid = t.oid AND d.deptype = 'a'
  AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_class'::regclass
JOIN pg_class s ON s.oid = d.objid
WHERE CASE s.relkind WHEN 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE') END
ORDER BY 1, 2
"""


def _grants(user: str, lacking: Sequence[tuple[str, str]]) -> Iterator[str]:
    for right, named in groupby(lacking, key=itemgetter(0)):
        if right != " ON ":
            yield f"GRANT {right}{', '.join(name for _, name in named)} TO {quote(user)};"


def _postgres_rights(target: Target, tables: Sequence[str]) -> Rights:
    import psycopg

    query = (
        "SELECT current_setting('server_version'), current_user::text, "
        "has_database_privilege(current_database(), 'CREATE'), "
        "has_database_privilege(current_database(), 'TEMPORARY')"
    )
    try:
        with psycopg.connect(target.url, connect_timeout=PATIENCE, prepare_threshold=None) as connection:
            row = connection.execute(query).fetchone()
            lacking = connection.execute(_LACKING, {"names": tables}).fetchall()
    except psycopg.Error as error:
        raise ConnectionFailed(f"connecting to {target} failed: {masked(str(error).strip())}") from None
    assert row is not None
    grants = tuple(_grants(row[1], lacking))
    return Rights(version=row[0], user=row[1], schemas=row[2], temporary=row[3], grants=grants)


def _sqlite_rights(file: Path) -> Rights:
    """Ask the file system: a missing file can be created if its folder is writable."""
    place = file if file.exists() else file.parent
    if not place.exists():
        raise ConnectionFailed(f"opening {file} failed: there is no folder {place}; make it first")
    writable = os.access(place, os.W_OK)
    return Rights(version=f"SQLite {sqlite3.sqlite_version}", user="", schemas=writable, temporary=True)
