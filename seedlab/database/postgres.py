"""An open PostgreSQL target: its catalog, its transactions, its answers.

Nothing here outlives its transaction, so a pooler in transaction mode may stand in between: no prepared
statements, no session settings, no start-up options.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import polars as pl
import psycopg
from psycopg.sql import SQL, Composable

from seedlab.database import statements as sql
from seedlab.database.catalog import QUERY, read_catalog
from seedlab.database.failures import connection_failed, write_failed
from seedlab.database.postgres_checks import broken_checks
from seedlab.database.postgres_write import sequences, write_plan
from seedlab.database.wire import Question, StatementError, Wire
from seedlab.errors import ConfigurationError, WriteError
from seedlab.flow import (
    FILE,
    HANDLE,
    ROW,
    Ask,
    Catalog,
    Column,
    Dialect,
    Recorder,
    Refusal,
    Settings,
    Sourced,
    Suspect,
    Table,
    Target,
    WritePlan,
    Written,
    part_sources,
)

_INVALID = pl.Schema({FILE: pl.UInt16, ROW: pl.UInt32, "rule": pl.String})


def open_postgres(target: Target, settings: Settings, recorder: Recorder, label: str) -> PostgresSession:
    """Connect; every wait has a limit, so a silent peer ends in an error and not in a hang."""
    try:
        connection = psycopg.connect(
            target.url,
            autocommit=True,
            prepare_threshold=None,
            cursor_factory=psycopg.RawCursor,
            application_name=label,
            client_encoding="UTF8",
            connect_timeout=10,
            keepalives_idle=30,
            tcp_user_timeout=30_000,
        )
    except psycopg.Error as error:
        raise connection_failed(error, target) from None
    return PostgresSession(connection, settings, recorder)


class PostgresSession:
    """A `Session` on one psycopg connection in autocommit mode; transactions are our own statements."""

    dialect: Dialect = "postgresql"

    def __init__(self, connection: psycopg.Connection[Any], settings: Settings, recorder: Recorder) -> None:
        self.wire = Wire(connection, recorder)
        self.settings = settings
        self.known: Catalog | None = None
        self._wal: int | None = None
        self._search_path = '"$user", public'

    # ---- looking ----

    def catalog(self) -> Catalog:
        """Read the whole catalog in one message, with the server's own names only in the search path."""
        try:
            results = self.wire.script(sql.read_catalog(QUERY, self.settings.lock_timeout))
        except StatementError as failed:
            raise write_failed(failed.error, "the catalog") from failed.error
        schema, path = (results[1].get_value(0, n) for n in (0, 1))
        self._search_path = (path or b"").decode() or self._search_path
        document = json.loads(results[3].get_value(0, 0) or b"{}")
        self._wal = int(document["wal"]) if document["wal"] else None
        self.known = read_catalog(document, (schema or b"public").decode())
        return self.known

    def adopt(self, catalog: Catalog) -> None:
        """Know the tables that are about to be made, too."""
        self.known = catalog

    def find_empty(self, tables: Collection[str]) -> frozenset[str]:
        """Ask which tables have no row."""
        asked = [self._table(name) for name in tables]
        if not asked:
            return frozenset()
        row = self._ask([(sql.find_empty(asked), ())])[0][0]
        return frozenset(table.name for table, empty in zip(asked, row, strict=True) if empty)

    def lookup(self, asks: Sequence[Ask]) -> list[pl.DataFrame]:
        """Answer all asks in one pipeline."""
        assert self.known is not None
        catalog = self.known
        questions = [
            (
                sql.lookup(catalog, ask.table, ask.key, ask.wanted),
                [_array(ask.frame[source]) for part in ask.key for source in part_sources(part)],
            )
            for ask in asks
        ]
        answers = self._ask(questions) if questions else []
        return [_answer(ask, rows, catalog) for ask, rows in zip(asks, answers, strict=True)]

    def invalid(self, suspects: Sequence[Suspect]) -> list[pl.DataFrame]:
        """Let the server judge values; a server before 16 cannot, and judges when it is given them."""
        if self.wire.connection.info.server_version < 160000:
            return [pl.DataFrame(schema=_INVALID) for _ in suspects]
        columns = [self._table(each.load.table).columns[_target_column(each)] for each in suspects]
        questions = [
            (sql.invalid(column), [_array(each.frame["value"])])
            for column, each in zip(columns, suspects, strict=True)
        ]
        answers = self._ask(questions) if questions else []
        return [
            _judged(each.frame, column, rows)
            for each, column, rows in zip(suspects, columns, answers, strict=True)
        ]

    def broken_checks(self, plan: WritePlan) -> list[Refusal]:
        """Let the server evaluate its CHECK constraints over the rows."""
        return broken_checks(self.wire, plan)

    def reserve(self, table: str, column: str, count: int) -> list[int]:
        """Take values from a column's sequence."""
        question = sql.reserve(self._table(table).columns[column], count)
        return [int(row[0]) for row in self._ask([(question, ())])[0]]

    def _ask(self, questions: Sequence[Question]) -> list[list[tuple[Any, ...]]]:
        try:
            return self.wire.ask(questions)
        except StatementError as failed:
            raise write_failed(failed.error) from failed.error

    def _table(self, name: str) -> Table:
        assert self.known is not None
        return self.known.tables[name]

    # ---- writing ----

    def begin(self, *, read_only: bool = False) -> None:
        """Open the transaction with the first message of it."""
        if self.settings.isolation not in sql.ISOLATION:
            raise ConfigurationError(
                f"isolation '{self.settings.isolation}' is not one of {', '.join(sql.ISOLATION)}"
            )
        self.wire.opening = sql.opening(self.settings, self._search_path, read_only=read_only)

    def create(self, statements: Sequence[str]) -> None:
        """Run DDL, all in one message."""
        self._run([sql.trusted(each) for each in statements])

    def _run(self, statements: Sequence[Composable]) -> None:
        try:
            self.wire.script(statements)
        except StatementError as failed:
            raise write_failed(failed.error) from failed.error

    def write(self, plan: WritePlan, switches: frozenset[str]) -> list[Written]:
        """Write by COPY into empty tables, by merge into others; multi-row VALUES without `copy`."""
        return write_plan(self.wire, plan, switches)

    def write_rows(self, rows: Sequence[Sourced]) -> list[Written]:
        """Write one row at a time; raises CannotOrderRows where no order of rows will do."""
        # Imported here: SQLAlchemy costs 60 ms that no other level needs.
        from seedlab.database.legacy import write_rows
        from seedlab.database.lent import core_connection

        assert self.known is not None
        self._run([])
        core = core_connection(self.wire.connection, self.dialect, self.wire.recorder)
        written = write_rows(core, self.known, rows, self.wire.recorder)
        if raises := sequences((each.load, self._table(each.load.table)) for each in rows):
            self._run(raises)
        return written

    def savepoint(self) -> None:
        """Remember this moment of the transaction."""
        self._run([SQL("SAVEPOINT seedlab")])

    def rollback_to_savepoint(self) -> None:
        """Undo everything since `savepoint`."""
        self._run([SQL("ROLLBACK TO SAVEPOINT seedlab")])

    def commit(self) -> None:
        """Commit, and look where the WAL ends, in one message."""
        try:
            results = self.wire.end([SQL("COMMIT"), sql.WAL_POSITION])
        except StatementError as failed:
            raise write_failed(failed.error) from failed.error
        if results and results[0].command_status != b"COMMIT":
            raise WriteError("the transaction had failed, so the server rolled it back")
        if results:
            self._wal = int(results[1].get_value(0, 0) or 0)

    def rollback(self) -> None:
        """Undo what this transaction did; a connection that is lost has done so."""
        if not self.wire.connection.closed:
            self.wire.end([SQL("ROLLBACK")])

    def wal_position(self) -> int | None:
        """Where the server's WAL ended when the catalog was read, or at the last commit."""
        return self._wal

    def close(self) -> None:
        """Close; what was not committed is gone."""
        self.wire.connection.close()


