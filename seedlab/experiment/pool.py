"""A pool of clones that are ready: a thread makes them ahead, drops them behind; tests wait for neither."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from seedlab.database.snapshots import Snapshot, Snapshots
from seedlab.errors import SeedError
from seedlab.flow import Target

AHEAD = 4  # clones ready at a time, at most,
ROOM = 512 << 20  # and so many bytes of them, unless one has more


class Pool:
    """Clones of one snapshot. One thread makes and drops them, one after the other, with one connection."""

    def __init__(self, snapshots: Snapshots, snapshot: Snapshot) -> None:
        self._snapshots = snapshots
        self._snapshot = snapshot
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="seedlab-pool")
        self._ready: deque[Future[Target]] = deque()
        self.ahead = max(1, min(AHEAD, ROOM // max(snapshot.mark.bytes, 1)))

    def take(self, wanted: int | None = None) -> Target:
        """Hand out a clone, and have the next ones made: as many as are `wanted` after this one, at most."""
        if not self._ready:
            self._make()
        clone = self._ready.popleft().result()
        ahead = self.ahead if wanted is None else min(self.ahead, wanted)
        while len(self._ready) < ahead:
            self._make()
        return clone

    def drop(self, clone: Target) -> None:
        """Drop a clone, when there is time."""
        self._thread.submit(self._snapshots.drop, clone)

    def keep(self, clone: Target) -> None:
        """Keep a clone when the pool is closed."""
        self._thread.submit(self._snapshots.keep, clone).result()

    def close(self) -> None:
        """Stop making clones, and drop those that nobody took."""
        for each in self._ready:
            if not each.cancel():
                with suppress(SeedError):
                    self.drop(each.result())
        self._ready.clear()
        self._thread.shutdown()

    def _make(self) -> None:
        self._ready.append(self._thread.submit(self._snapshots.clone, self._snapshot))
