"""When to try again: another session may have come between, and looking again may help."""

from __future__ import annotations

from seedlab.errors import DataFaults, TargetChanged, WriteError

TRIES = 3
CAME_BETWEEN = frozenset({"40001", "40P01"})  # SQLSTATEs of what another transaction was in the way of


def refuse_to_try_again(error: TargetChanged | DataFaults, attempt: int) -> None:
    """Raise the error unless looking again may help.

    Three times for a target that changed, once for a row that is refused as there already: it may be one that
    another session has added meanwhile.
    """
    if isinstance(error, TargetChanged):
        if attempt < TRIES - 1:
            return
        cause = error.__cause__
        raise cause if isinstance(cause, WriteError) else error
    if attempt or not any(fault.rule == "unique" and fault.line is None for fault in error.faults):
        raise error


def told(error: TargetChanged | DataFaults) -> str:
    """Say what came between."""
    if isinstance(error, TargetChanged):
        return str(error)
    return "the target has a row that it had not when we looked"
