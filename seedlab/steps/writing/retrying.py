"""Decides whether a run that failed is tried again, because another session wrote meanwhile."""

from __future__ import annotations

from seedlab.errors import DataFaults, TargetChanged, WriteError

MAX_ATTEMPTS = 3
CONFLICTS = frozenset({"40001", "40P01"})  # SQLSTATEs: serialization failure, deadlock


def raise_unless_retryable(error: TargetChanged | DataFaults, attempt: int) -> None:
    """Raise the error unless another attempt may succeed; `attempt` counts from 0.

    A target that changed is worth MAX_ATTEMPTS attempts. A row that is refused because it exists already is
    worth one more: another session may have added it meanwhile, and then it will be found.
    """
    if isinstance(error, TargetChanged):
        if attempt < MAX_ATTEMPTS - 1:
            return
        cause = error.__cause__
        raise cause if isinstance(cause, WriteError) else error
    if attempt or not any(fault.rule == "unique" and fault.line is None for fault in error.faults):
        raise error


def why_to_retry(error: TargetChanged | DataFaults) -> str:
    """Say in a note what the other session did."""
    if isinstance(error, TargetChanged):
        return str(error)
    return "another session inserted a conflicting row during this run"
