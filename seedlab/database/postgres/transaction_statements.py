"""SQL that begins transactions on PostgreSQL, and that wraps the queries of the catalog."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.flow import Settings

ISOLATION = ("read committed", "repeatable read", "serializable")


def opening(settings: Settings, search_path: Composable, *, read_only: bool) -> list[Composable]:
    """Begin a transaction with SET LOCAL for all settings, as a pooler may give the connection to others.

    The user's search path is kept, since triggers and checks need it, but temporary objects come last.
    """
    isolation = next(level for level in ISOLATION if level == settings.isolation)
    begin = f"BEGIN ISOLATION LEVEL {isolation.upper()}{' READ ONLY' if read_only else ''}"
    values = {"lock_timeout": settings.lock_timeout, "timezone": "UTC", "datestyle": "ISO, YMD"}
    if settings.statement_timeout is not None:
        values["statement_timeout"] = settings.statement_timeout
    sets: list[Composable] = [
        SQL("SET LOCAL {} = {}").format(Identifier(k), Literal(v)) for k, v in values.items()
    ]
    # The statement of a killed client ends within half a second, and does not hold its locks any longer.
    sets.append(SQL("SET LOCAL client_connection_check_interval = 500"))
    return [SQL(begin), *sets, put_search_path(search_path)]


def put_search_path(path: Composable) -> Composed:
    """Set the search path of this transaction: the user's own, temporary objects last."""
    return SQL("SET LOCAL search_path = {}, pg_temp").format(path)


# So that the server spells types and definitions in full, and without quotes where none are needed.
SYSTEM_NAMES = SQL(
    "SELECT pg_catalog.set_config('search_path', 'pg_catalog', true), "
    "pg_catalog.set_config('quote_all_identifiers', 'off', true)"
)


def limit_waiting(lock_timeout: str) -> Composed:
    """Set how long this transaction waits for a lock; unlike SET LOCAL, also without a BEGIN."""
    return SQL("SELECT pg_catalog.set_config('lock_timeout', {}, true)").format(Literal(lock_timeout))


def look(questions: Sequence[Composable], lock_timeout: str) -> list[Composable]:
    """Run the queries of catalog and ledger in one snapshot, with search_path = pg_catalog.

    One snapshot, so that no other seed can commit between reading the two. The first result has the user's
    search path. `lock_timeout` applies here, too, as the queries wait for DDL on the tables. JIT compilation
    is off, because it would take 0.3 s where the planner overestimates the cost.
    """
    settings = (
        "SELECT array_to_json(current_schemas(false)), set_config('lock_timeout', {}, true), "
        "set_config('jit', 'off', true)"
    )
    return [
        SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
        SQL(settings).format(Literal(lock_timeout)),
        SYSTEM_NAMES,
        *questions,
        SQL("COMMIT"),
    ]


WAL_POSITION = SQL("SELECT (pg_catalog.pg_current_wal_insert_lsn() - '0/0')::text")