def _array(values: pl.Series) -> str:
    """One array literal of a text column."""
    text = values.to_frame("v").select(
        pl.concat_str(
            pl.lit('"'),
            pl.col("v").str.replace_all(r'(["\\])', r"\${1}"),
            pl.lit('"'),
        )
        .fill_null("NULL")
        .str.join(",")
    )
    return f"{{{text.item()}}}"


def _answer(ask: Ask, rows: Sequence[tuple[Any, ...]], catalog: Catalog) -> pl.DataFrame:
    """Numbers back to handles, uuids back to numbers."""
    columns = catalog.tables[ask.table].columns
    numbers = pl.Series([row[0] - 1 for row in rows], dtype=pl.UInt32)
    values: dict[str, pl.Series] = {HANDLE: ask.frame[HANDLE].gather(numbers)}
    for place, name in enumerate(ask.wanted, start=1):
        text = pl.Series(name, [row[place] for row in rows], dtype=pl.String)
        values[name] = uuid_numbers(text) if columns[name].kind == "uuid" else text
    return pl.DataFrame(values)


def uuid_numbers(text: pl.Series) -> pl.Series:
    """Read uuids as UInt128."""
    return text.str.replace_all("-", "").str.to_integer(base=16, dtype=pl.UInt128)


def _target_column(suspect: Suspect) -> str:
    """The table's column that a suspect source column fills."""
    for reference in suspect.load.references:
        pairs = zip(reference.foreign_key.columns, reference.foreign_key.parent_columns, strict=True)
        for own, parent in pairs:
            if any(p.source == suspect.column and p.columns == (parent,) for p in reference.parts):
                return own
    return suspect.column


def _judged(frame: pl.DataFrame, column: Column, rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    numbers = pl.Series([row[0] - 1 for row in rows], dtype=pl.UInt32)
    rules = [_rule(column, state) for _, state in rows]
    return frame[numbers].select(FILE, ROW).with_columns(pl.Series("rule", rules, dtype=pl.String))


def _rule(column: Column, state: str | None) -> str:
    """Name what is wrong with a value by the server's refusal; None where it would bend the value."""
    if state is None:
        return "too-long" if column.kind == "varchar" else "rounding"
    return {"22001": "too-long", "22003": "overflow"}.get(state, "type")
