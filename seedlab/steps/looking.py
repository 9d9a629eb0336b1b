"""The look at the target: a session and its catalog, on their way while the files are read.

The catalog is the database's own; tables that are missing there come from the project's MetaData, and are
made in the transaction that fills them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from seedlab.database import connect
from seedlab.database.holder import label_of
from seedlab.database.writer import Session
from seedlab.errors import ConfigurationError, ConnectionFailed
from seedlab.flow import Catalog, Ddl, Memory, Project, Recorder, Settings, Stage, Table, Target
from seedlab.plan import graph

_NOTHING = Ddl(tables=[], constraints_and_indexes=[])


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the look found.

    The session, the whole catalog, the DDL of tables to be made, the ledger, and where the WAL ended.
    """

    session: Session | None
    catalog: Catalog
    ddl: Ddl
    memory: Memory = field(default_factory=Memory)
    wal: int | None = None


class Look:
    """A view that may still be on its way; whoever asks first waits for it.

    `bare` is done before it where the target has no ledger, else never.
    """

    def __init__(
        self,
        view: Future[View],
        project: Project,
        connect: Callable[[], Session] | None = None,
        bare: Future[Memory] | None = None,
    ) -> None:
        self._view = self._first = view
        self._project = project
        self._connect = connect
        self._bare: Future[Memory] = bare or Future()

    @property
    def session(self) -> Session:
        """The open session."""
        session = self._view.result().session
        assert session is not None, "nothing is asked of a database that is not there"
        return session

    @property
    def online(self) -> bool:
        """Tell whether there is a database to ask."""
        return self._view.result().session is not None

    def catalog(self) -> Catalog:
        """The catalog, with the tables that will be made."""
        return self._view.result().catalog

    def ddl(self) -> Ddl:
        """The DDL that makes the missing tables, from the project's MetaData."""
        return self._view.result().ddl

    def memory(self) -> Memory:
        """What the ledger remembers of the project; that there is none is known before the catalog."""
        if not self._view.done():
            on_the_way: tuple[Future[Any], ...] = (self._bare, self._view)
            wait(on_the_way, return_when=FIRST_COMPLETED)
        return self._bare.result() if self._bare.done() else self._view.result().memory

    def wal_before(self) -> int | None:
        """Where the server's WAL ended when it was first looked at."""
        return self._first.result().wal

    def empty(self, tables: Iterable[str]) -> frozenset[str]:
        """Of these tables, those without rows, spelled as asked; a statement only where we are in doubt."""
        view = self._view.result()
        asked = {name: _known(view.catalog, name) for name in tables}
        sure = {t.name for t in asked.values() if not t.exists or t.name in view.catalog.empty}
        doubtful = {t.name for t in asked.values() if t.holds_rows} - sure
        if doubtful and view.session is not None:
            sure |= view.session.find_empty(sorted(doubtful))
        return frozenset(name for name, table in asked.items() if table.name in sure)

    def again(self) -> None:
        """Forget what was read, for others have written since; the next question reads it again."""
        session = self.session
        self._view, self._bare = Future(), Future()
        self._view.set_result(_view(session, self._project))

    def reconnect(self) -> Session:
        """Open a session in the place of one whose connection is lost; raises ConnectionFailed."""
        assert self._connect is not None, "a database that is not there has no connection"
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
    """Begin to connect. `create_database` is called, once, when a first connection fails."""
    bare: Future[Memory] = Future()
    # Imported before the thread begins: two of them would take turns at Python's lock, and what the caller
    # has to do would be done when the server is asked, instead of while it answers.
    open_session = connect.opener(target)

    connect_again = partial(open_session, target, settings, recorder, label_of(project.name))

    def connected() -> Session:
        try:
            return connect_again()
        except ConnectionFailed:
            if create_database is None:
                raise
            create_database()
            return connect_again()

    view = pool.submit(lambda: _first_view(connected(), project, bare.set_result))
    return Look(view, project, connect_again, bare)


def _first_view(session: Session, project: Project, bare: Callable[[Memory], None] | None = None) -> View:
    """View with a session that was opened for it: where that fails nobody else closes it."""
    try:
        return _view(session, project, bare)
    except BaseException:
        session.close()
        raise


def _view(session: Session, project: Project, bare: Callable[[Memory], None] | None = None) -> View:
    catalog, ddl = _completed(session.catalog(project.name, bare), project)
    session.adopt(catalog)
    memory = session.ledger.read(project.name)
    return View(session=session, catalog=catalog, ddl=ddl, memory=memory, wal=session.wal_position())


def look_beside(project: Project, target: Target, settings: Settings, recorder: Recorder) -> Look:
    """Look with a session of its own, beside that of another look; it is here when this returns."""
    look: Future[View] = Future()
    connect_again = partial(connect.open_session, target, settings, recorder, label_of(project.name))
    look.set_result(_first_view(connect_again(), project))
    return Look(look, project, connect_again)


def look_offline(project: Project) -> Look:
    """Look at nothing but the project's MetaData: every table is missing, and so has no rows."""
    if project.schema is None:
        raise ConfigurationError(
            'check needs [project] schema = "models.py:metadata" to know the tables without a database; '
            "with a database, `seedlab plan` checks the same and more"
        )
    from seedlab.database import models  # SQLAlchemy costs 200 ms: imported where tables are missing

    metadata = models.load_metadata(project.root, project.schema)
    catalog = models.catalog_of(metadata, "postgresql")
    future: Future[View] = Future()
    future.set_result(View(session=None, catalog=catalog, ddl=_NOTHING))
    return Look(future, project)


def _known(catalog: Catalog, name: str) -> Table:
    table = catalog.find(name)
    if table is None:
        from seedlab.plan.schema import no_table  # what turns frames into loads, but for a mistake not needed

        raise ConfigurationError(no_table(catalog, name))
    return table


def edges(project: Project) -> tuple[graph.Edge, ...]:
    """Say why stages wait for each other: as declared, and by the foreign keys of the project's MetaData."""
    if project.schema is None:
        return graph.edges(project.stages, (), {})
    return edges_in(look_offline(project).catalog(), project.stages)


def edges_in(catalog: Catalog, stages: Sequence[Stage]) -> tuple[graph.Edge, ...]:
    """Say why stages wait for each other: as declared, and by the foreign keys of a catalog."""
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


def _completed(catalog: Catalog, project: Project) -> tuple[Catalog, Ddl]:
    """Add the tables that only the MetaData knows; its import is paid only when one is missing."""
    named = {spec.table for seed in project.every_seed for spec in seed.tables}
    missing = [name for name in named if catalog.find(name) is None]
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
