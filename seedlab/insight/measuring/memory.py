"""Measures the memory of this process: its current size, and its peak during each piece of work.

The system keeps a single high-water mark for the whole process. Linux can reset it to the current size
(writing `5` to /proc/self/clear_refs, see proc(5)). Whenever a piece of work begins, the mark is first added
to the peaks of all pieces that are open in any thread, and then reset. So each piece has its own peak, exact
but for the microseconds between reading and resetting, even if pieces nest or run concurrently. On other
systems the mark is never reset, and a piece's peak is that of the process so far.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import weakref
from collections.abc import Callable

_UNIT = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB, macOS in bytes
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SLACK = 4 << 20  # how much the two marks of one program may differ, as pages are counted per processor


def peak_rss_bytes() -> int:
    """Return the peak since the high-water mark was last reset, in 1 µs (20 µs if `_INHERITS`)."""
    return _high_water() if _INHERITS else _maxrss()


def _maxrss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def _high_water() -> int:
    """Read the mark of this program alone; 0 if the system does not have it."""
    found = os.pread(_STATUS, 4096, 0).partition(b"VmHWM:")[2] if _STATUS is not None else b""
    return int(found.split(maxsplit=1)[0]) * 1024 if found else 0


def _inherits() -> bool:
    """Tell whether getrusage returns the peak of the program that started this one.

    On Linux a child process inherits that value, even across exec, and it never falls. A seed that is started
    by a large notebook or test run would seem to use as much memory.
    """
    return 0 < _high_water() < _maxrss() - _SLACK


def rss_bytes() -> int:
    """Return the current size of the process, or its peak if the system does not say, in 2 µs."""
    return int(os.pread(_STATM, 100, 0).split()[1]) * _PAGE if _STATM is not None else peak_rss_bytes()


def _opened(name: str, flags: int) -> int | None:
    """Open a file of /proc, to be kept open since opening takes longer than reading."""
    try:
        return os.open(f"/proc/self/{name}", flags | os.O_CLOEXEC)
    except OSError:
        return None


_STATM = _opened("statm", os.O_RDONLY)
_STATUS = _opened("status", os.O_RDONLY)
_CLEAR_REFS = _opened("clear_refs", os.O_WRONLY)
_INHERITS = _inherits()


class Work:
    """A piece of work whose own peak of memory is measured."""

    __slots__ = ("__weakref__", "peak_rss_bytes")

    def __init__(self) -> None:
        self.peak_rss_bytes = 0


class Peaks:
    """The open pieces of work, whose peaks are kept up to date.

    `read` returns the system's high-water mark in bytes, `reset` resets it to the current size.
    """

    def __init__(self, read: Callable[[], int], reset: Callable[[], object]) -> None:
        self._read = read
        self._reset = reset
        self._open: set[Work] = set()
        self._runs: list[weakref.ref[Work]] = []  # weak, since nothing says when a monitor is done with
        self._lock = threading.Lock()

    def begin(self, work: Work) -> None:
        """Open a piece of work, until `end` is called, in 4 µs."""
        with self._lock:
            self._restart()
            self._open.add(work)

    def end(self, work: Work) -> None:
        """Close a piece of work, whose peak is then final."""
        with self._lock:
            self._open.discard(work)
            work.peak_rss_bytes = max(work.peak_rss_bytes, self._read())

    def follow(self, run: Work) -> None:
        """Open a piece of work that stays open until it is garbage-collected."""
        with self._lock:
            self._restart()
            self._runs.append(weakref.ref(run, self._runs.remove))

    def peak(self, run: Work) -> int:
        """Return the peak so far, in bytes, of a piece of work that `follow` opened."""
        with self._lock:
            run.peak_rss_bytes = max(run.peak_rss_bytes, self._read())
        return run.peak_rss_bytes

    def _restart(self) -> None:
        """Add the mark to the peaks of all open pieces of work, and reset it."""
        mark = self._read()
        for work in self._open:
            work.peak_rss_bytes = max(work.peak_rss_bytes, mark)
        for each in tuple(self._runs):  # a copy, since one may be collected meanwhile
            if (run := each()) is not None:
                run.peak_rss_bytes = max(run.peak_rss_bytes, mark)
        self._reset()


def _reset_mark() -> None:
    if _CLEAR_REFS is None:
        return
    try:
        os.write(_CLEAR_REFS, b"5")
    except OSError:  # forbidden in some containers; the mark is then never reset
        return


PEAKS = Peaks(peak_rss_bytes, _reset_mark)
