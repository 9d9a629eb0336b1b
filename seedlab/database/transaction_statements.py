"""The SQL by which a transaction on PostgreSQL begins, and by which a target is looked at."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from seedlab.flow import Settings

ISOLATION = ("read committed", "repeatable read", "serializable")


def opening(settings: Settings, search_path: Composable, *, read_only: bool) -> list[Composable]:
    """Begin, with everything set for this transaction only, so that a pooler's next user sees none of it.

    The search path keeps the user's (triggers and checks need it) but puts temporary objects last.
    """
    isolation = next(level for level in ISOLATION if level == settings.isolation)
    begin = f"BEGIN ISOLATION LEVEL {isolation.upper()}{' READ ONLY' if read_only else ''}"
    values = {"lock_timeout": settings.lock_timeout, "timezone": "UTC", "datestyle": "ISO, YMD"}
    if settings.statement_timeout is not None:
        values["statement_timeout"] = settings.statement_timeout
    sets: list[Composable] = [
        SQL("SET LOCAL {} = {}").format(Identifier(k), Literal(v)) for k, v in values.items()
    ]
    # A killed client's statement ends within half a second instead of holding its locks.
    sets.append(SQL("SET LOCAL client_connection_check_interval = 500"))
    return [SQL(begin), *sets, put_search_path(search_path)]


def put_search_path(path: Composable) -> Composed:
    """Set the search path of this transaction: the user's own, temporary objects last."""
    return SQL("SET LOCAL search_path = {}, pg_temp").format(path)


SYSTEM_NAMES = SQL("SET LOCAL search_path = pg_catalog")


def look(questions: Sequence[Composable], lock_timeout: str) -> list[Composable]:
    """Ask for the catalog under a search path that holds the server's own names only.

    It too waits for whoever alters a table, and no longer than any other statement. The ledger that may come
    along is of the same moment, or a seed in between would go unseen. Its schema is never a default, though a
    role of that name would have it so ("$user"). A server that compiles expressions (jit) would take 0.3 s
    for that alone, where it thinks the question a dear one.
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
