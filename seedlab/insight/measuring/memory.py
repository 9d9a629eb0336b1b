"""Memory of this process: what it holds, and the most it has held during each piece of work.

The system keeps one high-water mark, of the whole process. Linux lets us take it back to what is held now
(`5` to /proc/self/clear_refs, proc(5)); before each time, the mark is folded into all pieces of work that are
open in any thread. So each has its own peak, exactly but for the microseconds in between, also where pieces
nest or run side by side. Elsewhere the mark never falls, and a piece's peak is that of the process so far.
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
_SLACK = 4 << 20  # by which the two marks of one program may differ: pages are counted by processor


def peak_rss_bytes() -> int:
    """Most bytes held since the high-water mark was last reset; costs 1 µs (20 where `_INHERITS`)."""
    return _high_water() if _INHERITS else _maxrss()


def _maxrss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def _high_water() -> int:
    """Read the mark of this program alone; 0 where the system does not say."""
    found = os.pread(_STATUS, 4096, 0).partition(b"VmHWM:")[2] if _STATUS is not None else b""
    return int(found.split(maxsplit=1)[0]) * 1024 if found else 0


def _inherits() -> bool:
    """Tell whether what getrusage says is the peak of the program that started this one, and never falls.

    Linux hands it on to a child (getrusage(2) keeps it across exec): a seed that a large notebook or test
    run started would be told to have held as much.
    """
    return 0 < _high_water() < _maxrss() - _SLACK


def rss_bytes() -> int:
    """Memory the process holds now; where the system does not say, the most it has held. Costs 2 µs."""
    return int(os.pread(_STATM, 100, 0).split()[1]) * _PAGE if _STATM is not None else peak_rss_bytes()


def _opened(name: str, flags: int) -> int | None:
    """Open a file of /proc and keep it open: opening it each time would cost more than reading it."""
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
    """The pieces of work that are open.

    `read` gives the system's high-water mark in bytes, `take_back` resets it to what is held now.
    """

    def __init__(self, read: Callable[[], int], take_back: Callable[[], object]) -> None:
        self._read = read
        self._take_back = take_back
        self._open: set[Work] = set()
        self._runs: list[weakref.ref[Work]] = []  # nobody tells when a run's monitor is of no more use
        self._lock = threading.Lock()

    def begin(self, work: Work) -> None:
        """Open a piece of work, until `end`. Costs 4 µs."""
        with self._lock:
            self._restart()
            self._open.add(work)

    def end(self, work: Work) -> None:
        """Close a piece of work: its peak is known."""
        with self._lock:
            self._open.discard(work)
            work.peak_rss_bytes = max(work.peak_rss_bytes, self._read())

    def follow(self, run: Work) -> None:
        """Open a piece of work that ends when it is garbage-collected."""
        with self._lock:
            self._restart()
            self._runs.append(weakref.ref(run, self._runs.remove))

    def peak(self, run: Work) -> int:
        """The peak so far, in bytes, of a piece of work that `follow` opened."""
        with self._lock:
            run.peak_rss_bytes = max(run.peak_rss_bytes, self._read())
        return run.peak_rss_bytes

    def _restart(self) -> None:
        mark = self._read()
        for work in self._open:
            work.peak_rss_bytes = max(work.peak_rss_bytes, mark)
        for each in tuple(self._runs):  # one may be collected meanwhile
            if (run := each()) is not None:
                run.peak_rss_bytes = max(run.peak_rss_bytes, mark)
        self._take_back()


def _take_back() -> None:
    if _CLEAR_REFS is None:
        return
    try:
        os.write(_CLEAR_REFS, b"5")
    except OSError:  # a container may forbid it: then the mark never falls
        return


PEAKS = Peaks(peak_rss_bytes, _take_back)
