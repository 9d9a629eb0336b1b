"""The commit of a run, or of one stage of it; if its answer is lost, the ledger says whether it was done."""

from __future__ import annotations

from seedlab.database.writer import Session
from seedlab.errors import CommitUnanswered, ConnectionFailed, WriteError
from seedlab.flow import Recorder
from seedlab.steps.agenda import Task
from seedlab.steps.looking import Look
from seedlab.steps.writing.retrying import CAME_BETWEEN

COMMITTED = "the connection was lost before COMMIT was answered; the ledger says that it was done"
UNDONE = (
    "the connection was lost before COMMIT was answered, and the ledger says that it was not done; run again"
)


def commit(task: Task, look: Look, recorder: Recorder, *, remembered: bool) -> None:
    """Commit what the look's session has written, and `remembered` in the ledger.

    Raises WriteError where it is not committed, CommitUnanswered where nobody can say.
    """
    try:
        look.session.commit()
    except CommitUnanswered as lost:
        if not remembered:
            raise
        _settle(lost, task, look, recorder)


def _settle(lost: CommitUnanswered, task: Task, look: Look, recorder: Recorder) -> None:
    try:
        committed = _is_remembered(task, look.reconnect())
    except (ConnectionFailed, WriteError):
        raise lost from lost.__cause__
    if not committed:
        raise WriteError(UNDONE) from lost.__cause__
    recorder.note(COMMITTED)


def _is_remembered(task: Task, session: Session) -> bool:
    """Look for the run in the ledger, once the transaction that put it there has ended."""
    _wait_for_its_end(session)
    session.begin(read_only=True)
    found = session.ledger.runs(task.project.name, task.run_id)
    session.rollback()
    return any(not task.part or task.part in run.stages for run in found)


def _wait_for_its_end(session: Session) -> None:
    """Ask for what that transaction holds, the ledger's row: the server may be at work on its COMMIT."""
    session.begin()
    try:
        session.ledger.begin_run()
    except WriteError as error:
        if error.sqlstate not in CAME_BETWEEN:  # which it does where it has changed the row and is done
            raise
    session.rollback()
