"""Connects to the target, and reads its catalog and ledger in a thread while the caller hashes the files.

The catalog is the database's own. Tables that are missing there are described by the project's MetaData, and
are created in the transaction that fills them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from seedlab.database import connect
from seedlab.database.lock_holder import label_of
from seedlab.database.writer import Session
from seedlab.errors import ConfigurationError, ConnectionFailed
from seedlab.flow import Catalog, Ddl, Edge, Memory, Project, Recorder, Settings, Stage, Table, Target
from seedlab.plan import graph

_NOTHING = Ddl(tables=[], constraints_and_indexes=[])


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What was read of the target.

    `session` is None without a database. `catalog` includes the tables that `ddl` will create, `memory` is
    what the ledger says of the project, and `wal` the server's WAL position in bytes, or None.
    """

    session: Session | None
    catalog: Catalog
    ddl: Ddl
    memory: Memory = field(default_factory=Memory)
    wal: int | None = None


class Look:
    """Access to the target while a thread may still be reading it: every method waits for what it needs.

    `view` gets the view. `no_ledger` gets an empty memory, before `view` is done, where the target has no
    ledger; otherwise it never gets a result.
    """

    def __init__(
        self,
        view: Future[View],
        project: Project,
        connect: Callable[[], Session] | None = None,
        no_ledger: Future[Memory] | None = None,
    ) -> None:
        self._view = self._first = view
        self._project = project
        self._connect = connect
        self._no_ledger: Future[Memory] = no_ledger or Future()

    @property
    def session(self) -> Session:
        """The open session."""
        session = self._view.result().session
        assert session is not None, "a check without a database has no session"
        return session

    @property
    def online(self) -> bool:
        """Tell whether there is a database to ask."""
        return self._view.result().session is not None

    def catalog(self) -> Catalog:
        """Return the catalog, with the tables that will be created."""
        return self._view.result().catalog

    def ddl(self) -> Ddl:
        """Return the DDL that creates the missing tables, from the project's MetaData."""
        return self._view.result().ddl

    def memory(self) -> Memory:
        """Return what the ledger remembers of the project.

        Where there is no ledger, the answer is known before the catalog has been read.
        """
        if not self._view.done():
            pending: tuple[Future[Any], ...] = (self._no_ledger, self._view)
            wait(pending, return_when=FIRST_COMPLETED)
        return self._no_ledger.result() if self._no_ledger.done() else self._view.result().memory

    def wal_before(self) -> int | None:
        """Return the WAL position, in bytes, when the target was first read; None where there is none."""
        return self._first.result().wal

    def empty(self, tables: Iterable[str]) -> frozenset[str]:
        """Find the tables without rows among these; the names are returned as they were given.

        Cost: one statement, unless the catalog already tells. Raises ConfigurationError for unknown tables.
        """
        view = self._view.result()
        by_name = {name: _find_table(view.catalog, name) for name in tables}
        empty = {t.name for t in by_name.values() if not t.exists or t.name in view.catalog.empty}
        unknown = {t.name for t in by_name.values() if t.holds_rows} - empty
        if unknown and view.session is not None:
            empty |= view.session.find_empty(sorted(unknown))
        return frozenset(name for name, table in by_name.items() if table.name in empty)

    def refresh(self) -> None:
        """Read catalog and ledger again, because another session has written.

        If that fails, the look stays as it is.
        """
        view = _view(self.session, self._project)
        self._view, self._no_ledger = Future(), Future()
        self._view.set_result(view)

    def reconnect(self) -> Session:
        """Replace a session whose connection is lost by a new one; raises ConnectionFailed."""
        assert self._connect is not None, "a check without a database has no connection"
        lost, session = self._view.result(), self._connect()
        session.adopt(lost.catalog)
        self.session.close()
        self._view = Future()
        self._view.set_result(replace(lost, session=session))
        return session

    def close(self) -> None:
        """Close the session, if it was opened."""
        if self._view.exception() is None and (session := self._view.result().session) is not None:
            session.close()


