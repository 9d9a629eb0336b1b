"""A ledger to write into and read from, below all that decides what is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Protocol

from seedlab.database.connect import open_session, parse_target
from seedlab.database.lock_holder import label_of
from seedlab.database.writer import Session
from seedlab.flow import Catalog, LoadMemory, Memo, Memory, Outcomes, Settings, StageMemory, TableState
from seedlab.insight.measuring.monitor import Monitor
from seedlab.steps.agenda import state_of
from tests.support.seeding import execute

TABLES = """
CREATE TABLE cities (id int PRIMARY KEY, code varchar(9) NOT NULL UNIQUE, name varchar(20));
INSERT INTO cities VALUES (1, 'hfa', 'Haifa'), (2, 'tlv', NULL);
"""
LOAD = LoadMemory(
    stage="core", seed="cities", table="cities", meaning="m", files=("a.csv",), rows=2, key=("code",)
)
STAGE = StageMemory(stage="core", parts={"file:a.csv": "1"}, tables=("cities",), run="r1")
MEMO = Memo(
    project="school",
    run_id="r1",
    environment="test",
    level="incremental",
    started="2026-11-25T12:00:00+00:00",
    outcomes=Outcomes(created=2),
    stages=(STAGE,),
    loads=(LOAD,),
    contents=([b"\x00packed\xff"],),
)


class Target:
    """An open session on a database with two cities, and what another program does there meanwhile."""

    def __init__(self, url: str, session: Session, monitor: Monitor, catalog: Catalog) -> None:
        self.url, self.session, self.monitor, self.catalog = url, session, monitor, catalog
        self.ledger = session.ledger

    def state(
        self, table: str = "cities", columns: Sequence[str] = (), key: Sequence[str] = ()
    ) -> TableState:
        found = self.catalog.tables[table]
        natural = min(found.keys, key=lambda each: each.primary)
        return state_of(table, columns or found.columns, key or natural.columns, self.catalog)

    def content(self, *args: object) -> tuple[int, int, int]:
        (now,) = self.ledger.contents([self.state(*args)])  # type: ignore[arg-type]
        return now.content

    def remember(self, memo: Memo = MEMO, *states: TableState) -> None:
        assert self.ledger.ensure()
        self.session.begin()
        self.ledger.remember(memo, states)
        self.session.commit()

    def read(self, project: str = "school") -> Memory:
        """Read as the next run does."""
        self.session.catalog(project)
        return self.ledger.read(project)

    def execute(self, script: str) -> None:
        execute(self.url, script)


class Open(Protocol):
    """Open another session on the database, after some DDL."""

    def __call__(self, ddl: str = TABLES, **settings: str) -> Target: ...


@contextmanager
def opener(url: str) -> Iterator[Open]:
    """Open sessions on a database; close them all at the end."""
    with ExitStack() as stack:

        def open_it(ddl: str = TABLES, **settings: str) -> Target:
            execute(url, ddl)
            where = parse_target(url, "test")
            monitor = Monitor()
            session = open_session(where, Settings(**settings), monitor, label_of("school"))  # type: ignore[arg-type]
            stack.enter_context(closing(session))
            return Target(url, session, monitor, session.catalog("school"))

        yield open_it
