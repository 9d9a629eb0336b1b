"""Commits a run, or one stage of it, and asks the ledger whether it did if the answer to COMMIT is lost."""

from __future__ import annotations

from seedlab.database.writer import Session
from seedlab.errors import CommitUnanswered, ConnectionFailed, WriteError
from seedlab.flow import Recorder
from seedlab.steps.agenda import Task
from seedlab.steps.looking import Look
from seedlab.steps.writing.retrying import CONFLICTS

COMMITTED = "the connection was lost before COMMIT was answered; the ledger says that it was done"
NOT_COMMITTED = (
    "the connection was lost before COMMIT was answered, and the ledger says that it was not done; run again"
)


def commit(task: Task, look: Look, recorder: Recorder, *, remembered: bool) -> None:
    """Commit what the look's session has written; `remembered` tells whether the ledger has a row of it.

    Raises WriteError where it was not committed, CommitUnanswered where that cannot be found out.
    """
    try:
        look.session.commit()
    except CommitUnanswered as lost:
        if not remembered:
            raise
        _find_out(lost, task, look, recorder)


def _find_out(lost: CommitUnanswered, task: Task, look: Look, recorder: Recorder) -> None:
    try:
        committed = _is_remembered(task, look.reconnect())
    except (ConnectionFailed, WriteError):
        raise lost from lost.__cause__
    if not committed:
        raise WriteError(NOT_COMMITTED) from lost.__cause__
    recorder.note(COMMITTED)


def _is_remembered(task: Task, session: Session) -> bool:
    """Look for the run in the ledger, once the transaction that wrote it there has ended."""
    _wait_for_transaction(session)
    session.begin(read_only=True)
    found = session.ledger.runs(task.project.name, task.run_id)
    session.rollback()
    return any(not task.only_stage or task.only_stage in run.stages for run in found)


def _wait_for_transaction(session: Session) -> None:
    """Wait for the lost transaction, which the server may still be committing.

    It holds the ledger's row, so changing that row waits for it. If it has committed in the meantime, the
    change is refused as a conflict, and the wait is over just as well.
    """
    session.begin()
    try:
        session.ledger.begin_run()
    except WriteError as error:
        if error.sqlstate not in CONFLICTS:
            raise
    session.rollback()
