"""`Activity`: observe what a PostgreSQL server does for a run, through a second connection.

That connection has another application_name, and its statements are not counted. It needs no more rights than
every role has on its own connections.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.sql import SQL, Composed

from seedlab.database.lock_holder import this_process
from seedlab.database.postgres.session import connection_to
from seedlab.errors import ConnectionFailed
from seedlab.flow import Target
from seedlab.flow.evidence import Wait

WAL_POSITION = SQL("SELECT (pg_catalog.pg_current_wal_insert_lsn() - '0/0')::int8")
# A backend without a wait event is working. The state of other roles' backends is hidden. pg_blocking_pids is
# called only for backends that wait for a lock, because it blocks the lock manager.
_ACTIVITY = SQL("""
SELECT wal.position, seen.pid, seen.what, CASE WHEN seen.what LIKE 'Lock/%' THEN (
    SELECT string_agg(format(
      '%s (process %s%s)', coalesce(nullif(application_name, ''), 'a session'), pid, ', ' || state
    ), ' and ' ORDER BY pid)
    FROM pg_catalog.pg_stat_activity WHERE pid = ANY (pg_catalog.pg_blocking_pids(seen.pid))
  ) END FROM ({}) AS wal (position) LEFT JOIN (
  SELECT pid, CASE
    WHEN wait_event IS NOT NULL THEN wait_event_type || '/' || wait_event
    WHEN state LIKE 'idle%' THEN 'Client/ClientRead'
    ELSE 'CPU' END AS what
  FROM pg_catalog.pg_stat_activity
  WHERE application_name = $1 AND datname = current_database() AND pid <> pg_backend_pid() AND state <> ''
) AS seen ON true ORDER BY seen.pid""").format(WAL_POSITION)


class Activity:
    """A connection that observes those whose application_name is `label`. Thread-safe.

    All methods raise ConnectionFailed when the connection is lost or the server refuses.
    """

    def __init__(self, target: Target, label: str) -> None:
        pid, host = this_process()
        self._target = target
        self._label = label
        self._connection = connection_to(target, f"seedlab-sampler {pid}@{host}")

    def look(self) -> tuple[int, tuple[Wait, ...]]:
        """Return the WAL position and what each connection waits for; one query of about a millisecond."""
        rows = self._ask(_ACTIVITY, self._label)
        return rows[0][0], tuple(
            Wait(pid=pid, what=what, holder=holder or "") for _, pid, what, holder in rows if pid is not None
        )

    def wal_position(self) -> int:
        """Return the WAL position in bytes."""
        return int(self._ask(WAL_POSITION)[0][0])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ask(self, query: SQL | Composed, *parameters: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, parameters).fetchall()
        except psycopg.Error as error:
            raise ConnectionFailed(f"{self._target.shown}: {str(error).strip()}") from None
