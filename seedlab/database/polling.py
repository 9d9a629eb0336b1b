"""Waits for a file descriptor, whatever its number."""

from __future__ import annotations

import select


def readable(descriptor: int, *, or_writable: bool = False, seconds: float | None = None) -> bool:
    """Wait until a file is readable, or writable if asked; tell whether it is readable.

    By poll() if the system has it, because select() knows only the first 1,024 files of a process.
    """
    if not hasattr(select, "poll"):
        return bool(select.select([descriptor], [descriptor] if or_writable else [], [], seconds)[0])
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN | (select.POLLOUT if or_writable else 0))
    return any(
        what & ~select.POLLOUT for _, what in waiting.poll(None if seconds is None else seconds * 1000)
    )
