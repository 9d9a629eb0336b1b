"""`SqliteScratchDatabases`: templates as SQLite files in a temporary folder, copied as files."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from seedlab.database.scratch_databases import CURE, PREFIX, tables_of
from seedlab.database.sqlite.ledger import drop_ledger
from seedlab.database.sqlite.statements import has_no_row
from seedlab.errors import ConfigurationError, Refused
from seedlab.flow import Recorder, Target


class SqliteScratchDatabases:
    """`ScratchDatabases` in a temporary folder."""

    notes: tuple[str, ...] = ()

    def __init__(self, target: Target) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX)
        self._target = target
        self._numbers = count(1)

    def create_template(self, statements: Sequence[str]) -> str:
        """Create a file and run these statements in it."""
        path = self._new("template")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            try:
                for statement in statements:
                    connection.execute(statement)
            except sqlite3.Error as error:
                raise ConfigurationError(
                    f"the project's MetaData cannot be made on SQLite: {error}"
                ) from error
        return str(path)

    def copy_as_template(self, target: Target, tables: Collection[str], recorder: Recorder) -> str:
        """Copy a file consistently, even while others write to it, without the ledger."""
        if not Path(target.url).exists():
            raise Refused(f"{target.shown} does not exist; {CURE}")
        path = self._new("template")
        with closing(sqlite3.connect(target.url)) as source, closing(sqlite3.connect(path)) as template:
            source.backup(template)
            for table in tables_of(target, tables, recorder):
                if not template.execute(f"SELECT {has_no_row(table.relation)}").fetchone()[0]:
                    raise Refused(f"table {table.name} of {target.shown} has rows; {CURE}")
            drop_ledger(template)
            template.commit()
        return str(path)

    @contextmanager
    def fresh_copy(self, template: str) -> Iterator[Target]:
        """Copy the file; remove it afterwards together with its journals."""
        path = self._new("copy")
        try:
            shutil.copyfile(template, path)
            yield replace(
                self._target, url=str(path), shown=f"sqlite:///{path.name}", database=path.stem, name=None
            )
        finally:
            for each in path.parent.glob(f"{path.name}*"):
                each.unlink()

    def server_address(self) -> dict[str, Any]:
        """Raise ConfigurationError: SQLite has no server to put a proxy in front of."""
        raise ConfigurationError(
            "SQLite has no round trips to delay: it is a file; leave --round-trip-ms out"
        )

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()

    def _new(self, what: str) -> Path:
        return Path(self._folder.name, f"{what}{next(self._numbers)}.db")
