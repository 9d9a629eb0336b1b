"""A pool of clones, which a background thread creates in advance and drops, so that tests need not wait."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from seedlab.database.snapshots import Snapshot, Snapshots
from seedlab.errors import SeedError
from seedlab.flow import Target

# The most clones to create in advance, and the most bytes of them (at least one clone is created).
AHEAD = 4
ROOM = 512 << 20


class Pool:
    """Clones of one snapshot, which a single thread with a single connection creates and drops."""

    def __init__(self, snapshots: Snapshots, snapshot: Snapshot) -> None:
        self._snapshots = snapshots
        self._snapshot = snapshot
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="seedlab-pool")
        self._ready: deque[Future[Target]] = deque()
        self.ahead = max(1, min(AHEAD, ROOM // max(snapshot.mark.bytes, 1)))

    def take(self, wanted: int | None = None) -> Target:
        """Return a clone, and start creating the next ones, at most as many as will still be `wanted`."""
        if not self._ready:
            self._make()
        clone = self._ready.popleft().result()
        ahead = self.ahead if wanted is None else min(self.ahead, wanted)
        while len(self._ready) < ahead:
            self._make()
        return clone

    def drop(self, clone: Target) -> None:
        """Drop a clone in the background."""
        self._thread.submit(self._snapshots.drop, clone)

    def keep(self, clone: Target) -> None:
        """Keep a clone beyond the closing of the pool."""
        self._thread.submit(self._snapshots.keep, clone).result()

    def close(self) -> None:
        """Stop creating clones, and drop those that were not taken."""
        for each in self._ready:
            if not each.cancel():
                with suppress(SeedError):
                    self.drop(each.result())
        self._ready.clear()
        self._thread.shutdown()

    def _make(self) -> None:
        self._ready.append(self._thread.submit(self._snapshots.clone, self._snapshot))
