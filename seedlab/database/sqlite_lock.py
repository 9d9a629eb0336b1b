"""The lock of a SQLite target: a file beside it that one seeder holds while it writes, and that names it.

SQLite's own lock keeps writers apart, and does not say who they are. The operating system lets go of the
file when its holder dies; what then lies there is taken over by the next.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from seedlab.database.holder import Holder, this_process

_PAUSE = 0.02  # seconds between two looks
_LOOKS = 25  # at a file that is held and does not say yet by whom


class SideLock:
    """The lock file of a database; links to one database share it."""

    def __init__(self, database: str) -> None:
        self.path = Path(f"{os.path.realpath(database)}.seedlab-lock")
        self._file: int | None = None

    def take(self, milliseconds: int) -> Holder | None:
        """Take the lock, waiting so long if another seeder has it; answers who has it still."""
        end = time.monotonic() + milliseconds / 1000
        while (holder := self._try()) is not None and time.monotonic() < end:
            time.sleep(_PAUSE)
        return holder

    def _try(self) -> Holder | None:
        for _ in range(_LOOKS):
            try:
                file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            except OSError:  # a folder that we may not write to: SQLite's own lock has to do
                return None
            if self._hold(file):
                return None
            os.close(file)
            if (holder := self._read()) is not None:
                return holder
            time.sleep(_PAUSE)
        return Holder()

    def _hold(self, file: int) -> bool:
        """Lock the file and sign it; not one that its last holder has deleted meanwhile."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not self._is_there(file):
            return False
        pid, host = this_process()
        started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        os.ftruncate(file, 0)
        os.write(file, json.dumps({"pid": pid, "host": host, "started": started}).encode())
        self._file = file
        return True

    def _is_there(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self.path.lstat())
        except FileNotFoundError:
            return False

    def _read(self) -> Holder | None:
        """Read who holds the lock; None where that is not written yet, or the file is gone."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            said = json.loads(self.path.read_bytes())
            return Holder(pid=int(said["pid"]), host=str(said["host"]), since=str(said["started"]))
        return None

    def release(self) -> None:
        """Let go of the lock, if it is ours, and leave nothing behind."""
        if self._file is None:
            return
        file, self._file = self._file, None
        if self._is_there(file):
            self.path.unlink(missing_ok=True)
        os.close(file)