def open_look(
    pool: Executor,
    project: Project,
    target: Target,
    settings: Settings,
    recorder: Recorder,
    create_database: Callable[[], None] | None,
) -> Look:
    """Begin to connect in a thread of `pool`.

    `create_database` is called, once, if the first connection fails.
    """
    no_ledger: Future[Memory] = Future()
    # The driver is imported before the thread begins. Otherwise the import would compete with the caller for
    # the interpreter lock, and the caller's work would not overlap with the time in which the server answers.
    open_session = connect.opener(target)

    connect_again = partial(open_session, target, settings, recorder, label_of(project.name))

    def connect_or_create() -> Session:
        try:
            return connect_again()
        except ConnectionFailed:
            if create_database is None:
                raise
            create_database()
            return connect_again()

    view = pool.submit(lambda: _first_view(connect_or_create(), project, no_ledger.set_result))
    return Look(view, project, connect_again, no_ledger)


def _first_view(
    session: Session, project: Project, on_no_ledger: Callable[[Memory], None] | None = None
) -> View:
    """Read the target with a session just opened, and close that session if reading fails."""
    try:
        return _view(session, project, on_no_ledger)
    except BaseException:
        session.close()
        raise


def _view(session: Session, project: Project, on_no_ledger: Callable[[Memory], None] | None = None) -> View:
    catalog, ddl = _with_missing_tables(session.catalog(project.name, on_no_ledger), project)
    session.adopt(catalog)
    memory = session.ledger.read(project.name)
    return View(session=session, catalog=catalog, ddl=ddl, memory=memory, wal=session.wal_position())


def open_another_look(project: Project, target: Target, settings: Settings, recorder: Recorder) -> Look:
    """Open a further session beside the first look's, and read the target with it before returning."""
    view: Future[View] = Future()
    connect_again = partial(connect.open_session, target, settings, recorder, label_of(project.name))
    view.set_result(_first_view(connect_again(), project))
    return Look(view, project, connect_again)


def look_offline(project: Project) -> Look:
    """Make a look without a database: all tables come from the project's MetaData, and none has rows.

    Raises ConfigurationError for a project without MetaData.
    """
    if project.schema is None:
        raise ConfigurationError(
            'check needs [project] schema = "models.py:metadata" to know the tables without a database; '
            "with a database, `seedlab plan` checks the same and more"
        )
    from seedlab.database import models  # SQLAlchemy costs 200 ms: imported where tables are missing

    metadata = models.load_metadata(project.root, project.schema)
    catalog = models.catalog_of(metadata, "postgresql")
    view: Future[View] = Future()
    view.set_result(View(session=None, catalog=catalog, ddl=_NOTHING))
    return Look(view, project)


def _find_table(catalog: Catalog, name: str) -> Table:
    table = catalog.find(name)
    if table is None:
        from seedlab.plan.binder import no_table  # a heavy import, which only this error needs

        raise ConfigurationError(no_table(catalog, name))
    return table


def edges(project: Project) -> tuple[Edge, ...]:
    """List which stage waits for which, and why: declared dependencies and foreign keys of the MetaData."""
    if project.schema is None:
        return graph.edges(project.stages, (), {})
    return edges_in(look_offline(project).catalog(), project.stages)


def edges_in(catalog: Catalog, stages: Sequence[Stage]) -> tuple[Edge, ...]:
    """List which stage waits for which, and why: declared dependencies and foreign keys of the catalog."""
    filled = [
        (stage.id, table)
        for stage in stages
        for seed in stage.seeds
        for spec in seed.tables
        if (table := catalog.find(spec.table)) is not None
    ]
    providers = graph.providers((table.name, stage) for stage, table in filled)
    needs = [
        graph.Need(stage=stage, table=table.name, foreign_key_name=key.name, parent_table=key.parent)
        for stage, table in filled
        for key in table.foreign_keys
    ]
    return graph.edges(stages, needs, providers)


def _with_missing_tables(catalog: Catalog, project: Project) -> tuple[Catalog, Ddl]:
    """Add the tables that only the MetaData knows, with the DDL that creates them.

    SQLAlchemy is imported only if a table is missing, or on SQLite, whose catalog the MetaData refines.
    """
    missing = [name for name in project.table_names if catalog.find(name) is None]
    if project.schema is None or not (missing or catalog.dialect == "sqlite"):
        return catalog, _NOTHING
    from seedlab.database import models

    metadata = models.load_metadata(project.root, project.schema)
    if catalog.dialect == "sqlite":
        catalog = models.refine(catalog, metadata)
    if not missing:
        return catalog, _NOTHING
    declared = models.catalog_of(metadata, catalog.dialect).tables
    added = {name: table for name, table in declared.items() if name not in catalog.tables}
    whole = replace(catalog, tables={**catalog.tables, **added})
    return whole, models.statements(metadata, list(added), catalog.dialect)
