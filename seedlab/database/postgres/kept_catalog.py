"""Keep a copy of PostgreSQL's catalog in the ledger, so that the next run need not ask the server for it.

With the copy is a digest of the system tables (`catalog_digest.sql`). A copy is valid while the digest is the
same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from psycopg.sql import SQL, Composable, Composed

from seedlab.database.postgres.catalog import QUERY
from seedlab.database.postgres.transaction_statements import SYSTEM_NAMES, put_search_path
from seedlab.database.postgres.wire import Wire

_TEXT = (Path(__file__).parent / "catalog_digest.sql").read_text()
_DIGEST = SQL(_TEXT.format(constraint="oid, xmin", comment="objoid, xmin", counted="true"))


def digest_of_meaning(created: int) -> SQL:
    """Digest what the catalog says, as far as a run's own DDL does not change it.

    It disregards what transaction `created` has made (0: none), which is the ledger. It takes foreign keys
    for what `catalog.sql` says of them, so that one which is dropped and created again counts as the same.
    Numbers have a fixed width, here and in `begin_to_keep`, so that equal runs send equally many bytes.
    """
    key = "contype = 'f'"
    return SQL(
        _TEXT.format(
            constraint=f"CASE WHEN NOT {key} THEN oid END, CASE WHEN NOT {key} THEN xmin::text END, "
            f"conrelid, conname, conparentid, CASE WHEN {key} THEN pg_get_constraintdef(oid) END, confrelid, "
            f"conkey, confkey, convalidated, CASE WHEN {key} THEN obj_description(oid, 'pg_constraint') END",
            comment="description",
            counted=f"xmin <> '{created % 2**32:10}'::xid",
        )
    )


# All these run with search_path = pg_catalog. The copy, if its digest is still right, and the WAL position:
KEPT = SQL(
    "SELECT c.document, CASE WHEN NOT pg_is_in_recovery() "
    "THEN (pg_current_wal_insert_lsn() - '0/0')::text END "
    "FROM ({digest}) d JOIN seedlab.catalogs c ON c.role = current_user AND c.digest = d.digest"
).format(digest=_DIGEST)
# The catalog, and the digest of what it means.
CATALOG = SQL("SELECT ({}), ({})").format(SQL(QUERY), digest_of_meaning(0))
_KEEP = (
    "INSERT INTO seedlab.catalogs (role, digest, document) "
    "SELECT current_user, d.digest, {document} FROM ({digest}) d {condition} ON CONFLICT (role) "
    "DO UPDATE SET digest = excluded.digest, document = excluded.document RETURNING true"
)
_KEEP_ANEW = SQL(_KEEP).format(document=SQL(f"({QUERY})"), digest=_DIGEST, condition=SQL(""))


def _keep_read(created: int) -> Composed:
    """Store the document $1, if the digest of what it means is still $2; a row tells that it was stored."""
    condition = SQL("WHERE ({}) = $2::int8").format(digest_of_meaning(created))
    return SQL(_KEEP).format(document=SQL("$1::json"), digest=_DIGEST, condition=condition)


class KeptCatalog:
    """The ledger's copy of the catalog, as a session finds it and leaves it.

    `valid` tells whether the ledger has a valid copy. `read` is the document that this session has read, with
    the digest of what it means, unless the session altered the catalog since. `created` is the transaction in
    which it created the ledger, or 0.
    """

    def __init__(self, wire: Wire, search_path: Callable[[], Composable]) -> None:
        self._wire = wire
        self._search_path = search_path
        self.valid = False
        self.read: tuple[bytes, str] | None = None
        self.created = 0
        self._answers: Callable[[], list[list[tuple[Any, ...]]]] | None = None

    def start(self, *, valid: bool) -> None:
        """Begin anew: the session is about to read the catalog."""
        self.valid, self.read, self.created = valid, None, 0

    def altered(self) -> None:
        """Note that this session has altered what the catalog says."""
        self.valid, self.read = False, None

    def begin_to_keep(self) -> None:
        """Let the server store a copy, unless there is a valid one; does not wait for it.

        What this session has read is stored if it still holds. To read the catalog again would take the
        server three times as long.
        """
        if self.valid:
            return
        self.valid = True
        if self.read is None:
            self._send(_KEEP_ANEW)
        else:
            document, meaning = self.read
            self._answers = self._send(_keep_read(self.created), (document, meaning.rjust(20)))

    def end(self) -> None:
        """Let the server store a copy where what this session has read did not hold any more."""
        answers, self._answers = self._answers, None
        if answers is not None and answers()[1:2] == [[]]:
            self._send(_KEEP_ANEW)

    def _send(
        self, statement: Composable, parameters: Sequence[bytes | str] = ()
    ) -> Callable[[], list[list[tuple[Any, ...]]]]:
        restore = put_search_path(self._search_path())
        return self._wire.ask_ahead([(SYSTEM_NAMES, ()), (statement, parameters), (restore, ())])
